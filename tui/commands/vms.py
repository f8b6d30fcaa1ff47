"""`vms`, `vms show VM`, `vms check`, `vms diff DIR` and `vms recreate VM`: the VMs and templates of a Xen or Oracle VM
server, what is wrong with them, what became of them, and what makes one anew."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from engine.errors import RollpointError, UsageError
from tui.commands import Answer, Command
from tui.commands._args import no_nul

if TYPE_CHECKING:
    from engine.vms.coverage import Part
    from engine.vms.findings import VmFinding
    from engine.vms.inventory import Inventory, Machine
    from engine.vms.literals import Value
    from engine.vms.places import DiskState
    from tui.commands._context import Context

_DETAILS = ("`vms` (or `vms list`) shows every VM and template of the repositories with its disks' sizes, `vms show "
            "VM` all that one's vm.cfg says, passwords hidden, and `vms check` what is wrong: disks that are missing, "
            "shared, or belong to no VM, ids that are there twice, and so on; exit code 3 when there is such a thing. "
            "`vms recreate VM` prints the commands for Oracle VM Manager's CLI, or a file for `xl create`, that make "
            "it anew; what a vm.cfg does not say stands there as @WHAT@ and on stderr (exit code 3). "
            "`vms diff DIR` says what became of the VMs since the state below DIR, which is a mounted or restored "
            "point. VM is a name, a uuid, a unique beginning of either, or the path of a vm.cfg. Nothing is changed, "
            "run or mounted.")
_WORDS = ("list", "show", "check", "diff", "recreate")


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("what", metavar="list|show|check|diff|recreate", nargs="?", default="list",
                        help="default: list")
    parser.add_argument("vm", metavar="VM|DIR", nargs="?",
                        help="for `show` and `recreate`: the VM or template; for `diff`: the root of the older state")
    parser.add_argument("--repository", metavar="DIR", action="append",
                        help="look in this directory (may be given again; default: vms.repositories of the "
                             "configuration, or the usual places of Oracle VM and Xen)")
    parser.add_argument("--file", action="store_true", help="for `show`: the vm.cfg itself, passwords hidden")
    parser.add_argument("--for", dest="target", metavar="3.4|3.3|3.2|xl",
                        help="for `recreate`: the release of Oracle VM Manager (default: 3.4), or xl")
    parser.add_argument("--network", metavar="BRIDGE=NAME", action="append",
                        help="for `recreate`: what the Manager calls a bridge's network (may be given again)")
    parser.add_argument("--pool", metavar="NAME", help="for `recreate`: the server pool")


def run(context: Context, args: Namespace) -> Answer:
    """Show the VMs, one of them, what is wrong with them, or what makes one anew."""
    if args.what not in _WORDS:
        raise UsageError(f"there is no `vms {args.what}`",
                         hint="use `vms list`, `vms show VM`, `vms check`, `vms diff DIR` or `vms recreate VM`")
    if (args.what in ("list", "check")) == (args.vm is not None) or (args.file and args.what != "show"):
        raise UsageError("`vms show` (with --file) and `vms recreate` take a VM, `vms diff` a DIR, the others nothing",
                         hint="see `rollpoint vms --help`")
    if args.what != "recreate" and (args.target or args.network or args.pool):
        raise UsageError("--for, --network and --pool belong to `vms recreate`", hint="see `rollpoint vms --help`")
    inventory = _inventory(context, args.repository, context.config.root)
    if args.what in ("list", "check"):
        return _list(context, inventory) if args.what == "list" else _check(context, inventory)
    work = {"show": _show, "diff": _diff, "recreate": _recreate}[args.what]
    return work(context, inventory, args)


def _inventory(context: Context, given: list[str] | None, root: str) -> Inventory:
    from engine.vms.inventory import scan

    places = tuple(_in_root(no_nul(name), root) for name in given) if given else context.config.vms.repositories
    with context.job(keep_output=False) as job:
        return scan(root, places, job)


def _in_root(name: str, root: str) -> str:
    """A directory as the root sees it; one that was typed with the root before it (completion does that) too."""
    path = os.path.abspath(name)
    if root != "/" and (path + "/").startswith(root.rstrip("/") + "/"):
        return path[len(root.rstrip("/")):] or "/"
    return path


def _say(context: Context, lines: Iterator[str]) -> None:
    from engine.vms.secrets import hidden

    for line in lines:
        context.out.data(hidden(line))


# --- what restore points hold -------------------------------------------------------------------------------

def _held(context: Context, machines: Sequence[Machine]) -> dict[bytes, list[Part]] | None:
    """What of each VM restore points hold, by its configuration's path; None where there is no store to ask."""
    from engine.vms.coverage import parts, paths

    try:
        if not context.engine.status().exists:
            return None
        versions = context.engine.histories(paths(machines))
    except RollpointError as error:
        context.warn(f"what restore points hold of the VMs cannot be said: {error.message}")
        return None
    root = os.fsencode(context.config.root)
    return {machine.config: parts(machine, versions, root) for machine in machines}


