"""What points of the storage (ZFS, LVM, btrfs) hold of VMs, told without opening one: a file is held with the file
system that it lies on, a disk that is a logical volume or a zvol as a whole.

Whether a file was there already when the snapshot was taken is not known before somebody opens it.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Sequence

from engine.points import Part, RestorePoint
from engine.vms.coverage import FILE_SYSTEM, WHOLE, Share
from engine.vms.inventory import Machine
from engine.vms.places import FILE, ON_DEVICES, DiskState, canonical, within

_NODES = {"lvm": "dev/", "zfs": "dev/zvol/"}


def node_of(backend: str, part: Part) -> bytes:
    """Return where the device of a part's volume is, relative to the root; b"" where it has none of its own."""
    if backend == "zfs" and part.facts.get("type") != "volume":
        return b""
    return os.fsencode(_NODES[backend] + part.volume) if backend in _NODES else b""


def part_of(point: RestorePoint, disk: DiskState, root: bytes) -> Part | None:
    """Return the part of a point that is a snapshot of the very volume which a disk is; None where there is none."""
    wanted = _keys_of(disk)
    return next((part for part in point.parts if wanted & _keys(point.backend, part, root)), None)


Key = str | tuple[int, int]
"""What tells a volume: its name, and the number of its device where that is there."""


def _keys_of(disk: DiskState) -> set[Key]:
    if disk.kind not in ON_DEVICES or not disk.path:
        return set()
    found: set[Key] = {canonical(disk.path), canonical(os.fsencode(disk.spec.target).lstrip(b"/"))}
    if disk.identity is not None and disk.identity[0] == "device":
        found.add(disk.identity[1:3])
    return found


def _keys(backend: str, part: Part, root: bytes) -> set[Key]:
    node = node_of(backend, part)
    if not node:
        return set()
    found: set[Key] = {canonical(node)}
    with contextlib.suppress(OSError, ValueError):
        info = os.stat(os.path.join(root, node))
        if stat.S_ISBLK(info.st_mode):
            found.add((os.major(info.st_rdev), os.minor(info.st_rdev)))
    return found


class Volumes:
    """The points of the storage, asked about many disks: what is looked up is remembered."""

    def __init__(self, points: Sequence[RestorePoint], root: bytes) -> None:
        self._points = sorted((p for p in points if p.state == "ok"), key=lambda p: (p.created, p.id), reverse=True)
        self._root = root
        self._devices: dict[bytes, int | None] = {}
        self._folders: dict[bytes, tuple[Share, ...]] = {}
        self._volumes: dict[Key, list[int]] | None = None

    def of_file(self, path: bytes) -> tuple[Share, ...]:
        """Return which points are of the file system that a file lies on, one share a backend."""
        folder = os.path.dirname(path)
        if folder not in self._folders:
            self._folders[folder] = _shares((p for p in self._points if self._is_on(p, folder)), FILE_SYSTEM)
        return self._folders[folder]

    def of_disk(self, disk: DiskState) -> tuple[Share, ...]:
        """Return which points are of the volume that a disk is."""
        return _shares((self._points[number] for number in self._of_volume(disk)), WHOLE)

    def of_machine(self, machine: Machine) -> list[RestorePoint]:
        """Return the points that disks of a VM can come back from, newest first."""
        folders = {os.path.dirname(disk.path) for disk in machine.disks
                   if disk.kind == FILE and disk.path and not disk.spec.cdrom}
        whole = {number for disk in machine.disks for number in self._of_volume(disk)}
        return [point for number, point in enumerate(self._points)
                if number in whole or any(self._is_on(point, folder) for folder in folders)]

    def _of_volume(self, disk: DiskState) -> list[int]:
        if self._volumes is None:
            self._volumes = self._by_volume()
        return sorted({number for key in _keys_of(disk) for number in self._volumes.get(key, ())})

    def _by_volume(self) -> dict[Key, list[int]]:
        """The numbers of the points by what tells their volumes; each volume is looked up once."""
        known: dict[tuple[str, str], set[Key]] = {}
        found = defaultdict[Key, list[int]](list)
        for number, point in enumerate(self._points):
            for part in point.parts:
                name = point.backend, part.volume
                if name not in known:
                    known[name] = _keys(point.backend, part, self._root)
                for key in known[name]:
                    found[key].append(number)
        return found

    def _is_on(self, point: RestorePoint, folder: bytes) -> bool:
        """Whether a directory lies on what a point is of: below one of its places, with nothing else mounted between (a
        btrfs subvolume in another one has a device of its own too)."""
        places = [part.place for part in point.parts if part.place is not None and within(folder, part.place)]
        if not places:
            return False
        here = self._device(folder)
        return here is not None and here == self._device(max(places, key=len))

    def _device(self, folder: bytes) -> int | None:
        if folder not in self._devices:
            try:
                self._devices[folder] = os.stat(os.path.join(self._root, folder)).st_dev
            except (OSError, ValueError):
                self._devices[folder] = None
        return self._devices[folder]


def _shares(points: Iterable[RestorePoint], what: str) -> tuple[Share, ...]:
    """One share for each backend; the points come newest first."""
    found: dict[str, list[RestorePoint]] = {}
    for point in points:
        found.setdefault(point.backend, []).append(point)
    return tuple(Share(backend, len(some), some[0].id, f"{some[0].created:%Y-%m-%d_%H-%M-%S}", None, what)
                 for backend, some in found.items())
