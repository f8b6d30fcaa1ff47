"""Reading all that a point about virtual machines needs."""

from __future__ import annotations

import os

from engine.errors import DamageError
from engine.events import Job
from engine.points import RestorePoint
from engine.replica.layout import Store
from engine.results import Damage, VerifyReport
from engine.text import message, shown_path
from engine.vmpoints import blobs, copies, inventories
from engine.vmpoints.plans import DISKS
from engine.vmpoints.sums import of_file


def verify(store: Store, point: RestorePoint, root: bytes, job: Job, *, data: bool) -> VerifyReport:
    """Return what is damaged of one point. Of an inventory point every content is read and compared with its SHA-256;
    the copies of disks have to be there, as long as they were, and with `data` are compared with their checksums.
    Raises CancelledError."""
    damage = [Damage(point.id, b"", problem) for problem in point.problems]
    if point.backend == DISKS:
        return _disks(store, point, root, damage, job, data=data)
    entries = size = 0
    try:
        names = inventories.uses(store, point)
        entries = len(inventories.entries(store, point))
        inventories.load(store, point)
    except DamageError as error:
        return VerifyReport(1, entries, size, (*damage, Damage(point.id, b"", error.message)))
    for name in sorted(names):
        job.check()
        try:
            size += len(blobs.get(store, name))
        except DamageError as error:
            damage.append(Damage(point.id, b"", error.message))
    return VerifyReport(1, entries, size, tuple(damage))


def _disks(store: Store, point: RestorePoint, root: bytes, damage: list[Damage], job: Job, *, data: bool
           ) -> VerifyReport:
    known: dict[bytes, str] = {}
    try:
        found = copies.disks(store, point)
    except DamageError as error:
        return VerifyReport(1, 0, 0, (*damage, Damage(point.id, b"", error.message)))
    try:
        known = copies.sums(store, point)
    except DamageError as error:
        damage.append(Damage(point.id, b"", error.message))
    read = unsummed = 0
    for disk in found:
        full = os.path.join(root, disk.copy)
        if not os.path.isfile(full):
            if not point.problems:
                damage.append(Damage(point.id, disk.path, f"its copy {shown_path(disk.copy)} is gone"))
        elif data and disk.copy in known:
            try:
                made, size = of_file(full, job, "reading disks")
            except OSError as error:
                damage.append(Damage(point.id, disk.path, message(f"its copy cannot be read: {error.strerror}")))
                continue
            read += size
            if made != known[disk.copy]:
                damage.append(Damage(point.id, disk.path, f"its copy {shown_path(disk.copy)} is not what was copied: "
                                     "its checksum does not fit"))
        elif data:
            unsummed += 1
    return VerifyReport(1, len(found), read, tuple(damage), unsummed)
