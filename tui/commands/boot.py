"""`boot status` and `boot show POINT`: what starts this machine, and what a point has saved of it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from engine.errors import DamageError, UsageError
from tui.commands import Answer, Command

if TYPE_CHECKING:
    from engine.bootpieces import BootShown, BootStatus
    from engine.machine.bootimages import Area, DiskRecord
    from engine.machine.bootrestore import BootPlan, Piece
    from engine.machine.disks import Disk
    from engine.results import Verdict
    from tui.commands._context import Context

# yes: done; doubtful: done with warnings; no: damage found
_CODES = {"yes": 0, "doubtful": 3, "no": 7}
_DETAILS = ("`boot status` (also plain `boot`) shows each boot disk of this machine and says whether it will "
            "boot: exit code 0 yes, 3 doubtful, 7 no. `boot show POINT` compares what the point has saved with "
            "the disks that are here. Nothing is changed.")


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("what", metavar="status|show", nargs="?", default="status", help="default: status")
    parser.add_argument("point", metavar="POINT", nargs="?", help="for `show`: the point to look at")


def run(context: Context, args: Namespace) -> Answer:
    """Show how the machine starts, or what a point holds of that."""
    if args.what not in ("status", "show"):
        raise UsageError(f"there is no `boot {args.what}`", hint="use `boot status` or `boot show POINT`")
    if (args.what == "show") != (args.point is not None):
        raise UsageError("`boot show` takes a POINT, `boot status` none", hint="see `rollpoint boot --help`")
    if args.what == "show":
        return _show(context, args)
    status = context.engine.boot_status()
    for line in _status_lines(status):
        context.out.data(line)
    return Answer(_status_json(status), _CODES[status.verdict.answer])


# --- the live system ----------------------------------------------------------------------------------------

def _status_lines(status: BootStatus) -> Iterator[str]:
    from engine.text import message, printable

    yield f"System     {printable(status.root)}" + (f", started by {status.firmware}" if status.firmware else "")
    for disk, areas in status.disks:
        yield from _disk_lines(disk, areas)
    if not status.disks:
        yield "No boot disk is known here."
    for note in status.notes:
        yield f"Note: {message(note)}"
    yield from _verdict_lines(status.verdict)


def _disk_lines(disk: Disk, areas: tuple[Area, ...]) -> Iterator[str]:
    from engine.text import human_size, message

    words = [human_size(disk.size), disk.model, disk.serial, {"none": "no partition table"}.get(
        disk.table.kind, f"{disk.table.kind.upper()} {disk.table.id}")]
    yield f"Disk       {disk.name}: " + ", ".join(message(w) for w in words if w)
    for area in areas:
        note = f" ({message(area.note)})" if area.note else ""
        yield f"  {area.what}, bytes {area.offset} to {area.offset + area.length}: {message(area.holds)}{note}"
    for part in disk.table.partitions:
        yield f"  partition {part.number}, from byte {part.start}, {human_size(part.size)}: {message(part.type)}"
    for problem in disk.table.problems:
        yield f"  Problem: {message(problem)}"


def _verdict_lines(verdict: Verdict) -> Iterator[str]:
    from engine.text import message

    kernel = f" (kernel {message(verdict.kernel)})" if verdict.kernel else ""
    yield f"Will it boot? {verdict.words[:1].upper()}{verdict.words[1:]}{kernel}."
    titles = {"blocker": "NO", "warning": "doubt", "info": "ok"}
    for finding in verdict.findings:
        yield f"  {titles[finding.level]}: {message(finding.text)}"
        if finding.hint:
            yield f"    {message(finding.hint)}"


def _status_json(status: BootStatus) -> dict[str, Any]:
    from engine.text import message, printable
    from tui.commands._format import verdict_json

    return {"root": printable(status.root), "firmware": status.firmware,
            "disks": [_disk_json(disk, areas) for disk, areas in status.disks],
            "notes": [message(n) for n in status.notes], "verdict": verdict_json(status.verdict)}


def _disk_json(disk: Disk, areas: tuple[Area, ...]) -> dict[str, Any]:
    from engine.text import message

    return {"path": disk.name, "size": disk.size, "sector": disk.sector, "model": message(disk.model),
            "serial": message(disk.serial), "table": disk.table.kind, "id": message(disk.table.id),
            "problems": [message(p) for p in disk.table.problems],
            "areas": [{"what": a.what, "offset": a.offset, "length": a.length, "holds": message(a.holds),
                       "note": message(a.note)} for a in areas],
            "partitions": [{"number": p.number, "start": p.start, "size": p.size, "type": message(p.type)}
                           for p in disk.table.partitions]}


# --- a point ------------------------------------------------------------------------------------------------

def _show(context: Context, args: Namespace) -> Answer:
    point = context.resolve(args.point)
    shown = context.engine.boot_of(point)
    context.out.data(f"Point      {point.number} ({point.id})")
    for line in _shown_lines(shown):
        context.out.data(line)
    return Answer(_shown_json(shown, point.id), DamageError.exit_code if shown.damage else 0)


def _shown_lines(shown: BootShown) -> Iterator[str]:
    from engine.text import human_size, message, printable

    for disk in shown.record.disks:
        yield f"Disk       {printable(disk.path)}: {human_size(disk.size)}, {disk.table} {message(disk.id)}".rstrip()
        yield from _pieces(shown.plan, disk)
        for note in disk.notes:
            yield f"  Note: {message(note)}"
    if not shown.record.disks:
        yield "No boot disk was saved."
    if shown.why:
        yield f"Not compared: {message(shown.why)}"
    for damage in shown.damage:
        yield f"DAMAGED: {message(damage)}"
    kept = [t for t in shown.record.texts if t.sha256]
    for title, texts in (("Texts", kept), ("Facts", shown.facts)):
        if texts:
            yield f"{title}:"
        for text in texts:
            yield f"  {message(text.name)}  {human_size(text.bytes)}  {message(text.command)}"


def _pieces(plan: BootPlan | None, disk: DiskRecord) -> Iterator[str]:
    """Yield what was saved of a disk, beside what is there now."""
    from engine.text import message, printable

    found = next((d for d in plan.disks if d.recorded.name == disk.name), None) if plan else None
    missing = next((why for d, why in plan.missing if d.name == disk.name), "") if plan else ""
    if missing:
        yield f"  Not here: {message(missing)}"
    if found is None:
        for image in disk.images:
            yield f"  {image.what}, {image.length} bytes from {image.offset}: {message(image.holds)}"
        return
    yield f"  is {found.disk.name} now" if found.disk.name != printable(disk.path) else "  is here"
    for warning in found.warnings:
        yield f"  Warning: {message(warning)}"
    for piece in found.pieces:
        yield f"  {_state(piece)}  {message(piece.words)}"
        for line in piece.view if piece.differs else ():
            yield f"      {line}"


def _state(piece: Piece) -> str:
    return "different" if piece.differs else "equal    "


def _shown_json(shown: BootShown, point: str) -> dict[str, Any]:
    from engine.text import message, printable

    plan, record = shown.plan, shown.record
    by_name = {d.recorded.name: d for d in plan.disks} if plan else {}
    missing = {d.name: message(why) for d, why in plan.missing} if plan else {}
    disks = [{
        "name": d.name, "path": printable(d.path), "size": d.size, "table": d.table, "id": message(d.id),
        "model": message(d.model), "serial": message(d.serial), "notes": [message(n) for n in d.notes],
        "now": by_name[d.name].disk.name if d.name in by_name else None, "missing": missing.get(d.name, ""),
        "images": [{"what": i.what, "offset": i.offset, "length": i.length, "file": message(i.file),
                    "sha256": i.sha256, "holds": message(i.holds)} for i in d.images],
        "pieces": [{"what": p.what, "offset": p.offset, "length": p.length, "before": message(p.before),
                    "after": message(p.after), "differs": p.differs, "refused": message(p.refused),
                    "view": list(p.view)} for p in (by_name[d.name].pieces if d.name in by_name else ())],
    } for d in record.disks]
    texts = [{"name": message(t.name), "command": message(t.command), "bytes": t.bytes, "note": message(t.note)}
             for t in record.texts]
    return {"point": point, "firmware": record.firmware, "disks": disks, "not_compared": message(shown.why),
            "texts": texts, "facts": [message(t.name) for t in shown.facts],
            "damage": [message(d) for d in shown.damage]}


COMMANDS = (Command("boot", "how this machine starts, and what points hold of that", 105, configure, run, _DETAILS),)
