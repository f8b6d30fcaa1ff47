"""The rows of the rescue screen: stores, systems, what takes the place of each recorded file system."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from engine.machine.filesystems import FileSystem
from engine.rescue.mapping import EXACT, MERGED, MISSING, OTHER, Mapping
from engine.rescue.mapping import Row as Mapped
from engine.rescue.survey import FoundStore, FoundSystem, Survey
from tui.text import Segment, brief_age, fit, plural, safe, size, stamp
from tui.widgets.rows import Row

STATES = {EXACT: ("the same", "good"), OTHER: ("ANOTHER", "warn"), MISSING: ("MISSING", "bad"),
          MERGED: ("MERGED", "warn")}


def disk_of(file_system: FileSystem) -> str:
    """Return what a file system lies on, in words."""
    words = [file_system.model, file_system.serial and f"serial {file_system.serial}",
             size(file_system.size) if file_system.size else "", file_system.label and f"label {file_system.label}"]
    return ", ".join(safe(word) for word in words if word)


class StoreRows:
    """A `RowSource` of the stores that were found: where, of which host, how many points, how old the newest is."""

    def __init__(self, stores: Sequence[FoundStore], now: datetime) -> None:
        self.stores, self._now = stores, now

    def __len__(self) -> int:
        return len(self.stores)

    def selectable(self, index: int) -> bool:
        """All rows are."""
        return True

    @staticmethod
    def _widths(width: int) -> tuple[int, int]:
        """Room for the name of the store and for the host."""
        left = max(2, width - 23)
        return left * 3 // 5, left - left * 3 // 5 - 2

    def heading(self, width: int) -> Row | None:
        """Column titles."""
        name, host = self._widths(width)
        return [(fit(f" {fit('Store', name)}  {fit('Host', host)} {'Points':>6}  Newest", width), "head")]

    def row(self, index: int, width: int) -> Row:
        """One store; one that cannot be used says so in the place of its newest point."""
        store = self.stores[index]
        name, host = self._widths(width)
        newest = brief_age((self._now - store.newest.created).total_seconds()) if store.newest else "none"
        last: Segment = ("UNUSABLE", "bad") if store.problem else (newest, "")
        return [(" " + fit(safe(store.name), name, keep_end=True) + "  ", "strong"), (fit(safe(store.host), host), ""),
                (f" {store.count:>6}  ", ""), (fit(last[0], 12), last[1])]

    def line(self, index: int) -> list[Segment]:
        """The store in full."""
        store = self.stores[index]
        out: list[Segment] = [(store.name, "strong"), (f"   {store.host or 'unknown host'}", "")]
        if store.problem:
            return [*out, (f"   cannot be used: {store.problem}", "bad")]
        newest = f", newest {store.newest.number} of {stamp(store.newest.created)}" if store.newest else ""
        return [*out, (f"   {plural(store.count, 'point')}{newest}   {disk_of(store.on)}", "dim")]


class SystemRows:
    """A `RowSource` of the systems that were found; the one that was chosen as the target is marked."""

    def __init__(self, systems: Sequence[FoundSystem], chosen: str) -> None:
        self.systems, self._chosen = systems, chosen

    def __len__(self) -> int:
        return len(self.systems)

    def selectable(self, index: int) -> bool:
        """All rows are."""
        return True

    @staticmethod
    def _widths(width: int) -> tuple[int, int, int]:
        """Room for the device, the name of the system, and the host."""
        left = max(3, width - 9)
        return left * 2 // 5, left * 2 // 5, left - 2 * (left * 2 // 5)

    def heading(self, width: int) -> Row | None:
        """Column titles."""
        device, name, host = self._widths(width)
        return [(fit(f"     {fit('Device', device)}  {fit('System', name)}  {fit('Host', host)}", width), "head")]

    def row(self, index: int, width: int) -> Row:
        """One system."""
        system = self.systems[index]
        device, name, host = self._widths(width)
        mark = "[x] " if system.on.device == self._chosen else "[ ] "
        where = system.on.device + (f":{system.within}" if system.within else "")
        return [(" " + mark, "accent"), (fit(safe(where), device, keep_end=True) + "  ", "strong"),
                (fit(safe(system.name or "?"), name) + "  ", ""), (fit(safe(system.host or "?"), host), "")]

    def line(self, index: int) -> list[Segment]:
        """The system in full."""
        system = self.systems[index]
        kernels = f"kernels {', '.join(system.kernels)}" if system.kernels else "no kernel modules"
        return [(system.on.device, "strong"), (f"   {system.name} {system.host}   {kernels}", ""),
                ("" if system.has_fstab else "   NO fstab", "warn"), (f"   {disk_of(system.on)}", "dim")]


class MappingRows:
    """A `RowSource` of what a point recorded and what is here for it; what forbids to open it stands above."""

    def __init__(self, mapping: Mapping | None, why: str = "") -> None:
        self.refusals: Sequence[str] = mapping.refusals if mapping is not None else [why] if why else []
        self.mapped: Sequence[Mapped] = mapping.rows if mapping is not None else ()
        self.amount = len(self.mapped)

    def __len__(self) -> int:
        return len(self.refusals) + len(self.mapped)

    def selectable(self, index: int) -> bool:
        """All rows are."""
        return True

    def at(self, index: int) -> Mapped | None:
        """The recorded file system in a row, None where a refusal stands."""
        at = index - len(self.refusals)
        return self.mapped[at] if 0 <= at < len(self.mapped) else None

    @staticmethod
    def _widths(width: int) -> tuple[int, int]:
        """Room for the mount point and the device."""
        return max(8, min(24, width // 4)), max(8, min(28, width // 3))

    def heading(self, width: int) -> Row | None:
        """Column titles."""
        place, device = self._widths(width)
        return [(fit(f" {fit('Recorded at', place)}  {fit('Is now', device)}  {fit('', 8)}  Why", width), "head")]

    def row(self, index: int, width: int) -> Row:
        """One refusal, or one file system."""
        found = self.at(index)
        if found is None:
            return [(" " + fit(f"REFUSED: {safe(self.refusals[index])}", max(1, width - 2)), "bad")]
        place, device = self._widths(width)
        word, look = STATES.get(found.state, (safe(found.state), "warn"))
        name = safe(found.device.device) if found.device is not None else "-"
        return [(" " + fit(safe(found.recorded.mount), place) + "  ", "strong"),
                (fit(name, device, keep_end=True) + "  ", ""), (fit(word, 8) + "  ", look),
                (fit(safe(found.why), max(1, width - place - device - 16)), "dim")]

    def line(self, index: int) -> list[Segment]:
        """The row in full."""
        found = self.at(index)
        if found is None:
            return [(f"REFUSED: {self.refusals[index]}", "bad")]
        there = f"   {disk_of(found.device)}" if found.device is not None else ""
        return [(found.recorded.mount, "strong"), (f"   {found.why}", ""), (there, "dim")]


class DeviceRows:
    """A `RowSource` of the file systems that are here, to choose one from."""

    def __init__(self, survey: Survey) -> None:
        self.devices = survey.file_systems

    def __len__(self) -> int:
        return len(self.devices)

    def selectable(self, index: int) -> bool:
        """All rows are."""
        return True

    def heading(self, width: int) -> Row | None:
        """Column titles."""
        return [(fit(f" {fit('Device', 24)} {fit('Type', 8)} {'Size':>9}  On", width), "head")]

    def row(self, index: int, width: int) -> Row:
        """One file system."""
        one = self.devices[index]
        where = f"mounted at {one.mounted[0]}, " if one.mounted else ""
        return [(" " + fit(safe(one.device), 24, keep_end=True) + " ", "strong"),
                (fit(safe(one.fstype), 8) + f" {size(one.size):>9}  ", ""),
                (fit(safe(where) + disk_of(one), max(1, width - 46)), "dim")]

    def line(self, index: int) -> list[Segment]:
        """The file system in full."""
        one = self.devices[index]
        return [(one.device, "strong"), (f"   UUID {one.uuid or 'none'}   {disk_of(one)}", "dim")]
