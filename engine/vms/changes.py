"""What became of VMs from one inventory to another, in words.

A VM is the same one where its uuid is (when only one VM has it on either side), or else where its vm.cfg lies. Texts
are printable and hold no secrets: of a password only that it changed is said.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from engine.text import human_size, printable, shown_path
from engine.vms.inventory import Inventory, Machine
from engine.vms.literals import Pairs, Value
from engine.vms.machines import plain_id
from engine.vms.places import DiskState
from engine.vms.secrets import hidden, hidden_value, is_secret

ADDED, REMOVED, CHANGED = "added", "removed", "changed"
# What the words about names, sizes and devices cover already.
_COVERED = frozenset({"name", "OVM_simple_name", "uuid", "memory", "maxmem", "vcpus", "maxvcpus", "disk", "vif"})
_LONGEST = 60       # characters of a value; what is longer only changed


@dataclass(frozen=True, slots=True)
class VmChange:
    """One difference: `kind` is ``added``, ``removed`` or ``changed``, `machine` the VM's name (the newer one)."""

    kind: str
    machine: str
    text: str


def compare(old: Inventory, new: Inventory) -> list[VmChange]:
    """Return what became of the VMs of `old` in `new`, by name."""
    before, after = _keys(old, new), _keys(new, old)
    found: list[VmChange] = []
    for key, machine in before.items():
        if key not in after:
            found.append(VmChange(REMOVED, machine.name, f"{machine.name} was removed ({_what(machine)})"))
    for key, machine in after.items():
        if key not in before:
            found.append(VmChange(ADDED, machine.name, f"{machine.name} was added ({_what(machine)})"))
        else:
            found += [VmChange(CHANGED, machine.name, text) for text in _texts(before[key], machine)]
    return sorted(found, key=lambda change: (change.machine.lower(), change.kind))


def _what(machine: Machine) -> str:
    kind = "template" if machine.template else "VM"
    return f"{kind}, {len(machine.disks)} disks, {shown_path(machine.config)}"


def _keys(own: Inventory, other: Inventory) -> dict[tuple[str, bytes | str], Machine]:
    """The machines by what tells them apart on both sides."""
    uuids = [Counter(plain_id(m.facts.uuid) for m in inventory.machines) for inventory in (own, other)]
    out: dict[tuple[str, bytes | str], Machine] = {}
    for machine in own.machines:
        uuid = plain_id(machine.facts.uuid)
        alone = uuid and uuids[0][uuid] == 1 and uuids[1][uuid] <= 1
        out[("uuid", uuid) if alone else ("config", machine.config)] = machine
    return out


def _texts(old: Machine, new: Machine) -> Iterator[str]:
    """Yield what changed of one machine, its name first."""
    name = new.name
    if old.name != name:
        yield f"{old.name} was renamed to {name}"
    elif old.facts.name != new.facts.name:
        yield f"{name}: domain {_safe(old.facts.name) or 'none'} -> {_safe(new.facts.name) or 'none'}"
    if old.config != new.config:
        yield f"{name}: its vm.cfg moved from {shown_path(old.config)} to {shown_path(new.config)}"
    if old.template != new.template:
        yield f"{name} became a {'template' if new.template else 'VM'}"
    was, now = old.facts, new.facts
    for label, one, two, unit in (
            ("memory", was.memory, now.memory, " MiB"), ("memory at most", was.max_memory, now.max_memory, " MiB"),
            ("CPUs", was.vcpus, now.vcpus, ""), ("CPUs at most", was.max_vcpus, now.max_vcpus, "")):
        if one != two:
            yield f"{name}: {label} {_amount(one, unit)} -> {_amount(two, unit)}"
    if plain_id(was.uuid) != plain_id(now.uuid):
        yield f"{name}: uuid {_safe(was.uuid) or 'none'} -> {_safe(now.uuid) or 'none'}"
    yield from (f"{name}: {text}" for text in (*_disks(old, new), *_nics(old, new), *_others(old, new)))


