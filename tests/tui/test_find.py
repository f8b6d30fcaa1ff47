"""Finding names in all points: results while the engine looks, bounds, stopping, where the keys lead."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from engine.entries import Version
from engine.errors import DamageError
from engine.text import printable
from tests.tui.conftest import AppPilot, make_app, press, screen_text, settle, until
from tests.tui.fake_engine import HOSTILE, FakeEngine
from tests.tui.fake_tree import entry
from tests.tui.test_hostile import IDS, literal
from tui.screens.browse import BrowseScreen
from tui.screens.find import LIMIT, FindScreen, Search
from tui.screens.history import HistoryScreen
from tui.screens.points import PointsScreen
from tui.widgets.foundrows import FoundRows


@asynccontextmanager
async def finding(engine: FakeEngine | None = None, pattern: str = "", *, size: tuple[int, int] = (80, 24)
                  ) -> AsyncIterator[AppPilot]:
    app = make_app(engine or FakeEngine())
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        app.push_screen(FindScreen(pattern))
        await settle(pilot)
        yield pilot


class SlowEngine(FakeEngine):
    """An engine that yields one path after the other, and waits for `go` after the first `free` of them."""

    def __init__(self, count: int, free: int) -> None:
        super().__init__()
        self.count, self.free, self.go, self.told = count, free, threading.Event(), 0

    def find(self, pattern: str, *, deleted: bool = True) -> Iterator[Version]:
        self._enter("find")
        for i in range(self.count):
            if i >= self.free:
                self.go.wait(10)
            self.told += 1
            yield Version(entry(b"srv/%06d" % i), self.list[-1].id, self.list[0].id, True, 12)


def test_versions_of_a_path_are_one_hit() -> None:
    engine, search = FakeEngine(), Search()
    search.fill(engine.points(), engine.find("conf"))
    assert [(h.entry.path, h.versions, h.points, h.newest.current) for h in search.hits] == [
        (b"etc/nginx.conf", 12, 12, True), (b"etc/old.conf", 1, 6, False), (b"etc/returned.conf", 2, 2, True),
        (b"etc/ssh/sshd_config", 1, 6, True)]
    assert search.numbers[search.hits[2].newest.last] == 12


async def test_looking_for_a_part_of_a_name() -> None:
    async with finding() as pilot:
        await press(pilot, "enter")
        assert "Type a name or a part of one first." in screen_text(pilot)
        await press(pilot, *"conf", "enter")
        text = screen_text(pilot)
        assert "4 paths  1 of them deleted" in text and "/etc/ssh/sshd_config" in text
        assert " - point 6" in next(line for line in text.splitlines() if "old.conf" in line)
        await press(pilot, "full_stop")
        assert "3 paths" in screen_text(pilot) and "old.conf" not in screen_text(pilot)
        await press(pilot, "a")
        assert "4 paths" in screen_text(pilot)
        await press(pilot, "slash", "ctrl+u", *"zzz", "enter")
        assert "0 paths" in screen_text(pilot)
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, PointsScreen)


async def test_history_and_browse() -> None:
    async with finding(pattern="old") as pilot:
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, HistoryScreen) and "/etc/old.conf" in screen_text(pilot)
        await press(pilot, "escape", "h")
        assert isinstance(pilot.app.screen, HistoryScreen)
        await press(pilot, "escape", "b")
        screen = pilot.app.screen
        assert isinstance(screen, BrowseScreen) and screen.point.number == 6
        found = screen.current()
        assert found is not None and found[1].name == b"old.conf"
        await press(pilot, "escape", "slash", "down", "b")
        assert isinstance(pilot.app.screen, BrowseScreen)
        await press(pilot, "escape", "q")
        assert isinstance(pilot.app.screen, PointsScreen)


async def test_results_come_in_while_it_looks_and_it_can_be_stopped() -> None:
    engine = SlowEngine(50, free=5)
    async with finding(engine) as pilot:
        await pilot.press("x", "enter")
        await until(pilot, lambda: "Looking ...  5 paths" in screen_text(pilot), "the first results")
        assert "/srv/000004" in screen_text(pilot) and "Stop" in screen_text(pilot).splitlines()[-1]
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, FindScreen)
        engine.go.set()
        await settle(pilot)
        assert "stopped" in screen_text(pilot) and engine.told <= 6
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, PointsScreen)


async def test_another_pattern_replaces_a_search_that_runs() -> None:
    engine = SlowEngine(50, free=5)
    async with finding(engine) as pilot:
        await pilot.press("x", "enter")
        await until(pilot, lambda: "5 paths" in screen_text(pilot), "the first results")
        engine.free = 100
        await pilot.press("y", "enter")
        engine.go.set()
        await settle(pilot)
        await until(pilot, lambda: "50 paths" in screen_text(pilot), "the second search")
        assert "stopped" not in screen_text(pilot)


async def test_leaving_stops_the_search() -> None:
    engine = SlowEngine(50, free=5)
    async with finding(engine) as pilot:
        await pilot.press("x", "enter")
        await until(pilot, lambda: "5 paths" in screen_text(pilot), "the first results")
        await pilot.press("escape", "escape")
        engine.go.set()
        await settle(pilot)
        assert isinstance(pilot.app.screen, PointsScreen) and engine.told <= 6


async def test_so_many_and_no_more() -> None:
    engine = SlowEngine(LIMIT + 50, free=LIMIT + 50)
    async with finding(engine, "x") as pilot:
        assert f"{LIMIT:,} paths  only the first {LIMIT:,}" in screen_text(pilot)
        assert engine.told == LIMIT + 1
        rows = pilot.app.screen.query_one("#found").source  # type: ignore[attr-defined]
        assert isinstance(rows, FoundRows) and len(rows) == LIMIT


async def test_errors() -> None:
    engine = FakeEngine()
    engine.fail["find"] = DamageError("the catalog cannot be used", hint="run repair")
    async with finding(engine, "conf") as pilot:
        assert "The catalog cannot be used" in screen_text(pilot)
        await press(pilot, "escape")
        assert "Looking" not in screen_text(pilot)
        del engine.fail["find"]
        await press(pilot, "enter")
        assert "4 paths" in screen_text(pilot)


@pytest.mark.parametrize("name", HOSTILE, ids=IDS)
async def test_hostile_names(name: bytes) -> None:
    class Finds(FakeEngine):
        def find(self, pattern: str, *, deleted: bool = True) -> Iterator[Version]:
            yield Version(entry(b"srv/" + name), self.list[-1].id, self.list[0].id, True, 12)

    async with finding(Finds(), "x", size=(300, 20)) as pilot:
        literal(pilot, printable(name)[-20:])


@pytest.mark.parametrize("size", [(40, 10), (60, 15), (80, 24), (200, 50)], ids=lambda s: f"{s[0]}x{s[1]}")
async def test_sizes(size: tuple[int, int]) -> None:
    async with finding(pattern="conf", size=size) as pilot:
        for keys in ((), ("down",), ("question_mark",), ("escape",), ("slash",), ("f1",), ("escape",)):
            await press(pilot, *keys)
            lines = screen_text(pilot).splitlines()
            assert len(lines) == size[1] and all(len(line) == size[0] for line in lines) and "web01" in lines[0]
        assert "old.conf" in screen_text(pilot) or "nginx.conf" in screen_text(pilot)
