"""Taking snapshots of logical volumes.

A thick one gets room of its own for the old blocks of what is written while it exists; a thin one shares the pool of
its origin, and must not be given a size: lvcreate would make a thick one of it. Each is made under the label of its
point, in the same command, so that there is none of ours without.

Several volumes are of several moments, a second or so apart: they cannot be frozen together. lvcreate freezes the file
system that it takes by itself, and where that is frozen already it fails and leaves the volume in disorder (tried with
Linux 6.1 and lvm2 2.03.16: "Manual intervention required").
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from engine.config import Config
from engine.errors import NoRoomError, RefusedError, RollpointError, ToolError
from engine.events import Job
from engine.machine.lvmreport import Lv, pool_fault, pool_of, whole
from engine.machine.mounts import mounts
from engine.machine.ramdisk import SNAPSHOTS, root_fault
from engine.results import SnapshotRequest
from engine.run import call
from engine.text import human_size, message, printable
from engine.volumes.lvmlist import NAME, SECONDS, Snapshot, failing, listed, remainders, remove
from engine.volumes.lvmtags import Label, cut, written

LEAST = 512 << 20
POOL_FULL = 95.0
READABLE = ("ext2", "ext3", "ext4", "xfs")
_LONGEST = 127          # of a device-mapper name: VG-LV with each - doubled, and -cow behind it
_QUICK = 30


@dataclass(frozen=True, slots=True)
class Planned:
    """A snapshot to be made: of which volume, where that is mounted (None: nowhere), and its size (0: a thin one)."""

    origin: Lv
    place: bytes | None
    size: int


def room(origin: Lv, percent: int) -> int:
    """Return the bytes that a thick snapshot gets: that part of its origin, at least 512 MiB, but never more than it
    can fill (the whole of the origin, and the list of its blocks), in whole extents."""
    full = origin.size + origin.size // 100
    return whole(min(max(origin.size * percent // 100, LEAST), full), origin.extent)


def plan(config: Config, volumes: Sequence[Lv], found: Sequence[Snapshot], mounted: Mapping[str, bytes], job: Job
         ) -> list[Planned]:
    """Return what is to be made. Raises RefusedError and NoRoomError, before anything is touched; what ``auto`` finds
    and cannot take is a warning."""
    named = [name for name in config.lvm.volumes if name != "auto"]
    chosen: dict[str, Planned] = {}
    for name in named:
        origin = next((lv for lv in volumes if lv.full_name == name and not lv.hidden), None)
        if origin is None:
            raise RefusedError(f"there is no logical volume {printable(name)}", hint="see `lvs`, and `volumes` in the "
                                                                                    "section `lvm`")
        why = against(config, origin, volumes, found) or _swap(origin)
        if why:
            raise RefusedError(message(f"no snapshot of {name} can be taken: {why}"), hint="put that right, or take it "
                               "out of `volumes` in the section `lvm`")
        chosen[name] = _planned(config, origin, mounted.get(name))
    if "auto" in config.lvm.volumes:
        taken = {s.lv.full_name for s in found} | chosen.keys()
        for origin, kind in _mounted(volumes):
            if origin.full_name in taken or origin.full_name not in mounted:
                continue
            taken.add(origin.full_name)
            why = against(config, origin, volumes, found)
            why = why or ("" if kind in READABLE else f"a snapshot of {kind} cannot be opened beside its original")
            if why:
                job.warn(message(f"{origin.full_name} is left out: {why}"))
            else:
                chosen[origin.full_name] = _planned(config, origin, mounted[origin.full_name])
    if not chosen:
        raise RefusedError("there is no logical volume to take a snapshot of",
                           hint="mount one, or name it in `volumes` of the section `lvm`")
    _fits(list(chosen.values()))
    _starts(list(chosen.values()), job)
    return list(chosen.values())


def _planned(config: Config, origin: Lv, place: bytes | None) -> Planned:
    return Planned(origin, place, 0 if origin.thin else room(origin, config.lvm.size))


def _mounted(volumes: Sequence[Lv]) -> Iterator[tuple[Lv, str]]:
    devices = {b"%d:%d" % (os.major(lv.device), os.minor(lv.device)): lv for lv in volumes if lv.active}
    for mount in mounts():
        if mount.root == b"/" and mount.device in devices:
            yield devices[mount.device], mount.fstype.decode("ascii", "replace")


def against(config: Config, origin: Lv, volumes: Sequence[Lv], found: Sequence[Snapshot]) -> str:
    """Return why no snapshot of a volume can be taken, "" when it can."""
    if any(s.lv.uuid == origin.uuid for s in found):
        return "it is itself a snapshot"
    if _holds(origin, config.store):
        return "the store lies on it: it would grow into the snapshot, and go back with the volume"
    if origin.thin:
        if origin.merging:
            return "a snapshot is being merged into it"
        pool = pool_of(origin, volumes)
        return pool_fault(pool, POOL_FULL) if pool is not None else f"its pool {origin.pool} is not listed"
    if origin.merging:
        return "a snapshot is being merged into it, and LVM takes no other meanwhile"
    if origin.is_pool or "private" in origin.roles:
        return "it is a part of other volumes"
    own = [s for s in found if s.kind == "thick" and s.origin_name == origin.full_name]
    if len(own) >= config.lvm.most:
        return (f"it has {len(own)} thick snapshots already, and each costs every write to it (`most` in the section "
                f"`lvm` is {config.lvm.most})")
    return ""


def _holds(origin: Lv, path: str) -> bool:
    """Whether a file that exists lies on a volume, also by way of what is stacked on it (LUKS)."""
    if not origin.device or not os.path.exists(path):
        return False
    waiting, seen = [os.stat(path).st_dev], set[int]()
    while waiting:
        device = waiting.pop()
        seen.add(device)
        try:
            below = os.listdir(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/slaves")
        except OSError:
            continue
        for name in below:
            with open(f"/sys/class/block/{name}/dev", encoding="ascii") as file:
                major, _, minor = file.read().partition(":")
                waiting.append(os.makedev(int(major), int(minor)))
    return origin.device in seen


def _swap(origin: Lv) -> str:
    if not origin.active:
        return ""
    with open("/proc/swaps", encoding="utf-8", errors="surrogateescape") as file:
        in_use = [line.split()[0] for line in file.read().splitlines()[1:]]
    if any(os.path.exists(path) and os.stat(path).st_rdev == origin.device for path in in_use):
        return "it is swap space in use"
    out = call(["blkid", "-p", "-o", "value", "-s", "TYPE", origin.node], ok=(0, 2), timeout=_QUICK)
    return "it is swap space" if out.strip() == b"swap" else ""


def _fits(planned: Sequence[Planned]) -> None:
    """Raise NoRoomError where a volume group has not the room for all that is to be made in it."""
    for group in sorted({p.origin.group for p in planned}):
        wanted = [p for p in planned if p.origin.group == group and p.size]
        need = sum(p.size for p in wanted)
        if need and need > wanted[0].origin.free:
            free = wanted[0].origin.free
            raise NoRoomError(
                f"the volume group {group} has {human_size(free)} free, and {len(wanted)} "
                f"{'snapshot needs' if len(wanted) == 1 else 'snapshots need'} {human_size(need)}", missing=need - free,
                hint="remove a snapshot, add a disk (vgextend), or lower `size` in the section `lvm`")


def _starts(planned: Sequence[Planned], job: Job) -> None:
    """Raise RefusedError when the machine would not start with a thick snapshot of its root."""
    if not any(p.place == b"" and p.size for p in planned):
        return
    fault = root_fault()
    if fault:
        raise RefusedError(fault[0], hint=fault[1])
    if fault is None:
        job.warn(f"whether the initramfs holds {SNAPSHOTS} could not be seen; without it the machine does not start "
                 "while its root has a snapshot")


def new_id(found: Sequence[Snapshot], when: datetime | None) -> str:
    """Return the id of a point that is taken now."""
    stamp = (when or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%d_%H-%M-%S")
    taken = {s.label.id for s in found if s.label}
    name, number = f"{stamp}-{NAME}", 1
    while name in taken:
        number += 1
        name = f"{stamp}-{NAME}-{number}"
    return name


def new_name(origin: Lv, point: str, volumes: Sequence[Lv]) -> str:
    """Return the name of the logical volume: ``ORIGIN-rp-YYYYMMDD-HHMMSS``, the origin's cut where it is too long for
    the device-mapper."""
    stamp = f"{point[:10].replace('-', '')}-{point[11:19].replace('-', '')}"
    taken = {lv.name for lv in volumes if lv.group == origin.group}
    number = 1
    while True:
        end = f"-rp-{stamp}" + (f"-{number}" if number > 1 else "")
        name = origin.name
        while len(f"{origin.group}-{name}{end}-cow") + f"{origin.group}{name}{end}".count("-") > _LONGEST:
            name = name[:-1]
        if name + end not in taken:
            return name + end
        number += 1


def make(planned: Sequence[Planned], request: SnapshotRequest, point: str, before: Sequence[Lv], job: Job) -> None:
    """Make the snapshots of one point; what fails half way is taken back. Raises RollpointError, which names what
    cannot be."""
    comment = cut(request.comment)
    if comment != request.comment:
        job.warn("the comment is too long for the tags of a logical volume: it was cut")
    labels: list[Label] = []
    try:
        for one in planned:
            job.progress("taking snapshots", len(labels), len(planned), current=one.origin.full_name.encode())
            label = Label(point, new_name(one.origin, point, before), one.origin.name, one.place, comment,
                          request.tags, request.pin, request.reason)
            labels.append(label)
            call(command(one, label), timeout=SECONDS)
    except ToolError as error:
        failed = planned[len(labels) - 1].origin.full_name
        raise failing(error, f"no snapshot of {failed} could be taken{_undone(labels, before)}") from error
    except BaseException:
        left = _undone(labels, before)
        if left:
            job.warn(left.removeprefix("; "))
        raise


def command(one: Planned, label: Label) -> list[str]:
    """Return the command that makes a snapshot."""
    size = ["-L", f"{one.size}b"] if one.size else []
    tags = [word for tag in written(label) for word in ("--addtag", tag)]
    return ["lvcreate", "-y", "-s", *size, "-n", label.name, *tags, one.origin.full_name]


def _undone(labels: Sequence[Label], before: Sequence[Lv]) -> str:
    """Remove what was made so far; returns words about what could not be."""
    left = []
    try:
        now = listed()
    except RollpointError as error:
        names = ", ".join(label.name for label in labels)
        return f"; {names} may be left, since lvs does not answer ({error.message}): remove them with lvremove"
    for label in labels:
        for snapshot in remainders(now, label, before):
            try:
                remove(snapshot)
            except RollpointError:
                left.append(snapshot.lv.full_name)
    return f"; remove by hand what is left of it: lvremove {' '.join(left)}" if left else ""
