"""Finishing or undoing what a Rollpoint that was killed while it brought disks back has left."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import VerticalScroll

from engine.events import Job
from tui.screens.typed import TypedDialog
from tui.text import Line, content, field
from tui.widgets.checkline import CheckLine
from tui.widgets.confirm import ConfirmYes
from tui.widgets.fields import Fields


class SettleScreen(TypedDialog[str]):
    """Asks for yes, and whether it is known that the VM does not run where nobody can tell."""

    HEADING = "Disks that were half brought back"
    WORKING = "disks of a VM are being put in order"
    QUESTION = "Put them in order now?"
    CANCELLED = "Stopped. Nothing was changed."
    KEYS = (("yes, enter", "finish it where all was copied already, undo it where it was not"),
            ("tab, space", "where nobody can tell: say that the VM does not run"), ("esc", "leave it as it is"))

    def __init__(self, left: str) -> None:
        super().__init__()
        self._left, self._stopped = left, False

    def explain(self) -> list[Line]:
        """What was left, and what will be done."""
        return [field("Left", (self._left, "warn")),
                content("It is finished where all was copied already, and undone where it was not: then the disks that "
                        "were moved aside come back. While the VM runs, or may, it is refused.")]

    def form(self) -> ComposeResult:
        """The words, the switch for what only the admin knows, the line to type yes into."""
        with VerticalScroll(id="explain", can_focus=False):
            yield Fields(self.explain())
        yield CheckLine("I know that this VM does not run, on no server", id="stopped")
        yield ConfirmYes(self.QUESTION, id="confirm")

    def prepare(self) -> bool:
        """Read the switch."""
        self._stopped = self.query_one(CheckLine).value
        return True

    def run_job(self, job: Job) -> str:
        """Put them in order."""
        return self.rollpoint.engine.vm_settle(job, stopped=self._stopped)

    def describe(self, result: str) -> list[Line]:
        """What was done."""
        return [content((result or "There was nothing left to do.", "good"))]
