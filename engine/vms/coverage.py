"""Which parts of a VM (its vm.cfg, each of its disks) restore points hold, and which no point holds.

Media that can be taken out are no part of a VM. A disk that is copied as a file while its VM runs is there, but not
consistent; that cannot be told from outside.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from engine.entries import Version
from engine.vms.inventory import Machine
from engine.vms.places import NETWORK, ON_DEVICES, DiskState

CONFIG = "vm.cfg"


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a VM: `what` is ``vm.cfg`` or the virtual device. `points` hold it, in any version; the `newest` of
    them, an id, has it as it is now (`same`: size and time are equal) or as it was. With no points, `why` says why."""

    what: str
    path: bytes
    points: int = 0
    newest: str = ""
    same: bool = False
    why: str = ""

    @property
    def held(self) -> bool:
        """Whether some point holds it."""
        return self.points > 0


def paths(machines: Iterable[Machine]) -> list[bytes]:
    """Return the paths (relative to the root) that `parts` has to know the versions of, each once."""
    found = dict.fromkeys(machine.file for machine in machines)
    return list(found | dict.fromkeys(disk.path for machine in machines for disk in _disks(machine) if disk.path))


def parts(machine: Machine, versions: Mapping[bytes, Sequence[Version]], root: bytes) -> list[Part]:
    """Return what of a VM is held. `versions`: for each of the `paths` its versions in all points, newest first."""
    return [_part(CONFIG, machine.file, "", versions, root),
            *(_part(disk.spec.vdev or "?", disk.path, _never(disk), versions, root) for disk in _disks(machine))]


def _disks(machine: Machine) -> list[DiskState]:
    return [disk for disk in machine.disks if not disk.spec.cdrom]


def _never(disk: DiskState) -> str:
    """Why points of files cannot hold a disk, "" where they can."""
    if disk.spec.problem:
        return "it is not understood"
    if disk.kind == NETWORK:
        return "it is on the network"
    return f"it is on a device ({disk.kind})" if disk.kind in ON_DEVICES else ""


def _part(what: str, path: bytes, never: str, versions: Mapping[bytes, Sequence[Version]], root: bytes) -> Part:
    found = () if never else versions.get(path, ())
    if not found:
        return Part(what, path, why=never or "no restore point holds it")
    return Part(what, path, sum(version.points for version in found), found[0].last, _same(found[0], root))


def _same(version: Version, root: bytes) -> bool:
    try:
        info = os.lstat(os.path.join(root, version.entry.path))
    except (OSError, ValueError):
        return False
    return (info.st_size, info.st_mtime_ns) == (version.entry.size, version.entry.mtime)
