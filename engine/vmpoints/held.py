"""What inventory points and points of disks hold of a VM, beside what points of the tree do."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from engine.errors import DamageError
from engine.points import RestorePoint
from engine.replica.layout import Store
from engine.vmpoints import blobs, copies, inventories
from engine.vms.coverage import CONFIG, Part
from engine.vms.inventory import Machine

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


def added(machine: Machine, parts: Sequence[Part], configs: Found, images: Found, root: bytes) -> list[Part]:
    """Return the parts of a VM with what these hold counted in."""
    return [_added(part, configs, blobs.digest(machine.document.source)) if part.what == CONFIG else
            _added(part, images, _state(root, part.path)) for part in parts]


def _added(part: Part, found: Found, now: object) -> Part:
    own = found.get(part.path, ())
    if not own:
        return part
    newest, state = own[0]
    if part.held and part.newest[:19] >= newest[:19]:        # ids begin with the time
        return replace(part, points=part.points + len(own))
    return Part(part.what, part.path, part.points + len(own), newest, state == now)


def _state(root: bytes, path: bytes) -> tuple[int, int] | None:
    try:
        info = os.lstat(os.path.join(root, path))
    except (OSError, ValueError):
        return None
    return info.st_size, info.st_mtime_ns
