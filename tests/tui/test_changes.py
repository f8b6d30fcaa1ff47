"""The list of changes: kinds, filter, a million rows, the difference of a file."""

from __future__ import annotations

import time

from engine.entries import Change, Status
from engine.errors import DamageError
from tests.tui.conftest import make_app, press, screen_text, settle, until
from tests.tui.fake_engine import FakeEngine, changes, entry
from tui.screens.points import PointsScreen
from tui.summary import VIEWS, rows_by_view, summarize


def test_summary_counts_each_kind_once() -> None:
    made = changes(100)
    found = FakeEngine()
    found.found = made
    summary = summarize(found.diff(found.list[0], None))
    assert sum(t.count for t in summary.tallies.values()) == 100
    assert summary.tally(Status.CREATED).bytes == sum(c.new.size for c in made if c.status is Status.CREATED and c.new)
    assert summary.tally(Status.ATTRS).bytes == 0
    assert [len(rows) for rows in summary.views] == [100, 20, 40, 20, 20]
    for (_, statuses), rows in zip(VIEWS, summary.views, strict=True):
        assert {made[i].status for i in rows} <= set(statuses)
        assert list(rows) == sorted(rows)


def test_filter_matches_what_is_shown() -> None:
    made = (Change(b"etc/\xff[red]", Status.CREATED, None, entry(b"x"), ()), *changes(10))
    assert list(rows_by_view(made, "XFF red")[0]) == [0]
    assert len(rows_by_view(made, "service 00000")[0]) == 10
    assert [len(r) for r in rows_by_view(made, "nothing like it")] == [0, 0, 0, 0, 0]


async def test_kinds_filter_and_the_difference_of_a_file() -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "d")
        text = screen_text(pilot)
        assert "Changes since point 12" in text and "[1 All 40]" in text and "8 deleted" in text
        await press(pilot, "5")
        assert "[5 Deleted 8]" in screen_text(pilot) and "file deleted" in screen_text(pilot)
        await press(pilot, "left", "left", "left")
        assert "[2 Created 8]" in screen_text(pilot)
        await press(pilot, "slash", *"000015", "enter")
        assert "/etc/service.d/000015.conf" in screen_text(pilot) and "[2 Created 1]" in screen_text(pilot)
        await press(pilot, "enter")
        assert "2  is" in screen_text(pilot) and "file created" in screen_text(pilot)
        await press(pilot, "escape", "escape")
        assert "[2 Created 8]" in screen_text(pilot)
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, PointsScreen)


async def test_attributes_are_said_in_words() -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "d", "4")
        assert "file changed its attributes" in screen_text(pilot) and "mode 0644 -> 0600" in screen_text(pilot)


async def test_nothing_changed_and_errors() -> None:
    engine = FakeEngine()
    engine.found = ()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "d", "j", "enter", "3")
        assert "Nothing changed." in screen_text(pilot)
        await press(pilot, "escape")
        engine.found, engine.fail["content"] = changes(), DamageError("pack-001 is damaged", hint="verify")
        await press(pilot, "d", "enter")
        assert "Pack-001 is damaged" in screen_text(pilot)


async def test_comparing_is_stopped_by_escape() -> None:
    engine = FakeEngine()
    engine.hold.clear()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("d")
        await until(pilot, lambda: "Comparing" in screen_text(pilot), "progress")
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, PointsScreen)


async def test_a_million_changes() -> None:
    engine = FakeEngine()
    engine.found = changes(1000) * 1000
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "d")
        assert "[1 All 1,000,000]" in screen_text(pilot) or "[1 All]" in screen_text(pilot)
        times = []
        for key in ("G", "up", "pageup", "g", "down", "pagedown", "end", "k", "3", "G"):
            begin = time.perf_counter()
            await pilot.press(key)
            screen_text(pilot)
            times.append(time.perf_counter() - begin)
        assert "000998.conf" in screen_text(pilot)
        assert sorted(times)[len(times) // 2] < 0.5, times
