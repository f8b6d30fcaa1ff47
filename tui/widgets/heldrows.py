"""A list whose keys wait for rows that are being worked out: what is typed ahead is done to the right ones."""

from __future__ import annotations

from collections.abc import Callable

from tui.widgets.rows import RowList

Act = Callable[[], None]


class HeldRows(RowList):
    """`in_turn` does something at once, or as soon as the rows are there; `chosen` is called on enter or a click on the
    cursor, without a message: the key that was typed after it must not overtake it."""

    def __init__(self, in_turn: Callable[[Act], None], chosen: Act, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._in_turn, self._when_chosen = in_turn, chosen

    def action_move(self, by: int) -> None:
        """Move the cursor by rows."""
        self._in_turn(lambda: RowList.action_move(self, by))

    def action_page(self, by: int) -> None:
        """Move the cursor by screens."""
        self._in_turn(lambda: RowList.action_page(self, by))

    def action_edge(self, side: int) -> None:
        """Move the cursor to the first or the last row."""
        self._in_turn(lambda: RowList.action_edge(self, side))

    def action_choose(self) -> None:
        """Choose the row under the cursor."""
        self._when_chosen()
