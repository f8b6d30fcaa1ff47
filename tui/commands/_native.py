"""`rollback --way native`: a volume itself is set back, as its storage does it; and both ways side by side."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from engine.errors import RefusedError, RollpointError, UsageError
from engine.text import human_age, message, printable
from tui.commands import Answer
from tui.commands._format import label, local_time, point_json, server_time
from tui.storagewords import volumes

if TYPE_CHECKING:
    from engine.backend import NativePlan
    from engine.points import RestorePoint
    from tui.commands._context import Context

WAYS = ("content", "native")
_TITLES = {"blocker": "REFUSED", "warning": "WARNING"}


def run(context: Context, args: Namespace, point: RestorePoint) -> Answer:
    """Show what setting the volumes of a point back would do, ask, and do it."""
    from tui.commands._confirm import confirm, require_terminal

    if args.scope or args.adopt or args.merge or args.at_next_boot:
        raise UsageError("a volume is set back whole: --scope, --adopt, --merge and --at-next-boot do not go with "
                         "--way native", hint="roll back by content to choose")
    if not args.dry_run:
        require_terminal(args.yes)
    plan = context.engine.native_plan(point)
    document: dict[str, Any] = {"dry_run": args.dry_run, "way": "native", "plan": plan_json(plan)}
    context.partial.update(document)
    show = context.out.data if args.dry_run else context.out.info if args.yes else context.out.say
    if not context.out.as_json or not args.dry_run:
        for line in _lines(plan):
            show(line)
    blockers = [finding for finding in plan.findings if finding.level == "blocker"]
    if args.dry_run:
        context.out.info("This was a dry run: nothing was changed.")
        return Answer(document, RefusedError.exit_code if blockers else 0)
    if blockers:
        raise RefusedError("; ".join(f.text for f in blockers), hint="; ".join(f.hint for f in blockers if f.hint))
    confirm(context, f"Set the volumes back to point {label(point)}? This cannot be taken back.", args.yes)
    with context.job(outlives_terminal=True) as job:
        done = context.engine.set_back(plan, job)
    for line in done:
        context.out.info(message(line))
    return Answer({**document, "done": [message(line) for line in done]})


def plan_json(plan: NativePlan) -> dict[str, Any]:
    """Return such a plan, whole."""
    return {"point": point_json(plan.point), "blocked": plan.blocked, "goes": [message(line) for line in plan.goes],
            "when": message(plan.when), "commands": [message(line) for line in plan.commands],
            "findings": [{"level": f.level, "text": message(f.text), "hint": message(f.hint)} for f in plan.findings]}


def _lines(plan: NativePlan) -> Iterator[str]:
    point = plan.point
    yield f"Setting back {volumes(point)} to point {label(point)}"
    yield f"  taken {local_time(point.created)}, {human_age(point.age())}"
    if point.comment:
        yield f"  {printable(point.comment)}"
    yield server_time()
    yield "The volumes themselves are set back, all of them whole; no safety point is taken."
    yield f"It takes effect {message(plan.when)}."
    yield "What goes with it:" if plan.goes else "Nothing else goes with it."
    yield from (f"  {message(line)}" for line in plan.goes)
    yield "Commands:"
    yield from (f"  {message(line)}" for line in plan.commands)
    for finding in plan.findings:
        yield f"{_TITLES.get(finding.level, 'Note')}: {message(finding.text)}"
        if finding.hint:
            yield f"  {message(finding.hint)}"


def both_ways(context: Context, point: RestorePoint) -> tuple[list[str], dict[str, Any]]:
    """Return both ways back to a point that the storage keeps, explained in lines and for a program."""
    lines = ["There are two ways back:",
             "  content (this one)  copies what differs onto the live volumes; every snapshot stays, so that you can",
             "                      roll forward again; excluded paths stay; it can be undone and resumed"]
    try:
        plan = context.engine.native_plan(point)
    except RollpointError as error:
        lines.append(f"  native              not possible: {message(error.message)}")
        return lines, {"native": None, "native_refused": message(error.message)}
    lines.append(f"  native              sets the volumes themselves back, whole, {message(plan.when)}; no undo")
    lines += [f"                      goes with it: {message(line)}" for line in plan.goes]
    lines += [f"                      refused: {message(f.text)}" for f in plan.findings if f.level == "blocker"]
    lines.append("  `rollback POINT --way native` shows all of that before it asks.")
    return lines, {"native": plan_json(plan)}
