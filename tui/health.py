"""How the store stands, in words: what the status line and the screen about the store say. Pure: data in, text out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from statistics import median

from textual.content import Content

from engine.points import RestorePoint
from engine.results import StoreStatus
from engine.text import short_age
from tui.storagewords import Levels, level_hint, level_line, trouble_line
from tui.text import Line, Segment, bar, brief_age, called, content, count, field, plural, safe, size, stamp

OLD_ANYWAY = 48 * 3600
"""Seconds after which the last good point is called old where no schedule can be seen."""
_LEAST = 3600
_LOOKED_AT = 20
_FEW = 5


def usual_interval(points: Sequence[RestorePoint]) -> float | None:
    """Return the usual seconds between points that were taken on a schedule (the median of the latest), None where
    fewer than three were: points taken by hand come when somebody wants one."""
    times = sorted((p.created for p in points if p.doc.get("reason") == "schedule"), reverse=True)[:_LOOKED_AT]
    gaps = [(newer - older).total_seconds() for newer, older in pairwise(times)]
    return median(gaps) if len(gaps) >= 2 else None


def last_good(points: Sequence[RestorePoint]) -> RestorePoint | None:
    """Return the latest point that is whole."""
    return max((p for p in points if p.state == "ok"), key=lambda p: p.created, default=None)


def old_after(points: Sequence[RestorePoint]) -> float:
    """Return the age in seconds from which the last good point is called old: twice the usual interval of a schedule,
    but not under an hour; 48 hours without a schedule."""
    usual = usual_interval(points)
    return OLD_ANYWAY if usual is None else max(_LEAST, 2 * usual)


def store_line(status: StoreStatus, points: Sequence[RestorePoint], now: datetime, width: int = 0, *,
               total: int | None = None, beside: Sequence[list[Segment]] = ()) -> list[Segment]:
    """Return what matters now in one line: fill against the limit, free room, number of points, the last good one,
    and groups of others (`beside`). `total` counts the points where `points` are those of the store alone.
    With a width in cells, what is in order goes first when there is no room for all: never a warning."""
    first: list[Segment] = [("ROLLBACK AT NEXT BOOT", "warn")] if status.ordered else []
    width = max(1, width - len("ROLLBACK AT NEXT BOOT") - 3) if first and width else width
    number = count(len(points) if total is None else total)
    groups = [_fill_group(status) if status.exists else [], _free_group(status) if status.exists else [],
              [("Points ", "dim"), (number, "")], _good_group(points, now), *beside]
    for index in (*range(4, len(groups)), 2, 0, 1, 3):
        fits = sum(len(text) for group in groups for text, _ in group) + 3 * (sum(map(bool, groups)) - 1) <= width
        if width and not fits and all(look not in ("bad", "warn") for _, look in groups[index]):
            groups[index] = []
    parts: list[Segment] = []
    for group in filter(None, [first, *groups]):
        parts += [("   ", ""), *group] if parts else group
    return parts


def _fill_group(status: StoreStatus) -> list[Segment]:
    parts: list[Segment] = [("Store ", "dim"), (size(status.store_bytes), "strong")]
    if status.limit_bytes:
        share = status.store_bytes / status.limit_bytes
        look = "bad" if share > 1 else "warn" if share > 0.9 else ""
        parts += [(" of ", "dim"), (size(status.limit_bytes), ""), (f" {share:.0%}", look)]
        if share > 1:
            parts.append((" over its limit", "bad"))
    return parts


def _free_group(status: StoreStatus) -> list[Segment]:
    low = is_low(status)
    return [("Free ", "dim"), (size(status.free_bytes) + (" LOW" if low else ""), "bad" if low else "")]


def _good_group(points: Sequence[RestorePoint], now: datetime) -> list[Segment]:
    good = last_good(points)
    if good is None:
        return [("NO GOOD POINT", "bad")] if points else []
    old = good.age(now) > old_after(points)
    return [("Last good ", "dim"), (brief_age(good.age(now)) + (" OLD" if old else ""), "warn" if old else "")]


def is_low(status: StoreStatus) -> bool:
    """Whether the store's file system has hardly any room left: under a twentieth of the tree, or under 64 MiB."""
    return status.free_bytes < max(status.tree_bytes // 20, 64 << 20)


def health_rows(status: StoreStatus, points: Sequence[RestorePoint], now: datetime, width: int = 60) -> list[Line]:
    """Return the store's health in full: sizes, room, points, the lock, what was left unfinished, what is damaged."""
    if not status.exists and not points:
        return [field("Store", status.path), field("Root", status.root), Content(""),
                content("There is no store yet: it is made when the first point is taken.")]
    rows: list[Line] = [field("Store", status.path, ("  read-only", "warn") if status.read_only else ""),
                        field("Root", status.root), *_room(status, width), *_count(points), _last(points, now),
                        _work(status)]
    if status.rollback:
        rows.append(field("Rollback", (status.rollback, "warn" if status.holder else "bad")))
    if status.ordered:
        rows.append(field("Next boot", (status.ordered, "warn")))
        rows.append(field("", ("R, or `rollpoint rollback --undo`, takes the order back", "dim")))
    bad = [p for p in points if p.state != "ok"]
    for point in bad[:_FEW]:
        why = point.problems[0] if point.problems else "no reason is recorded"
        rows.append(field("Damaged", (f"point {called(point)}  ", "strong"), (why, "bad")))
    if len(bad) > _FEW:
        rows.append(field("", (f"and {len(bad) - _FEW} more: filter the points by `damaged`", "dim")))
    return rows


def level_rows(levels: Levels) -> list[Line]:
    """Return how full what snapshots live in is, what is pending, and which backends cannot say; nothing where there
    is no such storage."""
    full, pending, troubles = levels
    looks = {"ok": "", "warning": "warn", "full": "bad"}
    rows: list[Line] = []
    for level in sorted(full, key=lambda one: one.percent, reverse=True):
        rows.append(field("" if rows else "Storage", (level_line(level), looks.get(level.state, "bad"))))
        rows += [field("", (level_hint(level), "dim"))] if level_hint(level) else []
    rows += [field("Pending", (text, "warn")) for text in pending]
    return [*rows, *(field("Not known", (trouble_line(trouble, "asked"), "warn")) for trouble in troubles)]


def _room(status: StoreStatus, width: int) -> list[Line]:
    history = max(0, status.store_bytes - status.tree_bytes)
    rows: list[Line] = [field("Size", (size(status.store_bytes), "strong"),
                              (f"  the tree {size(status.tree_bytes)}, older states {size(history)}", "dim"))]
    if status.limit_bytes:
        share = status.store_bytes / status.limit_bytes
        look = "bad" if share > 1 else "warn" if share > 0.9 else ""
        filled = bar(share, max(10, min(32, width - 40)))
        rows.append(field("Limit", (filled, "accent"), (f" {share:.0%}", look), " of ", size(status.limit_bytes),
                          (" OVER ITS LIMIT" if share > 1 else "", "bad")))
    else:
        rows.append(field("Limit", ("none is set", "dim")))
    low = is_low(status)
    return [*rows, field("Free", (size(status.free_bytes), "bad" if low else ""),
                         (" LOW: taking a point may find no room" if low else "", "bad"))]


def _count(points: Sequence[RestorePoint]) -> list[Line]:
    bad, pinned = sum(p.state != "ok" for p in points), sum(p.pinned for p in points)
    parts: list[Segment] = [(count(len(points)), "strong")]
    parts += [(f", {count(pinned)} pinned", "")] if pinned else []
    if points:
        parts.append((f", {count(bad)} DAMAGED", "bad") if bad else (", none known to be damaged", ""))
    kinds = sorted({p.backend for p in points})
    if len(kinds) > 1:
        each = ", ".join(f"{sum(p.backend == kind for p in points)} {safe(kind)}" for kind in kinds)
        parts.append((f"  ({each})", "dim"))
    return [field("Points", *parts)]


def _last(points: Sequence[RestorePoint], now: datetime) -> Line:
    good, usual = last_good(points), usual_interval(points)
    if good is None:
        return field("Last good", ("there is none", "bad" if points else "dim"))
    old = good.age(now) > old_after(points)
    rhythm = f"usually every {short_age(usual)}" if usual is not None else "no schedule can be seen"
    return field("Last good", f"point {called(good)}, ", (brief_age(good.age(now)), "warn" if old else ""),
                 (" OLD" if old else "", "warn"), (f"  {stamp(good.created)}  {rhythm}", "dim"))


def _work(status: StoreStatus) -> Line:
    if status.holder:
        return field("Work", (status.holder, "warn"), ("  looking works meanwhile", "dim"))
    if status.unfinished:
        return field("Work", ("UNFINISHED  ", "warn"), status.unfinished)
    return field("Work", ("nobody writes to the store now, nothing is unfinished", ""))


def age_note() -> str:
    """Return how `OLD` is decided, for the help."""
    return ("OLD: the last good point is older than twice the usual interval of scheduled points, or than "
            f"{plural(OLD_ANYWAY // 3600, 'hour')} where there is no schedule.")
