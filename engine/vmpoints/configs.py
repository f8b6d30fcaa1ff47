"""Bringing one vm.cfg back from an inventory point to its place.

The file that is there now stays beside it under a name of its own, made before the new one takes its place by one
rename: at any moment there is a whole vm.cfg. Refused is what would make two of one VM, or change one that runs: xend
and xl read the file only when a VM starts, but who changes it under a running VM finds out at three in the morning.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from engine.entries import Entry
from engine.errors import ChangedError, RefusedError
from engine.events import step
from engine.machine.tree import Tree
from engine.points import RestorePoint
from engine.replica.disk import apply_attributes, copy_data, read_entry
from engine.replica.layout import Store, fsync_dir
from engine.results import Finding
from engine.text import printable, shown_path
from engine.vmpoints import inventories
from engine.vmpoints.plans import ConfigPlan, ConfigResult
from engine.vms.changes import compare
from engine.vms.inventory import Inventory, Machine
from engine.vms.machines import plain_id
from engine.vms.repositories import OVM3
from engine.vms.running import RUNNING, STOPPED, RunState
from engine.vms.secrets import hidden

SUFFIX = b".rollpoint-"
"""What follows the name of a file that was moved aside, before the time."""


def plan(root: str, point: RestorePoint, machine: Machine, now: Inventory, state: RunState, *, stopped: bool
         ) -> ConfigPlan:
    """Return what bringing back the vm.cfg of `machine`, as an inventory point has it, would do. `now` is what there
    is; `state` whether the VM runs; `stopped`: the admin knows that it does not. Touches nothing."""
    tree = Tree(os.fsencode(root))
    path, findings = _target(tree, machine, now)
    present = next((m for m in now.machines if path in (m.config, m.file)), None)
    old = present.document.source if present is not None else None
    there = os.path.lexists(os.path.join(tree.root, path))
    findings += [*_twins(machine, path, now), *running_findings(machine.name, state, stopped=stopped),
                 *_disks(tree, machine)]
    if any(r.kind == OVM3 for r in now.repositories if r.path == machine.repository):
        findings.append(Finding("info", "Oracle VM Manager writes a vm.cfg anew at each edit of the VM: edit it there "
                                "too, or the next edit undoes this"))
    words = compare(replace(now, machines=(present,) if present else ()),
                    replace(now, machines=(replace(machine, config=path, file=path),)))
    same = old == machine.document.source
    aside = b"" if not there or same else free_name(tree.root, path)
    return ConfigPlan(point, machine, path, aside, same, tuple(change.text for change in words), state,
                      tuple(sorted(findings, key=lambda f: f.level != "blocker")), stopped, _token(tree.root, path))


def _target(tree: Tree, machine: Machine, now: Inventory) -> tuple[bytes, list[Finding]]:
    """Where the file goes: links count as they are now, and none may lead out of the repositories."""
    folder = os.path.dirname(machine.config)
    inner = tree.inner(folder)
    path = tree.inner(machine.config) or os.path.join(inner if inner is not None else folder, os.path.basename(
        machine.config))
    known = [repository.path for repository in now.repositories]
    if machine.repository not in known:
        return path, [Finding("blocker", f"the repository {shown_path(machine.repository)} is not there",
                              "mount it, or name it with --repository")]
    if not any(path.startswith(place + b"/") for place in known):
        return path, [Finding("blocker", f"{shown_path(machine.config)} leads to {shown_path(path)}, out of the "
                              "repositories", "look at the symbolic links on the way")]
    full = os.path.join(tree.root, path)
    if os.path.lexists(full) and not stat.S_ISREG(os.lstat(full).st_mode):
        return path, [Finding("blocker", f"{shown_path(path)} is no regular file", "look at what is there")]
    return path, []


def _twins(machine: Machine, path: bytes, now: Inventory) -> Iterator[Finding]:
    uuid, macs = plain_id(machine.facts.uuid), {nic.mac for nic in machine.facts.nics if nic.mac.strip("0:")}
    for other in now.machines:
        if path in (other.config, other.file):
            continue
        if uuid and plain_id(other.facts.uuid) == uuid:
            yield Finding("blocker", f"{other.name} ({shown_path(other.config)}) has the same uuid: there would be two "
                          "of this VM", "it has moved: bring it back there, or remove that one first")
        both = sorted(macs.intersection(nic.mac for nic in other.facts.nics))
        if both:
            yield Finding("warning", f"{other.name} has the same MAC address ({', '.join(both)})",
                          "on one network only one of them can be reached")


def running_findings(name: str, state: RunState, *, stopped: bool) -> list[Finding]:
    """Return what a VM's running state means for changing what it is made of."""
    if state.state == STOPPED:
        return []
    if state.state == RUNNING:
        return [Finding("blocker", f"{name} runs: {state.why}", "shut it down first")]
    if stopped:
        return [Finding("warning", f"whether {name} runs is not known here ({state.why}); you say that it does not")]
    return [Finding("blocker", f"whether {name} runs is not known: {state.why}",
                    "if you know that it runs on no server, say so with --stopped")]


