"""Disks of VMs back from snapshots of the storage, and what such snapshots cover: on a real btrfs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine import backends
from engine.backends import Listing
from engine.config import Btrfs, Config, Lvm
from engine.errors import ChangedError, RefusedError
from engine.events import Job
from engine.points import RestorePoint
from engine.results import SnapshotRequest
from engine.service import Engine
from engine.vms.coverage import FILE_SYSTEM, NONE_ASKED
from engine.volumes.btrfs import BtrfsBackend
from engine.volumes.lvm import LvmBackend
from tests.engine.harness import CHECKOUT
from tests.engine.loops import Loops
from tests.engine.test_vm_restore import WEB, Host
from tests.unit.lvm_case import label
from tests.unit.lvm_tools import GIB, MIB, Row, Tools, row, thick
from tests.vm_trees import config, image

pytestmark = pytest.mark.root


class Snapshots(Host):
    """The same host, whose repository is a btrfs of which we keep snapshots."""

    @property
    def config(self) -> Config:
        return Config(store=str(self.store), root=str(self.root), btrfs=Btrfs(subvolumes=(str(self.root),)))

    def snapshot(self) -> RestorePoint:
        return self.engine().snapshot(SnapshotRequest("storage"), Job(), backend="btrfs").point

    def shares(self, device: str = "xvda", name: str = "web") -> list[tuple[str, int, str, bool | None, str]]:
        """What is held of a disk, by each backend."""
        engine = self.engine()
        inventory = engine.vms(Job())
        found = engine.vms_held(inventory)
        assert found is not None
        (part,) = [p for p in found.parts[inventory.machine(name).config] if p.what == device]
        return [(one.backend, one.points, one.newest, one.same, one.what) for one in part.shares]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Snapshots]:
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    loops = Loops(tmp_path)
    try:
        yield Snapshots(tmp_path, loops.mount(loops.make("btrfs", mib=200), tmp_path / "root"))
    finally:
        loops.close()


def test_disks_come_back_from_a_snapshot_bit_by_bit(host: Snapshots) -> None:
    """Where there is no store yet, one is made: the journal lies in it."""
    before, point = host.sums(), host.snapshot()
    host.spoil("a.img", "db.img", "shared.img")
    (host.disks / "b.img").unlink()
    spoiled = host.sums()
    assert not host.store.exists()
    plan = host.engine().vm_plan_disks(point, "web", Job())
    assert not plan.blocked and [step.device for step in plan.steps] == ["xvda", "xvdb"]
    assert any("at which the snapshot was taken" in finding.text for finding in plan.findings)
    assert host.sums() == spoiled and not host.store.exists()
    done = host.engine().vm_restore_disks(plan, Job())
    after = host.sums()
    assert (after["a.img"], after["b.img"]) == (before["a.img"], before["b.img"])
    assert (after["db.img"], after["shared.img"]) == (spoiled["db.img"], spoiled["shared.img"]), "others' are untouched"
    (aside,) = done.aside
    assert after[os.fsdecode(aside).rpartition("/")[2]] == spoiled["a.img"]
    assert (host.disks / "a.img").stat().st_blocks * 512 < 4 << 20, "holes stay holes"
    assert not [p for p in host.disks.iterdir() if p.name.startswith(".rollpoint")]


def test_what_shares_its_blocks_with_the_snapshot_is_not_read(host: Snapshots, monkeypatch: pytest.MonkeyPatch) -> None:
    before, point = host.sums(), host.snapshot()
    host.spoil("a.img")
    plan = host.engine().vm_plan_disks(point, "web", Job())
    monkeypatch.setattr("engine.vmpoints.sources.of_file", lambda *_: pytest.fail("it was read"))
    host.engine().vm_restore_disks(plan, Job())
    assert [step.way for step in plan.steps] == ["reflink"] and host.sums()["a.img"] == before["a.img"]


def test_it_is_refused_while_the_vm_runs_or_may(host: Snapshots) -> None:
    point = host.snapshot()
    host.spoil("a.img")
    spoiled, plan = host.sums(), host.engine().vm_plan_disks(point, "web", Job())
    host.runs(WEB)
    with pytest.raises(RefusedError, match="web runs"):
        host.engine().vm_restore_disks(plan, Job())
    host.runs(fails=True)
    with pytest.raises(RefusedError, match="not known"):
        host.engine().vm_restore_disks(plan, Job())
    host.runs()
    host.spoil("a.img")
    spoiled = host.sums()
    with pytest.raises(ChangedError):
        host.engine().vm_restore_disks(plan, Job())
    assert host.sums() == spoiled


def test_what_a_snapshot_does_not_have_is_said(host: Snapshots) -> None:
    """A disk that was made later, and one in a subvolume of its own, which the snapshot around it does not hold."""
    nested = host.disks / "inner"
    subprocess.run(["btrfs", "subvolume", "create", str(nested)], check=True, capture_output=True)
    point = host.snapshot()
    place = "/" + str(host.disks.relative_to(host.root))
    inner = image(host.root, "inner/own.img")
    late = image(host.root, "late.img")
    config(host.root, 3, OVM_simple_name="three", disk=[f"file:{inner},xvda,w", f"file:{late},xvdb,w",
                                                        f"file:{place}/db.img,xvdc,w"])
    plan = host.engine().vm_plan_disks(point, "three", Job(), devices=("xvda", "xvdb"))
    assert plan.blocked and [f.text for f in plan.findings if f.level == "blocker"][:2] == [
        f"{device}: point {point.id} does not have it" for device in ("xvda", "xvdb")]
    assert host.shares("xvda", "three") == []
    assert host.shares("xvdc", "three") == [("btrfs", 1, point.id, None, FILE_SYSTEM)]
    sources_ = host.engine().vm_disk_sources(host.engine().vms(Job()).machine("three"))
    assert [p.id for p in sources_.points] == [point.id]


def test_a_kill_is_undone_as_with_any_point(host: Snapshots) -> None:
    host.snapshot()
    host.spoil("a.img")
    spoiled = host.sums()
    code = ("from engine.service import Engine\nfrom engine.config import Config, Btrfs\n"
            f"from engine.events import Job\ne = Engine(Config(store={str(host.store)!r}, root={str(host.root)!r}, "
            f"btrfs=Btrfs(subvolumes=({str(host.root)!r},))))\n"
            "p = e.storage_points().points[0]\ne.vm_restore_disks(e.vm_plan_disks(p, 'web', Job()), Job())")
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=False,
                          env=os.environ | {"ROLLPOINT_KILL_AT": "vm-disk-staged", "PYTHONPATH": CHECKOUT})
    assert done.returncode == -signal.SIGKILL
    assert "undid" in host.engine().vm_settle(Job())
    assert host.sums() == spoiled and not [p for p in host.disks.iterdir() if p.name.startswith(".rollpoint-staged")]


def test_what_points_of_all_backends_cover(host: Snapshots) -> None:
    copied, replica = host.take(), host.engine().snapshot(SnapshotRequest(), Job()).point
    first, second = host.snapshot(), host.snapshot()
    assert {first.id, second.id} == {p.id for p in host.engine().storage_points().points if p.backend == "btrfs"}
    found = host.shares()
    assert sorted(found) == [("btrfs", 2, second.id, None, FILE_SYSTEM), ("replica", 1, replica.id, True, "file"),
                             ("vmdisks", 1, copied.id, True, "file")]
    host.spoil("a.img")
    assert sorted(share[3] or False for share in host.shares()) == [False, False, False]
    assert host.shares("xvdd") == [], "a device is on no file system"


def test_storage_is_asked_once_and_its_failure_is_said(host: Snapshots, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(10, 40):
        config(host.root, number, disk=[f"file:{image(host.root, f'{number}.img')},xvda,w"])
    host.snapshot()
    asked: list[Listing] = []
    real = backends.listing

    def listing(*args: object, **words: object) -> Listing:
        asked.append(real(*args, **words))      # type: ignore[arg-type]
        return asked[-1]

    monkeypatch.setattr(backends, "listing", listing)
    found = host.engine().vms_held(host.engine().vms(Job()))
    assert found is not None and len(found.parts) == 32 and len(asked) == 1 and found.troubles == ()
    broken = Engine(replace(host.config, btrfs=Btrfs(subvolumes=(str(host.root / "OVS"),))))
    inventory = broken.vms(Job())
    found = broken.vms_held(inventory)
    assert found is not None and found.troubles[0].startswith("btrfs: ") and "is none" in found.troubles[0]
    why = {part.what: part.why for part in found.parts[inventory.machine("web").config]}
    assert why == {"vm.cfg": NONE_ASKED, "xvda": NONE_ASKED, "xvdb": NONE_ASKED, "xvdc": NONE_ASKED,
                   "xvdd": "on a device (physical disk), and not all points could be asked"}
    assert Engine(Config(store=str(host.store), root=str(host.root))).vms_held(inventory) is None


@pytest.mark.parametrize(("size", "fill", "more", "level", "says"), [
    (64, "1.00", (), "info", "my-vg/snap, which is read from"),
    (64, "90.00", (), "blocker", "it would overflow"),
    (4116, "99.00", (), "", "room for every block of its origin"),
    (64, "1.00", (thick("other", "repo", fill="50.00", size=12 * MIB),), "warning", "my-vg/other may overflow too")])
def test_a_thick_snapshot_is_not_overflowed(host: Snapshots, monkeypatch: pytest.MonkeyPatch, size: int, fill: str,
                                            more: tuple[Row, ...], level: str, says: str) -> None:
    """What LVM says of it now counts, and not what it said when the points were listed; others of the volume too."""
    listed, config_ = host.snapshot(), host.config
    host.spoil("a.img")
    monkeypatch.setattr("engine.vmpoints.copies.shares_into", lambda *_: False)
    monkeypatch.setattr(LvmBackend, "open", lambda _, __, job: BtrfsBackend(config_).open(listed, job))
    tools = Tools(Path(tempfile.mkdtemp(dir=host.place)))
    monkeypatch.setenv("PATH", f"{tools.place}:{os.environ['PATH']}")
    origin = row("repo", "owi-aos---", role="public,origin,thickorigin", minor=0, size=4 * GIB)

    def report(percent: str, *others: Row) -> None:
        tools.report(origin, thick("snap", "repo", size=size * MIB, fill=percent, tags=label("snap", "repo", b"")),
                     *others)

    report("0.01")
    (point,) = LvmBackend(Config(lvm=Lvm(("my-vg/repo",)))).points()
    report(fill, *more)
    plan = host.engine().vm_plan_disks(point, "web", Job())
    found = [f for f in plan.findings if "will be written" in f.text]
    assert plan.blocked == (level == "blocker") and bool(found) == bool(level)
    assert not level or any(f.level == level and says in f.text for f in found), found
    assert not any("safety point" in f.text or "--way native" in f.hint for f in found)
    assert level != "blocker" or all("`lvextend -L +" in f.hint for f in found)
