"""What deleting snapshots of a btrfs gives back, as far as anybody can tell beforehand.

Where quota groups are on, the kernel counts what each subvolume alone holds (btrfs-quota(5); read from sysfs, where no
tool is needed). Otherwise the extents of each file tell which nobody else has (FIEMAP, the kernel's
Documentation/filesystems/fiemap.rst; `btrfs filesystem du` asks the same). What only snapshots share that are deleted
together is in neither count, and metadata is not in the second: such a number is a lower bound.
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

SECONDS = 10.0
"""How long files should be looked at before somebody answers; what was not looked at by then is not counted."""
_SYSFS = "/sys/fs/btrfs"
_FIEMAP = 0xC020660B
_HEAD = struct.Struct("<QQIIII")
_EXTENT = struct.Struct("<QQQQQIIII")
_COUNT = 72
_LAST, _ENCODED, _SHARED = 0x1, 0x8, 0x2000
_NO_DATA = 0x2 | 0x4 | 0x200        # unknown place, not yet written, or within the metadata
_END = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Alone:
    """What some files have to themselves: `bytes` on the disk, `packed` bytes of content that are compressed there (to
    nobody knows how many), and whether all files were looked at in time."""

    bytes: int
    packed: int
    whole: bool


def exclusive(file_system: str, number: int) -> int | None:
    """Return how many bytes only the subvolume with that number holds, as quota groups have it; None where they are
    off, not up to date, or of the simple kind (which counts what a subvolume has made, whoever shares it)."""
    groups = os.path.join(_SYSFS, file_system, "qgroups")
    if _said(groups, "mode") not in (None, "qgroup") or _said(groups, "inconsistent") != "0":
        return None
    count = _said(groups, f"0_{number}/exclusive")
    return int(count) if count is not None and count.isdigit() else None


def _said(*names: str) -> str | None:
    try:
        with open(os.path.join(*names), encoding="ascii") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return None


class _Late(Exception):
    """The time for looking at files is over."""


def alone(directories: Sequence[bytes], seconds: float) -> Alone:
    """Return what the files below some directories (read-only snapshots) share with nothing else. What cannot be read
    is not counted, as what there was no time for."""
    until = time.monotonic() + seconds
    found: list[tuple[int, int]] = []
    packed, whole = 0, True
    for directory in directories:
        seen: set[int] = set()
        try:
            for full, inode in _files(directory, until):
                if inode in seen:
                    continue
                seen.add(inode)
                for start, length, flags in _extents(full, until):
                    if flags & _ENCODED:
                        packed += 0 if flags & _SHARED else length
                    elif not flags & (_SHARED | _NO_DATA):
                        found.append((start, start + length))
        except (OSError, _Late):
            whole = False
    return Alone(_covered(found), packed, whole)


def _in_time(until: float) -> None:
    if time.monotonic() > until:
        raise _Late


def _files(directory: bytes, until: float) -> Iterator[tuple[bytes, int]]:
    """Yield the path and the inode of each regular file that takes room. Raises OSError, _Late."""
    waiting = [directory]
    while waiting:
        with os.scandir(waiting.pop()) as listing:
            for item in listing:
                _in_time(until)
                info = item.stat(follow_symlinks=False)
                if stat.S_ISDIR(info.st_mode):
                    waiting.append(item.path)
                elif stat.S_ISREG(info.st_mode) and info.st_blocks:
                    yield item.path, info.st_ino


def _extents(full: bytes, until: float) -> Iterator[tuple[int, int, int]]:
    """Yield (place on the disk, length, flags) of the extents of a file. Raises OSError, _Late."""
    fd = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOATIME)
    try:
        position = 0
        while True:
            _in_time(until)
            buffer = bytearray(_HEAD.size + _COUNT * _EXTENT.size)
            _HEAD.pack_into(buffer, 0, position, _END - position, 0, 0, _COUNT, 0)
            fcntl.ioctl(fd, _FIEMAP, buffer)
            count = _HEAD.unpack_from(buffer)[3]
            for at in range(count):
                logical, place, length, _, _, flags, *_ = _EXTENT.unpack_from(buffer, _HEAD.size + at * _EXTENT.size)
                yield place, length, flags
                position = logical + length
            if not count or flags & _LAST:
                return
    finally:
        os.close(fd)


def _covered(ranges: Sequence[tuple[int, int]]) -> int:
    """Return how many bytes lie in some of these ranges; what a file has twice is there once."""
    total, reached = 0, 0
    for start, end in sorted(ranges):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total
