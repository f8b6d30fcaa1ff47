"""Setting a subvolume itself back: a writable copy of its snapshot takes its name, and it stays under another one.

That works where a subvolume is mounted by its name (`subvol=` in fstab). What is mounted goes on showing the old one
until it is mounted again: for the root, until the next boot. Both names change places in one step (renameat2(2)), so
that a crash leaves either the one or the other there, never nothing. Subvolumes that lie in the old one are moved into
the new one: they belong to no snapshot of it, and programs look for them there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from engine.backend import NativePlan, NoNativeWay
from engine.config import Config
from engine.errors import ChangedError, RefusedError, RollpointError
from engine.events import Job
from engine.machine.mounts import Mount, mounts
from engine.points import Part, RestorePoint
from engine.results import Finding
from engine.text import printable
from engine.volumes import btrfsplaces, btrfstree
from engine.volumes.btrfsplaces import Live, Tops, nested
from engine.volumes.btrfstree import TOP, Subvolume, subvolumes

_MARK = ".before-"
_KEPT = re.compile(rb".+\.before-\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(?:-\d+)?")


@dataclass(frozen=True, slots=True)
class _Swap:
    """One subvolume that a snapshot takes the place of; `inner` lie in it and move along."""

    live: Live
    now: Subvolume
    snapshot: Subvolume
    inner: tuple[Subvolume, ...]


def plan(config: Config, point: RestorePoint) -> NativePlan:
    """Return what swapping would do. Raises NoNativeWay where the layout does not allow it."""
    with Tops() as tops:
        swaps = _swaps(config, point, tops)
        findings = [finding for swap in swaps for finding in _findings(config, swap)]
    if point.state != "ok":
        findings.append(Finding("blocker", f"point {point.id} is damaged: {point.problems[0]}", "choose another point"))
    goes = tuple(f"what was changed in {printable(s.live.path)} since the point; it stays readable as the subvolume "
                 f"{printable(s.now.path)}{_MARK}TIME until you delete that" for s in swaps)
    return NativePlan(point, goes, _when(swaps), tuple(findings), tuple(_commands(swaps)), _token(swaps))


def carry_out(config: Config, agreed: NativePlan, job: Job) -> list[str]:
    """Swap, if nothing has changed since the plan (else ChangedError); returns what was done."""
    fresh = plan(config, agreed.point)
    if fresh.token != agreed.token:
        raise ChangedError("the subvolumes are not as they were when this was planned; nothing was changed",
                           hint="look at the plan again")
    for finding in fresh.findings:
        if finding.level == "blocker":
            raise RefusedError(f"the rollback is blocked: {finding.text}", hint=finding.hint)
    done: list[tuple[_Swap, bytes]] = []
    with Tops(writable=True) as tops:
        swaps = _swaps(config, agreed.point, tops)
        if _token(swaps) != agreed.token:
            raise ChangedError("the subvolumes have just changed; nothing was changed", hint="look at the plan again")
        suffix = _suffix(tops, swaps)
        try:
            for swap in swaps:
                job.progress("setting back", current=swap.live.path)
                done.append((swap, swap.now.path + suffix))
                _swap(tops, swap, swap.now.path + suffix)
        except BaseException:
            for swap, name in reversed(done):
                _swap_back(tops, swap, name)
            raise
        for swap, _ in done:
            tops.space.run(["btrfs", "filesystem", "sync", tops.inside(swap.live.mount)])
    said = [f"{printable(swap.live.path)} is set back to {agreed.point.id}: {printable(swap.now.path)} is a copy of "
            f"its snapshot, what it was is the subvolume {printable(name)}" for swap, name in done]
    return [*said, f"It takes effect {agreed.when}."]


def pending() -> list[str]:
    """Return a sentence for each mount that still shows a subvolume that was set back."""
    return [f"{printable(mount.point)} was set back and still shows what it was ({printable(mount.root)}): it takes "
            f"effect {_next_mount(mount.point)}" for mount in mounts()
            if mount.fstype == b"btrfs" and _KEPT.fullmatch(mount.root)]


# --- planning --------------------------------------------------------------------------------------------------------


def _swaps(config: Config, point: RestorePoint, tops: Tops) -> list[_Swap]:
    live = {os.fsdecode(one.path): one for one in btrfsplaces.reachable(config)}
    found = []
    for part in point.parts:
        used = live.get(part.volume)
        if used is None:
            raise NoNativeWay(f"{part.volume} is not mounted: nobody can say what its snapshot would replace",
                              hint="mount it, or copy the files out with `rollpoint restore`")
        found.append(_swap_of(part, used, subvolumes(tops.outside(used.mount))))
    return found


def _swap_of(part: Part, used: Live, every: Sequence[Subvolume]) -> _Swap:
    shown = printable(used.path)
    now = next((one for one in every if one.id == used.id), None)
    snapshot = next((one for one in every if one.uuid == part.facts.get("uuid")), None)
    if now is None or snapshot is None:
        raise NoNativeWay(f"{part.volume}: the subvolume or its snapshot is gone", hint="`rollpoint list` shows what "
                          "there is")
    if now.id == TOP:
        raise NoNativeWay(f"{shown} is the top level of its file system, which nothing can take the place of",
                          hint="roll back by content: --way content")
    if not now.path or _KEPT.fullmatch(now.path):
        raise NoNativeWay(f"{shown} was set back already and shows the old subvolume until it is mounted again",
                          hint=f"it takes effect {_next_mount(used.path)}")
    return _Swap(used, now, snapshot, tuple(nested(every, now.id)))


def _findings(config: Config, swap: _Swap) -> Iterator[Finding]:
    shown, name = printable(swap.live.path), printable(swap.now.path)
    how = _fstab_options(config, swap.live)
    if how is None and swap.live.own:
        yield Finding("warning", f"fstab has no line for {shown}: whatever mounts it must do so by the name "
                      f"subvol={name}", "check the boot menu's rootflags= too, if that is the root")
    elif how is not None and "subvolid" in how:
        yield Finding("blocker", f"{shown} is mounted by its number (subvolid={how['subvolid']} in fstab), so it would "
                      "go on showing the old subvolume", f"write subvol={name} there, or roll back by content")
    elif how is not None and os.fsencode(how.get("subvol", "")).strip(b"/") != swap.now.path:
        yield Finding("blocker", f"{shown} is not mounted by the name of its subvolume ({name}) in fstab, but as the "
                      "default subvolume or another one", f"write subvol={name} there, or roll back by content")
    for one in swap.inner:
        yield Finding("warning", f"the subvolume {printable(one.path)} lies in it: it is no part of the snapshot, "
                      f"stays as it is and moves along, so it is missing below {shown} until the new one is mounted",
                      "stop what uses it first, or roll back by content")


def _fstab_options(config: Config, live: Live) -> dict[str, str] | None:
    """Return the mount options that the root's fstab has for a place, None where it has no line for it."""
    if live.place is None or not live.own:
        return None
    path = os.path.join(os.path.realpath(os.fsencode(config.root)), b"etc/fstab")
    with contextlib.suppress(OSError), open(path, "rb") as file:
        for line in file:
            fields = line.split()
            if len(fields) >= 4 and not fields[0].startswith(b"#") and fields[2] == b"btrfs" and (
                    re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), fields[1]).strip(b"/") == live.place):
                pairs = (word.partition("=") for word in os.fsdecode(fields[3]).split(","))
                return {key: value for key, _, value in pairs}
    return None


