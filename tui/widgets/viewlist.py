"""Several lists in one place, one of them shown: a row of views to choose from, the list, a line about the row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Static

from tui.text import Segment, content, count, fit, safe
from tui.widgets.changerows import ChangeRows, describe
from tui.widgets.rows import Row, RowList, RowSource
from tui.widgets.viewbar import ViewBar


@runtime_checkable
class LineRows(RowSource, Protocol):
    """A `RowSource` that says more about a row in the line below the list."""

    def line(self, index: int) -> list[Segment]:
        """The row in words."""


@runtime_checkable
class Counted(RowSource, Protocol):
    """A `RowSource` of which something else is counted than its rows; None: nothing."""

    amount: int | None


class TextRows:
    """A `RowSource` of plain lines."""

    def __init__(self, rows: Sequence[Segment]) -> None:
        self.lines = rows

    def __len__(self) -> int:
        return len(self.lines)

    def heading(self, width: int) -> Row | None:
        """None."""
        return None

    def selectable(self, index: int) -> bool:
        """All rows are."""
        return True

    def row(self, index: int, width: int) -> Row:
        """One line, cut at the width; the line below the list has it whole."""
        text, look = self.lines[index]
        return [(" " + fit(safe(text), max(1, width - 2)), look)]


class Findings(TextRows):
    """Lines some of which only say more about the one above: `amount` of them count, None: none does."""

    def __init__(self, rows: Sequence[Segment], amount: int | None = None) -> None:
        super().__init__(rows)
        self.amount = amount


def _label(label: str, source: RowSource) -> str:
    amount = source.amount if isinstance(source, Counted) else len(source)
    return label if amount is None else f"{label} {count(amount)}"


class ViewList(Vertical):
    """The views: pairs of a label (ours) and a source of rows. Each view keeps its own cursor. Posts `Turned` when
    another one is shown."""

    class Turned(Message):
        """Another view is shown."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._views: list[tuple[str, RowSource]] = []
        self._cursors: dict[str, int] = {}
        self._shown = ""

    def compose(self) -> ComposeResult:
        """Choice, list, line."""
        yield ViewBar(id="views")
        yield RowList(id="view-rows")
        yield Static("", markup=False, id="view-line")

    @property
    def rows(self) -> RowList:
        """The list."""
        return self.query_one("#view-rows", RowList)

    @property
    def bar(self) -> ViewBar:
        """The choice of views."""
        return self.query_one("#views", ViewBar)

    def show(self, views: Sequence[tuple[str, RowSource]], *, keep: bool = False) -> None:
        """Show other views; the one of the same place stays chosen. With `keep` the cursors stay where they are."""
        self._views = list(views)
        if not keep:
            self._cursors, self._shown = {}, ""
        self.bar.show([_label(label, source) for label, source in views])
        self._fill()

    def _fill(self) -> None:
        if self._views:
            label, source = self._views[min(self.bar.current, len(self._views) - 1)]
            if self._shown:     # where the cursor is now: what the list posted about it may not have been heard yet
                self._cursors[self._shown] = self.rows.cursor
            self._shown = label
            self.rows.show(source, self._cursors.get(label, 0))

    def on_mount(self) -> None:
        """Show another view the moment it is chosen, not by a message: the key that was typed after it must find its
        rows."""
        self.watch(self.bar, "current", self._fill, init=False)

    @on(ViewBar.Switched)
    def _switched(self, event: ViewBar.Switched) -> None:
        event.stop()
        self.post_message(self.Turned())

    @on(RowList.Moved)
    def _moved(self, event: RowList.Moved) -> None:
        event.stop()
        label, source = self._views[min(self.bar.current, len(self._views) - 1)]
        self._cursors[label] = event.index
        line = self.query_one("#view-line", Static)
        if isinstance(source, ChangeRows):
            line.update(content(*describe(source.change(event.index))))
        elif isinstance(source, TextRows) and event.index < len(source):
            line.update(content(source.lines[event.index]))
        elif isinstance(source, LineRows) and event.index < len(source):
            line.update(content(*source.line(event.index)))
        else:
            line.update("")
