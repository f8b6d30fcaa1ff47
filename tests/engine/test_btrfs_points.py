"""Points that btrfs makes, on a real one: taken, listed, opened, annotated and deleted; those of snapper and Timeshift
too. What must be there was written by the tests themselves, or comes from btrfs(8)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.config import Config
from engine.configsections import Btrfs
from engine.errors import BusyError, RefusedError, RollpointError, UsageError
from engine.events import Job
from engine.machine.mounts import mounts
from engine.points import RestorePoint
from engine.results import SnapshotRequest
from engine.volumes import btrfs, btrfstree
from engine.volumes.btrfs import BtrfsBackend
from engine.volumes.btrfsplaces import Tops
from tests.engine.btrfs_machine import BtrfsMachine
from tests.engine.loops import loops, run
from tests.oracle import must_equal, record

pytestmark = pytest.mark.root


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[BtrfsMachine]:
    with loops(tmp_path) as made:
        yield BtrfsMachine(made, tmp_path)


def listed(machine: BtrfsMachine) -> dict[str, RestorePoint]:
    return {point.id: point for point in machine.backend().points()}


def subvolumes(machine: BtrfsMachine) -> list[str]:
    """Return the paths of all subvolumes, as btrfs(8) lists them."""
    lines = run("btrfs", "subvolume", "list", str(machine.top)).splitlines()
    return sorted(line.partition(" path ")[2] for line in lines)


def test_three_points_around_changes_open_as_what_was_there(machine: BtrfsMachine) -> None:
    taken = []
    for number in range(3):
        machine.write("etc/conf", f"number {number}\n" * 50)
        machine.write(f"home/user/file{number}", "x" * number)
        os.link(machine.root / "etc/conf", machine.root / f"etc/link{number}")
        os.setxattr(machine.root / "etc/conf", b"user.n", str(number).encode())
        if number == 2:
            (machine.root / "home/user/file0").unlink()
        then = {place: record(str(machine.root / place)) for place in ("etc", "home")}
        taken.append((machine.take(f"number {number}"), then))
    machine.write("etc/conf", "later")
    before = mounts()
    points = listed(machine)
    assert [p.comment for p in sorted(points.values(), key=lambda p: p.created)] == ["number 0", "number 1", "number 2"]
    for point, then in taken:
        assert points[point.id] == point
        with machine.backend().open(point, Job()) as opened:
            assert opened.places == (b"", b"home")
            for place, rows in then.items():
                must_equal(rows, record(os.fsdecode(opened.path) + f"/{place}"), point.id)
            with pytest.raises(OSError, match="Read-only"):
                open(opened.path + b"/home/new", "wb").close()
    assert mounts() == before


def test_a_point_says_what_it_is_of(machine: BtrfsMachine) -> None:
    before = datetime.now(UTC)
    request = SnapshotRequest("before the upgrade", ("a", "b"), pin=True)
    point = machine.backend().take(request, Job())
    assert (point.backend, point.number, point.owner, point.state) == ("btrfs", 0, "", "ok")
    assert (point.comment, point.tags, point.pinned) == ("before the upgrade", ("a", "b"), True)
    assert before <= point.created <= datetime.now(UTC)
    assert [(p.volume, p.place) for p in point.parts] == [(str(machine.root), b""), (f"{machine.root}/home", b"home")]
    shown = run("btrfs", "subvolume", "show", str(machine.top / point.parts[0].snapshot))
    assert str(point.parts[0].facts["uuid"]) in shown and "readonly" in shown
    assert str(point.parts[0].facts["id"]) in shown


def test_two_points_of_one_second_have_different_ids(machine: BtrfsMachine) -> None:
    when = datetime(2024, 3, 10, 12, 0, 0, tzinfo=UTC)
    ids = [machine.backend().take(SnapshotRequest(when=when), Job()).id for _ in range(2)]
    assert ids == ["2024-03-10_12-00-00-btrfs", "2024-03-10_12-00-00-btrfs-2"]
    assert set(listed(machine)) == set(ids)


def test_comment_and_pin_are_kept_with_the_point(machine: BtrfsMachine) -> None:
    point = machine.take("first")
    changed = machine.backend().annotate(point, comment="tschüß \x1b\n", pinned=True)
    assert (changed.comment, changed.pinned) == ("tschüß \x1b\n", True)
    assert machine.backend().annotate(changed, pinned=False).pinned is False
    again = listed(machine)[point.id]
    assert (again.comment, again.created, again.parts) == ("tschüß \x1b\n", point.created, point.parts)


def test_deleting_removes_just_that_point(machine: BtrfsMachine) -> None:
    points = [machine.take(str(n)) for n in range(3)]
    assert not machine.backend().losses(points[:1]).blocked
    result = machine.backend().delete([points[1]], Job())
    assert (result.removed, result.failed) == ((points[1].id,), ())
    assert set(listed(machine)) == {points[0].id, points[2].id}
    assert subvolumes(machine) == sorted(
        ["@", "@home", "@/nested", *(f".rollpoint/{p.id}/{part}" for p in (points[0], points[2])
                                     for part in ("root", "home"))])
    assert machine.of_rollpoint() == sorted(p.id for p in (points[0], points[2]))


def test_a_snapshot_that_is_mounted_or_holds_others_is_not_deleted(machine: BtrfsMachine) -> None:
    first, second = machine.take(), machine.take()
    machine.loops.mount(machine.device, machine.place / "seen", "-o", f"ro,subvol={first.parts[0].snapshot}")
    run("btrfs", "property", "set", str(machine.top / second.parts[1].snapshot), "ro", "false")
    run("btrfs", "subvolume", "create", str(machine.top / second.parts[1].snapshot / "inner"))
    losses = machine.backend().losses([first, second])
    assert losses.blocked
    assert any(str(machine.place / "seen") in f.text for f in losses.findings)
    assert any("inner" in f.text for f in losses.findings)
    job = Job()
    result = machine.backend().delete([first, second], job)
    assert result.removed == () and [i for i, _ in result.failed] == [first.id, second.id]
    assert len(job.warnings) == 2
    assert {p.state for p in listed(machine).values()} == {"ok"}


def test_what_fails_half_way_is_taken_back(machine: BtrfsMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second snapshot cannot be made: the tool ends with an error."""
    fake = machine.place / "bin"
    fake.mkdir()
    script = fake / "btrfs"
    script.write_text('#!/bin/sh\ncase "$*" in *snapshot*@home*) echo "ERROR: no way" >&2; exit 1;; esac\n'
                      'PATH=$REAL exec btrfs "$@"\n'.replace("$REAL", os.environ["PATH"]))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake}:{os.environ['PATH']}")
    with pytest.raises(RollpointError, match="no way"):
        machine.backend().take(SnapshotRequest(), Job())
    assert machine.of_rollpoint() == [] and listed(machine) == {}
    assert subvolumes(machine) == ["@", "@/nested", "@home"]


