"""Points of a VM's disks: whole copies in a hidden directory beside the disks, made with reflinks where the file system
can, and a sealed document in the store (format: "Points of disks" in engine/replica/FORMAT.md).

A copy has to be of one moment, or its file systems and databases do not fit together:

* the VM is stopped: its disks do not change, and are copied one after the other;
* it runs, or nobody knows: all its disks of one file system have to be of one moment. A single file is, since a reflink
  is made at once; several are copied out of a momentary snapshot of what they lie on (btrfs, LVM). They are then as
  after a power cut of the VM (crash-consistent), each file system for itself.

Freezing the file system (fsfreeze) is no way here: the copies are written to it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from engine.config import Config
from engine.errors import DamageError, NoRoomError, RefusedError, RollpointError
from engine.events import Job, step
from engine.machine import momentary, mounts
from engine.machine.momentary import Moment
from engine.points import Part, RestorePoint
from engine.replica.disk import apply_attributes, copy_range, read_entry
from engine.replica.layout import Store, fsync_dir, remove_tree, write_file
from engine.replica.source import COPIES_OF_DISKS
from engine.results import PruneResult, SnapshotRequest
from engine.run import scratch
from engine.text import human_size, message, printable, shown_path
from engine.vmpoints import documents
from engine.vmpoints.plans import DISKS
from engine.vmpoints.sums import Sum, of_file
from engine.vms.inventory import Machine
from engine.vms.places import FILE, DiskState
from engine.vms.running import RUNNING, STOPPED, RunState

KIND = b"disks"
CONTENT, SUMS = b"disks.json", b"sums.yaml"
HIDDEN = COPIES_OF_DISKS
"""The directory beside the disks that holds the copies: of each store one by its id, and in it one for each point."""

_UNFINISHED = b".unfinished"     # in a directory of copies until their point is visible
_FICLONE = 0x40049409       # linux/fs.h
_STEP = 64 << 20


@dataclass(frozen=True, slots=True)
class Copied:
    """A disk in a point. Paths are relative to the root: where the disk was, and where its copy is. `way` is how it was
    made: ``reflink`` or ``copy``. `sum` is the checksum (engine/vmpoints/sums.py) that was made while copying, "" where
    nothing was read for that, or by a Rollpoint that made none."""

    device: str
    path: bytes
    copy: bytes
    size: int
    mtime: int
    way: str
    sum: str = ""


def clone(source: bytes, dest: bytes) -> bool:
    """Make the new file `dest` share all blocks of `source`, at once; returns False, with no file made, where the file
    system cannot. Raises OSError."""
    with open(source, "rb", buffering=0) as old, open(dest, "xb", buffering=0) as new:
        try:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
            return True
        except OSError as error:
            os.unlink(dest)
            if error.errno in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EPERM):
                return False
            raise


def copy(source: bytes, dest: bytes, job: Job) -> str:
    """Make the new file `dest` a durable copy of `source`, by reflink where that can be, with its attributes; holes
    stay holes. Returns the checksum of what was written, "" for a reflink, for which nothing is read. Raises OSError,
    CancelledError; then there is no `dest`."""
    try:
        made = ""
        if not clone(source, dest):
            with open(source, "rb", buffering=0) as old, open(dest, "x+b", buffering=0) as new:
                size = os.fstat(old.fileno()).st_size
                os.ftruncate(new.fileno(), size)
                found = Sum(new.fileno(), size)
                for start in range(0, size, _STEP):
                    job.progress("copying disks", start, size, unit="bytes", current=os.path.basename(source))
                    copy_range(old.fileno(), new.fileno(), start, min(size, start + _STEP))
                    found.upto(start + _STEP)       # while it is in memory
                made = found.hex()
        apply_attributes(dest, read_entry(source, b""))
        with open(dest, "rb") as new:
            os.fsync(new.fileno())
        return made
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(dest)
        raise


def shares(path: bytes) -> bool:
    """Whether a file can be cloned within its directory: tried, with an empty one."""
    trial = os.path.join(os.path.dirname(path), b".rollpoint-trial-%d" % os.getpid())
    try:
        if not clone(path, trial):
            return False
        os.unlink(trial)
        return True
    except OSError:
        return False


def shares_into(path: bytes, folder: bytes) -> bool:
    """Whether a file can be cloned into another directory: tried with a file without a name, of which nothing is ever
    seen there. False where the file system knows none such."""
    try:
        with open(path, "rb", buffering=0) as old:
            trial = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.ioctl(trial, _FICLONE, old.fileno())
            finally:
                os.close(trial)
        return True
    except OSError:
        return False


# --- what there is -------------------------------------------------------------------------------------------


def points(store: Store, root: bytes) -> list[RestorePoint]:
    """Return the points of disks, newest first. One that cannot be read, or that lacks a copy, is there as damaged."""
    found = []
    for name in documents.ids(store, KIND):
        point = documents.point(store, KIND, DISKS, name, (CONTENT,))
        if point.state == "ok":
            point = _measured(store, point, root)
        found.append(point)
    return sorted(found, key=lambda p: (p.created, p.id), reverse=True)


def _measured(store: Store, point: RestorePoint, root: bytes) -> RestorePoint:
    """A point with what its copies take: nobody knows where they share blocks with the disk (reflink)."""
    taken: int | None = documents.used(store, KIND, point.id)
    problems, parts = list[str](), list[Part]()
    try:
        for disk in disks(store, point):
            parts.append(Part(message(f"{point.doc.get('vm')}/{disk.device}"), shown_path(disk.copy)))
            try:
                info = os.lstat(os.path.join(root, disk.copy))
                taken = None if taken is None or disk.way == "reflink" else taken + info.st_blocks * 512
                if info.st_size != disk.size:
                    problems.append(f"the copy of {disk.device} has {info.st_size:,} bytes, not {disk.size:,}")
            except OSError as error:
                problems.append(f"the copy of {disk.device} ({shown_path(disk.copy)}): {error.strerror}")
    except DamageError as error:
        problems.append(error.message)
    # Rules of retention hold for each set of volumes by itself: so for the points of each VM.
    return replace(point, own_bytes=taken, parts=tuple(parts), state="damaged" if problems else "ok",
                   problems=tuple(message(problem) for problem in problems))


def disks(store: Store, point: RestorePoint) -> list[Copied]:
    """Return the disks that a point holds. Raises DamageError."""
    try:
        return [Copied(str(row["device"]), os.fsencode(row["path"]), os.fsencode(row["copy"]), int(row["size"]),
                       int(row["mtime"]), str(row["way"]), str(row.get("sum", "")))
                for row in json.loads(documents.checked(store, KIND, point, CONTENT))]
    except (KeyError, TypeError, ValueError) as error:
        raise DamageError(f"point {point.id}: its list of disks is not of the form this Rollpoint knows: {error!r}"
                          ) from error


def sums(store: Store, point: RestorePoint) -> dict[bytes, str]:
    """Return the checksums of a point's copies, by where those are, as far as there are any. Raises DamageError."""
    found = {disk.copy: disk.sum for disk in disks(store, point) if disk.sum}
    try:
        made = documents.read(os.path.join(documents.home(store, KIND), os.fsencode(point.id), SUMS))
        return found | {os.fsencode(path): str(one) for path, one in made["sums"].items()}
    except FileNotFoundError:
        return found
    except (DamageError, RefusedError) as error:
        raise DamageError(f"point {point.id}: its checksums cannot be read: {error.message}") from error
    except (OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamageError(message(f"point {point.id}: its checksums cannot be read: {error}")) from error


def add_sums(store: Store, point: RestorePoint, root: bytes, job: Job) -> None:
    """Make the checksums that a point that is there lacks: of reflinks, whose data nobody has read yet. It reads all of
    that, which may take long, so it takes no lock: where the point is deleted meanwhile there is nothing more to read,
    or to write to. The point is whole without. Raises DamageError, OSError, CancelledError."""
    lacking = [disk for disk in disks(store, point) if not disk.sum]
    if not lacking:
        return
    made = {os.fsdecode(disk.copy): of_file(os.path.join(root, disk.copy), job)[0] for disk in lacking}
    write_file(os.path.join(documents.home(store, KIND), os.fsencode(point.id), SUMS),
               documents.sealed({"format": documents.FORMAT, "sums": made}))


# --- taking --------------------------------------------------------------------------------------------------


def take(store: Store, config: Config, machine: Machine, state: RunState, request: SnapshotRequest, job: Job
         ) -> RestorePoint:
    """Take a point of a VM's disks; `state` is whether it runs. The caller holds the write lock. What is no file is
    left out, with a warning. Raises RefusedError where the copies would not be of one moment, NoRoomError, OSError;
    then nothing is left of it, or a warning says what is."""
    root = os.path.realpath(os.fsencode(config.root))
    wanted = _wanted(machine, job)
    sweep(store, [os.path.join(root, os.path.dirname(disk.path)) for disk in wanted], job)
    when = documents.moment(request)
    point_id = documents.new_id(store, KIND, DISKS, when)
    groups = defaultdict[int, list[DiskState]](list)
    for disk in wanted:
        groups[os.stat(os.path.join(root, disk.path)).st_dev].append(disk)
    made: list[bytes] = []
    try:
        found: list[Copied] = []
        for group in groups.values():
            found += _group(store, root, group, point_id, state, made, job)
        for folder in made:
            fsync_dir(folder)
            fsync_dir(os.path.dirname(folder))
            fsync_dir(os.path.dirname(os.path.dirname(folder)))
        content = json.dumps([{
            "device": one.device, "path": os.fsdecode(one.path), "copy": os.fsdecode(one.copy), "size": one.size,
            "mtime": one.mtime, "way": one.way, **({"sum": one.sum} if one.sum else {})} for one in found],
            indent=1).encode()
        about = {**documents.common(point_id, request, when, root), "vm": machine.name, "uuid": machine.facts.uuid,
                 "config": os.fsdecode(machine.config), "running": state.state, "told_by": state.why,
                 "left_out": [_about(disk) for disk in machine.disks if disk not in wanted and not disk.spec.cdrom]}
        documents.appear(store, KIND, point_id, {CONTENT: content}, about)
    except BaseException:
        _clear(made, job)
        raise
    for folder in made:
        os.unlink(os.path.join(folder, _UNFINISHED))
    return next(point for point in points(store, root) if point.id == point_id)


def _wanted(machine: Machine, job: Job) -> list[DiskState]:
    """The disks that are files."""
    found = [disk for disk in machine.disks if disk.kind == FILE and disk.exists and not disk.spec.cdrom
             and not disk.trouble and not disk.spec.problem]
    for disk in machine.disks:
        if disk not in found and not disk.spec.cdrom:
            job.warn(message(f"not in the point: {_about(disk)}"))
    if not found:
        raise RefusedError(f"{machine.name} has no disk that is a file: there is nothing to copy",
                           hint="take a snapshot of the volumes that its disks are on")
    return list({disk.path: disk for disk in found}.values())


def _about(disk: DiskState) -> str:
    why = disk.spec.problem or disk.trouble or ("it does not exist" if disk.exists is False else f"it is a {disk.kind}")
    return f"{printable(disk.spec.vdev) or 'a disk'} ({shown_path(disk.path)}): {why}"


def _group(store: Store, root: bytes, group: Sequence[DiskState], point_id: str, state: RunState, made: list[bytes],
           job: Job) -> Iterator[Copied]:
    """Copy the disks of one file system; the directories that are made are added to `made`, before they are."""
    can = shares(os.path.join(root, group[0].path))
    if state.state == STOPPED or (len(group) == 1 and can):
        yield from _copied(store, root, group, point_id, {}, made, job, whole=can)
        return
    how = "runs" if state.state == RUNNING else "may be running"
    with contextlib.ExitStack() as stack:
        try:
            shown = stack.enter_context(_moment(store, root, group, job))
        except RollpointError as error:
            job.check()
            what = "its disks lie in several files" if can else "its file system has no reflinks"
            raise RefusedError(f"the VM {how} and {what}, which are of one moment only in a momentary snapshot: "
                               f"{error.message}", hint="shut the VM down first") from error
        yield from _copied(store, root, group, point_id, shown, made, job, whole=False)


@contextlib.contextmanager
def _moment(store: Store, root: bytes, group: Sequence[DiskState], job: Job) -> Iterator[Mapping[bytes, bytes]]:
    """Make a momentary snapshot of the file system that these disks lie on; yield where each disk is in it. It is
    removed in every case, and what was read is refused when it did not last. Raises RollpointError."""
    space = mounts.private_space()
    with contextlib.ExitStack() as stack:
        stack.enter_context(space)
        if not isinstance(space, mounts.Namespace):
            raise RefusedError("only root can make one")
        table = mounts.mounts()
        full = os.path.join(root, group[0].path)
        top = os.path.relpath(mounts.mount_of(full, table).point, root)
        place = b"" if top == b"." else top
        if place.startswith(b".."):
            raise RefusedError(f"{printable(full)} does not lie on a file system of its own below {printable(root)}")
        volume = momentary.volume(root, place, table)
        bench = momentary.bench(space, os.fsencode(stack.enter_context(scratch())), store.path, job)
        where = os.fsencode(stack.enter_context(scratch()))
        moment = Moment(bench, where, job)
        stack.callback(moment.close)
        shown = moment.take({volume: True}, [place])[place]
        yield {disk.path: space.outside(_inside(shown, disk.path)) for disk in group}
        moment.finish()


def _inside(shown: Sequence[tuple[bytes, bytes]], path: bytes) -> bytes:
    """Where a path is in what a momentary snapshot shows: below the deepest place."""
    place, source = max((pair for pair in shown if not pair[0] or path.startswith(pair[0] + b"/")),
                        key=lambda pair: len(pair[0]))
    return os.path.join(source, os.path.relpath(path, place) if place else path)


def _own(store: Store) -> bytes:
    """The directory beside a disk for the copies of a store: another store's are not ours to touch."""
    return os.path.join(HIDDEN, os.fsencode(str(store.identity["id"])))


def _copied(store: Store, root: bytes, group: Sequence[DiskState], point_id: str, shown: Mapping[bytes, bytes],
            made: list[bytes], job: Job, *, whole: bool) -> Iterator[Copied]:
    """Copy disks into the hidden directories beside them. `whole`: they share their blocks, so they take no room."""
    if not whole:
        _room(root, group)
    for number, disk in enumerate(group):
        job.progress("copying disks", number, len(group), current=disk.path)
        source = shown.get(disk.path, os.path.join(root, disk.path))
        folder = os.path.join(os.path.dirname(disk.path), _own(store), os.fsencode(point_id))
        if os.path.join(root, folder) not in made:
            made.append(os.path.join(root, folder))
            os.makedirs(os.path.join(root, os.path.dirname(folder)), mode=0o700, exist_ok=True)
            os.mkdir(os.path.join(root, folder), 0o700)
            with open(os.path.join(root, folder, _UNFINISHED), "xb"):
                pass
        before = os.stat(source)
        place = os.path.join(folder, os.path.basename(disk.path))
        found = copy(source, os.path.join(root, place), job)
        step("vm-disk-copied")
        after = os.stat(source)
        if found and (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
            raise RefusedError(f"{shown_path(disk.path)} was written to while it was copied: something uses it",
                               hint="find out what (fuser, losetup -a), and end it")
        yield Copied(disk.spec.vdev, disk.path, place, before.st_size, before.st_mtime_ns,
                     "copy" if found else "reflink", found)


def _room(root: bytes, group: Sequence[DiskState]) -> None:
    needed = sum(disk.allocated or 0 for disk in group)
    room = os.statvfs(os.path.join(root, os.path.dirname(group[0].path)))
    missing = needed - room.f_bavail * room.f_frsize
    if missing > 0:
        raise NoRoomError(f"the copies take {human_size(needed)}, and {human_size(missing)} more are needed beside "
                          f"{shown_path(group[0].path)}", missing=missing, hint="free room there")


def _clear(made: Sequence[bytes], job: Job) -> None:
    """Remove the directories of a point that failed; what cannot be is named."""
    for folder in made:
        try:
            remove_tree(folder)
            with contextlib.suppress(OSError):          # only where no other point, or store, has one
                os.rmdir(os.path.dirname(folder))
                os.rmdir(os.path.dirname(os.path.dirname(folder)))
        except OSError as error:
            job.warn(message(f"{printable(folder)} could not be removed: {error}; remove it by hand"))


def sweep(store: Store, folders: Sequence[bytes], job: Job) -> None:
    """Remove copies below these directories (of disks) that a crash has left: unfinished ones that no point has.
    Finished ones that this store knows nothing of (it is an older copy of itself) stay. The caller holds the write
    lock."""
    known = {os.fsencode(name) for name in documents.ids(store, KIND)}
    for folder in dict.fromkeys(folders):
        own = os.path.join(folder, _own(store))
        for name in sorted(os.listdir(own)) if os.path.isdir(own) else ():
            place = os.path.join(own, name)
            if name not in known and os.path.lexists(os.path.join(place, _UNFINISHED)):
                _clear([place], job)
                job.warn(message(f"removed {printable(place)}, which an interrupted Rollpoint had left"))


def delete(store: Store, root: bytes, victims: Sequence[RestorePoint], job: Job) -> PruneResult:
    """Delete points: first the document, so that none is seen that is not whole, then the copies. The caller holds the
    write lock."""
    removed: list[str] = []
    failed: list[tuple[str, str]] = []
    freed = 0
    for number, point in enumerate(victims):
        job.progress("deleting", number, len(victims), current=os.fsencode(point.id))
        try:
            places = [os.path.join(root, os.path.dirname(disk.copy)) for disk in disks(store, point)]
        except DamageError as error:
            places = []
            job.warn(message(f"{error.message}: its copies (directories {printable(HIDDEN)}/{point.id} beside the "
                             "disks) have to be removed by hand"))
        try:
            freed += point.own_bytes or 0
            documents.vanish(store, KIND, point.id)
            _clear(list(dict.fromkeys(places)), job)
            removed.append(point.id)
        except OSError as error:
            failed.append((point.id, error.strerror or str(error)))
            job.warn(message(f"point {point.id} could not be removed: {error}"))
    return PruneResult(tuple(removed), tuple(failed), freed)

