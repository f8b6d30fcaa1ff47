"""What the VM screens say of VMs, disks, findings and coverage. Pure: the engine's values go in, texts come out.

A vm.cfg holds passwords: every text out of one passes `plain`, which hides them, before anything else is done with it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from engine.errors import UsageError
from engine.points import RestorePoint
from engine.text import printable, shown_path
from engine.vms.coverage import FILE_SYSTEM, WHOLE, Coverage, Part, Share
from engine.vms.findings import SAME_MAC, SAME_UUID, VmFinding, check, shown_target
from engine.vms.inventory import Inventory, Machine
from engine.vms.literals import Pairs, Value
from engine.vms.places import DiskState
from engine.vms.repositories import Repository
from engine.vms.secrets import hidden, hidden_value
from tui.engine_api import EngineLike
from tui.text import Segment, brief_age, plural, point_title, size, stamp

WARNING = "warning"
KINDS = {"unreadable-config": "unreadable", "unread-statement": "not read", "unlisted-place": "not listed",
         "missing-disk": "missing", "unknown-disk": "unknown", "orphan-disk": "orphan", "outside-disk": "outside",
         "shared-disk": "shared", "disk-twice": "twice", "iso-attached": "ISO left in",
         "duplicate-uuid": "same uuid", "duplicate-mac": "same MAC", "mixed-repository": "mixed"}
"""What a kind of finding is called in its column."""


_LONG = 20      # bytes of a repository's path from which on a row has no room for it


@dataclass(frozen=True, slots=True)
class Seen:
    """An inventory as the screens use it. `about` has for each vm.cfg's path the numbers of its findings, `words` what
    a filter looks through. `point` is the inventory point that holds it, None for the live system."""

    inventory: Inventory
    findings: tuple[VmFinding, ...]
    about: Mapping[bytes, tuple[int, ...]]
    words: Mapping[bytes, str]
    point: RestorePoint | None = None
    names: tuple[tuple[str, str], ...] = ()     # the paths of repositories, and what stands for them in a row

    def warnings(self, machine: Machine) -> int:
        """How many of a VM's findings are to be looked into."""
        return sum(self.findings[at].level == WARNING for at in self.about[machine.config])

    def short(self, text: str) -> str:
        """A text for a row: without the long paths of repositories, which its line has."""
        for path, name in self.names:
            text = text.replace(path, name)
        return text

    def machines(self, finding: VmFinding) -> list[Machine]:
        """The VMs that a finding is about."""
        return [m for m in self.inventory.machines if is_about(finding, m, self.inventory)]

    def again(self, machine: Machine) -> Machine | None:
        """The VM of the same vm.cfg in this inventory."""
        return next((m for m in self.inventory.machines if m.config == machine.config), None)


@dataclass(frozen=True, slots=True)
class Held:
    """What restore points hold: the parts of each VM by its vm.cfg's path, and the points by id. `why` says why that is
    not known, "" where it is; `troubles` whose points could not be asked."""

    parts: Mapping[bytes, Sequence[Part]] = field(default_factory=dict)
    points: Mapping[str, RestorePoint] = field(default_factory=dict)
    why: str = ""
    troubles: tuple[str, ...] = ()

    @classmethod
    def of(cls, found: Coverage | None, replica: Sequence[RestorePoint]) -> Held:
        """What the engine answers; `replica` are the points that it does not name."""
        if found is None:
            return cls(why="there is no store of restore points yet")
        return cls(found.parts, {point.id: point for point in (*replica, *found.points)}, troubles=found.troubles)


