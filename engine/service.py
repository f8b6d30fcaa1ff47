"""The engine's front door: every verb of Rollpoint, for the command line and the screens alike."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from engine import adapted, nextboot, points, retention, rollback, scopes, targets
from engine.adapted import Adapted
from engine.backend import NativePlan
from engine.backends import Listing, Trouble
from engine.config import Retention
from engine.configsave import save_rules
from engine.dispatch import REPLICA, of_any_backend
from engine.errors import CancelledError, ChangedError, RefusedError, RollpointError, UsageError
from engine.events import Job
from engine.points import RestorePoint
from engine.replica import layout, mounted, query, repair, verify
from engine.replica import restore as restoring
from engine.replica.catalog import Catalog
from engine.replica.layout import Store
from engine.rescue import kit, lifeboat
from engine.results import (
    Fate,
    PruneResult,
    RepairReport,
    RestoreResult,
    RollbackPlan,
    RollbackResult,
    SnapshotRequest,
    VerifyReport,
)
from engine.rollback import Applied
from engine.scopes import Scope
from engine.session import clean_errors
from engine.taking import Taker
from engine.text import printable


class Engine(Taker):
    """One store and the tree it is about. Opening it touches nothing; every method raises RollpointError.

    Reading may go on in any number of processes at once, also while a point is being taken. Writing takes the store's
    lock (BusyError when somebody else has it) and first finishes or undoes what a crash has left.
    """

    # --- taking and copying ------------------------------------------------------------------------------------------

    @of_any_backend
    def restore(self, point: RestorePoint, dest: str, paths: Sequence[bytes], job: Job, *, merge: bool = False
                ) -> RestoreResult:
        """Copy a point, or paths of it under their full names, into a directory (see restore.restore)."""
        store = self._settled()
        with clean_errors():
            return restoring.restore(store, point, dest, paths, job, merge=merge)

    # --- going back --------------------------------------------------------------------------------------------------

    @of_any_backend
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
        if plan.point.backend != REPLICA:
            return self._rollback_storage(plan, job, safety_point=safety_point)
        scope = scopes.resolve(plan.scope, self.config, plan.point)
        lifeboat.require(self.config, scope.paths)
        store = self._store
        with clean_errors(), self._writing(store, "rollback", job):
            if rollback.interrupted(store):
                raise RefusedError(rollback.interrupted(store), hint="use --resume or --undo")
            scope, new = self._settled_scope(store, plan, scope)
            rollback.same_boot(store, self.config, plan, scope)
            safety = self._safety_point(store, plan, scope, job) if safety_point else None
            point = points.resolve(query.points(store), plan.point.id)
            entry = rollback.begin(store, self.config, point, scope, safety, plan.keep,
                                   reboot=plan.reboot, new=new, merged=plan.merged)
            done = self._apply(store, point, scope, entry, job, len(plan.diff.changes))
        return self._rolled_back(store, "rollback", point, safety, done, entry)

    def _rollback_storage(self, plan: RollbackPlan, job: Job, *, safety_point: bool) -> RollbackResult:
        """Carry out a plan for a point that the storage keeps. Its journal lies in the store; an empty one is made
        where there is none."""
        point, scope = self.storage.settle(plan)
        lifeboat.require(self.config, scope.paths)
        path, root = os.fsencode(self.config.store), os.fsencode(self.config.root)
        with clean_errors():
            if not os.path.lexists(os.path.join(path, b"store.yaml")):
                layout.check_places(path, root)
                self._create(path, root, job)
            store = self._store
            with self._writing(store, "rollback", job):
                if rollback.interrupted(store):
                    raise RefusedError(rollback.interrupted(store), hint="use --resume or --undo")
                safety = None
                if safety_point:
                    safety = self.storage.safety(plan, job) or self._safety_point(store, plan, scope, job)
                entry = rollback.begin(store, self.config, point, scope, safety, reboot=plan.reboot)
                done = self._apply(store, point, scope, entry, job, len(plan.diff.changes))
        return self._rolled_back(store, "rollback", point, safety, done, entry)

    def _apply(self, store: Store, point: RestorePoint, scope: Scope, entry: dict[str, Any], job: Job,
               expected: int | None = None) -> Applied:
        """Carry out what the journal says, by what keeps the point."""
        if point.backend != REPLICA:
            return self.storage.apply(store, point, scope, entry, job, expected)
        return rollback.apply(store, self.config, point, scope, entry, job, expected)

    def _journaled(self, store: Store, entry: dict[str, Any], which: str) -> RestorePoint:
        """Return the point (``point`` or ``safety``) that a journal names."""
        backend = rollback.backend_of(entry, which)
        if backend != REPLICA:
            return self.storage.named(backend, entry[which])
        return points.resolve(query.points(store), entry[which])

    def _settled_scope(self, store: Store, plan: RollbackPlan, scope: Scope) -> tuple[Scope, Adapted | None]:
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
            new = adapted.look(store, self.config, catalog, plan.point, scope, plan.merged)
        if new.words != plan.adjustments:
            raise RefusedError("the file systems are not those for which this was planned; nothing was changed",
                               hint="look at the plan again")
        return scope, new

    def _safety_point(self, store: Store, plan: RollbackPlan, scope: Scope, job: Job) -> RestorePoint:
        """Take the point that an undo goes back to: of all that the rollback will change, whatever fstab says."""
        point = plan.point
        config = rollback.excluding(self.config, point)     # on a rescue system ours says nothing of this one
        places = targets.places(point, scope, plan.merged) if point.backend == REPLICA else targets.mounted(
            self.config, scope.mounts)
        config = targets.widened(config, places)
        request = SnapshotRequest(f"before the rollback to {point.id}", ("safety",), reason="safety")
        return self._take(store, request, job, config).point

    def _rolled_back(self, store: Store, verb: str, point: RestorePoint, safety: RestorePoint | None,
                     done: Applied, entry: dict[str, Any]) -> RollbackResult:
        with suppress(OSError):
            nextboot.settle(store)
        self._audit(store, verb, point.id, "differences" if done.differences else "done", "; ".join(done.boot))
        return RollbackResult(point, safety, done.count, not done.differences, done.differences, done.seconds,
                              done.verdict, done.boot, tuple(entry.get("reboot", ())), done.adjusted)

    def set_back(self, plan: NativePlan, job: Job) -> list[str]:
        """Set the volumes of a point themselves back, as planned; returns what was done, in sentences. Raises
        ChangedError when the plan is stale."""
        return self.storage.set_back(plan, job)

    def resume(self, job: Job) -> RollbackResult:
        """Finish an interrupted rollback."""
        store = self._store
        with clean_errors(), self._writing(store, "rollback --resume", job):
            entry = rollback.read_journal(store)
            if entry is None or entry["phase"] != "applying":
                raise UsageError("no rollback was interrupted", hint="there is nothing to resume")
            self._same_root(entry)
            lifeboat.require(self.config, rollback.scope_of(entry).paths)
            point = self._journaled(store, entry, "point")
            safety = None
            if entry["safety"] and not entry["undo"]:
                with suppress(UsageError):      # it may have been deleted by another program
                    safety = self._journaled(store, entry, "safety")
            done = self._apply(store, point, rollback.scope_of(entry), entry, job)
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
            point = self._journaled(store, entry, "safety")
            scope = rollback.scope_of(entry)
            lifeboat.require(self.config, scope.paths)
            keep = [bytes.fromhex(p) for p in entry["keep"]]
            entry = rollback.begin(store, self.config, point, scope, point, keep, undo=True, of=entry.get("id", ""),
                                   reboot=entry.get("reboot", ()))
            done = self._apply(store, point, scope, entry, job)
        return self._rolled_back(store, "rollback --undo", point, None, done, entry)

    def may_order(self) -> None:
        """Raise RefusedError where a rollback cannot be ordered for the next boot."""
        with clean_errors():
            nextboot.refuse(self._store, printable(os.path.realpath(os.fsencode(self.config.root))))

    @of_any_backend
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

    def all_fates(self, rules: Retention | None = None, backend: str | None = None, *, listing: Listing | None = None
                  ) -> tuple[list[Fate], list[Trouble]]:
        """Return what `fates` does for the points of all backends (or of one, or of a `listing` from before: then the
        storage is not asked for its points again), newest first, and which backends could not be asked. The rules hold
        for each backend, owner and set of volumes by itself."""
        listing = listing or self.listing(backend)
        mine = {p.id for p in listing.points if p.backend == REPLICA}
        decided = {f.point.id: f for f in (self.fates(rules) if mine else ())}
        others = [p for p in listing.points if p.backend != REPLICA]
        decided |= {f.point.id: f for f in self.storage.fates(others, rules)}
        return [decided[p.id] for p in listing.points if p.id in decided], list(listing.troubles)

    def prune_all(self, job: Job, shown: Sequence[RestorePoint] | None = None, backend: str | None = None
                  ) -> PruneResult:
        """Delete the points of all backends (or of one) that the rules do not keep; `shown` and ChangedError as for
        `prune`."""
        self._may_write()
        going = retention.deletions(self.all_fates(backend=backend)[0])
        if shown is not None:
            _same_points(shown, going)
        kept = [point for point in going if point.backend == REPLICA]
        others = [point for point in going if point.backend != REPLICA]
        results = [self.prune(job, kept)] if kept else []
        try:
            results += [self.storage.delete(others, job)] if others else []
        except RollpointError as error:
            if not kept or isinstance(error, CancelledError):
                raise
            # What went from the store must be told all the same.
            results.append(PruneResult((), tuple((point.id, error.message) for point in others), 0))
        return _together(results)

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
        others = [point for point in points if point.backend != REPLICA]
        if others:
            kept = [point for point in points if point.backend == REPLICA]
            return _together([self.storage.delete(others, job), *([self.delete(kept, job)] if kept else [])])
        self._may_write()
        store = self._store
        with clean_errors(), self._writing(store, "delete", job):
            needed = rollback.protected(store)
            for point in points:
                if point.id in needed:
                    raise RefusedError(f"point {point.id} is {needed[point.id]}", hint="finish the rollback first")
            return self._remove(store, sorted(points, key=lambda p: p.number), job)

    @of_any_backend
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
        others = [point for point in points if point.backend != REPLICA]
        if others:
            report = self.storage.verify(others, job, data=data)
            kept = [point for point in points if point.backend == REPLICA]
            return self.verify(kept, job, data=data).plus(report) if kept else report
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

    @of_any_backend
    def mount(self, point: RestorePoint, where: str, job: Job) -> None:
        """Mount a point read-only on a directory, until `umount`."""
        store = self._store
        with clean_errors(), self._writing(store, "mount", job):
            mounted.mount(store, point, os.path.abspath(os.fsencode(where)), self.config.staging, job)

    def umount(self, where: str) -> None:
        """End a `mount`."""
        from engine import storagemounts

        with clean_errors():
            if storagemounts.umount(os.path.abspath(os.fsencode(where))):
                return
        store = self._store
        with clean_errors(), store.write_lock("umount"):
            mounted.umount(store, os.path.abspath(os.fsencode(where)))


def _together(results: Sequence[PruneResult]) -> PruneResult:
    """Return what several backends have removed as one result."""
    return PruneResult(tuple(i for r in results for i in r.removed), tuple(f for r in results for f in r.failed),
                       sum(r.freed for r in results))


def _same_points(shown: Sequence[RestorePoint], going: Sequence[RestorePoint]) -> None:
    """Raise ChangedError when the points that go are not those that were shown."""
    agreed, now = {p.id: p for p in shown}, {p.id: p for p in going}
    lines = [f"{what} {', '.join(f'{p.number} ({p.id})' if p.number else p.id for p in found)}" for what, found in (
        ("these would go too:", [p for p in going if p.id not in agreed]),
        ("these would not go any more:", [p for p in shown if p.id not in now])) if found]
    if lines:
        raise ChangedError(f"the rules do not remove what was shown: {'; '.join(lines)}; nothing was removed",
                           hint="look at the points again, then decide")
