"""Boot pieces back onto disks: plan -> preview -> apply, verified, and undone by the same way back.

Written are, and nothing else: bytes 0 to 439 of sector 0; the gap, if no partition reaches into what was saved and the
table is of the same kind; a GPT's BIOS boot partition, if it is where it was and what was saved fits into it (GRUB's
boot code holds absolute sector numbers). Never bytes 440 to 511 (disk signature, MBR) and never a GPT structure: a
second guard, right before each write, makes sure of that from the table as it is then.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from engine.errors import DamageError, RefusedError, RollpointError
from engine.events import step
from engine.machine import bootcode, bootimages
from engine.machine.bootimages import BIOS_BOOT, GAP, SECTOR0, BootRecord, DiskRecord, opened, read_range
from engine.machine.diskmatch import Match, match
from engine.machine.disks import Disk
from engine.machine.partitions import BOOT_CODE, Table, read_table
from engine.results import Finding
from engine.text import printable

BOOT_CODE_NAME = "boot code"
_ORDER = (GAP, BIOS_BOOT, SECTOR0)      # the boot code last: until then the old one finds what it points to, or nothing


@dataclass(frozen=True, slots=True)
class Piece:
    """One area of one disk: what is there and what would be. `differs` counts the bytes that change; `refused` says
    why it stays as it is ("" when it may be written); `view` is a hex view of the first differences."""

    what: str               # boot code, gap, BIOS boot partition
    offset: int
    length: int
    file: str
    before: str
    after: str
    differs: int
    refused: str
    view: tuple[str, ...]

    @property
    def writes(self) -> bool:
        """Whether applying the plan changes this area."""
        return bool(self.differs) and not self.refused

    @property
    def words(self) -> str:
        """The change in one line."""
        if not self.differs:
            return f"{self.what}: {self.before}, as it was"
        if self.refused:
            return f"{self.what}: stays {self.before}, since {self.refused}"
        return f"{self.what}: {self.before} -> {self.after} ({self.differs} of {self.length} bytes differ)"


@dataclass(frozen=True, slots=True)
class DiskPlan:
    """What is to happen to one disk; `disk` is as it was when this was planned."""

    recorded: DiskRecord
    disk: Disk
    pieces: tuple[Piece, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BootPlan:
    """What restoring boot pieces will do, all of it; nothing has been written. `missing` are the recorded disks that
    were not found among those present, each with the reason."""

    record: BootRecord
    disks: tuple[DiskPlan, ...]
    missing: tuple[tuple[DiskRecord, str], ...]

    @property
    def writes(self) -> int:
        """How many areas will change."""
        return sum(piece.writes for disk in self.disks for piece in disk.pieces)

    @property
    def words(self) -> tuple[str, ...]:
        """The plan, a line for each area: ``/dev/sda: boot code: GRUB 2 -> zeroes (…)``."""
        return tuple(f"{d.disk.name}: {piece.words}" for d in self.disks for piece in d.pieces)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What the admin should know before: disks that are refused, areas that stay, doubts."""
        hint = "name the disk yourself if you are sure of it; the rest can be restored without it"
        found = [Finding("warning", f"no boot code is written: {why}", hint) for _, why in self.missing]
        for disk in self.disks:
            found += [Finding("warning", text, "make sure it is the right one") for text in disk.warnings]
            found += [Finding("warning", f"{disk.disk.name}: the {p.what} is not written, since {p.refused}",
                              "install the boot loader again afterwards (grub-install)")
                      for p in disk.pieces if p.refused and p.differs]
        return tuple(found)


NOTHING = BootPlan(BootRecord(b"", "", (), ()), (), ())


def plan(record: BootRecord, disks: Sequence[Disk], *, named: Mapping[str, bytes] | None = None,
         store_disks: Collection[bytes] = ()) -> BootPlan:
    """Return what restoring `record` onto these disks will do. `named` and `store_disks` are as in `diskmatch.match`.

    Raises DamageError when a saved image is not what was saved, RollpointError when a disk cannot be read.
    """
    matches = match(record.disks, disks, named or {}, store_disks)
    planned = tuple(_plan_disk(record, m, m.disk) for m in matches if m.disk is not None)
    return BootPlan(record, planned, tuple((m.recorded, m.reason) for m in matches if m.disk is None))


