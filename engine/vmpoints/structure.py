"""What an inventory point keeps of the repositories beside the inventory itself: every directory and name with its
attributes, and the content of the small files (vm.cfg, .ovsrepo and the like). Disk images are names alone.

Walked are the repositories that are looked at, and not what is mounted in them; links are kept as links. Of a plain
directory (/etc/xen) the configurations and the small files beside them are kept.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from engine.entries import Entry, Kind
from engine.events import Job
from engine.machine.tree import Tree
from engine.replica.disk import behind_link, read_entry
from engine.replica.source import COPIES_OF_DISKS
from engine.text import shown_path
from engine.vms.inventory import Inventory
from engine.vms.repositories import DIRECTORY, Repository
from engine.vms.statements import MAX_BYTES

_SMALL = 64 << 10       # bytes; a file of /etc/xen, or a hidden one of a repository, that is kept
_DEPTH = {DIRECTORY: 2}
_DEEP = 5
_MOST = 200_000
_MOST_BYTES = 64 << 20      # of contents that are no VM's configuration


@dataclass(slots=True)
class Structure:
    """What was found, by path (relative to the root): entries, contents of those that are kept, and what could not be
    read, in words; `room` is for how many bytes more there is room."""

    entries: dict[bytes, Entry] = field(default_factory=dict)
    contents: dict[bytes, bytes] = field(default_factory=dict)
    troubles: list[str] = field(default_factory=list)
    room: int = _MOST_BYTES


def collect(root: bytes, inventory: Inventory, job: Job) -> Structure:
    """Return the structure of an inventory's repositories as it is now. Raises CancelledError."""
    made, tree = Structure(), Tree(root)
    known = {machine.file: machine.document.source for machine in inventory.machines}
    for repository in inventory.repositories:
        for path in _walk(root, repository, made):
            if len(made.entries) >= _MOST:
                made.troubles.append(f"only the first {_MOST:,} names are kept")
                return made
            job.progress("keeping configurations", len(made.entries), current=path)
            _take(tree, path, repository, known, made)
    links: dict[bytes, bool] = {}
    for machine in inventory.machines:
        for path in (machine.config, machine.file):
            if not behind_link(root, path, links):
                _take(tree, path, None, known, made)
    for path in list(made.entries):
        for parent in _parents(path):
            if parent not in made.entries:
                _take(tree, parent, None, known, made)
    return made


def _walk(root: bytes, repository: Repository, made: Structure) -> Iterator[bytes]:
    """Yield the paths in a repository, its own first; stays on its file system."""
    deepest = _DEPTH.get(repository.kind, _DEEP)
    top = os.path.join(root, repository.path)
    todo = [(repository.path, 0)]
    try:
        device = os.lstat(top).st_dev
    except OSError as error:
        made.troubles.append(f"{shown_path(repository.path)}: {error.strerror}")
        return
    while todo:
        path, depth = todo.pop()
        yield path
        try:
            info = os.lstat(os.path.join(root, path))
            if stat.S_ISDIR(info.st_mode) and info.st_dev == device and depth < deepest:
                names = sorted(os.listdir(os.path.join(root, path)), reverse=True)
                todo += [(os.path.join(path, name), depth + 1) for name in names if name != COPIES_OF_DISKS]
        except OSError as error:
            made.troubles.append(f"{shown_path(path)}: {error.strerror}")


def _take(tree: Tree, path: bytes, repository: Repository | None, known: Mapping[bytes, bytes], made: Structure
          ) -> None:
    if path in made.entries:
        return
    try:
        entry = read_entry(os.path.join(tree.root, path), path)
    except OSError as error:
        made.troubles.append(f"{shown_path(path)}: {error.strerror}")
        return
    made.entries[path] = entry
    if entry.kind is not Kind.FILE:
        return
    if path in known:       # the very bytes that the inventory was made of
        made.contents[path] = known[path]
    elif repository is not None and _is_kept(entry, repository):
        made.room -= entry.size
        if made.room < 0:
            made.troubles.append(f"{shown_path(path)} is not kept: the small files are more than {_MOST_BYTES:,} bytes")
            return
        with tree.open(path) as fd:
            if fd is None:
                made.troubles.append(f"{shown_path(path)} cannot be read")
                return
            made.contents[path] = os.read(fd, entry.size + 1)
    if path in made.contents:
        made.entries[path] = replace(entry, size=len(made.contents[path]))


def _is_kept(entry: Entry, repository: Repository) -> bool:
    """Whether the content of a file that is no VM's known configuration is kept: it may be one that is broken, or say
    what the repository is."""
    name = os.path.basename(entry.path)
    if name == b"vm.cfg" or any(config.path == entry.path for config in repository.configs if name.endswith(b".cfg")):
        return entry.size <= MAX_BYTES
    top = os.path.dirname(entry.path) == repository.path
    return entry.size <= _SMALL and (repository.kind == DIRECTORY or (top and name.startswith(b".")))


def _parents(path: bytes) -> Iterator[bytes]:
    while path := os.path.dirname(path):
        yield path


# --- as JSON, and back ---------------------------------------------------------------------------------------


def encode(made: Structure, blobs: Mapping[bytes, str]) -> list[list[Any]]:
    """Return the entries in walk order as JSON can hold them; `blobs` names the contents that are kept."""
    return [[os.fsdecode(e.path), e.kind.value, e.mode, e.uid, e.gid, e.mtime, e.size, e.rdev, os.fsdecode(e.target),
             [[name.hex(), value.hex()] for name, value in e.xattrs], blobs.get(e.path)]
            for e in sorted(made.entries.values(), key=lambda e: e.path.replace(b"/", b"\0"))]


def decode(rows: list[list[Any]]) -> list[tuple[Entry, str | None]]:
    """Return the entries of a point and the names of their contents (None: not kept). Raises ValueError, TypeError."""
    return [(Entry(os.fsencode(path), Kind(kind), mode, uid, gid, mtime, size, rdev, os.fsencode(target),
                   tuple((bytes.fromhex(name), bytes.fromhex(value)) for name, value in xattrs)), blob)
            for path, kind, mode, uid, gid, mtime, size, rdev, target, xattrs, blob in rows]
