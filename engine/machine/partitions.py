"""Partition tables, read by a parser of our own from a device or an image file: MBR with logical partitions, and GPT.

Nothing here writes. Sources of the format facts: UEFI specification 2.10, chapter 5 (GPT disk layout, and the MBR in
5.2); the chain of extended boot records is as Linux and sfdisk read it. All offsets and sizes are in bytes.
"""

from __future__ import annotations

import binascii
import os
import struct
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

BIOS_BOOT = "21686148-6449-6e6f-744e-656564454649"      # GRUB manual, "BIOS installation"
ESP = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"            # UEFI specification, table 5.7
BOOT_CODE = 440             # bytes of sector 0 before the disk signature
_MBR_ENTRIES = 446
_EXTENDED = frozenset({0x05, 0x0F, 0x85})
_PROTECTIVE = 0xEE
_MAX_LOGICAL = 252          # partitions 5 to 256: the kernel's own limit
_MAX_ENTRIES = 4 << 20      # bytes of a GPT's entry array; 128 entries take 16 KiB
_SECTORS = (512, 4096)
_HEADER = struct.Struct("<8s4sIIIQQQQ16sQIII")

Read = Callable[[int, int], bytes]      # (offset, length) -> at most that many bytes


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition. `type` is two hex digits (MBR) or a GUID in lower case, `guid` what PARTUUID= means, `name` the
    GPT name; `flags` the GPT attributes (or the MBR's boot flag byte), `logical` an MBR's numbers from 5 on."""

    number: int
    start: int
    size: int
    type: str
    guid: str = ""
    name: str = ""
    flags: int = 0
    logical: bool = False

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class Table:
    """What a disk's partition table says. `kind` is ``mbr``, ``gpt`` or ``none`` (no table there).

    `id` is the disk's signature (8 hex digits) or GUID, "" when it is zero; `sector` the logical sector size; `first`
    the first byte after sector 0 and all primary GPT structures, `last` the first byte of the backup ones (or the
    disk's end). `problems` are sentences; with `whole` false (a GPT that no checksum confirms) nobody can say which
    bytes belong to no partition.
    """

    kind: str
    sector: int
    size: int
    id: str = ""
    partitions: tuple[Partition, ...] = ()
    first: int = 512
    last: int = 0
    problems: tuple[str, ...] = ()
    whole: bool = True

    @property
    def first_partition(self) -> int | None:
        """Where the first partition (also an extended one) starts; None without any."""
        return min((p.start for p in self.partitions), default=None)

    @property
    def gap(self) -> tuple[int, int] | None:
        """The bytes (start, end) between the table and the first partition; None when there are none."""
        end = self.first_partition
        return (self.first, end) if end is not None and end > self.first else None

    @property
    def bios_boot(self) -> Partition | None:
        """The partition a BIOS boot loader is embedded in (GPT only)."""
        return next((p for p in self.partitions if p.type == BIOS_BOOT), None)

    @property
    def esp(self) -> Partition | None:
        """The EFI system partition; in an MBR it has type ef."""
        return next((p for p in self.partitions if p.type in (ESP, "ef")), None)


def read_table(fd: int, size: int, sector: int | None = None) -> Table:
    """Return the partition table of an open device or image of `size` bytes.

    `sector` is the logical sector size; None (an image file, which does not say) takes 512 unless a GPT is found at
    4096. A damaged table never raises: it is told in `problems`. Raises OSError when the disk cannot be read.
    """
    def read(offset: int, length: int) -> bytes:
        return os.pread(fd, length, offset) if 0 <= offset < size else b""

    zero = read(0, 512)
    sizes = (sector,) if sector else _SECTORS
    protective = _has_signature(zero) and any(e[0] == _PROTECTIVE for e in _entries(zero))
    if protective or not _is_mbr(zero):
        table = _gpt(read, size, sizes, protective)
        if table is not None:
            return table
    if not _is_mbr(zero) or protective:
        return Table("none", sector or 512, size, first=sector or 512, last=size)
    return _mbr(read, zero, size, sector or 512)


def _has_signature(zero: bytes) -> bool:
    return zero[510:512] == b"\x55\xaa"


def _is_mbr(zero: bytes) -> bool:
    """Whether sector 0 holds an MBR: a file system's boot sector has the same signature, but no plausible entries."""
    if not _has_signature(zero) or any(flag not in (0, 0x80) for flag in zero[_MBR_ENTRIES:510:16]):
        return False
    return not (is_boot_sector(zero) and not any(kind and count for kind, _, count, _ in _entries(zero)))


def is_boot_sector(zero: bytes) -> bool:
    """Whether these 512 bytes are the first of a FAT, exFAT or NTFS file system that lies on the whole disk."""
    return zero[3:11] in (b"EXFAT   ", b"NTFS    ") or zero[54:57] == b"FAT" or zero[82:87] == b"FAT32"


def _entries(sector: bytes) -> list[tuple[int, int, int, int]]:
    """Return the four entries as (type, start in sectors, count of sectors, boot flag)."""
    found = []
    for at in range(_MBR_ENTRIES, 510, 16):
        entry = sector[at:at + 16].ljust(16, b"\0")
        start, count = struct.unpack_from("<II", entry, 8)
        found.append((entry[4], start, count, entry[0]))
    return found


# --- MBR -----------------------------------------------------------------------------------------------------------


def _mbr(read: Read, zero: bytes, size: int, sector: int) -> Table:
    signature = struct.unpack_from("<I", zero, BOOT_CODE)[0]
    disk_id = f"{signature:08x}" if signature else ""
    partitions: list[Partition] = []
    problems: list[str] = []
    for number, (kind, start, count, flag) in enumerate(_entries(zero), 1):
        if kind == 0 or count == 0:
            continue
        partitions.append(_mbr_partition(number, kind, start * sector, count * sector, flag, disk_id))
        if kind in _EXTENDED:
            partitions += _logical(read, start, sector, disk_id, problems)
    problems += _outside(partitions, size)
    # Whole in any case: a logical partition that was lost lies inside the extended one, which is known.
    return Table("mbr", sector, size, disk_id, tuple(partitions), sector, size, tuple(problems))


def _mbr_partition(number: int, kind: int, start: int, size: int, flag: int, disk_id: str) -> Partition:
    guid = f"{disk_id}-{number:02x}" if disk_id else ""
    return Partition(number, start, size, f"{kind:02x}", guid, flags=flag, logical=number > 4)


def _logical(read: Read, base: int, sector: int, disk_id: str, problems: list[str]) -> Iterator[Partition]:
    """Yield the logical partitions: each boot record holds one, and a link that counts from the extended partition."""
    seen: set[int] = set()
    here, number = base, 5
    while here not in seen and len(seen) < _MAX_LOGICAL:
        seen.add(here)
        record = read(here * sector, 512)
        if not _has_signature(record):
            problems.append(f"the extended boot record at byte {here * sector} is missing or damaged")
            return
        links = []
        for kind, start, count, flag in _entries(record):
            if kind in _EXTENDED and count:
                links.append(base + start)
            elif kind and count:
                yield _mbr_partition(number, kind, (here + start) * sector, count * sector, flag, disk_id)
                number += 1
        if not links:
            return
        here = links[0]
    problems.append("the chain of extended boot records runs in a circle or is longer than Linux follows")


def _outside(partitions: list[Partition], size: int) -> list[str]:
    return [f"partition {p.number} ends at byte {p.end}, after the end of the disk ({size})"
            for p in partitions if p.end > size]


# --- GPT -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Gpt:
    """One of the two headers whose checksums fit, with its entries (offsets in sectors, as on the disk)."""

    sector: int
    here: int
    other: int
    disk: str
    entries_at: int
    entries: bytes
    entry_size: int


def _gpt(read: Read, size: int, sizes: tuple[int, ...], protective: bool) -> Table | None:
    """Return the GPT, from its backup when the primary is damaged; None when there is no trace of one."""
    traces: list[str] = []
    for sector in sizes:
        primary = _header(read, sector, 1, traces, "primary")
        if primary is not None:
            backup = _header(read, sector, primary.other, traces, "backup")
            if backup is not None and (backup.entries, backup.disk) != (primary.entries, primary.disk):
                traces.append("the backup GPT differs from the primary one")
            return _gpt_table(primary, size, protective, traces)
    for sector in sizes:
        backup = _header(read, sector, size // sector - 1, [], "backup")
        if backup is not None:
            return _gpt_table(backup, size, protective, [*traces, "the primary GPT is damaged; this is its backup"])
    if not traces and not protective:
        return None
    problem = traces or ["sector 0 announces a GPT, but there is none"]
    sector = sizes[0]
    return Table("gpt", sector, size, first=34 * sector, last=size, problems=tuple(problem), whole=False)


def _header(read: Read, sector: int, lba: int, traces: list[str], which: str) -> _Gpt | None:
    """Return the header at sector `lba` if all of it fits its checksums; what speaks against it goes to `traces`."""
    raw = read(lba * sector, sector)
    if len(raw) < _HEADER.size or raw[:8] != b"EFI PART":
        if which == "backup":
            traces.append("the backup GPT is missing (is the image or disk cut short?)")
        return None
    (_, _, length, crc, _, here, other, _, _, guid, at, count, entry_size, entries_crc) = _HEADER.unpack_from(raw)
    if not _HEADER.size <= length <= sector:
        traces.append(f"the {which} GPT header is damaged (length {length})")
        return None
    if binascii.crc32(raw[:16] + bytes(4) + raw[20:length]) != crc or here != lba:
        traces.append(f"the {which} GPT header is damaged (its checksum does not fit)")
        return None
    if entry_size < 128 or entry_size % 128 or count * entry_size > _MAX_ENTRIES:
        traces.append(f"the {which} GPT has entries of a kind that UEFI does not allow")
        return None
    entries = read(at * sector, count * entry_size)
    if binascii.crc32(entries) != entries_crc:
        traces.append(f"the {which} GPT's entries are damaged (their checksum does not fit)")
        return None
    return _Gpt(sector, here, other, str(uuid.UUID(bytes_le=guid)), at, entries, entry_size)


def _gpt_table(gpt: _Gpt, size: int, protective: bool, problems: list[str]) -> Table:
    sector = gpt.sector
    if not protective:
        problems = [*problems, "sector 0 does not announce the GPT (the protective MBR is gone)"]
    partitions = [p for number, entry in enumerate(_slices(gpt.entries, gpt.entry_size), 1)
                  if (p := _gpt_partition(number, entry, sector)) is not None]
    entries_end = gpt.entries_at + -(-len(gpt.entries) // sector)
    backup = gpt.here != 1
    # Of a GPT known by its backup alone nobody can say where the primary entries lie: where they always do.
    first = (2 + entries_end - gpt.entries_at) if backup else max(2, entries_end)
    last = min(gpt.here, gpt.entries_at) if backup else gpt.other - (entries_end - gpt.entries_at)
    disk = "" if set(gpt.disk) <= set("0-") else gpt.disk
    return Table("gpt", sector, size, disk, tuple(partitions), first * sector, min(last * sector, size),
                 tuple([*problems, *_outside(partitions, size)]))


def _slices(data: bytes, step: int) -> Iterator[bytes]:
    for at in range(0, len(data) - step + 1, step):
        yield data[at:at + step]


def _gpt_partition(number: int, entry: bytes, sector: int) -> Partition | None:
    kind, guid, start, last, flags = struct.unpack_from("<16s16sQQQ", entry)
    if not any(kind) or last < start:
        return None
    name = entry[56:128].decode("utf-16-le", "backslashreplace").split("\0", 1)[0]
    return Partition(number, start * sector, (last - start + 1) * sector, str(uuid.UUID(bytes_le=kind)),
                     str(uuid.UUID(bytes_le=guid)), name, flags)
