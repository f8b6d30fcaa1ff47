"""Places, palette and help: what is offered is possible, what is possible is offered, and the help names every key."""

from __future__ import annotations

import importlib
import pkgutil
import re
from dataclasses import replace

import pytest
from textual import events
from textual.binding import Binding
from textual.keys import _character_to_key

import tui.screens
from tests.tui.conftest import AppPilot, make_app, point_of, press, screen_text, settle
from tests.tui.fake_engine import FakeEngine
from tui.palette import Bound, Command, key_name, own_commands, search
from tui.places import MAYBE, NOTHING, PLACES, POINT, POINTS, Here, Place
from tui.screens.base import EngineCalls
from tui.screens.details import DetailScreen
from tui.screens.help import EVERYWHERE, LISTS
from tui.screens.palette import CommandRows, PaletteScreen
from tui.screens.points import PointsScreen
from tui.screens.typed import TypedDialog
from tui.widgets.lineinput import LineInput
from tui.widgets.rows import RowList


def offered(pilot: AppPilot) -> list[str]:
    """The texts in the palette."""
    assert isinstance(pilot.app.screen, PaletteScreen)
    source = pilot.app.screen.query_one("#commands", RowList).source
    assert isinstance(source, CommandRows)
    return [c.text for c in source.commands]


# --- places ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", PLACES, ids=lambda p: p.name)
async def test_every_place_opens_by_its_key_and_can_be_left(place: Place) -> None:
    async with make_app(FakeEngine(30)).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, place.key)
        assert type(pilot.app.screen).__name__ == place.screen
        assert "web01" in screen_text(pilot).splitlines()[0]
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, PointsScreen)


@pytest.mark.parametrize("place", PLACES, ids=lambda p: p.name)
async def test_places_on_an_empty_store_open_or_say_why_not(place: Place) -> None:
    engine = FakeEngine(0)
    engine.state = replace(engine.state, exists=False)
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, place.key)
        if place.needs in (NOTHING, MAYBE):
            assert type(pilot.app.screen).__name__ == place.screen
        else:
            assert isinstance(pilot.app.screen, PointsScreen) and "There is no" in screen_text(pilot).splitlines()[1]


def test_keys_of_places_are_no_other_key_of_the_list() -> None:
    keys = [key for binding in PointsScreen.BINDINGS if isinstance(binding, Binding) for key in binding.key.split(",")]
    assert len(keys) == len(set(keys))
    assert not {p.key for p in PLACES} & set("jkgGt:?")


def test_when_one_can_go_to_a_place() -> None:
    point = FakeEngine(1).list[0]
    needs_point = Place("x", "X", "X", "x", "m", "X", POINT)
    assert needs_point.why_not(Here()) and not needs_point.why_not(Here(point, 1))
    assert Place("x", "X", "X", "x", "m", "X", POINTS).why_not(Here(None, 0))
    assert not Place("x", "X", "X", "x", "m", "X", POINTS).why_not(Here(None, None))
    assert isinstance(Place("x", "X", "X", "x", "tui.screens.details", "DetailScreen", POINT).make(Here(point, 1)),
                      DetailScreen)


# --- palette -----------------------------------------------------------------------------------------------------


async def test_the_palette_does_what_is_chosen() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "colon", *"unpin", "enter")
        assert engine.list[0].pinned and "Point 12 is pinned." in screen_text(pilot)
        await press(pilot, "ctrl+p", *"settings", "enter")
        assert type(pilot.app.screen).__name__ == "SettingsScreen"
        await press(pilot, "colon", *"jobs", "enter")
        assert type(pilot.app.screen).__name__ == "StoreScreen"
        await press(pilot, "colon")
        assert not any(text.startswith(("settings:", "store and jobs:")) for text in offered(pilot))
        await press(pilot, "escape", "escape", "escape")
        assert isinstance(pilot.app.screen, PointsScreen)


async def test_arrows_choose_and_nothing_found_does_nothing() -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "down", "colon")
        assert offered(pilot)[:2] == ["take a restore point", "what changed since this point, or between it and the "
                                                              "marked one"]
        await press(pilot, "pagedown", "pageup", "down", "enter")
        assert "Changes since point 11" in screen_text(pilot)
        await press(pilot, "escape", "colon", *"qqqq", "enter", "up", "down")
        assert isinstance(pilot.app.screen, PaletteScreen) and offered(pilot) == []
        await press(pilot, "colon")
        assert isinstance(pilot.app.screen, PaletteScreen)
        await press(pilot, "escape")
        assert point_of(pilot).number == 11


async def test_impossible_actions_are_not_offered() -> None:
    engine = FakeEngine(0)
    engine.state = replace(engine.state, exists=False)
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "colon")
        assert "take a restore point" in offered(pilot)
        assert not any(word in " ".join(offered(pilot)) for word in ("delete", "pin or unpin", "prune:", "verify the"))
    async with make_app(read_only=True).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "colon")
        assert "delete this point" not in offered(pilot) and "take a restore point" not in offered(pilot)
        assert "verify the store" in offered(pilot)
        await press(pilot, "escape", "slash", *"zzz")
        await press(pilot, "ctrl+p")
        assert not any(text.startswith("roll back") for text in offered(pilot))


