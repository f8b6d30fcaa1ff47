"""What ZFS has: pools, data sets and snapshots, read with one bulk question to each tool.

Columns are those of zfsprops(7). Everything that zfs destroys, holds or rolls back to goes through `Snapshot`, which
cannot be made of a name without an ``@``, nor of one with a character that zfs would take for a list or a range.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from engine.errors import RollpointError, ToolError
from engine.machine.mounts import Mount
from engine.text import printable
from engine.volumes.zfstool import batches, decoded, zfs, zpool

FILESYSTEM, VOLUME, SNAPSHOT, BOOKMARK = "filesystem", "volume", "snapshot", "bookmark"
KEYS = ("id", "pool", "tags", "pinned", "reason", "comment")
"""Our user properties, each with the prefix ``rollpoint:``. The comment is the last column: see `rows`."""
PARTS = "rollpoint:parts"
"""Another one, asked for by itself where it matters: the names of all data sets of a point, with commas between, or how
many they are where the names are too long."""
_FIXED = ("name", "type", "guid", "createtxg", "creation", "used", "referenced", "written", "userrefs", "clones",
          "defer_destroy")
COLUMNS = ",".join((*_FIXED, *(f"rollpoint:{key}" for key in KEYS)))
_POOL_COLUMNS = "name,guid,size,allocated,free,capacity,freeing,health,readonly"
_DATASET = re.compile(r"[A-Za-z][A-Za-z0-9_.: -]*(/[A-Za-z0-9_.: -]+)*")
_NAME = re.compile(r"[A-Za-z0-9_.: -]+")
_COUNT = re.compile(r"[0-9]{1,9}")         # names of data sets begin with a letter
_START = re.compile(r"[^\t\n]+\t(filesystem|volume|snapshot|bookmark)\t\d+\t\d+\t\d+\t")


@dataclass(frozen=True, slots=True)
class Pool:
    """An imported pool. Sizes in bytes, as zpool counts them (see `measured`); `freeing` is what destroyed things still
    give back, `health` zpool's word."""

    name: str
    guid: str
    size: int
    allocated: int
    free: int
    percent: float
    freeing: int
    health: str
    read_only: bool

    @property
    def works(self) -> bool:
        """Whether it answers; asking one that does not may hang."""
        return self.health in ("ONLINE", "DEGRADED")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot as zfs lists it: the one thing that can be destroyed. Sizes in bytes; `used` is what would be freed
    by destroying it alone, `holds` how many there are; `props` are our properties (KEYS) that are set, decoded.

    Raises RollpointError for a name that no snapshot can be destroyed by.
    """

    dataset: str
    name: str
    guid: str
    createtxg: int
    created: datetime
    used: int
    referenced: int
    written: int
    holds: int
    clones: tuple[str, ...]
    deferred: bool
    props: Mapping[str, str]

    def __post_init__(self) -> None:
        if not _DATASET.fullmatch(self.dataset) or not _NAME.fullmatch(self.name):
            raise RollpointError(f"{printable(f'{self.dataset}@{self.name}')} is not the name of a snapshot")

    @property
    def full_name(self) -> str:
        """DATASET@NAME, as the tools take it."""
        return f"{self.dataset}@{self.name}"

    @property
    def pool(self) -> str:
        """The name of its pool."""
        return self.dataset.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A file system or a volume; `props` are our properties that snapshots of it inherit."""

    name: str
    kind: str
    guid: str
    used: int
    props: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Everything:
    """Data sets by name, and the snapshots of them; `counts` says of how many data sets a point of ours is, by its id,
    where that is known and their names are not."""

    datasets: Mapping[str, Dataset]
    snapshots: tuple[Snapshot, ...]
    counts: Mapping[str, int] = field(default_factory=dict)


def pools() -> dict[str, Pool]:
    """Return the imported pools by name. Raises ToolError."""
    found = {}
    for line in zpool(["list", "-Hp", "-o", _POOL_COLUMNS]).splitlines():
        fields = line.split("\t")
        if len(fields) != 9:
            raise RollpointError(f"what zpool says cannot be read: {printable(line)}")
        name, guid, size, allocated, free, percent, freeing, health, read_only = fields
        found[name] = Pool(name, guid, _number(size), _number(allocated), _number(free),
                           float(percent.rstrip("%")) if percent != "-" else 0.0, _number(freeing), health,
                           read_only == "on")
    return found


