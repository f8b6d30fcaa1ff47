"""btrfs: read-only snapshots of subvolumes as restore points.

A point of ours is a directory ``.rollpoint/ID`` at the top of the file system with a snapshot for each subvolume and
point.json. It is made and emptied under another name (``.ID.unfinished``), so that no half of it is ever listed; what a
crash leaves under such a name is removed by the next one that writes. Subvolumes that lie in another one are not in its
snapshot (btrfs-subvolume(8)): they are taken when they are named. Snapshots of several subvolumes are made one right
after another: there is no command that makes them in the same instant.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime

from engine.backend import Level, Losses, NativePlan, Opened
from engine.config import Config
from engine.errors import BusyError, NoRoomError, RefusedError, RollpointError
from engine.events import Job
from engine.machine.momentary import HOME
from engine.machine.mounts import Mount, Namespace, mounts
from engine.points import Part, RestorePoint
from engine.results import Finding, PruneResult, SnapshotRequest
from engine.text import human_size, printable
from engine.volumes import btrfsplaces, btrfspoints, btrfsroom, btrfsswap
from engine.volumes.btrfsplaces import Live, Tops, nested
from engine.volumes.btrfspoints import Kept, Record
from engine.volumes.btrfstree import TOP, Subvolume, fs_uuid, subvolumes
from engine.volumes.composed import Mounting, compose
from engine.volumes.owners import UNKNOWN

_UNFINISHED = b".unfinished"
_LOCK = b"lock"
_NEARLY, _FULL = 90.0, 99.5     # percent of a file system
_BESIDE = re.compile(rb"info\.(xml|json)|filelist-\d+\.txt(\.gz)?|exclude\.list")


class BtrfsBackend:
    """Snapshots of btrfs subvolumes, ours and others'."""

    name = "btrfs"

    def __init__(self, config: Config) -> None:
        self._config = config

    # --- looking -----------------------------------------------------------------------------------------------------

    def points(self) -> list[RestorePoint]:
        """Return all points (see engine.backend.Backend)."""
        live, around = btrfsplaces.listed(self._config), btrfsplaces.around(self._config)
        return btrfspoints.read(live, around, every_one="auto" in self._config.btrfs.subvolumes)

    def open(self, point: RestorePoint, job: Job) -> AbstractContextManager[Opened]:
        """Open a point: its snapshots, mounted read-only by their ids, each at its place. A point of one snapshot whose
        subvolume is not in use is a tree by itself."""
        job.progress("opening the point")
        parts = [part for part in point.parts if part.place is not None]
        if not parts and len(point.parts) == 1:
            parts = [dataclasses.replace(point.parts[0], place=b"")]
        if not parts:
            raise RefusedError(f"nothing of point {point.id} can be shown: none of its subvolumes is mounted",
                               hint="mount them, or mount its snapshots by hand (`rollpoint show` names them)")
        return compose([(part.place or b"", _mounting(part)) for part in parts], self._holes(parts))

    def _holes(self, parts: Sequence[Part]) -> list[bytes]:
        """Return the places of what lies in the subvolumes and is in none of their snapshots: other subvolumes, and
        where the top of the file system itself is in use, our own points."""
        places = {part.place for part in parts}
        used = {os.fsdecode(live.path): live for live in btrfsplaces.reachable(self._config)}
        found = []
        for live in (used[part.volume] for part in parts if part.volume in used):
            every = subvolumes(live.path)
            base = next((one.path for one in every if one.id == live.id), b"")
            inner = [os.path.relpath(one.path, base or b".") for one in nested(every, live.id)]
            inner += [HOME] if live.id == TOP else []
            found += [os.path.join(live.place or b"", name) for name in inner]
        return [hole for hole in found if hole not in places]

    def strain(self, point: RestorePoint, written: Mapping[bytes, int], *, rollback: bool = True) -> Sequence[Finding]:
        """Nothing: a snapshot takes what it needs of the room that the file system says is free."""
        return ()

    def losses(self, points: Sequence[RestorePoint]) -> Losses:
        """Return what deleting these comes to, and what it frees at least (see engine/volumes/btrfsroom.py)."""
        table = mounts()
        findings: list[Finding] = []
        counted: list[int | None] = []
        places: list[bytes] = []
        with Tops() as tops:
            for mount, wanted in self._by_file_system(points):
                every, file_system = subvolumes(tops.outside(mount)), fs_uuid(tops.outside(mount))
                for snapshot in _here(every, wanted):
                    findings += _against(snapshot, every, mount, table)
                    counted.append(btrfsroom.exclusive(file_system, snapshot.id))
                    places.append(tops.outside(mount, snapshot.path))
            if counted and None not in counted:
                return Losses(sum(count or 0 for count in counted), tuple(findings), len(counted) > 1)
            held = btrfsroom.alone(places, btrfsroom.SECONDS)
        if held.packed:
            findings.append(Finding("info", f"compressed files that nobody else shares hold {human_size(held.packed)} "
                                    "of content: what they take on the disk is freed too, and not counted"))
        if not held.whole:
            findings.append(Finding("info", "not all files were looked at: that would take too long, or some "
                                    "cannot be read; `btrfs quota enable` lets the kernel count"))
        return Losses(held.bytes if held.bytes or held.whole else None, tuple(findings), True)

    def levels(self) -> list[Level]:
        """Return how full each file system is."""
        found: dict[bytes, Level] = {}
        for live in btrfsplaces.listed(self._config):
            room = os.statvfs(live.path)
            percent = 100.0 * (1 - room.f_bavail / room.f_blocks) if room.f_blocks else 0.0
            state = "full" if percent >= _FULL else "warning" if percent >= _NEARLY else "ok"
            source = printable(live.mount.source)
            found.setdefault(live.mount.device, Level(
                self.name, source, percent, state, f"{percent:.0f} % of {source} ({printable(live.path)}) is in use"))
        return list(found.values())

    def pending(self) -> list[str]:
        """Return where a subvolume was set back while it was mounted."""
        return btrfsswap.pending()

    def native(self, point: RestorePoint) -> NativePlan:
        """Return what putting the snapshots in the place of their subvolumes would do. Raises NoNativeWay."""
        return btrfsswap.plan(self._config, point)

    def set_back(self, plan: NativePlan, job: Job) -> list[str]:
        """Put the snapshots in the place of their subvolumes, which stay under another name."""
        return btrfsswap.carry_out(self._config, plan, job)

    # --- taking ------------------------------------------------------------------------------------------------------

    def take(self, request: SnapshotRequest, job: Job) -> RestorePoint:
        """Take a snapshot of each configured subvolume, one right after another."""
        chosen = btrfsplaces.taken(self._config)
        full = [level for level in self.levels() if level.state == "full"]
        if full:
            raise NoRoomError(f"no snapshot is taken: {full[0].text}", hint="free room first")
        with contextlib.ExitStack() as stack:
            tops = stack.enter_context(Tops(writable=True))
            mounted = list({live.mount.device: live.mount for live in chosen}.values())
            for mount in mounted:
                stack.enter_context(_locked(tops, mount))
                _sweep(tops, mount, job)
            when = (request.when or datetime.now(UTC)).astimezone(UTC)
            record = Record(_free_id(tops, mounted, when), when, request.comment, request.tags, request.pin,
                            request.reason, tuple(fs_uuid(tops.outside(m)) for m in mounted))
            _make(tops, chosen, record, job)
        return next(point for point in self.points() if point.id == record.id)

    def annotate(self, point: RestorePoint, *, comment: str | None = None, pinned: bool | None = None) -> RestorePoint:
        """Change what point.json says of a point of ours. Raises RefusedError for another program's."""
        if point.owner:
            raise RefusedError(f"point {point.id} is {_whose(point)}: btrfs has no place for a note of ours on it",
                               hint="use the program that took it, or take a point of your own")
        change = {k: v for k, v in (("comment", comment), ("pinned", pinned)) if v is not None}
        with Tops(writable=True) as tops:
            for mount, _ in self._by_file_system([point]):
                with _locked(tops, mount):
                    directory = tops.outside(mount, os.path.join(HOME, os.fsencode(point.id)))
                    try:
                        record = btrfspoints.read_record(directory)
                    except (OSError, ValueError) as error:
                        raise RollpointError(f"point {point.id}: {error}") from error
                    btrfspoints.write_record(directory, dataclasses.replace(record, **change))  # type: ignore[arg-type]
        return next(found for found in self.points() if found.id == point.id)

    # --- deleting ----------------------------------------------------------------------------------------------------

    def delete(self, points: Sequence[RestorePoint], job: Job) -> PruneResult:
        """Delete the snapshots of these points, and nothing else."""
        removed: list[str] = []
        failed: list[tuple[str, str]] = []
        with Tops(writable=True) as tops:
            for number, point in enumerate(points):
                job.progress("deleting", number, len(points), current=os.fsencode(point.id))
                try:
                    for mount, _ in self._by_file_system([point]):
                        with _locked(tops, mount):
                            _remove(tops, mount, point)
                    removed.append(point.id)
                except (RollpointError, OSError) as error:
                    failed.append((point.id, str(error)))
                    job.warn(f"point {point.id} could not be removed: {error}")
        return PruneResult(tuple(removed), tuple(failed), 0)

    def _by_file_system(self, points: Sequence[RestorePoint]) -> list[tuple[Mount, list[Part]]]:
        """Return the parts of points by the file system that they lie on. Raises RollpointError for one that is not
        mounted any more."""
        table = [mount for mount in mounts() if mount.fstype == b"btrfs"]
        by_source = {os.fsdecode(mount.source): mount for mount in reversed(table)}
        found: dict[bytes, tuple[Mount, list[Part]]] = {}
        for part in (part for point in points for part in point.parts):
            mount = by_source.get(str(part.facts.get("device")))
            if mount is None:
                raise RollpointError(f"{part.snapshot}: its file system is not mounted any more")
            found.setdefault(mount.device, (mount, []))[1].append(part)
        return list(found.values())


