"""A store whose file system fills up: a clear error that says how much is missing, and nothing is lost."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator

import pytest

from engine.errors import NoRoomError, RefusedError
from engine.events import Job
from engine.results import SnapshotRequest
from tests.conftest import loop_ext4
from tests.engine.harness import Bench
from tests.histories import apply, seeded, some
from tests.oracle import must_equal, record

pytestmark = pytest.mark.root
KIB, MIB = 1 << 10, 1 << 20


@pytest.fixture
def small() -> Iterator[str]:
    """A file system of 40 MiB for the store alone."""
    with loop_ext4(40 * MIB, "-O ^has_journal -b 4096 -I 256") as where:
        yield where


def noise(path: str, size: int, seed: int) -> None:
    """Write a file that cannot be compressed."""
    with open(path, "wb") as file:
        file.write(random.Random(seed).randbytes(size))


class Ballast:
    """Takes room away on a file system, and gives it back."""

    def __init__(self, where: str) -> None:
        self.path = os.path.join(where, "ballast")

    def leave(self, free: int) -> None:
        """Leave about `free` bytes."""
        self.drop()
        size, step = 0, 64 * MIB
        with open(self.path, "wb") as file:
            while step >= 4 * KIB:
                try:
                    os.posix_fallocate(file.fileno(), size, step)
                    size += step
                except OSError:
                    step //= 2
            file.truncate(max(0, size - free))

    def drop(self) -> None:
        """Give all room back."""
        if os.path.exists(self.path):
            os.unlink(self.path)


def fails_for_room(bench: Bench, *, counted: bool = True) -> bool:
    """Take a point; return whether there was no room for it. Any other failure is one of the test."""
    before = record(bench.live)
    try:
        point = bench.engine().snapshot(SnapshotRequest(), Job()).point
    except NoRoomError as error:
        assert not counted or (error.missing is not None and error.missing > 0), "how much is missing?"
        assert error.exit_code == 1 and error.hint
        must_equal(before, record(bench.live), "the source was changed")
        return True
    bench.remember(point.id, before)
    return False


def test_the_first_point_does_not_fit(place: str, small: str) -> None:
    bench = Bench(place)
    bench.store = os.path.join(small, "store")
    for number in range(12):
        noise(os.path.join(bench.live, f"file{number}"), 5 * MIB, number)
    assert fails_for_room(bench)
    done = bench.run("snapshot")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 4
    for number in range(6, 12):
        os.unlink(os.path.join(bench.live, f"file{number}"))
    bench.take()
    bench.check()


@pytest.mark.parametrize(
    "free", [0, 16 * KIB, 64 * KIB, 200 * KIB, 600 * KIB, 1500 * KIB, 3 * MIB, 5 * MIB, 8 * MIB]
)
def test_a_later_point_does_not_fit(place: str, small: str, free: int) -> None:
    """The less room there is, the earlier it fails: before rsync, in it, when packing, in the catalog."""
    bench = Bench(place)
    bench.store = os.path.join(small, "store")
    bench.play(seeded(11, privileged=True, points=3, most=6))
    for number in range(4):
        noise(os.path.join(bench.live, f"big{number}"), 900 * KIB, number)
    bench.take()
    for number in range(4):
        noise(os.path.join(bench.live, f"big{number}"), 950 * KIB, 10 + number)
    apply(bench.world, some(5, privileged=True, count=10))
    ballast = Ballast(small)
    ballast.leave(free)
    failed = fails_for_room(bench)
    assert failed or free > MIB
    # A full store can be listed and restored from: that is when an admin is most likely to need it.
    bench.check()
    ballast.drop()
    bench.check()
    bench.take()
    bench.check()
    assert bench.engine().verify(bench.engine().points(), Job(), data=True).damage == ()


def test_deleting_points_makes_room_on_a_full_disk(place: str, small: str) -> None:
    bench = Bench(place)
    bench.store = os.path.join(small, "store")
    for round_ in range(3):
        for number in range(3):
            noise(os.path.join(bench.live, f"big{number}"), 2 * MIB, round_ * 10 + number)
        bench.take()
    Ballast(small).leave(0)
    before = bench.engine().status().free_bytes
    bench.delete(bench.order[0])
    assert bench.engine().status().free_bytes > before + 4 * MIB
    bench.check()


@pytest.mark.parametrize("free", [0, 64 * KIB, 500 * KIB, 2 * MIB])
def test_deleting_a_middle_or_the_newest_point_on_a_full_disk(place: str, small: str, free: int) -> None:
    """These need room to merge. Without it they may fail, but nothing may get lost."""
    for which in (1, -1):
        bench = Bench(os.path.join(place, str(which)))
        bench.store = os.path.join(small, f"store{which}")
        for round_ in range(3):
            for number in range(3):
                noise(os.path.join(bench.live, f"big{number}"), MIB, round_ * 10 + number)
            bench.take()
        ballast = Ballast(small)
        ballast.leave(free)
        engine = bench.engine()
        point = bench.order[which]
        try:
            if point in engine.delete([engine.resolve(point)], Job()).removed:
                bench.forget(point)
        except NoRoomError as error:
            assert error.hint
        bench.check()
        ballast.drop()
        bench.take()
        bench.check()


@pytest.fixture
def tiny() -> Iterator[str]:
    """A file system of small blocks and few inodes, so that each step of taking a point can be the one that fails."""
    with loop_ext4(10 * MIB, "-O ^has_journal -b 1024 -N 96") as where:
        yield where


def leave_blocks(where: str, free: int) -> None:
    """Fill a file system up to its last blocks."""
    with open(os.path.join(where, "ballast"), "wb", buffering=0) as file:
        while (more := os.statvfs(where).f_bavail - free) > 0:
            try:
                file.write(bytes(KIB * max(1, more // 2)))
            except OSError:
                return
            os.fsync(file.fileno())


def leave_inodes(where: str, free: int) -> None:
    """Fill a file system with empty files up to its last inodes."""
    os.mkdir(os.path.join(where, "many"))
    number = 0
    while os.statvfs(where).f_ffree > free:
        open(os.path.join(where, f"many/{number}"), "w").close()
        number += 1


def drop(where: str) -> None:
    """Give back what either has taken."""
    for name in ("ballast", "many"):
        path = os.path.join(where, name)
        if os.path.isdir(path):
            shutil.rmtree(path)
        elif os.path.exists(path):
            os.unlink(path)


@pytest.mark.parametrize("fill,left", [*((leave_inodes, n) for n in range(17)),
                                       *((leave_blocks, n) for n in (0, 1, 2, 3, 4, 5, 6, 8, 12, 20, 40))],
                         ids=lambda value: getattr(value, "__name__", str(value)))
def test_a_store_that_cannot_be_made_says_why_and_can_be_made_later(
        place: str, tiny: str, fill: Callable[[str, int], None], left: int) -> None:
    """Blocks may run out, or inodes: for the store's directories, its description, its lock, its catalog, the point."""
    bench = Bench(place)
    bench.store = os.path.join(tiny, "store")
    noise(os.path.join(bench.live, "file"), 100, 1)
    fill(tiny, left)
    assert fails_for_room(bench, counted=fill is leave_blocks) or left == 16
    if left < 4:
        assert not os.path.exists(bench.store), "what was begun stayed"
    drop(tiny)
    bench.take()
    for number in range(5):
        noise(os.path.join(bench.live, f"new{number}"), 100, number)
    fill(tiny, left)
    assert fails_for_room(bench, counted=fill is leave_blocks) or left > 15
    bench.check()
    drop(tiny)
    bench.take()
    bench.check()
    assert bench.engine().verify(bench.engine().points(), Job(), data=True).damage == ()


