"""The engine's front door: every verb of Rollpoint, for the command line and the screens alike."""

from __future__ import annotations

import errno
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import IO

from engine import audit, points, retention, rollback
from engine.config import Config
from engine.entries import Diff, Entry, Kind, Version
from engine.errors import BusyError, DamageError, NoRoomError, RefusedError, RollpointError, UsageError
from engine.events import Job
from engine.points import RestorePoint
from engine.replica import delete, layout, mounted, query, recover, repair, room, rsync, verify
from engine.replica import restore as restoring
from engine.replica.catalog import Catalog
from engine.replica.content import Contents
from engine.replica.layout import Store
from engine.replica.snapshot import Snapshot
from engine.results import (
    Fate,
    PruneResult,
    RepairReport,
    RestoreResult,
    RollbackPlan,
    RollbackResult,
    SnapshotRequest,
    SnapshotResult,
    StoreStatus,
    VerifyReport,
)
from engine.text import human_size, printable, shown_path


class Engine:
    """One store and the tree it is about. Opening it touches nothing; every method raises RollpointError.

    Reading may go on in any number of processes at once, also while a point is being taken. Writing takes the store's
    lock (BusyError when somebody else has it) and first finishes or undoes what a crash has left.
    """

    def __init__(self, config: Config) -> None:
        self.config = config

    # --- reading ---------------------------------------------------------------------------------------------------

    @property
    def _store(self) -> Store:
        return layout.open_store(os.fsencode(self.config.store))

    def status(self) -> StoreStatus:
        """Return the health and size of the store; there need not be one yet."""
        path, root = os.fsencode(self.config.store), printable(os.fsencode(self.config.root))
        if not os.path.lexists(os.path.join(path, b"store.yaml")):
            return StoreStatus(printable(path), root, False, False, 0, 0, 0, None, 0, "", "", "")
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
            store.holder(), unfinished, rollback.interrupted(store))

    def interrupted(self) -> str:
        """Return a sentence about a rollback that was not finished, or "": cheap enough for every command."""
        place = os.path.join(os.path.realpath(os.fsencode(self.config.store)), rollback.JOURNAL)
        return rollback.interrupted(self._store) if os.path.exists(place) else ""

    def points(self) -> list[RestorePoint]:
        """Return all points, newest first, damaged ones included."""
        return query.points(self._settled())

    def resolve(self, spec: str) -> RestorePoint:
        """Return the point that an id, a unique prefix, a number or ``latest`` names."""
        return points.resolve(self.points(), spec)

    def _settled(self) -> Store:
        """Open the store, and first finish or undo what a crash has left, if we may: nobody else will have to."""
        store = self._store
        unsettled = os.path.exists(store.journal) or repair.catalog_is_lost(store)
        if unsettled and not store.holder() and os.access(store.path, os.W_OK):
            with suppress(BusyError), _clean_errors(), self._writing(store, "recovery", Job()):
                pass
        return store

    @contextmanager
    def _catalog(self) -> Iterator[tuple[Store, Catalog]]:
        store = self._settled()
        with _clean_errors(), Catalog.open(store) as catalog:
            yield store, catalog

    def listdir(self, point: RestorePoint, path: bytes = b"") -> list[Entry]:
        """Return what is in a directory of a point, by name; of anything else the entry itself."""
        with self._catalog() as (_, catalog):
            return query.listdir(catalog, point, path)

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

    def diff(self, older: RestorePoint, newer: RestorePoint | None, paths: Sequence[bytes] = (),
             job: Job | None = None) -> Diff:
        """Return what changed from one point to another, or to the live tree (None)."""
        with self._catalog() as (store, catalog):
            if newer is not None:
                return query.diff_points(catalog, older, newer, paths)
            layout.check_source(store, os.fsencode(self.config.root))
            return query.diff_live(store, self.config, catalog, older, paths, job or Job())

    def file_diff(self, older: RestorePoint, newer: RestorePoint | None, path: bytes) -> list[str]:
        """Return the unified difference of one file as lines (surrogate-escaped text)."""
        with self._catalog() as (store, catalog):
            old = query.read_whole(store, catalog, older, path)
            new = self._live(path) if newer is None else query.read_whole(store, catalog, newer, path)
        if old is None and new is None:
            raise UsageError(f"{shown_path(path)} is on neither side", hint="check the path")
        return query.unified(old or b"", new or b"", path, older.id, newer.id if newer else "live")

    def _live(self, path: bytes) -> bytes | None:
        try:
            with open(os.path.join(os.fsencode(self.config.root), path), "rb") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None

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

    # --- taking and copying ------------------------------------------------------------------------------------------

    def snapshot(self, request: SnapshotRequest, job: Job) -> SnapshotResult:
        """Take a point; old ones are removed first when the size rule says so, or when the disk is too full."""
        self._may_write()
        root, path = os.fsencode(self.config.root), os.fsencode(self.config.store)
        layout.check_places(path, root)
        with _clean_errors():
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
            if not _is_full(error):
                raise
            store = Store(os.path.realpath(path), {})
            raise self._no_room(store, error, room.missing(store, self.config, job)) from error

    def _take(self, store: Store, request: SnapshotRequest, job: Job) -> SnapshotResult:
        mounted.refuse(store)
        started = time.monotonic()
        pruned = self._remove(store, [f.point for f in self._fates(store) if not f.keep and "store over" in f.rule],
                              job).removed
        try:
            taken = Snapshot(store, self.config, request, job)
            doc = taken.take()
        except (NoRoomError, OSError, sqlite3.Error) as error:
            if not _is_full(error):
                raise
            more = self._make_room(store, error, job)
            pruned += more.removed
            taken = Snapshot(store, self.config, request, job)
            doc = taken.take()
        layout.keep_reserve(store)
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

    def restore(self, point: RestorePoint, dest: str, paths: Sequence[bytes], job: Job, *, merge: bool = False
                ) -> RestoreResult:
        """Copy a point, or paths of it under their full names, into a directory (see restore.restore)."""
        store = self._settled()
        with _clean_errors():
            return restoring.restore(store, point, dest, paths, job, merge=merge)

    # --- going back --------------------------------------------------------------------------------------------------

    def plan(self, point: RestorePoint, scope: Sequence[str], job: Job) -> RollbackPlan:
        """Return what rolling back to a point would change (``system`` or ``path=PATH`` …); touches nothing."""
        with self._catalog() as (store, catalog):
            return rollback.plan(store, self.config, catalog, point, rollback.Scope.parse(scope), job)

    def rollback(self, plan: RollbackPlan, job: Job, *, safety_point: bool = True) -> RollbackResult:
        """Carry out a plan: a safety point first (unless told not to), then the journal, the copies, verification."""
        rollback.check(plan)
        self._may_write()
        scope = rollback.Scope.parse(plan.scope)
        store = self._store
        with _clean_errors(), self._writing(store, "rollback", job):
            if rollback.interrupted(store):
                raise RefusedError(rollback.interrupted(store), hint="use --resume or --undo")
            layout.check_source(store, os.path.realpath(os.fsencode(self.config.root)))
            safety = None
            if safety_point:
                comment = f"before the rollback to {plan.point.id}"
                safety = self._take(store, SnapshotRequest(comment, ("safety",), reason="safety"), job).point
            point = points.resolve(query.points(store), plan.point.id)
            entry = rollback.begin(store, self.config, point, scope, safety.id if safety else None,
                                   plan.keep)
            done = rollback.apply(store, self.config, point, scope, entry, job, len(plan.diff.changes))
        return self._rolled_back(store, "rollback", point, safety, done)

    def _rolled_back(self, store: Store, verb: str, point: RestorePoint, safety: RestorePoint | None,
                     done: tuple[int, tuple[str, ...], float]) -> RollbackResult:
        self._audit(store, verb, point.id, "differences" if done[1] else "done")
        return RollbackResult(point, safety, done[0], not done[1], done[1], done[2])

    def resume(self, job: Job) -> RollbackResult:
        """Finish an interrupted rollback."""
        store = self._store
        with _clean_errors(), self._writing(store, "rollback --resume", job):
            entry = rollback.read_journal(store)
            if entry is None or entry["phase"] != "applying":
                raise UsageError("no rollback was interrupted", hint="there is nothing to resume")
            self._same_root(entry["root"])
            point = points.resolve(query.points(store), entry["point"])
            done = rollback.apply(store, self.config, point, rollback.scope_of(entry), entry, job)
        return self._rolled_back(store, "rollback --resume", point, None, done)

    def undo(self, job: Job) -> RollbackResult:
        """Undo the last rollback, interrupted or finished: go back to the safety point that was taken before it."""
        store = self._store
        with _clean_errors(), self._writing(store, "rollback --undo", job):
            entry = rollback.read_journal(store)
            if entry is None or entry["phase"] == "undone":
                raise UsageError("there is no rollback to undo", hint="`rollpoint list` shows where you can go")
            if not entry["safety"]:
                raise RefusedError("that rollback took no safety point, so it cannot be undone",
                                   hint="resume it with --resume, or roll back to another point")
            self._same_root(entry["root"])
            point = points.resolve(query.points(store), entry["safety"])
            scope = rollback.scope_of(entry)
            keep = [bytes.fromhex(p) for p in entry["keep"]]
            entry = rollback.begin(store, self.config, point, scope, point.id, keep, undo=True)
            done = rollback.apply(store, self.config, point, scope, entry, job)
        return self._rolled_back(store, "rollback --undo", point, None, done)

    def _same_root(self, recorded: str) -> None:
        if printable(os.path.realpath(os.fsencode(self.config.root))) != recorded:
            raise RefusedError(f"that rollback was of {recorded}, not of {printable(os.fsencode(self.config.root))}",
                               hint=f"name it with --root {recorded}")

    # --- keeping house -----------------------------------------------------------------------------------------------

    def fates(self) -> list[Fate]:
        """Return for each point whether the rules keep it and which rule decides, newest first."""
        return self._fates(self._store)

    def _fates(self, store: Store) -> list[Fate]:
        listed = query.points(store)
        total, tree = room.sizes(store, listed)
        return retention.fates(listed, self.config.retention, datetime.now(UTC), store_bytes=total,
                               source_bytes=tree, protected=rollback.protected(store))

    def prune(self, job: Job) -> PruneResult:
        """Delete the points that the rules do not keep, oldest first."""
        self._may_write()
        store = self._store
        with _clean_errors(), self._writing(store, "prune", job):
            return self._remove(store, retention.deletions(self._fates(store)), job)

    def delete(self, points: Sequence[RestorePoint], job: Job) -> PruneResult:
        """Delete these points, whatever the rules say; only what an interrupted rollback needs is refused."""
        self._may_write()
        store = self._store
        with _clean_errors(), self._writing(store, "delete", job):
            needed = rollback.protected(store)
            for point in points:
                if point.id in needed:
                    raise RefusedError(f"point {point.id} is {needed[point.id]}", hint="finish the rollback first")
            return self._remove(store, sorted(points, key=lambda p: p.number), job)

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
            if not _is_full(error) or not layout.release_reserve(store):
                raise
            recover.recover(store, Job())
            if os.path.isdir(store.point(point.id)):
                return delete.delete(store, point, job)
            return point.own_bytes or 0  # recovery has finished what had begun

    def annotate(self, point: RestorePoint, *, comment: str | None = None, pinned: bool | None = None
                 ) -> RestorePoint:
        """Change a point's comment or pin."""
        self._may_write()
        store = self._store
        with _clean_errors(), self._writing(store, "comment", Job()):
            change = {k: v for k, v in (("comment", comment), ("pinned", pinned)) if v is not None}
            repair.annotate(store, point, change)
        self._audit(store, "annotate", point.id, "done")
        return points.resolve(self.points(), point.id)

    def verify(self, points: Sequence[RestorePoint], job: Job, *, data: bool = False) -> VerifyReport:
        """Check the store and these points; with `data` every content is read and compared with its checksum."""
        store = self._settled()
        with _clean_errors():
            with store.reading():
                report = verify.Verifier(store, points, job).run(data=data)
            with suppress(OSError):
                verify.mark(store, points, report)
        self._audit(store, "verify", f"{len(points)} points", "damage" if report.damage else "done")
        return report

    def repair(self, job: Job) -> RepairReport:
        """Finish or undo what a crash left, rebuild the catalog when it is damaged, put right what can be."""
        self._may_write()
        store = self._store
        with _clean_errors(), store.write_lock("repair"):
            report = repair.repair(store, job)
        self._audit(store, "repair", "", "damage" if report.left else "done", "; ".join(report.done))
        return report

    def mount(self, point: RestorePoint, where: str, job: Job) -> None:
        """Mount a point read-only on a directory, until `umount`."""
        store = self._store
        with _clean_errors(), self._writing(store, "mount", job):
            mounted.mount(store, point, os.path.abspath(os.fsencode(where)), job)

    def umount(self, where: str) -> None:
        """End a `mount`."""
        store = self._store
        with _clean_errors(), store.write_lock("umount"):
            mounted.umount(store, os.path.abspath(os.fsencode(where)))

    # --- shared ------------------------------------------------------------------------------------------------------

    def _may_write(self) -> None:
        if self.config.read_only:
            raise RefusedError("the configuration says read_only", hint="take `read_only` out of the configuration")

    @contextmanager
    def _writing(self, store: Store, verb: str, job: Job) -> Iterator[None]:
        with store.write_lock(verb):
            done = recover.recover(store, Job())
            if done:
                job.warn(f"{done} (an earlier Rollpoint was interrupted)")
            if repair.catalog_is_lost(store):
                repair.rebuild_catalog(store, job)
                job.warn("the catalog was missing and has been made again from the rest of the store")
            yield

    @staticmethod
    def _audit(store: Store, verb: str, subject: str, result: str, detail: str = "") -> None:
        audit.record(os.fsdecode(store.path), verb, subject, result, detail)


def _is_full(error: Exception) -> bool:
    """Whether an error says that a file system has no room."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, NoRoomError) or (isinstance(error, sqlite3.Error) and "full" in str(error))


@contextmanager
def _clean_errors() -> Iterator[None]:
    """Turn what the system and SQLite raise into one-line errors."""
    try:
        yield
    except OSError as error:
        if _is_full(error):
            raise NoRoomError(f"no room left: {layout.describe_os_error(error).message}",
                              hint="the store is as it was; free room on its file system") from error
        raise layout.describe_os_error(error) from error
    except sqlite3.Error as error:
        if _is_full(error):
            raise NoRoomError(f"no room left for the catalog: {error}",
                              hint="the store is as it was; free room on its file system") from error
        raise DamageError(f"the catalog cannot be used: {error}", hint="run `rollpoint repair`") from error
