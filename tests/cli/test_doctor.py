"""`doctor` and `demo` on the fake engine."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.backend import Level
from engine.backends import Listing, State, Trouble
from engine.config import Config
from engine.errors import DamageError, RefusedError, UsageError
from engine.events import Job
from engine.points import RestorePoint
from tests.cli.conftest import Run, assert_printable
from tests.cli.fake_engine import World, point


@pytest.fixture
def healthy(world: World) -> World:
    """A store without anything to complain about."""
    world.points = [point(2, hours=1, newest=True), point(1, hours=30)]
    return world


def levels(run: Run) -> set[str]:
    return {check["level"] for check in run("doctor", "--json").document["checks"]}


def test_all_is_well(run: Run, healthy: World) -> None:
    ran = run("doctor")
    assert ran.code == 0 and ran.out.endswith("All is well.\n") and ran.err == ""
    assert "rsync 3." in ran.out and "tar" in ran.out and "1 hrs, 0 minutes ago" in ran.out
    assert levels(run) == {"info"}
    assert_printable(ran.out)


@pytest.mark.parametrize(("key", "value", "words"), [
    ("exists", False, "no store at"), ("read_only", True, "read-only"),
    ("store_bytes", 3 * 10**9, "exceeds its limit"),
    ("free_bytes", 1000, "little room"), ("unfinished", "snapshot", "unfinished: snapshot"),
    ("rollback", "half done", "rollback was interrupted: half done")])
def test_what_the_store_says(key: str, value: Any, words: str, run: Run, healthy: World) -> None:
    healthy.status = replace(healthy.status, **{key: value})
    ran = run("doctor")
    assert ran.code == 3 and words in ran.err and "All is well" not in ran.out
    assert "warning" in levels(run)


def test_what_snapshots_live_in_and_what_is_pending(run: Run, healthy: World) -> None:
    healthy.levels = [Level("lvm", "vg/pool", 40.0, "ok", "40 % of vg/pool"),
                      Level("zfs", "tank", 97.0, "full", "97 % of tank \x1b")]
    healthy.pending = ["a merge of vg/root waits"]
    ran = run("doctor")
    assert ran.code == 3 and "97 % of tank" in ran.err and "a merge of vg/root waits" in ran.err
    assert "ok: lvm: 40 % of vg/pool" in ran.out
    assert_printable(ran.out + ran.err)


def test_how_each_kind_of_storage_stands(run: Run, healthy: World) -> None:
    def snapshot(name: str, hours: float, **more: Any) -> RestorePoint:
        return replace(point(0, hours=hours), id=name, backend="zfs", **more)

    healthy.states = [State("zfs", True, tool="zfs-2.1.11"), State("lvm", False, "the kernel has no device mapper"),
                      State("btrfs", True, fault="btrfs cannot be started \x1b", hint="install btrfs-progs")]
    snapshots = (snapshot("z1", 50), snapshot("z2", 30, owner="sanoid"), snapshot("z3", 20, owner="unknown"),
                 snapshot("z4", 2, state="damaged", problems=("half of it is gone",)))
    healthy.storage = Listing(snapshots, (Trouble("btrfs", "no answer after 45 s", "look at the disk"),))
    ran = run("doctor")
    assert ran.code == 3
    assert ("ok: zfs: zfs-2.1.11; 4 snapshots, 1 of them sanoid's, 1 of them of unknown origin, the newest good one "
            "taken 0 days, 20 hrs") in ran.out
    assert "ok: lvm: the kernel has no device mapper" in ran.out
    assert "btrfs: snapshots can neither be taken nor removed: btrfs cannot be started" in ran.err
    assert "install btrfs-progs" in ran.err and "btrfs cannot be asked: no answer after 45 s" in ran.err
    assert "zfs: point z4 is damaged: half of it is gone" in ran.err
    assert_printable(ran.out + ran.err)


def test_without_a_store_the_rest_is_still_looked_at(run: Run, healthy: World) -> None:
    """Who takes snapshots of the storage alone never makes a store."""
    healthy.status = replace(healthy.status, exists=False)
    healthy.raises = UsageError("there is no store")
    healthy.states = [State("btrfs", True, tool="btrfs-progs v6.2")]
    ran = run("doctor")
    assert ran.code == 3 and "there is no store at" in ran.err
    assert "ok: btrfs: btrfs-progs v6.2; no snapshot is there" in ran.out


def test_old_and_missing_points(run: Run, healthy: World) -> None:
    healthy.points = [point(1, hours=24 * 9)]
    ran = run("doctor")
    assert ran.code == 3 and "the last good point was taken 9 days, 0 hrs" in ran.err


def test_damage_is_exit_7(run: Run, world: World) -> None:
    ran = run("doctor", "--json")
    assert ran.code == 7 and "damaged points: 2 (20240201-aa2)" in ran.err
    assert ran.document["error"]["exit_code"] == 7 and ran.document["checks"]


@pytest.mark.parametrize(("error", "code"), [(DamageError("no store"), 7), (RefusedError("newer format"), 5)])
def test_a_store_that_cannot_be_read(error: Exception, code: int, run: Run, healthy: World) -> None:
    healthy.raises = error
    assert run("doctor").code == code


def test_missing_and_old_tools(run: Run, healthy: World, tmp_path: Path,
                               monkeypatch: pytest.MonkeyPatch) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    monkeypatch.setattr("engine.run.environment", lambda: {"PATH": str(tools)})
    ran = run("doctor")
    assert ran.code == 3
    assert "rsync cannot be used" in ran.err and "install rsync" in ran.err and "zstd is missing" in ran.err
    script = "#!/bin/sh\necho 'rsync  version 3.1.3  protocol version 31'\necho 'no ACLs, xattrs'\n"
    (tools / "rsync").write_text(script)
    (tools / "rsync").chmod(0o755)
    ran = run("doctor")
    assert "rsync 3.1 is too old" in ran.err and "built without ACLs, hardlinks, xxh128" in ran.err


def test_demo_says_how_to_go_on(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def build(where: str, job: Job) -> Config:
        made.append(where)
        return Config(store=f"{where}/store", root=f"{where}/it's a root")

    monkeypatch.setattr("engine.demo.build", build)
    where = str(tmp_path / "demo")
    ran = run("demo", where, bare=True)         # no terminal: as with --no-app
    assert ran.code == 0 and made == [where]
    assert f"rollpoint list --store {where}/store --root '{where}/it'\"'\"'s a root'" in ran.out
    document = run("demo", "--no-app", "--json", where, bare=True).document
    assert document == {"dir": where, "store": f"{where}/store", "root": f"{where}/it's a root",
                        "warnings": []}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert run("demo", "--no-app", bare=True).code == 0
    assert made[-1] == os.path.join(tmp_path, "rollpoint-demo")
    assert run("demo", where).code == 2         # with --store and --root