def measured(found: Mapping[str, Pool]) -> dict[str, Pool]:
    """Return pools with the sizes that data sets see. Those of zpool count the disks of a raidz's parity, and what ZFS
    keeps back for itself (1/32, in a small pool half of it): such a pool is full at 50 per cent. Raises ToolError."""
    asked = [name for name, pool in found.items() if pool.works]
    shown = dict(found)
    for line in zfs(["list", "-Hp", "-d", "0", "-o", "name,used,available", *asked]).splitlines() if asked else ():
        name, used, available = line.split("\t")
        size = max(1, int(used) + int(available))
        shown[name] = replace(found[name], size=size, allocated=int(used), free=int(available),
                              percent=100 * int(used) / size)
    return shown


def everything(names: Sequence[str] = (), *, recursive: bool = False) -> Everything:
    """Return these data sets (none: all of the imported pools) with their snapshots; `recursive`: what lies below them
    too. Raises ToolError, and RollpointError for one that does not exist.
    """
    depth = [] if not names else ["-r"] if recursive else ["-d", "1"]
    try:
        out = zfs(["list", "-Hp", "-t", "filesystem,volume,snapshot", *depth, "-o", COLUMNS, *names])
    except ToolError as error:
        missing = re.findall(r"cannot open '([^'\n]*)': dataset does not exist", error.stderr)
        if not missing:
            raise
        raise RollpointError(f"no data set of this name is there: {', '.join(map(printable, missing))}",
                             hint="`zpool import` its pool, or correct `zfs.datasets` in the configuration") from None
    datasets: dict[str, Dataset] = {}
    snapshots = []
    for row in rows(out):
        if row["type"] == SNAPSHOT:
            snapshots.append(row)
        elif not names or recursive or row["name"] in names:
            datasets[row["name"]] = _dataset(row)
    return Everything(datasets, tuple(parsed(r) for r in snapshots
                                      if r["name"].partition("@")[0] in datasets and destroyable(r["name"])))


def beside(found: Everything, ids: Callable[[Snapshot], str]) -> Everything:
    """Return what is listed, with what was taken together with it and was not asked for: the property ``parts`` of a
    point's snapshots says which data sets it is of (zfstake). `ids` returns the point of ours that a snapshot is of, or
    "". It is one question more where there are points of ours, two where something is missing. Raises ToolError."""
    first = {id_: one for one in found.snapshots if (id_ := ids(one))}
    said: set[str] = set()
    counts: dict[str, int] = {}
    parts = _parts(one.full_name for one in first.values())
    for id_, one in first.items():
        text = parts.get(one.full_name, "")
        if _COUNT.fullmatch(text):
            counts[id_] = int(text)
        else:
            said |= {f"{dataset}@{one.name}" for dataset in text.split(",")}
    more = current(name for name in said - {one.full_name for one in found.snapshots} if destroyable(name))
    kept = tuple(one for one in more.values() if ids(one) in first)
    return Everything({**found.datasets, **_datasets({one.dataset for one in kept})}, (*found.snapshots, *kept), counts)


def _parts(names: Iterable[str]) -> dict[str, str]:
    """Return what the property ``parts`` of these snapshots says, "" where they have none of their own."""
    found: dict[str, str] = {}
    for some in batches(names):
        for line in zfs(["get", "-Hp", "-o", "name,value,source", PARTS, *some], ok=(0, 1)).splitlines():
            name, _, rest = line.partition("\t")
            value, _, origin = rest.rpartition("\t")
            found[name] = decoded(value) if origin == "local" else ""
        _must_be_gone([name for name in some if name not in found])
    return found


def _datasets(names: Iterable[str]) -> dict[str, Dataset]:
    found: dict[str, Dataset] = {}
    for some in batches(sorted(names)):
        out = zfs(["list", "-Hp", "-d", "0", "-t", "filesystem,volume", "-o", COLUMNS, *some], ok=(0, 1))
        found |= {row["name"]: _dataset(row) for row in rows(out)}
    return found


def _dataset(row: Mapping[str, str]) -> Dataset:
    return Dataset(row["name"], row["type"], row["guid"], _number(row["used"]), _props(row))


