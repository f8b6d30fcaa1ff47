"""Reading all that a point about virtual machines needs."""

from __future__ import annotations

import os

from engine.errors import DamageError
from engine.points import RestorePoint
from engine.replica.layout import Store
from engine.results import Damage, VerifyReport
from engine.text import shown_path
from engine.vmpoints import blobs, copies, inventories
from engine.vmpoints.plans import DISKS


def verify(store: Store, point: RestorePoint, root: bytes) -> VerifyReport:
    """Return what is damaged of one point. Of an inventory point every content is read and compared with its SHA-256;
    of the copies of disks there is no checksum, so only that they are there, and as long as they were."""
    damage = [Damage(point.id, b"", problem) for problem in point.problems]
    if point.backend == DISKS:
        return _disks(store, point, root, damage)
    entries = size = 0
    try:
        names = inventories.uses(store, point)
        entries = len(inventories.entries(store, point))
        inventories.load(store, point)
    except DamageError as error:
        return VerifyReport(1, entries, size, (*damage, Damage(point.id, b"", error.message)))
    for name in sorted(names):
        try:
            size += len(blobs.get(store, name))
        except DamageError as error:
            damage.append(Damage(point.id, b"", error.message))
    return VerifyReport(1, entries, size, tuple(damage))


def _disks(store: Store, point: RestorePoint, root: bytes, damage: list[Damage]) -> VerifyReport:
    try:
        found = copies.disks(store, point)
    except DamageError as error:
        return VerifyReport(1, 0, 0, (*damage, Damage(point.id, b"", error.message)))
    for disk in found:
        full = os.path.join(root, disk.copy)
        if not damage and not os.path.isfile(full):
            damage.append(Damage(point.id, disk.path, f"its copy {shown_path(disk.copy)} is gone"))
    return VerifyReport(1, len(found), 0, tuple(damage))
