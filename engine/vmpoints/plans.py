"""What the verbs of virtual machines return: plain frozen data, for the command line and the screens alike."""

from __future__ import annotations

from dataclasses import dataclass

from engine.points import RestorePoint
from engine.results import Finding
from engine.vms.changes import VmChange
from engine.vms.inventory import Machine
from engine.vms.running import RunState

INVENTORIES, DISKS = "vms", "vmdisks"
"""The backends: points of vm.cfg files and the facts of the disks; copies of a VM's disks."""


@dataclass(frozen=True, slots=True)
class VmVersion:
    """What a VM was from the inventory point `first` to `last`, both included (`points`: how many). `machine` is what
    `last` holds, None where the VM was not there; `changes` say what became of it since the version before (none in
    the oldest). `current`: the newest inventory point has it so."""

    machine: Machine | None
    first: RestorePoint
    last: RestorePoint
    points: int
    changes: tuple[VmChange, ...]
    current: bool


@dataclass(frozen=True, slots=True)
class ConfigPlan:
    """Bringing one vm.cfg back, all of it, before anything is touched. `machine` is the VM as the point holds it;
    `path` (relative to the root) is where its file goes. `aside` is the name that the file which is there now gets (b""
    where none is); `changes` say in words what becomes of the VM. `stopped`: the admin says that it does not run.
    `token` is the state the plan was made for."""

    point: RestorePoint
    machine: Machine
    path: bytes
    aside: bytes
    same: bool
    changes: tuple[str, ...]
    running: RunState
    findings: tuple[Finding, ...]
    stopped: bool
    token: str

    @property
    def blocked(self) -> bool:
        """Whether something forbids it."""
        return any(f.level == "blocker" for f in self.findings)


@dataclass(frozen=True, slots=True)
class ConfigResult:
    """A vm.cfg that was brought back: where, and where the old one is now (b"" where there was none)."""

    path: bytes
    aside: bytes
    changed: bool


@dataclass(frozen=True, slots=True)
class Sources:
    """The points that may hold disks of a VM, newest first; `troubles` say whose could not be asked."""

    points: tuple[RestorePoint, ...]
    troubles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DiskStep:
    """One disk to be brought back. `path` (relative to the root) is where it goes; `size` are the bytes its VM sees and
    `allocated` those that are copied at most; `way` is ``reflink`` or ``copy``; `aside` is the name that the disk which
    is there now gets (b"" where none is). `users` are the names of other VMs that have it too."""

    device: str
    path: bytes
    size: int
    allocated: int
    way: str
    aside: bytes
    users: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DiskPlan:
    """Bringing disks of a VM back, all of it, before anything is touched. `machine` is the VM as it is now; `left` says
    which of its disks stay as they are, and why. `needed` and `free` are bytes on the file system with the least room
    left. `devices` and `stopped` are what was asked for; `token` is the state the plan was made for."""

    point: RestorePoint
    machine: Machine
    steps: tuple[DiskStep, ...]
    left: tuple[str, ...]
    needed: int
    free: int
    running: RunState
    findings: tuple[Finding, ...]
    devices: tuple[str, ...]
    stopped: bool
    token: str

    @property
    def blocked(self) -> bool:
        """Whether something forbids it."""
        return any(f.level == "blocker" for f in self.findings)


@dataclass(frozen=True, slots=True)
class DiskResult:
    """Disks that were brought back: devices, the places of those before, bytes brought back, seconds."""

    point: RestorePoint
    devices: tuple[str, ...]
    aside: tuple[bytes, ...]
    bytes: int
    seconds: float
