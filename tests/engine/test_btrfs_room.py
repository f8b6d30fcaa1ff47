"""What deleting snapshots of a btrfs frees, said beforehand: never more than it then does, and counted as btrfs(8)
counts it."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from engine.config import Retention
from engine.events import Job
from engine.points import RestorePoint
from engine.volumes import btrfsroom
from tests.engine.btrfs_machine import BtrfsMachine
from tests.engine.loops import loops, run

pytestmark = pytest.mark.root
KIB, MIB = 1 << 10, 1 << 20


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[BtrfsMachine]:
    with loops(tmp_path) as made:
        yield BtrfsMachine(made, tmp_path)


def noise(machine: BtrfsMachine, name: str, size: int, seed: int) -> Path:
    """Write a file of its own content."""
    path = machine.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(random.Random(seed).randbytes(size))
    return path


def snapshots(machine: BtrfsMachine, points: Sequence[RestorePoint]) -> list[str]:
    return [str(machine.top / part.snapshot) for point in points for part in point.parts]


def by_tool(paths: Sequence[str]) -> int:
    """Return the sum of what `btrfs filesystem du` calls exclusive."""
    lines = run("btrfs", "filesystem", "du", "-s", "--raw", *paths).splitlines()[1:]
    return sum(int(line.split()[1]) for line in lines)


def used(machine: BtrfsMachine) -> int:
    """Return the bytes in use once all that was deleted is cleaned up."""
    run("btrfs", "subvolume", "sync", str(machine.top))
    run("btrfs", "filesystem", "sync", str(machine.top))
    return sum(int(line.partition("used=")[2]) for line in run(
        "btrfs", "filesystem", "df", "-b", str(machine.top)).splitlines() if line.startswith(("Data", "Metadata")))


def changed_twice(machine: BtrfsMachine) -> list[RestorePoint]:
    """Three points: a file of 3 MiB is in the first alone, one of 5 MiB in the first two, the rest in the live tree."""
    stays = noise(machine, "srv/stays", 2 * MIB, 1)
    noise(machine, "srv/first", 3 * MIB, 2)
    noise(machine, "home/two", 5 * MIB, 3)
    (machine.root / "srv/small").write_text("within the metadata")
    os.link(stays, machine.root / "srv/link")
    points = [machine.take()]
    (machine.root / "srv/first").unlink()
    points.append(machine.take())
    (machine.root / "home/two").unlink()
    return [*points, machine.take()]


def test_what_one_and_several_snapshots_free_at_least(machine: BtrfsMachine) -> None:
    points = changed_twice(machine)
    backend = machine.backend()
    one = backend.losses(points[:1])
    assert (one.freed, one.least) == (3 * MIB, True)
    assert one.freed == by_tool(snapshots(machine, points[:1]))
    both = backend.losses(points[:2])
    # The 5 MiB are in both and nowhere else: each by itself shares them, so nobody has counted them.
    assert (both.freed, both.least) == (by_tool(snapshots(machine, points[:2])), True)
    assert backend.losses(points[2:]).freed == by_tool(snapshots(machine, points[2:])) == 0
    for some, said in ((points[:1], 3 * MIB), (points[1:2], 5 * MIB)):
        before, freed = used(machine), backend.losses(some).freed
        assert freed == said
        assert backend.delete(some, Job()).failed == ()
        assert before - used(machine) >= said


def test_a_file_that_has_its_content_twice_frees_it_once(machine: BtrfsMachine) -> None:
    path = noise(machine, "srv/file", MIB, 1)
    run("btrfs", "filesystem", "sync", str(machine.top))
    run("xfs_io", "-f", "-c", f"reflink {path} 0 {MIB} {MIB}", str(path))
    os.link(path, machine.root / "srv/link")
    point = machine.take()
    path.unlink()
    (machine.root / "srv/link").unlink()
    freed = machine.backend().losses([point]).freed
    before = used(machine)
    machine.backend().delete([point], Job())
    assert freed is not None and freed <= before - used(machine)


def test_compressed_files_are_named_and_not_counted(machine: BtrfsMachine) -> None:
    run("btrfs", "property", "set", str(machine.root), "compression", "zstd")
    (machine.root / "srv").mkdir()
    run("btrfs", "property", "set", str(machine.root / "srv"), "compression", "zstd")
    (machine.root / "srv/text").write_text("the same line again\n" * 200_000)
    point = machine.take()
    (machine.root / "srv/text").unlink()
    losses = machine.backend().losses([point])
    assert (losses.freed, losses.least) == (0, True)
    assert any("compressed" in f.text and "3.8 MiB" in f.text for f in losses.findings)


def test_time_that_runs_out_leaves_a_lower_bound(machine: BtrfsMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    points = changed_twice(machine)
    assert not btrfsroom.alone([os.fsencode(p) for p in snapshots(machine, points[:1])], -1.0).whole
    monkeypatch.setattr(btrfsroom, "SECONDS", -1.0)
    losses = machine.backend().losses(points[:1])
    assert losses.freed is None and any("quota" in f.text for f in losses.findings)


def test_with_quota_groups_sizes_are_counted_and_rules_use_them(machine: BtrfsMachine) -> None:
    changed_twice(machine)
    assert {point.own_bytes for point in machine.backend().points()} == {None}
    run("btrfs", "quota", "enable", str(machine.top))
    run("btrfs", "quota", "rescan", "-w", str(machine.top))
    run("btrfs", "filesystem", "sync", str(machine.top))
    groups = {line.split()[0]: int(line.split()[2]) for line in run(
        "btrfs", "qgroup", "show", "--raw", str(machine.top)).splitlines() if line.startswith("0/")}
    points = sorted(machine.backend().points(), key=lambda p: p.created)
    for point in points:
        assert point.own_bytes == sum(groups[f"0/{part.facts['id']}"] for part in point.parts)
        losses = machine.backend().losses([point])
        assert (losses.freed, losses.least) == (point.own_bytes, len(point.parts) > 1)
    assert (points[0].own_bytes or 0) >= 3 * MIB
    engine = machine.engine()
    rules = Retention(min_keep=1, min_age=0, max_store_ratio=1.1)
    fates = {f.point.id: f for f in engine.storage.fates(points, rules)}
    assert [fates[p.id].keep for p in points] == [False, True, True], fates
    assert "1.1 x" in fates[points[0].id].rule
