"""Momentary snapshots of btrfs: read-only subvolumes beside the others, at the top of the file system.

The top level (subvolume 5) is mounted for it in the private space, so that nothing appears in any directory that is
in use, unless the top level itself is what is mounted; then the directory's time is put back. The kernel writes out
what is dirty before it makes a snapshot. A subvolume inside of another one is an empty directory in the other's
snapshot: it gets one of its own, right after, and that is bound in its place; one that is read-only cannot change and
is bound as it is. What is mounted at a place of its own is another volume.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine.errors import RollpointError
from engine.machine.momentparts import PREFIX, Bench, Piece, Unable, Volume, finished, is_left_over, new_name
from engine.machine.mounts import Mount
from engine.text import printable

_LISTED = re.compile(rb"ID \d+ gen \d+ top level \d+ path (.+)")


@dataclass(frozen=True, slots=True)
class _Part:
    """One subvolume of a volume: its path from the top level, the name of its snapshot ("": it is bound as it is), the
    directory in it that belongs at `place`."""

    subvolume: bytes
    name: str
    directory: bytes
    place: bytes


class Btrfs:
    """The maker for btrfs."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._tops: dict[bytes, bytes] = {}

    def concerns(self, volume: Volume) -> bool:
        return volume.mount.fstype == b"btrfs"

    def plan(self, volumes: Sequence[Volume], places: Sequence[bytes]) -> tuple[list[Piece], list[tuple[Volume, str]]]:
        pieces: list[Piece] = []
        refused = []
        for volume in volumes:
            try:
                top = self._top(volume.mount)
                pieces.append(_Snapshot(self._bench, top, volume, self._parts(top, volume, places)))
            except RollpointError as error:
                refused.append((volume, error.message))
        return pieces, refused

    def _top(self, mount: Mount) -> bytes:
        """Mount the top level of a file system, once, and clear it of leftovers; returns where it is. Raises
        RollpointError."""
        if mount.device not in self._tops:
            if os.statvfs(mount.point).f_flag & os.ST_RDONLY:
                raise Unable("it is mounted read-only")     # our mount would make all of it writable
            top = self._bench.directory()
            self._bench.space.run(["mount", "-t", "btrfs", "-o", "subvolid=5", mount.source, top])
            self._tops[mount.device] = top
            self._sweep(top)
        return self._tops[mount.device]

    def _sweep(self, top: bytes) -> None:
        for name in sorted(os.listdir(self._bench.space.outside(top))):
            if is_left_over(os.fsdecode(name)):
                try:
                    _delete(self._bench, top, os.fsdecode(name))
                    self._bench.warn(f"removed the momentary snapshot {printable(name)}, which an interrupted "
                                     "Rollpoint had left")
                except RollpointError as error:
                    self._bench.warn(f"an interrupted Rollpoint left the momentary snapshot {printable(name)}, which "
                                     f"cannot be removed: {error.message}")

    def _parts(self, top: bytes, volume: Volume, places: Sequence[bytes]) -> list[_Part]:
        every, fixed = self._subvolumes(top), self._subvolumes(top, "-r")
        within = volume.within.strip(b"/")
        home = max((s for s in every if _inside(within, s)), key=len, default=b"")
        parts = [_Part(home, new_name(), os.path.relpath(b"/" + within, b"/" + home), volume.place)]
        for one in sorted(every):
            if one == within or not _inside(one, within) or _is_ours(one):
                continue
            place = os.path.normpath(os.path.join(volume.place, os.path.relpath(b"/" + one, b"/" + within)))
            if not any(p != volume.place and _inside(p, volume.place) and _inside(place, p) for p in places):
                parts.append(_Part(one, "" if one in fixed else new_name(), b".", place))
        return parts

    def _subvolumes(self, top: bytes, *options: str) -> list[bytes]:
        """Return the paths of subvolumes from the top level on. Raises RollpointError."""
        out = self._bench.space.run(["btrfs", "subvolume", "list", *options, top])
        found = [_LISTED.fullmatch(line) for line in out.splitlines()]
        if not all(found):
            raise Unable("the list of its subvolumes cannot be read")
        return [one[1] for one in found if one]


class _Snapshot:
    """The snapshots of a volume's subvolumes."""

    def __init__(self, bench: Bench, top: bytes, volume: Volume, parts: Sequence[_Part]) -> None:
        self.volume = volume
        self._bench, self._top, self._parts = bench, top, parts
        self._left = {part.name for part in parts if part.name}
        self._seen: list[_Part] = []

    @property
    def by_hand(self) -> str:
        device = printable(self.volume.mount.source)
        return (f"mount -o subvolid=5 {device} /mnt && btrfs subvolume delete "
                + " ".join(f"/mnt/{name}" for name in sorted(self._left)))

    def take(self) -> None:
        for part in self._parts:
            source = self._path(part.subvolume)
            if part is not self._parts[0] and not os.path.lexists(self._bench.space.outside(source)):
                continue        # somebody has removed it since we looked: then it is in none of the snapshots
            if part.name:
                with _times_kept(self._bench.space.outside(self._top)):
                    self._bench.space.run(["btrfs", "subvolume", "snapshot", "-r", source,
                                           self._path(os.fsencode(part.name))])
            self._seen.append(part)

    def show(self) -> Sequence[tuple[bytes, bytes]]:
        return [(part.place, os.path.normpath(os.path.join(self._base(part), part.directory))) for part in self._seen]

    def _base(self, part: _Part) -> bytes:
        return self._path(os.fsencode(part.name) if part.name else part.subvolume)

    def _path(self, subvolume: bytes) -> bytes:
        return os.path.join(self._top, subvolume) if subvolume else self._top

    def fault(self) -> str:
        gone = [part for part in self._seen if not os.path.isdir(self._bench.space.outside(self._base(part)))]
        return f"{printable(self._base(gone[0]))} was removed while it was read" if gone else ""

    def remove(self) -> None:
        for name in sorted(self._left):
            finished(name)
        for name in sorted(self._left):
            if os.path.lexists(self._bench.space.outside(self._path(os.fsencode(name)))):
                _delete(self._bench, self._top, name)
            self._left.discard(name)


def _delete(bench: Bench, top: bytes, name: str) -> None:
    with _times_kept(bench.space.outside(top)):
        bench.space.run(["btrfs", "subvolume", "delete", os.path.join(top, os.fsencode(name))])


@contextlib.contextmanager
def _times_kept(directory: bytes) -> Iterator[None]:
    """Put the times of a directory back in which something of ours comes or goes: taking a point is no change of what
    it is taken of."""
    info = os.stat(directory)
    try:
        yield
    finally:
        os.utime(directory, ns=(info.st_atime_ns, info.st_mtime_ns))


def _inside(path: bytes, parent: bytes) -> bool:
    return not parent or path == parent or path.startswith(parent + b"/")


def _is_ours(subvolume: bytes) -> bool:
    return subvolume.startswith(PREFIX.encode())
