"""The tests' own tools must be right first: the record sees every change, and histories are what they
claim."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
from collections.abc import Callable

import pytest

from tests.histories import POINTS, START, Op, apply, seeded
from tests.operations import BY_NAME
from tests.oracle import Record, differences, record
from tests.world import World

RSYNC = ["rsync", "-aHAXS", "--numeric-ids", "--modify-window=-1"]


def build(place: str) -> World:
    """Return a world with something of every kind in it."""
    root = os.path.join(place, "live")
    os.mkdir(root)
    world = World(root, privileged=True)
    apply(world, START)
    return world


@pytest.mark.root
def test_start_holds_something_of_every_kind(place: str) -> None:
    facts = record(build(place).root)
    assert {f.type for f in facts.values()} == {"file", "dir", "link", "fifo", "socket", "block", "char"}
    names = {name for f in facts.values() for name, _ in f.xattrs}
    assert {
        "security.capability",
        "system.posix_acl_access",
        "system.posix_acl_default",
        "trusted.overlay.opaque",
        "user.x",
    } <= names
    assert any(f.group for f in facts.values())
    assert any(f.type == "char" and f.rdev == 0 for f in facts.values())
    assert any(f.allocated < f.size // 2 for f in facts.values())


MUTATIONS: dict[str, Callable[[bytes], object]] = {
    "content": lambda p: _keep_times(p, lambda: _overwrite(p, b"X")),
    "mode": lambda p: os.chmod(p, 0o604),
    "uid": lambda p: os.chown(p, 77, -1),
    "gid": lambda p: os.chown(p, -1, 77),
    "mtime": lambda p: os.utime(p, ns=(0, os.lstat(p).st_mtime_ns + 1)),
    "xattr": lambda p: os.setxattr(p, "user.z", b"1"),
    "capability": lambda p: os.setxattr(
        p, "security.capability", struct.pack("<IIIII", 0x02000000, 1, 0, 0, 0)
    ),
    "link": lambda p: os.link(p, p + b".2"),
    "type": lambda p: BY_NAME["retype"](World(os.path.dirname(p), privileged=True), 0, 1, 0),
    "gone": os.unlink,
    "holes": lambda p: _keep_times(p, lambda: _fill(p)),
}


def _keep_times(path: bytes, change: Callable[[], object]) -> None:
    info = os.lstat(path)
    change()
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def _overwrite(path: bytes, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.write(data)


def _fill(path: bytes) -> None:
    _overwrite(path, b"\0" * os.lstat(path).st_size)


@pytest.mark.root
@pytest.mark.parametrize("name", MUTATIONS)
def test_every_change_of_a_file_is_seen(place: str, name: str) -> None:
    path = os.fsencode(place) + b"/d/file"
    os.mkdir(os.path.dirname(path))
    with open(path, "wb") as file:
        file.write(b"some text")
        file.truncate(1 << 20)
    parent = os.lstat(os.path.dirname(path))
    before = record(place)
    MUTATIONS[name](path)
    os.utime(os.path.dirname(path), ns=(parent.st_atime_ns, parent.st_mtime_ns))
    assert differences(before, record(place))


@pytest.mark.root
def test_times_of_directories_links_and_the_root_are_seen(place: str) -> None:
    world = build(place)
    before = record(world.root)
    for path in (
        world.root,
        world.pick(frozenset({"dir"}), 0),
        world.pick(frozenset({"link"}), 0),
        world.pick(frozenset({"other"}), 0),
    ):
        assert path is not None
        info = os.lstat(path)
        os.utime(path, ns=(0, info.st_mtime_ns + 1), follow_symlinks=False)
        assert len(differences(before, record(world.root))) == 1
        os.utime(path, ns=(0, info.st_mtime_ns), follow_symlinks=False)
    assert differences(before, record(world.root)) == []


@pytest.mark.root
@pytest.mark.parametrize("seed", range(3))
def test_a_copy_by_rsync_equals_the_record(place: str, seed: int) -> None:
    """What rsync itself cannot carry must not be in the histories, or the engine would be blamed for it."""
    world = build(place)
    for number, ops in enumerate(seeded(seed, privileged=True).points):
        apply(world, ops)
        copy = os.path.join(place, f"copy{number}")
        subprocess.run([*RSYNC, os.fsdecode(world.root) + "/", copy + "/"], check=True)
        assert differences(record(world.root), record(copy)) == []


@pytest.mark.root
def test_no_content_changes_behind_the_same_size_and_time(place: str) -> None:
    """Equal size and time with other content is beyond rsync's quick check; histories must not contain it."""
    world = build(place)
    seen: Record = record(world.root)
    for seed in range(5):
        for ops in seeded(seed, privileged=True).points:
            apply(world, ops)
            now = record(world.root)
            for path, fact in now.items():
                old = seen.get(path)
                if old and old.type == fact.type == "file" and old.sha256 != fact.sha256:
                    assert (old.size, old.mtime_ns) != (fact.size, fact.mtime_ns), path
            seen = now


@pytest.mark.root
def test_every_operation_does_something(place: str) -> None:
    world = build(place)
    idle: set[str] = set()
    for name in BY_NAME:
        before = record(world.root)
        rng = random.Random(name)
        for _ in range(12):
            apply(world, [Op(name, rng.randrange(999), rng.randrange(999), rng.randrange(999))])
        if not differences(before, record(world.root)):
            idle.add(name)
    assert not idle


def test_histories_are_repeatable(tmp_path: os.PathLike[str]) -> None:
    assert repr(seeded(7, privileged=False)) == repr(seeded(7, privileged=False))
    assert len(seeded(7, privileged=False).points) == POINTS
    records = []
    for name in ("one", "two"):
        root = os.path.join(tmp_path, name)
        os.mkdir(root)
        world = World(root, privileged=False)
        for ops in seeded(7, privileged=False).points:
            apply(world, ops)
        records.append(record(root))
        shutil.rmtree(root, ignore_errors=True)
    kernel_times = {p for p, f in records[0].items() if f.type == "dir"}
    assert [
        d
        for d in differences(*records, ignore={"allocated"})
        if not any(d.startswith(f"{p!r}: mtime") for p in kernel_times)
    ] == []
