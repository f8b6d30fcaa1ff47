"""Where the disks of a VM come from when they are brought back: a replica point, or a point of disks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Protocol

from engine.entries import Entry, Kind
from engine.errors import DamageError, UsageError
from engine.events import Job
from engine.points import RestorePoint
from engine.replica import restore as restoring
from engine.replica import rsync
from engine.replica.catalog import Catalog
from engine.replica.disk import same_data
from engine.replica.layout import Store, remove_tree
from engine.text import printable, shown_path
from engine.vmpoints import copies
from engine.vmpoints.plans import DISKS


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
        the point says. Holes stay holes. Raises DamageError, OSError."""


def source(store: Store, point: RestorePoint, root: bytes) -> Source:
    """Return the source that a point is. Raises UsageError for one that holds no disks."""
    if point.backend == "replica":
        return _Replica(store, point)
    if point.backend == DISKS:
        return _Copies(store, point, root)
    raise UsageError(f"point {point.id} holds no disks of virtual machines",
                     hint="disks are in points of the replica and in disk points (`rollpoint vms points`)")


class _Replica:
    """A point of the replica: the tree, or what leads back from it."""

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


class _Copies:
    """A point of disks: whole files beside the disks themselves."""

    def __init__(self, store: Store, point: RestorePoint, root: bytes) -> None:
        self._point = point
        self._disks = {disk.path: disk for disk in copies.disks(store, point)}
        self._root = root

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
        copies.copy(full, dest, job)
        if not same_data(full, dest):
            raise DamageError(f"the copy of {shown_path(path)} is not the same as {printable(full)}",
                              hint="the disk it lies on may be failing: look at the kernel's messages")