def look_through(inventory: Inventory, point: RestorePoint | None = None) -> Seen:
    """Return an inventory with its findings and what filters need; for a worker."""
    findings = tuple(check(inventory))
    named: dict[str, list[Machine]] = {}
    for machine in inventory.machines:
        named.setdefault(machine.name, []).append(machine)
    about: dict[bytes, list[int]] = {machine.config: [] for machine in inventory.machines}
    for at, finding in enumerate(findings):
        for machine in (m for name in dict.fromkeys(finding.machines) for m in named.get(name, ())):
            if is_about(finding, machine, inventory, alone=len(named[machine.name]) == 1):
                about[machine.config].append(at)
    places = {repository.path: place(repository) for repository in inventory.repositories}
    words = {m.config: " ".join(_searched(m, places.get(m.repository, ""))).lower() for m in inventory.machines}
    return Seen(inventory, findings, {config: tuple(found) for config, found in about.items()}, words, point,
                tuple((spot(r.path) + "/", _short(r)) for r in inventory.repositories if len(r.path) > _LONG))


def _short(repository: Repository) -> str:
    return f"{plain(repository.alias)}:" if repository.alias else f"..{spot(repository.path)[-4:]}/"


def is_about(finding: VmFinding, machine: Machine, inventory: Inventory, *, alone: bool = False) -> bool:
    """Whether a finding is about a VM. Findings name VMs; of several with one name it is the one that has the path that
    the finding names. `alone`: it is known that no other has its name."""
    if machine.name not in finding.machines:
        return False
    if alone or not finding.path or finding.kind in (SAME_UUID, SAME_MAC):
        return True
    others = [m for m in inventory.machines if m.name == machine.name]
    having = [m for m in others if finding.path in _paths(m)]
    return len(others) == 1 or not having or machine in having


def _paths(machine: Machine) -> list[bytes]:
    return [machine.config, machine.repository, *(disk.path for disk in machine.disks)]


def _searched(machine: Machine, where: str) -> Iterator[str]:
    facts = machine.facts
    yield from (machine.name, kind_word(machine), plain(facts.name), plain(facts.uuid), plain(facts.kind), where,
                spot(machine.config), plain(facts.description))
    yield from (text for disk in machine.disks for text in (shown_target(disk), plain(disk.spec.vdev), disk.kind))
    yield from (text for nic in facts.nics for text in (plain(nic.mac), plain(nic.bridge)))


def asked(engine: EngineLike, inventory: Inventory) -> Held:
    """Return what restore points hold of the VMs of an inventory; for a worker."""
    found = engine.vms_held(inventory)
    return Held.of(found, _replica(engine, found))


def _replica(engine: EngineLike, found: Coverage | None) -> Sequence[RestorePoint]:
    """The points of the replica; none where only the storage has points, and there is no store."""
    try:
        return engine.points() if found is not None else ()
    except UsageError:
        return ()


# --- words ---------------------------------------------------------------------------------------------------


def plain(text: str) -> str:
    """Return a text of a vm.cfg as it can be shown: printable, without secrets."""
    return printable(hidden(text))


def spot(path: bytes) -> str:
    """Return a path below the root as it can be shown."""
    return hidden(shown_path(path))


def spec_of(machine: Machine) -> str:
    """Return what names a VM to the engine without doubt: the path of its vm.cfg."""
    return "/" + os.fsdecode(machine.config)


def called(point: RestorePoint) -> str:
    """Return what a point is called in a few words: by its number, by its time where it has none."""
    if point.number:
        return f"point {point.number}"
    return "point of " + point.created.astimezone().strftime("%Y-%m-%d %H:%M")


def titled(point: RestorePoint, now: datetime) -> list[Segment]:
    """Return the one-line name of a point: number (id where it has none), time, age."""
    if point.number:
        return point_title(point, now)
    return [("point ", "head"), (stamp(point.created), "head"), (f"  {brief_age(point.age(now))}", "dim")]


def kind_word(machine: Machine) -> str:
    """What it is."""
    return "template" if machine.template else "VM"


def amount(number: int | None, unit: str = "") -> str:
    """A number with its unit, ``-`` where the vm.cfg does not say."""
    return "-" if number is None else f"{number:,}{unit}"


def place(repository: Repository) -> str:
    """What a repository is called: by its alias where it has one."""
    return plain(repository.alias) or spot(repository.path)


