"""Opening a point as a directory: an overlay of what differs over the tree, or a farm of hard links without root.

The overlay's upper-most layer is a small staging directory: files as they were, whiteouts (character device 0:0, see
the kernel's overlayfs documentation) for what did not exist yet, and the directories on the way with their
attributes. Nothing of the tree is copied.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from engine.entries import Entry, Kind
from engine.events import Job
from engine.machine.mounts import Namespace, Space
from engine.points import RestorePoint
from engine.replica.catalog import Catalog, Row
from engine.replica.content import Contents, build
from engine.replica.disk import apply_attributes
from engine.replica.layout import Store, remove_tree


@contextmanager
def open_point(store: Store, catalog: Catalog, point: RestorePoint, space: Space, staging: str | None, job: Job
               ) -> Iterator[bytes]:
    """Yield a directory with exactly the tree of the point, as it is called in `space`; it must not be written to.

    What differs from the newest point is unpacked below `staging` (None: in the store), for stores on file systems
    that hold no whiteouts.

    The caller holds the write lock, so that no snapshot changes the tree below it.
    """
    if point.newest:
        yield store.tree
        return
    work = os.fsencode(tempfile.mkdtemp(prefix="open-", dir=staging or os.fsdecode(store.work)))
    try:
        if isinstance(space, Namespace) and overlay_works(catalog, point):
            stage(store, catalog, point, os.path.join(work, b"stage"), job)
            os.mkdir(os.path.join(work, b"view"))
            space.run(overlay_argv(store, os.path.join(work, b"stage"), os.path.join(work, b"view")))
            yield os.path.join(work, b"view")
        else:
            farm(store, catalog, point, os.path.join(work, b"farm"), job)
            yield os.path.join(work, b"farm")
    finally:
        remove_tree(work)


def overlay_works(catalog: Catalog, point: RestorePoint) -> bool:
    """Whether the kernel has overlayfs and the point holds nothing that overlayfs would take for its own marks."""
    with open("/proc/filesystems", "rb") as file:
        if b"\toverlay\n" not in file.read() and not os.path.isdir("/sys/module/overlay"):
            return False
    marks = "(kind = 'c' AND rdev = 0 OR instr(xattrs, x'747275737465642e6f7665726c6179') > 0)"
    where = f"{marks} AND first <= ? AND (last IS NULL OR last >= ?)"
    return next(catalog.rows(where, (point.number, point.number)), None) is None


def overlay_argv(store: Store, staging: bytes, where: bytes) -> list[str | bytes]:
    """Return the mount command; colons, commas and backslashes in the paths are escaped for overlayfs."""
    layers = b":".join(_escape(p) for p in (staging, store.tree))
    return ["mount", "-t", "overlay", "-o", b"ro,lowerdir=" + layers, "rollpoint", where]


def _escape(path: bytes) -> bytes:
    return path.replace(b"\\", b"\\\\").replace(b":", b"\\:").replace(b",", b"\\,")


def stage(store: Store, catalog: Catalog, point: RestorePoint, staging: bytes, job: Job) -> None:
    """Fill the staging directory of a point's overlay."""
    rows: dict[bytes, Row] = {}
    whiteouts: list[bytes] = []
    for old, new in catalog.differing(point.number, None):
        if old is not None:
            rows[old.entry.path] = old
        elif new is not None:
            whiteouts.append(new.entry.path)
    for row in list(rows.values()):
        if row.entry.link is not None:
            mates = catalog.rows("link = ? AND first <= ? AND (last IS NULL OR last >= ?)",
                                 (row.entry.link, point.number, point.number))
            rows.update((m.entry.path, m) for m in mates)
    # The root too where nothing differs: the overlay's own root shows the attributes of the staging directory.
    for path in [b".", *rows, *whiteouts]:
        for parent in _parents(path):
            above = rows.get(parent) or catalog.at(parent, point.number)
            if above is not None:
                rows[parent] = above
    os.mkdir(staging)
    ordered = [rows[p] for p in sorted(rows, key=lambda p: p.replace(b"/", b"\0"))]
    build(Contents(store, catalog), ordered, staging, job)
    for path in whiteouts:
        holder = rows.get(os.path.dirname(path))
        if holder is not None and holder.entry.kind is Kind.DIR:
            os.mknod(os.path.join(staging, path), 0o020000, 0)
    _settle((r.entry for r in ordered), staging)


def _parents(path: bytes) -> Iterator[bytes]:
    while path:
        path = os.path.dirname(path)
        yield path


def _settle(entries: Iterable[Entry], target: bytes) -> None:
    for entry in reversed(list(entries)):
        if entry.kind is Kind.DIR:
            apply_attributes(os.path.join(target, entry.path), entry)


def farm(store: Store, catalog: Catalog, point: RestorePoint, target: bytes, job: Job) -> None:
    """Make a directory of hard links to the tree, with what differs in the point made anew."""
    os.mkdir(target)
    rows = list(catalog.tree(point.number))
    ended = []
    linked: dict[int, bytes] = {}
    for row in rows:
        full = os.path.join(target, row.entry.path)
        if row.entry.kind is Kind.DIR:
            os.makedirs(full, mode=0o700, exist_ok=True)
        elif row.last is None:
            job.progress("opening", current=row.entry.path)
            os.link(os.path.join(store.tree, row.entry.path), full, follow_symlinks=False)
            if row.entry.link is not None:
                linked[row.entry.link] = full
        else:
            ended.append(row)
    build(Contents(store, catalog), ended, target, job, linked)
    _settle((r.entry for r in rows), target)
