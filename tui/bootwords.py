"""How a machine starts, and what a point holds of that, as rows. Pure: what the engine says in, rows out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from engine.bootlook import Loader
from engine.bootpieces import BootShown, BootStatus
from engine.errors import RollpointError
from engine.machine.bootimages import Area, DiskRecord
from engine.machine.bootrestore import BOOT_CODE_NAME, DiskPlan, Piece
from engine.machine.disks import Disk
from engine.points import RestorePoint
from engine.results import Finding, Verdict
from tui.text import Segment, path, plural, safe, size

LEVELS = {"blocker": ("NO", "bad"), "warning": ("doubt", "warn"), "info": ("ok", "good")}
ANSWERS = {"yes": "good", "doubtful": "warn", "no": "bad"}


@dataclass(frozen=True, slots=True)
class Place:
    """Bytes that can be looked at: on a disk that is here (`disk`, `offset`, `length`; "" and 0 where it is not), and
    in a file that the point has saved (`file`, "" for none; `length` bytes of it)."""

    title: str
    disk: bytes
    offset: int
    length: int
    file: str


@dataclass(frozen=True, slots=True)
class AreaRow:
    """A line about boot code. A `heading` stands alone; else `title`, `state`, and what is there `now` and `then`.
    `place` can be looked at as bytes, `loader` (a path in the tree) as a file. `more` is said below the list."""

    title: str
    state: Segment = ("", "")
    now: str = ""
    then: str = ""
    more: str = ""
    heading: bool = False
    place: Place | None = None
    loader: bytes | None = None


# --- how it starts -------------------------------------------------------------------------------------------------


def start_rows(status: BootStatus | None, failed: BaseException | None, point: RestorePoint | None,
               shown: BootShown | None, why: str) -> list[Segment]:
    """Return how the machine starts and why, then what the point was found to be when it was taken. `failed` is why
    the machine could not be looked at, `why` the reason that the point's pieces are not shown ("" for none)."""
    rows: list[Segment] = [(f"DAMAGED: {damage}", "bad") for damage in (shown.damage if shown is not None else ())]
    if failed is not None:
        rows += [(f"This machine cannot be looked at: {safe(failed)}", "bad")]
        rows += [(f"  {failed.hint}", "")] if isinstance(failed, RollpointError) and failed.hint else []
    elif status is None:
        rows.append(("Looking at the disks ...", "dim"))
    else:
        by = f"started by {status.firmware}, " if status.firmware else ""
        rows.append((f"Now: {by}{_said(status.verdict)}", ANSWERS.get(status.verdict.answer, "")))
        rows += finding_lines(status.verdict.findings)
        rows += [(f"  note: {note}", "dim") for note in status.notes]
    if point is None:
        return rows
    rows.append(("", ""))
    if why:
        rows.append((f"Point {point.number}: {why}", "warn"))
    return [*rows, *_taken(point), *_compared(shown)]


def _said(verdict: Verdict) -> str:
    return verdict.words + (f" (kernel {verdict.kernel})" if verdict.kernel else "")


def finding_lines(findings: Sequence[Finding]) -> Iterator[Segment]:
    """Yield findings, what speaks against first, each with what to do below it."""
    order = list(LEVELS)
    for finding in sorted(findings, key=lambda f: order.index(f.level) if f.level in order else 0):
        word, look = LEVELS.get(finding.level, ("?", "warn"))
        yield f"  {word}: {finding.text}", look if finding.level != "info" else ""
        if finding.hint:
            yield f"      what to do: {finding.hint}", "dim"


def _taken(point: RestorePoint) -> Iterator[Segment]:
    """What the point's own document says of how the machine started when it was taken."""
    boot = point.doc.get("boot")
    if not isinstance(boot, dict):
        return
    answer, kernel = str(boot.get("verdict", "?")), str(boot.get("kernel") or "")
    words = {"yes": "it would boot, as far as could be seen", "doubtful": "it might not boot",
             "no": "it would NOT boot"}.get(answer, answer)
    by = f"started by {boot['firmware']}, " if boot.get("firmware") else ""
    yield (f"Point {point.number}, when it was taken: {by}{words}" + (f" (kernel {kernel})" if kernel else ""),
           ANSWERS.get(answer, ""))
    for finding in _list(boot, "findings"):
        if isinstance(finding, dict):
            word, look = LEVELS.get(str(finding.get("level")), ("?", "warn"))
            yield f"  {word}: {finding.get('text', '')}", look
    for note in _list(boot, "notes"):
        yield f"  note: {note}", "dim"


def _list(document: dict[str, Any], key: str) -> list[Any]:
    found = document.get(key)
    return found if isinstance(found, list) else []


def _compared(shown: BootShown | None) -> Iterator[Segment]:
    if shown is None:
        return
    if shown.why:
        yield f"Not compared with the disks here: {shown.why}", "warn"
    elif shown.plan is not None:
        pieces = [p for d in shown.plan.disks for p in d.pieces]
        differ = sum(bool(p.differs) for p in pieces)
        if differ:
            yield f"{differ} of {plural(len(pieces), 'boot area')} are not as in the point (2)", "warn"
        elif pieces:
            yield "All boot areas are as in the point.", "good"


# --- boot code -----------------------------------------------------------------------------------------------------


