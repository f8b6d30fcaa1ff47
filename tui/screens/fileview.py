"""One file of a point, or of the live system, alone."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Static

from engine.entries import Entry
from engine.points import RestorePoint
from engine.results import FileContent
from tui.entrytext import facts
from tui.screens.base import BaseScreen
from tui.text import content, path
from tui.widgets.fileview import FileDiffView
from tui.widgets.keybar import Hint, KeyBar

LIMIT = 4 << 20
"""So many bytes of a file are read at most; that there is more is said."""


class FileScreen(BaseScreen[None]):
    """The content of a regular file: of `point`, or the live one (None)."""

    BINDINGS = [Binding("escape,q", "leave", show=False)]
    KEYS = (("up, down, page up, page down", "scroll"), ("esc, q", "back"))

    def __init__(self, point: RestorePoint | None, entry: Entry) -> None:
        super().__init__()
        self._point, self._entry = point, entry
        self._name = f"point {point.number}" if point is not None else "now"

    def compose(self) -> ComposeResult:
        """Header, path, content, keys."""
        yield self.header()
        yield Static(content((self._name, "head"), "  ", (path(self._entry.path), "strong"), "  ",
                             *facts(self._entry)), markup=False, id="subject")
        yield FileDiffView(id="content")
        yield KeyBar([Hint("esc", "Back", "screen.leave"), Hint("?", "Help", "app.help")])

    def on_mount(self) -> None:
        """Read it in a worker."""
        engine, point, inside = self.rollpoint.engine, self._point, self._entry.path
        self.ask("content", lambda: engine.content(point, inside, LIMIT), self._read, self._failed)

    def _read(self, found: FileContent | None) -> None:
        self.query_one(FileDiffView).show(None, found, self._entry.path, self._name, self._name)

    def _failed(self, error: BaseException) -> None:
        self.dismiss(None)
        self.rollpoint.report(error)

    def action_leave(self) -> None:
        """Back."""
        self.dismiss(None)
