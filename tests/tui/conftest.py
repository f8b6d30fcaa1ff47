"""Everything that moves is frozen: clock, host, time zone, colours, animations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from textual import events
from textual.pilot import Pilot
from textual.worker import WorkerCancelled

from engine.errors import NoRoomError
from engine.points import RestorePoint
from tests.tui.fake_engine import NOW, FakeEngine
from tests.tui.quick import parse_style_sheets_once
from tests.tui.quiet import wait_by_the_loop
from tui.app import RollpointApp
from tui.rollback_job import Runner
from tui.screens.points import PointsScreen
from tui.theme import DARK, Look

AppPilot = Pilot[int]
RGB = Look(DARK.name, False)


@pytest.fixture(autouse=True)
def frozen(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A fixed zone; no setting of the developer's terminal reaches the app."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setenv("TEXTUAL_ANIMATIONS", "none")
    for name in ("NO_COLOR", "COLORFGBG", "ROLLPOINT_THEME", "TEXTUAL_THEME", "TEXTUAL_COLOR_SYSTEM"):
        monkeypatch.delenv(name, raising=False)
    parse_style_sheets_once(monkeypatch)
    wait_by_the_loop(monkeypatch)
    yield
    monkeypatch.undo()
    time.tzset()


def make_app(engine: FakeEngine | None = None, *, look: Look = RGB, read_only: bool = False,
             make_runner: Callable[[], Runner] | None = None, root: str = "/") -> RollpointApp:
    """An app on the double, with everything frozen."""
    from tests.tui.fake_rescue import FakeLook, survey

    engine = engine or FakeEngine()
    app = RollpointApp(engine, read_only=read_only, host="web01", root=root,
                        store="/var/lib/rollpoint/store", clock=lambda: NOW, look=look, make_runner=make_runner)
    app.look_at_disks = lambda job, shares, activate: FakeLook(survey(engine.boot_text))(job, shares, activate)
    return app


async def settle(pilot: AppPilot) -> None:
    """Wait until the engine has answered everything and every message has been handled; no fixed sleeps."""
    app = pilot.app
    assert isinstance(app, RollpointApp)
    await pilot.pause()
    with suppress(WorkerCancelled):     # a newer one has taken its place: `open_questions` knows of that
        await app.workers.wait_for_complete()
    await pilot.pause()
    end = time.monotonic() + 10
    while app.open_questions and time.monotonic() < end and app.is_running:
        await pilot.pause(0.01)
        await pilot.pause()     # an answer may lead to another question


async def until(pilot: AppPilot, ready: Callable[[], object], what: str = "") -> None:
    """Wait until something is so; fail after ten seconds."""
    end = time.monotonic() + 10
    while not ready():
        if time.monotonic() > end:
            pytest.fail(f"waited ten seconds for {what or 'it'}; the screen shows:\n{screen_text(pilot)}")
        await pilot.pause(0.02)


async def press(pilot: AppPilot, *keys: str) -> None:
    """Press keys, then wait for what they started."""
    await pilot.press(*keys)
    await settle(pilot)


def screen_text(pilot: AppPilot) -> str:
    """What the terminal shows now, line by line, all layers."""
    strips = pilot.app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


def point_of(pilot: AppPilot) -> RestorePoint:
    """The point under the cursor of the list."""
    screen = pilot.app.screen
    assert isinstance(screen, PointsScreen)
    point = screen.point()
    assert point is not None
    return point


def paste(pilot: AppPilot, text: str) -> None:
    """Paste into what has the focus."""
    focused = pilot.app.screen.focused
    assert focused is not None
    focused.post_message(events.Paste(text))


FULL = NoRoomError("the store's file system is full", missing=12 << 20, hint="make 12 MiB of room")
