"""Restoring paths: where to, in place with its preview, elsewhere with progress, wrong answers, read-only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import DamageError, RefusedError, UsageError
from tests.tui.conftest import FULL, AppPilot, make_app, press, screen_text, settle, until
from tests.tui.fake_engine import FakeEngine
from tests.tui.test_dialogs import WRONG
from tui.screens.browse import BrowseScreen
from tui.screens.history import HistoryScreen
from tui.screens.restore import ElsewhereScreen, RestoreScreen, outermost, scope_of
from tui.screens.rollback import RollbackScreen

NAMES = st.lists(st.sampled_from([b"a", b"b", b"a/b", b"a/b/c", b"a-b", b"a!", b"b/a", b""]))


@given(NAMES)
def test_outermost(paths: list[bytes]) -> None:
    found = outermost(paths)

    def covers(above: bytes, one: bytes) -> bool:
        return above in (b"", one) or one.startswith(above + b"/")

    assert all(any(covers(above, one) for above in found) for one in paths)
    assert not any(covers(one, other) for one in found for other in found if one != other)
    assert set(found) <= set(paths)


def test_scope_words_hold_any_bytes() -> None:
    assert scope_of([b"etc/caf\xe9", b"etc", b"srv"]) == ("path=/etc", "path=/srv")
    assert scope_of([b"caf\xe9"]) == ("path=/caf\udce9",)


@asynccontextmanager
async def restoring(engine: FakeEngine, *, marks: int = 0, read_only: bool = False, number: int = 12,
                    size: tuple[int, int] = (80, 24)) -> AsyncIterator[AppPilot]:
    """The question where to, asked from a directory with some names marked."""
    app = make_app(engine, read_only=read_only)
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        app.push_screen(BrowseScreen(next(p for p in engine.list if p.number == number), b"etc"))
        await settle(pilot)
        await press(pilot, *["space"] * marks, "w")
        assert isinstance(app.screen, RestoreScreen)
        yield pilot


async def into(pilot: AppPilot, directory: str, *, clear: bool = False) -> None:
    """Type a directory and go on."""
    await press(pilot, *(["ctrl+u"] if clear else []), *(c if c.isalnum() else {"/": "slash"}.get(c, c)
                                                        for c in directory), "enter")


async def test_the_question_says_what_and_how_much() -> None:
    engine = FakeEngine()
    async with restoring(engine) as pilot:
        text = screen_text(pilot)
        assert "Restore from point 12" in text and "/etc/ssh" in text and "3 entries, 3.6 KiB" in text
        await press(pilot, "x", "enter", "y", "escape")
        assert isinstance(pilot.app.screen, BrowseScreen) and engine.restored is None and not engine.planned
    async with restoring(FakeEngine(), marks=3) as pilot:
        text = screen_text(pilot)
        assert "/etc/ssh" in text and "/etc/fstab" in text and "/etc/hosts" in text and "9 entries" in text


async def test_a_damaged_point_is_said_to_be_one() -> None:
    async with restoring(FakeEngine(), number=8) as pilot:
        assert "it is damaged" in screen_text(pilot)


async def test_what_the_point_does_not_have_cannot_be_restored() -> None:
    engine = FakeEngine()
    engine.fail["measure"] = UsageError("/etc/ssh is not in point 12", hint="choose another point")
    async with restoring(engine) as pilot:
        assert "/etc/ssh is not in point 12" in screen_text(pilot)
        await press(pilot, "p", "e")
        assert isinstance(pilot.app.screen, RestoreScreen)


async def test_in_place_is_a_rollback_of_these_paths_with_its_preview() -> None:
    engine = FakeEngine()
    async with restoring(engine, marks=2) as pilot:
        await press(pilot, "p")
        assert isinstance(pilot.app.screen, RollbackScreen)
        assert engine.planned == ("path=/etc/fstab", "path=/etc/ssh") and "rollback" not in engine.calls
        await press(pilot, "q")
        assert isinstance(pilot.app.screen, BrowseScreen) and len(pilot.app.screen.marked) == 2


async def test_read_only_restores_elsewhere_but_not_in_place() -> None:
    engine = FakeEngine()
    async with restoring(engine, read_only=True) as pilot:
        assert "not possible, this is read-only" in screen_text(pilot)
        await press(pilot, "p")
        assert isinstance(pilot.app.screen, RestoreScreen)
        await press(pilot, "e")
        await into(pilot, "/root/new")
        assert engine.restored == (engine.list[0].id, "/root/new", (b"etc/ssh",), False)


async def test_elsewhere() -> None:
    engine = FakeEngine()
    async with restoring(engine, marks=2) as pilot:
        await press(pilot, "e")
        assert isinstance(pilot.app.screen, ElsewhereScreen) and "/root/point-12" in screen_text(pilot)
        await into(pilot, "/root/new")
        text = screen_text(pilot)
        assert engine.restored == (engine.list[0].id, "/root/new", (b"etc/fstab", b"etc/ssh"), False)
        assert "6 entries restored" in text and "/root/new/etc/fstab" in text
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, BrowseScreen) and not pilot.app.screen.marked


@pytest.mark.parametrize(("typed", "said"), [("", "beginning with /"), ("root", "beginning with /"),
                                             ("/", "That is the live system itself"),
                                             ("//", "That is the live system itself")])
async def test_directories_that_will_not_do(typed: str, said: str) -> None:
    engine = FakeEngine()
    async with restoring(engine) as pilot:
        await press(pilot, "e")
        await into(pilot, typed)
        assert said in screen_text(pilot) and "restore" not in engine.calls
        await into(pilot, "/root/new", clear=True)
        assert engine.restored is not None


async def test_a_directory_that_is_not_empty_is_asked_about() -> None:
    engine = FakeEngine()
    async with restoring(engine) as pilot:
        await press(pilot, "e")
        await into(pilot, "/root/full")
        text = screen_text(pilot)
        assert "/root/full is not empty. What has the same name there is replaced" in " ".join(
            text.replace("│", " ").split()) and engine.restored is None
        await press(pilot, *"yes", "enter")
        assert engine.restored == (engine.list[0].id, "/root/full", (b"etc/ssh",), True)
        assert "3 entries restored" in screen_text(pilot)


@pytest.mark.parametrize("answer", WRONG, ids=["".join(w) for w in WRONG])
async def test_only_yes_goes_on(answer: Sequence[str]) -> None:
    engine = FakeEngine()
    async with restoring(engine) as pilot:
        await press(pilot, "e")
        await into(pilot, "/root/full")
        await press(pilot, *answer)
        assert engine.restored is None and isinstance(pilot.app.screen, ElsewhereScreen | BrowseScreen)


async def test_another_directory_instead_of_yes() -> None:
    engine = FakeEngine()
    async with restoring(engine) as pilot:
        await press(pilot, "e")
        await into(pilot, "/root/full")
        await press(pilot, "shift+tab")
        await into(pilot, "2")
        assert engine.restored == (engine.list[0].id, "/root/full2", (b"etc/ssh",), False)


@pytest.mark.parametrize("error", [RefusedError("/store lies in the store", hint="name a directory outside of it"),
                                   UsageError("/etc/passwd is no directory", hint="name another")])
async def test_refused_directories_leave_the_form_open(error: Exception) -> None:
    engine = FakeEngine()
    engine.fail["restore"] = error
    async with restoring(engine) as pilot:
        await press(pilot, "e")
        await into(pilot, "/store")
        assert str(error) in screen_text(pilot) and "all the same" not in screen_text(pilot)
        del engine.fail["restore"]
        await into(pilot, "/root/new", clear=True)
        assert engine.restored is not None


@pytest.mark.parametrize("error", [FULL, DamageError("pack-001 is damaged", hint="verify")])
async def test_errors_are_shown_with_what_to_do(error: Exception) -> None:
    engine = FakeEngine()
    engine.fail["restore"] = error
    async with restoring(engine) as pilot:
        await press(pilot, "e")
        await into(pilot, "/root/new")
        assert str(error)[1:] in screen_text(pilot) and "What to do" in screen_text(pilot)
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, BrowseScreen)


@pytest.mark.parametrize("key", ["c", "escape"])
async def test_stopping(key: str) -> None:
    engine = FakeEngine()
    engine.hold.clear()
    async with restoring(engine) as pilot:
        await press(pilot, "e")
        await pilot.press(*"/root/new".replace("/", ""), "home", "slash", "enter")
        await until(pilot, lambda: "Copying" in screen_text(pilot), "progress")
        await press(pilot, key)
        assert "Stopped. What was copied until then is still in that directory" in screen_text(pilot)
        assert engine.restored is None


async def test_dialogs_fit_small_terminals() -> None:
    for size in ((40, 10), (60, 15)):
        async with restoring(FakeEngine(), marks=3, size=size) as pilot:
            assert "esc" in screen_text(pilot)
            await press(pilot, "e")
            assert "/root/point-12" in screen_text(pilot), screen_text(pilot)
            await into(pilot, "/root/full")
            await press(pilot, "y", "e")
            assert " ye " in screen_text(pilot), screen_text(pilot)


async def test_what_was_read_before_is_read_again() -> None:
    engine = FakeEngine()
    async with restoring(engine) as pilot:
        await press(pilot, "escape", "down", "h")
        asked = engine.calls.count("history"), engine.calls.count("lives")
        await press(pilot, "down", "w", "escape", "w", "e")
        await into(pilot, "/root/new")
        assert engine.calls.count("history") == asked[0]
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, HistoryScreen) and engine.calls.count("history") == asked[0] + 1
        assert engine.calls.count("lives") == asked[1]
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, BrowseScreen) and engine.calls.count("lives") == asked[1] + 1
        await press(pilot, "question_mark", "escape")
        assert engine.calls.count("lives") == asked[1] + 1
