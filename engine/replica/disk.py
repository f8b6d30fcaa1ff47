"""Entries on a disk: read them whole, make them whole, walk a tree in the catalog's order."""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import errno
import os
import stat
from collections.abc import Iterator

from engine.entries import Entry, Kind

_ACL = (b"system.posix_acl_access", b"system.posix_acl_default")
_CHUNK = 1 << 20
_BLOCK = 4096
_ZERO = bytes(_BLOCK)
_LIBC = ctypes.CDLL(None, use_errno=True)
_PUNCH = 0x01 | 0x02  # FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE: fallocate(2)


def read_entry(full: bytes, path: bytes, info: os.stat_result | None = None, csum: bytes = b"",
               link: int | None = None) -> Entry:
    """Return the entry at `full` under the name `path`. Raises OSError (FileNotFoundError when it is not there).

    The checksum and the hard-link group are not read: who knows them passes them on.
    """
    info = os.lstat(full) if info is None else info
    mode = info.st_mode
    kind = Kind.of(mode)
    return Entry(
        path, kind, stat.S_IMODE(mode), info.st_uid, info.st_gid, info.st_mtime_ns,
        info.st_size if kind is Kind.FILE else 0,
        info.st_rdev if kind in (Kind.BLOCK, Kind.CHAR) else 0,
        os.readlink(full) if kind is Kind.LINK else b"",
        read_xattrs(full), link, csum)


def behind_link(root: bytes, path: bytes, known: dict[bytes, bool]) -> bool:
    """Whether a path of the tree `root` is only reached through a symbolic link: then it is not in the tree. `known`
    keeps the answers by directory for as long as the tree does not change."""
    parent = os.path.dirname(path)
    if parent and parent not in known:
        known[parent] = os.path.islink(os.path.join(root, parent)) or behind_link(root, parent, known)
    return bool(parent) and known[parent]


