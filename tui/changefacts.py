"""What differs about one path besides its content, line by line: type, mode, owner, times, target, attributes."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from engine.entries import Change, Entry, Kind
from tui.text import Line, content, count, field, safe, stamp
from tui.widgets.changerows import KINDS, PAST

_SHOWN = 60


def facts(change: Change) -> list[Line]:
    """Return what happened to a path, and each thing that differs with its old and its new value."""
    rows: list[Line] = [content((f"{KINDS[change.kind]} {PAST[change.status]}", "strong"))]
    if change.old is None or change.new is None:
        entry = change.new or change.old
        assert entry is not None
        rows += [field(name, value) for name, value in _values(entry) if value]
        return rows
    for (name, old), (_, new) in zip(_values(change.old), _values(change.new), strict=True):
        if old != new:
            rows.append(field(name, (old or "-", "bad"), (" -> ", "dim"), (new or "-", "good")))
    rows += _attribute_rows(change.old, change.new)
    if len(rows) == 1 and "links" in change.what:
        rows.append(field("Links", "the hard links to it are others"))
    return rows


def target(entry: Entry | None) -> str:
    """Return where a symbolic link leads, printable; "" for everything else."""
    return safe(os.fsdecode(entry.target)) if entry is not None and entry.kind is Kind.LINK else ""


def _values(entry: Entry) -> list[tuple[str, str]]:
    """What an entry is, in words: pairs of a name and a value."""
    device = f"{os.major(entry.rdev)}:{os.minor(entry.rdev)}" if entry.kind in (Kind.BLOCK, Kind.CHAR) else ""
    return [("Type", KINDS[entry.kind]), ("Leads to", target(entry)), ("Device", device),
            ("Size", f"{count(entry.size)} bytes" if entry.kind is Kind.FILE else ""), ("Mode", f"{entry.mode:04o}"),
            ("Owner", str(entry.uid)), ("Group", str(entry.gid)), ("Time", _time(entry.mtime))]


def _time(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    try:
        clock, zone = stamp(datetime.fromtimestamp(seconds, UTC)).rsplit(" ", 1)
        return f"{clock}.{rest:09d} {zone}"
    except (ValueError, OverflowError, OSError):    # a time that no calendar has
        return f"{seconds}.{rest:09d} seconds since 1970"


def _attribute_rows(old: Entry, new: Entry) -> list[Line]:
    """Extended attributes and ACLs that differ, each by its name."""
    before, after = dict(old.xattrs), dict(new.xattrs)
    rows: list[Line] = []
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            label = "ACL" if name.startswith(b"system.posix_acl_") else "Attribute"
            rows.append(field(label, (safe(os.fsdecode(name)), "strong"), "  ",
                              (_value(before.get(name)), "bad"), (" -> ", "dim"), (_value(after.get(name)), "good")))
    return rows


def _value(data: bytes | None) -> str:
    """The value of an attribute: its text, or its bytes where it is none."""
    if data is None:
        return "absent"
    text = data.rstrip(b"\0")
    shown = text.decode("ascii") if text.isascii() and text.decode("ascii").isprintable() else data.hex(" ")
    return (shown[:_SHOWN] + " ..") if len(shown) > _SHOWN else shown or "empty"
