"""Verifying a store: is everything there, does it fit together, and (with `data`) is every byte what was recorded."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from engine.entries import Kind
from engine.errors import DamageError, RollpointError
from engine.events import Job
from engine.points import RestorePoint
from engine.replica import bootsaved, intact, packs, query, rsync
from engine.replica import catalog as catalogs
from engine.replica.catalog import Catalog, Row
from engine.replica.content import Contents
from engine.replica.disk import as_read, read_entry
from engine.replica.layout import Store, read_document, write_file
from engine.replica.listed import DAMAGE, MARKS
from engine.replica.reconcile import join, same_attributes
from engine.results import Damage, VerifyReport
from engine.text import printable, shown_path

_BATCH_BYTES = 256 << 20
_BATCH_FILES = 2000


class Verifier:
    """One verification; `damage` grows while it runs. Nothing in the store is changed."""

    def __init__(self, store: Store, points: Sequence[RestorePoint], job: Job) -> None:
        self.store, self.points, self.job = store, points, job
        self.all = query.points(store)
        self.damage: list[Damage] = []
        self.entries = self.bytes_read = 0

    def run(self, *, data: bool) -> VerifyReport:
        """Verify and return the report."""
        self._documents()
        self._files()
        self._kit()
        usable = self._catalog(data)
        if usable:
            with Catalog.open(self.store) as catalog:
                self._tree(catalog)
                if data:
                    self._tree_data(catalog)
                    self._old_data(catalog)
        unique = list(dict.fromkeys(self.damage))
        return VerifyReport(len(self.points), self.entries, self.bytes_read, tuple(unique))

    def _add(self, point: str, path: bytes, text: str) -> None:
        self.damage.append(Damage(point, path, text))

    # --- structure -------------------------------------------------------------------------------------------------

    def _documents(self) -> None:
        try:
            read_document(self.store.place(b"store.yaml"))
        except (RollpointError, OSError) as error:
            self._add("", b"", str(error))
        for point in self.points:
            for problem in point.problems:
                if not problem.startswith("verify: "):
                    self._add(point.id, b"", problem)
            try:
                doc = read_document(self.store.point(point.id, b"point.yaml"))
                self._sum(point.id, self.store.point(point.id, b"items.zst"), doc["files"]["items.zst"])
                for text in bootsaved.damaged(self.store, point.id, doc["files"]):
                    self._add(point.id, b"", text)
            except (RollpointError, OSError, KeyError, TypeError) as error:
                self._add(point.id, b"", f"point.yaml: {error}")

    def _sum(self, point_id: str, path: bytes, expected: str) -> None:
        self.job.progress("checking files of the store", current=os.path.basename(path))
        try:
            if packs.file_sum(path) != expected:
                self._add(point_id, b"", f"{printable(os.path.relpath(path, self.store.path))} is damaged")
        except OSError as error:
            self._add(point_id, b"", f"{printable(os.path.relpath(path, self.store.path))}: {error.strerror}")

    def _files(self) -> None:
        newest = self.all[0].id if self.all else ""
        for point in self.points:
            diff = self.store.point(point.id, b"diff")
            if point.id == newest:
                continue
            try:
                with open(os.path.join(diff, b"SHA256SUMS"), "rb") as file:
                    listed = {name: digest for digest, name in (li.rstrip(b"\n").split(b"  ", 1) for li in file)}
            except (OSError, ValueError):
                self._add(point.id, b"", "its difference's SHA256SUMS cannot be read")
                continue
            present = set(os.listdir(diff)) - {b"SHA256SUMS"}
            for name in sorted(present ^ set(listed)):
                self._add(point.id, b"", f"{printable(name)} is {'not listed' if name in present else 'missing'}")
            for name in sorted(present & set(listed)):
                self._sum(point.id, os.path.join(diff, name), listed[name].decode("ascii", "replace"))
        kept = self.store.place(b"items")
        for name in sorted(os.listdir(kept)) if os.path.isdir(kept) else ():
            if packs.file_sum(os.path.join(kept, name))[:16].encode() != name[9:25]:
                self._add("", b"", f"items/{printable(name)} is damaged")

    def _kit(self) -> None:
        """The rescue kit; without its list of sums it is one that was not finished, and is written again."""
        directory = self.store.place(b"rescue")
        if not os.path.exists(os.path.join(directory, b"SHA256SUMS")):
            return
        try:
            for name, what in packs.wrong_sums(directory):
                self._add("", b"", f"rescue/{printable(name)} {what}")
        except (OSError, ValueError) as error:
            self._add("", b"", f"rescue/SHA256SUMS cannot be read: {error}")

    def _catalog(self, data: bool) -> bool:
        if not self.all:
            return False
        try:
            with Catalog.open(self.store) as catalog:
                catalog.points()
            if data and not catalogs.sealed(self.store):
                raise DamageError("the catalog is damaged: its checksum does not fit")
        except RollpointError as error:
            self._add("", b"", str(error))
            return False
        return True

    # --- the tree --------------------------------------------------------------------------------------------------

    def _tree(self, catalog: Catalog) -> None:
        for row, path, info in join(self.store.tree, catalog.tree(1 << 60)):
            self.entries += 1
            if self.entries % 256 == 0:
                self.job.progress("checking the tree", self.entries, current=path)
            if row is None:
                self._add(self.all[0].id, path, "is in the tree but not in the catalog")
            elif info is None:
                self._row_damage(row, intact.MISSING)
            else:
                full = os.path.join(self.store.tree, path)
                if not same_attributes(read_entry(full, path, info), as_read(row.entry, full)):
                    self._row_damage(row, intact.DIFFERS)

    def _row_damage(self, row: Row, text: str) -> None:
        version = query.Timeline(self.all).version(row)
        if version is None:
            return
        for point in self.all:
            low, high = row.first, row.last if row.last is not None else 1 << 60
            if low <= point.number <= high:
                self._add(point.id, row.entry.path, text)

    def _tree_data(self, catalog: Catalog) -> None:
        seen: set[bytes] = set()
        for path, csum in rsync.checksums(self.store.tree, str(self.store.identity["checksum"])):
            row = catalog.current(path)
            seen.add(path)
            if row is None or row.entry.kind is not Kind.FILE:
                continue
            self.bytes_read += row.entry.size
            self.job.progress("reading the tree", len(seen), current=path, bytes_done=self.bytes_read)
            if row.entry.csum != csum:
                self._content_damage(row, intact.BAD_CONTENT)
        for row in catalog.rows("kind = 'f' AND last IS NULL"):
            if row.entry.path not in seen:
                self._content_damage(row, intact.NO_CONTENT)

    def _content_damage(self, row: Row, text: str) -> None:
        full = os.path.join(self.store.tree, row.entry.path)
        if os.path.lexists(full) and not os.access(full, os.R_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), full)    # that says nothing of the file
        self._row_damage(row, text)

    # --- old versions ----------------------------------------------------------------------------------------------

    def _old_data(self, catalog: Catalog) -> None:
        numbers = {p.number for p in self.points}
        contents = Contents(self.store, catalog)
        rows = (r for r in catalog.rows("kind = 'f' AND last IS NOT NULL AND size > 0", order="last, data")
                if any(r.first <= n <= (r.last or 0) for n in numbers))
        for batch in _batches(rows):
            with tempfile.TemporaryDirectory(prefix="verify-", dir=os.fsdecode(self._scratch())) as scratch:
                self._check_batch(contents, batch, os.fsencode(scratch))

    def _scratch(self) -> bytes:
        return self.store.work if os.access(self.store.work, os.W_OK) else os.fsencode(tempfile.gettempdir())

    def _check_batch(self, contents: Contents, batch: Sequence[Row], scratch: bytes) -> None:
        """Make the contents anew and compare their checksums; what cannot be made is found one by one."""
        named = {b"%d" % n: row for n, row in enumerate(batch)}
        try:
            contents.write([(row, os.path.join(scratch, name)) for name, row in named.items()], scratch, self.job)
        except (DamageError, OSError):
            for name in os.listdir(scratch):
                os.unlink(os.path.join(scratch, name))
            for name, row in list(named.items()):
                try:
                    contents.write([(row, os.path.join(scratch, name))], scratch, self.job)
                except (DamageError, OSError) as error:
                    self._row_damage(row, f"its content cannot be read: {error}")
                    del named[name]
        for name, csum in rsync.checksums(scratch, str(self.store.identity["checksum"])):
            if name in named and named[name].entry.csum != csum:
                self._row_damage(named[name], f"its content is damaged (point {named[name].last})")
        self.bytes_read += sum(r.entry.size for r in batch)


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    size = 0
    for row in rows:
        batch.append(row)
        size += row.entry.size
        if size > _BATCH_BYTES or len(batch) >= _BATCH_FILES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def mark(store: Store, points: Sequence[RestorePoint], report: VerifyReport) -> None:
    """Remember the damage of the verified points in the store, so that lists show it. A read-only store is left."""
    try:
        with open(store.place(DAMAGE), "rb") as file:
            marks: dict[str, list[str]] = json.load(file)
    except (OSError, ValueError):
        marks = {}
    found: dict[str, list[str]] = defaultdict(list)
    intrinsic = {problem for point in points for problem in point.problems}
    for item in report.damage:
        if item.point and item.text not in intrinsic:
            place = f"{shown_path(item.path)}: " if item.path else ""
            found[item.point].append(f"verify: {place}{item.text}")
    for point in points:
        marks.pop(point.id, None)
    marks.update({k: v[:MARKS] for k, v in found.items()})
    if marks or os.path.exists(store.place(DAMAGE)):
        write_file(store.place(DAMAGE), json.dumps(marks).encode())
