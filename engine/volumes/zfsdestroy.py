"""Destroying snapshots: what it would free, what forbids it, and doing it, by exact names that were just looked at.

`zfs destroy` is never given -r or -R, and never a name without an @ (`Snapshot` cannot be made of one). Several
snapshots of a data set go in one command, DATASET@A,B: that alone tells rightly what they free together, since what two
of them share is in the `used` of neither.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Sequence

from engine.backend import Losses
from engine.errors import RollpointError, ToolError
from engine.events import Job
from engine.machine.mounts import mounts
from engine.points import RestorePoint
from engine.results import Finding, PruneResult
from engine.text import printable
from engine.volumes.zfslist import Snapshot, current, holds
from engine.volumes.zfstool import CHANGE_SECONDS, batches, zfs

HOLD = "rollpoint"
"""The tag of our hold on the snapshots of a pinned point."""


class Doomed:
    """The snapshots of some points as they are now: `snapshots` can go; `against` says why a point cannot, a reason
    each by its id; `gone` names parts that somebody else has destroyed already."""

    def __init__(self, points: Sequence[RestorePoint]) -> None:
        """Look at them anew. Raises ToolError."""
        now = current(part.snapshot for point in points for part in point.parts)
        held = holds(one.full_name for one in now.values() if one.holds)
        self.snapshots: dict[str, list[Snapshot]] = {}
        self.against: dict[str, list[tuple[str, str]]] = {}
        self.gone: dict[str, list[str]] = {}
        for point in points:
            for part in point.parts:
                one = now.get(part.snapshot)
                if one is None:
                    self.gone.setdefault(point.id, []).append(part.snapshot)
                    continue
                self.snapshots.setdefault(point.id, []).append(one)
                self.against.setdefault(point.id, []).extend(
                    _against(one, str(part.facts.get("guid", "")), held.get(one.full_name, ())))
            if point.id not in self.snapshots:
                self.against[point.id] = [("is not there any more: somebody else has destroyed it", "")]

    def free(self) -> list[Snapshot]:
        """Return the snapshots of the points that nothing speaks against."""
        return [one for id_, some in self.snapshots.items() if not self.against[id_] for one in some]


def _against(one: Snapshot, guid: str, tags: Sequence[str]) -> list[tuple[str, str]]:
    """Return why a snapshot cannot be destroyed, with what to do about it."""
    name = one.full_name
    if guid != one.guid:
        return [(f"{name} is not the snapshot that was listed: another one has its name now", "list the points again")]
    found = []
    for tag in tags:
        found.append((f"{name} is pinned", "unpin the point first") if tag == HOLD else
                     (f"{name} is held by {printable(tag)}",
                      f"whoever holds it still needs it; else: zfs release {printable(tag)} {name}"))
    found += [(f"the clone {clone} is made of {name}", f"destroy the clone first, or promote it: zfs promote {clone}")
              for clone in one.clones]
    return found


def losses(points: Sequence[RestorePoint]) -> Losses:
    """Return what destroying these points together would free, and what forbids it. Raises ToolError."""
    doomed = Doomed(points)
    findings = [Finding("blocker", text, hint) for reasons in doomed.against.values() for text, hint in reasons]
    findings += [Finding("info", f"{name} is gone already") for names in doomed.gone.values() for name in names]
    seen = {mount.source.decode("utf-8", "surrogateescape"): mount.point for mount in mounts()}
    free = doomed.free()
    findings += [Finding("warning", f"{one.full_name} is mounted at {printable(seen[one.full_name])}",
                         "somebody may be looking into it") for one in free if one.full_name in seen]
    findings += [Finding("warning", f"{point.id} was taken by {point.owner}",
                         "it may still need it, for a replication for instance") for point in points
                 if point.owner not in ("", "unknown")]
    freed = sum(_reclaimed(zfs(["destroy", "-nvp", target])) for target, _ in _targets(free))
    return Losses(freed if free or not points else None, tuple(findings))


def delete(points: Sequence[RestorePoint], job: Job) -> PruneResult:
    """Destroy the snapshots of these points; what cannot be is in the result with the reason. Raises ToolError when
    nothing could be asked."""
    doomed = Doomed(points)
    failed = {id_: "; ".join(text for text, _ in reasons) for id_, reasons in doomed.against.items() if reasons}
    for id_, names in doomed.gone.items():
        if id_ not in failed:
            job.warn(f"{id_}: {', '.join(names)} had been destroyed already by somebody else")
    owner = {one.full_name: id_ for id_, some in doomed.snapshots.items() for one in some}
    free = doomed.free()
    freed = done = 0
    stayed: dict[str, list[str]] = {}
    for target, some in _targets(free):
        job.progress("destroying snapshots", done, len(free), current=target.encode("utf-8", "surrogateescape"))
        got, faults = _destroy(target, some)
        freed, done = freed + got, done + len(some)
        for name, why in faults:
            stayed.setdefault(owner[name], []).append(f"{name}: {why}")
    for id_, whys in stayed.items():
        others = len(doomed.snapshots[id_]) - len(whys)
        failed[id_] = "; ".join(whys) + (f"; its {others} other snapshots are destroyed" if others else "")
    removed = tuple(point.id for point in points if point.id not in failed)
    return PruneResult(removed, tuple((point.id, failed[point.id]) for point in points if point.id in failed), freed)


def destroy(snapshots: Sequence[Snapshot]) -> int:
    """Destroy exactly these snapshots and return the bytes that frees. Raises ToolError at the first that fails."""
    freed = 0
    for target, some in _targets(snapshots):
        got, faults = _destroy(target, some)
        freed += got
        if faults:
            raise RollpointError(f"cannot destroy {faults[0][0]}: {faults[0][1]}", hint="`zfs holds` and `zfs list -o "
                                 "clones` tell what needs it")
    return freed


def destroy_bookmark(name: str) -> None:
    """Destroy a bookmark. Raises ToolError, and RollpointError for a name that is none of a bookmark."""
    if not re.fullmatch(r"[^@#%,]+#[^@#%,/]+", name):
        raise RollpointError(f"{printable(name)} is not the name of a bookmark")
    zfs(["destroy", name], CHANGE_SECONDS)


def targets(snapshots: Iterable[Snapshot]) -> list[str]:
    """Return what `destroy` gives to zfs for these snapshots, a word for each command."""
    return [target for target, _ in _targets(snapshots)]


def _targets(snapshots: Iterable[Snapshot]) -> list[tuple[str, list[Snapshot]]]:
    """Return DATASET@A,B,… for each data set, with the snapshots that it is made of."""
    by_dataset: dict[str, list[Snapshot]] = {}
    for one in snapshots:
        by_dataset.setdefault(one.dataset, []).append(one)
    found = []
    for dataset, some in by_dataset.items():
        by_name = {one.name: one for one in some}
        for names in batches(by_name):
            found.append((f"{dataset}@{','.join(names)}", [by_name[name] for name in names]))
    return found


def _destroy(target: str, some: Sequence[Snapshot]) -> tuple[int, list[tuple[str, str]]]:
    """Destroy what a target names, in one command; where that fails, one by one. Returns the bytes freed, and what
    stayed, with the reason."""
    with contextlib.suppress(ToolError):
        return _reclaimed(zfs(["destroy", "-vp", target], CHANGE_SECONDS)), []
    freed, faults = 0, []
    for one in current(s.full_name for s in some).values():
        try:
            freed += _reclaimed(zfs(["destroy", "-vp", one.full_name], CHANGE_SECONDS))
        except ToolError as error:
            faults.append((one.full_name, error.message))
    return freed, faults


def _reclaimed(out: str) -> int:
    """Return the bytes of the lines ``reclaim N`` of `zfs destroy -p`."""
    return sum(int(line.partition("\t")[2]) for line in out.splitlines() if line.startswith("reclaim\t"))
