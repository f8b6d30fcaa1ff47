"""The prune simulator: editing rules, seeing what they do, writing them, pruning; right and wrong answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.config import Retention
from engine.errors import BusyError, RefusedError
from engine.results import Fate
from engine.text import message
from tests.tui.conftest import AppPilot, make_app, press, screen_text, settle
from tests.tui.fake_engine import HOSTILE, FakeEngine
from tui.screens.points import PointsScreen
from tui.screens.prune import PruneScreen
from tui.screens.prunenow import SaveRulesScreen
from tui.widgets.rows import RowList

DAILY = ("down", "down", "down")
"""From the first rule to `Daily`."""


def thinning() -> FakeEngine:
    """Thirty points, and saved rules that do not keep all of them."""
    engine = FakeEngine(30)
    engine.rules_now = Retention(daily=3)
    return engine


def simulator(pilot: AppPilot) -> PruneScreen:
    screen = pilot.app.screen
    assert isinstance(screen, PruneScreen)
    return screen


async def test_it_shows_the_saved_rules_and_the_fate_of_each_point() -> None:
    async with make_app(thinning()).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "P")
        text = screen_text(pilot)
        assert "SAVED RULES  7 stay, 23 go, about 1.4 GiB freed" in text and "Daily            3" in text
        assert "keep     30  11-20 02:32 one of the new" in text and "REMOVE   23" in text
        assert "Newest kept: 2   so many of the newest" in text
        await press(pilot, "tab", "down")
        assert "Point 29 stays: pinned   2024-11-19 19:32:40 +0000   own size 6.5 MiB" in screen_text(pilot)


async def test_a_typed_value_is_tried_at_once_and_nothing_is_saved() -> None:
    engine = FakeEngine(30)
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "P")
        await press(pilot, *DAILY)
        assert "30 stay, none goes" in screen_text(pilot)
        await press(pilot, "7")
        text = screen_text(pilot)
        assert "NOT SAVED  11 stay, 19 go, about 1.2 GiB freed" in text and "*Daily" in text
        await press(pilot, "enter")
        assert simulator(pilot).rules == Retention(daily=7)
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, PointsScreen)
        assert engine.rules_now == Retention() and not {"save_rules", "prune"} & set(engine.calls)


@pytest.mark.parametrize(("downs", "typed", "expected"), [
    (3, "x7", "expected a whole number of points"), (3, "-1", "expected a whole number"), (0, "0", "at least 1"),
    (1, "3 weeks", "45min, 12h, 90d, 4w or 2y"), (1, "", "45min, 12h"), (7, "soon", "or none"), (8, "0.5", "from 1"),
    (8, "1e99", "none for no limit"), (8, "nan", "from 1"), (3, "[/]", "`[/]` will not do")])
async def test_a_wrong_value_is_explained_and_changes_nothing(downs: int, typed: str, expected: str) -> None:
    async with make_app(FakeEngine(30)).run_test(size=(120, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "P")
        await press(pilot, *["down"] * downs, "enter", "ctrl+u", *typed, "enter")
        text = screen_text(pilot)
        assert expected in text and "will not do" in text and "enter Take it" in text
        assert "SAVED RULES  30 stay" in text
        await press(pilot, "escape")
        assert simulator(pilot).rules == Retention() and "will not do" not in screen_text(pilot)
        assert "SAVED RULES" in screen_text(pilot)


@pytest.mark.parametrize(("downs", "typed", "name", "value"), [
    (0, "5", "min_keep", 5), (1, "12h", "min_age", 43200), (7, "90d", "max_age", 90 * 86400),
    (7, "none", "max_age", None), (8, "2.5", "max_store_ratio", 2.5), (8, "none", "max_store_ratio", None),
    (6, "2", "yearly", 2)])
async def test_right_values(downs: int, typed: str, name: str, value: object) -> None:
    async with make_app(FakeEngine(30)).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "P")
        await press(pilot, *["down"] * downs, "enter", "ctrl+u", *typed, "enter")
        assert getattr(simulator(pilot).rules, name) == value and simulator(pilot).edited is None


async def test_escape_takes_the_typed_value_back_tab_takes_it_over() -> None:
    async with make_app(FakeEngine(30)).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "P")
        await press(pilot, *DAILY, "7", "escape")
        assert simulator(pilot).rules == Retention() and "SAVED RULES  30 stay" in screen_text(pilot)
        await press(pilot, "4", "tab")
        assert simulator(pilot).rules == Retention(daily=4)


async def test_steps_and_undo() -> None:
    async with make_app(FakeEngine(30)).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "P")
        await press(pilot, *DAILY, "plus", "right", "plus", "minus")
        assert simulator(pilot).rules == Retention(daily=2) and "NOT SAVED" in screen_text(pilot)
        await press(pilot, *["down"] * 4, "left", "down", "l")
        assert simulator(pilot).rules == Retention(daily=2, max_age=1825 * 86400, max_store_ratio=1.75)
        await press(pilot, "u")
        assert simulator(pilot).rules == Retention() and "These are the saved rules again" in screen_text(pilot)


async def test_the_calendar_counts_days() -> None:
    async with make_app(thinning()).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "P")
        await press(pilot, "c", "tab")
        text = screen_text(pilot)
        assert "Week of    Mon Tue Wed Thu Fri Sat Sun" in text
        assert "2024-11-18 3-1 3   1   .   .   .   ." in text and "2024-11-11 -2  -3  -4  -3  -3  -4  -3" in text
        assert "2024 week 47: 7 points stay, 1 go: 23" in text
        await press(pilot, "p")
        assert "To pin a point, go to the list of points" in screen_text(pilot)
        await press(pilot, "c")
        assert "Fate     No" in screen_text(pilot)


async def test_pinning_from_here_asks_the_rules_again() -> None:
    engine = thinning()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "P")
        await press(pilot, "tab", *["down"] * 7)
        assert "Point 23 would be REMOVED" in screen_text(pilot)
        await press(pilot, "p")
        text = screen_text(pilot)
        assert "Point 23 is pinned." in text and "keep     23  11-18 01:32 pinned" in text and "8 stay, 22 go" in text
        assert next(p for p in engine.list if p.number == 23).pinned


async def test_writing_the_rules_removes_nothing() -> None:
    engine = FakeEngine(30)
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "P")
        await press(pilot, "w")
        assert "there is nothing to write" in screen_text(pilot)
        await press(pilot, *DAILY, "7", "enter", "w")
        assert "Daily: none -> 7" in screen_text(pilot) and "No point" in screen_text(pilot)
        await press(pilot, "escape")
        assert engine.rules_now == Retention() and "NOT SAVED" in screen_text(pilot)
        await press(pilot, "w", "enter")
        assert "The rules were saved to /etc/rollpoint/conf.d/90-retention.yaml." in screen_text(pilot)
        await press(pilot, "enter")
        assert engine.rules_now == Retention(daily=7) and len(engine.list) == 30
        assert "*Daily" not in screen_text(pilot)


async def test_rules_that_may_not_be_written_say_why() -> None:
    engine = FakeEngine(30)
    engine.fail["save_rules"] = RefusedError("retention.daily is set in /etc/rollpoint/conf.d/99.yaml, read later",
                                             hint="change it there")
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "P")
        await press(pilot, *DAILY, "7", "enter", "w", "enter")
        text = screen_text(pilot)
        assert "Retention.daily is set in /etc/rollpoint/conf.d/99.yaml" in text and "What to do: change it" in text
        await press(pilot, "enter")
        assert "NOT SAVED" in screen_text(pilot) and simulator(pilot).saved == Retention()


async def test_prune_needs_yes_and_removes_what_the_saved_rules_say() -> None:
    engine = thinning()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "P")
        await press(pilot, "x")
        assert "23 points of 30 would be removed, frees about 1.4 GiB; 7 stay." in screen_text(pilot)
        await press(pilot, "G", *"no", "enter", *"no", "enter")
        assert "Nothing was done" in screen_text(pilot) and len(engine.list) == 30
        await press(pilot, *"yes", "enter")
        assert "23 points removed" in screen_text(pilot) and len(engine.list) == 7
        await press(pilot, "enter")
        assert "SAVED RULES  7 stay, none goes" in screen_text(pilot)
        await press(pilot, "x")
        assert "The saved rules remove nothing now." in screen_text(pilot)
        await press(pilot, "escape")
        assert "Points 7" in screen_text(pilot)


async def test_prune_with_rules_that_are_not_saved_asks_to_save_them_first() -> None:
    engine = FakeEngine(30)
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "P")
        await press(pilot, *DAILY, "7", "enter", "x")
        assert isinstance(pilot.app.screen, SaveRulesScreen)
        assert "Pruning goes by the saved rules, and these are not saved yet." in screen_text(pilot)
        await press(pilot, "escape")
        assert engine.rules_now == Retention() and "prune" not in engine.calls
        await press(pilot, "x", "enter", "enter")
        assert engine.rules_now == Retention(daily=7) and "19 points of 30 would be removed" in screen_text(pilot)
        await press(pilot, "escape")
        assert len(engine.list) == 30


async def test_a_prune_that_fails_and_points_that_go_meanwhile() -> None:
    engine = thinning()
    engine.fail["prune"] = BusyError("the store is in use by root@web01, pid 812", hint="wait until it is done")
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "P")
        await press(pilot, "x", *"yes", "enter")
        assert "The store is in use by root@web01, pid 812" in screen_text(pilot)
        await press(pilot, "enter", "tab")
        engine.list = engine.list[:4]
        await press(pilot, "x")
        assert "The saved rules remove nothing now." in screen_text(pilot)
        engine.fail["annotate"] = BusyError("held")
        await press(pilot, "p")
        assert "Held" in screen_text(pilot)


async def test_read_only_tries_but_writes_nothing() -> None:
    engine = thinning()
    async with make_app(engine, read_only=True).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "P")
        await press(pilot, *DAILY, "9", "enter")
        text = screen_text(pilot)
        assert "NOT SAVED" in text and "READ ONLY" in text.splitlines()[0]
        assert "Write" not in text and "x Prune" not in text
        for key in ("w", "x"):
            await press(pilot, key)
            assert "This is read-only" in screen_text(pilot)
        await press(pilot, "tab", "p")
        assert not {"save_rules", "prune", "annotate"} & set(engine.calls)


async def test_only_the_answer_to_the_latest_rules_is_shown() -> None:
    engine = FakeEngine(30)
    real = engine.fates

    def slow_for_one(rules: Retention | None = None) -> list[Fate]:
        if rules is not None and rules.daily == 1:
            engine.hold.wait(10)
        return real(rules)

    engine.fates = slow_for_one  # type: ignore[method-assign]
    engine.hold.clear()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "P")
        await press(pilot, *DAILY)
        await pilot.press("1")
        await pilot.press("4")
        engine.hold.set()
        await settle(pilot)
        assert simulator(pilot).rules == Retention(daily=14)
        assert f"{sum(f.keep for f in real(Retention(daily=14)))} stay" in screen_text(pilot)


@pytest.mark.parametrize("error", [BusyError("the catalog is being rebuilt", hint="wait"), KeyError("[/]")])
async def test_when_the_rules_cannot_be_asked(error: Exception) -> None:
    engine = FakeEngine()
    engine.fail["fates"] = error
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "P")
        assert "That did not work" in screen_text(pilot) and "Traceback" not in screen_text(pilot)
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, PointsScreen)


@pytest.mark.parametrize("name", HOSTILE[:8], ids=range(8))
async def test_hostile_comments_and_rules_are_shown_as_they_are(name: bytes) -> None:
    engine = thinning()
    text = name.decode("utf-8", "surrogateescape")
    engine.list = [replace(p, comment=text) for p in engine.list]
    async with make_app(engine).run_test(size=(200, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "P")
        await press(pilot, "tab")
        assert screen_text(pilot).count(message(text)) > 10
        await press(pilot, "x", "down")
        assert message(text) in screen_text(pilot)


async def test_a_click_goes_to_the_other_side() -> None:
    async with make_app(thinning()).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "P")
        await pilot.click("#fates", offset=(5, 3))
        await settle(pilot)
        assert "Point 28 stays" in screen_text(pilot) and "tab Rules" in screen_text(pilot)
        assert pilot.app.screen.query_one("#fates", RowList).has_focus


async def test_what_is_removed_is_what_was_shown_or_it_is_asked_again() -> None:
    engine = thinning()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "P")
        await press(pilot, "x")
        shown = screen_text(pilot)
        engine.list = [replace(p, pinned=True) if p.number == 1 else p for p in engine.list]
        before = len(engine.list)
        await press(pilot, *"yes", "enter")
        text = screen_text(pilot)
        assert "what the rules remove has changed" in text and len(engine.list) == before, shown
        assert "Remove the points marked REMOVE" in text and "type yes, then enter" in text
        await press(pilot, "enter")
        assert len(engine.list) == before, "enter alone must not agree to another list"
        await press(pilot, *"yes", "enter")
        assert "removed" in screen_text(pilot) and 1 in {p.number for p in engine.list} and len(engine.list) < before


async def test_a_prune_that_has_nothing_left_to_remove_says_so() -> None:
    engine = thinning()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "P")
        await press(pilot, "x")
        engine.list = [replace(p, pinned=True) for p in engine.list]
        await press(pilot, *"yes", "enter")
        assert "the rules keep every point now" in screen_text(pilot) and engine.list
