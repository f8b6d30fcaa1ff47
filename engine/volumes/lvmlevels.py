"""How full what LVM's snapshots live in is: thick snapshots themselves, thin pools, volume groups.

A thick snapshot that is full is dropped by the kernel. A thin pool whose data are full lets writers wait, and then
fail, all of its volumes alike; with full metadata it has to be repaired. Warnings at 60, 80 and 95 per cent (dmeventd's
own begin at 80, and it extends nothing unless lvm.conf says so).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from engine.backend import Level
from engine.machine.lvmreport import Lv, pool_fault
from engine.text import human_size, message
from engine.volumes.lvmlist import NAME, Snapshot
from engine.volumes.lvmtake import room

STEPS = (60.0, 80.0, 95.0)
_WORDS = ("", "more than half full", "nearly full", "about to overflow")


def levels(volumes: Sequence[Lv], found: Sequence[Snapshot], origins: Callable[[Lv], bool], percent: int
           ) -> list[Level]:
    """Return the levels of what these snapshots live in, and of the groups and pools of the origins of which more
    would be taken (`origins` says of which; `percent` is the size of thick ones)."""
    said = [_thick(s) for s in found if s.kind == "thick" and s.lv.snap_fill is not None]
    chosen = [lv for lv in volumes if origins(lv)]
    pools = {(lv.group, lv.pool) for lv in [*chosen, *(s.lv for s in found)] if lv.pool}
    for lv in volumes:
        if lv.is_pool and (lv.group, lv.name) in pools:
            said += _pool(lv)
    return said + list(_groups([lv for lv in chosen if not lv.thin], percent))


def _step(fill: float) -> int:
    return sum(fill >= step for step in STEPS)


def _thick(snapshot: Snapshot) -> Level:
    lv = snapshot.lv
    fill = lv.snap_fill or 0.0
    if snapshot.damaged:
        return Level(NAME, lv.full_name, 100.0, "full", message(snapshot.damaged))
    text = f"the snapshot {lv.full_name} of {snapshot.origin_name} has used {fill:.0f} % of {human_size(lv.size)}"
    if _step(fill) and not lv.merging:
        more = -(-lv.size // (2 << 20))
        text += f": {_WORDS[_step(fill)]}; `lvextend -L +{more}m {lv.full_name}` gives it more"
    return Level(NAME, lv.full_name, fill, "warning" if _step(fill) and not lv.merging else "ok", message(text))


def _pool(pool: Lv) -> Iterator[Level]:
    fault = pool_fault(pool, 101.0)
    for what, fill in (("data", pool.data_fill), ("metadata", pool.metadata_fill)):
        if fill is None:
            continue
        step = _step(fill)
        text = f"the {what} of the thin pool {pool.full_name} is {fill:.0f} % full"
        if fault:
            text = f"{fault} (its {what} is {fill:.0f} % full)"
        elif step:
            more = "--poolmetadatasize +64M" if what == "metadata" else "-L +1G"
            text += f": {_WORDS[step]}; `lvextend {more} {pool.full_name}`"
            text += " or fewer snapshots" if what == "data" else ""
        state = "full" if fault or step == len(STEPS) else "warning" if step else "ok"
        yield Level(NAME, f"{pool.full_name} {what}", fill, state, message(text))


def _groups(origins: Sequence[Lv], percent: int) -> Iterator[Level]:
    """Yield the groups that have to hold the room of thick snapshots."""
    for group in sorted({lv.group for lv in origins}):
        inside = [lv for lv in origins if lv.group == group]
        one = inside[0]
        need = sum(room(lv, percent) for lv in inside)
        used = 100.0 * (one.room - one.free) / one.room if one.room else 100.0
        text = (f"the volume group {group} has {human_size(one.free)} of {human_size(one.room)} free; the next "
                f"{'snapshot needs' if len(inside) == 1 else 'snapshots need'} {human_size(need)}")
        state = "full" if one.free < need else "warning" if one.free < 2 * need else "ok"
        yield Level(NAME, group, used, state, message(text))
