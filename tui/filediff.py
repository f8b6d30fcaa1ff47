"""The difference of two contents of one file, as rows that can be drawn one by one. Pure: contents in, rows out.

A content becomes a `Sheet` (lines of text, or of a hex dump), two sheets a `Comparison`, and that the `Rows` of a
layout. Everything is computed once, in a worker; a row is made into text when it is drawn.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from engine.results import FileContent
from tui.linematch import Block, Matching, match
from tui.magic import guess, is_binary
from tui.text import safe

READ = 4 << 20
"""How many bytes of a content are looked at; callers ask the engine for as many."""
LINES = 200_000
"""How many lines of a text are looked at: more take memory, and nobody reads them."""
PIECE = 2000
"""A line longer than this is cut into pieces of as many characters, each a row."""
CONTEXT = 3
"""How many equal lines are shown around a change."""
SAME, GONE, COME, PAIR, GAP = range(5)
"""What a row is: an equal line, an old line, a new line, an old line beside a new one, equal lines left out."""
_HEX = 16


class Sheet:
    """One content as lines. `keys` are what two sheets are compared by; `line` and `number` are the text of a line
    and what stands before it, in `gutter` cells at most."""

    def __init__(self, keys: Sequence[str] | Sequence[bytes], gutter: int, number: Callable[[int], str],
                 render: Callable[[int], str]) -> None:
        self.keys = keys
        self.gutter = gutter
        self.number = number
        self.line = lru_cache(maxsize=1024)(render)

    def __len__(self) -> int:
        return len(self.keys)


def text_of(data: bytes, *, whole: bool = True) -> str:
    """Return a content as text: UTF-16 where it says so, UTF-8 otherwise; other bytes stay as surrogates. Of a cut
    content the last, unfinished line is left out."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    if not whole and b"\n" in data:
        data = data[:data.rindex(b"\n") + 1]
    return data.decode("utf-8", "surrogateescape")


def first_lines(data: bytes) -> bytes:
    """Return the first `LINES` lines of a content."""
    if data.count(b"\n") < LINES:
        return data
    return data[:len(data) - len(data.split(b"\n", LINES)[-1])]


def text_sheet(data: bytes, *, whole: bool = True) -> Sheet:
    """Return a content as lines. An end of line of the DOS kind is a visible character of its line, and so is the
    lack of one at the end of the file."""
    text = text_of(data, whole=whole)
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
        open_end = False
    else:
        open_end = whole
    numbers = array("I", range(1, len(lines) + 1))
    gutter = len(str(len(lines)))
    if any(len(line) > PIECE for line in lines):
        lines, numbers = _pieces(lines)
    last = len(lines) - 1
    # "\n" cannot be in a line, so a key with one differs from the same line with an end.
    keys = [*lines[:-1], lines[-1] + "\n"] if open_end and lines else lines

    def render(index: int) -> str:
        shown = safe(lines[index].expandtabs(8))
        return shown + " (no end of line)" if open_end and index == last else shown

    return Sheet(keys, gutter, lambda at: str(numbers[at] or "+"), render)


def _pieces(lines: list[str]) -> tuple[list[str], array[int]]:
    pieces: list[str] = []
    numbers = array("I")
    for number, line in enumerate(lines, 1):
        for at in range(0, max(1, len(line)), PIECE):
            pieces.append(line[at:at + PIECE])
            numbers.append(0 if at else number)
    return pieces, numbers


def hex_sheet(data: bytes) -> Sheet:
    """Return a content as a hex dump, 16 bytes a line."""
    rows = [data[at:at + _HEX] for at in range(0, len(data), _HEX)]

    def render(index: int) -> str:
        row = rows[index]
        left, right = row[:8].hex(" "), row[8:].hex(" ")
        letters = "".join(chr(b) if 32 <= b < 127 else "." for b in row)
        return f"{left:<23}  {right:<23}  |{letters:<16}|"

    digits = max(6, len(f"{len(data):x}"))
    return Sheet(rows, digits, lambda at: f"{at * _HEX:0{digits}x}", render)


