"""What stands behind the screens about the house: rules, growth, health, rows of points. Without an app."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import Retention
from engine.configsave import _lines
from engine.points import RestorePoint
from engine.results import Fate
from engine.retention import fates
from tests.tui.fake_engine import NOW, FakeEngine, points
from tui import growth, health, rules
from tui.text import marks
from tui.widgets.docrows import other_rows
from tui.widgets.faterows import CalendarRows
from tui.widgets.growthrows import GrowthRows
from tui.widgets.pointrows import PointRows, matches
from tui.widgets.rows import Row

RULE = {rule.name: rule for rule in rules.RULES}


def text(row: Row | None) -> str:
    """A row as it is drawn."""
    return "".join(part for part, _ in row or ())


# --- rules -------------------------------------------------------------------------------------------------------


def test_every_rule_of_the_engine_can_be_edited() -> None:
    assert {rule.name for rule in rules.RULES} == set(Retention.__slots__)


@given(st.sampled_from(rules.RULES), st.integers(-60, 60))
def test_what_is_typed_is_what_is_shown_and_every_step_can_be_saved(rule: rules.Rule, steps: int) -> None:
    value = rules.value_of(Retention(), rule)
    for _ in range(abs(steps)):
        value = rules.stepped(rule, value, 1 if steps > 0 else -1)
    assert rules.read_value(rule, rules.typed_value(rule, value)) == value
    assert rules.shown_value(rule, value) and f"{rule.name}: " in _lines(rules.changed(Retention(), rule, value))


@given(st.sampled_from(rules.RULES), st.text(max_size=12))
def test_anything_typed_is_a_value_or_an_explanation(rule: rules.Rule, typed: str) -> None:
    try:
        value = rules.read_value(rule, typed)
    except ValueError as error:
        assert str(error)
    else:
        assert value is None or value >= 0


@pytest.mark.parametrize(("name", "seconds", "typed"), [
    ("min_age", 86400, "1d"), ("min_age", 90, "90s"), ("min_age", 0, "0"), ("max_age", 14 * 86400, "2w"),
    ("max_age", 365 * 86400, "1y"), ("max_age", 5400, "90min"), ("max_age", None, "none")])
def test_ages_are_typed_in_the_largest_unit(name: str, seconds: int | None, typed: str) -> None:
    assert rules.typed_value(RULE[name], seconds) == typed


def test_steps_end_at_their_ends() -> None:
    assert rules.stepped(RULE["min_keep"], 1, -1) == 1 and rules.stepped(RULE["daily"], 0, -1) == 0
    assert rules.stepped(RULE["max_age"], 1825 * 86400, 1) is None and rules.stepped(RULE["max_age"], None, 1) is None
    assert rules.stepped(RULE["min_age"], 1825 * 86400, 1) == 1825 * 86400
    assert rules.stepped(RULE["max_age"], 3600, -1) == 3600 and rules.stepped(RULE["max_store_ratio"], 1, -1) == 1
    assert rules.stepped(RULE["min_age"], 100_000, 1) == 172_800, "a value between two steps goes to the next one"


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda r: r.name)
def test_the_words_by_which_rules_are_counted_are_those_of_the_engine(rule: rules.Rule) -> None:
    many = [RestorePoint(f"p{n}", "replica", 40 - n, NOW - timedelta(days=30 * n), own_bytes=10, newest=n == 0)
            for n in range(40)]
    value = {"min_keep": 3, "min_age": 90 * 86400, "max_age": 400 * 86400, "max_store_ratio": 1.5}.get(rule.name, 99)
    alone = rules.changed(Retention(1, 0, None), rule, value)
    decided = fates(many, alone, NOW, store_bytes=10_000, source_bytes=6_400)
    counts = {r.name: rules.decided(r, decided) for r in rules.RULES}
    assert counts.pop(rule.name) > 1
    assert counts.pop("min_keep", 1) == 1 and not any(counts.values())


def test_differences_name_what_changed() -> None:
    found = rules.differences(Retention(), Retention(daily=7, max_age=None, max_store_ratio=None))
    assert [(r.name, old, new) for r, old, new in found] == [("daily", 0, 7), ("max_store_ratio", 1.5, None)]


# --- growth ------------------------------------------------------------------------------------------------------


def spans(count: int, which: int) -> list[growth.Span]:
    return growth.spans(points(count), growth.SPANS[which][1], 1_000_000_000, single=which == 0)


def test_spans_add_up() -> None:
    for which in range(4):
        found = spans(30, which)
        assert sum(len(s.points) for s in found) == 30
        assert sum(s.own or 0 for s in found) == sum(p.own_bytes or 0 for p in points(30))
        assert found[0].total == 1_000_000_000 + sum(p.own_bytes or 0 for p in points(30))
        assert [s.points[0].created for s in found] == sorted((s.points[0].created for s in found), reverse=True)


def test_the_first_point_is_no_change_and_the_newest_has_no_own_size() -> None:
    found = spans(3, 0)
    assert found[-1].changes == {} and found[0].own is None and found[1].changes["created"] == 6
    rows = GrowthRows(found)
    assert text(rows.row(0, 80)).split()[:4] == ["11-20", "02:32", "1", "-"]
    assert "no changes are recorded" in "".join(part for part, _ in rows.line(2))


@pytest.mark.parametrize("width", [20, 40, 59, 60, 80, 109, 110, 200])
def test_rows_of_growth_fit_and_a_giant_does_not_dwarf_the_others(width: int) -> None:
    many = [replace(p, own_bytes=10**12 if p.number == 3 else p.own_bytes) for p in points(30)]
    rows = GrowthRows(growth.spans(many, growth.SPANS[0][1], 10**9, single=True))
    drawn = [text(rows.row(index, width)) for index in range(len(rows))]
    assert all(len(line) <= max(width, 40) for line in drawn)
    if width >= 60:
        giant = next(line for line in drawn if "931 GiB" in line)
        assert giant.count("#") >= max(line.count("#") for line in drawn) - 1 and ">" in giant
        assert sum(line.count("#") for line in drawn) > 3 * giant.count("#")


def test_every_kind_of_change_that_is_there_can_be_seen() -> None:
    many = [replace(p, doc=p.doc | {"changed": {"created": 9000, "changed": 1, "attrs": 1, "deleted": 1}})
            for p in points(5)]
    rows = GrowthRows(growth.spans(many, growth.SPANS[1][1], 10**9))
    with_changes = [index for index, span in enumerate(rows.spans) if span.changes]
    assert with_changes
    for index in with_changes:
        assert {"+", "M", "a", "-"} <= set(text(rows.row(index, 80))[40:])


def test_how_fast_it_grows_is_said_only_where_it_can_be_known() -> None:
    assert growth.daily(points(2), NOW) is None and growth.daily([], NOW) is None
    assert growth.daily([replace(p, created=NOW) for p in points(9)], NOW) is None
    known = growth.daily([RestorePoint(f"{n}", "replica", n, NOW - timedelta(days=n), own_bytes=100)
                          for n in range(30)], NOW)
    assert known == pytest.approx(15 * 100 / 14)


# --- health ------------------------------------------------------------------------------------------------------


def said(parts: Any) -> str:
    return "".join(part for part, _ in parts)


def test_warnings_are_the_last_to_go_from_the_status_line() -> None:
    status = replace(FakeEngine().state, free_bytes=1000, store_bytes=3_000_000_000)
    old = [replace(p, created=p.created - timedelta(days=30)) for p in points(12)]
    for width in range(10, 90):
        line = said(health.store_line(status, old, NOW, width))
        assert "over its limit" in line and "LOW" in line and "OLD" in line
    fine = said(health.store_line(FakeEngine().state, points(12), NOW, 40))
    assert fine == "Free 13 GiB   Last good 40 min ago"


def test_the_usual_interval_is_that_of_the_schedule() -> None:
    hourly = [RestorePoint(f"{n}", "replica", n, NOW - timedelta(hours=n), doc={"reason": "schedule"})
              for n in range(9)]
    by_hand = [replace(p, doc={"reason": "manual"}) for p in hourly]
    assert health.usual_interval(hourly) == 3600 and health.old_after(hourly) == 7200
    assert health.usual_interval(by_hand) is None and health.old_after(by_hand) == health.OLD_ANYWAY
    assert health.old_after([replace(p, created=NOW - timedelta(minutes=n)) for n, p in enumerate(hourly)]) == 3600
    assert health.last_good([replace(p, state="damaged") for p in hourly]) is None


# --- points ------------------------------------------------------------------------------------------------------


def test_a_column_comes_with_what_it_tells_apart() -> None:
    plain = [replace(p, state="ok", doc={}) for p in points(3)]
    heading = text(PointRows(plain, NOW).heading(140))
    assert not {"Kind", "State", "Why", "By"} & set(heading.split())
    mixed = [plain[0], replace(plain[1], backend="zfs"), replace(plain[2], state="damaged", doc={"reason": "hook",
                                                                                                "taken_by": "lena"})]
    rows = PointRows(mixed, NOW)
    assert {"Kind", "State", "Why", "By"} <= set(text(rows.heading(140)).split())
    assert "zfs" in text(rows.row(1, 140)) and {"DAMAGED", "hook", "lena"} <= set(text(rows.row(2, 140)).split())


@pytest.mark.parametrize("width", range(10, 160, 7))
def test_rows_of_points_never_leave_the_number_and_the_time_out(width: int) -> None:
    mixed = [replace(p, backend="zfs" if i % 2 else "replica") for i, p in enumerate(points(6))]
    rows = PointRows(mixed, NOW, marked=mixed[2].id)
    for index in range(6):
        line = text(rows.row(index, width))
        assert str(6 - index) in line[4:10]
        assert width < 34 or mixed[index].created.strftime("%H:%M") in line
    assert text(rows.row(2, width)).startswith("*") and not text(rows.row(1, width)).startswith("*")


def test_the_point_an_interrupted_rollback_went_to_is_marked() -> None:
    found = points(3)
    sentence = f"a rollback to point {found[2].id} of / was interrupted (begun then by root)"
    assert [marks(p, sentence) for p in found] == ["N  ", " P ", "  R"]
    assert marks(replace(found[2], state="damaged"), sentence) == "  !"


def test_points_are_found_by_owner_kind_and_reason() -> None:
    point = points(1)[0]
    assert matches(point, "root replica") and matches(point, "schedule upgr") and not matches(point, "lena")


def test_whatever_a_document_holds_is_shown() -> None:
    doc = {"host": "web01", "files": {"a": "b"}, "packages": 412, "boot": {"disks": [{"name": "vda", "mbr": True}]},
           "lspci": "00:00 bridge\n00:01 vga", "efi": "", "none": None, "very_long_key_of_a_fact": ["x", "y"],
           "list": [f"item {n}" for n in range(100)]}
    rows = other_rows(doc)
    lines = [f"{getattr(r, 'label', '')}|{getattr(r, 'value', r)}" for r in rows]
    assert lines[:4] == ["Packages|412", "Boot|disks: name vda, mbr yes", "Lspci|00:00 bridge", "|00:01 vga"]
    assert "Very long key of a fact|x, y" in lines and lines[-1] == "|and 60 lines more" and len(rows) == 46


def test_weeks_without_points_are_in_the_calendar() -> None:
    far = [Fate(RestorePoint("a", "replica", 2, NOW), True, "x"),
           Fate(RestorePoint("b", "replica", 1, NOW - timedelta(days=21)), False, "y")]
    rows = CalendarRows(far)
    assert len(rows) == 4 and text(rows.row(1, 60)).split()[1:] == ["."] * 7 and "-1" in text(rows.row(3, 60))
    assert len(CalendarRows([])) == 0
