"""The rollback screen: nothing happens without yes; blocked plans; progress; results; leaving."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.entries import Diff
from engine.errors import RollpointError
from engine.events import Progress
from engine.results import Finding, RollbackPlan, RollbackResult, Verdict
from tests.tui.conftest import make_app, press, screen_text, settle, until
from tests.tui.fake_engine import FakeEngine
from tests.tui.test_dialogs import WRONG
from tui.rollback_job import RunState
from tui.rollback_registry import Run, Verb
from tui.screens.points import PointsScreen
from tui.screens.rollback import RollbackScreen

TO_CHANGES = ("r", "enter")
TO_YES = (*TO_CHANGES, "enter", "enter")
ROLL_BACK = (*TO_YES, *"yes", "enter")


class FakeRunner:
    """A runner whose state the test sets."""

    leaving_is_safe = True
    where = "process 4711, log /run/rollpoint/x.log"

    def __init__(self, run: Run | None = None) -> None:
        self.run = run
        self.state = RunState()
        self.started: RollbackPlan | None = None
        self.safety_point: bool | None = None
        self.broken: Exception | None = None
        self.was_seen = False

    def start(self, verb: Verb, plan: RollbackPlan | None = None, *, safety_point: bool = True) -> None:
        if self.broken is not None:
            raise self.broken
        self.started, self.safety_point = plan, safety_point
        self.run = Run.of(verb, plan, safety_point=safety_point)

    def poll(self) -> RunState:
        return self.state

    def seen(self) -> None:
        self.was_seen = True

    def end(self, result: RollbackResult | None = None, error: Exception | None = None) -> None:
        """Come to an end."""
        self.state.result, self.state.error, self.state.running = result, error, False


async def test_preview_says_what_it_will_do() -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "down", "down", *TO_CHANGES)
        text = screen_text(pilot)
        assert "Roll back to point 10" in text and "web01" in text.splitlines()[0]
        assert "DELETE 8 (8.5 KiB)" in text or "DELETE 8" in text
        assert "newer points (12, 11) stay: rolling forward is possible" in text
        assert "/var/lib/mysql, /var/lib/postgresql" in text
        assert "sshd runs with files that will be replaced" in text and "systemctl restart ssh" in text
        await press(pilot, "2")
        rows = [line for line in screen_text(pilot).splitlines() if "/etc/service.d/" in line]
        assert rows and all(line.lstrip().startswith(("-", "/etc")) for line in rows)
        await press(pilot, "right", "right")
        assert "database  /var/lib/mysql" in screen_text(pilot) and "left out  /proc/*" in screen_text(pilot)
        await press(pilot, "6")
        assert "rsync -aHAXS --numeric-ids --delete-after" in screen_text(pilot)


@pytest.mark.parametrize("answer", WRONG, ids=["".join(w) for w in WRONG])
async def test_nothing_happens_without_exactly_yes(answer: tuple[str, ...]) -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *TO_YES, *answer)
        assert isinstance(pilot.app.screen, RollbackScreen) and "rollback" not in engine.calls
        await press(pilot, *["escape"] * 4)
        assert isinstance(pilot.app.screen, PointsScreen) and "rollback" not in engine.calls


async def test_enter_alone_never_confirms() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "r", *["enter"] * 9, "space", "enter")
        assert "rollback" not in engine.calls and "Nothing was done" in screen_text(pilot)


async def test_yes_rolls_back_and_shows_the_result() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "down", *ROLL_BACK)
        await until(pilot, lambda: "Rolled back to point 11" in screen_text(pilot), "the result")
        text = screen_text(pilot)
        assert "Verified" in text and "The state before it is point 13" in text
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, PointsScreen)
        assert engine.list[0].number == 13 and " N     13" in screen_text(pilot)


async def test_the_verdict_on_booting_is_part_of_the_result() -> None:
    engine = FakeEngine()
    engine.verdict = Verdict("no", (Finding("blocker", "no initramfs [red]for[/] 6.1.0-26", "update-initramfs -u"),
                                    Finding("info", "boot code is in place")), "6.1.0-26-amd64")
    engine.boot_applied = ("/dev/sda: boot code of GRUB 2 written",)
    async with make_app(engine).run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, *ROLL_BACK)
        await until(pilot, lambda: "Verified" in screen_text(pilot), "the result")
        text = screen_text(pilot)
        assert "/dev/sda: boot code of GRUB 2 written" in text
        assert "it will not boot (kernel 6.1.0-26-amd64)" in text
        assert "no initramfs [red]for[/] 6.1.0-26  update-initramfs -u" in text and "boot code is in place" not in text


async def test_differences_left_are_named() -> None:
    engine = FakeEngine()
    engine.differences = ("/etc/[red]x: mode 0644, recorded 0600",)
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *ROLL_BACK)
        await until(pilot, lambda: "NOT AS RECORDED" in screen_text(pilot), "the result")
        assert "/etc/[red]x: mode 0644, recorded 0600" in screen_text(pilot)


async def test_a_blocked_plan_cannot_be_confirmed() -> None:
    engine = FakeEngine()
    engine.findings = (Finding("blocker", "the point is damaged: pack-001.tar.zst", "choose another point"),)
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *TO_CHANGES)
        text = screen_text(pilot)
        assert "BLOCKED" in text and "choose another point" in text and "enter Go on" not in text
        await press(pilot, "enter", *"yes", "enter", "tab", *"yes", "enter")
        assert "[Changes]" in screen_text(pilot) and "This rollback is blocked" in screen_text(pilot)
        assert "rollback" not in engine.calls
        await press(pilot, "escape", "escape")
        assert isinstance(pilot.app.screen, PointsScreen)


async def test_nothing_to_roll_back() -> None:
    engine = FakeEngine()
    engine.found = ()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *ROLL_BACK)
        assert "Nothing differs from that point" in screen_text(pilot) and "rollback" not in engine.calls


async def test_planning_can_be_left() -> None:
    engine = FakeEngine()
    engine.hold.clear()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "r")
        await pilot.press("enter")
        await until(pilot, lambda: "Comparing" in screen_text(pilot), "progress")
        await press(pilot, "escape")
        assert "[Scope]" in screen_text(pilot)
        engine.hold.set()
        await press(pilot, "enter")
        assert "DELETE 8" in screen_text(pilot)
        engine.hold.clear()
        await press(pilot, "escape")
        await pilot.press("enter")
        await press(pilot, "q")
        assert isinstance(pilot.app.screen, PointsScreen)


async def test_a_detached_rollback_can_be_left_and_says_how_it_ended() -> None:
    runner = FakeRunner()
    app = make_app(make_runner=lambda: runner)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *ROLL_BACK)
        assert runner.started is not None and "It runs on its own" in screen_text(pilot)
        runner.state.progress = Progress("deleting", 40, 100, current=b"etc/\x1b[31m")
        await until(pilot, lambda: "40 of 100 entries" in screen_text(pilot), "progress")
        assert "/etc/\\x1b[31m" in screen_text(pilot)
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, PointsScreen)
        assert "The rollback to point 12 was left to itself (process 4711, log /run" in app.left_running
        await pilot.press("q")
        await until(pilot, lambda: app._exit, "the end")
    assert app.return_value == 0


async def test_a_rollback_that_dies_says_what_to_do() -> None:
    runner = FakeRunner()
    async with make_app(make_runner=lambda: runner).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *ROLL_BACK)
        runner.state.error = RollpointError("the process ended without a result", hint="press R")
        runner.state.warnings = ["Killed"]
        runner.state.running = False
        await until(pilot, lambda: "ended without a result" in screen_text(pilot), "the error")
        assert "What to do: press R" in screen_text(pilot) and "Killed" in screen_text(pilot)


async def test_a_rollback_that_cannot_start_changed_nothing() -> None:
    runner = FakeRunner()
    runner.broken = OSError(28, "No space left on device", "/run/rollpoint")
    async with make_app(make_runner=lambda: runner).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *ROLL_BACK)
        assert "No space left on device" in screen_text(pilot)


async def test_an_in_process_rollback_cannot_be_left_nor_quit() -> None:
    engine = FakeEngine()
    app = make_app(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *TO_YES)
        engine.hold.clear()
        await pilot.press(*"yes", "enter")
        await until(pilot, lambda: "wait until it is done" in screen_text(pilot), "progress")
        await pilot.press("escape", "q", "ctrl+q")
        await until(pilot, lambda: "must not be cut off half way" in screen_text(pilot), "the question")
        await pilot.press("s")
        assert app.is_running and not app._exit
        engine.hold.set()
        await until(pilot, lambda: "Rolled back to point 12" in screen_text(pilot), "the result")


async def test_large_plan_is_counted_off_the_screen_thread() -> None:
    engine = FakeEngine()
    engine.plan = lambda point, scope, job, *, adopt=False, merged=(): replace(   # type: ignore[method-assign]
        FakeEngine.plan(engine, point, scope, job), diff=Diff("live", point.id, engine.found * 5000))
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *TO_CHANGES)
        assert "DELETE 40,000" in screen_text(pilot) and "[1 Changes 200,000]" in screen_text(pilot)
        await press(pilot, "G")
        assert "/etc/service.d/000039.conf" in screen_text(pilot)
