"""A row of views to choose from by number: ``1 Changes 157   2 Deleted 8``. Tabs draw glyphs no console has."""

from __future__ import annotations

from collections.abc import Sequence

from textual import events
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget


class ViewBar(Widget):
    """The row; `current` is the index of the view that is shown, in reverse and between brackets."""

    current: reactive[int] = reactive(0)

    class Switched(Message):
        """Another view was chosen."""

        def __init__(self, index: int) -> None:
            super().__init__()
            self.index = index

    def __init__(self, labels: Sequence[str] = (), *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._labels = tuple(labels)

    def show(self, labels: Sequence[str]) -> None:
        """Set the labels (constants and counts of ours, no data)."""
        self._labels = tuple(labels)
        self.refresh()

    def _shown(self) -> list[str]:
        """The labels with their numbers; with less room the others lose their counts, the blanks around them, and at
        last their words."""
        at = self.current
        words = [label.split()[0] for label in self._labels]
        here = [f"[{i + 1} {label}]" for i, label in enumerate(self._labels)]
        for others in ([f" {i + 1} {label} " for i, label in enumerate(self._labels)],
                       [f" {i + 1} {word} " for i, word in enumerate(words)],
                       [f"{i + 1} {word}" for i, word in enumerate(words)]):
            row = [here[i] if i == at else other for i, other in enumerate(others)]
            if sum(map(len, row)) + len(row) - 1 <= self.size.width:
                return row
        return [here[i] if i == at else str(i + 1) for i in range(len(words))]

    def render(self) -> Content:
        """Draw the row."""
        return Content(" ").join(Content.assemble((text, "bold reverse" if i == self.current else ""))
                                 for i, text in enumerate(self._shown()))

    def on_click(self, event: events.Click) -> None:
        """Choose the clicked view."""
        offset, at = event.get_content_offset(self), 0
        for index, text in enumerate(self._shown()):
            if offset is not None and at <= offset.x < at + len(text):
                self.choose(index)
            at += len(text) + 1

    def choose(self, index: int) -> None:
        """Go to a view, if there is one of that number."""
        if 0 <= index < len(self._labels) and index != self.current:
            self.current = index
            self.post_message(self.Switched(index))

    def step(self, by: int) -> None:
        """Go to the next or the previous view."""
        if self._labels:
            self.choose((self.current + by) % len(self._labels))
