"""An independent record of a tree: what the tests believe, and nothing of the engine's own code.

`record` reads everything that a restore point promises to bring back; `differences` says in readable lines
how one record deviates from another.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

# A restored file may take this much more room than the recorded one (block sizes, extended attribute blocks,
# and the bounds of holes, which need not lie at the same offsets).
ROOM_TOLERANCE = 64 * 1024

_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFBLK: "block",
    stat.S_IFCHR: "char",
}


@dataclass(frozen=True, slots=True)
class Fact:
    """Everything that must come back at one path. Times are in nanoseconds, sizes in bytes.

    `size` and `sha256` are those of regular files only. `allocated` is the room on disk. `group` holds all
    paths of the tree that are hard links of this one, itself included; it is empty for a path that stands
    alone.
    """

    type: str
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    size: int
    sha256: str
    allocated: int
    rdev: int
    target: bytes
    xattrs: tuple[tuple[str, bytes], ...]
    group: frozenset[bytes]


Record = dict[bytes, Fact]


def record(tree: bytes | str) -> Record:
    """Return a fact for every path below `tree` (relative, b"" is the root itself). Needs to read every file.

    The tree must not change meanwhile. Raises OSError where something cannot be read.
    """
    base = os.fsencode(tree)
    found: dict[bytes, os.stat_result] = {b"": os.lstat(base)}
    _walk(base, b"", found)
    groups: dict[tuple[int, int], set[bytes]] = defaultdict(set)
    for path, info in found.items():
        if not stat.S_ISDIR(info.st_mode) and info.st_nlink > 1:
            groups[info.st_dev, info.st_ino].add(path)
    hashes: dict[tuple[int, int], str] = {}
    out: Record = {}
    for path, info in found.items():
        group = groups.get((info.st_dev, info.st_ino), set())
        out[path] = _fact(_join(base, path), info, frozenset(group if len(group) > 1 else ()), hashes)
    return out


def _join(base: bytes, path: bytes) -> bytes:
    return base + b"/" + path if path else base


def _walk(base: bytes, directory: bytes, found: dict[bytes, os.stat_result]) -> None:
    for item in sorted(os.listdir(_join(base, directory))):
        path = directory + b"/" + item if directory else item
        info = os.lstat(_join(base, path))
        found[path] = info
        if stat.S_ISDIR(info.st_mode):
            _walk(base, path, found)


def _fact(
    full: bytes, info: os.stat_result, group: frozenset[bytes], hashes: dict[tuple[int, int], str]
) -> Fact:
    kind = stat.S_IFMT(info.st_mode)
    regular = kind == stat.S_IFREG
    digest = ""
    if regular:
        inode = (info.st_dev, info.st_ino)
        digest = hashes.get(inode, "") or _sha256(full)
        hashes[inode] = digest
    return Fact(
        type=_TYPES[kind],
        mode=stat.S_IMODE(info.st_mode),
        uid=info.st_uid,
        gid=info.st_gid,
        mtime_ns=info.st_mtime_ns,
        size=info.st_size if regular else 0,
        sha256=digest,
        allocated=info.st_blocks * 512 if regular else 0,
        rdev=info.st_rdev if kind in (stat.S_IFBLK, stat.S_IFCHR) else 0,
        target=os.readlink(full) if kind == stat.S_IFLNK else b"",
        xattrs=tuple(
            (name, os.getxattr(full, name, follow_symlinks=False))
            for name in sorted(os.listxattr(full, follow_symlinks=False))
        ),
        group=group,
    )


def _sha256(full: bytes) -> str:
    digest = hashlib.sha256()
    with open(full, "rb", buffering=0) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def differences(
    expected: Mapping[bytes, Fact], found: Mapping[bytes, Fact], *, ignore: Iterable[str] = ()
) -> list[str]:
    """Return one line for each deviation of `found` from `expected`; an empty list when there is none.

    A path that takes less room than recorded is no deviation; one that takes clearly more is. `ignore` names
    fields of `Fact` that shall not count.
    """
    ignored = set(ignore)
    lines: list[str] = []
    for path in sorted(set(expected) | set(found)):
        old, new = expected.get(path), found.get(path)
        if old is None:
            lines.append(f"{path!r}: is there ({new.type if new else ''}), should not be")
        elif new is None:
            lines.append(f"{path!r}: is missing ({old.type})")
        else:
            lines += [f"{path!r}: {text}" for text in _deviations(old, new, ignored)]
    return lines


def must_equal(expected: Mapping[bytes, Fact], found: Mapping[bytes, Fact], what: str) -> None:
    """Raise AssertionError with all deviations (at most 20 lines) unless `found` is what was expected."""
    lines = differences(expected, found)
    if lines:
        more = [f"… and {len(lines) - 20} more"] if len(lines) > 20 else []
        raise AssertionError("\n  ".join([what, *lines[:20], *more]))


def _deviations(old: Fact, new: Fact, ignored: set[str]) -> list[str]:
    if old.type != new.type:
        return [f"is a {new.type}, should be a {old.type}"]
    out: list[str] = []
    for field in fields(Fact):
        name = field.name
        want, have = getattr(old, name), getattr(new, name)
        if name in ignored or want == have:
            continue
        if name == "allocated":
            if have > want + ROOM_TOLERANCE:
                out.append(f"takes {have} bytes on disk, should take {want} (holes lost)")
        elif name == "mode":
            out.append(f"mode is {have:04o}, should be {want:04o}")
        elif name == "group":
            out.append(f"is linked with {sorted(have)}, should be with {sorted(want)}")
        elif name == "xattrs":
            out += _xattr_deviations(dict(want), dict(have))
        else:
            out.append(f"{name} is {have!r}, should be {want!r}")
    return out


def _xattr_deviations(want: dict[str, bytes], have: dict[str, bytes]) -> list[str]:
    return [
        f"xattr {name} is {have.get(name)!r}, should be {want.get(name)!r}"
        for name in sorted(set(want) | set(have))
        if want.get(name) != have.get(name)
    ]
