"""A system's files below a directory, read without ever leaving it: symbolic links count from its root, as in a chroot.

The tree may be a restore point, a broken system or a hostile one: only regular files are opened, at most so many
bytes are read, and nothing is executed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

_MAX_LINKS = 40     # as the kernel: path_resolution(7)
TEXT_LIMIT = 4 << 20


class Tree:
    """The files below `root`. Paths are bytes relative to it; a leading slash does not matter."""

    def __init__(self, root: bytes) -> None:
        self.root = root

    def place(self, path: bytes) -> bytes | None:
        """Return where a path leads, all symbolic links followed inside the tree; None where there is nothing."""
        inner = self.inner(path)
        return None if inner is None else os.path.join(self.root, inner) if inner else self.root

    def exists_as(self, path: bytes) -> tuple[bool, bytes | None]:
        """Return whether something has this name (links are not followed), and where a symbolic link leads."""
        full = os.path.join(self.root, path)
        try:
            info = os.lstat(full)
            return True, os.readlink(full) if stat.S_ISLNK(info.st_mode) else None
        except (OSError, ValueError):
            return False, None

    def inner(self, path: bytes) -> bytes | None:
        """Return the path, relative to the root, to which a path leads; None where there is nothing."""
        todo = [p for p in reversed(path.split(b"/")) if p not in (b"", b".")]
        done: list[bytes] = []
        links = 0
        while todo:
            part = todo.pop()
            if part == b"..":
                del done[-1:]
                continue
            there, target = self.exists_as(b"/".join((*done, part)))
            if not there:
                return None
            if target is None:
                done.append(part)
                continue
            links += 1
            if links > _MAX_LINKS:
                return None
            if target.startswith(b"/"):
                done = []
            todo += [p for p in reversed(target.split(b"/")) if p not in (b"", b".")]
        return b"/".join(done)

    @contextlib.contextmanager
    def open(self, path: bytes) -> Iterator[int | None]:
        """Open a regular file and yield its file descriptor; None where there is none."""
        fd = -1
        with contextlib.suppress(OSError):
            place = self.place(path)
            if place is not None and stat.S_ISREG(os.lstat(place).st_mode):
                fd = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            yield fd if fd >= 0 and stat.S_ISREG(os.fstat(fd).st_mode) else None
        finally:
            if fd >= 0:
                os.close(fd)

    def read(self, path: bytes, limit: int = TEXT_LIMIT) -> bytes | None:
        """Return the first `limit` bytes of a regular file; None where there is none that can be read."""
        data = bytearray()
        with contextlib.suppress(OSError), self.open(path) as fd:
            if fd is None:
                return None
            while len(data) < limit and (chunk := os.read(fd, min(1 << 20, limit - len(data)))):
                data += chunk
            return bytes(data)
        return None

    def text(self, path: bytes) -> str | None:
        """Return a text file (bytes that are no UTF-8 as surrogates), or None."""
        data = self.read(path)
        return None if data is None else data.decode("utf-8", "surrogateescape")

    def names(self, path: bytes) -> list[bytes]:
        """Return the sorted names in a directory, [] where there is none."""
        place = self.place(path)
        with contextlib.suppress(OSError):
            return sorted(os.listdir(place)) if place is not None else []
        return []

    def exists(self, path: bytes) -> bool:
        """Whether something is there."""
        return self.place(path) is not None

    def is_file(self, path: bytes) -> bool:
        """Whether a path leads to a regular file."""
        place = self.place(path)
        return place is not None and os.path.isfile(place) and not os.path.islink(place)

    def fold(self, path: bytes) -> bytes | None:
        """Return the path as it is spelled on the disk, letter case apart, the way FAT finds files; None if there is
        none."""
        found = b""
        for part in (p for p in path.split(b"/") if p):
            match = next((n for n in self.names(found) if n.lower() == part.lower()), None)
            if match is None:
                return None
            found = os.path.join(found, match)
        return found
