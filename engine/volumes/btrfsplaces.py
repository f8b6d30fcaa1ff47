"""Which subvolumes the configuration means, and the top of each btrfs, mounted where nobody else sees it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from engine.config import Config
from engine.errors import RefusedError, RollpointError, UsageError
from engine.machine.mounts import Mount, Namespace, fstab_points, mount_of, mounts
from engine.run import scratch
from engine.text import printable
from engine.volumes import btrfstree
from engine.volumes.btrfstree import TOP, Subvolume


@dataclass(frozen=True, slots=True)
class Live:
    """A subvolume that is in use. `path` is where it is seen, absolute; `place` the same below the root, None where it
    is not below it; `id` that of the subvolume; `mount` the mount that it is seen through; `own` whether that mount
    shows just this subvolume (and it does not lie in another one's directory)."""

    path: bytes
    place: bytes | None
    id: int
    mount: Mount
    own: bool


class Tops:
    """The tops of file systems, mounted in a private namespace for as long as the block lasts."""

    def __init__(self, *, writable: bool = False) -> None:
        self._writable = writable
        self._places: dict[bytes, bytes] = {}

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            raise RefusedError("only root can look at the snapshots of a btrfs", hint="run as root")
        self._scratch = scratch()
        self._where = os.fsencode(self._scratch.__enter__())
        try:
            self.space = Namespace()
        except BaseException:
            self._scratch.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for place in self._places.values():
            try:
                self.space.run(["umount", place])
            except RollpointError:
                continue        # the namespace ends anyhow
        self.space.close()
        self._scratch.__exit__(None, None, None)

    def inside(self, mount: Mount) -> bytes:
        """Return where the top of a file system is for programs run in the space. Raises RollpointError."""
        if mount.device not in self._places:
            where = os.path.join(self._where, b"%d" % len(self._places))
            os.mkdir(where)
            if self._writable and os.statvfs(mount.point).f_flag & os.ST_RDONLY:
                raise RefusedError(f"{printable(mount.point)} is mounted read-only",
                                   hint=f"mount -o remount,rw {printable(mount.point)}")
            how = "rw" if self._writable else "ro"
            self.space.run(["mount", "-t", "btrfs", "-o", f"{how},subvolid={TOP}", mount.source, where])
            self._places[mount.device] = where
        return self._places[mount.device]

    def outside(self, mount: Mount, path: bytes = b"") -> bytes:
        """Return where we reach a path from the top of a file system."""
        top = self.space.outside(self.inside(mount))
        return os.path.join(top, path) if path else top


def listed(config: Config) -> list[Live]:
    """Return the subvolumes whose snapshots are listed: those that are named; for ``auto``, on the running system, all
    that are mounted. Raises UsageError for a named one that is none."""
    table, root = mounts(), os.path.realpath(os.fsencode(config.root))
    found = [_named(os.fsencode(name), root, table) for name in config.btrfs.subvolumes if name != "auto"]
    if "auto" in config.btrfs.subvolumes and root == b"/":
        found += _mounted(root, table)
    return _unique(found)


def around(config: Config) -> list[Live]:
    """Return all subvolumes that are mounted below the root, also those that the configuration does not name: what a
    point of ours holds beside those."""
    return _unique(_mounted(os.path.realpath(os.fsencode(config.root)), mounts()))


def reachable(config: Config) -> list[Live]:
    """Return all that a part of a point can be of: what is listed, and what is around it."""
    return [*around(config), *listed(config)]


def taken(config: Config) -> list[Live]:
    """Return the subvolumes of which a point is taken: those that are named; for ``auto`` the root and those that fstab
    mounts below it, as far as they can be written to. Raises RefusedError where there is none."""
    table, root = mounts(), os.path.realpath(os.fsencode(config.root))
    found = [_named(os.fsencode(name), root, table) for name in config.btrfs.subvolumes if name != "auto"]
    if "auto" in config.btrfs.subvolumes:
        usual = {b"", *fstab_points(root)}
        found += [one for one in _mounted(root, table) if one.place in usual
                  and not os.statvfs(one.path).f_flag & os.ST_RDONLY]
    found = _unique(found)
    if not found:
        raise RefusedError("there is no subvolume to take a snapshot of",
                           hint="name some: `btrfs: {subvolumes: [/, /home]}`")
    return found


def _named(path: bytes, root: bytes, table: Sequence[Mount]) -> Live:
    path = os.path.realpath(path)
    mount = mount_of(path, table)
    if mount.fstype != b"btrfs" or not btrfstree.is_subvolume(path):
        raise UsageError(f"{printable(path)} is configured as a btrfs subvolume, and is none",
                         hint="`btrfs subvolume list PATH` shows those there are; correct `btrfs: {subvolumes: …}`")
    return Live(path, place_of(path, root), btrfstree.id_of(path), mount, mount.point == path)


def _mounted(root: bytes, table: Sequence[Mount]) -> list[Live]:
    """Return the subvolumes that are mounted as such below the root (a directory that is bound is none)."""
    found = []
    for mount in table:
        if mount.fstype == b"btrfs" and place_of(mount.point, root) is not None and mount_of(
                mount.point, table) == mount and btrfstree.is_subvolume(mount.point):
            found.append(Live(mount.point, place_of(mount.point, root), btrfstree.id_of(mount.point), mount, True))
    return found


def place_of(path: bytes, root: bytes) -> bytes | None:
    """Return an absolute path relative to the root, None where it does not lie there."""
    if path == root:
        return b""
    base = root.rstrip(b"/") + b"/"
    return path[len(base):] if path.startswith(base) else None


def _unique(found: Sequence[Live]) -> list[Live]:
    """Return each subvolume once, as it is seen first: outermost, then by name."""
    ordered = sorted(found, key=lambda one: (one.place is None, one.path.count(b"/"), one.path))
    return list({(one.mount.device, one.id): one for one in reversed(ordered)}.values())[::-1]


def nested(every: Sequence[Subvolume], holder: int) -> list[Subvolume]:
    """Return the subvolumes directly in another one."""
    return [one for one in every if one.holder == holder]
