"""The restore points on a btrfs: ours in ``.rollpoint/ID`` at the top of the file system, those of snapper and
Timeshift with what they write beside them, and other read-only snapshots.

``.rollpoint/ID/point.json`` says what the subvolumes beside it are (`Record`). A point of several file systems has such
a directory on each.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from engine.machine.momentary import HOME
from engine.machine.mounts import Mount
from engine.points import Part, RestorePoint
from engine.text import printable
from engine.volumes import btrfsroom
from engine.volumes.btrfsplaces import Live, Tops
from engine.volumes.btrfstree import Subvolume, fs_uuid, subvolumes
from engine.volumes.owners import ID, OURS, UNKNOWN, owner_of_btrfs

RECORD = b"point.json"
_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Kept:
    """One subvolume of a point of ours: its `name` in the point's directory, where what it was taken of was seen
    (`volume`, and `place` below the root, None: outside of it), and the path of that from the top."""

    name: str
    volume: bytes
    place: bytes | None
    subvolume: bytes


@dataclass(frozen=True, slots=True)
class Record:
    """What point.json says. `file_systems` are the UUIDs of all that hold parts of the point; `kept` only the parts on
    this one."""

    id: str
    created: datetime
    comment: str = ""
    tags: tuple[str, ...] = ()
    pinned: bool = False
    reason: str = "manual"
    file_systems: tuple[str, ...] = ()
    kept: tuple[Kept, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return it as JSON; paths are hexadecimal, they may hold any bytes."""
        parts = [{"name": k.name, "volume": k.volume.hex(), "place": None if k.place is None else k.place.hex(),
                  "subvolume": k.subvolume.hex(), "shown": printable(k.volume)} for k in self.kept]
        return {"format": 1, "id": self.id, "created": self.created.isoformat(), "comment": self.comment,
                "tags": list(self.tags), "pinned": self.pinned, "reason": self.reason,
                "file_systems": list(self.file_systems), "parts": parts}

    @staticmethod
    def of(document: dict[str, Any]) -> Record:
        """Return what a document says. Raises ValueError, KeyError or TypeError for one that is none."""
        if document["format"] != 1:
            raise ValueError(f"format {document['format']}")
        kept = tuple(Kept(str(p["name"]), bytes.fromhex(p["volume"]),
                          None if p["place"] is None else bytes.fromhex(p["place"]), bytes.fromhex(p["subvolume"]))
                     for p in document["parts"])
        return Record(str(document["id"]), datetime.fromisoformat(document["created"]).astimezone(UTC),
                      str(document["comment"]), tuple(map(str, document["tags"])), bool(document["pinned"]),
                      str(document["reason"]), tuple(map(str, document["file_systems"])), kept)


def write_record(directory: bytes, record: Record) -> None:
    """Write point.json, durably, in one step. Raises OSError."""
    temporary = os.path.join(directory, b".point.json.new")
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(record.document(), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, os.path.join(directory, RECORD))
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_record(directory: bytes) -> Record:
    """Read point.json. Raises OSError, or ValueError when it is none."""
    with open(os.path.join(directory, RECORD), "rb") as file:
        try:
            return Record.of(json.loads(file.read(_LIMIT)))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"point.json cannot be read: {error}") from error


# --- what is on one file system --------------------------------------------------------------------------------------


