"""A message to read: an error with what to do, or a result. Enter or escape leaves it."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from tui.screens.base import BaseDialog
from tui.text import Line, content, error_lines
from tui.widgets.fields import Fields
from tui.widgets.keybar import Hint, KeyBar


class MessageScreen(BaseDialog[None]):
    """A title and some lines."""

    BINDINGS = [Binding("escape,enter,q", "close", "Close", show=False)]
    KEYS = (("up down", "scroll"), ("esc, enter, q", "close it"))

    def __init__(self, title: str, rows: Sequence[Line], *, bad: bool = False) -> None:
        super().__init__(classes="-bad" if bad else "")
        self._title, self._rows = title, rows

    @classmethod
    def of(cls, error: BaseException) -> MessageScreen:
        """Return the message for an error of the engine (or of anything else)."""
        return cls("That did not work", error_lines(error), bad=True)

    def compose(self) -> ComposeResult:
        """Title, text, keys."""
        with Vertical(id="dialog"):
            yield Static(content((self._title, "head")), markup=False, id="title")
            with VerticalScroll(id="text"):
                yield Fields(self._rows)
            yield KeyBar([Hint("enter", "Close", "screen.close")])

    def action_close(self) -> None:
        """Leave."""
        self.dismiss(None)
