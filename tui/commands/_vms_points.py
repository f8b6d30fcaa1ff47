"""`vms points`, `vms take`, `vms history`, `vms manager` and `vms recipes`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from engine.errors import UsageError
from tui.commands import Answer
from tui.commands._args import check_text
from tui.commands._vms_words import amount, count, say

if TYPE_CHECKING:
    from engine.points import RestorePoint
    from engine.results import SnapshotRequest
    from engine.vmpoints.plans import VmVersion
    from engine.vms.manager import Manager
    from tui.commands._context import Context


def inventory_point(context: Context, spec: str) -> RestorePoint:
    """Return the inventory point that an admin named. Raises UsageError."""
    from engine import points

    found = context.engine.vm_points()
    if not found:
        raise UsageError("there is no inventory point yet", hint="take one with `rollpoint vms take`")
    try:
        return points.resolve(found, spec)
    except UsageError as error:
        hint = "`rollpoint vms points` lists them; a directory is named with a slash: ./DIR"
        raise UsageError(error.message, hint=hint) from None


def run_points(context: Context, args: Namespace) -> Answer:
    """List the inventory points and the points of disks; with a VM those of its disks."""
    from engine.text import message, printable
    from tui.commands._format import point_json
    from tui.output import table

    engine = context.engine
    if args.words:
        from tui.commands.vms import look

        machine = look(context, None, context.config.root).machine(args.words[0])
        found = engine.vm_disk_points(machine)
    else:
        found = sorted([*engine.vm_points(), *engine.vm_disk_points()], key=lambda p: (p.created, p.id), reverse=True)
    if found:
        say(context, table(["Point", "Taken", "Age", "Own size", "Holds", "Marks", "Comment"],
                           [_row(point) for point in found], right=(2, 3)))
    else:
        context.out.info("There are no points of virtual machines yet: `rollpoint vms take` takes one.")
    for point in found:
        for problem in point.problems:
            context.out.info(f"Point {printable(point.id)} is {point.state}: {message(problem)}")
    if left := engine.vm_interrupted():
        context.warn(f"{left}; `rollpoint vms restore --resume` deals with it")
    return Answer({"points": [{**point_json(point), "document": point.doc} for point in found]})


def _row(point: RestorePoint) -> list[str]:
    from engine.text import printable, short_age
    from tui.commands._format import local_time, marks, size

    return [printable(point.id), local_time(point.created), short_age(point.age()), size(point.own_bytes),
            _holds(point), marks(point), printable(point.comment)]


def _holds(point: RestorePoint) -> str:
    """What a point is of, in a few words."""
    from engine.text import printable
    from engine.vmpoints.plans import DISKS

    if point.backend == DISKS:
        ran = {"running": ", taken while it ran", "unknown": ", taken while it may have run"}
        return f"disks of {printable(str(point.doc.get('vm', '?')))}" + ran.get(str(point.doc.get("running")), "")
    counts = point.doc.get("counts", {})
    return (f"{count(int(counts.get('machines', 0)), 'VM')}, {count(int(counts.get('templates', 0)), 'template')}, "
            f"{count(int(counts.get('disks', 0)), 'disk')}")


def run_take(context: Context, args: Namespace) -> Answer:
    """Take an inventory point, or a point of a VM's disks."""
    from engine.results import SnapshotRequest
    from engine.text import printable
    from tui.commands._format import point_json

    tags = tuple(dict.fromkeys(check_text("tag", tag) for tag in args.tag))
    request = SnapshotRequest(comment=check_text("comment", args.comment), tags=tags, pin=args.pin)
    context.out.must_finish = True
    point = _disks_taken(context, args.words[0], request) if args.words else None
    if point is None:
        with context.job() as job:
            point = context.engine.vm_take(request, job)
    context.out.info(f"Point {printable(point.id)} was taken: {_holds(point)}.")
    return Answer({**point_json(point), "document": point.doc})


