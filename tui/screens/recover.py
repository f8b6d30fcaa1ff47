"""What a crash or a lost terminal left: go on with an interrupted rollback, undo it, or let the store be repaired."""

from __future__ import annotations

import time
from typing import Literal

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from engine.events import Job
from engine.results import RepairReport, RollbackResult, StoreStatus
from tui.jobs import SAMPLE
from tui.rollback_job import Runner
from tui.screens.base import BaseDialog
from tui.screens.typed import TypedDialog
from tui.text import Line, content, path, plural, safe
from tui.widgets.fields import Fields
from tui.widgets.keybar import Hint, KeyBar

Way = Literal["resume", "undo", "repair"]


class RecoverScreen(BaseDialog[Way | None]):
    """The dialog behind `R`: dismissed with the way that was chosen."""

    BINDINGS = [Binding("escape,q", "leave", "Leave", show=False), Binding("r", "way('resume')", show=False),
                Binding("u", "way('undo')", show=False), Binding("f", "way('repair')", show=False)]
    KEYS = (("r", "go on with the interrupted rollback"), ("u", "undo it"), ("f", "repair the store"),
            ("esc", "leave it as it is"))

    def __init__(self, status: StoreStatus) -> None:
        super().__init__()
        self._status = status

    def compose(self) -> ComposeResult:
        """What was left, and the ways."""
        hints = [Hint("esc", "Leave it", "screen.leave")]
        rows: list[Line] = []
        if self._status.rollback:
            rows += [content((self._status.rollback, "bad")), Content(""),
                     content(("r", "strong"), "  go on: finish going back to that point"),
                     content(("u", "strong"), "  undo: return to the state before the rollback began")]
            hints = [Hint("r", "Go on", "screen.way('resume')"), Hint("u", "Undo", "screen.way('undo')"), *hints]
        if self._status.unfinished:
            rows += [Content("")] if rows else []
            rows += [content(("Unfinished work in the store: ", "warn"), self._status.unfinished), Content(""),
                     content(("f", "strong"), "  repair: finish or undo it; finished points are not touched")]
            hints = [Hint("f", "Repair", "screen.way('repair')"), *hints]
        if not rows:
            rows.append(content(("Nothing was left unfinished.", "good")))
        with Vertical(id="dialog"):
            yield Static(content(("Unfinished work", "head")), markup=False, id="title")
            with Vertical(id="form"):
                yield Fields(rows)
            yield KeyBar(hints)

    def action_leave(self) -> None:
        """Leave everything as it is."""
        self.dismiss(None)

    def action_way(self, way: Way) -> None:
        """Choose a way, where there is something to do on it."""
        if self._status.rollback if way != "repair" else self._status.unfinished:
            self.dismiss(way)


def rollback_rows(result: RollbackResult) -> list[Line]:
    """Return what a rollback came to: what was applied, whether it holds, how to undo it."""
    rows: list[Line] = [content((f"Rolled back to point {result.point.number}", "good"),
                    f": {plural(result.applied, 'change')} applied in {result.seconds:.1f} s.")]
    if result.verified:
        rows.append(content(("Verified: ", "good"), "every entry is as the point has it."))
    else:
        rows.append(content((f"NOT AS RECORDED: {plural(len(result.differences), 'difference')} left", "bad")))
        rows += [content("  ", line) for line in result.differences[:200]]
        if len(result.differences) > 200:
            rows.append(content(f"  and {len(result.differences) - 200} more"))
    if result.safety_point is not None:
        rows += [Content(""), content(f"The state before it is point {result.safety_point.number}: "
                                      "roll back to that one to undo this.")]
    return rows


class FinishRollbackScreen(TypedDialog[RollbackResult]):
    """Resume or undo an interrupted rollback, after `yes`."""

    HEADING = "Interrupted rollback"
    WORKING = "a rollback is under way"
    QUESTION = "Do it now?"
    STOP = "Leave it running"
    CANCELLED = "It goes on without this screen; the list of points says when it is done."
    KEYS = (("yes, enter", "do it"), ("esc", "leave everything as it is"))

    def __init__(self, way: Literal["resume", "undo"], left: str, runner: Runner) -> None:
        super().__init__()
        self._way, self._left, self._runner = way, left, runner
        self.breakable = runner.leaving_is_safe

    def explain(self) -> list[Line]:
        """Which way, from where."""
        text = ("Going on finishes going back to the point." if self._way == "resume"
                else "Undoing returns everything to the state before the rollback began.")
        return [content(self._left), Content(""), content((text, "strong"))]

    def run_job(self, job: Job) -> RollbackResult:
        """Let the runner do it, and watch; a cancelled job ends the watching only, never the work."""
        self._runner.start(self._way)
        told = 0
        while True:
            state = self._runner.poll()
            if state.progress is not None and job.on_progress is not None:
                job.on_progress(state.progress)
            for warning in state.warnings[told:]:
                job.warn(warning)
            told = len(state.warnings)
            if state.result is not None:
                return state.result
            if state.error is not None:
                raise state.error
            job.check()
            time.sleep(SAMPLE)

    def describe(self, result: RollbackResult) -> list[Line]:
        """What came of it."""
        return rollback_rows(result)


class RepairScreen(TypedDialog[RepairReport]):
    """Repair the store, after `yes`."""

    HEADING = "Repair the store"
    WORKING = "the store is being repaired"
    QUESTION = "Repair it now?"
    CANCELLED = "Stopped. Repairing again goes on from there."
    KEYS = (("yes, enter", "repair"), ("esc", "leave the store as it is"))

    def __init__(self, left: str) -> None:
        super().__init__()
        self._left = left

    def explain(self) -> list[Line]:
        """What there is to repair."""
        return [content(self._left or "Nothing is known to be unfinished."), Content(""),
                content("What a crash left is finished or undone. Finished points are not touched.")]

    def run_job(self, job: Job) -> RepairReport:
        """Repair."""
        return self.rollpoint.engine.repair(job)

    def describe(self, result: RepairReport) -> list[Line]:
        """What was done, and what is left."""
        done = result.done or ("There was nothing to do.",)
        rows: list[Line] = [content((line, "good")) for line in done]
        for damage in result.left:
            where = f"point {safe(damage.point)}" if damage.point else "the store"
            rows.append(content((f"left: {where} ", "bad"), path(damage.path) if damage.path else "", " ", damage.text))
        return rows
