"""Two Rollpoints on one store: one writer, named to the second; readers see whole points at any moment."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from engine.errors import BusyError
from engine.events import Job
from engine.results import SnapshotRequest
from tests.engine.harness import Bench, descendants, wait_until
from tests.histories import apply, seeded, some
from tests.oracle import Record, must_equal, record

pytestmark = pytest.mark.root
FILES = 3000


@pytest.fixture
def bench(place: str) -> Bench:
    """A store of four points, and a live tree in which very much changed since."""
    made = Bench(place)
    made.play(seeded(21, privileged=True, points=2, most=6))
    folder = os.path.join(made.live, "many")
    os.mkdir(folder)
    for last, text in ((FILES, b"first %d\n"), (50, b"second %d \n")):
        for number in range(last):
            _write(os.path.join(folder, f"file{number}"), text % number)
        made.take()
    for number in range(0, FILES, 2):
        _write(os.path.join(folder, f"file{number}"), b"changed since, %d\n" % number)
    apply(made.world, some(22, privileged=True, count=8))
    return made


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)


def _stop(process: subprocess.Popen[bytes]) -> list[int]:
    stopped: list[int] = []
    for pid in [process.pid, *descendants(process.pid)]:
        try:
            os.kill(pid, signal.SIGSTOP)
            stopped.append(pid)
        except ProcessLookupError:
            continue
    return stopped


def _under_way(bench: Bench) -> bool:
    return bench.engine().status().holder != ""


@contextmanager
def frozen(bench: Bench, delay: float, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command, let it hold the lock for `delay` seconds, then stop all of it for the block."""
    process = bench.start(*words)
    try:
        wait_until("the lock is held", lambda: _under_way(bench) or process.poll() is not None)
        time.sleep(delay)
        stopped = _stop(process)
        try:
            yield process
        finally:
            for pid in stopped:
                try:
                    os.kill(pid, signal.SIGCONT)
                except ProcessLookupError:
                    continue
        assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def test_a_second_writer_is_told_who_holds_the_store(bench: Bench) -> None:
    with frozen(bench, 0.02, "snapshot") as process:
        engine = bench.engine()
        points = engine.points()
        writers: list[Callable[[], object]] = [
            lambda: engine.snapshot(SnapshotRequest(), Job()),
            lambda: engine.delete([points[-1]], Job()),
            lambda: engine.prune(Job()),
            lambda: engine.annotate(points[0], comment="mine"),
            lambda: engine.repair(Job()),
        ]
        for write in writers:
            with pytest.raises(BusyError) as caught:
                write()
            assert str(process.pid) in caught.value.message
        for words in (
            ["snapshot"],
            ["delete", points[-1].id, "--yes"],
            ["pin", points[0].id],
            ["repair"],
            ["rollback", points[-1].id, "--yes"],
        ):
            done = bench.run(*words)
            assert done.returncode == 4, f"{words}: {done.stderr}"
            assert str(process.pid) in done.stderr and "Traceback" not in done.stderr
        assert str(process.pid) in bench.engine().status().holder
    assert bench.engine().status().holder == ""


@pytest.mark.parametrize("number", range(8))
def test_readers_are_right_while_a_point_is_taken(bench: Bench, number: int) -> None:
    """A snapshot is stopped at a random moment, as on a slow machine: every reader sees whole points."""
    delay = random.Random(number).uniform(0, 0.5)
    with frozen(bench, delay, "snapshot"):
        for name in bench.order:
            _read(bench, name, random.Random(number))
        _compare_points(bench)
        assert bench.run("list", "--json").returncode == 0
    listed = [p.id for p in reversed(bench.engine().points())]
    assert listed[: len(bench.order)] == bench.order and len(listed) == len(bench.order) + 1
    bench.remember(listed[-1], record(bench.live))
    bench.check()


def _read(bench: Bench, name: str, rng: random.Random) -> None:
    """Every way of looking into one point must agree with its record."""
    engine, facts = bench.engine(), bench.records[name]
    point = engine.resolve(name)
    assert point.state == "ok"
    for folder in (b"", b"many"):
        if folder in facts:
            below = {p for p in facts if p and os.path.dirname(p) == folder}
            assert {e.path for e in engine.listdir(point, folder)} == below
    files = sorted(p for p, f in facts.items() if f.type == "file")
    for path in rng.sample(files, 8):
        with engine.read(point, path) as file:
            assert hashlib.sha256(file.read()).hexdigest() == facts[path].sha256
    must_equal(facts, bench.restored(name), name)


def _compare_points(bench: Bench) -> None:
    engine, (old, new) = bench.engine(), (bench.order[0], bench.order[-1])
    diff = engine.diff(engine.resolve(old), engine.resolve(new))
    one, other = bench.records[old], bench.records[new]
    wrong = _changed(one, other) ^ {c.path for c in diff.changes}
    # Whether a path that only got or lost another name has changed is a matter of taste.
    assert not [p for p in wrong if p not in one or p not in other or one[p].group == other[p].group]


def _changed(old: Record, new: Record) -> set[bytes]:
    def key(facts: Record, path: bytes) -> object:
        fact = facts.get(path)
        return fact and dataclasses.replace(fact, allocated=0, group=frozenset())

    return {p for p in old.keys() | new.keys() if key(old, p) != key(new, p)}


def test_readers_and_a_writer_for_a_while(bench: Bench) -> None:
    """Readers restore again and again while a point comes; none ever differs from what was recorded."""
    process = bench.start("snapshot")
    rounds = 0
    while process.poll() is None or rounds < 2:
        for name in bench.order:
            must_equal(bench.records[name], bench.restored(name), name)
        rounds += 1
        assert rounds < 100
    assert process.wait() == 0
