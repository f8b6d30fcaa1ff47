"""How much room the store takes, and how much it would need."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from engine.config import Config
from engine.errors import RollpointError
from engine.events import Job
from engine.points import RestorePoint
from engine.replica import bootsaved, rsync
from engine.replica.layout import Store
from engine.replica.source import view
from engine.run import Process, scratch

_TRANSFER = re.compile(rb"^Total transferred file size: ([0-9,]+)", re.MULTILINE)
_CREATED = re.compile(rb"^Number of created files: ([0-9,]+)(?: \(reg: ([0-9,]+))?", re.MULTILINE)
_REGULAR = re.compile(rb"^Number of regular files transferred: ([0-9,]+)", re.MULTILINE)
_MARGIN = 4 << 20
_MARGIN_FILES = 24


@dataclass(frozen=True, slots=True)
class Missing:
    """How many bytes and how many inodes more than are free a snapshot needs, about; 0 or less: enough."""

    bytes: int
    inodes: int

    def __bool__(self) -> bool:
        return self.bytes > 0 or self.inodes > 0


def sizes(store: Store, listed: Sequence[RestorePoint]) -> tuple[int, int]:
    """Return (bytes of disk the store takes, bytes of disk its tree takes), from what the catalog counted."""
    tree = next((int(p.doc.get("allocated", 0)) for p in listed if p.newest), 0)
    own = sum(p.own_bytes or 0 for p in listed)
    own += sum(_files(bootsaved.directory(store, p.id)) for p in listed if p.newest)    # nobody has measured that one
    try:
        index = os.stat(store.catalog).st_blocks * 512
    except FileNotFoundError:
        index = 0
    kit = store.place(b"rescue")
    names = os.listdir(kit) if os.path.isdir(kit) else []
    return tree + own + index + sum(os.lstat(os.path.join(kit, n)).st_blocks * 512 for n in names), tree


def _files(directory: bytes) -> int:
    places = [(place, name) for place, _, names in os.walk(directory) for name in names]
    return sum(os.lstat(os.path.join(place, name)).st_blocks * 512 for place, name in places)


def missing(store: Store, config: Config, job: Job) -> Missing:
    """Return what a snapshot needs beyond what is free; asks a dry run of rsync. The store need not be there yet."""
    with view(config, store) as source, scratch() as place:
        filters = rsync.write_filters(os.path.join(os.fsencode(place), b"filters"), source.filters)
        options = ["--dry-run", "--delete", "--stats", *source.options]
        nothing = os.path.join(os.fsencode(place), b"nothing")
        tree = store.tree if os.path.isdir(store.tree) else nothing
        argv = rsync.copy_argv(source.inside, tree, options, filters)
        argv = [a for a in argv if not str(a).startswith("--out-format")]
        with Process(source.space.wrap(argv)) as process:
            out = bytearray()
            while chunk := process.stdout.read(65536):
                job.check()
                out += chunk
            if process.wait() not in (0, 23, 24):
                raise RollpointError("the room that a snapshot needs cannot be measured")
    needed = _number(_TRANSFER, out)
    # A file that is replaced takes an inode too: its old version is kept.
    files = _number(_CREATED, out) - _number(_CREATED, out, 2) + _number(_REGULAR, out) + _MARGIN_FILES
    free = os.statvfs(_there(store.path))
    return Missing(needed + needed // 50 + _MARGIN - free.f_bavail * free.f_frsize,
                   files - free.f_favail if free.f_files else 0)       # btrfs and others count none


def _number(pattern: re.Pattern[bytes], out: bytes | bytearray, group: int = 1) -> int:
    found = pattern.search(bytes(out))
    return int((found[group] or b"0").replace(b",", b"")) if found else 0


def _there(path: bytes) -> bytes:
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path
