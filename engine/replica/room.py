"""How much room the store takes, and how much it would need."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from engine.config import Config
from engine.errors import RollpointError
from engine.events import Job
from engine.points import RestorePoint
from engine.replica import bootsaved, rsync
from engine.replica.layout import Store
from engine.replica.source import view
from engine.run import Process, scratch

_TRANSFER = re.compile(rb"^Total transferred file size: ([0-9,]+)", re.MULTILINE)
_MARGIN = 4 << 20


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


def missing(store: Store, config: Config, job: Job) -> int:
    """Return how many bytes more than are free a snapshot needs now (0 or less: enough); asks a dry run of rsync."""
    with view(config, store) as source, scratch() as place:
        filters = rsync.write_filters(os.path.join(os.fsencode(place), b"filters"), source.filters)
        options = ["--dry-run", "--delete", "--stats", *source.options]
        argv = rsync.copy_argv(source.inside, store.tree, options, filters)
        argv = [a for a in argv if not str(a).startswith("--out-format")]
        with Process(source.space.wrap(argv)) as process:
            out = bytearray()
            while chunk := process.stdout.read(65536):
                job.check()
                out += chunk
            if process.wait() not in (0, 23, 24):
                raise RollpointError("the room that a snapshot needs cannot be measured")
    found = _TRANSFER.search(bytes(out))
    needed = int(found[1].replace(b",", b"")) if found else 0
    free = os.statvfs(store.path)
    return needed + needed // 50 + _MARGIN - free.f_bavail * free.f_frsize
