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
from engine.reading import Reader
from engine.replica import delete, layout, mounted, query, recover, room, rsync
from engine.replica.layout import Store
from engine.replica.snapshot import Snapshot
from engine.rescue import kit
from engine.results import Fate, PruneResult, SnapshotRequest, SnapshotResult
from engine.session import clean_errors, is_full
from engine.text import human_size, printable


class Taker(Reader):
    """What makes points come and go in a store. Every method raises RollpointError."""

    def snapshot(self, request: SnapshotRequest, job: Job, backend: str = REPLICA) -> SnapshotResult:
        """Take a point; old ones are removed first when the size rule says so, or when the disk is too full. Another
        `backend` takes one of its volumes."""
        if backend != REPLICA:
            return self.storage.snapshot(backend, request, job)
        self._may_write()
        root, path = os.fsencode(self.config.root), os.fsencode(self.config.store)
        layout.check_places(path, root)
        with clean_errors():
            if not os.path.lexists(os.path.join(path, b"store.yaml")):
                self._create(path, root, job)
            store = self._store
            with self._writing(store, "snapshot", job):
                layout.check_source(store, os.path.realpath(root))
                result = self._take(store, request, job)
        self._audit(store, "snapshot", result.point.id, "warnings" if job.warnings else "done")
        return result

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
        victims = retention.room(listed, self.config.retention, datetime.now(UTC), needed,
                                 protected=rollback.protected(store)) if listed else []
        result = self._remove(store, victims, job) if victims else PruneResult((), (), 0)
        if not result.removed or room.missing(store, self.config, job) > 0:
            raise self._no_room(store, error, needed) from error
        return result

    @staticmethod
    def _no_room(store: Store, error: Exception, needed: int) -> RollpointError:
        """Return the error for a store that could not take a point; it is as it was."""
        if needed <= 0:  # there is room: something is larger than the file system lets it be, or a quota is full
            return RollpointError(f"the store's file system refuses what the point needs: {error}",
                                  hint="look for a quota, or for an extended attribute larger than it allows")
        return NoRoomError(f"no room left in {printable(store.path)}: {human_size(needed)} more are needed",
                           missing=needed, hint="the store is as it was; free room, delete points, or exclude more")

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