class Part(NamedTuple):
    """A stretch of both sheets that is equal, or that differs (then one of them may be empty)."""

    same: bool
    old: int
    old_end: int
    new: int
    new_end: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sheets and what they have in common. `coarse`: some stretch was too large to be matched line by line."""

    old: Sheet
    new: Sheet
    parts: tuple[Part, ...]
    coarse: bool = False

    @property
    def lines_gone(self) -> int:
        """How many old lines are not in the new content."""
        return sum(p.old_end - p.old for p in self.parts if not p.same)

    @property
    def lines_come(self) -> int:
        """How many new lines were not in the old content."""
        return sum(p.new_end - p.new for p in self.parts if not p.same)

    @property
    def hunks(self) -> int:
        """In how many places they differ."""
        return sum(1 for p in self.parts if not p.same)


def compare_text(old: Sheet, new: Sheet) -> Comparison:
    """Compare line by line."""
    return _compared(old, new, match(old.keys, new.keys))


def compare_bytes(old: Sheet, new: Sheet) -> Comparison:
    """Compare place by place: in a binary content a byte that moved is another byte."""
    blocks: list[Block] = []
    start = -1
    for at, (a, b) in enumerate(zip(old.keys, new.keys, strict=False)):
        if a == b:
            start = at if start < 0 else start
        elif start >= 0:
            blocks.append(Block(start, start, at - start))
            start = -1
    if start >= 0:
        blocks.append(Block(start, start, min(len(old), len(new)) - start))
    return _compared(old, new, Matching(blocks, False))


def _compared(old: Sheet, new: Sheet, found: Matching) -> Comparison:
    parts: list[Part] = []
    i = j = 0
    for a, b, size in [*found.blocks, Block(len(old), len(new), 0)]:
        if i < a or j < b:
            parts.append(Part(False, i, a, j, b))
        if size:
            parts.append(Part(True, a, a + size, b, b + size))
        i, j = a + size, b + size
    return Comparison(old, new, tuple(parts), found.coarse)


class Rows:
    """The rows of a layout. `kinds` says what each is, `old` and `new` are places in the sheets (-1: none; in a GAP
    `old` is the first old line left out and `new` how many are), `hunks` the rows where a difference begins."""

    def __init__(self) -> None:
        self.kinds = bytearray()
        self.old = array("i")
        self.new = array("i")
        self.hunks: list[int] = []

    def __len__(self) -> int:
        return len(self.kinds)

    def add(self, kind: int, old: Sequence[int], new: Sequence[int]) -> None:
        """Add rows of one kind."""
        self.kinds.extend(bytes((kind,)) * len(old))
        self.old.extend(old)
        self.new.extend(new)

    def same(self, part: Part, context: int | None, *, first: bool, last: bool) -> None:
        """Add equal lines; of many only those next to a difference."""
        size = part.old_end - part.old
        head, tail = (size, 0) if context is None else (0 if first else context, 0 if last else context)
        if size <= head + tail + 1:
            head, tail = size, 0
        self.add(SAME, range(part.old, part.old + head), range(part.new, part.new + head))
        if head + tail < size:
            self.add(GAP, [part.old + head], [size - head - tail])
            self.add(SAME, range(part.old_end - tail, part.old_end), range(part.new_end - tail, part.new_end))

    def next_hunk(self, row: int, by: int) -> int | None:
        """Return the row where the next (`by` 1) or the previous (-1) difference begins, None when there is none."""
        at = bisect_right(self.hunks, row) if by > 0 else bisect_left(self.hunks, row) - 1
        return self.hunks[at] if 0 <= at < len(self.hunks) else None


def lay_out(found: Comparison, *, side_by_side: bool, context: int | None = CONTEXT) -> Rows:
    """Return the rows of a comparison; `context` None leaves nothing out."""
    rows, last = Rows(), len(found.parts) - 1
    for index, part in enumerate(found.parts):
        if part.same:
            rows.same(part, context, first=index == 0, last=index == last)
            continue
        rows.hunks.append(len(rows))
        olds, news = range(part.old, part.old_end), range(part.new, part.new_end)
        paired = min(len(olds), len(news))
        if side_by_side:
            longest = max(len(olds), len(news))
            rows.add(PAIR, [*olds, *[-1] * (longest - len(olds))], [*news, *[-1] * (longest - len(news))])
        else:   # each old line knows the new one that stands in its place, so that both can show what differs
            rows.add(GONE, olds, [*news[:paired], *[-1] * (len(olds) - paired)])
            rows.add(COME, [*olds[:paired], *[-1] * (len(news) - paired)], news)
    return rows


@dataclass(frozen=True, slots=True)
class FileDiff:
    """Two contents of a file (None: absent), looked at. `binary` says how they are best shown; `lines_cut` that the
    text has more than `LINES` lines."""

    old: FileContent | None
    new: FileContent | None
    text: Comparison
    bytes: Comparison
    binary: bool
    same: bool
    lines_cut: bool = False

    @property
    def single(self) -> bool:
        """Whether there is only one content to show."""
        return self.old is None or self.new is None

    def kind(self, *, new: bool) -> str:
        """Return what a side is: its type by its first bytes."""
        side = self.new if new else self.old
        return guess(side.data) if side is not None else "absent"


def look(old: FileContent | None, new: FileContent | None) -> FileDiff:
    """Compare two contents, as text and as bytes. Takes a second or two for contents of `READ` bytes at most."""
    sides = [side for side in (old, new) if side is not None]
    binary = any(is_binary(side.data) for side in sides)
    same = len(sides) == 2 and old is not None and new is not None and (old.data, old.size) == (new.data, new.size)
    left, right = old or FileContent(b"", 0), new or FileContent(b"", 0)
    dumps = compare_bytes(hex_sheet(left.data), hex_sheet(right.data))
    sheets, cut = [], False
    for side in (left, right):
        beginning = first_lines(side.data)
        cut = cut or len(beginning) < len(side.data)
        sheets.append(text_sheet(beginning, whole=len(beginning) == side.size))
    return FileDiff(old, new, compare_text(*sheets), dumps, binary, same, cut)


def differing(one: str, other: str) -> tuple[int, int]:
    """Return where a line begins and ends to differ from the one in its place: what is equal at both ends is cut."""
    room = min(len(one), len(other))
    start = next((i for i in range(room) if one[i] != other[i]), room)
    end = next((i for i in range(room - start) if one[-1 - i] != other[-1 - i]), room - start)
    return start, len(one) - end
