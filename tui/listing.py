"""One directory over all restore points and now: names joined, what happened to each and when, sorted and filtered.

A worker asks the engine once; stepping through the points then asks nobody. No widget here.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from engine.entries import Entry, Kind, Life, Status, compare
from engine.errors import RollpointError
from engine.points import RestorePoint
from engine.text import printable
from tui.engine_api import EngineLike

ABSENT, SAME, BELOW = ".", "=", "m"
ORDERS = ("name", "size", "time", "changes")
"""What rows can be sorted by; directories always come first."""
_WEIGHT: dict[str, int] = {ABSENT: 0, SAME: 1, Status.ATTRS: 2, BELOW: 3, Status.CHANGED: 4, Status.TYPE: 5,
                           Status.CREATED: 6, Status.DELETED: 7}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a name in the point at `index` (into the listing's numbers), against the point
    before it: `glyph` is a `Status`, or `BELOW` when something in that directory changed, at any depth."""

    index: int
    glyph: str


@dataclass(frozen=True, slots=True)
class Name:
    """One name of a directory: what became of it over the points, and what the live tree has now."""

    name: bytes
    life: Life | None
    live: Entry | None

    def at(self, number: int) -> Entry | None:
        """Return the entry in the point with that number, None where it is absent."""
        return None if self.life is None else self.life.at(number)

    def shown(self, number: int, *, live: bool = False) -> Entry | None:
        """Return what says best what this name is: the entry in the point, else now (with `live` the other way
        round), else the newest there was."""
        first, second = (self.live, self.at(number)) if live else (self.at(number), self.live)
        return first or second or (self.life.spans[-1].entry if self.life is not None else None)


def difference(old: Entry | None, new: Entry | None) -> Status | None:
    """Return what happened from `old` to `new`: None when both are the same or both absent."""
    change = compare(old, new)
    return change.status if change is not None else None


class Listing:
    """A directory. `names` are sorted; `numbers` are those of the points, oldest first; `trouble` says why the live
    side is not known, "" when it is."""

    def __init__(self, path: bytes, lives: Sequence[Life], live: Iterable[Entry], numbers: Sequence[int],
                 below: Mapping[bytes, Sequence[int]] | None = None, trouble: str = "") -> None:
        self.path = path
        self.numbers = numbers
        self._below = below or {}
        self.trouble = trouble
        now = {entry.name: entry for entry in live}
        names = [Name(life.name, life, now.pop(life.name, None)) for life in lives]
        if now:
            names += [Name(name, None, entry) for name, entry in now.items()]
            names.sort(key=lambda one: one.name)
        self.names: Sequence[Name] = names
        self._events: dict[int, tuple[Event, ...]] = {}
        self._bars: dict[tuple[int, int], str] = {}

    def __len__(self) -> int:
        return len(self.names)

    def index_of(self, name: bytes) -> int | None:
        """Return where a name stands in `names`, None when it is not there."""
        at = bisect_left(self.names, name, key=lambda one: one.name)
        return at if at < len(self.names) and self.names[at].name == name else None

    # --- what happened -------------------------------------------------------------------------------------------

    def events(self, index: int) -> tuple[Event, ...]:
        """Return what happened to a name, oldest first. What was there already in the oldest point was not created
        in it as far as anybody knows."""
        known = self._events.get(index)
        if known is None:
            one = self.names[index]
            own = {event.index: event for event in self._happened(one.life)}
            for last in self._below.get(one.name, ()):
                at = bisect_right(self.numbers, last)
                if at < len(self.numbers) and at not in own and one.at(self.numbers[at]) is not None:
                    own[at] = Event(at, BELOW)
            known = self._events[index] = tuple(own[at] for at in sorted(own))
        return known

    def _happened(self, life: Life | None) -> Iterable[Event]:
        before: Entry | None = None
        end = 0     # the first point after the span before
        for span in life.spans if life is not None else ():
            low = bisect_left(self.numbers, span.first)
            high = len(self.numbers) if span.last is None else bisect_right(self.numbers, span.last)
            if low >= high:
                continue        # every point that had it has been deleted
            if before is not None and low > end:
                yield Event(end, Status.DELETED)
                before = None
            status = difference(before, span.entry)
            if low > 0 and before is None:
                yield Event(low, Status.CREATED)
            elif before is not None:
                yield Event(low, status or Status.ATTRS)    # hard links alone may differ
            before, end = span.entry, high
        if before is not None and end < len(self.numbers):
            yield Event(end, Status.DELETED)

    def bar(self, index: int, cells: int) -> str:
        """Return the points of a name in `cells` glyphs, oldest first: ``.`` absent, ``=`` as in the point before,
        else what happened, as `Status` writes it. A cell that stands for several points shows the gravest."""
        known = self._bars.get((index, cells))
        if known is None:
            known = self._bars[index, cells] = self._draw(index, cells)
        return known

    def _draw(self, index: int, cells: int) -> str:
        count = len(self.numbers)
        marks = [""] * count
        life = self.names[index].life
        for span in life.spans if life is not None else ():
            low = bisect_left(self.numbers, span.first)
            high = count if span.last is None else bisect_right(self.numbers, span.last)
            marks[low:high] = [SAME] * max(0, high - low)
        for event in self.events(index):
            marks[event.index] = event.glyph
        cells = min(cells, count)
        return "".join(max((marks[i] or ABSENT for i in range(*bucket(count, cells, c))), key=_WEIGHT.__getitem__)
                       for c in range(cells))

    def beside(self, index: int, number: int) -> Status | None:
        """Return how the live entry of a name differs from the one of a point."""
        one = self.names[index]
        return difference(one.at(number), one.live)


