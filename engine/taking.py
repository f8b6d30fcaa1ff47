"""Taking a point of the replica, and removing old ones where room is wanted for it."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from engine import retention, rollback
from engine.config import Config, Retention
from engine.dispatch import REPLICA
from engine.errors import NoRoomError, RollpointError
from engine.events import Job
from engine.points import RestorePoint
from engine.replica import delete, layout, mounted, query, recover, room, rsync
from engine.replica.layout import Store
from engine.replica.room import Missing
from engine.replica.snapshot import Snapshot
from engine.rescue import kit
from engine.results import Fate, PruneResult, SnapshotRequest, SnapshotResult
from engine.session import clean_errors, is_full
from engine.text import human_size, printable
from engine.vmpoints.plans import INVENTORIES
from engine.vmverbs import VmVerbs


class Taker(VmVerbs):
    """What makes points come and go in a store. Every method raises RollpointError."""

    def snapshot(self, request: SnapshotRequest, job: Job, backend: str = REPLICA) -> SnapshotResult:
        """Take a point; old ones are removed first when the size rule says so, or when the disk is too full. Another
        `backend` takes one of its volumes."""
        if backend == INVENTORIES:
            started = time.monotonic()
            return SnapshotResult(self.vm_take(request, job), 0, 0, 0, 0, 0, 0, (), (), (), time.monotonic() - started)
        if backend != REPLICA:
            return self.storage.snapshot(backend, request, job)
        self._may_write()
        with clean_errors():
            store = self._store_or_new(job)
            with self._writing(store, "snapshot", job):
                self._inventory_along(store, request, job)
                result = self._take(store, request, job)
        self._audit(store, "snapshot", result.point.id, "warnings" if job.warnings else "done")
        return result

    def _store_or_new(self, job: Job) -> Store:
        root, path = os.fsencode(self.config.root), os.fsencode(self.config.store)
        layout.check_places(path, root)
        if not os.path.lexists(os.path.join(path, b"store.yaml")):
            self._create(path, root, job)
        layout.check_source(self._store, os.path.realpath(root))
        return self._store

    def _create(self, path: bytes, root: bytes, job: Job) -> None:
        try:
            layout.create_store(path, os.path.realpath(root), rsync.checksum_name())
        except OSError as error:
            if not is_full(error):
                raise
            store = Store(os.path.realpath(path), {})
            raise self._no_room(store, error, room.missing(store, self.config, job)) from error

    def _take(self, store: Store, request: SnapshotRequest, job: Job, config: Config | None = None) -> SnapshotResult:
        mounted.refuse(store)
        config = config or self.config
        started = time.monotonic()
        pruned = self._remove(store, [f.point for f in self._fates(store) if not f.keep and "store over" in f.rule],
                              job).removed
        try:
            taken = Snapshot(store, config, request, job)
            doc = taken.take()
        except (NoRoomError, OSError, sqlite3.Error) as error:
            if not is_full(error):
                raise
            more = self._make_room(store, error, job)
            pruned += more.removed
            taken = Snapshot(store, config, request, job)
            doc = taken.take()
        layout.keep_reserve(store)
        kit.refresh(store, job)
        point = next(p for p in query.points(store) if p.id == doc["id"])
        counts = doc["changed"]
        return SnapshotResult(
            point, counts["created"], counts["changed"], counts["deleted"], counts["attrs"], counts["bytes_copied"],
            taken.diff_bytes, pruned, tuple(doc["excludes"]), tuple(doc["databases"]), time.monotonic() - started)

    def _make_room(self, store: Store, error: Exception, job: Job) -> PruneResult:
        """Remove old points because a snapshot found no room; raises NoRoomError when that would not do."""
        recover.recover(store, Job())
        needed = room.missing(store, self.config, job)
        listed = query.points(store)
        # Nobody has counted the inodes that a point would give back: where they lack, none is given up.
        victims = retention.room(listed, self.config.retention, datetime.now(UTC), needed.bytes,
                                 protected=rollback.protected(store)) if listed and needed.inodes <= 0 else []
        result = self._remove(store, victims, job) if victims else PruneResult((), (), 0)
        if result.removed:
            needed = room.missing(store, self.config, job)
        if not result.removed or needed:
            raise self._no_room(store, error, needed, result.removed) from error
        return result

    @staticmethod
    def _no_room(store: Store, error: Exception, needed: Missing, removed: Sequence[str] = ()) -> RollpointError:
        """Return the error for a store that could not take a point; it is as it was, but for points removed for it."""
        where = printable(store.path)
        left = f"removed for it: {', '.join(removed)}" if removed else "the store is as it was"
        if needed.bytes > 0:
            return NoRoomError(f"no room left in {where}: {human_size(needed.bytes)} more are needed",
                               missing=needed.bytes,
                               hint=f"{left}; free room, delete points, or exclude more")
        if needed.inodes > 0:
            return NoRoomError(f"no room left in {where}: its file system has too few inodes, about {needed.inodes:,} "
                               "more are needed", hint=f"{left}; remove files there, exclude "
                               "directories of many small ones, or use a file system made with more inodes")
        # There is room: something is larger than the file system lets it be, or a quota is full.
        return RollpointError(f"the store's file system refuses what the point needs: {error}",
                              hint="look for a quota, or for an extended attribute larger than it allows")

    def _fates(self, store: Store, rules: Retention | None = None) -> list[Fate]:
        listed = query.points(store)
        total, tree = room.sizes(store, listed)
        return retention.fates(listed, rules or self.config.retention, datetime.now(UTC), store_bytes=total,
                               source_bytes=tree, protected=rollback.protected(store))

    def _remove(self, store: Store, victims: Sequence[RestorePoint], job: Job) -> PruneResult:
        """Delete points one by one and go on past those that cannot be deleted."""
        removed: list[str] = []
        failed: list[tuple[str, str]] = []
        freed = 0
        if not victims:
            return PruneResult((), (), 0)
        mounted.refuse(store)
        with store.no_readers():
            for number, point in enumerate(victims):
                job.progress("deleting", number, len(victims), current=os.fsencode(point.id))
                try:
                    freed += self._delete(store, point, job)
                    removed.append(point.id)
                    self._audit(store, "delete", point.id, "done")
                except (RollpointError, OSError, sqlite3.Error) as error:
                    if job.cancelled:
                        raise
                    failed.append((point.id, str(error)))
                    job.warn(f"point {point.id} could not be removed: {error}")
                    self._audit(store, "delete", point.id, "failed", str(error))
        return PruneResult(tuple(removed), tuple(failed), freed)

    @staticmethod
    def _delete(store: Store, point: RestorePoint, job: Job) -> int:
        try:
            return delete.delete(store, point, job)
        except (NoRoomError, OSError, sqlite3.Error) as error:
            if not is_full(error) or not layout.release_reserve(store):
                raise
            recover.recover(store, Job())
            if os.path.isdir(store.point(point.id)):
                return delete.delete(store, point, job)
            return point.own_bytes or 0  # recovery has finished what had begun
