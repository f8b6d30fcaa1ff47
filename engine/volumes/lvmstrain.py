"""What a rollback by content does to the snapshots that it reads from: it fills them.

A thick snapshot keeps the old blocks of what is written to its origin, so that all that is put back takes room in it;
when that is full the kernel drops it, and the rollback loses what it reads from half way. The other thick snapshots of
that origin fill alike, and the safety point too. What is put back in a thin volume takes new room of the pool.

How much that will be is an estimate (storageback.written), of the careful kind: a block whose old content is kept
already takes no more room, which nobody can know beforehand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from engine.machine.lvmreport import Lv, pool_of, whole
from engine.points import RestorePoint
from engine.results import Finding
from engine.text import human_size, message
from engine.volumes.lvmlevels import STEPS
from engine.volumes.lvmlist import Snapshot, current, snapshots
from engine.volumes.lvmtake import room

_CHUNK = 4096           # bytes: what lvcreate takes unless it is told otherwise
_LISTED = 256           # chunks whose places one chunk of the snapshot's list holds
_NATIVE = "or set the volume itself back (`rollback --way native`), which does not fill what it reads from"
_SLACK = 1.25           # how much more room is recommended than is needed


def strain(point: RestorePoint, written: Mapping[bytes, int], volumes: Sequence[Lv], percent: int, *,
           rollback: bool = True) -> Iterator[Finding]:
    """Yield what writing so many bytes to the volumes at these places does to the snapshots of a point and to their
    neighbours; `percent` is the size that a safety point's thick snapshots get, which only a `rollback` takes. Raises
    ChangedError when one is gone.
    """
    found = snapshots(volumes)
    pools: dict[str, tuple[Lv, list[Lv], int]] = {}     # by uuid: each pool, the volumes in it, what all of them take
    for part in point.parts:
        size = written.get(part.place, 0) if part.place is not None else 0
        if not size:
            continue
        one = current(part, found)
        origin = next((lv for lv in volumes if lv.full_name == one.origin_name and not lv.hidden), None)
        if origin is None:
            continue
        keeping = [s for s in found if s.kind == "thick" and s.origin_name == one.origin_name and not s.damaged]
        for other in keeping:
            own = other.lv.uuid == one.lv.uuid
            yield from _own(other, origin, size, rollback) if own else _neighbour(other, origin, size)
        pool = pool_of(origin, volumes) if origin.thin else None
        if pool is not None:
            _, others, before = pools.get(pool.uuid, (pool, [], 0))
            pools[pool.uuid] = pool, [*others, origin], before + size
        elif rollback and not origin.thin:
            yield from _safety(origin, room(origin, percent), size)
    for pool, origins, size in pools.values():
        yield from _in_pool(pool, origins, size, rollback)


def _safety(origin: Lv, given: int, size: int) -> Iterator[Finding]:
    """Yield what is to be said of the snapshot that a safety point would be."""
    if size > _capacity(given) and not _never_full(given, origin):
        yield Finding("warning", message(
            f"a safety point of {origin.full_name} has room for {human_size(_capacity(given))}, and about "
            f"{human_size(size)} will be written: it may overflow, and the rollback could not be undone"),
            "make `size` in the section `lvm` of the configuration larger")


def _capacity(size: int) -> int:
    """Return how many bytes of old blocks so much room of a snapshot holds, beside the list of their places."""
    return size * _LISTED // (_LISTED + 1)


def _left(one: Snapshot) -> int:
    return _capacity(int(one.lv.size * (100.0 - (one.lv.snap_fill or 0.0)) / 100))


def _never_full(size: int, origin: Lv) -> bool:
    """Whether a snapshot of that size has room for every block of its origin."""
    return _capacity(size - _CHUNK) >= origin.size


def _own(one: Snapshot, origin: Lv, size: int, rollback: bool) -> Iterator[Finding]:
    """Yield what is to be said of the snapshot that is read from."""
    if _never_full(one.lv.size, origin):
        return
    left = _left(one)
    text = (f"about {human_size(size)} will be written to {origin.full_name}, and its snapshot {one.lv.full_name}, "
            f"which is read from, keeps the old blocks of that: it has room for {human_size(left)}")
    after = 100.0 * (one.lv.size - left + size) / one.lv.size
    instead = f"; {_NATIVE}" if rollback else ""
    if size > left:
        yield Finding("blocker", message(f"{text}; it would overflow, and nothing more could be read from it"),
                      f"{_more(one, origin, size - left)}{instead}")
    elif after >= STEPS[0]:
        yield Finding("warning", message(f"{text}; it would be about {min(after, 100.0):.0f} % full"),
                      f"{_more(one, origin, size)}{instead}")
    else:
        yield Finding("info", message(f"{text}; it would be about {after:.0f} % full"))


def _neighbour(one: Snapshot, origin: Lv, size: int) -> Iterator[Finding]:
    """Yield what is to be said of another snapshot of the same volume."""
    if one.lv.snap_fill is not None and size > _left(one) and not _never_full(one.lv.size, origin):
        yield Finding("warning", message(
            f"the snapshot {one.lv.full_name} may overflow too, and is lost then: it has room for "
            f"{human_size(_left(one))}, and about {human_size(size)} will be written to {origin.full_name}"),
            _more(one, origin, size - _left(one)))


def _more(one: Snapshot, origin: Lv, missing: int) -> str:
    """Return how a snapshot gets more room, by so many bytes at least."""
    lv = one.lv
    most = whole(origin.size + origin.size // _LISTED + 2 * _CHUNK, lv.extent) - lv.size
    add = min(whole(int(missing * _SLACK), lv.extent), most)
    extend = f"`lvextend -L +{_mib(add)}m {lv.full_name}`"
    if add > lv.free:
        return f"{extend} needs more than the {human_size(lv.free)} that the volume group {lv.group} has free"
    return f"{extend} gives it more room"


def _mib(size: int) -> int:
    return -(-size >> 20)


def _in_pool(pool: Lv, origins: Sequence[Lv], size: int, rollback: bool) -> Iterator[Finding]:
    """Yield what is to be said of the pool of thin volumes, to which so much is written together."""
    if pool.data_fill is None:
        return
    left = int(pool.size * (100.0 - pool.data_fill) / 100)
    after = pool.data_fill + 100.0 * size / pool.size if pool.size else 100.0
    if after >= STEPS[1]:
        add = whole(int(max(size - left, size) * _SLACK), pool.extent)
        yield Finding("warning", message(
            f"about {human_size(size)} will be written to {', '.join(lv.full_name for lv in origins)}, and "
            f"{'its' if len(origins) == 1 else 'their'} thin pool {pool.full_name} has {human_size(left)} free: where "
            "it fills up, writing to all of its volumes fails"),
            f"`lvextend -L +{_mib(add)}m {pool.full_name}` gives it more"
            + ("; or set the volume itself back (`rollback --way native`)" if rollback else ""))
