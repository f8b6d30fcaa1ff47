"""Setting logical volumes themselves back: a merge of their snapshots (lvconvert(8)).

It uses the snapshot up and cannot be cancelled, not even while it waits for the origin to be activated anew because
that is open now. A thick merge writes to the origin, so that other thick snapshots of it fill by what comes back; after
a thin one LVM has forgotten that the other thin snapshots of that volume are snapshots at all.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import monotonic, sleep

from engine.backend import NativePlan
from engine.errors import CancelledError, ChangedError, RefusedError, RollpointError, ToolError
from engine.events import Job
from engine.machine.lvmreport import Lv, pool_fault, pool_of
from engine.machine.ramdisk import root_fault
from engine.points import RestorePoint
from engine.results import Finding
from engine.run import call
from engine.text import human_size, message, shown_path
from engine.volumes.lvmlist import ORPHAN, SECONDS, Snapshot, current, failing, listed, merge_state, snapshots

_BY_CONTENT = "roll back by content instead, which keeps the snapshot"
_PATIENCE = 120.0       # seconds without any progress after which a merge is left to the background


@dataclass(frozen=True, slots=True)
class _Case:
    """One part of a point, with what it is merged into."""

    snapshot: Snapshot
    origin: Lv | None
    place: bytes | None
    siblings: tuple[Snapshot, ...]

    @property
    def waits(self) -> bool:
        """Whether the merge begins when the origin is next activated: it is open now, or not active at all."""
        return self.origin is not None and (self.origin.open or self.sleeping)

    @property
    def sleeping(self) -> bool:
        """Whether the origin of a thick snapshot is not active: nothing can be copied to it."""
        return self.origin is not None and self.snapshot.kind == "thick" and not self.origin.active

    @property
    def coming_back(self) -> int:
        """The bytes that the merge writes to the origin."""
        lv = self.snapshot.lv
        return int(lv.size * (lv.snap_fill or 0.0) / 100) if self.snapshot.kind == "thick" else 0


def plan(point: RestorePoint, volumes: Sequence[Lv], mounted: Mapping[str, bytes], boot_apart: bool) -> NativePlan:
    """Return what merging the snapshots of a point would do; `boot_apart` says that /boot is a file system of its own.
    Raises ChangedError when one of them is gone."""
    cases = _cases(point, volumes, mounted)
    findings = [finding for case in cases for finding in _findings(case, volumes)]
    if point.pinned:
        findings.append(Finding("warning", "the point is pinned, and merging uses it up", _BY_CONTENT))
    if boot_apart and any(case.place == b"" for case in cases) and not any(c.place == b"boot" for c in cases):
        findings.append(Finding("warning", "/boot is a file system of its own and not part of this point: its kernel "
                                "may not fit the modules that come back",
                                "look at `rollpoint boot status` before restarting"))
    if len(cases) > 1:
        findings.append(Finding("info", "the volumes are set back one after another: should one fail, those before it "
                                "are set back already"))
    goes = [text for case in cases for text in _goes(case, point)]
    return NativePlan(point, tuple(goes), _when(cases), tuple(findings),
                      tuple(" ".join(_command(case.snapshot)) for case in cases), _token(cases))


def _cases(point: RestorePoint, volumes: Sequence[Lv], mounted: Mapping[str, bytes]) -> list[_Case]:
    found = snapshots(volumes)
    cases = []
    for part in point.parts:
        one = current(part, found)
        origin = next((lv for lv in volumes if lv.full_name == one.origin_name and not lv.hidden), None)
        siblings = tuple(s for s in found if s.origin_name == one.origin_name and s.lv.uuid != one.lv.uuid
                         and s.kind in (one.kind, "thin" if one.kind == ORPHAN else one.kind))
        place = mounted.get(one.origin_name, part.place)
        cases.append(_Case(one, origin, place, siblings))
    return cases


def _command(snapshot: Snapshot) -> list[str]:
    """Return the command that begins a merge. It comes back at once; what is to be copied is copied in the
    background."""
    kind = ("--mergethin" if snapshot.kind == "thin" else "--mergesnapshot") if snapshot.lv.modern else "--merge"
    return ["lvconvert", "-y", "-b", kind, snapshot.lv.full_name]


def _findings(case: _Case, volumes: Sequence[Lv]) -> Iterator[Finding]:
    one, origin = case.snapshot, case.origin
    why = _blocked(case, volumes)
    if why:
        yield Finding("blocker", message(why[0]), why[1])
        return
    if case.waits and case.place == b"" and one.kind == "thick":
        fault = root_fault()
        if fault:
            yield Finding("blocker", *fault)
        elif fault is None:
            yield Finding("warning", "whether the initramfs holds dm-snapshot, which the merge at the next boot needs, "
                          "could not be seen")
    if case.waits and origin is not None:
        state = "not active" if case.sleeping else "open"
        yield Finding("warning", f"{origin.full_name} is {state}: the merge waits for its next activation, cannot be "
                      "cancelled from now on, and what is written until then is lost")
    if case.siblings and one.kind == "thin":
        names = ", ".join(s.lv.full_name for s in case.siblings)
        yield Finding("warning", message(f"LVM will have forgotten that {names} are snapshots of "
                                         f"{one.origin_name}: they can be opened, but not merged any more"))


def _blocked(case: _Case, volumes: Sequence[Lv]) -> tuple[str, str] | None:
    """Return why a part cannot be merged, and what to do."""
    one, origin = case.snapshot, case.origin
    if one.damaged:
        return one.damaged, "nothing can be got back from it"
    if one.lv.merging:
        return merge_state(one, volumes), "wait for its end"
    if one.kind == ORPHAN:
        return (f"LVM has forgotten that {one.lv.full_name} is a snapshot of {one.origin_name}, since another one was "
                "merged into that", _BY_CONTENT)
    if origin is None:
        return f"its origin {one.origin_name} is not there any more", _BY_CONTENT
    if origin.merging:
        return f"another snapshot is being merged into {origin.full_name}", "wait for its end"
    if one.lv.open:
        return f"{one.lv.full_name} is open: mounted, or used by something else", "unmount it first"
    pool = pool_of(one.lv, volumes) if one.kind == "thin" else None
    fault = pool_fault(pool, 101.0) if pool is not None else ""
    return (fault, "put the pool in order first: lvmthin(7)") if fault else None


def _goes(case: _Case, point: RestorePoint) -> Iterator[str]:
    one = case.snapshot
    stamp = point.created.strftime("%Y-%m-%d %H:%M:%S UTC")
    yield message(f"all that was written to {one.origin_name} since {stamp}")
    yield message(f"the snapshot {one.lv.full_name} itself: the merge uses it up")
    for other in case.siblings:
        lv = other.lv
        left = lv.size - int(lv.size * (lv.snap_fill or 0.0) / 100)
        if one.kind == "thick" and not other.damaged and case.coming_back > left:
            yield message(f"perhaps {lv.full_name}: what comes back to {one.origin_name} is "
                          f"{human_size(case.coming_back)}, and it has room for {human_size(left)}")


def _when(cases: Sequence[_Case]) -> str:
    said = []
    for case in cases:
        name = case.snapshot.origin_name
        if not case.waits:
            said.append(f"{name}: at once" if len(cases) > 1 else "at once")
        elif case.sleeping:
            said.append(f"when {name} is next activated")
        elif case.place in (b"", b"usr", b"var"):
            said.append(f"when {name} is next activated: at the next boot")
        else:
            where = f"unmounted from {shown_path(case.place)}" if case.place is not None else "closed by what uses it"
            said.append(f"when {name} is next activated: at the next boot, or when it was {where} and `lvchange -an "
                        f"{name}` and `lvchange -ay {name}` were run")
    return message("; ".join(said))


def _token(cases: Sequence[_Case]) -> str:
    state = [(c.snapshot.lv.uuid, c.snapshot.kind, c.snapshot.state, c.origin.uuid if c.origin else "",
              c.waits, sorted(s.lv.uuid for s in c.siblings)) for c in cases]
    return hashlib.sha256(repr(state).encode()).hexdigest()


def set_back(agreed: NativePlan, fresh: NativePlan, job: Job) -> list[str]:
    """Carry out a plan; `fresh` is the same, made now. Raises ChangedError, RefusedError, and RollpointError that names
    what has been set back already when a later one fails."""
    if fresh.token != agreed.token:
        raise ChangedError("the volumes are not as they were when this was planned", hint="look at the plan again")
    if fresh.blocked:
        blocker = next(f for f in fresh.findings if f.level == "blocker")
        raise RefusedError(blocker.text, hint=blocker.hint)
    volumes = listed()
    cases = _cases(agreed.point, volumes, {})
    done: list[str] = []
    for number, case in enumerate(cases):
        job.progress("setting volumes back", number, len(cases), current=case.snapshot.origin_name.encode())
        try:
            call(_command(case.snapshot), timeout=SECONDS)
        except ToolError as error:
            before = f" (before it: {'; '.join(done)})" if done else ""
            raise failing(error, message(f"{case.snapshot.lv.full_name} could not be merged{before}")) from error
        done.append(_followed(case, job))
    return done


def _followed(case: _Case, job: Job) -> str:
    """Wait for the end of a merge that has begun; returns what has come of it."""
    one, least, since = case.snapshot, 101.0, monotonic()
    while True:
        volumes = listed()
        now = next((s for s in snapshots(volumes) if s.lv.uuid == one.lv.uuid), None)
        if now is None:
            return message(f"{one.origin_name} is as it was when {one.lv.full_name} was taken, which is used up")
        if now.damaged:
            raise RollpointError(now.damaged, hint="see `lvs -a` and the kernel's messages")
        origin = next((lv for lv in volumes if lv.full_name == one.origin_name), None)
        if origin is None or origin.open or not origin.active or not now.lv.merging:
            return message(f"{one.lv.full_name} waits to be merged into {one.origin_name}, when that is next activated")
        fill = now.lv.snap_fill if now.lv.snap_fill is not None else 100.0
        if fill < least:
            least, since = fill, monotonic()
        elif monotonic() - since > _PATIENCE:
            return message(f"{merge_state(now, volumes)}; it goes on in the background")
        try:
            job.progress("copying back", round(100 - fill), 100, current=one.origin_name.encode())
        except CancelledError as error:
            raise CancelledError(message(f"the merge into {one.origin_name} cannot be stopped: it goes on in the "
                                         "background")) from error
        sleep(1)
