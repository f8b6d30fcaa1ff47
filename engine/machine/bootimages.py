"""What a point keeps of its boot disks: raw images of the few places where boot code lies, and texts about the disks.

Of each disk: sector 0; the gap behind the partition table, up to the first partition (the first 8 MiB of it at most);
a GPT's BIOS boot partition (the first 32 MiB at most). BIOS boot loaders live nowhere else; UEFI's are files. The
directory can be read without Rollpoint: `sha256sum -c SHA256SUMS` checks it, boot.json says which byte of which disk
each image begins at.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from engine.errors import DamageError, RefusedError, RollpointError
from engine.machine import bootcode
from engine.machine.collect import Text, Wanted, collect
from engine.machine.disks import SYS, Disk
from engine.text import human_size, printable

RECORD, SUMS = b"boot.json", b"SHA256SUMS"
FORMAT = 1
SECTOR0, GAP, BIOS_BOOT = "sector 0", "gap", "BIOS boot partition"
GAP_LIMIT = 8 << 20
BIOS_BOOT_LIMIT = 32 << 20
_FILES = {SECTOR0: "sector0", GAP: "gap", BIOS_BOOT: "biosboot"}
_BLOCK = 4096
_BLKROGET = 0x125E          # linux/fs.h: _IO(0x12, 94)
_CHUNK = 1 << 20
_MACHINE = (
    Wanted("lsblk.json", ("lsblk", "-J", "-b", "-O")),
    Wanted("blkid.txt", ("blkid",), ok=(0, 2)),
    Wanted("efibootmgr.txt", ("efibootmgr", "-v")),
)


@dataclass(frozen=True, slots=True)
class Area:
    """A place of boot code on a disk, in bytes; `holds` says in words what is there, `note` what is left out."""

    what: str
    offset: int
    length: int
    holds: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    """A saved area: the bytes from `offset` of the disk are in the file `file` of the record's directory."""

    what: str
    offset: int
    length: int
    file: str
    sha256: str
    holds: str


@dataclass(frozen=True, slots=True)
class DiskRecord:
    """A disk as it was: who it is (as in `Disk`), its table in short, its images. Sizes and offsets in bytes."""

    name: str
    path: str
    size: int
    sector: int
    model: str
    serial: str
    wwn: str
    table: str              # mbr, gpt, none
    id: str                 # disk signature or GUID, "" when it has none
    first_partition: int | None
    images: tuple[Image, ...]
    notes: tuple[str, ...]

    def image(self, what: str) -> Image | None:
        """Return the image of one area, or None."""
        return next((i for i in self.images if i.what == what), None)


