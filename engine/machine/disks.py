"""Disks: who they are (size, model, serial, table), and which of them lie below a mounted path.

What the kernel knows is read from sysfs (Documentation/ABI/stable/sysfs-block of Linux); its root is a parameter, and
an image file counts as a disk too, so that everything can be tried without one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine.errors import RefusedError, RollpointError, UsageError
from engine.machine.mounts import Mount, mount_of
from engine.machine.partitions import Table, read_table
from engine.text import printable

SYS = b"/sys"
_BLKSSZGET = 0x1268         # linux/fs.h: _IO(0x12, 104), the logical sector size
_DEPTH = 16                 # of devices on devices; real ones have three or four
# Device mapper targets that are whole disks to the firmware: dm/uuid begins with one of these.
_WHOLE = (b"mpath-", b"DMRAID-")


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk or an image file. Sizes are bytes; `model`, `serial` and `wwn` are "" where nobody knows them."""

    path: bytes
    size: int
    sector: int
    table: Table
    image: bool = False
    model: str = ""
    serial: str = ""
    wwn: str = ""

    @property
    def name(self) -> str:
        """The path, printable."""
        return printable(self.path)


def read_disk(path: bytes, sys: bytes = SYS, sector: int | None = None) -> Disk:
    """Return what can be known of a disk or an image file; `sector` overrides the logical sector size of an image.

    Raises UsageError when `path` is neither, RollpointError when it cannot be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise RollpointError(f"the disk {printable(path)} cannot be read: {error.strerror}",
                             hint="run as root, and check the path") from error
    try:
        info = os.fstat(fd)
        if not (stat.S_ISBLK(info.st_mode) or stat.S_ISREG(info.st_mode)):
            raise UsageError(f"{printable(path)} is neither a disk nor an image file", hint="name a disk as /dev/sda")
        block = stat.S_ISBLK(info.st_mode)
        if block:
            sector = struct.unpack("i", fcntl.ioctl(fd, _BLKSSZGET, bytes(4)))[0]
        size = os.lseek(fd, 0, os.SEEK_END)
        table = read_table(fd, size, sector)
    except OSError as error:
        raise RollpointError(f"the disk {printable(path)} cannot be read: {error.strerror}",
                             hint="look for I/O errors in the kernel's log (dmesg)") from error
    finally:
        os.close(fd)
    model, serial, wwn = _identity(sys, info.st_rdev) if block else ("", "", "")
    return Disk(path, size, table.sector, table, not block, model, serial, wwn)


def all_disks(sys: bytes = SYS, dev: bytes = b"/dev") -> list[bytes]:
    """Return the device nodes of all whole disks this kernel has: no RAM, loops, CDs, or drives without a medium."""
    found = []
    for name in _names(os.path.join(sys, b"block")):
        at = os.path.join(sys, b"block", name)
        kept_out = name.startswith((b"ram", b"zram", b"loop", b"sr", b"fd", b"nbd"))
        dm = _text(os.path.join(at, b"dm/uuid"))
        if kept_out or _text(os.path.join(at, b"size")) in (b"", b"0"):
            continue
        if (name.startswith(b"dm-") and not dm.startswith(_WHOLE)) or _taken_whole(sys, at):
            continue
        if name.startswith(b"md") and not any(_has_partition(at, n) for n in _names(at)):
            continue
        found.append(os.path.join(dev, _node(at)))
    return sorted(found)


def partition_of(device: bytes, sys: bytes = SYS, dev: bytes = b"/dev") -> tuple[bytes, int] | None:
    """Return the disk of a partition (its device node) and its number there; None for what is no partition."""
    with contextlib.suppress(OSError, ValueError):
        rdev = os.stat(device).st_rdev
        at = os.path.realpath(os.path.join(sys, b"dev/block/%d:%d" % (os.major(rdev), os.minor(rdev))))
        return os.path.join(dev, _node(os.path.dirname(at))), int(_text(os.path.join(at, b"partition")))
    return None


def _taken_whole(sys: bytes, at: bytes) -> bool:
    """Whether a disk is only a path to, or a member of, what the firmware sees as one disk (multipath, fake RAID)."""
    holders = (os.path.join(sys, b"block", h, b"dm/uuid") for h in _names(os.path.join(at, b"holders")))
    return any(_text(h).startswith(_WHOLE) for h in holders)


def _has_partition(at: bytes, name: bytes) -> bool:
    return os.path.exists(os.path.join(at, name, b"partition"))


def disks_below(path: bytes, sys: bytes = SYS, dev: bytes = b"/dev", table: Sequence[Mount] | None = None
                ) -> list[bytes]:
    """Return the device nodes of the disks on which the file system at `path` (absolute) lies, sorted.

    Partitions lead to their disk; LVM, dm-crypt and md to all the disks below them; multipath and RAID volumes that
    have partitions of their own are themselves what the firmware boots from. Raises RefusedError where the kernel
    does not say (ZFS, overlay, network file systems): then the disks have to be named.
    """
    mount = mount_of(path, table)
    numbers = _btrfs(sys, mount) if mount.device.startswith(b"0:") else [mount.device]
    found: set[bytes] = set()
    for number in numbers:
        place = os.path.realpath(os.path.join(sys, b"dev/block", number))
        if os.path.isdir(place):
            found.update(_climb(sys, place, 0))
    if not found:
        raise RefusedError(f"on which disks {printable(path)} lies cannot be found out ({printable(mount.fstype)} on "
                           f"{printable(mount.source)})", hint="name them in the configuration: boot: {disks: [PATH]}")
    return sorted(os.path.join(dev, _node(place)) for place in found)


def _climb(sys: bytes, place: bytes, depth: int) -> Iterator[bytes]:
    """Yield the sysfs directories of the disks below a block device."""
    if depth > _DEPTH:
        return
    if os.path.exists(os.path.join(place, b"partition")):
        disk = os.path.dirname(place)
        if not _taken_whole(sys, disk):
            yield disk      # also a partitioned md or multipath device: the firmware sees no deeper either
            return
        place = disk
    uuid = _text(os.path.join(place, b"dm/uuid"))
    below = _names(os.path.join(place, b"slaves"))
    holders = [os.path.realpath(os.path.join(place, b"holders", h)) for h in _names(os.path.join(place, b"holders"))]
    whole = [h for h in holders if _text(os.path.join(h, b"dm/uuid")).startswith(_WHOLE)]
    if whole:
        yield whole[0]
    elif uuid.startswith(_WHOLE) or not below:
        yield place
    else:
        for name in below:
            yield from _climb(sys, os.path.realpath(os.path.join(place, b"slaves", name)), depth + 1)


def _btrfs(sys: bytes, mount: Mount) -> list[bytes]:
    """Return the device numbers of all devices of a btrfs, whose own number (0:N) stands for no device."""
    if mount.fstype != b"btrfs":
        return []
    with contextlib.suppress(OSError):
        rdev = os.stat(mount.source).st_rdev
        wanted = b"%d:%d" % (os.major(rdev), os.minor(rdev))
        for system in _names(os.path.join(sys, b"fs/btrfs")):
            at = os.path.join(sys, b"fs/btrfs", system, b"devices")
            numbers = [_text(os.path.join(at, name, b"dev")) for name in _names(at)]
            if wanted in numbers:
                return numbers
        return [wanted]
    return []


def _node(place: bytes) -> bytes:
    """Return the name in /dev of a block device: the kernel's own, as uevent gives it (``cciss/c0d0``)."""
    for line in _text(os.path.join(place, b"uevent")).splitlines():
        if line.startswith(b"DEVNAME="):
            return line[8:]
    return os.path.basename(place).replace(b"!", b"/")


