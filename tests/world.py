"""A live tree under change, and what its random operations draw from: names, sizes, modes, contents."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import stat
from collections.abc import Iterator

BASE_NS = 1_750_000_000_123_456_789
TICK_NS = 7_919_231  # under 8 ms: most edits fall into the same second as the one before

NAMES = (
    b"a",
    b"b",
    b"conf",
    b"log",
    b"data.db",
    b"A",
    b"etc",
    b"x.pid",
    b"notes.swp",
    b".hidden",
    b"new\nline",
    b"esc\x1b[31mred",
    b"\xff\xfe no utf8",
    b"caf\xe9",
    "caf\u00e9".encode(),
    "cafe\u0301".encode(),
    "\u2603 \u202e".encode(),
    b"n" * 255,
    b"\xe9" * 255,
    b"-leading",
    b"--delete",
    b" lead",
    b"trail ",
    b"back\\slash",
    b"\\#012",
    b"a\\#134#b",
    b"#hash",
    b"x -> y",
    b"x => y",
    b"star*",
    b"wha?",
    b"br[a-c]ket",
    b"[red]x[",
    b"]y",
    b"trail.",
    b"...",
    b"tab\there",
    b"cr\rx",
    b"'quote\"",
    b"$HOME`id`",
    b"{a,b}",
    b".wh.file",
    b".wh..wh..opq",
    b"~tilde",
    b"file~",
    b".~tmp~",
    b"host:path",
    b"host::mod",
    b".rsync-filter",
    b"\x01",
    b"%n%L",
    b"..x",
    b"!not",
    b"@at",
    b"tree",
    b"points",
    b"changes",
    b"lost+found",
    b";semi",
)
SIZES = (0, 1, 10, 700, 4095, 4096, 5000, 70_000)
FILE_MODES = (0o644, 0o600, 0o755, 0o000, 0o4755, 0o2755, 0o6711, 0o1644, 0o444, 0o640, 0o222, 0o7777)
DIR_MODES = (0o755, 0o700, 0o1777, 0o2775, 0o3777, 0o000, 0o555, 0o500, 0o711)
OWNERS = (0, 1, 33, 1000, 65534, 3_000_000_000)
XATTR_NAMES = (
    b"user.comment",
    b"user.x",
    b"user.mime_type",
    "user.\u00fc".encode(),
    b"user.\xfe",
    b"user.new\nline",
)
MAX_DEPTH = 5

Kinds = frozenset[str]
FILES: Kinds = frozenset({"file"})
DIRS: Kinds = frozenset({"dir"})
NO_LINKS: Kinds = frozenset({"file", "dir", "other"})
LEAVES: Kinds = frozenset({"file", "link", "other"})
ALL: Kinds = frozenset({"file", "dir", "link", "other"})


class World:
    """A live tree under change. `privileged` says whether operations of root are to be had."""

    def __init__(self, root: bytes | str, *, privileged: bool) -> None:
        self.root = os.fsencode(root)
        self.privileged = privileged
        self._ticks = 0

    def tick(self) -> int:
        """Return a modification time in ns that was never returned before."""
        self._ticks += 1
        return BASE_NS + self._ticks * TICK_NS

    def stamp(self, path: bytes) -> None:
        """Give `path` a modification time of its own."""
        os.utime(path, ns=(BASE_NS, self.tick()), follow_symlinks=False)

    def all(self, kinds: Kinds) -> list[bytes]:
        """Return the full paths of all entries of these kinds below the root, sorted."""
        out: list[bytes] = []
        stack = [self.root]
        while stack:
            with contextlib.suppress(PermissionError), os.scandir(stack.pop()) as items:
                for item in items:
                    kind = _kind(item.stat(follow_symlinks=False).st_mode)
                    if kind in kinds:
                        out.append(item.path)
                    if kind == "dir":
                        stack.append(item.path)
        return sorted(out)

    def pick(self, kinds: Kinds, number: int) -> bytes | None:
        """Return the entry of these kinds that `number` chooses, or None when there is none."""
        found = self.all(kinds)
        return found[number % len(found)] if found else None

    def place(self, directory: int, name: int) -> bytes | None:
        """Return a path for a new entry, or None when something stands there already."""
        limit = self.root.count(b"/") + MAX_DEPTH
        found = [self.root] + [d for d in self.all(DIRS) if d.count(b"/") < limit]
        path = found[directory % len(found)] + b"/" + NAMES[name % len(NAMES)]
        return None if os.path.lexists(path) else path

    def aside(self) -> bytes:
        """Return a path that nothing stands at, for a moment."""
        return self.root + b"/.aside%d" % self.tick()

    def write(self, path: bytes, data: bytes) -> None:
        """Write a file in place (its inode, links and attributes stay)."""
        with self.writable(path), open(path, "wb") as file:
            file.write(data)
        self.stamp(path)

    @contextlib.contextmanager
    def writable(self, path: bytes) -> Iterator[None]:
        """Let the owner write into a file that its mode protects; root needs no help."""
        mode = stat.S_IMODE(os.lstat(path).st_mode) if os.path.lexists(path) else 0o600
        if self.privileged or mode & 0o600 == 0o600:
            yield
            return
        os.chmod(path, mode | 0o600)
        try:
            yield
        finally:
            os.chmod(path, mode)


def _kind(mode: int) -> str:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "dir"
    return "link" if stat.S_ISLNK(mode) else "other"


def content(number: int, size: int) -> bytes:
    """Return `size` bytes that depend on `number`: lines of a log for even numbers, noise for odd ones."""
    rng = random.Random(number)
    if number % 2:
        return rng.randbytes(size)
    line = b"%08d host daemon[%d]: something happened, again, %s\n"
    lines = (line % (i, number, rng.randbytes(6).hex().encode()) for i in range(size // 60 + 1))
    return b"".join(lines)[:size]


def remove(path: bytes) -> None:
    """Remove whatever stands at `path`."""
    if stat.S_ISDIR(os.lstat(path).st_mode):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def copy_with_holes(path: bytes, target: bytes) -> None:
    """Copy a file's content into a new file, each hole where it was.

    No quick check can see that a hole was filled while size and time stayed.
    """
    with open(path, "rb") as old, open(target, "xb") as new:
        size, position = os.fstat(old.fileno()).st_size, 0
        while position < size:
            try:
                start = os.lseek(old.fileno(), position, os.SEEK_DATA)
            except OSError:
                break
            position = os.lseek(old.fileno(), start, os.SEEK_HOLE)
            new.seek(start)
            new.write(os.pread(old.fileno(), position - start, start))
        new.truncate(size)
