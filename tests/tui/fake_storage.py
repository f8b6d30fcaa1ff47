"""Made-up points that ZFS, LVM and btrfs keep, and the verbs of the engine about them; `storage_text` wherever a string
of a tool can be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from engine.backend import Level, Losses, NativePlan, NoNativeWay
from engine.backends import Listing, Trouble
from engine.config import Retention
from engine.entries import Entry, Kind
from engine.errors import ChangedError, RefusedError, UsageError
from engine.events import Job
from engine.points import Part, RestorePoint
from engine.results import Fate, Finding, PruneResult, SnapshotRequest, SnapshotResult
from engine.retention import deletions, fates
from tests.tui.fake_tree import FakeTree, entry

NOW = datetime(2024, 11, 20, 3, 12, 40, tzinfo=UTC)
MIB = 1 << 20
STORAGE = ("zfs", "lvm", "btrfs")
SANOID = "zfs:tank/home@autosnap_2024-11-20_02:00:01_hourly"


def part(volume: str, snapshot: str, place: bytes | None = None, *, state: str = "ok", own: int = 3 * MIB,
         text: str = "") -> Part:
    """One volume of a point; `text` is in its names and its facts."""
    return Part(volume + text, snapshot + text, place, state, own,
                {"type": "filesystem", "guid": 1234567890123, "used": own, "note": text})


def storage_points(text: str = "") -> list[RestorePoint]:
    """Six points: two volumes together, sanoid's, one that merges, one that overflowed, snapper's, one of a VM's
    disk."""
    def point(ident: str, backend: str, hours: float, *parts: Part, owner: str = "", comment: str = "",
              state: str = "ok", problem: str = "") -> RestorePoint:
        return RestorePoint(ident, backend, 0, NOW - timedelta(hours=hours), comment or text, (text,) if text else (),
                            state=state, own_bytes=sum(p.own_bytes or 0 for p in parts), owner=owner and owner + text,
                            problems=(problem + text,) if problem else (), parts=parts, doc={"reason": "manual"})

    return [
        point("2024-11-20_02-42-40_zfs", "zfs", 0.5, part("tank/home", "tank/home@rp-1", b"home", text=text),
              part("tank/srv", "tank/srv@rp-1", b"srv", text=text), comment="before the upgrade of tank"),
        point(SANOID, "zfs", 1.2, part("tank/home", SANOID.removeprefix("zfs:"), b"home", text=text), owner="sanoid"),
        point("2024-11-19_23-10-05", "lvm", 4, part("vg/root", "vg/root-rp", b"", state="merging", text=text),
              comment="root before dist-upgrade", state="merging", problem="it merges when vg/root is next activated"),
        point("lvm:vg/srv-snap", "lvm", 9, part("vg/srv", "vg/srv-snap", b"srv", state="damaged", text=text),
              owner="unknown", state="damaged", problem="the snapshot vg/srv-snap overflowed"),
        point("btrfs:0a1b2c3d:257", "btrfs", 11, part("/@var", "/@var/.snapshots/7/snapshot", b"var", text=text),
              owner="snapper", comment="timeline"),
        point("zfs:tank/vm-1@daily", "zfs", 25, part("tank/vm-1", "tank/vm-1@daily", None, text=text), owner="zrepl")]


def many(count: int) -> list[RestorePoint]:
    """So many hourly snapshots of sanoid's."""
    one = storage_points()[1]
    names = [f"tank/home@autosnap_{i:05d}" for i in range(count)]
    return [replace(one, id=f"zfs:{name}", created=NOW - timedelta(hours=i, minutes=5),
                    parts=(part("tank/home", name, b"home"),)) for i, name in enumerate(names)]


