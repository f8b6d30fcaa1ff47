"""`vms restore`: a vm.cfg or the disks of a VM back from a point, after a look at what that means and a typed yes."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from engine.errors import RefusedError, UsageError
from tui.commands import Answer
from tui.commands._vms_points import inventory_point
from tui.commands._vms_words import say

if TYPE_CHECKING:
    from engine.points import RestorePoint
    from engine.results import Finding
    from engine.vmpoints.plans import ConfigPlan, DiskPlan
    from tui.commands._context import Context


def run_restore(context: Context, args: Namespace) -> Answer:
    """Bring back what was asked for."""
    if args.resume:
        if args.words or args.origin or args.whole or args.disks:
            raise UsageError("`vms restore --resume` takes nothing else", hint="see `rollpoint vms --help`")
        return _resume(context, args)
    if not args.words or not args.origin or args.whole == args.disks or (args.whole and len(args.words) > 1):
        raise UsageError("`vms restore VM --from POINT --vm-cfg`, or `--disks [DISK …]`, is how it is called",
                         hint="see `rollpoint vms --help`")
    return _config(context, args) if args.whole else _disks(context, args)


def _resume(context: Context, args: Namespace) -> Answer:
    left = context.engine.vm_interrupted()
    if not left:
        raise UsageError("no restore of a VM's disks was interrupted", hint="there is nothing to resume")
    context.out.info(left + ".")
    with context.job() as job:
        done = context.engine.vm_settle(job, stopped=args.stopped)
    return Answer({"done": done})


# --- vm.cfg --------------------------------------------------------------------------------------------------

def _config(context: Context, args: Namespace) -> Answer:
    point = inventory_point(context, args.origin)
    with context.job(keep_output=False) as job:
        plan = context.engine.vm_plan_config(point, args.words[0], job, stopped=args.stopped)
    document = {"dry_run": args.dry_run, "plan": _config_json(plan)}
    context.partial.update(document)
    lines = list(_config_lines(plan))
    if not _agreed(context, args, lines, plan.findings, "Bring the vm.cfg back?", nothing=plan.same):
        return Answer({**document, "result": None}, _refused(plan.findings) if args.dry_run else 0)
    with context.job() as job:
        done = context.engine.vm_bring_back_config(plan, job)
    from engine.text import shown_path

    context.out.info(f"{shown_path(done.path)} is as in point {point.id}" + (
        f"; the one before is {shown_path(done.aside)} now." if done.aside else "."))
    return Answer({**document, "result": {"path": shown_path(done.path),
                                          "aside": shown_path(done.aside) if done.aside else None}})


def _config_lines(plan: ConfigPlan) -> Iterator[str]:
    from engine.text import shown_path

    yield f"The vm.cfg of {plan.machine.name}, as in point {plan.point.id}, goes to {shown_path(plan.path)}."
    if plan.same:
        yield "It is there already, byte for byte: there is nothing to do."
    elif plan.aside:
        yield f"The one that is there now stays as {shown_path(plan.aside)}."
    yield from (f"  {change}" for change in plan.changes)


def _config_json(plan: ConfigPlan) -> dict[str, Any]:
    from engine.text import shown_path
    from tui.commands._vms_json import without_secrets

    document: dict[str, Any] = without_secrets({
        "point": plan.point.id, "machine": plan.machine.name, "path": shown_path(plan.path),
        "aside": shown_path(plan.aside) if plan.aside else None, "same": plan.same, "changes": list(plan.changes),
        "running": plan.running.state, "told_by": plan.running.why, "findings": _findings_json(plan.findings)})
    return document


# --- disks ---------------------------------------------------------------------------------------------------

def _disks(context: Context, args: Namespace) -> Answer:
    from engine.text import human_size, shown_path

    point = _disk_point(context, args.origin)
    with context.job(keep_output=False) as job:
        plan = context.engine.vm_plan_disks(point, args.words[0], job, devices=args.words[1:], stopped=args.stopped)
    document = {"dry_run": args.dry_run, "plan": _disks_json(plan)}
    context.partial.update(document)
    if not _agreed(context, args, list(_disks_lines(plan)), plan.findings, "Bring these disks back?"):
        return Answer({**document, "result": None}, _refused(plan.findings) if args.dry_run else 0)
    with context.job() as job:
        done = context.engine.vm_restore_disks(plan, job)
    context.out.info(f"{', '.join(done.devices)} of {plan.machine.name} are as in point {point.id}: "
                     f"{human_size(done.bytes)} in {done.seconds:.1f} s. The disks before are:")
    for path in done.aside:
        context.out.info(f"  {shown_path(path)}")
    return Answer({**document, "result": {
        "devices": list(done.devices), "aside": [shown_path(path) for path in done.aside], "bytes": done.bytes,
        "seconds": round(done.seconds, 3)}})


def _disk_point(context: Context, spec: str) -> RestorePoint:
    """The point that an admin named: of the replica, of disks, or of the storage; ``latest`` is the newest of the
    replica. A backend that cannot be asked is a warning."""
    from engine import points
    from engine.vmpoints.plans import INVENTORIES

    listing = context.engine.listing()
    for trouble in listing.troubles:
        context.warn(f"not all restore points could be asked: {trouble.backend}: {trouble.reason}")
    replica = [point for point in listing.points if point.backend == "replica"]
    if spec == points.LATEST or spec.isdecimal():
        return points.resolve(replica, spec)
    return points.resolve([point for point in listing.points if point.backend != INVENTORIES], spec)


def _disks_lines(plan: DiskPlan) -> Iterator[str]:
    from engine.text import human_size, shown_path

    yield f"Disks of {plan.machine.name} go back to point {plan.point.id}:"
    for one in plan.steps:
        how = "shares its blocks" if one.way == "reflink" else f"at most {human_size(one.allocated)} to copy"
        yield f"  {one.device}  {shown_path(one.path)}, {human_size(one.size)}, {how}"
        if one.aside:
            yield f"        the present one stays as {shown_path(one.aside)}"
    yield from (f"  stays: {text}" for text in plan.left)
    yield f"{human_size(plan.needed)} are needed, {human_size(plan.free)} are free."


def _disks_json(plan: DiskPlan) -> dict[str, Any]:
    from engine.text import shown_path

    return {"point": plan.point.id, "machine": plan.machine.name, "running": plan.running.state,
            "told_by": plan.running.why, "needed_bytes": plan.needed, "free_bytes": plan.free, "left": list(plan.left),
            "disks": [{"device": one.device, "path": shown_path(one.path), "bytes": one.size,
                       "copied_bytes": one.allocated, "way": one.way, "users": list(one.users),
                       "aside": shown_path(one.aside) if one.aside else None} for one in plan.steps],
            "findings": _findings_json(plan.findings)}


# --- both ----------------------------------------------------------------------------------------------------

def _agreed(context: Context, args: Namespace, lines: list[str], findings: Sequence[Finding], question: str, *,
            nothing: bool = False) -> bool:
    """Show a plan; return whether to go on with it. Raises RefusedError where something forbids it, and
    NotConfirmedError."""
    from tui.commands._confirm import confirm, require_terminal

    lines += [f"{finding.level}: {finding.text}" for finding in findings]
    if args.dry_run:
        say(context, lines)
        context.out.info("This was a dry run: nothing was changed.")
        return False
    from engine.vms.secrets import hidden

    for line in lines:
        (context.out.info if args.yes else context.out.say)(hidden(line))
    blockers = [finding for finding in findings if finding.level == "blocker"]
    if blockers:
        raise RefusedError("; ".join(finding.text for finding in blockers),
                           hint="; ".join(finding.hint for finding in blockers if finding.hint))
    if nothing:
        return False
    require_terminal(args.yes)
    confirm(context, question, args.yes)
    return True


def _refused(findings: Sequence[Finding]) -> int:
    return RefusedError.exit_code if any(finding.level == "blocker" for finding in findings) else 0


def _findings_json(findings: Sequence[Finding]) -> list[dict[str, str]]:
    return [{"level": finding.level, "text": finding.text, "hint": finding.hint} for finding in findings]
