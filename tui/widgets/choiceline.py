"""One of a few choices in one line: ``With: [replica]  zfs  lvm``. By arrow keys, space or a click."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from tui.text import Segment, content, safe


class ChoiceLine(Widget, can_focus=True):
    """The line. Posts `Changed` when another one is chosen. The label is a constant of ours."""

    BINDINGS = [Binding("right,l,space", "step(1)", "ChoiceLine", show=False),
                Binding("left,h", "step(-1)", show=False)]

    at: reactive[int] = reactive(0)

    class Changed(Message):
        """Another one was chosen."""

        def __init__(self, line: ChoiceLine, value: str) -> None:
            super().__init__()
            self.line, self.value = line, value

    def __init__(self, label: str, choices: Sequence[str], *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._label = label
        self.choices = tuple(choices)

    @property
    def value(self) -> str:
        """What is chosen."""
        return self.choices[self.at]

    def offer(self, choices: Sequence[str]) -> None:
        """Offer other choices; what was chosen stays so where it is among them."""
        was = self.value
        self.choices = tuple(choices)
        self.set_reactive(ChoiceLine.at, self.choices.index(was) if was in self.choices else 0)
        self.refresh()

    def _parts(self) -> list[Segment]:
        return [(f"{self._label} ", ""), *((f"[{safe(one)}]", "strong") if i == self.at else (f" {safe(one)} ", "")
                                              for i, one in enumerate(self.choices))]

    def render(self) -> Content:
        """Draw it."""
        return content(*self._parts())

    def action_step(self, by: int) -> None:
        """Choose the next or the previous one."""
        self._choose((self.at + by) % len(self.choices))

    def _choose(self, at: int) -> None:
        if at != self.at:
            self.at = at
            self.post_message(self.Changed(self, self.value))

    def on_click(self, event: events.Click) -> None:
        """Choose what was clicked."""
        end = 0
        for index, (text, _) in enumerate(self._parts()):
            end += len(text)
            if event.x < end:
                if index:
                    self._choose(index - 1)
                return
