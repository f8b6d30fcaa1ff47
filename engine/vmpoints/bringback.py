"""Bringing disks of a VM back from a point, with a journal (STORE/vms/restore.yaml) so that nothing is lost by a kill.

1. Journal: ``copying``. Every disk is made anew under a hidden name beside its place, made durable and compared with
   what the point says. Nothing that the VM uses has changed yet: a crash here is undone by removing those.
2. Journal: ``swapping``. Each disk that is there gets a second name beside its own (never one that something has), and
   the new one takes its place by one rename: at any moment there is a whole disk. A crash here is gone on with, since
   all that is needed is there; but not while the VM runs.
3. The journal goes. The old disks stay, by their names, until somebody removes them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from engine.errors import ChangedError, RefusedError, UsageError
from engine.events import Job, step
from engine.points import RestorePoint
from engine.replica.layout import Store, fsync_dir, remove_tree, write_file
from engine.results import Finding
from engine.text import human_size, message, printable, shown_path
from engine.vmpoints import documents
from engine.vmpoints.configs import free_name, keep_beside, refuse, running_findings
from engine.vmpoints.plans import DiskPlan, DiskResult, DiskStep
from engine.vmpoints.sources import Source
from engine.vms.inuse import holders
from engine.vms.inventory import Inventory, Machine
from engine.vms.places import FILE, DiskState
from engine.vms.running import RunState

JOURNAL = b"restore.yaml"
COPYING, SWAPPING = "copying", "swapping"
States = Callable[[Machine], RunState]


def plan(place: Source, root: bytes, point: RestorePoint, machine: Machine, now: Inventory, states: States,
         devices: Sequence[str], *, stopped: bool) -> DiskPlan:
    """Return what bringing back disks of `machine` (as it is now) from `place`, which is the point, would do; touches
    nothing. `devices`: those that are named (none: all that belong to no other VM); `states` says of a VM whether it
    runs; `stopped`: the admin knows that none that has these disks does. Raises UsageError for a device that the VM
    does not have, DamageError."""
    users = _users(machine, now)
    unknown = [name for name in devices if name not in {disk.spec.vdev for disk in machine.disks}]
    if unknown:
        raise UsageError(f"{machine.name} has no disk {printable(unknown[0])}",
                         hint="it has: " + ", ".join(printable(d.spec.vdev) for d in machine.disks if not d.spec.cdrom))
    steps, left, findings = list[DiskStep](), list[str](), list[Finding]()
    for disk in {disk.path: disk for disk in machine.disks if not disk.spec.cdrom}.values():
        named = disk.spec.vdev in devices
        why = _not_chosen(place, disk, users, devices) or _step(place, root, point, disk, users, steps)
        if why and named:
            findings.append(Finding("blocker", f"{printable(disk.spec.vdev)}: {why}"))
        elif why:
            left.append(f"{printable(disk.spec.vdev) or 'a disk'}: {why}")
    state = states(machine)
    findings += running_findings(machine.name, state, stopped=stopped)
    for other in {m.config: m for one in steps for m in users.get(one.path, ())}.values():
        findings += running_findings(other.name, states(other), stopped=stopped)
    for one in steps:
        if one.users:
            findings.append(Finding("warning", f"{one.device} belongs to {', '.join(one.users)} too, for which it goes "
                                    "back as well"))
    findings += [*_in_use(root, steps), *place.findings({one.path: one.allocated for one in steps})]
    needed, free = _room(root, steps)
    if needed > free:
        findings.append(Finding("blocker", f"{human_size(needed)} are needed and {human_size(free)} are free",
                                "free room beside the disks: the present ones stay"))
    if not steps:
        findings.append(Finding("blocker", f"there is no disk of {machine.name} to bring back", "; ".join(left)))
    findings.sort(key=lambda f: f.level != "blocker")
    return DiskPlan(point, machine, tuple(steps), tuple(left), needed, free, state, tuple(findings), tuple(devices),
                    stopped, _token(root, point, machine, steps))


def _users(machine: Machine, now: Inventory) -> dict[bytes, list[Machine]]:
    """The other VMs that have a disk, by its path."""
    found: dict[bytes, list[Machine]] = {}
    for disk in machine.disks:
        others = [m for m in now.machines if m.config != machine.config and any(
            d.path == disk.path or (d.identity is not None and d.identity == disk.identity) for d in m.disks if d.path)]
        if others and disk.path:
            found[disk.path] = others
    return found


def _not_chosen(place: Source, disk: DiskState, users: dict[bytes, list[Machine]], devices: Sequence[str]) -> str:
    """Why a disk stays as it is, "" where it is to be brought back."""
    if disk.spec.problem:
        return "its entry in the vm.cfg is not understood"
    if disk.kind != FILE:
        way = place.way(disk)
        return f"it is a {disk.kind}, not a file" + (f"; {way}" if way else "")
    if disk.trouble:
        return disk.trouble
    if devices:
        return "" if disk.spec.vdev in devices else "not named"
    if disk.path in users:
        return (f"it belongs to {', '.join(m.name for m in users[disk.path])} too, so it is brought back only when it "
                "is named")
    return ""


def _step(place: Source, root: bytes, point: RestorePoint, disk: DiskState, users: dict[bytes, list[Machine]],
          steps: list[DiskStep]) -> str:
    """Add what is to be done for a disk to `steps`, or return why nothing is."""
    held = place.held(disk.path)
    if held is None:
        return f"point {point.id} does not have it"
    full = os.path.join(root, disk.path)
    if not os.path.isdir(os.path.dirname(full)):
        return f"the directory {shown_path(os.path.dirname(disk.path))} is not there"
    with contextlib.suppress(FileNotFoundError):
        info = os.lstat(full)
        if not stat.S_ISREG(info.st_mode):
            return "what is at its place now is no file"
        if (info.st_size, info.st_mtime_ns) == (held.size, held.mtime):
            return "it is as it was then (by size and time)"
    aside = free_name(root, disk.path, [one.aside for one in steps]) if os.path.lexists(full) else b""
    names = tuple(m.name for m in users.get(disk.path, ()))
    steps.append(DiskStep(printable(disk.spec.vdev), disk.path, held.size, 0 if held.reflink else held.allocated,
                          "reflink" if held.reflink else "copy", aside, names))
    return ""


def _in_use(root: bytes, steps: Sequence[DiskStep]) -> Iterator[Finding]:
    """Disks that a program has open: it would go on with the file that is moved aside."""
    files: dict[tuple[int, int], str] = {}
    for one in steps:
        with contextlib.suppress(OSError):
            info = os.stat(os.path.join(root, one.path))
            files[info.st_dev, info.st_ino] = one.device
    for text in holders(files) if files else ():
        yield Finding("blocker", text, "end that program, or detach the device, first")


def _room(root: bytes, steps: Sequence[DiskStep]) -> tuple[int, int]:
    """The bytes needed and free where that is tightest."""
    needed, free = defaultdict[int, int](int), dict[int, int]()
    for one in steps:
        folder = os.path.dirname(os.path.join(root, one.path))
        device, room = os.stat(folder).st_dev, os.statvfs(folder)
        needed[device] += one.allocated
        free[device] = room.f_bavail * room.f_frsize
    worst = min(needed, key=lambda device: free[device] - needed[device], default=None)
    return (needed[worst], free[worst]) if worst is not None else (0, 0)


def _token(root: bytes, point: RestorePoint, machine: Machine, steps: Sequence[DiskStep]) -> str:
    """What tells the state of things from any other: the vm.cfg, and each disk."""
    facts: list[object] = [point.id, machine.config, machine.document.source]
    for one in steps:
        with contextlib.suppress(FileNotFoundError):
            info = os.lstat(os.path.join(root, one.path))
            facts.append((info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns))
        facts.append((one.path, one.device))
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def same(made: DiskPlan, again: DiskPlan) -> None:
    """Raise ChangedError unless a plan that was made anew is the one that was agreed to, RefusedError where it is
    blocked by now."""
    refuse(again.findings)
    if made.token != again.token:
        raise ChangedError("the disks or the vm.cfg have changed since this was planned; nothing was changed",
                           hint="look at the plan again")


# --- carrying out --------------------------------------------------------------------------------------------


def carry_out(store: Store, place: Source, root: bytes, made: DiskPlan, now: Inventory, states: States, job: Job
              ) -> DiskResult:
    """Bring the disks of a plan back from `place`, as the module's text says; `now` is what there is. The caller holds
    the write lock and has settled what was interrupted before. Raises DamageError, RefusedError, OSError,
    CancelledError; before the disks are exchanged nothing has changed then."""
    started = time.monotonic()
    entry = _entry(made)
    _write(store, entry | {"phase": COPYING})
    step("vm-restore-begun")
    total = 0
    try:
        for number, one in enumerate(made.steps):
            job.progress("bringing disks back", number, len(made.steps), current=one.path)
            place.fetch(one.path, _staged(root, entry, number), job)
            _make_durable(_staged(root, entry, number))
            total += one.size
            step("vm-disk-staged")
        job.check()
        users = _users(made.machine, now)
        for machine in (made.machine, *(m for one in made.steps for m in users.get(one.path, ()))):
            refuse(running_findings(machine.name, states(machine), stopped=made.stopped))
        taken = any(os.path.lexists(os.path.join(root, one.aside)) for one in made.steps if one.aside)
        if taken or _token(root, made.point, made.machine, made.steps) != made.token:
            raise ChangedError("a disk has changed while it was brought back: something uses it; nothing was changed",
                               hint="find out what (fuser, losetup -a), and end it")
    except BaseException:
        _undo(store, root, entry)
        raise
    _write(store, entry | {"phase": SWAPPING})
    step("vm-restore-swapping")
    _swap(root, entry)
    _end(store)
    return DiskResult(made.point, tuple(one.device for one in made.steps),
                      tuple(one.aside for one in made.steps if one.aside), total, time.monotonic() - started)


def _entry(made: DiskPlan) -> dict[str, Any]:
    return {"format": documents.FORMAT, "point": made.point.id, "vm": made.machine.name,
            "uuid": made.machine.facts.uuid, "config": os.fsdecode(made.machine.config), "number": os.urandom(8).hex(),
            "disks": [{"device": one.device, "path": os.fsdecode(one.path), "aside": os.fsdecode(one.aside)}
                      for one in made.steps]}


def _staged(root: bytes, entry: dict[str, Any], number: int) -> bytes:
    """Where the new disk lies until it takes its place."""
    folder = os.path.dirname(os.path.join(root, os.fsencode(entry["disks"][number]["path"])))
    return os.path.join(folder, b".rollpoint-staged-%s-%d" % (entry["number"].encode(), number))


def _make_durable(path: bytes) -> None:
    with open(path, "rb") as file:
        os.fsync(file.fileno())
    fsync_dir(os.path.dirname(path))


def _swap(root: bytes, entry: dict[str, Any]) -> None:
    """Let the new disks take the places; may be repeated."""
    for number, disk in enumerate(entry["disks"]):
        staged, target = _staged(root, entry, number), os.path.join(root, os.fsencode(disk["path"]))
        if not os.path.lexists(staged):
            continue            # it has its place already
        if disk["aside"]:
            aside = os.path.join(root, os.fsencode(disk["aside"]))
            if not os.path.lexists(aside):      # it was free when this began, so what is there is the old disk
                keep_beside(target, aside)
        step("vm-disk-kept")
        os.rename(staged, target)
        fsync_dir(os.path.dirname(target))
        step("vm-disk-placed")


def _undo(store: Store, root: bytes, entry: dict[str, Any]) -> None:
    for number in range(len(entry["disks"])):
        staged = _staged(root, entry, number)
        remove_tree(staged + b".d")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(staged)
    _end(store)


def _write(store: Store, entry: dict[str, Any]) -> None:
    os.makedirs(store.place(b"vms"), mode=0o700, exist_ok=True)
    write_file(store.place(b"vms", JOURNAL), documents.sealed(entry))
    fsync_dir(store.path)


def _end(store: Store) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(store.place(b"vms", JOURNAL))
        fsync_dir(store.place(b"vms"))


def interrupted(store: Store) -> str:
    """Return a sentence about disks that were being brought back when Rollpoint was killed, "" for none. Raises
    DamageError."""
    entry = _read(store)
    if entry is None:
        return ""
    names = ", ".join(printable(str(disk["device"])) for disk in entry["disks"])
    what = "no disk has changed yet" if entry["phase"] == COPYING else "some may have changed already"
    return message(f"bringing back {names} of {entry['vm']} from point {entry['point']} was interrupted; {what}")


def _read(store: Store) -> dict[str, Any] | None:
    try:
        return documents.read(store.place(b"vms", JOURNAL))
    except FileNotFoundError:
        return None


def settle(store: Store, root: bytes, state: Callable[[dict[str, Any]], RunState], *, stopped: bool = False) -> str:
    """Undo or go on with what was interrupted; returns what was done, "" for nothing. The caller holds the write lock.
    `state` says whether the VM of a journal runs. Raises RefusedError while it does, or may, DamageError, OSError."""
    entry = _read(store)
    if entry is None:
        return ""
    about = f"bringing disks of {entry['vm']} back from point {entry['point']}"
    if entry["phase"] == COPYING:
        _undo(store, root, entry)
        return message(f"undid {about}, which was interrupted: nothing had changed yet")
    blockers = [f for f in running_findings(str(entry["vm"]), state(entry), stopped=stopped) if f.level == "blocker"]
    if blockers:
        raise RefusedError(message(f"{about} was interrupted half way, and cannot be finished: {blockers[0].text}"),
                           hint=blockers[0].hint)
    _swap(root, entry)
    _end(store)
    return message(f"finished {about}, which was interrupted")
