"""The process of its own that rolls back: its order, its lines, its end; and the double in this process."""

from __future__ import annotations

import json
import os
import stat
import sys
import tempfile
import time
from pathlib import Path

import pytest

from engine.config import Boot, Config, Retention
from engine.errors import BusyError, RollpointError
from engine.events import Job, Progress
from engine.results import Finding, RollbackPlan, RollbackResult, Verdict
from tests.tui.fake_engine import HOSTILE, FakeEngine
from tui import rollback_registry, rollback_run
from tui.rollback_job import DetachedRunner, Runner, RunState, ThreadRunner, make_order, result_of, write_result
from tui.rollback_registry import Registry, Run

CONFIG = Config(store="/s/\udce9", root="/r", excludes=("a", "*.swp"), databases=("/var/lib/mysql",),
                retention=Retention(daily=7, max_store_ratio=None),
                boot=Boot(("/dev/\udce9",), facts=False), origins={"store": "command line"})


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
    assert (order["verb"], order["scope"], order["safety_point"]) == ("rollback", ["path=/etc/\udce9"], True)
    del order["config"]["boot"]     # as an older app writes it
    assert rollback_run.read_config(order["config"]).boot == Boot()
    without = make_order(CONFIG, "rollback", plan_of(FakeEngine()), safety_point=False)
    assert without["safety_point"] is False
    assert "point" not in make_order(CONFIG, "undo", None)


def test_a_result_arrives_whole() -> None:
    engine = FakeEngine()
    verdict = Verdict("no", (Finding("blocker", "no kernel", "roll back"),), "6.1")
    result = RollbackResult(engine.list[1], engine.list[0], 12, False, ("/etc/[red]x",), 1.5, verdict, ("/dev/sda: x",))
    back = result_of(json.loads(json.dumps(write_result(result))))
    assert (back.point.id, back.point.number, back.safety_point and back.safety_point.number) == (
        engine.list[1].id, engine.list[1].number, engine.list[0].number)
    assert (back.applied, back.verified, back.differences, back.seconds) == (12, False, ("/etc/[red]x",), 1.5)
    assert back.boot == verdict and back.boot_applied == ("/dev/sda: x",)


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
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for name in ("rollpoint", "rollpoint-12345"):
        (tmp_path / name).symlink_to("/tmp")
    other = rollback_registry.run_directory()
    assert os.path.realpath(other) == other != "/tmp" and stat.S_IMODE(os.stat(other).st_mode) == 0o700


@pytest.mark.parametrize("verb", ["rollback", "resume", "undo"])
def test_in_this_process(verb: rollback_registry.Verb) -> None:
    engine = FakeEngine()
    engine.warnings = ("careful",)
    runner = ThreadRunner(engine)
    runner.start(verb, plan_of(engine))
    state = watched(runner)
    assert state.result is not None and verb in engine.calls and not runner.leaving_is_safe
    assert (state.result.safety_point is not None) == (verb == "rollback")
    bare = ThreadRunner(engine)
    bare.start(verb, plan_of(engine), safety_point=False)
    assert (result := watched(bare).result) is not None and result.safety_point is None
    engine.fail[verb] = BusyError("in use")
    failing = ThreadRunner(engine)
    failing.start(verb, None if verb != "rollback" else plan_of(engine))
    assert isinstance(watched(failing).error, BusyError)


# --- coming back ---------------------------------------------------------------------------------------------------

WAITS = "import sys, time; print('{\"pid\": 4711}', flush=True); time.sleep(60)"


def gone(runner: DetachedRunner) -> None:
    """End its process as if by kill -9."""
    os.kill(runner._pid, 9)
    os.waitpid(runner._pid, 0)


def test_nothing_to_attach_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(rollback_registry, "run_directory", lambda: str(tmp_path))
    assert DetachedRunner.attach(CONFIG) is None


