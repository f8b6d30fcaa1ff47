"""Copying a point, or paths of it, into a directory of its own."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence

from engine.entries import Kind
from engine.errors import DamageError, RefusedError, UsageError
from engine.events import Job
from engine.points import RestorePoint
from engine.replica import rsync
from engine.replica.catalog import Catalog, Row
from engine.replica.content import Contents, build
from engine.replica.disk import apply_attributes, remove_any
from engine.replica.layout import Store
from engine.replica.reconcile import join
from engine.results import RestoreResult
from engine.run import Arg, Process
from engine.text import printable, shown_path

_TRIES = 5


def restore(store: Store, point: RestorePoint, dest: str, paths: Sequence[bytes], job: Job, *,
            merge: bool = False) -> RestoreResult:
    """Make `dest` (created if missing) hold the point, or the given paths of it under their full names.

    Nothing in the store changes and no lock is needed; if a snapshot runs meanwhile the result is checked and put
    right. Raises RefusedError when `dest` is not empty (unless `merge`: then what is in the way is replaced) or lies
    in the store, UsageError for a path that the point does not have.
    """
    started = time.monotonic()
    target = _check_target(store, os.fsencode(dest), merge)
    with store.reading():
        busy = bool(store.holder())
        with Catalog.open(store) as catalog:
            rows = list(select(catalog, point, paths))
            before = catalog.meta("last_seq")
            os.makedirs(target, exist_ok=True)
            copy(store, catalog, rows, target, job, merge=merge)
        for _ in range(_TRIES):
            with Catalog.open(store) as catalog:
                now = catalog.meta("last_seq")
                if not busy and now == before and not store.holder():
                    break
                busy, before = bool(store.holder()), now
                rows = list(select(catalog, point, paths))
                if not _put_right(store, catalog, rows, target, job):
                    break
        else:
            raise DamageError(f"{shown_path(b'')} kept changing while it was copied", hint="try again")
    files = [r.entry for r in rows if r.entry.kind is Kind.FILE]
    return RestoreResult(point, len(rows), sum(e.size for e in files), time.monotonic() - started)


def _check_target(store: Store, target: bytes, merge: bool) -> bytes:
    real = os.path.realpath(target)
    if (real + b"/").startswith(store.path + b"/"):
        raise RefusedError(f"{printable(target)} lies in the store", hint="name a directory outside of it")
    if os.path.lexists(target) and not os.path.isdir(real):
        raise UsageError(f"{printable(target)} is no directory", hint="name a new or empty directory with --to")
    if not merge and os.path.isdir(real) and os.listdir(real):
        raise RefusedError(f"{printable(target)} is not empty",
                           hint="name a new directory, or add --merge to replace what is in the way")
    return real


def select(catalog: Catalog, point: RestorePoint, paths: Sequence[bytes]) -> Iterator[Row]:
    """Yield the rows of a point in walk order: all, or those of the paths, what is in them and their parents.

    Raises UsageError for a path that the point does not have.
    """
    if not paths or b"" in paths:
        yield from catalog.tree(point.number)
        return
    found: dict[bytes, Row] = {}
    for path in paths:
        row = catalog.at(path, point.number)
        if row is None:
            raise UsageError(f"{shown_path(path)} is not in point {point.id}",
                             hint=f"`rollpoint history {shown_path(path)}` shows which points have it")
        parts = path.split(b"/")
        for parent in (b"/".join(parts[:n]) for n in range(len(parts))):
            above = catalog.at(parent, point.number)
            if above is not None:
                found[parent] = above
        found.update((r.entry.path, r) for r in catalog.tree(point.number, path))
    yield from (found[p] for p in sorted(found, key=lambda p: p.replace(b"/", b"\0")))


def copy(store: Store, catalog: Catalog, rows: Sequence[Row], target: bytes, job: Job, *, merge: bool = False) -> None:
    """Make `rows` below the directory `target`: what the tree still has by rsync, the rest from the packs.

    Both run at the same time where nothing ties them together; directories get their attributes last.
    """
    current = [r for r in rows if r.last is None]
    ended = [r for r in rows if r.last is not None]
    if merge:
        _clear_way(rows, target)
    for row in rows:
        if row.entry.kind is Kind.DIR and row.entry.path:
            os.makedirs(os.path.join(target, row.entry.path), mode=0o700, exist_ok=True)
    with tempfile.TemporaryFile() as names:
        names.writelines(rsync.listed(r.entry.path) for r in current if r.entry.kind is not Kind.DIR)
        names.seek(0)
        argv: list[Arg] = ["rsync", *rsync.FIDELITY, "--no-recursive", "--no-implied-dirs", "--from0", "--files-from=-",
                store.tree + b"/", target + b"/"]
        with Process(argv, stdin=names) as process:
            plain = [r for r in ended if r.entry.link is None]
            build(Contents(store, catalog), plain, target, job)
            while process.stdout.read(1 << 16):
                job.check()
            rsync.classify(argv, process.wait(), process.stderr_text())
    linked = {r.entry.link: os.path.join(target, r.entry.path) for r in current if r.entry.link is not None}
    build(Contents(store, catalog), [r for r in ended if r.entry.link is not None], target, job, linked)
    for row in reversed(rows):
        if row.entry.kind is Kind.DIR:
            apply_attributes(os.path.join(target, row.entry.path), row.entry)


def _clear_way(rows: Sequence[Row], target: bytes) -> None:
    for row in rows:
        full = os.path.join(target, row.entry.path)
        is_dir = os.path.isdir(full) and not os.path.islink(full)
        if row.entry.path and os.path.lexists(full) and not (is_dir and row.entry.kind is Kind.DIR):
            remove_any(full)


def _put_right(store: Store, catalog: Catalog, rows: Sequence[Row], target: bytes, job: Job) -> int:
    """Make again what a snapshot changed under our hands; returns how many entries that were."""
    wrong = []
    for row, path, info in join(target, rows):
        if row is None or row.entry.kind is Kind.DIR:
            continue
        if info is None or info.st_mtime_ns != row.entry.mtime or (
                row.entry.kind is Kind.FILE and info.st_size != row.entry.size):
            wrong.append(row)
            remove_any(os.path.join(target, path))
    if wrong:
        build(Contents(store, catalog), wrong, target, job)
        for row in reversed(rows):
            if row.entry.kind is Kind.DIR:
                apply_attributes(os.path.join(target, row.entry.path), row.entry)
    return len(wrong)