def current(names: Iterable[str]) -> dict[str, Snapshot]:
    """Return those of these snapshots (by their full names) that are there now. Raises ToolError."""
    found: dict[str, Snapshot] = {}
    for some in batches(names):
        out = zfs(["list", "-Hp", "-t", "snapshot", "-o", COLUMNS, *some], ok=(0, 1))
        found |= {one.full_name: one for one in map(parsed, rows(out))}
        _must_be_gone([name for name in some if name not in found])
    return found


def _must_be_gone(names: Sequence[str]) -> None:
    """Raise ToolError when these are not listed for another reason than that they do not exist."""
    if not names:
        return
    try:
        zfs(["list", "-Hp", "-t", "snapshot", "-o", "name", *names])
    except ToolError as error:
        if not all("does not exist" in line for line in error.stderr.splitlines()):
            raise


def holds(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the tags of the holds on these snapshots, for each that has some. Raises ToolError."""
    found: dict[str, tuple[str, ...]] = {}
    for some in batches(names):
        for line in zfs(["holds", "-H", *some]).splitlines():
            name, tag, _ = line.split("\t", 2)
            found[name] = (*found.get(name, ()), tag)
    return found


def rows(out: str) -> Iterator[dict[str, str]]:
    """Yield what `zfs list -Hp` with our columns says, a mapping for each line.

    A user property can hold anything that somebody has set by hand, or a user who was allowed to. A line that does not
    begin as one goes with the line before it, and tabs that are too many are the comment's. What would look like a
    snapshot in a property names one that is listed by itself too. Raises RollpointError for that.
    """
    seen = set()
    lines: list[str] = []
    for line in out.split("\n"):
        if _START.match(line):
            lines.append(line)
        elif line and not lines:
            raise RollpointError(f"what zfs says cannot be read: {printable(line)}")
        elif line:
            lines[-1] += "\n" + line
    for line in lines:
        fields = line.split("\t", len(_FIXED) + len(KEYS) - 1)
        if len(fields) < len(_FIXED) + len(KEYS):
            raise RollpointError(f"what zfs says cannot be read: {printable(line)}")
        row = dict(zip((*_FIXED, *KEYS), fields, strict=True))
        if row["name"] in seen:
            raise RollpointError(f"zfs lists {printable(row['name'])} twice: a property pretends to be a snapshot",
                                 hint="`zfs get -r all` shows which; `zfs inherit` takes a property away")
        seen.add(row["name"])
        yield row


def destroyable(full_name: str) -> bool:
    """Whether a name is one that `Snapshot` takes; zfs hides its own with a % (a receive that is under way)."""
    dataset, at, name = full_name.partition("@")
    return bool(at and _DATASET.fullmatch(dataset) and _NAME.fullmatch(name))


def parsed(row: Mapping[str, str]) -> Snapshot:
    """Return a row of `rows` as a snapshot. Raises RollpointError for anything else."""
    dataset, _, name = row["name"].partition("@")
    clones = tuple(row["clones"].split(",")) if row["clones"] not in ("-", "") else ()
    created = datetime.fromtimestamp(int(row["creation"]), UTC)
    return Snapshot(dataset, name, row["guid"], int(row["createtxg"]), created, _number(row["used"]),
                    _number(row["referenced"]), _number(row["written"]),
                    _number(row["userrefs"]), clones, row["defer_destroy"] == "on", _props(row))


def places(root: bytes, table: Sequence[Mount]) -> dict[str, bytes]:
    """Return where data sets are mounted below `root`, root-relative, by their names; what another mount hides is
    left out, and of several places the shortest is taken."""
    top = {mount.point: mount for mount in table}
    found: dict[str, bytes] = {}
    for point in sorted(top, key=lambda p: (len(p), p), reverse=True):
        mount = top[point]
        below = root == b"/" or point == root or point.startswith(root + b"/")
        if mount.fstype == b"zfs" and mount.root == b"/" and b"@" not in mount.source and below:
            place = os.path.relpath(point, root)
            found[mount.source.decode("utf-8", "surrogateescape")] = b"" if place == b"." else place
    return found


def _props(row: Mapping[str, str]) -> dict[str, str]:
    return {key: decoded(row[key]) for key in KEYS if row[key] != "-"}


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 0