def summary(inventory: Inventory) -> str:
    """How many VMs, templates, disks and repositories there are."""
    templates = sum(machine.template for machine in inventory.machines)
    disks = sum(not disk.spec.cdrom for machine in inventory.machines for disk in machine.disks)
    return (f"{plural(len(inventory.machines) - templates, 'VM')}, {plural(templates, 'template')}, "
            f"{plural(disks, 'disk')} in {plural(len(inventory.repositories), 'repository', 'repositories')}")


def share(parts: Sequence[Part]) -> str:
    """How many parts are held, of how many."""
    return f"{sum(part.held for part in parts)}/{len(parts)}"


def disk_state(disk: DiskState) -> Segment:
    """What there is of a disk, in a word or two; "" for what is in order."""
    if disk.spec.problem:
        return ("not understood", "warn")
    if disk.trouble:
        return ("not known", "warn")
    return ("MISSING", "bad") if disk.exists is False else ("", "")


def disk_line(disk: DiskState) -> list[Segment]:
    """A disk in full."""
    spec, (state, look) = disk.spec, disk_state(disk)
    parts: list[Segment] = [(plain(spec.vdev) or "?", "strong"), (f"  {shown_target(disk)}", "")]
    parts.append((f"  {disk.kind}, {spec.access}{', removable' if spec.cdrom else ''}, {spec.format or 'raw'}", "dim"))
    if disk.apparent is not None:
        own = "" if disk.allocated is None else f", {size(disk.allocated)} of it on the disk"
        parts.append((f"  {size(disk.apparent)}{own}", ""))
    why = spec.problem or disk.trouble
    if state:
        parts.append((f"  {state}{': ' + why if why else ''}", look))
    leads = spot(disk.path)
    if disk.path and leads != shown_target(disk):
        parts.append((f"  it leads to {leads}", "dim"))
    return [*parts, *_parameters(disk)]


def _parameters(disk: DiskState) -> Iterator[Segment]:
    spec = disk.spec
    named = [("script", spec.script), ("backend", spec.backend), ("backendtype", spec.backendtype), *spec.others]
    texts = [_pair(key, value) for key, value in named if value or (key, value) in spec.others]
    if texts:
        yield (f"  {', '.join(texts)}", "dim")


def _pair(key: str, value: str) -> str:
    return plain(f"{key}={hidden_value(key, value)}" if value else key)


def best(part: Part) -> Share:
    """What says most of a part that is held: the newest that has it as it is now, where the newest of all is a snapshot
    of the storage, into which nobody has looked; else that."""
    newest = part.shares[0] if part.shares else Share("", part.points, part.newest, "", part.same)
    now = (share for share in part.shares if share.same)
    return next(now, newest) if newest.same is None else newest


def versions_from(part: Part, held: Held) -> RestorePoint | None:
    """The point to begin with in the history of a part: of the replica, whose catalog knows it, where that has one."""
    names = [share.newest for share in part.shares if share.backend == "replica"]
    return held.points.get((names or [part.newest])[0])


def part_state(part: Part, held: Held) -> Segment:
    """Whether points hold a part, and as it is now or as it was."""
    if not part.held:
        return (f"NOT HELD: {part.why}", "bad" if part.why.startswith("no ") else "warn")
    share = best(part)
    point = held.points.get(share.newest)
    named = called(point) if point is not None else share.newest
    if share.same is not None:
        return (f"{named}, as it is now", "good") if share.same else (f"{named}, as it was then", "")
    named = f"{share.backend} {point.created.astimezone():%Y-%m-%d %H:%M}" if point is not None else named
    return f"{named}, {'whole disk' if share.what == WHOLE else 'its volume'}", ""