async def test_a_dialog_offers_its_own_keys_only() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "v", "colon")
        assert "start" in offered(pilot) and not any("settings:" in text for text in offered(pilot))
        await press(pilot, *"start", "enter")
        assert "No damage found." in screen_text(pilot)
        await press(pilot, "enter", "x", "ctrl+p")
        assert "delete the point" not in offered(pilot), "only typing yes deletes"
        await press(pilot, "escape", "f1")
        assert "yes, enter" in screen_text(pilot)


def test_what_a_key_in_the_help_means() -> None:
    bound = ["slash", "u", "f5", "escape", "question_mark", "s", "1", "5", "up", "left_square_bracket", "c"]
    said = {"/": "slash", "u, F5": "u", "F5": "f5", "esc, enter": "escape", "s": "s", "S": "", "1 to 5, left right": "",
            "yes, enter": "", "[": "left_square_bracket", "up down": "", "letters": "", "?": "question_mark",
            "c or esc": "c", "": ""}
    assert {text: key_name(text, bound) for text in said} == said
    assert key_name("S", ["s", "S"]) == "S"


def test_search_ranks_keys_then_beginnings_then_parts_then_letters() -> None:
    node = PointsScreen()
    commands = [Command(key, text, text, node) for key, text in (
        ("x", "delete this point"), ("P", "prune the point"), ("u, F5", "look again"), ("e", "the exact end"))]
    texts = [c.text for c in search(commands, "p")]
    assert texts == ["delete this point", "prune the point"]
    assert next(c.text for c in search(commands, "P")) == "prune the point"
    assert [c.text for c in search(commands, "F5")] == ["look again"]
    assert [c.text for c in search(commands, "elet")] == ["delete this point"]
    assert [c.text for c in search(commands, "poin del")] == ["delete this point"]
    assert [c.text for c in search(commands, "lkgn")] == ["look again"]
    assert search(commands, "  ") == commands and search(commands, "(*") == []


def test_each_action_is_offered_once_and_never_when_impossible() -> None:
    node = PointsScreen()
    bound = {"p": Bound("screen.pin", node), "P": Bound("app.place('prune')", node), "space": Bound("screen.pin", node)}
    keys = (("p", "pin"), ("space", "pin again"), ("P", "prune"), ("y", "not bound"))
    assert [c.text for c in own_commands(keys, bound, lambda action: "")] == ["pin", "prune"]
    assert [c.text for c in own_commands(keys, bound, lambda action: "no" if action == "pin" else "")] == ["prune"]


# --- help --------------------------------------------------------------------------------------------------------


def screens() -> list[type[EngineCalls]]:
    """Every screen there is."""
    found: set[type[EngineCalls]] = set()
    for info in pkgutil.iter_modules(tui.screens.__path__, "tui.screens."):
        module = importlib.import_module(info.name)
        found |= {c for c in vars(module).values() if isinstance(c, type) and issubclass(c, EngineCalls) and c.KEYS}
    return sorted(found, key=lambda c: c.__name__)


@pytest.mark.parametrize("screen", screens(), ids=lambda c: c.__name__)
def test_the_help_names_every_key(screen: type[EngineCalls]) -> None:
    said = " ".join(text for text, _ in (*screen.KEYS, *LISTS, *EVERYWHERE))
    for first, last in re.findall(r"(\d) to (\d)", said):
        said += " " + " ".join(str(n) for n in range(int(first), int(last) + 1))
    words = {_character_to_key(word) if len(word) == 1 else word for word in re.split(r"[,\s]+", said)}
    words |= {"escape" if "esc" in said else "", "pageup" if "page up" in said else ""} | {w.lower() for w in words}
    by_action: dict[str, set[str]] = {}
    for binding in vars(screen).get("BINDINGS", ()):
        assert isinstance(binding, Binding)
        by_action.setdefault(binding.action.partition("(")[0], set()).update(binding.key.split(","))
    for action, keys in by_action.items():
        assert keys & words or action == "begin", f"{screen.__name__}: the help does not name {keys} ({action})"


@pytest.mark.parametrize("size", [(80, 24), (40, 10)], ids=["80x24", "40x10"])
async def test_the_help_can_be_read_to_its_end(size: tuple[int, int]) -> None:
    async with make_app().run_test(size=size) as pilot:
        await settle(pilot)
        await press(pilot, "question_mark")
        assert "take a restore point" in " ".join(screen_text(pilot).split())
        await press(pilot, "end")
        assert "work there" in screen_text(pilot) or "as well" in screen_text(pilot)
        await press(pilot, "question_mark", "escape")
        assert isinstance(pilot.app.screen, PointsScreen)


async def test_help_in_a_dialog_and_while_typing() -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "v", "question_mark")
        assert "switch the option under the cursor" in screen_text(pilot)
        await press(pilot, "escape", "escape", "s", "f1")
        assert "go to the next field" in screen_text(pilot)
        await press(pilot, "escape", "question_mark")
        assert "? " in screen_text(pilot) and "go to the next field" not in screen_text(pilot)


async def test_what_is_typed_ahead_never_runs_as_commands() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        for keys in ((":", *"pxs"), ("/", *"pxs")):
            for key in keys:    # all at once, as from a slow line
                pilot.app.post_message(events.Key(_character_to_key(key), key))
            await settle(pilot)
            assert not engine.list[0].pinned and not isinstance(pilot.app.screen, TypedDialog)
            await press(pilot, "escape", "escape")
        assert isinstance(pilot.app.screen, PointsScreen)
        await press(pilot, "slash", *"a/b:c")
        assert pilot.app.screen.query_one("#filter", LineInput).value == "a/b:c"
