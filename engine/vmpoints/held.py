"""What inventory points, points of disks and the storage's own hold of a VM, beside what points of the tree do."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from engine.errors import DamageError
from engine.points import RestorePoint
from engine.replica.layout import Store
from engine.vmpoints import blobs, copies, inventories
from engine.vmpoints.plans import DISKS, INVENTORIES
from engine.vmpoints.volumes import Volumes
from engine.vms.coverage import Part, Share
from engine.vms.inventory import Machine
from engine.vms.places import FILE, DiskState

Found = dict[bytes, list[tuple[str, object]]]
"""By path: the points that hold it, newest first, each with what tells one state of it from another."""


def contents(store: Store, points: Sequence[RestorePoint]) -> Found:
    """Return the files that inventory points (newest first) hold, by their SHA-256. Damaged points hold nothing."""
    found: Found = defaultdict(list)
    for point in points:
        with suppress(DamageError):
            for path, digest in inventories.listed(store, point):
                found[path].append((point.id, digest))
    return found


def disks(store: Store, points: Sequence[RestorePoint]) -> Found:
    """Return the disks that points of disks (newest first) hold, by size and time. Damaged points hold nothing."""
    found: Found = defaultdict(list)
    for point in points:
        if point.state == "ok":
            with suppress(DamageError):
                for disk in copies.disks(store, point):
                    found[disk.path].append((point.id, (disk.size, disk.mtime)))
    return found


@dataclass(frozen=True, slots=True)
class Kept:
    """What points hold beside those of the tree: vm.cfg files in inventory points (from `contents`), disks in points of
    disks (from `disks`), and what lies on the volumes that the storage has snapshots of."""

    configs: Found
    images: Found
    volumes: Volumes


def added(machine: Machine, parts: Sequence[Part], kept: Kept, root: bytes) -> list[Part]:
    """Return the parts of a VM with what these hold counted in."""
    disks = (disk for disk in machine.disks if not disk.spec.cdrom)     # in the order of `parts`, after the vm.cfg
    config, *others = parts
    return [_config(config, kept, machine.document.source),
            *(_disk(part, disk, kept, root) for part, disk in zip(others, disks, strict=True))]


def _config(part: Part, kept: Kept, source: bytes) -> Part:
    own = _share(kept.configs, part.path, INVENTORIES, blobs.digest(source))
    return part.with_shares([*own, *kept.volumes.of_file(part.path)])


def _disk(part: Part, disk: DiskState, kept: Kept, root: bytes) -> Part:
    if disk.kind == FILE:
        return part.with_shares([*_share(kept.images, part.path, DISKS, _state(root, part.path)),
                                 *kept.volumes.of_file(part.path)])
    return part.with_shares(kept.volumes.of_disk(disk))


def _share(found: Found, path: bytes, backend: str, now: object) -> list[Share]:
    own = found.get(path, ())
    if not own:
        return []
    newest, state = own[0]
    return [Share(backend, len(own), newest, newest[:19], state == now)]     # ids begin with the time


def _state(root: bytes, path: bytes) -> tuple[int, int] | None:
    try:
        info = os.lstat(os.path.join(root, path))
    except (OSError, ValueError):
        return None
    return info.st_size, info.st_mtime_ns
