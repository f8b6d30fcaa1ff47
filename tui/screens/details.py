"""Everything that is known about one point, on a screen of its own."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding

from engine.points import RestorePoint
from tui.screens.base import BaseScreen
from tui.widgets.details import DetailPane
from tui.widgets.keybar import Hint, KeyBar


class DetailScreen(BaseScreen[None]):
    """The screen behind enter."""

    BINDINGS = [Binding("escape,q,enter", "leave", "Back", show=False)]
    KEYS = (("esc, enter", "back to the list"),)

    def __init__(self, point: RestorePoint) -> None:
        super().__init__()
        self._point = point

    def compose(self) -> ComposeResult:
        """Header, text, keys."""
        yield self.header()
        yield DetailPane(id="detail-full")
        yield KeyBar([Hint("esc", "Back", "screen.leave"), Hint("?", "Help", "app.help")])

    def on_mount(self) -> None:
        """Fill it."""
        pane = self.query_one(DetailPane)
        pane.show(self._point, self.rollpoint.now())
        pane.focus()

    def action_leave(self) -> None:
        """Back."""
        self.dismiss(None)
