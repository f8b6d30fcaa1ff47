"""A store, its source and the record of every point: what the tests of the engine work with."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import cache
from pathlib import Path

from engine.config import Boot, Config, Retention
from engine.events import Job
from engine.points import RestorePoint
from engine.results import SnapshotRequest
from engine.service import Engine
from tests.engine.forked import CHECKOUT as CHECKOUT
from tests.engine.forked import Forker
from tests.histories import History, apply
from tests.oracle import Record, must_equal, record
from tests.world import World

# Retention that lets every rule act at once, for tests of prune: a real store protects points of the last
# day.
EAGER = Retention(min_keep=2, min_age=0, max_store_ratio=None, max_age=1)
CALM = Retention(max_store_ratio=None)


class Bench:
    """A live tree and a store beside it; `records` holds what each point must bring back, by its id."""

    def __init__(
        self, place: str, *, privileged: bool = True, retention: Retention = CALM, disks: tuple[str, ...] = ()
    ) -> None:
        self.place = place
        self.live = os.path.join(place, "live")
        self.store = os.path.join(place, "store")
        os.makedirs(self.live, exist_ok=True)
        self.world = World(self.live, privileged=privileged)
        self.retention = retention
        self.boot = Boot(disks) if disks else Boot()
        self.config = os.path.join(place, "config.yaml")
        write_config(self.config, disks=disks)
        self.records: dict[str, Record] = {}
        self.order: list[str] = []
        self._out = 0

    def engine(self, store: str | None = None) -> Engine:
        """Return a new engine, which knows nothing from before but what lies in the store."""
        where, rules = store or self.store, self.retention
        return Engine(Config(store=where, root=self.live, excludes=(), retention=rules, boot=self.boot))

    def take(self, comment: str = "", when: datetime | None = None) -> RestorePoint:
        """Take a point of the live tree as it is (as if at another time), and remember what must come back."""
        facts = record(self.live)
        job = Job()
        point = self.engine().snapshot(SnapshotRequest(comment=comment, when=when), job).point
        assert job.warnings == [], job.warnings
        must_equal(facts, record(self.live), "taking a point changed the source")
        self.remember(point.id, facts)
        return point

    def remember(self, point: str, facts: Record) -> None:
        """Note what a point must bring back."""
        self.records[point] = facts
        self.order.append(point)

    def forget(self, point: str) -> None:
        """Note that a point is gone on purpose."""
        del self.records[point]
        self.order.remove(point)

    def play(self, history: History) -> None:
        """Let a whole history happen, taking a point after each of its steps."""
        apply(self.world, history.start)
        for ops in history.points:
            apply(self.world, ops)
            self.take()

    def delete(self, *ids: str) -> None:
        """Delete points by id."""
        engine = self.engine()
        result = engine.delete([engine.resolve(i) for i in ids], Job())
        assert result.failed == () and set(result.removed) == set(ids)
        for point in ids:
            self.forget(point)

    def restored(self, point: str, store: str | None = None) -> Record:
        """Restore a point into a new empty directory and return what came back."""
        self._out += 1
        dest = os.path.join(self.place, f"out{self._out}")
        engine = self.engine(store)
        try:
            engine.restore(engine.resolve(point), dest, [], Job())
            return record(dest)
        finally:
            discard(dest)

    def check(self, ids: Iterable[str] | None = None) -> None:
        """Assert that the list is as it must be and that these points (default: all) restore exactly."""
        points = self.engine().points()
        assert [p.id for p in points] == list(reversed(self.order))
        assert [p.state for p in points] == ["ok"] * len(points), [p.problems for p in points]
        for point in self.order if ids is None else ids:
            which = f"point {self.order.index(point) + 1} of {len(self.order)} came back different"
            must_equal(self.records[point], self.restored(point), which)

    def check_live(self, point: str) -> None:
        """Assert that the live tree is what it was when the point was taken."""
        which = f"the live tree is not point {self.order.index(point) + 1} of {len(self.order)}"
        must_equal(self.records[point], record(self.live), which)

    def command(self, *words: str, config: str | None = None) -> list[str]:
        """Return the argv of a Rollpoint command on this store and tree."""
        places = ["--config", config or self.config, "--store", self.store, "--root", self.live]
        return [sys.executable, "-m", "tui.cli", *places, *words]

    def run(
        self, *words: str, env: dict[str, str] | None = None, config: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a Rollpoint command to its end, with nobody at the terminal."""
        argv, full = self.command(*words, config=config), child_env(env)
        forker = _forker(os.getpid())
        if forker.fits(full):
            return forker.run(argv[2:], full, timeout=120)
        return subprocess.run(
            argv,
            cwd=CHECKOUT,
            env=full,
            capture_output=True,
            text=True,
            errors="backslashreplace",
            stdin=subprocess.DEVNULL,
            timeout=120,
        )

    def start(
        self, *words: str, env: dict[str, str] | None = None, config: str | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a Rollpoint command in a session of its own; what it says is dropped."""
        return subprocess.Popen(
            self.command(*words, config=config),
            cwd=CHECKOUT,
            env=child_env(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )


def write_config(
    path: str, retention: str = "max_store_ratio: null", disks: tuple[str, ...] = (), more: str = ""
) -> None:
    """Write a configuration without any exclusion; `disks` are image files whose boot pieces are taken too."""
    boot = f"boot: {{disks: {json.dumps(disks)}{more}}}\n" if disks else ""
    Path(path).write_text(f"excludes: []\nretention: {{{retention}}}\n{boot}", encoding="utf-8")
    os.chmod(path, 0o644)


@cache
def _forker(_pid: int) -> Forker:       # a child of a test may be another user, and needs a server that is that one too
    return Forker()


def child_env(more: dict[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a Rollpoint command under test."""
    env = {k: v for k, v in os.environ.items() if k != "ROLLPOINT_KILL_AT"}
    env["PYTHONPATH"] = CHECKOUT
    return env | (more or {})


def discard(tree: str) -> None:
    """Remove a tree, also one that its own modes protect from its owner."""
    if not os.path.lexists(tree):
        return
    if os.geteuid() != 0:
        for base, dirs, _files in os.walk(os.fsencode(tree)):
            os.chmod(base, 0o700)
            for name in dirs:
                full = os.path.join(base, name)
                if stat.S_ISDIR(os.lstat(full).st_mode):
                    os.chmod(full, 0o700)
    shutil.rmtree(os.fsencode(tree))


def copy_tree(source: str, target: str) -> None:
    """Make `target` an exact copy of `source`, whatever it was before."""
    subprocess.run(
        ["rsync", "-aHAXS", "--numeric-ids", "--modify-window=-1", "--delete", source + "/", target + "/"],
        check=True,
        capture_output=True,
    )


def descendants(pid: int) -> list[int]:
    """Return the ids of all living processes below `pid`, sessions of their own included."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdecimal():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(name))
    out: list[int] = []
    todo = [pid]
    while todo:
        found = children.get(todo.pop(), [])
        out += found
        todo += found
    return out


def wait_until(what: str, condition: Callable[[], bool], timeout: float = 30) -> None:
    """Wait until `condition()` is true; fail the test with `what` when it does not become so in time."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"waited {timeout} s in vain for: {what}"
        time.sleep(0.002)
