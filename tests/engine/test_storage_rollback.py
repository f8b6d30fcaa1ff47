"""Going back to points that the storage keeps, on a real btrfs: by content, in part, forward again, undone, killed and
resumed; and what else needs them mounted. What must come out was recorded by the tests before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.configsections import Btrfs
from engine.errors import RefusedError, RollpointError, UsageError
from engine.events import Job
from engine.machine.mounts import mounts
from engine.points import RestorePoint
from engine.results import Finding, RollbackResult, SnapshotRequest
from engine.service import Engine
from tests.engine.btrfs_machine import SECOND, BtrfsMachine, first_state, must_be, second_state, seen, state
from tests.engine.harness import CHECKOUT, child_env
from tests.engine.loops import loops
from tests.oracle import must_equal, record

pytestmark = pytest.mark.root


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[BtrfsMachine]:
    with loops(tmp_path) as made:
        yield BtrfsMachine(made, tmp_path)


# --- going back ------------------------------------------------------------------------------------------------------


def roll(machine: BtrfsMachine, point: RestorePoint, *scope: str, warnings: int = 0) -> RollbackResult:
    engine, job = machine.engine(), Job()
    result = engine.rollback(engine.plan(point, scope or ("system",), job), job)
    assert len(job.warnings) == warnings, job.warnings
    assert result.verified and result.differences == ()
    return result


def test_rolling_back_by_content_forward_again_and_undoing_it(machine: BtrfsMachine) -> None:
    first_state(machine)
    then = state(machine)
    first = machine.take("first")
    second_state(machine)
    later = state(machine)
    second = machine.take("second")
    plan = machine.engine().plan(first, ["system"], Job())
    assert {path for _, path in seen(plan.diff)} >= {p for _, p in SECOND}
    assert [p.id for p in plan.newer] == [second.id]
    assert not plan.blocked
    assert any(f.level == "info" and "/nested" in f.text for f in plan.findings)
    machine.write("home/after", "only the safety point has this")
    before = state(machine)
    result = roll(machine, first)
    assert result.safety_point is not None and result.safety_point.backend == "btrfs"
    must_be(machine, {**then, "nested": later["nested"]})
    undone = machine.engine().undo(Job())
    assert undone.verified
    must_be(machine, before)
    roll(machine, second)
    must_be(machine, later)
    assert machine.engine().status().rollback == ""
    roll(machine, first)
    must_be(machine, {**then, "nested": later["nested"]})


def test_only_what_was_chosen_is_rolled_back(machine: BtrfsMachine) -> None:
    first_state(machine)
    then = state(machine)
    first = machine.take()
    second_state(machine)
    later = state(machine)
    roll(machine, first, "fs=/home")
    must_be(machine, {**later, "home": then["home"]})
    roll(machine, first, "path=/srv")
    must_be(machine, {**later, "home": then["home"], "srv": then["srv"]})
    second_state(machine)
    again = state(machine)
    roll(machine, first, "fs=/")
    must_be(machine, {**then, "home": again["home"], "nested": again["nested"]})
    assert (machine.root / "home/user/new/deep").exists()


def test_a_point_of_home_alone_touches_nothing_else(machine: BtrfsMachine) -> None:
    first_state(machine)
    then = state(machine)
    only = replace(machine.config, btrfs=Btrfs(subvolumes=(str(machine.root / "home"),)))
    engine = Engine(only)
    point = engine.snapshot(SnapshotRequest(), Job(), "btrfs").point
    second_state(machine)
    later = state(machine)
    plan = engine.plan(point, ["system"], Job())
    assert {p.split(b"/")[0] for _, p in seen(plan.diff)} == {b"home"}
    assert engine.rollback(plan, Job()).verified
    must_be(machine, {**later, "home": then["home"]})
    blocked = engine.plan(point, ["path=/etc"], Job())
    assert blocked.blocked and any("no part of the point" in f.text for f in blocked.findings)


def test_excluded_paths_and_databases_stay(machine: BtrfsMachine) -> None:
    first_state(machine)
    point = machine.take()
    second_state(machine)
    machine.write("srv/keep.pid", "stays")
    machine.write("home/db/table", "stays")
    engine = Engine(replace(machine.config, excludes=("*.pid",), databases=("/home/db",)))
    plan = engine.plan(point, ["system"], Job())
    assert not {b"srv/keep.pid", b"home/db", b"home/db/table"} & {c.path for c in plan.diff.changes}
    assert engine.rollback(plan, Job()).verified
    assert (machine.root / "srv/keep.pid").read_text() == "stays"
    assert (machine.root / "home/db/table").read_text() == "stays"


def test_the_storage_is_told_how_much_a_rollback_writes_where(
        machine: BtrfsMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole files in whole blocks, a hard-linked one once, of a large one no holes; what goes, and what only gets other
    attributes, is next to nothing."""
    first_state(machine)
    machine.write("home/large", "x" * 3_000_000)
    os.link(machine.root / "home/large", machine.root / "home/same")
    with open(machine.root / "srv/sparse", "wb") as file:
        file.truncate(100 << 20)
        file.write(b"x" * 10_000)
    point = machine.take()
    for name in ("home/large", "home/same", "srv/sparse"):
        (machine.root / name).unlink()
    machine.write("srv/more", "m" * 9_000_000)
    os.chmod(machine.root / "home/user/gone", 0o600)
    told: list[dict[bytes, int]] = []

    def strain(_: object, point: RestorePoint, written: dict[bytes, int]) -> list[Finding]:
        told.append(written)
        return [Finding("blocker", f"{point.id} would overflow", "make it larger")]

    monkeypatch.setattr("engine.volumes.btrfs.BtrfsBackend.strain", strain)
    engine = machine.engine()
    plan = engine.plan(point, ["system"], Job())
    assert plan.blocked and [f.text for f in plan.findings if f.level == "blocker"] == [f"{point.id} would overflow"]
    with pytest.raises(RefusedError, match="would overflow"):
        engine.rollback(plan, Job())
    assert not (machine.root / "home/large").exists()
    [written] = told
    assert set(written) == {b"", b"home"}
    assert 3_000_000 < written[b"home"] < 3_020_000 and 10_000 < written[b""] < 40_000, written
    engine.plan(point, ["fs=/"], Job())
    assert told[1] == {b"": written[b""], b"home": 0}


