"""The rows of a directory: the point's side, the live side, how they differ, and a bar over all points.

Both sides are drawn in one row, so they are aligned by name whatever is missing; rows are made when they are drawn.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

from engine.entries import Entry, Kind, Status
from engine.text import printable
from tui.entrytext import GLYPHS, amount, mode, moment, short_moment
from tui.listing import ABSENT, SAME, Listing, cell_of
from tui.text import Segment, fit
from tui.widgets.rows import Row

BOTH = 112
"""From this width on both sides are shown."""
_LONG_TIME = "%Y-%m-%d %H:%M"


class Columns(NamedTuple):
    """How many cells the parts of a row have; 0: not shown."""

    name: int
    mode: int
    size: int
    time: int
    bar: int
    both: bool


def columns(width: int, points: int) -> Columns:
    """Return the parts for a width: the important ones where there is little room."""
    both = width >= BOTH
    time = (16 if width >= 150 else 11) if both else 16 if width >= 90 else 11 if width >= 56 else 0
    modes = (10 if width >= 160 else 1) if both else 10 if width >= 72 else 1
    most = 24 if width >= 90 else 16 if width >= 60 else 8
    bar = min(points, most if not both or width >= 130 else 16)
    side = 1 + modes + 1 + 8 + (1 + time if time else 0)      # all of a side but its name
    rest = width - 1 - 2 - (bar + 2 + 1 if bar else 0)
    if both:
        return Columns(max(8, (rest - 2 * side - 9) // 2), modes, 8, time, bar, True)
    return Columns(max(6, rest - side - 4), modes, 8, time, bar, False)


class BrowseRows:
    """A `RowSource` over a listing. `rows` are indexes into its names, `number` is the point that is looked at, `live`
    whether the live side is the one that the keys are about, `marked` the paths that are marked."""

    def __init__(self, listing: Listing, rows: Sequence[int], number: int, now: float, *, live: bool = False,
                 marked: Collection[bytes] = ()) -> None:
        self.listing = listing
        self.rows = rows
        self.number = number
        self.now = now
        self.live = live
        self.marked = marked

    def __len__(self) -> int:
        return len(self.rows)

    def selectable(self, index: int) -> bool:
        """All rows are."""
        return True

    def find(self, name: bytes) -> int | None:
        """Return the row of a name, None when it has none."""
        at = self.listing.index_of(name)
        try:
            return None if at is None else self.rows.index(at)
        except ValueError:
            return None

    def heading(self, width: int) -> Row | None:
        """Column titles; the side that the keys are about stands in brackets."""
        cols = columns(width, len(self.listing.numbers))
        numbers = self.listing.numbers
        titles = (f"Point {self.number}" if numbers else "Point", "Now")
        sides = [self._titles(f"[{title}]" if self.live is bool(i) else title, cols) for i, title in enumerate(titles)]
        bar = fit(f"{numbers[0]} to {numbers[-1]}" if cols.bar > 6 else "", cols.bar + 2) + " " if cols.bar else ""
        text = f"  {sides[0]} │   │ {sides[1]} {bar}" if cols.both else f"  {sides[self.live]} {bar}Now"
        return [(fit(text, width), "head")]

    @staticmethod
    def _titles(name: str, cols: Columns) -> str:
        kind = fit("Mode" if cols.mode > 4 else "", cols.mode)
        when = " " + fit("Changed", cols.time) if cols.time else ""
        return f"{fit(name, cols.name)} {kind} {fit('Size', cols.size, right=True)}{when}"

    def row(self, index: int, width: int) -> Row:
        """One name."""
        cols = columns(width, len(self.listing.numbers))
        at = self.rows[index]
        one = self.listing.names[at]
        here, live = one.at(self.number), one.live
        folder = one.shown(self.number, live=self.live)
        path = folder.path if folder is not None else one.name
        out: list[Segment] = [("* " if path in self.marked else "  ", "accent")]
        name = printable(one.name) + ("/" if folder is not None and folder.kind is Kind.DIR else "")
        sign = self._sign(at)
        if cols.both:
            nowhere = here is None and live is None
            out += [*self._side(name, here, cols, sign, always=nowhere), (" │ ", "dim"), sign, (" │ ", "dim"),
                    *self._side(name, live, cols, sign), (" ", ""), *self._bar(at, cols)]
            return out
        shown = live if self.live else here
        side = self._side(name, shown, cols, sign, always=True)
        return [*out, *side, (" ", ""), *self._bar(at, cols), (" ", ""), sign]

    def _sign(self, at: int) -> Segment:
        """How the live entry differs from the one of the point."""
        one = self.listing.names[at]
        if self.listing.trouble:
            return ("?", "dim")
        if one.live is None and one.at(self.number) is None:
            return (" ", "")
        status = self.listing.beside(at, self.number)
        if status is not None:
            return (status.value, GLYPHS[status][1])
        # Of a directory only its own attributes are compared: nothing is claimed about what is in it.
        return (" ", "") if one.live is not None and one.live.kind is Kind.DIR else (SAME, "dim")

    def _side(self, name: str, entry: Entry | None, cols: Columns, sign: Segment, *, always: bool = False
              ) -> list[Segment]:
        """One side of a row; blank where the name is not there, but for the name itself with `always`."""
        rest = cols.mode + 1 + cols.size + (1 + cols.time if cols.time else 0)
        if entry is None:
            said = fit("not here" if always and rest >= 20 else "", rest)
            return [(fit(name if always else "", cols.name), "dim"), (f" {said}", "dim")]
        when = "" if not cols.time else " " + (
            fit(moment(entry, _LONG_TIME), 16) if cols.time > 11 else fit(short_moment(entry, self.now), 11))
        look = "strong" if entry.kind is Kind.DIR else "" if sign[0] in (SAME, Status.ATTRS.value) else sign[1]
        return [(fit(name, cols.name), look), (f" {fit(mode(entry), cols.mode)}", "dim"),
                (f" {fit(amount(entry), cols.size, right=True)}", ""), (when, "dim")]

    def _bar(self, at: int, cols: Columns) -> list[Segment]:
        """The points, the one that is looked at between brackets."""
        if not cols.bar:
            return []
        text, numbers = self.listing.bar(at, cols.bar), self.listing.numbers
        here = cell_of(len(numbers), cols.bar, numbers.index(self.number)) if self.number in numbers else -1
        out: list[Segment] = []
        for cell, glyph in enumerate(text):
            look = "dim" if glyph in (ABSENT, SAME) else GLYPHS[glyph][1]
            if cell == here:
                out += [("[", "head"), (glyph, look), ("]", "head")]
            elif out and out[-1][1] == look:
                out[-1] = (out[-1][0] + glyph, look)
            else:
                out.append((glyph, look))
        return [*out, (" " if here >= 0 else "   ", "")]
