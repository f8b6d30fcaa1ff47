"""LVM snapshots, thick and thin, as restore points.

All that is known of them comes from one call of lvs and from the tags that ours carry (lvmtags): there is no file
beside them that could be lost or disagree.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager

from engine.backend import Level, Losses, NativePlan, Opened
from engine.config import Config
from engine.errors import RefusedError, RollpointError, ToolError, UsageError
from engine.events import Job
from engine.machine.lvmreport import Lv
from engine.machine.mounts import mounts
from engine.points import RestorePoint
from engine.results import Finding, PruneResult, SnapshotRequest
from engine.run import call
from engine.text import message
from engine.volumes import lvmlevels, lvmlist, lvmmerge, lvmopen, lvmstrain, lvmtake
from engine.volumes.lvmlist import SECONDS, Snapshot, current, failing
from engine.volumes.lvmtags import MOST_COMMENT, PREFIX, changeable


class LvmBackend:
    """The points that are LVM snapshots; see engine.backend.Backend for what each method promises."""

    def __init__(self, config: Config) -> None:
        self._config = config

    @property
    def name(self) -> str:
        """``lvm``."""
        return lvmlist.NAME

    # --- what there is ---------------------------------------------------------------------------------------------

    def points(self) -> list[RestorePoint]:
        """Return all points, by one call of lvs."""
        volumes = self._listed()
        return lvmlist.points(self._ours(volumes), volumes, self._places(volumes))

    def levels(self) -> list[Level]:
        """Return how full thick snapshots, thin pools and volume groups are."""
        volumes = self._listed()
        found = self._ours(volumes)
        taken = {s.lv.uuid for s in found}
        mounted = self._places(volumes)

        def more(lv: Lv) -> bool:
            named = lv.full_name in self._config.lvm.volumes
            return lv.uuid not in taken and (named or (self._auto and lv.full_name in mounted))

        return lvmlevels.levels(volumes, found, more, self._config.lvm.size)

    def pending(self) -> list[str]:
        """Return a sentence for each merge that has not come to its end."""
        volumes = self._listed()
        return [message(lvmlist.merge_state(s, volumes)) for s in self._ours(volumes) if s.state == "merging"]

    @property
    def _auto(self) -> bool:
        return "auto" in self._config.lvm.volumes and os.path.realpath(self._config.root) == "/"

    def _listed(self) -> list[Lv]:
        named = [name for name in self._config.lvm.volumes if name != "auto"]
        if not named and not self._auto:
            return []
        try:
            return lvmlist.listed()
        except ToolError as error:
            if error.status == 127 and not named and not lvmlist.any_here():
                return []           # no tool, and nothing that it could be needed for
            if error.status == 127:
                raise ToolError(error.argv, 127, "not installed", hint="install lvm2") from error
            raise failing(error, "the logical volumes cannot be listed") from error

    def _ours(self, volumes: Sequence[Lv]) -> list[Snapshot]:
        """Return the snapshots of what the configuration names, and what else belongs to the same points of ours."""
        found = lvmlist.snapshots(volumes)
        return found if self._auto else lvmlist.together(found, self._config.lvm.volumes)

    def _places(self, volumes: Sequence[Lv]) -> dict[str, bytes]:
        """Return where volumes are mounted, below the root that is looked after."""
        root = os.path.realpath(os.fsencode(self._config.root)).strip(b"/")
        found = lvmlist.places(volumes)
        if not root:
            return found
        return {name: place[len(root):].strip(b"/") for name, place in found.items()
                if place == root or place.startswith(root + b"/")}

    def _snapshots(self, point: RestorePoint) -> list[Snapshot]:
        """Return what the parts of a point are now. Raises ChangedError when one is gone."""
        found = lvmlist.snapshots(lvmlist.listed())
        return [current(part, found) for part in point.parts]

    # --- taking and changing ---------------------------------------------------------------------------------------

    def take(self, request: SnapshotRequest, job: Job) -> RestorePoint:
        """Take a snapshot of each configured volume, one right after another."""
        volumes = self._listed()
        found = lvmlist.snapshots(volumes)
        planned = lvmtake.plan(self._config, volumes, found, self._places(volumes), job)
        name = lvmtake.new_id(found, request.when)
        lvmtake.make(planned, request, name, volumes, job)
        point = next((p for p in self.points() if p.id == name), None)
        if point is None or len(point.parts) < len(planned):
            raise RollpointError(f"lvcreate has made {name}, and lvs does not list all of it", hint="see `lvs`")
        return point

    def annotate(self, point: RestorePoint, *, comment: str | None = None, pinned: bool | None = None) -> RestorePoint:
        """Change the tags of all parts."""
        if comment is not None and len(comment.encode("utf-8", "surrogateescape")) > MOST_COMMENT:
            raise UsageError(f"the comment has more than {MOST_COMMENT} bytes, which the tags of a logical volume "
                             "cannot hold", hint="make it shorter")
        for snapshot in self._snapshots(point):
            if snapshot.lv.merging:
                raise RefusedError(f"{snapshot.lv.full_name} is being merged: it cannot be changed any more")
            text = comment if comment is not None else snapshot.label.comment if snapshot.label else ""
            pin = pinned if pinned is not None else bool(snapshot.label and snapshot.label.pinned)
            wanted = changeable(text, pinned=pin)
            have = [t for t in snapshot.lv.tags if t.startswith((f"{PREFIX}comment", f"{PREFIX}pinned"))]
            words = [w for t in have if t not in wanted for w in ("--deltag", t)]
            words += [w for t in wanted if t not in have for w in ("--addtag", t)]
            if words:
                try:
                    call(["lvchange", *words, snapshot.lv.full_name], timeout=SECONDS)
                except ToolError as error:
                    raise failing(error, f"the tags of {snapshot.lv.full_name} could not be changed") from error
        now = next((p for p in self.points() if p.id == point.id), None)
        if now is None:
            raise RollpointError(f"{point.id} is not listed any more")
        return now

    # --- looking inside --------------------------------------------------------------------------------------------

    def open(self, point: RestorePoint, job: Job) -> AbstractContextManager[Opened]:
        """Mount the snapshots of a point, each where its volume belongs."""
        return self._opened(point, job)

    @contextlib.contextmanager
    def _opened(self, point: RestorePoint, job: Job) -> Iterator[Opened]:
        found = self._snapshots(point)
        parts = [(part.place, one) for part, one in zip(point.parts, found, strict=True) if part.place is not None]
        if not parts:
            raise RefusedError(f"{point.id} has no files to show: its volume is mounted nowhere",
                               hint="mount the volume, or set it back as a whole (`rollback --way native`)")
        root = os.path.realpath(os.fsencode(self._config.root))
        with lvmopen.opened(parts, root, job) as opened:
            yield opened

    def strain(self, point: RestorePoint, written: Mapping[bytes, int], *, rollback: bool = True) -> Sequence[Finding]:
        """Return how full the thick snapshots and the pools would get by what is put back."""
        if not any(written.values()):
            return ()
        return tuple(lvmstrain.strain(point, written, lvmlist.listed(), self._config.lvm.size, rollback=rollback))

    # --- deleting --------------------------------------------------------------------------------------------------

    def losses(self, points: Sequence[RestorePoint]) -> Losses:
        """Return what deleting comes to: the room of thick snapshots; of thin ones nobody can say before."""
        findings, freed = [], 0
        whole = True
        found = lvmlist.snapshots(lvmlist.listed())
        for point in points:
            for part in point.parts:
                one = current(part, found)
                findings += _against_removal(one)
                freed += one.lv.size if one.kind == "thick" else 0
                whole = whole and one.kind == "thick"
        return Losses(freed if whole else None, tuple(findings))

    def delete(self, points: Sequence[RestorePoint], job: Job) -> PruneResult:
        """Remove the snapshots of these points, each by its exact name; `freed` is measured: extents of the groups, and
        what the pools have less in use."""
        removed, failed = [], list[tuple[str, str]]()
        volumes = lvmlist.listed()
        before = _in_use(volumes)
        for number, point in enumerate(points):
            job.progress("deleting points", number, len(points), current=point.id.encode())
            why = self._deleted(point)
            if why:
                failed.append((point.id, why))
            else:
                removed.append(point.id)
        after = _in_use(lvmlist.listed()) if points else before
        return PruneResult(tuple(removed), tuple(failed), max(0, before - after))

    def _deleted(self, point: RestorePoint) -> str:
        """Delete one point; returns why that could not be done, or not all of it."""
        gone: list[str] = []
        try:
            found = self._snapshots(point)      # anew for each: somebody else may be at work
            blockers = [f.text for one in found for f in _against_removal(one) if f.level == "blocker"]
            if blockers:
                return "; ".join(blockers)
            for one in found:
                lvmlist.remove(one)
                gone.append(one.lv.full_name)
        except ToolError as error:
            done = f" ({', '.join(gone)} went before)" if gone else ""
            return message(failing(error, f"it could not be removed{done}").message)
        except RollpointError as error:
            return message(error.message)
        return ""

    # --- setting volumes themselves back ---------------------------------------------------------------------------

    def native(self, point: RestorePoint) -> NativePlan:
        """Return what merging the snapshots into their volumes would do."""
        volumes = lvmlist.listed()
        return lvmmerge.plan(point, volumes, self._places(volumes), any(m.point == b"/boot" for m in mounts()))

    def set_back(self, plan: NativePlan, job: Job) -> list[str]:
        """Begin the merges, and wait for those that can happen now."""
        return lvmmerge.set_back(plan, self.native(plan.point), job)


def _against_removal(one: Snapshot) -> list[Finding]:
    lv = one.lv
    if lv.merging:
        return [Finding("blocker", f"{lv.full_name} is being merged into {one.origin_name}, and LVM removes no such",
                        "wait for the end of the merge")]
    if lv.open:
        return [Finding("blocker", f"{lv.full_name} is open: mounted, or used by something else", "unmount it first")]
    if one.working:
        return [Finding("blocker", f"{lv.full_name} may be a volume in use and no copy: it is activated by itself and "
                        "may be written to", f"if it is not, remove it by hand: lvremove {lv.full_name}")]
    return []


def _in_use(volumes: Sequence[Lv]) -> int:
    """Return the bytes in use: allocated extents of all groups, and the data of their thin pools."""
    groups = {lv.group: lv.room - lv.free for lv in volumes}
    return sum(groups.values()) + sum(int(lv.size * (lv.data_fill or 0.0) / 100) for lv in volumes if lv.is_pool)
