"""Which points stay, which go, and the rule that decides each: pure functions, without clock or disk.

The rules, first match wins:

======================================  ======  ==========================================
what is true of the point               fate    rule shown
======================================  ======  ==========================================
it is damaged (or merging)              stays   damaged: never removed automatically
it is in use                            stays   the reason given in `protected`
it is pinned                            stays   pinned
one of the newest `min_keep` whole ones stays   one of the newest 2
younger than `min_age`, or from the     stays   younger than 86400 s
future (the clock was set back)
older than `max_age`                    goes    older than 90 days
some count is set, and no slot is its   goes    thinned: no daily/weekly slot
the store is over the size limit and    goes    store over 1.5 x the source
no older point can go instead
it has a slot                           stays   daily 3 of 7
none of these                           stays   no rule removes it
======================================  ======  ==========================================

The first five are floors: no rule removes what they hold. **Slots**: ``daily: 7`` keeps the newest whole
point of each of the latest seven days that have one, days counted in UTC; hours, ISO weeks, months and
years likewise, each count by itself, so that one point can hold several slots. Points that stay by a floor
take slots too (those from the future do not). The size limit and `max_age` outrank slots. The newest points
and the slots are counted per backend: a snapshot that the storage keeps does not make the last copy
elsewhere expendable.

>>> from datetime import datetime, timedelta, timezone
>>> now = datetime(2024, 3, 10, 12, tzinfo=timezone.utc)            # a Sunday
>>> days = [0.2, 0.5, 1.2, 1.4, 2.2, 5, 9, 40, 100]
>>> points = [RestorePoint(f"p{n}", "replica", n, now - timedelta(days=d), pinned=n == 8)
...           for n, d in enumerate(days)]
>>> rules = Retention(min_keep=2, daily=3, monthly=3, max_age=90 * 86400)
>>> for fate in fates(points, rules, now, store_bytes=0, source_bytes=0):
...     print(fate.point.created.strftime("%m-%d %H:%M"), "stays" if fate.keep else "goes ", fate.rule)
03-10 07:12 stays one of the newest 2
03-10 00:00 stays one of the newest 2
03-09 07:12 stays daily 2 of 3
03-09 02:24 goes  thinned: no daily/monthly slot
03-08 07:12 stays daily 3 of 3
03-05 12:00 goes  thinned: no daily/monthly slot
03-01 12:00 goes  thinned: no daily/monthly slot
01-30 12:00 stays monthly 2 of 3
12-01 12:00 stays pinned
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from engine.config import Retention
from engine.configvalues import duration_text
from engine.points import RestorePoint
from engine.results import Fate

SIZED_BACKEND = "replica"       # the only kind of point that takes its room in the store
_BUCKETS: tuple[tuple[str, Callable[[datetime], tuple[int, ...]]], ...] = (
    ("hourly", lambda t: (t.year, t.month, t.day, t.hour)),
    ("daily", lambda t: (t.year, t.month, t.day)),
    ("weekly", lambda t: t.isocalendar()[:2]),
    ("monthly", lambda t: (t.year, t.month)),
    ("yearly", lambda t: (t.year,)),
)


def fates(points: Sequence[RestorePoint], rules: Retention, now: datetime, *, store_bytes: int,
          source_bytes: int, protected: Mapping[str, str] | None = None, sized: str = SIZED_BACKEND) -> list[Fate]:
    """Return the fate of every point, in the order the points came in.

    `now` is aware. `protected` maps ids of points in use to the reason shown. `store_bytes` is the store's
    size (the tree included), `source_bytes` that of what it saves; the size rule rests when that is 0 (not
    known). It takes the oldest points first, also those with a slot, but only points of the backend `sized` of
    known, positive `own_bytes`: to remove others would not bring the store under its limit.
    """
    order = _oldest_first(points)
    rule_of: dict[int, str] = {}
    going: set[int] = set()
    floors = _floors(points, rules, now, protected or {})
    slots = _slots(points, rules, now)
    names = "/".join(name for name, _ in _BUCKETS if getattr(rules, name) > 0)
    for index, point in enumerate(points):
        if index in floors:
            rule_of[index] = floors[index]
        elif rules.max_age is not None and point.age(now) > rules.max_age:
            rule_of[index] = f"older than {duration_text(rules.max_age)}"
            going.add(index)
        elif names and index not in slots:
            rule_of[index] = f"thinned: no {names} slot"
            going.add(index)
        else:
            rule_of[index] = ", ".join(slots.get(index, ())) or "no rule removes it"
    if rules.max_store_ratio is not None and source_bytes > 0:
        surplus = store_bytes - rules.max_store_ratio * source_bytes - sum(_room(points[i], sized) for i in going)
        for index in order:
            if surplus > 0 and index not in floors and index not in going and _room(points[index], sized):
                surplus -= _room(points[index], sized)
                rule_of[index] = f"store over {rules.max_store_ratio:g} x the source"
                going.add(index)
    return [Fate(point, index not in going, rule_of[index]) for index, point in enumerate(points)]


def deletions(decided: Sequence[Fate]) -> list[RestorePoint]:
    """Return the points that go, in the order to delete them: the oldest first, which is the cheapest."""
    going = [fate.point for fate in decided if not fate.keep]
    return [going[index] for index in _oldest_first(going)]


def room(points: Sequence[RestorePoint], rules: Retention, now: datetime, needed: int, *,
         protected: Mapping[str, str] | None = None) -> list[RestorePoint]:
    """Return which points to delete, oldest first, to free `needed` bytes in the store; floors stay.

    Nothing is returned where all that may go would not be enough: no point is given up for a snapshot that
    would fail for want of room all the same.
    """
    floors = _floors(points, rules, now, protected or {})
    chosen: list[RestorePoint] = []
    for index in _oldest_first(points):
        if needed <= 0:
            break
        if index not in floors and _room(points[index]):
            chosen.append(points[index])
            needed -= _room(points[index])
    return chosen if needed <= 0 else []


def _room(point: RestorePoint, sized: str = SIZED_BACKEND) -> int:
    return max(0, point.own_bytes or 0) if point.backend == sized else 0


def _oldest_first(points: Sequence[RestorePoint]) -> list[int]:
    # The point that is the plain tree is the newest, whatever a clock that was wrong said when it was taken.
    return sorted(range(len(points)),
                  key=lambda i: (points[i].newest, points[i].created, points[i].number, points[i].id))


def _floors(points: Sequence[RestorePoint], rules: Retention, now: datetime,
            protected: Mapping[str, str]) -> dict[int, str]:
    """Return the rule that holds each point no rule may remove, by its index."""
    counts: dict[str, int] = {}
    floors: dict[int, str] = {}
    for index in reversed(_oldest_first(points)):
        point, age = points[index], points[index].age(now)
        if point.state != "ok":
            floors[index] = f"{point.state}: never removed automatically"
            continue
        counts[point.backend] = counts.get(point.backend, 0) + 1
        if point.id in protected:
            floors[index] = protected[point.id]
        elif point.pinned:
            floors[index] = "pinned"
        elif counts[point.backend] <= rules.min_keep:
            floors[index] = "the newest" if rules.min_keep == 1 else f"one of the newest {rules.min_keep}"
        elif age < 0:
            floors[index] = f"younger than {rules.min_age} s (dated in the future)"
        elif age < rules.min_age:
            floors[index] = f"younger than {rules.min_age} s"
    return floors


def _slots(points: Sequence[RestorePoint], rules: Retention, now: datetime) -> dict[int, list[str]]:
    """Return the slots (``daily 3 of 7``) that each point holds, by its index."""
    slots: dict[int, list[str]] = {}
    newest_first = reversed(_oldest_first(points))
    usable = [i for i in newest_first if points[i].state == "ok" and points[i].age(now) >= 0]
    for name, bucket in _BUCKETS:
        count: int = getattr(rules, name)
        taken: dict[str, set[tuple[int, ...]]] = {}
        for index in usable:
            seen = taken.setdefault(points[index].backend, set())
            span = bucket(points[index].created.astimezone(UTC))
            if len(seen) < count and span not in seen:
                seen.add(span)
                slots.setdefault(index, []).append(f"{name} {len(seen)} of {count}")
    return slots