def test_what_a_crash_left_is_never_listed_and_goes_with_the_next_point(machine: BtrfsMachine) -> None:
    point = machine.take()
    os.rename(machine.top / ".rollpoint" / point.id, machine.top / f".rollpoint/.{point.id}.unfinished")
    assert listed(machine) == {}
    job = Job()
    taken = machine.backend().take(SnapshotRequest(), job)
    assert machine.of_rollpoint() == [taken.id]
    assert len(job.warnings) == 1 and "interrupted" in job.warnings[0]


def test_a_point_with_a_missing_part_or_record_is_damaged(machine: BtrfsMachine) -> None:
    first, second = machine.take(), machine.take()
    run("btrfs", "subvolume", "delete", str(machine.top / first.parts[1].snapshot))
    (machine.top / ".rollpoint" / second.id / "point.json").write_text('{"format": 1, "id": ')
    points = listed(machine)
    assert {p.state for p in points.values()} == {"damaged"}
    assert "home" in points[first.id].problems[0]
    assert "point.json" in points[second.id].problems[0]
    assert len(points[second.id].parts) == 2
    assert machine.backend().delete(list(points.values()), Job()).failed == ()
    assert listed(machine) == {}


def test_another_rollpoint_at_work_is_named(machine: BtrfsMachine) -> None:
    machine.take()
    holder = subprocess.Popen(["flock", "-x", str(machine.top / ".rollpoint/lock"), "cat"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
    assert holder.stdin is not None and holder.stdout is not None
    try:
        holder.stdin.write(b".")
        holder.stdin.flush()
        assert holder.stdout.read(1) == b"."        # now it holds the lock
        with pytest.raises(BusyError):
            machine.backend().take(SnapshotRequest(), Job())
    finally:
        holder.communicate()


def test_a_path_that_is_no_subvolume_is_refused_by_name(machine: BtrfsMachine) -> None:
    config = Config(root=str(machine.root), btrfs=Btrfs(subvolumes=(str(machine.root / "etc"),)))
    with pytest.raises(UsageError, match="etc"):
        BtrfsBackend(config).points()


def test_names_of_any_bytes_are_listed(machine: BtrfsMachine) -> None:
    odd = os.fsencode(machine.top) + b"/sn\xffap\n path \xe2\x80\xae"
    subprocess.run(["btrfs", "subvolume", "snapshot", "-r", machine.top / "@", odd], check=True, capture_output=True)
    [point] = machine.backend().points()
    assert point.owner == "unknown" and point.id.startswith("btrfs:")
    assert os.fsencode(point.parts[0].snapshot) == os.path.basename(odd)
    assert point.parts[0].place == b""


# --- other programs' -------------------------------------------------------------------------------------------------


SNAPPER = """<?xml version="1.0"?>
<snapshot>
  <type>pre</type>
  <num>12</num>
  <date>2024-03-10 11:22:33</date>
  <description>zypp(zypper)</description>
  <cleanup>number</cleanup>
  <userdata><key>important</key><value>yes</value></userdata>
</snapshot>
"""


def snapper(machine: BtrfsMachine, number: int, info: str) -> Path:
    """Lay a snapshot down as snapper does for the configuration of the root."""
    home = machine.top / "@/.snapshots"
    if not home.exists():
        run("btrfs", "subvolume", "create", str(home))
    (home / str(number)).mkdir()
    run("btrfs", "subvolume", "snapshot", "-r", str(machine.top / "@"), str(home / str(number) / "snapshot"))
    (home / str(number) / "info.xml").write_text(info)
    return home / str(number)


def timeshift(machine: BtrfsMachine, stamp: str) -> Path:
    """Lay a snapshot down as Timeshift does: of @ and @home, writable."""
    home = machine.top / "timeshift-btrfs/snapshots" / stamp
    home.mkdir(parents=True)
    for name in ("@", "@home"):
        run("btrfs", "subvolume", "snapshot", str(machine.top / name), str(home / name))
    (home / "info.json").write_text('{"created": "1710069753", "app-version": "24.01", "tags": "ondemand daily", '
                                    '"comments": "before"}')
    return home


def test_snapshots_of_snapper_are_shown_as_its_own(machine: BtrfsMachine) -> None:
    machine.write("etc/conf", "then")
    snapper(machine, 12, SNAPPER)
    snapper(machine, 13, SNAPPER.replace("<cleanup>number</cleanup>", ""))
    snapper(machine, 14, "<snapshot><num>")
    machine.write("etc/conf", "now")
    points = sorted(machine.backend().points(), key=lambda p: p.parts[0].snapshot)
    assert [p.owner for p in points] == ["snapper"] * 3
    assert points[0].created == datetime(2024, 3, 10, 11, 22, 33, tzinfo=UTC)
    assert (points[0].comment, points[0].tags, points[0].pinned) == ("zypp(zypper)", ("pre", "number", "important"),
                                                                     False)
    assert points[1].pinned, "snapper itself never removes one without a cleanup algorithm"
    assert "cannot be read" in points[2].doc["note"]
    with machine.backend().open(points[0], Job()) as opened:
        assert open(opened.path + b"/etc/conf").read() == "then"
    with pytest.raises(RefusedError, match="snapper"):
        machine.backend().annotate(points[0], comment="mine")


def test_a_snapshot_of_timeshift_is_one_point_of_two_parts(machine: BtrfsMachine) -> None:
    machine.write("home/user/x", "then")
    timeshift(machine, "2024-03-10_11-22-33")
    [point] = machine.backend().points()
    assert (point.owner, point.comment, point.tags) == ("timeshift", "before", ("ondemand", "daily"))
    assert point.created.timestamp() == 1710069753
    assert [(p.place, p.snapshot) for p in point.parts] == [
        (b"", "timeshift-btrfs/snapshots/2024-03-10_11-22-33/@"),
        (b"home", "timeshift-btrfs/snapshots/2024-03-10_11-22-33/@home")]
    with machine.backend().open(point, Job()) as opened:
        assert open(opened.path + b"/home/user/x").read() == "then"


def test_deleting_one_of_theirs_takes_their_notes_along_and_nothing_else(machine: BtrfsMachine) -> None:
    kept, gone = (snapper(machine, n, SNAPPER) for n in (1, 2))
    whole = timeshift(machine, "2024-03-10_11-22-33")
    (machine.top / "timeshift-btrfs/snapshots/note").write_text("mine")
    points = machine.backend().points()
    chosen = [p for p in points if p.owner == "timeshift" or "/2/" in p.parts[0].snapshot]
    assert machine.backend().delete(chosen, Job()).failed == ()
    assert not gone.exists() and not whole.exists()
    assert kept.exists() and (machine.top / "timeshift-btrfs/snapshots/note").exists()
    assert [p.parts[0].snapshot for p in machine.backend().points()] == ["@/.snapshots/1/snapshot"]


def test_only_snapshots_of_the_named_subvolumes_are_listed(machine: BtrfsMachine) -> None:
    for name in ("@", "@home"):
        run("btrfs", "subvolume", "snapshot", "-r", str(machine.top / name), str(machine.top / f"of {name}"))
    config = Config(root=str(machine.root), btrfs=Btrfs(subvolumes=(str(machine.root / "home"),)))
    assert [p.parts[0].snapshot for p in BtrfsBackend(config).points()] == ["of @home"]


def test_what_was_taken_together_is_whole_whatever_is_named_now(machine: BtrfsMachine) -> None:
    """Also what lies on another file system; once that is not mounted any more its part is missing."""
    data = machine.loops.mount(machine.loops.make("btrfs"), machine.root / "data")
    run("btrfs", "subvolume", "create", str(data / "inner"))
    machine.write("home/file", "of home")
    machine.write("data/file", "of data")
    every = Btrfs(subvolumes=tuple(str(machine.root / p) for p in ("", "home", "data")))
    point = BtrfsBackend(replace(machine.config, btrfs=every)).take(SnapshotRequest("all"), Job())
    wanted = [(str(machine.root), b""), (str(machine.root / "home"), b"home"), (str(data), b"data")]
    assert sorted((p.volume, p.place) for p in point.parts) == sorted(wanted)
    for name in ("home", "data"):
        only = BtrfsBackend(replace(machine.config, btrfs=Btrfs(subvolumes=(str(machine.root / name),))))
        [found] = only.points()
        assert (found.state, found.problems, found.id) == ("ok", (), point.id)
        assert sorted((p.volume, p.place) for p in found.parts) == sorted(wanted)
        with only.open(found, Job()) as opened:
            assert (Path(os.fsdecode(opened.path)) / "data/file").read_text() == "of data"
            assert (Path(os.fsdecode(opened.path)) / "home/file").read_text() == "of home"
            assert {b"nested", b"data/inner"} <= set(opened.holes)
    machine.loops.umount(data)
    [found] = BtrfsBackend(replace(machine.config, btrfs=Btrfs(subvolumes=(str(machine.root),)))).points()
    assert found.state == "damaged" and "is not here" in found.problems[0] and len(found.parts) == 2


def test_only_a_snapshot_that_was_listed_can_be_deleted(machine: BtrfsMachine) -> None:
    root = next(s for s in btrfstree.subvolumes(os.fsencode(machine.top)) if s.path == b"@home")
    with Tops(writable=True) as tops, pytest.raises(RefusedError, match="no snapshot"):
        mount = next(m for m in mounts() if m.point == os.fsencode(machine.top))
        btrfs._delete(tops, mount, root)
    assert (machine.top / "@home").exists()


# --- set back --------------------------------------------------------------------------------------------------------


def test_a_subvolume_is_set_back_by_swapping_and_can_be_swapped_forward_again(machine: BtrfsMachine) -> None:
    machine.write("etc/conf", "first")
    machine.write("home/user/x", "first")
    then = {place: record(str(machine.root / place)) for place in ("etc", "home")}
    first = machine.take("first")
    machine.write("etc/conf", "second")
    machine.write("home/user/y", "second")
    later = {place: record(str(machine.root / place)) for place in ("etc", "home")}
    second = machine.take("second")
    backend = machine.backend()
    plan = backend.native(first)
    assert not plan.blocked and "mounted again" in plan.when
    assert any(f.level == "warning" and "@/nested" in f.text for f in plan.findings)
    said = backend.set_back(plan, Job())
    assert len([name for name in machine.at_the_top() if ".before-" in name]) == 2
    assert any("@home" in line for line in said)
    assert len(backend.pending()) == 2 and str(machine.root) in backend.pending()[0]
    assert (machine.root / "etc/conf").read_text() == "second"      # what is mounted shows the old one still
    machine.mount()
    for place, rows in then.items():
        must_equal(rows, record(str(machine.root / place)), place)
    assert (machine.root / "nested/kept").read_text() == "lies in the subvolume nested in the root"
    assert backend.pending() == []
    assert set(listed(machine)) == {first.id, second.id}
    machine.write("etc/conf", "written after it")       # it is not read-only
    backend.set_back(backend.native(listed(machine)[second.id]), Job())
    machine.mount()
    for place, rows in later.items():
        must_equal(rows, record(str(machine.root / place)), place)


def test_a_plan_that_is_stale_is_refused(machine: BtrfsMachine) -> None:
    point = machine.take()
    plan = machine.backend().native(point)
    run("btrfs", "subvolume", "create", str(machine.root / "another"))
    before = machine.at_the_top()
    with pytest.raises(RefusedError, match="not as they were"):
        machine.backend().set_back(plan, Job())
    assert machine.at_the_top() == before


@pytest.mark.parametrize(("line", "why"), [
    ("x / btrfs subvolid=256 0 0\n", "subvolid=256"),
    ("x / btrfs defaults 0 0\n", "not mounted by the name"),
    ("x / btrfs subvol=@other 0 0\n", "not mounted by the name"),
])
def test_what_fstab_does_not_mount_by_its_name_is_not_swapped(machine: BtrfsMachine, line: str, why: str) -> None:
    machine.write("etc/fstab", line)
    point = machine.take()
    plan = machine.backend().native(point)
    assert plan.blocked and any(why in f.text for f in plan.findings if f.level == "blocker")
    with pytest.raises(RefusedError):
        machine.backend().set_back(plan, Job())
    assert machine.at_the_top() == [".rollpoint", "@", "@home"]


def test_the_top_level_cannot_be_swapped(machine: BtrfsMachine) -> None:
    config = Config(root=str(machine.top), btrfs=Btrfs(subvolumes=(str(machine.top),)))
    backend = BtrfsBackend(config)
    point = backend.take(SnapshotRequest(), Job())
    with pytest.raises(RefusedError, match="top level"):
        backend.native(point)


def test_a_swap_that_fails_half_way_is_taken_back(machine: BtrfsMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    point = machine.take()
    plan = machine.backend().native(point)
    real, count = btrfstree.exchange, 0

    def exchange(one: bytes, other: bytes) -> None:
        nonlocal count
        count += 1
        if count == 2:
            raise RollpointError("the second one fails")
        real(one, other)

    monkeypatch.setattr(btrfstree, "exchange", exchange)
    with pytest.raises(RollpointError, match="second"):
        machine.backend().set_back(plan, Job())
    assert machine.at_the_top() == [".rollpoint", "@", "@home"]
    assert (machine.top / "@/nested/kept").exists()
    machine.mount()
    assert machine.backend().pending() == []
