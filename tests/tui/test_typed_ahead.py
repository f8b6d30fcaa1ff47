"""Keys that are typed before the rows are there that they are meant for: they wait, and are done in their order."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from textual import events

from engine.errors import DamageError
from tests.tui.conftest import make_app, press, screen_text, settle, until
from tests.tui.fake_engine import FakeEngine
from tests.tui.test_browse import browsing, go_to, here, large, screen
from tui.screens import browse
from tui.screens.browse import AT_ONCE
from tui.screens.fileview import FileScreen
from tui.screens.help import HelpScreen
from tui.screens.message import MessageScreen
from tui.screens.vms import VmsScreen


class Gate:
    """Lets a function of a worker go on when the test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        self.open, self.waiting = threading.Event(), threading.Event()
        self.open.set()
        real: Callable[..., object] = getattr(browse, name)

        def held(*args: object) -> object:
            if not self.open.is_set():
                self.waiting.set()
                assert self.open.wait(20)
            return real(*args)

        monkeypatch.setattr(browse, name, held)

    def close(self) -> None:
        self.waiting.clear()
        self.open.clear()


async def test_keys_typed_while_a_directory_is_sorted_are_done_to_the_sorted_rows(
        monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch, "arrange")
    async with browsing(large(AT_ONCE + 10), b"var") as pilot:
        await press(pilot, "down", "down")
        gate.close()
        await pilot.press("o")
        await until(pilot, gate.waiting.is_set, "the sort")
        await pilot.press("g", "down", "down", "space", "space", "down")
        assert not screen(pilot).marked, "nothing is done to rows that are on their way out"
        gate.open.set()
        await settle(pilot)
        assert here(pilot) == b"file003004.dat"     # by size, the largest first: two down, two marked, one down
        assert list(screen(pilot).marked) == [b"var/file003007.dat", b"var/file003006.dat"]
        await press(pilot, "space")
        assert b"var/file003004.dat" in screen(pilot).marked


async def test_the_cursor_stays_on_its_name_while_sorting_and_other_sorts_are_not_worked_out_twice(
        monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch, "arrange")
    async with browsing(large(AT_ONCE + 10), b"var") as pilot:
        await press(pilot, *["down"] * 5)
        gate.close()
        await pilot.press("o")
        await until(pilot, gate.waiting.is_set, "the sort")
        await pilot.press("o", "o", "o", "minus", "tab")
        gate.open.set()
        await settle(pilot)
        assert screen(pilot).view.order == "name" and screen(pilot).point.number == 11 and screen(pilot).view.live
        assert here(pilot) == b"file000005.dat"


async def test_keys_typed_while_a_directory_is_read_are_done_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch, "load")
    async with browsing(FakeEngine(), b"") as pilot:
        await go_to(pilot, b"etc")
        gate.close()
        await pilot.press("enter", "down", "down", "enter")
        await until(pilot, gate.waiting.is_set, "the directory")
        assert here(pilot) == b"etc"
        gate.open.set()
        await settle(pilot)
        assert isinstance(pilot.app.screen, FileScreen), "the third name of /etc is a file, and enter views it"
        await press(pilot, "escape")
        assert screen(pilot).listing is not None and screen(pilot).current() is not None
        rows = screen(pilot).rows
        assert rows.cursor == 2 and "/etc" in screen_text(pilot)


async def test_keys_typed_before_the_first_directory_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch, "load")
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        gate.close()
        await pilot.press("b", "down", "j", "space")
        await until(pilot, gate.waiting.is_set, "the directory")
        await pilot.press("k")
        gate.open.set()
        await settle(pilot)
        assert list(screen(pilot).marked) == [b"usr"] and screen(pilot).rows.cursor == 1


async def test_what_was_typed_for_a_directory_that_cannot_be_read_is_forgotten(
        monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch, "load")
    engine = FakeEngine()
    async with browsing(engine, b"") as pilot:
        await go_to(pilot, b"etc")
        engine.fail["lives"] = DamageError("the catalog is damaged")
        gate.close()
        await pilot.press("enter", "down", "space")
        await until(pilot, gate.waiting.is_set, "the directory")
        gate.open.set()
        await settle(pilot)
        assert isinstance(pilot.app.screen, MessageScreen)
        engine.fail.clear()
        await press(pilot, "escape")
        assert here(pilot) == b"etc" and not screen(pilot).marked
        await press(pilot, "down")
        assert here(pilot) != b"etc"


async def test_letters_typed_fast_after_the_slash_are_words_of_the_filter() -> None:
    async with browsing() as pilot:
        keys = ("slash", *"hosts")
        for key in keys:        # all at once, as a terminal delivers what was typed ahead
            pilot.app.post_message(events.Key(key, None if key == "slash" else key))
        await settle(pilot)
        assert screen(pilot).view.words == "hosts" and here(pilot) == b"hosts"


async def test_a_filter_that_is_opened_while_a_directory_is_read_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch, "load")
    async with make_app(FakeEngine()).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        gate.close()
        await pilot.press("b", "slash", "e")        # the first directory
        await until(pilot, gate.waiting.is_set, "the directory")
        gate.open.set()
        await settle(pilot)
        await press(pilot, "t", "c")
        assert screen(pilot).view.words == "etc" and here(pilot) == b"etc" and screen(pilot).view.order == "name"
        await press(pilot, "enter")
        gate.close()
        await pilot.press("enter", "slash", *["backspace"] * 3, "h", "o")      # another one
        await until(pilot, gate.waiting.is_set, "the directory")
        gate.open.set()
        await settle(pilot)
        await press(pilot, "s", "t", "s")
        assert screen(pilot).view.words == "hosts" and here(pilot) == b"hosts"
        await press(pilot, "escape", "backspace", "enter")
        assert not screen(pilot).view.words and not screen(pilot).query_one("#filter").display


async def test_nothing_that_was_typed_ahead_is_done_below_another_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch, "load")
    async with browsing(FakeEngine(), b"") as pilot:
        await go_to(pilot, b"etc")
        gate.close()
        await pilot.press("enter", "w", "question_mark")
        await until(pilot, gate.waiting.is_set, "the directory")
        gate.open.set()
        await settle(pilot)
        assert isinstance(pilot.app.screen, HelpScreen)
        await press(pilot, "escape", "down")
        assert screen(pilot).rows.cursor == 1


async def test_a_directory_whose_read_hangs_can_be_left(monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch, "load")
    async with browsing(FakeEngine(), b"") as pilot:
        await go_to(pilot, b"etc")
        gate.close()
        await pilot.press("enter", "down", "space")
        await until(pilot, gate.waiting.is_set, "the directory")
        await pilot.press("backspace")
        assert not screen(pilot)._wanted and not screen(pilot)._later, "it does not wait for what hangs"
        gate.open.set()
        await settle(pilot)
        assert here(pilot) == b"etc" and not screen(pilot).marked


async def test_the_list_of_a_view_is_there_for_the_next_key() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await press(pilot, "V")
        for key in ("4", "down", "m"):
            pilot.app.post_message(events.Key(key, key if len(key) == 1 else None))
        await settle(pilot)
        shown = pilot.app.screen
        assert isinstance(shown, VmsScreen) and shown.view == "Points" and shown._marked == "vms-2"
