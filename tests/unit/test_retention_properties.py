"""Retention whatever the points and the rules are: floors, slots counted by hand, sizes, order, repeats."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import assume, given
from hypothesis import strategies as st

from engine.config import Retention
from engine.points import RestorePoint
from engine.retention import deletions, room
from tests.unit.test_retention import DAY, FLOORS, NOW, decide, point

COUNTS = ("hourly", "daily", "weekly", "monthly", "yearly")

AGES = st.one_of(st.integers(-2 * DAY, 2 * DAY), st.integers(0, 900 * DAY))
SIZES = st.none() | st.integers(0, 50)


@st.composite
def histories(draw: st.DrawFn) -> list[RestorePoint]:
    ages = draw(st.lists(AGES, max_size=25))
    return [
        replace(
            point(n, 0),
            created=NOW - timedelta(seconds=age),
            pinned=draw(st.integers(0, 7)) == 0,
            state="damaged" if draw(st.integers(0, 7)) == 0 else "ok",
            own_bytes=draw(SIZES),
            backend="zfs" if draw(st.integers(0, 4)) == 0 else "replica",
        )
        for n, age in enumerate(ages)
    ]


COUNT = st.integers(0, 6)
RULES = st.builds(
    Retention,
    min_keep=st.integers(0, 3),
    min_age=st.sampled_from([0, 3600, DAY]),
    max_store_ratio=st.sampled_from([None, 1.0, 1.5]),
    max_age=st.sampled_from([None, DAY, 90 * DAY]),
    hourly=COUNT,
    daily=COUNT,
    weekly=COUNT,
    monthly=COUNT,
    yearly=COUNT,
)
STORES = st.integers(0, 400)


@given(histories(), RULES, STORES, st.sets(st.integers(0, 24)))
def test_what_must_stay_stays(
    points: list[RestorePoint], rules: Retention, store: int, used: set[int]
) -> None:
    protected = {f"p{n}": "in use" for n in used}
    decided = decide(points, rules, store=store, source=100, protected=protected)
    assert [f.point for f in decided] == points
    for fate in decided:
        p = fate.point
        newer = [
            q
            for q in points
            if q.backend == p.backend
            and q.state == "ok"
            and (q.created, q.number) > (p.created, p.number)
        ]
        floor = (
            p.pinned
            or p.state != "ok"
            or p.id in protected
            or p.age(NOW) < max(0, rules.min_age)
            or len(newer) < rules.min_keep
        )
        assert fate.keep or not floor
        assert floor == fate.rule.startswith(FLOORS)
        if not floor and rules.max_age is not None and p.age(NOW) > rules.max_age:
            assert not fate.keep
        if fate.rule.startswith("store over"):
            assert p.backend == "replica" and p.own_bytes and store > (rules.max_store_ratio or 1e9) * 100
    assert set(room(points, rules, NOW, 20, protected=protected)) <= {
        f.point for f in decided if not f.rule.startswith(FLOORS)
    }


@given(histories(), RULES, STORES)
def test_pruning_twice_removes_no_more(points: list[RestorePoint], rules: Retention, store: int) -> None:
    gone = deletions(decide(points, rules, store=store, source=100))
    assert gone == sorted(gone, key=lambda p: (p.created, p.number))
    left = [p for p in points if p not in gone]
    freed = sum(p.own_bytes or 0 for p in gone if p.backend == "replica")
    assert deletions(decide(left, rules, store=store - freed, source=100)) == []


@given(histories(), RULES, STORES, st.randoms(use_true_random=False))
def test_the_order_of_the_points_does_not_matter(
    points: list[RestorePoint], rules: Retention, store: int, rng: object
) -> None:
    shuffled = list(points)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    expected = {f.point.id: f for f in decide(points, rules, store=store, source=100)}
    again = decide(shuffled, rules, store=store, source=100)
    assert [f.point for f in again] == shuffled
    assert {f.point.id: f for f in again} == expected


@given(histories(), RULES, st.sampled_from(COUNTS), st.integers(1, 5))
def test_a_higher_count_never_removes_more(
    points: list[RestorePoint], rules: Retention, name: str, more: int
) -> None:
    rules = replace(rules, max_store_ratio=None)
    assume(
        any(getattr(rules, count) for count in COUNTS)
    )  # the first count that is set switches thinning on
    higher = replace(rules, **{name: getattr(rules, name) + more})
    gone = {p.id for p in deletions(decide(points, higher))}
    assert gone <= {p.id for p in deletions(decide(points, rules))}


_FORMATS = {
    "hourly": "%Y-%m-%d %H",
    "daily": "%Y-%m-%d",
    "weekly": "%G-W%V",
    "monthly": "%Y-%m",
    "yearly": "%Y",
}


def slots_by_hand(points: list[RestorePoint], rules: Retention, backend: str) -> set[str]:
    """Return the ids of the points that have a slot, the slow way: group by the bucket's text, sort, cut."""
    found = set()
    for name, pattern in _FORMATS.items():
        groups: dict[str, RestorePoint] = {}
        for p in sorted(points, key=lambda p: (p.created, p.number)):
            if p.backend == backend and p.state == "ok" and p.created <= NOW:
                groups[p.created.strftime(pattern)] = p
        latest = sorted(groups, reverse=True)[: getattr(rules, name)]
        found |= {groups[bucket].id for bucket in latest}
    return found


@given(histories(), RULES)
def test_slots_against_a_count_by_hand(points: list[RestorePoint], rules: Retention) -> None:
    rules = replace(rules, max_store_ratio=None, max_age=None)
    has_slot = slots_by_hand(points, rules, "replica") | slots_by_hand(points, rules, "zfs")
    counts = any(getattr(rules, name) for name in COUNTS)
    for fate in decide(points, rules):
        if not fate.rule.startswith(FLOORS):
            assert fate.keep is (not counts or fate.point.id in has_slot)
            assert (" of " in fate.rule) is (fate.point.id in has_slot)


@given(histories(), RULES, STORES)
def test_the_size_rule_stops_as_soon_as_it_fits(
    points: list[RestorePoint], rules: Retention, store: int
) -> None:
    decided = decide(points, replace(rules, max_store_ratio=1.5), store=store, source=100)
    free = {f.point.id: (f.point.own_bytes or 0) if f.point.backend == "replica" else 0 for f in decided}
    left = store - sum(free[f.point.id] for f in decided if not f.keep)
    by_size = [f.point for f in decided if f.rule.startswith("store over")]
    if by_size:
        last = max(by_size, key=lambda p: (p.created, p.number))
        assert left + free[last.id] > 150, "the last one to go was needed"
    if left > 150:
        assert not any(f.keep and free[f.point.id] and not f.rule.startswith(FLOORS) for f in decided)


@given(histories(), RULES, st.integers(1, 200))
def test_room_is_enough_and_not_more_than_needed(
    points: list[RestorePoint], rules: Retention, needed: int
) -> None:
    chosen = room(points, rules, NOW, needed)
    freed = sum(p.own_bytes or 0 for p in chosen)
    if chosen:
        assert freed >= needed > freed - (chosen[-1].own_bytes or 0)
    else:
        loose = [f.point for f in decide(points, rules) if not f.rule.startswith(FLOORS)]
        assert sum(p.own_bytes or 0 for p in loose if p.backend == "replica") < needed
