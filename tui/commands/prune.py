"""`prune` and `delete`: remove points, by rule or by name, after a typed `yes`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from engine.text import plural
from tui.commands import Answer, Command
from tui.commands._args import backend_argument, check_backend, latest_argument, yes_argument

if TYPE_CHECKING:
    from engine.points import RestorePoint
    from engine.results import Fate, PruneResult
    from tui.commands._context import Context


def configure_prune(parser: ArgumentParser) -> None:
    """Add the arguments of `prune`."""
    parser.add_argument("--dry-run", action="store_true", help="only show each point's fate and its rule")
    backend_argument(parser, "only the points of this backend")
    yes_argument(parser)


def configure_delete(parser: ArgumentParser) -> None:
    """Add the arguments of `delete`."""
    parser.add_argument("points", metavar="POINT", nargs="+", help="id, unique prefix, number, or `latest`")
    latest_argument(parser)
    yes_argument(parser)


def run_prune(context: Context, args: Namespace) -> Answer:
    """Show the fate of each point, ask, and remove those that the rules do not keep."""
    from tui.commands._confirm import confirm, require_terminal

    check_backend(args.backend)
    fates, troubles = context.engine.all_fates(backend=args.backend)
    document: dict[str, Any] = {"dry_run": args.dry_run, "fates": [_fate_json(fate) for fate in fates]}
    context.partial.update(document)
    for trouble in troubles:
        context.out.note(f"{trouble.backend} cannot be asked, nothing of it is removed: {trouble.reason}")
    going = [fate.point for fate in fates if not fate.keep]
    asked = bool(going) and not (args.dry_run or args.yes)
    _show_fates(context, fates, must_be_seen=asked)
    document |= _losses(context, going)
    if args.dry_run or not going:
        return Answer({**document, "removed": [], "failed": [], "freed": 0})
    require_terminal(args.yes)
    confirm(context, f"{plural(len(going), 'point')} will be removed for good.", args.yes)
    with context.job() as job:
        result = context.engine.prune_all(job, None if args.yes else going, args.backend)
    return _removed(context, result, document)


def run_delete(context: Context, args: Namespace) -> Answer:
    """Ask, and remove the named points."""
    from tui.commands._confirm import confirm, require_terminal
    from tui.commands._format import point_json, points_table

    points = list({point.id: point for point in map(context.resolve, args.points)}.values())
    document: dict[str, Any] = {"points": [point_json(point) for point in points]}
    require_terminal(args.yes)
    if not args.yes:
        for line in points_table(points):
            context.out.say(line)
    document |= _losses(context, points)
    confirm(context, f"{plural(len(points), 'point')} will be removed for good.", args.yes)
    with context.job() as job:
        result = context.engine.delete(points, job)
    return _removed(context, result, document)


def _losses(context: Context, points: Sequence[RestorePoint]) -> dict[str, Any]:
    """Say what deleting points that the storage keeps comes to, and what forbids it; returns it for the document."""
    from engine.errors import RollpointError
    from engine.text import human_size, message

    found: list[dict[str, Any]] = []
    if all(point.backend == "replica" for point in points):
        return {}
    try:
        by_backend = context.engine.losses(points)
    except RollpointError as error:
        context.out.note(f"what this frees cannot be said: {error.message}")
        return {"losses": found}
    for backend, losses in by_backend.items():
        if losses.freed is not None:
            least = "at least " if losses.least else ""
            context.out.say(f"{backend}: deleting these frees {least}{human_size(losses.freed)}, as the storage works "
                            "it out.")
        for finding in losses.findings:
            title = {"blocker": "CANNOT BE REMOVED", "warning": "WARNING"}.get(finding.level, "Note")
            hint = f" ({message(finding.hint)})" if finding.hint else ""
            context.out.say(f"{title}: {message(finding.text)}{hint}")
        found.append({"backend": backend, "freed": losses.freed, "at_least": losses.least, "findings": [
            {"level": f.level, "text": message(f.text), "hint": message(f.hint)} for f in losses.findings]})
    return {"losses": found}


def _show_fates(context: Context, fates: Sequence[Fate], *, must_be_seen: bool) -> None:
    from engine.text import message, printable, short_age
    from tui.commands._format import local_time, size
    from tui.output import table

    rows = [[str(f.point.number or "-"), printable(f.point.id), local_time(f.point.created),
             short_age(f.point.age()), size(f.point.own_bytes), "keep" if f.keep else "REMOVE",
             message(f.rule)] for f in fates]
    head = ["No.", "Point", "Taken", "Age", "Own size", "Fate", "Rule"]
    write = context.out.say if must_be_seen else context.out.data
    for line in table(head, rows, right=(0, 3, 4)) if rows else []:
        write(line)
    going = sum(not fate.keep for fate in fates)
    context.out.info(f"{plural(going, 'point')} of {len(fates)} to be removed." if going else
                     "No point is to be removed by the rules.")


def _removed(context: Context, result: PruneResult, document: dict[str, Any]) -> Answer:
    """Say what went; a point that could not be removed is a warning and names itself."""
    from engine.text import human_size, message

    for name, why in result.failed:
        if not any(name in warning for warning in context.warnings):
            context.warn(f"point {name} could not be removed: {why}")
    freed = f"; {human_size(result.freed)} freed" if result.freed or "losses" not in document else ""
    context.out.info(f"{plural(len(result.removed), 'point')} removed{freed}.")
    return Answer({**document, "removed": list(result.removed), "freed": result.freed,
                   "failed": [{"id": name, "reason": message(why)} for name, why in result.failed]})


def _fate_json(fate: Fate) -> dict[str, Any]:
    return {"id": fate.point.id, "number": fate.point.number, "keep": fate.keep, "rule": fate.rule,
            "own_bytes": fate.point.own_bytes}


COMMANDS = (
    Command("prune", "remove points by the rules", 150, configure_prune, run_prune),
    Command("delete", "remove points by name", 160, configure_delete, run_delete),
)
