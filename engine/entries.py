"""What stands at a path of a point: types shared by every backend, by diff, browse, history and rollback."""

from __future__ import annotations

import enum
import stat
from bisect import bisect_right
from dataclasses import dataclass, field


class Kind(enum.StrEnum):
    """The type of a file system entry, by the letter `find -printf %y` uses (`-` for a regular file is `f`)."""

    FILE = "f"
    DIR = "d"
    LINK = "l"
    FIFO = "p"
    SOCKET = "s"
    BLOCK = "b"
    CHAR = "c"

    @staticmethod
    def of(mode: int) -> Kind:
        """Return the kind that `st_mode` says."""
        return _BY_FORMAT[stat.S_IFMT(mode)]


_BY_FORMAT = {
    stat.S_IFREG: Kind.FILE, stat.S_IFDIR: Kind.DIR, stat.S_IFLNK: Kind.LINK, stat.S_IFIFO: Kind.FIFO,
    stat.S_IFSOCK: Kind.SOCKET, stat.S_IFBLK: Kind.BLOCK, stat.S_IFCHR: Kind.CHAR,
}
FORMATS = {kind: fmt for fmt, kind in _BY_FORMAT.items()}


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a tree, whole: everything that a restored entry must have again.

    `path` is relative to the root of the point, without a leading slash; b"" is the root itself. `mode` holds the
    permission bits only (0o7777). `mtime` is in nanoseconds since the epoch. `size` is in bytes, and 0 for all but
    regular files. `target` is a symbolic link's text. `rdev` is a device's number (os.makedev). `xattrs` are pairs
    sorted by name and include POSIX ACLs as the system.posix_acl_* attributes. `link` is a number that the entries
    of one hard-link group share (None: not linked). `csum` is the content's xxh128 as rsync prints it, or b"".
    """

    path: bytes
    kind: Kind
    mode: int
    uid: int
    gid: int
    mtime: int
    size: int = 0
    rdev: int = 0
    target: bytes = b""
    xattrs: tuple[tuple[bytes, bytes], ...] = ()
    link: int | None = None
    csum: bytes = b""

    @property
    def st_mode(self) -> int:
        """Type and permission bits together, as in `st_mode`."""
        return FORMATS[self.kind] | self.mode

    @property
    def name(self) -> bytes:
        """The last component of the path."""
        return self.path.rpartition(b"/")[2]


class Status(enum.StrEnum):
    """What happened to a path between an older and a newer state; the letter is what `diff` prints."""

    CREATED = "+"
    DELETED = "-"
    CHANGED = "M"
    TYPE = "T"
    ATTRS = "a"


@dataclass(frozen=True, slots=True)
class Change:
    """One path that differs. `what` names what differs: content, size, mtime, mode, owner, group, xattrs, acl,
    target, device, links, type."""

    path: bytes
    status: Status
    old: Entry | None
    new: Entry | None
    what: tuple[str, ...] = ()

    @property
    def kind(self) -> Kind:
        """The kind of the newer entry, or of the older one when there is no newer."""
        entry = self.new or self.old
        assert entry is not None
        return entry.kind


@dataclass(frozen=True, slots=True)
class Diff:
    """All changes from `older` to `newer` (point ids, or ``live``), sorted by path."""

    older: str
    newer: str
    changes: tuple[Change, ...]

    def count(self, status: Status) -> int:
        """How many paths have that status."""
        return sum(1 for c in self.changes if c.status is status)

    @property
    def bytes_new(self) -> int:
        """Bytes of the regular files that are new or have other content in the newer state."""
        return sum(c.new.size for c in self.changes if c.new and c.status is not Status.ATTRS)

    @property
    def bytes_old(self) -> int:
        """Bytes of the regular files that are gone or had other content in the older state."""
        return sum(c.old.size for c in self.changes if c.old and c.status is not Status.ATTRS)


@dataclass(frozen=True, slots=True)
class Version:
    """One state of one path over a run of points: from point `first` to point `last`, both ids, both included."""

    entry: Entry
    first: str
    last: str
    current: bool
    points: int = field(default=1)


@dataclass(frozen=True, slots=True)
class Span:
    """What a path was from point number `first` to point number `last`, both included (None: it still is)."""

    first: int
    last: int | None
    entry: Entry


@dataclass(frozen=True, slots=True)
class Life:
    """What became of one name of a directory over all restore points. `spans` are oldest first and never overlap;
    between them the name was absent. They may begin or end at points that have been deleted since."""

    name: bytes
    spans: tuple[Span, ...]

    def at(self, number: int) -> Entry | None:
        """Return the entry in the point with that number, None where the point does not have it."""
        index = bisect_right(self.spans, number, key=lambda span: span.first) - 1
        if index < 0:
            return None
        span = self.spans[index]
        return span.entry if span.last is None or span.last >= number else None


def compare(old: Entry | None, new: Entry | None) -> Change | None:
    """Return how a path changed from `old` to `new`, or None when both are the same (or both absent).

    Modification times of directories, symlinks and all else count. Sizes and times decide whether a file's content
    changed unless both checksums are known; that is rsync's quick check, and its limit too.
    """
    if old is None or new is None:
        entry = old or new
        if entry is None:
            return None
        return Change(entry.path, Status.CREATED if old is None else Status.DELETED, old, new)
    if old.kind is not new.kind:
        return Change(new.path, Status.TYPE, old, new, ("type",))
    what = [word for word, a, b in (
        ("size", old.size, new.size), ("mtime", old.mtime, new.mtime), ("mode", old.mode, new.mode),
        ("owner", old.uid, new.uid), ("group", old.gid, new.gid), ("target", old.target, new.target),
        ("device", old.rdev, new.rdev)) if a != b]
    what += _xattr_words(old, new)
    if old.kind is Kind.FILE and _content_differs(old, new):
        what.insert(0, "content")
    if not what:
        return None
    deep = {"content", "target", "device"}.intersection(what)
    return Change(new.path, Status.CHANGED if deep else Status.ATTRS, old, new, tuple(what))


def _content_differs(old: Entry, new: Entry) -> bool:
    if old.size != new.size:
        return True
    if old.csum and new.csum:
        return old.csum != new.csum
    return old.mtime != new.mtime


def _xattr_words(old: Entry, new: Entry) -> list[str]:
    if old.xattrs == new.xattrs:
        return []
    names = {name for name, _ in set(old.xattrs) ^ set(new.xattrs)}
    acl = {n for n in names if n.startswith(b"system.posix_acl_")}
    return (["acl"] if acl else []) + (["xattrs"] if names - acl else [])
