"""Which logical volumes are snapshots, and which points they make.

`Snapshot` is made here and nowhere else, from what lvs has just said: it is what `remove` takes, so that nothing but a
snapshot can be removed.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from engine.errors import ChangedError, RefusedError, RollpointError, ToolError
from engine.machine import lvmreport
from engine.machine.lvmreport import Lv, pool_of
from engine.machine.momentparts import PREFIX as MOMENTARY
from engine.machine.mounts import mounts
from engine.points import Part, RestorePoint
from engine.run import call
from engine.text import message
from engine.volumes.lvmtags import Label, read
from engine.volumes.owners import ID, UNKNOWN, owner_of_lvm

NAME = "lvm"
LIST_SECONDS = 40      # less than engine.backends.LIMIT
SECONDS = 300
ORPHAN = "orphan"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A logical volume that is a snapshot. `kind` is ``thick``, ``thin``, ``orphan`` (a thin one of ours whose origin
    LVM has forgotten, since another one was merged into it) or ``remainder`` (what a failed lvcreate of ours left).
    `origin` is the name of its origin as lvs says, else as our tags do; `label` what our tags say."""

    lv: Lv
    kind: str
    origin: str
    label: Label | None
    owner: str

    @property
    def origin_name(self) -> str:
        """VG/LV of the origin."""
        return f"{self.lv.group}/{self.origin}"

    @property
    def damaged(self) -> str:
        """Why it cannot be used, "" when it can."""
        if self.lv.overflowed:
            return f"{self.lv.full_name} overflowed: more was written to {self.origin_name} than it had room for"
        if self.lv.merge_failed:
            return f"merging {self.lv.full_name} has failed"
        return f"{self.lv.full_name} has failed: devices are missing, or its pool is" if self.lv.failed else ""

    @property
    def state(self) -> str:
        """``ok``, ``damaged`` or ``merging``."""
        return "damaged" if self.damaged else "merging" if self.lv.merging else "ok"

    @property
    def working(self) -> bool:
        """Whether somebody may use it as a volume of its own and not as a copy to go back to: a thin one that is
        activated by itself and may be written to, as containers and virtual machines have them."""
        whose = self.kind == ORPHAN or (self.kind == "thin" and self.owner == UNKNOWN)
        return whose and self.lv.writable and not self.lv.skipped


def listed() -> list[Lv]:
    """Return all logical volumes. Raises ToolError, RollpointError."""
    return lvmreport.read(lambda argv: call(argv, timeout=LIST_SECONDS))


def any_here(devices: str = "/sys/dev/block") -> bool:
    """Whether this machine has an active logical volume, told without any tool."""
    try:
        numbers = os.listdir(devices)
    except OSError:
        return False
    for number in numbers:
        try:
            with open(f"{devices}/{number}/dm/uuid", encoding="ascii", errors="replace") as file:
                if file.read().startswith("LVM-"):
                    return True
        except OSError:
            continue
    return False


def snapshots(volumes: Sequence[Lv]) -> list[Snapshot]:
    """Return those that are snapshots, less the momentary ones."""
    found = []
    pooled = {(lv.group, lv.name) for lv in volumes if lv.pool}
    for lv in volumes:
        if lv.name.startswith(MOMENTARY):
            continue
        label = read(lv.tags)
        label = label if label is None or not label.id or ID.fullmatch(label.id) else None
        kind = _kind(lv, pooled, label)
        if kind:
            origin = lv.origin or (label.origin if label else "")
            owner = "" if label and label.id else owner_of_lvm(lv.full_name)
            found.append(Snapshot(lv, kind, origin, label, owner))
    return found


def together(found: Sequence[Snapshot], origins: Collection[str]) -> list[Snapshot]:
    """Return the snapshots of these volumes (VG/LV), and of the others what was taken with them: a point of which only
    some volumes are named is whole, and what is done to it is done to all of it."""
    ours = {s.label.id for s in found if s.label and s.label.id and s.origin_name in origins}
    return [s for s in found if s.origin_name in origins or (s.label is not None and s.label.id in ours)]


