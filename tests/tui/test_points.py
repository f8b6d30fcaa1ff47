"""The opening screen: list, details, filter, notes, what it says when something is wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.errors import BusyError, DamageError, UsageError
from tests.tui.conftest import make_app, point_of, press, screen_text, settle, until
from tests.tui.fake_engine import FakeEngine
from tui.screens.message import MessageScreen
from tui.screens.points import PointsScreen
from tui.widgets.rows import RowList


async def test_list_shows_marks_in_letters_and_the_details_of_the_cursor() -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        lines = screen_text(pilot).splitlines()
        assert "web01" in lines[0] and " / " in lines[0]
        assert "Store 1.6 GiB of 2.0 GiB 79%" in lines[1] and "Last good 40 min ago" in lines[1]
        assert lines[3].startswith(" N     12  2024-11-20 02:32 40 min")
        assert lines[4].startswith("  P    11")
        assert lines[7].startswith("   !    8") and "DAMAGED" in lines[7]
        assert "databases" in screen_text(pilot).lower() and "/var/lib/mysql" in screen_text(pilot)
        await press(pilot, "down", "down", "down", "down")
        assert "pack-001.tar.zst: checksum differs" in screen_text(pilot)


async def test_wide_screen_has_days_and_details_beside() -> None:
    async with make_app().run_test(size=(160, 45)) as pilot:
        await settle(pilot)
        text = screen_text(pilot)
        assert "Wednesday, 20 November 2024" in text and "Tuesday, 19 November 2024" in text
        first = next(line for line in text.splitlines() if " 02:32" in line and " N " in line)
        assert "before the upgrade of openssl" in first


async def test_cursor_skips_days_and_stays_in_range() -> None:
    async with make_app().run_test(size=(160, 45)) as pilot:
        await settle(pilot)
        rows = pilot.app.screen.query_one("#points", RowList)
        seen = []
        for _ in range(20):
            seen.append(point_of(pilot).number)
            await press(pilot, "j")
        assert seen[:12] == list(range(12, 0, -1)) and seen[-1] == 1
        await press(pilot, "G", "up", "g")
        assert point_of(pilot).number == 12
        assert rows.scroll_offset.y == 0


async def test_filter_as_you_type_and_clear() -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "slash", *"nightly")
        assert screen_text(pilot).count("nightly") >= 3
        assert "kernel 6.1.0-26  " not in screen_text(pilot)
        await press(pilot, *"zzz")
        assert "No point has all these words" in screen_text(pilot)
        await press(pilot, "escape")
        assert "kernel 6.1.0-26" in screen_text(pilot)
        await press(pilot, "slash", *"damaged", "enter", "d")
        assert "Changes since point 8" in screen_text(pilot)


async def test_a_store_on_a_disk_that_is_not_mounted_is_no_invitation_to_make_one() -> None:
    engine = FakeEngine(0)
    engine.state = replace(engine.state, exists=False, unmounted="/backup")
    engine.fail["points"] = UsageError("there is no store at /backup/store")
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert "There is no store at" in screen_text(pilot) and "take the first one" not in screen_text(pilot)


async def test_empty_store_says_press_s() -> None:
    engine = FakeEngine(0)
    engine.state = replace(engine.state, exists=False)
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert "There is no restore point yet." in screen_text(pilot)
        assert "Press s to take the first one of /" in screen_text(pilot)
        await press(pilot, "d", "r", "x", "p", "e", "P", "v", "enter", "slash", "escape")
        assert isinstance(pilot.app.screen, PointsScreen)
        await press(pilot, "s", *"first", "enter")
        assert "Point 1 was taken" in screen_text(pilot)
        await press(pilot, "enter")
        assert " N      1" in screen_text(pilot)


async def test_pin_and_unpin() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "p")
        assert engine.list[0].pinned and "Point 12 is pinned." in screen_text(pilot)
        assert " NP    12" in screen_text(pilot)
        await press(pilot, "p")
        assert not engine.list[0].pinned and "no longer pinned" in screen_text(pilot)


async def test_comment_saved_left_and_unchanged() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "e", *"!!", "enter")
        assert engine.list[0].comment == "before the upgrade of openssl!!"
        await press(pilot, "e", *"x", "escape")
        assert engine.list[0].comment == "before the upgrade of openssl!!"
        calls = engine.calls.count("annotate")
        await press(pilot, "e", "enter")
        assert engine.calls.count("annotate") == calls


async def test_a_point_that_disappears_under_the_cursor() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "down", "down")
        del engine.list[2]
        for key in ("p", "d"):
            await press(pilot, key)
            await until(pilot, lambda: isinstance(pilot.app.screen, MessageScreen), "the message")
            assert "No restore point is called" in screen_text(pilot) and "What to do" in screen_text(pilot)
            await press(pilot, "escape")
        await press(pilot, "u")
        assert point_of(pilot).number == 9
        engine.list.clear()
        await press(pilot, "u", "d")
        assert "There is no restore point yet." in screen_text(pilot)


async def test_cursor_stays_on_its_point_when_a_newer_one_appears() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "down", "down")
        newest = engine.list[0]
        engine.list.insert(0, replace(newest, id="20241120T031200Z", number=13))
        await press(pilot, "u")
        assert point_of(pilot).number == 10


@pytest.mark.parametrize("error", [DamageError("the catalog cannot be read", hint="rollpoint repair"),
                                   OSError(5, "I/O"), BusyError("the store is on a mount that is missing")])
async def test_a_store_that_cannot_be_read(error: Exception) -> None:
    engine = FakeEngine()
    engine.fail["status"] = error
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert "The store cannot be read." in screen_text(pilot)
        assert "Traceback" not in screen_text(pilot)
        assert "What to do:" in screen_text(pilot) or isinstance(error, BusyError)
        engine.fail.clear()
        await press(pilot, "u")
        assert " N     12" in screen_text(pilot)


async def test_errors_of_actions_are_shown_with_their_hint() -> None:
    engine = FakeEngine()
    for verb in ("annotate", "fates", "plan", "changes"):
        engine.fail[verb] = BusyError("the store is in use by root@web01, pid 812", hint="wait until it is done")
    engine.fail["fates"] = KeyError("x[/]")
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        for key in ("p", "d"):
            await press(pilot, key)
            assert "The store is in use by root@web01, pid 812" in screen_text(pilot), key
            assert "What to do: wait until it is done" in screen_text(pilot)
            await press(pilot, "enter")
        await press(pilot, "P")
        assert "Unexpected: KeyError: 'x[/]'" in screen_text(pilot)
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, PointsScreen)


async def test_banner_names_what_must_not_be_overlooked() -> None:
    engine = FakeEngine()
    engine.state = replace(engine.state, rollback="a rollback to point 3 of / was interrupted", unfinished="a snapshot",
                           read_only=True)
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        text = screen_text(pilot)
        assert "INTERRUPTED  a rollback to point 3 of / was" in text and "Press R" in text
        assert "UNFINISHED  a snapshot" in text and "READ-ONLY" in text
        engine.state = replace(engine.state, holder="root@web01, pid 812, `rollpoint rollback`")
        await press(pilot, "u")
        assert "UNDER WAY  a rollback" in screen_text(pilot) and "BUSY  root@web01, pid 812" in screen_text(pilot)


async def test_status_line_warns_in_words() -> None:
    engine = FakeEngine(5)
    engine.list = [replace(p, state="damaged") for p in engine.list]
    engine.state = replace(engine.state, store_bytes=3_000_000_000, free_bytes=1000)
    async with make_app(engine).run_test(size=(120, 24)) as pilot:
        await settle(pilot)
        line = screen_text(pilot).splitlines()[1]
        assert "over its limit" in line and "LOW" in line and "NO GOOD POINT" in line


async def test_read_only_refuses_every_change() -> None:
    engine = FakeEngine()
    async with make_app(engine, read_only=True).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert "READ ONLY" in screen_text(pilot).splitlines()[0]
        assert "Take" not in screen_text(pilot).splitlines()[-1]
        for key in ("s", "p", "e", "x"):
            await press(pilot, key)
            assert "read-only" in screen_text(pilot).splitlines()[1]
            assert isinstance(pilot.app.screen, PointsScreen)
        await press(pilot, "r", "enter", "enter", "y", "e", "s", "enter")
        assert "Roll back now?" not in screen_text(pilot)
        await press(pilot, "escape", "P", "y", "e", "s", "enter")
        assert "for good?" not in screen_text(pilot)
        assert not {"snapshot", "rollback", "delete", "prune", "annotate"} & set(engine.calls)


async def test_a_thousand_points_and_a_click() -> None:
    async with make_app(FakeEngine(1000)).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "G")
        assert point_of(pilot).number == 1
        await press(pilot, "g")
        await pilot.click("#points", offset=(20, 3))
        await settle(pilot)
        assert point_of(pilot).number == 998
        await pilot.click("#keys", offset=(12, 0))
        await settle(pilot)
        assert "Changes since point 998" in screen_text(pilot)


async def test_help_on_every_screen_and_light() -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "question_mark")
        assert "take a restore point" in screen_text(pilot)
        await press(pilot, "escape", "d", "question_mark")
        assert "all, created, changed" in screen_text(pilot)
        await press(pilot, "escape", "escape", "t")
        assert pilot.app.theme == "rollpoint-light"
        await press(pilot, "t")
        assert pilot.app.theme == "rollpoint-dark"


async def test_a_marked_point_is_compared_with_the_one_under_the_cursor() -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "down", "m")
        assert "Point 11 is marked" in screen_text(pilot) and "\n* P    11" in screen_text(pilot)
        assert "d Compare with 11" in screen_text(pilot)
        await press(pilot, "down", "down", "d")
        subject = screen_text(pilot).splitlines()[1:3]
        assert "Changes from point 9" in subject[0] and "point 11" in " ".join(subject)
        await press(pilot, "escape", "up", "up", "d")
        assert "until now" in " ".join(screen_text(pilot).split())
        await press(pilot, "escape", "space")
        assert "The mark is gone" in screen_text(pilot) and "d Changes" in screen_text(pilot)


async def test_a_mark_goes_with_escape_and_with_its_point() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(100, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "m", "down", "down", "down", "escape", "d")
        assert "Changes since point 9" in screen_text(pilot)
        await press(pilot, "escape", "m")
        assert "d Compare with 9" in screen_text(pilot)
        del engine.list[3]
        await press(pilot, "u")
        assert "d Changes" in screen_text(pilot)


async def test_keys_that_need_a_point_say_so_where_there_is_none() -> None:
    async with make_app(FakeEngine(0)).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        for key in ("m", "d", "p", "enter"):
            await press(pilot, key)
            assert isinstance(pilot.app.screen, PointsScreen)
        assert "There is no point under the cursor." in screen_text(pilot)
