"""Pruning by the rules what ZFS, LVM and btrfs keep, beside the store: what goes and stays, and what that frees."""

from __future__ import annotations

import threading
from dataclasses import replace

from engine.backends import Listing, Trouble
from engine.config import Retention
from engine.errors import RollpointError
from engine.results import Fate
from tests.tui.conftest import AppPilot, make_app, press, screen_text, settle, until
from tests.tui.fake_engine import FakeEngine
from tests.tui.fake_storage import SANOID, many
from tests.tui.test_prune import simulator
from tui.screens.prunenow import PruneNowScreen
from tui.widgets.faterows import FateRows
from tui.widgets.rows import RowList

OURS, VM_DISK = "2024-11-20_02-42-40_zfs", "zfs:tank/vm-1@daily"


def thinning(prunable: str = "zrepl") -> FakeEngine:
    """Thirty points in the store, six of the storage; rules that keep one a day, and may prune zrepl's."""
    engine = FakeEngine(30)
    engine.have_storage()
    engine.rules_now, engine.prunable = Retention(min_keep=1, daily=1), prunable
    return engine


def fates(pilot: AppPilot) -> list[Fate]:
    """What is listed."""
    source = pilot.app.screen.query_one("#fates", RowList).source
    assert isinstance(source, FateRows)
    return source.fates if isinstance(source.fates, list) else list(source.fates)


async def test_points_of_all_kinds_are_listed_with_their_rule_and_foreign_ones_stay() -> None:
    engine = thinning()
    async with make_app(engine).run_test(size=(160, 50)) as pilot:
        await press(pilot, "P")
        shown = fates(pilot)
        expected, _ = engine.all_fates()
        assert [(f.point.id, f.keep, f.rule) for f in shown] == [(f.point.id, f.keep, f.rule) for f in expected]
        text = screen_text(pilot)
        assert "zfs 2 stay, 1 goes, frees 5.0 MiB" in text and "lvm 2 stay" in text and "btrfs 1 stay" in text
        gone = next(line for line in text.splitlines() if "tank/vm-1" in line)
        assert "REMOVE" in gone and "thinned: no daily slot" in gone
        sanoid = next(line for line in text.splitlines() if "sanoid's, not ours to remove" in line)
        assert "keep" in sanoid and "zfs" in sanoid and "tank/home" in sanoid
        at = [f.point.id for f in shown].index(SANOID)
        await press(pilot, "tab", "home", *["down"] * at)
        assert f"Point {SANOID} stays: sanoid's, not ours to remove   zfs: tank/home" in screen_text(pilot)


async def test_other_rules_are_tried_on_the_storage_without_listing_it_again() -> None:
    engine = thinning()
    async with make_app(engine).run_test(size=(120, 40)) as pilot:
        await press(pilot, "P")
        listed = engine.calls.count("storage_points")
        await press(pilot, "down", "down", "down", "9", "enter")
        assert "zfs 3 stay" in screen_text(pilot) and "1 goes" not in screen_text(pilot)
        assert engine.calls.count("storage_points") == listed
        await press(pilot, "u")
        assert "zfs 2 stay, 1 goes" in screen_text(pilot)


async def test_a_storage_that_hangs_keeps_nobody_from_the_rules_of_the_store() -> None:
    engine, answer, asked = thinning(), threading.Event(), []
    real = engine.storage_points

    def hanging() -> Listing:
        asked.append(1)
        answer.wait(20)
        return real()

    async with make_app(engine).run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        engine.storage_points = hanging  # type: ignore[method-assign]
        await pilot.press("P")
        await until(pilot, lambda: "Asking the storage ..." in screen_text(pilot), "the storage")
        assert "SAVED RULES  6 stay, 24 go" in screen_text(pilot)
        await pilot.press("down", "down", "down", "9", "enter")
        await until(pilot, lambda: "NOT SAVED  13 stay" in screen_text(pilot), "the rules of the store")
        assert len(asked) == 1, "one question at a time"
        answer.set()
        await settle(pilot)
        assert simulator(pilot).rules.daily == 9 and "zfs 3 stay" in screen_text(pilot)
        assert "Asking" not in screen_text(pilot)


