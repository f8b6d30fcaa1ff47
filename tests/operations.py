"""What can happen to a tree: the single operations that random histories are made of.

Each operation takes three numbers that choose where and what; it is total: where there is nothing to do it
on, it does nothing. Every new content gets a modification time that no content had before, because equal size
and time with another content is beyond rsync's quick check (a documented limit). Directory times are left to
the kernel.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import struct
from collections.abc import Callable

from tests.world import (
    ALL,
    BASE_NS,
    DIR_MODES,
    DIRS,
    FILE_MODES,
    FILES,
    LEAVES,
    NAMES,
    NO_LINKS,
    OWNERS,
    SIZES,
    XATTR_NAMES,
    World,
    content,
    copy_with_holes,
    remove,
)


# --- making ---
def create(w: World, a: int, b: int, c: int) -> None:
    """A new file of up to 70 kB."""
    if path := w.place(a, b):
        w.write(path, content(c, SIZES[c % len(SIZES)]))
        os.chmod(path, 0o644)


def big(w: World, a: int, b: int, c: int) -> None:
    """A new file of 1 to 2 MiB, large enough to be stored as a difference later."""
    if path := w.place(a, b):
        w.write(path, content(c, (1 << 20) + c * 16))


def mkdir(w: World, a: int, b: int, c: int) -> None:
    """A new directory, sometimes with a file in it."""
    if path := w.place(a, b):
        os.mkdir(path)
        if c % 2:
            w.write(path + b"/" + NAMES[c % len(NAMES)], content(c, c % 1000))


def symlink(w: World, a: int, b: int, c: int) -> None:
    """A new symbolic link: relative, absolute, dangling, upwards, or with an odd target."""
    if path := w.place(a, b):
        targets = (b"a", b"/etc/passwd", b"../..", b"nowhere -> x", b"new\nline", b"\xff", b"t" * 1000, b".")
        os.symlink(targets[c % len(targets)], path)
        w.stamp(path)


def special(w: World, a: int, b: int, c: int) -> None:
    """A FIFO or a socket; for root also devices, and 0:0, which overlayfs takes for a whiteout."""
    if path := w.place(a, b):
        make_special(w, path, c)


def make_special(w: World, path: bytes, c: int) -> None:
    """Make the special file that `c` chooses at `path`."""
    choices = [(stat.S_IFIFO, 0), (stat.S_IFSOCK, 0)]
    if w.privileged:
        choices += [
            (stat.S_IFCHR, os.makedev(1, 3)),
            (stat.S_IFBLK, os.makedev(7, 300)),
            (stat.S_IFCHR, 0),
            (stat.S_IFCHR, os.makedev(511, 1_000_000)),
        ]
    kind, device = choices[c % len(choices)]
    os.mknod(path, kind | 0o640, device)
    w.stamp(path)


def sparse(w: World, a: int, b: int, c: int) -> None:
    """A file of several MiB that is mostly hole."""
    if path := w.place(a, b):
        size = (2 << 20) + c * 32
        with open(path, "wb") as file:
            for i in range(c % 4):
                file.seek((c * 7919 + i * 600_011) % size)
                file.write(content(c + i, 5000)[: size - file.tell()])
            file.truncate(size)
        w.stamp(path)


# --- content ---
def edit(w: World, a: int, b: int, c: int) -> None:
    """Other content of another size; by writing in place, or as editors do by rename."""
    if path := w.pick(FILES, a):
        if b % 2:
            w.write(path, content(c, SIZES[b % len(SIZES)] + c % 50))
            return
        new = w.aside()
        w.write(new, content(c, SIZES[b % len(SIZES)] + c % 50))
        os.rename(new, path)


def same_size(w: World, a: int, b: int, c: int) -> None:
    """Other content of the same size, moments later."""
    if path := w.pick(FILES, a):
        _splice(w, path, b, 1 + c % 64, content(c | 1, 64))


def append(w: World, a: int, b: int, c: int) -> None:
    """A log grows."""
    if path := w.pick(FILES, a):
        with w.writable(path), open(path, "ab") as file:
            file.write(content(b, 1 + c % 3000))
        w.stamp(path)


def _large(w: World, number: int) -> bytes | None:
    found = [p for p in w.all(FILES) if os.lstat(p).st_size > 1 << 19]
    return found[number % len(found)] if found else w.pick(FILES, number)


def block_edit(w: World, a: int, b: int, c: int) -> None:
    """A block in the middle of a large file changes, as in a disk image or a database."""
    if path := _large(w, a):
        _splice(w, path, b * 4096, 4096, content(c | 1, 4096))


def _splice(w: World, path: bytes, where: int, count: int, data: bytes) -> None:
    size = os.lstat(path).st_size
    if not size:
        return
    with w.writable(path), open(path, "r+b") as file:
        file.seek(where % size)
        file.write(data[: min(count, size - where % size)])
    w.stamp(path)


def insert(w: World, a: int, b: int, c: int) -> None:
    """Bytes are inserted into the middle of a large file, so that everything behind them moves."""
    if path := _large(w, a):
        with w.writable(path):
            with open(path, "rb") as file:
                data = file.read()
            at = b * 997 % (len(data) + 1)
            w.write(path, data[:at] + content(c, 1 + c % 500) + data[at:])


def truncate(w: World, a: int, b: int, c: int) -> None:
    """A file is cut, emptied, or grows by a hole."""
    if path := w.pick(FILES, a):
        size = os.lstat(path).st_size
        with w.writable(path):
            os.truncate(path, (0, size // 2, max(0, size - 1), size + 300_000)[b % 4])
        w.stamp(path)


def punch(w: World, a: int, b: int, c: int) -> None:
    """Zeros overwrite a stretch of a file and are made a hole where the file system can."""
    if path := _large(w, a):
        size = os.lstat(path).st_size
        where, count = (b * 4096) % (size + 1), 4096 * (1 + c % 64)
        with w.writable(path), open(path, "r+b") as file:
            data = file.read()
            file.truncate(where)
            file.truncate(size)
            file.seek(min(where + count, size))
            file.write(data[where + count :])
        w.stamp(path)


# --- attributes ---
def chmod(w: World, a: int, b: int, c: int) -> None:
    """Another mode: read-only, none at all, set-user-ID, sticky, …; a user keeps what he needs to read it."""
    if path := w.pick(NO_LINKS, a):
        mode = (DIR_MODES if os.path.isdir(path) else FILE_MODES)[b % (9 if os.path.isdir(path) else 12)]
        if not w.privileged:
            mode |= 0o500 if os.path.isdir(path) else 0o400
        os.chmod(path, mode)


def chown(w: World, a: int, b: int, c: int) -> None:
    """Another owner and group, of symbolic links too. Root only."""
    if path := w.pick(ALL, a):
        os.lchown(path, OWNERS[b % len(OWNERS)], OWNERS[c % len(OWNERS)])


def acl(w: World, a: int, b: int, c: int) -> None:
    """A POSIX ACL is set or taken away; for directories also the default ACL that new entries inherit."""
    if path := w.pick(NO_LINKS, a):
        if os.path.isdir(path) and c % 2:
            _xattr(path, b"system.posix_acl_default", None if c % 8 == 1 else _acl(b))
        else:
            # The owner of a directory keeps the right to enter it, or the record of the tree could not be made.
            owner = 7 if os.path.isdir(path) else 6 + b % 2
            _xattr(path, b"system.posix_acl_access", None if c % 8 == 0 else _acl(b, owner))


def _acl(number: int, owner: int = 7) -> bytes:
    none = 0xFFFFFFFF
    entries = [
        (0x01, owner, none),
        (0x02, number % 8, 1000 + number % 3),
        (0x04, number // 2 % 8, none),
        (0x08, 5, 50),
        (0x10, 7, none),
        (0x20, number // 3 % 8, none),
    ]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


def _xattr(path: bytes, name: bytes, value: bytes | None) -> None:
    """Set or remove an attribute; what this file system has no room or support for is left out."""
    try:
        if value is None:
            os.removexattr(path, name, follow_symlinks=False)
        else:
            os.setxattr(path, name, value, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (
            errno.ENODATA,
            errno.EOPNOTSUPP,
            errno.ENOSPC,
            errno.E2BIG,
            errno.EPERM,
            errno.EACCES,
        ):
            raise


def xattr(w: World, a: int, b: int, c: int) -> None:
    """A user attribute is set (empty, short, long, binary) or removed."""
    if path := w.pick(FILES | DIRS, a):
        values = (b"", b"v", None, b"\0bin\xff\n", content(c, 33), content(c | 1, 1500), b"text %d" % c)
        _xattr(path, XATTR_NAMES[b % len(XATTR_NAMES)], values[c % len(values)])


def capability(w: World, a: int, b: int, c: int) -> None:
    """A file capability is set or removed. Root only."""
    if path := w.pick(FILES, a):
        value = struct.pack("<IIIII", 0x02000001, 1 << (b % 38 % 32), 0, 0, 0)
        _xattr(path, b"security.capability", None if c % 5 == 0 else value)


def trusted(w: World, a: int, b: int, c: int) -> None:
    """Attributes that mean something to overlayfs, and others of root, on entries of any type. Root only."""
    names = (
        b"trusted.overlay.opaque",
        b"trusted.overlay.redirect",
        b"trusted.note",
        b"trusted.overlay.metacopy",
        b"trusted.overlay.whiteout",
        b"trusted.overlay.origin",
    )
    name = names[b % len(names)]
    if path := w.pick(DIRS if name.endswith((b"opaque", b"redirect")) else ALL, a):
        _xattr(path, name, (b"y", None, b"", b"/elsewhere")[c % 4])


def touch(w: World, a: int, b: int, c: int) -> None:
    """Another modification time, to the nanosecond: now, before 1970, after 2038; never one seen before."""
    path = w.pick(ALL, a) if b % 8 else w.root
    if path:
        shift = (0, -1_760_000_000_000_000_000, 6_000_000_000_000_000_000, 1, 999_999_999)[c % 5]
        os.utime(path, ns=(BASE_NS, w.tick() + shift), follow_symlinks=False)


# --- names ---
def rename(w: World, a: int, b: int, c: int) -> None:
    """A file or directory moves to another name or directory."""
    source, target = w.pick(ALL, a), w.place(b, c)
    if source and target and not (target + b"/").startswith(source + b"/"):
        os.rename(source, target)


def replace(w: World, a: int, b: int, c: int) -> None:
    """A file is renamed over another one."""
    source, target = w.pick(LEAVES, a), w.pick(LEAVES, b)
    if source and target:
        os.rename(source, target)


def swap(w: World, a: int, b: int, c: int) -> None:
    """Two entries change places: files, directories, or one of each."""
    one, two = w.pick(ALL, a), w.pick(ALL, b)
    if not one or not two or (one + b"/").startswith(two + b"/") or (two + b"/").startswith(one + b"/"):
        return
    aside = w.aside()
    os.rename(one, aside)
    os.rename(two, one)
    os.rename(aside, two)


def delete(w: World, a: int, b: int, c: int) -> None:
    """A file or other leaf goes."""
    if path := w.pick(LEAVES, a):
        os.unlink(path)


def rmtree(w: World, a: int, b: int, c: int) -> None:
    """A directory goes with all that is in it, or becomes empty."""
    if path := w.pick(DIRS, a):
        shutil.rmtree(path)
        if b % 2:
            os.mkdir(path)


def retype(w: World, a: int, b: int, c: int) -> None:
    """Something of another type takes a place: file, directory, symbolic link, special file."""
    if path := w.pick(ALL, a):
        remove(path)
        if b % 4 == 0:
            w.write(path, content(c, c % 5000))
        elif b % 4 == 1:
            os.mkdir(path)
            w.write(path + b"/" + NAMES[c % len(NAMES)], content(c, 20))
        elif b % 4 == 2:
            os.symlink(b"elsewhere", path)
            w.stamp(path)
        else:
            make_special(w, path, c)


def link(w: World, a: int, b: int, c: int) -> None:
    """One more hard link to a file; sometimes to a symbolic link or a special file."""
    source, target = w.pick(LEAVES if c % 4 == 0 else FILES, a), w.place(b, c)
    if source and target:
        os.link(source, target, follow_symlinks=False)


def relink(w: World, a: int, b: int, c: int) -> None:
    """A file is replaced by a hard link to another one."""
    source, target = w.pick(FILES, a), w.pick(LEAVES, b)
    if source and target and not os.path.samestat(os.lstat(source), os.lstat(target)):
        os.unlink(target)
        os.link(source, target)


def split(w: World, a: int, b: int, c: int) -> None:
    """A member of a hard-link group is replaced by a copy that is equal in everything, times and holes included."""
    linked = [p for p in w.all(FILES) if os.lstat(p).st_nlink > 1]
    path = linked[a % len(linked)] if linked else w.pick(FILES, a)
    if path:
        aside = w.aside()
        copy_with_holes(path, aside)
        info = os.lstat(path)
        if w.privileged:
            os.chown(aside, info.st_uid, info.st_gid)
        os.chmod(aside, stat.S_IMODE(info.st_mode))
        for name in os.listxattr(path):
            _xattr(aside, os.fsencode(name), os.getxattr(path, name))
        os.utime(aside, ns=(info.st_atime_ns, info.st_mtime_ns))
        os.rename(aside, path)


Operation = Callable[[World, int, int, int], None]

# The number is a weight: how often random histories choose the operation.
FOR_ALL: dict[Operation, int] = {
    create: 4,
    big: 1,
    mkdir: 2,
    symlink: 2,
    special: 2,
    sparse: 1,
    edit: 4,
    same_size: 3,
    append: 3,
    block_edit: 2,
    insert: 1,
    truncate: 2,
    punch: 1,
    chmod: 3,
    acl: 2,
    xattr: 2,
    touch: 3,
    rename: 4,
    replace: 2,
    swap: 2,
    delete: 3,
    rmtree: 1,
    retype: 3,
    link: 3,
    relink: 1,
    split: 2,
}
FOR_ROOT: dict[Operation, int] = {chown: 2, capability: 2, trusted: 2}
BY_NAME: dict[str, Operation] = {op.__name__: op for op in FOR_ALL | FOR_ROOT}