def read_xattrs(full: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """Return the extended attributes and ACLs that a copy must have, sorted by name.

    These are what rsync -AX copies: as root all but the system namespace (POSIX ACLs apart), else user.* and ACLs.
    """
    try:
        names = os.listxattr(full, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EACCES, errno.EPERM):
            return ()
        raise
    if not names:
        return ()
    pairs = []
    for text in names:
        name = os.fsencode(text)
        if name in _ACL or (not name.startswith(b"system.") and (name.startswith(b"user.") or os.geteuid() == 0)):
            try:
                pairs.append((name, os.getxattr(full, name, follow_symlinks=False)))
            except OSError as error:
                # It vanished since it was listed; or we may not read the file at all, which rsync reports.
                if error.errno not in (errno.ENODATA, errno.EACCES, errno.EPERM):
                    raise
    return tuple(sorted(pairs))


def as_read(entry: Entry, full: bytes) -> Entry:
    """Return an entry that root may have recorded as `read_entry` would find it at `full` if nothing had happened to
    it: others see neither trusted.* nor file capabilities, and user.* only of what they may read (xattr(7))."""
    if os.geteuid() == 0 or not entry.xattrs:
        return entry
    readable = os.access(full, os.R_OK, effective_ids=True)
    seen = tuple((name, value) for name, value in entry.xattrs
                 if name in _ACL or (name.startswith(b"user.") and readable))
    return entry if seen == entry.xattrs else dataclasses.replace(entry, xattrs=seen)


def apply_attributes(full: bytes, entry: Entry) -> None:
    """Give the entry at `full` the owner, mode, xattrs, ACLs and times of `entry`. Raises OSError.

    Order matters: chown drops set-id bits and file capabilities, chmod changes an ACL's mask, and an ordinary user
    needs the right to write for setting an extended attribute.
    """
    info = os.lstat(full)
    root = os.geteuid() == 0
    if (info.st_uid, info.st_gid) != (entry.uid, entry.gid) and root:
        os.lchown(full, entry.uid, entry.gid)
    have = dict(read_xattrs(full))
    want = dict(entry.xattrs)
    if have != want and not root and entry.kind is not Kind.LINK:
        os.chmod(full, 0o700)
    for name in have.keys() - want.keys():
        os.removexattr(full, name, follow_symlinks=False)
    for name, value in entry.xattrs:
        if name not in _ACL and (have.get(name) != value or name == b"security.capability"):
            os.setxattr(full, name, value, follow_symlinks=False)
    if entry.kind is not Kind.LINK:
        os.chmod(full, entry.mode)
    for name in _ACL:
        if name in want:
            os.setxattr(full, name, want[name], follow_symlinks=False)
    os.utime(full, ns=(entry.mtime, entry.mtime), follow_symlinks=False)


def make_node(full: bytes, entry: Entry) -> None:
    """Make the entry without its attributes (a regular file is made empty); an existing directory is kept."""
    if entry.kind is Kind.DIR:
        with contextlib.suppress(FileExistsError):
            os.mkdir(full, 0o700)
    elif entry.kind is Kind.LINK:
        os.symlink(entry.target, full)
    elif entry.kind is Kind.FILE:
        os.close(os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    else:
        os.mknod(full, stat.S_IFMT(entry.st_mode) | 0o600, entry.rdev)


def copy_data(source: bytes, target: bytes) -> None:
    """Copy the data of a regular file into the new file `target`, holes included; shares extents where it can."""
    with open(source, "rb", buffering=0) as old, open(target, "xb", buffering=0) as new:
        size = os.fstat(old.fileno()).st_size
        copy_range(old.fileno(), new.fileno(), 0, size)
        os.ftruncate(new.fileno(), size)


def copy_range(source: int, target: int, start: int, end: int) -> None:
    """Copy the data (not the holes) of bytes `start` to `end` to the same place of another open file."""
    for position, stop in data_ranges(source, start, end):
        while position < stop:
            position += _copy_some(source, target, position, stop - position)


def data_ranges(file: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield where an open file has data and no holes, from `start` to `end`. Raises OSError."""
    while start < end:
        try:
            start = os.lseek(file, start, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        stop = min(end, os.lseek(file, start, os.SEEK_HOLE))
        if start < stop:
            yield start, stop
        start = stop


def _copy_some(source: int, target: int, position: int, count: int) -> int:
    try:
        done = os.copy_file_range(source, target, count, position, position)
        if done:
            return done
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM):
            raise
    data = os.pread(source, min(count, _CHUNK), position)
    if not data:
        return count  # the file shrank meanwhile: the caller's comparison finds it
    return write_sparse(target, data, position)


def write_sparse(target: int, data: bytes, position: int) -> int:
    """Write `data` at `position` of a new file, leaving aligned all-zero blocks as holes; returns len(data)."""
    if len(data) < _BLOCK or data.find(_ZERO) < 0:
        _write_all(target, data, position)
        return len(data)
    start = 0
    while start < len(data):
        stop = start
        while data[stop:stop + _BLOCK] == _ZERO:
            stop += _BLOCK
        begin = stop
        while stop < len(data) and data[stop:stop + _BLOCK] != _ZERO:
            stop += _BLOCK
        if begin < len(data):
            _write_all(target, data[begin:stop], position + begin)
        start = stop
    return len(data)


def overwrite(target: int, data: bytes, position: int) -> None:
    """Write `data` over what an open file has at `position`, making aligned all-zero blocks holes where possible."""
    for start in range(0, len(data), _BLOCK):
        block = data[start:start + _BLOCK]
        hole = block == _ZERO and _LIBC.fallocate(target, _PUNCH, ctypes.c_int64(position + start),
                                                  ctypes.c_int64(_BLOCK)) == 0
        if not hole:
            _write_all(target, block, position + start)


def _write_all(target: int, data: bytes, position: int) -> None:
    view = memoryview(data)
    while view:
        done = os.pwrite(target, view, position)
        view, position = view[done:], position + done


def same_data(one: bytes, other: bytes) -> bool:
    """Whether two regular files hold the same bytes."""
    with open(one, "rb", buffering=0) as a, open(other, "rb", buffering=0) as b:
        if os.fstat(a.fileno()).st_size != os.fstat(b.fileno()).st_size:
            return False
        while True:
            chunk = a.read(_CHUNK)
            if chunk != b.read(len(chunk) or 1):
                return False
            if not chunk:
                return True


def walk(root: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    """Yield (path, lstat) of everything below `root`, the root itself (b"") first, in the catalog's order. A root that
    is no directory, or a link to one, is all there is.

    That order is: a directory before what is in it, names in byte order. Raises OSError for what cannot be read.
    """
    top = os.lstat(root)
    yield b"", top
    stack = [_children(root, b"")] if stat.S_ISDIR(top.st_mode) else []
    while stack:
        for path, info in stack[-1]:
            yield path, info
            if stat.S_ISDIR(info.st_mode):
                stack.append(_children(root, path))
                break
        else:
            stack.pop()


def _children(root: bytes, path: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    try:
        with os.scandir(os.path.join(root, path)) as listing:
            found = sorted(listing, key=lambda e: e.name)
    except FileNotFoundError:
        return
    prefix = path + b"/" if path else b""
    for item in found:
        with contextlib.suppress(FileNotFoundError):
            yield prefix + item.name, item.stat(follow_symlinks=False)


def remove_any(full: bytes) -> None:
    """Remove whatever is at `full` (a directory with all in it); absent is fine."""
    try:
        os.unlink(full)
    except FileNotFoundError:
        return
    except (IsADirectoryError, PermissionError):
        from engine.replica.layout import remove_tree
        if os.path.isdir(full) and not os.path.islink(full):
            remove_tree(full)
        else:
            raise


def clone_file(full: bytes, entry: Entry) -> None:
    """Give the regular file at `full` an inode of its own (break a hard link), attributes as in `entry`."""
    temporary = os.path.join(os.path.dirname(full), b".rollpoint-%d" % os.getpid())
    remove_any(temporary)
    if entry.kind is Kind.FILE:
        copy_data(full, temporary)
    else:
        make_node(temporary, entry)
    apply_attributes(temporary, entry)
    os.rename(temporary, full)
