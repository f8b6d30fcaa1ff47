"""The rows of two contents of a file: line numbers, signs, text that moves left and right, words that differ."""

from __future__ import annotations

from itertools import groupby

from rich.cells import cell_len

from tui.filediff import COME, GAP, GONE, SAME, Comparison, Rows, Sheet, differing
from tui.text import Segment, count, fit, plural
from tui.widgets.rows import Row

SIGNS = {SAME: " ", GONE: "-", COME: "+"}
_LOOKS = {SAME: "", GONE: "bad", COME: "good"}
_MARKED = {GONE: "minus", COME: "plus"}
Dressed = list[list[Segment]] | None
"""The lines of a sheet with colours, where they have any."""


class FileRows:
    """A `RowSource` over the rows of a comparison. `shift` is how many cells the text is moved to the left; `end` is
    said in a row of its own behind the last (what was not read). With `places` both sides have the same numbers."""

    def __init__(self, found: Comparison, rows: Rows, *, side_by_side: bool = False, alone: bool = False,
                 places: bool = False, dressed: tuple[Dressed, Dressed] = (None, None), end: str = "") -> None:
        self.found, self.rows = found, rows
        self.side_by_side, self.alone, self._places = side_by_side, alone, places
        self._dressed = dressed
        self._marked = _marked_places if places else _marked
        self._end = end
        self.shift = 0

    def __len__(self) -> int:
        return len(self.rows) + bool(self._end)

    def heading(self, width: int) -> Row | None:
        """None."""
        return None

    def selectable(self, index: int) -> bool:
        """All rows are."""
        return True

    def row(self, index: int, width: int) -> Row:
        """One line, or a line of each side."""
        if index >= len(self.rows):
            return [(f" {self._end}", "warn")]
        kind, old, new = self.rows.kinds[index], self.rows.old[index], self.rows.new[index]
        if kind == GAP:
            return self._gap(old, new, width)
        if self.side_by_side:
            return self._beside(kind, old, new, width)
        gutter = self._gutter(old, self.found.old) if kind != COME else ""
        if not self.alone and not self._places and width >= 60:
            gutter = fit(gutter, self.found.old.gutter, right=True)
            gutter += " " + fit(self._gutter(new, self.found.new) if kind != GONE else "", self.found.new.gutter,
                                right=True)
        elif not self.alone:
            gutter = self._gutter(old, self.found.old) if kind == GONE else self._gutter(new, self.found.new)
        room = max(1, width - cell_len(gutter) - 4)
        text = self._text(kind, old, new)
        if self.alone:
            return [(f" {gutter}  ", "dim"), *_window(text, self.shift, room)]
        return [(f" {gutter} ", "dim"), (SIGNS[kind] + " ", _LOOKS[kind]), *_window(text, self.shift, room)]

    def longest(self, width: int, first: int, last: int) -> int:
        """Return how many cells the longest text of some rows takes beyond what a row has room for."""
        room = (width // 2 if self.side_by_side else width) - 10
        size = 0
        for at in range(first, min(last, len(self.rows))):
            kind, old, new = self.rows.kinds[at], self.rows.old[at], self.rows.new[at]
            if kind != GAP:
                texts = [self.found.old.line(old)] if old >= 0 and kind != COME else []
                texts += [self.found.new.line(new)] if new >= 0 and kind != GONE else []
                size = max(size, *map(cell_len, texts), 0)
        return max(0, size - room)

    @staticmethod
    def _gutter(at: int, sheet: Sheet) -> str:
        return fit(sheet.number(at) if at >= 0 else "", sheet.gutter, right=True)

    def _gap(self, first: int, size: int, width: int) -> Row:
        old = self.found.old
        word = f" {plural(size, 'equal line')}, {old.number(first)} to {old.number(first + size - 1)} "
        if cell_len(word) + 6 > width:
            word = f" {count(size)} equal "
        return [(fit("───" + word + "─" * max(3, width - cell_len(word) - 4), width - 1), "dim")]

    def _text(self, kind: int, old: int, new: int) -> list[Segment]:
        """The text of a row of a unified difference."""
        if kind == SAME:
            return self._plain(old, new=False)
        mine, other = (old, new) if kind == GONE else (new, old)
        sheet, beside = (self.found.old, self.found.new) if kind == GONE else (self.found.new, self.found.old)
        if other < 0:
            return [(sheet.line(mine), _LOOKS[kind])]
        return self._marked(sheet.line(mine), beside.line(other), kind)

    def _plain(self, at: int, *, new: bool) -> list[Segment]:
        """A line as it is, with the colours of its words where it has any."""
        dressed = self._dressed[new]
        if dressed is not None and at < len(dressed):
            return dressed[at]
        return [((self.found.new if new else self.found.old).line(at), "")]

    def _beside(self, kind: int, old: int, new: int, width: int) -> Row:
        left = max(12, (width - 3) // 2)
        right = max(12, width - 3 - left)
        sheets = self.found
        if kind == SAME:
            return [*self._half(self._plain(old, new=False), " ", "", old, sheets.old, left), (" │ ", "dim"),
                    *self._half(self._plain(new, new=True), " ", "", new, sheets.new, right)]
        a = sheets.old.line(old) if old >= 0 else ""
        b = sheets.new.line(new) if new >= 0 else ""
        both = old >= 0 and new >= 0
        gone = self._marked(a, b, GONE) if both else [(a, "bad")]
        come = self._marked(b, a, COME) if both else [(b, "good")]
        return [*self._half(gone, "-" if old >= 0 else " ", "bad", old, sheets.old, left), (" │ ", "dim"),
                *self._half(come, "+" if new >= 0 else " ", "good", new, sheets.new, right)]

    def _half(self, text: list[Segment], sign: str, look: str, at: int, sheet: Sheet, width: int) -> list[Segment]:
        head: list[Segment] = [(" " + self._gutter(at, sheet) + " ", "dim"), (sign + " ", look)]
        return [*head, *_window(text, self.shift, max(1, width - sheet.gutter - 4), pad=True)]


def _marked(mine: str, other: str, kind: int) -> list[Segment]:
    """A line whose middle differs from the line in its place; where most of it does, nothing is marked."""
    start, end = differing(mine, other)
    if end - start > len(mine) * 2 // 3 or start >= end:
        return [(mine, _LOOKS[kind])]
    return [(mine[:start], _LOOKS[kind]), (mine[start:end], _MARKED[kind]), (mine[end:], _LOOKS[kind])]


def _marked_places(mine: str, other: str, kind: int) -> list[Segment]:
    """A line of a hex dump, each place marked that differs."""
    runs = groupby(zip(mine, other, strict=False), key=lambda pair: pair[0] != pair[1])
    return [("".join(pair[0] for pair in run), (_MARKED if differs else _LOOKS)[kind]) for differs, run in runs]


def _window(pieces: list[Segment], shift: int, room: int, *, pad: bool = False) -> list[Segment]:
    """What is seen of a text from cell `shift` on, in `room` cells. A `<` or `>` at an end says that there is more."""
    out: list[Segment] = []
    used, skip = 0, shift
    for text, look in pieces:
        size = cell_len(text)
        if size <= skip:
            skip -= size
            continue
        part = fit_from(text, skip)
        skip = 0
        out.append((part, look))
        used += cell_len(part)
        if used > room:
            break
    if used > room:
        out = [*_cut(out, room - 1), (">", "dim")]
    elif pad and used < room:
        out.append((" " * (room - used), ""))
    return out


def fit_from(text: str, skip: int) -> str:
    """Return a text without its first `skip` cells; half of a wide character becomes a blank."""
    if text.isascii():
        return text[skip:]
    at = 0
    while skip > 0 and at < len(text):
        skip -= cell_len(text[at])
        at += 1
    return " " * -skip + text[at:]


def _cut(pieces: list[Segment], room: int) -> list[Segment]:
    out: list[Segment] = []
    for text, look in pieces:
        if room <= 0:
            break
        size = min(room, cell_len(text))
        out.append((text if size == cell_len(text) else _first(text, size), look))
        room -= size
    return out


def _first(text: str, room: int) -> str:
    """The first cells of a text, exactly `room` of them."""
    if text.isascii():
        return text[:room]
    used = 0
    for at, char in enumerate(text):
        if used + cell_len(char) > room:
            return text[:at] + " " * (room - used)
        used += cell_len(char)
    return text
