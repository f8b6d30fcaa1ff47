"""What the firmware starts: boot code in sector 0 and GRUB's core.img, or a loader on the EFI system partition."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from engine.errors import RollpointError
from engine.machine import bootcode, bootfiles, bootmenu, efiboot
from engine.machine.blockids import MISSING, Devices
from engine.machine.bootimages import opened
from engine.machine.disks import Disk
from engine.machine.tree import Tree
from engine.results import Finding
from engine.text import message, printable

_GENERIC = ("syslinux (mbr)", "mbr (install-mbr)", "Microsoft or a generic DOS boot code")
_REINSTALL = "restore the boot pieces of a point, or install the boot loader again (grub-install)"


def bios(tree: Tree, disks: Sequence[Disk], boot: bytes = b"boot") -> Iterator[Finding]:
    """Yield what speaks for and against a start by a BIOS from one of these disks."""
    judged = [(disk, *_judge(disk)) for disk in disks]
    works = any(level == "info" for _, level, _, _ in judged)
    for disk, level, text, _ in judged:
        # One good disk is enough, but only the admin knows which one the firmware tries first.
        shown = "warning" if works and level == "blocker" else level
        yield Finding(shown, f"{disk.name}: {text}", "" if level == "info" else _REINSTALL)
    if any(kind == bootcode.GRUB2 for _, _, _, kind in judged):
        places = [os.path.join(boot, name, b"i386-pc/normal.mod") for name in (b"grub", b"grub2")]
        if not any(tree.is_file(p) for p in places):
            yield Finding("blocker", "GRUB's own modules are not in /boot/grub/i386-pc (normal.mod): it will stop at "
                          "its rescue prompt", _REINSTALL)


def _judge(disk: Disk) -> tuple[str, str, str]:
    """Return (level, text, loader) for the boot code of one disk."""
    try:
        with opened(disk) as fd:
            sector = os.pread(fd, 512, 0)
            kind = bootcode.loader(sector)
            core = bootcode.core_of(sector, lambda at, n: os.pread(fd, n, at) if at < disk.size else b"")
    except (RollpointError, OSError, OverflowError) as error:
        return "warning", f"its boot code cannot be read: {error}", ""
    if kind == bootcode.ZEROES:
        return "blocker", "there is no boot code in sector 0, only zeroes", kind
    if core is not None:
        return ("blocker", core.fault, kind) if core.fault else ("info", f"{kind} in sector 0, the rest of it at byte "
                                                                 f"{core.offset}", kind)
    if kind in _GENERIC and not _active(disk):
        return "blocker", f"sector 0 holds {kind}, which starts the active partition, but none is active", kind
    if kind in (bootcode.UNKNOWN, bootcode.GRUB_OTHER, "a file system's boot sector"):
        return "warning", f"sector 0 holds {kind}", kind
    return "info", f"{kind} in sector 0", kind


def _active(disk: Disk) -> bool:
    """Whether a partition is marked to be booted: the MBR's flag, or a GPT's attribute "legacy BIOS bootable"."""
    bit = 0x80 if disk.table.kind == "mbr" else 1 << 2
    return any(p.flags & bit for p in disk.table.partitions)


# --- UEFI ----------------------------------------------------------------------------------------------------------


def esp_places(tree: Tree, points: Sequence[bytes]) -> list[bytes]:
    """Return the directories of the tree that hold an EFI system partition's files; `points` are mount points to look
    at besides the usual ones."""
    usual = dict.fromkeys((*points, b"boot/efi", b"efi", b"boot"))
    return [p for p in usual if tree.fold(os.path.join(p, b"EFI")) is not None]


def loaders(tree: Tree, places: Sequence[bytes]) -> list[bytes]:
    """Return the EFI programs in EFI/*/ of these ESPs."""
    found = []
    for place in places:
        top = tree.fold(os.path.join(place, b"EFI")) or b""
        for vendor in tree.names(top):
            at = os.path.join(top, vendor)
            found += [os.path.join(at, n) for n in tree.names(at) if n.lower().endswith(b".efi")]
    return found


def uefi(tree: Tree, places: Sequence[bytes], devices: Devices | None, nvram: str) -> Iterator[Finding]:
    """Yield what speaks for and against a start by UEFI; `nvram` is what `efibootmgr -v` printed ("" if unknown)."""
    programs = loaders(tree, places)
    if not programs:
        yield Finding("blocker", "there is no loader on an EFI system partition",
                      "mount the ESP and restore its files, or install the boot loader again")
        return
    faults = {p: program_fault(tree, p) for p in programs}
    for path, fault in faults.items():
        if fault:
            yield Finding("warning", f"/{printable(path)} cannot be started: {fault}", "restore the files of the ESP")
    good = [p for p, fault in faults.items() if not fault]
    fallback = any(_on_esp(tree, places, f) in good for f in efiboot.FALLBACKS)
    entries = efiboot.parse(nvram)
    if entries is None:
        yield Finding("info" if fallback or good else "blocker", "the firmware's own boot entries were not looked at; "
                      + ("there is a fallback loader in EFI/BOOT" if fallback else "there is no fallback in EFI/BOOT"))
    else:
        yield from _entries(tree, places, devices, entries, good, fallback)
    yield from _stubs(tree, places, devices)


def _entries(tree: Tree, places: Sequence[bytes], devices: Devices | None, entries: list[efiboot.NvramEntry],
             good: list[bytes], fallback: bool) -> Iterator[Finding]:
    ours = [e for e in entries if e.active and e.file]
    faults = [(e, _entry_fault(tree, places, devices, e, good)) for e in ours]
    works = next((e for e, fault in faults if not fault), None)
    hint = "make an entry with efibootmgr --create, or install the boot loader again"
    if works is None:
        why = f"entry {faults[0][0].number} ({message(faults[0][0].title)}): {faults[0][1]}" if faults else \
            "the firmware has no entry that leads to a disk"
        yield Finding("warning" if fallback else "blocker",
                      why + ("; the fallback in EFI/BOOT is left" if fallback else ""), hint)
        return
    for entry, fault in faults[:ours.index(works)]:
        who = f"entry {entry.number} ({message(entry.title)})"
        yield Finding("warning", f"the firmware first tries {who}: {fault}", hint)
    yield Finding("info", f"the firmware starts {message(works.file)} (entry {works.number}, {message(works.title)})")


def _entry_fault(tree: Tree, places: Sequence[bytes], devices: Devices | None, entry: efiboot.NvramEntry,
                 good: list[bytes]) -> str:
    if devices is not None and entry.partition and not devices.has("partuuid", entry.partition):
        return f"its partition {entry.partition} does not exist"
    path = _on_esp(tree, places, os.fsencode(entry.file))
    if path is None:
        return f"its loader {message(entry.file)} is not on the ESP"
    # Programs elsewhere than in EFI/*/ (a kernel with an EFI stub) were not among the loaders.
    fault = "" if path in good else program_fault(tree, path)
    return f"its loader {message(entry.file)} cannot be started: {fault}" if fault else ""


def _on_esp(tree: Tree, places: Sequence[bytes], file: bytes) -> bytes | None:
    return next((p for place in places if (p := tree.fold(os.path.join(place, file))) is not None), None)


def program_fault(tree: Tree, path: bytes) -> str:
    """Return why an EFI program of a tree cannot be started, "" when it looks whole."""
    with tree.open(path) as fd:
        return "it cannot be read" if fd is None else bootfiles.efi_fault(fd)


def _stubs(tree: Tree, places: Sequence[bytes], devices: Devices | None) -> Iterator[Finding]:
    """Look at the short grub.cfg on the ESP, which says on which file system GRUB finds the rest."""
    for place in places:
        top = tree.fold(os.path.join(place, b"EFI")) or b""
        for vendor in tree.names(top):
            path = os.path.join(top, vendor, b"grub.cfg")
            for uuid in bootmenu.searched(tree.text(path) or ""):
                if devices is not None and devices.find(f"UUID={uuid}")[0] == MISSING:
                    yield Finding("blocker", f"/{printable(path)} looks for the file system {message(uuid)}, which is "
                                  "not here", "correct the UUID in that file, or install the boot loader again")
