"""The line that says which keys do something now. As many as fit are shown, the important ones first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.cells import cell_len
from textual import events
from textual.content import Content
from textual.widget import Widget

_GAP = "   "


class Hint(NamedTuple):
    """A key, what it does in a word or two, and the action a click runs (a constant of ours, never data).

    `weight`: hints of a higher weight are the first to go when there is no room.
    """

    key: str
    label: str
    action: str = ""
    weight: int = 1


class KeyBar(Widget):
    """A row of hints: ``s Take  d Changes  ? Help``."""

    def __init__(self, hints: Sequence[Hint] = (), *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._hints = tuple(hints)

    def show(self, hints: Sequence[Hint]) -> None:
        """Show other hints."""
        if tuple(hints) != self._hints:
            self._hints = tuple(hints)
            self.refresh()

    def render(self) -> Content:
        """Draw the hints that fit, in their order."""
        return Content(_GAP).join(Content.assemble((h.key, "bold $text-primary"), " " + h.label)
                                  for h in self.fitting(self.size.width))

    async def on_click(self, event: events.Click) -> None:
        """Run the action of the hint that was clicked."""
        at = 0
        offset = event.get_content_offset(self)
        for hint in self.fitting(self.size.width):
            end = at + _cells(hint)
            if offset is not None and at <= offset.x < end and hint.action:
                await self.run_action(hint.action)
                return
            at = end + len(_GAP)

    def fitting(self, width: int) -> list[Hint]:
        """Return the hints that fit into `width` cells."""
        left = list(self._hints)
        while left and sum(_cells(h) + len(_GAP) for h in left) - len(_GAP) > width:
            worst = max(reversed(left), key=lambda h: h.weight)
            left = [h for h in left if h is not worst]
        return left


def _cells(hint: Hint) -> int:
    return cell_len(hint.key) + 1 + cell_len(hint.label)
