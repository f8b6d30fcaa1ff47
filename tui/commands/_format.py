"""How points, entries, changes and findings look in a table and in JSON: the same everywhere."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from engine.entries import Change, Diff, Entry, Kind, Status, Version
from engine.points import Part, RestorePoint
from engine.results import Verdict
from engine.text import human_age, human_size, json_path, message, printable, short_age, shown_path
from tui.output import safe_text, table
from tui.storagewords import volumes, whose

UNKNOWN_SIZE = "-"
STATUS_WORDS = {Status.CREATED: "created", Status.CHANGED: "changed", Status.TYPE: "of another type",
                Status.ATTRS: "with other attributes", Status.DELETED: "deleted"}


# --- points -------------------------------------------------------------------------------------------------

def point_json(point: RestorePoint, *, whole: bool = False) -> dict[str, Any]:
    """Return the JSON form of a point; `whole` adds its document (sources, counts, kernel, …)."""
    out: dict[str, Any] = {
        "id": point.id, "backend": point.backend, "number": point.number,
        "created": point.created.isoformat(), "comment": safe_text(point.comment), "pinned": point.pinned,
        "tags": [safe_text(t) for t in point.tags], "state": point.state,
        "own_bytes": point.own_bytes, "newest": point.newest,
        "problems": [message(p) for p in point.problems],
    }
    if point.backend != "replica":
        out[point.backend] = {"owner": message(point.owner), "parts": [_part_json(part) for part in point.parts]}
    if whole:
        out["document"] = point.doc
    return out


def _part_json(part: Part) -> dict[str, Any]:
    """Return one volume of a point, with what its tool says of it."""
    place = None if part.place is None else shown_path(part.place)
    facts = {key: message(value) if isinstance(value, str) else value for key, value in part.facts.items()}
    return {"volume": message(part.volume), "snapshot": message(part.snapshot), "place": place, "state": part.state,
            "own_bytes": part.own_bytes, "facts": facts}


def label(point: RestorePoint) -> str:
    """Return what a point is called in a sentence: its number, or its id where it has none."""
    return str(point.number) if point.number else printable(point.id)


def local_time(moment: datetime) -> str:
    """Return a moment as local date and time, to the second."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def server_time() -> str:
    """Return the server's time with its zone, as a sentence."""
    return "The server's time is " + datetime.now(UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z") + "."


def point_name(point: RestorePoint) -> str:
    """Return number, id, time, age and comment of a point as one phrase."""
    comment = f', "{printable(point.comment)}"' if point.comment else ""
    name = f"{point.number} ({printable(point.id)})" if point.number else printable(point.id)
    return f"point {name}, {local_time(point.created)}, " \
           f"{human_age(point.age())}{comment}"


def marks(point: RestorePoint) -> str:
    """Return what is special about a point, in words: newest, pinned, its state when that is not ok, its
    tags."""
    words = ["newest"] * point.newest + ["pinned"] * point.pinned
    words += [printable(point.state)] if point.state != "ok" else []
    words += [whose(point)] if point.owner else []
    return ", ".join(words + [f"#{printable(t)}" for t in point.tags])


def points_table(points: Sequence[RestorePoint], *, long_age: bool = False) -> list[str]:
    """Return the lines of `list`: one point per line, in the order given, times local."""
    now = datetime.now(UTC)
    age = human_age if long_age else short_age
    rows = [[str(p.number or UNKNOWN_SIZE), printable(p.id), local_time(p.created), age(p.age(now)), size(p.own_bytes),
             marks(p), printable(p.comment)] for p in points]
    head = ["No.", "Point", "Taken", "Age", "Own size", "Marks", "Comment"]
    if any(p.backend != "replica" for p in points):
        head.insert(5, "Of")
        for row, point in zip(rows, points, strict=True):
            row.insert(5, volumes(point))
    return table(head, rows, right=(0, 3, 4))


def size(count: int | None) -> str:
    """Return a size for people, or a dash where nobody measured it."""
    return UNKNOWN_SIZE if count is None else human_size(count)


# --- entries ------------------------------------------------------------------------------------------------

def entry_json(entry: Entry) -> dict[str, Any]:
    """Return the JSON form of an entry: mode as octal text, mtime in nanoseconds, names with their base64
    twins."""
    out: dict[str, Any] = {
        **json_path(entry.path), "kind": entry.kind.value, "mode": f"{entry.mode:04o}", "uid": entry.uid,
        "gid": entry.gid, "mtime_ns": entry.mtime, "size": entry.size,
    }
    if entry.kind is Kind.LINK:
        out["target"] = printable(entry.target)
        if printable(entry.target).encode("utf-8", "replace") != entry.target:
            out["target_b64"] = _b64(entry.target)
    if entry.kind in (Kind.BLOCK, Kind.CHAR):
        out["device"] = [os.major(entry.rdev), os.minor(entry.rdev)]
    if entry.xattrs:
        out["xattrs"] = [{"name": printable(name), "value_b64": _b64(value)} for name, value in entry.xattrs]
    if entry.link is not None:
        out["link_group"] = entry.link
    if entry.csum:
        out["xxh128"] = printable(entry.csum)
    return out


def _b64(data: bytes) -> str:
    import base64

    return base64.b64encode(data).decode()


def entry_row(entry: Entry, shown: str) -> list[str]:
    """Return the cells of a listing like `ls -ln`: mode, owner, group, size, local time, name."""
    amount = f"{os.major(entry.rdev)}, {os.minor(entry.rdev)}" if entry.kind in (Kind.BLOCK, Kind.CHAR) \
        else str(entry.size)
    name = shown + (f" -> {printable(entry.target)}" if entry.kind is Kind.LINK else "")
    mode = stat.filemode(entry.st_mode) + ("+" if entry.xattrs else "")
    return [mode, str(entry.uid), str(entry.gid), amount, entry_time(entry), name]


def entry_time(entry: Entry) -> str:
    """Return an entry's modification time, local, to the second; also for times no calendar knows."""
    seconds = entry.mtime // 10**9
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):
        return f"@{seconds}"


