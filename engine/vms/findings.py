"""What is wrong, or worth a look, in an inventory: pure functions from what `inventory.scan` found.

Level ``warning`` is for what an admin should look into; ``info`` for what was done on purpose (disks shared with
``w!``, or by readers only). Each finding names the VMs and the path it is about; texts hold no secrets and are
printable.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from engine.text import human_size, message, printable, shown_path
from engine.vms.diskspec import READ, SHARED
from engine.vms.inventory import Inventory, Machine
from engine.vms.machines import plain_id
from engine.vms.places import DRIVE, EMPTY, ISO, ON_DEVICES, DiskState, Identity
from engine.vms.repositories import DIRECTORY, Repository
from engine.vms.secrets import hidden

UNREADABLE, UNREAD_STATEMENT, UNLISTED = "unreadable-config", "unread-statement", "unlisted-place"
MISSING, UNKNOWN, ORPHAN, OUTSIDE = "missing-disk", "unknown-disk", "orphan-disk", "outside-disk"
SHARED_DISK, TWICE, ISO_ATTACHED = "shared-disk", "disk-twice", "iso-attached"
SAME_UUID, SAME_MAC, MIXED = "duplicate-uuid", "duplicate-mac", "mixed-repository"

Use = tuple[Machine, DiskState]


@dataclass(frozen=True, slots=True)
class VmFinding:
    """Something to look into. `kind` is one of the constants above, `machines` the names of the VMs, `path` what it is
    about (relative to the root, b"" for none)."""

    kind: str
    level: str
    text: str
    hint: str = ""
    machines: tuple[str, ...] = ()
    path: bytes = b""


def check(inventory: Inventory) -> list[VmFinding]:
    """Return all findings: those that can lose data first, information last."""
    found = [*_unreadable(inventory), *_missing(inventory), *_shared(inventory), *_twins(inventory),
             *_orphans(inventory), *_mixed(inventory), *_outside(inventory), *_media(inventory)]
    return sorted(found, key=lambda finding: finding.level != "warning")


def shown_target(disk: DiskState) -> str:
    """Return what a disk is, as its vm.cfg names it, printable and without secrets."""
    return printable(hidden(disk.spec.target)) or "(empty)"


def _unreadable(inventory: Inventory) -> Iterator[VmFinding]:
    for unread in inventory.unread:
        yield VmFinding(UNREADABLE, "warning", f"{shown_path(unread.config)} cannot be read: {message(unread.why)}",
                        "what VM it is, and which disks are its own, is not known", path=unread.config)
    for trouble in inventory.troubles:
        yield VmFinding(UNLISTED, "warning", f"{message(trouble)}: what lies there is not known")
    for machine in inventory.machines:
        for problem in machine.facts.problems:
            where = f"{machine.name}: {shown_path(machine.config)}, line {problem.line}"
            yield VmFinding(UNREAD_STATEMENT, "warning", f"{where}: {message(problem.text)}",
                            machines=(machine.name,), path=machine.config)


def _missing(inventory: Inventory) -> Iterator[VmFinding]:
    for machine, disk in _uses(inventory.machines):
        about = f"{machine.name}: the {disk.kind} {shown_target(disk)} ({printable(disk.spec.vdev)})"
        if disk.exists is False:
            yield VmFinding(MISSING, "warning", f"{about} does not exist",
                            "take it out of the VM's configuration" if disk.spec.cdrom else
                            "the VM cannot start like this: find the disk, or restore it",
                            (machine.name,), disk.path)
        elif disk.trouble:
            yield VmFinding(UNKNOWN, "warning", f"{about} cannot be looked at: {message(disk.trouble)}",
                            machines=(machine.name,), path=disk.path)


def _shared(inventory: Inventory) -> Iterator[VmFinding]:
    for uses in _by_identity(inventory.machines).values():
        if all(disk.spec.cdrom for _, disk in uses):
            continue        # one ISO in the drives of many is what ISOs are for
        users = dict.fromkeys(machine.config for machine, _ in uses)
        if len(users) > 1:
            yield _sharing(uses)
        elif len(uses) > 1:
            machine, disk = uses[0]
            devices = " and ".join(printable(d.spec.vdev) for _, d in uses)
            yield VmFinding(TWICE, "warning", f"{machine.name} has {_aliases(uses)} twice, as {devices}",
                            "two writers on one disk destroy what is on it", (machine.name,), disk.path)


def _sharing(uses: Sequence[Use]) -> VmFinding:
    words = [f"{machine.name} ({'template, ' if machine.template else ''}{disk.spec.access})" for machine, disk in uses]
    modes = {disk.spec.access for _, disk in uses}
    names = tuple(dict.fromkeys(machine.name for machine, _ in uses))
    text = f"{_aliases(uses)} belongs to {', '.join(words)}"
    if modes == {SHARED}:
        return VmFinding(SHARED_DISK, "info", f"{text}: shared on purpose", machines=names, path=uses[0][1].path)
    if modes == {READ}:
        return VmFinding(SHARED_DISK, "info", f"{text}: all only read", machines=names, path=uses[0][1].path)
    what = "not all of them say w! (shared)" if SHARED in modes else "none of them says w! (shared)"
    return VmFinding(SHARED_DISK, "warning", f"{text}; {what}",
                     "two that run at once destroy what is on it, unless its file system is made for that", names,
                     uses[0][1].path)


def _aliases(uses: Iterable[Use]) -> str:
    """What a disk is, with all names under which it is used."""
    names = list(dict.fromkeys(shown_target(disk) for _, disk in uses))
    return names[0] + (f" (also called {', '.join(names[1:])})" if len(names) > 1 else "")


def _twins(inventory: Inventory) -> Iterator[VmFinding]:
    uuids, macs = defaultdict[str, list[Machine]](list), defaultdict[str, list[Machine]](list)
    for machine in inventory.machines:
        if uuid := plain_id(machine.facts.uuid):
            uuids[uuid].append(machine)
        for nic in machine.facts.nics:
            if nic.mac.strip("0:"):
                macs[nic.mac].append(machine)
    for kind, word, groups in ((SAME_UUID, "uuid", uuids), (SAME_MAC, "MAC address", macs)):
        for value, group in groups.items():
            if len(group) > 1:
                places = ", ".join(f"{m.name} ({shown_path(m.config)})" for m in group)
                yield VmFinding(kind, "warning", f"{len(group)} have the {word} {printable(value)}: {places}",
                                "a vm.cfg that is copied needs a uuid of its own" if kind == SAME_UUID else
                                "on one network only one of them can be reached",
                                tuple(dict.fromkeys(m.name for m in group)), group[0].config)


def _orphans(inventory: Inventory) -> Iterator[VmFinding]:
    machines = inventory.machines
    used = {disk.identity for machine in machines for disk in machine.disks}.union(*(m.named for m in machines))
    texts = b"\n".join(machine.document.source for machine in machines)
    for image in inventory.images:
        if image.identity in used:
            continue
        hint = "no vm.cfg of the repositories looked at names it"
        if b".rollpoint-" in os.path.basename(image.path):
            hint = "it was moved aside when a disk was brought back: remove it when it is not needed any more"
        elif os.path.basename(image.path) in texts:
            hint = "its name stands in a vm.cfg, but not as a disk (in a comment?): look before it is removed"
        elif not inventory.complete:
            hint += "; but not everything could be read: look before it is removed"
        yield VmFinding(ORPHAN, "warning", f"{shown_path(image.path)} ({human_size(image.apparent)}, "
                        f"{human_size(image.allocated)} on the disk) belongs to no VM and no template", hint,
                        path=image.path)


def _mixed(inventory: Inventory) -> Iterator[VmFinding]:
    for repository in inventory.repositories:
        own = [machine for machine in inventory.machines if machine.repository == repository.path]
        templates = tuple(machine.name for machine in own if machine.template)
        if templates and len(templates) < len(own):
            count = f"holds VMs ({len(own) - len(templates)}) and templates ({len(templates)})"
            yield VmFinding(MIXED, "warning", f"{_called(repository)} {count}",
                            "guests and resources are best kept in repositories of their own: one can be backed up "
                            "without the other", templates, repository.path)


def _called(repository: Repository) -> str:
    alias = f" ({printable(hidden(repository.alias))})" if repository.alias else ""
    return f"the repository {shown_path(repository.path)}{alias}"


def _outside(inventory: Inventory) -> Iterator[VmFinding]:
    """Disks that a copy of the VM's repository does not hold. A plain directory of configurations holds none."""
    kinds = {repository.path: repository.kind for repository in inventory.repositories}
    for machine, disk in _uses(inventory.machines):
        if kinds[machine.repository] == DIRECTORY or disk.repository or disk.kind in (EMPTY, DRIVE):
            continue
        what = "is on a device" if disk.kind in ON_DEVICES else "lies outside"
        yield VmFinding(OUTSIDE, "warning",
                        f"{machine.name}: the {disk.kind} {shown_target(disk)} ({printable(disk.spec.vdev)}) {what}, "
                        "not in a repository", "a copy of the repository does not hold it", (machine.name,), disk.path)


def _media(inventory: Inventory) -> Iterator[VmFinding]:
    for machine, disk in _uses(inventory.machines):
        if disk.spec.cdrom and disk.kind in (ISO, DRIVE) and not machine.template:
            yield VmFinding(ISO_ATTACHED, "warning", f"{machine.name}: {shown_target(disk)} is left in the drive "
                            f"{printable(disk.spec.vdev)}", "the VM cannot start, or move, where that is missing",
                            (machine.name,), disk.path)


def _uses(machines: Iterable[Machine]) -> Iterator[Use]:
    for machine in machines:
        for disk in machine.disks:
            if not disk.spec.problem:
                yield machine, disk


def _by_identity(machines: Iterable[Machine]) -> dict[Identity, list[Use]]:
    groups = defaultdict[Identity, list[Use]](list)
    for machine, disk in _uses(machines):
        if disk.identity is not None:
            groups[disk.identity].append((machine, disk))
    return groups