class FileSystem:
    """One btrfs: its subvolumes, and which of those in use (`live`) a snapshot is of; `around` are others in use, which
    nobody asked for and a point of ours may hold too."""

    def __init__(self, tops: Tops, mount: Mount, live: Sequence[Live], around: Sequence[Live] = (), *, every_one: bool
                 ) -> None:
        self.mount, self.live, self._every_one = mount, list(live), every_one
        self._around = [*live, *around]
        self.top = tops.outside(mount)
        self.uuid = fs_uuid(self.top)
        self.subvolumes = subvolumes(self.top)
        self.by_path = {one.path: one for one in self.subvolumes}
        self._live_of = self._families()

    def _families(self) -> dict[str, Live | None]:
        """Return by UUID the subvolume in use that something descends from or is an ancestor of; None where that is
        more than one (then only its direct parent tells)."""
        groups: dict[str, str] = {}

        def top(uuid: str) -> str:
            while groups.setdefault(uuid, uuid) != uuid:
                uuid = groups[uuid]
            return uuid

        for one in self.subvolumes:
            if one.parent_uuid:
                groups[top(one.uuid)] = top(one.parent_uuid)
        used = {one.id: one.uuid for one in self.subvolumes}
        direct: dict[str, Live | None] = {}
        families: dict[str, list[Live]] = defaultdict(list)
        for live in self.live:
            if used.get(live.id):
                direct[used[live.id]] = live
                families[top(used[live.id])].append(live)
        for uuid in list(groups):
            members = families.get(top(uuid), [])
            direct.setdefault(uuid, members[0] if len(members) == 1 else None)
        return direct

    def live_of(self, snapshot: Subvolume) -> Live | None:
        """Return the subvolume in use that a snapshot was taken of, None where nobody can say or it is not in use."""
        return self._live_of.get(snapshot.parent_uuid) if snapshot.parent_uuid else None

    def part(self, snapshot: Subvolume, live: Live | None, volume: str = "") -> Part:
        """Return a snapshot as a part of a point; `volume` names what is not in use."""
        name = os.fsdecode(live.path) if live else volume or f"{self.uuid[:8]}:?"
        facts = {"id": snapshot.id, "uuid": snapshot.uuid, "parent_uuid": snapshot.parent_uuid,
                 "received_uuid": snapshot.received_uuid, "file_system": self.uuid, "read_only": snapshot.read_only,
                 "device": os.fsdecode(self.mount.source), "generation": snapshot.generation}
        return Part(name, os.fsdecode(snapshot.path), live.place if live else None, facts=facts)

    # --- ours ---

    def ours(self) -> Iterator[RestorePoint]:
        """Yield the points of ours, as far as they lie here."""
        home = os.path.join(self.top, HOME)
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for name in sorted(os.listdir(home)):
                if ID.fullmatch(os.fsdecode(name)):
                    yield self._ours(os.fsdecode(name), os.path.join(home, name))

    def _ours(self, name: str, directory: bytes) -> RestorePoint:
        here = [one for one in self.subvolumes if os.path.dirname(one.path) == os.path.join(HOME, os.fsencode(name))]
        try:
            record = read_record(directory)
        except (OSError, ValueError) as error:
            parts = tuple(self.part(one, self.live_of(one)) for one in here)
            return RestorePoint(name, "btrfs", 0, min((one.created for one in here), default=_stamp(name)),
                                state="damaged", problems=(printable(str(error)),), parts=parts)
        found, problems = [], []
        for kept in record.kept:
            path = os.path.join(HOME, os.fsencode(name), os.fsencode(kept.name))
            snapshot = self.by_path.get(path)
            if snapshot is None:
                problems.append(f"its snapshot of {printable(kept.volume)} is gone")
            else:
                found.append(self.part(snapshot, self._live(kept), f"{self.uuid[:8]}:{os.fsdecode(kept.subvolume)}"))
        doc = {"reason": record.reason, "file_systems": list(record.file_systems)}
        return RestorePoint(name, "btrfs", 0, record.created, record.comment, record.tags, record.pinned,
                            "damaged" if problems else "ok", problems=tuple(problems), doc=doc, parts=tuple(found))

    def _live(self, kept: Kept) -> Live | None:
        """Return the subvolume in use that stands where a part was taken, or that has moved from there."""
        there = [one for one in self._around if one.place == kept.place and one.path == kept.volume]
        if there:
            return there[0]
        known = self.by_path.get(kept.subvolume)
        return next((one for one in self._around if known is not None and one.id == known.id), None)

    # --- others' ---

    def others(self) -> Iterator[RestorePoint]:
        """Yield the snapshots of other programs: read-only ones, and those at places that a program is known for."""
        groups: dict[bytes, list[tuple[Subvolume, str]]] = defaultdict(list)
        in_use = {one.id for one in self.live}
        for one in self.subvolumes:
            owner = owner_of_btrfs(one.path)
            if one.id in in_use or one.path.startswith(HOME + b"/") or owner == OURS:
                continue
            if owner in ("snapper", "timeshift") or (one.is_snapshot and (one.read_only or owner != UNKNOWN)):
                groups[os.path.dirname(one.path) if owner == "timeshift" else one.path].append((one, owner))
        for key, members in sorted(groups.items()):
            point = self._other(key, members)
            if self._every_one or any(part.place is not None or self.live_of(one) for part, (one, _) in
                                      zip(point.parts, members, strict=True)):
                yield point

    def _other(self, key: bytes, members: Sequence[tuple[Subvolume, str]]) -> RestorePoint:
        first, owner = members[0]
        parts = tuple(self.part(one, self._used_by(one, owner), f"{self.uuid[:8]}:{_origin(one, owner)}")
                      for one, _ in members)
        point = RestorePoint(f"btrfs:{first.uuid[:8]}", "btrfs", 0, min(one.created for one, _ in members),
                             owner=owner, parts=parts)
        directory = os.path.join(self.top, key)
        if owner == "snapper":
            return _with_snapper(point, os.path.join(os.path.dirname(directory), b"info.xml"))
        return _with_timeshift(point, os.path.join(directory, b"info.json")) if owner == "timeshift" else point

    def _used_by(self, snapshot: Subvolume, owner: str) -> Live | None:
        """Return what a snapshot of another program is of: by its parent, else by where that program puts it."""
        live = self.live_of(snapshot)
        origin = self.by_path.get(os.fsencode(_origin(snapshot, owner)))
        if live is None and origin is not None:
            live = next((one for one in self.live if one.id == origin.id), None)
        return live


