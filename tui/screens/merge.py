"""Choosing which recorded file systems become directories of the one around them, where there is no place for them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from engine.text import shown_path
from tui.screens.base import BaseDialog
from tui.text import content, fit
from tui.widgets.fields import Fields
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.rows import Row, RowList


class PlaceRows:
    """A `RowSource` of mount points, each with its mark."""

    def __init__(self, places: Sequence[bytes], chosen: Collection[bytes]) -> None:
        self.places, self._chosen = places, chosen

    def __len__(self) -> int:
        return len(self.places)

    def heading(self, width: int) -> Row | None:
        """None."""
        return None

    def selectable(self, index: int) -> bool:
        """All rows are."""
        return True

    def row(self, index: int, width: int) -> Row:
        """One mount point: ``[x] /home``."""
        place = self.places[index]
        return [(f" [{'x' if place in self._chosen else ' '}] ", "accent"),
                (fit(shown_path(place), max(1, width - 5)), "strong")]


class MergeScreen(BaseDialog[tuple[bytes, ...] | None]):
    """The dialog behind `M`: dismissed with the mount points that become directories, None for no change."""

    BINDINGS = [Binding("escape,q", "leave", show=False), Binding("space,x", "mark", show=False)]
    KEYS = (("space, x", "this one becomes a directory; again: it does not"), ("enter", "plan it like this"),
            ("esc", "leave it as it is"))

    def __init__(self, places: Sequence[bytes], chosen: Collection[bytes]) -> None:
        super().__init__()
        self._places, self._chosen = sorted(places), set(chosen)

    def compose(self) -> ComposeResult:
        """What it means, the file systems, keys."""
        with Vertical(id="dialog"):
            yield Static(content(("Which file systems become directories?", "head")), markup=False, id="title")
            with VerticalScroll(id="explain", can_focus=False):
                yield Fields([content("Nothing is mounted where these were recorded. What was in one that is marked "
                                      "goes into the directory there, and its line in fstab is put out of force."),
                              Content("")])
            yield RowList(id="fates")
            yield KeyBar([Hint("space", "Mark", "screen.mark"), Hint("enter", "Plan it"),
                          Hint("esc", "Leave", "screen.leave")])

    def on_mount(self) -> None:
        """Begin at the first."""
        self._show()
        self.query_one(RowList).focus()

    def _show(self) -> None:
        rows = self.query_one(RowList)
        rows.show(PlaceRows(self._places, self._chosen), rows.cursor)

    def action_mark(self) -> None:
        """Mark the one under the cursor, or no longer."""
        self._chosen ^= {self._places[self.query_one(RowList).cursor]}
        self._show()

    @on(RowList.Chosen)
    def _done(self, event: RowList.Chosen) -> None:
        event.stop()
        self.dismiss(tuple(place for place in self._places if place in self._chosen))

    def action_leave(self) -> None:
        """No change."""
        self.dismiss(None)