@dataclass(frozen=True, slots=True)
class BootRecord:
    """All that was saved into `directory`. `firmware` is what the machine was started by: ``uefi`` or ``bios``."""

    directory: bytes
    firmware: str
    disks: tuple[DiskRecord, ...]
    texts: tuple[Text, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What was not saved as it should be, printable."""
        return tuple(f"{printable(d.path)}: {note}" for d in self.disks for note in d.notes)

    def data(self, image: Image) -> bytes:
        """Return the bytes of an image. Raises DamageError when they are not those that were saved."""
        path = os.path.join(self.directory, os.fsencode(image.file))
        try:
            with open(path, "rb") as file:
                data = file.read(image.length + 1)
        except OSError as error:
            raise DamageError(f"the boot image {printable(path)} cannot be read: {error.strerror}",
                              hint="choose another point") from error
        if len(data) != image.length or hashlib.sha256(data).hexdigest() != image.sha256:
            raise DamageError(f"the boot image {printable(path)} is damaged: its SHA-256 is not the recorded one",
                              hint="choose another point; nothing was written")
        return data


def firmware(sys: bytes = SYS) -> str:
    """Return what started the running kernel: ``uefi`` or ``bios``."""
    return "uefi" if os.path.isdir(os.path.join(sys, b"firmware/efi")) else "bios"


def areas(disk: Disk) -> tuple[Area, ...]:
    """Return the places of boot code on a disk and what is in them now. Raises RollpointError on a read error."""
    with opened(disk) as fd:
        return tuple(Area(what, start, length, words(what, read_range(fd, disk, start, length)), note)
                     for what, start, length, note in ranges(disk))


def words(what: str, data: bytes) -> str:
    """Return in words what an area holds."""
    return bootcode.loader(data) if what == SECTOR0 else bootcode.area(data)


def ranges(disk: Disk) -> Iterator[tuple[str, int, int, str]]:
    """Yield (what, offset, length, note) of each place of boot code on a disk."""
    yield SECTOR0, 0, disk.sector, ""
    gap, bios = disk.table.gap, disk.table.bios_boot
    if gap is not None and disk.table.whole:
        yield _limited(GAP, gap[0], gap[1] - gap[0], GAP_LIMIT)
    if bios is not None and disk.table.whole:
        yield _limited(BIOS_BOOT, bios.start, bios.size, BIOS_BOOT_LIMIT)


def _limited(what: str, start: int, length: int, limit: int) -> tuple[str, int, int, str]:
    note = f"of the {what} ({human_size(length)}) only the first {human_size(limit)}" if length > limit else ""
    return what, start, min(length, limit), note


# --- saving --------------------------------------------------------------------------------------------------------


def save(disks: Sequence[Disk], directory: bytes, *, sys: bytes = SYS, texts: bool = True, seconds: float = 20,
         beyond: dict[bytes, list[tuple[str, int, int]]] | None = None) -> BootRecord:
    """Save the boot pieces of `disks` into the new `directory`, durably, and return the record.

    A disk that cannot be read, and a tool that does not answer within its time, becomes a note: taking a point goes
    on. `beyond` replaces the areas of a disk (by its path) by (what, offset, length). Raises OSError when the
    directory cannot be written.
    """
    os.makedirs(directory, mode=0o700, exist_ok=True)
    records = [_save_disk(disk, f"disk-{number}", directory, (beyond or {}).get(disk.path))
               for number, disk in enumerate(disks, 1)]
    asked = [Wanted(f"disk-{n}.sfdisk", ("sfdisk", "-d", disk.path)) for n, disk in enumerate(disks, 1)]
    said = collect([*asked, *_MACHINE], directory, seconds=seconds) if texts else ()
    record = BootRecord(directory, firmware(sys), tuple(records), said)
    document = {"format": FORMAT, "firmware": record.firmware, "disks": [asdict(d) for d in records],
                "texts": [asdict(t) for t in said]}
    text = json.dumps(document, indent=1).encode() + b"\n"
    _write(os.path.join(directory, RECORD), text)
    sums = [(os.fsdecode(RECORD), hashlib.sha256(text).hexdigest())]
    sums += [(i.file, i.sha256) for d in records for i in d.images] + [(t.name, t.sha256) for t in said if t.sha256]
    lines = "".join(f"{digest}  {name}\n" for name, digest in sums)
    # The sums come last and by rename: without them a directory counts as not written.
    _write(os.path.join(directory, SUMS + b".new"), lines.encode())
    os.rename(os.path.join(directory, SUMS + b".new"), os.path.join(directory, SUMS))
    _sync(directory)
    return record


def _save_disk(disk: Disk, name: str, directory: bytes, places: Sequence[tuple[str, int, int]] | None) -> DiskRecord:
    images: list[Image] = []
    notes = list(disk.table.problems)
    try:
        with opened(disk) as fd:
            for what, start, length, note in ranges(disk) if places is None else ((*p, "") for p in places):
                data = read_range(fd, disk, start, length)
                file = f"{name}.{_FILES[what]}"
                _write(os.path.join(directory, os.fsencode(file)), data)
                images.append(Image(what, start, length, file, hashlib.sha256(data).hexdigest(), words(what, data)))
                notes += [f"{note} were saved"] if note else []
    except RollpointError as error:
        notes.append(error.message)
    table = disk.table
    return DiskRecord(name, os.fsdecode(disk.path), disk.size, disk.sector, disk.model, disk.serial, disk.wwn,
                      table.kind, table.id, table.first_partition, tuple(images), tuple(notes))


@contextlib.contextmanager
def opened(disk: Disk, flags: int = os.O_RDONLY) -> Iterator[int]:
    """Open a disk and yield its file descriptor. Raises RollpointError where it cannot be opened."""
    try:
        fd = os.open(disk.path, flags | os.O_CLOEXEC)
        if flags != os.O_RDONLY and not disk.image and struct.unpack("i", fcntl.ioctl(fd, _BLKROGET, bytes(4)))[0]:
            os.close(fd)
            raise OSError(errno.EROFS, "the kernel holds it read-only")
    except OSError as error:
        verb = "read" if flags == os.O_RDONLY else "written"
        raise RollpointError(f"the disk {disk.name} cannot be {verb}: {error.strerror}",
                             hint="run as root; a disk may also be set read-only (blockdev --setrw)") from error
    try:
        yield fd
    finally:
        os.close(fd)


def read_range(fd: int, disk: Disk, start: int, length: int) -> bytes:
    """Return `length` bytes of an open disk. Raises RollpointError on a read error or a disk that ends before."""
    data = bytearray()
    try:
        while len(data) < length:
            chunk = os.pread(fd, min(_CHUNK, length - len(data)), start + len(data))
            if not chunk:
                raise RollpointError(f"{disk.name} ends before byte {start + length}", hint="is the image complete?")
            data += chunk
    except OSError as error:
        raise RollpointError(f"{disk.name} cannot be read at byte {start + len(data)}: {error.strerror}",
                             hint="look for I/O errors in the kernel's log (dmesg)") from error
    return bytes(data)


def _write(path: bytes, data: bytes) -> None:
    """Write a new file durably, leaving blocks of zeroes as holes: most of a gap is empty."""
    with open(path, "wb", buffering=0) as file:
        fd = file.fileno()
        os.ftruncate(fd, len(data))
        for at in range(0, len(data), _BLOCK):
            block = data[at:at + _BLOCK]
            if any(block):
                os.pwrite(fd, block, at)
        os.fsync(fd)


def _sync(directory: bytes) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


# --- loading -------------------------------------------------------------------------------------------------------


def load(directory: bytes) -> BootRecord:
    """Return what was saved into a directory; every image is read and compared with its SHA-256.

    Raises RefusedError when there is nothing (or something of a newer format), DamageError when it is damaged.
    """
    record = index(directory)
    for disk in record.disks:
        for image in disk.images:
            record.data(image)
    return record


def index(directory: bytes) -> BootRecord:
    """Like `load`, but reads the record alone and none of the images (for a list or a screen)."""
    shown = printable(directory)
    try:
        text = _read(os.path.join(directory, RECORD))
        if sums(directory).get(os.fsdecode(RECORD)) != hashlib.sha256(text).hexdigest():
            raise DamageError(f"the record of boot pieces in {shown} is damaged: its SHA-256 is not the recorded one",
                              hint="choose another point")
        document = json.loads(text)
        if document["format"] > FORMAT:
            raise RefusedError(f"the boot pieces in {shown} were saved by a newer Rollpoint", hint="use that one")
        return _parse(document, directory)
    except FileNotFoundError:
        raise RefusedError(f"{shown} holds no boot pieces", hint="choose a point that has them") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamageError(f"the record of boot pieces in {shown} cannot be read: {error}",
                          hint="choose another point") from error


def _parse(document: dict[str, Any], directory: bytes) -> BootRecord:
    disks = []
    for entry in document["disks"]:
        images = tuple(Image(**i) for i in entry.pop("images"))
        if any("/" in i.file or i.what not in _FILES for i in images):
            raise ValueError("an image has a name or a kind that none can have")
        disk = DiskRecord(**entry, images=images)
        disks.append(replace(disk, notes=tuple(disk.notes)))
    return BootRecord(directory, document["firmware"], tuple(disks), tuple(Text(**t) for t in document["texts"]))


def sums(directory: bytes) -> dict[str, str]:
    """Return {file: SHA-256} as SHA256SUMS lists them. Raises FileNotFoundError when there is none."""
    lines = (line.split("  ", 1) for line in _read(os.path.join(directory, SUMS)).decode().splitlines())
    return {name: digest for digest, name in lines}


def damaged(directory: bytes) -> list[str]:
    """Return in words which of the saved files (texts too) are not what was saved; raises as `index` does."""
    index(directory)
    found = []
    for name, digest in sums(directory).items():
        try:
            data = _read(os.path.join(directory, os.fsencode(os.path.basename(name))))
        except OSError as error:
            found.append(f"boot/{printable(name)} cannot be read: {error.strerror}")
            continue
        if hashlib.sha256(data).hexdigest() != digest:
            found.append(f"boot/{printable(name)} is not what was saved")
    return found


def _read(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()
