"""What was confirmed is what the other process does: it plans again, and refuses what nobody was shown."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from engine.errors import RefusedError
from engine.events import Job
from tests.engine.harness import Bench
from tests.oracle import must_equal, record
from tui import rollback_registry
from tui.rollback_job import DetachedRunner, RunState


def _end(runner: DetachedRunner) -> RunState:
    end = time.monotonic() + 120
    while (state := runner.poll()).running or runner._registry.held():      # its process ends a little later
        assert time.monotonic() < end
        time.sleep(0.05)
    return state


def _write(bench: Bench, name: str, text: str) -> None:
    path = os.path.join(bench.live, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as file:
        file.write(text)


def test_what_came_since_is_not_lost_and_logs_do_not_stop_it(
        place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollback_registry, "run_directory", lambda: str(tmp_path))
    bench = Bench(place)
    _write(bench, "etc/hosts", "one\n")
    _write(bench, "var/log/messages", "began\n")
    point = bench.take("first")
    _write(bench, "etc/hosts", "two\n")
    engine = bench.engine()
    plan = engine.plan(point, ("system",), Job())

    _write(bench, "etc/fstab", "new, and nobody was shown that it would go\n")
    before = record(bench.live)
    runner = DetachedRunner(engine.config)
    runner.start("rollback", plan)
    error = _end(runner).error
    assert error is not None and "not as it was when you confirmed" in str(error) and "/etc/fstab" in str(error)
    assert getattr(error, "exit_code", 0) == RefusedError.exit_code
    must_equal(before, record(bench.live), "refused")
    assert len(engine.points()) == 1, "not even a safety point"

    os.unlink(os.path.join(bench.live, "etc/fstab"))
    _write(bench, "etc/hosts", "three: other words where words were to go anyway\n")
    _write(bench, "var/log/messages", "began\nwent on\n")
    again = DetachedRunner(engine.config)
    again.start("rollback", plan)
    state = _end(again)
    assert state.result is not None and state.result.verified, state.error
    bench.check_live(point.id)