def test_too_few_inodes_are_called_that(place: str, tiny: str) -> None:
    bench = Bench(place)
    bench.store = os.path.join(tiny, "store")
    for number in range(150):
        open(os.path.join(bench.live, f"file{number}"), "w").close()
    done = bench.run("snapshot")
    assert done.returncode == 1 and "inodes" in done.stderr and "Traceback" not in done.stderr
    for number in range(120):
        os.unlink(os.path.join(bench.live, f"file{number}"))
    bench.take()
    bench.check()


def test_what_a_killed_first_run_left_of_a_store_is_no_obstacle(place: str) -> None:
    """Whatever moment it was killed at: only what is not its own keeps it from a directory."""
    bench = Bench(place)
    for names in (["points"], ["points", "tree", "work"], ["points", "tree", "work", "store.yaml.new"]):
        for name in names:
            where = os.path.join(bench.store, name)
            os.makedirs(bench.store, exist_ok=True)
            open(where, "w").close() if name.endswith(".new") else os.mkdir(where)
        bench.take()
        bench.check()
        shutil.rmtree(bench.store)
        bench.forget(bench.order[0])
    os.makedirs(os.path.join(bench.store, "tree/etc"))
    with pytest.raises(RefusedError, match="not empty"):
        bench.engine().snapshot(SnapshotRequest(), Job())
    assert os.listdir(bench.store) == ["tree"]
