"""A double of the engine with the same signatures: many points, hostile names, slow work, errors on demand."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from engine.audit import AuditEntry
from engine.bootlook import Kept, Layout, Loader
from engine.bootpieces import BootShown, BootStatus
from engine.config import Config, Retention, settings
from engine.entries import Change, Diff, Entry, Kind, Life, Status, Version
from engine.errors import CancelledError, ChangedError, NotEmptyError, RefusedError, RollpointError, UsageError
from engine.events import Job
from engine.points import RestorePoint
from engine.results import (
    Damage,
    Fate,
    FileContent,
    Finding,
    Measure,
    PruneResult,
    RepairReport,
    RestoreResult,
    RollbackPlan,
    RollbackResult,
    ScopeChoice,
    SnapshotRequest,
    SnapshotResult,
    Software,
    StoreStatus,
    Verdict,
    VerifyReport,
)
from engine.retention import fates
from engine.text import shown_path
from engine.vmpoints.plans import INVENTORIES
from tests.tui import fake_boot
from tests.tui.fake_storage import FakeStorage
from tests.tui.fake_tree import HOSTILE, FakeTree, entry
from tests.tui.fake_vms import FakeVms

NOW = datetime(2024, 11, 20, 3, 12, 40, tzinfo=UTC)

COMMENTS = ("before the upgrade of openssl", "nightly", "nginx: new virtual host", "", "before cleaning up /srv",
            "nightly", "kernel 6.1.0-26", "", "mail server moved", "nightly")


def document(index: int) -> dict[str, object]:
    """A point document like the engine writes it."""
    return {"reason": "manual" if index % 3 == 0 else "schedule", "taken_by": "root", "kernel": "6.1.0-26-amd64",
            "host": "web01", "os": "Debian GNU/Linux 12 (bookworm)", "seconds": 2.4,
            "sources": [{"mount": "/", "type": "ext4", "device": "/dev/vda2", "uuid": "0a1b-2c3d",
                         "size": 20_000_000_000, "used": 1_500_000_000},
                        {"mount": "/boot", "type": "ext4", "device": "/dev/vda1", "uuid": "4e5f-6a7b",
                         "size": 500_000_000, "used": 120_000_000}],
            "counts": {"files": 36000 + index, "dirs": 4100, "links": 1130, "others": 0, "bytes": 1_450_000_000},
            "changed": {"created": 3 * index, "changed": 17, "attrs": 4, "deleted": index % 4, "bytes_copied": 9000},
            "excludes": ["/proc/*", "/sys/*", "/tmp/*", "*.pid"], "databases": ["/var/lib/mysql"]}


def points(count: int = 12) -> list[RestorePoint]:
    """Points, newest first: the second is pinned, the fifth damaged."""
    found = []
    for i in range(count):
        number = count - i
        when = NOW - timedelta(hours=7 * i, minutes=40)
        bad = i == 4
        found.append(RestorePoint(
            id=when.strftime("%Y%m%dT%H%M%SZ"), backend="replica", number=number, created=when,
            comment=COMMENTS[i % len(COMMENTS)], tags=("upgrade",) if i % 5 == 0 else (), pinned=i in (1, 6),
            state="damaged" if bad else "ok", own_bytes=None if i == 0 else 3_400_000 * (i + 1), newest=i == 0,
            problems=("pack-001.tar.zst: checksum differs",) if bad else (), doc=document(number)))
    return found


def changes(count: int = 40) -> tuple[Change, ...]:
    """Changes of every kind, sorted by path."""
    kinds = list(Status)
    made = []
    for i in range(count):
        status = kinds[i % len(kinds)]
        path = b"etc/service.d/%06d.conf" % i
        old = None if status is Status.CREATED else entry(path, 1000 + i)
        kind = Kind.LINK if status is Status.TYPE else Kind.FILE
        new = None if status is Status.DELETED else entry(path, 2000 + i, kind,
                                                          0o600 if status is Status.ATTRS else 0o644)
        what = {Status.ATTRS: ("mode",), Status.CHANGED: ("content", "size"), Status.TYPE: ("type",)}.get(status, ())
        made.append(Change(path, status, old, new, what))
    return tuple(made)


def hostile_changes() -> tuple[Change, ...]:
    """One created file for each hostile name, in a directory of a hostile name too."""
    return tuple(sorted((Change(b"srv/[b]dir/" + name, Status.CREATED, None, entry(name), ()) for name in HOSTILE),
                        key=lambda c: c.path))


class FakeEngine(FakeStorage, FakeVms):
    """The double. `fail[verb]` is raised by that verb; Long work stops at
    step `hold_from` for as long as `hold` is not set."""

    def __init__(self, count: int = 12) -> None:
        self.list = points(count)
        self.tree = FakeTree(count)
        self.log = [AuditEntry("2024-11-20T02:10:00+00:00", "root", "snapshot", p.id, "done") for p in self.list]
        self.rules_now = Retention()
        self.found = changes()
        self.fail: dict[str, BaseException] = {}
        self.calls: list[str] = []
        self.steps, self.step, self.hold_from = 0, 0.01, 0
        self.hold = threading.Event()
        self.hold.set()
        self.findings: tuple[Finding, ...] = (Finding("warning", "sshd runs with files that will be replaced",
                                                      "restart it afterwards: systemctl restart ssh"),)
        self.databases: tuple[str, ...] = ("/var/lib/mysql", "/var/lib/postgresql")
        self.excluded: tuple[str, ...] = ("/proc/*", "/sys/*", "/tmp/*", "*.pid")
        self.damage: tuple[Damage, ...] = ()
        self.differences: tuple[str, ...] = ()
        self.verdict: Verdict | None = None
        self.boot_applied: tuple[str, ...] = ()
        self.boot_text, self.no_boot_pieces = "GRUB 2 (core.img)", False
        self.boot_damage: tuple[str, ...] = ()
        self.boot_planned: tuple[str, ...] = ()
        self.changed_software = Software(("openssl 3.0.11 -> 3.0.15", "libssl3 3.0.11 -> 3.0.15"),
                                         ("kernel 6.1.0-27-amd64 comes",))
        self.warnings: tuple[str, ...] = ()
        self.occupied = {"/root/full"}      # directories that are not empty
        self.restored: tuple[str, str, tuple[bytes, ...], bool] | None = None
        self.compared: tuple[bytes, ...] = ()
        self.planned: tuple[str, ...] = ()
        self.words: Mapping[str, Any] = {}      # of what is ordered for the next boot
        self.missing: tuple[bytes, ...] = ()    # recorded file systems for which there is no place
        self.config = Config(store="/var/lib/rollpoint/store", root="/")
        self.current = b"usr/share/doc/openssl/changelog.gz"
        self.lines = ["--- old", "+++ new", "@@ -1,2 +1,2 @@", " keep", "-was", "+is"]
        self.pair: tuple[bytes, bytes] = (b"keep\nwas\n", b"keep\nis\n")   # contents of what is in `found`
        self.state = StoreStatus(path="/var/lib/rollpoint/store", root="/", exists=True, read_only=False,
                                 store_bytes=1_720_000_000, tree_bytes=1_450_000_000, free_bytes=14_000_000_000,
                                 limit_bytes=2_175_000_000, points=count, holder="", unfinished="", rollback="")

    def _enter(self, verb: str) -> None:
        self.calls.append(verb)
        if verb in self.fail:
            raise self.fail[verb]

    def _work(self, job: Job | None, *phases: str) -> None:
        job = job or Job()
        for text in self.warnings:
            job.warn(text)
        for phase in phases:
            for i in range(self.steps + 1):
                job.progress(phase, i * 100, self.steps * 100 or None, current=self.current, bytes_done=i * 2_500_000)
                while i >= self.hold_from and not self.hold.wait(self.step):
                    job.check()

    def _find(self, point: RestorePoint) -> int:
        if self.kept_by_storage(point):
            return 0
        for index, known in enumerate(self.list):
            if known.id == point.id:
                return index
        raise UsageError(f"no restore point is called '{point.id}'", hint="`rollpoint list` shows those there are")

    def _listed(self) -> Sequence[RestorePoint]:
        return self.list

    def status(self) -> StoreStatus:
        self._enter("status")
        return replace(self.state, points=len(self.list))

    def points(self) -> list[RestorePoint]:
        self._enter("points")
        return list(self.list)

    def diff(self, older: RestorePoint, newer: RestorePoint | None, paths: Sequence[bytes] = (),
             job: Job | None = None) -> Diff:
        return Diff(older.id, newer.id if newer else "live", tuple(self.changes(older, newer, paths, job)))

    def changes(self, older: RestorePoint, newer: RestorePoint | None, paths: Sequence[bytes] = (),
                job: Job | None = None) -> Iterator[Change]:
        self._enter("changes")
        self.compared = tuple(paths)
        self._find(older)
        self._work(job, "comparing")
        yield from sorted(self.found, key=lambda c: c.path.replace(b"/", b"\0"))   # in walk order, as the engine does

    def change(self, older: RestorePoint, newer: RestorePoint | None, path: bytes) -> Change | None:
        self._enter("change")
        return next((c for c in self.found if c.path == path), None)

    def software(self, older: RestorePoint, newer: RestorePoint | None) -> Software:
        self._enter("software")
        return self.changed_software

    def settings(self) -> list[tuple[str, str, str]]:
        self._enter("settings")
        return settings(Config(retention=self.rules_now, origins={"retention.daily": "/etc/rollpoint/config.yaml:7"}))

    def audit(self, count: int = 500) -> list[AuditEntry]:
        self._enter("audit")
        return self.log[:count]

    def lives(self, path: bytes = b"") -> list[Life]:
        self._enter("lives")
        return self.tree.lives(path)

    def stirred(self, path: bytes = b"") -> dict[bytes, tuple[int, ...]]:
        self._enter("stirred")
        return self.tree.stirred(path)

    def live_listing(self, path: bytes = b"") -> list[Entry]:
        self._enter("live_listing")
        return self.tree.live_listing(path)

    def history(self, path: bytes) -> list[Version]:
        self._enter("history")
        return self.tree.history(path, self.list)

    def find(self, pattern: str, *, deleted: bool = True) -> Iterator[Version]:
        self._enter("find")
        for folder in sorted(self.tree.directories):
            for life in self.tree.lives(folder):
                if os.fsencode(pattern) in life.name and (deleted or life.spans[-1].last is None):
                    yield from self.tree.history(life.spans[-1].entry.path, self.list)

    def content(self, point: RestorePoint | None, path: bytes, limit: int) -> FileContent | None:
        self._enter("content")
        if any(c.path == path for c in self.found):
            data = self.pair[point is None]
            return FileContent(data[:limit], len(data))
        return self.tree.content(path, point.number if point else None, limit)

    def measure(self, point: RestorePoint, paths: Sequence[bytes]) -> Measure:
        self._enter("measure")
        return Measure(3 * len(paths), 3702 * len(paths))

    def restore(self, point: RestorePoint, dest: str, paths: Sequence[bytes], job: Job, *, merge: bool = False
                ) -> RestoreResult:
        self._enter("restore")
        self._find(point)
        if dest in self.occupied and not merge:
            raise NotEmptyError(f"{dest} is not empty", hint="name a new directory")
        self._work(job, "copying")
        self.restored = (point.id, dest, tuple(paths), merge)
        return RestoreResult(point, 3 * max(1, len(paths)), 3702, 0.4)

    def boot_status(self) -> BootStatus:
        self._enter("boot")
        return fake_boot.machine(self.boot_text)

    def boot_of(self, point: RestorePoint) -> BootShown:
        self._enter("boot")
        self._find(point)
        if self.no_boot_pieces or self.kept_by_storage(point):
            raise RefusedError(f"point {point.id} holds no boot pieces", hint="choose a point that has them")
        return fake_boot.shown(self.boot_text, self.boot_damage)

    def boot_kept(self, point: RestorePoint, name: str) -> Kept:
        self._enter("boot_kept")
        return fake_boot.kept(name)

    def boot_bytes(self, disk: bytes, offset: int, length: int) -> bytes:
        self._enter("boot_bytes")
        return fake_boot.present(offset, length)

    def boot_layout(self, point: RestorePoint | None) -> tuple[Layout, ...]:
        self._enter("boot_layout")
        return tuple(layout if point is not None and not self.no_boot_pieces else replace(layout, then=None)
                     for layout in fake_boot.layout(self.boot_text))

    def boot_loaders(self, point: RestorePoint | None) -> tuple[Loader, ...]:
        self._enter("boot_loaders")
        return fake_boot.loaders(self.boot_text)

    def scopes(self, point: RestorePoint) -> list[ScopeChoice]:
        self._enter("scopes")
        return [ScopeChoice("system", "everything that the point holds"),
                ScopeChoice("path=", "one file or directory, with all below it")]

    def rules(self) -> Retention:
        self._enter("rules")
        return self.rules_now

    def save_rules(self, rules: Retention) -> str:
        self._enter("save_rules")
        self.rules_now = rules
        return "/etc/rollpoint/conf.d/90-retention.yaml"

    def file_diff(self, older: RestorePoint, newer: RestorePoint | None, path: bytes) -> list[str]:
        self._enter("file_diff")
        return self.lines

    def snapshot(self, request: SnapshotRequest, job: Job, backend: str = "replica") -> SnapshotResult:
        self._enter("snapshot")
        if backend != "replica":
            return self.storage_take(request, backend)
        self._work(job, "copying", "packing")
        old = [replace(p, newest=False) for p in self.list]
        number = max((p.number for p in old), default=0) + 1
        point = RestorePoint("20241120T031240Z", "replica", number, NOW, request.comment, request.tags, request.pin,
                             newest=True, doc=document(number))
        self.list = [point, *old]
        self.state = replace(self.state, exists=True)
        return SnapshotResult(point, 12, 7, 3, 2, 48_000_000, 2_100_000, (), self.excluded, self.databases, 3.4)

    def plan(self, point: RestorePoint, scope: Sequence[str], job: Job, *, adopt: bool = False,
             merged: Sequence[bytes] = ()) -> RollbackPlan:
        self._enter("plan")
        self.planned = tuple(scope)
        at = self._find(point)
        self._work(job, "comparing")
        findings = [Finding("blocker", f"{shown_path(m)} was a file system of its own, and nothing is mounted there")
                    for m in self.missing if m not in merged]
        return RollbackPlan(point, "/", tuple(scope), Diff("live", point.id, self.found), tuple(self.list[:at]),
                            self.excluded, self.databases, (*findings, *(() if adopt else self.findings)),
                            ("rsync -aHAXS --numeric-ids --delete-after STORE/tree/ /",),
                            ("openssl 3.0.15 -> 3.0.11", "libssl3 3.0.15 -> 3.0.11"), boot=self.boot_planned,
                            adopt=adopt, adjustments=("/etc/fstab: UUID=1 / -> UUID=2 /",) if adopt else (),
                            merged=tuple(merged), missing=tuple(m for m in self.missing if m not in merged))

    def rollback(self, plan: RollbackPlan, job: Job, *, safety_point: bool = True) -> RollbackResult:
        self._enter("rollback")
        self._work(job, "safety point", "copying", "deleting", "verifying")
        safety = None
        if safety_point:
            safety = self.snapshot(SnapshotRequest("before going back", reason="safety"), Job()).point
        return RollbackResult(plan.point, safety, len(plan.diff.changes), not self.differences, self.differences, 4.2,
                              self.verdict, self.boot_applied)

    def resume(self, job: Job) -> RollbackResult:
        self._enter("resume")
        self._work(job, "copying")
        self.state = replace(self.state, rollback="")
        return RollbackResult(self.list[-1], None, 3, True, (), 1.0)

    def undo(self, job: Job) -> RollbackResult:
        self._enter("undo")
        self.state = replace(self.state, rollback="")
        return RollbackResult(self.list[0], None, 3, True, (), 1.0)

    def may_order(self) -> None:
        self._enter("may_order")

    def order(self, plan: RollbackPlan, words: Mapping[str, Any]) -> None:
        self._enter("order")
        self.words = words
        self.state = replace(self.state, ordered=f"a rollback to point {plan.point.number} will be done at the next "
                             "boot (ordered 2024-11-20 03:12:40 UTC by root)")

    def take_order_back(self) -> None:
        self._enter("take_order_back")
        self.state = replace(self.state, ordered="")

    def fates(self, rules: Retention | None = None) -> list[Fate]:
        self._enter("fates")
        return fates(self.list, rules or self.rules_now, NOW, store_bytes=self.state.store_bytes,
                     source_bytes=self.state.tree_bytes)

    def prune(self, job: Job, shown: Sequence[RestorePoint] | None = None) -> PruneResult:
        self._enter("prune")
        going = [f.point for f in self.fates() if not f.keep]
        if shown is not None and {p.id for p in shown} != {p.id for p in going}:
            raise ChangedError("the rules do not remove what was shown", hint="look at the points again")
        return self.delete(going, job)

    def delete(self, points: Sequence[RestorePoint], job: Job) -> PruneResult:
        self._enter("delete")
        if points and all(point.backend == INVENTORIES for point in points):
            self.vm_inventories -= len(points)
            return PruneResult(tuple(point.id for point in points), (), 12_000)
        if points and all(self.kept_by_storage(point) for point in points):
            return self.storage_delete(points)
        for point in points:
            self._find(point)
        self._work(job, "deleting")
        gone = {p.id for p in points}
        self.list = [p for p in self.list if p.id not in gone]
        return PruneResult(tuple(sorted(gone)), (), 12_000_000 * len(gone))

    def annotate(self, point: RestorePoint, *, comment: str | None = None, pinned: bool | None = None) -> RestorePoint:
        self._enter("annotate")
        if self.kept_by_storage(point):
            return self.storage_note(point, comment, pinned)
        at = self._find(point)
        new = self.list[at]
        new = replace(new, comment=new.comment if comment is None else comment,
                      pinned=new.pinned if pinned is None else pinned)
        self.list[at] = new
        return new

    def kept_points(self) -> list[RestorePoint]:
        return self.points()

    def verify(self, points: Sequence[RestorePoint], job: Job, *, data: bool = False) -> VerifyReport:
        self._enter("verify data" if data else "verify")
        self._work(job, "reading")
        return VerifyReport(len(points), 41230, 1_450_000_000 if data else 0, self.damage)

    def repair(self, job: Job) -> RepairReport:
        self._enter("repair")
        self.state = replace(self.state, unfinished="")
        return RepairReport(("An unfinished snapshot was undone.",), ())


__all__ = ["HOSTILE", "NOW", "CancelledError", "FakeEngine", "RollpointError", "changes", "entry", "hostile_changes",
           "points"]