def _held_lines(found: list[Part] | None) -> Iterator[str]:
    from tui.commands._vms_json import safe

    if found is None:
        yield "Held        nothing: there are no restore points here"
        return
    yield f"Held        {_share(found)} parts are in restore points"
    for part in found:
        points = f"{_count(part.points, 'point')}, the newest {part.newest}, "
        said = points + ("as it is now" if part.same else "as it was then") if part.held else f"NOT HELD: {part.why}"
        yield f"  {safe(part.what)}: {said}"


def _share(found: list[Part]) -> str:
    return f"{sum(part.held for part in found)} of {len(found)}"


# --- list ---------------------------------------------------------------------------------------------------

def _list(context: Context, inventory: Inventory) -> Answer:
    from tui.commands._vms_json import held_json, machine_json, path_json, repository_json, safe, without_secrets

    held = _held(context, inventory.machines)
    _say(context, _list_lines(inventory, held))
    for finding in _gaps(inventory):
        context.warn(finding.text)
    for path in inventory.skipped:
        context.out.debug(f"{path_json(path)['path']} is not about a VM")
    machines = [{**machine_json(m), "held": held_json(held[m.config] if held else None)} for m in inventory.machines]
    return Answer(without_secrets({
        "repositories": [repository_json(r) for r in inventory.repositories], "machines": machines,
        "unread": [{**path_json(u.config), "why": safe(u.why)} for u in inventory.unread],
        "skipped": [path_json(path)["path"] for path in inventory.skipped]}))


def _gaps(inventory: Inventory) -> list[VmFinding]:
    """What keeps the list from being whole."""
    from engine.vms.findings import UNLISTED, UNREADABLE, check

    return [finding for finding in check(inventory) if finding.kind in (UNREADABLE, UNLISTED)]


