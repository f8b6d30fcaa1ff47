"""A list with a cursor that draws only the rows on the screen: a million rows cost what a dozen do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from rich.cells import cell_len
from rich.segment import Segment as RichSegment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.css.scalar import Unit
from textual.geometry import Region, Size, Spacing
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.text import STYLES, Segment, safe

Row = Sequence[Segment]


class RowSource(Protocol):
    """What a list shows. Rows are asked for one by one, when they are drawn."""

    def __len__(self) -> int: ...

    def heading(self, width: int) -> Row | None:
        """The fixed first line (column titles), or None for none."""

    def row(self, index: int, width: int) -> Row:
        """The pieces of one row; longer ones are cut at `width` cells."""

    def selectable(self, index: int) -> bool:
        """Whether the cursor may stand on the row (a day's heading is skipped)."""


class NoRows:
    """The empty source."""

    def __len__(self) -> int:
        return 0

    def heading(self, width: int) -> Row | None:
        """No column titles."""
        return None

    def row(self, index: int, width: int) -> Row:
        """Never asked for."""
        return ()

    def selectable(self, index: int) -> bool:
        """Never asked for."""
        return False


class RowList(ScrollView, can_focus=True):
    """The list. Posts `Moved` when the cursor stands on another row and `Chosen` on enter or a click on the cursor."""

    COMPONENT_CLASSES = {f"rows--{look}" for look in STYLES if look} | {"rows--cursor", "rows--blur"}
    BINDINGS = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False),
        Binding("pagedown,ctrl+f", "page(1)", "Page down", show=False),
        Binding("home,g", "edge(-1)", "First", show=False),
        Binding("end,G", "edge(1)", "Last", show=False),
        Binding("enter", "choose", "Choose", show=False),
    ]

    cursor: reactive[int] = reactive(0, repaint=False)

    class _About(Message):
        """Something about row `index` of a list."""

        def __init__(self, rows: RowList, index: int) -> None:
            super().__init__()
            self.rows = rows
            self.index = index

        @property
        def control(self) -> RowList:
            """The list that posted it."""
            return self.rows

    class Moved(_About):
        """The cursor stands on row `index` now."""

    class Chosen(_About):
        """Enter was pressed on row `index`."""

    def __init__(self, source: RowSource | None = None, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self.source: RowSource = source or NoRows()
        self._looks: dict[str, Style] = {}

    def show(self, source: RowSource, cursor: int = 0) -> None:
        """Show other rows, with the cursor on (or next to) row `cursor`."""
        self.source = source
        self._measure()
        target = self._nearest(max(0, min(cursor, len(source) - 1)), 1)
        changed = target != self.cursor
        self.cursor = target
        self._keep_in_view()
        self.refresh()
        if not changed:
            self.post_message(self.Moved(self, target))

    # --- drawing -----------------------------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """How many cells of a row are seen: those that the scroll bar leaves."""
        return self.scrollable_content_region.width

    @property
    def _top(self) -> int:
        return 0 if self.source.heading(max(1, self.room)) is None else 1

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """As many rows as there are, up to a `max-height` in vh: that is left out of account by the framework where the
        parent's height is automatic, which would make a dialog taller than what is in it."""
        height, limit = super().get_content_height(container, viewport, width), self.styles.max_height
        if limit is None or limit.unit is not Unit.VIEW_HEIGHT:
            return height
        return min(height, int(limit.resolve(container, viewport)))

    def _measure(self) -> None:
        self.virtual_size = Size(0, len(self.source) + self._top)

    def notify_style_update(self) -> None:
        """Forget the cached colours when the theme changes."""
        super().notify_style_update()
        self._looks = {}

    def on_resize(self) -> None:
        """Keep the cursor on the screen."""
        self._measure()
        self._keep_in_view()

    def _look(self, name: str) -> Style:
        if name not in self._looks:
            self._looks[name] = self.rich_style if not name else self.rich_style + self.get_component_rich_style(
                f"rows--{name}", partial=True)
        return self._looks[name]

    def render_line(self, y: int) -> Strip:
        """Draw one line of the screen."""
        width = self.room
        plain = self._look("")
        heading = self.source.heading(width)
        if heading is not None and y == 0:
            return self._strip(heading, width, plain, None)
        index = y + self.scroll_offset.y - (heading is not None)
        if index >= len(self.source):
            return Strip.blank(width, plain)
        here = index == self.cursor and self.source.selectable(index)
        cover = self._look("cursor" if self.has_focus else "blur") if here else None
        return self._strip(self.source.row(index, width), width, plain, cover)

    def _strip(self, row: Row, width: int, plain: Style, cover: Style | None) -> Strip:
        segments = [RichSegment(safe(text), cover or self._look(look)) for text, look in row]
        strip = Strip(segments, sum(cell_len(s.text) for s in segments))
        return strip.crop(0, width).extend_cell_length(width, cover or plain)

    # --- moving ------------------------------------------------------------------------------------------------

    def _nearest(self, index: int, step: int) -> int:
        """The selectable row at or after `index` in the direction of `step`, else the nearest the other way."""
        for way in (step, -step):
            at = index
            while 0 <= at < len(self.source):
                if self.source.selectable(at):
                    return at
                at += way
        return max(0, index)

    def _keep_in_view(self) -> None:
        top = self._top
        # With the cursor on the first selectable row its day's heading should be seen as well.
        above = 1 if self.cursor > 0 and not self.source.selectable(self.cursor - 1) else 0
        region = Region(0, self.cursor + top - above, 1, 1 + above)
        self.scroll_to_region(region, spacing=Spacing(top=top), animate=False, force=True)

    def watch_cursor(self, old: int, new: int) -> None:
        """Redraw and tell the parent."""
        if self.is_mounted:
            self._keep_in_view()
            self.refresh()
            self.post_message(self.Moved(self, new))

    def watch_has_focus(self, _has_focus: bool) -> None:
        """The cursor looks different without the focus."""
        super().watch_has_focus(_has_focus)
        self.refresh()

    def action_move(self, by: int) -> None:
        """Move the cursor by rows."""
        target = self.cursor + by
        if 0 <= target < len(self.source):
            self.cursor = self._nearest(target, by)
            if target == 0 or self.cursor != target:
                self._keep_in_view()

    def action_page(self, by: int) -> None:
        """Move the cursor by screens."""
        step = max(1, self.size.height - self._top - 1)
        target = max(0, min(len(self.source) - 1, self.cursor + by * step))
        self.cursor = self._nearest(target, by)

    def action_edge(self, side: int) -> None:
        """Move the cursor to the first or the last row."""
        self.cursor = self._nearest(0 if side < 0 else max(0, len(self.source) - 1), -side)
        if side < 0:
            self.scroll_to(y=0, animate=False)

    def action_choose(self) -> None:
        """Choose the row under the cursor."""
        if self.cursor < len(self.source):
            self.post_message(self.Chosen(self, self.cursor))

    def on_click(self, event: events.Click) -> None:
        """Move to the clicked row; a click on the cursor chooses."""
        index = event.y + self.scroll_offset.y - self._top
        if event.y < self._top or not 0 <= index < len(self.source) or not self.source.selectable(index):
            return
        if index == self.cursor and event.chain > 1:
            self.action_choose()
        self.cursor = index
