"""The rows of the VM screens: the tree of repositories, what points hold, findings, disks, changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.cells import cell_len

from engine.points import RestorePoint
from engine.vmpoints.plans import VmVersion
from engine.vms.changes import ADDED, REMOVED, VmChange
from engine.vms.coverage import Part
from engine.vms.findings import VmFinding, shown_target
from engine.vms.inventory import Machine
from engine.vms.places import DiskState
from engine.vms.repositories import Repository
from tui.text import Segment, fit, plural, size
from tui.vmwords import (
    KINDS,
    WARNING,
    Held,
    Seen,
    amount,
    called,
    disk_line,
    disk_state,
    kind_word,
    part_line,
    part_state,
    place,
    plain,
    share,
    spot,
    titled,
)
from tui.widgets.pointrows import PointRows
from tui.widgets.rows import Row

NARROW, WIDE = 60, 110


def wanted(words: Sequence[str], text: str) -> bool:
    """Whether a text (in small letters) has all words of a filter."""
    return all(word in text for word in words)


class AllRows:
    """The base of row sources all of whose rows can be chosen."""

    def __len__(self) -> int:
        return 0

    def selectable(self, index: int) -> bool:
        """All rows are."""
        return True

    def heading(self, width: int) -> Row | None:
        """None."""
        return None


# --- the tree ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Node:
    """A row of the tree: a repository (no `machine`), a VM, or one disk of it."""

    repository: Repository
    machine: Machine | None = None
    disk: int | None = None

    @property
    def key(self) -> tuple[bytes, bytes, int]:
        """What is the same for a row of another scan."""
        return (self.repository.path, self.machine.config if self.machine is not None else b"",
                -1 if self.disk is None else self.disk)


class MachineRows(AllRows):
    """The tree: repositories that are not `closed`, below them their VMs and templates that have all `words`, below
    those that are `opened` their disks; with `only` just those VMs. `amount` is how many VMs and templates there are
    in all."""

    def __init__(self, seen: Seen, held: Held | None, closed: Collection[bytes], opened: Collection[bytes],
                 words: Sequence[str] = (), *, only: Sequence[Machine] | None = None) -> None:
        self.seen, self._held, self._only = seen, held, only
        self._closed, self._opened = closed, opened
        self._sizes = Counter(machine.repository for machine in seen.inventory.machines)
        self.amount: int | None = len(seen.inventory.machines)
        self.nodes = list(self._rows(words))
        self._kept = {node.key: index for index, node in enumerate(self.nodes)}

    def _rows(self, words: Sequence[str]) -> Iterator[Node]:
        below: dict[bytes, list[Machine]] = {}
        for machine in self.seen.inventory.machines if self._only is None else self._only:
            if wanted(words, self.seen.words[machine.config]):
                below.setdefault(machine.repository, []).append(machine)
        for repository in self.seen.inventory.repositories:
            machines = below.get(repository.path, [])
            if machines or not (words or self._only is not None):
                yield Node(repository)
            if repository.path in self._closed and not words:
                continue
            for machine in machines:
                yield Node(repository, machine)
                if machine.config in self._opened:
                    yield from (Node(repository, machine, at) for at in range(len(machine.disks)))

    def __len__(self) -> int:
        return len(self.nodes)

    def selectable(self, index: int) -> bool:
        """All rows are; where only some VMs are listed, these."""
        return self._only is None or self.nodes[index].machine is not None

    def node(self, index: int) -> Node | None:
        """The row, None beyond the end."""
        return self.nodes[index] if 0 <= index < len(self.nodes) else None

    def index_of(self, node: Node) -> int:
        """The row of a node, or that of what is above it."""
        repository, machine, _disk = node.key
        for key in (node.key, (repository, machine, -1), (repository, b"", -1)):
            if key in self._kept:
                return self._kept[key]
        return 0

    @staticmethod
    def _columns(width: int) -> list[tuple[str, int]]:
        """Titles and cells of the columns behind the name."""
        if width < NARROW:
            return [("Held", 6), ("!", 3)]
        found = [("MiB", 9), ("CPUs", 5), ("Disks", 6), ("Size", 9), ("Held", 6), ("!", 3)]
        if width >= WIDE:
            found[4:4] = [("On disk", 9), ("Nets", 5)]
            found.append(("  Type", 20))
        return found

    def heading(self, width: int) -> Row | None:
        """Column titles."""
        columns = self._columns(width)
        name = fit(" VM or template", width - 1 - sum(cells for _, cells in columns))
        return [(name + "".join(_cell(title, cells) for title, cells in columns), "head")]

    def row(self, index: int, width: int) -> Row:
        """One repository, VM or disk."""
        node = self.nodes[index]
        if node.machine is None:
            return self._repository(node.repository, width)
        if node.disk is not None:
            return _disk_row(node.machine.disks[node.disk], width)
        columns = self._columns(width)
        room = width - 1 - sum(cells for _, cells in columns)     # the last cell may be a scroll bar's
        machine, warnings = node.machine, self.seen.warnings(node.machine)
        mark = "  " if not machine.disks or self._only is not None else "v " if machine.config in self._opened else "> "
        name = f"{machine.name} (template)" if machine.template else machine.name
        out: list[Segment] = [("   " + mark, "dim"), (fit(name, room - 5), "" if machine.template else "strong")]
        values = self._values(machine, warnings)
        for title, cells in columns:
            text, look = values[title.strip()]
            out.append((_cell(text, cells) if title[0] != " " else "  " + fit(text, cells - 2), look))
        return out

    def _values(self, machine: Machine, warnings: int) -> dict[str, Segment]:
        facts, held = machine.facts, self._held
        parts = held.parts.get(machine.config) if held is not None else None
        whole = parts is not None and all(part.held for part in parts)
        return {"MiB": ("-" if facts.memory is None else str(facts.memory), ""), "CPUs": (amount(facts.vcpus), ""),
                "Disks": (str(sum(not disk.spec.cdrom for disk in machine.disks)), ""),
                "Size": (size(machine.apparent), ""), "On disk": (size(machine.allocated), "dim"),
                "Nets": (str(len(facts.nics)), ""), "Type": (plain(facts.kind), "dim"),
                "Held": (share(parts) if parts is not None else "-", "good" if whole else "warn" if parts else "dim"),
                "!": (str(warnings) if warnings else "", "bad")}

    def _repository(self, repository: Repository, width: int) -> Row:
        mark = "  " if self._only is not None else "> " if repository.path in self._closed else "v "
        trouble = ", NOT ALL OF IT CAN BE READ" if repository.troubles else ""
        many = plural(self._sizes[repository.path], "VM or template", "VMs and templates")
        said = f"  {repository.kind}, {many}{trouble}"
        name = place(repository)
        if width >= NARROW and plain(repository.alias):
            said = f"  {spot(repository.path)}{said}"
        room = max(1, min(cell_len(name), width - 4))
        return [(" " + mark, "dim"), (fit(name, room), "head"),
                (fit(said, width - room - 4), "bad" if trouble else "dim")]

    def line(self, index: int) -> list[Segment]:
        """The row in full."""
        node = self.nodes[index]
        if node.machine is not None and node.disk is not None:
            return [(node.machine.name, "strong"), ("  ", ""), *disk_line(node.machine.disks[node.disk])]
        if node.machine is None:
            troubles = "; ".join(map(plain, node.repository.troubles))
            return [(place(node.repository), "strong"), (f"  {spot(node.repository.path)}  {node.repository.kind}", ""),
                    (f"  {troubles}" if troubles else "", "bad")]
        machine, warnings = node.machine, self.seen.warnings(node.machine)
        look = (f"  {plural(warnings, 'thing')} to look into" if warnings else "", "bad")
        return [(machine.name, "strong"), (f"  {kind_word(machine)}  {spot(machine.config)}", ""), look]


def _cell(text: str, cells: int) -> str:
    return " " + fit(text, cells - 1, right=True)


def _disk_row(disk: DiskState, width: int) -> Row:
    state, look = disk_state(disk)
    lead = f"       {fit(plain(disk.spec.vdev) or '?', 6)} "
    tail = f" {size(disk.apparent):>9}"
    words = f"{state}  " if state else ""
    room = max(1, width - len(lead) - len(words) - len(tail) - 1)
    return [(lead, "dim"), (words, look), (fit(shown_target(disk), room, keep_end=True), ""), (tail, "dim")]


class DiskRows(AllRows):
    """The disks of one VM."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def __len__(self) -> int:
        return len(self.machine.disks)

    def heading(self, width: int) -> Row | None:
        """Column titles."""
        middle = f"{'Mode':<5}{'Kind':<15}{'Size':>9}{'On disk':>10}  " if width >= NARROW else f"{'Size':>9}  "
        return [(fit(f" {'Device':<8}{middle}Target", width), "head")]

    def row(self, index: int, width: int) -> Row:
        """One disk."""
        disk = self.machine.disks[index]
        state, look = disk_state(disk)
        out: list[Segment] = [(" " + fit(plain(disk.spec.vdev) or "?", 8), "strong")]
        if width >= NARROW:
            out += [(f"{disk.spec.access:<5}{fit(disk.kind, 15)}", ""), (f"{size(disk.apparent):>9}", ""),
                    (f"{size(disk.allocated):>10}  ", "dim")]
        else:
            out.append((f"{size(disk.apparent):>9}  ", ""))
        if state:
            out.append((state + "  ", look))
        room = max(1, width - sum(len(text) for text, _ in out) - 1)
        return [*out, (fit(shown_target(disk), room, keep_end=True), "")]

    def line(self, index: int) -> list[Segment]:
        """The disk in full."""
        return disk_line(self.machine.disks[index])


