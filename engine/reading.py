"""The verbs that only look: any number of them at once, also while a point is being taken."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from engine import audit, backends, bootlook, bootpieces, nextboot, points, rollback, scopes, software, targets
from engine.audit import AuditEntry
from engine.backend import Level, Losses, NativePlan
from engine.backends import Listing, Trouble
from engine.bootlook import Kept, Layout, Loader
from engine.bootpieces import BootShown, BootStatus
from engine.config import settings
from engine.dispatch import REPLICA, of_any_backend
from engine.entries import Change, Diff, Entry, Kind, Life, Version, compare
from engine.errors import RefusedError, UsageError
from engine.events import Job
from engine.lister import Lister
from engine.points import RestorePoint
from engine.replica import bootsaved, layout, query, room
from engine.replica.content import Contents
from engine.results import FileContent, Measure, ScopeChoice, Software, StoreStatus
from engine.session import clean_errors
from engine.text import printable, shown_path
from engine.vmpoints.plans import DISKS, INVENTORIES

if TYPE_CHECKING:
    from engine.storage import Storage


class Reader(Lister):
    """Everything that can be asked. Every method raises RollpointError."""

    def status(self) -> StoreStatus:
        """Return the health and size of the store; there need not be one yet."""
        path, root = os.fsencode(self.config.store), printable(os.fsencode(self.config.root))
        with clean_errors():
            there = _there(os.path.join(path, b"store.yaml"))
        if not there:
            absent = layout.unmounted(os.path.realpath(path))
            return StoreStatus(printable(path), root, False, False, 0, 0, 0, None, 0, "", "", "",
                               unmounted=printable(absent or b""))
        store = self._store
        listed = query.points(store)
        total, tree = room.sizes(store, listed)
        free = os.statvfs(store.path)
        ratio = self.config.retention.max_store_ratio
        unfinished = ""
        if os.path.exists(store.journal) and not store.holder():
            unfinished = "an operation was interrupted; the next command that writes finishes or undoes it"
        return StoreStatus(
            printable(store.path), root, True, not os.access(store.path, os.W_OK), total, tree,
            free.f_bavail * free.f_frsize, int(ratio * tree) if ratio and tree else None, len(listed),
            store.holder(), unfinished, rollback.interrupted(store), rollback.safety_of_interrupted(store),
            nextboot.pending(store))

    @property
    def storage(self) -> Storage:
        """The same verbs for the points that the storage keeps (ZFS, LVM, btrfs)."""
        from engine.storage import Storage  # most machines have no such points, and need none of it

        return Storage(self.config)

    def backend_states(self) -> list[backends.State]:
        """Return how each kind of storage stands on this machine: asked or not and why, and its program's version."""
        return backends.states(self.config)

    def takers(self) -> tuple[str, ...]:
        """Return the backends that `snapshot` can take a point of this machine with, the usual one first."""
        return (REPLICA, *(backend.name for backend in backends.of(self.config)
                           if backend.name not in (INVENTORIES, DISKS)))

    def levels(self) -> tuple[list[Level], list[str], list[Trouble]]:
        """Return how full what snapshots live in is, what has begun and is not finished (in sentences), and which
        backends cannot say."""
        return self.storage.levels()

    def native_plan(self, point: RestorePoint) -> NativePlan:
        """Return what setting the volumes of a point themselves back would do; touches nothing. Raises RefusedError
        where its storage cannot."""
        if point.backend == REPLICA:
            raise RefusedError("points of the replica have no volume to set back", hint="roll back by content")
        return self.storage.native_plan(point)

    def losses(self, victims: Sequence[RestorePoint]) -> dict[str, Losses]:
        """Return by backend what deleting these snapshots of the storage comes to (see engine.backend.Losses)."""
        names = dict.fromkeys(p.backend for p in victims if p.backend != REPLICA)
        return {name: self.storage.losses([p for p in victims if p.backend == name]) for name in names}

    def find_in(self, point: RestorePoint, pattern: str) -> Iterator[Entry]:
        """Yield what fits a pattern in one point, of whatever backend, in path order."""
        yield from self.storage.find_in(point, pattern)

    def history_in(self, backend: str, path: bytes) -> list[Version]:
        """Return the versions of a path over the snapshots of a backend, the newest first; each is opened for it."""
        return self.storage.history_in(backend, path)

    def resolve(self, spec: str, backend: str | None = None) -> RestorePoint:
        """Return the point that an id, a unique prefix, a number or ``latest`` names, of any backend or of one.
        ``latest`` is that of the replica as long as it has a point."""
        if backend is not None:
            return self._one_of(self.listing(backend), spec)
        try:
            kept: list[RestorePoint] = self.points()
        except UsageError:
            kept = []
            if not backends.any_wanted(self.config):
                raise
        if (kept and (spec == points.LATEST or any(spec in (p.id, str(p.number)) for p in kept))) or (
                not backends.any_wanted(self.config)):
            return points.resolve(kept, spec)
        return self._one_of(self.storage.listing(kept), spec)

    @staticmethod
    def _one_of(listing: Listing, spec: str) -> RestorePoint:
        try:
            return points.resolve(listing.points, spec)
        except UsageError as error:
            for trouble in listing.troubles:
                error.hint += f"; {trouble.backend} could not be asked: {trouble.reason}"
            raise

    @of_any_backend
    def listdir(self, point: RestorePoint, path: bytes = b"") -> list[Entry]:
        """Return what is in a directory of a point, by name; of anything else the entry itself."""
        with self._catalog() as (_, catalog):
            return query.listdir(catalog, point, path)

    @of_any_backend
    def entry(self, point: RestorePoint, path: bytes) -> Entry:
        """Return the entry of a path in a point."""
        with self._catalog() as (_, catalog):
            return query.need(catalog, point, path).entry

    def find(self, pattern: str, *, deleted: bool = True) -> Iterator[Version]:
        """Yield the versions of the paths that fit a pattern (see query.find)."""
        with self._catalog() as (store, catalog):
            yield from query.find(catalog, query.Timeline(query.points(store)), pattern, deleted=deleted)

    def history(self, path: bytes) -> list[Version]:
        """Return the versions of a path over all points, the newest first."""
        with self._catalog() as (store, catalog):
            return query.history(catalog, query.Timeline(query.points(store)), path)

    def histories(self, paths: Sequence[bytes]) -> dict[bytes, list[Version]]:
        """Return the versions of each of these paths over all points, the newest first; [] for one that no point
        has."""
        with self._catalog() as (store, catalog):
            timeline = query.Timeline(query.points(store))
            return {path: query.versions(catalog, timeline, path) for path in paths}

    # --- differences -------------------------------------------------------------------------------------------------

    @of_any_backend
    def diff(self, older: RestorePoint, newer: RestorePoint | None, paths: Sequence[bytes] = (),
             job: Job | None = None) -> Diff:
        """Return what changed from one point to another, or to the live tree (None)."""
        changes = tuple(self.changes(older, newer, paths, job))
        return Diff(older.id, newer.id if newer else "live", changes)

    @of_any_backend
    def changes(self, older: RestorePoint, newer: RestorePoint | None, paths: Sequence[bytes] = (),
                job: Job | None = None) -> Iterator[Change]:
        """Yield what `diff` returns, one by one in walk order: between points a million of them take no memory."""
        with self._catalog() as (store, catalog):
            if newer is not None:
                yield from query.diff_points(catalog, older, newer, paths)
                return
            targets.check_machine(store, self.config, older)
            config = targets.widened(self.config, targets.present(self.config, older))
            yield from query.diff_live(store, config, catalog, older, paths, job or Job()).changes

    @of_any_backend
    def change(self, older: RestorePoint, newer: RestorePoint | None, path: bytes) -> Change | None:
        """Return how one path (and not what is below it) changed, None where it did not."""
        with self._catalog() as (_, catalog):
            old = catalog.at(path, older.number)
            if newer is None:
                return compare(old.entry if old else None, query.live_entry(os.fsencode(self.config.root), path))
            new = catalog.at(path, newer.number)
            return query.change_of(old.entry if old else None, new.entry if new else None)

    @of_any_backend
    def software(self, older: RestorePoint, newer: RestorePoint | None) -> Software:
        """Return in words what became of packages (dpkg, rpm, pacman) and kernels."""
        with self._catalog() as (store, catalog):
            old = software.PointFiles(store, catalog, older.number)
            new = software.PointFiles(store, catalog, newer.number) if newer else software.LiveFiles(
                os.fsencode(self.config.root))
            return software.compare(old, new)

    @of_any_backend
    def file_diff(self, older: RestorePoint, newer: RestorePoint | None, path: bytes) -> list[str]:
        """Return the unified difference of one file as lines (surrogate-escaped text)."""
        with self._catalog() as (store, catalog):
            old = query.read_whole(store, catalog, older, path)
            new = self._live(path) if newer is None else query.read_whole(store, catalog, newer, path)
        if old is None and new is None:
            raise UsageError(f"{shown_path(path)} is on neither side", hint="check the path")
        return query.unified(old or b"", new or b"", path, older.id, newer.id if newer else "live")

    def _live(self, path: bytes) -> bytes | None:
        with software.LiveFiles(os.fsencode(self.config.root)).open(path) as file:
            return None if file is None else file.read()

    @of_any_backend
    def content(self, point: RestorePoint | None, path: bytes, limit: int) -> FileContent | None:
        """Return the first `limit` bytes of a regular file of a point, or of the live tree (None), and its size;
        None where there is no regular file of that name."""
        with self._catalog() as (store, catalog):
            files = software.LiveFiles(os.fsencode(self.config.root)) if point is None else software.PointFiles(
                store, catalog, point.number)
            with files.open(path) as file:
                if file is None:
                    return None
                return FileContent(file.read(limit), os.fstat(file.fileno()).st_size)

    # --- looking around ----------------------------------------------------------------------------------------------

    def lives(self, path: bytes = b"") -> list[Life]:
        """Return what became of each name that was directly in a directory in any point, by name."""
        with self._catalog() as (_, catalog):
            return query.lives(catalog, path)

    def stirred(self, path: bytes = b"") -> dict[bytes, tuple[int, ...]]:
        """Return for each directory directly in a directory the numbers of the points after which something below it
        changed or went; those that have nothing of the kind are left out."""
        with self._catalog() as (_, catalog):
            return query.stirred(catalog, path)

    def live_listing(self, path: bytes = b"") -> list[Entry]:
        """Return what is in a directory of the live tree, by name; none where there is no such directory."""
        with clean_errors():
            return query.live_listing(os.fsencode(self.config.root), path)

    @of_any_backend
    def measure(self, point: RestorePoint, paths: Sequence[bytes]) -> Measure:
        """Return how much some paths of a point are, with all below them."""
        with self._catalog() as (_, catalog):
            return query.measure(catalog, point, paths)

    @of_any_backend
    def scopes(self, point: RestorePoint) -> list[ScopeChoice]:
        """Return what a rollback to a point can be limited to."""
        with self._catalog() as (store, catalog):
            boot = next(catalog.children(point.number, b"boot"), None) is not None
            pieces = os.path.isdir(bootsaved.directory(store, point.id))
        return scopes.choices(point, boot=boot, pieces=pieces)

    def boot_status(self) -> BootStatus:
        """Return what is in the boot areas of the live system's disks, and whether it will boot."""
        with clean_errors():
            return bootpieces.status(self.config)

    @of_any_backend
    def boot_of(self, point: RestorePoint) -> BootShown:
        """Return the boot pieces of a point beside those of the disks that are here."""
        with clean_errors():
            return bootpieces.show(self._settled(), self.config, point)

    @of_any_backend
    def boot_kept(self, point: RestorePoint, name: str) -> Kept:
        """Return a file of a point's boot pieces: an image, a text, or ``facts/NAME`` (see bootlook.kept)."""
        with clean_errors():
            return bootlook.kept(self._settled(), point, name)

    def boot_bytes(self, disk: bytes, offset: int, length: int) -> bytes:
        """Return bytes of a disk that is here, less where it ends before."""
        with clean_errors():
            return bootlook.present(disk, offset, length)

    @of_any_backend
    def boot_layout(self, point: RestorePoint | None) -> tuple[Layout, ...]:
        """Return the texts about the disks as a point keeps them and as they are now (None: only now)."""
        with clean_errors():
            return bootlook.layout(None if point is None else self._settled(), self.config, point)

    @of_any_backend
    def boot_loaders(self, point: RestorePoint | None) -> tuple[Loader, ...]:
        """Return the EFI programs of the live system, beside those of a point (None: only those of now)."""
        if point is None:
            with clean_errors():
                return bootlook.loaders(None, None, self.config, None)
        with self._catalog() as (store, catalog):
            return bootlook.loaders(store, catalog, self.config, point)

    def audit(self, count: int = 500) -> list[AuditEntry]:
        """Return the last entries of the audit log, newest first."""
        return audit.tail(self.config.store, count)[::-1]

    def settings(self) -> list[tuple[str, str, str]]:
        """Return every setting as (key, value, where it comes from), printable."""
        return settings(self.config)

    @of_any_backend
    @contextmanager
    def read(self, point: RestorePoint, path: bytes) -> Iterator[IO[bytes]]:
        """Open a regular file of a point for reading."""
        with self._catalog() as (store, catalog):
            row = query.need(catalog, point, path)
            if row.entry.kind is not Kind.FILE:
                raise UsageError(f"{shown_path(path)} is no regular file in point {point.id}",
                                 hint="`rollpoint ls` shows what it is")
            with Contents(store, catalog).open(row) as file:
                yield file


def _there(path: bytes) -> bool:
    """Whether there is such a file. Raises OSError where nobody can tell: of a dead disk that is not "no"."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
