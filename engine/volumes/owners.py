"""Who took a snapshot, known by the name that the program gives by default, or by what it writes beside it.

Sources, each as of 2026: sanoid and syncoid (jimsalterjrs/sanoid, `autosnap_…_daily`, `syncoid_HOST_…`); zrepl (its
configured prefix, `zrepl_` in all of its examples, and a UTC stamp); zfs-auto-snapshot (`zfs-auto-snap_LABEL-…`);
TrueNAS (periodic tasks, `auto-YYYY-MM-DD_HH-MM`); pyznap; zfsnap (`STAMP--1w`); httm (`snap_…_httm…`); Proxmox
(`__replicate_JOB_TIME__`); LXD and Incus (`snapshot-NAME` below their data sets is too common a word and is left out);
snapm (`ORIGIN-snapset_NAME_TIME_PLACE`, for thick and thin volumes); snapper (`.snapshots/N/snapshot` with info.xml on
btrfs, `ORIGIN-snapshotN` on thin LVM); Timeshift (`timeshift-btrfs/snapshots/STAMP/@`); btrbk (`NAME.YYYYMMDD[Thhmm]`);
apt-btrfs-snapshot (`@apt-snapshot-STAMP`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

UNKNOWN = "unknown"
OURS = "rollpoint"
_STAMP = r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d"
ID = re.compile(rf"{_STAMP}(?:-\d+)?-(?:zfs|lvm|btrfs)(?:-\d+)?")
"""An id of ours, made unique by a number where two points are of the same second."""

_ZFS = (
    ("", rf"rollpoint-{ID.pattern}"),
    (OURS, r"rollpoint-momentary-.*"),
    ("sanoid", r"autosnap_\d{4}-\d\d-\d\d_\d\d:\d\d:\d\d(_[A-Za-z0-9+:-]+)?"
               r"_(frequently|hourly|daily|weekly|monthly|yearly)"),
    ("syncoid", r"syncoid_.+"),
    ("zrepl", r"zrepl_.+"),
    ("zfs-auto-snapshot", r"zfs-auto-snap_[A-Za-z0-9]+-\d{4}-\d\d-\d\d-\d{4}(\w*)"),
    ("truenas", r"auto-\d{4}-\d\d-\d\d_\d\d-\d\d(-\w+)?"),
    ("pyznap", r"pyznap_\d{4}-\d\d-\d\d_\d\d:\d\d:\d\d_\w+"),
    ("zfsnap", r".*\d{4}-\d\d-\d\d_\d\d\.\d\d\.\d\d--\d+[ymwdhMs][0-9ymwdhMs]*"),
    ("httm", r"snap_.+_httm\w*"),
    ("proxmox", r"__replicate_\d+-\d+_\d+__"),
)
_LVM = (
    (OURS, r"rollpoint-momentary-.*"),
    ("snapm", r".+-snapset_[^_]+_\d+_.+"),
    ("snapper", r".+-snapshot\d+"),
)
_BTRFS = (
    ("", rf"(?:.*/)?\.rollpoint/{ID.pattern}/.+"),
    (OURS, r"(?:.*/)?rollpoint-momentary-[^/]*"),
    ("snapper", r"(?:.*/)?\.snapshots/\d+/snapshot|@snapshots/\d+/snapshot"),
    ("timeshift", rf"(?:.*/)?timeshift-btrfs/snapshots(?:-[a-z]+)?/{_STAMP}/@\w*"),
    ("apt-btrfs-snapshot", r"(?:.*/)?@apt-snapshot-.+"),
    ("btrbk", r".+\.\d{8}(T\d{4,6}([+-]\d{4})?)?(_\d+)?"),
)


def owner_of_zfs(name: str) -> str:
    """Return the program that took a ZFS snapshot, by its name (``tank/home@daily``, or what is behind the @): "" for
    one of our own, ``unknown`` for a name that nobody documents."""
    return _owner(_ZFS, name.rpartition("@")[2])


def owner_of_lvm(name: str, tags: Iterable[str] = ()) -> str:
    """Return the program that took an LVM snapshot, by its name (``vg/root-snap``, or without the volume group) and its
    tags: "" for one of our own, whose tags begin with ``rollpoint.``; ``unknown`` for what nobody documents."""
    if any(tag.startswith(f"{OURS}.") for tag in tags):
        return ""
    return _owner(_LVM, name.rpartition("/")[2])


def owner_of_btrfs(path: bytes) -> str:
    """Return the program that took a btrfs snapshot, by its path from the top of the file system: "" for one of our
    own, ``unknown`` for what nobody documents."""
    return _owner(_BTRFS, path.decode("utf-8", "backslashreplace").strip("/"))


def _owner(patterns: tuple[tuple[str, str], ...], name: str) -> str:
    return next((owner for owner, pattern in patterns if re.fullmatch(pattern, name, re.DOTALL)), UNKNOWN)
