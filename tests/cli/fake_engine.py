"""An engine in memory, with names that try everything a terminal or a JSON reader could fall for."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import IO, Any

from engine.backend import Level
from engine.backends import Listing, State, Trouble
from engine.bootpieces import BootShown, BootStatus
from engine.config import Config
from engine.entries import Change, Diff, Entry, Kind, Status, Version
from engine.errors import UsageError
from engine.events import Job
from engine.machine.bootimages import Area, BootRecord, DiskRecord, Image
from engine.machine.collect import Text
from engine.machine.disks import Disk
from engine.machine.partitions import Table
from engine.points import RestorePoint, resolve
from engine.results import (
    Damage,
    Fate,
    Finding,
    PruneResult,
    RepairReport,
    RestoreResult,
    RollbackPlan,
    RollbackResult,
    SnapshotRequest,
    SnapshotResult,
    StoreStatus,
    Verdict,
    VerifyReport,
)

HOSTILE = (b"plain", b"new\nline", b"esc\x1b[2J", b"[red]markup[@x]", b"caf\xe9", "\u202ertl".encode(),
           b"back\\slash", "日本".encode(), "e\u0301".encode(), b"tab\there", b'quote"\'',
           b"zero\xe2\x80\x8bwidth", b" lead", b"-dash")
EVIL_TEXT = "evil\x1b]0;t\x07 \u202e [red]\n日本"


def entry(path: bytes, kind: Kind = Kind.FILE, size: int = 0, **more: Any) -> Entry:
    """Return an entry with sensible values for all else."""
    mode = 0o755 if kind is Kind.DIR else 0o644
    return Entry(path, kind, mode, 0, 0, 1_700_000_000_123_456_789, size, **more)


def point(number: int, *, hours: float = 1, **more: Any) -> RestorePoint:
    """Return a point that is some hours old."""
    when = datetime.now(UTC) - timedelta(hours=hours)
    return RestorePoint(f"20240{number}01-aa{number}", "replica", number, when, **more)


@dataclass
class World:
    """What the fake engine knows, and what was done to it."""

    points: list[RestorePoint] = field(default_factory=lambda: [
        point(3, hours=1, newest=True, own_bytes=0, comment=EVIL_TEXT, tags=("a", "b")),
        point(2, hours=50, pinned=True, own_bytes=123456, state="damaged", problems=(f"pack {EVIL_TEXT}",)),
        point(1, hours=300, own_bytes=None, doc={"kernel": "6.1", "counts": {"files": 3}, "x": [EVIL_TEXT]})])
    changes: tuple[Change, ...] = field(default_factory=lambda: (
        *(Change(b"d/" + n, Status.CREATED, None, entry(b"d/" + n, size=7)) for n in HOSTILE),
        Change(b"etc/a", Status.CHANGED, entry(b"etc/a", size=1), entry(b"etc/a", size=2000), ("content",)),
        Change(b"etc/b", Status.ATTRS, entry(b"etc/b"), entry(b"etc/b"), ("mode", "owner")),
        Change(b"etc/c", Status.TYPE, entry(b"etc/c"), entry(b"etc/c", Kind.DIR), ("type",)),
        Change(b"etc/d", Status.DELETED, entry(b"etc/d", size=5), None)))
    status: StoreStatus = field(default_factory=lambda: StoreStatus(
        "/st\nore", "/ro\x1bot", True, False, 10**9, 8 * 10**8, 10**10, 2 * 10**9, 3, "", "", ""))
    findings: tuple[Any, ...] = ()
    levels: list[Level] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    storage: Listing = field(default_factory=lambda: Listing(()))
    states: list[State] = field(default_factory=list)
    warnings: tuple[str, ...] = ()
    raises: BaseException | None = None
    verified: bool = True
    verdict: Verdict = field(default_factory=lambda: Verdict(
        "yes", (Finding("info", "GRUB 2 \x1b in sector 0"),), "6.1\x1b"))
    boot: tuple[str, ...] = ()
    boot_applied: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()
    damage: tuple[Damage, ...] = ()
    during: Callable[[Job], None] = lambda job: None
    done: list[str] = field(default_factory=list)


class FakeEngine:
    """Engine's verbs, on a `World`."""

    def __init__(self, world: World, config: Config) -> None:
        self.world = world
        self.config = config

    def _work(self, name: str, job: Job | None = None) -> None:
        if self.world.raises is not None:
            raise self.world.raises
        if job is not None:
            job.progress("copying", 1, 2, current=b"evil\x1b[2J\n")
            self.world.during(job)
            for warning in self.world.warnings:
                job.warn(warning)
        self.world.done.append(name)

    def status(self) -> StoreStatus:
        return self.world.status

    def interrupted(self) -> str:
        return self.world.status.rollback

    def ordered(self) -> str:
        return self.world.status.ordered

    def may_order(self) -> None:
        self._work("asked")

    def order(self, plan: RollbackPlan, words: dict[str, Any]) -> None:
        assert words["at_boot"] and words["confirmed"]["point"] == plan.point.id == words["point"]
        self.world.status = replace(self.world.status, ordered=f"a rollback to point {words['number']}\x1b is ordered")
        self._work(f"order safety={words['safety_point']}")

    def take_order_back(self) -> None:
        self._work("take order back")
        self.world.status = replace(self.world.status, ordered="")

    def points(self) -> list[RestorePoint]:
        if self.world.raises is not None:
            raise self.world.raises
        return list(self.world.points)

    def listing(self, backend: str | None = None) -> Listing:
        if backend not in (None, "replica"):
            return Listing((), (Trouble(backend, "not here", "look for it"),))
        return Listing(tuple(self.points()))

    def storage_points(self) -> Listing:
        return self.world.storage

    def backend_states(self) -> list[State]:
        return self.world.states

    def levels(self) -> tuple[list[Level], list[str], list[Trouble]]:
        return self.world.levels, self.world.pending, []

    def resolve(self, spec: str, backend: str | None = None) -> RestorePoint:
        return resolve(self.listing(backend).points, spec)

    def listdir(self, point: RestorePoint, path: bytes = b"") -> list[Entry]:
        if path not in (b"", b"d"):
            raise UsageError("no such path in the point")
        prefix = path + b"/" if path else b""
        return [*(entry(prefix + name, size=5) for name in HOSTILE),
                entry(prefix + b"link", Kind.LINK, target=b"to\x1b\xff"),
                entry(prefix + b"null", Kind.CHAR, rdev=0x103), entry(prefix + b"dir", Kind.DIR)]

    def entry(self, point: RestorePoint, path: bytes) -> Entry:
        if path.split(b"/")[0] not in (b"d", b"etc", b"same"):
            raise UsageError(f"no such path in point {point.number}")
        return entry(path)

    def find(self, pattern: str, *, deleted: bool = True) -> Iterator[Version]:
        if pattern != "nothing":
            first, last = self.world.points[-1].id, self.world.points[0].id
            yield from (Version(entry(b"d/" + name, size=9), first, last, number % 2 == 0, 3)
                        for number, name in enumerate(HOSTILE))

    def history(self, path: bytes) -> list[Version]:
        ids = [p.id for p in self.world.points]
        return [Version(entry(path, size=2), ids[0], ids[0], True, 1),
                Version(entry(path, size=1), ids[2], ids[1], False, 2)]

    def diff(self, older: RestorePoint, newer: RestorePoint | None, paths: Sequence[bytes] = (),
             job: Job | None = None) -> Diff:
        self._work("diff", job)
        kept = tuple(c for c in self.world.changes
                     if not paths or any(c.path == p or c.path.startswith(p + b"/") for p in paths))
        return Diff(older.id, newer.id if newer else "live", kept)

    def file_diff(self, older: RestorePoint, newer: RestorePoint | None, path: bytes) -> list[str]:
        return ["--- a", "+++ b", "-old\x1b[2J", "+new\ttab"]

    @contextmanager
    def read(self, point: RestorePoint, path: bytes) -> Iterator[IO[bytes]]:
        if path == b"missing":
            raise UsageError("no such path in the point")
        yield io.BytesIO(b"raw \x00\xff\n" * 3)

    def snapshot(self, request: SnapshotRequest, job: Job) -> SnapshotResult:
        self._work(f"snapshot {request.comment!r} {request.tags} {request.pin}", job)
        taken = replace(point(4, hours=0), comment=request.comment, tags=request.tags, pinned=request.pin,
                        newest=True)
        return SnapshotResult(taken, 1, 2, 3, 4, 5000, 600, (self.world.points[-1].id,), ("*.pid",),
                              ("/var/lib/mysql",), 1.25)

    def restore(self, point: RestorePoint, dest: str, paths: Sequence[bytes], job: Job, *,
                merge: bool = False) -> RestoreResult:
        self._work(f"restore {point.number} {dest!r} {list(paths)} {merge}", job)
        return RestoreResult(point, 3, 4000, 0.5)

    def plan(self, point: RestorePoint, scope: Sequence[str], job: Job, *, adopt: bool = False,
             merged: Sequence[bytes] = ()) -> RollbackPlan:
        self._work(f"plan {point.number} {list(scope)}{' adopt' if adopt else ''}", job)
        newer = tuple(p for p in self.world.points if p.number > point.number)
        diff = Diff("live", point.id, self.world.changes)
        return RollbackPlan(point, "/ro\x1bot", tuple(scope), diff, newer, ("*.pid",),
                            ("/var/lib/my\x1bsql",), self.world.findings, ("rsync -a \x1b",), boot=self.world.boot)

    def rollback(self, plan: RollbackPlan, job: Job, *, safety_point: bool = True) -> RollbackResult:
        self._work(f"rollback {plan.point.number} {safety_point}", job)
        return self._rolled(plan.point, safety_point)

    def _rolled(self, to: RestorePoint, safety_point: bool) -> RollbackResult:
        return RollbackResult(to, point(5, hours=0) if safety_point else None, 17, self.world.verified,
                              self.world.differences, 2.5, self.world.verdict, self.world.boot_applied)

    def resume(self, job: Job) -> RollbackResult:
        self._work("resume", job)
        return self._rolled(self.world.points[0], False)

    def undo(self, job: Job) -> RollbackResult:
        self._work("undo", job)
        return self._rolled(self.world.points[0], False)

    def boot_status(self) -> BootStatus:
        self._work("boot")
        disk = Disk(b"/dev/sd\x1ba", 64 << 20, 512, Table("mbr", 512, 64 << 20, "0xcafe"))
        return BootStatus(b"/", "bios", ((disk, (Area("sector 0", 0, 512, "GRUB 2"),)),), ("a note \x1b",),
                          self.world.verdict)

    def boot_of(self, point: RestorePoint) -> BootShown:
        self._work("boot")
        image = Image("sector 0", 0, 512, "disk-1.sector0", "00" * 32, "GRUB 2")
        disk = DiskRecord("disk-1", "/dev/sd\x1ba", 64 << 20, 512, "", "", "", "mbr", "0xcafe", 1 << 20, (image,), ())
        record = BootRecord(b"/st/points/1/boot", "bios", (disk,), (Text("blkid.txt", "blkid", "", 10, "00"),))
        return BootShown(record, None, "no disk \x1b is here", (Text("df.txt", "df", "", 10, "00"),), ())

    def fates(self) -> list[Fate]:
        return [Fate(p, p.number != 1, "newest" if p.newest else "older than max_age \x1b")
                for p in self.world.points]

    def all_fates(self, rules: None = None, backend: str | None = None) -> tuple[list[Fate], list[Trouble]]:
        return (self.fates() if backend in (None, "replica") else []), []

    def prune_all(self, job: Job, shown: Sequence[RestorePoint] | None = None, backend: str | None = None
                  ) -> PruneResult:
        return self.prune(job, shown)

    def prune(self, job: Job, shown: Sequence[RestorePoint] | None = None) -> PruneResult:
        self._work("prune", job)
        return PruneResult((self.world.points[-1].id,), self.world.failed, 4096)

    def delete(self, points: Sequence[RestorePoint], job: Job) -> PruneResult:
        self._work(f"delete {[p.number for p in points]}", job)
        return PruneResult(tuple(p.id for p in points), self.world.failed, 4096)

    def annotate(self, point: RestorePoint, *, comment: str | None = None,
                 pinned: bool | None = None) -> RestorePoint:
        self._work(f"annotate {point.number} {comment!r} {pinned}")
        return replace(point, comment=point.comment if comment is None else comment,
                       pinned=point.pinned if pinned is None else pinned)

    def kept_points(self) -> list[RestorePoint]:
        return self.points()

    def verify(self, points: Sequence[RestorePoint], job: Job, *, data: bool = False) -> VerifyReport:
        self._work(f"verify {[p.number for p in points]} {data}", job)
        return VerifyReport(3, 100, 4096 if data else 0, self.world.damage)

    def repair(self, job: Job) -> RepairReport:
        self._work("repair", job)
        return RepairReport(("catalog rebuilt \x1b",), self.world.damage)

    def mount(self, point: RestorePoint, where: str, job: Job) -> None:
        self._work(f"mount {point.number} {where}", job)

    def umount(self, where: str) -> None:
        self._work(f"umount {where}")
