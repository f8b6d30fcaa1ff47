"""A rollback while it runs: which of its stages are done, and how far the one at hand is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.timer import Timer
from textual.widgets import Static

from tui.jobs import SAMPLE, LongJob
from tui.rollback_job import Runner, RunState
from tui.rollback_registry import Run
from tui.text import content
from tui.widgets.progress import ProgressPanel


class Stage(NamedTuple):
    """A part of a rollback in words for people, and the phases that the engine reports while it is in it."""

    label: str
    phases: frozenset[str]


_AGAIN = Stage("Comparing once more", frozenset({"comparing with the live system"}))
_SAFETY = Stage("Safety point", frozenset({"safety point", "comparing", "copying", "indexing", "packing",
                                           "making it durable"}))
_OPEN = Stage("Opening the point", frozenset({"opening the point", "opening", "unpacking", "comparing hard links"}))
_APPLY = Stage("Copying, then deleting", frozenset({"putting back", "deleting"}))
_VERIFY = Stage("Verifying", frozenset({"verifying"}))


def stages(run: Run) -> tuple[Stage, ...]:
    """Return the stages of a run, in their order."""
    if run.verb != "rollback":
        return _OPEN, _APPLY, _VERIFY
    return (_AGAIN, *([_SAFETY] if run.safety_point else []), _OPEN, _APPLY, _VERIFY)


def stage_at(way: Sequence[Stage], phases: Sequence[str]) -> int:
    """Return the index of the stage that the phases seen so far have led to. It never goes back, and a phase that no
    later stage knows belongs to the one at hand."""
    at = 0
    for phase in phases:
        at = next((i for i in range(at, len(way)) if phase in way[i].phases), at)
    return at


class RunPanel(Vertical):
    """Looks at a runner ten times a second. Posts `Ended` once, with the state it came to."""

    class Ended(Message):
        """The run is over."""

        def __init__(self, state: RunState) -> None:
            super().__init__()
            self.state = state

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._runner: Runner | None = None
        self._work = LongJob()
        self._timer: Timer | None = None

    def compose(self) -> ComposeResult:
        """The stages, the figures, who does it."""
        yield Static("", markup=False, id="stages")
        yield ProgressPanel(id="run-work")
        yield Static("", markup=False, id="where")

    def watch_run(self, runner: Runner, work: LongJob) -> None:
        """Show this run from now on; `work` is what the figures are kept in."""
        self._runner, self._work = runner, work
        panel = self.query_one(ProgressPanel)
        panel.follow(work)
        if runner.leaving_is_safe:
            panel.note("It runs on its own: leaving or losing this terminal does not stop it.", "dim")
        else:
            panel.note("Please wait until it is done.", "dim")
        if self._timer is None:
            self._timer = self.set_interval(SAMPLE, self._look)
        self._look()

    def _look(self) -> None:
        if self._runner is None or self._runner.run is None:
            return
        state = self._runner.poll()
        if state.progress is not None:
            self._work.see(state.progress)
        self._work.job.warnings = state.warnings
        self.query_one("#stages", Static).update(stage_rows(stages(self._runner.run), state.phases))
        self.query_one("#where", Static).update(content((self._runner.where, "dim")))
        if not state.running:
            self._runner = None
            self._work.finish()
            self.post_message(self.Ended(state))


def stage_rows(way: Sequence[Stage], phases: Sequence[str]) -> Content:
    """Return the stages one below the other: ``[x]`` done, ``[>]`` at hand, ``[ ]`` to come."""
    at = stage_at(way, phases)
    rows = [content((f"[{'x' if i < at else '>' if i == at else ' '}] ", "good" if i < at else ""),
                    (stage.label, "strong" if i == at else "" if i < at else "dim")) for i, stage in enumerate(way)]
    return Content("\n").join(rows)
