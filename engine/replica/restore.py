"""Copying a point, or paths of it, into a directory of its own."""

from __future__ import annotations

import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence

from engine.entries import Kind
from engine.errors import DamageError, NotEmptyError, RefusedError, UsageError
from engine.events import Job
from engine.points import RestorePoint
from engine.replica import rsync
from engine.replica.catalog import Catalog, Row
from engine.replica.content import Contents, build
from engine.replica.disk import apply_attributes, read_entry, remove_any
from engine.replica.layout import Store
from engine.replica.reconcile import join, same_attributes
from engine.results import RestoreResult
from engine.run import Arg, Process
from engine.text import printable, shown_path

_TRIES = 5


def restore(store: Store, point: RestorePoint, dest: str, paths: Sequence[bytes], job: Job, *,
            merge: bool = False) -> RestoreResult:
    """Make `dest` (created if missing) hold the point, or the given paths of it under their full names.

    Nothing in the store changes and no lock is needed; if a snapshot runs meanwhile the result is checked and put
    right. Raises NotEmptyError when `dest` is not empty (unless `merge`: then what is in the way is replaced),
    RefusedError when it lies in the store, UsageError for a path that the point does not have.
    """
    started = time.monotonic()
    target = check_target(store, os.fsencode(dest), merge)
    with store.reading():
        with Catalog.open(store) as catalog:
            rows = list(select(catalog, point, paths))
        before = _writer(store)
        os.makedirs(target, exist_ok=True)
        if merge:
            _clear_way(rows, target)
        try:
            with Catalog.open(store) as catalog:
                problems = copy(store, catalog, rows, target, job)
        except (DamageError, FileNotFoundError):
            if _writer(store) == before and not before[0]:
                raise  # nobody else was at work: it is what it says
            problems = ("a snapshot came between",)
        after = _writer(store)
        doubtful = bool(problems) or after != before or bool(after[0])
        for _ in range(_TRIES if doubtful else 0):
            with Catalog.open(store) as catalog:
                rows = list(select(catalog, point, paths))
                wrong, problems = _put_right(store, catalog, rows, target, job)
            if not wrong:
                break
        if problems:
            raise DamageError(f"point {point.id} could not be copied whole: {problems[0]}",
                              hint="`rollpoint verify --data` says what is damaged")
    files = [r.entry for r in rows if r.entry.kind is Kind.FILE]
    return RestoreResult(point, len(rows), sum(e.size for e in files), time.monotonic() - started)


def _writer(store: Store) -> tuple[str, int]:
    """Return who writes to the store now, and when the lock was last taken: what tells that nothing moved."""
    try:
        return store.holder(), os.stat(store.place(b"lock")).st_mtime_ns
    except FileNotFoundError:
        return "", 0


def check_target(store: Store | None, target: bytes, merge: bool) -> bytes:
    """Return the directory to copy into, symbolic links resolved; raises as `restore`."""
    real = os.path.realpath(target)
    if store is not None and (real + b"/").startswith(store.path + b"/"):
        raise RefusedError(f"{printable(target)} lies in the store", hint="name a directory outside of it")
    if os.path.lexists(target) and not os.path.isdir(real):
        raise UsageError(f"{printable(target)} is no directory", hint="name a new or empty directory with --to")
    if not merge and os.path.isdir(real) and os.listdir(real):
        raise NotEmptyError(f"{printable(target)} is not empty",
                            hint="name a new directory, or add --merge to replace what is in the way")
    return real


def select(catalog: Catalog, point: RestorePoint, paths: Sequence[bytes]) -> Iterator[Row]:
    """Yield the rows of a point in walk order: all, or those of the paths, what is in them and their parents.

    Raises UsageError for a path that the point does not have, or when the point is gone.
    """
    if not catalog.has_point(point.number, point.id):
        raise UsageError(f"point {point.id} is gone", hint="`rollpoint list` shows those there are")
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


