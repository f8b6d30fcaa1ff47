"""A rollback of the running system, seen from the command line: it runs in a process of its own, which is watched.

Ctrl-C, SIGTERM and a lost terminal end the watching and not the rollback; `rollback --attach` and the app show it
again.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING

from engine.errors import RollpointError, UsageError
from engine.points import RestorePoint
from engine.results import RollbackPlan, RollbackResult
from tui.rollback_job import DetachedRunner, Runner
from tui.rollback_registry import Verb

if TYPE_CHECKING:
    from tui.commands._context import Context

_EVERY = 0.1


def is_live(context: Context, scope: Sequence[str]) -> bool:
    """Whether a rollback with this scope runs in another process: those of the running system do, and those that could
    replace what we run from."""
    from engine.rescue import lifeboat
    from tui.rollback_run import paths_of

    if os.geteuid() == 0 and os.path.realpath(context.config.root) == "/":
        return True
    return lifeboat.due(context.config, paths_of(scope))


def carry_out(context: Context, verb: Verb, plan: RollbackPlan | None, *, safety_point: bool = True
              ) -> RollbackResult | None:
    """Start it and watch it to its end; None when the watching ended first. Raises RollpointError."""
    _load_what_is_needed_afterwards()
    runner = DetachedRunner(context.config)
    runner.start(verb, plan, safety_point=safety_point)
    return watch(context, runner)


def attach(context: Context) -> tuple[Verb, RollbackResult | None]:
    """Watch the rollback of this store that runs, or show how the last one ended that nobody has seen end."""
    _load_what_is_needed_afterwards()
    runner = DetachedRunner.attach(context.config)
    if runner is None or runner.run is None:
        raise UsageError("no rollback of this store runs, and none has ended unseen",
                         hint="`rollpoint list` shows the points, STORE/audit.log what was done")
    context.out.info(f"{runner.run.title[:1].upper()}{runner.run.title[1:]}, begun {runner.run.begun}.")
    return runner.run.verb, watch(context, runner)


def _load_what_is_needed_afterwards() -> None:
    """Load what shows the result: the rollback may put another version of it in its place."""
    for name in ("json", "shutil", "engine.text", "engine.service", "tui.commands._format", "tui.output"):
        importlib.import_module(name)


def watch(context: Context, runner: Runner) -> RollbackResult | None:
    """Show progress and warnings until the end. Returns the result, None when we were told to stop watching; raises
    the error that it came to."""
    heard = 0
    context.jobs += 1
    with _told_to_stop() as told:
        while True:
            state = runner.poll()
            for text in state.warnings[heard:]:
                context.warn(text)
            heard = len(state.warnings)
            if not state.running:
                break
            if state.progress is not None:
                context.out.progress(state.progress)
            if told:
                context.out.progress.clear()
                context.warn(f"the rollback goes on without this command ({runner.where}); "
                             "`rollpoint rollback --attach` shows it again")
                return None
            time.sleep(_EVERY)
    context.out.progress.clear()
    runner.seen()
    if state.result is None:
        raise state.error or RollpointError("the rollback ended without a result")
    return _whole(context, state.result)


def _whole(context: Context, result: RollbackResult) -> RollbackResult:
    """Return the result with all that is known of its points: the other process tells their ids and numbers alone."""
    known: dict[str, RestorePoint] = {}
    with contextlib.suppress(RollpointError):
        known = {point.id: point for point in context.engine.points()}
    safety = result.safety_point
    return replace(result, point=known.get(result.point.id, result.point),
                   safety_point=known.get(safety.id, safety) if safety else None)


@contextlib.contextmanager
def _told_to_stop() -> Iterator[list[int]]:
    """Yield a list that gets the numbers of the signals that would have ended us."""
    told: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        told.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
