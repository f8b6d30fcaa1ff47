"""Take, delete, prune, verify, recover, quit: right and wrong answers, cancelling, failing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.results import Damage
from tests.tui.conftest import FULL, AppPilot, make_app, point_of, press, screen_text, settle, until
from tests.tui.fake_engine import HOSTILE, FakeEngine
from tui.screens.points import PointsScreen
from tui.screens.quit import QuitScreen
from tui.screens.take import TakeScreen

WRONG = (("enter",), (*"no", "enter"), (*"YES", "enter"), (*"yes ", "enter"), (*"Yes", "enter"), (*"y", "enter"),
         (*"yess", "enter"))


def slow() -> FakeEngine:
    engine = FakeEngine()
    engine.hold.clear()
    return engine


async def running(pilot: AppPilot, *keys: str) -> None:
    """Press keys, wait until progress is on the screen."""
    await pilot.press(*keys)
    await until(pilot, lambda: "/usr/share/doc/openssl" in screen_text(pilot), "progress")


async def test_take_with_comment_tags_and_pin() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "s", *"before apt", "tab", *"apt weekly", "tab", "space", "enter")
        text = screen_text(pilot)
        assert "Point 13 was taken" in text and "/var/lib/mysql" in text and "/proc/*" in text
        await press(pilot, "enter")
        point = engine.list[0]
        assert (point.comment, point.tags, point.pinned) == ("before apt", ("apt", "weekly"), True)
        assert "Point 13 was taken." in screen_text(pilot)
        assert point_of(pilot).number == 13


async def test_take_left_takes_nothing() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "s", *"q x", "escape")
        assert isinstance(pilot.app.screen, PointsScreen) and "snapshot" not in engine.calls


@pytest.mark.parametrize("key", ["c", "escape", "q"])
async def test_take_is_cancelled_cleanly(key: str) -> None:
    engine = slow()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await running(pilot, "s", "enter")
        await press(pilot, key)
        assert "No point was taken; the store is as it was before." in screen_text(pilot)
        await press(pilot, "escape")
        assert len(engine.list) == 12 and isinstance(pilot.app.screen, PointsScreen)


async def test_take_shows_progress_and_warnings() -> None:
    engine = slow()
    engine.steps, engine.hold_from, engine.warnings = 30, 15, ("vanished: /var/spool/[red]x",)
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("s", "enter")
        await until(pilot, lambda: "1,500 of 3,000 entries" in screen_text(pilot), "counts")
        assert "[#" in screen_text(pilot) and "1 warning, last: vanished: /var/spool/[red]x" in screen_text(pilot)
        engine.hold.set()
        await settle(pilot)
        assert "was taken" in screen_text(pilot) and "/var/spool/[red]x" in screen_text(pilot)


async def test_a_full_disk_is_a_message_with_what_to_do() -> None:
    engine = FakeEngine()
    engine.fail["snapshot"] = FULL
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "s", "enter")
        assert "The store's file system is full" in screen_text(pilot)
        assert "What to do: make 12 MiB of room" in screen_text(pilot)
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, PointsScreen)


@pytest.mark.parametrize("answer", WRONG, ids=["".join(w) for w in WRONG])
async def test_delete_does_nothing_without_exactly_yes(answer: tuple[str, ...]) -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "x", *answer)
        assert "Nothing was done" in screen_text(pilot)
        await press(pilot, "escape")
        assert len(engine.list) == 12 and "delete" not in engine.calls


async def test_delete_and_its_failures() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "down", "x")
        assert "It is pinned" in screen_text(pilot)
        await press(pilot, *"yes", "enter")
        assert "1 point removed, 11 MiB freed." in screen_text(pilot)
        await press(pilot, "enter")
        assert [p.number for p in engine.list][:3] == [12, 10, 9]
        assert "1 point removed." in screen_text(pilot)
        engine.fail["delete"] = FULL
        await press(pilot, "x", *"yes", "enter")
        assert "make 12 MiB of room" in screen_text(pilot)


async def test_deleting_the_only_point_says_so() -> None:
    async with make_app(FakeEngine(1)).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "x")
        assert "only point in the store" in screen_text(pilot)


async def test_verify_whole_and_damaged() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "v", "enter")
        assert "No damage found." in screen_text(pilot) and "Structure only" in screen_text(pilot)
        await press(pilot, "enter")
        engine.damage = (Damage("20241118T223240Z", b"etc/" + HOSTILE[0], "checksum differs"),
                         Damage("", b"", "catalog.sqlite: not a database"))
        await press(pilot, "v", "space", "tab", "space", "enter")
        text = screen_text(pilot)
        assert engine.calls[-1] == "verify data" and "DAMAGE: 2 findings in 1 point" in text
        assert "/etc/[red]alarm" in text and "the store" in text and "the other points stay usable" in text


async def test_verify_can_be_stopped() -> None:
    async with make_app(slow()).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await running(pilot, "v", "enter")
        await press(pilot, "c")
        assert "what was not looked at may still be damaged" in screen_text(pilot)


@pytest.mark.parametrize(("key", "call"), [("r", "resume"), ("u", "undo")])
async def test_an_interrupted_rollback_is_finished_or_undone_after_yes(key: str, call: str) -> None:
    engine = FakeEngine()
    engine.state = replace(engine.state, rollback="a rollback to point 3 of / was interrupted",
                           safety=engine.list[1].id)
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert "A rollback to point 3 of / was interrupted" in screen_text(pilot), "it did not open by itself"
        await press(pilot, "escape", "u")
        assert isinstance(pilot.app.screen, PointsScreen), "it opened twice"
        await press(pilot, "R")
        assert "A rollback to point 3 of / was interrupted" in screen_text(pilot)
        await press(pilot, "f")
        assert "Unfinished work" in screen_text(pilot)
        await press(pilot, key, *"nope", "enter")
        assert call not in engine.calls
        await press(pilot, *"yes", "enter")
        await until(pilot, lambda: "[Result]" in screen_text(pilot), "the result")
        assert call in engine.calls
        assert ("Undone: back at point" if key == "u" else "Rolled back to point") in screen_text(pilot)
        await press(pilot, "enter")
        assert "INTERRUPTED" not in screen_text(pilot)


async def test_repair_after_yes_and_nothing_to_recover() -> None:
    engine = FakeEngine()
    engine.state = replace(engine.state, unfinished="a snapshot begun at 03:00")
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "R", "f", *"yes", "enter")
        assert "An unfinished snapshot was undone." in screen_text(pilot)
        await press(pilot, "enter", "R", "r", "u", "f")
        assert "Nothing was left unfinished." in screen_text(pilot)
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, PointsScreen)


async def test_quitting_while_a_point_is_taken_asks_and_waits() -> None:
    engine = slow()
    app = make_app(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await running(pilot, "s", "enter")
        await pilot.press("ctrl+q")
        assert isinstance(app.screen, QuitScreen) and "A restore point is being taken." in screen_text(pilot)
        await pilot.press("ctrl+c")
        assert isinstance(app.screen, QuitScreen)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, TakeScreen), "the dialog again")
        await pilot.press("ctrl+c", "s")
        await until(pilot, lambda: not app.is_running or app._exit, "the end")
    assert app.return_value == 0 and len(engine.list) == 12 and not app.running


async def test_quit_dialog_goes_away_when_the_work_ends_by_itself() -> None:
    engine = slow()
    app = make_app(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await running(pilot, "s", "enter")
        await pilot.press("ctrl+q")
        engine.hold.set()
        await until(pilot, lambda: isinstance(app.screen, TakeScreen), "the result")
        await settle(pilot)
        assert "was taken" in screen_text(pilot)


@pytest.mark.parametrize("key", ["q", "ctrl+q", "ctrl+c"])
async def test_quit_at_once_when_nothing_runs(key: str) -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press(key)
        await until(pilot, lambda: app._exit, "the end")
    assert app.return_value == 0
