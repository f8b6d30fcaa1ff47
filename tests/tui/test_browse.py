"""Browsing a point: every key, both sides, other points, filter, marks, errors, a directory of 100,000 names."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from engine.entries import Entry, Kind, Life, Span
from engine.errors import DamageError, RefusedError
from engine.text import printable
from tests.tui.conftest import AppPilot, make_app, press, screen_text, settle
from tests.tui.fake_engine import HOSTILE, FakeEngine
from tests.tui.fake_tree import WHEN, entry, spans
from tests.tui.test_hostile import IDS, literal
from tui.screens.browse import AT_ONCE, BrowseScreen
from tui.screens.filediff import FileDiffScreen
from tui.screens.fileview import FileScreen
from tui.screens.find import FindScreen
from tui.screens.history import HistoryScreen
from tui.screens.message import MessageScreen
from tui.screens.points import PointsScreen


@asynccontextmanager
async def browsing(engine: FakeEngine | None = None, path: bytes = b"etc", number: int = 12, *,
                   size: tuple[int, int] = (80, 24), read_only: bool = False) -> AsyncIterator[AppPilot]:
    engine = engine or FakeEngine()
    app = make_app(engine, read_only=read_only)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        app.push_screen(BrowseScreen(next(p for p in engine.list if p.number == number), path))
        await settle(pilot)
        yield pilot


def screen(pilot: AppPilot) -> BrowseScreen:
    assert isinstance(pilot.app.screen, BrowseScreen)
    return pilot.app.screen


def here(pilot: AppPilot) -> bytes:
    """The name under the cursor."""
    found = screen(pilot).current()
    assert found is not None
    return found[1].name


def line_of(pilot: AppPilot, name: str) -> str:
    """The row of a name."""
    return next(line for line in screen_text(pilot).splitlines() if line[2:].startswith(name))


async def go_to(pilot: AppPilot, name: bytes) -> None:
    """Put the cursor on a name."""
    await press(pilot, "g")
    for _ in range(50):
        if here(pilot) == name:
            return
        await press(pilot, "down")
    raise AssertionError(f"{name!r} is not listed")


# --- what is shown -------------------------------------------------------------------------------------------------


async def test_rows_place_and_tally() -> None:
    async with browsing() as pilot:
        text = screen_text(pilot)
        assert "Point 12  2024-11-20 02:32:40 +0000" in text and "\n /etc  " in text and "web01" in text
        assert text.index("ssh/") < text.index("fstab") < text.index("hosts")     # directories first
        assert line_of(pilot, "fstab").rstrip().endswith("M") and "1.0 KiB" in line_of(pilot, "fstab")
        assert line_of(pilot, "hosts").rstrip().endswith("=")
        assert line_of(pilot, "new.conf").rstrip().endswith("+") and "not here" in line_of(pilot, "new.conf")
        assert "======M====[=]" in line_of(pilot, "hosts")
        assert "=-.........[+]" in line_of(pilot, "returned.conf")
        assert "5 here, 1 changed, 1 new since   1 in other points (press .)" in text
        assert "old.conf" not in text


async def test_both_sides_beside_each_other() -> None:
    async with browsing(path=b"etc/ssh", size=(140, 24)) as pilot:
        assert line_of(pilot, "sshd_config").count("sshd_config") == 1 and " │ - │ " in line_of(pilot, "sshd_config")
        await press(pilot, "backspace")
        assert line_of(pilot, "hosts").count("hosts") == 2
        assert line_of(pilot, " ").lstrip().startswith("│ + │ new.conf")      # its place on the point's side is empty
        assert "[Point 12]" in screen_text(pilot) and "[Now]" not in screen_text(pilot)
        await press(pilot, "tab")
        assert "[Now]" in screen_text(pilot) and "[Point 12]" not in screen_text(pilot)
        await press(pilot, "full_stop")
        assert "not here" in line_of(pilot, "old.conf")     # on neither side, and named all the same


async def test_tab_looks_at_the_other_side() -> None:
    async with browsing() as pilot:
        assert "[Point 12]" in screen_text(pilot) and "1.0 KiB" in line_of(pilot, "fstab")
        await press(pilot, "tab")
        assert "[Now]" in screen_text(pilot) and "4.2 KiB" in line_of(pilot, "fstab")
        assert "77 B" in line_of(pilot, "new.conf")
        await press(pilot, "tab")
        assert "1.0 KiB" in line_of(pilot, "fstab")


async def test_the_line_about_a_name_says_what_happened() -> None:
    async with browsing() as pilot:
        await go_to(pilot, b"returned.conf")
        text = screen_text(pilot)
        assert "/etc/returned.conf  file  0644  0:0  2,000 B" in text
        assert "created in 12, deleted in 2   now: as in the point" in text
        await go_to(pilot, b"fstab")
        assert "the same in every point   now: content, size, mtime differ" in screen_text(pilot)
        await go_to(pilot, b"new.conf")
        assert "in no point   now: there, not in the point" in screen_text(pilot)


async def test_the_live_side_that_cannot_be_read() -> None:
    engine = FakeEngine()
    engine.fail["live_listing"] = RefusedError("permission denied: /etc")
    async with browsing(engine) as pilot:
        assert "the live side cannot be read: permission denied: /etc" in screen_text(pilot)
        assert line_of(pilot, "hosts").rstrip().endswith("?") and "now:" not in screen_text(pilot)


# --- other points --------------------------------------------------------------------------------------------------


async def test_stepping_through_points_asks_the_engine_nothing() -> None:
    engine = FakeEngine()
    async with browsing(engine) as pilot:
        await go_to(pilot, b"hosts")
        asked = len(engine.calls)
        await press(pilot, *["left_square_bracket"] * 6)
        assert screen(pilot).point.number == 6 and "Point 6 " in screen_text(pilot) and here(pilot) == b"hosts"
        assert "=====[=]M=====" in line_of(pilot, "hosts") and "1.0 KiB" in line_of(pilot, "hosts")
        assert "old.conf" in screen_text(pilot)
        await press(pilot, "minus", "plus", "right_square_bracket")
        assert screen(pilot).point.number == 7 and len(engine.calls) == asked
        await press(pilot, *["plus"] * 9)
        assert screen(pilot).point.number == 12 and "This is the newest point." in screen_text(pilot)
        await press(pilot, *["minus"] * 13)
        assert screen(pilot).point.number == 1 and "This is the oldest point." in screen_text(pilot)


async def test_to_the_points_in_which_a_name_changed() -> None:
    async with browsing(number=4) as pilot:
        await go_to(pilot, b"hosts")
        await press(pilot, "n")
        assert screen(pilot).point.number == 7 and here(pilot) == b"hosts"
        await press(pilot, "n")
        assert screen(pilot).point.number == 7 and "No later point changed it." in screen_text(pilot)
        await press(pilot, "N")
        assert "No earlier point changed it." in screen_text(pilot)
        await press(pilot, "left_square_bracket")
        await go_to(pilot, b"old.conf")
        await press(pilot, "n")     # the point in which it was deleted: it stays under the cursor
        assert screen(pilot).point.number == 7 and here(pilot) == b"old.conf"
        assert "not here" in line_of(pilot, "old.conf") and "now:" not in screen_text(pilot)


async def test_names_of_other_points() -> None:
    async with browsing() as pilot:
        await press(pilot, "full_stop")
        assert "old.conf" in screen_text(pilot) and "shown too" in screen_text(pilot)
        await go_to(pilot, b"old.conf")
        await press(pilot, "a", "g")
        await press(pilot, "a", "a")
        assert "old.conf" not in screen_text(pilot)


async def test_a_directory_that_the_point_does_not_have() -> None:
    async with browsing(path=b"etc/ssh") as pilot:
        await press(pilot, *["minus"] * 8)
        assert screen(pilot).point.number == 4
        assert "sshd_config" in screen_text(pilot)      # the cursor was on it
    async with browsing(path=b"etc/ssh", number=3) as pilot:
        text = screen_text(pilot)
        assert "Nothing is here, neither in this point nor now." in text and "Other points have 1 name here" in text
        await press(pilot, "w", "c", "h", "i", "space", "enter", "n", "C")
        assert isinstance(pilot.app.screen, BrowseScreen)
        await press(pilot, "full_stop")
        assert here(pilot) == b"sshd_config"
    async with browsing(path=b"usr") as pilot:
        assert "This directory is empty." in screen_text(pilot)


# --- moving --------------------------------------------------------------------------------------------------------


async def test_down_and_up_again() -> None:
    async with browsing(path=b"") as pilot:
        assert "etc/" in screen_text(pilot)
        await press(pilot, "backspace")
        assert "This is the top." in screen_text(pilot)
        await press(pilot, "enter")
        assert here(pilot) == b"ssh" and "\n /etc  " in screen_text(pilot)
        await press(pilot, "right")
        assert here(pilot) == b"sshd_config" and "\n /etc/ssh  " in screen_text(pilot)
        await press(pilot, "left")
        assert here(pilot) == b"ssh"
        await press(pilot, "G")
        last = here(pilot)
        await press(pilot, "left")
        assert here(pilot) == b"etc"
        await press(pilot, "enter")
        assert here(pilot) == last      # where one was
        await press(pilot, "q")
        assert isinstance(pilot.app.screen, PointsScreen)


async def test_sorting_keeps_the_name() -> None:
    async with browsing() as pilot:
        await go_to(pilot, b"hosts")
        for order in ("size", "time", "changes", "name"):
            await press(pilot, "o")
            assert f"Sorted by {order}." in screen_text(pilot) and here(pilot) == b"hosts"
            if order == "changes":
                text = screen_text(pilot)
                assert text.index("nginx.conf") < text.index("returned.conf") < text.index("fstab")


async def test_filter_as_one_types() -> None:
    async with browsing() as pilot:
        await press(pilot, "slash", *"conf re")
        assert "returned.conf" in screen_text(pilot) and "nginx.conf" not in screen_text(pilot)
        await press(pilot, "enter")
        assert here(pilot) == b"returned.conf"
        await press(pilot, "slash", "z", "z")
        assert "No name has all these words." in screen_text(pilot)
        await press(pilot, "enter", "escape")
        assert "nginx.conf" in screen_text(pilot)
        await press(pilot, "slash", *"ssh", "enter", "enter")
        assert here(pilot) == b"sshd_config", "the filter goes when another directory is opened"
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, PointsScreen)


async def test_reload_shows_what_is_new() -> None:
    engine = FakeEngine()
    async with browsing(engine) as pilot:
        await go_to(pilot, b"hosts")
        engine.tree.gone.add(b"etc/hosts")
        await press(pilot, "u")
        assert line_of(pilot, "hosts").rstrip().endswith("-") and here(pilot) == b"hosts"
        assert "now: GONE" in screen_text(pilot)


async def test_errors_leave_one_where_one_was() -> None:
    engine = FakeEngine()
    async with browsing(engine) as pilot:
        engine.fail["lives"] = DamageError("the catalog cannot be used", hint="run repair")
        await press(pilot, "enter")
        assert "The catalog cannot be used" in screen_text(pilot)
        await press(pilot, "escape")
        assert here(pilot) == b"ssh" and "Reading" not in screen_text(pilot)
    async with browsing(engine) as pilot:
        assert "The catalog cannot be used" in screen_text(pilot) and "Press u" in screen_text(pilot)
        del engine.fail["lives"]
        await press(pilot, "u")
        assert here(pilot) == b"ssh"


# --- what is done with entries -------------------------------------------------------------------------------------


async def test_enter_views_a_file_of_the_side_that_is_looked_at() -> None:
    async with browsing(number=3) as pilot:
        await go_to(pilot, b"nginx.conf")
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, FileScreen)
        assert "point 3" in screen_text(pilot) and "listen 8002" in screen_text(pilot)
        await press(pilot, "m")
        assert "73 65 72 76" in screen_text(pilot)      # "serv", in hex
        await press(pilot, "escape", "tab", "enter")
        assert "now" in screen_text(pilot) and "listen 8011" in screen_text(pilot)


async def test_enter_on_what_is_nowhere_now_shows_its_versions() -> None:
    async with browsing() as pilot:
        await press(pilot, "full_stop")
        await go_to(pilot, b"old.conf")
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, HistoryScreen)


async def test_compare_with_now_and_with_the_point_before() -> None:
    engine = FakeEngine()
    async with browsing(engine, number=7) as pilot:
        await go_to(pilot, b"nginx.conf")
        await press(pilot, "c")
        assert isinstance(pilot.app.screen, FileDiffScreen)
        assert "8006" in screen_text(pilot) and "8011" in screen_text(pilot)
        await press(pilot, "escape", "C")
        assert isinstance(pilot.app.screen, FileDiffScreen)
        assert "8005" in screen_text(pilot) and "8006" in screen_text(pilot)
        await press(pilot, "escape")
        await go_to(pilot, b"hosts")
        await press(pilot, "c")
        assert "It is the same in point 7 and now." in screen_text(pilot)
        await press(pilot, "full_stop")
        await go_to(pilot, b"old.conf")
        await press(pilot, "c")
        assert "It is neither in point 7 nor in now." in screen_text(pilot) or "nor now" in screen_text(pilot)
        await go_to(pilot, b"ssh")
        await press(pilot, "c")
        assert "changes" in engine.calls and "/etc/ssh" in screen_text(pilot)
        await press(pilot, "escape", *["minus"] * 6, "C")
        assert "This is the oldest point." in screen_text(pilot)


async def test_history_find_and_everything_about_it() -> None:
    async with browsing(number=7) as pilot:
        await go_to(pilot, b"nginx.conf")
        await press(pilot, "h")
        assert isinstance(pilot.app.screen, HistoryScreen) and "History of /etc/nginx.conf" in screen_text(pilot)
        await press(pilot, "escape", "f")
        assert isinstance(pilot.app.screen, FindScreen)
        await press(pilot, "escape", "i")
        assert isinstance(pilot.app.screen, MessageScreen)
        assert "-rw-r--r--  0644" in screen_text(pilot) and "7,000 bytes" in screen_text(pilot)
        await press(pilot, "escape")
        await go_to(pilot, b"new.conf")
        await press(pilot, "h")
        assert "No point has it" in screen_text(pilot)
        await press(pilot, "i")
        assert "not there" in screen_text(pilot)


async def test_marks() -> None:
    async with browsing() as pilot:
        await press(pilot, "space", "space")
        assert set(screen(pilot).marked) == {b"etc/ssh", b"etc/fstab"} and here(pilot) == b"hosts"
        assert line_of(pilot, "fstab").startswith("* ") and "2 marked" in screen_text(pilot)
        await press(pilot, "up", "space")
        assert set(screen(pilot).marked) == {b"etc/ssh"}
        await go_to(pilot, b"new.conf")
        await press(pilot, "space")
        assert "/etc/new.conf is not in point 12." in screen_text(pilot)
        await press(pilot, "asterisk")
        assert len(screen(pilot).marked) == 5 and b"etc/new.conf" not in screen(pilot).marked
        await press(pilot, "asterisk")
        assert not screen(pilot).marked and "marked" not in screen_text(pilot)


async def test_help_has_the_keys_and_the_glyphs() -> None:
    async with browsing(size=(120, 50)) as pilot:
        await press(pilot, "question_mark")
        text = screen_text(pilot)
        assert "restore what is marked, or this" in text and "m something in that directory" in text


# --- hostile names, small terminals, large directories -------------------------------------------------------------


@pytest.mark.parametrize("name", HOSTILE, ids=IDS)
async def test_hostile_names(name: bytes) -> None:
    engine = FakeEngine()
    engine.tree.directories[b"srv"] = [spans(b"srv/" + name, (1, 3), (4, None)),
                                       Life(b"zz", (Span(1, None, replace(entry(b"srv/zz", 0, Kind.LINK),
                                                                          target=name)),))]
    engine.tree.directories[b"srv/" + name] = [spans(b"srv/" + name + b"/" + name, (1, None))]
    async with browsing(engine, b"srv", size=(220, 40)) as pilot:
        literal(pilot, printable(name))
        await press(pilot, "down")
        literal(pilot, f"-> {printable(name)}"[:30])
        await press(pilot, "i")
        literal(pilot, printable(name)[:25])
        await press(pilot, "escape", "g", "space", "h")
        literal(pilot, printable(name)[:20])
        await press(pilot, "escape", "enter")
        literal(pilot, printable(name)[:20])
        await press(pilot, "escape", "w")
        literal(pilot, printable(name)[:20])
    async with browsing(engine, b"srv/" + name, size=(220, 40)) as pilot:
        literal(pilot, printable(name))
        await press(pilot, "backspace", "slash")
        assert isinstance(pilot.app.screen, BrowseScreen)


@pytest.mark.parametrize("size", [(40, 10), (60, 15), (80, 24), (112, 30), (200, 50)], ids=lambda s: f"{s[0]}x{s[1]}")
async def test_sizes(size: tuple[int, int]) -> None:
    async with browsing(FakeEngine(30), number=30, size=size) as pilot:
        for keys in ((), ("tab",), ("o", "full_stop"), ("minus",), ("slash",), ("escape",), ("w",), ("escape", "i"),
                     ("escape", "h"), ("tab",), ("escape", "f"), ("escape", "question_mark"), ("escape",)):
            await press(pilot, *keys)
            lines = screen_text(pilot).splitlines()
            assert len(lines) == size[1] and all(len(line) == size[0] for line in lines)
            assert "web01" in lines[0], keys
        assert "/etc" in "\n".join(screen_text(pilot).splitlines()[1:3])
        await pilot.resize_terminal(5, 3)
        await settle(pilot)
        await pilot.resize_terminal(80, 24)
        await settle(pilot)
        assert "fstab" in screen_text(pilot)


def large(count: int) -> FakeEngine:
    """An engine with one large directory; each tenth name changed in point 6."""
    engine = FakeEngine()
    made = []
    for i in range(count):
        path = b"var/file%06d.dat" % i
        first = Entry(path, Kind.FILE, 0o644, 0, 0, WHEN + i, i)
        changed = (Span(1, 5, first), Span(6, None, replace(first, size=i + 1)))
        made.append(Life(path[4:], changed if i % 10 == 0 else (Span(1, None, first),)))
    engine.tree.directories[b"var"] = made
    return engine


async def test_a_large_directory_is_arranged_by_a_worker() -> None:
    async with browsing(large(AT_ONCE + 10), b"var") as pilot:
        await press(pilot, "down", "minus")
        assert here(pilot) == b"file000001.dat" and "3,010 here" in screen_text(pilot)
        await press(pilot, *["minus"] * 7)
        assert "301 changed since" in screen_text(pilot)
        await press(pilot, "o")
        assert here(pilot) == b"file000001.dat"
        await press(pilot, "g")
        assert here(pilot) == b"file003009.dat"
        await press(pilot, "slash", *"0012 4", "enter")
        assert here(pilot) == b"file001294.dat" and "file003009.dat" not in screen_text(pilot)
        await press(pilot, "escape", "o", "o", "o")
        await press(pilot, "g")
        assert here(pilot) == b"file000000.dat"