def _kind(lv: Lv, pooled: Set[tuple[str, str]], label: Label | None) -> str:
    if lv.origin and ("thicksnapshot" in lv.roles or (lv.attr[:1] in ("s", "S") and not lv.pool)):
        return "thick"
    if lv.pool and lv.origin:
        # A thin volume may also stand on an external origin outside of any pool, and is then no snapshot of it.
        return "thin" if (lv.group, lv.origin) in pooled else ""
    ours = label is not None and label.id and label.name == lv.name and label.origin not in ("", lv.name)
    # The volume that is left of a merge has the name of the origin; no other name of ours is ever taken for it.
    return ORPHAN if ours and lv.pool else ""


def remainders(volumes: Sequence[Lv], label: Label, before: Sequence[Lv]) -> list[Snapshot]:
    """Return what an lvcreate that failed has left: what was not there before and carries the label of that point. It
    may be half a snapshot, which lvs shows as a plain volume."""
    known = {lv.uuid for lv in before}
    whole = {s.lv.uuid: s for s in snapshots(volumes)}
    found = []
    for lv in volumes:
        own = read(lv.tags)
        if lv.uuid not in known and own is not None and (own.id, own.name, lv.name) == (label.id, *[label.name] * 2):
            found.append(whole.get(lv.uuid) or Snapshot(lv, "remainder", own.origin, own, ""))
    return found


def remove(snapshot: Snapshot) -> None:
    """Remove one snapshot, by its exact name. Raises ToolError."""
    call(["lvremove", "-y", snapshot.lv.full_name], timeout=SECONDS)


def current(part: Part, found: Sequence[Snapshot]) -> Snapshot:
    """Return the snapshot that a point's part is now. Raises ChangedError when it is gone, or when something else has
    its name."""
    now = next((s for s in found if s.lv.full_name == part.snapshot), None)
    if now is None or now.lv.uuid != part.facts.get("lv_uuid", now.lv.uuid):
        raise ChangedError(f"the snapshot {part.snapshot} is not there any more, or is another one by now",
                           hint="list the points again")
    return now


def places(volumes: Sequence[Lv]) -> dict[str, bytes]:
    """Return where logical volumes are mounted whole, root-relative, by VG/LV: at the oldest of several places."""
    devices = {b"%d:%d" % (os.major(lv.device), os.minor(lv.device)): lv.full_name for lv in volumes if lv.active}
    found: dict[str, bytes] = {}
    for mount in mounts():
        name = devices.get(mount.device)
        if name is not None and mount.root == b"/":
            found.setdefault(name, mount.point.strip(b"/"))
    return found


def points(found: Sequence[Snapshot], volumes: Sequence[Lv], mounted: Mapping[str, bytes]) -> list[RestorePoint]:
    """Return the points that snapshots make: one of ours may have several parts."""
    together: dict[str, list[Snapshot]] = {}
    for snapshot in found:
        own = snapshot.label.id if snapshot.label else ""
        together.setdefault(own or f"{NAME}:{snapshot.lv.full_name}", []).append(snapshot)
    return [_point(name, parts, volumes, mounted) for name, parts in together.items()]


def _point(name: str, parts: Sequence[Snapshot], volumes: Sequence[Lv], mounted: Mapping[str, bytes]) -> RestorePoint:
    labels = [s.label for s in parts if s.label]
    made = tuple(sorted((_part(s, mounted) for s in parts), key=lambda p: (p.place is None, p.place or b"", p.volume)))
    states = {p.state for p in made}
    first = min(s.lv.created for s in parts)
    ours = bool(labels and labels[0].id)
    created = (datetime.strptime(name[:19], "%Y-%m-%d_%H-%M-%S").replace(tzinfo=UTC) if ours
               else datetime.fromtimestamp(first, UTC))
    sizes = [p.own_bytes for p in made]
    return RestorePoint(
        id=name, backend=NAME, number=0, created=created, owner=parts[0].owner, parts=made,
        comment=labels[0].comment if labels else "", tags=labels[0].tags if labels else (),
        pinned=any(label.pinned for label in labels),
        state="damaged" if "damaged" in states else "merging" if "merging" in states else "ok",
        problems=tuple(_problems(parts, volumes)),
        own_bytes=None if any(size is None for size in sizes) else sum(size or 0 for size in sizes),
        doc={NAME: _facts(parts, labels, first)})


