"""Made-up VMs for the tests of the screens, and the verbs of the engine about them; `text` wherever a string can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from engine.errors import RefusedError, RollpointError
from engine.events import Job
from engine.points import RestorePoint
from engine.results import Finding, SnapshotRequest
from engine.vmpoints.plans import (
    DISKS,
    INVENTORIES,
    ConfigPlan,
    ConfigResult,
    DiskPlan,
    DiskResult,
    DiskStep,
    Sources,
    VmVersion,
)
from engine.vms.changes import VmChange, compare
from engine.vms.coverage import CONFIG, FILE_SYSTEM, NONE, WHOLE, Coverage, Part, Share, in_doubt
from engine.vms.devices import nic
from engine.vms.diskspec import disk
from engine.vms.inventory import Image, Inventory, Machine, Unread
from engine.vms.machines import facts
from engine.vms.manager import Manager, ManagerBackup
from engine.vms.places import EMPTY, FILE, ISO, PHYSICAL, DiskState
from engine.vms.recipes import Recipe
from engine.vms.repositories import OVM3, Repository
from engine.vms.running import RUNNING, STOPPED, UNKNOWN, RunState
from engine.vms.statements import read

GIB = 1 << 30
GUESTS, TOOLS = b"OVS/Repositories/0004fb0000030000aaaa", b"OVS/Repositories/0004fb0000030000bbbb"
PASSWORD = "opensesame"     # never to be seen on any screen
NAMES = ("web01", "db01", "db02", "mail", "ldap", "build")


def state(text: str, path: bytes = b"", *, size: int = 20 * GIB, own: int = 7 * GIB, exists: bool = True,
          kind: str = FILE) -> DiskState:
    """A disk of a repository, there or missing."""
    path = path or text.split(":", 1)[-1].split(",")[0].lstrip("/").encode()
    if not exists:
        return DiskState(disk(text), kind, path, False, identity=("name", 0, 0, path.decode()), repository=GUESTS)
    return DiskState(disk(text), kind, path, True, size, own, ("file", 1, hash(path), ""), GUESTS)


def machine(name: str, disks: Sequence[DiskState], *, number: int = 1, memory: int = 4096, template: bool = False,
            text: str = "") -> Machine:
    """A VM; `text` stands in its description, its network and in front of its name."""
    source = (f"name = '0004fb000006{number:04x}'\nOVM_simple_name = '{name}'\nmemory = {memory}\nvcpus = 2\n"
              f"uuid = '0004fb00-0006-0000-{number:04x}-000000000000'\nvnc = 1\nvncpasswd = '{PASSWORD}'\n"
              f"vif = ['mac=00:21:f6:00:00:{number:02x},bridge=10238073c2']\n"
              f"vfb = ['type=vnc,vncpasswd={PASSWORD}']\nimport os\n")
    document = read(source.encode())
    known = facts(document)
    nics = (*known.nics, replace(nic("mac=00:21:f6:00:01:01"), bridge=text)) if text else known.nics
    known = replace(known, title=f"{text} {name}" if text else name, description=text, nics=nics,
                    disks=tuple(d.spec for d in disks), problems=() if number != 4 else known.problems)
    folder = (TOOLS + b"/Templates/" if template else GUESTS + b"/VirtualMachines/") + b"%04x" % number
    config = folder + b"/vm.cfg"
    return Machine(config, config, TOOLS if template else GUESTS, template, document, known, tuple(disks))


def inventory(text: str = "", *, memory: int = 4096) -> Inventory:
    """Six VMs and a template: a missing disk, a shared one, one on a device, a CD left in, an orphan, what cannot be
    read."""
    here = f"/{GUESTS.decode()}/VirtualDisks"
    odd = text.replace(",", ";") or "disk"
    system = [state(f"file:{here}/{name}.img,xvda,w") for name in NAMES]
    target = replace(disk(f"file:{here}/x.img,xvdb,w"), target=f"{here}/{odd}.img")
    shared = state(f"file:{here}/shared.img,xvdb,w!")
    device = DiskState(disk("phy:/dev/mapper/3600144f0,xvdb,w"), PHYSICAL, b"dev/dm-3", True, 500 * GIB,
                       identity=("device", 253, 3, ""))
    iso = DiskState(disk(f"file:{here}/boot.iso,xvdc:cdrom,r"), ISO, GUESTS + b"/ISOs/boot.iso", True, GIB, GIB,
                    ("file", 1, 99, ""), GUESTS)
    machines = (
        machine(NAMES[0], (system[0], replace(state(f"file:{here}/x.img,xvdb,w"), spec=target),
                           DiskState(disk(",xvdc:cdrom,r"), EMPTY)), memory=memory, text=text),
        machine(NAMES[1], (system[1], shared), number=2),
        machine(NAMES[2], (system[2], replace(shared, spec=disk(f"file:{here}/shared.img,xvdb,w"))), number=3),
        machine(NAMES[3], (system[3], state(f"file:{here}/gone.img,xvdb,w", exists=False)), number=4),
        machine(NAMES[4], (system[4], device), number=5), machine(NAMES[5], (system[5], iso), number=6),
        machine("oel7", (state(f"file:{here}/oel7.img,xvda,w"),), number=7, template=True))
    odd_file = text.replace("/", "|").encode("utf-8", "surrogateescape") or b"old"
    orphan = GUESTS + b"/VirtualDisks/" + odd_file + b".img"
    return Inventory(
        (Repository(GUESTS, OVM3, text or "guests"), Repository(TOOLS, OVM3, "", troubles=[f"{text} cannot be read"]
                                                                if text else [])),
        tuple(sorted(machines, key=lambda m: (m.template, m.name))),
        (Unread(GUESTS + b"/VirtualMachines/ffff/vm.cfg", GUESTS, text or "Permission denied"),),
        (Image(orphan, GUESTS, 12 * GIB, 3 * GIB, ("file", 1, 4711, "")),), (f"{text} cannot be read",) if text else (),
        ())


def vm_points(now: datetime, text: str = "", backend: str = INVENTORIES, count: int = 3) -> list[RestorePoint]:
    """Points of VMs, newest first; the last one is damaged where there are three."""
    return [RestorePoint(f"{backend}-{count - i}", backend, 0, now - timedelta(days=7 * i, hours=2),
                         text or ("nightly", "before the move", "first")[i % 3], own_bytes=12_000 * (i + 1),
                         newest=i == 0, state="damaged" if i == 2 else "ok",
                         problems=(f"a blob is not what it should be {text}",) if i == 2 else ())
            for i in range(count)]


def manager(now: datetime, text: str = "") -> Manager:
    """A Manager with five daily backups, of which one was missed, and one by hand."""
    daily = [(f"AutoFullBackup-{now - timedelta(days=day, hours=4):%Y%m%d}_231240", now - timedelta(days=day, hours=4))
             for day in (0, 1, 2, 4, 5)]
    backups = [ManagerBackup(f"u01/db/{name}".encode(), name, True, taken, (4 << 20) + i)
               for i, (name, taken) in enumerate(daily)]
    backups.insert(1, ManagerBackup(b"u01/db/odd", f"before{text}", False, now - timedelta(hours=9), 5 << 20))
    return Manager(f"0004fb0000010000{text}", (("DBBACKUP", f"/u01/db{text}"), ("DBPASSWORD", "********")), b"u01/db",
                   tuple(backups), 64 << 20, (f"a gap of 2 d between {daily[3][0]} and {daily[2][0]}{text}",))


class FakeVms:
    """The verbs about VMs, mixed into the double of the engine. `vm_text` stands wherever a string can."""

    vm_text = ""
    vm_found: Inventory | None = None       # None: the made-up one
    vm_state = RunState(STOPPED, "xl list does not have it")
    vm_store = True                         # whether there is a store to ask
    vm_inventories = 3                      # how many inventory points there are
    vm_storage: tuple[RestorePoint, ...] = ()       # snapshots of what the disks lie on, newest first
    vm_whole = False                        # whether those hold the disks that are devices too
    vm_troubles: tuple[str, ...] = ()       # whose points cannot be asked
    vm_blocked = ""
    vm_no_manager = False
    vm_half_done = ""                       # what a killed Rollpoint has left
    vm_done: tuple[str, ...] = ()           # what was brought back or taken

    def _enter(self, verb: str) -> None:
        raise NotImplementedError

    def _work(self, job: Job | None, *phases: str) -> None:
        raise NotImplementedError

    def _listed(self) -> Sequence[RestorePoint]:
        raise NotImplementedError

    def _now(self) -> Inventory:
        return inventory(self.vm_text) if self.vm_found is None else self.vm_found

    def vms(self, job: Job) -> Inventory:
        self._enter("vms")
        self._work(job, "reading configurations")
        return self._now()

    def vms_held(self, inventory: Inventory) -> Coverage | None:
        self._enter("vms_held")
        if not self.vm_store:
            return None
        found = {m.config: [self._also(part) for part in self._parts(m)] for m in inventory.machines}
        return Coverage(found, self.vm_storage, self.vm_troubles)

    def _also(self, part: Part) -> Part:
        """What snapshots of the storage hold: the file system of every file, no device."""
        device = part.why.startswith("on a device")
        if self.vm_storage and (not device or self.vm_whole):
            newest = self.vm_storage[0]
            own = [Share("replica", part.points, part.newest, "2000", bool(part.same))] if part.held else []
            part = replace(part, shares=tuple(own)).with_shares([Share(
                newest.backend, len(self.vm_storage), newest.id, f"{newest.created:%Y-%m-%d_%H-%M-%S}", None,
                WHOLE if device else FILE_SYSTEM)])
        return in_doubt(part) if self.vm_troubles else part

    def _parts(self, found: Machine) -> list[Part]:
        known = self._listed()
        newest = known[0].id if known else ""
        parts = [Part(CONFIG, found.file, len(known), newest, True)] if newest else [
            Part(CONFIG, found.file, why=NONE)]
        for one in (d for d in found.disks if not d.spec.cdrom):
            if one.kind == PHYSICAL:
                parts.append(Part(one.spec.vdev, one.path, why=f"on a device ({PHYSICAL})"))
            elif not newest or not one.exists:
                parts.append(Part(one.spec.vdev, one.path, why=NONE))
            else:
                parts.append(Part(one.spec.vdev, one.path, 2, newest, False))
        return parts

    def vm_points(self) -> list[RestorePoint]:
        self._enter("vm_points")
        return vm_points(self._clock(), self.vm_text, count=self.vm_inventories)

    def _clock(self) -> datetime:
        from tests.tui.fake_engine import NOW

        return NOW

    def vm_inventory(self, point: RestorePoint) -> Inventory:
        self._enter("vm_inventory")
        return inventory(self.vm_text, memory=2048) if self.vm_found is None else self.vm_found

    def vm_changes(self, older: RestorePoint, newer: RestorePoint | None, job: Job | None = None) -> list[VmChange]:
        self._enter("vm_changes")
        self._work(job, "comparing")
        then = inventory(self.vm_text, memory=2048)
        now = self._now()
        return compare(replace(then, machines=then.machines[1:]), replace(now, machines=now.machines[:-1]))

    def vm_history(self, spec: str) -> list[VmVersion]:
        self._enter("vm_history")
        found = self._now().machine(spec)
        points = vm_points(self._clock(), self.vm_text)
        before = next((m for m in inventory(self.vm_text, memory=2048).machines if m.config == found.config), None)
        words = (VmChange("changed", found.name, f"{found.name}: memory 2048 MiB -> 4096 MiB"),)
        return [VmVersion(found, points[0], points[0], 1, words, True),
                VmVersion(before, points[1], points[1], 1, (VmChange("added", found.name, f"{found.name} was added"),),
                          False),
                VmVersion(None, points[2], points[2], 1, (), False)]

    def vm_take(self, request: SnapshotRequest, job: Job) -> RestorePoint:
        self._enter("vm_take")
        self._work(job, "reading configurations")
        self.vm_done += (f"inventory {request.comment}",)
        return vm_points(self._clock(), request.comment)[0]

    def vm_running(self, machine: Machine) -> RunState:
        self._enter("vm_running")
        return self.vm_state

    def vm_manager(self) -> Manager:
        self._enter("vm_manager")
        return Manager("", (), b"", (), None, ()) if self.vm_no_manager else manager(self._clock(), self.vm_text)

    def vm_recipes(self, point: RestorePoint | None, job: Job) -> list[Recipe]:
        self._enter("vm_recipes")
        self._work(job, "reading configurations")
        text = self.vm_text
        command = f"mkfs.ocfs2 -b 4096 -C 1048576 -N 32 -L '{text or 'OVS'}' /dev/mapper/3600"
        return [Recipe(GUESTS, "ocfs2", "/dev/mapper/3600", command,
                       (f"# /{GUESTS.decode()}: ocfs2 on /dev/mapper/3600{text}", command)),
                Recipe(TOOLS, "nfs", "nas:/tools", "", (f"# /{TOOLS.decode()}: nfs on nas:/tools{text}",),
                       (f"how it was made cannot be told: {text}",) if point is None else ())]

    def _findings(self, stopped: bool) -> tuple[Finding, ...]:
        found = [Finding("warning", self.vm_text or "its network is not there any more")]
        if self.vm_blocked:
            found.insert(0, Finding("blocker", self.vm_blocked, "choose another one"))
        if self.vm_state.state == RUNNING or (self.vm_state.state == UNKNOWN and not stopped):
            found.insert(0, Finding("blocker", "the VM may be running", "stop it first"))
        return tuple(found)

    def vm_plan_config(self, point: RestorePoint, spec: str, job: Job, *, stopped: bool = False) -> ConfigPlan:
        self._enter("vm_plan_config")
        found = self._now().machine(spec)
        words = (f"{found.name}: memory 4096 MiB -> 2048 MiB",)
        return ConfigPlan(point, found, found.config, found.config + b".2024-11-20", False, words, self.vm_state,
                          self._findings(stopped), stopped, "t")

    def vm_bring_back_config(self, plan: ConfigPlan, job: Job) -> ConfigResult:
        self._enter("vm_bring_back_config")
        self._work(job, "writing")
        self.vm_done += (f"config {plan.point.id} {plan.machine.config.decode()}",)
        return ConfigResult(plan.path, plan.aside, True)

    def vm_plan_disks(self, point: RestorePoint, spec: str, job: Job, *, devices: Sequence[str] = (),
                      stopped: bool = False) -> DiskPlan:
        self._enter("vm_plan_disks")
        found = self._now().machine(spec)
        steps = tuple(DiskStep(d.spec.vdev, d.path, d.apparent or 0, d.allocated or 0, "reflink", d.path + b".before",
                               (self.vm_text,) if self.vm_text else ())
                      for d in found.disks if not d.spec.cdrom and (not devices or d.spec.vdev in devices))
        return DiskPlan(point, found, steps, ("xvdc: it is removable",), GIB, 9 * GIB, self.vm_state,
                        self._findings(stopped), tuple(devices), stopped, "t")

    def vm_restore_disks(self, plan: DiskPlan, job: Job) -> DiskResult:
        self._enter("vm_restore_disks")
        self._work(job, "copying")
        self.vm_done += (f"disks {plan.point.id} {' '.join(s.device for s in plan.steps)}",)
        return DiskResult(plan.point, tuple(s.device for s in plan.steps), tuple(s.aside for s in plan.steps),
                          7 * GIB, 3.5)

    def vm_interrupted(self) -> str:
        self._enter("vm_interrupted")
        return self.vm_half_done

    def vm_settle(self, job: Job, *, stopped: bool = False) -> str:
        self._enter("vm_settle")
        if self.vm_state.state != STOPPED and not stopped:
            raise RefusedError("the VM may be running", hint="stop it first")
        done, self.vm_half_done = f"undone: {self.vm_half_done}", ""
        return done

    def vm_disk_sources(self, machine: Machine) -> Sources:
        self._enter("vm_disk_sources")
        found = [*vm_points(self._clock(), self.vm_text, DISKS, 1), *self._listed(), *self.vm_storage]
        return Sources(tuple(sorted(found, key=lambda p: p.created, reverse=True)), self.vm_troubles)

    def vm_disk_points(self, machine: Machine | None = None) -> list[RestorePoint]:
        self._enter("vm_disk_points")
        return vm_points(self._clock(), self.vm_text, DISKS, 1)

    def vm_take_disks(self, machine: Machine, request: SnapshotRequest, job: Job) -> RestorePoint:
        self._enter("vm_take_disks")
        if self.vm_state.state != STOPPED:
            raise RollpointError("the VM may be running", hint="stop it first")
        self._work(job, "copying")
        self.vm_done += (f"disks of {machine.config.decode()}",)
        return vm_points(self._clock(), request.comment, DISKS, 1)[0]
