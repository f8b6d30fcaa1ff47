"""Whose snapshots these are, by the names that the programs' own documentation gives."""

from __future__ import annotations

import pytest

from engine.volumes.owners import owner_of_btrfs, owner_of_lvm, owner_of_zfs


@pytest.mark.parametrize(("name", "owner"), [
    ("tank/home@rollpoint-2026-11-20_17-00-00-zfs", ""),
    ("tank/home@rollpoint-2026-11-20_17-00-00-2-zfs", ""),
    ("tank/home@autosnap_2024-01-02_03:04:05_daily", "sanoid"),
    ("autosnap_2024-10-27_02:00:00_hourly", "sanoid"),
    ("tank@syncoid_backup_2024-01-02:03:04:05-GMT00:00", "syncoid"),
    ("tank@zrepl_20240102_030405_000", "zrepl"),
    ("tank/a b@zfs-auto-snap_hourly-2024-01-02-0304", "zfs-auto-snapshot"),
    ("tank@auto-2024-01-02_03-04", "truenas"),
    ("tank@before autosnap_2024-01-02_03:04:05_daily", "unknown"),
    ("tank@rollpoint-mine", "unknown"),
    ("tank@2024-01-02_03.04.05--1w", "zfsnap"),
    ("tank@yesterday", "unknown"),
])
def test_the_owner_of_a_zfs_snapshot(name: str, owner: str) -> None:
    assert owner_of_zfs(name) == owner


@pytest.mark.parametrize(("name", "tags", "owner"), [
    ("vg-1/root-rp-1a2b", ("rollpoint.id=x",), ""),
    ("vg-1/root-rp-1a2b", (), "unknown"),
    ("vg/root-snapset_before-upgrade_1721136677_-", (), "snapm"),
    ("fedora/home-snapset_daily.3_1721136677_home", ("other",), "snapm"),
    ("vg/root-snapshot12", (), "snapper"),
    ("vg/root-snapshot", (), "unknown"),
])
def test_the_owner_of_a_snapshot_of_a_logical_volume(name: str, tags: tuple[str, ...], owner: str) -> None:
    assert owner_of_lvm(name, tags) == owner


@pytest.mark.parametrize(("path", "owner"), [
    (b".rollpoint/2026-11-20_17-00-00-btrfs/root", ""),
    (b".rollpoint/notes/root", "unknown"),
    (b"@/.snapshots/12/snapshot", "snapper"),
    (b".snapshots/1/snapshot", "snapper"),
    (b"@/.snapshots/twelve/snapshot", "unknown"),
    (b"timeshift-btrfs/snapshots/2024-01-02_03-04-05/@", "timeshift"),
    (b"timeshift-btrfs/snapshots/2024-01-02_03-04-05/@home", "timeshift"),
    (b"btrbk/home.20240102T0304", "btrbk"),
    (b"btrbk/home.20240102_1", "btrbk"),
    (b"sna\xffp", "unknown"),
])
def test_the_owner_of_a_btrfs_snapshot(path: bytes, owner: str) -> None:
    assert owner_of_btrfs(path) == owner
