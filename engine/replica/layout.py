"""The store on disk: its places, its identity, its locks, and how files in it are replaced without being lost.

Every file and the order of writes is specified in FORMAT.md.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import hashlib
import json
import os
import pwd
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from engine.errors import BusyError, DamageError, RefusedError, RollpointError, UsageError
from engine.machine import mounts
from engine.text import printable

FORMAT = 1
DEFAULT_STORE = b"/var/lib/rollpoint/store"
_INSIDE = (b"points", b"tree", b"work")
ROLLBACK, NEXT_BOOT = b"rollback.yaml", b"next-boot"   # of engine/rollback.py and engine/nextboot.py
_PATIENCE = 10
_RESERVE = 2 << 20
_FLUSH_EVERY = 0.5  # seconds
_FLUSH_AFTER = 64 << 20  # bytes
_SEAL = b"# sha256: "


@dataclass(frozen=True)
class Store:
    """The places of one store (absolute path, symbolic links resolved) and what store.yaml says of it."""

    path: bytes
    identity: dict[str, Any]

    def place(self, *parts: bytes) -> bytes:
        """Return the path of something in the store."""
        return os.path.join(self.path, *parts)

    @property
    def tree(self) -> bytes:
        """The newest state as plain files."""
        return self.place(b"tree")

    @property
    def work(self) -> bytes:
        """Scratch space on the store's own file system; only the holder of the lock touches it."""
        return self.place(b"work")

    @property
    def catalog(self) -> bytes:
        """The index; it can be rebuilt from everything else."""
        return self.place(b"catalog.sqlite")

    @property
    def journal(self) -> bytes:
        """What is under way; absent when nothing is."""
        return self.place(b"journal.yaml")

    def point(self, point_id: str, *parts: bytes) -> bytes:
        """Return the directory of a point, or a path in it."""
        return self.place(b"points", os.fsencode(point_id), *parts)

    def point_ids(self) -> list[str]:
        """Return the ids of all points, oldest first (ids sort by time and carry a counter for equal seconds)."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(os.fsdecode(n) for n in os.listdir(self.place(b"points")) if not n.startswith(b"."))
        return []

    @contextlib.contextmanager
    def write_lock(self, verb: str) -> Iterator[None]:
        """Be the store's one writer. Raises BusyError, naming the holder, when somebody else is."""
        with self._flock(b"lock", fcntl.LOCK_EX, "the store is in use by {}") as fd:
            _write_holder(fd, verb)
            with contextlib.suppress(OSError):      # who reads when the file system is full needs it to be there
                os.close(os.open(self.place(b"readers"), os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            yield
            os.ftruncate(fd, 0)

    def writer(self) -> tuple[str, int]:
        """Return who writes to the store now, and when the lock was last taken: what tells that nothing moved."""
        try:
            return self.holder(), os.stat(self.place(b"lock")).st_mtime_ns
        except FileNotFoundError:
            return "", 0

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Keep points from being deleted while one is copied out; a read-only store needs no such lock."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._flock(b"readers", fcntl.LOCK_SH, "points are being deleted by {}"))
            except OSError as error:
                if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT):
                    raise
            yield

    @contextlib.contextmanager
    def no_readers(self) -> Iterator[None]:
        """Keep readers away while points are deleted. Raises BusyError when one is at work."""
        with self._flock(b"readers", fcntl.LOCK_EX, "a point is being copied out by another Rollpoint"):
            yield

    @contextlib.contextmanager
    def _flock(self, name: bytes, how: int, busy: str) -> Iterator[int]:
        fd = os.open(self.place(name), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            for patience in range(_PATIENCE, -1, -1):  # somebody may just be asking who holds it
                try:
                    fcntl.flock(fd, how | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not patience:
                        raise BusyError(
                            f"{printable(self.path)}: {busy.format(self.holder() or 'another Rollpoint')}",
                            hint="wait until it is done, then try again") from None
                    time.sleep(0.02)
            yield fd
        finally:
            os.close(fd)

    def holder(self) -> str:
        """Return who holds the write lock, for people, or "" when nobody does."""
        try:
            with open(self.place(b"lock"), "rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    return ""
                except BlockingIOError:
                    who = json.loads(file.read(4096) or b"{}")
        except (OSError, ValueError):
            return ""
        return "{user}@{host}, pid {pid}, `rollpoint {verb}` since {since}".format(
            **{"user": "?", "host": "?", "pid": "?", "verb": "?", "since": "?"} | who)


def _write_holder(fd: int, verb: str) -> None:
    who = {"pid": os.getpid(), "user": user_name(), "host": socket.gethostname(), "verb": verb,
           "since": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")}
    os.ftruncate(fd, 0)
    with contextlib.suppress(OSError):  # a full disk must not keep the admin from deleting points
        os.pwrite(fd, json.dumps(who).encode(), 0)


def user_name() -> str:
    """Return who asked for this: the user behind sudo where there is one."""
    with contextlib.suppress(KeyError):
        return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name
    return str(os.getuid())


def fsync_dir(path: bytes) -> None:
    """Make renames and new names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_filesystem(path: bytes) -> None:
    """Make everything written to the file system of `path` durable (syncfs(2)); raises OSError on a failed write."""
    fd = os.open(path, os.O_RDONLY)
    try:
        if _LIBC.syncfs(fd) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), path)
    finally:
        os.close(fd)


@contextlib.contextmanager
def flushing(path: bytes, written: Callable[[], int]) -> Iterator[None]:
    """Start writing to the disk early while the block fills the file system, so that the last sync has little left.

    `written` says how many bytes it has written so far: for little the file system is left in peace.
    """
    over = threading.Event()

    def work() -> None:
        flushed = 0
        while not over.wait(_FLUSH_EVERY):
            if written() - flushed > _FLUSH_AFTER:
                flushed = written()
                with contextlib.suppress(OSError):  # the last sync reports it
                    sync_filesystem(path)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


_LIBC = ctypes.CDLL(None, use_errno=True)


def write_file(path: bytes, data: bytes) -> None:
    """Replace a file so that a crash at any moment leaves the old or the new content, whole (write, fsync, rename)."""
    temporary = path + b".new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    fsync_dir(os.path.dirname(path))


def write_document(path: bytes, document: dict[str, Any]) -> None:
    """Write a YAML document that ends with a seal: a comment line with the SHA-256 of all before it."""
    import yaml

    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=False, width=4096).encode()
    write_file(path, text + _SEAL + hashlib.sha256(text).hexdigest().encode() + b"\n")


def unsealed(raw: bytes) -> bytes | None:
    """Return a sealed document's text, or None when its seal does not fit."""
    text, seal, digest = raw.rpartition(_SEAL)
    return text if seal and digest == hashlib.sha256(text).hexdigest().encode() + b"\n" else None


def read_document(path: bytes) -> dict[str, Any]:
    """Read a sealed YAML document. Raises DamageError when the seal does not fit, OSError when it cannot be read."""
    import yaml

    with open(path, "rb") as file:
        raw = file.read()
    text = unsealed(raw)
    if text is None:
        raise DamageError(f"{printable(path)} is damaged: its checksum does not fit",
                          hint="`rollpoint verify` says what else is; restore the file from a copy of the store")
    document = yaml.safe_load(text)
    if not isinstance(document, dict):
        raise DamageError(f"{printable(path)} is damaged: it holds no document")
    return document


def remove_tree(path: bytes) -> None:
    """Remove a directory and all below it, whatever modes a non-root owner left there; absent is fine."""
    def again(function: Any, name: Any, info: Any) -> None:
        if isinstance(info[1], FileNotFoundError):
            return
        os.chmod(os.path.dirname(name), 0o700)
        if os.path.isdir(name) and not os.path.islink(name):
            os.chmod(name, 0o700)
            remove_tree(name)
        else:
            os.unlink(name)

    if os.path.lexists(path):
        shutil.rmtree(path, onerror=again)


def machine_id(root: bytes) -> str:
    """Return the machine id of the system below `root` (machine-id(5)), or "" when it has none."""
    with contextlib.suppress(OSError), open(os.path.join(root, b"etc/machine-id"), "rb") as file:
        return file.read(64).strip().decode("ascii", "replace")
    return ""


def open_store(path: bytes) -> Store:
    """Open an existing store for reading or writing.

    Raises UsageError when there is none, RefusedError when it is of a newer format, DamageError when store.yaml
    is not what was written.
    """
    real = os.path.realpath(path)
    try:
        identity = read_document(os.path.join(real, b"store.yaml"))
    except FileNotFoundError:
        raise UsageError(f"there is no store at {printable(path)}", hint=_missing_hint(real)) from None
    found = identity.get("format")
    if not isinstance(found, int) or found > FORMAT:
        raise RefusedError(f"the store {printable(path)} has format {found}, this Rollpoint knows {FORMAT}",
                           hint="use the Rollpoint that wrote it, or a newer one; nothing was changed")
    return Store(real, identity)


def _missing_hint(path: bytes) -> str:
    absent = unmounted(path)
    if absent is not None:
        return f"{printable(absent)} is in /etc/fstab but not mounted: mount it first"
    return "take the first point with `rollpoint snapshot`, or name the store with --store"


def unmounted(path: bytes) -> bytes | None:
    """Return the mount point above a path that /etc/fstab lists and that nothing is mounted on; None for none."""
    table = mounts.mounts()
    for place in mounts.fstab_points(b"/"):
        point = b"/" + place
        if (path == point or path.startswith(point + b"/")) and all(m.point != point for m in table):
            return point
    return None


def create_store(path: bytes, root: bytes, checksum: str) -> Store:
    """Make an empty store for the tree at `root`; its parent directory must exist (but for the default place).

    Raises RefusedError when the place is on a file system that is not mounted, or holds something else already.
    """
    real = os.path.realpath(path)
    absent = unmounted(real)
    parent = os.path.dirname(real)
    if absent is not None:
        raise RefusedError(f"no store is made at {printable(path)}: {printable(absent)} is not mounted",
                           hint=f"mount {printable(absent)} first")
    if not os.path.isdir(parent) and real != DEFAULT_STORE:
        raise RefusedError(f"no store is made at {printable(path)}: {printable(parent)} does not exist",
                           hint="mount its file system or make the directory first")
    if os.path.isdir(real) and not _begun(real):
        raise RefusedError(f"{printable(path)} is no store but is not empty", hint="name an empty or new directory")
    identity = {"format": FORMAT, "id": str(uuid.uuid4()), "host": socket.gethostname(),
                "machine_id": machine_id(root), "root": printable(root), "checksum": checksum,
                "created": datetime.now(UTC).isoformat(timespec="seconds")}
    new = [place for place in (real, *(os.path.join(real, name) for name in _INSIDE)) if not os.path.lexists(place)]
    try:
        os.makedirs(real, mode=0o700, exist_ok=True)
        os.chmod(real, 0o700)
        for name in _INSIDE:
            os.makedirs(os.path.join(real, name), exist_ok=True)
        write_document(os.path.join(real, b"store.yaml"), identity)
    except OSError:
        for place in reversed(new):
            with contextlib.suppress(OSError):
                os.rmdir(place)
        raise
    return Store(real, identity)


def _begun(path: bytes) -> bool:
    """Whether a directory is empty, or holds only what a store has that was not finished (the machine lost power)."""
    names = set(os.listdir(path)) - {b"lost+found", b"store.yaml.new"}
    inside = [os.path.join(path, name) for name in names]
    return names <= set(_INSIDE) and all(os.path.isdir(p) and not os.path.islink(p) and not os.listdir(p)
                                         for p in inside)


def check_source(store: Store, root: bytes) -> None:
    """Raise RefusedError unless `root` is the tree that this store is about."""
    known, present = store.identity.get("machine_id", ""), machine_id(root)
    if known and present and known != present:
        raise RefusedError(
            f"the store {printable(store.path)} belongs to another machine ({store.identity.get('host')}, "
            f"machine-id {known[:8]}), {printable(root)} has machine-id {present[:8]}",
            hint="name another store with --store; to copy files out of this one use `rollpoint restore --to`")
    if not (known and present) and store.identity.get("root") != printable(root):
        raise RefusedError(f"the store {printable(store.path)} holds points of {store.identity.get('root')}, "
                           f"not of {printable(root)}", hint="name another store with --store")


def check_places(store: bytes, root: bytes) -> None:
    """Raise RefusedError when the source lies in the store, or UsageError when it is no directory."""
    if not os.path.isdir(root):
        raise UsageError(f"{printable(root)} is no directory", hint="name the tree to protect with --root")
    real, store = os.path.realpath(root), os.path.realpath(store)
    if real == store or real.startswith(store + b"/"):
        raise RefusedError(f"the source {printable(root)} lies in the store {printable(store)}",
                           hint="a store cannot hold points of itself; choose another --store or --root")


def describe_os_error(error: OSError) -> RollpointError:
    """Return the one-line error for a system call that failed."""
    place = f"{printable(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    hint = {errno.EROFS: "the file system is mounted read-only: remount it writable",
            errno.EACCES: "run it as root", errno.EPERM: "run it as root"}.get(error.errno or 0, "")
    return RollpointError(f"{place}{error.strerror or error}", hint=hint)


def keep_reserve(store: Store) -> None:
    """Keep a little room aside, so that points can still be deleted (which needs room) when the disk is full."""
    room = os.statvfs(store.path)
    place = store.place(b"reserve")
    if room.f_bavail * room.f_frsize < 4 * _RESERVE or os.path.exists(place):
        return
    with contextlib.suppress(OSError), open(place, "xb") as file:
        os.posix_fallocate(file.fileno(), 0, _RESERVE)


def release_reserve(store: Store) -> bool:
    """Give the room kept aside back; returns whether there was any."""
    try:
        os.unlink(store.place(b"reserve"))
        return True
    except OSError:
        return False
