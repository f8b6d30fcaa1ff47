"""The traps of the framework below and of an engine that fails, hangs, or answers too late; on every screen.

Where each trap has its test:
  markup, control and bidi characters, hidden actions   test_walk.py, test_hostile.py, test_text.py, `test_no_widget_…`
  colours, glyphs, sizes                                test_walk.py, test_sizes.py, test_theme.py, test_terminal.py
  volume                                                test_changes.py, test_points.py, tests/bench/app.py
  workers: errors, late answers, no answer              here; the process that ends all the same: test_terminal.py
  signals, streams, environment, a lost line            test_terminal.py
  start-up                                              `test_what_the_first_screen_needs_…`, tests/bench/app.py
"""

from __future__ import annotations

import ast
import random
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from engine.entries import Status
from engine.errors import BusyError, CancelledError, DamageError, UsageError
from tests.tui.conftest import FULL, AppPilot, make_app, paste, press, screen_text, settle, until
from tests.tui.fake_engine import FakeEngine, changes
from tests.tui.judge import faults
from tests.tui.scenes import SCENES, WRITES, YES, Guide, Scene
from tests.tui.test_walk import sound
from tui import widgets
from tui.screens.points import PointsScreen
from tui.screens.quit import QuitScreen

TUI = Path(widgets.__file__).parents[1]


class Unspeakable(Exception):
    """An error that cannot even be turned into text."""

    def __str__(self) -> str:
        raise ValueError("no text")


class Behind(FakeEngine):
    """A backend that does not answer while `gate` is closed; the list of points is known all the same."""

    def __init__(self, count: int = 12) -> None:
        super().__init__(count)
        self.gate = threading.Event()
        self.gate.set()

    def _enter(self, verb: str) -> None:
        if verb not in ("points", "status"):
            self.gate.wait(60)
        super()._enter(verb)


class Failing(FakeEngine):
    """An engine of which every verb fails, but for the list of points."""

    error: BaseException | None = None

    def _enter(self, verb: str) -> None:
        super()._enter(verb)
        if self.error is not None and verb not in ("points", "status"):
            raise self.error


ERRORS: tuple[BaseException, ...] = (
    FULL, BusyError("a snapshot by root (pid 12) is under way", hint="wait"), DamageError("pack-001 is damaged"),
    UsageError("no restore point is called '2024'", hint="look again"), CancelledError("stopped on request"),
    OSError(5, "Input/output error", "/var/lib/x\x1b[2J"), ValueError("[/] [@click=app.quit]x[/]"), MemoryError(),
    RecursionError("too deep"), KeyboardInterrupt(), SystemExit(3), Unspeakable(), StopIteration(), TypeError())


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
async def test_an_engine_that_raises_anything(error: BaseException) -> None:
    """Every third screen with each error, another third with the next."""
    engine = Failing()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        with Guide(pilot, engine) as guide:
            engine.error = error
            for scene in [s for s in SCENES if not s.held][ERRORS.index(error) % 3::3]:
                await guide.prepare(scene)
                await guide.try_keys(scene)
                await settle(pilot)
                sound(pilot, scene.name)
            await guide.home()


