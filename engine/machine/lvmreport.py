"""What lvs says of all logical volumes, asked once: the question that everything that has to do with LVM shares.

One call lists them all, hidden ones too (the parts of pools, a snapshot that waits to be merged), with the room of
their groups. Settings of lvm.conf that would change the report are overruled: times are seconds since 1970, and no
column is left out for being empty. An lvs that knows no JSON (before 2.02.158) is asked for NAME='value' pairs instead;
LVM allows no quotes in names and tags.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from engine.errors import RollpointError, ToolError

# No column of segments: lvs would print a line for each segment.
_COLUMNS = (
    "vg_name", "lv_name", "lv_uuid", "lv_attr", "lv_role", "origin", "pool_lv", "lv_size", "snap_percent",
    "data_percent", "metadata_percent", "lv_merging", "lv_snapshot_invalid", "lv_merge_failed", "lv_health_status",
    "lv_when_full", "lv_check_needed", "lv_device_open", "lv_skip_activation", "lv_time", "lv_tags", "lv_kernel_major",
    "lv_kernel_minor", "vg_size", "vg_free", "vg_extent_size")
_SETTINGS = ('report { time_format="%s" compact_output=0 binary_values_as_numeric=0 mark_hidden_devices=1 '
             'list_item_separator="," }')
_ASK = ["lvs", "-a", "--units", "b", "--nosuffix", "--config", _SETTINGS, "-o", ",".join(_COLUMNS)]
QUESTION = [*_ASK, "--reportformat", "json"]
OLD_QUESTION = [*_ASK, "--noheadings", "--nameprefixes"]
_PAIR = re.compile(r"LVM2_([A-Z_]+)='([^']*)'")
_OLD_TIME = "%Y-%m-%d %H:%M:%S %z"      # of an lvs that does not know time_format

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Lv:
    """A logical volume as lvs lists it. Sizes are bytes, fills are per cent (None: it has none, or is not active).

    `attr` is lv_attr (lvs(8)), `roles` lv_role, `created` seconds since 1970 (0: unknown), `device` the number of its
    node (0: not active), `free`, `extent` and `room` are of its volume group: free bytes, extent size, all bytes.
    `hidden` are parts of others, and snapshots that wait to be merged. `raw` is all that lvs said, `modern` whether
    that was an lvs with JSON.
    """

    group: str
    name: str
    attr: str
    size: int
    pool: str
    snap_fill: float | None
    data_fill: float | None
    metadata_fill: float | None
    device: int
    free: int
    extent: int
    room: int = 0
    uuid: str = ""
    roles: tuple[str, ...] = ()
    origin: str = ""
    created: int = 0
    tags: tuple[str, ...] = ()
    hidden: bool = False
    modern: bool = True
    raw: Row = field(default_factory=dict, compare=False, repr=False)

    @property
    def full_name(self) -> str:
        """VG/LV, as the tools take it."""
        return f"{self.group}/{self.name}"

    @property
    def node(self) -> str:
        """Its device node, when it is active."""
        return f"/dev/{self.group}/{self.name}"

    @property
    def thin(self) -> bool:
        """Whether it lies in a thin pool; a thick snapshot of it may have changed what attr begins with."""
        return bool(self.pool) and (self.attr[:1] == "V" or self.attr[6:7] == "t")

    @property
    def is_pool(self) -> bool:
        """Whether it is a thin pool."""
        return self.attr[:1] == "t"

    @property
    def active(self) -> bool:
        """Whether it has a device."""
        return self.device != 0

    @property
    def open(self) -> bool:
        """Whether something has it open: a mount, a virtual machine, another device on top of it."""
        return self.raw.get("lv_device_open") == "open" or self.attr[5:6] == "o"

    @property
    def skipped(self) -> bool:
        """Whether it is left out when volumes are activated, as thin snapshots are unless somebody wants otherwise."""
        return bool(self.raw.get("lv_skip_activation")) or self.attr[9:10] == "k"

    @property
    def writable(self) -> bool:
        """Whether its permission is to be written to."""
        return self.attr[1:2] == "w"

    @property
    def merging(self) -> bool:
        """Whether it is being merged, or waits for it: said of a snapshot and of its origin alike."""
        return self.raw.get("lv_merging") == "merging" or self.attr[:1] in ("S", "O")

    @property
    def overflowed(self) -> bool:
        """Whether it is a thick snapshot that the kernel has dropped: its room was full."""
        return (self.raw.get("lv_snapshot_invalid") == "snapshot invalid" or self.attr[4:5] in ("I", "S")
                or (self.snap_fill is not None and not self.pool and not self.is_pool and self.snap_fill >= 100))

    @property
    def merge_failed(self) -> bool:
        """Whether a merge of this snapshot has failed."""
        return self.raw.get("lv_merge_failed") == "merge failed" or self.attr[4:5] in ("m", "M")

    @property
    def failed(self) -> bool:
        """Whether the kernel gives nothing but errors for it, or its devices are missing."""
        return self.attr[8:9] in ("F", "p")


def read(ask: Callable[[Sequence[str]], bytes]) -> list[Lv]:
    """Return all logical volumes; `ask` runs a command and returns its output. Raises what that raises, and
    RollpointError when what lvs says is not understood."""
    try:
        try:
            return parse(ask(QUESTION))
        except ToolError as error:
            if "reportformat" not in error.stderr:
                raise
        return parse_pairs(ask(OLD_QUESTION))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RollpointError("what lvs says cannot be read", hint="see what `lvs -a` prints") from error


def parse(out: bytes) -> list[Lv]:
    """Return the logical volumes of a report as JSON, with the columns that `read` asks for. Raises ValueError,
    KeyError, TypeError or AttributeError for anything else."""
    rows: list[dict[str, Any]] = [row for report in json.loads(out)["report"] for row in report["lv"]]
    return [_volume({name: str(value) for name, value in row.items()}, modern=True) for row in rows]


def parse_pairs(out: bytes) -> list[Lv]:
    """Return the same from a report of ``LVM2_LV_NAME='root' …`` lines."""
    found = ({name.lower(): value for name, value in _PAIR.findall(line)} for line in out.decode().splitlines())
    return [_volume(row, modern=False) for row in found if row]


def _volume(row: Row, *, modern: bool) -> Lv:
    name = row["lv_name"]
    return Lv(row["vg_name"], name.strip("[]"), row["lv_attr"], int(row["lv_size"]), row["pool_lv"].strip("[]"),
              _percent(row["snap_percent"]), _percent(row["data_percent"]), _percent(row["metadata_percent"]),
              _device(row), int(row["vg_free"]), int(row["vg_extent_size"]), int(row["vg_size"]), row["lv_uuid"],
              _items(row["lv_role"]), row["origin"].strip("[]"), _seconds(row["lv_time"]), _items(row["lv_tags"]),
              name.startswith("["), modern, row)


def _items(text: str) -> tuple[str, ...]:
    return tuple(item for item in text.split(",") if item)


def _percent(text: str) -> float | None:
    return float(text) if text else None


def _seconds(text: str) -> int:
    if not text or text.isdecimal():
        return int(text or 0)
    return int(datetime.strptime(text, _OLD_TIME).astimezone(UTC).timestamp())


def _device(row: Row) -> int:
    major, minor = int(row["lv_kernel_major"]), int(row["lv_kernel_minor"])
    return os.makedev(major, minor) if major > 0 and minor >= 0 else 0


def pool_of(lv: Lv, listed: Sequence[Lv]) -> Lv | None:
    """Return the thin pool that a volume lies in."""
    return next((p for p in listed if (p.group, p.name) == (lv.group, lv.pool)), None)


def pool_fault(pool: Lv, limit: float) -> str:
    """Return what is wrong with a thin pool that is filled to the limit (per cent), or that is out of order; ""."""
    if pool.attr[8:9] in ("F", "D", "M"):
        what = {"F": "has failed", "D": "has no data space left", "M": "has its metadata read-only"}[pool.attr[8]]
        return f"the thin pool {pool.full_name} {what}"
    for what, fill in (("data", pool.data_fill), ("metadata", pool.metadata_fill)):
        if fill is not None and fill >= limit:
            return f"the {what} of the thin pool {pool.full_name} is {fill:.0f} % full"
    return ""


def whole(size: int, extent: int) -> int:
    """Return a size rounded up to extents."""
    return -(-size // extent) * extent
