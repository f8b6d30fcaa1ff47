"""A check box drawn as ``[x] label``: the check boxes of Textual use half blocks that some console fonts lack."""

from __future__ import annotations

from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from tui.text import content


class CheckLine(Widget, can_focus=True):
    """On or off, by space or a click. The label is a constant of ours."""

    BINDINGS = [Binding("space", "turn", "CheckLine", show=False)]

    value: reactive[bool] = reactive(False)

    class Changed(Message):
        """The switch was turned."""

        def __init__(self, line: CheckLine, value: bool) -> None:
            super().__init__()
            self.line = line
            self.value = value

    def __init__(self, label: str, value: bool = False, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._label = label
        self.set_reactive(CheckLine.value, value)

    def render(self) -> Content:
        """Draw it."""
        return content(f"[{'x' if self.value else ' '}] {self._label}")

    def action_turn(self) -> None:
        """Turn it."""
        self.value = not self.value
        self.post_message(self.Changed(self, self.value))

    def on_click(self) -> None:
        """Turn it."""
        self.action_turn()
