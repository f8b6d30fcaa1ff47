"""Which of the disks that are here is the one that was recorded: by who it is, never by its name in /dev.

Device names change between two starts of one machine, and a rescue CD finds disks in another order. A disk is the
recorded one when its size is the same and its serial number, WWN or disk signature (GUID) says so, and none of the
first two says otherwise. What does not fit is refused with the reason; the admin can still name a disk himself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from engine.errors import UsageError
from engine.machine.bootimages import DiskRecord
from engine.machine.disks import Disk
from engine.text import printable


@dataclass(frozen=True, slots=True)
class Match:
    """What became of one recorded disk: the `disk` it is now, or None and the reason; `warnings` are sentences."""

    recorded: DiskRecord
    disk: Disk | None
    reason: str = ""
    warnings: tuple[str, ...] = ()


def match(recorded: Sequence[DiskRecord], disks: Sequence[Disk], named: Mapping[str, bytes],
          store_disks: Collection[bytes] = ()) -> tuple[Match, ...]:
    """Find each recorded disk among `disks`. `named` maps a recorded disk's name (``disk-1``) to a path that the
    admin chose; `store_disks` are the paths of the disks that hold the store, which nobody can choose.

    Raises UsageError when `named` names a disk that is not there, or one twice.
    """
    by_path = {d.path: d for d in disks}
    known = {r.name for r in recorded}
    for name, path in named.items():
        if name not in known or path not in by_path:
            raise UsageError(f"no disk {printable(path)} for the recorded {printable(name)}",
                             hint=f"recorded are {', '.join(sorted(known))}; check the path")
    if len(set(named.values())) < len(named):
        raise UsageError("two recorded disks cannot be the same disk", hint="name another disk for one of them")
    found = [_chosen(r, by_path[named[r.name]], store_disks) if r.name in named
             else _found(r, [d for d in disks if d.path not in named.values()]) for r in recorded]
    return tuple(_once(found))


def _chosen(recorded: DiskRecord, disk: Disk, store_disks: Collection[bytes]) -> Match:
    against, _ = _judge(recorded, disk)
    if against and disk.path in store_disks:
        return Match(recorded, None, f"{disk.name} holds the store and is not the recorded disk ({against})")
    warning = f"{disk.name} is not the disk that was recorded: {against}" if against else ""
    return Match(recorded, disk, warnings=(warning,) if warning else ())


def _found(recorded: DiskRecord, disks: Sequence[Disk]) -> Match:
    judged = [(disk, *_judge(recorded, disk)) for disk in disks]
    fits = [(disk, weight) for disk, against, weight in judged if not against]
    best = [disk for disk, weight in fits if weight == max(w for _, w in fits)]
    if not fits:
        why = "; ".join(f"{disk.name}: {against}" for disk, against, _ in judged) or "there is no disk at all"
        return Match(recorded, None, f"the recorded disk {printable(recorded.path)} is not here ({why})")
    if len(best) > 1 and not _same_disk(best):
        names = " and ".join(disk.name for disk in best)
        return Match(recorded, None, f"{names} both look like the recorded disk {printable(recorded.path)}")
    disk = best[0]
    if recorded.id != disk.table.id:
        return Match(recorded, disk, warnings=(
            f"the partition table of {disk.name} was made anew since: its identifier was {recorded.id or 'none'} "
            f"and is {disk.table.id or 'none'}",))
    return Match(recorded, disk)


def _judge(recorded: DiskRecord, disk: Disk) -> tuple[str, int]:
    """Return (what speaks against it, "" if nothing; how much speaks for it)."""
    if disk.size != recorded.size:
        return f"its size is {disk.size} bytes, recorded are {recorded.size}", 0
    if recorded.serial and disk.serial and recorded.serial != disk.serial:
        return f"its serial number is {disk.serial}, recorded is {recorded.serial}", 0
    same_serial = bool(recorded.serial) and recorded.serial == disk.serial
    same_wwn = _same_wwn(recorded.wwn, disk.wwn)
    if same_serial and recorded.model and disk.model and recorded.model != disk.model:
        return f"its model is {disk.model}, recorded is {recorded.model}", 0
    same_id = bool(recorded.id) and recorded.id == disk.table.id
    weight = 2 * same_serial + 2 * same_wwn + same_id
    if weight:
        return "", weight
    if recorded.id and disk.table.id:
        return f"its identifier is {disk.table.id}, recorded is {recorded.id}", 0
    return "nothing identifies it (no serial number, WWN or disk signature on both sides)", 0


def _same_wwn(one: str, other: str) -> bool:
    """Whether two WWNs are the same: ``naa.6001…`` of sysfs is ``36001…`` to multipath."""
    a, b = (w.lower().rpartition(".")[2] for w in (one, other))
    return min(len(a), len(b)) >= 16 and (a.endswith(b) or b.endswith(a))


def _same_disk(disks: Sequence[Disk]) -> bool:
    """Whether these are several paths to one disk (multipath that nobody has put together)."""
    return len({(d.serial, d.wwn) for d in disks}) == 1 and bool(disks[0].serial or disks[0].wwn)


def _once(found: Sequence[Match]) -> Iterator[Match]:
    """Refuse a disk that two recorded ones would be written to."""
    paths = [m.disk.path for m in found if m.disk is not None]
    for one in found:
        if one.disk is not None and paths.count(one.disk.path) > 1:
            yield Match(one.recorded, None, f"{one.disk.name} looks like more than one of the recorded disks")
        else:
            yield one
