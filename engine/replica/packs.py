"""Packs: old file contents of one difference, in tar archives of bounded size compressed by zstd.

A pack is a whole tar archive by itself: `zstd -dc pack-000.tar.zst | tar x` gives files under their old names. A
member's attributes in the archive are a convenience; the records (changes.py) are what counts, and they say where
in the unpacked archive each content begins, so that Rollpoint reads members without searching.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import Protocol

from engine.entries import Entry, Kind
from engine.errors import DamageError, NoRoomError, ToolError
from engine.replica.changes import Step
from engine.run import Process

LIMIT = 32 << 20
LEVEL = "-3"
THREADS = f"-T{min(4, os.cpu_count() or 1)}"
_BLOCK = 512
_CHUNK = 1 << 20
_RUNNING = 2
_TYPES = {Kind.FILE: tarfile.REGTYPE, Kind.DIR: tarfile.DIRTYPE, Kind.LINK: tarfile.SYMTYPE,
          Kind.FIFO: tarfile.FIFOTYPE, Kind.SOCKET: tarfile.FIFOTYPE, Kind.CHAR: tarfile.CHRTYPE,
          Kind.BLOCK: tarfile.BLKTYPE}


def pack_name(number: int) -> bytes:
    """Return the file name of a pack."""
    return b"pack-%03d.tar.zst" % number


def header(entry: Entry, size: int) -> bytes:
    """Return the tar header blocks of a member: GNU format, and pax records before it for extended attributes."""
    info = tarfile.TarInfo(os.fsdecode(entry.path) or ".")
    info.type, info.mode, info.uid, info.gid = _TYPES[entry.kind], entry.mode, entry.uid, entry.gid
    info.mtime, info.size = max(0, entry.mtime // 10**9), size
    info.linkname = os.fsdecode(entry.target)
    info.devmajor, info.devminor = os.major(entry.rdev), os.minor(entry.rdev)
    main = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    return _xattr_header(entry) + main if entry.xattrs else main


def _xattr_header(entry: Entry) -> bytes:
    """Return the pax extended header that gives the next member its extended attributes, the way GNU tar writes it.

    By hand, since tarfile cannot write names that are no UTF-8.
    """
    records = b""
    for name, value in entry.xattrs:
        keyword = b"SCHILY.xattr." + name.replace(b"%", b"%25").replace(b"=", b"%3D")
        rest = b" " + keyword + b"=" + value + b"\n"
        length = len(rest)
        while len(str(length)) + len(rest) != length:
            length = len(str(length)) + len(rest)
        records += str(length).encode() + rest
    info = tarfile.TarInfo("././@PaxHeader")
    info.type, info.size = tarfile.XHDTYPE, len(records)
    return info.tobuf(tarfile.GNU_FORMAT) + records + bytes(-len(records) % _BLOCK)


class Readable(Protocol):
    """What a member's content is read from."""

    def read(self, count: int, /) -> bytes:
        """Return up to `count` bytes, b"" at the end."""


class PackWriter:
    """Writes the packs of one difference into `directory`, numbered from `first`; use as a context manager.

    Compressors run beside the writer, at most two at a time. After the block, `names` holds the packs written.
    """

    def __init__(self, directory: bytes, first: int = 0) -> None:
        self.directory = directory
        self.names: list[bytes] = []
        self._number = first - 1
        self._position = LIMIT + 1  # the first member opens the first pack
        self._running: list[Process] = []
        self._stack = ExitStack()

    def add(self, entry: Entry, source: Readable | None, size: int, op: str = "p") -> Step:
        """Append a member with `size` bytes from `source` (None: no content); returns the step that finds it again."""
        if self._position and self._position + size > LIMIT:
            self._next()
        head = header(entry, size)
        self._write(head)
        offset = self._position
        left = size
        while left:
            chunk = source.read(min(left, _CHUNK)) if source is not None else b""
            if not chunk:
                raise DamageError(f"{os.fsdecode(entry.path)!r} in the tree is shorter than recorded")
            self._write(chunk)
            left -= len(chunk)
        if size % _BLOCK:
            self._write(bytes(_BLOCK - size % _BLOCK))
        return Step(op, self._number, offset, size)

    def _write(self, data: bytes) -> None:
        feed(self._running[-1], data)
        self._position += len(data)

    def _next(self) -> None:
        self._end()
        while len(self._running) >= _RUNNING:
            settle(self._running.pop(0))
        self._number += 1
        self._position = 0
        name = pack_name(self._number)
        self.names.append(name)
        self._running.append(self._stack.enter_context(
            Process(["zstd", "-q", LEVEL, THREADS, "-f", "-o", os.path.join(self.directory, name)], feed=True)))

    def _end(self) -> None:
        if self._running and not self._running[-1].stdin.closed:
            self._write(bytes(2 * _BLOCK))
            self._running[-1].stdin.close()

    def __enter__(self) -> PackWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: object) -> None:
        if kind is None:
            with self._stack:
                self._end()
                while self._running:
                    settle(self._running.pop(0))
        else:
            self._stack.__exit__(kind, value, None)


