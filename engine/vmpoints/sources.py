"""Where the disks of a VM come from when they are brought back: a replica point, a point of disks, or a snapshot that
the storage keeps of what they lie on."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from engine.backend import Opened
from engine.entries import Entry, Kind
from engine.errors import DamageError, UsageError
from engine.events import Job
from engine.points import RestorePoint
from engine.replica import restore as restoring
from engine.replica import rsync
from engine.replica.catalog import Catalog
from engine.replica.disk import behind_link
from engine.replica.layout import Store, remove_tree
from engine.results import Finding
from engine.text import message, printable, shown_path
from engine.vmpoints import copies
from engine.vmpoints.plans import DISKS
from engine.vmpoints.sums import of_file
from engine.vmpoints.volumes import part_of
from engine.vms.inventory import Machine
from engine.vms.places import FILE, DiskState, allocated, within
from engine.vms.running import STOPPED

Strain = Callable[[Mapping[bytes, int]], Iterable[Finding]]
"""What writing so many bytes at these places does to the snapshots there (engine.backend.Backend.strain)."""
_SPARE = 8 << 20        # bytes that are written beside the data: journal and tables, and the snapshot's own tables


@dataclass(frozen=True, slots=True)
class Held:
    """A disk as a point has it: bytes that its VM sees, bytes that a copy takes at most, when it was last written
    (nanoseconds), and whether it can be shared (reflink) with the file system of its place."""

    size: int
    allocated: int
    mtime: int
    reflink: bool = False


class Source(Protocol):
    """A point that disks are taken from."""

    def held(self, path: bytes) -> Held | None:
        """Return what the point has of a disk, by its path relative to the root; None for nothing."""

    def fetch(self, path: bytes, dest: bytes, job: Job) -> None:
        """Make the new file `dest` the disk as the point has it, with owner, mode and times, and compare it with what
        the point says; a reflink of which it says nothing is the same by itself. Holes stay holes. Raises DamageError,
        OSError."""

    def way(self, disk: DiskState) -> str:
        """Return how a disk that is no file comes back from this point, as a clause; "" where it does not."""

    def findings(self, written: Mapping[bytes, int]) -> Iterator[Finding]:
        """Yield what is to be known of the moment the disks are of, and what forbids to write as many bytes at these
        paths."""


@contextlib.contextmanager
def source(store: Store, point: RestorePoint, root: bytes) -> Iterator[Source]:
    """Yield the source that a point in the store is. Raises UsageError for one that holds no disks."""
    if point.backend == "replica":
        yield _Replica(store, point)
    elif point.backend == DISKS:
        yield _Copies(store, point, root)
    else:
        raise UsageError(f"point {point.id} holds no disks of virtual machines",
                         hint="disks are in points of the replica, in disk points (`rollpoint vms points`), and in "
                              "snapshots of what they lie on")


@contextlib.contextmanager
def storage_source(point: RestorePoint, machine: Machine, root: bytes,
                   opening: Callable[[], AbstractContextManager[Opened]], strain: Strain) -> Iterator[Source]:
    """Yield the source that a snapshot of the storage is, opened only where it can hold a file of `machine`: one of a
    volume that a VM uses as a disk has no files to show. `strain` is what its backend says of writing. Raises what
    `opening` does."""
    with contextlib.ExitStack() as stack:
        places = [part.place for part in point.parts if part.place is not None]
        files = [disk.path for disk in machine.disks if disk.kind == FILE and disk.path and not disk.spec.cdrom]
        opened = None
        if any(within(path, place) for path in files for place in places):
            opened = stack.enter_context(opening())
        yield _Snapshots(point, root, opened, strain)


_AT_WORK = ("a disk that its VM wrote to while the point was taken is not of one moment in it, unless the point was "
            "taken from momentary snapshots")
_POWER_CUT = "they are as after a power cut, so its file systems will be checked when it starts"


class _InStore:
    """What the points in the store have in common: they hold files alone, and do not fill up."""

    _remark = ""

    def way(self, disk: DiskState) -> str:
        return ""

    def findings(self, written: Mapping[bytes, int]) -> Iterator[Finding]:
        if self._remark and written:
            yield Finding("info", self._remark)


class _Replica(_InStore):
    """A point of the replica: the tree, or what leads back from it."""

    _remark = _AT_WORK

    def __init__(self, store: Store, point: RestorePoint) -> None:
        self._store, self._point = store, point

    def _entry(self, path: bytes) -> Entry | None:
        with Catalog.open(self._store) as catalog:
            row = catalog.at(path, self._point.number)
        return row.entry if row is not None and row.entry.kind is Kind.FILE else None

    def held(self, path: bytes) -> Held | None:
        entry = self._entry(path)
        if entry is None:
            return None
        allocated = entry.size
        if self._point.newest:
            allocated = os.lstat(os.path.join(self._store.tree, path)).st_blocks * 512
        return Held(entry.size, allocated, entry.mtime)

    def fetch(self, path: bytes, dest: bytes, job: Job) -> None:
        aside = dest + b".d"
        remove_tree(aside)
        try:
            restoring.restore(self._store, self._point, os.fsdecode(aside), [path], job)
            entry, made = self._entry(path), os.path.join(aside, path)
            algorithm = str(self._store.identity["checksum"])
            found = dict(rsync.checksums(os.path.dirname(made), algorithm, [os.path.basename(made)]))
            if entry is None or os.stat(made).st_size != entry.size or (
                    entry.csum and found.get(os.path.basename(path)) != entry.csum):
                raise DamageError(f"{shown_path(path)} of point {self._point.id} is damaged: its checksum does not fit",
                                  hint="use another point; `rollpoint verify --data` says what else is damaged")
            os.rename(made, dest)
        finally:
            remove_tree(aside)


class _Copies(_InStore):
    """A point of disks: whole files beside the disks themselves."""

    def __init__(self, store: Store, point: RestorePoint, root: bytes) -> None:
        if point.doc.get("running") != STOPPED:
            self._remark = f"the disks were copied while the VM ran: {_POWER_CUT}"
        self._point = point
        self._disks = {disk.path: disk for disk in copies.disks(store, point)}
        self._root = root
        self._damage = ""
        try:
            self._sums = copies.sums(store, point)
        except DamageError as error:
            self._sums, self._damage = {}, error.message

    def findings(self, written: Mapping[bytes, int]) -> Iterator[Finding]:
        yield from super().findings(written)
        if self._damage:
            yield Finding("warning", f"{self._damage}; what is brought back is what the copies are now")

    def held(self, path: bytes) -> Held | None:
        disk = self._disks.get(path)
        if disk is None:
            return None
        full = os.path.join(self._root, disk.copy)
        try:
            info = os.lstat(full)
        except OSError as error:
            raise DamageError(f"point {self._point.id}: {printable(full)} cannot be read: {error.strerror}",
                              hint="use another point") from error
        if info.st_size != disk.size:
            raise DamageError(f"point {self._point.id}: {printable(full)} has {info.st_size:,} bytes, not "
                              f"{disk.size:,}", hint="use another point")
        return Held(info.st_size, info.st_blocks * 512, disk.mtime, copies.shares(full))

    def fetch(self, path: bytes, dest: bytes, job: Job) -> None:
        full = os.path.join(self._root, self._disks[path].copy)
        known = self._sums.get(self._disks[path].copy)
        made = copies.copy(full, dest, job)
        if known is not None and (made or of_file(dest, job, "comparing disks")[0]) != known:
            raise DamageError(f"point {self._point.id}: {printable(full)} is not what was copied then: its checksum "
                              "does not fit", hint="use another point; `rollpoint verify --data` says what else is "
                                                   "damaged")
        if known is None and not _same(made, full, job):
            raise DamageError(f"the copy of {shown_path(path)} is not the same as {printable(full)}",
                              hint="the disk it lies on may be failing: look at the kernel's messages")


def _same(made: str, source: bytes, job: Job) -> bool:
    """Whether a file is what was copied from it, which has the checksum `made`: "" is a reflink, the very same blocks,
    which there is no use in reading."""
    return not made or made == of_file(source, job, "comparing disks")[0]


class _Snapshots:
    """A point of the storage. `opened` shows the files of its volumes, None where none of them can hold any that is
    asked for."""

    def __init__(self, point: RestorePoint, root: bytes, opened: Opened | None, strain: Strain) -> None:
        self._point, self._root, self._opened, self._strain = point, root, opened, strain

    def _found(self, path: bytes) -> bytes | None:
        """Where a file of the point is to be read."""
        opened = self._opened
        if opened is None or not any(within(path, place) for place in opened.places) or any(
                within(path, hole) for hole in opened.holes) or behind_link(opened.path, path, {}):
            return None
        full = os.path.join(opened.path, path)
        try:
            return full if stat.S_ISREG(os.lstat(full).st_mode) else None
        except (FileNotFoundError, NotADirectoryError):
            return None

    def held(self, path: bytes) -> Held | None:
        full = self._found(path)
        if full is None:
            return None
        info = os.lstat(full)
        return Held(info.st_size, allocated(info), info.st_mtime_ns,
                    copies.shares_into(full, os.path.dirname(os.path.join(self._root, path))))

    def fetch(self, path: bytes, dest: bytes, job: Job) -> None:
        full = self._found(path)
        if full is None:
            raise DamageError(f"{shown_path(path)} is not in point {self._point.id} any more", hint="look at the plan "
                              "again")
        if not _same(copies.copy(full, dest, job), full, job):
            raise DamageError(f"the copy of {shown_path(path)} is not the same as in point {self._point.id}",
                              hint="the disk it lies on may be failing: look at the kernel's messages")

    def way(self, disk: DiskState) -> str:
        part = part_of(self._point, disk, self._root)
        if part is None:
            return ""
        others = sorted({one.volume for one in self._point.parts} - {part.volume})
        said = f"point {self._point.id} has it as a whole, as {part.snapshot}: shut the VM down, then " \
               f"`rollpoint rollback {self._point.id} --way native` sets it back"
        return message(said + (f", and with it {', '.join(others)}" if others else ""))

    def findings(self, written: Mapping[bytes, int]) -> Iterator[Finding]:
        if written:
            yield Finding("info", "the disks are of the moment at which the snapshot was taken; if the VM ran then, "
                          + _POWER_CUT)
        needed = dict.fromkeys((part.place for part in self._point.parts if part.place is not None), 0)
        for path, size in written.items():
            needed[max((place for place in needed if within(path, place)), key=len)] += size
        yield from self._strain({place: size + size // 32 + _SPARE for place, size in needed.items() if size})
