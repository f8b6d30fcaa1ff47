"""Bringing a vm.cfg and disks back, on real xfs, btrfs and ext4, with made-up answers of xl; killed at every step."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.config import Config
from engine.errors import ChangedError, DamageError, NoRoomError, RefusedError, UsageError
from engine.events import Job
from engine.points import RestorePoint
from engine.results import SnapshotRequest
from engine.service import Engine
from engine.vmpoints.backends import DiskCopies
from tests.engine.crashes import step_names
from tests.engine.harness import CHECKOUT
from tests.engine.loops import Loops
from tests.vm_trees import OTHER, REPO, config, dashed, image, repo_path

ZERO = {"domid": 0, "config": {"c_info": {"name": "Domain-0", "uuid": "00000000-0000-0000-0000-000000000000"}}}
WEB = f"0004fb0000060000{1:016x}"


class Host:
    """A server with VMs on a file system of its own, a store, and an `xl` that says what we want."""

    def __init__(self, place: Path, root: Path) -> None:
        self.place, self.root, self.store = place, root, place / "store"
        self.disks = repo_path(root) / "VirtualDisks"
        names = [image(root, name, size=8 << 20, data=1 << 20) for name in ("a.img", "b.img", "shared.img", "db.img")]
        self.vm_cfg = config(root, 1, OVM_simple_name="web", disk=[
            f"file:{names[0]},xvda,w", f"file:{names[1]},xvdb,w", f"file:{names[2]},xvdc,w!", "phy:/dev/zz,xvdd,w"])
        config(root, 2, OVM_simple_name="db", disk=[f"file:{names[3]},xvda,w", f"file:{names[2]},xvdb,w!"])
        (place / "bin").mkdir()
        self.runs()

    def runs(self, *names: str, fails: bool = False) -> None:
        """Let `xl` list these domains, or fail."""
        found = [ZERO, *({"domid": 5 + n, "config": {"c_info": {"name": name, "uuid": dashed(name)}}}
                         for n, name in enumerate(names))]
        (self.place / "bin/answer").write_text(json.dumps(found))
        tool = self.place / "bin/xl"
        tool.write_text(f"#!/bin/sh\n{'exit 1' if fails else f'exec cat {self.place}/bin/answer'}\n")
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
        (self.place / "bin/xm").write_text("#!/bin/sh\nexit 1\n")
        (self.place / "bin/xm").chmod(0o755)

    @property
    def config(self) -> Config:
        return Config(store=str(self.store), root=str(self.root))

    def engine(self) -> Engine:
        return Engine(self.config)

    def sums(self) -> dict[str, str]:
        """What every disk holds, by our own reading."""
        return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in self.disks.iterdir() if p.is_file()}

    def spoil(self, *names: str) -> None:
        """Write into disks as their VM would."""
        for name in names:
            with open(self.disks / name, "r+b") as file:
                file.seek(3 << 20)
                file.write(os.urandom(5000))

    def take(self, job: Job | None = None) -> RestorePoint:
        engine = self.engine()
        machine = engine.vms(Job()).machine("web")
        return engine.vm_take_disks(machine, SnapshotRequest("disks"), job or Job())

    def restore(self, point: RestorePoint, *devices: str, stopped: bool = False) -> tuple[bytes, ...]:
        engine = self.engine()
        plan = engine.vm_plan_disks(point, "web", Job(), devices=devices, stopped=stopped)
        return engine.vm_restore_disks(plan, Job()).aside


@pytest.fixture(params=["xfs", "btrfs", "ext4"])
def host(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    loops = Loops(tmp_path)
    try:
        kind = str(request.param)
        options = ("-m", "reflink=1") if kind == "xfs" else ()
        device = loops.make(kind, *options, mib=320 if kind == "xfs" else 200)
        yield Host(tmp_path, loops.mount(device, tmp_path / "root"))
    finally:
        loops.close()


@pytest.fixture
def plain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """The same on whatever the tests work on."""
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    (tmp_path / "root").mkdir()
    return Host(tmp_path, tmp_path / "root")


# --- disks -----------------------------------------------------------------------------------------------------------


@pytest.mark.root
def test_a_point_of_disks_brings_them_back_bit_by_bit(host: Host) -> None:
    before = host.sums()
    job = Job()
    point = host.take(job)
    assert job.warnings == ["not in the point: xvdd (/dev/zz): it does not exist"]
    assert point.backend == "vmdisks" and point.doc["running"] == "stopped" and point.state == "ok"
    ways = {disk["way"] for disk in json.loads((host.store / "vms/disks" / point.id / "disks.json").read_text())}
    kind = subprocess.run(["stat", "-fc", "%T", host.root], capture_output=True, text=True, check=True).stdout.strip()
    assert ways == ({"reflink"} if kind in ("xfs", "btrfs") else {"copy"})
    host.spoil("a.img", "b.img", "db.img")
    spoiled = host.sums()
    assert spoiled["a.img"] != before["a.img"]
    aside = host.restore(point)
    after = host.sums()
    assert (after["a.img"], after["b.img"]) == (before["a.img"], before["b.img"])
    assert after["db.img"] == spoiled["db.img"], "another VM's disk is untouched"
    assert after["shared.img"] == before["shared.img"]
    kept = {os.fsdecode(path).rpartition("/")[2] for path in aside}
    assert {after[name] for name in kept} == {spoiled["a.img"], spoiled["b.img"]}
    assert (host.disks / "a.img").stat().st_blocks * 512 < 4 << 20, "holes stay holes"
    assert not [p for p in host.disks.iterdir() if p.name.startswith(".rollpoint-staged")]


@pytest.mark.root
def test_an_opened_point_shows_the_disks_at_their_places(host: Host) -> None:
    before, point = host.sums(), host.take()
    host.spoil("a.img")
    with DiskCopies(host.config).open(point, Job()) as opened:
        where = Path(os.fsdecode(opened.path)) / f"OVS/Repositories/{REPO}/VirtualDisks"
        assert {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in where.iterdir()} == {
            name: before[name] for name in ("a.img", "b.img", "shared.img")}
        with pytest.raises(OSError, match="Read-only"), open(where / "a.img", "r+b"):
            pass


@pytest.mark.root
def test_a_running_vm_is_copied_only_of_one_moment(host: Host) -> None:
    """btrfs: out of a momentary snapshot. xfs and ext4 on a plain device can do that for no more than one file."""
    host.runs(WEB)
    kind = subprocess.run(["stat", "-fc", "%T", host.root], capture_output=True, text=True, check=True).stdout.strip()
    before = host.sums()
    if kind == "btrfs":
        point = host.take()
        assert point.doc["running"] == "running"
        host.spoil("a.img", "b.img")
        host.runs()
        host.restore(point)
        assert {n: host.sums()[n] for n in ("a.img", "b.img")} == {n: before[n] for n in ("a.img", "b.img")}
        left = subprocess.run(["btrfs", "subvolume", "list", host.root], capture_output=True, text=True, check=True)
        assert "momentary" not in left.stdout
        return
    with pytest.raises(RefusedError, match=r"the VM runs and its (disks lie in several|file system has no)"):
        host.take()
    assert host.engine().vm_disk_points() == [] and not (host.disks / ".rollpoint-disks").exists()
    disk = f"/OVS/Repositories/{REPO}/VirtualDisks/a.img"
    config(host.root, 1, OVM_simple_name="web", disk=[f"file:{disk},xvda,w"])
    if kind == "xfs":
        assert host.take().doc["running"] == "running", "one file is cloned at once"
    else:
        with pytest.raises(RefusedError, match="no reflinks"):
            host.take()


@pytest.mark.parametrize("state", ["running", "failing", "gone"])
def test_refused_unless_the_vm_is_stopped(plain: Host, state: str) -> None:
    point = plain.take()
    plain.spoil("a.img")
    spoiled = plain.sums()
    plain.runs(*([WEB] if state == "running" else []), fails=state == "failing")
    if state == "gone":
        (plain.place / "bin/answer").write_text("[]")
    plan = plain.engine().vm_plan_disks(point, "web", Job())
    assert plan.blocked and plan.running.state == ("running" if state == "running" else "unknown")
    with pytest.raises(RefusedError):
        plain.engine().vm_restore_disks(plan, Job())
    assert plain.sums() == spoiled
    if state == "running":
        with pytest.raises(RefusedError, match="web runs"):
            plain.restore(point, stopped=True)
    else:
        plain.restore(point, stopped=True)
        assert plain.sums()["a.img"] != spoiled["a.img"]


def test_a_vm_that_starts_after_the_plan_stops_it(plain: Host) -> None:
    point = plain.take()
    plain.spoil("a.img")
    plan, spoiled = plain.engine().vm_plan_disks(point, "web", Job()), plain.sums()
    plain.runs(WEB)
    with pytest.raises(RefusedError, match="web runs"):
        plain.engine().vm_restore_disks(plan, Job())
    plain.runs()
    plain.spoil("b.img")
    spoiled = plain.sums()
    with pytest.raises(ChangedError, match="have changed since"):
        plain.engine().vm_restore_disks(plan, Job())
    assert plain.sums() == spoiled


@pytest.mark.root
def test_a_disk_that_something_has_open_is_refused(plain: Host) -> None:
    point = plain.take()
    plain.spoil("a.img", "b.img")
    spoiled, loops = plain.sums(), Loops(plain.place)
    with open(plain.disks / "a.img", "rb"):
        with pytest.raises(RefusedError, match=rf"xvda is open in .* \(pid {os.getpid()}\)"):
            plain.restore(point, stopped=True)
    try:
        device = loops.attach(plain.disks / "b.img")
        with pytest.raises(RefusedError, match=f"xvdb is attached to {device}"):
            plain.restore(point)
    finally:
        loops.close()
    assert plain.sums() == spoiled
    plain.restore(point)
    assert plain.sums()["b.img"] != spoiled["b.img"]


def test_shared_disks_go_back_only_when_they_are_named(plain: Host) -> None:
    point, before = plain.take(), plain.sums()
    plain.spoil("a.img", "shared.img")
    plan = plain.engine().vm_plan_disks(point, "web", Job())
    assert [step.device for step in plan.steps] == ["xvda"] and any("belongs to db too" in text for text in plan.left)
    plan = plain.engine().vm_plan_disks(point, "web", Job(), devices=("xvdc",))
    assert plan.steps[0].users == ("db",) and not plan.blocked
    plain.runs(f"0004fb0000060000{2:016x}")
    plan = plain.engine().vm_plan_disks(point, "web", Job(), devices=("xvdc",))
    assert plan.blocked and "db runs" in plan.findings[0].text
    plain.runs()
    plain.restore(point, "xvdc")
    assert plain.sums()["shared.img"] == before["shared.img"] and plain.sums()["a.img"] != before["a.img"]
    for device, words in (("xvdz", "has no disk xvdz"),):
        with pytest.raises(UsageError, match=words):
            plain.engine().vm_plan_disks(point, "web", Job(), devices=(device,))
    plan = plain.engine().vm_plan_disks(point, "web", Job(), devices=("xvdd",))
    assert plan.blocked and "physical disk, not a file" in plan.findings[0].text


@pytest.mark.parametrize("older", [False, True])
def test_disks_come_back_from_a_replica_point(plain: Host, older: bool) -> None:
    """From the plain tree, and from what leads back to an older point."""
    before = plain.sums()
    point = plain.engine().snapshot(SnapshotRequest(), Job()).point
    plain.spoil("a.img")
    (plain.disks / "b.img").unlink()
    if older:
        plain.engine().snapshot(SnapshotRequest(), Job())
    aside = plain.restore(plain.engine().resolve(point.id))
    after = plain.sums()
    assert (after["a.img"], after["b.img"]) == (before["a.img"], before["b.img"]) and len(aside) == 1
    assert (plain.disks / "a.img").stat().st_blocks * 512 < 4 << 20


def test_a_replica_that_is_damaged_changes_nothing(plain: Host) -> None:
    point = plain.engine().snapshot(SnapshotRequest(), Job()).point
    inside = plain.store / "tree/OVS/Repositories" / REPO / "VirtualDisks/a.img"
    info = inside.stat()
    with open(inside, "r+b") as file:
        file.write(b"rotten")
    os.utime(inside, ns=(info.st_atime_ns, info.st_mtime_ns))
    plain.spoil("a.img")
    spoiled = plain.sums()
    with pytest.raises(DamageError, match=point.id):
        plain.restore(plain.engine().resolve(point.id))
    assert plain.sums() == spoiled and plain.engine().vm_interrupted() == ""


STEPS = ("vm-restore-begun", "vm-disk-staged", "vm-restore-swapping", "vm-disk-kept", "vm-disk-placed")


@pytest.mark.parametrize("where", STEPS)
def test_a_kill_is_undone_or_gone_on_with(plain: Host, where: str) -> None:
    point, before = plain.take(), plain.sums()
    plain.spoil("a.img", "b.img")
    spoiled = plain.sums()
    code = ("import sys\nfrom engine.service import Engine\nfrom engine.config import Config\n"
            "from engine.events import Job\n"
            f"e = Engine(Config(store={str(plain.store)!r}, root={str(plain.root)!r}))\n"
            "p = e.vm_disk_points()[0]\ne.vm_restore_disks(e.vm_plan_disks(p, 'web', Job()), Job())")
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=False,
                          env=os.environ | {"ROLLPOINT_KILL_AT": where, "PYTHONPATH": CHECKOUT})
    assert done.returncode == -signal.SIGKILL
    now = plain.sums()
    assert all(now[name] in (before[name], spoiled[name]) for name in ("a.img", "b.img")), "each is whole"
    engine = plain.engine()
    assert "was interrupted" in engine.vm_interrupted()
    undone = where in STEPS[:2]
    if not undone:
        plain.runs(WEB)
        with pytest.raises(RefusedError, match="half way"):
            engine.vm_settle(Job())
        plain.runs()
    assert ("undid" if undone else "finished") in engine.vm_settle(Job())
    expected = spoiled if undone else before
    assert {n: plain.sums()[n] for n in ("a.img", "b.img")} == {n: expected[n] for n in ("a.img", "b.img")}
    assert engine.vm_interrupted() == "" and engine.vm_settle(Job()) == ""
    assert not [p for p in plain.disks.iterdir() if p.name.startswith(".rollpoint-staged")]
    kept = [p.name for p in plain.disks.iterdir() if ".img.rollpoint-" in p.name]
    assert len(kept) == (0 if undone else 2)
    assert {plain.sums()[name] for name in kept} <= {spoiled["a.img"], spoiled["b.img"]}
    assert point.id == engine.vm_disk_points()[0].id


def test_what_a_killed_copy_left_is_removed(plain: Host) -> None:
    code = ("from engine.service import Engine\nfrom engine.config import Config\nfrom engine.events import Job\n"
            "from engine.results import SnapshotRequest\n"
            f"e = Engine(Config(store={str(plain.store)!r}, root={str(plain.root)!r}))\n"
            "e.vm_take_disks(e.vms(Job()).machine('web'), SnapshotRequest(), Job())")
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=False,
                          env=os.environ | {"ROLLPOINT_KILL_AT": "vm-disk-copied", "PYTHONPATH": CHECKOUT})
    assert done.returncode == -signal.SIGKILL and plain.engine().vm_disk_points() == []
    (left,) = (plain.disks / ".rollpoint-disks").glob("*/*")
    other = plain.disks / ".rollpoint-disks/another-store/2026-01-01_00-00-00-vmdisks"
    other.mkdir(parents=True)
    job = Job()
    plain.take(job)
    assert any(left.name in warning and "removed" in warning for warning in job.warnings)
    assert other.exists() and len(list((plain.disks / ".rollpoint-disks").glob("*/*"))) == 2
    plain.take(job)
    assert [p.state for p in plain.engine().vm_disk_points()] == ["ok", "ok"] and len(job.warnings) == 3
    assert not list(plain.disks.rglob(".unfinished"))


def test_copies_are_neither_taken_nor_rolled_back_and_go_with_their_point(plain: Host) -> None:
    point = plain.take()
    copies = list((plain.disks / ".rollpoint-disks").glob("*/*/*.img"))
    assert len(copies) == 3
    replica = plain.engine().snapshot(SnapshotRequest(), Job()).point
    assert not list((plain.store / "tree").rglob("*rollpoint-disks*"))
    plan = plain.engine().plan(replica, ["system"], Job())
    assert not [c for c in plan.diff.changes if b"rollpoint-disks" in c.path]
    assert plain.engine().vm_disk_points()[0].own_bytes == sum(p.stat().st_blocks * 512 for p in (
        *copies, *(plain.store / "vms/disks" / point.id).iterdir()))
    copies[0].unlink()
    shown = plain.engine().vm_disk_points()[0]
    assert shown.state == "damaged" and "xvd" in shown.problems[0]
    done = plain.engine().vm_delete([shown], Job())
    assert done.removed == (point.id,) and plain.engine().vm_disk_points() == []
    assert not (plain.disks / ".rollpoint-disks").exists()


@pytest.mark.root
def test_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    loops = Loops(tmp_path)
    try:
        one = Host(tmp_path, loops.mount(loops.make("ext4", mib=24), tmp_path / "root"))
        with open(one.disks / "a.img", "r+b") as file:
            file.write(os.urandom(8 << 20))
        with pytest.raises(NoRoomError, match="more are needed beside"):
            one.take()
        assert not (one.disks / ".rollpoint-disks").exists() and one.engine().vm_disk_points() == []
    finally:
        loops.close()


# --- vm.cfg ----------------------------------------------------------------------------------------------------------


def brought(host: Host, point: RestorePoint, spec: str = "web", *, stopped: bool = False) -> bytes:
    engine = host.engine()
    return engine.vm_bring_back_config(engine.vm_plan_config(point, spec, Job(), stopped=stopped), Job()).aside


def test_a_vm_cfg_comes_back_and_the_old_one_stays(plain: Host) -> None:
    os.chmod(plain.vm_cfg, 0o640)
    os.utime(plain.vm_cfg, ns=(5, 5))
    point, before = plain.engine().vm_take(SnapshotRequest(), Job()), plain.vm_cfg.read_bytes()
    plan = plain.engine().vm_plan_config(point, "web", Job())
    assert plan.same and plan.changes == () and brought(plain, point) == b""
    plain.vm_cfg.write_bytes(before.replace(b"memory = 1024", b"memory = 8192"))
    os.chmod(plain.vm_cfg, 0o600)
    edited = plain.vm_cfg.read_bytes()
    plan = plain.engine().vm_plan_config(point, "web", Job())
    assert plan.changes == ("web: memory 8192 MiB -> 1024 MiB",) and not plan.blocked
    aside = plain.root / os.fsdecode(brought(plain, point))
    assert plain.vm_cfg.read_bytes() == before and aside.read_bytes() == edited and aside.parent == plain.vm_cfg.parent
    info = plain.vm_cfg.stat()
    assert (stat.S_IMODE(info.st_mode), info.st_mtime_ns) == (0o640, 5) and stat.S_IMODE(aside.stat().st_mode) == 0o600
    plain.vm_cfg.unlink()
    aside.unlink()
    plain.vm_cfg.parent.rmdir()
    assert brought(plain, point) == b"" and plain.vm_cfg.read_bytes() == before
    assert sorted(p.name for p in plain.vm_cfg.parent.iterdir()) == ["vm.cfg"]


def test_a_vm_cfg_is_refused_where_there_would_be_two_or_it_runs(plain: Host) -> None:
    point = plain.engine().vm_take(SnapshotRequest(), Job())
    plain.vm_cfg.write_text(plain.vm_cfg.read_text() + "# edited\n")
    edited = plain.vm_cfg.read_bytes()
    plain.runs(WEB)
    with pytest.raises(RefusedError, match="web runs"):
        brought(plain, point, stopped=True)
    plain.runs(fails=True)
    with pytest.raises(RefusedError, match="not known"):
        brought(plain, point)
    plain.runs()
    twin = config(plain.root, 1, repository=OTHER, OVM_simple_name="moved")
    with pytest.raises(RefusedError, match="has the same uuid"):
        brought(plain, point, f"/OVS/Repositories/{REPO}/VirtualMachines/{WEB}/vm.cfg")
    twin.unlink()
    plan = plain.engine().vm_plan_config(point, "web", Job())
    plain.vm_cfg.write_bytes(edited + b"# again\n")
    with pytest.raises(ChangedError):
        plain.engine().vm_bring_back_config(plan, Job())
    assert plain.vm_cfg.read_bytes() == edited + b"# again\n"


@pytest.mark.parametrize("where", ["vm-config-written", "vm-config-kept"])
def test_a_kill_leaves_a_whole_vm_cfg(plain: Host, where: str) -> None:
    point, before = plain.engine().vm_take(SnapshotRequest(), Job()), plain.vm_cfg.read_bytes()
    plain.vm_cfg.write_bytes(edited := before + b"# edited\n")
    code = ("from engine.service import Engine\nfrom engine.config import Config\nfrom engine.events import Job\n"
            f"e = Engine(Config(store={str(plain.store)!r}, root={str(plain.root)!r}))\n"
            "e.vm_bring_back_config(e.vm_plan_config(e.vm_points()[0], 'web', Job()), Job())")
    done = subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=False,
                          env=os.environ | {"ROLLPOINT_KILL_AT": where, "PYTHONPATH": CHECKOUT})
    assert done.returncode == -signal.SIGKILL and plain.vm_cfg.read_bytes() == edited
    brought(plain, point)
    assert plain.vm_cfg.read_bytes() == before
    assert not [p for p in plain.vm_cfg.parent.iterdir() if p.name.startswith(".")]


def test_a_link_that_leads_out_of_the_repository_is_not_followed(plain: Host) -> None:
    point = plain.engine().vm_take(SnapshotRequest(), Job())
    elsewhere = plain.root / "etc"
    elsewhere.mkdir()
    (elsewhere / "shadow").write_text("root:x\n")
    plain.vm_cfg.unlink()
    plain.vm_cfg.symlink_to("/etc/shadow")
    with pytest.raises(RefusedError, match="out of the repositories"):
        brought(plain, point)
    assert (elsewhere / "shadow").read_text() == "root:x\n"


def test_every_step_about_virtual_machines_is_killed_at_somewhere() -> None:
    """The parametrized tests here and in test_vm_points.py name them."""
    here = {*STEPS, "vm-disk-copied", "vm-config-written", "vm-config-kept"}
    assert set(step_names(of_vms=True)) == here | {"vms-written", "vms-visible", "vms-hidden"}