def test_another_start_finds_what_runs_and_what_was_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = started(monkeypatch, tmp_path, WAITS)
    try:
        found = DetachedRunner.attach(CONFIG)
        assert found is not None and found.run == first.run and found.run is not None
        assert (found.run.verb, found.run.number, found.run.scope, found.run.safety_point) == (
            "rollback", plan_of(FakeEngine()).point.number, ("path=/etc/\udce9",), True)
        end = time.monotonic() + 10
        while "4711" not in found.where:
            assert found.poll().running and time.monotonic() < end
        assert DetachedRunner.attach(Config(store="/another")) is None
        with pytest.raises(BusyError, match="running already"):
            DetachedRunner(CONFIG).start("undo")
        after = DetachedRunner.attach(CONFIG)
        assert after is not None and after.run == first.run, "a refused start took the place of the one that runs"
    finally:
        gone(first)
    state = found.poll()
    assert not state.running and isinstance(state.error, RollpointError)


def test_an_end_that_nobody_saw_is_found_until_somebody_has(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    result = write_result(RollbackResult(FakeEngine().list[0], None, 3, True, (), 0.1))
    runner = started(monkeypatch, tmp_path, f"print({json.dumps({'result': result})!r})")
    watched(runner)
    for _ in range(2):
        found = DetachedRunner.attach(CONFIG)
        assert found is not None
        state = found.poll()
        assert not state.running and state.result is not None and state.result.applied == 3
    runner.seen()
    assert DetachedRunner.attach(CONFIG) is None


def test_seeing_an_old_end_does_not_forget_a_new_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = started(monkeypatch, tmp_path, "pass")
    watched(old)
    new = started(monkeypatch, tmp_path, WAITS)
    try:
        old.seen()
        found = DetachedRunner.attach(CONFIG)
        assert found is not None and found.run == new.run
    finally:
        gone(new)


def test_a_number_of_a_process_that_was_given_away_again_is_no_rollback(monkeypatch: pytest.MonkeyPatch,
                                                                        tmp_path: Path) -> None:
    runner = started(monkeypatch, tmp_path, f"print('{{\"pid\": {os.getpid()}}}', flush=True)")   # alive, but not it
    state = watched(runner)
    assert not state.running and isinstance(state.error, RollpointError)


def test_a_start_that_was_cut_off_before_the_process_began(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(rollback_registry, "run_directory", lambda: str(tmp_path))
    registry = Registry(CONFIG.store)
    registry.begin(Run.of("undo", None, safety_point=True), {})
    assert DetachedRunner.attach(CONFIG) is None and registry.read() is None
    Path(registry.record).write_text('{"verb": "rollback", "from": "a later version"}')
    assert DetachedRunner.attach(CONFIG) is None


def test_what_cannot_be_started_leaves_no_trace(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from engine import run

    def refuse(*_: object) -> int:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(rollback_registry, "run_directory", lambda: str(tmp_path))
    monkeypatch.setattr(run, "detach", refuse)
    with pytest.raises(OSError, match="temporarily"):
        DetachedRunner(CONFIG).start("undo")
    assert DetachedRunner.attach(CONFIG) is None


def test_a_directory_for_orders_is_found_again_where_there_is_no_run(monkeypatch: pytest.MonkeyPatch,
                                                                     tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "none"))
    me, isdir = os.geteuid(), os.path.isdir
    monkeypatch.setattr(os.path, "isdir", lambda path: path != "/run" and isdir(path))
    place = rollback_registry.run_directory()
    assert place == str(tmp_path / f"rollpoint-{me}") == rollback_registry.run_directory()
    os.chmod(place, 0o777)      # somebody else could have put something there
    other = rollback_registry.run_directory()
    assert other != place and other.startswith(str(tmp_path))


def test_phases_are_kept_in_their_order() -> None:
    state = RunState()
    for phase in ("comparing", "comparing", "copying", "comparing"):
        state.see(Progress(phase))
    assert state.phases == ["comparing", "copying", "comparing"]


def test_a_log_without_room_never_stops_the_work(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    out = rollback_run.Writer(writer)
    for number in range(3000):
        out.warning(f"warning {number} " + "x" * 60)        # a pipe holds 64 KiB: then there is no room
    out.progress(Progress("verifying", 1))
    out.line(result={"applied": 3})
    said = b""
    while not said.endswith(b"}}\n"):
        said += os.read(reader, 65536)
        out.flush()
    lines = [json.loads(line) for line in said.splitlines()]
    assert [line["warning"].split()[1] for line in lines[:-1]] == [str(n) for n in range(3000)]
    assert lines[-1] == {"result": {"applied": 3}}, "progress is left out while there is no room, nothing else"