def _disks_taken(context: Context, spec: str, request: SnapshotRequest) -> RestorePoint:
    with context.job() as job:
        machine = context.engine.vms(job).machine(spec)
        return context.engine.vm_take_disks(machine, request, job)


def run_history(context: Context, args: Namespace) -> Answer:
    """Say what became of one VM over the inventory points, newest first."""
    from engine.text import printable
    from tui.commands._format import local_time

    with context.job(keep_output=False) as job:
        found = context.engine.vm_history(args.words[0], job)
    for version in found:
        span = printable(version.first.id) if version.points == 1 else (
            f"{printable(version.first.id)} to {printable(version.last.id)} ({count(version.points, 'point')})")
        say(context, [f"{local_time(version.first.created)}  {span}" + (", as it is in the newest" * version.current)])
        say(context, _version_lines(version))
    return Answer({"versions": [_version_json(version) for version in found]})


def _version_lines(version: VmVersion) -> Iterator[str]:
    machine = version.machine
    if version.changes:
        yield from (f"  {change.text}" for change in version.changes)
    elif machine is not None:
        yield (f"  {machine.name}: {amount(machine.facts.memory, ' MiB')}, {amount(machine.facts.vcpus)} CPUs, "
               f"{count(len(machine.disks), 'disk')}")


def _version_json(version: VmVersion) -> dict[str, Any]:
    from tui.commands._vms_json import machine_json, without_secrets

    document: dict[str, Any] = without_secrets({
        "first": version.first.id, "last": version.last.id, "points": version.points, "current": version.current,
        "changes": [change.text for change in version.changes],
        "machine": None if version.machine is None else machine_json(version.machine)})
    return document


# --- the Manager, and file systems -------------------------------------------------------------------------------

def run_manager(context: Context, args: Namespace) -> Answer:
    """Say what there is of Oracle VM Manager and of its own backups; a thing to look into is a warning."""
    from tui.commands._vms_json import path_json

    found = context.engine.vm_manager()
    say(context, _manager_lines(found))
    for remark in found.remarks:
        context.warn(remark)
    return Answer({
        "uuid": found.uuid or None, "settings": dict(found.settings), "place": path_json(found.place)["path"],
        "forecast_bytes": found.forecast, "remarks": list(found.remarks),
        "backups": [{"name": backup.name, "automatic": backup.automatic, "taken": backup.taken.isoformat(),
                     "bytes": backup.size, **path_json(backup.path)} for backup in found.backups]})


def _manager_lines(found: Manager) -> Iterator[str]:
    from engine.text import human_size, printable, shown_path
    from tui.commands._format import local_time
    from tui.output import table

    if not found.present:
        yield "There is no Oracle VM Manager here, nor backups of one."
        return
    yield f"Manager     {printable(found.uuid) or 'of unknown UUID'}"
    yield f"Backups     {shown_path(found.place)}: {count(len(found.backups), 'backup')}"
    if found.forecast is not None:
        yield f"Forecast    about {human_size(found.forecast)} for all that are kept, as it has grown so far"
    rows = [[backup.name, "daily" if backup.automatic else "by hand", local_time(backup.taken),
             human_size(backup.size)] for backup in found.backups]
    if rows:
        yield from table(["Name", "Kind", "Taken", "Size"], rows, right=(3,))


def run_recipes(context: Context, args: Namespace) -> Answer:
    """Print what makes the file systems of the repositories and of the pool anew, now or as a point has it."""
    from tui.commands._vms_json import path_json

    with context.job(keep_output=False) as job:
        point = inventory_point(context, args.point) if args.point else None
        found = context.engine.vm_recipes(point, job)
    for one in found:
        say(context, one.lines)
        for remark in one.remarks:
            context.warn(remark)
    if not found:
        context.out.info("No repository is a file system of its own.")
    return Answer({"recipes": [{
        **path_json(one.place), "type": one.kind, "device": one.device, "lines": list(one.lines),
        "command": one.command or None, "remarks": list(one.remarks)} for one in found]})