def bucket(count: int, cells: int, cell: int) -> tuple[int, int]:
    """Return the range of points (from, to) that a cell of a bar stands for."""
    return cell * count // cells, (cell + 1) * count // cells


def cell_of(count: int, cells: int, index: int) -> int:
    """Return the cell of a bar in which the point at `index` is."""
    return next((c for c in range(cells) if index < bucket(count, cells, c)[1]), 0)


# --- which rows, in which order ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class View:
    """How a listing is looked at: from which point, sorted by what, with names that are neither in the point nor live
    or without, only those that have all `words`. The name `keep` is shown in any case."""

    number: int
    order: str = ORDERS[0]
    deleted: bool = False
    words: str = ""
    live: bool = False      # sizes and times are those of the live side
    keep: bytes | None = None


@dataclass(frozen=True, slots=True)
class Tally:
    """How many names there are in the point, how many differ from now and how, and how many are hidden."""

    here: int
    changed: int        # on both sides, content, type or attributes differ
    only_here: int
    only_live: int
    elsewhere: int      # neither in the point nor live


@dataclass(frozen=True, slots=True)
class Arranged:
    """A view worked out: the rows (indexes into the listing's names) and what they add up to."""

    view: View
    rows: Sequence[int]
    tally: Tally


def arrange(listing: Listing, view: View) -> Arranged:
    """Return the rows of a view (a tenth of a second for 100,000 names)."""
    words, keep, number = view.words.lower().split(), view.keep, view.number
    folders, others = array("I"), array("I")
    here = changed = only_here = only_live = elsewhere = 0
    for index, one in enumerate(listing.names):
        entry, live = one.at(number), one.live
        if entry is not None:
            here += 1
            if live is None:
                only_here += 1
            elif difference(entry, live):
                changed += 1
        elif live is not None:
            only_live += 1
        else:
            elsewhere += 1
        if one.name != keep and (not (entry or live or view.deleted) or (words and not _has(one.name, words))):
            continue
        shown = one.shown(number, live=view.live)
        (folders if shown is not None and shown.kind is Kind.DIR else others).append(index)
    if view.order != ORDERS[0]:
        key = _key(listing, view)
        folders, others = array("I", sorted(folders, key=key)), array("I", sorted(others, key=key))
    return Arranged(view, folders + others, Tally(here, changed, only_here, only_live, elsewhere))


def _has(name: bytes, words: Sequence[str]) -> bool:
    shown = printable(name).lower()
    return all(word in shown for word in words)


def _key(listing: Listing, view: View) -> Callable[[int], int]:
    """What to sort by: the largest, the latest, those that changed most often come first."""
    def entry(index: int) -> Entry | None:
        return listing.names[index].shown(view.number, live=view.live)

    def by_size(index: int) -> int:
        found = entry(index)
        return -found.size if found is not None else 0

    def by_time(index: int) -> int:
        found = entry(index)
        return -found.mtime if found is not None else 0

    return {"size": by_size, "time": by_time, "changes": lambda index: -len(listing.events(index))}[view.order]


# --- from the engine -----------------------------------------------------------------------------------------------


class Loaded(NamedTuple):
    """A directory as a worker brings it: the points it is looked at through (oldest first), the names, the rows."""

    points: list[RestorePoint]
    listing: Listing
    arranged: Arranged


def load(engine: EngineLike, backend: str, inside: bytes, view: View) -> Loaded:
    """Ask the engine for a directory (in a worker). That the live side cannot be read is noted, not raised."""
    points = sorted((p for p in engine.points() if p.backend == backend), key=lambda p: p.number)
    lives = engine.lives(inside)
    live: list[Entry] = []
    trouble = ""
    try:
        live = engine.live_listing(inside)
    except RollpointError as error:
        trouble = error.message
    listing = Listing(inside, lives, live, [p.number for p in points], engine.stirred(inside), trouble)
    return Loaded(points, listing, arrange(listing, view))
