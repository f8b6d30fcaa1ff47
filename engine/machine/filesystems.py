"""File systems: those that are here, and those that a point recorded when it was taken.

Devices and paths are text (surrogate-escaped where a name is no UTF-8); engine/text.py makes them printable.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import ToolError
from engine.machine.blockids import parse_blkid
from engine.machine.mounts import Mount, mount_of
from engine.run import call
from engine.text import inner_path, printable, shown_path


@dataclass(frozen=True, slots=True)
class FileSystem:
    """A file system that is here. `device` is a node (``/dev/sda2``) or a share (``server:/path``), `size` its bytes (0
    where nobody knows), `disk` the whole disk below it, with model and serial number; what it does not have is "".
    """

    device: str
    fstype: str = ""
    uuid: str = ""
    label: str = ""
    partuuid: str = ""
    size: int = 0
    disk: str = ""
    model: str = ""
    serial: str = ""
    mounted: tuple[str, ...] = ()       # where it is mounted already
    member: str = ""                    # of a btrfs on several devices: which one (UUID_SUB); a copy has the same


@dataclass(frozen=True, slots=True)
class Recorded:
    """A file system as a point recorded it: where it was mounted (b"" is the root, else b"boot/efi"), what it was.
    `within` is the part of it that was mounted there: a subvolume of btrfs (``@home``), a bound directory; "" is all
    of it. `plain` is a root that was only a directory of a file system. Sizes are bytes; `size` is what the file
    system offers, less than its device has."""

    place: bytes
    fstype: str = ""
    uuid: str = ""
    device: str = ""
    label: str = ""
    size: int = 0
    used: int = 0
    within: str = ""
    plain: bool = False
    partuuid: str = ""

    @property
    def mount(self) -> str:
        """The mount point as an absolute path (surrogate-escaped)."""
        return "/" + os.fsdecode(self.place)


def recorded(sources: Any) -> tuple[Recorded, ...]:
    """Return the `sources` of a point's document (see FORMAT.md), whatever an old or foreign one may hold."""
    found = []
    for source in sources if isinstance(sources, list | tuple) else ():
        if not isinstance(source, dict):
            continue
        kind, uuid, device, label = (str(source.get(key) or "") for key in ("type", "uuid", "device", "label"))
        size, used = (v if isinstance(v := source.get(key), int) else 0 for key in ("size", "used"))
        found.append(Recorded(_place(source), kind, uuid, device, label, size, used, _within(source),
                              source.get("plain") is True, str(source.get("partuuid") or "")))
    return tuple(found)


def described(one: Recorded) -> dict[str, Any]:
    """Return the entry of `sources` in a point's document."""
    entry: dict[str, Any] = {"mount": shown_path(one.place), "type": one.fstype, "device": one.device,
                             "uuid": one.uuid, "size": one.size, "used": one.used}
    entry |= {"label": one.label} if one.label else {}
    entry |= {"partuuid": one.partuuid} if one.partuuid else {}
    entry |= {"within": printable(one.within)} if one.within else {}
    entry |= {"plain": True} if one.plain else {}
    if inner_path(entry["mount"]) != one.place:         # names that printable text cannot hold
        entry["mount_hex"] = one.place.hex()
    if printable(one.within) != one.within:
        entry["within_hex"] = os.fsencode(one.within).hex()
    return entry


def _place(source: dict[str, Any]) -> bytes:
    exact = _unhexed(source.get("mount_hex"))
    return inner_path(str(source.get("mount") or "")) if exact is None else exact


def _within(source: dict[str, Any]) -> str:
    exact = _unhexed(source.get("within_hex"))
    return os.fsdecode(exact) if exact is not None else str(source.get("within") or "")


def _unhexed(value: Any) -> bytes | None:
    try:
        return bytes.fromhex(value) if isinstance(value, str) else None
    except ValueError:
        return None


def mounted_at(root: bytes, place: bytes, table: Sequence[Mount] | None = None) -> Recorded | None:
    """Return what is mounted at `place` below `root` (resolved, absolute), None where nothing is. The root itself is
    always something: where it is no mount point, a plain directory."""
    path = os.path.join(root, place) if place else root
    mount = mount_of(path, table)
    plain = mount.point != path
    if plain and place:
        return None
    within = b"" if plain else mount.root.strip(b"/")
    uuid, label, partuuid = names_of(mount)
    room = os.statvfs(path)
    return Recorded(place, printable(mount.fstype), uuid, printable(mount.source), label,
                    room.f_blocks * room.f_frsize, (room.f_blocks - room.f_bfree) * room.f_frsize,
                    os.fsdecode(within), plain, partuuid)


def names_of(mount: Mount) -> tuple[str, str, str]:
    """Return UUID, label and PARTUUID of the file system that is mounted, "" for what nobody can say: as root from the
    device itself, since udev may not have looked (on a rescue CD) or not again, else from the links that udev made."""
    device = mount.source
    if not device.startswith(b"/"):
        return "", "", ""
    if not os.path.exists(device):
        device = b"/dev/block/" + mount.device          # /dev/root
    if os.geteuid() == 0:
        with contextlib.suppress(ToolError):
            names = parse_probed(call(["blkid", "-p", "-o", "export", device], ok=(0, 2), timeout=20))
            if names[0]:
                return names
    uuid, label, partuuid = (_linked(b"/dev/disk/by-" + n, device) for n in (b"uuid", b"label", b"partuuid"))
    return uuid, label, partuuid


def parse_probed(out: bytes) -> tuple[str, str, str]:
    """Return UUID, label and PARTUUID from `blkid -p -o export`, which has another name for the last one."""
    found = parse_blkid(b"DEVNAME=x\n" + out.replace(b"\nPART_ENTRY_UUID=", b"\nPARTUUID=")).all
    return (found[0].uuid, found[0].label, found[0].partuuid) if found else ("", "", "")


def _linked(directory: bytes, device: bytes) -> str:
    with contextlib.suppress(OSError):
        wanted = os.path.realpath(device)
        for name in os.listdir(directory):
            if os.path.realpath(os.path.join(directory, name)) == wanted:
                return printable(name)
    return ""


def same_uuid(one: str, other: str) -> bool:
    """Whether two UUIDs are given and the same (FAT's are written in either case)."""
    return bool(one) and one.lower() == other.lower()


def same_type(one: str, other: str) -> bool:
    """Whether two file system types are the same; ext2, ext3 and ext4 are one family, any of its names will do."""
    return one == other or {one, other} <= {"ext2", "ext3", "ext4"}


def may_merge(place: bytes) -> bool:
    """Whether what was a file system of its own at `place` can become a directory: not the root, and nothing that the
    firmware looks for as a file system. (A merged /boot needs GRUB and its menu anew: engine.bootmaking judges whether
    that can be.)"""
    return bool(place) and (place == b"boot" or place.split(b"/")[0] not in (b"boot", b"efi"))
