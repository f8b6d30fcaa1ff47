"""The verbs about virtual machines, for the command line and the screens alike."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any

from engine.dispatch import REPLICA
from engine.entries import Version
from engine.errors import CancelledError, RefusedError, RollpointError, UsageError
from engine.events import Job
from engine.points import RestorePoint
from engine.reading import Reader
from engine.replica.layout import Store
from engine.results import PruneResult, SnapshotRequest
from engine.session import clean_errors
from engine.text import message, shown_path
from engine.vmpoints import bringback, configs, copies, held, history, inventories
from engine.vmpoints.plans import DISKS, INVENTORIES, ConfigPlan, ConfigResult, DiskPlan, DiskResult, Sources, VmVersion
from engine.vmpoints.sources import Source, source, storage_source
from engine.vmpoints.volumes import Volumes
from engine.vms import coverage, manager
from engine.vms.changes import VmChange, compare
from engine.vms.coverage import Coverage
from engine.vms.inventory import Inventory, Machine, scan
from engine.vms.machines import plain_id
from engine.vms.manager import Manager
from engine.vms.recipes import Recipe, recipes
from engine.vms.running import UNKNOWN, RunState, running


class VmVerbs(Reader):
    """What can be asked of VMs and done to them. Every method raises RollpointError."""

    # --- looking -----------------------------------------------------------------------------------------------------

    def vms(self, job: Job, repositories: Sequence[str] = ()) -> Inventory:
        """Return the VMs and templates that are there now, in these repositories (none: those of the
        configuration)."""
        with clean_errors():
            return scan(self.config.root, tuple(repositories) or self.config.vms.repositories, job)

    def vms_held(self, inventory: Inventory) -> Coverage | None:
        """Return what restore points hold of each VM: those of the tree, inventory points, points of disks, and the
        snapshots that the storage keeps. Each backend is asked once; where one fails, that is among the troubles, and
        what no other point holds is in doubt. None where there are no points of any kind to ask."""
        root, has_store = os.fsencode(self._root), self._has_store()
        listing = self.storage_points()
        if not has_store and not listing.points and not listing.troubles:
            return None
        versions: dict[bytes, list[Version]] = {}
        if has_store and os.path.exists(self._store.catalog):
            versions = self.histories(coverage.paths(inventory.machines))
        kinds = {kind: [p for p in listing.points if p.backend == kind] for kind in (INVENTORIES, DISKS)}
        others = [p for p in listing.points if p.backend not in kinds]
        with clean_errors():
            kept = held.Kept(held.contents(self._store, kinds[INVENTORIES]) if kinds[INVENTORIES] else {},
                             held.disks(self._store, kinds[DISKS]) if kinds[DISKS] else {}, Volumes(others, root))
            parts = {machine.config: held.added(machine, coverage.parts(machine, versions, root), kept, root)
                     for machine in inventory.machines}
        if listing.troubles:
            parts = {config: [coverage.in_doubt(part) for part in found] for config, found in parts.items()}
        return Coverage(parts, listing.points, tuple(f"{t.backend}: {t.reason}" for t in listing.troubles))

    def vm_points(self) -> list[RestorePoint]:
        """Return the inventory points, newest first, damaged ones included; none where there is no store."""
        with clean_errors():
            return inventories.points(self._store) if self._has_store() else []

    def vm_inventory(self, point: RestorePoint) -> Inventory:
        """Return what an inventory point holds. Raises DamageError."""
        self._must_be_inventory(point)
        with clean_errors():
            return inventories.load(self._store, point)

    def vm_recipes(self, point: RestorePoint | None, job: Job) -> list[Recipe]:
        """Return what makes the file systems of repositories and pools anew: as they are now (None), or as an inventory
        point has it."""
        if point is None:
            return recipes(self.config.root, self.vms(job))
        self._must_be_inventory(point)
        with clean_errors():
            return inventories.kept_recipes(self._store, point)

    def vm_changes(self, older: RestorePoint, newer: RestorePoint | None, job: Job | None = None) -> list[VmChange]:
        """Return what became of the VMs from one inventory point to another, or until now (None)."""
        after = self.vms(job or Job()) if newer is None else self.vm_inventory(newer)
        return compare(self.vm_inventory(older), after)

    def vm_history(self, spec: str, job: Job | None = None) -> list[VmVersion]:
        """Return the versions of one VM (named as for `Inventory.machine`) over the inventory points, newest first. A
        damaged point is a warning. Raises UsageError where no point ever had it."""
        if not self._has_store():
            raise UsageError("there is no inventory point yet", hint="take one with `rollpoint snapshot --backend vms`")
        with clean_errors():
            return history.versions(self._store, self.vm_points(), spec, job or Job())

    def vm_running(self, machine: Machine) -> RunState:
        """Return whether a VM runs, as far as that can be told from this machine."""
        return running(machine, self.config.root)

    def vm_manager(self) -> Manager:
        """Return what can be told of Oracle VM Manager's own backups, where this machine is its host."""
        with clean_errors():
            return manager.look(self.config.root)

    def _has_store(self) -> bool:
        return os.path.lexists(os.path.join(os.fsencode(self.config.store), b"store.yaml"))

    @staticmethod
    def _must_be_inventory(point: RestorePoint) -> None:
        if point.backend != INVENTORIES:
            raise UsageError(f"point {point.id} is no inventory point",
                             hint="`rollpoint vms points` lists those there are")

    # --- taking ------------------------------------------------------------------------------------------------------

    def vm_take(self, request: SnapshotRequest, job: Job) -> RestorePoint:
        """Take an inventory point."""
        self._may_write()
        with clean_errors():
            store = self._store_or_new(job)
            with self._writing(store, "snapshot --backend vms", job):
                self._back_manager_up(request, job)
                point = inventories.take(store, self.config, request, job)
        self._audit(store, "vms snapshot", point.id, "warnings" if job.warnings else "done")
        return point

    def _store_or_new(self, job: Job) -> Store:
        raise NotImplementedError

    def _inventory_along(self, store: Store, request: SnapshotRequest, job: Job) -> None:
        """Take an inventory point along with a snapshot, where the configuration wants that and there are VMs. The
        caller holds the write lock. A failure is a warning: it must not cost the snapshot."""
        if not self.config.vms.points:
            return
        try:
            inventory = scan(self.config.root, self.config.vms.repositories, job)
            if inventory.machines or inventory.unread:
                self._back_manager_up(request, job)
                point = inventories.take(store, self.config, request, job, inventory)
                self._audit(store, "vms snapshot", point.id, "done")
        except (RollpointError, OSError) as error:
            job.check()
            job.warn(message(f"no inventory point of the virtual machines was taken along: {error}"))

    def _back_manager_up(self, request: SnapshotRequest, job: Job) -> None:
        """Let Oracle VM Manager back its database up, where the configuration names the program for it. A failure is a
        warning."""
        if self.config.vms.manager_backup is None:
            return
        job.progress("backing the database of Oracle VM Manager up")
        try:
            manager.back_up(self.config.vms.manager_backup, request.when)
        except RollpointError as error:
            job.warn(message(f"Oracle VM Manager's database was not backed up: {error.message}"))

    def kept_points(self) -> list[RestorePoint]:
        """Return all points that lie in the store, or whose documents do: those that can be verified."""
        return [*self.points(), *self.vm_points(), *self.vm_disk_points()]

    # --- bringing back -----------------------------------------------------------------------------------------------

    def vm_plan_config(self, point: RestorePoint, spec: str, job: Job, *, stopped: bool = False) -> ConfigPlan:
        """Return what bringing a VM's vm.cfg back from an inventory point would do; touches nothing. `stopped`: the
        admin knows that the VM does not run, which counts where Rollpoint cannot tell."""
        machine = self.vm_inventory(point).machine(spec)
        now = self.vms(job)
        with clean_errors():
            return configs.plan(self._root, point, machine, now, self.vm_running(machine), stopped=stopped)

    def vm_bring_back_config(self, plan: ConfigPlan, job: Job) -> ConfigResult:
        """Carry such a plan out, after looking again that nothing has changed (ChangedError)."""
        self._may_write()
        store = self._store
        with clean_errors(), self._writing(store, "vms restore", job):
            self._settle_disks(store, job)
            again = self.vm_plan_config(plan.point, _path(plan.machine), job, stopped=plan.stopped)
            configs.refuse(again.findings)
            done = configs.bring_back(store, self._root, plan)
        self._audit(store, "vms restore --config", plan.point.id, "done", shown_path(done.path))
        return done

    def vm_plan_disks(self, point: RestorePoint, spec: str, job: Job, *, devices: Sequence[str] = (),
                      stopped: bool = False) -> DiskPlan:
        """Return what bringing disks of a VM back would do, from a replica point, a disk point, or a snapshot that the
        storage keeps of what they lie on; touches nothing. `devices`: which (xvda, …; none: all that belong to no other
        VM); `stopped` as for `vm_plan_config`."""
        now = self.vms(job)
        machine = now.machine(spec)
        with clean_errors(), self._disks_of(point, machine, job) as place:
            return bringback.plan(place, os.fsencode(self._root), point, machine, now, self.vm_running, devices,
                                  stopped=stopped)

    def _disks_of(self, point: RestorePoint, machine: Machine, job: Job) -> AbstractContextManager[Source]:
        """Open what a point has of a VM's disks."""
        if point.backend not in (REPLICA, INVENTORIES, DISKS):
            backend = self.storage.backend(point.backend)
            return storage_source(point, machine, os.fsencode(self._root), lambda: self.storage.opened(point, job),
                                  lambda written: backend.strain(point, written, rollback=False))
        return source(self._store, point, os.fsencode(self._root))

    def vm_restore_disks(self, plan: DiskPlan, job: Job) -> DiskResult:
        """Carry such a plan out, after looking again that nothing has changed (ChangedError). What an earlier one that
        was killed has left is undone or finished first."""
        self._may_write()
        root = os.fsencode(self._root)
        with clean_errors(), ExitStack() as stack:
            store = self._store_or_new(job)         # for the journal: who has snapshots alone may have none yet
            stack.enter_context(self._writing(store, "vms restore", job))
            self._settle_disks(store, job, stopped=plan.stopped)
            now = self.vms(job)
            machine = now.machine(_path(plan.machine))
            place = stack.enter_context(self._disks_of(plan.point, machine, job))
            again = bringback.plan(place, root, plan.point, machine, now, self.vm_running, plan.devices,
                                   stopped=plan.stopped)
            bringback.same(plan, again)
            done = bringback.carry_out(store, place, root, again, now, self.vm_running, job)
        what = f"{plan.machine.name}: {', '.join(done.devices)}"
        self._audit(store, "vms restore --disks", plan.point.id, "done", what)
        return done

    def vm_interrupted(self) -> str:
        """Return a sentence about disks that were being brought back when Rollpoint was killed, "" for none."""
        with clean_errors():
            return bringback.interrupted(self._store) if self._has_store() else ""

    def vm_settle(self, job: Job, *, stopped: bool = False) -> str:
        """Undo or finish what such a kill has left, and return what was done. Raises RefusedError while the VM runs, or
        may (`stopped` as for `vm_plan_config`)."""
        self._may_write()
        store = self._store
        with clean_errors(), self._writing(store, "vms restore", job):
            return self._settle_disks(store, job, stopped=stopped)

    def _settle_disks(self, store: Store, job: Job, *, stopped: bool = False) -> str:
        def state(entry: dict[str, Any]) -> RunState:
            found = [m for m in self.vms(job).machines if os.fsdecode(m.config) == entry["config"]]
            return self.vm_running(found[0]) if found else RunState(UNKNOWN, "its vm.cfg is not there any more")

        done = bringback.settle(store, os.fsencode(self._root), state, stopped=stopped)
        if done:
            job.warn(done)
            self._audit(store, "vms restore", "", "recovered", done)
        return done

    @property
    def _root(self) -> str:
        return os.path.realpath(self.config.root)

    # --- copies of disks ---------------------------------------------------------------------------------------------

    def vm_disk_points(self, machine: Machine | None = None) -> list[RestorePoint]:
        """Return the points of disks (of one VM, or all), newest first."""
        if not self._has_store():
            return []
        with clean_errors():
            found = copies.points(self._store, os.fsencode(self._root))
        return [point for point in found if machine is None or _is_of(point, machine)]

    def vm_disk_sources(self, machine: Machine) -> Sources:
        """Return the points that may hold disks of a VM: of the replica, of its disks, and the storage's of what they
        lie on (one question to each backend)."""
        listing = self.listing()
        with clean_errors():
            volumes = Volumes([p for p in listing.points if p.backend not in (REPLICA, INVENTORIES, DISKS)],
                              os.fsencode(self._root))
            others = {point.id for point in volumes.of_machine(machine)}
        return Sources(tuple(p for p in listing.points if p.id in others or p.backend == REPLICA or (
            p.backend == DISKS and _is_of(p, machine))), tuple(f"{t.backend}: {t.reason}" for t in listing.troubles))

    def vm_take_disks(self, machine: Machine, request: SnapshotRequest, job: Job) -> RestorePoint:
        """Take a point of a VM's disks, of one moment for each file system that they lie on. Raises RefusedError where
        that cannot be had because the VM may be running."""
        self._may_write()
        with clean_errors():
            store = self._store_or_new(job)
            with self._writing(store, "vms disks", job):
                self._settle_disks(store, job)
                state = self.vm_running(machine)
                point = copies.take(store, self.config, machine, state, request, job)
                if state.stopped and not self.vm_running(machine).stopped:
                    self._started_meanwhile(store, point, machine, job)
            self._add_sums(store, point, job)
        self._audit(store, "vms disks", point.id, "warnings" if job.warnings else "done", machine.name)
        return point

    def _add_sums(self, store: Store, point: RestorePoint, job: Job) -> None:
        """Make the checksums that the point lacks. It is there, and whole: whatever goes wrong now is a warning."""
        try:
            copies.add_sums(store, point, os.fsencode(self._root), job)
        except (RollpointError, OSError) as error:
            why = "it was stopped" if isinstance(error, CancelledError) else message(f"{error}")
            job.warn(f"point {point.id} was taken, but not all of its checksums were made: {why}; without one `verify` "
                     "looks only whether a copy is there")

    def _started_meanwhile(self, store: Store, point: RestorePoint, machine: Machine, job: Job) -> None:
        copies.delete(store, os.fsencode(self._root), [point], job)
        raise RefusedError(f"{machine.name} was started while its disks were copied: the copies are removed",
                           hint="take the point when it is stopped, or while it runs all the time")

    def vm_delete(self, points: Sequence[RestorePoint], job: Job) -> PruneResult:
        """Delete inventory points and points of disks, whatever the rules say."""
        self._may_write()
        store = self._store
        with clean_errors(), self._writing(store, "delete", job), store.no_readers():
            kinds = {kind: [point for point in points if point.backend == kind] for kind in (INVENTORIES, DISKS)}
            done = [inventories.delete(store, kinds[INVENTORIES], job)] if kinds[INVENTORIES] else []
            done += [copies.delete(store, os.fsencode(self._root), kinds[DISKS], job)] if kinds[DISKS] else []
        for one in (name for result in done for name in result.removed):
            self._audit(store, "delete", one, "done")
        return PruneResult(
            tuple(name for result in done for name in result.removed),
            tuple(pair for result in done for pair in result.failed), sum(result.freed for result in done))


def _path(machine: Machine) -> str:
    """What names a VM whatever it is called."""
    return os.fsdecode(b"/" + machine.config)


def _is_of(point: RestorePoint, machine: Machine) -> bool:
    """Whether a point holds disks of a VM: by its uuid where both say one, else by its place."""
    uuid, theirs = plain_id(machine.facts.uuid), plain_id(str(point.doc.get("uuid", "")))
    return uuid == theirs if uuid and theirs else point.doc.get("config") == os.fsdecode(machine.config)
