"""Which of the file systems that are here takes the place of each one that a point recorded.

The same file system is known by its UUID and type. What is only like it (type, label, size) is proposed, and counts
only where the admin names it himself and says `adopt`: onto another machine or a newly made disk. Pure: it looks at a
survey alone.
"""

from __future__ import annotations

from collections import abc
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from engine.machine.filesystems import FileSystem, Recorded, may_merge, same_type, same_uuid
from engine.rescue.choosing import named
from engine.rescue.survey import FoundStore, FoundSystem, Survey
from engine.text import human_size, printable, shown_path

EXACT, OTHER, MISSING, MERGED = "exact", "other", "missing", "merged"
_SAME = "the same UUID and type"
_OFFERED = 0.85      # how much of a device a file system offers at least: the rest is inodes, journal and tables


@dataclass(frozen=True, slots=True)
class Choices:
    """What the admin has chosen: devices by mount point (``{"/boot": "/dev/sdb1"}``), the device with the system (it
    takes the place of the root), whether other file systems than the recorded ones may be taken, and the mount points
    of recorded file systems that become directories of the one around them."""

    named: abc.Mapping[str, str] = field(default_factory=dict)
    system: str = ""
    adopt: bool = False
    merged: frozenset[str] = frozenset()


_NO_CHOICES = Choices()


@dataclass(frozen=True, slots=True)
class Row:
    """One recorded file system and what is here for it: ``exact`` (the same one), ``other``, ``missing`` or ``merged``
    (nothing is, and it becomes a directory), and why."""

    recorded: Recorded
    device: FileSystem | None
    why: str
    state: str


@dataclass(frozen=True, slots=True)
class Mapping:
    """The proposal, in the order in which it is mounted (the root first). `refusals` are sentences: with one of them
    the target must not be opened."""

    rows: tuple[Row, ...]
    refusals: tuple[str, ...] = ()

    @property
    def root(self) -> Row | None:
        """The row of the root file system."""
        return next((r for r in self.rows if not r.recorded.place), None)


def propose(sources: Sequence[Recorded], survey: Survey, choices: Choices = _NO_CHOICES,
            store: FoundStore | None = None, *, naming: str = "--map {mount}={device}", adopting: str = "--adopt"
            ) -> Mapping:
    """Return what is here for each recorded file system; `store` is the store that the point is in, `naming` and
    `adopting` are how the admin names a device and adopts, for the sentences that tell him to."""
    ordered = sorted(sources, key=lambda r: r.place.split(b"/") if r.place else [])
    chosen = dict(choices.named)
    if choices.system:
        chosen.setdefault("/", choices.system)
    rows: list[Row] = []
    for one in ordered:
        taken = {r.device.device for r in rows if r.device is not None}
        if one.mount in choices.merged:
            rows.append(Row(one, None, "its files go into the directory there", MERGED))
            continue
        rows.append(_named(one, chosen[one.mount], survey) if one.mount in chosen else
                    _found(one, survey, taken, store))
    refusals = [*_unknown([*chosen, *choices.merged], ordered), *_not_clear(rows, survey, chosen),
                *_not_the_same(rows, choices, chosen, naming), *_merged(rows, choices, adopting), *_twice(rows),
                *_of_the_store(rows, store), *_other_machine(rows, survey, choices, store), *_no_root(rows)]
    return Mapping(tuple(rows), tuple(refusals))


def _named(one: Recorded, spec: str, survey: Survey) -> Row:
    """Return the row of a file system for which the admin has named a device (or UUID=, LABEL=, PARTUUID=)."""
    fits = [f for f in survey.file_systems if named(f, spec)]
    if not fits:
        return Row(one, None, f"there is no file system on {printable(spec)}", MISSING)
    if len(fits) > 1:
        return Row(one, None, f"{_list(fits)} are all {printable(spec)}", MISSING)
    against = _differs(one, fits[0])
    return Row(one, fits[0], f"chosen; {against or _SAME}", OTHER if against else EXACT)


def _found(one: Recorded, survey: Survey, taken: Collection[str], store: FoundStore | None) -> Row:
    same = _candidates(one, survey)
    if len(same) == 1:
        return Row(one, same[0], _SAME, EXACT)
    if same:
        return Row(one, None, f"{_list(same)} all have the UUID {printable(one.uuid)}: name one of them", MISSING)
    if one.fstype == "zfs":
        return Row(one, None, f"ZFS ({printable(one.device)}) is not mounted from here: import its pool", MISSING)
    missing = f"{_uuid(one)} is not here" if one.uuid else "the point holds no UUID of it"
    like = [f for f in survey.file_systems if f.device not in taken and _alike(one, f) and _free(f, store)]
    if len(like) == 1:
        words = f"{missing}; {printable(like[0].device)} is like it ({_likeness(one, like[0])})"
        return Row(one, like[0], words, OTHER)
    return Row(one, None, missing + (f"; {_list(like)} are like it" if like else ""), MISSING)


def _candidates(one: Recorded, survey: Survey) -> list[FileSystem]:
    """Return the file systems that are the recorded one: a btrfs has its UUID on each of its devices, and counts once
    unless two of them are the same member, which makes one a copy of the other."""
    same = [f for f in survey.file_systems if not _differs(one, f)]
    members = [f.member for f in same]
    return same[:1] if one.fstype == "btrfs" and len(set(members)) == len(members) else same


def _free(file_system: FileSystem, store: FoundStore | None) -> bool:
    """Whether a file system is neither the store's nor one that the store's machine has for something else."""
    if store is None:
        return True
    known = store.newest.sources if store.newest is not None else ()
    return not _one(file_system, store.on) and not any(same_uuid(file_system.uuid, other.uuid) for other in known)