def area_rows(status: BootStatus | None, shown: BootShown | None, loaders: Sequence[Loader]) -> list[AreaRow]:
    """Return what is in the boot areas of each disk and on the ESP, now and in the point."""
    rows: list[AreaRow] = []
    seen: set[bytes] = set()
    here = {disk.path: areas for disk, areas in status.disks} if status is not None else {}
    if shown is not None and shown.plan is not None:
        for plan in shown.plan.disks:
            rows += _planned(plan, here.get(plan.disk.path, ()))
            seen.add(plan.disk.path)
        for disk, reason in shown.plan.missing:
            rows += [AreaRow(_titled(safe(disk.path), disk.size, disk.table, disk.id), heading=True),
                     AreaRow("not here", ("MISSING", "bad"), safe(reason), more=safe(reason)), *_recorded(disk)]
    elif shown is not None:
        for disk in shown.record.disks:
            rows += [AreaRow(_titled(safe(disk.path), disk.size, disk.table, disk.id) + ", as the point has it",
                             heading=True), *_recorded(disk)]
    for live, areas in status.disks if status is not None else ():
        if live.path not in seen:
            rows += [AreaRow(_title(live), heading=True), *(_now(live, area) for area in areas), *_problems(live)]
    if loaders:
        rows.append(AreaRow("Programs on the EFI system partition", heading=True))
        rows += [_loader(loader, compared=shown is not None) for loader in loaders]
    return rows


def _titled(name: str, bytes_: int, table: str, identifier: str, model: str = "") -> str:
    kind = {"none": "no partition table"}.get(table, table.upper())
    return f"{name}  {size(bytes_)}  {kind} {safe(identifier)}".rstrip() + (f"  {safe(model)}" if model else "")


def _title(disk: Disk) -> str:
    return _titled(disk.name, disk.size, disk.table.kind, disk.table.id, disk.model)


def _planned(plan: DiskPlan, areas: Sequence[Area]) -> Iterator[AreaRow]:
    was = "" if plan.disk.name == safe(plan.recorded.path) else f", was {safe(plan.recorded.path)}"
    yield AreaRow(_title(plan.disk) + was, heading=True)
    for warning in plan.warnings:
        yield AreaRow("which disk", ("doubt", "warn"), safe(warning), more=safe(warning))
    for piece in sorted(plan.pieces, key=lambda p: p.offset):
        yield _piece(plan.disk, piece)
    kept = {(p.offset if p.what != BOOT_CODE_NAME else 0) for p in plan.pieces}
    for area in areas:
        if area.offset not in kept:
            yield _now(plan.disk, area, "only now")
    for note in plan.recorded.notes:
        yield AreaRow("when taken", ("note", "dim"), safe(note), more=safe(note))
    yield from _problems(plan.disk)


def _piece(disk: Disk, piece: Piece) -> AreaRow:
    where = f"{disk.name}, bytes {piece.offset} to {piece.offset + piece.length}"
    place = Place(f"{piece.what} of {where}", disk.path, piece.offset, piece.length, piece.file)
    if not piece.differs:
        return AreaRow(piece.what, ("equal", "good"), piece.before, piece.after, f"{where}: as in the point",
                       place=place)
    more = f"{where}: {piece.differs} of {piece.length} bytes differ"
    if piece.refused:
        return AreaRow(piece.what, ("stays", "warn"), piece.before, piece.after,
                       f"{more}. A rollback leaves it as it is: {piece.refused}", place=place)
    return AreaRow(piece.what, ("DIFFERENT", "bad"), piece.before, piece.after,
                   f"{more}. A rollback puts back what the point has.", place=place)


def _now(disk: Disk, area: Area, state: str = "now") -> AreaRow:
    where = f"{disk.name}, bytes {area.offset} to {area.offset + area.length}"
    return AreaRow(area.what, (state, "dim"), area.holds, more=where + (f": {area.note}" if area.note else ""),
                   place=Place(f"{area.what} of {where}", disk.path, area.offset, area.length, ""))


def _recorded(disk: DiskRecord) -> Iterator[AreaRow]:
    for image in disk.images:
        where = f"{safe(disk.path)}, bytes {image.offset} to {image.offset + image.length}"
        yield AreaRow(image.what, ("in point", "dim"), "", image.holds, where,
                      place=Place(f"{image.what} of {where}", b"", 0, image.length, image.file))
    for note in disk.notes:
        yield AreaRow("when taken", ("note", "dim"), safe(note), more=safe(note))


def _problems(disk: Disk) -> Iterator[AreaRow]:
    for problem in disk.table.problems:
        yield AreaRow("partition table", ("PROBLEM", "bad"), safe(problem), more=safe(problem))


def _loader(loader: Loader, *, compared: bool) -> AreaRow:
    def said(fault: str | None) -> str:
        return "" if fault is None else fault or "an EFI program"

    name = path(loader.path)
    state: Segment = ("now", "dim")
    if compared and loader.same:
        state = ("equal", "good")
    elif compared and loader.now is None:
        state = ("GONE", "bad")
    elif compared:
        state = ("only now", "dim") if loader.then is None else ("DIFFERENT", "bad")
    if loader.now:
        state = ("BROKEN", "bad")
    return AreaRow(os.path.basename(name), state, said(loader.now), said(loader.then), name, loader=loader.path)