def _origin(snapshot: Subvolume, owner: str) -> str:
    """Return the path of what a snapshot of another program was taken of, as its place tells; ``?`` if it does not."""
    path = os.fsdecode(snapshot.path)
    if owner == "snapper":
        return re.sub(r"/?\.snapshots/\d+/snapshot$", "", path)
    return os.path.basename(path) if owner == "timeshift" else "?"


def _with_snapper(point: RestorePoint, info: bytes) -> RestorePoint:
    """Add what snapper says in info.xml (snapper(8)): times are UTC; without a cleanup algorithm it never removes
    one."""
    try:
        with open(info, "rb") as file:
            root = ElementTree.fromstring(file.read(_LIMIT))
        said = {child.tag: (child.text or "").strip() for child in root if child.tag != "userdata"}
        userdata = {str(one.findtext("key")): str(one.findtext("value")) for one in root.findall("userdata")}
        created = datetime.strptime(said["date"], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    except (OSError, ElementTree.ParseError, KeyError, ValueError):
        return dataclasses.replace(point, doc={"note": "snapper's info.xml cannot be read"})
    words = (said.get("type", ""), said.get("cleanup", ""), "important" * (userdata.get("important") == "yes"))
    return dataclasses.replace(point, created=created, comment=said.get("description", ""),
                               tags=tuple(word for word in words if word), pinned=not said.get("cleanup"),
                               doc={"snapper": {**said, "userdata": userdata}})


def _with_timeshift(point: RestorePoint, info: bytes) -> RestorePoint:
    """Add what Timeshift says in info.json: a snapshot with a comment is never removed by it."""
    try:
        with open(info, "rb") as file:
            said: dict[str, Any] = json.loads(file.read(_LIMIT))
        created = datetime.fromtimestamp(int(said["created"]), UTC)
        comment, tags = str(said.get("comments", "")), tuple(str(said.get("tags", "")).split())
    except (OSError, KeyError, TypeError, ValueError, OverflowError):
        return dataclasses.replace(point, doc={"note": "Timeshift's info.json cannot be read"})
    return dataclasses.replace(point, created=created, comment=comment, tags=tags, pinned=bool(comment),
                               doc={"timeshift": {key: said[key] for key in ("app-version", "tags", "type")
                                                  if key in said}})


def _stamp(name: str) -> datetime:
    return datetime.strptime(name[:19], "%Y-%m-%d_%H-%M-%S").replace(tzinfo=UTC)


# --- all of them -----------------------------------------------------------------------------------------------------


def read(live: Sequence[Live], around: Sequence[Live] = (), *, every_one: bool) -> list[RestorePoint]:
    """Return the points on the file systems that some subvolumes lie on; without `every_one` only those of these
    subvolumes themselves. `around` are others in use, on any file system: the parts of a point of ours that are of them
    are there too. Raises RollpointError."""
    if not live:
        return []
    asked, others = _by_file_system(live), _by_file_system(around)
    found: list[RestorePoint] = []
    seen: set[str] = set()
    with Tops() as tops:
        for device, members in asked.items():
            system = FileSystem(tops, members[0].mount, members, others.pop(device, []), every_one=every_one)
            seen.add(system.uuid)
            found += [point for point in system.ours() if every_one or _concerns(point, live)]
            found += system.others()
        halves = {point.id for point in found if _elsewhere(point, seen)}
        for members in others.values() if halves else ():
            system = FileSystem(tops, members[0].mount, (), members, every_one=False)
            seen.add(system.uuid)
            found += [point for point in system.ours() if point.id in halves]
    return _named_apart([_sized(point) for point in _joined(found, seen)])


def _sized(point: RestorePoint) -> RestorePoint:
    """Return a point with what deleting it alone would free, where quota groups count that."""
    counts = [btrfsroom.exclusive(str(part.facts["file_system"]), int(part.facts["id"])) for part in point.parts]
    if not counts or None in counts or point.state != "ok":
        return point
    return dataclasses.replace(point, own_bytes=sum(count or 0 for count in counts))


def _by_file_system(live: Iterable[Live]) -> dict[bytes, list[Live]]:
    groups: dict[bytes, list[Live]] = defaultdict(list)
    for one in live:
        groups[one.mount.device].append(one)
    return groups


def _elsewhere(point: RestorePoint, seen: set[str]) -> list[str]:
    """Return the file systems not seen yet that a point of ours has parts on."""
    return [uuid for uuid in point.doc.get("file_systems", ()) if uuid not in seen]


def _concerns(point: RestorePoint, live: Iterable[Live]) -> bool:
    """Whether a point of ours is, in part, of subvolumes that the configuration names (or cannot say)."""
    names = {os.fsdecode(one.path) for one in live}
    return point.state != "ok" or any(part.volume in names for part in point.parts)


def _joined(found: Sequence[RestorePoint], seen: set[str]) -> list[RestorePoint]:
    """Put the halves of a point that lie on several file systems together; what is not mounted is missing."""
    together: dict[str, RestorePoint] = {}
    others = []
    for point in found:
        if point.owner:
            others.append(point)
            continue
        half = together.get(point.id)
        if half is not None:
            point = dataclasses.replace(
                half, parts=half.parts + point.parts, problems=half.problems + point.problems,
                state="damaged" if "damaged" in (half.state, point.state) else "ok", doc=half.doc or point.doc)
        together[point.id] = point
    for name, point in together.items():
        missing = _elsewhere(point, seen)
        if missing:
            problems = (*point.problems, *(f"its part on the file system {uuid} is not here" for uuid in missing))
            together[name] = dataclasses.replace(point, problems=problems, state="damaged")
    return [*together.values(), *others]


def _named_apart(found: Sequence[RestorePoint]) -> list[RestorePoint]:
    """Give snapshots whose UUIDs begin alike their whole UUIDs as ids."""
    count: dict[str, int] = defaultdict(int)
    for point in found:
        count[point.id] += 1
    return [dataclasses.replace(p, id=f"btrfs:{p.parts[0].facts['uuid']}") if count[p.id] > 1 and p.owner else p
            for p in found]