def _differs(one: Recorded, file_system: FileSystem) -> str:
    """Return what speaks against this being the recorded file system, "" if nothing."""
    if not same_uuid(one.uuid, file_system.uuid):
        return f"its UUID is {printable(file_system.uuid) or 'unknown'}, recorded is {printable(one.uuid) or 'none'}"
    if not same_type(one.fstype, file_system.fstype):
        return f"it is {printable(file_system.fstype) or 'unknown'}, recorded is {printable(one.fstype)}"
    return ""


def _alike(one: Recorded, file_system: FileSystem) -> bool:
    if not one.fstype or not same_type(one.fstype, file_system.fstype):
        return False
    return (bool(one.label) and one.label == file_system.label) or _same_size(one, file_system)


def _same_size(one: Recorded, file_system: FileSystem) -> bool:
    """Whether a device is as large as the recorded one was: what a file system offers is somewhat less."""
    return _OFFERED * file_system.size <= one.size <= file_system.size and one.size > 0


def _likeness(one: Recorded, file_system: FileSystem) -> str:
    words = [one.fstype]
    if one.label and one.label == file_system.label:
        words.append(f"label {printable(one.label)}")
    if _same_size(one, file_system):
        words.append(human_size(file_system.size))
    return ", ".join(words)


def _uuid(one: Recorded) -> str:
    return f"UUID {printable(one.uuid)} ({printable(one.fstype) or '?'})"


def _list(file_systems: Sequence[FileSystem]) -> str:
    return " and ".join(printable(f.device) for f in file_systems)


def _one(one: FileSystem, other: FileSystem) -> bool:
    return one.device == other.device or (one.fstype == other.fstype == "btrfs" and same_uuid(one.uuid, other.uuid))


# --- what must not be ----------------------------------------------------------------------------------------------


def _unknown(chosen: Sequence[str], sources: Sequence[Recorded]) -> Iterator[str]:
    known = {one.mount for one in sources}
    for mount in chosen:
        if mount not in known:
            yield (f"the point holds no file system that was mounted at {printable(mount)}; it holds "
                   + (", ".join(sorted(map(printable, known))) or "none"))


def _not_clear(rows: Sequence[Row], survey: Survey, chosen: Collection[str]) -> Iterator[str]:
    for row in rows:
        if row.device is None and row.state != MERGED and (
                row.recorded.mount in chosen or len(_candidates(row.recorded, survey)) > 1):
            yield f"{shown_path(row.recorded.place)}: {row.why}"


def _not_the_same(rows: Sequence[Row], choices: Choices, chosen: Collection[str], naming: str) -> Iterator[str]:
    for row in rows:
        where = shown_path(row.recorded.place)
        if row.state != OTHER or row.device is None:
            continue
        device = printable(row.device.device)
        if not choices.adopt:
            yield f"{device} is not the file system that the point recorded at {where}: {row.why}"
        elif row.recorded.mount not in chosen:
            how = naming.replace("{mount}", where, 1).replace("{device}", device, 1)
            yield f"{where}: {row.why}; to have it written over, name it ({how})"


def _merged(rows: Sequence[Row], choices: Choices, adopting: str) -> Iterator[str]:
    for row in rows:
        where = shown_path(row.recorded.place)
        if row.state != MERGED:
            continue
        if not may_merge(row.recorded.place):
            yield (f"{where} cannot become a directory: " + ("it is the root" if not row.recorded.place else
                   "boot code and boot menus look for it as a file system of its own"))
        elif not choices.adopt:
            yield f"{where} becomes a directory only when others are adopted ({adopting})"


def _no_root(rows: Sequence[Row]) -> Iterator[str]:
    root = next((r for r in rows if not r.recorded.place), None)
    if root is not None and root.state == MERGED:
        return
    if root is None:
        yield "the point does not say on which file system its root was"
    elif root.recorded.plain:
        yield "the point is of a directory, not of a system: mount it, and name it with --root"
    elif root.device is None:
        yield f"the root file system of the point is not here: {root.why}"


def _twice(rows: Sequence[Row]) -> Iterator[str]:
    seen: dict[tuple[str, str], Row] = {}
    for row in rows:
        if row.device is None:
            continue
        before = seen.setdefault((row.device.device, row.recorded.within), row)
        if before is not row:
            yield (f"{printable(row.device.device)} cannot be both {shown_path(before.recorded.place)} and "
                   f"{shown_path(row.recorded.place)}")


def _of_the_store(rows: Sequence[Row], store: FoundStore | None) -> Iterator[str]:
    """The store may lie on the recorded root itself; but nothing else may ever be written over it."""
    for row in rows if store is not None else ():
        if row.state == OTHER and row.device is not None and store is not None and _one(row.device, store.on):
            yield (f"{printable(row.device.device)} holds the store and is not the file system that was recorded at "
                   f"{shown_path(row.recorded.place)}")


def _other_machine(rows: Sequence[Row], survey: Survey, choices: Choices, store: FoundStore | None) -> Iterator[str]:
    root = next((r for r in rows if not r.recorded.place), None)
    system = system_on(root, survey) if root is not None else None
    if store is None or system is None or choices.adopt:
        return
    if store.machine_id and system.machine_id and store.machine_id != system.machine_id:
        yield (f"{printable(system.on.device)} holds another machine ({printable(system.host) or 'no name'}, "
               f"machine-id {printable(system.machine_id[:8])}); the store is of {printable(store.host)}, "
               f"machine-id {printable(store.machine_id[:8])}")


def system_on(row: Row, survey: Survey) -> FoundSystem | None:
    """Return the system that is on the file system of a row, in the part of it that was recorded."""
    if row.device is None:
        return None
    return next((s for s in survey.systems if s.on.device == row.device.device
                 and s.within.strip("/") == row.recorded.within.strip("/")), None)
