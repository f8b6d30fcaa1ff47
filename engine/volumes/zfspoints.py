"""Which snapshots are one restore point, and what is known of it.

Ours carry the point's id in a user property, and the guid of the pool they were taken in: `zfs send -p` copies the
properties too, and such a copy, on a backup pool or another machine, is not a part of the point (nor ours to prune).
Snapshots of others are one point where one command took them: same pool, same name, same transaction group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from engine.points import Part, RestorePoint
from engine.volumes.owners import ID, OURS, UNKNOWN, owner_of_zfs
from engine.volumes.zfslist import Dataset, Everything, Pool, Snapshot

BACKEND = "zfs"
PINNED = "yes"


def points(found: Everything, pools: Mapping[str, Pool], places: Mapping[str, bytes]) -> list[RestorePoint]:
    """Return the restore points that the snapshots are; `places` are the mount points of data sets."""
    own: dict[str, list[Snapshot]] = {}
    other: dict[tuple[str, str, int], list[Snapshot]] = {}
    for one in sorted(found.snapshots, key=lambda s: s.createtxg):
        id_ = point_of(one, found.datasets, pools)
        if id_ and not any(one.guid == m.guid or one.dataset == m.dataset for m in own.get(id_, [])):
            own.setdefault(id_, []).append(one)
        else:
            other.setdefault((one.pool, one.name, one.createtxg), []).append(one)
    listed = [_whole(_point(id_, "", some, found.datasets, places), found.counts.get(id_, 0))
              for id_, some in own.items()]
    for some in other.values():
        some.sort(key=lambda s: (s.dataset.count("/"), s.dataset))
        owner = owner_of_zfs(some[0].name) or OURS      # ours by its name alone: a copy of one
        listed.append(_point(f"zfs:{some[0].full_name}", owner, some, found.datasets, places))
    return listed


def _whole(point: RestorePoint, count: int) -> RestorePoint:
    """Return a point as damaged where it is of more data sets than are listed."""
    if len(point.parts) >= count:
        return point
    problem = (f"only {len(point.parts)} of its {count} data sets are listed: the others are not named in "
               "`zfs.datasets`, or their snapshots are gone")
    return replace(point, state="damaged", problems=(problem, *point.problems))


def point_of(one: Snapshot, datasets: Mapping[str, Dataset], pools: Mapping[str, Pool]) -> str:
    """Return the id of the point of ours that a snapshot says it is of, "" for another program's and for a copy in
    another pool."""
    props = _own_props(one, datasets)
    pool, id_ = pools.get(one.pool), props.get("id", "")
    return id_ if ID.fullmatch(id_) and pool is not None and props.get("pool") == pool.guid else ""


def _own_props(one: Snapshot, datasets: Mapping[str, Dataset]) -> dict[str, str]:
    """Return the properties of a snapshot without those that it has from its data set."""
    above = datasets[one.dataset].props if one.dataset in datasets else {}
    return {key: value for key, value in one.props.items() if above.get(key) != value}


def _point(id_: str, owner: str, some: Sequence[Snapshot], datasets: Mapping[str, Dataset],
           places: Mapping[str, bytes]) -> RestorePoint:
    ordered = sorted(some, key=lambda s: (s.dataset.count("/"), s.dataset))
    props = [_own_props(one, datasets) for one in ordered]
    doc: dict[str, Any] = {"reason": props[0]["reason"]} if props[0].get("reason") else {}
    return RestorePoint(
        id_, BACKEND, 0, min(one.created for one in ordered), comment=_first(props, "comment"),
        tags=apart(_first(props, "tags")),
        pinned=any(p.get("pinned") == PINNED for p in props),
        # The snapshots are of different data sets, which share nothing that one of these snapshots alone holds: here,
        # and only here, the sum is what destroying the point frees.
        own_bytes=sum(one.used for one in ordered),
        problems=tuple(f"{one.full_name} is to be destroyed as soon as its last hold or clone is gone"
                       for one in ordered if one.deferred),
        doc=doc, owner=owner, parts=tuple(_part(one, datasets, places) for one in ordered))


def joined(tags: Iterable[str]) -> str:
    """Return tags as one text; a comma in one of them survives."""
    return ",".join(tag.replace(",", "%2C") for tag in tags)


def apart(text: str) -> tuple[str, ...]:
    """Return the tags that `joined` has made a text of."""
    return tuple(tag.replace("%2C", ",") for tag in text.split(",") if tag)


def _first(props: Iterable[Mapping[str, str]], key: str) -> str:
    return next((p[key] for p in props if p.get(key)), "")


def _part(one: Snapshot, datasets: Mapping[str, Dataset], places: Mapping[str, bytes]) -> Part:
    kind = datasets[one.dataset].kind if one.dataset in datasets else UNKNOWN
    facts = {"type": kind, "guid": one.guid, "createtxg": one.createtxg, "used": one.used,
             "referenced": one.referenced, "written": one.written, "holds": one.holds, "clones": list(one.clones),
             "defer_destroy": one.deferred}
    return Part(one.dataset, one.full_name, places.get(one.dataset), own_bytes=one.used, facts=facts)