def _whose(point: RestorePoint) -> str:
    return "a snapshot that nobody knows the owner of" if point.owner == UNKNOWN else f"{point.owner}'s"


# --- opening ---------------------------------------------------------------------------------------------------------


def _mounting(part: Part) -> Mounting:
    def how(space: Namespace, where: bytes) -> None:
        options = f"ro,subvolid={int(part.facts['id'])}"
        space.run(["mount", "-t", "btrfs", "-o", options, os.fsencode(str(part.facts["device"])), where])

    return how


# --- making ----------------------------------------------------------------------------------------------------------


def _make(tops: Tops, chosen: Sequence[Live], record: Record, job: Job) -> None:
    """Make a point under a name that is not listed, and show it by renaming; takes all back when something fails."""
    hidden = b"." + os.fsencode(record.id) + _UNFINISHED
    begun: list[Mount] = []
    kept: dict[bytes, list[Kept]] = {}
    every = {live.mount.device: {s.id: s for s in subvolumes(tops.outside(live.mount))} for live in chosen}
    try:
        for live in chosen:
            if live.mount.device not in kept:
                begun.append(live.mount)
                kept[live.mount.device] = []
                os.mkdir(tops.outside(live.mount, os.path.join(HOME, hidden)), 0o700)
        for live in chosen:
            job.progress("taking snapshots", current=live.path)
            parts = kept[live.mount.device]
            name = _part_name(live, [part.name for part in parts])
            source = every[live.mount.device][live.id]
            top = tops.inside(live.mount)
            tops.space.run(["btrfs", "subvolume", "snapshot", "-r", os.path.join(top, source.path),
                            os.path.join(top, HOME, hidden, os.fsencode(name))])
            parts.append(Kept(name, live.path, live.place, source.path))
        for mount in begun:
            directory = tops.outside(mount, os.path.join(HOME, hidden))
            btrfspoints.write_record(directory, dataclasses.replace(record, kept=tuple(kept[mount.device])))
            tops.space.run(["btrfs", "filesystem", "sync", tops.inside(mount)])
        for mount in begun:
            os.rename(tops.outside(mount, os.path.join(HOME, hidden)),
                      tops.outside(mount, os.path.join(HOME, os.fsencode(record.id))))
    except BaseException as error:
        left = [path for mount in begun for path in _take_back(tops, mount, hidden, record)]
        if left and isinstance(error, RollpointError):
            error.hint = f"{error.hint}; remove by hand: {', '.join(left)}".lstrip("; ")
        raise


