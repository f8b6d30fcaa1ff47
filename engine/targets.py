"""Which file systems a rollback acts on: those that the point recorded, as far as the scope goes.

Not those that the target's fstab lists today: that file may be what is broken, and a root that was mounted by hand on a
rescue CD has no /boot below it unless somebody mounts it. A recorded file system that is not there, or is another one,
forbids the rollback, for its files would be written where they do not belong. One that the point knows nothing of is
left alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from engine.config import Config
from engine.entries import Kind
from engine.errors import RefusedError
from engine.machine import mounts
from engine.machine.filesystems import Recorded, mounted_at, recorded, same_type, same_uuid
from engine.machine.mounts import Mount
from engine.points import RestorePoint
from engine.replica.catalog import Catalog
from engine.replica.layout import Store, check_source, machine_id
from engine.results import Finding
from engine.scopes import Scope
from engine.text import printable, shown_path


@dataclass(frozen=True, slots=True)
class Target:
    """What a rollback acts on: `places` are the mount points to compose besides the root, `spared` paths that stay as
    they are because of what is mounted there, `findings` what speaks against it and what the admin should know."""

    places: tuple[bytes, ...]
    spared: tuple[bytes, ...]
    findings: tuple[Finding, ...]


def look(config: Config, catalog: Catalog, point: RestorePoint, scope: Scope, *, adopt: bool = False,
         merged: Collection[bytes] = ()) -> Target:
    """Compare what is mounted below the root with what the point recorded. `adopt`: other file systems than the
    recorded ones are taken too, and the files of those in `merged` go into the directories that are there instead."""
    root = os.path.realpath(os.fsencode(config.root))
    sources = involved(point, scope)
    table = _mounts(root, sources)
    found: list[bytes] = []
    findings: list[Finding] = []
    for one in sources:
        there = mounted_at(root, one.place, table)
        findings += _judge(one, there, root, adopt, merged)
        if there is not None and one.place:
            found.append(one.place)
    spared = []
    for mount, place, top in _strangers(catalog, point, scope, root, table):
        if top is None:
            findings.append(Finding(
                "blocker", f"{shown_path(place)} is a file system of its own now; the point holds what was in a "
                "directory there, which would be written below the mount point, unseen",
                f"unmount {shown_path(place)} first, or roll back other paths (--scope path=…)"))
        else:
            spared.append(top)
            more = "" if top == place else f", and with it all in {shown_path(top)}"
            if mount.fstype in mounts.LOCAL_TYPES:
                findings.append(Finding("info", f"{shown_path(place)} is a file system that the point does not know: "
                                        f"it stays as it is{more}"))
    return Target(tuple(found), tuple(dict.fromkeys(spared)), tuple(findings))


def check(config: Config, point: RestorePoint, scope: Scope, *, adopt: bool = False,
          merged: Collection[bytes] = ()) -> None:
    """Raise RefusedError when a file system that the rollback acts on is not the one that the point recorded."""
    root = os.path.realpath(os.fsencode(config.root))
    sources = involved(point, scope)
    table = _mounts(root, sources)
    for one in sources:
        for finding in _judge(one, mounted_at(root, one.place, table), root, adopt, merged):
            if finding.level == "blocker":
                raise RefusedError(f"the rollback is blocked: {finding.text}", hint=finding.hint)


def _mounts(root: bytes, sources: Sequence[Recorded]) -> list[Mount]:
    """Return all mounts, after a look into the recorded places: what is mounted on demand (autofs) is so by then."""
    for one in sources:
        with contextlib.suppress(OSError):
            os.scandir(os.path.join(root, one.place)).close()
    return mounts.mounts()


def check_machine(store: Store, config: Config, point: RestorePoint) -> None:
    """Raise RefusedError unless the root is the tree that the store is about: by its machine id, or where that is gone
    by the file system, which the point has recorded."""
    root = os.path.realpath(os.fsencode(config.root))
    try:
        check_source(store, root)
    except RefusedError:
        one = next((r for r in recorded(point.doc.get("sources")) if not r.place), None)
        both = bool(store.identity.get("machine_id")) and bool(machine_id(root))
        if both or one is None or one.plain or not one.uuid:
            raise
        there = mounted_at(root, b"")
        if there is None or there.plain or _against(one, there):
            raise


def identity(root: bytes) -> str:
    """Return what tells a root file system from others, wherever it is mounted: its UUID, and which subvolume it is; ""
    for a plain directory."""
    there = mounted_at(root, b"")
    return "" if there is None or there.plain or not there.uuid else f"{there.uuid} {printable(there.within)}".strip()


def involved(point: RestorePoint, scope: Scope) -> list[Recorded]:
    """Return the recorded file systems that a scope reaches into."""
    sources = recorded(point.doc.get("sources"))
    if scope.mounts:
        return [one for one in sources if one.place in scope.mounts]
    if not scope.paths:
        return list(sources)
    holders = {max((s.place for s in sources if _in(path, s.place)), key=len, default=b"") for path in scope.paths}
    return [one for one in sources if one.place in holders or any(_in(one.place, path) for path in scope.paths)]


def present(config: Config, point: RestorePoint) -> list[bytes]:
    """Return the recorded mount points, besides the root, at which the recorded file system is mounted now."""
    root = os.path.realpath(os.fsencode(config.root))
    sources = [one for one in recorded(point.doc.get("sources")) if one.place]
    table = _mounts(root, sources)
    there = ((one, mounted_at(root, one.place, table)) for one in sources)
    return [one.place for one, now in there if now is not None and not _against(one, now)]


def sparing(scope: Scope, target: Target) -> Scope:
    """Return the scope without what stays as it is because of what is mounted there."""
    return replace(scope, but=(*scope.but, *target.spared))


def limited(config: Config, places: Sequence[bytes]) -> Config:
    """Return the configuration whose view is composed of the root and these places alone."""
    return replace(config, sources=("/", *(os.fsdecode(b"/" + p) for p in places)))


def places(point: RestorePoint, scope: Scope, merged: Collection[bytes] = ()) -> list[bytes]:
    """Return the mount points, besides the root, that a rollback acts on."""
    return [one.place for one in involved(point, scope) if one.place and one.place not in merged]


def mounted(config: Config, candidates: Sequence[bytes]) -> list[bytes]:
    """Return those of some places, besides the root, at which something is mounted."""
    root = os.path.realpath(os.fsencode(config.root))
    points = {mount.point for mount in mounts.mounts()}
    return [place for place in candidates if place and os.path.join(root, place) in points]


def widened(config: Config, places: Sequence[bytes]) -> Config:
    """Return the configuration for the safety point: what a rollback changes must be in it, whatever fstab says."""
    return replace(config, sources=(*config.sources, *(os.fsdecode(b"/" + p) for p in places)))


def _in(path: bytes, place: bytes) -> bool:
    return not place or path == place or path.startswith(place + b"/")


# --- the same file system? -----------------------------------------------------------------------------------------


def _judge(one: Recorded, there: Recorded | None, root: bytes, adopt: bool, merged: Collection[bytes]
           ) -> Iterator[Finding]:
    where = os.path.join(root, one.place) if one.place else root
    shown = printable(where)
    name = f"UUID={printable(one.uuid)}" if one.uuid else printable(one.device)
    without = _without(one)
    if there is None and one.place in merged:
        yield _merging(one)
    elif one.place in merged:
        yield Finding("blocker", f"{shown_path(one.place)} cannot be merged: a file system is mounted at {shown}",
                      f"unmount it, or leave out --merge {shown_path(one.place)}")
    elif there is None:
        yield Finding("blocker", f"{shown_path(one.place)} was a file system of its own ({_words(one)}), and nothing "
                      f"is mounted at {shown}: its files would be written into the directory there",
                      f"mount it there (mount {name} {shown}){without}")
    elif one.place or not one.plain:
        if there.plain and root != b"/":
            yield Finding("blocker", f"nothing is mounted at {shown}: the point is of a whole file system "
                          f"({_words(one)}), not of a directory", f"mount it there (mount {name} {shown})")
            return
        against = _against(one, there)
        if against and adopt:
            yield Finding("warning", f"{shown_path(one.place)} is adopted: {against}")
        elif against:
            yield Finding("blocker", f"what is mounted at {shown} is not what the point recorded: {against}",
                          f"mount the recorded one there ({name}), or adopt the new one with --adopt{without}")
        elif not one.uuid and one.fstype != "zfs" and one.device.startswith("/dev/"):
            yield Finding("info", f"the point has no UUID for {shown_path(one.place)}: it was compared by its type")


def _merging(one: Recorded) -> Finding:
    where = shown_path(one.place)
    if one.place.split(b"/")[0] in (b"boot", b"efi"):
        return Finding("blocker", f"{where} cannot be merged: boot code and boot menus look for it as a file system of "
                       "its own", f"make and mount a file system for {where}")
    return Finding("warning", f"{where} was a file system of its own and becomes a directory: its line in fstab is put "
                   "out of force")


def _without(one: Recorded) -> str:
    return "; or leave it out (--scope fs=… names those to roll back)" if one.place else ""


def _words(one: Recorded) -> str:
    return ", ".join(w for w in (printable(one.fstype), f"UUID {printable(one.uuid)}" if one.uuid else "",
                                 f"subvolume {printable(one.within)}" if one.within else "") if w) or "?"


def _against(one: Recorded, there: Recorded) -> str:
    """Return what speaks against `there` being the recorded file system, "" if nothing does."""
    if not there.fstype:
        return ""           # in a chroot whose root is no mount point nobody can say what is below it
    if not same_type(one.fstype, there.fstype):
        return f"it is {printable(there.fstype)}, recorded is {printable(one.fstype)}"
    if one.uuid and not same_uuid(one.uuid, there.uuid):
        return f"its UUID is {printable(there.uuid) or 'unknown'}, recorded is {printable(one.uuid)}"
    if one.fstype == "zfs" and one.device != there.device:
        return f"it is the dataset {printable(there.device)}, recorded is {printable(one.device)}"
    if one.within != there.within and (one.place or one.fstype == "btrfs"):
        what = "subvolume" if one.fstype == "btrfs" else "directory"
        return (f"of that file system the {what} /{printable(there.within)} is mounted, recorded is "
                f"/{printable(one.within)}")
    return ""


# --- file systems that the point knows nothing of --------------------------------------------------------------------


def _strangers(catalog: Catalog, point: RestorePoint, scope: Scope, root: bytes, table: Sequence[Mount]
               ) -> Iterator[tuple[Mount, bytes, bytes | None]]:
    """Yield the mount points in the way of a rollback that are not recorded ones, each with the path to spare for it
    (what the point does not have would be deleted), or None where the point has something in there."""
    known = {one.place for one in recorded(point.doc.get("sources"))}
    seen: set[bytes] = set()
    for mount in table:
        if mount.point == root or not _in(mount.point, root.rstrip(b"/")):
            continue
        place = os.path.relpath(mount.point, root)
        if place in known or place in seen or not _reached(place, scope) or scope.spares(place):
            continue
        if any(_in(place, other) for other in seen):
            continue                # in another one
        seen.add(place)
        row = catalog.at(place, point.number)
        if row is None or (row.entry.kind is Kind.DIR) != os.path.isdir(mount.point):
            yield mount, place, _top(catalog, point, place)
        elif mount.fstype in mounts.LOCAL_TYPES and next(catalog.children(point.number, place), None) is not None:
            yield mount, place, None


def _reached(place: bytes, scope: Scope) -> bool:
    if not scope.paths:
        return True
    return any(_in(place, path) or _in(path, place) for path in scope.paths)


def _top(catalog: Catalog, point: RestorePoint, place: bytes) -> bytes:
    """Return the topmost of a path and its parents that the point does not have as a directory."""
    parts = place.split(b"/")
    for n in range(1, len(parts)):
        parent = b"/".join(parts[:n])
        row = catalog.at(parent, point.number)
        if row is None or row.entry.kind is not Kind.DIR:
            return parent
    return place
