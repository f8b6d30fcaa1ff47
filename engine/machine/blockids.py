"""What block devices are called: UUID=, LABEL=, PARTUUID= and paths, and whether such a name leads to something here.

Known from `lsblk -J` and `blkid -o export` (both print what libblkid probed), so that the answer can also be given for
the devices of another day or machine, from a saved text.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import ToolError
from engine.run import call

FOUND, MISSING, UNKNOWN = "found", "missing", "unknown"
_TAGS = ("uuid", "label", "partuuid", "partlabel")
_NAMES = ("fstype", *_TAGS)
_CONTAINERS = {"crypto_LUKS": "an encrypted volume", "LVM2_member": "a physical volume of LVM",
               "linux_raid_member": "a part of a RAID"}
_COLUMNS = "NAME,PATH,TYPE,FSTYPE,UUID,LABEL,PARTUUID,PARTLABEL"
_BY = re.compile(r"/dev/disk/by-(uuid|label|partuuid|partlabel)/(.+)")


@dataclass(frozen=True, slots=True)
class Device:
    """One block device; what it does not have is "". `opened` tells whether something was made of what it contains."""

    path: str
    fstype: str = ""
    uuid: str = ""
    label: str = ""
    partuuid: str = ""
    partlabel: str = ""
    opened: bool = True


@dataclass(frozen=True, slots=True)
class Devices:
    """All block devices there are."""

    all: tuple[Device, ...]

    @property
    def closed(self) -> tuple[str, ...]:
        """Containers that nobody has opened, in words: what is inside them cannot be seen from here."""
        return tuple(f"{_CONTAINERS[d.fstype]} ({d.path})" for d in self.all
                     if d.fstype in _CONTAINERS and not d.opened)

    def find(self, spec: str) -> tuple[str, Device | None]:
        """Look for what fstab, crypttab or root= names; returns (FOUND, MISSING or UNKNOWN, the device).

        UNKNOWN: a name of another kind (network, ZFS, by-id), or one that may be hidden in a closed container.
        """
        tag, value = split_spec(spec)
        if not tag:
            return UNKNOWN, None
        if tag == "path":
            names = {value, *_lvm_names(value)}
            device = next((d for d in self.all if d.path in names), None)
        else:
            device = next((d for d in self.all if _same(tag, getattr(d, tag), value)), None)
        if device is not None:
            return FOUND, device
        inside = tag in ("uuid", "label") or (tag == "path" and _made(value))
        return (UNKNOWN if self.closed and inside else MISSING), None

    def has(self, tag: str, value: str) -> bool:
        """Whether a device with this uuid, label, partuuid or partlabel is here."""
        return any(_same(tag, getattr(d, tag), value) for d in self.all)


def split_spec(spec: str) -> tuple[str, str]:
    """Return (uuid, label, partuuid, partlabel or path; its value), ("", "") for names of another kind."""
    spec = spec.strip('"')
    name, mark, value = spec.partition("=")
    if mark and name.lower() in _TAGS:
        return name.lower(), value.strip('"\'')
    by = _BY.fullmatch(spec)
    if by:
        # udev writes what is no plain character as \xNN
        return by[1], re.sub(r"\\x([0-9a-fA-F]{2})", lambda m: chr(int(m[1], 16)), by[2])
    if spec.startswith("/dev/") and not spec.startswith(("/dev/disk/", "/dev/nfs", "/dev/zvol/", "/dev/fd")):
        return "path", spec
    return "", ""


def _same(tag: str, one: str, other: str) -> bool:
    """Compare two identifiers: UUIDs of any kind without regard to case, labels exactly."""
    if not one or not other:
        return False
    return one.lower() == other.lower() if tag in ("uuid", "partuuid") else one == other


def _made(path: str) -> bool:
    """Whether a path is of a device that is made of others: LVM, dm-crypt, md."""
    return path.startswith(("/dev/mapper/", "/dev/md", "/dev/dm-")) or path.count("/") == 3


def _lvm_names(path: str) -> Iterator[str]:
    """Yield the other name of a logical volume: /dev/VG/LV is /dev/mapper/VG-LV, with hyphens in names doubled."""
    parts = path.split("/")
    if len(parts) == 4 and parts[2] != "mapper":
        yield "/dev/mapper/" + "-".join(p.replace("-", "--") for p in parts[2:])


def parse_lsblk(text: bytes) -> Devices:
    """Return the devices of `lsblk -J` (any columns, as a tree). Raises ValueError when that is no JSON of lsblk."""
    document = json.loads(text)
    try:
        return Devices(tuple(_nodes(document["blockdevices"])))
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"not what lsblk prints: {error}") from error


def parse_stacks(text: bytes) -> dict[str, tuple[str, ...]]:
    """Return for each device of `lsblk -J` the paths of what it lies on, the disk first and itself last; of several
    ways down (RAID, LVM on two disks) the first. Raises ValueError when that is no JSON of lsblk."""
    found: dict[str, tuple[str, ...]] = {}

    def walk(nodes: list[Mapping[str, Any]], above: tuple[str, ...]) -> None:
        for node in nodes:
            path = _path(node)
            found.setdefault(path, (*above, path))
            walk(node.get("children") or [], (*above, path))

    try:
        walk(json.loads(text)["blockdevices"], ())
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"not what lsblk prints: {error}") from error
    return found


def _path(node: Mapping[str, Any]) -> str:
    mapped = node.get("type") in ("lvm", "crypt", "dm", "mpath", "dmraid")     # before 2.33 there is no path
    return str(node.get("path") or ("/dev/mapper/" if mapped else "/dev/") + str(node.get("name") or ""))


def _nodes(nodes: list[Mapping[str, Any]]) -> Iterator[Device]:
    for node in nodes:
        below = node.get("children") or []
        yield _device(_path(node), {name: str(node.get(name) or "") for name in _NAMES}, bool(below))
        yield from _nodes(below)


def parse_blkid(text: bytes) -> Devices:
    """Return the devices of `blkid -o export`. It does not say what is opened: containers count as open."""
    found = []
    for block in text.decode("utf-8", "surrogateescape").split("\n\n"):
        values = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        if "DEVNAME" in values:
            tags = {tag: _unescaped(values.get(tag.upper(), "")) for tag in _TAGS}
            found.append(_device(values["DEVNAME"], {"fstype": values.get("TYPE", ""), **tags}, True))
    return Devices(tuple(found))


def parse_blkid_lines(text: bytes) -> Devices:
    """Return the devices of `blkid` as it prints them for people: ``/dev/sda1: UUID="…" TYPE="…"``."""
    found = []
    for line in text.decode("utf-8", "surrogateescape").splitlines():
        path, mark, rest = line.partition(": ")
        values = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', rest))
        if mark and values:
            tags = {tag: _unescaped(values.get(tag.upper(), "")) for tag in _TAGS}
            found.append(_device(path, {"fstype": values.get("TYPE", ""), **tags}, True))
    return Devices(tuple(found))


def merged(probed: Devices, listed: Devices) -> Devices:
    """Return the devices of both: lsblk, which `listed` them, asks udev, and on a rescue system that may not have
    looked; what blkid `probed` itself stays."""
    seen = {device.path: device for device in probed.all}
    for device in listed.all:
        other = seen.get(device.path)
        seen[device.path] = device if other is None else _merged(other, device)
    return Devices(tuple(seen.values()))


def _device(path: str, values: Mapping[str, str], opened: bool) -> Device:
    return Device(path, values["fstype"], values["uuid"], values["label"], values["partuuid"], values["partlabel"],
                  opened)


def _unescaped(value: str) -> str:
    return re.sub(r"\\(.)", r"\1", value)


def present() -> Devices | None:
    """Return the block devices of this machine, None where neither tool can tell."""
    seen = Devices(())
    for argv, parse in ((("blkid", "-o", "export"), parse_blkid), (("lsblk", "-J", "-o", _COLUMNS), parse_lsblk)):
        with contextlib.suppress(ToolError, ValueError):
            seen = merged(seen, parse(call(argv, ok=(0, 2), timeout=20)))
    return seen if seen.all else None


def stacks() -> dict[str, tuple[str, ...]]:
    """Return `parse_stacks` of this machine, {} where lsblk cannot tell."""
    try:
        return parse_stacks(call(("lsblk", "-J", "-o", _COLUMNS), timeout=20))
    except (ToolError, ValueError):
        return {}


def _merged(probed: Device, listed: Device) -> Device:
    values = {name: str(getattr(listed, name) or getattr(probed, name)) for name in _NAMES}
    return _device(listed.path, values, listed.opened)