def _take_back(tops: Tops, mount: Mount, hidden: bytes, record: Record) -> Iterator[str]:
    """Remove what was made of a point on one file system; yields what could not be."""
    for name in (hidden, os.fsencode(record.id)):
        try:
            _empty(tops, mount, os.path.join(HOME, name))
        except (RollpointError, OSError):
            yield f"{printable(os.path.join(HOME, name))} at the top of {printable(mount.source)}"


def _part_name(live: Live, used: Sequence[str]) -> str:
    """Return a name for a part in the point's directory: that of its place, plain, and unlike those used."""
    text = (live.path if live.place is None else live.place).decode("utf-8", "replace").strip("/")
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.")[:60] or "root"
    return next(name for n in range(1, len(used) + 2) if (name := plain if n == 1 else f"{plain}-{n}") not in used)


def _free_id(tops: Tops, mounted: Sequence[Mount], when: datetime) -> str:
    """Return an id that no point of these file systems has."""
    stamp = f"{when:%Y-%m-%d_%H-%M-%S}-btrfs"
    number = 1
    while True:
        name = stamp if number == 1 else f"{stamp}-{number}"
        if not any(os.path.lexists(tops.outside(m, os.path.join(HOME, os.fsencode(name)))) for m in mounted):
            return name
        number += 1


