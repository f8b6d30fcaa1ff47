"""Retention: what no rule may remove, an independent count of the slots, and the order in which points go."""

from __future__ import annotations

import doctest
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

import engine.retention
from engine.config import Retention
from engine.points import RestorePoint
from engine.results import Fate
from engine.retention import deletions, fates, room

NOW = datetime(2024, 3, 10, 12, tzinfo=UTC)
DAY = 86400
NONE = Retention(min_keep=0, min_age=0, max_store_ratio=None)
FLOORS = ("damaged", "in use", "pinned", "one of the newest", "the newest", "younger")


def point(number: int, days: float, **more: object) -> RestorePoint:
    """Return a replica point that is `days` old."""
    made = RestorePoint(f"p{number}", "replica", number, NOW - timedelta(days=days))
    return replace(made, **more)  # type: ignore[arg-type]


def decide(
    points: Sequence[RestorePoint],
    rules: Retention,
    *,
    store: int = 0,
    source: int = 0,
    protected: dict[str, str] | None = None,
) -> list[Fate]:
    return fates(points, rules, NOW, store_bytes=store, source_bytes=source, protected=protected)


def rules_of(
    points: Sequence[RestorePoint], rules: Retention, store: int = 0, source: int = 0
) -> list[str]:
    return [
        f"{'+' if fate.keep else '-'} {fate.rule}"
        for fate in decide(points, rules, store=store, source=source)
    ]


def test_the_example_in_the_documentation_is_true() -> None:
    result = doctest.testmod(engine.retention)
    assert result.attempted >= 5 and result.failed == 0


# --- each rule ---


def test_the_defaults_remove_nothing_without_need() -> None:
    points = [point(n, n * 30) for n in range(5)]
    assert rules_of(points, Retention(), store=149, source=100) == [
        "+ one of the newest 2",
        "+ one of the newest 2",
        *["+ no rule removes it"] * 3,
    ]


def test_no_points_have_no_fate() -> None:
    assert decide([], Retention(daily=3), store=10, source=1) == []
    assert deletions([]) == [] and room([], Retention(), NOW, 5) == []


def test_floors_hold_against_every_rule() -> None:
    points = [
        point(1, 900, pinned=True),
        point(2, 800, state="damaged"),
        point(3, 700),
        point(4, 600),
        point(5, 500),
        point(6, 0.5),
        point(7, -3),
    ]
    assert [
        (f.keep, f.rule)
        for f in decide(
            points,
            Retention(min_keep=3, max_age=DAY, yearly=1),
            store=10**9,
            source=1,
            protected={"p3": "in use"},
        )
    ] == [
        (True, "pinned"),
        (True, "damaged: never removed automatically"),
        (True, "in use"),
        (False, "older than 1 day"),
        (True, "one of the newest 3"),
        (True, "one of the newest 3"),
        (True, "one of the newest 3"),
    ]


def test_young_points_and_points_from_the_future_stay() -> None:
    points = [point(1, 1.01), point(2, 0.99), point(3, -0.01), point(4, -400)]
    rules = replace(NONE, min_age=DAY, max_age=DAY)
    assert rules_of(points, rules) == [
        "- older than 1 day",
        "+ younger than 86400 s",
        "+ younger than 86400 s (dated in the future)",
        "+ younger than 86400 s (dated in the future)",
    ]


@pytest.mark.parametrize(("seconds", "keep"), [(99, True), (100, True), (101, False)])
def test_the_age_limits_to_the_second(seconds: int, keep: bool) -> None:
    one = replace(point(1, 0), created=NOW - timedelta(seconds=seconds))
    assert decide([one], replace(NONE, max_age=100))[0].keep is keep
    assert decide([one], replace(NONE, max_age=0, min_age=101))[0].keep is (seconds < 101)


def test_the_last_point_stays_whatever_its_age() -> None:
    assert rules_of([point(1, 5000)], Retention(min_keep=1, max_age=1)) == ["+ the newest"]


def test_damaged_points_take_no_place_among_the_newest_and_no_slot() -> None:
    points = [
        point(1, 3.0),
        point(2, 2.9, state="damaged"),
        point(3, 2.1),
        point(4, 2.0, state="damaged"),
    ]
    assert rules_of(points, replace(NONE, min_keep=1, daily=1)) == [
        "- thinned: no daily slot",
        "+ damaged: never removed automatically",
        "+ the newest",
        "+ damaged: never removed automatically",
    ]


def test_the_plain_tree_is_the_newest_even_if_the_clock_was_wrong() -> None:
    points = [point(1, 3), point(2, 2), point(3, 20000, newest=True)]
    assert rules_of(points, replace(NONE, min_keep=1, max_age=DAY)) == [
        "- older than 1 day",
        "- older than 1 day",
        "+ the newest",
    ]
    assert [p.id for p in deletions(decide(points, replace(NONE, max_age=DAY)))] == ["p1", "p2", "p3"]


def test_slots_are_counted_from_the_newest_bucket_that_has_a_point() -> None:
    points = [point(n, days) for n, days in enumerate([50.0, 50.1, 60, 61, 90])]
    assert rules_of(points, replace(NONE, daily=3)) == [
        "+ daily 1 of 3",
        "- thinned: no daily slot",
        "+ daily 2 of 3",
        "+ daily 3 of 3",
        "- thinned: no daily slot",
    ]


def test_a_point_can_hold_several_slots() -> None:
    points = [point(1, 0), point(2, 1), point(3, 8), point(4, 40), point(5, 400)]
    rules = replace(NONE, hourly=1, daily=2, weekly=3, monthly=2, yearly=2)
    assert rules_of(points, rules) == [
        "+ hourly 1 of 1, daily 1 of 2, weekly 1 of 3, monthly 1 of 2, yearly 1 of 2",
        "+ daily 2 of 2",
        "+ weekly 2 of 3",
        "+ weekly 3 of 3, monthly 2 of 2",
        "+ yearly 2 of 2",
    ]


