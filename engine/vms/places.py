"""Where a disk of a VM lies and what is there: kind, existence, size, and an identity that its aliases share.

Paths come from files that others can write: they are looked at with stat and never opened; what a path leads to is
followed inside the root, as in a chroot. The size of a device is read from /sys.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from engine.machine.tree import Tree
from engine.vms.diskspec import DiskSpec

EMPTY, ISO, FILE, PHYSICAL, LOGICAL, VOLUME, NETWORK, DRIVE = (
    "empty drive", "ISO", "virtual disk", "physical disk", "logical volume", "volume", "network disk", "host's drive")
ON_DEVICES = frozenset({PHYSICAL, LOGICAL, VOLUME, NETWORK})
"""The kinds that no copy of a repository's files can hold."""

Identity = tuple[str, int, int, str]

_SECTOR = 512
_WWID = re.compile(r"[12359][0-9a-f]{15,}(?:-part[0-9]+|p[0-9]+)?|mpath[a-z]+[0-9]*|SATA_.*|0QEMU.*", re.IGNORECASE)
_VG_LV = re.compile(r"((?:[^-]|--)+)-((?:[^-]|--)+)")
_VOLUMES = ("zvol", "drbd", "rbd", "loop", "nbd", "zd")
# Directories of /dev that are no volume groups.
_NOT_GROUPS = frozenset({"disk", "mapper", "block", "bus", "char", "md", "cciss", "ida", "input", "shm", "dri", "net",
                         "vx", "asm", "oracleasm", "raw", "rd", "i2o", "pts", "snd", "xen", "fd", "emcpower"})
_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR})


@dataclass(frozen=True, slots=True)
class DiskState:
    """A disk of a VM and what is there. `path` is where it leads, all links followed, relative to the root (b"": no
    path). `exists` is None where that cannot be said (`trouble` says why) or where there is no path. `apparent` and
    `allocated` are bytes; None: unknown. Two disks are the same thing where their `identity` is."""

    spec: DiskSpec
    kind: str
    path: bytes = b""
    exists: bool | None = None
    apparent: int | None = None
    allocated: int | None = None
    identity: Identity | None = None
    repository: bytes = b""
    trouble: str = ""


def look(tree: Tree, spec: DiskSpec, repositories: Sequence[bytes]) -> DiskState:
    """Return what there is of a disk. `repositories` are the places (relative to the root) it may lie in."""
    if not spec.target:
        return DiskState(spec, EMPTY)
    if not spec.is_path:
        return DiskState(spec, NETWORK, identity=("address", 0, 0, f"{spec.script}:{spec.target}"))
    name = os.fsencode(spec.target)
    inner, info, trouble = find(tree, name)
    inside = next((place for place in repositories if within(inner, place)), b"")
    if info is None:
        exists = None if trouble else False
        return DiskState(spec, _kind_by_name(spec, name), inner, exists, identity=("name", 0, 0, canonical(inner)),
                         repository=inside, trouble=trouble)
    kind = _kind(spec, name, info)
    if stat.S_ISBLK(info.st_mode):
        return DiskState(spec, kind, inner, True, _device_size(info.st_rdev),
                         identity=("device", os.major(info.st_rdev), os.minor(info.st_rdev), ""), repository=inside)
    if not stat.S_ISREG(info.st_mode):
        return DiskState(spec, kind, inner, True, identity=file_identity(info), repository=inside,
                         trouble="it is neither a file nor a block device")
    return DiskState(spec, kind, inner, True, info.st_size, allocated(info), file_identity(info), inside)


def find(tree: Tree, name: bytes) -> tuple[bytes, os.stat_result | None, str]:
    """Return where a name leads (relative to the root; the name itself where it leads nowhere), what is there, and why
    that cannot be said: "" where it is simply missing. Raises nothing."""
    try:
        inner = tree.inner(name)
        if inner is not None:
            return inner, os.lstat(os.path.join(tree.root, inner)), ""
        # The tree does not say why: a directory that may not be read, a loop of links, a dead server.
        os.stat(os.path.join(tree.root, name.lstrip(b"/")))
        return name.lstrip(b"/"), None, ""
    except ValueError:
        return name.lstrip(b"/"), None, "the name holds a NUL character"
    except OSError as error:
        reached = _reached(tree, name)
        return reached, None, "" if error.errno in _MISSING else error.strerror or str(error)


def _reached(tree: Tree, name: bytes) -> bytes:
    """The name with the directories on its way, as far as they exist, resolved: aliases of a missing file are one."""
    folder, rest = name.lstrip(b"/"), b""
    while folder:
        folder, _, last = folder.rpartition(b"/")
        rest = os.path.join(last, rest) if rest else last
        with contextlib.suppress(ValueError):
            inner = tree.inner(folder)
            if inner is not None:
                return os.path.join(inner, rest)
    return rest


def within(path: bytes, folder: bytes) -> bool:
    """Whether a path is a folder or lies in it; both relative to the root."""
    return path == folder or folder == b"" or path.startswith(folder + b"/")


def allocated(info: os.stat_result) -> int:
    """Return the bytes that a file takes on its disk."""
    return info.st_blocks * _SECTOR


def file_identity(info: os.stat_result) -> Identity:
    """Return what all names of a file share."""
    return "file", info.st_dev, info.st_ino, ""


def _kind(spec: DiskSpec, name: bytes, info: os.stat_result) -> str:
    if stat.S_ISREG(info.st_mode):
        return ISO if spec.cdrom or name.lower().endswith(b".iso") else FILE
    if stat.S_ISBLK(info.st_mode):
        made = _mapper_uuid(info.st_rdev)
        if made and not spec.cdrom:
            return LOGICAL if made.startswith("LVM-") else PHYSICAL
    return _kind_by_name(spec, name)


def _kind_by_name(spec: DiskSpec, name: bytes) -> str:
    """What a path that cannot be looked at, or whose device does not say, is by its name."""
    parts = os.fsdecode(name).strip("/").split("/")
    if parts[0] != "dev" or len(parts) < 2:
        return ISO if spec.cdrom or name.lower().endswith(b".iso") else FILE
    if spec.cdrom:
        return DRIVE
    if parts[1] in _VOLUMES or re.fullmatch(r"(?:zd|rbd|drbd|loop|nbd)[0-9]+\w*", parts[1]):
        return VOLUME
    if parts[1] == "mapper":
        last = parts[-1]
        return LOGICAL if _VG_LV.fullmatch(last) and not _WWID.fullmatch(last) else PHYSICAL
    return LOGICAL if len(parts) == 3 and parts[1] not in _NOT_GROUPS else PHYSICAL


def canonical(path: bytes) -> str:
    """Return one name for a path (relative to the root) that cannot be looked at: of a logical volume
    /dev/GROUP/VOLUME, which in /dev/mapper has its dashes doubled."""
    text = os.fsdecode(path)
    found = re.fullmatch(r"dev/mapper/(.*)", text, re.DOTALL)
    if found and not _WWID.fullmatch(found[1]) and (pair := _VG_LV.fullmatch(found[1])):
        return "dev/" + "/".join(part.replace("--", "-") for part in pair.groups())
    return text


def _mapper_uuid(device: int) -> str:
    """The name device-mapper's makers give a device: ``LVM-…``, ``mpath-…``, "" for others."""
    with contextlib.suppress(OSError):
        with open(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/dm/uuid", encoding="ascii",
                  errors="replace") as file:
            return file.read(200).strip()
    return ""


def _device_size(device: int) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        with open(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/size", encoding="ascii") as file:
            return int(file.read(40)) * _SECTOR
    return None