# --- what points hold ----------------------------------------------------------------------------------------


class CoverageRows:
    """A table of VMs with their parts: which points hold each. `gaps`: only what no point holds. `missing` is how many
    parts no point holds."""

    amount: int | None = None

    def __init__(self, seen: Seen, held: Held | None, now: float, words: Sequence[str] = (), *,
                 gaps: bool = False, machines: Sequence[Machine] | None = None) -> None:
        self.held, self._now = held or Held(), now
        self._single = machines is not None
        self.rows: list[tuple[Machine, Part | None]] = []
        self.missing = 0
        for machine in seen.inventory.machines if machines is None else machines:
            parts = self.held.parts.get(machine.config, ())
            missing = sum(not part.held for part in parts)
            self.missing += missing
            if (gaps and not missing) or not parts or not wanted(words, seen.words[machine.config]):
                continue
            if not self._single:
                self.rows.append((machine, None))
            self.rows += [(machine, part) for part in parts if not gaps or not part.held]

    def __len__(self) -> int:
        return len(self.rows)

    def selectable(self, index: int) -> bool:
        """All rows are."""
        return True

    def heading(self, width: int) -> Row | None:
        """Column titles."""
        lead = "Part" if self._single else "VM, part"
        points = f"{'Points':>7}  " if width >= NARROW else " "
        return [(fit(f" {lead:<{self._lead(width)}}{points}Held as", width), "head")]

    def _lead(self, width: int) -> int:
        return min(30, max(10, width // 3))

    def row(self, index: int, width: int) -> Row:
        """A VM, or a part of it."""
        machine, part = self.rows[index]
        lead = self._lead(width)
        if part is None:
            parts = self.held.parts[machine.config]
            whole = all(one.held for one in parts)
            said = "all of it" if whole else f"{share(parts)} parts"
            return [(" " + fit(machine.name, lead), "strong"), ("         " if width >= NARROW else " ", ""),
                    (fit(said, max(1, width - lead - 11)), "good" if whole else "warn")]
        indent = "" if self._single else "  "
        out: list[Segment] = [(" " + fit(indent + plain(part.what), lead), "")]
        out.append((f"{part.points or '-':>7}  " if width >= NARROW else " ", "dim"))
        state, look = part_state(part, self.held)
        room = max(1, width - sum(len(text) for text, _ in out) - 1)
        if width >= WIDE and part.path:
            out.append((fit(state, 34) + " ", look))
            return [*out, (fit(spot(part.path), max(1, room - 36), keep_end=True), "dim")]
        return [*out, (fit(state, room), look)]

    def line(self, index: int) -> list[Segment]:
        """The row in full."""
        machine, part = self.rows[index]
        if part is not None:
            return part_line(part, self.held, machine, self._now)
        parts = self.held.parts[machine.config]
        missing = [plain(one.what) for one in parts if not one.held]
        said = f"  no point holds {', '.join(missing)}" if missing else "  points hold all of it"
        return [(machine.name, "strong"), (said, "warn" if missing else "good")]


# --- findings ------------------------------------------------------------------------------------------------


class FindingRows(AllRows):
    """Findings that have all `words`; `amount` is how many are to be looked into."""

    def __init__(self, seen: Seen, findings: Sequence[VmFinding], words: Sequence[str] = ()) -> None:
        self._seen = seen
        self.findings = [f for f in findings if wanted(words, f"{KINDS.get(f.kind, f.kind)} {f.text}".lower())]
        self.amount: int | None = sum(finding.level == WARNING for finding in findings)

    def __len__(self) -> int:
        return len(self.findings)

    def row(self, index: int, width: int) -> Row:
        """One finding."""
        finding = self.findings[index]
        bad = finding.level == WARNING
        kind = fit(KINDS.get(finding.kind, finding.kind), 12) + " " if width >= NARROW else ""
        text = fit(self._seen.short(finding.text), max(1, width - 4 - len(kind)))
        return [(" ! " if bad else "   ", "bad"), (kind, "warn" if bad else "dim"), (text, "" if bad else "dim")]

    def line(self, index: int) -> list[Segment]:
        """The finding in full, and what to do."""
        finding = self.findings[index]
        return [(finding.text, ""), (f"  {finding.hint}" if finding.hint else "", "dim")]


# --- changes -------------------------------------------------------------------------------------------------

_SIGNS = {ADDED: ("+", "good"), REMOVED: ("-", "bad")}


class VmChangeRows(AllRows):
    """What became of VMs, in words; those that have all words of a filter."""

    def __init__(self, changes: Sequence[VmChange], words: Sequence[str] = ()) -> None:
        self.changes = [change for change in changes if wanted(words, change.text.lower())]

    def __len__(self) -> int:
        return len(self.changes)

    def row(self, index: int, width: int) -> Row:
        """One difference."""
        change = self.changes[index]
        sign, look = _SIGNS.get(change.kind, ("M", "warn"))
        return [(f" {sign} ", look), (fit(change.text, max(1, width - 4)), "")]

    def line(self, index: int) -> list[Segment]:
        """The difference in full."""
        return [(self.changes[index].text, "")]




# --- inventory points ----------------------------------------------------------------------------------------


class VmPointRows(PointRows):
    """Inventory points, newest first; `amount` is how many there are."""

    def __init__(self, points: Sequence[RestorePoint], now: datetime, *, marked: str = "") -> None:
        super().__init__(points, now, marked=marked)
        self.amount: int | None = len(points)

    def line(self, index: int) -> list[Segment]:
        """The point in full."""
        point = self.point(index)
        if point is None:
            return []
        problems = "; ".join(point.problems)
        return [*titled(point, self.now), (f"  {point.comment}" if point.comment else "", ""),
                (f"  {point.state.upper()}: {problems}" if point.state != "ok" else "", "bad")]


class VersionRows(AllRows):
    """The versions of one VM over the inventory points, newest first: when, and what became of it."""

    def __init__(self, versions: Sequence[VmVersion], now: datetime) -> None:
        self.versions, self._now = versions, now

    def __len__(self) -> int:
        return len(self.versions)

    def heading(self, width: int) -> Row | None:
        """Column titles."""
        lead = f"{'Since':<18}{'Until':<18}" if width >= NARROW else f"{'Until':<13}"
        return [(fit(f" {lead}What became of it", width), "head")]

    def row(self, index: int, width: int) -> Row:
        """One version."""
        version = self.versions[index]
        first, last = (point.created.astimezone() for point in (version.first, version.last))
        words, look = self._words(version, index)
        since = f"{first:%Y-%m-%d %H:%M}  " if width >= NARROW else ""
        until = "the newest" if version.current else "" if version.points == 1 else f"{last:%Y-%m-%d %H:%M}"
        lead = f" {since}{until if width >= NARROW else f'{last:%m-%d %H:%M}':<{18 if since else 13}}"
        return [(lead, "strong" if version.current else "dim"), (fit(words, max(1, width - len(lead) - 1)), look)]

    def _words(self, version: VmVersion, index: int) -> Segment:
        if version.machine is None:
            return ("not there", "bad")
        texts = [change.text for change in version.changes]
        if texts:
            return ("; ".join(texts), "warn")
        return ("as far back as the inventory points go" if index == len(self.versions) - 1 else "", "dim")

    def line(self, index: int) -> list[Segment]:
        """The version in full."""
        version = self.versions[index]
        words, look = self._words(version, index)
        span = f"in {plural(version.points, 'point')}" + ("" if not version.current else ", also the newest")
        return [(called(version.last), "strong"), (f"  {span}  ", "dim"), (words, look)]
