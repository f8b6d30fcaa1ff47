"""What a crash or a lost machine left: go on with an interrupted rollback, undo it, or let the store be repaired."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from engine.events import Job
from engine.points import RestorePoint
from engine.results import RepairReport, StoreStatus
from tui.rollback_job import Runner
from tui.screens.base import BaseDialog
from tui.screens.run import RESULT, RUN, RunScreen
from tui.screens.typed import TypedDialog
from tui.text import Line, Segment, called, content, path, safe, stamp
from tui.widgets.confirm import ConfirmYes
from tui.widgets.fields import Fields
from tui.widgets.keybar import Hint, KeyBar

Way = Literal["resume", "undo", "repair", "take back"]
CONFIRM = "confirm"


class RecoverScreen(BaseDialog[Way | None]):
    """The dialog behind `R`, which also opens by itself when an interrupted rollback is found at the start: dismissed
    with the way that was chosen. Nothing is done before `yes` on the screen after it."""

    BINDINGS = [Binding("escape,q", "leave", "Leave", show=False), Binding("r", "way('resume')", show=False),
                Binding("u", "way('undo')", show=False), Binding("f", "way('repair')", show=False),
                Binding("c", "way('take back')", show=False)]
    KEYS = (("r", "go on with the interrupted rollback"), ("u", "undo it"), ("f", "repair the store"),
            ("c", "cancel the rollback that is ordered for the next boot"),
            ("esc", "leave it as it is; R on the list of points comes back here"))

    def __init__(self, status: StoreStatus, points: Sequence[RestorePoint] = ()) -> None:
        super().__init__()
        self._status, self._points = status, points

    @property
    def _ways(self) -> tuple[Way, ...]:
        """The ways that lead somewhere: none while another one is at work in the store."""
        if self._status.holder:
            return ()
        undo: tuple[Way, ...] = ("undo",) if self._status.safety else ()
        rollback: tuple[Way, ...] = ("resume", *undo) if self._status.rollback else ()
        if self._status.ordered and not self._status.rollback:
            rollback = ("take back",)
        return (*rollback, "repair") if self._status.unfinished else rollback

    def compose(self) -> ComposeResult:
        """What was left, and the ways."""
        words = {"resume": ("r", "Go on"), "undo": ("u", "Undo"), "repair": ("f", "Repair"),
                 "take back": ("c", "Cancel the order")}
        hints = [Hint(*words[way], f"screen.way('{way}')") for way in self._ways]
        title = "Rollback at the next boot" if self._ways == ("take back",) else "Unfinished work"
        with Vertical(id="dialog"):
            yield Static(content((title, "head")), markup=False, id="title")
            with VerticalScroll(id="text", can_focus=False):
                yield Fields(recover_rows(self._status, self._points))
            yield KeyBar([*hints, Hint("esc", "Leave it", "screen.leave")])

    def action_leave(self) -> None:
        """Leave everything as it is."""
        self.dismiss(None)

    def action_way(self, way: Way) -> None:
        """Choose a way, where there is something to do on it."""
        if way in self._ways:
            self.dismiss(way)


def recover_rows(status: StoreStatus, points: Sequence[RestorePoint] = ()) -> list[Line]:
    """Return what was left in a store, and what each way out of it means; `points` give the safety point's number."""
    if status.holder:
        return [content(("The store is in use: ", "warn"), status.holder), Content(""),
                content("Wait until that is done; nothing is to be gone on with before.")]
    rows: list[Line] = []
    if status.rollback:
        rows += [content((status.rollback[:1].upper() + status.rollback[1:], "bad")), Content(""),
                 content("Some files are as the point has them, others as they were."),
                 content(("r", "strong"), "  go on: finish going back to that point"), _undo_row(status.safety, points)]
    elif status.ordered:
        rows += [content((status.ordered[:1].upper() + status.ordered[1:], "warn")), Content(""),
                 content(("c", "strong"), "  cancel: take the order back; nothing was changed for it yet")]
    if status.unfinished:
        rows += [Content("")] if rows else []
        rows += [content(("Unfinished work in the store: ", "warn"), status.unfinished), Content(""),
                 content(("f", "strong"), "  repair: finish or undo it; finished points are not touched")]
    return rows or [content(("Nothing was left unfinished.", "good"))]


