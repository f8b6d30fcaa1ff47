"""Which parts of a VM (its vm.cfg, each of its disks) restore points hold, and which no point holds.

Points of files are known to hold a file, and as it is now or as it was. Of a snapshot that the storage keeps it is
known only that the file's file system, or the volume that the disk is, is in it: nobody has looked inside.

Media that can be taken out are no part of a VM. A disk that is copied as a file while its VM runs is there, but not
consistent; that cannot be told from outside.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from engine.entries import Version
from engine.points import RestorePoint
from engine.vms.inventory import Machine
from engine.vms.places import NETWORK, ON_DEVICES, DiskState

CONFIG = "vm.cfg"
FILE, FILE_SYSTEM, WHOLE = "file", "file system", "volume"
NONE, NONE_ASKED = "no restore point holds it", "no restore point that could be asked holds it"


@dataclass(frozen=True, slots=True)
class Share:
    """What the points of one backend hold of a part: how many do, the `newest` of them (an id) and `when` that was
    taken (UTC, as ids begin). `what` is in them: the ``file`` itself (`same`: as it is now), its ``file system`` or the
    ``volume`` that the disk is (`same` is None: nobody has looked inside)."""

    backend: str
    points: int
    newest: str
    when: str
    same: bool | None
    what: str = FILE


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a VM: `what` is ``vm.cfg`` or the virtual device. `points` hold it, in any version; the `newest` of
    them, an id, has it as it is now (`same`: size and time are equal) or as it was; None: it has the file system or the
    volume, and nobody has looked inside. `shares` say the same for each backend, the one with the newest point first.
    With no points, `why` says why."""

    what: str
    path: bytes
    points: int = 0
    newest: str = ""
    same: bool | None = False
    why: str = ""
    shares: tuple[Share, ...] = ()

    @property
    def held(self) -> bool:
        """Whether some point holds it."""
        return self.points > 0

    def with_shares(self, more: Iterable[Share]) -> Part:
        """Return the part with what other points hold of it counted in; of points of one second the first counts as
        the newest."""
        shares = tuple(sorted((*self.shares, *more), key=lambda share: share.when, reverse=True))
        if not shares:
            return self
        return Part(self.what, self.path, sum(share.points for share in shares), shares[0].newest, shares[0].same, "",
                    shares)


@dataclass(frozen=True, slots=True)
class Coverage:
    """What points hold of VMs: the parts of each by the path of its configuration. `points` are those of the storage
    and of VMs that were asked (the replica's are not among them); `troubles` say whose could not be."""

    parts: Mapping[bytes, list[Part]]
    points: tuple[RestorePoint, ...] = ()
    troubles: tuple[str, ...] = ()


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
        return "on the network"
    return f"on a device ({disk.kind})" if disk.kind in ON_DEVICES else ""


def _part(what: str, path: bytes, never: str, versions: Mapping[bytes, Sequence[Version]], root: bytes) -> Part:
    found = () if never else versions.get(path, ())
    part = Part(what, path, why=never or NONE)
    if not found:
        return part
    newest = found[0]
    return part.with_shares([Share("replica", sum(version.points for version in found), newest.last, newest.last[:19],
                                   _same(newest, root))])


def in_doubt(part: Part) -> Part:
    """Return a part as it is when not all points could be asked."""
    if part.held:
        return part
    return replace(part, why=NONE_ASKED if part.why == NONE else f"{part.why}, and not all points could be asked")


def _same(version: Version, root: bytes) -> bool:
    try:
        info = os.lstat(os.path.join(root, version.entry.path))
    except (OSError, ValueError):
        return False
    return (info.st_size, info.st_mtime_ns) == (version.entry.size, version.entry.mtime)