def _disks(tree: Tree, machine: Machine) -> Iterator[Finding]:
    for disk in machine.disks:
        if disk.path and disk.spec.is_path and not tree.exists(os.fsencode(disk.spec.target)):
            yield Finding("warning", f"its disk {printable(hidden(disk.spec.target))} ({printable(disk.spec.vdev)}) is "
                          "not there", "`rollpoint vms restore VM --from POINT --disks` brings disks back")


def free_name(root: bytes, path: bytes, taken: Sequence[bytes] = ()) -> bytes:
    """Return a name beside a file that nothing has."""
    base = path + SUFFIX + datetime.now(UTC).strftime("%Y-%m-%d_%H-%M-%S").encode()
    number, found = 1, base
    while found in taken or os.path.lexists(os.path.join(root, found)):
        number += 1
        found = base + b"-%d" % number
    return found


def _token(root: bytes, path: bytes) -> str:
    """What tells the state of a place from any other."""
    try:
        info = os.lstat(os.path.join(root, path))
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "?")
    facts = (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def bring_back(store: Store, root: str, made: ConfigPlan) -> ConfigResult:
    """Carry a plan out. Raises RefusedError for one that is blocked, ChangedError when the file is not as it was when
    the plan was made, OSError."""
    refuse(made.findings)
    top, content = os.path.realpath(os.fsencode(root)), made.machine.document.source
    if _token(top, made.path) != made.token:
        raise ChangedError(f"{shown_path(made.path)} has changed since this was planned; nothing was changed",
                           hint="look at the plan again")
    if made.same:
        return ConfigResult(made.path, b"", changed=False)
    target = os.path.join(top, made.path)
    folder = os.path.dirname(target)
    rows = {entry.path: entry for entry, _ in inventories.entries(store, made.point)}
    if not os.path.isdir(folder):
        os.mkdir(folder, 0o755)
        parent = rows.get(os.path.dirname(made.machine.file))
        if parent is not None:
            apply_attributes(folder, parent)
        fsync_dir(os.path.dirname(folder))
    new = os.path.join(folder, b".rollpoint-new-" + os.path.basename(target))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    _write(new, content, rows.get(made.machine.file))
    step("vm-config-written")
    if made.aside:
        keep_beside(target, os.path.join(top, made.aside))
    step("vm-config-kept")
    os.rename(new, target)
    fsync_dir(folder)
    return ConfigResult(made.path, made.aside, changed=True)


def refuse(findings: Sequence[Finding]) -> None:
    """Raise RefusedError for the first finding that forbids it."""
    blocker = next((f for f in findings if f.level == "blocker"), None)
    if blocker is not None:
        raise RefusedError(f"{blocker.text}; nothing was changed", hint=blocker.hint)


def _write(path: bytes, data: bytes, entry: Entry | None) -> None:
    with open(path, "xb") as file:
        file.write(data)
        file.flush()
        if entry is not None:
            apply_attributes(path, entry)
        os.fsync(file.fileno())


def keep_beside(path: bytes, aside: bytes) -> None:
    """Give a file a second name, durably; on a file system without hard links that is a copy. Never replaces anything:
    raises FileExistsError."""
    try:
        os.link(path, aside, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
            raise
        part = aside + b".part"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        copy_data(path, part)
        apply_attributes(part, read_entry(path, b""))
        with open(part, "rb") as file:
            os.fsync(file.fileno())
        if os.path.lexists(aside):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), aside) from error
        os.rename(part, aside)
    fsync_dir(os.path.dirname(aside))
