"""A rollback that is left to the next boot: chosen in the last step, ordered after yes, shown, and taken back."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from engine.errors import BusyError, RefusedError
from tests.tui.conftest import AppPilot, make_app, press, screen_text, settle, until
from tests.tui.fake_engine import FakeEngine
from tests.tui.test_rollback import TO_YES
from tui.screens.message import MessageScreen
from tui.screens.points import PointsScreen
from tui.screens.recover import RecoverScreen, TakeBackScreen
from tui.screens.rollback import RollbackScreen

ORDERED = "a rollback to point 9 will be done at the next boot (ordered 2024-11-20 03:00:00 UTC by root)"


def flat(pilot: AppPilot) -> str:
    return " ".join(screen_text(pilot).replace("│", " ").split())


async def test_tab_leaves_it_to_the_next_boot_and_yes_orders_it() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "down", *TO_YES)
        assert "now, while everything runs; tab: at the next boot" in flat(pilot)
        assert "Roll back now?" in flat(pilot) and "tab At next boot" in flat(pilot)
        await press(pilot, "tab")
        text = flat(pilot)
        assert "Roll back at the next boot?" in text and "What changes until then is lost as well" in text
        assert "a safety point is taken then, before anything else" in text and "yes enter Order it" in text
        await press(pilot, *"no", "enter")
        assert "Nothing was done" in flat(pilot) and "order" not in engine.calls
        await press(pilot, *"yes", "enter")
        text = flat(pilot)
        assert "Ordered: the rollback to point 11 is done at the next boot." in text
        assert "systemctl reboot" in text and "R on the list of points" in text
        assert engine.calls.count("order") == 1 and "rollback" not in engine.calls
        assert engine.words["at_boot"] is True and engine.words["number"] == 11
        assert engine.words["safety_point"] is True and engine.words["config"]["root"] == "/"
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, PointsScreen)
        assert "ROLLBACK AT NEXT BOOT" in flat(pilot) and "Press R to take it back" in flat(pilot)


async def test_without_a_safety_point_it_is_ordered_without_one() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *TO_YES[:-1], "space", "enter", "tab")
        assert "NONE: no safety point" in flat(pilot)
        await press(pilot, *"yes", "enter")
        assert engine.words["safety_point"] is False


async def test_tab_again_is_now_again() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *TO_YES, "tab", "tab")
        assert "Roll back now?" in flat(pilot) and "next boot?" not in flat(pilot)
        await press(pilot, *"yes", "enter")
        await until(pilot, lambda: "Rolled back to point 12" in screen_text(pilot), "the result")
        assert "order" not in engine.calls and "rollback" in engine.calls


async def test_a_new_plan_is_for_now() -> None:
    async with make_app(FakeEngine()).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *TO_YES, "tab")
        await press(pilot, "escape", "enter")
        assert "at the next boot?" in flat(pilot), "only a step back"
        await press(pilot, "escape", "escape", "escape", *TO_YES[1:])
        assert "Roll back now?" in flat(pilot)


async def test_where_it_cannot_be_ordered_it_says_why_and_stays_with_now() -> None:
    engine = FakeEngine()
    engine.fail["may_order"] = RefusedError("the store lies on /mnt, which is not mounted early", hint="roll back now")
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *TO_YES, "tab")
        assert isinstance(pilot.app.screen, MessageScreen) and "not mounted early" in flat(pilot)
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, RollbackScreen) and "Roll back now?" in flat(pilot)


async def test_only_the_system_that_runs_here_has_a_next_boot() -> None:
    engine = FakeEngine()
    plan = FakeEngine.plan
    engine.plan = lambda point, scope, job, *, adopt=False, merged=(): replace(     # type: ignore[method-assign]
        plan(engine, point, scope, job), root="/mnt/old")
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *TO_YES, "tab", "tab")
        assert "next boot" not in flat(pilot) and "may_order" not in engine.calls


async def test_an_order_that_fails_changes_nothing_and_can_be_tried_again() -> None:
    engine = FakeEngine()
    engine.fail["order"] = BusyError("a snapshot by root (pid 12) is under way", hint="wait for it")
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *TO_YES, "tab", *"yes", "enter")
        text = flat(pilot)
        assert "A snapshot by root (pid 12) is under way" in text and "wait for it" in text
        assert "Nothing was ordered or changed." in text and not pilot.app.running   # type: ignore[attr-defined]
        engine.fail.clear()
        await press(pilot, "a", "enter", "enter", "tab", *"yes", "enter")
        assert "Ordered: the rollback to point 12" in flat(pilot)


async def test_nobody_leaves_while_the_order_is_written() -> None:
    gate, engine = threading.Event(), FakeEngine()
    order = engine.order
    engine.order = lambda plan, words: (gate.wait(60), order(plan, words))[1]       # type: ignore[method-assign]
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        try:
            await settle(pilot)
            await press(pilot, *TO_YES, "tab")
            await pilot.press(*"yes", "enter")
            await until(pilot, lambda: "one moment" in screen_text(pilot), "the beginning")
            await pilot.press("escape", "q", "enter")
            assert isinstance(pilot.app.screen, RollbackScreen) and "one moment" in screen_text(pilot)
        finally:
            gate.set()
        await until(pilot, lambda: "Ordered: the rollback" in screen_text(pilot), "the end")


async def test_what_is_ordered_is_taken_back_after_yes() -> None:
    engine = FakeEngine()
    engine.state = replace(engine.state, ordered=ORDERED)
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "R")
        assert isinstance(pilot.app.screen, RecoverScreen) and "A rollback to point 9 will be done" in flat(pilot)
        await press(pilot, "r", "u", "f")
        assert isinstance(pilot.app.screen, RecoverScreen)
        await press(pilot, "c")
        assert isinstance(pilot.app.screen, TakeBackScreen)
        await press(pilot, *"no", "enter")
        assert "take_order_back" not in engine.calls
        await press(pilot, *"yes", "enter")
        assert "Taken back: the next boot is one like any other." in flat(pilot)
        assert engine.calls.count("take_order_back") == 1
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, PointsScreen) and "NEXT BOOT" not in screen_text(pilot)
        await press(pilot, "R")
        assert "Nothing was left unfinished" in flat(pilot)


@pytest.mark.parametrize("change", [{"holder": "a snapshot by root"}, {"rollback": "the rollback to point 7"}])
async def test_what_comes_first_comes_first(change: dict[str, str]) -> None:
    """While another one is at work, or a rollback is half done, an order is not what is to be settled."""
    engine = FakeEngine()
    engine.state = replace(engine.state, ordered=ORDERED, **change)     # type: ignore[arg-type]
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        if not isinstance(pilot.app.screen, RecoverScreen):
            await press(pilot, "R")
        await press(pilot, "c")
        assert isinstance(pilot.app.screen, RecoverScreen) and "Cancel the order" not in screen_text(pilot)


async def test_one_who_may_only_look_takes_nothing_back() -> None:
    engine = FakeEngine()
    engine.state = replace(engine.state, ordered=ORDERED)
    async with make_app(engine, read_only=True).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "R", "c")
        assert isinstance(pilot.app.screen, PointsScreen) and "This is read-only" in screen_text(pilot)