def part_line(part: Part, held: Held, machine: Machine, now: float) -> list[Segment]:
    """What is held of a part, in full."""
    state, look = part_state(part, held)
    parts: list[Segment] = [(machine.name, "strong"), (f"  {plain(part.what)}  ", ""), (state, look)]
    share = best(part) if part.held else None
    point = held.points.get(share.newest) if share is not None else None
    if point is not None:
        parts.append((f"  {brief_age(max(0.0, now - point.created.timestamp()))}, in {plural(part.points, 'point')}",
                      "dim"))
    if len(part.shares) > 1:
        parts.append(("  " + ", ".join(f"{one.backend} {one.points}" for one in part.shares), "dim"))
    if share is not None and share.what == FILE_SYSTEM:
        parts.append(("  a snapshot of the file system that it lies on, not looked into", "dim"))
    return [*parts, (f"  {spot(part.path)}", "dim")] if part.path else parts


# --- the facts of a VM ---------------------------------------------------------------------------------------

_TOLD = frozenset({"name", "OVM_simple_name", "OVM_description", "uuid", "memory", "maxmem", "vcpus", "maxvcpus",
                   "disk", "vif", "vfb", "pci"})


def fact_lines(machine: Machine, where: str) -> list[Segment]:
    """Return everything a VM's vm.cfg says but for its disks, the important first, each with its label."""
    facts = machine.facts
    rows: list[Segment] = [_labelled(kind_word(machine).capitalize() if machine.template else "VM", machine.name,
                                     "strong")]
    rows += [_labelled(label, plain(text)) for label, text in (
        ("Domain", facts.name), ("UUID", facts.uuid), ("About", facts.description)) if text]
    rows += [_labelled("Config", spot(machine.config)), _labelled("Repository", where),
             _labelled("Type", plain(facts.kind)),
             _labelled("Memory", amount(facts.memory, " MiB") + _most(facts.memory, facts.max_memory, " MiB")),
             _labelled("CPUs", amount(facts.vcpus) + _most(facts.vcpus, facts.max_vcpus, "")),
             _labelled("Disks", f"{size(machine.apparent)}, {size(machine.allocated)} of it on the disk")]
    rows += _devices(machine)
    rows += [_labelled("Not read", f"line {problem.line}: {plain(problem.text)}", "warn") for problem in facts.problems]
    rows += [_labelled("Note", f"line {note.line}: {plain(note.text)}", "dim") for note in machine.document.notes]
    told = _TOLD.union(key for key, _ in facts.host_files)
    values = machine.document.values
    rows += [_labelled("Setting", plain(f"{key} = {written(hidden_value(key, values[key]))}"), "dim")
             for key in sorted(key for key in values if key not in told)]
    return rows


def _labelled(label: str, text: str, look: str = "") -> Segment:
    return (f"{label:<11}{text}", look)


def _most(now: int | None, most: int | None, unit: str) -> str:
    return "" if most is None or most == now else f" (at most {amount(most, unit)})"


def _devices(machine: Machine) -> Iterator[Segment]:
    facts = machine.facts
    for nic in facts.nics:
        words = [nic.mac or "any address"] + [f"{label} {value}" for label, value in (
            ("bridge", nic.bridge), ("model", nic.model), ("type", nic.kind), ("ip", nic.ip), ("script", nic.script),
            ("name", nic.name), ("rate", nic.rate), ("backend", nic.backend)) if value]
        yield _labelled("Network", ", ".join([*map(plain, words), *(_pair(*pair) for pair in nic.others)]))
    for console in facts.consoles:
        yield _labelled("Console", ", ".join([plain(console.kind) or "of any kind",
                                              *(_pair(*pair) for pair in console.others)]))
    for device in facts.pci:
        slot = f" as {device.slot}" if device.slot else ""
        yield _labelled("PCI", plain((device.address or device.source) + slot))
    for key, path in facts.host_files:
        yield _labelled("Host file", plain(f"{key} {path}"))


def written(value: Value) -> str:
    """Return a value (without secrets) the way it is written in a vm.cfg."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, Pairs):
        return "{" + ", ".join(f"{written(key)}: {written(item)}" for key, item in value.items) + "}"
    return f"'{value}'" if isinstance(value, str) else str(value)
