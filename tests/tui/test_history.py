"""The history of a path: every state once, gaps included; the difference beside it; restoring and viewing one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from engine.entries import Kind, Life, Span, Status
from engine.errors import DamageError, RefusedError
from engine.text import printable
from tests.tui.conftest import AppPilot, make_app, press, screen_text, settle
from tests.tui.fake_engine import HOSTILE, FakeEngine
from tests.tui.fake_tree import entry, spans
from tests.tui.test_hostile import IDS, literal
from tui.screens.browse import BrowseScreen
from tui.screens.filediff import FileDiffScreen
from tui.screens.fileview import FileScreen
from tui.screens.history import HistoryScreen, load
from tui.screens.points import PointsScreen
from tui.screens.restore import RestoreScreen
from tui.versions import Stage, stages
from tui.widgets.versionrows import VersionRows, span

PATH = b"etc/nginx.conf"


def told(found: list[Stage]) -> list[tuple[str, str]]:
    """Points and letter of each state."""
    return [(span(s), s.change.status.value if s.change else "") for s in found]


def of(engine: FakeEngine, path: bytes) -> list[Stage]:
    return load(engine, path).stages


def test_states_of_a_path() -> None:
    engine = FakeEngine()
    assert told(of(engine, b"etc/hosts")) == [("now", ""), ("7 to 12", "M"), ("1 to 6", "")]
    assert told(of(engine, b"etc/old.conf")) == [("now", ""), ("7 to 12", "-"), ("1 to 6", "")]
    assert told(of(engine, b"etc/returned.conf")) == [("now", ""), ("12", "+"), ("2 to 11", "-"), ("1", "")]
    assert told(of(engine, b"etc/ssh")) == [("now", ""), ("7 to 12", "+")]


def test_the_live_side() -> None:
    engine = FakeEngine()
    newest, held = engine.list[0], entry(b"etc/fstab")
    versions = engine.history(b"etc/fstab")
    ordered = engine.list[::-1]
    assert told(stages(versions, ordered, entry(b"etc/fstab", 77)))[0] == ("now", "M")
    assert told(stages(versions, ordered, None))[0] == ("now", "-")
    assert told(stages(versions, ordered, held, known=False)) == [("1 to 12", "")]
    engine.found = ()
    assert of(engine, b"etc/fstab")[0].change is None and of(engine, b"etc/fstab")[0].entry is not None
    engine.fail["change"] = RefusedError("no root")
    assert load(engine, b"etc/fstab").trouble == "no root" and newest.number == 12


def test_points_that_went_meanwhile_are_left_out() -> None:
    engine = FakeEngine()
    versions = engine.history(PATH)
    kept = [p for p in engine.list[::-1] if p.number != 5]
    assert [where for where, _ in told(stages(versions, kept, None))] == [
        "now", "12", "11", "10", "9", "8", "7", "6", "4", "3", "2", "1"]


@asynccontextmanager
async def looking(engine: FakeEngine | None = None, path: bytes = PATH, number: int | None = None, *,
                  size: tuple[int, int] = (80, 24)) -> AsyncIterator[AppPilot]:
    engine = engine or FakeEngine()
    engine.found = ()       # the live file is as the newest version
    app = make_app(engine)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        point = next((p for p in engine.list if p.number == number), None)
        app.push_screen(HistoryScreen(path, point))
        await settle(pilot)
        yield pilot


def at(pilot: AppPilot) -> str:
    """The points of the state under the cursor."""
    screen = pilot.app.screen
    assert isinstance(screen, HistoryScreen)
    rows = screen.query_one("#versions")
    source = rows.source  # type: ignore[attr-defined]
    assert isinstance(source, VersionRows)
    return span(source.stages[rows.cursor])  # type: ignore[attr-defined]


async def test_versions_and_their_differences() -> None:
    async with looking(number=7) as pilot:
        text = screen_text(pilot)
        assert at(pilot) == "7" and "History of /etc/nginx.conf" in text and "12 versions in 12 points" in text
        assert "- point 6" in text and "+ point 7" in text and "8005" in text and "8006" in text
        assert "size 6,000 -> 7,000   content mtime   taken 2024-11-18 15:32" in text
        await press(pilot, "down")
        assert at(pilot) == "6" and "8004" in screen_text(pilot) and "8006" not in screen_text(pilot)
        await press(pilot, "G")
        text = screen_text(pilot)
        assert at(pilot) == "1" and "listen 8000" in text and "point 1 " in text and "- point" not in text
        await press(pilot, "g")
        assert at(pilot) == "now" and "the same content" in screen_text(pilot)


async def test_contents_are_read_once() -> None:
    engine = FakeEngine()
    async with looking(engine) as pilot:
        await press(pilot, "down", "down")
        asked = engine.calls.count("content")
        await press(pilot, "up", "down", "up")
        assert engine.calls.count("content") == asked


async def test_keys_step_over_what_is_no_other_content() -> None:
    engine = FakeEngine()
    first = entry(PATH)
    engine.tree.directories[b"etc"] = [Life(b"nginx.conf", (
        Span(1, 3, first), Span(4, 6, replace(first, size=99)), Span(7, 9, replace(first, size=99, mode=0o600)),
        Span(10, None, replace(first, size=5, mode=0o600))))]
    async with looking(engine) as pilot:
        assert at(pilot) == "now"
        await press(pilot, "n")
        assert at(pilot) == "10 to 12"
        await press(pilot, "n")
        assert at(pilot) == "4 to 6"
        await press(pilot, "n")
        assert at(pilot) == "4 to 6" and "No older version has another content." in screen_text(pilot)
        await press(pilot, "up")
        assert "mode 0644 -> 0600" in screen_text(pilot)
        await press(pilot, "N")
        assert at(pilot) == "10 to 12"
        await press(pilot, "N")
        assert "No newer version has another content." in screen_text(pilot)


async def test_view_compare_browse_restore() -> None:
    engine = FakeEngine()
    async with looking(engine, number=3) as pilot:
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, FileScreen) and "listen 8002" in screen_text(pilot)
        await press(pilot, "escape", "c")
        assert isinstance(pilot.app.screen, FileDiffScreen)
        assert "8002" in screen_text(pilot) and "8011" in screen_text(pilot)
        await press(pilot, "escape", "b")
        screen = pilot.app.screen
        assert isinstance(screen, BrowseScreen) and screen.point.number == 3
        found = screen.current()
        assert found is not None and found[1].name == b"nginx.conf"
        await press(pilot, "escape", "w")
        assert isinstance(pilot.app.screen, RestoreScreen) and "point 3 " in screen_text(pilot)
        await press(pilot, "e", *"/root/new".replace("/", ""), "home", "slash", "enter", "enter")
        assert engine.restored == (engine.list[9].id, "/rootnew", (PATH,), False)
        assert at(pilot) == "3"
        await press(pilot, "q")
        assert isinstance(pilot.app.screen, PointsScreen)


async def test_states_without_content_say_so() -> None:
    async with looking(path=b"etc/old.conf", number=9) as pilot:
        text = screen_text(pilot)
        assert at(pilot) == "7 to 12" and "not there; shown is its last content" in text
        assert "content of etc/old.conf" in text
        for key, said in (("enter", "no content to view"), ("w", "It was not there then"), ("b", "not there then")):
            await press(pilot, key)
            assert said in screen_text(pilot)
        await press(pilot, "g", "w")
        assert "This is the live state" in screen_text(pilot)
    async with looking(path=b"etc/ssh") as pilot:
        assert "directory  0644" in screen_text(pilot)


async def test_a_type_that_changed_and_links() -> None:
    engine = FakeEngine()
    link = replace(entry(b"etc/x", 0, Kind.LINK), target=b"elsewhere")
    engine.tree.directories[b"etc"] = [Life(b"x", (Span(1, 6, link), Span(7, None, entry(b"etc/x"))))]
    async with looking(engine, b"etc/x") as pilot:
        await press(pilot, "down")
        assert Status.TYPE.value in screen_text(pilot) and "content of etc/x" in screen_text(pilot)
        await press(pilot, "down")
        assert "-> elsewhere" in screen_text(pilot)


async def test_focus_goes_into_the_difference() -> None:
    async with looking(number=7) as pilot:
        await press(pilot, "tab")
        assert "Versions" in screen_text(pilot).splitlines()[-1]
        await press(pilot, "m")
        assert at(pilot) == "7" and "Side by side" not in screen_text(pilot).splitlines()[-1]
        await press(pilot, "tab", "m")
        assert "View" in screen_text(pilot).splitlines()[-1]


async def test_errors() -> None:
    engine = FakeEngine()
    async with looking(engine, b"etc/nothing") as pilot:
        assert "That path is in no restore point" in screen_text(pilot)
        await press(pilot, "n", "N", "enter", "w", "c", "b", "m")
        assert isinstance(pilot.app.screen, HistoryScreen)
    engine.fail["content"] = DamageError("pack-001 is damaged", hint="verify")
    async with looking(engine) as pilot:
        assert "Pack-001 is damaged" in screen_text(pilot)
        del engine.fail["content"]
        await press(pilot, "u")
        assert "damaged" not in screen_text(pilot)


async def test_the_live_side_that_cannot_be_read() -> None:
    engine = FakeEngine()
    engine.fail["change"] = RefusedError("permission denied")
    async with looking(engine) as pilot:
        assert at(pilot) == "12" and "the live side cannot be read: permission denied" in screen_text(pilot)


@pytest.mark.parametrize("name", HOSTILE, ids=IDS)
async def test_hostile_names(name: bytes) -> None:
    engine = FakeEngine()
    path = b"srv/" + name
    engine.tree.directories[b"srv"] = [spans(path, (1, 3), (4, None))]
    engine.tree.contents[path] = (b"one\n", name + b"\n")
    async with looking(engine, path, size=(300, 40)) as pilot:
        literal(pilot, f"History of /srv/{printable(name)}")
        await press(pilot, "down")
        literal(pilot, "")
        await press(pilot, "enter")
        literal(pilot, f"/srv/{printable(name)}")
        await press(pilot, "escape", "c")
        literal(pilot, "")


@pytest.mark.parametrize("size", [(40, 10), (60, 15), (80, 24), (120, 40), (200, 50)], ids=lambda s: f"{s[0]}x{s[1]}")
async def test_sizes(size: tuple[int, int]) -> None:
    async with looking(number=7, size=size) as pilot:
        for keys in ((), ("down",), ("tab",), ("m",), ("tab",), ("enter",), ("escape", "question_mark"), ("escape",)):
            await press(pilot, *keys)
            lines = screen_text(pilot).splitlines()
            assert len(lines) == size[1] and all(len(line) == size[0] for line in lines) and "web01" in lines[0]
        assert at(pilot) == "6" and "nginx.conf" in screen_text(pilot)
