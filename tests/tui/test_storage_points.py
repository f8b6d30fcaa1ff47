"""Points that the storage keeps in the list of points: what is shown of them, what waits for them and what not."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest

from engine.backend import Level
from engine.backends import Listing, Trouble
from engine.errors import BusyError, UsageError
from tests.tui.conftest import make_app, point_of, press, screen_text, settle, until
from tests.tui.fake_engine import FakeEngine
from tests.tui.fake_storage import SANOID, many
from tui.screens.message import MessageScreen
from tui.screens.points import PointsScreen
from tui.storagewords import level_groups, snapshot_name, volumes, whose
from tui.widgets.pointrows import PointRows


def with_storage(count: int = 12) -> FakeEngine:
    """A machine with a store, ZFS, LVM and btrfs."""
    engine = FakeEngine(count)
    engine.have_storage()
    return engine


def line_with(text: str, *words: str) -> str:
    """The line of a screen that has all these words."""
    found = [line for line in text.splitlines() if all(word in line for word in words)]
    assert found, f"{words} in no line of:\n{text}"
    return found[0]


async def test_all_points_are_one_list_by_time() -> None:
    async with make_app(with_storage()).run_test(size=(200, 50)) as pilot:
        await settle(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, PointsScreen)
        times = [p.created for p in screen.points]
        assert times == sorted(times, reverse=True) and len(times) == 18
        text = screen_text(pilot)
        line = line_with(text, "tank/home +1")
        assert "zfs" in line and "before the upgrade of tank" in line
        line = line_with(text, "sanoid", "02:00")
        assert "tank/home " in line and "autosnap_2024-11-20_02:" in line
        assert "MERGING" in line_with(text, "vg/root") and "DAMAGED" in line_with(text, "vg/srv", "not ours")
        assert "replica" in line_with(text, " N ", "12")
        assert "Points 18" in text


async def test_at_80_columns_the_state_is_said_before_the_comment() -> None:
    async with make_app(with_storage()).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        text = screen_text(pilot)
        assert "MERGING" in line_with(text, "vg/root") and "  M " in line_with(text, "vg/root")
        assert "DAMAGED" in line_with(text, "vg/srv ")
        assert "by sanoid" in line_with(text, "02:00", "zfs") or "autosnap" in line_with(text, "02:00", "zfs")


async def test_a_machine_without_such_storage_sees_nothing_of_it() -> None:
    async with make_app(FakeEngine()).run_test(size=(160, 45)) as pilot:
        await settle(pilot)
        text = screen_text(pilot)
        assert "Kind" not in text and "Volume" not in text and "Owner" not in text
        assert "K Only" not in text and "pending" not in text
        await press(pilot, "K")
        assert "There is one kind of points only." in screen_text(pilot)


async def test_one_kind_alone_and_all_again() -> None:
    async with make_app(with_storage()).run_test(size=(160, 45)) as pilot:
        await settle(pilot)
        assert "K Only replica" in screen_text(pilot)
        await press(pilot, "K", "K")
        text = screen_text(pilot)
        assert "Only btrfs" in text.splitlines()[1] and "timeline" in text and "tank/home" not in text
        assert "nightly" not in text
        await press(pilot, "K", "K", "K")
        assert "Only" not in screen_text(pilot).splitlines()[1] and "tank/home" in screen_text(pilot)
        await press(pilot, "K", "escape")
        assert "tank/home" in screen_text(pilot)


@pytest.mark.parametrize(("words", "wanted", "not_wanted"), [
    ("zfs", "tank/home", "vg/root"), ("sanoid", "02:00", "vg/root"), ("vg/root", "merging", "tank/home"),
    ("damaged lvm", "vg/srv", "vg/root"), ("autosnap_2024", "02:00", "timeline")])
async def test_the_filter_knows_kinds_owners_and_volumes(words: str, wanted: str, not_wanted: str) -> None:
    async with make_app(with_storage()).run_test(size=(160, 45)) as pilot:
        await settle(pilot)
        await press(pilot, "slash", *("space" if c == " " else "slash" if c == "/" else "underscore" if c == "_" else c
                                      for c in words), "enter")
        text = screen_text(pilot)
        assert wanted in text.casefold() and not_wanted not in text


async def test_the_details_name_the_parts_and_what_the_tool_says() -> None:
    async with make_app(with_storage()).run_test(size=(100, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "slash", *"upgrade", "space", *"tank", "enter", "enter")
        text = screen_text(pilot)
        assert "Point 2024-11-20_02-42-40_zfs" in text
        assert "tank/home@rp-1" in text and "tank/srv@rp-1" in text and "/srv" in text
        assert "1234567890123" in text      # a number that is a name
        await press(pilot, "escape", "escape", "slash", *"vm-1", "enter", "enter")
        assert "not mounted" in screen_text(pilot) and "by zrepl" in screen_text(pilot)


async def test_a_storage_that_cannot_be_asked_is_one_line_and_harms_nothing() -> None:
    engine = with_storage()
    engine.storage_troubles = (Trouble("lvm", "lvs gave no answer within 30 s", "look at `dmesg`"),)
    async with make_app(engine).run_test(size=(120, 24)) as pilot:
        await settle(pilot)
        text = screen_text(pilot)
        assert "NOT SHOWN  lvm cannot be listed: lvs gave no answer within 30 s (look at `dmesg`)" in text
        assert "tank/home" in text and "nightly" in text


@pytest.mark.parametrize("error", [BusyError("zfs is busy"), RuntimeError("boom")])
async def test_a_failing_question_to_the_storage_leaves_the_store_alone(error: Exception) -> None:
    engine = with_storage()
    engine.fail["storage_points"] = engine.fail["levels"] = error
    async with make_app(engine).run_test(size=(120, 24)) as pilot:
        await settle(pilot)
        assert " N     12" in screen_text(pilot) and f"the storage cannot be listed: {error}" in screen_text(pilot)


async def test_a_storage_that_hangs_keeps_nobody_from_the_store() -> None:
    engine, answer = with_storage(), threading.Event()
    asked: list[int] = []

    def hang() -> Listing:
        asked.append(1)
        answer.wait(20)
        return Listing(engine.storage)

    engine.storage_points = hang    # type: ignore[method-assign]
    async with make_app(engine).run_test(size=(120, 24)) as pilot:
        await until(pilot, lambda: " N     12" in screen_text(pilot), "the store's points")
        assert "tank/home" not in screen_text(pilot)
        await pilot.press("u", "u", "p")
        await until(pilot, lambda: "is pinned" in screen_text(pilot), "the answer")
        assert len(asked) == 1, "a question is open: no other one is asked"
        answer.set()
        await until(pilot, lambda: "tank/home" in screen_text(pilot), "the storage's points")
        await settle(pilot)
        assert len(asked) == 2, "what was asked for meanwhile is asked once"


async def test_without_a_store_the_storage_has_points_all_the_same() -> None:
    engine = with_storage()
    engine.list = []
    engine.state = replace(engine.state, exists=False)
    engine.fail["points"] = UsageError("there is no store at /var/lib/rollpoint/store")
    async with make_app(engine).run_test(size=(120, 24)) as pilot:
        await settle(pilot)
        text = screen_text(pilot)
        assert "tank/home" in text and "Points 6" in text and "LOW" not in text.splitlines()[1]
        assert point_of(pilot).backend == "zfs"


@pytest.mark.parametrize("verb", ["status", "points"])
async def test_points_of_the_storage_are_there_when_the_store_cannot_be_read(verb: str) -> None:
    engine = with_storage()
    engine.fail[verb] = OSError(5, "Input/output error")
    async with make_app(engine).run_test(size=(120, 24)) as pilot:
        await settle(pilot)
        text = screen_text(pilot)
        assert "tank/home" in text and "NOT SHOWN" in text and "Input/output error" in text
        assert point_of(pilot).backend == "zfs"
        del engine.fail[verb]
        await press(pilot, "u")
        assert "NOT SHOWN" not in screen_text(pilot) and " N     12" in screen_text(pilot)


async def test_fill_levels_and_what_is_pending_are_said() -> None:
    engine = with_storage()
    engine.waiting = ("vg/root merges when it is next activated",)
    async with make_app(engine).run_test(size=(140, 24)) as pilot:
        await settle(pilot)
        lines = screen_text(pilot).splitlines()
        assert "vg/pool data 91%" in lines[1] and "1 pending" in lines[1] and "tank 43%" not in lines[1]
        assert "PENDING  vg/root merges when it is next activated" in lines[2]
        engine.fill, engine.waiting = engine.fill[:1], ()
        await press(pilot, "u")
        assert "tank 43%" in screen_text(pilot).splitlines()[1]


async def test_warnings_of_the_storage_stay_at_80_columns() -> None:
    engine = with_storage()
    engine.fill = (Level("zfs", "tank", 99.0, "full", "99 %"),)
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert "tank 99% FULL" in screen_text(pilot).splitlines()[1]


async def test_two_thousand_snapshots_draw_only_what_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    engine.storage = tuple(many(2000))
    drawn: list[int] = []
    row = PointRows.row

    def counted(self: PointRows, index: int, width: int) -> object:
        drawn.append(index)
        return row(self, index, width)

    monkeypatch.setattr(PointRows, "row", counted)
    async with make_app(engine).run_test(size=(100, 24)) as pilot:
        await settle(pilot)
        assert "Points 2,012" in screen_text(pilot)
        drawn.clear()
        await press(pilot, "G")
        assert point_of(pilot).id == "zfs:tank/home@autosnap_01999"
        assert len(set(drawn)) < 60
        await press(pilot, "slash", *"01234")
        assert point_of(pilot).id == "zfs:tank/home@autosnap_01234"


async def test_points_of_two_kinds_can_be_compared() -> None:
    engine = with_storage()
    async with make_app(engine).run_test(size=(120, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "m", "down")     # the newest is the storage's own
        assert "Compare with 2024-11-20_02-42-40_zfs" in screen_text(pilot).splitlines()[-1] or (
            point_of(pilot).backend != "replica")
        await press(pilot, "escape", "g", "m", "down", "d")
        assert not isinstance(pilot.app.screen, MessageScreen)
        assert engine.calls.count("changes") == 1


def test_words() -> None:
    engine = with_storage()
    two, sanoid, _, overflowed, *_ = engine.storage
    assert volumes(two) == "zfs: tank/home, tank/srv" and snapshot_name(two) == "rp-1"
    assert sanoid.id == SANOID and whose(sanoid) == "sanoid" and whose(overflowed) == "not ours" and whose(two) == ""
    assert snapshot_name(overflowed) == "vg/srv-snap"
    assert level_groups([], []) == []
    assert level_groups([Level("zfs", "a", 99.0, "full", "")], ["x", "y"]) == [[("a 99% FULL", "bad")],
                                                                              [("2 pending", "warn")]]
