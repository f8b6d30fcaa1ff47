"""What the makers of momentary snapshots share: the volumes they are asked for, the names of what they make, and what
each of them promises to `engine.machine.momentary`.

A name says who made it: ``rollpoint-momentary-PID-START-N``, with the time at which that process was started (field 22
of /proc/PID/stat, see proc(5)). So what a killed Rollpoint left is known from its name alone, also when its PID is
another program's by now.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from engine.errors import RollpointError
from engine.machine.mounts import Mount, Namespace
from engine.text import shown_path

PREFIX = "rollpoint-momentary-"
_NAME = re.compile(rf"{PREFIX}(\d+)-(\d+)-\d+")
_numbers = itertools.count(1)
_in_use: set[str] = set()


class Unable(RollpointError):
    """No momentary snapshot of a volume can be made; the message is the reason alone."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A file system to be taken: its `place` below the root of the view (b"" is the root), the `mount` it lies on, and
    `within`, the directory of the file system that is seen there (absolute in it: b"/" is all of it)."""

    place: bytes
    mount: Mount
    within: bytes

    @property
    def shown(self) -> str:
        """Its place, printable and absolute."""
        return shown_path(self.place)


@dataclass(frozen=True, slots=True)
class Bench:
    """Where a maker works: programs run in `space`, mount points are made in the directory `scratch` (the same inside
    and outside of the space), `store` is the device that the store lies on, `warn` takes sentences for the admin."""

    space: Namespace
    scratch: bytes
    store: int
    warn: Callable[[str], None]

    def directory(self) -> bytes:
        """Make an empty directory to mount something on."""
        path = os.path.join(self.scratch, b"%d" % len(os.listdir(self.scratch)))
        os.mkdir(path)
        return path


class Piece(Protocol):
    """The momentary snapshot of one volume, from its planning to its removal."""

    @property
    def volume(self) -> Volume:
        """What it is a snapshot of."""

    @property
    def by_hand(self) -> str:
        """What an admin does to remove it."""

    def take(self) -> None:
        """Make it. Raises RollpointError; `remove` is called also then."""

    def show(self) -> Sequence[tuple[bytes, bytes]]:
        """Make its files readable in the space; returns what belongs where: (place below the root of the view,
        directory to be bound there), a place before those below it. Raises RollpointError."""

    def fault(self) -> str:
        """Return why what was read from it cannot be trusted, "" when it can."""

    def remove(self) -> None:
        """Remove what was made of it so far, which may be nothing. Raises RollpointError."""


class Maker(Protocol):
    """One kind of storage that makes snapshots."""

    def concerns(self, volume: Volume) -> bool:
        """Whether a volume lies on this kind of storage."""

    def plan(self, volumes: Sequence[Volume], places: Sequence[bytes]) -> tuple[list[Piece], list[tuple[Volume, str]]]:
        """Remove what killed processes left, and return what would be made for these volumes, and the volumes for which
        nothing can be, each with the reason. `places` are all that the view is composed of."""


def new_name() -> str:
    """Return the name of a snapshot that this process is about to make; it counts as in use until `finished`."""
    pid = os.getpid()
    name = f"{PREFIX}{pid}-{_start(pid)}-{next(_numbers)}"
    _in_use.add(name)
    return name


def finished(name: str) -> None:
    """Note that this process has no use for a name any more: whatever still has it is left over."""
    _in_use.discard(name)


def is_left_over(name: str) -> bool:
    """Whether a name is of a momentary snapshot that no running process needs."""
    found = _NAME.fullmatch(name)
    return found is not None and name not in _in_use and (
        int(found[1]) == os.getpid() or _start(int(found[1])) != int(found[2]))


def _start(pid: int) -> int | None:
    """Return when a process was started, in clock ticks since the machine was; None where there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[19])
    except (OSError, IndexError):
        return None
