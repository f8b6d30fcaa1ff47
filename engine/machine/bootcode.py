"""What a boot sector's code is, told by well-known marks, and where GRUB's boot sector looks for the rest of GRUB.

Sources: the images of GRUB 2.06 (boot.img, diskboot.img; offsets as in include/grub/i386/pc/boot.h of GRUB 2 and of
GRUB 1.9x), SYSLINUX 6.04 and mbr 1.2 themselves, which the tests read; LILO's first.S ("LILO" at byte 6); the
messages in Microsoft's code.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from engine.machine.partitions import BOOT_CODE, is_boot_sector

GRUB2, GRUB_LEGACY, ZEROES, UNKNOWN = "GRUB 2", "GRUB legacy", "zeroes", "unknown code"
GRUB_OTHER = "GRUB of an unknown version"
SECTOR = 512                    # GRUB and the BIOS count in these, whatever the disk's own sector size is
_GRUB2_SECTOR = 0x5C            # eight bytes: where core.img begins
_LEGACY_SECTOR = 0x44           # four bytes: where stage 1.5 or stage 2 begins
_BLOCKLIST = SECTOR - 12        # the last one of core.img's first sector: start (8), length (2), segment (2)
_MARKS = (
    (b"LILO", "LILO"),
    (b"Multiple active partitions", "syslinux (mbr)"),
    (b"Operating system load error", "syslinux (mbr)"),
    (b"isolinux.bin missing", "isolinux (hybrid image)"),
    (b"Invalid partition table", "Microsoft or a generic DOS boot code"),
    (b"MBR \x10", "mbr (install-mbr)"),
    (b"FreeDOS", "FreeDOS"),
    (b"BTX", "FreeBSD"),
)


def loader(sector: bytes) -> str:
    """Return in words which boot loader the code in a boot sector belongs to; only bytes 0 to 439 are looked at."""
    code = sector[:BOOT_CODE]
    if not any(code):
        return ZEROES
    if b"GRUB " in code and b"Geom" in code:
        if code[:2] == b"\xeb\x48":
            return GRUB_LEGACY
        return GRUB2 if code[:2] == b"\xeb\x63" else GRUB_OTHER
    for mark, name in _MARKS:
        if mark in code:
            return name
    if is_boot_sector(sector):
        return "a file system's boot sector"
    return UNKNOWN


def area(data: bytes) -> str:
    """Return in words what lies in a gap or a BIOS boot partition."""
    if not any(data):
        return ZEROES
    if is_core(data):
        return "GRUB 2's core.img"
    if b"GRUB" in data[:8 * SECTOR] or b"Loading stage" in data[:8 * SECTOR]:
        return "GRUB"
    return "data that is not GRUB's"


def is_core(sector: bytes) -> bool:
    """Whether a core.img of GRUB 2 begins here: its first sector (diskboot.img) names its messages in this order."""
    return sector[:1] == b"\x52" and b"loading\0" in sector[:SECTOR] and b"Geom\0Read\0 Error\0" in sector[:SECTOR]


@dataclass(frozen=True, slots=True)
class Core:
    """Where the boot sector says the rest of GRUB is (`offset` in bytes) and what is wrong with it ("" if nothing)."""

    offset: int
    fault: str


def core_of(sector: bytes, read: Callable[[int, int], bytes]) -> Core | None:
    """Return what becomes of a boot sector's jump to the rest of GRUB; None when it is not GRUB's.

    `read(offset, length)` reads the disk. For GRUB 2 the first sector must be core.img's own, and the sectors its
    blocklist names must be there and not all zero. That core.img is undamaged inside nobody can say without a copy.
    """
    kind = loader(sector)
    if kind == GRUB_LEGACY:
        offset = int(struct.unpack_from("<I", sector, _LEGACY_SECTOR)[0]) * SECTOR
        return Core(offset, "" if any(read(offset, SECTOR)) else f"nothing is at byte {offset}, where GRUB's stage 1 "
                                                                 "looks for the next stage")
    if kind != GRUB2:
        return None
    offset = int(struct.unpack_from("<Q", sector, _GRUB2_SECTOR)[0]) * SECTOR
    first = read(offset, SECTOR)
    if not is_core(first):
        what = "only zeroes are" if not any(first) else "something else is"
        return Core(offset, f"{what} at byte {offset}, where GRUB's boot code looks for core.img")
    start, length, _ = struct.unpack_from("<QHH", first, _BLOCKLIST)
    body = read(start * SECTOR, length * SECTOR)
    if length == 0 or len(body) < length * SECTOR:
        return Core(offset, f"core.img at byte {offset} does not say where the rest of it is, or it lies after the "
                            "end of the disk")
    empty = sum(not any(body[at:at + SECTOR]) for at in range(0, len(body), SECTOR))
    # Compressed code has no zero sectors but perhaps the last one, which pads.
    return Core(offset, f"core.img at byte {offset} has {empty} of its {length} sectors overwritten with zeroes"
                if empty > 1 else "")


def hex_view(before: bytes, after: bytes, base: int = 0, rows: int = 4) -> tuple[str, ...]:
    """Return the first rows of 16 bytes that differ, ``000001b0  00 00 … -> eb 63 …``, and how many more there are."""
    lines: list[str] = []
    more = 0
    for at in range(0, max(len(before), len(after)), 16):
        old, new = before[at:at + 16], after[at:at + 16]
        if old == new:
            continue
        if len(lines) < rows:
            lines.append(f"{base + at:08x}  {old.hex(' ')} -> {new.hex(' ')}")
        else:
            more += 1
    return (*lines, f"and {more} more rows of 16 bytes") if more else tuple(lines)
