"""The line that says where one is on the way: ``Scope > [Changes] > Safety point > Confirm > Run > Result``."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from tui.text import content


class StepBar(Widget):
    """The steps (labels of ours), the one at hand between brackets; a narrow line names that one alone."""

    current: reactive[int] = reactive(0)

    def __init__(self, labels: Sequence[str], *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._labels = tuple(labels)

    def render(self) -> Content:
        """Draw the line for the width there is."""
        at = self.current
        names = [f"[{label}]" if i == at else label for i, label in enumerate(self._labels)]
        if cell_len(" > ".join(names)) > self.size.width:
            return content(f"Step {at + 1} of {len(names)}: ", (self._labels[at], "strong"))
        looks = ["strong" if i == at else "dim" if i > at else "" for i in range(len(names))]
        return Content(" > ").join(content((name, look)) for name, look in zip(names, looks, strict=True))