async def test_what_nobody_knows_yet_is_not_shown_as_known() -> None:
    engine, answer = thinning(), threading.Event()
    real = engine.all_fates

    async with make_app(engine).run_test(size=(120, 40)) as pilot:
        await press(pilot, "P")

        def slow(*args: object, **options: object) -> tuple[list[Fate], list[Trouble]]:
            answer.wait(20)
            return real(*args, **options)  # type: ignore[arg-type]

        engine.all_fates = slow  # type: ignore[method-assign]
        await pilot.press("down", "down", "down", "9")
        await until(pilot, lambda: "NOT SAVED" in screen_text(pilot))
        lines = [line for line in screen_text(pilot).splitlines() if " zfs " in line]
        assert lines and all("..." in line and "REMOVE" not in line for line in lines)
        answer.set()
        await settle(pilot)
        assert "..." not in "".join(line for line in screen_text(pilot).splitlines() if " zfs " in line)


async def test_all_that_goes_is_shown_with_what_the_storage_frees_and_goes_after_yes() -> None:
    engine = thinning()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await press(pilot, "P", "x")
        text = " ".join(screen_text(pilot).replace("│", " ").split())
        assert isinstance(pilot.app.screen, PruneNowScreen)
        assert "25 points of 36 would be removed, frees about" in text and "in the store; 11 stay." in text
        assert "5.0 MiB as the storage works it out" in text and "tank/clone goes with it" in text
        assert VM_DISK in {f.point.id for f in fates(pilot)} and all(not f.keep for f in fates(pilot))
        await press(pilot, *"yes", "enter")
        assert "25 points removed" in screen_text(pilot)
        assert VM_DISK not in {p.id for p in engine.storage} and len(engine.storage) == 5 and len(engine.list) == 6


async def test_yes_cannot_be_typed_before_it_is_known_what_goes() -> None:
    engine, answer = thinning(), threading.Event()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await press(pilot, "P")
        real = engine.losses
        engine.losses = lambda victims: real(victims) if answer.wait(20) else {}  # type: ignore[method-assign]
        await pilot.press("x")
        await until(pilot, lambda: "Asking the storage what goes with them" in screen_text(pilot))
        await pilot.press(*"yes", "enter")
        await pilot.pause()
        assert "type yes" not in screen_text(pilot) and "prune_all" not in engine.calls
        answer.set()
        await settle(pilot)
        assert "type yes" in screen_text(pilot) and "as the storage works it out" in screen_text(pilot)


async def test_losses_that_cannot_be_said_are_no_reason_not_to_prune() -> None:
    engine = thinning()
    engine.fail["losses"] = RollpointError("zfs gave no answer within 30 s", hint="look at `dmesg`")
    async with make_app(engine).run_test(size=(100, 30)) as pilot:
        await press(pilot, "P")
        assert "what is freed cannot be said: zfs gave no answer" in screen_text(pilot)
        await press(pilot, "x")
        assert "What goes with them cannot be said" in screen_text(pilot) and "within 30 s" in screen_text(pilot)
        await press(pilot, *"yes", "enter")
        assert len(engine.storage) == 5


async def test_a_snapshot_that_came_meanwhile_is_asked_about_again() -> None:
    engine = thinning("sanoid")
    engine.storage = tuple(many(2))
    async with make_app(engine).run_test(size=(100, 30)) as pilot:
        await press(pilot, "P", "x")
        assert {f.point.backend for f in fates(pilot)} == {"replica"}
        engine.storage = tuple(many(30))
        await press(pilot, *"yes", "enter")
        assert "what the rules remove has changed" in screen_text(pilot) and len(engine.storage) == 30
        assert {f.point.backend for f in fates(pilot)} == {"replica", "zfs"} and len(engine.list) == 30
        await press(pilot, "enter")
        assert len(engine.storage) == 30, "enter alone must not agree to another list"
        await press(pilot, *"yes", "enter")
        assert len(engine.storage) < 30 and len(engine.list) < 30


