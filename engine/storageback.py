"""Going back by content to a point that the storage keeps: its opened snapshots are copied onto what is mounted at
their places.

The snapshots stay, newer ones too, so that one can still roll forward. It is planned, written down, applied, verified,
resumed and undone as a rollback to a point of the replica is (engine/rollback.py); what differs is that the tree to
copy from is there already, and that boot sectors are never part of it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from engine import bootpieces, putback, reboot, rollback, software, storageboot, targets
from engine.backend import Backend, Opened
from engine.config import Config
from engine.entries import Change, Diff, Kind, Status
from engine.errors import RefusedError
from engine.events import Job, step
from engine.machine import bootcheck, packages
from engine.opentree import OpenTree, below, judge
from engine.points import RestorePoint
from engine.replica import rsync
from engine.replica.layout import Store, write_document
from engine.replica.source import View, view
from engine.rescue import lifeboat
from engine.results import Finding, RollbackPlan
from engine.rollback import Applied
from engine.run import scratch
from engine.scopes import Scope, outermost
from engine.text import message, printable, shown_path

_BLOCK = 4096
_ENTRY = 512            # bytes: an inode and its name, and a part of the tables of what is free


def tree_of(opened: Opened, name: str) -> OpenTree:
    """Return an opened point as a tree to ask."""
    return OpenTree(opened.path, name, opened.places, frozenset(opened.holes))


def fitted(scope: Scope, opened: Opened) -> Scope:
    """Return the scope for a point: its places alone, without what it does not hold, and never boot sectors."""
    paths = scope.paths or (() if b"" in opened.places else outermost(opened.places))
    involved = scope.mounts or tuple(place for place in opened.places if _reaches(paths, place, opened.places))
    return replace(scope, paths=paths, but=(*scope.but, *opened.holes), mounts=involved, boot=False)


def _reaches(paths: Sequence[bytes], place: bytes, places: Sequence[bytes]) -> bool:
    """Whether a rollback of these paths (none: all) touches what is at a place."""
    def holder(path: bytes) -> bytes:
        return max((p for p in places if below(path, p)), key=len, default=b"")

    return not paths or any(below(place, path) or holder(path) == place for path in paths)


@contextmanager
def target_of(config: Config, store: Store | None, scope: Scope, opened: Opened
              ) -> Iterator[tuple[Config, View, bytes]]:
    """Compose the view that is written to, in the space of the opened point: the root, and what is mounted at the
    places that the scope reaches. Yields the configuration with what stays excluded, the view, the file of
    exclusions."""
    config = targets.limited(scope.narrowed(config), targets.mounted(config, scope.mounts))
    with view(config, store, target_in=opened.space) as target, scratch() as place:
        yield config, target, rsync.write_filters(os.path.join(os.fsencode(place), b"filters"), target.filters)


def differences(config: Config, store: Store | None, scope: Scope, opened: Opened, name: str, job: Job
                ) -> list[Change]:
    """Return what a rollback would do to each path: from the live tree to the point, in walk order. What is excluded is
    not looked at."""
    tree = tree_of(opened, name)
    with target_of(config, store, scope, opened) as (config, target, listed):
        live = OpenTree(target.path, "live")
        paths = putback.touched(opened.inside, target, listed, config, scope, job, "comparing with the live system")
        for path in sorted(paths):      # rsync does not name what is in a directory that something else replaces
            entry = live.at(path)
            now = tree.at(path)
            if entry is not None and entry.kind is Kind.DIR and now is not None and now.kind is not Kind.DIR:
                paths.update(inner.path for inner in live.walk(path))
        found = [judge(live, tree, path, contents=config.compare_checksums) for path in paths]
    return sorted((c for c in found if c is not None), key=lambda c: c.path.replace(b"/", b"\0"))


# --- planning --------------------------------------------------------------------------------------------------------


def plan(config: Config, store: Store | None, backend: Backend, opened: Opened, point: RestorePoint, scope: Scope,
         newer: Sequence[RestorePoint], job: Job) -> RollbackPlan:
    """Return what going back to an opened point would change; nothing is touched."""
    root = os.path.realpath(os.fsencode(config.root))
    scope = fitted(scope, opened)
    tree = tree_of(opened, point.id)
    diff = Diff("live", point.id, tuple(differences(config, store, scope, opened, point.id, job)))
    changed = software.compare(software.LiveFiles(root), tree, [c.path for c in diff.changes])
    findings = [*_about(config, store, point, scope, tree), *putback.obstacles(diff, root, opened.path),
                *backend.strain(point, written(diff, opened)), *_holes(opened, scope, root),
                *_boots(config, opened, tree, scope)]
    findings += [Finding("warning", note) for note in changed.notes]
    return RollbackPlan(
        point, printable(root), scope.words, diff, tuple(newer),
        tuple(printable(os.fsencode(p)) for p in config.excludes),
        tuple(shown_path(os.fsencode(d).strip(b"/")) for d in config.databases), tuple(findings),
        tuple(_commands(config, store, point, scope)), changed.packages, changed.kernels,
        reboot=reboot.reasons(root, (), changed.kernels, changed.packages))


def written(diff: Diff, opened: Opened) -> dict[bytes, int]:
    """Return about how many bytes putting a difference back writes to each place: rsync writes whole files but no
    holes, each of several hard-linked names once, and the file system something for every entry."""
    found = dict.fromkeys(opened.places, 0)
    seen: set[tuple[int, int]] = set()
    for change in diff.changes:
        size, new = _ENTRY, change.new
        if new is not None and new.kind is Kind.FILE and change.status is not Status.ATTRS:
            info = os.lstat(os.path.join(opened.path, change.path))
            if (info.st_dev, info.st_ino) not in seen:
                size += min(-(-info.st_size // _BLOCK) * _BLOCK, info.st_blocks * 512)
            seen.add((info.st_dev, info.st_ino))
        place = max((p for p in opened.places if below(change.path, p)), key=len, default=b"")
        found[place] = found.get(place, 0) + size
    return found


def _about(config: Config, store: Store | None, point: RestorePoint, scope: Scope, tree: OpenTree) -> Iterator[Finding]:
    if point.state != "ok":
        yield Finding("blocker", f"point {point.id} is {point.state}: {point.problems[0] if point.problems else ''}",
                      "choose another point")
    left = rollback.interrupted(store) if store is not None else ""
    if left:
        yield Finding("blocker", left, "finish it with `rollpoint rollback --resume` or `--undo` first")
    if config.read_only:
        yield Finding("blocker", "the configuration says read_only", "take `read_only` out of the configuration")
    for path in scope.paths:
        if not any(below(path, place) or below(place, path) for place in tree.places):
            held = ", ".join(map(shown_path, tree.places))
            yield Finding("blocker", f"{shown_path(path)} is no part of the point, which holds {held}",
                          "check the path")
        elif tree.at(path) is None and not os.path.lexists(
                os.path.join(os.path.realpath(os.fsencode(config.root)), path)):
            yield Finding("blocker", f"{shown_path(path)} is neither in the point nor on the system", "check the path")
    for part in point.parts:
        if part.place is None:
            yield Finding("warning", f"{message(part.volume)} is not mounted: it stays as it is",
                          "mount it, and look at the plan again")


def _holes(opened: Opened, scope: Scope, root: bytes) -> Iterator[Finding]:
    for hole in opened.holes:
        if os.path.lexists(os.path.join(root, hole)) and _reaches(scope.paths, hole, opened.places):
            yield Finding("info", f"{shown_path(hole)} is a volume of its own and no part of the point: it stays as it "
                          "is")


def _boots(config: Config, opened: Opened, tree: OpenTree, scope: Scope) -> Iterator[Finding]:
    """Yield whether the system will boot; a /boot that stays is looked at wherever the root is, and said once, at its
    worst."""
    named = list(_modules(os.path.realpath(os.fsencode(config.root)), tree, scope))
    yield from named
    for finding in storageboot.foresee(config, opened, scope):
        worse = bool(named) and finding.level == "blocker" and named[0].level != "blocker"
        if worse or not (named and finding.text.endswith(bootcheck.NO_MODULES)):
            yield finding


def _modules(root: bytes, tree: OpenTree, scope: Scope) -> Iterator[Finding]:
    """Yield a warning where a /boot that stays has kernels whose modules the point does not hold."""
    live = software.LiveFiles(root)
    home = b"usr/lib/modules" if tree.names(b"usr/lib/modules") else b"lib/modules"
    if scope.paths and not any(below(home, path) for path in scope.paths):
        return
    if not os.path.ismount(os.path.join(root, packages.BOOT)) or packages.BOOT in scope.mounts:
        return
    held = set(tree.names(home))
    releases = sorted(name.partition(b"-")[2] for name in live.names(packages.BOOT) if name.startswith(b"vmlinuz-"))
    missing = [release for release in releases if release and release not in held]
    if missing:
        level = "blocker" if len(missing) == len(releases) else "warning"
        yield Finding(level, "/boot is a file system of its own and no part of the point: it keeps its kernels, and "
                      f"the point has no modules for {', '.join(map(printable, missing))}",
                      "roll back to a point that holds /boot too, or leave /usr out (--scope path=…)")


def _commands(config: Config, store: Store | None, point: RestorePoint, scope: Scope) -> Iterator[str]:
    from engine.machine.mounts import Space
    from engine.replica.source import filters

    root = os.path.realpath(os.fsencode(config.root))
    for part in point.parts:
        if part.place in scope.mounts:
            yield f"mount -o ro {message(part.snapshot)} POINT{shown_path(part.place or b'')}"
    shown = View(Space(), root, root, (), (), filters(scope.narrowed(config), store, root))
    argv = putback.copy_argv(config, scope, b"POINT", shown, b"EXCLUDES")
    yield " ".join(printable(a) for a in argv if not str(a).startswith("--out-format"))
    yield from (f"EXCLUDES: {printable(p)}" for p in shown.filters)


# --- applying --------------------------------------------------------------------------------------------------------


def apply(store: Store, config: Config, backend: Backend, point: RestorePoint, scope: Scope, entry: dict[str, Any],
          job: Job, expected: int | None = None) -> Applied:
    """Make the target what the point holds, as far as the scope of the journal goes. The caller holds the write lock
    and has written the journal.

    Raises RollpointError; the journal then stays and the rollback can be resumed or undone.
    """
    started = time.monotonic()
    step("rollback-begun")
    with backend.open(point, job) as opened:
        missing = [place for place in scope.mounts if place not in opened.places]
        if missing:
            raise RefusedError(f"{shown_path(missing[0])} is not what the point is of any more: nothing was changed",
                               hint="mount the volume there again")
        lifeboat.cast_off()
        tree = tree_of(opened, point.id)
        with target_of(config, store, scope, opened) as (narrowed, target, listed):
            source = putback.Source(opened.inside, tree.at)
            count, left = putback.put_back(source, target, listed, narrowed, scope, job, expected)
    os.sync()
    verdict = bootpieces.verdict(config, scope.paths)
    write_document(store.place(rollback.JOURNAL), entry | {"phase": "undone" if entry["undo"] else "done"})
    step("rollback-done")
    return Applied(count, tuple(left), time.monotonic() - started, (), verdict)
