"""The engine's front door: every verb of Rollpoint, for the command line and the screens alike."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from engine import adopting, nextboot, points, retention, rollback, scopes, targets
from engine.adopting import Adoption
from engine.config import Config, Retention
from engine.configsave import save_rules
from engine.errors import ChangedError, NoRoomError, RefusedError, RollpointError, UsageError
from engine.events import Job
from engine.points import RestorePoint
from engine.replica import delete, layout, mounted, query, recover, repair, room, rsync, verify
from engine.replica import restore as restoring
from engine.replica.catalog import Catalog
from engine.replica.layout import Store
from engine.replica.snapshot import Snapshot
from engine.rescue import kit, lifeboat
from engine.results import (
    Fate,
    PruneResult,
    RepairReport,
    RestoreResult,
    RollbackPlan,
    RollbackResult,
    SnapshotRequest,
    SnapshotResult,
    VerifyReport,
)
from engine.rollback import Applied
from engine.scopes import Scope
from engine.session import clean_errors, is_full
from engine.text import human_size, printable
from engine.vmverbs import VmVerbs


class Engine(VmVerbs):
    """One store and the tree it is about. Opening it touches nothing; every method raises RollpointError.

    Reading may go on in any number of processes at once, also while a point is being taken. Writing takes the store's
    lock (BusyError when somebody else has it) and first finishes or undoes what a crash has left.
    """

    # --- taking and copying ------------------------------------------------------------------------------------------

    def snapshot(self, request: SnapshotRequest, job: Job) -> SnapshotResult:
        """Take a point; old ones are removed first when the size rule says so, or when the disk is too full."""
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
        with clean_errors():
            return restoring.restore(store, point, dest, paths, job, merge=merge)

    # --- going back --------------------------------------------------------------------------------------------------

    def plan(self, point: RestorePoint, scope: Sequence[str], job: Job, *, adopt: bool = False,
             merged: Sequence[bytes] = ()) -> RollbackPlan:
        """Return what rolling back to a point would change (`scope`: see engine/scopes.py); touches nothing. `adopt`:
        onto other file systems than the point recorded, or another machine (see engine/adopting.py); those that were
        mounted at `merged` become directories."""
        if merged and not adopt:
            raise UsageError("file systems can only be merged when others are adopted", hint="say --adopt too")
        with self._catalog() as (store, catalog):
            resolved = scopes.resolve(scope, self.config, point)
            return rollback.plan(store, self.config, catalog, point, resolved, job, adopt=adopt, merged=merged)

    def rollback(self, plan: RollbackPlan, job: Job, *, safety_point: bool = True) -> RollbackResult:
        """Carry out a plan: a safety point first (unless told not to), then the journal, the copies, verification."""
        rollback.check(plan.findings)
        self._may_write()
        scope = scopes.resolve(plan.scope, self.config, plan.point)
        lifeboat.require(self.config, scope.paths)
        store = self._store
        with clean_errors(), self._writing(store, "rollback", job):
            if rollback.interrupted(store):
                raise RefusedError(rollback.interrupted(store), hint="use --resume or --undo")
            scope, adoption = self._settled_scope(store, plan, scope)
            rollback.same_boot(store, self.config, plan, scope)
            safety = self._safety_point(store, plan, scope, job) if safety_point else None
            point = points.resolve(query.points(store), plan.point.id)
            entry = rollback.begin(store, self.config, point, scope, safety.id if safety else None,
                                   plan.keep, reboot=plan.reboot, adoption=adoption, merged=plan.merged)
            done = rollback.apply(store, self.config, point, scope, entry, job, len(plan.diff.changes))
        return self._rolled_back(store, "rollback", point, safety, done, entry)

    def _settled_scope(self, store: Store, plan: RollbackPlan, scope: Scope) -> tuple[Scope, Adoption | None]:
        """Return the scope less what must stay for what is mounted there now, and what is adjusted to that. Raises
        RefusedError, as in the plan."""
        if not plan.adopt:
            targets.check_machine(store, self.config, plan.point)
        with Catalog.open(store) as catalog:
            target = targets.look(self.config, catalog, plan.point, scope, adopt=plan.adopt, merged=plan.merged)
            rollback.check(target.findings)
            scope = targets.sparing(scope, target)
            if not plan.adopt:
                return scope, None
            adoption = adopting.look(store, self.config, catalog, plan.point, scope, plan.merged)
        if adoption.words != plan.adjustments:
            raise RefusedError("the file systems are not those for which this was planned; nothing was changed",
                               hint="look at the plan again")
        return scope, adoption

    def _safety_point(self, store: Store, plan: RollbackPlan, scope: Scope, job: Job) -> RestorePoint:
        """Take the point that an undo goes back to: of all that the rollback will change, whatever fstab says."""
        point = plan.point
        config = rollback.excluding(self.config, point)     # on a rescue system ours says nothing of this one
        config = targets.widened(config, targets.places(point, scope, plan.merged))
        request = SnapshotRequest(f"before the rollback to {point.id}", ("safety",), reason="safety")
        return self._take(store, request, job, config).point

    def _rolled_back(self, store: Store, verb: str, point: RestorePoint, safety: RestorePoint | None,
                     done: Applied, entry: dict[str, Any]) -> RollbackResult:
        with suppress(OSError):
            nextboot.settle(store)
        self._audit(store, verb, point.id, "differences" if done.differences else "done", "; ".join(done.boot))
        return RollbackResult(point, safety, done.count, not done.differences, done.differences, done.seconds,
                              done.verdict, done.boot, tuple(entry.get("reboot", ())), done.adjusted)

    def resume(self, job: Job) -> RollbackResult:
        """Finish an interrupted rollback."""
        store = self._store
        with clean_errors(), self._writing(store, "rollback --resume", job):
            entry = rollback.read_journal(store)
            if entry is None or entry["phase"] != "applying":
                raise UsageError("no rollback was interrupted", hint="there is nothing to resume")
            self._same_root(entry)
            lifeboat.require(self.config, rollback.scope_of(entry).paths)
            listed = query.points(store)
            point = points.resolve(listed, entry["point"])
            safety = None if entry["undo"] else next((p for p in listed if p.id == entry["safety"]), None)
            done = rollback.apply(store, self.config, point, rollback.scope_of(entry), entry, job)
        return self._rolled_back(store, "rollback --resume", point, safety, done, entry)

    def undo(self, job: Job) -> RollbackResult:
        """Undo the last rollback, interrupted or finished: go back to the safety point that was taken before it."""
        store = self._store
        with clean_errors(), self._writing(store, "rollback --undo", job):
            entry = rollback.read_journal(store)
            if entry is None or entry["phase"] == "undone":
                raise UsageError("there is no rollback to undo", hint="`rollpoint list` shows where you can go")
            if not entry["safety"]:
                raise RefusedError("that rollback took no safety point, so it cannot be undone",
                                   hint="resume it with --resume, or roll back to another point")
            self._same_root(entry)
            point = points.resolve(query.points(store), entry["safety"])
            scope = rollback.scope_of(entry)
            lifeboat.require(self.config, scope.paths)
            keep = [bytes.fromhex(p) for p in entry["keep"]]
            entry = rollback.begin(store, self.config, point, scope, point.id, keep, undo=True, of=entry.get("id", ""),
                                   reboot=entry.get("reboot", ()))
            done = rollback.apply(store, self.config, point, scope, entry, job)
        return self._rolled_back(store, "rollback --undo", point, None, done, entry)

    def may_order(self) -> None:
        """Raise RefusedError where a rollback cannot be ordered for the next boot."""
        with clean_errors():
            nextboot.refuse(self._store, printable(os.path.realpath(os.fsencode(self.config.root))))

    def order(self, plan: RollbackPlan, words: Mapping[str, Any]) -> None:
        """Order a plan for the next boot (see engine/nextboot.py; `words` go to the program that carries it out)."""
        rollback.check(plan.findings)
        self._may_write()
        store = self._store
        with clean_errors(), self._writing(store, "rollback --at-next-boot", Job()):
            nextboot.order(store, plan, words)
        self._audit(store, "rollback --at-next-boot", plan.point.id, "ordered")

    def take_order_back(self) -> None:
        """Take back what was ordered for the next boot."""
        store = self._store
        with clean_errors(), self._writing(store, "rollback --undo", Job()):
            nextboot.cancel(store)
        self._audit(store, "rollback --at-next-boot", "", "taken back")

    def _same_root(self, entry: dict[str, Any]) -> None:
        """Raise RefusedError unless our root is the one a journal is about: by its path, or, since a rescue system
        mounts it at another place, by its file system or its machine-id."""
        root = os.path.realpath(os.fsencode(self.config.root))
        known = (entry.get("root_uuid"), targets.identity(root)), (entry.get("machine"), layout.machine_id(root))
        if printable(root) != entry["root"] and not any(then and then == now for then, now in known):
            raise RefusedError(f"that rollback was of {entry['root']}, not of {printable(root)}",
                               hint=f"name it with --root {entry['root']}")

    # --- keeping house -----------------------------------------------------------------------------------------------

    def fates(self, rules: Retention | None = None) -> list[Fate]:
        """Return for each point whether the rules (None: those of the configuration) keep it and which rule decides,
        newest first."""
        return self._fates(self._store, rules)

    def _fates(self, store: Store, rules: Retention | None = None) -> list[Fate]:
        listed = query.points(store)
        total, tree = room.sizes(store, listed)
        return retention.fates(listed, rules or self.config.retention, datetime.now(UTC), store_bytes=total,
                               source_bytes=tree, protected=rollback.protected(store))

    def rules(self) -> Retention:
        """Return the rules of retention that hold now."""
        return self.config.retention

    def save_rules(self, rules: Retention) -> str:
        """Make these the rules from now on; returns the file they were written to (see configsave.save_rules)."""
        self._may_write()
        with clean_errors():
            path = save_rules(self.config, rules)
        self.config = replace(self.config, retention=rules)
        return path

    def prune(self, job: Job, shown: Sequence[RestorePoint] | None = None) -> PruneResult:
        """Delete the points that the rules do not keep, oldest first.

        `shown` are those that somebody agreed to lose; raises ChangedError, with nothing removed, when the rules do
        not remove just these any more (a point was taken, removed, pinned or unpinned, or has come of age since).
        """
        self._may_write()
        store = self._store
        with clean_errors(), self._writing(store, "prune", job):
            going = retention.deletions(self._fates(store))
            if shown is not None:
                _same_points(shown, going)
            return self._remove(store, going, job)

    def delete(self, points: Sequence[RestorePoint], job: Job) -> PruneResult:
        """Delete these points, whatever the rules say; only what an interrupted rollback needs is refused."""
        self._may_write()
        store = self._store
        with clean_errors(), self._writing(store, "delete", job):
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
            if not is_full(error) or not layout.release_reserve(store):
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
        with clean_errors(), self._writing(store, "comment", Job()):
            change = {k: v for k, v in (("comment", comment), ("pinned", pinned)) if v is not None}
            repair.annotate(store, point, change)
        self._audit(store, "annotate", point.id, "done")
        return points.resolve(self.points(), point.id)

    def verify(self, points: Sequence[RestorePoint], job: Job, *, data: bool = False) -> VerifyReport:
        """Check the store and these points; with `data` every content is read and compared with its checksum."""
        store = self._settled()
        with clean_errors():
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
        with clean_errors(), store.write_lock("repair"):
            mended = kit.mend(store, job)
            report = repair.repair(store, job)
            report = replace(report, done=(*report.done, *mended))
        self._audit(store, "repair", "", "damage" if report.left else "done", "; ".join(report.done))
        return report

    def mount(self, point: RestorePoint, where: str, job: Job) -> None:
        """Mount a point read-only on a directory, until `umount`."""
        store = self._store
        with clean_errors(), self._writing(store, "mount", job):
            mounted.mount(store, point, os.path.abspath(os.fsencode(where)), self.config.staging, job)

    def umount(self, where: str) -> None:
        """End a `mount`."""
        store = self._store
        with clean_errors(), store.write_lock("umount"):
            mounted.umount(store, os.path.abspath(os.fsencode(where)))


def _same_points(shown: Sequence[RestorePoint], going: Sequence[RestorePoint]) -> None:
    """Raise ChangedError when the points that go are not those that were shown."""
    agreed, now = {p.id: p for p in shown}, {p.id: p for p in going}
    lines = [f"{what} {', '.join(f'{p.number} ({p.id})' for p in found)}" for what, found in (
        ("these would go too:", [p for p in going if p.id not in agreed]),
        ("these would not go any more:", [p for p in shown if p.id not in now])) if found]
    if lines:
        raise ChangedError(f"the rules do not remove what was shown: {'; '.join(lines)}; nothing was removed",
                           hint="look at the points again, then decide")
