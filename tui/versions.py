"""The states of one path from now back to the oldest point, each once, gaps included. Pure: versions in, stages out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.entries import Change, Entry, Kind, Status, Version, compare
from engine.points import RestorePoint


@dataclass(frozen=True, slots=True)
class Stage:
    """One state of a path: what it was (None: absent) from point `first` to point `last`, both included; both None
    for the live system. `change` leads to it from the state before, None where they are the same or it is not known
    what was before."""

    entry: Entry | None
    first: RestorePoint | None
    last: RestorePoint | None
    points: int
    change: Change | None

    @property
    def live(self) -> bool:
        """Whether it is the state of the live system."""
        return self.last is None

    @property
    def deep(self) -> bool:
        """Whether more than attributes differ from the state before, or there is none before."""
        return self.change is not None and self.change.status is not Status.ATTRS

    @property
    def file(self) -> bool:
        """Whether it has a content that can be shown."""
        return self.entry is not None and self.entry.kind is Kind.FILE


def stages(versions: Sequence[Version], points: Sequence[RestorePoint], live: Entry | None, *, known: bool = True
           ) -> list[Stage]:
    """Return the states of a path, the newest first: now (unless the live system is not `known`), the versions, and
    the runs of points between and after them that did not have it. `points` are in order of their numbers."""
    order = {point.id: index for index, point in enumerate(points)}
    found: list[Stage] = []
    before: Entry | None = None
    end = 0     # the first point that is not told yet

    def absent(until: int) -> None:
        if found and end < until:
            found.append(Stage(None, points[end], points[until - 1], until - end, compare(before, None)))

    for version in reversed(versions):
        low, high = order.get(version.first), order.get(version.last)
        if low is None or high is None:
            continue        # its points went while this was asked
        absent(low)
        gap = bool(found) and found[-1].entry is None
        change = compare(None if gap else before, version.entry) if found or low else None
        found.append(Stage(version.entry, points[low], points[high], high - low + 1, change))
        before, end = version.entry, high + 1
    absent(len(points))
    if known:
        last = found[-1].entry if found else None
        found.append(Stage(live, None, None, 0, compare(last, live)))
    return found[::-1]
