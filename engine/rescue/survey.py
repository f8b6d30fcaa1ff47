"""What a look at all disks of a rescue system comes to: file systems, the stores and the systems on them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from engine.machine.filesystems import FileSystem, Recorded

__all__ = ["FileSystem", "FoundPoint", "FoundStore", "FoundSystem", "Recorded", "Survey", "Unreadable"]


@dataclass(frozen=True, slots=True)
class FoundPoint:
    """A restore point in a store that was found; `sources` are the file systems it holds, the root first."""

    id: str
    number: int
    created: datetime
    comment: str = ""
    sources: tuple[Recorded, ...] = ()


@dataclass(frozen=True, slots=True)
class FoundStore:
    """A store on a file system: `path` is its directory there, relative ("" is the top), or absolute where it was named
    as a directory that is mounted already. `points` are those whose document can be read, newest first; `count` is how
    many there are. `problem` says why it cannot be used, "" if it can."""

    on: FileSystem
    path: str
    id: str = ""
    host: str = ""
    machine_id: str = ""
    format: int = 0
    count: int = 0
    points: tuple[FoundPoint, ...] = ()
    problem: str = ""

    @property
    def name(self) -> str:
        """DEVICE:PATH, as `--store` takes it."""
        return self.path if self.path.startswith("/") else f"{self.on.device}:/{self.path}"

    @property
    def newest(self) -> FoundPoint | None:
        """The newest point that can be read, if any."""
        return self.points[0] if self.points else None


@dataclass(frozen=True, slots=True)
class FoundSystem:
    """An installed system: the file system with its root, the subvolume or directory in it ("" is the top), and who it
    is: the name of os-release, host name, machine id, kernel releases that it has modules for."""

    on: FileSystem
    within: str = ""
    name: str = ""
    host: str = ""
    machine_id: str = ""
    kernels: tuple[str, ...] = ()
    has_fstab: bool = True


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A device that could not be looked into, and why."""

    on: FileSystem
    why: str


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found, each in the order of devices. `file_systems` are all there are, also those that hold neither a
    store nor a system; `notes` are sentences (volumes that nobody has opened, tools that are missing)."""

    stores: tuple[FoundStore, ...] = ()
    systems: tuple[FoundSystem, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    file_systems: tuple[FileSystem, ...] = ()
    notes: tuple[str, ...] = ()
