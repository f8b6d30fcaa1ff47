"""The points of virtual machines as backends (see engine/backend.py)."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from engine.backend import Level, Losses, NativePlan, NoNativeWay, Opened
from engine.config import Config
from engine.errors import NoRoomError, RefusedError, UsageError
from engine.events import Job
from engine.machine.mounts import Namespace, Space
from engine.points import RestorePoint
from engine.replica import layout, recover
from engine.replica.layout import Store
from engine.results import Finding, PruneResult, SnapshotRequest
from engine.run import scratch
from engine.vmpoints import copies, documents, inventories
from engine.vmpoints.plans import DISKS, INVENTORIES


class _Kept:
    """What the backends have in common whose points are documents in the store."""

    name: str
    _kind: bytes

    def __init__(self, config: Config) -> None:
        self._config = config

    @property
    def _store(self) -> Store:
        return layout.open_store(os.fsencode(self._config.store))

    def _is_empty(self) -> bool:
        """Whether there is no store yet, or none of our points in it."""
        return not os.path.isdir(os.path.join(os.fsencode(self._config.store), b"vms", self._kind))

    @contextmanager
    def _writing(self, verb: str) -> Iterator[Store]:
        """Be the store's one writer, with what a crash has left put in order first."""
        store = self._store
        with clean(), store.write_lock(verb):
            recover.recover(store, Job())
            yield store

    def points(self) -> list[RestorePoint]:
        """Return the points, newest first, damaged ones included."""
        raise NotImplementedError

    def annotate(self, point: RestorePoint, *, comment: str | None = None, pinned: bool | None = None) -> RestorePoint:
        """Change the comment, or pin or unpin; returns the point as it is now."""
        with self._writing("comment") as store:
            documents.annotate(store, self._kind, point, comment, pinned)
        return self._again(point)

    def _again(self, point: RestorePoint) -> RestorePoint:
        found = next((p for p in self.points() if p.id == point.id), None)
        if found is None:
            raise UsageError(f"point {point.id} is gone", hint="`rollpoint list` shows those there are")
        return found

    def strain(self, point: RestorePoint, written: Mapping[bytes, int], *, rollback: bool = True) -> Sequence[Finding]:
        """Nothing: the contents lie in the store."""
        return ()

    def losses(self, points: Sequence[RestorePoint]) -> Losses:
        """Return what deleting these together would free: their own room; contents that others have too stay."""
        return Losses(sum(point.own_bytes or 0 for point in points))

    def levels(self) -> list[Level]:
        """Nothing: what they live in is the store."""
        return []

    def pending(self) -> list[str]:
        """Nothing."""
        return []

    def native(self, point: RestorePoint) -> NativePlan:
        """Raise NoNativeWay."""
        raise NoNativeWay(f"point {point.id} is about virtual machines: there is no volume to set back",
                          hint="`rollpoint vms restore VM --from POINT` brings a VM back")

    def set_back(self, plan: NativePlan, job: Job) -> list[str]:
        """Raise NoNativeWay."""
        self.native(plan.point)
        return []


@contextmanager
def clean() -> Iterator[None]:
    """Turn what the system raises into one-line errors."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoRoomError(f"no room left: {layout.describe_os_error(error).message}",
                              hint="nothing was changed; free room on that file system") from error
        raise layout.describe_os_error(error) from error


class Inventories(_Kept):
    """Points of all vm.cfg files, the repositories' structure and the facts of the disks."""

    name = INVENTORIES
    _kind = inventories.KIND

    def points(self) -> list[RestorePoint]:
        """Return the points, newest first, damaged ones included."""
        return [] if self._is_empty() else inventories.points(self._store)

    def take(self, request: SnapshotRequest, job: Job) -> RestorePoint:
        """Take a point of what there is now."""
        with self._writing("vms snapshot") as store:
            return inventories.take(store, self._config, request, job)

    @contextmanager
    def open(self, point: RestorePoint, job: Job) -> Iterator[Opened]:
        """Open a point as a directory: what its repositories held of directories, links and small files."""
        with clean(), inventories.opened(self._store, point) as top:
            places = tuple(place.path for place in inventories.load(self._store, point).repositories)
            yield Opened(Space(), top, top, tuple(sorted(places)))

    def delete(self, points: Sequence[RestorePoint], job: Job) -> PruneResult:
        """Delete these points."""
        with self._writing("delete") as store, store.no_readers():
            return inventories.delete(store, points, job)


class DiskCopies(_Kept):
    """Points of VMs' disks."""

    name = DISKS
    _kind = copies.KIND

    @property
    def _root(self) -> bytes:
        return os.path.realpath(os.fsencode(self._config.root))

    def points(self) -> list[RestorePoint]:
        return [] if self._is_empty() else copies.points(self._store, self._root)

    def take(self, request: SnapshotRequest, job: Job) -> RestorePoint:
        """Raise UsageError: a point of disks is of one VM, which a request does not name."""
        raise UsageError("a point of disks is of one VM", hint="take it with `rollpoint vms take VM`")

    @contextmanager
    def open(self, point: RestorePoint, job: Job) -> Iterator[Opened]:
        """Open a point as a directory: the disks at their places, each mounted from its copy, read-only."""
        with ExitStack() as stack:
            stack.enter_context(clean())
            stack.enter_context(self._store.reading())
            if os.geteuid() != 0:
                raise RefusedError("only root can look into a point of disks", hint="run it as root")
            space = stack.enter_context(Namespace())
            top = os.fsencode(stack.enter_context(scratch()))
            space.run(["mount", "-t", "tmpfs", "-o", "mode=0755,size=1m", "rollpoint", top])
            disks = copies.disks(self._store, point)
            for disk in disks:
                place = os.path.join(top, disk.path)
                os.makedirs(space.outside(os.path.dirname(place)), exist_ok=True)
                with open(space.outside(place), "xb"):
                    space.bind(os.path.join(self._root, disk.copy), place, read_only=True)
            yield Opened(space, space.outside(top), top, tuple(sorted(disk.path for disk in disks)))

    def delete(self, points: Sequence[RestorePoint], job: Job) -> PruneResult:
        """Delete these points and their copies."""
        with self._writing("delete") as store, store.no_readers():
            return copies.delete(store, self._root, points, job)