def compress(source: bytes, target: bytes) -> None:
    """Compress bytes into a new file."""
    with open(target, "xb") as out, Process(["zstd", "-q", LEVEL], feed=True, stdout=out) as process:
        feed(process, source)
        settle(process)


def feed(process: Process, data: bytes) -> None:
    """Write all of `data` to a zstd. Raises as `settle` when it has ended."""
    view = memoryview(data)
    try:
        while view:
            view = view[process.stdin.write(view):]
    except BrokenPipeError:
        settle(process)
        raise       # it ended well without having read all


def settle(process: Process) -> None:
    """End what is fed to a zstd and wait for it. Raises NoRoomError when it found no room, ToolError when it failed."""
    with suppress(BrokenPipeError):
        process.stdin.close()
    try:
        process.check()
    except ToolError as error:
        if "No space left" in error.stderr or "quota" in error.stderr:
            raise NoRoomError("no room left in the store for what was packed") from None
        raise


def unpacked(path: bytes) -> Iterator[bytes]:
    """Yield the unpacked content of a zstd file in chunks. Raises DamageError when it is broken."""
    try:
        with Process(["zstd", "-dc", "-q", path]) as process:
            while chunk := process.stdout.read(_CHUNK):
                yield chunk
            process.check()
    except ToolError as error:
        raise DamageError(f"{os.fsdecode(os.path.basename(path))} cannot be unpacked: {error.message}") from None


def read_lines(path: bytes) -> Iterator[bytes]:
    """Yield the lines of a zstd-compressed text, newlines included."""
    rest = b""
    for chunk in unpacked(path):
        parts = (rest + chunk).splitlines(keepends=True)
        rest = parts.pop() if parts and not parts[-1].endswith(b"\n") else b""
        yield from parts
    if rest:
        yield rest


class Member:
    """The content of one member while a pack streams by: a file object that ends where the member ends."""

    def __init__(self, stream: _Stream, size: int) -> None:
        self._stream, self.left = stream, size

    def read(self, count: int = -1) -> bytes:
        """Return up to `count` bytes."""
        count = self.left if count < 0 else min(count, self.left)
        data = self._stream.take(min(count, _CHUNK))
        if count and not data:
            raise DamageError("a pack ends too early")
        self.left -= len(data)
        return data


class _Stream:
    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._buffer, self.position = chunks, memoryview(b""), 0

    def take(self, count: int) -> bytes:
        if not self._buffer:
            self._buffer = memoryview(next(self._chunks, b""))
        data = bytes(self._buffer[:count])
        self._buffer = self._buffer[len(data):]
        self.position += len(data)
        return data

    def seek(self, position: int) -> None:
        while self.position < position and (data := self.take(position - self.position)):
            del data


def members(path: bytes, wanted: Iterable[tuple[int, int]]) -> Iterator[tuple[int, Member]]:
    """Stream a pack once and yield (offset, content) for each wanted (offset, size), in order of offset.

    Raises DamageError when the pack is broken. Each content must be read before the next one is asked for.
    """
    chunks = unpacked(path)
    stream = _Stream(chunks)
    for offset, size in sorted(set(wanted)):
        stream.seek(offset)
        if stream.position != offset:
            raise DamageError(f"{os.fsdecode(os.path.basename(path))} ends too early")
        member = Member(stream, size)
        yield offset, member
        stream.seek(offset + size)
    chunks.close()  # type: ignore[attr-defined]


def write_sums(directory: bytes) -> None:
    """Write SHA256SUMS (the format of sha256sum) over all other files in a directory."""
    names = sorted(n for n in os.listdir(directory) if n != b"SHA256SUMS")
    with open(os.path.join(directory, b"SHA256SUMS"), "wb") as out:
        for name in names:
            out.write(file_sum(os.path.join(directory, name)).encode() + b"  " + name + b"\n")


def wrong_sums(directory: bytes) -> list[tuple[bytes, str]]:
    """Compare the files in a directory with its SHA256SUMS; returns name and what is wrong for each that differs.

    Raises OSError or ValueError when the list cannot be read.
    """
    with open(os.path.join(directory, b"SHA256SUMS"), "rb") as file:
        listed = {name: digest.decode("ascii") for digest, name in (li.rstrip(b"\n").split(b"  ", 1) for li in file)}
    present = set(os.listdir(directory)) - {b"SHA256SUMS"}
    wrong = [(name, "is not listed" if name in present else "is missing") for name in sorted(present ^ set(listed))]
    return wrong + [(name, "is damaged") for name in sorted(present & set(listed))
                    if file_sum(os.path.join(directory, name)) != listed[name]]


def file_sum(path: bytes) -> str:
    """Return the SHA-256 of a file in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
