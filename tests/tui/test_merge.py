"""Recorded file systems for which there is no place any more: on the rollback screen and in the mapping of a rescue."""

from __future__ import annotations

from dataclasses import replace

from engine.machine.filesystems import Recorded
from engine.rescue.mapping import Choices
from engine.results import Finding
from tests.tui.conftest import AppPilot, make_app, press, screen_text, settle, until
from tests.tui.fake_engine import FakeEngine
from tests.tui.fake_rescue import GIB, SOURCES, FakeLook, found_point, survey
from tests.tui.judge import faults
from tests.tui.test_rescue_screen import rescue_app, words_of
from tests.tui.test_rollback import TO_CHANGES
from tui.rollback_job import make_order
from tui.screens.merge import MergeScreen
from tui.screens.opening import OpenScreen
from tui.screens.rescue import Wish
from tui.screens.rollback import RollbackScreen

HOME = Recorded(b"home", "xfs", "eeee-5555", "/dev/vda3", "", 5 * GIB)


def flat(pilot: AppPilot) -> str:
    return " ".join(screen_text(pilot).replace("│", " ").split())


def engine_without(*missing: bytes) -> FakeEngine:
    engine = FakeEngine()
    engine.missing, engine.findings = missing, ()
    return engine


def look_without_home() -> FakeLook:
    """A rescue system with all that was recorded but /home."""
    found = survey()
    store = replace(found.stores[0], points=(found_point(3, (*SOURCES, HOME)),))
    return FakeLook(replace(found, stores=(store,)))


# --- the rollback ----------------------------------------------------------------------------------------------------


async def test_what_has_no_place_becomes_a_directory_once_it_is_marked() -> None:
    engine = engine_without(b"home", b"srv")
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *TO_CHANGES)
        assert "BLOCKED" in flat(pilot) and "M Directories" not in flat(pilot)
        await press(pilot, "M")
        assert isinstance(pilot.app.screen, RollbackScreen), "only where other file systems are adopted"
        await press(pilot, "A")
        assert "M makes directories of file systems that have no place" in flat(pilot) and "M Direct" in flat(pilot)
        await press(pilot, "M")
        assert isinstance(pilot.app.screen, MergeScreen)
        await press(pilot, "down", "space")
        assert "[ ] /home" in screen_text(pilot) and "[x] /srv" in screen_text(pilot)
        await press(pilot, "enter")
        text = flat(pilot)
        assert "Merged /srv becomes a directory" in text and "/home was a file system of its own" in text
        await press(pilot, "enter")
        assert "[Changes]" in screen_text(pilot), "one is still without a place"
        await press(pilot, "M", "space", "enter")
        text = flat(pilot)
        assert "BLOCKED" not in text and "Merged /home, /srv become directories" in text
        await press(pilot, "enter", "enter")
        assert "Roll back now?" in flat(pilot)


async def test_no_longer_adopting_is_no_longer_merging() -> None:
    engine = engine_without(b"home")
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *TO_CHANGES, "A", "M", "space", "enter")
        assert "Merged /home" in flat(pilot)
        await press(pilot, "A")
        assert "Merged" not in flat(pilot) and "BLOCKED" in flat(pilot)
        await press(pilot, "A", "M", "escape")
        assert "Merged /home" in flat(pilot), "escape changes nothing"
        await press(pilot, "M", "x", "enter")
        assert "Merged" not in flat(pilot) and "BLOCKED" in flat(pilot)


async def test_what_the_rescue_screen_said_is_planned_from_the_beginning() -> None:
    engine = engine_without(b"boot")
    app = make_app(engine)
    app.merged = (b"boot", b"not/in/this/point")
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *TO_CHANGES)
        assert "ADOPT" in flat(pilot) and "Merged /boot becomes a directory" in flat(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, RollbackScreen) and screen._planned is not None
        order = make_order(engine.config, "rollback", screen._planned.plan)
        assert order["merged"] == [b"boot".hex()] and order["adopt"] is True


async def test_what_to_do_names_the_key_of_this_screen() -> None:
    engine = engine_without()
    hint = "mount the recorded one there (UUID=1), or adopt the new one with --adopt; or leave it out"
    engine.findings = (Finding("blocker", "what is mounted at /boot is not what the point recorded", hint),)
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *TO_CHANGES)
        assert "or adopt the new one with A; or leave it out" in flat(pilot)
        await press(pilot, "5", "down")
        assert "adopt the new one with A; or" in flat(pilot) and "--adopt" not in flat(pilot)


# --- the rescue ------------------------------------------------------------------------------------------------------


async def test_a_file_system_without_a_place_is_made_a_directory_and_the_words_say_so() -> None:
    app = rescue_app(look_without_home())
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "enter", "end")
        assert "MISSING" in screen_text(pilot) and "d Directory" in flat(pilot)
        await press(pilot, "d")
        assert "REFUSED: /home becomes a directory only when others are adopted (key a)" in flat(pilot)
        assert "MERGED" in flat(pilot)
        await press(pilot, "a")
        text = flat(pilot)
        assert "REFUSED" not in text and "MERGED" in text and "/home its files go into the directory there" in text
        assert not faults(pilot)
        for size in ((40, 10), (200, 50), (80, 24)):
            await pilot.resize_terminal(*size)
            await settle(pilot)
            assert not faults(pilot), size
        await press(pilot, "enter")
        assert isinstance(app.screen, OpenScreen) and "becomes a directory" in flat(pilot)
        await pilot.press(*"yes", "enter")
        await until(pilot, lambda: app._exit, "the end")
    said = words_of(app)
    assert said[said.index("--merge") + 1] == "/home" and "--adopt" in said and "/home=" not in " ".join(said)


async def test_the_cursor_stays_on_the_file_system_and_d_takes_it_back() -> None:
    app = rescue_app(look_without_home())
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "enter", "end", "d", "d")
        assert "MISSING" in screen_text(pilot) and "MERGED" not in screen_text(pilot)
        await press(pilot, "enter", *"yes")
        await pilot.press("enter")
        await until(pilot, lambda: app._exit, "the end")
    assert "--merge" not in words_of(app)


async def test_what_has_a_place_becomes_no_directory() -> None:
    async with rescue_app(look_without_home()).run_test(size=(120, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "enter", "d")
        assert "/ has a place" in flat(pilot)
        await press(pilot, "enter")
        assert "MERGED" not in screen_text(pilot)


async def test_the_command_line_may_have_said_it() -> None:
    wish = Wish(choices=Choices(adopt=True, merged=frozenset({"/home"})))
    async with rescue_app(look_without_home(), wish).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "enter")
        assert "MERGED" in screen_text(pilot) and "REFUSED" not in screen_text(pilot)


async def test_refusals_and_notes_say_keys_and_no_options() -> None:
    found = survey()
    note = "/dev/sdf is a physical volume of LVM that is not active: --activate activates it"
    look = FakeLook(replace(found, file_systems=found.file_systems[2:], notes=(note,)))
    async with rescue_app(look).run_test(size=(200, 50)) as pilot:
        await settle(pilot)
        await press(pilot, "enter", "a")
        text = flat(pilot)
        assert "to have it written over, name it (key m)" in text and "--" not in text
        await press(pilot, "4")
        assert "key v activates it" in flat(pilot) and "--activate" not in flat(pilot)
