"""Which points of the storage hold a disk of a VM, told from lists of made-up points and plain directories."""

from __future__ import annotations

import dataclasses
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.points import Part, RestorePoint
from engine.vmpoints.volumes import Volumes, part_of
from engine.vms.coverage import FILE_SYSTEM, NONE, NONE_ASKED, WHOLE, Share, in_doubt
from engine.vms.coverage import Part as Held
from engine.vms.diskspec import disk
from engine.vms.places import FILE, LOGICAL, VOLUME, DiskState


def point(backend: str, day: int, *parts: Part, state: str = "ok") -> RestorePoint:
    return RestorePoint(f"{backend}-{day}", backend, 0, datetime(2026, 1, day, tzinfo=UTC), parts=parts, state=state)


def device(path: str, kind: str = LOGICAL) -> DiskState:
    return DiskState(disk(f"phy:/{path},xvda,w"), kind, path.encode(), False)


@pytest.mark.parametrize("path", ["dev/my-vg/web--x", "dev/mapper/my--vg-web----x"])
def test_a_logical_volume_is_found_by_each_of_its_names(path: str, tmp_path: Path) -> None:
    other, own = Part("my-vg/web-x", "my-vg/other"), Part("my-vg/web--x", "my-vg/snap")
    held = point("lvm", 1, other, own)
    assert part_of(held, device(path), bytes(tmp_path)) is own
    assert part_of(point("lvm", 1, other), device(path), bytes(tmp_path)) is None
    assert part_of(point("btrfs", 1, own), device(path), bytes(tmp_path)) is None
    assert Volumes([held], bytes(tmp_path)).of_disk(device(path)) == (
        Share("lvm", 1, "lvm-1", "2026-01-01_00-00-00", None, WHOLE),)


def test_a_zvol_is_found_and_a_file_system_is_none(tmp_path: Path) -> None:
    volume = Part("tank/vm/web", "tank/vm/web@x", facts={"type": "volume"})
    one = device("dev/zvol/tank/vm/web", VOLUME)
    assert part_of(point("zfs", 1, volume), one, bytes(tmp_path)) is volume
    assert part_of(point("zfs", 1, dataclasses.replace(volume, facts={"type": "filesystem"})), one,
                   bytes(tmp_path)) is None


def test_a_device_is_known_by_its_number_whatever_it_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    number = os.makedev(253, 7)
    monkeypatch.setattr(os, "stat", lambda path: os.stat_result(
        (stat.S_IFBLK | 0o600, 1, 1, 1, 0, 0, 0, 0, 0, 0), {"st_rdev": number}) if path == b"/dev/vg/web" else
        os.lstat(path))
    one = dataclasses.replace(device("dev/dm-7"), identity=("device", 253, 7, ""))
    assert part_of(point("lvm", 1, Part("vg/web", "vg/snap")), one, b"/") is not None
    assert part_of(point("lvm", 1, Part("vg/web", "vg/snap")), dataclasses.replace(one, identity=(
        "device", 253, 8, "")), b"/") is None


def test_files_are_held_with_their_file_system_by_whole_points_alone(tmp_path: Path) -> None:
    (tmp_path / "OVS/a").mkdir(parents=True)
    root = Part("vg/root", "vg/snap", b"")
    below = Part("vg/ovs", "vg/osnap", b"OVS")
    points = [point("lvm", 1, root), point("lvm", 3, below), point("zfs", 2, Part("tank", "tank@x", b"OVS")),
              point("lvm", 4, root, state="damaged"), point("lvm", 5, root, state="merging"),
              point("lvm", 6, Part("vg/else", "vg/esnap", b"OVS/b")), point("lvm", 7, Part("vg/no", "vg/nsnap"))]
    volumes = Volumes(points, bytes(tmp_path))
    found = {share.backend: share for share in volumes.of_file(b"OVS/a/x.img")}
    assert found == {"lvm": Share("lvm", 2, "lvm-3", "2026-01-03_00-00-00", None, FILE_SYSTEM),
                     "zfs": Share("zfs", 1, "zfs-2", "2026-01-02_00-00-00", None, FILE_SYSTEM)}
    assert volumes.of_file(b"OVS/gone/x.img") == ()
    assert volumes.of_disk(DiskState(disk("file:/OVS/a/x.img,xvda,w"), FILE, b"OVS/a/x.img", True)) == ()


def test_what_is_mounted_between_is_not_in_the_snapshot_around_it(tmp_path: Path) -> None:
    """/proc is another file system than what is around it."""
    assert Volumes([point("lvm", 1, Part("vg/root", "vg/snap", b""))], b"/").of_file(b"proc/1/x.img") == ()


def test_the_newest_of_all_backends_is_named_and_all_are_counted() -> None:
    part = Held("xvda", b"x", why=NONE)
    assert part.with_shares([]) is part
    shares = [Share("replica", 2, "r", "2026-01-02_00-00-00", True),
              Share("lvm", 3, "l", "2026-01-03_00-00-00", None, FILE_SYSTEM)]
    both = part.with_shares(shares[:1]).with_shares(shares[1:])
    assert (both.points, both.newest, both.same, both.why) == (5, "l", None, "")
    assert [share.backend for share in both.shares] == ["lvm", "replica"]
    tied = part.with_shares([shares[0], dataclasses.replace(shares[1], when=shares[0].when)])
    assert (tied.newest, tied.same) == ("r", True)


def test_what_no_point_holds_is_in_doubt_where_not_all_could_be_asked() -> None:
    assert in_doubt(Held("xvda", b"x", why=NONE)).why == NONE_ASKED
    assert in_doubt(Held("xvda", b"x", why="on a device")).why == (
        "on a device, and not all points could be asked")
    held = Held("xvda", b"x", 1, "r", True)
    assert in_doubt(held) is held
