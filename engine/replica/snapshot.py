"""Taking a point: one rsync pass into the tree, the way back kept as a difference, one rename that makes it visible.

The order of writes, and what a crash after each step leaves behind, is specified in FORMAT.md.
"""

from __future__ import annotations

import os
import socket
import stat
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from engine import __version__
from engine.config import Config
from engine.entries import Kind
from engine.errors import DamageError, RollpointError
from engine.events import Job, step
from engine.machine.filesystems import recorded
from engine.replica import bootsaved, difference, journal, omitted, packs, recover, rsync
from engine.replica import catalog as catalogs
from engine.replica.catalog import Catalog
from engine.replica.difference import Difference, Touched
from engine.replica.disk import behind_link, clone_file
from engine.replica.index import FirstIndex
from engine.replica.layout import (
    Store,
    flushing,
    fsync_dir,
    machine_id,
    read_document,
    sync_filesystem,
    user_name,
    write_document,
)
from engine.replica.source import View, view
from engine.results import SnapshotRequest
from engine.run import Process
from engine.text import message, printable

Base = tuple[int, str, dict[str, Any]]


class Snapshot:
    """One point being taken. The caller holds the write lock and has recovered the store."""

    def __init__(self, store: Store, config: Config, request: SnapshotRequest, job: Job) -> None:
        self.store, self.config, self.request, self.job = store, config, request, job
        self.base, self.seq = self._base()
        self.created = (request.when or datetime.now(UTC)).astimezone(UTC)
        self.id = self._new_id()
        self.work = store.place(b"work", os.fsencode(self.id))
        self.started = time.monotonic()
        self.counts: dict[str, int] = defaultdict(int)
        self.diff_bytes = 0
        self.doc: dict[str, Any] = {}

    def _base(self) -> tuple[Base | None, int]:
        if not os.path.exists(self.store.catalog):
            return None, 1
        with Catalog.open(self.store) as catalog:
            points = catalog.points()
            highest = int(catalog.meta("last_seq") or 0)
        return (points[-1] if points else None), max([highest, *(p[0] for p in points)]) + 1

    def _new_id(self) -> str:
        name = self.created.strftime("%Y-%m-%d_%H-%M-%S")
        taken = set(self.store.point_ids())
        candidates = (name if n == 1 else f"{name}-{n}" for n in range(1, len(taken) + 2))
        return next(c for c in candidates if c not in taken)

    def take(self) -> dict[str, Any]:
        """Take the point and return its document; on any failure the store is put back as it was. Raises."""
        entry = {"operation": "snapshot", "id": self.id, "seq": self.seq,
                 "base": self.base[1] if self.base else None, "base_seq": self.base[0] if self.base else None}
        journal.begin(self.store, entry)
        try:
            step("snapshot-begun")
            os.makedirs(os.path.join(self.work, b"point"))
            os.mkdir(os.path.join(self.work, b"old"))
            with view(self.config, self.store, job=self.job) as source:
                self.doc = self._document(source)
                self._note_omitted(source)
                self._first(source) if self.base is None else self._next(source, self.base)
        except BaseException:
            recover.recover(self.store, Job())
            raise
        recover.recover(self.store, Job())  # the point is visible: what is left is to clean up
        return self.doc

    def _note_omitted(self, source: View) -> None:
        """Warn of file systems that points held and that this one will not."""
        if self.base is None:
            return
        last: dict[str, Any] = {}
        with suppress(DamageError, OSError):        # that is shown with the point itself
            last = read_document(self.store.point(self.base[1], b"point.yaml"))
        found = omitted.omitted(self.config, last, [one.place for one in recorded(source.sources)])
        for text in omitted.warnings(self.config, found):
            self.job.warn(text)
        self.doc |= {"omitted": omitted.document(found)} if found else {}

    # --- the two ways ----------------------------------------------------------------------------------------------

    def _first(self, source: View) -> None:
        with Catalog.create(os.path.join(self.work, b"catalog.sqlite")) as catalog:
            index = FirstIndex(catalog, self.store.tree, self.seq, self.job)
            with flushing(self.store.path, lambda: index.counts["bytes_copied"]):
                self._copy(source, index.add, ())
            step("snapshot-copied")
            self.job.progress("indexing", index.counts["created"])
            index.finish()
            catalog.finish()
            self.counts.update(index.counts)
            self.doc["counts"] = catalog.totals(self.seq)
            self.doc["allocated"] = index.allocated
            self._write_point(catalog)
        step("snapshot-cataloged")
        self.job.progress("making it durable")
        sync_filesystem(self.store.path)
        os.rename(os.path.join(self.work, b"catalog.sqlite"), self.store.catalog)
        catalogs.seal(self.store)
        self._show()

    def _next(self, source: View, base: Base) -> None:
        with Catalog.open(self.store, write=True) as catalog, catalog.transaction():
            touched = Touched()
            for row in catalog.rows("last IS NULL AND mode & 3072 != 0"):
                touched.add(row.entry.path)  # rsync 3.5 does not itemize a chown of a set-id entry
            self._split_links(catalog, source, touched)
            if os.geteuid() != 0:
                self._writable_backups(catalog)
            with flushing(self.store.path, lambda: self.counts["seen"]):
                self._copy(source, self._noting(touched), ("--backup", b"--backup-dir=" + self._old))
            step("snapshot-copied")
            work = Difference(catalog, self.store.tree, self._old, touched, self.job)
            self._write_difference(work, catalog, base)
            step("snapshot-packed")
            self.job.progress("making it durable")
            sync_filesystem(self.store.path)
            self._place_difference(base)
            step("snapshot-diff-placed")
        step("snapshot-cataloged")
        catalogs.seal(self.store)
        self._show()

    def _writable_backups(self, catalog: Catalog) -> None:
        """Make the directories in which rsync, as an ordinary user, could not keep what was in read-only ones: it gives
        a directory its mode before it makes the next one in it (rsync 3.5, copy_valid_path). Attributes of
        directories never come from there."""
        for row in catalog.rows("kind = ? AND last IS NULL AND mode & 192 != 192", (Kind.DIR.value,)):
            os.makedirs(os.path.join(self._old, row.entry.path), mode=0o700, exist_ok=True)

    @property
    def _old(self) -> bytes:
        return os.path.join(self.work, b"old")

    def _copy(self, source: View, on_item: Callable[[rsync.Item], None], options: tuple[str | bytes, ...]) -> None:
        """Make the tree like the source; rsync's output goes to items.zst and, item by item, to `on_item`."""
        filters = rsync.write_filters(os.path.join(self.work, b"filters"), source.filters)
        compare = ("--checksum",) if self.config.compare_checksums else ()
        common = (f"--checksum-choice={self.store.identity['checksum']}", *compare, *source.options, "--delete")
        items = os.path.join(self.work, b"point", b"items.zst")

        def run(*more: str | bytes) -> rsync.Outcome:
            argv = rsync.copy_argv(source.inside, self.store.tree, (*common, *more), filters)
            return rsync.run(source.space.wrap(argv), on_item, self.job,
                             lambda raw: packs.feed(log, raw))

        self.job.progress("comparing")
        with Process(["zstd", "-q", "-1", "-o", items], feed=True) as log:
            outcome = run("--delete-excluded", *options)
            if outcome.unwritten:
                outcome = self._second_pass(run, bool(options))
            packs.settle(log)
        for problem in outcome.problems:
            self.job.warn(message(problem))
        source.read()
        self.doc["rsync"] = {"status": outcome.status, "problems": [message(p) for p in outcome.problems[:1000]]}

    def _second_pass(self, run: Callable[..., rsync.Outcome], backup: bool) -> rsync.Outcome:
        """Try again what could not be written. Raises RollpointError when it fails again."""
        options: tuple[str | bytes, ...] = ()
        if backup:
            options = ("--backup", b"--backup-dir=" + os.path.join(self.work, b"old-2"))
        outcome = run("--delete-excluded", *options)
        recover.merge_backups(self.work)
        if outcome.unwritten:
            raise RollpointError(f"rsync could not write into the store: {message(outcome.unwritten[0])}",
                                 hint="its file system must keep owners, modes, ACLs and extended attributes")
        return outcome

    def _noting(self, touched: Touched) -> Callable[[rsync.Item], None]:
        def note(item: rsync.Item) -> None:
            touched.add(item.path, item.csum, item.linked)
            self.counts["seen"] += item.size if item.csum else 0
            self.job.progress("copying", len(touched.csums), current=item.path, bytes_done=self.counts["seen"])
        return note

    def _split_links(self, catalog: Catalog, source: View, touched: Touched) -> None:
        """Break hard links in the tree that the source no longer has: rsync only ever adds links (rsync(1), -H).

        For an ordinary user it also makes a read-only file writable before it deletes it (rsync 3.5), and with it the
        other names of that file, which it has looked at before.
        """
        user = os.geteuid() != 0
        known: dict[bytes, bool] = {}

        def apart_from_the_others(row: catalogs.Row) -> None:
            with _writable(os.path.join(self.store.tree, os.path.dirname(row.entry.path))):
                clone_file(os.path.join(self.store.tree, row.entry.path), row.entry)
            touched.add(row.entry.path)
            touched.add(os.path.dirname(row.entry.path))

        groups: dict[int, list[catalogs.Row]] = defaultdict(list)
        for row in catalog.rows("link IS NOT NULL AND last IS NULL", order="link"):
            groups[row.entry.link or 0].append(row)
        for rows in groups.values():
            inodes: dict[tuple[int, int], list[catalogs.Row]] = defaultdict(list)
            for row in rows if len(rows) > 1 else ():
                try:
                    if behind_link(source.path, row.entry.path, known):
                        continue
                    info = os.lstat(os.path.join(source.path, row.entry.path))
                    inodes[info.st_dev, info.st_ino].append(row)
                except (FileNotFoundError, NotADirectoryError):
                    if user and not row.entry.mode & stat.S_IWUSR:
                        apart_from_the_others(row)
            for apart in sorted(inodes.values(), key=len)[:-1]:
                for row in apart:
                    apart_from_the_others(row)

    # --- writing the result -----------------------------------------------------------------------------------------

    def _write_difference(self, work: Difference, catalog: Catalog, base: Base) -> None:
        diff = os.path.join(self.work, b"diff")
        os.mkdir(diff)
        with packs.PackWriter(diff) as writer:
            records = difference.write_records(work.records(writer), diff)
        packs.write_sums(diff)
        self.counts.update(work.counts)
        work.commit(self.seq, base[0], records)
        self.diff_bytes = used(diff)
        base_doc = base[2] | {"own_bytes": self.diff_bytes + used(self.store.point(base[1]))}
        catalog.put_point(base[0], base[1], base_doc)
        self.doc["counts"] = add_counts(base[2]["counts"], work) or catalog.totals(self.seq)
        self.doc["allocated"] = int(base[2].get("allocated", 0)) + work.allocated
        self._write_point(catalog)

    def _write_point(self, catalog: Catalog) -> None:
        self.doc["changed"] = {k: self.counts[k] for k in ("created", "changed", "deleted", "attrs", "bytes_copied")}
        directory = os.path.join(self.work, b"point")
        root = os.path.realpath(os.fsencode(self.config.root))
        boot, sums = bootsaved.save(directory, self.store.tree, self.config, root, self.job)
        self.doc.update({"boot": boot} if boot else {})
        self.doc["files"] = {"items.zst": packs.file_sum(os.path.join(directory, b"items.zst")), **sums}
        self.doc["seconds"] = round(time.monotonic() - self.started, 3)
        write_document(os.path.join(directory, b"point.yaml"), self.doc)
        catalog.put_point(self.seq, self.id, self.doc)
        catalog.set_meta("last_seq", str(self.seq))

    def _place_difference(self, base: Base) -> None:
        os.rename(os.path.join(self.work, b"diff"), self.store.point(base[1], b"diff"))
        fsync_dir(self.store.point(base[1]))

    def _show(self) -> None:
        """The rename that makes the point exist."""
        step("snapshot-sealed")
        os.rename(os.path.join(self.work, b"point"), self.store.point(self.id))
        fsync_dir(self.store.place(b"points"))
        step("snapshot-visible")

    def _document(self, source: View) -> dict[str, Any]:
        root = os.path.realpath(os.fsencode(self.config.root))
        return {
            "id": self.id, "number": self.seq, "created": self.created.isoformat(timespec="seconds"),
            "comment": self.request.comment, "tags": list(self.request.tags), "pinned": self.request.pin,
            "reason": self.request.reason, "taken_by": user_name(), "host": socket.gethostname(),
            "machine_id": machine_id(root), "root": printable(root), "os": _os_name(root),
            "kernel": os.uname().release if root == b"/" else "", "rollpoint": __version__,
            "sources": list(source.sources), "excludes": list(self.config.excludes),
            "databases": list(self.config.databases),
        }


