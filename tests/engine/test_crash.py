"""kill -9 at every named step and at random moments: no point is lost, and the next command just works."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import partial

import pytest

from tests.conftest import unmount_below
from tests.engine.crashes import CASES, FINE, Case, Prepared, must_be_whole, step_names, traced
from tests.engine.harness import Bench, descendants, discard, wait_until
from tests.histories import apply, seeded
from tests.oracle import Record, must_equal, record

pytestmark = pytest.mark.root
reached: set[str] = set()
KILLS = int(os.environ.get("ROLLPOINT_KILLS", "3"))  # random kills of each command


@pytest.fixture(scope="module")
def prepared(ext4: str) -> Iterator[Prepared]:
    place = tempfile.mkdtemp(dir=ext4)
    try:
        yield Prepared(place)
    finally:
        unmount_below(place)
        discard(place)


@pytest.fixture(scope="module")
def steps(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """For each command the named steps that it takes."""
    scratch = str(tmp_path_factory.mktemp("steps"))
    return {name: traced(prepared, case, scratch) for name, case in CASES.items()}


@pytest.mark.parametrize("step", step_names() or ["none"])
def test_killed_at_step(prepared: Prepared, steps: dict[str, list[str]], step: str) -> None:
    for case in CASES.values():
        if step not in steps[case.name]:
            continue
        for undo in (False, True) if case.rolls is not None else (False,):
            killed(prepared, case, step)
            must_be_whole(prepared, case, undo=undo)


def killed(prepared: Prepared, case: Case, step: str) -> None:
    """Start from the prepared store and kill a command at a step."""
    bench = prepared.reset()
    case.before(prepared)
    done = bench.run(*case.words(prepared), env={"ROLLPOINT_KILL_AT": step}, config=case.config(prepared))
    assert done.returncode != 0, f"{case.name} survived {step}"


def followers(case: Case) -> list[list[str]]:
    """Return the commands that put right what a crash left."""
    if case.rolls is None:
        return [["snapshot"]]
    return [["rollback", "--resume", "--yes"], ["rollback", "--undo", "--yes"]]


def recoveries(
    prepared: Prepared, steps: list[str], case: Case, words: list[str], scratch: str
) -> dict[str, str]:
    """Return for each step that only recovery takes a step at which `case` must be killed to get there."""
    plain = set(traced(prepared, CASES["snapshot"], scratch)) if case.rolls is None else set()
    found: dict[str, str] = {}
    for first in steps:
        again = Case("recovery", lambda p: words, partial(killed, case=case, step=first))
        try:
            taken = traced(prepared, again, scratch)
        except AssertionError:
            if case.rolls is None or prepared.bench.engine().status().rollback:
                raise
            continue  # it was killed before or after all that a rollback changes: nothing to resume
        found.update({second: first for second in taken if second not in plain})
    return found


@pytest.mark.parametrize("name", CASES)
def test_killed_during_recovery(
    prepared: Prepared, steps: dict[str, list[str]], name: str, tmp_path: os.PathLike[str]
) -> None:
    """What a crash left is being put right, and that is killed too: recovery can be repeated."""
    case = CASES[name]
    for words in followers(case):
        for second, first in recoveries(prepared, steps[name], case, words, os.fspath(tmp_path)).items():
            reached.add(second)
            killed(prepared, case, first)
            prepared.bench.run(*words, env={"ROLLPOINT_KILL_AT": second})
            must_be_whole(prepared, case, undo="--undo" in words)


def test_every_named_step_is_reached(
    prepared: Prepared, steps: dict[str, list[str]], tmp_path: os.PathLike[str]
) -> None:
    """A step that no command here takes is a step that no test has killed at."""
    known = reached.union(*steps.values())
    if not reached:  # the test above was not chosen for this run
        for name, case in CASES.items():
            for words in followers(case):
                known.update(recoveries(prepared, steps[name], case, words, os.fspath(tmp_path)))
    assert step_names() and set(step_names()) <= known, set(step_names()) - known


@pytest.fixture(scope="module")
def seconds(prepared: Prepared) -> dict[str, float]:
    """How long each command takes when nothing kills it."""
    out = {}
    for name, case in CASES.items():
        bench = prepared.reset()
        case.before(prepared)
        begin = time.monotonic()
        done = bench.run(*case.words(prepared), config=case.config(prepared))
        assert done.returncode in FINE, done.stderr
        out[name] = time.monotonic() - begin
    return out


@pytest.mark.parametrize("number", range(KILLS))
@pytest.mark.parametrize("name", CASES)
def test_killed_at_a_random_moment(
    prepared: Prepared, seconds: dict[str, float], name: str, number: int
) -> None:
    """Odd numbers kill the command alone, so that its rsync goes on for a while; even ones all of it."""
    case, rng = CASES[name], random.Random(f"{name} {number}")
    bench = prepared.reset()
    case.before(prepared)
    process = bench.start(*case.words(prepared), config=case.config(prepared))
    time.sleep(rng.uniform(0.25, 1.0) * seconds[name])
    family = descendants(process.pid) if number % 2 == 0 else []
    for pid in [process.pid, *family]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()
    must_be_whole(prepared, case, undo=number % 4 > 1)


def _store_facts(store: str) -> tuple[Record, Record]:
    points = record(os.path.join(store, "points"))
    del points[b""]  # a directory that was made in it and is gone again changes its time
    return record(os.path.join(store, "tree")), points


def _many_files(bench: Bench, count: int) -> None:
    folder = os.path.join(bench.live, "many")
    os.makedirs(folder, exist_ok=True)
    for number in range(count):
        with open(os.path.join(folder, f"file{number}"), "wb") as file:
            file.write(b"%d\n" % number * 100)


def _begun(process: subprocess.Popen[bytes], store: str) -> bool:
    return process.poll() is not None or any(
        "many" in names for names in (os.listdir(os.path.join(store, "tree")),)
    )


@pytest.mark.parametrize("delay", [0.0, 0.01, 0.05, 0.1, 0.3])
def test_ctrl_c_leaves_the_store_as_it_was(place: str, delay: float) -> None:
    bench = Bench(place)
    bench.play(seeded(3, privileged=True, points=2, most=6))
    apply(bench.world, seeded(4, privileged=True, points=1).points[0])
    _many_files(bench, 4000)
    before = _store_facts(bench.store)
    process = bench.start("snapshot")
    wait_until("rsync at work", lambda: _begun(process, bench.store))
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    status = process.wait(60)
    assert status in (0, 1, 130, -signal.SIGINT)
    if status == 0:
        assert delay >= 0.1, "Ctrl-C was ignored"
        return
    tree, points = _store_facts(bench.store)
    must_equal(before[0], tree, "the tree was not put back")
    must_equal(before[1], points, "the points were changed")
    assert bench.engine().status().unfinished == ""
    bench.check()
    bench.take()
    bench.check()


@pytest.mark.parametrize("delay", [0.0, 0.1])
def test_a_killed_rsync_fails_the_point_cleanly(place: str, delay: float) -> None:
    bench = Bench(place)
    bench.play(seeded(5, privileged=True, points=2, most=6))
    _many_files(bench, 4000)
    before = _store_facts(bench.store)
    process = bench.start("snapshot")
    wait_until("rsync at work", lambda: _begun(process, bench.store))
    time.sleep(delay)
    for pid in descendants(process.pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    if process.wait(60) != 0:
        tree, points = _store_facts(bench.store)
        must_equal(before[0], tree, "the tree was not put back")
        must_equal(before[1], points, "the points were changed")
        bench.check()
    bench.run("snapshot")
    bench.order = [p.id for p in reversed(bench.engine().points())]
    for point in bench.order:
        bench.records.setdefault(point, record(bench.live))
    bench.check()