def _plan_disk(record: BootRecord, found: Match, disk: Disk) -> DiskPlan:
    recorded = found.recorded
    images = [i for what in _ORDER if (i := recorded.image(what)) is not None]
    data = {i.what: record.data(i) for i in images}
    refusals = {i.what: _refusal(recorded, disk, i.what, i.offset, i.offset + i.length) for i in images}
    with opened(disk) as fd:
        present = {i.what: _present(fd, disk, i.offset, i.length) for i in images}
        if SECTOR0 in data and not refusals[SECTOR0] and any(refusals.values()):
            written = {i.offset: data[i.what] for i in images if not refusals[i.what] and i.what != SECTOR0}
            refusals[SECTOR0] = _breaks(fd, disk, data[SECTOR0], written)
    pieces = tuple(_piece(i, present[i.what], data[i.what], refusals[i.what]) for i in images)
    return DiskPlan(recorded, disk, pieces, found.warnings)


def _piece(image: bootimages.Image, before: bytes, after: bytes, refused: str) -> Piece:
    length = BOOT_CODE if image.what == SECTOR0 else image.length
    name = BOOT_CODE_NAME if image.what == SECTOR0 else image.what
    words = bootimages.words(image.what, before), bootimages.words(image.what, after)
    before, after = before[:length], after[:length]
    return Piece(name, image.offset, length, image.file, *words, _different(before, after), refused,
                 bootcode.hex_view(before, after, image.offset))


def _different(before: bytes, after: bytes) -> int:
    """Return how many bytes differ; `before` may be shorter."""
    count = len(after) - len(before)
    for at in range(0, len(before), 4096):
        one, other = before[at:at + 4096], after[at:at + 4096]
        count += sum(a != b for a, b in zip(one, other, strict=False)) if one != other else 0
    return count


def _present(fd: int, disk: Disk, offset: int, length: int) -> bytes:
    """Return what lies there now, less where the disk ends before."""
    return read_range(fd, disk, offset, max(0, min(length, disk.size - offset)))


def _refusal(recorded: DiskRecord, disk: Disk, what: str, start: int, end: int) -> str:
    """Return why an area must not be written, or ""."""
    table = disk.table
    if table.kind == "none":
        if recorded.table != "none":
            return f"the partition table is gone: write it back first (sfdisk, {recorded.name}.sfdisk)"
        return "the disk has no partition table, so that its first sector may belong to a file system"
    if table.kind != recorded.table:
        return f"the disk had {_a(recorded.table)} and has {_a(table.kind)} now"
    if disk.sector != recorded.sector:
        return f"its sectors were {recorded.sector} bytes and are {disk.sector} now"
    if what == SECTOR0:
        return ""
    if not table.whole:
        return f"its partition table is damaged: {table.problems[0]}" if table.problems else "its table is damaged"
    return _gap_refusal(table, start, end) if what == GAP else _bios_refusal(table, start, end)


def _a(kind: str) -> str:
    return {"mbr": "an MBR", "gpt": "a GPT"}.get(kind, "no partition table")


def _gap_refusal(table: Table, start: int, end: int) -> str:
    first = table.first_partition
    if first is None:
        return "there is no partition that says where the gap ends"
    if first < end:
        return f"the first partition starts at byte {first} now, and what was saved ends at {end}"
    if start < table.first or end > table.last:
        return f"the partition table reaches to byte {table.first} now, and what was saved begins at {start}"
    return ""


def _bios_refusal(table: Table, start: int, end: int) -> str:
    bios = table.bios_boot
    if bios is None:
        return "there is no BIOS boot partition any more"
    if bios.start != start:
        return f"it was moved from byte {start} to {bios.start}, and GRUB's boot code holds sector numbers"
    if bios.end < end:
        return f"it has {bios.size} bytes now, and {end - start} were saved"
    if any(p.start < end and start < p.end for p in table.partitions if p is not bios):
        return "another partition overlaps it"
    return ""


