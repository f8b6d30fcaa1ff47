"""Which store, which system and which point is meant: by what the admin named, or because there is only one."""

from __future__ import annotations

import os
from collections.abc import Sequence

from engine.errors import RefusedError, UsageError
from engine.machine.blockids import split_spec
from engine.machine.filesystems import FileSystem, same_uuid
from engine.points import LATEST
from engine.rescue.survey import FoundPoint, FoundStore, Survey
from engine.text import plural, printable


def named(file_system: FileSystem, spec: str) -> bool:
    """Whether somebody means this file system by a device, UUID=, LABEL= or PARTUUID=."""
    if spec == file_system.device:
        return True
    if spec.startswith("/dev/") and os.path.exists(spec):      # /dev/disk/by-id/…, /dev/VG/LV
        return os.path.realpath(spec) == os.path.realpath(file_system.device)
    tag, value = split_spec(spec)
    if tag in ("uuid", "partuuid"):
        return same_uuid(value, getattr(file_system, tag))
    return tag == "label" and bool(value) and value == file_system.label


def split_store(spec: str) -> tuple[str, str | None]:
    """Return the device (or share) and the path of ``DEVICE[:/PATH]``; the path is None where none is given."""
    start = spec.find(":/") + 2 if not spec.startswith("/") and "=" not in spec else 0
    device, colon, path = spec[start:].partition(":/")
    return spec[:start] + device, path.strip("/") if colon else None


def store(survey: Survey, spec: str = "") -> FoundStore:
    """Return the store that `spec` (``DEVICE[:/PATH]``) names, or the only one there is.

    Raises UsageError when there is none or more than one, RefusedError when it cannot be used.
    """
    if spec:
        device, path = split_store(spec)
        fits = [s for s in survey.stores if named(s.on, device) and path in (None, s.path)]
        what = f"at {printable(spec)}"
    else:
        fits = [s for s in survey.stores if not s.problem] or list(survey.stores)
        what = "on any disk"
    if len(fits) > 1:
        raise UsageError(f"there are {len(fits)} stores: {_names(fits)}", hint="name one of them with --store")
    if not fits:
        others = f"there is {_names(survey.stores)}" if survey.stores else (
            "it may be on an NFS share (--share SERVER:/PATH), on LVM or RAID (--activate), or deeper than three "
            "directories (--store DEVICE:/PATH)")
        closed = [f"{printable(u.on.device)} cannot be read: {u.why}" for u in survey.unreadable]
        raise UsageError("; ".join([f"there is no store {what}", *closed]), hint=others)
    if fits[0].problem:
        raise RefusedError(f"the store {printable(fits[0].name)} cannot be used: {fits[0].problem}",
                           hint="use the Rollpoint that wrote it, or name another store with --store")
    return fits[0]


def _names(stores: Sequence[FoundStore]) -> str:
    return ", ".join(f"{printable(s.name)} ({s.host or 'unknown host'}, {plural(s.count, 'point')})" for s in stores)


def point(found: FoundStore, spec: str = LATEST) -> FoundPoint:
    """Return the point of a store that an id, a unique prefix, a number or ``latest`` names. Raises UsageError."""
    if not found.points:
        raise UsageError(f"the store {printable(found.name)} has no point that can be read",
                         hint="`rollpoint --store DIR repair` may mend it, once it is mounted")
    if spec == LATEST:
        return found.points[0]
    fits = [p for p in found.points if p.id == spec or (spec.isdecimal() and p.number == int(spec))]
    fits = fits or [p for p in found.points if spec and p.id.startswith(spec)]
    if len(fits) != 1:
        raise UsageError(f"{printable(spec)!r} names {len(fits) or 'no'} points of {printable(found.name)}",
                         hint=f"the newest is {found.points[0].number} ({found.points[0].id})")
    return fits[0]


def point_of(found: FoundStore, command: Sequence[str]) -> FoundPoint:
    """Return the point that a command is about, the newest where it names none."""
    for word in command[1:]:
        for one in found.points:
            if word == one.id or (word.isdecimal() and one.number == int(word)):
                return one
    return point(found)