async def test_a_kind_that_cannot_be_asked_loses_nothing_and_says_why() -> None:
    engine = thinning()
    engine.storage = tuple(p for p in engine.storage if p.backend != "lvm")
    engine.storage_troubles = (Trouble("lvm", "vgs gave no answer", "look at `dmesg`"),)
    async with make_app(engine).run_test(size=(120, 30)) as pilot:
        await press(pilot, "P")
        assert "lvm cannot be listed: vgs gave no answer (look at `dmesg`)" in screen_text(pilot)
        await press(pilot, "x")
        assert "lvm cannot be asked, nothing of it is removed: vgs gave no answer" in screen_text(pilot)


async def test_points_of_the_storage_alone_need_no_store() -> None:
    engine = thinning()
    engine.list, engine.state = [], replace(engine.state, exists=False)
    engine.fail["fates"] = RollpointError("there is no store")
    async with make_app(engine).run_test(size=(100, 30)) as pilot:
        await press(pilot, "P")
        assert "there is no store" in screen_text(pilot) and "zfs 2 stay, 1 goes" in screen_text(pilot)
        await press(pilot, "x", *"yes", "enter")
        assert "1 point removed" in screen_text(pilot) and len(engine.storage) == 5


async def test_one_kind_alone_and_pinning_in_it() -> None:
    engine = thinning()
    async with make_app(engine).run_test(size=(120, 30)) as pilot:
        await press(pilot, "P", "tab", "K", "K")
        assert {f.point.backend for f in fates(pilot)} == {"btrfs"} and "K Only lvm" in screen_text(pilot)
        await press(pilot, "K", "K")
        assert {f.point.backend for f in fates(pilot)} == {"zfs"}
        at = [f.point.id for f in fates(pilot)].index(VM_DISK)
        await press(pilot, "home", *["down"] * at, "p")
        assert next(p for p in engine.storage if p.id == VM_DISK).pinned
        assert next(f for f in fates(pilot) if f.point.id == VM_DISK).rule == "pinned"
        await press(pilot, "K")
        assert len({f.point.backend for f in fates(pilot)}) == 4


async def test_thousands_of_snapshots_are_tried_on_without_drawing_them() -> None:
    engine = thinning("sanoid")
    engine.storage = tuple(many(3000))
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await press(pilot, "P", "tab", "K", "K", "G")
        assert len(fates(pilot)) == 3000 and ":02999" in screen_text(pilot).replace("autosnap_", ":")


async def test_the_dialog_is_no_taller_than_what_is_in_it_and_never_hides_its_keys() -> None:
    for size in ((80, 24), (160, 45)):
        engine = thinning()
        engine.storage_troubles = (Trouble("btrfs", "no answer", ""),)
        async with make_app(engine).run_test(size=size) as pilot:
            await press(pilot, "P", "x")
            screen = pilot.app.screen
            dialog, keys = screen.query_one("#dialog").region, screen.query_one("#keys").region
            assert keys.bottom <= dialog.bottom - 1 <= keys.bottom + 1
            engine.list = [replace(p, pinned=True) if p.number == 1 else p for p in engine.list]
            await press(pilot, *"yes", "enter")
            assert "Look again" in screen_text(pilot) and "yes enter Do it" in screen_text(pilot)


async def test_the_cursor_stays_on_its_point_when_the_storage_answers() -> None:
    """`p` asks nothing: it must not unpin another point than the one that was under the cursor."""
    engine = thinning()
    answer, real = threading.Event(), engine.storage_points

    def slow() -> Listing:
        assert answer.wait(20)
        return real()

    async with make_app(engine).run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        engine.storage_points = slow    # type: ignore[method-assign]
        await pilot.press("P")
        await until(pilot, lambda: len(fates(pilot)) == 30, "the store's points")
        await pilot.press("tab", "home", "down", "down", "down")
        rows = pilot.app.screen.query_one("#fates", RowList)
        point = fates(pilot)[rows.cursor].point.id
        answer.set()
        await until(pilot, lambda: len(fates(pilot)) == 36, "the storage's points")
        await settle(pilot)
        assert fates(pilot)[rows.cursor].point.id == point and rows.cursor > 3
