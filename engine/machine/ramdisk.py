"""Which kernel modules does an initramfs hold? Told from the names in it, without unpacking it to a disk.

A root file system on a logical volume that has a snapshot can be activated only by a kernel that has dm-snapshot, and
at boot that has to come out of the initramfs. One without it leaves a machine that does not start for as long as the
snapshot exists.
"""

from __future__ import annotations

import bz2
import contextlib
import lzma
import os
import re
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

from engine.errors import ToolError
from engine.run import Process
from engine.text import printable

_CPIO = (b"070701", b"070702")
_CHUNK = 1 << 20
_NAMES = ("initrd.img-{}", "initramfs-{}.img", "initrd-{}", "initrd-{}.img", "initramfs-{}")
_MOST = 2 << 30         # no initramfs is larger unpacked
_TOOLS = {b"\x28\xb5\x2f\xfd": "zstd", b"\x02\x21\x4c\x18": "lz4"}


SNAPSHOTS = "dm-snapshot"


class _Unpacker(Protocol):
    def decompress(self, data: bytes, /) -> bytes:
        """Return what has become readable."""


_LIBRARIES: tuple[tuple[bytes, Callable[[], _Unpacker]], ...] = (
    (b"\x1f\x8b", lambda: zlib.decompressobj(31)), (b"\xfd7zXZ", lzma.LZMADecompressor), (b"BZh", bz2.BZ2Decompressor))


def without(module: str, release: str, root: str = "/") -> str | None:
    """Return the path of the initramfs of a kernel release that lacks a module (``dm-snapshot``), "" when none does.

    None where nobody can say: there is no such file in ROOT/boot, or it cannot be unpacked here. A module that is built
    into the kernel is in no initramfs.
    """
    with contextlib.suppress(OSError), open(f"{root}/lib/modules/{release}/modules.builtin", encoding="utf-8") as file:
        if re.search(rf"/{re.escape(module)}\.ko$", file.read(), re.MULTILINE):
            return ""
    for pattern in _NAMES:
        path = os.path.join(root, "boot", pattern.format(release))
        if os.path.isfile(path):
            wanted = re.compile(rb"(?:^|/)" + re.escape(module).encode().replace(rb"\-", b"[-_]") + rb"\.ko(?:\.\w+)?$")
            try:
                found = any(wanted.search(name) for name in names(path))
            except (OSError, ToolError, ValueError, EOFError, zlib.error, lzma.LZMAError):
                return None
            return "" if found else path
    return None


def root_fault(release: str = "", root: str = "/") -> tuple[str, str] | tuple[()] | None:
    """Return why a machine with a thick snapshot of its root would not start with a kernel release (the running one),
    and what helps; () when it would, None when that cannot be seen."""
    lacking = without(SNAPSHOTS, release or os.uname().release, root)
    if lacking is None:
        return None
    return () if not lacking else (
        f"{printable(lacking)} has no {SNAPSHOTS}: the machine would not start for as long as its root has a snapshot",
        f"add {SNAPSHOTS} to /etc/initramfs-tools/modules and run `update-initramfs -u`, or `dracut --force "
        f"--add-drivers {SNAPSHOTS}`")


def names(path: str) -> Iterator[bytes]:
    """Yield the names of the files in an initramfs: all archives before the compressed one, and that. Raises OSError,
    ToolError, ValueError or what its library raises when it cannot be read."""
    with open(path, "rb") as file:
        size, position = os.fstat(file.fileno()).st_size, 0
        while position < size:
            file.seek(position)
            head = file.read(_CHUNK)
            rest = head.lstrip(b"\0")
            if not rest:
                position += len(head)
                continue
            position += len(head) - len(rest)
            if rest[:6] not in _CPIO:
                yield from _compressed(file.fileno(), rest[:6], position)
                return
            reader = _Reader(_plain(file.fileno(), position))
            yield from _members(reader)
            position += reader.taken


class _Reader:
    """Bytes from pieces, as many as are asked for; `taken` counts them."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest, self.taken = pieces, b"", 0

    def take(self, count: int) -> bytes:
        """Return the next bytes. Raises ValueError at the end, and where there is more than an initramfs has."""
        while len(self._rest) < count:
            piece = next(self._pieces, None)
            if piece is None or self.taken > _MOST:
                raise ValueError("the archive breaks off")
            self._rest += piece
        found, self._rest = self._rest[:count], self._rest[count:]
        self.taken += count
        return found

    def skip(self, count: int) -> None:
        """Leave bytes out."""
        while count:
            part = min(count, max(len(self._rest), 1))
            count -= len(self.take(part))


def _members(reader: _Reader) -> Iterator[bytes]:
    """Yield the names of a cpio archive ("newc") until its trailer."""
    while True:
        header = reader.take(110)
        if header[:6] not in _CPIO:
            raise ValueError("no cpio archive")
        data, length = int(header[54:62], 16), int(header[94:102], 16)
        name = reader.take(length).rstrip(b"\0")
        reader.skip(-(110 + length) % 4)
        if name == b"TRAILER!!!":
            return
        yield name
        reader.skip(data + -data % 4)


def _plain(fd: int, position: int) -> Iterator[bytes]:
    while data := os.pread(fd, _CHUNK, position):
        position += len(data)
        yield data


def _compressed(fd: int, magic: bytes, position: int) -> Iterator[bytes]:
    """Yield the names of the archives in a compressed stream."""
    tool = _TOOLS.get(magic[:4])
    if tool:
        os.lseek(fd, position, os.SEEK_SET)
        with os.fdopen(os.dup(fd), "rb") as source, Process([tool, "-d", "-c", "-q"], stdin=source) as process:
            out = process.stdout
            try:
                yield from _members(_Reader(iter(lambda: out.read(_CHUNK), b"")))
            finally:
                process.stop()      # what follows the archive may be padding, which is no fault of its
        return
    for start, made in _LIBRARIES:
        if magic.startswith(start):
            unpacker = made()
            yield from _members(_Reader(piece for data in _plain(fd, position) if (piece := unpacker.decompress(data))))
            return
    raise ValueError("an archive of an unknown kind")
