"""The subvolumes of a btrfs, asked of the kernel itself: one search of the tree of roots (ioctl-btrfs(2)).

`btrfs subvolume list` does the same and writes times in local time, to the second, and names that nobody can take apart
again; and a rescue system may not have it. The layout of the items is that of the disk format
(https://btrfs.readthedocs.io, "On-disk Format": ROOT_ITEM, ROOT_BACKREF; linux/btrfs_tree.h).
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

from engine.errors import RollpointError
from engine.text import printable

TOP = 5                     # BTRFS_FS_TREE_OBJECTID: the top level
_FIRST = 256                # BTRFS_FIRST_FREE_OBJECTID: subvolumes, and the inode of each one's root directory
_LAST = (1 << 64) - 256
_ROOT_ITEM, _ROOT_BACKREF = 132, 144
_READ_ONLY = 1
_SEARCH, _LOOKUP, _FS_INFO = 0xD0009411, 0xD0009412, 0x8400941F
_KEY = struct.Struct("<7Q4I4Q")
_HEADER = struct.Struct("<3Q2I")
_ROOM = 4096
_EXCHANGE = 2               # RENAME_EXCHANGE, renameat2(2)
_AT_FDCWD = -100
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Subvolume:
    """A subvolume: `path` from the top of the file system, `holder` the id of the one that it lies in, `uuid` and those
    of what it was taken or received from ("" if none), `created` with the kernel's clock."""

    id: int
    path: bytes
    holder: int
    uuid: str
    parent_uuid: str
    received_uuid: str
    created: datetime
    read_only: bool
    generation: int

    @property
    def is_snapshot(self) -> bool:
        """Whether it was taken of another subvolume."""
        return bool(self.parent_uuid)


def subvolumes(directory: bytes) -> list[Subvolume]:
    """Return all subvolumes of the btrfs that a directory lies on, by path; the first is the top level. Raises
    RollpointError without root, and for another file system."""
    with _opened(directory) as fd:
        roots: dict[int, bytes] = {}
        links: dict[int, tuple[int, int, bytes]] = {}
        for kind, number, offset, data in _items(fd):
            if kind == _ROOT_ITEM:
                roots[number] = data
            elif kind == _ROOT_BACKREF and number >= _FIRST:
                directory_id, _, length = struct.unpack_from("<QQH", data)
                links[number] = offset, directory_id, data[18:18 + length]
        paths = _Paths(fd, links)
        links[TOP] = 0, 0, b""
        found = [_subvolume(number, path, links[number][0], roots[number]) for number in links
                 if number in roots and (path := paths.of(number)) is not None]
    return sorted(found, key=lambda one: one.path.replace(b"/", b"\0"))


def id_of(directory: bytes) -> int:
    """Return the id of the subvolume that a directory lies in."""
    with _opened(directory) as fd:
        answer = _call(fd, _LOOKUP, struct.pack("<QQ", 0, _FIRST))
    return int(struct.unpack_from("<Q", answer)[0])


def is_subvolume(directory: bytes) -> bool:
    """Whether a path is the root directory of a subvolume, if it lies on a btrfs."""
    return os.path.isdir(directory) and not os.path.islink(directory) and os.lstat(directory).st_ino == _FIRST


def fs_uuid(directory: bytes) -> str:
    """Return the UUID of the btrfs that a directory lies on."""
    with _opened(directory) as fd:
        buffer = bytearray(1024)
        _ioctl(fd, _FS_INFO, buffer)
    return _uuid(bytes(buffer[16:32]))


def exchange(one: bytes, other: bytes) -> None:
    """Let two names of a directory change places in one step (renameat2(2)); raises RollpointError."""
    if _LIBC.renameat2(_AT_FDCWD, one, _AT_FDCWD, other, _EXCHANGE):
        raise RollpointError(f"{printable(one)} and {printable(other)} cannot change places: "
                             f"{os.strerror(ctypes.get_errno())}")


# --- the items -------------------------------------------------------------------------------------------------------


def _items(fd: int) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield (type, objectid, offset, data) of the items of subvolumes in the tree of roots."""
    start = (TOP, 0, 0)
    while True:
        key = _KEY.pack(1, start[0], _LAST, start[2], (1 << 64) - 1, 0, (1 << 64) - 1, start[1], 255, 4096, 0,
                        0, 0, 0, 0)
        answer = _call(fd, _SEARCH, key)
        count = _KEY.unpack_from(answer)[9]
        if not count:
            return
        at = _KEY.size
        for _ in range(count):
            _, number, offset, kind, length = _HEADER.unpack_from(answer, at)
            at += _HEADER.size
            yield kind, number, offset, answer[at:at + length]
            at += length
        start = (number, kind, offset + 1) if offset < (1 << 64) - 1 else (number, kind + 1, 0)


class _Paths:
    """Where subvolumes lie: by what holds each of them, up to the top."""

    def __init__(self, fd: int, links: dict[int, tuple[int, int, bytes]]) -> None:
        self._fd, self._links = fd, links
        self._known: dict[int, bytes | None] = {TOP: b""}

    def of(self, number: int) -> bytes | None:
        """Return the path of a subvolume, None for one that is being deleted."""
        if number not in self._known:
            self._known[number] = None      # a ring, which there cannot be, is no place either
            if number in self._links:
                holder, directory, name = self._links[number]
                above = self.of(holder)
                if above is not None:
                    self._known[number] = os.path.join(above, self._directory(holder, directory), name)
        return self._known[number]

    def _directory(self, holder: int, directory: int) -> bytes:
        if directory == _FIRST:
            return b""
        answer = _call(self._fd, _LOOKUP, struct.pack("<QQ", holder, directory))
        return answer[16:].split(b"\0", 1)[0].rstrip(b"/")


def _subvolume(number: int, path: bytes, holder: int, item: bytes) -> Subvolume:
    generation, = struct.unpack_from("<Q", item, 160)
    flags, = struct.unpack_from("<Q", item, 208)
    uuids = [_uuid(item[at:at + 16]) for at in (247, 263, 279)] if len(item) >= 351 else ["", "", ""]
    seconds, nanos = struct.unpack_from("<QI", item, 339) if len(item) >= 351 else (0, 0)
    created = datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanos // 1000)
    own, parent, received = uuids
    return Subvolume(number, path, holder, own, parent, received, created, bool(flags & _READ_ONLY), generation)


def _uuid(raw: bytes) -> str:
    text = raw.hex()
    return "" if not any(raw) else "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


@contextmanager
def _opened(directory: bytes) -> Iterator[int]:
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise RollpointError(f"{printable(directory)}: {error.strerror}") from error
    try:
        yield fd
    finally:
        os.close(fd)


def _call(fd: int, number: int, head: bytes) -> bytes:
    buffer = bytearray(_ROOM)
    buffer[:len(head)] = head
    _ioctl(fd, number, buffer)
    return bytes(buffer)


def _ioctl(fd: int, number: int, buffer: bytearray) -> None:
    try:
        fcntl.ioctl(fd, number, buffer)
    except OSError as error:
        hint = "only root may ask for subvolumes" if isinstance(error, PermissionError) else ""
        raise RollpointError(f"the subvolumes cannot be read: {error.strerror}", hint=hint) from error
