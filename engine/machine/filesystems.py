"""File systems: those that are here, and those that a point recorded when it was taken.

Devices and paths are text (surrogate-escaped where a name is no UTF-8); engine/text.py makes them printable.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

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


@dataclass(frozen=True, slots=True)
class Recorded:
    """A file system as a point recorded it: where it was mounted (b"" is the root, else b"boot/efi"), what it was.
    `within` is the part of it that was mounted there: a subvolume of btrfs (``@home``), a bound directory; "" is all
    of it. Sizes are bytes; `size` is what the file system offers, less than its device has."""

    place: bytes
    fstype: str = ""
    uuid: str = ""
    device: str = ""
    label: str = ""
    size: int = 0
    used: int = 0
    within: str = ""

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
        found.append(Recorded(_place(source), kind, uuid, device, label, size, used, _within(source)))
    return tuple(found)


def described(place: bytes, within: bytes, **values: str | int) -> dict[str, Any]:
    """Return the entry of `sources` for the file system mounted at `place` (relative to the root)."""
    entry: dict[str, Any] = {"mount": shown_path(place), **values}
    if inner_path(entry["mount"]) != place:
        entry["mount_hex"] = place.hex()        # a name that text cannot hold
    if within:
        entry["within"] = printable(within)
        if printable(within).encode() != within:
            entry["within_hex"] = within.hex()
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


def same_uuid(one: str, other: str) -> bool:
    """Whether two UUIDs are given and the same (FAT's are written in either case)."""
    return bool(one) and one.lower() == other.lower()