def _when(swaps: Sequence[_Swap]) -> str:
    mounted = [swap.live.path for swap in swaps if swap.live.own]
    return " and ".join(dict.fromkeys(map(_next_mount, mounted))) or "at once"


def _next_mount(point: bytes) -> str:
    return "at the next boot" if point == b"/" else f"when {printable(point)} is mounted again"


def _commands(swaps: Sequence[_Swap]) -> Iterator[str]:
    for swap in swaps:
        now, kept = f"TOP/{printable(swap.now.path)}", f"TOP/{printable(swap.now.path)}{_MARK}TIME"
        yield f"mount -o subvolid={TOP} {printable(swap.live.mount.source)} TOP"
        yield f"btrfs subvolume snapshot TOP/{printable(swap.snapshot.path)} {kept}"
        yield f"mv --exchange {now} {kept}"
        for one in swap.inner:
            yield f"mv {kept}{printable(one.path[len(swap.now.path):])} TOP/{printable(one.path)}"


def _token(swaps: Sequence[_Swap]) -> str:
    """Return what tells this state from others: which subvolumes there are, not what is in them."""
    facts = [[s.now.id, s.now.uuid, s.now.path.hex(), s.snapshot.uuid, s.snapshot.path.hex(),
              [i.id for i in s.inner]] for s in swaps]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _suffix(tops: Tops, swaps: Sequence[_Swap]) -> bytes:
    """Return what the names of the old subvolumes end in. None of these names may be there: btrfs(8) would make a
    snapshot inside of a directory that is."""
    plain = suffix = os.fsencode(f"{_MARK}{datetime.now(UTC):%Y-%m-%d_%H-%M-%S}")
    number = 1
    while any(os.path.lexists(tops.outside(swap.live.mount, swap.now.path + suffix)) for swap in swaps):
        number += 1
        suffix = plain + b"-%d" % number
    return suffix


# --- swapping --------------------------------------------------------------------------------------------------------


def _swap(tops: Tops, swap: _Swap, name: bytes) -> None:
    """Put a copy of the snapshot in the place of a subvolume, which gets the name; see the top of this file."""
    top = tops.inside(swap.live.mount)
    tops.space.run(["btrfs", "subvolume", "snapshot", os.path.join(top, swap.snapshot.path), os.path.join(top, name)])
    btrfstree.exchange(tops.outside(swap.live.mount, swap.now.path), tops.outside(swap.live.mount, name))
    for one in swap.inner:
        _move(tops, swap.live.mount, name + one.path[len(swap.now.path):], one.path)


def _swap_back(tops: Tops, swap: _Swap, name: bytes) -> None:
    """Undo `_swap`, as far as it came."""
    mount = swap.live.mount
    if not os.path.lexists(tops.outside(mount, name)):
        return
    if btrfstree.id_of(tops.outside(mount, swap.now.path)) != swap.now.id:
        for one in swap.inner:
            with contextlib.suppress(RollpointError, OSError):
                _move(tops, mount, one.path, name + one.path[len(swap.now.path):])
        btrfstree.exchange(tops.outside(mount, swap.now.path), tops.outside(mount, name))
    copy = next((s for s in subvolumes(tops.outside(mount)) if s.path == name), None)
    if copy is not None and copy.parent_uuid == swap.snapshot.uuid:
        tops.space.run(["btrfs", "subvolume", "delete", os.path.join(tops.inside(mount), name)])


def _move(tops: Tops, mount: Mount, old: bytes, new: bytes) -> None:
    """Move a subvolume into another one, where an empty directory stands for it, or nothing."""
    source, target = tops.outside(mount, old), tops.outside(mount, new)
    if not os.path.lexists(source):
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(target)
    os.rename(source, target)