def _undo_row(safety: str, points: Sequence[RestorePoint]) -> Line:
    """Whether the rollback can be undone, and to what."""
    if not safety:
        return content(("It cannot be undone: ", "warn"), "it took no safety point. Go on, and roll back to another "
                       "point afterwards if need be.")
    found = next((p for p in points if p.id == safety), None)
    name = f"point {called(found)}, taken {stamp(found.created)}" if found is not None else f"point {safety}"
    return content(("u", "strong"), f"  undo: return to safety {name}, before it began")


class FinishRollbackScreen(RunScreen):
    """Resume or undo an interrupted rollback, after `yes`."""

    STEPS = ((CONFIRM, "Confirm"), (RUN, "Run"), (RESULT, "Result"))
    BINDINGS = [Binding("y", "begin('y')", show=False)]
    KEYS = (("yes, enter", "do it"), ("esc", "leave everything as it is; while it runs: leave it running"))

    def __init__(self, way: Literal["resume", "undo"], left: str, runner: Runner) -> None:
        super().__init__(runner)
        self._way, self._left_text = way, left

    def subject(self) -> list[Segment]:
        """Which way."""
        return [("Go on with the interrupted rollback" if self._way == "resume" else "Undo the interrupted rollback",
                 "strong")]

    def parts(self) -> ComposeResult:
        """What it means, the line to type yes into."""
        text = ("Going on finishes going back to the point." if self._way == "resume"
                else "Undoing returns everything to the state before the rollback began.")
        with Vertical(id=CONFIRM):
            with VerticalScroll(classes="words", can_focus=False):
                yield Fields([content((text, "strong")), content("Should it be interrupted, it can be finished or "
                                                                 "undone again."),
                              Content(""), content(("What was left: ", "dim"), self._left_text)])
            yield ConfirmYes("Go on now?" if self._way == "resume" else "Undo it now?", id="confirm-yes")

    def on_mount(self) -> None:
        """Ask."""
        self.go(CONFIRM)

    def began(self, step: str) -> None:
        """The focus is in the line: typing into it does no harm."""
        if step == CONFIRM:
            self.query_one(ConfirmYes).start()

    def hints(self) -> list[Hint]:
        """The keys of the step."""
        if self.step == CONFIRM:
            return [Hint("yes enter", "Do it"), Hint("esc", "Leave", "screen.leave")]
        return super().hints()

    def action_begin(self, typed: str) -> None:
        """Typing `yes` may begin anywhere on the screen."""
        if self.step == CONFIRM:
            self.query_one(ConfirmYes).start(typed)

    @on(ConfirmYes.Confirmed)
    def _confirmed(self, event: ConfirmYes.Confirmed) -> None:
        event.stop()
        if self.step == CONFIRM:
            self.start(self._way)


class TakeBackScreen(TypedDialog[str]):
    """Take back what was ordered for the next boot, after `yes`."""

    HEADING = "Rollback at the next boot"
    WORKING = "an order is being taken back"
    QUESTION = "Take the order back?"
    CANCELLED = "Stopped. Look at the list of points whether it is still ordered."
    KEYS = (("yes, enter", "take the order back"), ("esc", "leave it as it is"))

    def __init__(self, ordered: str) -> None:
        super().__init__()
        self._ordered = ordered

    def explain(self) -> list[Line]:
        """What was ordered."""
        return [content(self._ordered[:1].upper() + self._ordered[1:]), Content(""),
                content("Without the order the next boot is one like any other. The point stays, and it can be ordered "
                        "again.")]

    def run_job(self, job: Job) -> str:
        """Take it back."""
        self.rollpoint.engine.take_order_back()
        return "Taken back: the next boot is one like any other."

    def describe(self, result: str) -> list[Line]:
        """That it was."""
        return [content((result, "good"))]


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
