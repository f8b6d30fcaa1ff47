"""Verifying the store: its structure, or every byte against the recorded checksums."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Static

from engine.events import Job
from engine.points import RestorePoint
from engine.results import VerifyReport
from tui.screens.job import JobDialog
from tui.text import Line, called, content, count, path, plural, safe, size
from tui.widgets.checkline import CheckLine
from tui.widgets.keybar import Hint

_SHOWN = 200


class VerifyScreen(JobDialog[VerifyReport]):
    """The dialog behind `v`."""

    HEADING = "Verify"
    WORKING = "the store is being verified"
    CANCELLED = "Stopped before the end: what was not looked at may still be damaged."
    FORM_HINTS = (Hint("enter", "Verify", "screen.enter"), Hint("space", "Switch"), Hint("tab", "Next"))
    KEYS = (("enter", "start"), ("space", "switch the option under the cursor"), ("c or esc", "stop"))

    def __init__(self, point: RestorePoint | None) -> None:
        super().__init__()
        self._point = point
        self._data = False
        self._points: list[RestorePoint] = []

    def form(self) -> ComposeResult:
        """Which points, how deep."""
        yield Static("Looks whether the store holds what it says it holds. It changes nothing.", markup=False)
        yield CheckLine("Re-read all data and compare checksums (thorough, slow)", id="data")
        if self._point is not None:
            yield CheckLine(f"Only point {called(self._point)}", id="only")

    def begin_form(self) -> None:
        """Begin at the first option."""
        self.query_one("#data").focus()

    def prepare(self) -> bool:
        """Read the form."""
        self._data = self.query_one("#data", CheckLine).value
        only = self._point is not None and self.query_one("#only", CheckLine).value
        self._points = [self._point] if only and self._point is not None else []
        return True

    def run_job(self, job: Job) -> VerifyReport:
        """Verify those points, or all."""
        engine = self.rollpoint.engine
        return engine.verify(self._points or engine.kept_points(), job, data=self._data)

    def describe(self, result: VerifyReport) -> list[Line]:
        """Whole or not, and each damage by point and path."""
        looked = f"{plural(result.points, 'point')}, {plural(result.entries, 'entry', 'entries')}"
        looked += f", {size(result.bytes_read)} read" if result.bytes_read else ""
        looked += f", {plural(result.unsummed, 'disk')} without a checksum" if result.unsummed else ""
        if not result.damage:
            depth = "" if self._data else " Structure only: data was not re-read."
            return [content(("No damage found.", "good"), f" {looked}.{depth}")]
        self.add_class("-bad")
        headline = f"DAMAGE: {plural(len(result.damage), 'finding')}"
        rows: list[Line] = [content((headline, "bad"), f" in {looked}."), Content("")]
        for damage in result.damage[:_SHOWN]:
            where = f"point {safe(damage.point)}" if damage.point else "the store"
            rows.append(content((f"{where} ", "strong"), path(damage.path) if damage.path else "", "  ",
                                (damage.text, "bad")))
        if len(result.damage) > _SHOWN:
            rows.append(content(f"and {count(len(result.damage) - _SHOWN)} more"))
        rows += [Content(""), content(("What to do: ", "strong"), "the other points stay usable; "
                                      "`rollpoint repair` mends what can be mended.")]
        return rows
