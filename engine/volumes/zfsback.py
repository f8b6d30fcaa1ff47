"""Setting data sets themselves back with `zfs rollback`: what that takes with it, by name, and doing just that.

`zfs rollback -r` destroys whatever is newer at the moment it runs; `-R` the clones of it too. Neither is ever used.
What is newer is listed, shown, and destroyed by name; then a plain `zfs rollback`, which refuses by itself if somebody
has taken one more snapshot meanwhile. Holds and clones forbid it until the admin has dealt with them. It is not
recursive either: each part is rolled back by itself, a data set before those below it.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.backend import NativePlan
from engine.errors import ChangedError, RollpointError
from engine.events import Job
from engine.points import Part, RestorePoint
from engine.results import Finding
from engine.text import printable, shown_path
from engine.volumes.zfsdestroy import HOLD, destroy, destroy_bookmark, targets
from engine.volumes.zfslist import BOOKMARK, COLUMNS, FILESYSTEM, SNAPSHOT, VOLUME, Snapshot, holds, parsed, rows
from engine.volumes.zfstool import CHANGE_SECONDS, zfs
from engine.volumes.zfsuse import users

_WHEN = "at once"
_SYSTEM = (b"usr", b"lib", b"usr/lib", b"usr/lib/modules", b"lib/modules")


@dataclass(frozen=True, slots=True)
class Step:
    """What setting one part back takes: the snapshot, what is newer and goes with it, and who holds what of it."""

    part: Part
    kind: str
    snapshot: Snapshot | None           # None: it is not there any more
    newer: tuple[Snapshot, ...]
    bookmarks: tuple[str, ...]
    held: Mapping[str, tuple[str, ...]]
    children: tuple[str, ...]           # data sets below it


def steps(point: RestorePoint) -> list[Step]:
    """Look at the parts of a point as they are now, in the order they are set back. Raises ToolError."""
    parts = sorted(point.parts, key=lambda p: (p.volume.count("/"), p.volume))
    names = [part.volume for part in parts]
    listed = list(rows(zfs(["list", "-Hp", "-t", "all", "-r", "-o", COLUMNS, *names])))
    kinds = {row["name"]: row["type"] for row in listed if row["type"] in (FILESYSTEM, VOLUME)}
    snapshots = {row["name"]: parsed(row) for row in listed if row["type"] == SNAPSHOT}
    held = holds(one.full_name for one in snapshots.values() if one.holds and one.dataset in names)
    found = []
    for part in parts:
        own = snapshots.get(part.snapshot)
        if own is not None and own.guid != str(part.facts.get("guid", "")):
            own = None
        txg = own.createtxg if own is not None else 0
        newer = tuple(sorted((s for s in snapshots.values() if s.dataset == part.volume and own and s.createtxg > txg),
                             key=lambda s: (s.createtxg, s.name)))
        bookmarks = tuple(row["name"] for row in listed if row["type"] == BOOKMARK and own
                          and row["name"].partition("#")[0] == part.volume and int(row["createtxg"]) > txg)
        children = tuple(sorted(name for name in kinds if name.startswith(f"{part.volume}/")))
        names_newer = {s.full_name for s in newer}
        found.append(Step(part, kinds.get(part.volume, ""), own, newer, bookmarks,
                          {name: tags for name, tags in held.items() if name in names_newer}, children))
    return found


def plan(point: RestorePoint, others: Sequence[RestorePoint], boot: str, *, live: bool) -> NativePlan:
    """Return what setting the data sets of a point back would do; touches nothing. Raises ToolError.

    `others` are all points, to tell which of them lose what; `boot` is the data set that is mounted at /boot ("": that
    is none of its own); `live`: the root is that of the running system.
    """
    found = steps(point)
    belongs = {part.snapshot: other.id for other in others for part in other.parts}
    goes: list[str] = []
    findings: list[Finding] = []
    for step in found:
        goes += [f"the snapshot {s.full_name}, of the point {belongs.get(s.full_name, 'of its own')}"
                 for s in step.newer]
        goes += [f"the bookmark {name}" for name in step.bookmarks]
        goes.append(f"all that was written to {step.part.volume} since {point.created:%Y-%m-%d %H:%M:%S} UTC")
        findings += _step_findings(step, {part.volume for part in point.parts}, live=live)
    findings += _system_findings(point, boot)
    if point.state != "ok":
        findings.append(Finding("blocker", f"point {point.id} is {point.state}: {point.problems[0]}",
                                "name all of its data sets in `zfs.datasets`, or choose another point"))
    findings += _torn(point, found, others)
    shown = tuple(printable(shlex.join(argv)) for argv in commands(found))
    return NativePlan(point, tuple(goes), _WHEN, tuple(findings), shown, token(found))


def commands(found: Sequence[Step]) -> list[list[str]]:
    """Return what `set_back` runs, in its order."""
    argvs: list[list[str]] = []
    for step in found:
        argvs += [["zfs", "destroy", "-vp", target] for target in targets(step.newer)]
        argvs += [["zfs", "destroy", name] for name in step.bookmarks]
        argvs.append(["zfs", "rollback", step.part.snapshot])
    return argvs


def token(found: Sequence[Step]) -> str:
    """Return a text that is another one as soon as anything is that a plan tells."""
    state = [[step.part.snapshot, step.kind, step.snapshot and step.snapshot.guid,
              [[s.full_name, s.guid, s.clones] for s in step.newer], step.bookmarks,
              sorted((name, sorted(tags)) for name, tags in step.held.items()), step.children] for step in found]
    return hashlib.sha256(json.dumps(state).encode("utf-8", "surrogateescape")).hexdigest()


def set_back(made: NativePlan, job: Job) -> list[str]:
    """Carry out a plan. Raises ChangedError when what it tells is not so any more, and RollpointError with what was
    done by then when something fails on the way."""
    found = steps(made.point)
    if token(found) != made.token:
        raise ChangedError("the data sets are not what the plan was made of: snapshots, holds, clones or bookmarks "
                           "have come or gone since", hint="nothing was done; look at the plan anew")
    done: list[str] = []
    try:
        job.progress("setting data sets back", 0, len(found))
        for step in found:      # nobody is asked from here on: to stop would leave the parts at different times
            _set_back_one(step, done)
    except RollpointError as error:
        said = f"done before that: {'; '.join(done)}" if done else "nothing was done"
        raise RollpointError(f"{error.message}; {said}", hint="look at the plan anew; what is left can be tried again, "
                                                              "or gone back to by content") from error
    return done


def _set_back_one(step: Step, done: list[str]) -> None:
    destroy(step.newer)
    done += [f"{one.full_name} destroyed" for one in step.newer]
    for name in step.bookmarks:
        destroy_bookmark(name)
        done.append(f"{name} destroyed")
    zfs(["rollback", step.part.snapshot], CHANGE_SECONDS)
    done.append(f"{step.part.volume} set back to {step.part.snapshot}")


def _step_findings(step: Step, own: set[str], *, live: bool) -> list[Finding]:
    part = step.part
    if step.snapshot is None:
        return [Finding("blocker", f"{part.snapshot} is not there any more", "list the points again")]
    found = []
    for name, tags in step.held.items():
        for tag in tags:
            found.append(Finding("blocker", f"{name}, which would have to go, is pinned", "unpin that point first")
                         if tag == HOLD else
                         Finding("blocker", f"{name}, which would have to go, is held by {printable(tag)}",
                                 f"zfs release {printable(tag)} {name}"))
    found += [Finding("blocker", f"the clone {clone} is made of {one.full_name}, which would have to go",
                      f"destroy the clone, or promote it: zfs promote {clone}")
              for one in step.newer for clone in one.clones]
    if step.kind == VOLUME:
        found += [Finding("blocker", f"the volume {part.volume} is {who}", "stop what uses it (shut the VM down) first")
                  for who in users(part.volume)]
    elif part.place == b"" and live:
        found.append(Finding("blocker", f"{part.volume} is the root of the running system, which would go on with "
                                        "what it has in memory", "go back by content, or from a rescue system"))
    elif part.place is not None:
        found.append(Finding("info", f"programs that have files of {shown_path(part.place)} open go on with old ones",
                             "stop them before, and start them afterwards"))
    beside = [name for name in step.children if name not in own]
    if beside:
        # Seen with OpenZFS 2.1: a mount point that the snapshot lacks is gone from the directory, and yet cannot be
        # made anew as long as the file system around it stays mounted.
        found.append(Finding("warning", f"what lies below {part.volume} is not part of this point and stays as it is: "
                                        f"{', '.join(beside[:5])}{', …' if len(beside) > 5 else ''}; the directories "
                                        "that it is mounted on may not be in the snapshot",
                             "zfs unmount it before, and zfs mount it afterwards"))
    return found


def _system_findings(point: RestorePoint, boot: str) -> list[Finding]:
    """Return what speaks against setting back a system and its /boot apart: kernel and modules would part ways."""
    own = {part.volume for part in point.parts}
    system = [part.volume for part in point.parts if part.place == b"" or part.place in _SYSTEM]
    hint = "take and set back both together, or go back by content"
    if boot and system and boot not in own:
        return [Finding("blocker", f"/boot is a data set of its own ({boot}) and not part of this point: kernels and "
                                   "their modules would no longer fit", hint)]
    if boot in own and not system:
        return [Finding("warning", f"{boot} holds /boot, and the system's own files are not part of this point: "
                                   "kernels and their modules may no longer fit", hint)]
    return []


def _torn(point: RestorePoint, found: Sequence[Step], others: Sequence[RestorePoint]) -> list[Finding]:
    """Return which newer points lose only some of their parts."""
    gone = {one.full_name for step in found for one in step.newer}
    torn = []
    for other in others:
        left = [part.snapshot for part in other.parts if part.snapshot not in gone]
        if left and len(left) < len(other.parts) and other.id != point.id:
            torn.append(Finding("warning", f"the newer point {other.id} keeps only {', '.join(left)}"))
    return torn