def copy(store: Store, catalog: Catalog, rows: Sequence[Row], target: bytes, job: Job) -> tuple[str, ...]:
    """Make `rows` below the directory `target`: what the tree still has by rsync, the rest from the packs.

    Both run at the same time where nothing ties them together; directories get their attributes last. Returns what
    could not be copied, in words.
    """
    current = [r for r in rows if r.last is None]
    ended = [r for r in rows if r.last is not None]
    _open_directories(rows, target)
    contents = Contents(store, catalog)
    with tempfile.TemporaryFile() as names:
        names.writelines(rsync.listed(r.entry.path) for r in current if r.entry.kind is not Kind.DIR)
        names.seek(0)
        argv: list[Arg] = ["rsync", *rsync.FIDELITY, "--no-recursive", "--no-implied-dirs", "--from0",
                           "--files-from=-", store.tree + b"/", target + b"/"]
        with Process(argv, stdin=names) as process:
            build(contents, [r for r in ended if r.entry.link is None], target, job, settle=False)
            while process.stdout.read(1 << 16):
                job.check()
            outcome = rsync.classify(argv, process.wait(), process.stderr_text())
    linked = {r.entry.link: os.path.join(target, r.entry.path) for r in current if r.entry.link is not None
              and os.path.lexists(os.path.join(target, r.entry.path))}
    build(contents, [r for r in ended if r.entry.link is not None], target, job, linked, settle=False)
    _close_directories(rows, target)
    return outcome.problems + outcome.unwritten


def _open_directories(rows: Sequence[Row], target: bytes) -> None:
    for row in rows:
        if row.entry.kind is Kind.DIR:
            full = os.path.join(target, row.entry.path)
            os.makedirs(full, mode=0o700, exist_ok=True)
            os.chmod(full, 0o700)


def _close_directories(rows: Sequence[Row], target: bytes) -> None:
    for row in reversed(rows):
        if row.entry.kind is Kind.DIR:
            apply_attributes(os.path.join(target, row.entry.path), row.entry)


def _clear_way(rows: Sequence[Row], target: bytes) -> None:
    for row in rows:
        full = os.path.join(target, row.entry.path)
        is_dir = os.path.isdir(full) and not os.path.islink(full)
        if row.entry.path and os.path.lexists(full) and not (is_dir and row.entry.kind is Kind.DIR):
            remove_any(full)


def _put_right(store: Store, catalog: Catalog, rows: Sequence[Row], target: bytes, job: Job
               ) -> tuple[int, tuple[str, ...]]:
    """Make again what a snapshot changed under our hands; returns how many entries that were, and what still fails,
    in words."""
    wrong: dict[bytes, Row] = {}
    groups: dict[int, list[Row]] = defaultdict(list)
    _open_directories(rows, target)
    # A name may have got a new file between rsync's look at it and its copying: only the content tells.
    sums = dict(rsync.checksums(target, str(store.identity["checksum"])))
    for row, path, info in join(target, rows):
        if row is None or row.entry.kind is Kind.DIR:
            continue
        if row.entry.link is not None:
            groups[row.entry.link].append(row)
        if row.entry.kind is Kind.FILE and sums.get(path) != row.entry.csum:
            wrong[path] = row
        if info is None or not same_attributes(read_entry(os.path.join(target, path), path, info), row.entry):
            wrong[path] = row
    for members in groups.values():  # a group is made again as a whole, or its names would not share one file
        if any(m.entry.path in wrong for m in members):
            wrong.update((m.entry.path, m) for m in members)
    for path in wrong:
        remove_any(os.path.join(target, path))
    problem: tuple[str, ...] = ()
    try:
        again = [wrong[p] for p in sorted(wrong, key=lambda p: p.replace(b"/", b"\0"))]
        build(Contents(store, catalog), again, target, job, settle=False)
    except (DamageError, FileNotFoundError) as error:
        problem = (str(error),)
    _close_directories(rows, target)
    return len(wrong), problem
