"""The line that filters a list as one types. It is hidden until it is wanted, and again when it is left empty."""

from __future__ import annotations

from textual.widgets import Input

from tui.widgets.lineinput import LineInput
from tui.widgets.rows import RowList


class FilterLine(LineInput):
    """Words that rows must have. `of` names the list (``#log``) to which enter and `clear` go back. What is typed is
    heard of by `Input.Changed`, as from any line."""

    def __init__(self, placeholder: str, of: str, *, id: str = "filter") -> None:  # noqa: A002
        super().__init__(placeholder=placeholder, id=id)
        self._of = of

    def on_mount(self) -> None:
        """Nobody filters yet."""
        self.display = False

    @property
    def words(self) -> list[str]:
        """The words, in small letters."""
        return self.value.lower().split()

    def open(self) -> None:
        """Show it and give it the focus at once, so that what is typed next goes there."""
        self.display = True
        self.screen.set_focus(self)

    def clear_away(self) -> bool:
        """Take the words and the line away and go back to the list; False where there was no line."""
        if not self.display:
            return False
        self.value = ""
        self.display = False
        self._back()
        return True

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter: on with the list, which stays filtered."""
        event.stop()
        self.display = bool(self.value)
        self._back()

    def _back(self) -> None:
        rows = self.screen.query_one(self._of, RowList)
        self.screen.set_focus(rows if rows.display else None)