def _breaks(fd: int, disk: Disk, sector: bytes, written: Mapping[int, bytes]) -> str:
    """Return why the recorded boot code must stay away although it fits: some other area cannot be written, and
    without that the disk, which boots by GRUB as it is, would not any more. `written` is {offset: new bytes}."""
    def now(offset: int, length: int) -> bytes:
        return _present(fd, disk, offset, length) if offset < disk.size else b""

    def then(offset: int, length: int) -> bytes:
        view = bytearray(now(offset, length))
        for start, data in written.items():
            low, high = max(offset, start), min(offset + len(view), start + len(data))
            if low < high:
                view[low - offset:high - offset] = data[low - start:high - start]
        return bytes(view)

    today, later = bootcode.core_of(now(0, 512), now), bootcode.core_of(sector[:512], then)
    if today is not None and not today.fault and later is not None and later.fault:
        return f"the disk's own boot code works, and the recorded one would not: {later.fault}"
    return ""


# --- applying ------------------------------------------------------------------------------------------------------


def apply(boot: BootPlan, keep: bytes | None, also: Sequence[Disk] = ()) -> tuple[str, ...]:
    """Write what the plan says, read it back, and return a line for each area written.

    What is overwritten is first kept in the directory `keep` (made here), from which `undo` takes it, and with it the
    boot areas of the disks in `also`, on which a boot loader will be installed; a directory that an interrupted run
    has already filled is left as it is, so that applying a new plan of the same record again ends in the same state
    and can still be undone. None keeps nothing. Raises RefusedError when a disk is not as it was planned for,
    DamageError when an image is damaged or the disk does not give back what was written.
    """
    for planned in boot.disks:
        if any(p.writes for p in planned.pieces):
            _unchanged(planned)
    loaded = {(d.recorded.name, p.file): _data(boot.record, d, p) for d in boot.disks for p in d.pieces if p.writes}
    if keep is not None and (loaded or also):
        _keep(boot, keep, also)
    step("boot-kept")
    return tuple(_write_piece(d.disk, p, loaded[d.recorded.name, p.file])
                 for d in boot.disks for p in d.pieces if p.writes)


def undo(keep: bytes, disks: Sequence[Disk], *, named: Mapping[str, bytes] | None = None) -> BootPlan:
    """Return the plan that puts back what `apply` kept in `keep`; apply it with `apply(plan, None)`.

    Raises RefusedError when nothing was kept there, that is, when nothing was written either.
    """
    return plan(bootimages.load(keep), disks, named=named)


def _data(record: BootRecord, planned: DiskPlan, piece: Piece) -> bytes:
    image = next(i for i in planned.recorded.images if i.file == piece.file)
    return record.data(image)[:piece.length]


def _unchanged(planned: DiskPlan) -> None:
    with opened(planned.disk, os.O_RDWR) as fd:
        size = os.lseek(fd, 0, os.SEEK_END)
        if size != planned.disk.size or read_table(fd, size, planned.disk.sector) != planned.disk.table:
            raise RefusedError(f"{planned.disk.name} is not as it was when this was planned; nothing was written",
                               hint="look at the plan again")


def _keep(boot: BootPlan, keep: bytes, also: Sequence[Disk]) -> None:
    """Save what will be overwritten, unless that was done before an interruption."""
    places = {d.disk.path: {p.what: (p.offset, _kept_length(p, d.disk)) for p in d.pieces if not p.refused}
              for d in boot.disks}
    disks = {d.disk.path: d.disk for d in boot.disks} | {disk.path: disk for disk in also}
    for disk in also:
        areas = places.setdefault(disk.path, {})
        for what, start, length, _ in bootimages.ranges(disk):
            name = BOOT_CODE_NAME if what == SECTOR0 else what
            before, more = areas.get(name, (start, length))
            areas[name] = min(start, before), max(start + length, before + more) - min(start, before)
    if os.path.exists(os.path.join(keep, bootimages.SUMS)):
        kept = bootimages.load(keep)
        changing = [d.disk for d in boot.disks if any(p.writes for p in d.pieces)]
        wanted = {d.disk.path: [places[d.disk.path][p.what] for p in d.pieces if p.writes] for d in boot.disks}
        if not all(any(_kept(old, disk, wanted.get(disk.path, ())) for old in kept.disks) for disk in
                   (*changing, *also)):
            raise RefusedError(f"{printable(keep)} keeps the boot pieces of another rollback; nothing was written",
                               hint="undo or finish that rollback first")
        return
    beyond = {path: [(SECTOR0 if what == BOOT_CODE_NAME else what, *area) for what, area in areas.items()]
              for path, areas in places.items()}
    record = bootimages.save(list(disks.values()), keep, texts=False, beyond=beyond)
    for saved, disk in zip(record.disks, disks.values(), strict=True):
        if len(saved.images) < len(beyond[disk.path]):
            raise RollpointError(f"what is on {disk.name} now cannot be kept: {saved.notes[-1]}; nothing was "
                                 "written", hint="look for I/O errors in the kernel's log (dmesg)")


