"""A small machine on one btrfs: the root and /home are subvolumes that fstab mounts by their names, with a third one
nested in the root; and two states of it that differ in all ways."""

from __future__ import annotations

import os
from pathlib import Path

from engine.config import Config, Retention
from engine.configsections import Btrfs
from engine.events import Job
from engine.points import RestorePoint
from engine.results import SnapshotRequest
from engine.service import Engine
from engine.volumes.btrfs import BtrfsBackend
from tests.engine.loops import MACHINE_ID, Loops, run
from tests.oracle import must_equal, record


class BtrfsMachine:
    """Mounted at `root`; `top` shows the whole file system; a store may be made beside it."""

    def __init__(self, made: Loops, place: Path) -> None:
        self.loops, self.place = made, place
        self.device = made.make("btrfs", mib=256)
        self.top = made.mount(self.device, place / "top", "-o", "subvolid=5,commit=1")
        for name in ("@", "@home", "@/nested"):
            run("btrfs", "subvolume", "create", str(self.top / name))
        for name in ("home", "etc"):
            (self.top / "@" / name).mkdir()
        (self.top / "@/etc/fstab").write_text("x / btrfs rw,subvol=/@ 0 0\nx /home btrfs subvol=@home 0 0\n")
        (self.top / "@/etc/machine-id").write_text(MACHINE_ID)
        (self.top / "@/nested/kept").write_text("lies in the subvolume nested in the root")
        self.root = place / "root"
        self.mount()
        self.config = Config(
            store=str(place / "store"), root=str(self.root), excludes=(), retention=Retention(max_store_ratio=None),
            btrfs=Btrfs(subvolumes=(str(self.root), str(self.root / "home"))))

    def mount(self) -> None:
        """Mount root and home anew, as the next boot would."""
        self.loops.umount(self.root)
        self.loops.mount(self.device, self.root, "-o", "subvol=@")
        self.loops.mount(self.device, self.root / "home", "-o", "subvol=@home")

    def backend(self) -> BtrfsBackend:
        return BtrfsBackend(self.config)

    def engine(self) -> Engine:
        return Engine(self.config)

    def take(self, comment: str = "", *, pin: bool = False) -> RestorePoint:
        """Take a point of both subvolumes; nothing may be warned of."""
        job = Job()
        point = self.backend().take(SnapshotRequest(comment, pin=pin), job)
        assert job.warnings == []
        return point

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def at_the_top(self) -> list[str]:
        """Return the names at the top of the file system."""
        return sorted(os.listdir(self.top))

    def of_rollpoint(self) -> list[str]:
        """Return the names of points, and of what may be left of them."""
        home = self.top / ".rollpoint"
        return sorted(name for name in os.listdir(home) if name != "lock") if home.exists() else []


def state(machine: BtrfsMachine) -> dict[str, object]:
    return {place: record(str(machine.root / place)) for place in ("etc", "home", "nested", "srv")
            if (machine.root / place).exists()}


def must_be(machine: BtrfsMachine, then: dict[str, object]) -> None:
    now = state(machine)
    assert set(now) == set(then)
    for place, rows in then.items():
        must_equal(rows, now[place], place)  # type: ignore[arg-type]


def first_state(machine: BtrfsMachine) -> None:
    machine.write("etc/conf", "first")
    machine.write("etc/same", "same")
    machine.write("home/user/file", "one\ntwo\n")
    machine.write("home/user/gone", "x" * 5000)
    machine.write("srv/data", "d")
    os.link(machine.root / "srv/data", machine.root / "srv/link")
    (machine.root / "srv/sym").symlink_to("/etc/conf")
    os.setxattr(machine.root / "etc/conf", b"user.k", b"1")


def second_state(machine: BtrfsMachine) -> None:
    machine.write("etc/conf", "second, longer")
    os.chmod(machine.root / "etc/same", 0o600)
    machine.write("home/user/file", "one\nthree\n")
    (machine.root / "home/user/gone").unlink()
    machine.write("home/user/new/deep", "n")
    (machine.root / "srv/sym").unlink()
    machine.write("srv/sym/now/a", "directory")
    (machine.root / "srv/link").unlink()
    machine.write("srv/link", "d")
    machine.write("nested/later", "not of the point")


SECOND = {("M", b"etc/conf"), ("a", b"etc/same"), ("M", b"home/user/file"), ("-", b"home/user/gone"),
          ("+", b"home/user/new"), ("+", b"home/user/new/deep"), ("T", b"srv/sym"), ("+", b"srv/sym/now"),
          ("+", b"srv/sym/now/a")}


def seen(diff: object) -> set[tuple[str, bytes]]:
    """Return what a diff says, without what only got another time."""
    return {(c.status.value, c.path) for c in diff.changes if set(c.what) != {"mtime"}}  # type: ignore[attr-defined]
