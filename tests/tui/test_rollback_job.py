"""The process of its own that rolls back: its order, its lines, its end; and the double in this process."""

from __future__ import annotations

import json
import os
import stat
import sys
import time
from pathlib import Path

import pytest

from engine.config import Config, Retention
from engine.errors import BusyError, RollpointError
from engine.events import Job, Progress
from engine.results import RollbackPlan, RollbackResult
from tests.tui.fake_engine import HOSTILE, FakeEngine
from tui import rollback_registry, rollback_run
from tui.rollback_job import DetachedRunner, Runner, RunState, ThreadRunner, make_order, result_of, write_result

CONFIG = Config(store="/s/\udce9", root="/r", excludes=("a", "*.swp"), databases=("/var/lib/mysql",),
                retention=Retention(daily=7, max_store_ratio=None), origins={"store": "command line"})


def plan_of(engine: FakeEngine) -> RollbackPlan:
    return engine.plan(engine.list[2], ("path=/etc/\udce9",), Job())


def watched(runner: Runner) -> RunState:
    """Poll until the end."""
    end = time.monotonic() + 20
    while (state := runner.poll()).running:
        assert time.monotonic() < end
        time.sleep(0.02)
    return state


def test_the_configuration_arrives_whole() -> None:
    order = json.loads(json.dumps(make_order(CONFIG, "rollback", plan_of(FakeEngine()))))
    assert rollback_run.read_config(order["config"]) == CONFIG
    assert (order["verb"], order["scope"]) == ("rollback", ["path=/etc/\udce9"])
    assert "point" not in make_order(CONFIG, "undo", None)


def test_a_result_arrives_whole() -> None:
    engine = FakeEngine()
    result = RollbackResult(engine.list[1], engine.list[0], 12, False, ("/etc/[red]x",), 1.5)
    back = result_of(json.loads(json.dumps(write_result(result))))
    assert (back.point.id, back.point.number, back.safety_point and back.safety_point.number) == (
        engine.list[1].id, engine.list[1].number, engine.list[0].number)
    assert (back.applied, back.verified, back.differences, back.seconds) == (12, False, ("/etc/[red]x",), 1.5)


def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str) -> DetachedRunner:
    """A detached runner whose process runs `program` instead."""
    from engine import run

    real = run.detach
    monkeypatch.setattr(rollback_registry, "run_directory", lambda: str(tmp_path))
    monkeypatch.setattr(run, "detach",
                        lambda argv, log, keep: real([sys.executable, "-c", program, argv[-1]], log, keep))
    runner = DetachedRunner(CONFIG)
    runner.start("rollback", plan_of(FakeEngine()))
    return runner


def test_lines_become_progress_warnings_and_a_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    name = os.fsdecode(HOSTILE[7])
    result = write_result(RollbackResult(FakeEngine().list[0], None, 3, True, (), 0.1))
    at = {"phase": "copying", "done": 3, "total": 9, "unit": "entries", "current": name, "bytes_done": 5}
    said = [{"progress": at}, {"warning": "vanished"}, {"unknown": 1}, {"result": result}]
    text = "\n".join(["no json", *map(json.dumps, said)])
    runner = started(monkeypatch, tmp_path, f"print({text!r})")
    state = watched(runner)
    assert state.progress == Progress("copying", 3, 9, "entries", HOSTILE[7], 5)
    assert state.warnings == ["no json", "vanished"] and state.error is None
    assert state.result is not None and state.result.applied == 3
    assert runner.poll() is state and "process " in runner.where and str(tmp_path) in runner.where


def test_a_process_that_dies_is_an_error_with_a_hint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = "import os; print('last words', flush=True); os.kill(os.getpid(), 9)"
    state = watched(started(monkeypatch, tmp_path, program))
    assert isinstance(state.error, RollpointError) and "last words" in state.error.message and "R" in state.error.hint


def test_an_error_line_is_that_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    state = watched(started(monkeypatch, tmp_path, "print('{\"error\": \"in use\", \"hint\": \"wait\"}')"))
    assert isinstance(state.error, RollpointError) and (state.error.message, state.error.hint) == ("in use", "wait")


def test_the_program_itself_reports_what_it_cannot_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(rollback_registry, "run_directory", lambda: str(tmp_path))
    runner = DetachedRunner(Config(store=str(tmp_path / "none"), root=str(tmp_path)))
    runner.start("rollback", plan_of(FakeEngine()))
    state = watched(runner)
    assert isinstance(state.error, RollpointError) and "unexpected" not in state.error.message
    assert [p.name for p in tmp_path.iterdir() if p.name.endswith(".json")] == []


def test_orders_lie_where_only_we_can_read_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    place = rollback_registry.run_directory()
    found = os.stat(place)
    assert found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) == 0o700
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "rollpoint").symlink_to("/tmp")
    other = rollback_registry.run_directory()
    assert other != str(tmp_path / "rollpoint") and stat.S_IMODE(os.stat(other).st_mode) == 0o700
    os.rmdir(other)


@pytest.mark.parametrize("verb", ["rollback", "resume", "undo"])
def test_in_this_process(verb: rollback_registry.Verb) -> None:
    engine = FakeEngine()
    engine.warnings = ("careful",)
    runner = ThreadRunner(engine)
    runner.start(verb, plan_of(engine))
    state = watched(runner)
    assert state.result is not None and verb in engine.calls and not runner.leaving_is_safe
    engine.fail[verb] = BusyError("in use")
    failing = ThreadRunner(engine)
    failing.start(verb, None if verb != "rollback" else plan_of(engine))
    assert isinstance(watched(failing).error, BusyError)
