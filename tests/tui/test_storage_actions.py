"""What can be done with a point of the storage through the screens that all points have; what cannot says why."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from engine.backends import Listing
from engine.errors import RefusedError, RollpointError, UsageError
from engine.points import RestorePoint
from tests.tui.conftest import AppPilot, make_app, point_of, press, screen_text, settle, until
from tests.tui.fake_engine import FakeEngine
from tests.tui.fake_storage import SANOID, many
from tests.tui.test_storage_points import with_storage
from tests.tui.test_storage_ways import words
from tui.plainlisting import siblings, start_of
from tui.screens.browse import BrowseScreen
from tui.screens.changes import ChangesScreen
from tui.screens.delete import DeleteScreen
from tui.screens.filediff import FileDiffScreen
from tui.screens.fileview import FileScreen
from tui.screens.history import HistoryScreen
from tui.screens.message import MessageScreen
from tui.screens.points import PointsScreen
from tui.screens.take import TakeScreen


async def to(pilot: AppPilot, *filter_words: str) -> None:
    """Put the cursor on the first point that has these words."""
    await settle(pilot)
    await press(pilot, "slash", *"".join(filter_words), "enter", "g")


def browsed(pilot: AppPilot) -> tuple[RestorePoint, bytes]:
    """The point and the directory that are browsed."""
    screen = pilot.app.screen
    assert isinstance(screen, BrowseScreen) and screen.listing is not None
    return screen.point, screen.listing.path


# --- notes, changes ----------------------------------------------------------------------------------------------


async def test_pin_and_comment_go_to_the_storage() -> None:
    engine = with_storage()
    async with make_app(engine).run_test(size=(120, 30)) as pilot:
        await to(pilot, "sanoid")
        await press(pilot, "p")
        assert engine.storage[1].pinned and f"Point {SANOID} is pinned." in screen_text(pilot)
        await press(pilot, "e", *"keep", "enter")
        assert engine.storage[1].comment == "keep"
        assert not any(p.comment == "keep" for p in engine.list)


async def test_changes_since_such_a_point_and_no_history_with_the_reason() -> None:
    engine = with_storage()
    async with make_app(engine).run_test(size=(120, 30)) as pilot:
        await to(pilot, "sanoid")
        await press(pilot, "d")
        assert isinstance(pilot.app.screen, ChangesScreen) and f"Changes since point {SANOID}" in words(pilot)
        await press(pilot, "down", "h")
        assert "The history of a path is of the replica's catalog" in words(pilot)
        assert "--backend zfs" in words(pilot) and "history" not in engine.calls


# --- browse ------------------------------------------------------------------------------------------------------


async def test_browse_is_a_plain_listing_of_the_snapshot_beside_the_live_tree() -> None:
    engine = with_storage()
    async with make_app(engine).run_test(size=(120, 30)) as pilot:
        await settle(pilot)
        pilot.app.push_screen(BrowseScreen(engine.storage[0], b"etc"))
        await settle(pilot)
        text = words(pilot)
        assert "only-then" in text and "new.conf" in text and "no bars over all points" in text
        assert "lives" not in engine.calls and "stirred" not in engine.calls
        await press(pilot, "n")
        assert "It is not known which points changed it" in words(pilot)
        await press(pilot, "h")
        assert not isinstance(pilot.app.screen, HistoryScreen) and "replica's catalog" in words(pilot)


async def test_browse_opens_files_enters_directories_and_compares() -> None:
    engine = with_storage()
    async with make_app(engine).run_test(size=(120, 30)) as pilot:
        await settle(pilot)
        pilot.app.push_screen(BrowseScreen(engine.storage[0], b"", b"etc"))
        await settle(pilot)
        await press(pilot, "enter")
        assert browsed(pilot)[1] == b"etc"
        pilot.app.pop_screen()
        pilot.app.push_screen(BrowseScreen(engine.storage[0], b"etc", b"fstab"))
        await settle(pilot)
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, FileScreen)
        await press(pilot, "escape", "c")
        assert isinstance(pilot.app.screen, FileDiffScreen)


async def test_browse_steps_through_the_points_of_the_same_volume() -> None:
    engine = with_storage()
    first, sanoid = engine.storage[:2]
    async with make_app(engine).run_test(size=(120, 30)) as pilot:
        await to(pilot, "sanoid")
        await press(pilot, "b")
        assert browsed(pilot) == (sanoid, b"home"), "it begins where the volume is mounted"
        await press(pilot, "right_square_bracket")
        assert browsed(pilot) == (first, b"home")
        await press(pilot, "right_square_bracket")
        assert "This is the newest point." in screen_text(pilot) and browsed(pilot)[0] is first
        await press(pilot, "left_square_bracket", "left_square_bracket")
        assert browsed(pilot)[0] == sanoid and "This is the oldest point." in screen_text(pilot)


async def test_a_step_to_a_snapshot_that_cannot_be_read_goes_back_to_the_one_that_is_shown() -> None:
    engine = with_storage()
    first, sanoid = engine.storage[:2]
    async with make_app(engine).run_test(size=(120, 30)) as pilot:
        await to(pilot, "sanoid")
        await press(pilot, "b", "space")
        shown = pilot.app.screen
        assert isinstance(shown, BrowseScreen)
        marked, place = list(shown.marked), screen_text(pilot).splitlines()[1]
        assert marked
        engine.fail["listdir"] = UsageError("there is no directory /home in it")
        engine.fail["live_listing"] = RefusedError("there is no directory /home")
        await press(pilot, "right_square_bracket")
        assert isinstance(pilot.app.screen, MessageScreen)
        engine.fail.clear()
        await press(pilot, "escape")
        assert browsed(pilot) == (sanoid, b"home") and screen_text(pilot).splitlines()[1] == place
        assert list(shown.marked) == marked, "they are of the point that is still shown"
        await press(pilot, "right_square_bracket")
        assert browsed(pilot) == (first, b"home") and not shown.marked


async def test_an_answer_about_a_snapshot_that_was_stepped_over_is_not_taken_for_the_next_one(
        monkeypatch: pytest.MonkeyPatch) -> None:
    engine = with_storage()
    engine.storage = tuple(many(3))
    async with make_app(engine).run_test(size=(120, 30)) as pilot:
        pilot.app.push_screen(BrowseScreen(engine.storage[0], b"home"))
        await settle(pilot)
        shown = pilot.app.screen
        assert isinstance(shown, BrowseScreen)
        depth = len(pilot.app.screen_stack)
        asked: list[tuple[Callable[[], Any], Callable[[Any], None], Callable[[BaseException], None]]] = []
        monkeypatch.setattr(shown, "ask", lambda _group, *question: asked.append(question))
        await press(pilot, "left_square_bracket", "left_square_bracket", "space")
        assert len(asked) == 2 and shown.point.id == engine.storage[2].id
        asked[0][1](asked[0][0]())
        asked[0][2](UsageError("there is no such directory"))
        assert not shown.marked and len(pilot.app.screen_stack) == depth, "the space is for the second one"
        asked[1][1](asked[1][0]())
        assert shown.marked and shown.point.id == engine.storage[2].id


async def test_a_point_without_files_says_so_in_browse() -> None:
    engine = with_storage()
    async with make_app(engine).run_test(size=(120, 30)) as pilot:
        await to(pilot, "vm-1")
        await press(pilot, "b")
        assert "holds the disk of a VM, not files" in words(pilot) and "What to do" in words(pilot)


async def test_restore_out_of_a_snapshot() -> None:
    engine = with_storage()
    async with make_app(engine).run_test(size=(120, 30)) as pilot:
        await settle(pilot)
        pilot.app.push_screen(BrowseScreen(engine.storage[0], b"etc", b"fstab"))
        await settle(pilot)
        await press(pilot, "w", "e", "slash", *"root", "slash", *"back", "enter")
        assert engine.restored is not None
        assert engine.restored[0] == engine.storage[0].id and engine.restored[2] == (b"etc/fstab",)


def test_which_points_can_be_stepped_to() -> None:
    engine = with_storage()
    both, sanoid, root, *_, disk = engine.storage
    assert siblings(engine.storage, sanoid) == [sanoid, both] and siblings(engine.storage, disk) == [disk]
    assert siblings(many(3), sanoid)[-1].id.endswith("00000")
    assert start_of(both) == b"" and start_of(sanoid) == b"home" and start_of(root) == b"" and start_of(disk) == b""


# --- boot pieces, verify ------------------------------------------------------------------------------------------


async def test_boot_pieces_are_those_of_now_with_the_reason() -> None:
    engine = with_storage()
    async with make_app(engine).run_test(size=(120, 30)) as pilot:
        await to(pilot, "sanoid")
        await press(pilot, "B")
        assert "holds no boot pieces" in words(pilot) and "it will not boot" in words(pilot)
        await press(pilot, "3")
        assert "partition table of" in words(pilot)


async def test_verify_says_who_checks_snapshots_and_verifies_the_store() -> None:
    engine = with_storage()
    async with make_app(engine).run_test(size=(120, 30)) as pilot:
        await to(pilot, "sanoid")
        await press(pilot, "v")
        assert "The storage checks its own points" in screen_text(pilot) and "Only point" not in screen_text(pilot)
        await press(pilot, "enter")
        assert "12 points" in screen_text(pilot)


# --- take --------------------------------------------------------------------------------------------------------


async def test_a_point_is_taken_with_the_chosen_backend() -> None:
    engine = with_storage()
    async with make_app(engine).run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "s", *"before", "tab", "tab", "tab")
        assert "[replica]" in screen_text(pilot) and "Last one" in screen_text(pilot)
        await press(pilot, "right", "right", "left")
        assert "[zfs]" in screen_text(pilot) and "the storage copies nothing" in screen_text(pilot)
        assert "same disks" in screen_text(pilot)
        await press(pilot, "enter")
        assert "Point 2024-11-20_03-12-40_new was taken in 0.2 s." in screen_text(pilot)
        assert len(engine.list) == 12 and engine.storage[0].comment == "before"
        await press(pilot, "enter")
        assert point_of(pilot).id == "2024-11-20_03-12-40_new"


async def test_what_was_taken_is_under_the_cursor_though_the_storage_answers_late() -> None:
    engine, answer = with_storage(), threading.Event()
    ask = engine.storage_points

    def late() -> Listing:
        answer.wait(20)
        return ask()

    async with make_app(engine).run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "G", "s", "tab", "tab", "tab", "right", "enter")
        engine.storage_points = late    # type: ignore[method-assign]
        reads = engine.calls.count("status")
        await pilot.press("enter")
        await until(pilot, lambda: engine.calls.count("status") > reads, "the store to be read")
        await pilot.pause()
        assert point_of(pilot).number == 1
        answer.set()
        await until(pilot, lambda: point_of(pilot).id == "2024-11-20_03-12-40_new", "the new point")
        await press(pilot, "down", "u")
        assert point_of(pilot).id == "2024-11-20_02-42-40_zfs", "it was wanted once"


async def test_what_the_storage_cannot_measure_is_not_called_nothing() -> None:
    engine = with_storage()
    engine.freed = None
    async with make_app(engine).run_test(size=(100, 30)) as pilot:
        await to(pilot, "upgrade")
        await press(pilot, "x")
        assert "the storage cannot say how much" in words(pilot)
        await press(pilot, *"yes", "enter")
        assert "1 point removed." in words(pilot)


async def test_a_lower_bound_is_called_one() -> None:
    engine = with_storage()
    async with make_app(engine).run_test(size=(100, 30)) as pilot:
        await to(pilot, "upgrade")
        await press(pilot, "x")
        assert "Frees 5.0 MiB as the storage works it out" in words(pilot)
        await press(pilot, "escape")
        engine.at_least = True
        await press(pilot, "x")
        assert "Frees at least 5.0 MiB as the storage works it out" in words(pilot)


async def test_without_such_storage_there_is_nothing_to_choose() -> None:
    async with make_app(FakeEngine()).run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "s")
        assert isinstance(pilot.app.screen, TakeScreen) and "Take it with" not in screen_text(pilot)
        await press(pilot, "tab", "tab", "tab")
        assert pilot.app.screen.focused is not None and pilot.app.screen.focused.id != "backend"


async def test_the_keys_of_the_form_are_seen_on_a_small_terminal() -> None:
    async with make_app(with_storage()).run_test(size=(40, 10)) as pilot:
        await settle(pilot)
        await press(pilot, "s")
        assert "Take it with" in screen_text(pilot) and "enter Take the point" in screen_text(pilot)


# --- delete ------------------------------------------------------------------------------------------------------


async def test_delete_says_what_goes_with_it_before_it_asks() -> None:
    engine = with_storage()
    async with make_app(engine).run_test(size=(100, 30)) as pilot:
        await to(pilot, "upgrade")
        await press(pilot, "x")
        assert "the clone tank/clone goes with it" in words(pilot) and "Frees 5.0 MiB" in words(pilot)
        await press(pilot, *"yes", "enter")
        assert len(engine.storage) == 5 and len(engine.list) == 12
        assert "1 point removed" in screen_text(pilot)


async def test_what_forbids_a_deletion_is_named_and_yes_cannot_be_typed() -> None:
    engine = with_storage()
    async with make_app(engine).run_test(size=(100, 30)) as pilot:
        await to(pilot, "sanoid")
        await press(pilot, "x", *"yes", "enter")
        assert isinstance(pilot.app.screen, DeleteScreen)
        text = words(pilot)
        assert "tank/home has a hold: keep" in text and "taken by sanoid" in text
        assert "for good?" not in text and "yes enter" not in text
        assert "delete" not in engine.calls
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, PointsScreen)


@pytest.mark.parametrize("error", [RollpointError("zfs destroy -nvp failed"), RuntimeError("boom")])
async def test_a_deletion_can_be_asked_for_when_its_cost_is_not_known(error: Exception) -> None:
    engine = with_storage()
    engine.fail["losses"] = error
    async with make_app(engine).run_test(size=(100, 30)) as pilot:
        await to(pilot, "upgrade")
        await press(pilot, "x")
        assert "What goes with it cannot be said" in words(pilot) and str(error)[1:] in words(pilot)
        await press(pilot, *"yes", "enter")
        assert len(engine.storage) == 5


async def test_a_point_of_the_storage_that_is_gone_meanwhile() -> None:
    engine = with_storage()
    async with make_app(engine).run_test(size=(100, 30)) as pilot:
        await to(pilot, "sanoid")
        engine.storage = tuple(replace(p) for p in engine.storage if p.id != SANOID)
        await press(pilot, "p")
        assert "No restore point is called" in screen_text(pilot)


async def test_a_snapshot_is_browsed_with_its_time_in_sight_and_says_what_is_not_known_of_it() -> None:
    engine = with_storage()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await to(pilot, "sanoid")
        await press(pilot, "b")
        place = screen_text(pilot).splitlines()[1]
        assert place.startswith(" Point  2024-11-20 02:00:40 +0000  1 h ago") and "zfs:tank/home@auto" in place
        keys = screen_text(pilot).splitlines()[-1]
        assert "n N" not in keys and ". Deleted" not in keys and "enter Open" in keys
        await press(pilot, "full_stop")
        assert "It is not known which names other points have here: snapshots have no catalog" in screen_text(pilot)
        await pilot.resize_terminal(80, 12)
        await settle(pilot)
        assert "/home" in screen_text(pilot).splitlines()[1]