def _facts(parts: Sequence[Snapshot], labels: Sequence[Label], first: int) -> dict[str, Any]:
    facts: dict[str, Any] = {"kinds": sorted({s.kind for s in parts})}
    if labels and labels[0].reason:
        facts["reason"] = labels[0].reason
    if len(parts) > 1:      # lvcreate makes them one after another
        facts["seconds_between_first_and_last"] = max(s.lv.created for s in parts) - first
    return facts


def _problems(parts: Sequence[Snapshot], volumes: Sequence[Lv]) -> list[str]:
    said = []
    for one in parts:
        if one.damaged:
            said.append(message(one.damaged))
        elif one.lv.merging:
            said.append(message(merge_state(one, volumes)))
    return said


def merge_state(snapshot: Snapshot, volumes: Sequence[Lv]) -> str:
    """Return a sentence about a merge that has not come to its end.

    While a thick merge waits its origin has no fill of its own; once it has begun, it has that of the snapshot. After a
    boot nothing may be there that notes its end in the metadata (lvm2-monitor does).
    """
    lv, origin = snapshot.lv, snapshot.origin_name
    now = next((o for o in volumes if o.full_name == origin), None)
    fill = now.snap_fill if now is not None and snapshot.kind == "thick" else None
    if fill is not None and fill > 0:
        return f"{lv.full_name} is being merged into {origin}: {fill:.0f} % of its room is still to be copied"
    if fill is not None:
        return (f"{lv.full_name} has been merged into {origin}, and LVM has not noted it yet: `lvchange --poll y "
                f"{origin}` lets it")
    return (f"{lv.full_name} waits to be merged into {origin}, when that is next activated; should that have happened, "
            f"`lvchange --poll y {origin}` finishes it")


def _part(snapshot: Snapshot, mounted: Mapping[str, bytes]) -> Part:
    lv = snapshot.lv
    own = snapshot.label
    place = own.place if own is not None and own.id else mounted.get(snapshot.origin_name)
    facts = {name: value for name, value in lv.raw.items() if value} | {"kind": snapshot.kind}
    if snapshot.working:
        facts["working"] = "perhaps a volume in use: it is activated by itself and may be written to"
    return Part(snapshot.origin_name, lv.full_name, place, snapshot.state,
                lv.size if snapshot.kind == "thick" else None, facts)


def pool_facts(snapshot: Snapshot, volumes: Sequence[Lv]) -> tuple[str, float, int]:
    """Return name, fill of the data (per cent) and size of a thin snapshot's pool."""
    pool = pool_of(snapshot.lv, volumes)
    return ("", 0.0, 0) if pool is None else (pool.full_name, pool.data_fill or 0.0, pool.size)


def usable(snapshot: Snapshot) -> None:
    """Raise RefusedError when nothing can be read from a snapshot or done with it."""
    if snapshot.damaged:
        raise RefusedError(snapshot.damaged, hint=f"nothing can be got out of it; remove it: lvremove "
                                                  f"{snapshot.lv.full_name}")
    if snapshot.lv.merging:
        raise RefusedError(f"{snapshot.lv.full_name} is being merged into {snapshot.origin_name}, which uses it up",
                           hint="LVM cannot cancel that")


def failing(error: ToolError, what: str) -> RollpointError:
    """Return an error that says what could not be done, and how the tool put it."""
    lines = [line.strip() for line in error.stderr.splitlines() if line.strip()
             and not line.strip().startswith("WARNING")]
    return RollpointError(f"{what}: {'; '.join(lines[:2]) or error.message}", hint=error.hint)
