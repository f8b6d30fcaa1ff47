"""What the crash tests share: a prepared store, the commands that are killed, what must be true after it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.events import Job
from tests.engine.boot_images import MIB, gpt, noise
from tests.engine.harness import CHECKOUT, Bench, child_env, copy_tree, discard, write_config
from tests.histories import apply, seeded, some
from tests.oracle import Record, differences, must_equal, record

POINTS = 5
FINE = (0, 3)  # 3: done, and it says what it had to put right first
_STEP = re.compile(r"""\bstep\(\s*(f?)["']([^"']+)["']""")


def step_names(*, of_vms: bool = False) -> list[str]:
    """Return the names of all steps in the engine's source: new ones are tested without being listed. Those about
    virtual machines (``vm…``) have tests of their own."""
    names: set[str] = set()
    for path in sorted(Path(CHECKOUT, "engine").rglob("*.py")):
        for formatted, name in _STEP.findall(path.read_text(encoding="utf-8")):
            assert not formatted, f"{path}: the name of a step must be a plain string, or no test can find it"
            names.add(name)
    return sorted(name for name in names if name.startswith("vm") == of_vms)


class Prepared:
    """A store of a few points, a live tree that went on, and an untouched copy of both for each case."""

    def __init__(self, place: str) -> None:
        self.disk = Path(place, "disk")     # whose boot sectors belong to the points
        gpt(self.disk)
        self.bench = Bench(os.path.join(place, "w"), disks=(str(self.disk),))
        history = seeded(1, privileged=True, points=POINTS, most=6)
        self.bench.play(history)
        apply(self.bench.world, some(2, privileged=True, count=8))
        self.now: Record = record(self.bench.live)
        self.disk_then = self.disk.read_bytes()
        noise(self.disk, [(0, 440), (34 * 512, MIB), (MIB, 2 * MIB)], seed=2)
        self.disk_now = self.disk.read_bytes()
        self.records = dict(self.bench.records)
        self.order = list(self.bench.order)
        self.pristine = os.path.join(place, "pristine")
        os.mkdir(self.pristine)
        for name in ("live", "store"):
            copy_tree(os.path.join(self.bench.place, name), os.path.join(self.pristine, name))
        self.config = os.path.join(place, "eager.yaml")
        rules = "min_keep: 2, min_age: 0, max_age: 1, max_store_ratio: null"
        write_config(self.config, rules, (str(self.disk),))

    def disk_is(self, wanted: bytes) -> bool:
        """Whether every byte of the disk is as in `wanted`."""
        return self.disk.read_bytes() == wanted

    def reset(self) -> Bench:
        """Bring the live tree, the disk and the store back to how they were prepared."""
        self.disk.write_bytes(self.disk_now)
        for name in ("live", "store"):
            where = os.path.join(self.bench.place, name)
            discard(where)
            copy_tree(os.path.join(self.pristine, name), where)
        self.bench.records = dict(self.records)
        self.bench.order = list(self.order)
        return self.bench


@dataclass(frozen=True)
class Case:
    """A command that is killed.

    `before` prepares it; `may_remove` are the points, by their place in the order, that it may remove;
    `rolls` is the place of the point that it rolls the live tree back to.
    """

    name: str
    words: Callable[[Prepared], list[str]]
    before: Callable[[Prepared], None] = lambda prepared: None
    may_remove: tuple[int, ...] = ()
    rolls: int | None = None
    eager: bool = False

    def config(self, prepared: Prepared) -> str | None:
        """Return the configuration to run it with."""
        return prepared.config if self.eager else None


def _without_store(prepared: Prepared) -> None:
    discard(prepared.bench.store)
    prepared.bench.records.clear()
    prepared.bench.order.clear()


def _without_catalog(prepared: Prepared) -> None:
    for name in os.listdir(prepared.bench.store):
        if name.startswith("catalog.sqlite"):
            os.unlink(os.path.join(prepared.bench.store, name))


def _delete(place: int) -> Callable[[Prepared], list[str]]:
    return lambda prepared: ["delete", prepared.order[place], "--yes"]


CASES = {
    case.name: case
    for case in (
        Case("first snapshot", lambda p: ["snapshot"], _without_store),
        Case("snapshot", lambda p: ["snapshot", "-m", "killed"]),
        Case("delete oldest", _delete(0), may_remove=(0,)),
        Case("delete middle", _delete(2), may_remove=(2,)),
        Case("delete newest", _delete(-1), may_remove=(-1,)),
        Case("prune", lambda p: ["prune", "--yes"], may_remove=(0, 1, 2), eager=True),
        Case("rollback", lambda p: ["rollback", p.order[1], "--yes"], rolls=1),
        Case("repair", lambda p: ["repair"], _without_catalog),
        Case("comment", lambda p: ["comment", p.order[2], "another text"]),
        Case("pin newest", lambda p: ["pin", p.order[-1]]),
    )
}


def traced(prepared: Prepared, case: Case, scratch: str) -> list[str]:
    """Return the steps that a case takes when nothing kills it; fails when the command itself fails."""
    bench = prepared.reset()
    case.before(prepared)
    notes = os.path.join(scratch, "steps")
    Path(notes).unlink(missing_ok=True)
    words = bench.command(*case.words(prepared), config=case.config(prepared))[3:]
    argv = [sys.executable, "-m", "tests.engine.tracer", notes, *words]
    done = subprocess.run(
        argv,
        cwd=CHECKOUT,
        env=child_env(),
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode in FINE, f"{case.name}: {done.stderr}"
    return (
        sorted(set(Path(notes).read_text(encoding="utf-8").split("\n")) - {""})
        if os.path.exists(notes)
        else []
    )


def must_be_whole(prepared: Prepared, case: Case, *, undo: bool = False) -> None:
    """Assert what must be true after a command was killed: every finished point is exact, the next command
    works.

    An interrupted rollback is resumed, or with `undo` taken back.
    """
    bench = prepared.bench
    if case.rolls is not None:
        finish_rollback(prepared, prepared.records[prepared.order[case.rolls]], undo=undo)
    if os.path.exists(os.path.join(bench.store, "store.yaml")):
        settle(prepared, case)
        bench.check(bench.order[:1] + bench.order[-2:])
    if case.rolls is None:
        must_equal(prepared.now, record(bench.live), "the source was changed")
        assert prepared.disk_is(prepared.disk_now), "the disk was changed"
    done = bench.run("snapshot", "--json")
    assert done.returncode in FINE, f"the next snapshot fails: {done.stderr}"
    # Recovery may have finished what was begun instead of undoing it; only whole points may be left either
    # way.
    settle(prepared, case)
    bench.check()
    report = bench.engine().verify(bench.engine().points(), Job(), data=True)
    assert report.damage == ()
    must_equal(bench.records[bench.order[-1]], record(bench.live), "the next point is not the live tree")


def settle(prepared: Prepared, case: Case) -> None:
    """Take over what the list says, as far as the killed command may have changed it."""
    bench = prepared.bench
    ids = [p.id for p in reversed(bench.engine().points())]
    removable = {prepared.order[i] for i in case.may_remove}
    missing = [i for i in bench.order if i not in ids]
    assert set(missing) <= removable, f"points are lost: {missing}"
    for point in missing:
        bench.forget(point)
    for point in ids:
        if point not in bench.records:
            bench.records[point] = prepared.now if case.rolls is None else record(bench.live)
    bench.order = ids


def finish_rollback(prepared: Prepared, target: Record, *, undo: bool) -> None:
    """An interrupted rollback is resumed or undone; one that was not begun changed nothing."""
    bench = prepared.bench
    if not bench.engine().status().rollback:
        live = record(bench.live)
        untouched, finished = differences(prepared.now, live), differences(target, live)
        assert not untouched or not finished, f"half done, and nobody says so: {untouched}"
        assert prepared.disk_is(prepared.disk_then if untouched else prepared.disk_now), "the disk is half done"
    else:
        done = bench.run("rollback", "--undo" if undo else "--resume", "--yes")
        assert done.returncode in FINE, done.stderr
        must_equal(prepared.now if undo else target, record(bench.live), "undone" if undo else "resumed")
        assert prepared.disk_is(prepared.disk_now if undo else prepared.disk_then), "the disk is not"
    assert not bench.engine().status().rollback
    for point in reversed(bench.engine().points()):
        if point.id not in bench.records:
            # The safety point holds what was there before the rollback, however that ended.
            bench.remember(point.id, prepared.now)
