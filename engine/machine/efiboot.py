"""The firmware's own boot entries, as `efibootmgr -v` prints them (UEFI specification 2.10, chapter 3).

Three shapes are known: up to version 11 ``HD(1,800,f3800,GUID)File(\\EFI\\debian\\shimx64.efi)``, then
``HD(1,GPT,GUID,0x800,0xf3800)/File(…)``, and with newer libraries ``HD(1,GPT,…)/\\EFI\\debian\\shimx64.efi``. Optional
data may follow without a blank between.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FALLBACKS = (b"EFI/BOOT/BOOTX64.EFI", b"EFI/BOOT/BOOTAA64.EFI", b"EFI/BOOT/BOOTIA32.EFI", b"EFI/BOOT/BOOTRISCV64.EFI")
_ENTRY = re.compile(r"Boot([0-9A-Fa-f]{4})(\*?)\s+(.*)")
_DISK = re.compile(r"HD\([^)]*?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})[^)]*\)", re.IGNORECASE)
_FILE = re.compile(r"(?:File\((\\[^)]*)\)|\)/(\\.*?\.efi|\\\S*))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class NvramEntry:
    """A boot entry of the firmware: `partition` is the GUID of the ESP, `file` the loader's path on it with slashes;
    both "" when it is an entry of another kind (network, CD, the firmware's setup)."""

    number: str
    title: str
    active: bool
    partition: str = ""
    file: str = ""


def parse(text: str) -> list[NvramEntry] | None:
    """Return the entries in the order in which the firmware tries them, then the others; None if `text` is no such
    list (no UEFI, or the tool failed)."""
    order = re.search(r"^BootOrder:\s*([0-9A-Fa-f,]+)", text, re.MULTILINE)
    found = {}
    for line in text.splitlines():
        match = _ENTRY.match(line)
        if match:
            disk, file = _DISK.search(match[3]), _FILE.search(match[3])
            path = (file[1] or file[2]).replace("\\", "/").strip("/") if file else ""
            title = re.split(r"\t|\s{2,}|HD\(", match[3])[0].strip()
            found[match[1].upper()] = NvramEntry(match[1].upper(), title, bool(match[2]),
                                                 disk[1].lower() if disk else "", path)
    if order is None and not found:
        return None
    first = [n for n in (order[1].upper().split(",") if order else ()) if n in found]
    return [found[n] for n in (*first, *(n for n in found if n not in first))]
