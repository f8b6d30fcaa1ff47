"""What points took and what changed, over time: counted by point, day, week or month. Pure: points in, numbers out.

Sizes are those of the points there are: what was removed meanwhile is in no sum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from engine.points import RestorePoint

KINDS = ("created", "changed", "attrs", "deleted")
SPANS: tuple[tuple[str, Callable[[RestorePoint], str]], ...] = (
    ("Points", lambda p: _local(p).strftime("%m-%d %H:%M")),
    ("Days", lambda p: _local(p).strftime("%Y-%m-%d")),
    ("Weeks", lambda p: _local(p).strftime("%G week %V")),
    ("Months", lambda p: _local(p).strftime("%Y-%m")))
"""The ways to count: a title, and the name of the span that a point belongs to."""
_DAY = 86400
_LOOKED_AT = 14 * _DAY


@dataclass(frozen=True, slots=True)
class Span:
    """What the points of one span (or one point) are about. `own` are their own sizes in bytes, None where none of
    them is known; `total` is the tree and all points up to here; `changes` counts by kind, {} where nothing is
    recorded."""

    name: str
    points: tuple[RestorePoint, ...]
    own: int | None
    total: int
    changes: Mapping[str, int]


def spans(points: Sequence[RestorePoint], name: Callable[[RestorePoint], str], tree_bytes: int, *,
          single: bool = False) -> list[Span]:
    """Return the spans that have points, the newest first. `single`: each point is a span of its own."""
    groups: list[tuple[str, list[RestorePoint]]] = []
    for point in sorted(points, key=lambda p: (p.created, p.number)):
        label = name(point)
        if single or not groups or groups[-1][0] != label:
            groups.append((label, []))
        groups[-1][1].append(point)
    found: list[Span] = []
    total = tree_bytes
    for label, members in groups:
        known = [p.own_bytes for p in members if p.own_bytes is not None]
        total += sum(known)
        found.append(Span(label, tuple(members), sum(known) if known else None, total, _changes(members)))
    return found[::-1]


def _changes(points: Sequence[RestorePoint]) -> dict[str, int]:
    """What the documents say about changes, added up. A first point copies everything: that is no change."""
    sums: dict[str, int] = {}
    for point in points:
        recorded = point.doc.get("changed")
        if not isinstance(recorded, Mapping) or point.number == 1:
            continue
        for kind in KINDS:
            if isinstance(recorded.get(kind), int):
                sums[kind] = sums.get(kind, 0) + recorded[kind]
    return sums


def scale(values: Sequence[int]) -> int:
    """Return the value that a whole bar stands for: the largest but for those that dwarf all others."""
    some = sorted(v for v in values if v > 0)
    if not some:
        return 1
    usual = 8 * median(some)
    return int(max(v for v in some if v <= usual))


def daily(points: Sequence[RestorePoint], now: datetime) -> float | None:
    """Return the bytes a day that the points of the last two weeks take, None where that says nothing: fewer than
    three points, or less than a day of them."""
    recent = [p for p in points if 0 <= p.age(now) <= _LOOKED_AT and p.own_bytes is not None]
    if len(recent) < 3:
        return None
    days = (max(p.created for p in recent) - min(p.created for p in recent)).total_seconds() / _DAY
    return sum(p.own_bytes or 0 for p in recent) / days if days >= 1 else None


def _local(point: RestorePoint) -> datetime:
    return point.created.astimezone()