def _identity(sys: bytes, rdev: int) -> tuple[str, str, str]:
    """Return (model, serial, wwn) of a block device, "" for what the kernel does not know."""
    at = os.path.realpath(os.path.join(sys, b"dev/block/%d:%d" % (os.major(rdev), os.minor(rdev))))
    page = _text(os.path.join(at, b"device/vpd_pg80"))      # SCSI: page 80, four bytes of header
    serials = (_text(os.path.join(at, b"serial")), _text(os.path.join(at, b"device/serial")), page[4:],
               _text(os.path.join(at, b"md/uuid")))
    multipath = _text(os.path.join(at, b"dm/uuid"))         # mpath-WWID: of the disk, whatever path leads to it
    wwns = (_text(os.path.join(at, b"wwid")), _text(os.path.join(at, b"device/wwid")),
            multipath[6:] if multipath.startswith(b"mpath-") else b"")
    return _first(_text(os.path.join(at, b"device/model"))), _first(*serials), _first(*wwns)


def _first(*values: bytes) -> str:
    return next((printable(v) for value in values if (v := value.strip(b"\0 \t\n"))), "")


def _text(path: bytes) -> bytes:
    with contextlib.suppress(OSError), open(path, "rb") as file:
        return file.read(4096).strip()
    return b""


def _names(path: bytes) -> list[bytes]:
    with contextlib.suppress(OSError):
        return sorted(os.listdir(path))
    return []
