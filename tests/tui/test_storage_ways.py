"""Both ways back to a point of the storage: explained side by side, one chosen, nothing without yes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual import events

from engine.errors import ChangedError
from tests.tui.conftest import AppPilot, make_app, point_of, press, screen_text, settle, until
from tests.tui.fake_engine import FakeEngine
from tests.tui.test_dialogs import WRONG
from tests.tui.test_storage_points import line_with, with_storage
from tui.screens.native import NativeScreen
from tui.screens.points import PointsScreen
from tui.screens.rollback import RollbackScreen
from tui.screens.ways import WaysScreen

NATIVE = ("g", "r", "n", "enter")


def words(pilot: AppPilot) -> str:
    """What is on the screen, without the breaks of its lines."""
    return " ".join(screen_text(pilot).replace("│", " ").split())


async def test_both_ways_stand_side_by_side_before_one_is_chosen() -> None:
    engine = with_storage()
    async with make_app(engine).run_test(size=(160, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "g", "r")
        text = screen_text(pilot)
        line = line_with(text, "[By content]", "Native")
        middle = line.index("│")
        left = [row[:middle] for row in text.splitlines()]
        right = [row[middle:] for row in text.splitlines()]
        assert any("every snapshot stays" in row for row in left) and any("/home, /srv" in row for row in left)
        assert any("the snapshot tank/home@autosnap_03" in row for row in right)
        assert any("the bookmark tank/home#b" in row for row in right) and any("at once" in row for row in right)
        assert any("zfs rollback -r tank/srv@rp-1" in row for row in right)
        assert any("cannot be taken back" in row for row in right)
        assert engine.calls.count("plan") == 0 and "set_back" not in engine.calls


async def test_by_content_leads_to_the_plan_as_always() -> None:
    engine = with_storage()
    async with make_app(engine).run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "g", "r", "enter")
        assert isinstance(pilot.app.screen, RollbackScreen)
        await press(pilot, "enter")
        assert "It will" in screen_text(pilot)
        await press(pilot, "enter", "enter")
        assert "At next boot" not in screen_text(pilot), "the engine refuses that for points of the storage"
        await press(pilot, *"yes", "enter")
        await until(pilot, lambda: "Rolled back to point 2024-11-20_02-42-40_zfs" in screen_text(pilot), "the result")
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, PointsScreen) and engine.calls.count("rollback") == 1


async def test_back_from_a_way_without_doing_it_leads_to_the_choice() -> None:
    engine = with_storage()
    async with make_app(engine).run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "g", "r", "enter", "escape")
        assert isinstance(pilot.app.screen, WaysScreen)
        await press(pilot, "tab", "enter", "escape")
        assert isinstance(pilot.app.screen, WaysScreen) and engine.calls.count("native_plan") == 3
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, PointsScreen) and "set_back" not in engine.calls


@pytest.mark.parametrize(("keys", "chosen"), [("nc", "By content"), ("cn", "Native"), ("ncnc", "By content")])
async def test_the_last_of_keys_that_come_at_once_counts(keys: str, chosen: str) -> None:
    """As typed ahead, or over a slow line: the way that cannot be undone must not be chosen by the one before."""
    async with make_app(with_storage()).run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "g", "r")
        for key in keys:
            pilot.app.post_message(events.Key(key, key))
        await settle(pilot)
        assert f"[{chosen}]" in screen_text(pilot) and f"Go on: {chosen.lower()}" in screen_text(pilot)


@pytest.mark.parametrize("answer", WRONG, ids=["".join(w) for w in WRONG])
async def test_no_volume_is_set_back_without_exactly_yes(answer: tuple[str, ...]) -> None:
    engine = with_storage()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *NATIVE, *answer)
        assert isinstance(pilot.app.screen, NativeScreen) and "set_back" not in engine.calls


async def test_yes_sets_the_volumes_back_and_says_what_was_done() -> None:
    engine = with_storage()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *NATIVE)
        assert "tank/home@autosnap_03" in words(pilot) and "for good?" in words(pilot)
        await press(pilot, *"yes", "enter")
        assert engine.set_back_done == ("zfs rollback -r tank/home@rp-1", "zfs rollback -r tank/srv@rp-1")
        assert "tank/home is set back to rp-1" in screen_text(pilot)
        before = engine.calls.count("storage_points")
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, PointsScreen)
        assert engine.calls.count("storage_points") > before, "the list is read again"


async def test_a_blocked_way_cannot_be_gone_and_says_why() -> None:
    engine = with_storage()
    engine.native_blocked = "tank/home@autosnap_03 has a hold: keep"
    async with make_app(engine).run_test(size=(120, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "g", "r", "n", "enter")
        assert isinstance(pilot.app.screen, WaysScreen)
        assert "BLOCKED tank/home@autosnap_03 has a hold: keep" in words(pilot)
        assert "has to be put right first" in words(pilot) and "enter Go on" not in words(pilot)
        engine.native_blocked = ""
        await press(pilot, "u", "enter")
        assert isinstance(pilot.app.screen, NativeScreen)


async def test_a_storage_that_has_no_native_way_leaves_the_other_one() -> None:
    engine = with_storage()
    engine.native_refused = "a btrfs without subvolumes cannot set one back"
    async with make_app(engine).run_test(size=(120, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "g", "r", "n", "enter")
        assert isinstance(pilot.app.screen, WaysScreen)
        assert "A btrfs without subvolumes cannot set one back" in words(pilot)
        await press(pilot, "c", "enter")
        assert isinstance(pilot.app.screen, RollbackScreen)


async def test_a_volume_that_is_not_mounted_goes_back_natively_only() -> None:
    engine = with_storage()
    async with make_app(engine).run_test(size=(120, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "slash", *"vm-1", "enter", "r", "enter")
        assert isinstance(pilot.app.screen, WaysScreen)
        assert "nothing that this point is of is mounted below the root" in words(pilot)
        await press(pilot, "n", "enter")
        assert isinstance(pilot.app.screen, NativeScreen)


async def test_a_stale_plan_changes_nothing_and_says_so() -> None:
    engine = with_storage()
    async with make_app(engine).run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await press(pilot, *NATIVE)
        engine.fail["set_back"] = ChangedError("a snapshot was taken since", hint="look at the plan again")
        await press(pilot, *"yes", "enter")
        assert "A snapshot was taken since" in screen_text(pilot) and "look at the plan again" in screen_text(pilot)
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, WaysScreen) and engine.set_back_done == ()


async def test_read_only_shows_both_and_does_neither() -> None:
    engine = with_storage()
    async with make_app(engine, read_only=True).run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "g", "r", "n", "enter")
        assert isinstance(pilot.app.screen, WaysScreen) and "This is read-only" in screen_text(pilot)


async def test_points_of_vms_are_brought_back_elsewhere() -> None:
    engine = FakeEngine()
    engine.list[0] = replace(engine.list[0], backend="vms", number=0)
    async with make_app(engine).run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        assert point_of(pilot).backend == "vms"
        await press(pilot, "r")
        assert "press V" in screen_text(pilot) and isinstance(pilot.app.screen, PointsScreen)


async def test_that_the_native_way_cannot_be_undone_is_seen_without_scrolling() -> None:
    async with make_app(with_storage()).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "g", "r")
        assert "NO: it cannot be taken" in screen_text(pilot)
