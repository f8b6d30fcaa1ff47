"""File systems on loop devices that a test made itself, and that are gone after it whatever happened; a small machine
of some of them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from engine.config import Config, Retention
from engine.events import Job
from engine.machine import ownspace
from engine.points import RestorePoint
from engine.results import RollbackPlan, RollbackResult, SnapshotRequest
from engine.service import Engine
from tests.conftest import PREFIX, unmount_below

MIB = 1 << 20
MACHINE_ID = "0123456789abcdef0123456789abcdef\n"
_MKFS = {"ext4": ["-q", "-F"], "ext2": ["-q", "-F"], "xfs": ["-q", "-f"], "btrfs": ["-q", "-f"], "vfat": []}
# mkfs.xfs makes none below 300 MB unless it believes that it is under test.
_SIZES = {"ext4": 32, "xfs": 320, "btrfs": 128, "vfat": 16}


class Loops:
    """Makes images below `place` and attaches them; `close` unmounts and detaches all of them."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.devices: list[str] = []
        self.mounts: list[str] = []

    def make(self, kind: str = "ext4", *options: str, mib: int = 0) -> str:
        """Make a file system in a sparse image and return the loop device it is on; kind "" leaves it empty."""
        image = self.place / f"image{len(self.devices)}"
        with image.open("wb") as file:
            file.truncate((mib or _SIZES.get(kind, 32)) * MIB)
        if kind:
            run(f"mkfs.{kind}", *_MKFS[kind], *options, str(image))
        return self.attach(image)

    def attach(self, image: Path, *options: str) -> str:
        """Attach an image and return its device. One at a time: finding a free one and taking it are two steps."""
        with open(os.path.join(tempfile.gettempdir(), PREFIX + "lock"), "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            device = run("losetup", "--show", "-f", *options, str(image)).strip()
        os.utime(device)        # blkid believes what it noted of a device whose node is not newer than that
        self.devices.append(device)
        return device

    def mount(self, device: str, where: str | Path, *options: str) -> Path:
        """Mount a device; the directory is made."""
        Path(where).mkdir(parents=True, exist_ok=True)
        run("mount", *options, device, str(where))
        self.mounts.append(str(where))
        return Path(where)

    def umount(self, where: str | Path) -> None:
        """Unmount what is mounted at or below a directory."""
        unmount_below(str(where))

    def close(self) -> None:
        """Unmount and detach everything."""
        for where in reversed(self.mounts):
            unmount_below(where)
        for device in self.devices:
            subprocess.run(["losetup", "-d", device], capture_output=True)


@contextlib.contextmanager
def loops(place: Path) -> Iterator[Loops]:
    """Yield a maker of file systems on loop devices. Other tests at the same time do not see what is mounted: a
    snapshot of theirs would keep it mounted in its own view."""
    _enter_once()
    made = Loops(place)
    try:
        yield made
    finally:
        made.close()


@cache
def _enter_once() -> None:
    ownspace.enter()


def run(*argv: str) -> str:
    """Run a tool of the system; its message is in the failure."""
    done = subprocess.run(argv, capture_output=True, text=True)
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout


def uuid_of(device: str) -> str:
    """Return the UUID that blkid reads from a device."""
    return run("blkid", "-p", "-o", "value", "-s", "UUID", device).strip()


def attached() -> set[str]:
    """Return the loop devices that are in use, to see that nothing was left behind."""
    return set(run("losetup", "-n", "-O", "NAME", "-l").split())


class Machine:
    """A root file system with /boot and /boot/efi of their own, mounted at `root`, and a store beside it."""

    def __init__(self, made: Loops, place: Path, kind: str = "ext4", store: Path | None = None) -> None:
        self.loops, self.place, self.store = made, place, store or place / "store"
        self.devices = {"": made.make(kind), "boot": made.make(), "boot/efi": made.make("ext2")}
        self.root = place / "target"
        self.mount()
        for name, text in {"etc/fstab": self.fstab(), "etc/machine-id": MACHINE_ID, "etc/hosts": "then\n",
                           "boot/vmlinuz-1": "kernel one", "boot/efi/loader": "loader one"}.items():
            path = self.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        for lost in self.root.rglob("lost+found"):
            shutil.rmtree(lost)

    def fstab(self) -> str:
        return "".join(f"UUID={uuid_of(d)} /{p} auto defaults 0 2\n" for p, d in self.devices.items())

    def mount(self, root: str = "target", only: Sequence[str] = ("", "boot", "boot/efi")) -> None:
        """Mount the file systems at another place, or some of them only."""
        self.loops.umount(self.root)
        self.root = self.place / root
        for place in only:
            self.loops.mount(self.devices[place], self.root / place)

    def engine(self) -> Engine:
        return Engine(Config(store=str(self.store), root=str(self.root), excludes=(),
                             retention=Retention(max_store_ratio=None)))

    def point(self) -> RestorePoint:
        job = Job()
        point = self.engine().snapshot(SnapshotRequest(), job).point
        assert job.warnings == []
        return point

    def plan(self, point: RestorePoint, *scope: str) -> RollbackPlan:
        return self.engine().plan(point, scope or ("files",), Job())

    def roll(self, point: RestorePoint, *scope: str) -> RollbackResult:
        return self.engine().rollback(self.plan(point, *scope), Job())

    def blockers(self, point: RestorePoint, *scope: str) -> list[str]:
        return [f"{f.text} ({f.hint})" for f in self.plan(point, *scope).findings if f.level == "blocker"]
