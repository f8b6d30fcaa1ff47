"""`vms show VM`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from tui.commands import Answer
from tui.commands._vms_words import amount, held_by_points, held_lines, place, say

if TYPE_CHECKING:
    from engine.vms.findings import VmFinding
    from engine.vms.inventory import Inventory, Machine
    from engine.vms.literals import Value
    from engine.vms.places import DiskState
    from tui.commands._context import Context


def run_show(context: Context, inventory: Inventory, args: Namespace, *, past: bool) -> Answer:
    """Show one VM."""
    from engine.vms.findings import UNREAD_STATEMENT, check
    from engine.vms.secrets import hidden_value, masked
    from tui.commands._vms_json import finding_json, held_json, machine_json, plain_value, safe, without_secrets

    machine = inventory.machine(args.words[0])
    findings = [f for f in check(inventory) if machine.name in f.machines and f.kind != UNREAD_STATEMENT]
    held = None
    if not past:
        held = (held_by_points(context, replace(inventory, machines=(machine,))) or {}).get(machine.config)
    source = masked(machine.document).decode("utf-8", "surrogateescape")
    if args.file:
        for line in _file_lines(source):
            context.out.data(line)
    else:
        say(context, _show_lines(inventory, machine))
        if not past:
            say(context, held_lines(held))
        say(context, _remark_lines(machine, findings))
    for problem in machine.facts.problems:
        context.warn(f"line {problem.line}: {problem.text}")
    settings = {safe(key): plain_value(hidden_value(key, value)) for key, value in machine.document.values.items()}
    notes = [{"line": note.line, "text": note.text} for note in machine.document.notes]
    document = {"machine": {**machine_json(machine), "held": held_json(held)}, "settings": settings, "notes": notes,
                "findings": [finding_json(finding) for finding in findings]}
    return Answer({**without_secrets(document), "file": source})


def _file_lines(source: str) -> Iterator[str]:
    from engine.text import message

    for line in source.removeprefix("\ufeff").splitlines():
        yield message(line.expandtabs())


def _show_lines(inventory: Inventory, machine: Machine) -> Iterator[str]:
    from engine.text import human_size, shown_path
    from tui.commands._vms_json import safe

    facts = machine.facts
    yield f"{'Template' if machine.template else 'VM':<12}{machine.name}"
    for label, text in (("Domain", facts.name), ("UUID", facts.uuid), ("About", facts.description)):
        if text:
            yield f"{label:<12}{safe(text)}"
    yield f"Config      {shown_path(machine.config)}"
    yield f"Repository  {place(inventory, machine)}"
    yield f"Type        {safe(facts.kind)}"
    yield f"Memory      {amount(facts.memory, ' MiB')}" + _at_most(facts.memory, facts.max_memory, " MiB")
    yield f"CPUs        {amount(facts.vcpus)}" + _at_most(facts.vcpus, facts.max_vcpus, "")
    yield f"Disks       {human_size(machine.apparent)}, {human_size(machine.allocated)} of it on the disk"
    yield from _disk_lines(machine)
    yield from _device_lines(machine)
    yield from _other_lines(machine)


def _remark_lines(machine: Machine, findings: list[VmFinding]) -> Iterator[str]:
    from tui.commands._vms_json import safe

    for note in machine.document.notes:
        yield f"Note: line {note.line}: {safe(note.text)}"
    for finding in findings:
        yield f"{'Look into' if finding.level == 'warning' else 'Note'}: {finding.text}"
        if finding.hint:
            yield f"  {finding.hint}"


def _at_most(now: int | None, most: int | None, unit: str) -> str:
    return "" if most is None or most == now else f" (at most {most}{unit})"


def _disk_lines(machine: Machine) -> Iterator[str]:
    from engine.vms.findings import shown_target
    from tui.commands._vms_json import safe
    from tui.output import table

    rows = [[safe(disk.spec.vdev) or "?", disk.spec.access, disk.kind, _size(disk), _is_there(disk),
             shown_target(disk)] for disk in machine.disks]
    for line in table(["Device", "Mode", "Kind", "Size", "", "Target"], rows)[1:]:
        yield "  " + line


def _size(disk: DiskState) -> str:
    from engine.text import human_size

    if disk.apparent is None:
        return "-"
    own = "" if disk.allocated is None else f" ({human_size(disk.allocated)} on the disk)"
    return human_size(disk.apparent) + own


def _is_there(disk: DiskState) -> str:
    if disk.spec.problem:
        return "not understood"
    if disk.trouble:
        return "not known"
    return "MISSING" if disk.exists is False else ""


def _device_lines(machine: Machine) -> Iterator[str]:
    from tui.commands._vms_json import pair_texts, safe

    facts = machine.facts
    for nic in facts.nics:
        words = [nic.mac or "any address"] + [f"{label} {value}" for label, value in (
            ("bridge", nic.bridge), ("model", nic.model), ("type", nic.kind), ("ip", nic.ip), ("script", nic.script),
            ("name", nic.name), ("rate", nic.rate), ("backend", nic.backend)) if value]
        yield f"Network     {safe(', '.join(words + pair_texts(nic.others)))}"
    for console in facts.consoles:
        yield f"Console     {', '.join([safe(console.kind) or 'of any kind', *pair_texts(console.others)])}"
    for device in facts.pci:
        slot = f" as {device.slot}" if device.slot else ""
        yield f"PCI         {safe((device.address or device.source) + slot)}"
    for key, path in facts.host_files:
        yield f"Host file   {safe(f'{key} {path}')}"


_TOLD = frozenset({"name", "OVM_simple_name", "OVM_description", "uuid", "memory", "maxmem", "vcpus", "maxvcpus",
                   "disk", "vif", "vfb", "pci"})


def _other_lines(machine: Machine) -> Iterator[str]:
    from engine.text import message
    from engine.vms.secrets import hidden_value

    told = _TOLD.union(key for key, _ in machine.facts.host_files)
    others = sorted(key for key in machine.document.values if key not in told)
    if others:
        yield "Settings:"
    for key in others:
        yield "  " + message(f"{key} = {_written(hidden_value(key, machine.document.values[key]))}")


def _written(value: Value) -> str:
    import json

    from tui.commands._vms_json import plain_value

    plain = plain_value(value)
    return str(plain) if isinstance(plain, bool | None) else json.dumps(plain, ensure_ascii=False)