async def test_a_backend_that_hangs_keeps_nobody_on_any_screen_and_answers_to_nobody_later() -> None:
    """Work that was started is waited for; how to leave that is the next test."""
    engine = Behind()
    app = make_app(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        with Guide(pilot, engine) as guide:
            for scene in (s for s in SCENES if not s.held):
                await guide.prepare(scene)
                engine.gate.clear()
                await guide.try_keys(scene)
                sound(pilot, scene.name)
                await pilot.press("question_mark", "escape")
                if app.running:
                    assert "one moment" in screen_text(pilot) or "Starting" in screen_text(pilot), screen_text(pilot)
                    engine.gate.set()
                    await until(pilot, lambda: "Please wait until" not in screen_text(pilot), "the end of the work")
                    await guide.home()
                    continue
                for _ in range(5):
                    await pilot.press("escape")
                assert isinstance(pilot.app.screen, PointsScreen), f"{scene.name}:\n{screen_text(pilot)}"
                before = screen_text(pilot).splitlines()[2:]
                engine.gate.set()
                await settle(pilot)
                if engine.fail:     # that something failed is told, late as it is
                    continue
                assert isinstance(pilot.app.screen, PointsScreen), f"{scene.name}:\n{screen_text(pilot)}"
                assert scene.keys in (("p",), ()) or screen_text(pilot).splitlines()[2:] == before, scene.name
                sound(pilot, scene.name)


async def test_work_that_does_not_stop_can_be_left_all_the_same() -> None:
    engine = Behind()
    app = make_app(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        try:
            engine.gate.clear()
            await pilot.press("s", "enter", "ctrl+c")
            await until(pilot, lambda: isinstance(app.screen, QuitScreen), "the question")
            screen = app.screen
            assert isinstance(screen, QuitScreen)
            screen.PATIENCE = 0.2
            await pilot.press("l")
            assert not app._exit
            await pilot.press("s")
            await until(pilot, lambda: "has not stopped yet" in screen_text(pilot), "the way out")
            await pilot.press("l")
            assert app._exit and app.abandoned
        finally:
            engine.gate.set()


async def test_a_point_that_disappears_under_the_cursor_on_every_screen() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        with Guide(pilot, engine) as guide:
            for scene in (s for s in SCENES if not s.held):
                await guide.prepare(scene)
                engine.list = engine.list[3:]
                await guide.try_keys(scene)
                await settle(pilot)
                sound(pilot, scene.name)
            await guide.home()
        await press(pilot, "u")
        assert " N " in screen_text(pilot) or " 9  " in screen_text(pilot)


def keys_here(pilot: AppPilot) -> list[str]:
    """All plain keys that are bound here to anything but leaving the app."""
    found = [key for key, (_, binding, enabled, _) in pilot.app.screen.active_bindings.items()
             if enabled and binding.action not in ("quit", "app.quit") and not key.startswith(("ctrl+", "super+"))]
    return sorted({*found, "enter", "escape", "tab", "space"})


@pytest.mark.parametrize(("scene", "read_only"), [(s, i % 3 == 0) for i, s in enumerate(SCENES) if not s.held],
                         ids=lambda v: getattr(v, "name", ""))
async def test_any_key_on_any_screen(scene: Scene, read_only: bool) -> None:
    """Twelve keys at random from every screen: all is well after each, nothing is removed without yes, and escape
    leads back."""
    rng = random.Random(scene.name)
    engine = FakeEngine(30)
    async with make_app(engine, read_only=read_only).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        with Guide(pilot, engine) as guide:
            await guide.prepare(scene)
            pressed: list[str] = []
            for number in range(len(scene.keys) + 12):
                key = scene.keys[number] if number < len(scene.keys) else rng.choice(keys_here(pilot))
                pressed.append(key)
                await press(pilot, key)
                found = faults(pilot)
                assert not found, f"after {pressed}: {found[:3]}\n{screen_text(pilot)}"
                asked = any(tuple(pressed[i:i + 4]) == YES for i in range(len(pressed)))
                grave = WRITES - {"snapshot", "vm_take", "vm_take_disks", "annotate", "save_rules"}
                assert asked or not grave & set(engine.calls), f"after {pressed}: {engine.calls}"
                assert not read_only or not (WRITES - {"restore"}) & set(engine.calls), f"{pressed}: {engine.calls}"
            await guide.home()


async def test_pasting_yes_with_a_line_break_confirms_nothing() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        for key in ("x", "P", "r"):
            await press(pilot, key, "tab")
            for text in ("yes\n", "yes\r\n", "x\nyes\n"):
                paste(pilot, text)
                await settle(pilot)
            assert not WRITES & set(engine.calls)
            await press(pilot, "escape")


def _pin(engine: FakeEngine) -> None:
    engine.list[2] = replace(engine.list[2], pinned=True)


def _damage(engine: FakeEngine) -> None:
    engine.list[2] = replace(engine.list[2], state="damaged")


def _newest(engine: FakeEngine) -> None:
    engine.list = [replace(p, newest=not i) for i, p in enumerate(engine.list[1:])]


def _full_store(engine: FakeEngine) -> None:
    engine.state = replace(engine.state, free_bytes=1 << 20)


def _over(engine: FakeEngine) -> None:
    engine.state = replace(engine.state, limit_bytes=engine.state.store_bytes - 1)


def _status_of_changes(status: Status) -> object:
    def change(engine: FakeEngine) -> None:
        engine.found = tuple(c for c in changes(40) if c.status is status)
    return change


@pytest.mark.parametrize(("keys", "one", "other"), [
    ((), None, _pin), ((), None, _damage), ((), None, _newest), ((), None, _full_store), ((), None, _over),
    *((("d",), _status_of_changes(a), _status_of_changes(b)) for a in Status for b in Status if a.value < b.value)],
    ids=lambda v: getattr(v, "__name__", "") if callable(v) else "")
@pytest.mark.parametrize("width", [40, 80])
async def test_no_state_is_told_by_colour_alone(keys: tuple[str, ...], one: object, other: object, width: int) -> None:
    """What differs in its state differs in its letters, in the list itself."""
    shown = []
    for change in (one, other):
        engine = FakeEngine()
        if callable(change):
            change(engine)
        async with make_app(engine).run_test(size=(width, 24)) as pilot:
            await settle(pilot)
            await press(pilot, *keys)
            shown.append([line[:6] for line in screen_text(pilot).splitlines()] if keys else screen_text(pilot))
    assert shown[0] != shown[1]


# --- rules for the code ----------------------------------------------------------------------------------------------

WIDGETS = {"Static", "Vertical", "Horizontal", "VerticalScroll", "Container", "Input", "HorizontalScroll", "Center",
           "Middle", "Grid", "ContentSwitcher"}
"""The widgets of the framework that may be used: all others parse markup, draw glyphs that no console has, or hold a
widget or a cell for each row."""


def calls_of(tree: ast.AST) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


@pytest.mark.parametrize("module", sorted(TUI.rglob("*.py")), ids=lambda p: str(p.relative_to(TUI)))
def test_no_widget_of_ours_parses_markup(module: Path) -> None:
    tree = ast.parse(module.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("textual.widgets", "textual.containers"):
            assert {alias.name for alias in node.names} <= WIDGETS, f"line {node.lineno}"
    for call in calls_of(tree):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        assert name not in ("from_markup", "notify"), f"line {call.lineno}: {name}"
        words = {word.arg: word.value for word in call.keywords}
        if name == "Static":
            markup = words.get("markup")
            assert isinstance(markup, ast.Constant) and markup.value is False, f"line {call.lineno}: Static"
        if name == "update" and call.args:
            first = call.args[0]
            text = isinstance(first, ast.JoinedStr) or (isinstance(first, ast.Constant) and first.value)
            assert not text, f"line {call.lineno}: update() is given a plain string"
    attributes = {call.func.attr for call in calls_of(tree) if isinstance(call.func, ast.Attribute)}
    assert "call_from_thread" not in attributes


LATE = ("tui.screens.changes", "tui.screens.rollback", "tui.screens.take", "tui.screens.help", "tui.screens.prune",
        "pygments", "yaml", "sh", "sqlite3", "textual.widgets._markdown", "textual.widgets._text_area",
        "textual.widgets._data_table", "rich.markdown", "rich.syntax", "rich.traceback")


def test_what_the_first_screen_needs_is_all_that_is_loaded_for_it() -> None:
    code = f"import sys; import tui.app, tui.screens.points; print([m for m in {LATE!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=TUI.parent, check=True)
    assert done.stdout.strip() == "[]"
