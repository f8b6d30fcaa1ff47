"""Taking a point: comment, tags, pin; live progress; what came of it."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Input, Static

from engine.events import Job
from engine.results import SnapshotRequest, SnapshotResult
from tui.screens.job import JobDialog
from tui.text import Line, content, count, field, plural, safe, size
from tui.widgets.checkline import CheckLine
from tui.widgets.keybar import Hint
from tui.widgets.lineinput import LineInput


class TakeScreen(JobDialog[SnapshotResult]):
    """The dialog behind `s`."""

    HEADING = "Take a restore point"
    WORKING = "a restore point is being taken"
    CANCELLED = "Stopped. No point was taken; the store is as it was before."
    FORM_HINTS = (Hint("enter", "Take the point", "screen.enter"), Hint("tab", "Next field"),
                  Hint("space", "Switch", weight=2))
    KEYS = (("enter", "take the point"), ("tab", "go to the next field"), ("space", "switch the pin"),
            ("c or esc", "while it is being taken: stop, nothing is kept"))

    def __init__(self) -> None:
        super().__init__()
        self._request = SnapshotRequest()

    def form(self) -> ComposeResult:
        """Comment, tags, pin."""
        yield Static("Comment: why, in a few words", markup=False)
        yield LineInput(placeholder="before the upgrade of ...", id="comment")
        yield Static("Tags, separated by spaces", markup=False)
        yield LineInput(placeholder="none", id="tags")
        yield CheckLine("Pin it: no rule ever removes it", id="pin")

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.start()

    def prepare(self) -> bool:
        """Read the form."""
        tags = self.query_one("#tags", LineInput).value.replace(",", " ").split()
        self._request = SnapshotRequest(self.query_one("#comment", LineInput).value.strip(), tuple(tags),
                                        self.query_one("#pin", CheckLine).value, "manual")
        return True

    def run_job(self, job: Job) -> SnapshotResult:
        """Take the point."""
        return self.rollpoint.engine.snapshot(self._request, job)

    def describe(self, result: SnapshotResult) -> list[Line]:
        """What was taken, what was left out, what was removed to make room."""
        rows: list[Line] = [content((f"Point {result.point.number} was taken", "good"), f" in {result.seconds:.1f} s."),
                Content(""),
                field("Changes", f"{count(result.created)} created, {count(result.changed)} changed, "
                      f"{count(result.attrs)} attributes, {count(result.deleted)} deleted"),
                field("Copied", size(result.bytes_copied), ("  the old versions take ", "dim"),
                      size(result.diff_bytes))]
        if result.databases:
            rows.append(field("Databases", ("not in it: ", "dim"), (", ".join(map(safe, result.databases)), "warn")))
        if result.excluded:
            rows.append(field("Left out", plural(len(result.excluded), "pattern"),
                              ("  enter on the point lists them", "dim")))
        if result.pruned:
            rows.append(field("Removed", f"{plural(len(result.pruned), 'old point')} to make room"))
        return rows