# --- removing --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _locked(tops: Tops, mount: Mount) -> Iterator[None]:
    """Be the only one who changes ``.rollpoint`` on a file system (made if missing). Raises BusyError."""
    home = tops.outside(mount, HOME)
    with contextlib.suppress(FileExistsError):
        os.mkdir(home, 0o700)
    if not stat.S_ISDIR(os.lstat(home).st_mode):
        raise RefusedError(f"{printable(HOME)} at the top of {printable(mount.source)} is no directory",
                           hint="move it out of the way")
    fd = os.open(os.path.join(home, _LOCK), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BusyError(f"another Rollpoint changes the points on {printable(mount.source)}",
                            hint="wait until it is done, then try again") from None
        yield
    finally:
        os.close(fd)


def _sweep(tops: Tops, mount: Mount, job: Job) -> None:
    """Remove what a crash left; the lock tells that nobody is at work on it."""
    for name in sorted(os.listdir(tops.outside(mount, HOME))):
        if name.startswith(b".") and name.endswith(_UNFINISHED):
            try:
                _empty(tops, mount, os.path.join(HOME, name))
                job.warn(f"removed {printable(name)}, which an interrupted Rollpoint had left")
            except (RollpointError, OSError) as error:
                job.warn(f"an interrupted Rollpoint left {printable(os.path.join(HOME, name))}, which cannot be "
                         f"removed: {error}")


def _empty(tops: Tops, mount: Mount, directory: bytes) -> None:
    """Remove a directory of ours with the snapshots in it, as they are listed now. Raises RollpointError, OSError."""
    place = tops.outside(mount, directory)
    if not os.path.lexists(place):
        return
    for snapshot in subvolumes(tops.outside(mount)):
        if os.path.dirname(snapshot.path) == directory and snapshot.is_snapshot:
            _delete(tops, mount, snapshot)
    for name in os.listdir(place):
        os.unlink(os.path.join(place, name))
    os.rmdir(place)


def _remove(tops: Tops, mount: Mount, point: RestorePoint) -> None:
    """Delete what a point has on one file system. Raises RollpointError, OSError."""
    every = subvolumes(tops.outside(mount))
    snapshots = _here(every, list(point.parts))
    table = mounts()
    for snapshot in snapshots:
        for finding in _against(snapshot, every, mount, table):
            if finding.level == "blocker":
                raise RefusedError(finding.text, hint=finding.hint)
    if not point.owner:
        hidden = os.path.join(HOME, b"." + os.fsencode(point.id) + _UNFINISHED)
        os.rename(tops.outside(mount, os.path.join(HOME, os.fsencode(point.id))), tops.outside(mount, hidden))
        _empty(tops, mount, hidden)
        return
    for snapshot in snapshots:
        _delete(tops, mount, snapshot)
    for directory in {os.path.dirname(tops.outside(mount, s.path)) for s in snapshots}:
        _tidy(directory)


def _tidy(directory: bytes) -> None:
    """Remove what snapper or Timeshift wrote about a snapshot that is gone, if there is nothing else beside it."""
    names = os.listdir(directory)
    if names and all(_BESIDE.fullmatch(name) for name in names):
        for name in names:
            os.unlink(os.path.join(directory, name))
        os.rmdir(directory)


def _delete(tops: Tops, mount: Mount, snapshot: Subvolume) -> None:
    """Delete one snapshot: the one door to `btrfs subvolume delete`, for what was just listed and is a snapshot."""
    if not snapshot.is_snapshot or not snapshot.path:
        raise RefusedError(f"{printable(snapshot.path)} is no snapshot: it is not deleted")
    tops.space.run(["btrfs", "subvolume", "delete", os.path.join(tops.inside(mount), snapshot.path)], timeout=300)


def _here(every: Sequence[Subvolume], parts: Sequence[Part]) -> list[Subvolume]:
    """Return the parts' snapshots as they are now: of the same UUID and at the same place."""
    wanted = {(str(part.facts.get("uuid")), os.fsencode(part.snapshot)) for part in parts}
    return [one for one in every if (one.uuid, one.path) in wanted]


def _against(snapshot: Subvolume, every: Sequence[Subvolume], mount: Mount, table: Sequence[Mount]
             ) -> Iterator[Finding]:
    """Yield what forbids to delete a snapshot: it is in use, or holds other subvolumes."""
    shown = printable(snapshot.path)
    for one in table:
        if one.device == mount.device and one.root.strip(b"/") == snapshot.path:
            yield Finding("blocker", f"{shown} is mounted at {printable(one.point)}", f"umount {printable(one.point)}")
    inner = nested(every, snapshot.id)
    if inner:
        yield Finding("blocker", f"{shown} holds other subvolumes: {', '.join(printable(i.path) for i in inner[:4])}",
                      "delete these first, with `btrfs subvolume delete`")
    if not snapshot.is_snapshot:
        yield Finding("blocker", f"{shown} is no snapshot", "")

