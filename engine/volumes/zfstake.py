"""Taking a point of data sets: one `zfs snapshot` for each pool, of one moment there, with all that we keep of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from engine.config import Config
from engine.errors import NoRoomError, RefusedError, RollpointError, UsageError
from engine.events import Job
from engine.results import SnapshotRequest
from engine.volumes.zfsdestroy import HOLD, destroy
from engine.volumes.zfslist import FILESYSTEM, VOLUME, Dataset, Pool, Snapshot, everything, holds
from engine.volumes.zfspoints import PINNED, joined
from engine.volumes.zfstool import CHANGE_SECONDS, batches, encoded, zfs

FULL_PERCENT = 95.0
"""How full a pool may be: a snapshot keeps from then on that anything which is deleted gives room back."""
_PARTS_BYTES = 4096         # beyond that only their number is noted: a point of which some are listed is not whole
_NAME_BYTES = 255           # zfs(8): the whole name of a snapshot


class Taking:
    """One point being taken. `wanted` are the data sets of each pool, as `wanted_of` tells."""

    def __init__(self, id_: str, wanted: Mapping[str, Sequence[str]], *, recursive: bool) -> None:
        self.id = id_
        self.name = f"rollpoint-{id_}"
        self._wanted, self._recursive = wanted, recursive
        self._begun: list[str] = []

    def take(self, request: SnapshotRequest, pools: Mapping[str, Pool], every_one: Sequence[str], job: Job) -> None:
        """Take the snapshots and hold them where the point is to be pinned; all or none. `every_one` are all the data
        sets that are taken. Raises RollpointError, which names what could not be taken back."""
        parts = ",".join(every_one) if len(every_one) > 1 else ""
        parts = parts if len(parts) <= _PARTS_BYTES else f"{len(every_one)}"
        props = {"id": self.id, "comment": request.comment, "tags": joined(request.tags), "reason": request.reason,
                 "pinned": PINNED if request.pin else "", "parts": parts}
        if len(self._wanted) > 1:
            job.warn(f"the data sets lie in {len(self._wanted)} pools ({', '.join(self._wanted)}): each pool's are of "
                     "one moment, but not all of them together")
        try:
            for pool, names in self._wanted.items():
                job.progress("taking snapshots", current=pool.encode())
                words = [w for key, value in (props | {"pool": pools[pool].guid}).items() if value
                         for w in ("-o", f"rollpoint:{key}={encoded(value)}")]
                self._begun += names        # also when it fails, or is killed for its slowness
                zfs(["snapshot", *(["-r"] if self._recursive else []), *words, *(f"{n}@{self.name}" for n in names)],
                    CHANGE_SECONDS)
            if request.pin:
                hold(one.full_name for one in self._taken())
        except RollpointError as error:
            raise self._taken_back(error) from error

    def _taken(self) -> list[Snapshot]:
        """Return the snapshots that were made: of this very point, wherever it got to."""
        found = everything(self._begun, recursive=self._recursive) if self._begun else None
        return [s for s in found.snapshots if s.name == self.name and s.props.get("id") == self.id] if found else []

    def _taken_back(self, error: RollpointError) -> RollpointError:
        """Destroy what was made, and return the error with what could not be."""
        try:
            made = self._taken()
            held = holds(one.full_name for one in made if one.holds)
            release(name for name, tags in held.items() if HOLD in tags)
            destroy(made)
        except RollpointError as second:
            flag = "-r " if self._recursive else ""
            by_hand = "; ".join(f"zfs destroy {flag}{name}@{self.name}" for name in self._begun)
            return RollpointError(f"{error.message}; what had been taken could not be taken back ({second.message})",
                                  hint=f"see with `zfs list -t snapshot` whether something is left, and remove it by "
                                       f"hand: {by_hand}")
        return error


def wanted_of(config: Config, datasets: Mapping[str, Dataset], places: Mapping[str, bytes]) -> dict[str, list[str]]:
    """Return the names to take, by pool: the configured data sets (for ``auto`` those that are mounted), and with
    `recursive` none that lies below another. Raises RefusedError when there are none."""
    names: list[str] = []
    for name in config.zfs.datasets:
        names += [d for d in sorted(places) if d in datasets] if name == "auto" else [name]
    if not names:
        raise RefusedError("no ZFS file system is mounted below the root: there is nothing to take a snapshot of",
                           hint="name data sets in the configuration: `zfs: {datasets: [tank/home]}`")
    found: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        if config.zfs.recursive and any(name.startswith(f"{other}/") for other in names):
            continue
        found.setdefault(name.partition("/")[0], []).append(name)
    return found


def every(wanted: Mapping[str, Sequence[str]], datasets: Mapping[str, Dataset], *, recursive: bool) -> list[str]:
    """Return the names of all data sets that are taken: with `recursive` those below the wanted ones too."""
    tops = [top for names in wanted.values() for top in names]
    return [d for d in datasets if any(d == t or (recursive and d.startswith(f"{t}/")) for t in tops)]


def check(wanted: Mapping[str, Sequence[str]], datasets: Mapping[str, Dataset], pools: Mapping[str, Pool], name: str,
          *, recursive: bool) -> None:
    """Raise NoRoomError for a pool that is full, RefusedError for one that cannot be written to, UsageError where the
    snapshot's name would be too long, RollpointError for what is not there."""
    for pool_name, tops in wanted.items():
        pool = pools.get(pool_name)
        if pool is None:
            raise RollpointError(f"the pool {pool_name} is not imported", hint=f"zpool import {pool_name}")
        if pool.percent >= FULL_PERCENT:
            raise NoRoomError(f"the pool {pool_name} is {pool.percent:.0f} % full: with one more snapshot, deleting "
                              "files would give no room back",
                              hint="destroy points first (`rollpoint prune`), or make the pool larger")
        if pool.read_only or not pool.works:
            state = "read-only" if pool.read_only else pool.health
            raise RefusedError(f"the pool {pool_name} is {state}: no snapshot can be taken in it",
                               hint=f"zpool status {pool_name}")
        for top in tops:
            if datasets.get(top) is None or datasets[top].kind not in (FILESYSTEM, VOLUME):
                raise RollpointError(f"there is no data set {top}", hint="correct `zfs.datasets` in the configuration")
        longest = max(every({pool_name: tops}, datasets, recursive=recursive), key=len)
        if len(longest) + 1 + len(name) > _NAME_BYTES:
            raise UsageError(f"the name of {longest} is too long for a snapshot of it: ZFS takes {_NAME_BYTES} "
                             "characters in all", hint="rename the data set, or leave it out of the configuration")


def new_id(request: SnapshotRequest, taken: Iterable[str]) -> str:
    """Return an id for a point of now (or of the request's time) that none of `taken` has."""
    stamp = (request.when or datetime.now(UTC)).astimezone(UTC).strftime("%Y-%m-%d_%H-%M-%S")
    used = set(taken)
    candidates = (f"{stamp}-zfs" if n == 1 else f"{stamp}-zfs-{n}" for n in range(1, len(used) + 2))
    return next(c for c in candidates if c not in used)


def hold(names: Iterable[str]) -> None:
    """Put our hold on snapshots that have none of ours. Raises ToolError."""
    for some in batches(names):
        zfs(["hold", HOLD, *some], CHANGE_SECONDS)


def release(names: Iterable[str]) -> None:
    """Take our hold from snapshots that have it. Raises ToolError."""
    for some in batches(names):
        zfs(["release", HOLD, *some], CHANGE_SECONDS)