def version_json(version: Version) -> dict[str, Any]:
    """Return the JSON form of one version of a path."""
    return {**entry_json(version.entry), "first": version.first, "last": version.last,
            "current": version.current, "points": version.points}


# --- changes ------------------------------------------------------------------------------------------------

def change_line(change: Change) -> str:
    """Return ``S  /path`` with the sizes or the attributes that differ behind it in parentheses."""
    line = f"{change.status.value}  {shown_path(change.path)}"
    detail = _change_detail(change)
    return f"{line}  ({detail})" if detail else line


def _change_detail(change: Change) -> str:
    old, new = change.old, change.new
    if change.status is Status.TYPE and old and new:
        return f"{old.kind.name.lower()} -> {new.kind.name.lower()}"
    if change.status is Status.ATTRS:
        return ", ".join(change.what)
    if change.kind is not Kind.FILE:
        return ""
    if old and new:
        before, after = human_size(old.size), human_size(new.size)
        return after if old.size == new.size else f"{before} -> {after}"
    entry = new or old
    return human_size(entry.size) if entry else ""


def change_json(change: Change) -> dict[str, Any]:
    """Return the JSON form of one change: status letter, path, what differs, and both entries' sizes and
    kinds."""
    out: dict[str, Any] = {**json_path(change.path), "status": change.status.value, "what": list(change.what),
                           "kind": change.kind.value}
    for side, entry in (("old", change.old), ("new", change.new)):
        out[side] = None if entry is None else {k: v for k, v in entry_json(entry).items()
                                                if k not in ("path", "path_b64")}
    return out


def diff_totals(diff: Diff) -> dict[str, int]:
    """Return the counts of a diff by word, and the bytes on both sides."""
    counts = {status.name.lower(): diff.count(status) for status in Status}
    return {**counts, "bytes_new": diff.bytes_new, "bytes_old": diff.bytes_old}


def totals_line(diff: Diff) -> str:
    """Return the counts of a diff as one line; kinds of change that did not happen are left out."""
    words = [f"{diff.count(status):,} {word}" for status, word in STATUS_WORDS.items() if diff.count(status)]
    if not words:
        return "No differences."
    sizes = f"{human_size(diff.bytes_new)} of content after, {human_size(diff.bytes_old)} before"
    return f"{', '.join(words)}; {sizes}"


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """Return whether a system will boot, and why."""
    return {"answer": verdict.answer, "kernel": message(verdict.kernel), "words": verdict.words,
            "findings": [{"level": f.level, "text": message(f.text), "hint": message(f.hint)}
                         for f in verdict.findings]}