def test_a_pinned_point_takes_a_slot_and_a_future_one_does_not() -> None:
    points = [point(2, 0.1, pinned=True), point(3, 0.2), point(4, 1)]
    assert [f.keep for f in decide(points, replace(NONE, daily=1))] == [True, False, False]
    points = [point(1, -1), point(3, 0.2), point(4, 1)]
    assert [f.keep for f in decide(points, replace(NONE, daily=1))] == [True, True, False]


def test_of_two_points_of_one_moment_the_higher_number_is_the_newer() -> None:
    points = [point(10, 3), point(9, 3)]
    rules = replace(NONE, min_keep=1, daily=1)
    assert rules_of(points, rules) == ["+ the newest", "- thinned: no daily slot"]
    assert [p.number for p in deletions(decide(points, replace(NONE, max_age=1)))] == [9, 10]


def test_days_are_days_in_utc_and_weeks_are_iso_weeks() -> None:
    def at(number: int, when: datetime) -> RestorePoint:
        return replace(point(number, 0), created=when)

    zone = timezone(timedelta(hours=5))
    late, early = (
        datetime(2024, 2, 2, 1, tzinfo=zone),
        datetime(2024, 2, 1, 21, tzinfo=UTC),
    )  # 1 Feb 20:00 and 21:00
    assert [f.keep for f in decide([at(1, late), at(2, early)], replace(NONE, daily=9))] == [False, True]
    sunday, monday = datetime(2024, 3, 3, 23, tzinfo=UTC), datetime(2024, 3, 4, 0, tzinfo=UTC)
    assert [f.keep for f in decide([at(1, sunday), at(2, monday)], replace(NONE, weekly=9))] == [
        True,
        True,
    ]
    old_year, new_year = (
        datetime(2018, 12, 31, tzinfo=UTC),
        datetime(2019, 1, 1, tzinfo=UTC),
    )  # one ISO week
    assert [f.keep for f in decide([at(1, old_year), at(2, new_year)], replace(NONE, weekly=9))] == [
        False,
        True,
    ]
    assert [f.keep for f in decide([at(1, old_year), at(2, new_year)], replace(NONE, yearly=9))] == [
        True,
        True,
    ]


def test_backends_are_counted_apart() -> None:
    points = [
        point(1, 2),
        point(2, 1, backend="zfs"),
        point(3, 0.5, backend="zfs"),
        point(4, 0.1, backend="zfs"),
    ]
    assert [f.keep for f in decide(points, replace(NONE, min_keep=1, max_age=1))] == [
        True,
        False,
        False,
        True,
    ]
    assert [f.keep for f in decide(points, replace(NONE, daily=1))] == [True, False, False, True]


# --- size ---


def test_the_size_rule_takes_the_oldest_until_it_fits() -> None:
    points = [point(n, 10 - n, own_bytes=10) for n in range(6)]
    rule = "- store over 1.5 x the source"
    kept = ["+ no rule removes it"] * 2 + ["+ one of the newest 2"] * 2
    assert rules_of(points, Retention(), store=170, source=100) == [rule, rule, *kept]
    assert rules_of(points, Retention(), store=150, source=100)[0] == "+ no rule removes it"
    assert rules_of(points, Retention(), store=10**6, source=100) == [rule] * 4 + kept[2:]


def test_what_other_rules_free_counts_first() -> None:
    points = [
        point(1, 300, own_bytes=30),
        point(2, 30, own_bytes=10),
        point(3, 20),
        point(4, 3),
        point(5, 2),
    ]
    keeps = [f.keep for f in decide(points, Retention(max_age=90 * DAY), store=180, source=100)]
    assert keeps == [False, True, True, True, True]
    rules = rules_of(points, Retention(max_age=90 * DAY), store=189, source=100)
    assert rules[:3] == ["- older than 90 days", "- store over 1.5 x the source", "+ no rule removes it"]


def test_slots_do_not_save_a_point_from_the_size_rule() -> None:
    points = [point(n, 10 - n, own_bytes=10) for n in range(5)]
    fate = decide(points, Retention(daily=30), store=155, source=100)[0]
    assert (fate.keep, fate.rule) == (False, "store over 1.5 x the source")


def test_the_size_rule_gives_up_nothing_in_vain() -> None:
    others = [
        point(1, 9, backend="zfs", own_bytes=10),
        point(2, 8),
        point(3, 7, own_bytes=0),
        point(4, 6, own_bytes=5),
    ]
    rules = replace(Retention(), min_keep=0)
    assert [f.keep for f in decide(others, rules, store=200, source=100)] == [True, True, True, False]
    assert all(f.keep for f in decide(others, rules, store=200, source=0)), "no size, no rule"
    assert all(f.keep for f in decide(others, replace(rules, max_store_ratio=None), store=200, source=1))


def test_room_takes_the_oldest_that_may_go() -> None:
    points = [
        point(5, 0.1, own_bytes=99),
        point(4, 3, own_bytes=7),
        point(3, 4, own_bytes=20, pinned=True),
        point(2, 5, own_bytes=10),
        point(1, 6),
        point(0, 7, own_bytes=10),
        point(6, 0.05, newest=True),
    ]
    names = [
        [p.id for p in room(points, Retention(), NOW, needed)]
        for needed in (-1, 0, 1, 10, 11, 20, 27, 28)
    ]
    assert names == [[], [], ["p0"], ["p0"], ["p0", "p2"], ["p0", "p2"], ["p0", "p2", "p4"], []]
    assert [p.id for p in room(points, Retention(), NOW, 5, protected={"p0": "mounted"})] == ["p2"]
