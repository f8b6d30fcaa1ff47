"""Momentary snapshots of logical volumes, thick and thin (lvcreate(8), lvmthin(7)).

lvcreate freezes the file system while it makes a snapshot, so that its journal is written out; what was deleted while
still open is left for the next mount to clear up. So the snapshot is writable and is mounted with ``ro`` alone, and the
kernel finishes in it what there is to finish. (``noload``, ``norecovery`` would show a file system that is not whole,
and a snapshot that is read-only is refused by some kernels: ext4, "Orphan file not empty on read-only fs".) xfs needs
``nouuid``, since a file system with the same UUID is mounted already.

A thick snapshot keeps the old blocks of what is written while it exists, in room taken from the volume group. When that
is full the kernel drops it and reads fail: that is asked after the copy. A thin one shares the pool with its origin.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from engine.errors import RollpointError, ToolError
from engine.machine import lvmreport
from engine.machine.lvmreport import Lv, pool_fault, pool_of, whole
from engine.machine.momentparts import PREFIX, Bench, Piece, Volume, finished, is_left_over, new_name
from engine.machine.ramdisk import root_fault
from engine.text import human_size, printable

_MOUNT = {"ext2": "ro", "ext3": "ro", "ext4": "ro", "xfs": "ro,nouuid"}
_LEAST, _SHARE = 256 << 20, 0.15        # of a thick snapshot: bytes, part of its origin
_POOL_FULL = 95.0                       # per cent, from which on nothing more is begun in a thin pool
_SECONDS = 300


class Lvm:
    """The maker for logical volumes."""

    def __init__(self, bench: Bench, devices: str = "/sys/dev/block") -> None:
        self._bench, self._devices = bench, devices

    def concerns(self, volume: Volume) -> bool:
        try:
            with open(f"{self._devices}/{volume.mount.device.decode()}/dm/uuid", encoding="ascii") as file:
                return file.read().startswith("LVM-")
        except OSError:
            return False

    def plan(self, volumes: Sequence[Volume], places: Sequence[bytes]) -> tuple[list[Piece], list[tuple[Volume, str]]]:
        pieces: list[Piece] = []
        refused: list[tuple[Volume, str]] = []
        thick: dict[str, list[tuple[Volume, Lv]]] = {}
        try:
            listed = self._swept(volumes)
        except RollpointError as error:
            return [], [(volume, error.message) for volume in volumes]
        for volume in volumes:
            origin = next((lv for lv in listed if lv.device == _number(volume)), None)
            why = self._against(volume, origin, listed)
            if why or origin is None:
                refused.append((volume, why))
            elif origin.thin:
                pieces.append(_Snapshot(self._bench, volume, origin, 0))
            else:
                thick.setdefault(origin.group, []).append((volume, origin))
        for found in thick.values():
            sizes = shares([origin.size for _, origin in found], found[0][1].free, found[0][1].extent)
            for (volume, origin), size in zip(found, sizes, strict=True):
                if size:
                    pieces.append(_Snapshot(self._bench, volume, origin, size))
                else:
                    refused.append((volume, f"the volume group {origin.group} has {human_size(origin.free)} free, and "
                                            f"its snapshot needs {human_size(min(_LEAST, origin.size))} of its own"))
        return pieces, refused

    def _swept(self, volumes: Sequence[Volume]) -> list[Lv]:
        """Remove what is left over in the groups of these volumes; returns all logical volumes. Raises ToolError,
        Unable."""
        listed = read(self._bench)
        groups = {lv.group for lv in listed if lv.device in {_number(v) for v in volumes}}
        old = [lv for lv in listed if lv.group in groups and is_left_over(lv.name)]
        for lv in old:
            try:
                _remove(self._bench, lv.full_name)
                self._bench.warn(f"removed the momentary snapshot {lv.full_name}, which an interrupted Rollpoint had "
                                 "left")
            except RollpointError as error:
                self._bench.warn(f"an interrupted Rollpoint left the momentary snapshot {lv.full_name}, which cannot "
                                 f"be removed: {error.message}; remove it by hand: {_by_hand(lv.full_name)}")
        return read(self._bench) if old else listed

    def _against(self, volume: Volume, origin: Lv | None, listed: Sequence[Lv]) -> str:
        """Return why no snapshot of a logical volume can be made, "" when it can."""
        if origin is None:
            return f"lvs does not list {printable(volume.mount.source)}"
        if volume.mount.fstype.decode() not in _MOUNT:
            return f"{printable(volume.mount.fstype)} on a logical volume: only ext2, ext3, ext4 and xfs are taken so"
        if origin.attr[:1] == "O":
            return f"a snapshot is being merged into {origin.full_name}"
        if origin.thin:
            pool = pool_of(origin, listed)
            return pool_fault(pool, _POOL_FULL) if pool is not None else f"its pool {origin.pool} is not listed"
        if origin.attr[:1] in "sS":
            return f"{origin.full_name} is itself a snapshot"
        if self._bench.store == origin.device:
            return (f"the store lies on it as well, and what is written there would fill the snapshot of "
                    f"{origin.full_name}")
        # A power cut meanwhile would leave the root with a snapshot that the next start needs the module for.
        fault = root_fault() if volume.mount.point == b"/" else ()
        return fault[0] if fault else ""


class _Snapshot:
    """The snapshot of a logical volume; `size` are the bytes of a thick one, 0 makes a thin one."""

    def __init__(self, bench: Bench, volume: Volume, origin: Lv, size: int) -> None:
        self.volume, self._bench, self._origin, self._size = volume, bench, origin, size
        self._name = new_name()
        self._made = False
        self._where = b""

    @property
    def _full_name(self) -> str:
        return f"{self._origin.group}/{self._name}"

    @property
    def by_hand(self) -> str:
        return _by_hand(self._full_name)

    def take(self) -> None:
        self._made = True       # also when it fails, or is killed for its slowness: who knows how far it came
        size = ["-L", f"{self._size}b"] if self._size else []       # with a size a thin volume's would be thick
        self._bench.space.run(["lvcreate", "-y", "-s", *size, "-n", self._name, self._origin.full_name], _SECONDS)

    def show(self) -> Sequence[tuple[bytes, bytes]]:
        if not self._size:
            # It keeps its mark of not being activated: should we die, no start of the machine will.
            self._bench.space.run(["lvchange", "-ay", "-K", self._full_name], _SECONDS)
        self._where = self._bench.directory()
        kind = self.volume.mount.fstype.decode()
        self._bench.space.run(["mount", "-t", kind, "-o", _MOUNT[kind], f"/dev/{self._full_name}", self._where])
        return [(self.volume.place, os.path.normpath(self._where + b"/" + self.volume.within))]

    def fault(self) -> str:
        listed = {(lv.group, lv.name): lv for lv in read(self._bench)}
        own = listed.get((self._origin.group, self._name))
        if own is None:
            return f"{self._full_name} was removed while it was read"
        if self._size:
            return (f"{self._full_name} was full: more than {human_size(self._size)} were written meanwhile"
                    * own.overflowed)
        if own.failed:
            return f"{self._full_name} has failed"
        pool = pool_of(self._origin, list(listed.values()))
        return pool_fault(pool, 100.0) if pool is not None else f"its pool {self._origin.pool} is not listed"

    def remove(self) -> None:
        finished(self._name)
        if self._where:
            # It may not have come to the mount, or what reads it may not have ended: then lvremove says so.
            self._bench.space.run(["umount", self._where], ok=(0, 1, 32))
            self._where = b""
        if self._made and any(lv.full_name == self._full_name for lv in read(self._bench)):
            _remove(self._bench, self._full_name)
        self._made = False


def shares(origins: Sequence[int], free: int, extent: int) -> list[int]:
    """Return the bytes that thick snapshots get of the `free` ones of a volume group, by the sizes of their origins, in
    whole extents; 0 for one that there is no room for.

    Each wants 15 % of its origin, at least 256 MiB (or all of an origin that is smaller). Where that is more than the
    group has, each in turn gets that least, and what is left is divided by what they want beyond it.
    """
    least = [whole(min(_LEAST, size), extent) for size in origins]
    more = [max(0, whole(int(size * _SHARE), extent) - low) for size, low in zip(origins, least, strict=True)]
    given = []
    for low in least:
        given.append(low if low <= free else 0)
        free -= given[-1]
    wanted = sum(m for m, got in zip(more, given, strict=True) if got)
    part = min(1.0, free / wanted) if wanted else 0.0
    return [got and got + int(m * part) // extent * extent for m, got in zip(more, given, strict=True)]


def read(bench: Bench) -> list[Lv]:
    """Return all logical volumes. Raises RollpointError."""
    return lvmreport.read(lambda argv: bench.space.run(argv, _SECONDS))


def _number(volume: Volume) -> int:
    major, _, minor = volume.mount.device.partition(b":")
    return os.makedev(int(major), int(minor))


def _by_hand(full_name: str) -> str:
    return f"lvremove {full_name}"


def _remove(bench: Bench, full_name: str) -> None:
    """Remove a momentary snapshot; never anything else, whatever went wrong before. Raises ToolError."""
    if not full_name.rpartition("/")[2].startswith(PREFIX):
        raise ToolError(["lvremove", full_name], 5, "that is no momentary snapshot")
    bench.space.run(["lvremove", "-y", full_name], _SECONDS)