def _amount(amount: int | None, unit: str) -> str:
    return "not set" if amount is None else f"{amount}{unit}"


def _safe(text: str) -> str:
    return printable(hidden(text))


def _disks(old: Machine, new: Machine) -> Iterator[str]:
    before, after = _by_device(old), _by_device(new)
    for device, disk in before.items():
        if device not in after:
            yield f"disk {_safe(device)} was removed: {_disk(disk)}"
    for device, disk in after.items():
        if device in before:
            yield from _disk_texts(_safe(device), before[device], disk)
        else:
            yield f"disk {_safe(device)} was added: {_disk(disk)}"


def _disk_texts(device: str, one: DiskState, two: DiskState) -> Iterator[str]:
    if one.spec.source != two.spec.source:
        if one.spec.target != two.spec.target:
            word = "drive" if two.spec.cdrom else "disk"
            yield f"{word} {device}: {_target(one)} -> {_target(two)}"
        if one.spec.access != two.spec.access:
            yield f"disk {device}: access {one.spec.access} -> {two.spec.access}"
        if (one.spec.target, one.spec.access) == (two.spec.target, two.spec.access):
            yield f"disk {device} is described otherwise"
    if one.exists and two.exists is False:
        yield f"disk {device} is missing now: {_target(two)}"
    elif one.exists is False and two.exists:
        yield f"disk {device} is there now: {_disk(two)}"
    elif one.apparent is not None and two.apparent is not None and one.apparent != two.apparent:
        word = "grew" if two.apparent > one.apparent else "shrank"
        yield f"disk {device} {word}: {_exact(one.apparent, two.apparent)}"


def _exact(one: int, two: int) -> str:
    """Two sizes; in bytes where they look the same."""
    before, after = human_size(one), human_size(two)
    return f"{before} -> {after}" if before != after else f"{one:,} -> {two:,} bytes"


def _by_device(machine: Machine) -> dict[str, DiskState]:
    return {disk.spec.vdev or f"{number}th": disk for number, disk in enumerate(machine.disks)}


def _target(disk: DiskState) -> str:
    return _safe(disk.spec.target) or "(empty)"


def _disk(disk: DiskState) -> str:
    return _target(disk) + (f", {human_size(disk.apparent)}" if disk.apparent is not None else "")


def _nics(old: Machine, new: Machine) -> Iterator[str]:
    before = {nic.mac or f"{number}th": nic for number, nic in enumerate(old.facts.nics)}
    after = {nic.mac or f"{number}th": nic for number, nic in enumerate(new.facts.nics)}
    yield from (f"network interface {_safe(mac)} was removed" for mac in before if mac not in after)
    for mac, nic in after.items():
        if mac not in before:
            yield f"network interface {_safe(mac)} was added" + (f", bridge {_safe(nic.bridge)}" if nic.bridge else "")
        elif before[mac].bridge != nic.bridge:
            yield f"network interface {_safe(mac)}: bridge {_safe(before[mac].bridge) or 'none'} -> " \
                  f"{_safe(nic.bridge) or 'none'}"
        elif before[mac].source != nic.source:
            yield f"network interface {_safe(mac)} changed otherwise"


def _others(old: Machine, new: Machine) -> Iterator[str]:
    before, after = old.document.values, new.document.values
    for key in sorted((before.keys() | after.keys()) - _COVERED):
        if (key in before) == (key in after) and before.get(key) == after.get(key):
            continue
        if key not in before or key not in after:
            yield f"{_safe(key)} was {'set' if key in after else 'taken out'}"
            continue
        one, two = (_short(hidden_value(key, values[key])) for values in (before, after))
        plain = not is_secret(key) and one and two and one != two
        yield f"{_safe(key)} {one} -> {two}" if plain else f"{_safe(key)} changed"


def _short(value: Value) -> str:
    """A value in few words, "" for one that takes too many."""
    if isinstance(value, tuple | Pairs):
        return ""
    text = printable(value) if isinstance(value, str) else str(value)
    return (text or "(empty)") if len(text) <= _LONGEST else ""
