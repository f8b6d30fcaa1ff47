"""ZFS: points that are snapshots of data sets, file systems and volumes, whoever took them.

A snapshot is opened by mounting it, not through ``.zfs/snapshot``: that is a mount which the kernel makes by itself in
the system's own mount namespace, so that in a private one it cannot be entered, and it does not exist for a data set
that is not mounted. What changed is found by walking: `zfs diff` says nothing of the other names of a file whose links
came or went (tests/lab/zfs_guest.py shows it).

Two ways lead back: by content, from the opened snapshot, which keeps everything newer; and `zfs rollback` (zfsback.py),
which is done at once and keeps nothing newer.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence

from engine.backend import Level, Losses, NativePlan, NoNativeWay, Opened
from engine.config import Config
from engine.errors import RefusedError, RollpointError
from engine.events import Job
from engine.machine.mounts import Namespace, mounts
from engine.points import Part, RestorePoint
from engine.results import Finding, PruneResult, SnapshotRequest
from engine.text import human_size
from engine.volumes import zfsback, zfsdestroy, zfstake
from engine.volumes.composed import compose, strangers
from engine.volumes.zfslist import (
    FILESYSTEM,
    Everything,
    Pool,
    beside,
    current,
    everything,
    holds,
    measured,
    places,
    pools,
)
from engine.volumes.zfspoints import BACKEND, PINNED, point_of, points
from engine.volumes.zfstool import CHANGE_SECONDS, batches, encoded, zfs

_WARN_PERCENT = 80.0
_MODULE = "/sys/module/zfs"


class ZfsBackend:
    """The points of the configured data sets; see `engine.backend.Backend` for what its methods promise."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._named = tuple(name for name in config.zfs.datasets if name != "auto")
        self._auto = "auto" in config.zfs.datasets
        self._root = os.path.realpath(os.fsencode(config.root))

    @property
    def name(self) -> str:
        """``zfs``."""
        return BACKEND

    # --- looking ---------------------------------------------------------------------------------------------------

    def points(self) -> list[RestorePoint]:
        """Return the points of the configured data sets; ``auto`` alone says nothing where there is no ZFS."""
        found = self._everything()
        if found is None:
            return []
        there = pools()
        if not self._whole:
            datasets = found.datasets
            found = beside(found, lambda one: point_of(one, datasets, there))
        return points(found, there, self._places())

    @property
    def _whole(self) -> bool:
        """Whether all that there is was asked for."""
        return self._auto and self._root == b"/"

    def _everything(self) -> Everything | None:
        """Return what there is to be listed, None where nothing is."""
        if self._whole and (self._named or os.path.exists(_MODULE)):
            return everything()
        return everything(self._named, recursive=self._config.zfs.recursive) if self._named else None

    def _places(self) -> dict[str, bytes]:
        return places(self._root, mounts())

    def levels(self) -> list[Level]:
        """Return how full the pools are that the points live in."""
        return [_level(pool) for pool in measured({pool.name: pool for pool in self._pools()}).values()]

    def pending(self) -> list[str]:
        """Return which pools have not yet given back what was destroyed in them."""
        return [f"the pool {pool.name} is still freeing {human_size(pool.freeing)} of what was destroyed in it"
                for pool in self._pools() if pool.freeing]

    def _pools(self) -> list[Pool]:
        everywhere = self._auto and self._root == b"/"
        if not self._named and not (everywhere and os.path.exists(_MODULE)):
            return []
        wanted = {name.partition("/")[0] for name in self._named}
        return [pool for pool in pools().values() if everywhere or pool.name in wanted]

    @contextlib.contextmanager
    def open(self, point: RestorePoint, job: Job) -> Iterator[Opened]:
        """Mount the snapshots of the point's file systems, read-only, each at its place. Raises RefusedError for a
        point of which no file system is mounted."""
        shown: list[tuple[bytes, Callable[[Namespace, bytes], object]]] = []
        for part in point.parts:
            if part.place is not None and part.facts.get("type") == FILESYSTEM:
                shown.append((part.place, _mounting(part)))
            else:
                job.warn(f"{part.snapshot} is left out: {_why_not_shown(part)}")
        if not shown:
            part = point.parts[0]
            raise RefusedError(f"{part.snapshot} has no files to show: {_why_not_shown(part)}", hint=_way_in(part))
        self._must_be_there(point)
        with compose(shown, strangers(self._root, [place for place, _ in shown], mounts())) as opened:
            yield opened

    def _must_be_there(self, point: RestorePoint) -> None:
        """Raise RollpointError unless the snapshots of a point are those that were listed."""
        now = current(part.snapshot for part in point.parts)
        for part in point.parts:
            if part.snapshot not in now or now[part.snapshot].guid != part.facts.get("guid"):
                what = "is another snapshot now" if part.snapshot in now else "is not there any more"
                raise RollpointError(f"{part.snapshot} {what}", hint="list the points again")

    def strain(self, point: RestorePoint, written: Mapping[bytes, int], *, rollback: bool = True) -> Sequence[Finding]:
        """Nothing: a snapshot takes what it needs of the room that the file system says is free."""
        return ()

    # --- changing --------------------------------------------------------------------------------------------------

    def take(self, request: SnapshotRequest, job: Job) -> RestorePoint:
        """Take a point of the configured data sets, with ``auto`` those that are mounted: in each pool of one
        moment."""
        if not self._named and self._root != b"/":
            raise RefusedError("which data sets belong to this root nobody can tell",
                               hint="name them in the configuration: `zfs: {datasets: [tank/home]}`")
        found = self._everything() or everything()
        recursive = self._config.zfs.recursive
        wanted = zfstake.wanted_of(self._config, found.datasets, self._places())
        there = measured({name: pool for name, pool in pools().items() if name in wanted})
        new = zfstake.new_id(request, [s.props.get("id", s.name) for s in found.snapshots])
        taking = zfstake.Taking(new, wanted, recursive=recursive)
        zfstake.check(wanted, found.datasets, there, taking.name, recursive=recursive)
        taking.take(request, there, zfstake.every(wanted, found.datasets, recursive=recursive), job)
        return self._again(new)

    def annotate(self, point: RestorePoint, *, comment: str | None = None, pinned: bool | None = None) -> RestorePoint:
        """Keep the comment in a user property, and the pin in another one and a hold. What others took is treated
        alike."""
        self._must_be_there(point)
        names = [part.snapshot for part in point.parts]
        if comment is not None:
            self._set(names, f"rollpoint:comment={encoded(comment)}")
        if pinned is not None:
            held = holds(names)
            if pinned:      # the hold comes first and goes last: what is shown as pinned is held
                zfstake.hold(name for name in names if zfsdestroy.HOLD not in held.get(name, ()))
                self._set(names, f"rollpoint:pinned={PINNED}")
            else:
                self._set(names, "rollpoint:pinned=")
                zfstake.release(name for name in names if zfsdestroy.HOLD in held.get(name, ()))
        return self._again(point.id)

    def _set(self, names: Sequence[str], assignment: str) -> None:
        for some in batches(names):
            zfs(["set", assignment, *some], CHANGE_SECONDS)

    def _again(self, id_: str) -> RestorePoint:
        found = next((point for point in self.points() if point.id == id_), None)
        if found is None:
            raise RollpointError(f"{id_} is not listed any more", hint="`rollpoint list` shows what there is")
        return found

    def losses(self, points: Sequence[RestorePoint]) -> Losses:
        """Return what destroying these points together would free, as `zfs destroy -nvp` works it out."""
        return zfsdestroy.losses(points)

    def delete(self, points: Sequence[RestorePoint], job: Job) -> PruneResult:
        """Destroy the snapshots of these points, by their exact names."""
        return zfsdestroy.delete(points, job)

    # --- setting back ----------------------------------------------------------------------------------------------

    def native(self, point: RestorePoint) -> NativePlan:
        """Return what `zfs rollback` to this point would take with it."""
        if not point.parts:
            raise NoNativeWay(f"{point.id} has no snapshots", hint="list the points again")
        there = self._places()
        boot = next((name for name, place in there.items() if place == b"boot"), "")
        every = points(everything(), pools(), there)
        return zfsback.plan(point, every, boot, live=self._root == b"/")

    def set_back(self, plan: NativePlan, job: Job) -> list[str]:
        """Destroy what is newer, by name, and roll the data sets back."""
        if plan.blocked:
            raise RefusedError("something forbids setting these data sets back: "
                               + "; ".join(f.text for f in plan.findings if f.level == "blocker"))
        return zfsback.set_back(plan, job)


def _mounting(part: Part) -> Callable[[Namespace, bytes], object]:
    def mount(space: Namespace, target: bytes) -> object:
        return space.run(["mount", "-t", "zfs", "-o", "ro", part.snapshot, target])
    return mount


def _why_not_shown(part: Part) -> str:
    return "it is not mounted below the root" if part.facts.get("type") == FILESYSTEM else "it is a volume"


def _way_in(part: Part) -> str:
    if part.facts.get("type") == FILESYSTEM:
        return f"zfs mount {part.volume}"
    return (f"`rollpoint rollback --way native` sets the volume back; to look into it: zfs clone -o readonly=on "
            f"{part.snapshot} {part.volume}-look, and its device is /dev/zvol/{part.volume}-look")


def _level(pool: Pool) -> Level:
    full = pool.percent >= zfstake.FULL_PERCENT or pool.read_only or not pool.works
    state = "full" if full else "warning" if pool.percent >= _WARN_PERCENT or pool.health != "ONLINE" else "ok"
    text = f"{human_size(pool.free)} of {human_size(pool.size)} free"
    if pool.health != "ONLINE":
        text += f", {pool.health}"
    return Level(BACKEND, pool.name, pool.percent, state, text + ", read-only" * pool.read_only)
