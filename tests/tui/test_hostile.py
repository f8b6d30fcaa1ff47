"""Names of any bytes on every screen: shown literally, nothing executed, no control character, no crash."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

import pytest

from engine.errors import RollpointError
from engine.results import Damage, Finding, ScopeChoice
from engine.text import message, printable
from tests.tui.conftest import AppPilot, make_app, paste, press, screen_text, settle, until
from tests.tui.fake_engine import HOSTILE, FakeEngine, hostile_changes
from tui.screens.points import PointsScreen
from tui.theme import ANSI_DARK, Look

IDS = [printable(name)[:20] for name in HOSTILE]


def literal(pilot: AppPilot, wanted: str) -> None:
    """`wanted` is on the screen as it is (line breaks of the layout do not count); nothing else harmful is."""
    text = screen_text(pilot)
    for char in text.replace("\n", ""):
        assert unicodedata.category(char)[0] != "C", f"{char!r} reached the screen"
    squeezed = "".join(text.replace("│", "").split())
    assert "".join(wanted.split())[:30] in squeezed, f"{wanted!r} is not in:\n{text}"
    assert pilot.app.is_running and not pilot.app._exit


@pytest.fixture(params=HOSTILE, ids=IDS)
def name(request: pytest.FixtureRequest) -> bytes:
    return bytes(request.param)


def engine_with(name: bytes) -> FakeEngine:
    """An engine that says `name` wherever a string can come from."""
    engine = FakeEngine(3)
    text = name.decode("utf-8", "surrogateescape")
    doc = dict(engine.list[0].doc, host=text, kernel=text, databases=[text], excludes=[text], taken_by=text,
               sources=[{"mount": text, "type": text, "device": text}])
    engine.list = [replace(p, comment=text, tags=(text,), problems=(text,), state="damaged", doc=doc)
                   for p in engine.list]
    engine.found, engine.current = hostile_changes(), b"srv/" + name
    engine.databases = engine.excluded = (text,)
    engine.findings = (Finding("warning", text, text), Finding("info", text))
    engine.differences = engine.warnings = (text,)
    engine.pair = (b"", name)
    engine.boot_text, engine.boot_damage = text, (text,)
    engine.vm_text = text
    engine.damage = (Damage(text, name, text),)
    engine.state = replace(engine.state, unfinished=text, rollback=text, safety=text)
    return engine


async def test_every_screen(name: bytes) -> None:
    text = message(name.decode("utf-8", "surrogateescape"))
    app = make_app(engine_with(name), root=f"/srv/{name.decode('utf-8', 'surrogateescape')}")
    async with app.run_test(size=(220, 60)) as pilot:
        await settle(pilot)
        literal(pilot, text)
        await press(pilot, "escape", "enter")
        literal(pilot, text)
        await press(pilot, "escape", "R")
        literal(pilot, text)
        await press(pilot, "r")
        literal(pilot, text)
        await press(pilot, "escape", "R", "f", *"yes", "enter", "enter", "e")
        literal(pilot, text)
        await press(pilot, "escape", "x")
        literal(pilot, text)
        await press(pilot, "escape", "P")
        literal(pilot, text)
        await press(pilot, "escape", "v", "enter")
        literal(pilot, printable(name))
        await press(pilot, "enter", "d")
        literal(pilot, "v srv/[b]dir/")
        await press(pilot, "down")
        literal(pilot, f"/srv/[b]dir/{printable(sorted(HOSTILE)[0])}")
        await press(pilot, "enter")
        first = name.decode("utf-8", "surrogateescape").split("\n")[0]
        literal(pilot, "1  " + message(first.expandtabs(8)))
        await press(pilot, "escape", "escape")
        assert isinstance(app.screen, PointsScreen)


async def test_every_name_in_a_list_of_changes() -> None:
    async with make_app(engine_with(b"x")).run_test(size=(220, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "escape", "d", "f", "g")
        for known in sorted(HOSTILE):
            literal(pilot, f"/srv/[b]dir/{printable(known)}")
            await press(pilot, "down")


async def test_take_and_rollback(name: bytes) -> None:
    engine = engine_with(name)
    text = message(name.decode("utf-8", "surrogateescape"))
    async with make_app(engine).run_test(size=(220, 50)) as pilot:
        await settle(pilot)
        await press(pilot, "escape")
        engine.hold.clear()
        await pilot.press("s", "enter")
        await until(pilot, lambda: "Copying" in screen_text(pilot), "progress")
        literal(pilot, printable(name)[-20:])
        engine.hold.set()
        await settle(pilot)
        literal(pilot, text)
        offered = [ScopeChoice("system", text), ScopeChoice("fs=" + text, text)]
        engine.scopes = lambda point: offered   # type: ignore[method-assign]
        await press(pilot, "enter", "down", "r")
        literal(pilot, f"fs={text}")
        await press(pilot, "enter")
        literal(pilot, text)
        for view in "234567":
            await press(pilot, view)
            literal(pilot, "")
        await press(pilot, "enter", "enter", *"yes", "enter")
        await until(pilot, lambda: "NOT AS RECORDED" in screen_text(pilot), "the result")
        literal(pilot, text)


async def test_errors(name: bytes) -> None:
    engine = FakeEngine()
    text = name.decode("utf-8", "surrogateescape")
    engine.fail["plan"] = RollpointError(f"cannot read {text}", hint=f"look at {text}")
    engine.fail["changes"] = ValueError(text)
    async with make_app(engine).run_test(size=(220, 50)) as pilot:
        await settle(pilot)
        await press(pilot, "r", "enter")
        literal(pilot, message(text)[:30])
        assert "Cannot read" in screen_text(pilot)
        await press(pilot, "escape", "d")
        literal(pilot, message(text)[:30])


async def test_typed_and_pasted_names_stay_text(name: bytes) -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "s")
        text = name.decode("utf-8", "backslashreplace")
        paste(pilot, text)
        await settle(pilot)
        literal(pilot, "Take a restore point")
        await press(pilot, "enter", "enter", "slash")
        paste(pilot, text)
        await settle(pilot)
        literal(pilot, "")


async def test_clicks_on_hostile_names_run_nothing() -> None:
    engine = engine_with(b"[@click=app.quit]press[/]")
    app = make_app(engine, look=Look(ANSI_DARK.name, True))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        for y in range(1, 23):
            for x in range(5, 80, 37):
                await pilot.click(offset=(x, y))
            if not isinstance(app.screen, PointsScreen):
                await press(pilot, "escape")
        assert app.is_running and not app._exit
        assert not {"snapshot", "rollback", "delete", "prune"} & set(engine.calls)