def test_where_no_snapshot_can_be_taken_the_replica_keeps_the_present_state(
        machine: BtrfsMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    first_state(machine)
    then = state(machine)
    point = machine.take()
    second_state(machine)
    later = state(machine)

    def take(*_: object) -> RestorePoint:
        raise RollpointError("the file system is full")

    monkeypatch.setattr("engine.volumes.btrfs.BtrfsBackend.take", take)
    result = roll(machine, point, warnings=1)
    assert result.safety_point is not None and result.safety_point.backend == "replica"
    must_be(machine, {**then, "nested": later["nested"]})
    assert machine.engine().undo(Job()).verified
    must_be(machine, later)


def test_a_volume_that_is_not_mounted_any_more_makes_the_plan_stale(machine: BtrfsMachine) -> None:
    first_state(machine)
    point = machine.take()
    second_state(machine)
    engine = machine.engine()
    plan = engine.plan(point, ["system"], Job())
    (machine.root / "home/user/busy").write_text("x")
    machine.loops.umount(machine.root / "home")
    with pytest.raises(RollpointError):
        engine.rollback(plan, Job())
    assert (machine.root / "etc/conf").read_text() == "second, longer"


@pytest.mark.parametrize("where", ["rollback-begun", "rollback-opened", "rollback-copied", "rollback-verified"])
def test_a_rollback_that_is_killed_is_resumed_or_undone(machine: BtrfsMachine, where: str) -> None:
    first_state(machine)
    then = state(machine)
    point = machine.take()
    second_state(machine)
    later = state(machine)
    config = machine.place / "config.yaml"
    config.write_text("excludes: []\nretention: {max_store_ratio: null}\nbtrfs:\n  subvolumes: "
                      f"[{machine.root}, {machine.root}/home]\n")
    config.chmod(0o644)
    argv = [sys.executable, "-m", "tui.cli", "--config", str(config), "--store", machine.config.store, "--root",
            str(machine.root), "rollback", point.id, "--yes"]
    ended = subprocess.run(argv, cwd=CHECKOUT, env=child_env({"ROLLPOINT_KILL_AT": where}), capture_output=True,
                           text=True, timeout=300)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    engine = machine.engine()
    assert point.id in engine.status().rollback
    with pytest.raises(RefusedError, match="interrupted"):
        engine.delete([point], Job())
    if where == "rollback-copied":
        assert engine.undo(Job()).verified
        must_be(machine, later)
    else:
        assert engine.resume(Job()).verified
        must_be(machine, {**then, "nested": later["nested"]})
    assert engine.status().rollback == ""
    assert not [m for m in mounts() if m.point.startswith(b"/run/rollpoint")]


def test_kernels_whose_modules_the_point_does_not_hold_are_named(machine: BtrfsMachine) -> None:
    machine.write("usr/lib/modules/6.1/modules.dep", "x")
    (machine.root / "boot").mkdir()
    point = machine.take()
    machine.loops.mount(machine.loops.make("ext4"), machine.root / "boot")
    machine.write("boot/vmlinuz-6.1", "kernel")
    machine.write("boot/vmlinuz-6.2", "kernel")
    machine.write("usr/lib/modules/6.2/modules.dep", "x")
    engine = machine.engine()
    plan = engine.plan(point, ["system"], Job())
    assert [f.level for f in plan.findings if "6.2" in f.text and "6.1" not in f.text] == ["warning"]
    assert not {b"boot/vmlinuz-6.1"} & {c.path for c in plan.diff.changes}
    (machine.root / "boot/vmlinuz-6.1").unlink()
    assert engine.plan(point, ["system"], Job()).blocked
    assert not engine.plan(point, ["fs=/home"], Job()).blocked


def test_native_is_planned_and_done_through_the_engine(machine: BtrfsMachine) -> None:
    first_state(machine)
    point = machine.take()
    engine = machine.engine()
    plan = engine.storage.native_plan(point)
    assert plan.commands and plan.goes
    engine.storage.set_back(plan, Job())
    levels, pending, troubles = engine.storage.levels()
    assert [level.backend for level in levels] == ["btrfs"] and len(pending) == 2 and troubles == []


def test_a_point_is_mounted_for_everybody_until_it_is_unmounted(machine: BtrfsMachine) -> None:
    first_state(machine)
    then = state(machine)
    point = machine.take()
    second_state(machine)
    engine, where = machine.engine(), machine.place / "shown"
    where.mkdir()
    engine.mount(point, str(where), Job())
    for place in ("etc", "home", "srv"):
        must_equal(then[place], record(str(where / place)), place)  # type: ignore[arg-type]
    with pytest.raises(OSError, match="Read-only"):
        (where / "home/new").write_text("x")
    assert machine.backend().losses([point]).blocked, "what is mounted is not deleted"
    with pytest.raises(UsageError, match="no empty directory"):
        engine.mount(point, str(where), Job())
    with open(where / "etc/conf"), pytest.raises(RollpointError, match="cannot be unmounted"):
        engine.umount(str(where))
    engine.umount(str(where))
    assert os.listdir(where) == [] and not machine.backend().losses([point]).blocked
    with pytest.raises(RollpointError):
        engine.umount(str(where))


def test_a_replica_of_the_top_of_the_file_system_leaves_our_points_on_it_alone(machine: BtrfsMachine) -> None:
    first_state(machine)
    engine = Engine(replace(machine.config, root=str(machine.top), btrfs=Btrfs(subvolumes=(str(machine.top),))))
    before = engine.snapshot(SnapshotRequest(), Job()).point
    point = engine.snapshot(SnapshotRequest(), Job(), "btrfs").point
    assert point.parts[0].place == b""
    kept = engine.snapshot(SnapshotRequest(), Job()).point
    assert ".rollpoint" not in os.listdir(Path(machine.config.store) / "tree")
    (machine.top / "loose").write_text("x")
    assert {c.path for c in engine.diff(point, None).changes} == {b"loose", b""}
    for target in (kept, before, point):
        (machine.top / "loose").write_text("x")
        plan = engine.plan(target, ["files" if target is not point else "system"], Job())
        assert not any(b".rollpoint" in c.path for c in plan.diff.changes)
        assert engine.rollback(plan, Job()).verified
        assert not (machine.top / "loose").exists()
    assert point.id in [p.id for p in engine.listing("btrfs").points]
