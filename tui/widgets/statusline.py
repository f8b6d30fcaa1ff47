"""The line that says what matters now, and the banner for what must not be overlooked."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Static

from tui.text import Line, Segment, content
from tui.widgets.fields import Fields


class StatusLine(Static):
    """One line: the store's fill, free room, the last good point; a short answer to an action covers it for a while."""

    ANSWER_SECONDS = 8.0

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__("", markup=False, id=id)
        self._standing: Content = Content("")
        self._answers = 0
        self._answering = False

    def show(self, parts: Sequence[Segment]) -> None:
        """Set what the line says when there is no answer to show."""
        self._standing = content(*parts)
        if not self._answering:
            self.update(self._standing)

    def answer(self, text: str, look: str = "good") -> None:
        """Say something for some seconds; "" ends what is being said."""
        self._answers += 1
        self._answering = bool(text)
        self.update(content((text, look)) if text else self._standing)
        if text:
            number = self._answers
            self.set_timer(self.ANSWER_SECONDS, lambda: self._end_answer(number))

    def _end_answer(self, number: int) -> None:
        if number == self._answers:     # a newer answer has a time of its own
            self.answer("")


class Banner(Fields):
    """Lines above the list that are there only when something is wrong or under way."""

    def on_mount(self) -> None:
        """Nothing yet."""
        self.display = False

    def show(self, rows: Sequence[Line]) -> None:
        """Show rows, or nothing."""
        self.display = bool(rows)
        super().show(rows)
