"""One line to type into, without a border (console fonts) and without invisible characters."""

from __future__ import annotations

from textual.widgets import Input

from tui.text import safe


class LineInput(Input):
    """A compact Input. Control and bidi characters that are pasted in become visible escapes at once."""

    def __init__(self, value: str = "", *, placeholder: str = "", max_length: int = 200,
                 id: str | None = None) -> None:  # noqa: A002
        super().__init__(value=safe(value), placeholder=placeholder, compact=True, max_length=max_length,
                         select_on_focus=False, id=id)
        self.cursor_blink = False

    def validate_value(self, value: str) -> str:
        """Keep what reaches the terminal printable."""
        return safe(value)
