"""The verbs for points that the storage keeps, under the names that `Engine` has for those of the replica
(engine/dispatch.py decides who answers)."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import NoReturn

from engine import backends, bootpieces, retention, rollback, scopes, storageback, storageboot, storagemounts
from engine.backend import Losses, NativePlan
from engine.config import Retention
from engine.errors import CancelledError, ChangedError, RefusedError, RollpointError, UsageError
from engine.events import Job
from engine.points import RestorePoint
from engine.replica import restore as restoring
from engine.replica import rsync
from engine.replica.layout import Store
from engine.results import (
    Fate,
    Finding,
    PruneResult,
    RestoreResult,
    RollbackPlan,
    ScopeChoice,
    SnapshotRequest,
    SnapshotResult,
    VerifyReport,
)
from engine.rollback import Applied
from engine.scopes import Scope
from engine.session import clean_errors
from engine.storagelook import Looking, must_be_mounted
from engine.text import message, shown_path
from engine.vmpoints import verifying
from engine.vmpoints.plans import DISKS, INVENTORIES


class Storage(Looking):
    """Points of one configuration that ZFS, LVM or btrfs keep. Every method raises RollpointError."""

    # --- copying, keeping house --------------------------------------------------------------------------------------

    def restore(self, point: RestorePoint, dest: str, paths: Sequence[bytes], job: Job, *, merge: bool = False
                ) -> RestoreResult:
        """Copy a point, or paths of it under their full names, into a directory. Raises as restore.restore does."""
        started = time.monotonic()
        target = restoring.check_target(self._perhaps_store(), os.fsencode(dest), merge)
        with self.opened(point, job) as opened:
            tree = storageback.tree_of(opened, point.id)
            chosen = scopes.outermost(paths) if paths and b"" not in paths else ()
            size = tree.measure(chosen or (b"",))
            os.makedirs(target, exist_ok=True)
            excluded = [option for hole in opened.holes for option in ("--exclude", rsync.escape_pattern(hole))]
            argv = rsync.copy_argv(opened.inside, target, ["--force", *(["--relative"] if chosen else []), *excluded])
            if chosen:
                argv[-2:-1] = [os.path.join(opened.inside, b".", path) for path in chosen]
            outcome = rsync.run(opened.space.wrap(argv), lambda item: job.progress("copying", current=item.path), job)
        if outcome.problems or outcome.unwritten:
            raise RollpointError(f"point {point.id} could not be copied whole: "
                                 f"{(*outcome.problems, *outcome.unwritten)[0]}", hint="look at the file systems")
        return RestoreResult(point, size.entries, size.bytes, time.monotonic() - started)

    def annotate(self, point: RestorePoint, *, comment: str | None = None, pinned: bool | None = None) -> RestorePoint:
        """Change a point's comment or pin."""
        self._may_write()
        with clean_errors():
            found = self.backend(point.backend).annotate(point, comment=comment, pinned=pinned)
        self._note("annotate", point.id, "done")
        return found

    def snapshot(self, backend: str, request: SnapshotRequest, job: Job) -> SnapshotResult:
        """Take a point with one backend. Nothing is counted or copied: that is what snapshots are for."""
        self._may_write()
        started = time.monotonic()
        with clean_errors():
            point = self.backend(backend).take(request, job)
        self._note("snapshot", point.id, "warnings" if job.warnings else "done")
        return SnapshotResult(point, 0, 0, 0, 0, 0, 0, (), (), (), time.monotonic() - started)

    def losses(self, victims: Sequence[RestorePoint]) -> Losses:
        """Return what deleting points of one backend together comes to."""
        with clean_errors():
            return self.backend(victims[0].backend).losses(victims)

    def delete(self, victims: Sequence[RestorePoint], job: Job) -> PruneResult:
        """Delete points, each by its backend, whatever the rules say; what an interrupted rollback needs is refused.
        A backend that fails keeps nobody from hearing what went with those before it: its points are among the
        failed."""
        self._may_write()
        needed = self._protected()
        for point in victims:
            if point.id in needed:
                raise RefusedError(f"point {point.id} is {needed[point.id]}", hint="finish the rollback first")
        removed: list[str] = []
        failed: list[tuple[str, str]] = []
        freed = 0
        for name in dict.fromkeys(point.backend for point in victims):
            members = [p for p in victims if p.backend == name]
            try:
                with clean_errors():
                    result = self.backend(name).delete(members, job)
            except RollpointError as error:
                if not removed or isinstance(error, CancelledError):
                    raise
                failed += [(point.id, error.message) for point in members]
                continue
            removed += result.removed
            failed += result.failed
            freed += result.freed
        for ident in removed:
            self._note("delete", ident, "done")
        for ident, why in failed:
            self._note("delete", ident, "failed", why)
        return PruneResult(tuple(removed), tuple(failed), freed)

    def mount(self, point: RestorePoint, where: str, job: Job) -> None:
        """Show a point at a directory, read-only, until `umount`."""
        target = storagemounts.check(os.path.abspath(os.fsencode(where)))
        with self.opened(point, job) as opened:
            storagemounts.mount(opened, point, target)

    def boot_of(self, point: RestorePoint, *_: object) -> NoReturn:
        """Refuse: snapshots hold file systems, and nothing of the disks around them."""
        raise RefusedError(f"point {point.id} is a snapshot of volumes: it has no boot sectors",
                           hint="points of the replica have")

    boot_kept = boot_layout = boot_loaders = boot_of

    def verify(self, points: Sequence[RestorePoint], job: Job, *, data: bool = False) -> VerifyReport:
        """Check what points of virtual machines keep; refuse the others: what storage keeps, it checks itself. With
        `data` the copies of disks are read and compared with their checksums; inventories are always read."""
        others = [point for point in points if point.backend not in (INVENTORIES, DISKS)]
        if not others:
            report = VerifyReport(0, 0, 0, ())
            with clean_errors(), self._store.reading():
                for number, point in enumerate(points):
                    job.progress("verifying", number, len(points), current=os.fsencode(point.id))
                    report = report.plus(verifying.verify(self._store, point, os.fsencode(self.config.root), job,
                                                          data=data))
            return report
        ways = {"zfs": "`zpool scrub`", "btrfs": "`btrfs scrub start`", "lvm": "fsck of the snapshot"}
        how = ", ".join(ways.get(name, name) for name in dict.fromkeys(p.backend for p in others))
        raise RefusedError(f"point {others[0].id} is a snapshot of the storage itself: there is no record of what must "
                           "be in it", hint=f"the storage checks itself: {how}")

    def fates(self, listed: Sequence[RestorePoint], rules: Retention | None = None) -> list[Fate]:
        """Return the fate of each of these points by the rules, which hold for each set of volumes by itself. What
        another program took stays, unless the configuration lets us prune that program's."""
        groups: dict[tuple[str, str, frozenset[str]], list[RestorePoint]] = {}
        found: dict[str, Fate] = {}
        for point in listed:
            if point.owner and point.owner not in getattr(self.config, point.backend).prune:
                whose = "of unknown origin" if point.owner == "unknown" else f"{message(point.owner)}'s"
                found[point.id] = Fate(point, True, f"{whose}, not ours to remove")
                continue
            volumes = frozenset(part.volume for part in point.parts) or frozenset({str(point.doc.get("config", ""))})
            groups.setdefault((point.backend, point.owner, volumes), []).append(point)
        rules = rules or self.config.retention
        for (backend, _, _), members in groups.items():
            total, source = (0, 0) if rules.max_store_ratio is None else self._sizes(members)
            for fate in retention.fates(members, rules, datetime.now(UTC), store_bytes=total,
                                        source_bytes=source, protected=self._protected(), sized=backend):
                found[fate.point.id] = fate
        return [found[point.id] for point in listed]

    def _sizes(self, members: Sequence[RestorePoint]) -> tuple[int, int]:
        """Return what snapshots and their volumes take together, and the volumes alone, in bytes; (0, 0) where the
        storage cannot measure the one or nobody the other."""
        root = os.path.realpath(os.fsencode(self.config.root))
        # As for a store: what is saved, and what saving it takes on top of that.
        places = {part.place for point in members for part in point.parts}
        if not places or None in places or any(point.own_bytes is None for point in members):
            return 0, 0
        freed = self.losses(members).freed
        taken = sum(point.own_bytes or 0 for point in members) if freed is None else freed
        # Subvolumes of one file system share its room, and their snapshots lie in it too.
        shared = {str(part.facts["file_system"]): part.place for point in members for part in point.parts
                  if "file_system" in part.facts}
        source = 0
        for place in set(shared.values()) if shared else places:
            room = os.statvfs(os.path.join(root, place or b""))
            source += (room.f_blocks - room.f_bfree) * room.f_frsize
        source = max(0, source - taken) if shared else source
        return source + taken, source

    # --- going back --------------------------------------------------------------------------------------------------

    def scopes(self, point: RestorePoint) -> list[ScopeChoice]:
        """Return what a rollback to a point can be limited to."""
        found = [ScopeChoice(scopes.SYSTEM, "everything that the point holds")]
        if len(point.parts) > 1:
            found += [ScopeChoice(f"fs={shown_path(p)}", "the volume there") for p in scopes.recorded(point)]
        return [*found, ScopeChoice("path=", "one file or directory, with all below it")]

    def plan(self, point: RestorePoint, scope: Sequence[str], job: Job, *, adopt: bool = False,
             merged: Sequence[bytes] = ()) -> RollbackPlan:
        """Return what going back to a point by its content would change; touches nothing."""
        if adopt or merged:
            raise UsageError("snapshots of the storage are not adopted: they are of the volumes that are here",
                             hint="leave --adopt out")
        must_be_mounted(point)
        resolved = scopes.resolve(scope, self.config, point)
        volumes = {part.volume for part in point.parts}
        newer = [p for p in self.listing(only=point.backend).points if p.created > point.created
                 and volumes & {part.volume for part in p.parts}]
        with self.opened(point, job) as opened:
            backend = self.backend(point.backend)
            return storageback.plan(self.config, self._perhaps_store(), backend, opened, point, resolved, newer, job)

    def settle(self, plan: RollbackPlan) -> tuple[RestorePoint, Scope]:
        """Return the point of a plan as it is now, and the scope. Raises ChangedError when its volumes are not where
        they were."""
        point = self.named(plan.point.backend, plan.point.id)
        if [(p.volume, p.place, p.snapshot) for p in point.parts] != [
                (p.volume, p.place, p.snapshot) for p in plan.point.parts]:
            raise ChangedError("the volumes are not mounted as they were when this was planned; nothing was changed",
                               hint="look at the plan again")
        scope = scopes.resolve(plan.scope, self.config, point)
        with self.opened(point) as opened:
            return point, storageback.fitted(scope, opened)

    def safety(self, plan: RollbackPlan, job: Job) -> RestorePoint | None:
        """Take the point that an undo goes back to with the same backend: of the very volumes that will change. None
        where it cannot, after a warning that says why."""
        request = SnapshotRequest(f"before the rollback to {plan.point.id}", ("safety",), reason="safety")
        chosen = tuple(part.volume for part in plan.point.parts if part.place is not None)
        try:
            with clean_errors():
                taken = backends.of_volumes(self.config, plan.point.backend, chosen).take(request, job)
        except RollpointError as error:
            job.warn(message(f"no snapshot of the present state can be taken ({error}): a point of the replica is "
                             "taken instead"))
            return None
        missing = set(chosen) - {part.volume for part in taken.parts}
        if missing:
            job.warn(message(f"the snapshot of the present state lacks {', '.join(sorted(missing))}: a point of the "
                             "replica is taken instead"))
            return None
        return taken

    def apply(self, store: Store, point: RestorePoint, scope: Scope, entry: dict[str, object], job: Job,
              expected: int | None = None) -> Applied:
        """Carry out the rollback that the journal holds."""
        return storageback.apply(store, self.config, self.backend(point.backend), point, scope, entry, job, expected)

    def native_plan(self, point: RestorePoint) -> NativePlan:
        """Return what setting the volumes themselves back would do, and whether the system will boot then; touches
        nothing."""
        with clean_errors():
            plan = self.backend(point.backend).native(point)
        return replace(plan, findings=(*plan.findings, *self._boots(point)))

    def _boots(self, point: RestorePoint) -> list[Finding]:
        """Return whether the system will boot once all of a point has come back."""
        places = scopes.recorded(point)
        if point.state != "ok" or not places or not (b"" in places or bootpieces.matters(places)):
            return []
        try:
            with self.opened(point) as opened:
                return list(storageboot.foresee(self.config, opened, storageback.fitted(Scope(), opened)))
        except RollpointError as error:
            return [Finding("info", f"whether the system will boot was not looked at: {message(error.message)}")]

    def set_back(self, plan: NativePlan, job: Job) -> list[str]:
        """Set the volumes themselves back, as planned; returns what was done."""
        self._may_write()
        rollback.check(plan.findings)
        needed = self._protected()
        if needed:
            raise RefusedError("a rollback was interrupted, and needs its points", hint="finish it first: `rollpoint "
                               "rollback --resume` or `--undo`")
        with clean_errors():
            done = self.backend(plan.point.backend).set_back(plan, job)
        self._note("rollback --way native", plan.point.id, "done", "; ".join(done))
        return done

    def order(self, plan: RollbackPlan, words: object) -> None:
        """Refuse: what runs at the next boot has no volumes yet."""
        raise RefusedError("only points of the replica can be ordered for the next boot",
                           hint="roll back now, or set the volume itself back with --way native")