def _kept_length(piece: Piece, disk: Disk) -> int:
    return max(piece.length, disk.sector) if piece.what == BOOT_CODE_NAME else piece.length


def _kept(old: DiskRecord, disk: Disk, wanted: Sequence[tuple[int, int]]) -> bool:
    """Whether `old` holds these areas (offset, length) of a disk, which may have another name by now."""
    who = (old.id and old.id == disk.table.id) or (old.serial and old.serial == disk.serial) or (
        old.path == os.fsdecode(disk.path))
    inside = all(any(i.offset <= start and start + length <= i.offset + i.length for i in old.images)
                 for start, length in wanted)
    return bool(who) and old.size == disk.size and inside


def _write_piece(disk: Disk, piece: Piece, data: bytes) -> str:
    with opened(disk, os.O_RDWR) as fd:
        table = read_table(fd, disk.size, disk.sector)
        before = _structures(fd, disk, table)
        _guard(disk, table, piece.offset, piece.offset + len(data))
        _write(fd, disk, piece.offset, data)
        _note_step(piece.what)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)      # so that it is the disk that answers
        if read_range(fd, disk, piece.offset, len(data)) != data:
            raise DamageError(f"{disk.name} does not give back the {piece.what} that was written",
                              hint="the disk is failing, or something else writes to it; look into dmesg")
        if _structures(fd, disk, table) != before:
            raise DamageError(f"the partition table of {disk.name} changed while the {piece.what} was written",
                              hint="something else writes to this disk; compare it with the saved sfdisk dump")
    return f"{disk.name}: {piece.words}"


def _note_step(what: str) -> None:
    """Mark the step, each by a name of its own, so that the crash tests find and kill at every one of them."""
    if what == GAP:
        step("boot-gap-written")
    elif what == BIOS_BOOT:
        step("boot-bios-written")
    else:
        step("boot-code-written")


def _guard(disk: Disk, table: Table, start: int, end: int) -> None:
    """Refuse any range but the three that may be written, judged by the table as it is at this moment."""
    gap, bios = table.gap, table.bios_boot
    if start == 0 and end <= BOOT_CODE and table.kind != "none":
        return
    if table.whole and start < end and end <= table.last:
        if gap is not None and gap[0] <= start and end <= gap[1]:
            return
        if bios is not None and bios.start <= start and end <= bios.end:
            return
    raise RefusedError(f"bytes {start} to {end} of {disk.name} are not boot code's; nothing was written there",
                       hint="look at the plan again")


def _structures(fd: int, disk: Disk, table: Table) -> tuple[bytes, ...]:
    """Return the bytes that must never change: 440 to the end of the primary table, and the backup GPT."""
    return (read_range(fd, disk, BOOT_CODE, table.first - BOOT_CODE),
            read_range(fd, disk, table.last, disk.size - table.last))


def _write(fd: int, disk: Disk, offset: int, data: bytes) -> None:
    try:
        view = memoryview(data)
        while view:
            done = os.pwrite(fd, view, offset)
            view, offset = view[done:], offset + done
        os.fsync(fd)
    except OSError as error:
        raise RollpointError(f"{disk.name} cannot be written at byte {offset}: {error.strerror}",
                             hint="the rest is untouched; look into dmesg, then resume or undo the rollback") from error
