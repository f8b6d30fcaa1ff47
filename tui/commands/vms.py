"""`vms`, `vms show VM` and `vms check`: the VMs and templates of a Xen or Oracle VM server, and what is wrong with
them."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from engine.errors import UsageError
from tui.commands import Answer, Command
from tui.commands._args import no_nul

if TYPE_CHECKING:
    from engine.vms.findings import VmFinding
    from engine.vms.inventory import Inventory, Machine
    from engine.vms.literals import Value
    from engine.vms.places import DiskState
    from tui.commands._context import Context

_DETAILS = ("`vms` (or `vms list`) shows every VM and template of the repositories with its disks' sizes, `vms show "
            "VM` all that one's vm.cfg says, passwords hidden, and `vms check` what is wrong: disks that are missing, "
            "shared, or belong to no VM, ids that are there twice, and so on; exit code 3 when there is such a thing. "
            "VM is a name, a uuid, a unique beginning of either, or the path of a vm.cfg. Nothing is changed, run or "
            "mounted.")
_WORDS = ("list", "show", "check")


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("what", metavar="list|show|check", nargs="?", default="list", help="default: list")
    parser.add_argument("vm", metavar="VM", nargs="?", help="for `show`: the VM or template")
    parser.add_argument("--repository", metavar="DIR", action="append",
                        help="look in this directory (may be given again; default: vms.repositories of the "
                             "configuration, or the usual places of Oracle VM and Xen)")
    parser.add_argument("--file", action="store_true", help="for `show`: the vm.cfg itself, passwords hidden")


def run(context: Context, args: Namespace) -> Answer:
    """Show the VMs, one of them, or what is wrong with them."""
    if args.what not in _WORDS:
        raise UsageError(f"there is no `vms {args.what}`", hint="use `vms list`, `vms show VM` or `vms check`")
    if (args.what == "show") != (args.vm is not None) or (args.file and args.what != "show"):
        raise UsageError("`vms show` takes a VM (and --file), `vms list` and `vms check` take none",
                         hint="see `rollpoint vms --help`")
    inventory = _inventory(context, args.repository)
    if args.what == "show":
        return _show(context, inventory, args)
    return _list(context, inventory) if args.what == "list" else _check(context, inventory)


def _inventory(context: Context, given: list[str] | None) -> Inventory:
    from engine.vms.inventory import scan

    root = context.config.root
    places = tuple(_in_root(no_nul(name), root) for name in given) if given else context.config.vms.repositories
    with context.job(keep_output=False) as job:
        return scan(root, places, job)


def _in_root(name: str, root: str) -> str:
    """A directory as the root sees it; one that was typed with the root before it (completion does that) too."""
    path = os.path.abspath(name)
    if root != "/" and (path + "/").startswith(root.rstrip("/") + "/"):
        return path[len(root.rstrip("/")):] or "/"
    return path


def _hidden(value: Any) -> Any:
    """Hide secrets once more in all texts of a document: no field of it may show one, whatever it is made of."""
    from engine.vms.secrets import hidden

    if isinstance(value, str):
        return hidden(value)
    if isinstance(value, dict):
        return {key: _hidden(item) for key, item in value.items()}
    return [_hidden(item) for item in value] if isinstance(value, list) else value


def _say(context: Context, lines: Iterator[str]) -> None:
    from engine.vms.secrets import hidden

    for line in lines:
        context.out.data(hidden(line))


# --- list ---------------------------------------------------------------------------------------------------

def _list(context: Context, inventory: Inventory) -> Answer:
    _say(context, _list_lines(inventory))
    for finding in _gaps(inventory):
        context.warn(finding.text)
    return Answer(_hidden({"repositories": [_repository_json(r) for r in inventory.repositories],
                           "machines": [_machine_json(m) for m in inventory.machines],
                           "unread": [{**_path(u.config), "why": _text(u.why)} for u in inventory.unread],
                           "skipped": [_path(path)["path"] for path in inventory.skipped]}))


def _gaps(inventory: Inventory) -> list[VmFinding]:
    """What keeps the list from being whole."""
    from engine.vms.findings import UNLISTED, UNREADABLE, check

    return [finding for finding in check(inventory) if finding.kind in (UNREADABLE, UNLISTED)]


def _list_lines(inventory: Inventory) -> Iterator[str]:
    from engine.text import human_size
    from tui.output import table

    rows = []
    for machine in inventory.machines:
        facts = machine.facts
        rows.append([machine.name, "template" if machine.template else "VM", _amount(facts.memory, " MiB"),
                     _amount(facts.vcpus), _text(facts.kind), str(len(facts.nics)), str(len(facts.disks)),
                     human_size(machine.apparent), human_size(machine.allocated), _place(inventory, machine)])
    if rows:
        yield from table(["Name", "Kind", "Memory", "CPUs", "Type", "Nets", "Disks", "Size", "On disk", "Repository"],
                         rows, right=(2, 3, 5, 6, 7, 8))
    yield _summary(inventory) + "."


def _summary(inventory: Inventory) -> str:
    if not inventory.repositories:
        return "No repository of VMs is at the usual places: name one with --repository, or under vms.repositories"
    templates = sum(machine.template for machine in inventory.machines)
    disks = sum(not disk.spec.cdrom for machine in inventory.machines for disk in machine.disks)
    return (f"{_count(len(inventory.machines) - templates, 'VM')} and {_count(templates, 'template')} with "
            f"{_count(disks, 'disk')} in {_count(len(inventory.repositories), 'repository', 'repositories')}")


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _amount(number: int | None, unit: str = "") -> str:
    return "-" if number is None else f"{number}{unit}"


def _text(text: str) -> str:
    from engine.text import printable
    from engine.vms.secrets import hidden

    return printable(hidden(text))


def _place(inventory: Inventory, machine: Machine) -> str:
    from engine.text import printable, shown_path

    found = next(r for r in inventory.repositories if r.path == machine.repository)
    return printable(found.alias) or shown_path(found.path)


# --- show ---------------------------------------------------------------------------------------------------

def _show(context: Context, inventory: Inventory, args: Namespace) -> Answer:
    from engine.vms.findings import UNREAD_STATEMENT, check
    from engine.vms.secrets import hidden_value, masked

    machine = inventory.machine(args.vm)
    findings = [f for f in check(inventory) if machine.name in f.machines and f.kind != UNREAD_STATEMENT]
    source = masked(machine.document).decode("utf-8", "surrogateescape")
    if args.file:
        for line in _file_lines(source):
            context.out.data(line)
    else:
        _say(context, _show_lines(inventory, machine, findings))
    for problem in machine.facts.problems:
        context.warn(f"line {problem.line}: {problem.text}")
    settings = {_text(key): _plain(hidden_value(key, value)) for key, value in machine.document.values.items()}
    notes = [{"line": note.line, "text": note.text} for note in machine.document.notes]
    document = {"machine": _machine_json(machine), "settings": settings, "notes": notes,
                "findings": [_finding_json(finding) for finding in findings]}
    return Answer({**_hidden(document), "file": source})


def _file_lines(source: str) -> Iterator[str]:
    from engine.text import message

    for line in source.removeprefix("\ufeff").splitlines():
        yield message(line.expandtabs())


def _show_lines(inventory: Inventory, machine: Machine, findings: list[VmFinding]) -> Iterator[str]:
    from engine.text import human_size, shown_path

    facts = machine.facts
    yield f"{'Template' if machine.template else 'VM':<12}{machine.name}"
    for label, text in (("Domain", facts.name), ("UUID", facts.uuid), ("About", facts.description)):
        if text:
            yield f"{label:<12}{_text(text)}"
    yield f"Config      {shown_path(machine.config)}"
    yield f"Repository  {_place(inventory, machine)}"
    yield f"Type        {_text(facts.kind)}"
    yield f"Memory      {_amount(facts.memory, ' MiB')}" + _at_most(facts.memory, facts.max_memory, " MiB")
    yield f"CPUs        {_amount(facts.vcpus)}" + _at_most(facts.vcpus, facts.max_vcpus, "")
    yield f"Disks       {human_size(machine.apparent)}, {human_size(machine.allocated)} of it on the disk"
    yield from _disk_lines(machine)
    yield from _device_lines(machine)
    yield from _other_lines(machine)
    for note in machine.document.notes:
        yield f"Note: line {note.line}: {_text(note.text)}"
    for finding in findings:
        yield f"{'Look into' if finding.level == 'warning' else 'Note'}: {finding.text}"
        if finding.hint:
            yield f"  {finding.hint}"


def _at_most(now: int | None, most: int | None, unit: str) -> str:
    return "" if most is None or most == now else f" (at most {most}{unit})"


def _disk_lines(machine: Machine) -> Iterator[str]:
    from engine.vms.findings import shown_target
    from tui.output import table

    rows = [[_text(disk.spec.vdev) or "?", disk.spec.access, disk.kind, _size(disk), _is_there(disk),
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
    facts = machine.facts
    for nic in facts.nics:
        words = [nic.mac or "any address"] + [f"{label} {value}" for label, value in (
            ("bridge", nic.bridge), ("model", nic.model), ("type", nic.kind), ("ip", nic.ip), ("script", nic.script),
            ("name", nic.name), ("rate", nic.rate), ("backend", nic.backend)) if value]
        yield f"Network     {_text(', '.join(words + _pairs(nic.others)))}"
    for console in facts.consoles:
        yield f"Console     {', '.join([_text(console.kind) or 'of any kind', *_pairs(console.others)])}"
    for device in facts.pci:
        slot = f" as {device.slot}" if device.slot else ""
        yield f"PCI         {_text((device.address or device.source) + slot)}"
    for key, path in facts.host_files:
        yield f"Host file   {_text(f'{key} {path}')}"


def _pairs(pairs: tuple[tuple[str, str], ...]) -> list[str]:
    from engine.vms.secrets import hidden_value

    return [_text(f"{key}={hidden_value(key, value)}" if value else key) for key, value in pairs]


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

    plain = _plain(value)
    return str(plain) if isinstance(plain, bool | None) else json.dumps(plain, ensure_ascii=False)


def _plain(value: Value) -> Any:
    """A value as JSON can hold it."""
    from engine.vms.literals import Pairs

    if isinstance(value, str):
        return _text(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Pairs):
        return {str(_plain(key)): _plain(item) for key, item in value.items}
    return value


# --- check --------------------------------------------------------------------------------------------------

def _check(context: Context, inventory: Inventory) -> Answer:
    from engine.vms.findings import check

    findings = check(inventory)
    told: set[str] = set()
    for finding in findings:
        if finding.level == "warning":
            context.warn(finding.text)
            if finding.hint and finding.hint not in told:
                context.out.note(f"  {finding.hint}")
                told.add(finding.hint)
        else:
            context.out.info(f"note: {finding.text}")
    count = sum(finding.level == "warning" for finding in findings)
    said = "nothing to look into" if not count else f"{_count(count, 'thing')} to look into"
    context.out.data(f"{_summary(inventory)}" + (f": {said}." if inventory.repositories else "."))
    return Answer(_hidden({"repositories": [_repository_json(r) for r in inventory.repositories],
                           "machines": len(inventory.machines), "complete": inventory.complete,
                           "findings": [_finding_json(finding) for finding in findings]}))


# --- JSON ---------------------------------------------------------------------------------------------------

def _path(path: bytes) -> dict[str, str]:
    from engine.text import json_path
    from engine.vms.secrets import hidden

    text = os.fsdecode(path)
    return json_path(path) if hidden(text) == text else {"path": "/" + _text(text)}


def _repository_json(repository: Any) -> dict[str, Any]:
    return {**_path(repository.path), "kind": repository.kind, "alias": _text(repository.alias),
            "troubles": [_text(trouble) for trouble in repository.troubles]}


def _machine_json(machine: Machine) -> dict[str, Any]:
    facts = machine.facts
    return {
        "name": machine.name, "domain": _text(facts.name), "simple_name": _text(facts.title), "uuid": _text(facts.uuid),
        "template": machine.template, "config": _path(machine.config), "repository": _path(machine.repository)["path"],
        "type": _text(facts.kind), "memory_mib": facts.memory, "max_memory_mib": facts.max_memory,
        "vcpus": facts.vcpus, "max_vcpus": facts.max_vcpus, "description": _text(facts.description),
        "apparent_bytes": machine.apparent, "allocated_bytes": machine.allocated,
        "disks": [_disk_json(disk) for disk in machine.disks],
        "networks": [{"mac": _text(n.mac), "bridge": _text(n.bridge), "model": _text(n.model), "type": _text(n.kind),
                      "ip": _text(n.ip), "script": _text(n.script), "name": _text(n.name), "others": _pairs(n.others),
                      "problem": n.problem} for n in facts.nics],
        "consoles": [{"type": _text(c.kind), "others": _pairs(c.others)} for c in facts.consoles],
        "pci": [{"address": _text(d.address), "slot": _text(d.slot), "others": _pairs(d.others), "problem": d.problem}
                for d in facts.pci],
        "host_files": [{"key": key, "path": _text(path)} for key, path in facts.host_files],
        "problems": [{"line": p.line, "key": _text(p.key), "text": _text(p.text)} for p in facts.problems],
    }


def _disk_json(disk: DiskState) -> dict[str, Any]:
    spec = disk.spec
    return {
        "device": _text(spec.vdev), "access": spec.access, "cdrom": spec.cdrom, "kind": disk.kind,
        "target": _text(spec.target), "format": spec.format or "raw", "prefixes": list(spec.prefixes),
        "backend": _text(spec.backend), "backendtype": _text(spec.backendtype), "script": _text(spec.script),
        "others": _pairs(spec.others), "exists": disk.exists, "apparent_bytes": disk.apparent,
        "allocated_bytes": disk.allocated, "trouble": _text(disk.trouble), "problem": spec.problem,
        "repository": _path(disk.repository)["path"] if disk.repository else None,
    }


def _finding_json(finding: VmFinding) -> dict[str, Any]:
    return {"kind": finding.kind, "level": finding.level, "text": finding.text, "hint": finding.hint,
            "machines": list(finding.machines), **(_path(finding.path) if finding.path else {"path": None})}


COMMANDS = (Command("vms", "the VMs of a Xen or Oracle VM server, and what is wrong with them", 107, configure, run,
                    _DETAILS),)