def add_counts(base: Mapping[str, int], work: Difference) -> dict[str, int] | None:
    """Return the counts of the new tree from those of the old one; None when hard links make that uncertain."""
    counts = dict(base)
    names = {Kind.FILE: "files", Kind.DIR: "dirs", Kind.LINK: "links"}
    for path in work.changed:
        row, new = work.old.get(path), work.new.get(path)
        for entry, sign in ((row.entry if row else None, -1), (new, 1)):
            if entry is None:
                continue
            if entry.link is not None:
                return None
            counts[names.get(entry.kind, "others")] += sign
            counts["bytes"] += sign * entry.size
    return None if work.relinked else counts


def used(directory: bytes) -> int:
    """Return the disk space in bytes that the files in a directory (and in those below it) take."""
    total = 0
    for place, _, names in os.walk(directory):
        total += sum(os.lstat(os.path.join(place, n)).st_blocks * 512 for n in names)
    return total


def _os_name(root: bytes) -> str:
    for name in (b"etc/os-release", b"usr/lib/os-release"):
        try:
            with open(os.path.join(root, name), "rb") as file:
                for line in file:
                    if line.startswith(b"PRETTY_NAME="):
                        return printable(line[12:].strip().strip(b'"'))
        except OSError:
            continue
    return ""


@contextmanager
def _writable(directory: bytes) -> Iterator[None]:
    """Let an ordinary user write in a directory of his own; afterwards it has its mode again."""
    mode = stat.S_IMODE(os.lstat(directory).st_mode)
    if os.geteuid() == 0 or mode & 0o300 == 0o300:
        yield
        return
    os.chmod(directory, mode | 0o300)
    try:
        yield
    finally:
        os.chmod(directory, mode)