def _list_lines(inventory: Inventory, held: dict[bytes, list[Part]] | None) -> Iterator[str]:
    from engine.text import human_size
    from tui.commands._vms_json import safe
    from tui.output import table

    rows = []
    for machine in inventory.machines:
        facts = machine.facts
        rows.append([machine.name, "template" if machine.template else "VM", _amount(facts.memory, " MiB"),
                     _amount(facts.vcpus), safe(facts.kind), str(len(facts.nics)), str(len(facts.disks)),
                     human_size(machine.apparent), human_size(machine.allocated),
                     _share(held[machine.config]) if held else "-", _place(inventory, machine)])
    if rows:
        yield from table(["Name", "Kind", "Memory", "CPUs", "Type", "Nets", "Disks", "Size", "On disk", "Held",
                          "Repository"],
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


def _place(inventory: Inventory, machine: Machine) -> str:
    from engine.text import printable, shown_path

    found = next(r for r in inventory.repositories if r.path == machine.repository)
    return printable(found.alias) or shown_path(found.path)


# --- show ---------------------------------------------------------------------------------------------------

def _show(context: Context, inventory: Inventory, args: Namespace) -> Answer:
    from engine.vms.findings import UNREAD_STATEMENT, check
    from engine.vms.secrets import hidden_value, masked
    from tui.commands._vms_json import finding_json, held_json, machine_json, plain_value, safe, without_secrets

    machine = inventory.machine(args.vm)
    findings = [f for f in check(inventory) if machine.name in f.machines and f.kind != UNREAD_STATEMENT]
    held = (_held(context, [machine]) or {}).get(machine.config)
    source = masked(machine.document).decode("utf-8", "surrogateescape")
    if args.file:
        for line in _file_lines(source):
            context.out.data(line)
    else:
        _say(context, _show_lines(inventory, machine))
        _say(context, _held_lines(held))
        _say(context, _remark_lines(machine, findings))
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
    yield f"Repository  {_place(inventory, machine)}"
    yield f"Type        {safe(facts.kind)}"
    yield f"Memory      {_amount(facts.memory, ' MiB')}" + _at_most(facts.memory, facts.max_memory, " MiB")
    yield f"CPUs        {_amount(facts.vcpus)}" + _at_most(facts.vcpus, facts.max_vcpus, "")
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


# --- check --------------------------------------------------------------------------------------------------

def _check(context: Context, inventory: Inventory) -> Answer:
    from engine.vms.findings import check
    from tui.commands._vms_json import finding_json, repository_json, without_secrets

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
    return Answer(without_secrets({
        "repositories": [repository_json(r) for r in inventory.repositories], "machines": len(inventory.machines),
        "complete": inventory.complete, "findings": [finding_json(finding) for finding in findings]}))


# --- diff ---------------------------------------------------------------------------------------------------

def _diff(context: Context, inventory: Inventory, args: Namespace) -> Answer:
    from engine.vms.changes import compare

    root = os.path.abspath(no_nul(args.vm))
    if not os.path.isdir(root):
        raise UsageError(f"{args.vm!r} is no directory", hint="`rollpoint mount POINT DIR` makes a point one")
    older = _inventory(context, args.repository, root)
    changes = compare(older, inventory)
    _say(context, (change.text for change in changes))
    for side, name in ((older, "the older state"), (inventory, "the present state")):
        for finding in _gaps(side):
            context.warn(f"{name}: {finding.text}")
    count = _count(len(changes), "difference") if changes else "no difference"
    context.out.info(f"{count} between {len(older.machines)} VMs and templates then and {len(inventory.machines)} now.")
    return Answer({"changes": [{"kind": c.kind, "machine": c.machine, "text": c.text} for c in changes]})


# --- recreate -----------------------------------------------------------------------------------------------

def _recreate(context: Context, inventory: Inventory, args: Namespace) -> Answer:
    from engine.vms.recreate import TARGETS, script

    target = args.target or TARGETS[0]
    if target not in TARGETS:
        raise UsageError(f"there is no script for {target!r}", hint=f"--for takes one of: {', '.join(TARGETS)}")
    networks = dict(_network(given) for given in args.network or ())
    made = script(inventory.machine(args.vm), target, networks, args.pool or "")
    for line in made.lines:
        context.out.data(line)
    for sentence in made.unknown:
        context.warn(sentence)
    return Answer({"for": target, "script": made.lines, "unknown": made.unknown})


def _network(given: str) -> tuple[str, str]:
    bridge, equals, name = given.partition("=")
    if not equals or not bridge or not name:
        raise UsageError(f"--network takes BRIDGE=NAME, not {given!r}", hint="for example --network 10238073c2=prod")
    return bridge, name


COMMANDS = (Command("vms", "the VMs of a Xen or Oracle VM server, and what is wrong with them", 107, configure, run,
                    _DETAILS),)
