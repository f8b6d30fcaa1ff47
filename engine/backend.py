"""What every kind of restore point promises: one small protocol, whoever makes and keeps the points.

A backend lists its points, opens one as a read-only directory, and takes, annotates and deletes them. Looking into
points, comparing them, copying out of them, going back by content, and retention are written once, on top of that, and
never ask which backend it is. What only some storage can do (setting a volume itself back) is described in words that
fit all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from engine.errors import RefusedError
from engine.events import Job
from engine.machine.mounts import Space
from engine.points import RestorePoint
from engine.results import Finding, PruneResult, SnapshotRequest


@dataclass(frozen=True, slots=True)
class Opened:
    """A point as a read-only directory, for as long as its context lasts.

    The tree has the names of the machine: what was mounted at /home is below ``home``. `path` is where we find it,
    `inside` where a program run in `space` does. `places` are the mount points, root-relative, that the point really
    holds, a place before those below it: (b"",) for a whole system. What lies beside them in the tree (the directories
    on the way) is no part of the point. `holes` are directories of the places that stand for something else, which the
    point does not hold (a btrfs subvolume nested in another one): they are not compared, and stay in a rollback.
    """

    space: Space
    path: bytes
    inside: bytes
    places: tuple[bytes, ...]
    holes: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Losses:
    """What deleting some points comes to: `freed` bytes as the storage itself works it out (None: it cannot say; where
    it knows only a part of it, `least` says that it will be that or more), and what forbids it or goes with it (holds,
    clones, mounts, an unfinished merge), each by name."""

    freed: int | None
    findings: tuple[Finding, ...] = ()
    least: bool = False

    @property
    def blocked(self) -> bool:
        """Whether something forbids it."""
        return any(f.level == "blocker" for f in self.findings)


@dataclass(frozen=True, slots=True)
class Level:
    """How full something is that snapshots live in (pool, thin pool's data or metadata, volume group, copy-on-write
    area), in percent; `text` says so in words, `state` is ``ok``, ``warning`` or ``full``: nothing may be taken."""

    backend: str
    name: str
    percent: float
    state: str
    text: str


@dataclass(frozen=True, slots=True)
class NativePlan:
    """Setting the volumes of a point themselves back, as their storage does it, all of it, before anything is touched.

    `goes` names what is lost with it (newer snapshots, bookmarks, clones, the snapshot itself), `when` says when it
    takes effect ("at once", "when /dev/vg/root is next activated, at the next boot"), `commands` are exact and
    printable, in their order. `token` is the state it was made for: `Backend.set_back` refuses when that has changed.
    """

    point: RestorePoint
    goes: tuple[str, ...]
    when: str
    findings: tuple[Finding, ...]
    commands: tuple[str, ...]
    token: str

    @property
    def blocked(self) -> bool:
        """Whether something forbids it."""
        return any(f.level == "blocker" for f in self.findings)


class NoNativeWay(RefusedError):
    """This storage cannot set a volume itself back."""


class Backend(Protocol):
    """One kind of restore points. Every method raises RollpointError in words that say which tool failed and how."""

    @property
    def name(self) -> str:
        """``replica``, ``zfs``, ``lvm``, ``btrfs`` or ``vms``: the `backend` of its points."""

    def points(self) -> list[RestorePoint]:
        """Return its points in any order, other programs' too (`owner`). One bulk question to the tool, not one for
        each point; an error means that nothing can be said of any of them."""

    def take(self, request: SnapshotRequest, job: Job) -> RestorePoint:
        """Take a point of the configured volumes, of one moment where the storage can. What fails half way is taken
        back; what cannot be is named, with how to remove it by hand."""

    def open(self, point: RestorePoint, job: Job) -> AbstractContextManager[Opened]:
        """Open a point as a directory. Raises RefusedError for one that has no files to show (a volume that holds a
        VM's disk)."""

    def strain(self, point: RestorePoint, written: Mapping[bytes, int], *, rollback: bool = True) -> Sequence[Finding]:
        """Return what going back by content to a point does to the snapshots that are read from and to their
        neighbours; `written` are the bytes, about, that it writes to what is mounted at each place. Without `rollback`
        single files are brought back: no safety point is taken, and setting the volume back is no way instead. Nothing
        where writing takes no room but that of the file system itself."""

    def annotate(self, point: RestorePoint, *, comment: str | None = None, pinned: bool | None = None) -> RestorePoint:
        """Change the comment, or pin or unpin; returns the point as it is now."""

    def losses(self, points: Sequence[RestorePoint]) -> Losses:
        """Return what deleting these together would come to; touches nothing."""

    def delete(self, points: Sequence[RestorePoint], job: Job) -> PruneResult:
        """Delete these points and nothing else; one that cannot be is in the result, with the reason."""

    def levels(self) -> list[Level]:
        """Return how full what its points live in is, and nothing for what does not fill up."""

    def pending(self) -> list[str]:
        """Return sentences about what it has begun and not finished (a merge that waits for the next activation)."""

    def native(self, point: RestorePoint) -> NativePlan:
        """Return what setting the volumes themselves back would do; touches nothing. Raises NoNativeWay."""

    def set_back(self, plan: NativePlan, job: Job) -> list[str]:
        """Carry out such a plan, after looking again that nothing has changed (ChangedError); returns what was done,
        in sentences. It cannot be taken back, and says so before."""
