"""One entry of a tree as text: mode, size, time, owner; and what happened to it over the points, in words."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Sequence

from engine.entries import Entry, Kind, Status, compare
from engine.text import printable
from tui.listing import BELOW, Listing
from tui.text import Line, Segment, content, count, field, path, size
from tui.widgets.changerows import KINDS

_NS = 10**9
_HALF_YEAR = 183 * 86400
_FEW = 6
GLYPHS: dict[str, tuple[str, str]] = {
    Status.CREATED: ("created", "good"), Status.DELETED: ("deleted", "bad"), Status.CHANGED: ("changed", "warn"),
    Status.TYPE: ("changed its type", "warn"), Status.ATTRS: ("changed attributes", "dim"),
    BELOW: ("something in it changed", "warn")}
"""What happened in a point, in words, and the look of it."""


def mode(entry: Entry) -> str:
    """Return kind and permissions in ten letters, as `ls -l` writes them."""
    return stat.filemode(entry.st_mode)


def amount(entry: Entry) -> str:
    """Return the size column: bytes of a file, the numbers of a device, a word for what has no size."""
    if entry.kind is Kind.FILE:
        return size(entry.size)
    if entry.kind in (Kind.BLOCK, Kind.CHAR):
        return f"{os.major(entry.rdev)},{os.minor(entry.rdev)}"
    return {Kind.DIR: "dir", Kind.LINK: "link", Kind.FIFO: "fifo"}.get(entry.kind, "socket")


def moment(entry: Entry, form: str = "%Y-%m-%d %H:%M:%S %z") -> str:
    """Return the modification time, local; ``?`` for one that no calendar knows."""
    try:
        return time.strftime(form, time.localtime(entry.mtime // _NS))
    except (OverflowError, ValueError, OSError):
        return "?"


def short_moment(entry: Entry, now: float) -> str:
    """Return the modification time in eleven cells: without the year in the half year around `now` (seconds)."""
    near = abs(now - entry.mtime / _NS) < _HALF_YEAR
    return moment(entry, "%m-%d %H:%M" if near else "%Y-%m-%d ")


def facts(entry: Entry) -> list[Segment]:
    """Return an entry in one line: kind, mode, owner, exact size, time, target of a link."""
    parts: list[Segment] = [(KINDS[entry.kind], ""), (f"  {entry.mode:04o}  {entry.uid}:{entry.gid}", "dim")]
    if entry.kind is Kind.FILE:
        parts.append((f"  {count(entry.size)} B", ""))
    elif entry.kind in (Kind.BLOCK, Kind.CHAR):
        parts.append((f"  device {amount(entry)}", ""))
    if entry.kind is Kind.LINK:
        parts.append((f"  -> {printable(entry.target)}", "accent"))
    return [*parts, ("  " + moment(entry, "%Y-%m-%d %H:%M:%S"), "dim")]


def differs(old: Entry | None, new: Entry | None) -> list[Segment]:
    """Return in words how the live entry `new` differs from the one of a point."""
    change = compare(old, new)
    if change is None:
        folder = new is not None and new.kind is Kind.DIR
        return [("now: itself as in the point; c compares what is in it", "dim")] if folder else [
            ("now: as in the point", "good")]
    if change.status is Status.CREATED:
        return [("now: there, not in the point", "warn")]
    if change.status is Status.DELETED:
        return [("now: GONE", "bad")]
    return [(f"now: {', '.join(change.what)} {'differs' if len(change.what) == 1 else 'differ'}", "warn")]


def story(listing: Listing, index: int) -> list[Segment]:
    """Return what happened to a name over the points, in words, the newest first."""
    numbers, events = listing.numbers, listing.events(index)
    if listing.names[index].life is None:
        return [("in no point" if numbers else "not in this point", "warn")]
    if not numbers:
        return [("snapshots have no catalog: no bars over all points", "dim")]
    if not events:
        return [("the same in every point", "dim")]
    parts: list[Segment] = []
    groups: list[tuple[str, list[int]]] = []
    for event in reversed(events):
        if groups and groups[-1][0] == event.glyph:
            groups[-1][1].append(numbers[event.index])
        else:
            groups.append((event.glyph, [numbers[event.index]]))
    for glyph, where in groups[:_FEW]:
        word, look = GLYPHS[glyph]
        listed = ", ".join(map(str, where[:_FEW])) + (f" and {len(where) - _FEW} more" if len(where) > _FEW else "")
        parts += [(", " if parts else "", "dim"), (word, look), (f" in {listed}", "")]
    return [*parts, (" ..", "dim")] if len(groups) > _FEW else parts


def all_facts(entry: Entry | None, label: str) -> list[Line]:
    """Return everything about one side of an entry, a field a line."""
    if entry is None:
        return [content((label, "head")), field("", ("not there", "warn"))]
    rows: list[Line] = [content((label, "head")), field("Kind", KINDS[entry.kind]),
                        field("Mode", f"{mode(entry)}  {entry.mode:04o}"),
                        field("Owner", f"user {entry.uid}, group {entry.gid}"),
                        field("Changed", f"{moment(entry)}", (f"  .{entry.mtime % _NS:09d} s", "dim"))]
    if entry.kind is Kind.FILE:
        rows.append(field("Size", f"{count(entry.size)} bytes", (f"  {size(entry.size)}", "dim")))
    if entry.kind is Kind.LINK:
        rows.append(field("Points to", printable(entry.target)))
    if entry.kind in (Kind.BLOCK, Kind.CHAR):
        rows.append(field("Device", amount(entry)))
    if entry.csum:
        rows.append(field("Checksum", printable(entry.csum)))
    if entry.link is not None:
        rows.append(field("Links", "one of several hard links to this file"))
    rows += [field("Attribute" if i == 0 else "", f"{printable(name)} = {printable(value[:200])}")
             for i, (name, value) in enumerate(entry.xattrs)]
    return rows


def both_sides(here: Entry | None, live: Entry | None, label: str, story_parts: Sequence[Segment]) -> list[Line]:
    """Return everything about a path: in a point, now, how they differ, what happened over the points."""
    some = here or live
    rows: list[Line] = [content((path(some.path) if some is not None else "", "strong")), content("")]
    if some is not None:
        rows.append(field("Differs", *differs(here, live)))
    return [*rows, field("History", *story_parts), content(""), *all_facts(here, label), content(""),
            *all_facts(live, "Now")]