class FakeStorage:
    """The verbs. `storage` are its points: none, as on most machines, unless a test puts some there."""

    tree: FakeTree
    storage: tuple[RestorePoint, ...] = ()
    storage_text = ""
    storage_troubles: tuple[Trouble, ...] = ()
    fill: tuple[Level, ...] = ()
    waiting: tuple[str, ...] = ()
    native_blocked = native_refused = ""
    freed: int | None = 5 * MIB
    at_least = False
    set_back_done: tuple[str, ...] = ()
    prunable = "nobody"     # another program whose points the configuration lets us prune

    def _enter(self, verb: str) -> None:
        raise NotImplementedError

    def _work(self, job: Job | None, *phases: str) -> None:
        raise NotImplementedError

    def points(self) -> list[RestorePoint]:
        raise NotImplementedError

    def have_storage(self, text: str = "") -> None:
        """Give the machine ZFS, LVM and btrfs."""
        self.storage, self.storage_text = tuple(storage_points(text)), text
        self.fill = (Level("zfs", "tank" + text, 43.0, "ok", f"43 % of the pool tank{text} is in use"),
                     Level("lvm", "vg/pool data", 91.0, "warning", "91 % of the data of vg/pool is in use"))

    def kept_by_storage(self, point: RestorePoint) -> bool:
        """Whether a point is one of the storage's. Raises UsageError for one that is gone."""
        if point.backend not in STORAGE:
            return False
        if all(known.id != point.id for known in self.storage):
            raise UsageError(f"no restore point is called '{point.id}'", hint="`rollpoint list` shows those there are")
        return True

    def storage_points(self) -> Listing:
        self._enter("storage_points")
        return Listing(self.storage, self.storage_troubles)

    def listing(self, backend: str | None = None) -> Listing:
        self._enter("listing")
        if backend is not None:
            return Listing(tuple(p for p in [*self.points(), *self.storage] if p.backend == backend))
        try:
            kept, troubles = self.points(), self.storage_troubles
        except Exception as error:
            if not self.storage:
                raise
            kept, troubles = [], (Trouble("replica", str(error)), *self.storage_troubles)
        found = sorted([*kept, *self.storage], key=lambda p: p.created, reverse=True)
        return Listing(tuple(found), troubles)

    def takers(self) -> tuple[str, ...]:
        self._enter("takers")
        return ("replica", *dict.fromkeys(p.backend for p in self.storage))

    def levels(self) -> tuple[list[Level], list[str], list[Trouble]]:
        self._enter("levels")
        return list(self.fill), list(self.waiting), []

    def listdir(self, point: RestorePoint, path: bytes = b"") -> list[Entry]:
        self._enter("listdir")
        self.kept_by_storage(point)
        if point.parts and point.parts[0].place is None:
            raise RefusedError(f"point {point.id} holds the disk of a VM, not files", hint="attach it to a VM")
        found = [life.spans[-1].entry for life in self.tree.lives(path) if life.spans[-1].last is None]
        return [*found, entry((path + b"/" if path else b"") + b"only-then", 7, Kind.FILE)]

    def losses(self, victims: Sequence[RestorePoint]) -> dict[str, Losses]:
        self._enter("losses")
        text = self.storage_text
        found = {}
        for backend in dict.fromkeys(p.backend for p in victims if p.backend in STORAGE):
            held = [Finding("blocker", f"tank/home has a hold: keep{text}", "zfs release keep SNAPSHOT")
                    for p in victims if p.owner.startswith("sanoid")]
            found[backend] = Losses(self.freed, (*held, Finding("warning", f"the clone tank/clone{text} goes with it")),
                                    self.at_least)
        return found

    def fates(self, rules: Retention | None = None) -> list[Fate]:
        raise NotImplementedError

    def rules(self) -> Retention:
        raise NotImplementedError

    def prune(self, job: Job, shown: Sequence[RestorePoint] | None = None) -> PruneResult:
        raise NotImplementedError

    def all_fates(self, rules: Retention | None = None, backend: str | None = None, *, listing: Listing | None = None
                  ) -> tuple[list[Fate], list[Trouble]]:
        self._enter("all_fates")
        listing = listing or self.listing(backend)
        mine = [p for p in listing.points if p.backend not in STORAGE]
        found = {f.point.id: f for f in (self.fates(rules) if mine else ())}
        for point in (p for p in listing.points if p.backend in STORAGE):
            if point.owner and not point.owner.startswith(self.prunable):
                whose = "of unknown origin" if point.owner.startswith("unknown") else f"{point.owner}'s"
                found[point.id] = Fate(point, True, f"{whose}, not ours to remove")
        for kind in STORAGE:
            members = [p for p in listing.points if p.backend == kind and p.id not in found]
            found |= {f.point.id: f for f in fates(members, rules or self.rules(), NOW, store_bytes=0, source_bytes=0)}
        return [found[p.id] for p in listing.points], list(listing.troubles)

    def prune_all(self, job: Job, shown: Sequence[RestorePoint] | None = None, backend: str | None = None
                  ) -> PruneResult:
        self._enter("prune_all")
        going = deletions(self.all_fates(backend=backend)[0])
        if shown is not None and {p.id for p in shown} != {p.id for p in going}:
            raise ChangedError("the rules do not remove what was shown", hint="look at the points again")
        mine, others = ([p for p in going if (p.backend in STORAGE) == of] for of in (False, True))
        done = [self.prune(job, mine)] if mine else []
        done += [self.storage_delete(others)] if others else []
        return PruneResult(tuple(i for r in done for i in r.removed), (), sum(r.freed for r in done))

    def native_plan(self, point: RestorePoint) -> NativePlan:
        self._enter("native_plan")
        self.kept_by_storage(point)
        text = self.storage_text
        if self.native_refused:
            raise NoNativeWay(self.native_refused, hint="roll back by content")
        blockers = (Finding("blocker", self.native_blocked, "zfs release keep tank/home@autosnap"),) * bool(
            self.native_blocked)
        return NativePlan(point, (f"the snapshot tank/home@autosnap_03{text}", f"the bookmark tank/home#b{text}"),
                          f"at once{text}", (*blockers, Finding("info", f"/home is busy: it is unmounted first{text}")),
                          (f"zfs rollback -r tank/home@rp-1{text}", f"zfs rollback -r tank/srv@rp-1{text}"), "t")

    def set_back(self, plan: NativePlan, job: Job) -> list[str]:
        self._enter("set_back")
        self._work(job, "setting back")
        if plan.token != "t":
            raise ChangedError("something has changed since the plan", hint="look at it again")
        self.set_back_done = plan.commands
        return [f"tank/home is set back to rp-1{self.storage_text}"]

    # --- what the verbs for all points do here -----------------------------------------------------------------------

    def storage_take(self, request: SnapshotRequest, backend: str) -> SnapshotResult:
        """Take a point with a backend of the storage."""
        one = next(p for p in storage_points(self.storage_text) if p.backend == backend)
        point = replace(one, id="2024-11-20_03-12-40_new", created=NOW, comment=request.comment, tags=request.tags,
                        pinned=request.pin, owner="", state="ok", problems=())
        self.storage = (point, *self.storage)
        return SnapshotResult(point, 0, 0, 0, 0, 0, 0, (), (), (), 0.2)

    def storage_note(self, point: RestorePoint, comment: str | None, pinned: bool | None) -> RestorePoint:
        """Change comment or pin."""
        at = next(i for i, known in enumerate(self.storage) if known.id == point.id)
        new = self.storage[at]
        new = replace(new, comment=new.comment if comment is None else comment,
                      pinned=new.pinned if pinned is None else pinned)
        self.storage = (*self.storage[:at], new, *self.storage[at + 1:])
        return new

    def storage_delete(self, gone: Sequence[RestorePoint]) -> PruneResult:
        """Delete points."""
        names = tuple(p.id for p in gone)
        self.storage = tuple(p for p in self.storage if p.id not in names)
        return PruneResult(names, (), self.freed or 0)
