"""The demo: it is the same every time, it is worth rolling back, and it never touches what is not its own."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine import demo
from engine.config import Config
from engine.demo_tree import HOSTILE_NAMES, KERNEL, NEW_KERNEL, OLD_KERNEL, Machine, install
from engine.entries import Status
from engine.errors import CancelledError, RefusedError
from engine.events import Job
from engine.service import Engine

NOW = datetime(2024, 5, 6, 12, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Config]:
    where = tmp_path_factory.mktemp("demo") / "new"
    return where, demo.build(str(where), Job(), now=NOW)


def _record(root: Path) -> dict[bytes, tuple[object, ...]]:
    """Everything about a tree but the inode numbers and what the file system adds."""
    seen: dict[bytes, tuple[object, ...]] = {}
    for folder, names, files in os.walk(os.fsencode(root)):
        for name in [*names, *files]:
            path = os.path.join(folder, name)
            info = os.lstat(path)
            content: object = None
            if os.path.islink(path):
                content = os.readlink(path)
            elif os.path.isfile(path):
                content = Path(os.fsdecode(path)).read_bytes()
            seen[path[len(os.fsencode(root)) :]] = (info.st_mode, info.st_mtime_ns, content)
    return seen


def test_the_same_moment_makes_the_same_machine(tmp_path: Path) -> None:
    for name in ("a", "b"):
        install(Machine(str(tmp_path / name), NOW))
    record = _record(tmp_path / "a")
    assert record == _record(tmp_path / "b")
    assert len(record) > 400
    newest = max(times for _, times, _ in record.values() if isinstance(times, int))
    assert newest < (NOW + timedelta(minutes=2)).timestamp() * 1e9, "something carries today's time"


def test_history(built: tuple[Path, Config]) -> None:
    points = Engine(built[1]).points()
    assert [p.number for p in points] == list(range(10, 0, -1))
    assert all(p.state == "ok" for p in points)
    ages = [NOW - p.created for p in points]
    assert ages == sorted(ages) and ages[0] == timedelta(hours=5) and ages[-1] == timedelta(days=9, hours=4)
    assert [p.comment for p in points if p.pinned] == ["before apt upgrade", "machine set up"]
    assert points[4].tags == ("apt", "after")


def test_the_live_machine_is_worth_rolling_back(built: tuple[Path, Config]) -> None:
    engine = Engine(built[1])
    changes = {c.path: c.status for c in engine.diff(engine.resolve("latest"), None).changes}
    assert changes[b"etc/ssh/sshd_config"] is Status.CHANGED
    assert changes[b"etc/fstab"] is Status.CHANGED
    assert changes[b"etc/shadow"] is Status.ATTRS
    assert changes[f"boot/initrd.img-{KERNEL}".encode()] is Status.DELETED
    assert changes[b"etc/ssh/sshd_config.orig"] is Status.CREATED
    assert not any(path.startswith(b"var/lib/mysql") for path in changes)


def test_upgrade_and_lost_service(built: tuple[Path, Config]) -> None:
    engine = Engine(built[1])
    before, after = engine.resolve("5"), engine.resolve("6")
    changes = {c.path: c.status for c in engine.diff(before, after).changes}
    assert changes[f"boot/vmlinuz-{NEW_KERNEL}".encode()] is Status.CREATED
    assert changes[f"boot/vmlinuz-{OLD_KERNEL}".encode()] is Status.DELETED
    assert changes[b"usr/bin/openssl"] is Status.CHANGED
    assert list(engine.find("*vmlinuz*"))
    lost = {
        c.path
        for c in engine.diff(engine.resolve("7"), engine.resolve("8")).changes
        if c.status is Status.DELETED
    }
    assert b"usr/lib/systemd/system/shop-orders.service" in lost


def test_hostile_names_are_in_and_the_database_is_not(built: tuple[Path, Config]) -> None:
    engine = Engine(built[1])
    first = engine.resolve("1")
    names = {e.name for e in engine.listdir(first, b"srv/www/shop/uploads")}
    assert {name.partition(b"/")[0] for name in HOSTILE_NAMES} <= names
    assert not list(engine.find("*ibdata1*"))
    assert built[1].databases == ("/var/lib/mysql",)
    assert (built[0] / "machine/var/lib/mysql/ibdata1").exists()


def test_a_whole_demo_is_left_alone(built: tuple[Path, Config]) -> None:
    where, config = built
    mine = where / "machine/etc/motd"
    mine.write_text("mine")
    assert demo.build(str(where), Job()) == config
    assert mine.read_text() == "mine"
    mine.unlink()


def test_an_interrupted_demo_is_made_again(tmp_path: Path) -> None:
    where = tmp_path / "demo"
    job = Job()
    job.on_progress = lambda progress: job.cancel() if progress.done == 1 else None
    with pytest.raises(CancelledError):
        demo.build(str(where), job, now=NOW)
    (where / "machine/half-made").write_text("")
    config = demo.build(str(where), Job(), now=NOW)
    assert len(Engine(config).points()) == 10
    assert not (where / "machine/half-made").exists()


@pytest.mark.parametrize("kind", ["foreign files", "a file", "marker is a link"])
def test_what_is_no_demo_is_refused(tmp_path: Path, kind: str) -> None:
    where = tmp_path / "here"
    if kind == "a file":
        where.write_text("mine")
    else:
        (where / "machine").mkdir(parents=True)
        (where / "machine/precious").write_text("mine")
        if kind == "marker is a link":
            (where / "rollpoint-demo").symlink_to("/etc/hostname")
    with pytest.raises(RefusedError) as caught:
        demo.build(str(where), Job())
    assert caught.value.hint
    kept = where if kind == "a file" else where / "machine/precious"
    assert kept.read_text() == "mine"
