"""The parts of the configuration that are sections of their own; see `engine.config` for where they are read from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Retention:
    """Which points `prune` keeps (rules: engine.retention). Ages in seconds; a count of 0 is no rule."""

    min_keep: int = 2
    min_age: int = 86400
    max_store_ratio: float | None = 1.5     # size of the store / size of the source; None: no limit
    max_age: int | None = None
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0


@dataclass(frozen=True, slots=True)
class Boot:
    """Boot sectors: the disks whose boot pieces belong to a point (``auto``: those that the system starts from; paths
    may be image files), whether rollbacks put them back, and whether points keep facts of the machine."""

    disks: tuple[str, ...] = ("auto",)
    restore: bool = True
    facts: bool = True


@dataclass(frozen=True, slots=True)
class Vms:
    """Virtual machines: the directories with their configurations (``auto``: those at the usual places of Oracle VM and
    Xen), whether each snapshot takes an inventory point along where there are VMs, and the program that backs Oracle VM
    Manager's database up before a point is taken (its own createBackup.sh; None: that is not done)."""

    repositories: tuple[str, ...] = ("auto",)
    points: bool = True
    manager_backup: str | None = None


@dataclass(frozen=True, slots=True)
class Zfs:
    """ZFS snapshots: the `datasets` of which points are listed and taken (``auto``: all of the imported pools are
    listed, and the mounted ones taken; an empty list: none), whether the data sets below them are taken too, and the
    programs whose snapshots `prune` may destroy as well (``sanoid``, ``unknown``, …)."""

    datasets: tuple[str, ...] = ("auto",)
    recursive: bool = False
    prune: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lvm:
    """LVM snapshots: the `volumes` (VG/LV; ``auto`` and the empty list as for ZFS); the room of a thick snapshot in
    percent of its origin; how many of an origin there may be before taking one more is refused, since each costs
    every write; the programs whose snapshots `prune` may remove as well."""

    volumes: tuple[str, ...] = ("auto",)
    size: int = 20
    most: int = 5
    prune: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Btrfs:
    """btrfs snapshots: the `subvolumes`, as the absolute paths where they are mounted or lie (``auto`` and the empty
    list as for ZFS), and the programs whose snapshots `prune` may remove as well."""

    subvolumes: tuple[str, ...] = ("auto",)
    prune: tuple[str, ...] = ()


SECTIONS: dict[str, type] = {"boot": Boot, "retention": Retention, "vms": Vms, "zfs": Zfs, "lvm": Lvm, "btrfs": Btrfs}
"""Each section by its name in the files, which is that of its field in `Config` too."""
