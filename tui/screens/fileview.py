"""One file of a point, or of the live system, alone."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Static

from engine.entries import Entry
from engine.points import RestorePoint
from engine.results import FileContent
from tui.entrytext import facts
from tui.filediff import READ
from tui.screens.base import BaseScreen
from tui.text import called, content, path
from tui.widgets.fileview import FileDiffView
from tui.widgets.keybar import Hint, KeyBar

_HINTS = (Hint("?", "Help", "app.help", 0), Hint("esc", "Back", "screen.leave", 0))


class FileScreen(BaseScreen[None]):
    """The content of a regular file: of `point`, or the live one (None)."""

    BINDINGS = [Binding("escape,q", "leave", show=False)]
    KEYS = (("m", "as text, as bytes (hex)"), ("left right", "move long lines"), ("esc, q", "back"))

    def __init__(self, point: RestorePoint | None, entry: Entry) -> None:
        super().__init__()
        self._point, self._entry = point, entry
        self._side = f"point {called(point)}" if point is not None else "now"

    def compose(self) -> ComposeResult:
        """Header, path, content, keys."""
        yield self.header()
        yield Static(content((path(self._entry.path), "strong"), "  ", *facts(self._entry)), markup=False, id="subject")
        yield FileDiffView(id="content")
        yield KeyBar(_HINTS)

    def on_mount(self) -> None:
        """Read it in a worker."""
        self.query_one(FileDiffView).rows.focus()
        engine, point, inside = self.rollpoint.engine, self._point, self._entry.path
        self.ask("content", lambda: engine.content(point, inside, READ), self._read, self._failed)

    def _read(self, found: FileContent | None) -> None:
        self.query_one(FileDiffView).show(None, found, self._entry.path, self._side, self._side)

    @on(FileDiffView.Shown)
    def _shown(self, event: FileDiffView.Shown) -> None:
        event.stop()
        self.query_one(KeyBar).show([*event.view.hints(), *_HINTS])

    def _failed(self, error: BaseException) -> None:
        self.dismiss(None)
        self.rollpoint.report(error)

    def action_leave(self) -> None:
        """Back."""
        self.dismiss(None)
