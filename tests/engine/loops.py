"""File systems on loop devices that a test made itself, and that are gone after it whatever happened."""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import PREFIX, unmount_below

MIB = 1 << 20
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
    """Yield a maker of file systems on loop devices."""
    made = Loops(place)
    try:
        yield made
    finally:
        made.close()


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
