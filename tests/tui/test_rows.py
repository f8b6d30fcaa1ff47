"""The list that draws only the rows on the screen: how wide a row is."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult

from tui.widgets.rows import Row, RowList


class Ends:
    """Rows, and a heading, that mark their last cell."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def heading(self, width: int) -> Row | None:
        return [("=" * (width - 1) + ">", "")]

    def row(self, index: int, width: int) -> Row:
        return [("-" * (width - 1) + "E", "")]

    def selectable(self, index: int) -> bool:
        return True


class OneList(App[None]):
    CSS = "RowList { scrollbar-size-vertical: 1; }"

    def compose(self) -> ComposeResult:
        yield RowList(Ends(3))


@pytest.mark.parametrize("width", [20, 81])
async def test_the_last_cell_of_a_row_is_seen_beside_a_scroll_bar_and_without_one(width: int) -> None:
    app = OneList()
    async with app.run_test(size=(width, 10)) as pilot:
        rows = app.query_one(RowList)

        def lines() -> list[str]:
            return ["".join(s.text for s in strip) for strip in app.screen._compositor.render_strips()]

        for count, bar in ((3, 0), (100, 1), (2, 0)):       # it comes, and it goes
            rows.show(Ends(count))
            await pilot.pause()
            await pilot.pause()
            assert rows.show_vertical_scrollbar is bool(bar)
            shown = [line for line in lines() if line.strip()]
            assert len(shown) == min(10, count + 1) and rows.room == width - bar
            assert shown[0] == "=" * (width - 1 - bar) + ">" + " " * bar
            assert all(line[:width - bar].endswith("-E") for line in shown[1:]), shown
        await pilot.resize_terminal(width + 7, 10)
        await pilot.pause()
        assert lines()[1].rstrip() == "-" * (width + 6) + "E"
