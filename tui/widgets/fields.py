"""Lines of text, some with a label: wrapped for the width there is, long values under themselves."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Static

from tui.text import Line, laid_out


class Fields(Static):
    """A Static that lays its rows out again when its width changes."""

    def __init__(self, rows: Sequence[Line] = (), *, id: str | None = None) -> None:  # noqa: A002
        super().__init__("", markup=False, id=id)
        self._rows: Sequence[Line] = rows
        self._width = 0

    def show(self, rows: Sequence[Line]) -> None:
        """Show other rows."""
        self._rows, self._width = rows, 0
        self._lay_out()

    def on_mount(self) -> None:
        """Something to measure by, before the width is known."""
        self._lay_out()

    def on_resize(self, event: events.Resize) -> None:
        """Wrap anew."""
        self._lay_out()

    def _likely_width(self) -> int:
        """The width as long as it is not known: text that is wrapped twice is seen to jump, and a dialog may keep the
        height that the first wrapping asked for."""
        parent = self.parent
        if isinstance(parent, Widget) and parent.size.width > self.styles.gutter.width:
            return parent.size.width - self.styles.gutter.width
        return 70 if isinstance(self.screen, ModalScreen) else max(20, self.screen.size.width - 2)

    def _lay_out(self) -> None:
        width = self.size.width or self._likely_width()
        if width != self._width:
            self._width = width
            self.update(laid_out(self._rows, width))
