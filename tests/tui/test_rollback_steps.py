"""Rollback step by step: scope, safety point, back and forth, coming back to one that runs, errors and trying again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine import reboot
from engine.config import Config
from engine.errors import BusyError, NoRoomError, RollpointError, UsageError
from engine.events import Job, Progress
from engine.results import Finding, RollbackPlan, RollbackResult, ScopeChoice, StoreStatus
from tests.tui.conftest import AppPilot, make_app, press, screen_text, settle, until
from tests.tui.fake_engine import NOW, FakeEngine
from tests.tui.test_rollback import ROLL_BACK, TO_CHANGES, TO_YES, FakeRunner
from tui.rollback_job import make_order
from tui.rollback_registry import Run
from tui.screens.attach import AttachScreen
from tui.screens.outcome import rollback_rows
from tui.screens.points import PointsScreen
from tui.screens.preview import largest, preview_rows
from tui.screens.recover import RecoverScreen
from tui.screens.rollback import RollbackScreen
from tui.summary import summarize, weight
from tui.widgets.runpanel import stage_at, stage_rows, stages

RUN = Run("rollback", 9, ("system",), True, 0.0, "2024-11-20 03:10:00 UTC")


def plan_of(engine: FakeEngine) -> RollbackPlan:
    return engine.plan(engine.list[0], ("system",), Job())


# --- scope -----------------------------------------------------------------------------------------------------------


async def scope_asked(pilot: AppPilot, engine: FakeEngine, *keys: str) -> tuple[str, ...]:
    """Press keys in the step of the scope; return the scope that was planned with."""
    asked: list[tuple[str, ...]] = []
    plan = FakeEngine.plan
    engine.plan = lambda point, scope, job, *, adopt=False, merged=(): (   # type: ignore[method-assign]
        asked.append(tuple(scope)) or plan(engine, point, scope, job))  # type: ignore[func-returns-value]
    await settle(pilot)
    await press(pilot, "r", *keys)
    assert asked, screen_text(pilot)
    return asked[-1]


@pytest.mark.parametrize(("keys", "scope"), [
    (("enter",), ("system",)), (("space", "enter"), ("system",)),
    (("down", "enter", *"/etc", "enter", "enter"), ("path=/etc",)),
    (("down", "space", *"/a b,c", "enter", *"/x", "enter", "enter"), ("path=/a b,c", "path=/x")),
    (("down", "enter", *"/a", "enter", *"/a", "enter", "enter"), ("path=/a",)),
    (("down", "enter", *"/a", "enter", *"/b", "enter", "escape", "up", "x", "enter"), ("path=/b",)),
    (("down", "down", "enter"), ("fs=/boot",)), (("down", "down", "space", "down", "space", "enter"),
                                                 ("fs=/boot", "boot")),
    (("down", "enter", "enter", "down", "enter"), ("fs=/boot",)),
], ids=lambda v: "+".join(v)[:40])
async def test_scope(keys: tuple[str, ...], scope: tuple[str, ...]) -> None:
    engine = FakeEngine()
    engine.scopes = lambda point: [     # type: ignore[method-assign]
        ScopeChoice("system", "everything"), ScopeChoice("path=", "some paths"),
        ScopeChoice("fs=/boot", "one file system"), ScopeChoice("boot", "boot pieces")]
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        assert await scope_asked(pilot, engine, *keys) == scope
        assert "[Changes]" in screen_text(pilot)
        if scope != ("system",):
            title = "".join(line for line in screen_text(pilot).splitlines()[1:3])
            assert f"only{','.join(w.removeprefix('path=') for w in scope)}".replace(" ", "") in title.replace(" ", "")


async def test_a_scope_that_makes_no_sense_is_said_and_kept() -> None:
    engine = FakeEngine()
    engine.fail["plan"] = UsageError("the scopes system and path=… exclude each other", hint="name one kind of scope")
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "r", "space", "down", "enter", *"/etc", "enter", "enter")
        text = screen_text(pilot)
        assert "[Scope]" in text and "exclude each other" in text and "What to do: name one kind of scope" in text
        assert "[x] system" in text and "[x] path=/etc" in text
        engine.fail.clear()
        await press(pilot, "home", "space", "enter")
        assert "[Changes]" in screen_text(pilot) and "only /etc" in screen_text(pilot)


async def test_scopes_that_cannot_be_asked_for_and_leaving() -> None:
    engine = FakeEngine()
    engine.fail["scopes"] = RollpointError("cannot read the store", hint="mount it")
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "r")
        assert "Cannot read the store" in screen_text(pilot) and "mount it" in screen_text(pilot)
        await press(pilot, "enter", "space", "x", "down")
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, PointsScreen) and "plan" not in engine.calls


async def test_a_given_scope_begins_at_its_changes() -> None:
    engine = FakeEngine()
    app = make_app(engine)
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        left: list[bool | None] = []
        app.push_screen(RollbackScreen(engine.list[1], FakeRunner(), ("path=/srv/[red]x",)), left.append)
        await settle(pilot)
        text = screen_text(pilot)
        assert "[Changes]" in text and "only /srv/[red]x" in text and "esc Leave" in text
        await press(pilot, "enter", "escape", "escape")
        assert left == [False]


# --- back and forth --------------------------------------------------------------------------------------------------


async def test_escape_goes_back_step_by_step_and_nothing_happens() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *TO_YES, *"ye")
        for step in ("Safety point", "Changes", "Scope"):
            await press(pilot, "escape")
            assert f"[{step}]" in screen_text(pilot)
        await press(pilot, "enter", "enter", "enter")
        assert "type yes, then enter" in screen_text(pilot), "what was typed before must not stay"
        await press(pilot, "escape", "q")
        assert isinstance(pilot.app.screen, PointsScreen) and "rollback" not in engine.calls


async def test_yes_in_an_earlier_step_is_nothing() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "r", *"yes")
        await press(pilot, "enter", *"yes")
        await press(pilot, "enter", *"yes", "enter")
        assert "[Confirm]" in screen_text(pilot) and "rollback" not in engine.calls
        await press(pilot, "enter")
        assert "Nothing was done" in screen_text(pilot) and "rollback" not in engine.calls


@pytest.mark.parametrize("key", ["space", "click"])
async def test_without_a_safety_point_it_says_so_and_carries_it(key: str) -> None:
    runner = FakeRunner()
    async with make_app(make_runner=lambda: runner).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *TO_CHANGES, "enter")
        assert "[x] Take a safety point first" in screen_text(pilot)
        await (pilot.click("#take-safety") if key == "click" else pilot.press(key))
        await settle(pilot)
        text = screen_text(pilot)
        assert "[ ] Take a safety point first" in text and "Nothing can be undone then." in text
        await press(pilot, "enter")
        assert "NONE: no safety point. This cannot be undone." in screen_text(pilot)
        await press(pilot, *"yes", "enter")
        assert runner.safety_point is False
        assert "Safety point" not in screen_text(pilot).split("Result", 1)[1], "it is no stage of this run"
        runner.end(RollbackResult(FakeEngine().list[0], None, 3, True, (), 1.0))
        await until(pilot, lambda: "[Result]" in screen_text(pilot), "the result")
        assert "Undo       not possible: no safety point was taken" in screen_text(pilot)


async def test_with_a_safety_point_unless_told_otherwise() -> None:
    runner = FakeRunner()
    async with make_app(make_runner=lambda: runner).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *ROLL_BACK)
        assert runner.safety_point is True and "[>] Comparing once more" in screen_text(pilot)


async def test_read_only_looks_but_cannot_go_on() -> None:
    async with make_app(read_only=True).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *TO_CHANGES)
        assert "This is read-only" in screen_text(pilot) and "Go on" not in screen_text(pilot)
        await press(pilot, "enter", "enter")
        assert "[Changes]" in screen_text(pilot)


async def test_lists_of_the_plan_by_number_and_arrows() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *TO_CHANGES)
        for key, wanted in (("2", "[2 Deleted 8]"), ("3", "[3 Largest 24]"), ("4", "[4 Stays 6]"),
                            ("5", "[5 Findings 1]"), ("6", "[6 Commands 1]"), ("7", "[7 System 2]"),
                            ("right", "[1 Changes 40]"), ("left", "[7 System 2]"), ("l", "[1 Changes 40]")):
            await press(pilot, key)
            assert wanted in screen_text(pilot)
            assert "7 System" in screen_text(pilot), "the row of lists does not fit"


def test_the_largest_come_first_and_those_without_content_not_at_all() -> None:
    found = FakeEngine().found
    sizes = [weight(found[i]) for i in largest(found, 5)]
    assert sizes == sorted(map(weight, found), reverse=True)[:5]
    assert len(largest(found)) == sum(weight(c) > 0 for c in found) < len(found)


# --- run and result --------------------------------------------------------------------------------------------------


def test_stages_follow_the_phases_and_never_go_back() -> None:
    way = stages(RUN)
    names = [stage.label for stage in way]
    assert names == ["Comparing once more", "Safety point", "Opening the point", "Copying, then deleting", "Verifying"]
    seen: list[str] = []
    for phase, label in (("comparing with the live system", names[0]), ("comparing", names[1]), ("copying", names[1]),
                         ("something new", names[1]), ("packing", names[1]), ("opening the point", names[2]),
                         ("putting back", names[3]), ("deleting", names[3]), ("verifying", names[4]),
                         ("copying", names[4])):
        seen.append(phase)
        assert way[stage_at(way, seen)].label == label, seen
    assert stage_rows(way, seen[:6]).plain.splitlines()[:4] == [
        "[x] Comparing once more", "[x] Safety point", "[>] Opening the point", "[ ] Copying, then deleting"]
    assert len(stages(replace(RUN, safety_point=False))) == 4 and len(stages(replace(RUN, verb="undo"))) == 3


async def test_figures_of_a_run() -> None:
    runner = FakeRunner()
    async with make_app(make_runner=lambda: runner).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *ROLL_BACK)
        for phase in ("comparing", "putting back"):
            runner.state.see(Progress(phase, 40, 100, current=b"etc/x"))
        await until(pilot, lambda: "40 of 100 entries" in screen_text(pilot), "figures")
        text = screen_text(pilot)
        assert "[x] Safety point" in text and "[>] Copying, then deleting" in text and "[ ] Verifying" in text
        assert "40%" in text and "/etc/x" in text


@pytest.mark.parametrize(("error", "what"), [
    (BusyError("the store is in use by root@web01, pid 812", hint="wait until it is done"), "pid 812"),
    (NoRoomError("no room left in the store", hint="free 12 MiB"), "free 12 MiB"),
    (UsageError("no restore point is called '2024'", hint="`rollpoint list` shows them"), "rollpoint list")])
async def test_an_error_says_what_to_do_and_it_can_be_planned_again(error: RollpointError, what: str) -> None:
    runners: list[FakeRunner] = []

    def make() -> FakeRunner:
        runners.append(FakeRunner())
        return runners[-1]

    async with make_app(make_runner=make).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *ROLL_BACK)
        runners[0].end(error=error)
        await until(pilot, lambda: "No rollback is left half done." in screen_text(pilot), "the error")
        assert what in screen_text(pilot) and runners[0].was_seen
        await press(pilot, "a")
        assert "[Changes]" in screen_text(pilot)
        await press(pilot, "enter", "enter", *"yes", "enter")
        assert len(runners) == 2 and runners[1].started is not None
        runners[1].end(RollbackResult(FakeEngine().list[0], FakeEngine().list[0], 3, True, (), 1.0))
        await until(pilot, lambda: "Verified" in screen_text(pilot), "the result")
        await press(pilot, "a")
        assert "[Result]" in screen_text(pilot), "after a result there is nothing to plan again"
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, PointsScreen)


async def test_an_error_that_left_it_half_done_offers_what_is_next() -> None:
    engine, runner = FakeEngine(), FakeRunner()
    async with make_app(engine, make_runner=lambda: runner).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *ROLL_BACK)
        engine.state = replace(engine.state, rollback="a rollback to point 12 of / was interrupted")
        runner.end(error=RollpointError("the rollback's process ended without a result"))
        await until(pilot, lambda: "Left half done: a rollback" in screen_text(pilot), "the error")
        assert "Plan it again" not in screen_text(pilot)
        await press(pilot, "a")
        assert "[Result]" in screen_text(pilot)
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, RecoverScreen)


@pytest.mark.parametrize(("lines", "reasons"), [
    ({"kernels": ("kernel 6.1.0-26 comes",)}, 1), ({"boot": ("boot code of /dev/vda",)}, 1), ({}, 0),
    ({"packages": ("libc6:amd64 2.36 -> 2.35", "systemd 252 -> 251", "linux-image-6.1.0-26-amd64 goes", "vim 9 -> 8",
                   "libc6-dev 2.36 -> 2.35", "systemd-cron 1 -> 2", "kernel-core 6.1 goes")}, 4)])
async def test_whether_a_reboot_seems_due(lines: dict[str, tuple[str, ...]], reasons: int) -> None:
    due = reboot.reasons(b"/", lines.get("boot", ()), lines.get("kernels", ()), lines.get("packages", ()))
    assert len(due) == reasons
    assert reboot.reasons(b"/target", ("boot code of /dev/vda",), (), ()) == (), "a tree that does not run"
    plan = replace(plan_of(FakeEngine()), reboot=due)
    summary = summarize(plan.diff)
    assert any("seems due" in str(row) for row in preview_rows(plan, summary, NOW)) == bool(reasons)
    run = Run.of("rollback", plan, safety_point=True)
    rows = rollback_rows(RollbackResult(plan.point, None, 3, True, (), 1.0, reboot=due), run)
    assert any("seems due" in str(row) for row in rows) == bool(reasons)


# --- coming back -----------------------------------------------------------------------------------------------------


async def test_a_rollback_that_runs_is_shown_at_the_start_and_its_result_once() -> None:
    engine, runner = FakeEngine(), FakeRunner(RUN)
    runner.state.see(Progress("putting back", 10, 100, current=b"etc/\x1b[31m"))
    found: list[FakeRunner] = [runner]
    app = make_app(engine)
    app.find_runner = lambda: found[0] if found and not found[0].was_seen else None
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, AttachScreen), "the running one")
        await until(pilot, lambda: "10 of 100 entries" in screen_text(pilot), "progress")
        text = screen_text(pilot)
        assert "The rollback to point 9" in text and "begun 2024-11-20 03:10:00 UTC" in text
        assert "/etc/\\x1b[31m" in text
        await press(pilot, "escape", "u")
        assert isinstance(app.screen, PointsScreen), "it opened by itself a second time"
        await press(pilot, "R")
        assert isinstance(app.screen, AttachScreen)
        await press(pilot, "escape")
        runner.end(RollbackResult(engine.list[3], engine.list[0], 3, True, (), 1.0))
        await press(pilot, "u")
        assert "Rolled back to point 9" in screen_text(pilot) and runner.was_seen and not app.left_running
        await press(pilot, "enter", "u")
        assert isinstance(app.screen, PointsScreen)
        await press(pilot, "R")
        assert "Nothing was left unfinished." in screen_text(pilot)


async def test_an_answer_that_comes_late_does_not_show_an_end_again() -> None:
    engine, runner = FakeEngine(), FakeRunner(RUN)
    app = make_app(engine)
    app.find_runner = lambda: runner        # as if it had been asked before the end was seen
    runner.end(RollbackResult(engine.list[3], engine.list[0], 3, True, (), 1.0))
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Rolled back to point 9" in screen_text(pilot), "the result")
        await press(pilot, "enter", "u")
        assert isinstance(app.screen, PointsScreen)
        await press(pilot, "R")
        assert isinstance(app.screen, RecoverScreen)


async def test_nothing_opens_while_something_is_typed() -> None:
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        app.find_runner = lambda: FakeRunner(RUN)
        await press(pilot, "slash", "u", "f5")
        assert isinstance(app.screen, PointsScreen)
        await press(pilot, "escape", "f5")
        await until(pilot, lambda: isinstance(app.screen, AttachScreen), "the running one")


@pytest.mark.parametrize(("state", "shown"), [
    ({"rollback": "a rollback was interrupted"}, True), ({}, False), ({"unfinished": "a snapshot"}, False),
    ({"rollback": "a rollback was interrupted", "holder": "root@web01, pid 7"}, False),
    ({"rollback": "a rollback was interrupted", "read_only": True}, False)])
async def test_what_is_announced_at_the_start(state: dict[str, str | bool], shown: bool) -> None:
    engine = FakeEngine()
    engine.state = replace(engine.state, **state)   # type: ignore[arg-type]
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert isinstance(pilot.app.screen, RecoverScreen) == shown


async def test_no_way_out_is_offered_while_another_one_is_at_work() -> None:
    engine = FakeEngine()
    engine.state = replace(engine.state, rollback="a rollback", unfinished="x", holder="root@web01, pid 7, `rollpoint`")
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "R")
        assert "The store is in use: root@web01, pid 7" in screen_text(pilot) and "Go on" not in screen_text(pilot)
        await press(pilot, "r", "u", "f")
        assert isinstance(pilot.app.screen, RecoverScreen)


async def test_resume_that_fails_says_so_and_where_it_stands() -> None:
    engine, runner = FakeEngine(), FakeRunner()
    engine.state = replace(engine.state, rollback="a rollback to point 3 of / was interrupted")
    async with make_app(engine, make_runner=lambda: runner).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "r", *"yes", "enter")
        assert "[Run]" in screen_text(pilot) and runner.run is not None and runner.run.verb == "resume"
        runner.end(error=NoRoomError("no room left on /boot", hint="free 3 MiB"))
        await until(pilot, lambda: "Left half done" in screen_text(pilot), "where it stands")
        assert "free 3 MiB" in screen_text(pilot)


async def test_only_a_rollback_with_a_safety_point_can_be_undone() -> None:
    engine, runner = FakeEngine(), FakeRunner()
    engine.state = replace(engine.state, rollback="a rollback to point 3 of / was interrupted")
    async with make_app(engine, make_runner=lambda: runner).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        text = " ".join(screen_text(pilot).split())
        assert "It cannot be undone: it took no safety point" in text and "u Undo" not in text
        await press(pilot, "u")
        assert isinstance(pilot.app.screen, RecoverScreen), "u must do nothing"
        await press(pilot, "escape")
        engine.state = replace(engine.state, safety=engine.list[1].id)
        await press(pilot, "u", "R")
        text = screen_text(pilot)
        assert "undo: return to safety point 11, taken 2024-11-19" in text and "u Undo" in text
        await press(pilot, "u", *"yes", "enter")
        assert runner.run is not None and runner.run.verb == "undo"


async def test_a_long_text_above_the_lists_can_be_scrolled() -> None:
    engine = FakeEngine()
    engine.findings = tuple(Finding("warning", f"service {n} runs with old files", "restart it") for n in range(20))
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *TO_CHANGES)
        assert "tab Scroll" in screen_text(pilot) and "service 0 runs" in screen_text(pilot)
        assert "time now" not in screen_text(pilot)
        await press(pilot, "shift+tab", "end")
        assert "time now" in screen_text(pilot) and "service 0 runs" not in screen_text(pilot)
        await press(pilot, "5")
        assert "[5 Findings 20]" in screen_text(pilot) and "what to do: restart it" in screen_text(pilot)
        await press(pilot, "enter")
        assert "[Safety point]" in screen_text(pilot)


async def test_other_file_systems_are_adopted_only_when_asked_for() -> None:
    engine, runner = FakeEngine(), FakeRunner()
    engine.findings = (Finding("blocker", "/ is another file system than the point recorded", "adopt it"),)
    async with make_app(engine, make_runner=lambda: runner).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *TO_CHANGES)
        assert "BLOCKED" in screen_text(pilot) and "A Adopt" in screen_text(pilot)
        await press(pilot, "A")
        text = screen_text(pilot)
        assert "BLOCKED" not in text and "ADOPT" in text and "of its files are adjusted to them" in text
        await press(pilot, "8")
        assert "/etc/fstab: UUID=1 / -> UUID=2 /" in screen_text(pilot)
        await press(pilot, "A")
        assert "BLOCKED" in screen_text(pilot) and "ADOPT" not in screen_text(pilot)
        await press(pilot, "A", "n", "enter")
        assert "onto other file systems than were recorded" in screen_text(pilot)
        await press(pilot, *"yes", "enter")
        assert runner.started is not None and runner.started.adopt
        order = make_order(Config(), "rollback", runner.started)
        assert order["adopt"] is True and make_order(Config(), "rollback", plan_of(engine))["adopt"] is False


async def test_nothing_is_adopted_where_nothing_is_blocked() -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, *TO_CHANGES, "A")
        assert "ADOPT" not in screen_text(pilot) and "A Adopt" not in screen_text(pilot)


def test_a_status_is_all_that_recover_needs() -> None:
    from tui.screens.recover import recover_rows

    status: StoreStatus = FakeEngine().state
    assert [str(row) for row in recover_rows(status)] == ["Nothing was left unfinished."]
