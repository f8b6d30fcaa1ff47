"""Mounting a store and the system that it is about, each recorded file system in its place, for one process tree.

All of it is mounted in a mount namespace of this process: nobody else sees it, and after a kill -9 or a crash nothing
of it is left.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections import abc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from engine.errors import RefusedError, RollpointError, ToolError
from engine.machine import ownspace
from engine.machine.filesystems import FileSystem
from engine.replica.layout import fsync_dir
from engine.rescue.looking import patiently
from engine.rescue.mapping import MERGED, OTHER, Mapping, Row
from engine.rescue.survey import FoundStore
from engine.run import call
from engine.text import printable, shown_path

BASE = b"/run/rollpoint/rescue"
_SECONDS = 300          # a journal may have to be replayed
_BUSY_SECONDS = 5       # what ends only now may hold a mount for a moment
_NFS = "rw,hard,tcp,nolock"


@dataclass(frozen=True, slots=True)
class Opened:
    """Where the store and the root of the system are mounted now; `notes` say what is missing of it."""

    store: bytes
    root: bytes
    notes: tuple[str, ...] = ()


def words(store: FoundStore, named: abc.Mapping[str, str], *, devices: Sequence[str] = (), shares: Sequence[str] = (),
          adopt: bool = False, merged: Sequence[str] = (), command: Sequence[str] = ()) -> list[str]:
    """Return the words of the command line that open this store and these file systems (device by mount point; those in
    `merged` become directories) and run `command` there (none: the full-screen app). A screen leaves the app with
    them."""
    found = ["rescue", "open", "--store", store.name]
    for option, values in (("--map", [f"{m}={d}" for m, d in named.items()]), ("--device", devices),
                           ("--share", shares), ("--merge", merged)):
        found += [word for value in values for word in (option, value)]
    return [*found, *(["--adopt"] if adopt else []), *(["--", *command] if command else [])]


def refuse(mapping: Mapping) -> None:
    """Raise RefusedError when this mapping must not be opened."""
    if mapping.refusals:
        raise RefusedError(mapping.refusals[0], hint="; ".join(mapping.refusals[1:]) or
                           "`rollpoint rescue` shows what is here; --map MOUNTPOINT=DEVICE names a device, --adopt "
                           "takes another one than the recorded")
    for row in mapping.rows:
        if row.device is not None and "/" in row.device.mounted:
            raise RefusedError(f"{printable(row.device.device)} is the root of the system that runs here",
                               hint="roll the running system back with `rollpoint rollback`")
        if row.device is not None and row.state == OTHER and row.device.mounted:
            raise RefusedError(f"{printable(row.device.device)} is in use: it is mounted at "
                               f"{printable(row.device.mounted[0])}",
                               hint="unmount it there first, if it is the right one")


@contextmanager
def open_target(store: FoundStore, mapping: Mapping, *, chroot: bool = False) -> Iterator[Opened]:
    """Mount the store and each row of the mapping writable below /run/rollpoint, in a mount namespace of this process
    alone, and unmount all of it at the end: what is still at work in there then (a rollback that goes on by itself)
    keeps it until it ends. With `chroot` the system gets /dev, /proc, /sys and /run, for its own programs to run in.

    For a program that has no threads: a screen leaves the app with `words`. Raises RefusedError when the mapping must
    not be opened, RollpointError.
    """
    refuse(mapping)
    if store.problem:
        raise RefusedError(f"the store {printable(store.name)} cannot be used: {store.problem}",
                           hint="use the Rollpoint that wrote it, or name another store with --store")
    try:
        ownspace.enter()
    except OSError as error:
        raise RollpointError(str(error.strerror), hint="run as root, outside of containers that forbid it") from error
    target = _Target()
    try:
        target.begin()
        place = target.store(store)
        for row in mapping.rows:
            target.add(row)
        if chroot:
            target.add_kernel()
        yield Opened(place, target.root, tuple(target.notes))
    finally:
        target.end()


def others() -> list[int]:
    """Return the other processes that are in our mount namespace."""
    mine, found = os.readlink("/proc/self/ns/mnt"), []
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if name.isdigit() and int(name) != os.getpid() and os.readlink(f"/proc/{name}/ns/mnt") == mine:
                found.append(int(name))
    return found


class _Target:
    """What is being mounted below BASE, on a small file system in memory that nobody else sees; `notes` are what the
    admin should know of it."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.root = os.path.join(BASE, b"root")
        self._mounted: list[bytes] = []

    def begin(self) -> None:
        """Make the places. Raises ToolError, OSError."""
        os.makedirs(os.path.dirname(BASE), mode=0o700, exist_ok=True)
        os.makedirs(BASE, mode=0o700, exist_ok=True)
        self._mount(["-t", "tmpfs", "-o", "mode=0700,size=1m", "rollpoint"], BASE)
        for name in (b"root", b"store", b"parts"):
            os.mkdir(os.path.join(BASE, name))

    def store(self, store: FoundStore) -> bytes:
        """Mount the file system with the store and return where the store is; one in a directory is there already."""
        if store.path.startswith("/"):
            return os.fsencode(store.path)
        where = os.path.join(BASE, b"store")
        self._device(store.on, where, "" if store.on.fstype != "btrfs" else "/")
        return os.path.join(where, os.fsencode(store.path)) if store.path else where

    def add(self, row: Row) -> None:
        """Mount what is here for a recorded file system."""
        one, shown = row.recorded, shown_path(row.recorded.place)
        if row.device is None:
            if row.state != MERGED:
                self.notes.append(f"{shown} is not mounted: {row.why}")
            return
        where = os.path.join(self.root, one.place) if one.place else self.root
        made = _make_way(self.root, one.place)
        if one.within and row.device.fstype != "btrfs":
            part = os.path.join(BASE, b"parts", b"%d" % len(self._mounted))
            os.mkdir(part)
            self._device(row.device, part, "")
            _make_way(part, os.fsencode(one.within))
            self._mount(["--bind", os.path.join(part, os.fsencode(one.within))], where)
        else:
            self._device(row.device, where, one.within)
        if made:
            self.notes.append(f"{shown} was missing: the directory to mount on was made")

    def add_kernel(self) -> None:
        """Mount what the kernel shows, so that programs of the system can run in a chroot."""
        for name, words in ((b"dev", ["--rbind", "/dev"]), (b"proc", ["-t", "proc", "proc"]),
                            (b"sys", ["--rbind", "/sys"]), (b"run", ["-t", "tmpfs", "-o", "mode=0755", "tmpfs"])):
            _make_way(self.root, name)
            self._mount(words, os.path.join(self.root, name))

    def _device(self, on: FileSystem, where: bytes, within: str) -> None:
        options = {"btrfs": "rw,subvol=/" + within.strip("/"), "nfs": _NFS}.get(on.fstype, "rw")
        kind = ["-t", on.fstype] if on.fstype else []
        elsewhere = next((f"; it is mounted at {printable(m)}: unmount it there" for m in on.mounted), "")
        try:
            self._mount([*kind, "-o", options, os.fsencode(on.device)], where)
        except ToolError as error:
            raise RollpointError(f"{printable(on.device)} cannot be mounted: {error.message}{elsewhere}",
                                 hint="look at `dmesg`; a damaged file system needs fsck (xfs_repair) first") from error
        if os.statvfs(where).f_flag & os.ST_RDONLY:         # mount(8) does so where it cannot be written
            self.notes.append(f"{printable(on.device)} could only be mounted read-only{elsewhere}")

    def _mount(self, words: Sequence[str | bytes], where: bytes) -> None:
        patiently(["mount", *words, where], _SECONDS)
        self._mounted.append(where)

    def end(self) -> None:
        """Unmount everything, the last first, unless somebody is still at work in there."""
        if others():
            return
        deadline = time.monotonic() + _BUSY_SECONDS
        while self._mounted:
            try:
                call(["umount", "--recursive", self._mounted[-1]], timeout=_SECONDS)
            except ToolError:
                if time.monotonic() < deadline:
                    time.sleep(0.1)
                    continue
                call(["umount", "--lazy", self._mounted[-1]], ok=(0, 1, 32), timeout=_SECONDS)
            self._mounted.pop()


def _make_way(root: bytes, place: bytes) -> bool:
    """Make sure that a path below `root` is a directory and leads through directories alone: a symbolic link of a
    broken system would lead into the one that we run on. Returns whether one had to be made. Raises RefusedError."""
    path, made = root, False
    for part in place.split(b"/") if place else ():
        above, path = path, os.path.join(path, part)
        try:
            kind = os.lstat(path).st_mode
        except FileNotFoundError:
            os.mkdir(path, 0o755)
            fsync_dir(above)
            made = True
            continue
        if not stat.S_ISDIR(kind):
            raise RefusedError(f"{shown_path(os.path.relpath(path, root))} is no directory in that system, so nothing "
                               "can be mounted on it", hint="mount the system by hand, put that right, and use --root")
    return made
