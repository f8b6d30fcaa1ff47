"""The verbs about virtual machines, for the command line and the screens alike."""

from __future__ import annotations

from collections.abc import Sequence

from engine.events import Job
from engine.points import RestorePoint
from engine.reading import Reader
from engine.results import SnapshotRequest
from engine.vmpoints.plans import ConfigPlan, ConfigResult, DiskPlan, DiskResult, VmVersion
from engine.vms.changes import VmChange
from engine.vms.coverage import Part
from engine.vms.inventory import Inventory, Machine
from engine.vms.manager import Manager
from engine.vms.running import RunState


class VmVerbs(Reader):
    """What can be asked of VMs and done to them. Every method raises RollpointError."""

    def vms(self, job: Job, repositories: Sequence[str] = ()) -> Inventory:
        """Return the VMs and templates that are there now, in these repositories (none: those of the
        configuration)."""
        raise NotImplementedError

    def vms_held(self, inventory: Inventory) -> dict[bytes, list[Part]] | None:
        """Return what restore points hold of each VM, by the path of its configuration; None where there is no store to
        ask."""
        raise NotImplementedError

    def vm_points(self) -> list[RestorePoint]:
        """Return the inventory points, newest first, damaged ones included; none where there is no store."""
        raise NotImplementedError

    def vm_inventory(self, point: RestorePoint) -> Inventory:
        """Return what an inventory point holds. Raises DamageError."""
        raise NotImplementedError

    def vm_changes(self, older: RestorePoint, newer: RestorePoint | None, job: Job | None = None) -> list[VmChange]:
        """Return what became of the VMs from one inventory point to another, or until now (None)."""
        raise NotImplementedError

    def vm_history(self, spec: str) -> list[VmVersion]:
        """Return the versions of one VM (named as for `Inventory.machine`) over the inventory points, newest first."""
        raise NotImplementedError

    def vm_take(self, request: SnapshotRequest, job: Job) -> RestorePoint:
        """Take an inventory point."""
        raise NotImplementedError

    def vm_running(self, machine: Machine) -> RunState:
        """Return whether a VM runs, as far as that can be told from this machine."""
        raise NotImplementedError

    def vm_plan_config(self, point: RestorePoint, spec: str, job: Job, *, stopped: bool = False) -> ConfigPlan:
        """Return what bringing a VM's vm.cfg back from an inventory point would do; touches nothing. `stopped`: the
        admin knows that the VM does not run, which counts where Rollpoint cannot tell."""
        raise NotImplementedError

    def vm_bring_back_config(self, plan: ConfigPlan, job: Job) -> ConfigResult:
        """Carry such a plan out, after looking again that nothing has changed (ChangedError)."""
        raise NotImplementedError

    def vm_plan_disks(self, point: RestorePoint, spec: str, job: Job, *, devices: Sequence[str] = (),
                      stopped: bool = False) -> DiskPlan:
        """Return what bringing disks of a VM back from a replica point or a disk point would do; touches nothing.
        `devices`: which (xvda, …; none: all that belong to no other VM); `stopped` as for `vm_plan_config`."""
        raise NotImplementedError

    def vm_restore_disks(self, plan: DiskPlan, job: Job) -> DiskResult:
        """Carry such a plan out, after looking again that nothing has changed (ChangedError)."""
        raise NotImplementedError

    def vm_disk_points(self, machine: Machine | None = None) -> list[RestorePoint]:
        """Return the points of disks (of one VM, or all), newest first."""
        raise NotImplementedError

    def vm_take_disks(self, machine: Machine, request: SnapshotRequest, job: Job) -> RestorePoint:
        """Take a point of a VM's disks, of one moment for each file system that they lie on. Raises RefusedError where
        that cannot be had because the VM may be running."""
        raise NotImplementedError

    def vm_manager(self) -> Manager:
        """Return what can be told of Oracle VM Manager's own backups, where this machine is its host."""
        raise NotImplementedError
