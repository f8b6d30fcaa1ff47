"""`rollback`: say exactly what would change, ask like ClusterMaker's system_restore, and go back to a point.

Also `--resume` and `--undo` of a rollback that was interrupted. Only a typed `yes` (or --yes) goes on. A rollback of
the running system runs in a process of its own (tui/commands/_watch.py); `--attach` shows it again.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from engine.errors import RefusedError, UsageError
from tui.commands import Answer, Command
from tui.commands._args import latest_argument

if TYPE_CHECKING:
    from engine.points import RestorePoint
    from engine.results import RollbackPlan, RollbackResult
    from tui.commands._context import Context
    from tui.rollback_registry import Verb

_DONE = {"rollback": "Rolled back to", "resume": "Finished the rollback to", "undo": "Undone: back at"}
_DETAILS = ("Without POINT the points are listed and a number is asked for. Without --yes the plan is shown "
            "and only a typed yes goes on; with no terminal and no --yes nothing is done. A lost SSH line "
            "does not stop it. A rollback of the running system goes on in a process of its own, from a copy in "
            "memory: Ctrl-C only ends the watching, and --attach shows it again. What is ordered with "
            "--at-next-boot is taken back with --undo.")


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("point", metavar="POINT", nargs="?", help="id, unique prefix, number, or `latest`")
    parser.add_argument("--scope", metavar="SCOPE", action="append", default=[],
                        help="what to roll back: system (default), files (no boot sectors), boot, fs=MOUNTPOINT or "
                        "path=PATH (may be given again)")
    parser.add_argument("--way", metavar="WAY", default="content",
                        help="content (default): copy what differs; native: set the volume itself back, as ZFS, LVM or "
                        "btrfs does it")
    latest_argument(parser)
    parser.add_argument("--adopt", action="store_true",
                        help="onto other file systems than the point recorded, or another machine: fstab and the boot "
                        "menus are adjusted afterwards")
    parser.add_argument("--merge", metavar="MOUNTPOINT", action="append", default=[],
                        help="with --adopt: this recorded file system becomes a directory (may be given again)")
    parser.add_argument("--dry-run", action="store_true", help="only show the plan")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--no-safety-point", action="store_true",
                        help="do not take a point of the present state first")
    parser.add_argument("--resume", action="store_true", help="finish a rollback that was interrupted")
    parser.add_argument("--undo", action="store_true", help="take a rollback back")
    parser.add_argument("--at-next-boot", action="store_true",
                        help="show the plan and ask now, and do it at the next boot, before anything else runs")
    parser.add_argument("--attach", action="store_true",
                        help="show the rollback that runs, or how it ended while nobody looked")


def run(context: Context, args: Namespace) -> Answer:
    """Roll back, or finish or undo a rollback."""
    from tui.commands import _native

    if args.way not in _native.WAYS:
        raise UsageError(f"there is no way {args.way!r}", hint="the ways are: content, native")
    if args.attach:
        return _attach(context, args)
    if args.resume or args.undo:
        return _finish(context, args)
    scope = check_scope(args.scope)
    point = _choose(context, args) if args.point is None else context.resolve(args.point)
    if not args.dry_run:
        _early_refusal(context, args)
    if args.way == "native":
        return _native.run(context, args, point)
    if args.at_next_boot:
        if point.backend != "replica":
            raise RefusedError("only points of the replica can be ordered for the next boot",
                               hint="roll back now, or set the volume itself back with --way native")
        context.engine.may_order()
    with context.job(keep_output=False) as job:
        plan = context.engine.plan(point, scope, job, adopt=args.adopt, merged=_merged(args, point))
    return _dry_run(context, plan, args) if args.dry_run else _apply(context, plan, args)


def _merged(args: Namespace, point: RestorePoint) -> list[bytes]:
    """Return the mount points that --merge names; raise UsageError for one that the point does not have."""
    from engine.scopes import recorded
    from engine.text import inner_path, shown_path

    found = [inner_path(mount) for mount in args.merge]
    for mount in found:
        if not mount or mount not in recorded(point):
            raise UsageError(f"--merge: the point holds no file system that was mounted at {shown_path(mount)}",
                             hint="`rollpoint show` names those it holds")
    return found


def check_scope(words: list[str]) -> list[str]:
    """Return the scopes that an admin typed, ``["system"]`` for none; raise UsageError for an unknown one."""
    from engine.scopes import check

    return list(check(words))


def _early_refusal(context: Context, args: Namespace) -> None:
    """Refuse before the long look at the tree where nobody could answer the question after it."""
    from tui.commands._confirm import require_terminal

    require_terminal(args.yes)


def _choose(context: Context, args: Namespace) -> RestorePoint:
    """List the points numbered, like system_restore, and ask for one."""
    from tui.commands._confirm import can_ask, choose_point
    from tui.commands._format import points_table, server_time

    if args.yes or (args.dry_run and not can_ask()):
        raise UsageError("which point? POINT is missing", hint="`rollpoint list` shows those there are")
    _early_refusal(context, args)
    points = context.engine.listing(args.backend).points
    if not points:
        raise UsageError("there is no restore point yet", hint="take one with `rollpoint snapshot`")
    for line in points_table(points, long_age=True):
        context.out.say(line)
    context.out.say(server_time())
    return choose_point(context, points)


# --- the plan -----------------------------------------------------------------------------------------------

def _dry_run(context: Context, plan: RollbackPlan, args: Namespace) -> Answer:
    """Show the plan and change nothing; 5 when the rollback would be refused."""
    from tui.commands._plan import plan_json, plan_lines

    if not context.out.as_json:
        for line in plan_lines(plan, verbose=context.out.verbose > 0, safety_point=not args.no_safety_point):
            context.out.data(line)
        ways = _ways(context, plan, context.out.data)
        context.out.info("This was a dry run: nothing was changed.")
    else:
        ways = _ways(context, plan)
    return Answer({"dry_run": True, "plan": plan_json(plan), **ways}, RefusedError.exit_code if plan.blocked else 0)


def _ways(context: Context, plan: RollbackPlan, show: Callable[[str], object] = lambda _: None) -> dict[str, Any]:
    """Explain both ways back to a point that the storage keeps; returns them for the document."""
    if plan.point.backend == "replica":
        return {}
    from tui.commands._native import both_ways

    lines, document = both_ways(context, plan.point)
    for line in lines:
        show(line)
    return document


def _apply(context: Context, plan: RollbackPlan, args: Namespace) -> Answer:
    from tui.commands._confirm import confirm
    from tui.commands._format import label
    from tui.commands._plan import plan_json, plan_lines

    document = {"dry_run": False, "plan": plan_json(plan)} if context.out.as_json else {}
    context.partial.update(document)
    show = context.out.info if args.yes else context.out.say
    for line in plan_lines(plan, verbose=context.out.verbose > 0, safety_point=not args.no_safety_point):
        show(line)
    document |= _ways(context, plan, show)
    blockers = [finding for finding in plan.findings if finding.level == "blocker"]
    if blockers:
        hints = "; ".join(finding.hint for finding in blockers if finding.hint)
        raise RefusedError("; ".join(finding.text for finding in blockers), hint=hints)
    if plan.empty:
        context.out.info("Nothing differs from that point: there is nothing to roll back.")
        return Answer({**document, "result": None})
    if args.at_next_boot:
        return _order(context, plan, args, document)
    confirm(context, f"Roll back to point {label(plan.point)}?", args.yes)
    result = _carry_out(context, "rollback", plan, safety_point=not args.no_safety_point)
    return _done(context, result, document, _DONE["rollback"])


def _order(context: Context, plan: RollbackPlan, args: Namespace, document: dict[str, Any]) -> Answer:
    """Order a plan for the next boot."""
    from tui.commands._confirm import confirm
    from tui.commands._format import label
    from tui.rollback_job import make_order

    (context.out.info if args.yes else context.out.say)(
        "At the next boot, before anything else runs. What changes until then is lost as well"
        + (" (no safety point is taken)." if args.no_safety_point else "; the safety point is taken then."))
    confirm(context, f"Roll back to point {label(plan.point)} at the next boot?", args.yes)
    words = make_order(context.config, "rollback", plan, safety_point=not args.no_safety_point)
    context.engine.order(plan, words | {"at_boot": True})
    context.out.info("Ordered. `systemctl reboot` begins it, `rollpoint rollback --undo` takes the order back, and "
                     "`rollpoint rollback --attach` shows afterwards how it went.")
    return Answer({**document, "result": None, "ordered": context.engine.ordered()})


def _take_order_back(context: Context, ordered: str, args: Namespace) -> Answer:
    """Undo what has not happened yet."""
    from engine.text import message
    from tui.commands._confirm import confirm, require_terminal

    require_terminal(args.yes)
    context.out.say(f"{message(ordered[:1].upper() + ordered[1:])}.")
    confirm(context, "Take the order back?", args.yes)
    context.engine.take_order_back()
    context.out.info("Taken back: the next boot is one like any other.")
    return Answer({"result": None, "ordered": ""})


def _carry_out(context: Context, verb: Verb, plan: RollbackPlan | None, *, safety_point: bool = True
               ) -> RollbackResult | None:
    """Do it, in another process where it could pull our own files from under us; None when that one goes on alone."""
    from tui.commands import _watch

    if _watch.is_live(context, plan.scope if plan is not None else ()):
        return _watch.carry_out(context, verb, plan, safety_point=safety_point)
    with context.job(outlives_terminal=True) as job:
        if plan is not None:
            return context.engine.rollback(plan, job, safety_point=safety_point)
        return context.engine.resume(job) if verb == "resume" else context.engine.undo(job)


def _attach(context: Context, args: Namespace) -> Answer:
    """Show a rollback that runs in another process."""
    from tui.commands import _watch

    if args.point is not None or args.scope or args.dry_run or args.no_safety_point or args.resume or args.undo or (
            args.at_next_boot):
        raise UsageError("--attach takes no POINT and no other option")
    context.announce = False
    verb, result = _watch.attach(context)
    return _done(context, result, {}, _DONE[verb])


# --- an interrupted rollback --------------------------------------------------------------------------------

def _finish(context: Context, args: Namespace) -> Answer:
    """Resume or undo an interrupted rollback (`undo` also takes the last finished one back)."""
    from engine.text import message
    from tui.commands._confirm import confirm, require_terminal

    if args.resume and args.undo:
        raise UsageError("--resume and --undo do not go together")
    if any((args.point is not None, args.scope, args.dry_run, args.way != "content", args.no_safety_point,
            args.at_next_boot, args.adopt, args.merge)):
        raise UsageError("--resume and --undo take no POINT and no other option but --yes")
    context.announce = False
    ordered = context.engine.ordered()
    if args.undo and ordered and not context.engine.interrupted():
        return _take_order_back(context, ordered, args)
    state = context.engine.status().rollback
    if args.resume and not state:
        raise UsageError("no rollback was interrupted: there is nothing to resume")
    require_terminal(args.yes)
    if state:
        context.out.say(f"Interrupted: {message(state)}.")
    confirm(context, "Finish it now?" if args.resume else "Take the rollback back?", args.yes)
    verb: Verb = "resume" if args.resume else "undo"
    return _done(context, _carry_out(context, verb, None), {}, _DONE[verb])


def _done(context: Context, result: RollbackResult | None, document: dict[str, Any], verb: str) -> Answer:
    """Say how it went; what still differs afterwards is a warning each. None: it still runs."""
    from engine.text import message
    from tui.commands._format import label, point_json, point_name, verdict_json
    from tui.output import safe_text

    if result is None:
        return Answer({**document, "result": None, "running": True})
    checked = "verified" if result.verified else "NOT verified"
    context.out.info(f"{verb} {point_name(result.point)}: {result.applied:,} entries in "
                     f"{result.seconds:.1f} s, {checked}.")
    if result.safety_point is not None:
        number = label(result.safety_point)
        context.out.info(f"The state before it is point {number}: `rollpoint rollback {number}` or "
                         "`rollpoint rollback --undo` goes back to it.")
    for line in result.boot_applied:
        context.out.info(f"Boot: {safe_text(line)}")
    for line in result.adjusted:
        context.out.info(f"Adjusted: {safe_text(line)}")
    _say_verdict(context, result)
    if result.reboot:
        context.out.info("A reboot is due; until then the machine runs on as it was:")
    for line in result.reboot:
        context.out.info(f"  {message(line)}")
    for line in result.differences:
        context.warn(f"still differs: {line}")
    if not result.verified and not result.differences:
        context.warn("the result could not be verified")
    safety = None if result.safety_point is None else point_json(result.safety_point)
    return Answer({**document, "result": {
        "point": point_json(result.point), "safety_point": safety, "applied": result.applied,
        "verified": result.verified, "differences": [safe_text(line) for line in result.differences],
        "seconds": round(result.seconds, 3), "boot_applied": [safe_text(line) for line in result.boot_applied],
        "reboot": [safe_text(line) for line in result.reboot],
        "adjusted": [safe_text(line) for line in result.adjusted],
        "boot": None if result.boot is None else verdict_json(result.boot)}})


def _say_verdict(context: Context, result: RollbackResult) -> None:
    """Say whether the machine will boot now; what speaks against it is a warning each."""
    from engine.text import message

    if result.boot is None:
        return
    kernel = f" (kernel {message(result.boot.kernel)})" if result.boot.kernel else ""
    context.out.info(f"Will it boot? {result.boot.words[:1].upper()}{result.boot.words[1:]}{kernel}.")
    for finding in result.boot.findings:
        if finding.level != "info":
            context.warn(f"boot: {message(finding.text)}")


COMMANDS = (Command("rollback", "bring the machine, or paths of it, back to a point", 100, configure, run,
                    _DETAILS),)
