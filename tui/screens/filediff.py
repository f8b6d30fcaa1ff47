"""The difference of one file between a point and another point, or now."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Static

from engine.entries import Change
from engine.points import RestorePoint
from tui.screens.base import BaseScreen
from tui.text import Segment, content, safe
from tui.widgets.changerows import describe
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.rows import RowList
from tui.widgets.viewlist import TextRows


class FileDiffScreen(BaseScreen[None]):
    """A unified difference, a line a row."""

    BINDINGS = [Binding("escape,q", "leave", "Back", show=False)]
    KEYS = (("esc", "back to the list"),)

    def __init__(self, older: RestorePoint, newer: RestorePoint | None, change: Change) -> None:
        super().__init__()
        self._older, self._newer, self._change = older, newer, change

    def compose(self) -> ComposeResult:
        """Header, path, lines, keys."""
        yield self.header()
        yield Static(content(*describe(self._change)), markup=False, id="subject")
        yield RowList(id="file-diff")
        yield KeyBar([Hint("esc", "Back", "screen.leave"), Hint("?", "Help", "app.help")])

    def on_mount(self) -> None:
        """Ask for the lines."""
        rows = self.query_one(RowList)
        rows.show(TextRows([("Reading ...", "dim")]))
        rows.focus()
        engine, older, newer, path = self.rollpoint.engine, self._older, self._newer, self._change.path
        self.ask("file", lambda: engine.file_diff(older, newer, path), self._read, self._failed)

    def _read(self, found: list[str]) -> None:
        rows = [_dress(line) for line in found] or [("No difference in the content.", "dim")]
        self.query_one(RowList).show(TextRows(rows))

    def _failed(self, error: BaseException) -> None:
        self.dismiss(None)
        self.rollpoint.report(error)

    def action_leave(self) -> None:
        """Back."""
        self.dismiss(None)


def _dress(line: str) -> Segment:
    text = safe(line.rstrip("\n").expandtabs(8))
    look = {"+": "good", "-": "bad", "@": "accent"}.get(text[:1], "")
    return (text, "strong" if text.startswith(("+++", "---")) else look)
