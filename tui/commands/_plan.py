"""What a rollback's plan looks like: in ClusterMaker's words for the admin, whole for a program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from engine.entries import Change, Status
from engine.results import Finding, RollbackPlan
from engine.text import human_age, human_size, message, printable, shown_path
from tui.commands._format import change_json, diff_totals, label, local_time, point_json, server_time
from tui.output import table

_WORDS = {Status.CREATED: "to be created", Status.CHANGED: "to be replaced",
          Status.TYPE: "to be replaced by another type",
          Status.ATTRS: "to get other attributes", Status.DELETED: "to be DELETED"}
_SHOWN_BIGGEST, _SHOWN_DELETIONS = 5, 20


def plan_json(plan: RollbackPlan) -> dict[str, Any]:
    """Return the whole plan: every change, in the sense of what rolling back does to the path."""
    return {
        "point": point_json(plan.point), "root": printable(plan.root),
        "scope": [printable(s) for s in plan.scope],
        "blocked": plan.blocked, "totals": diff_totals(plan.diff),
        "changes": [change_json(change) for change in plan.diff.changes],
        "newer": [point_json(point) for point in plan.newer],
        "excluded": [printable(pattern) for pattern in plan.excluded],
        "databases": [printable(name) for name in plan.databases],
        "findings": [{"level": f.level, "text": message(f.text), "hint": message(f.hint)}
                     for f in plan.findings],
        "commands": [message(line) for line in plan.commands],
        "packages": [message(package) for package in plan.packages],
        "kernels": [message(k) for k in plan.kernels], "boot": [message(b) for b in plan.boot],
        "reboot": [message(line) for line in plan.reboot],
        "adopt": plan.adopt, "adjustments": [message(a) for a in plan.adjustments],
    }


def plan_lines(plan: RollbackPlan, *, verbose: bool, safety_point: bool) -> Iterator[str]:
    """Yield what system_restore says before it asks, and what will happen to which paths; `verbose` cuts
    nothing."""
    point = plan.point
    name = f"{point.number} ({printable(point.id)})" if point.number else printable(point.id)
    yield f"Rollback of {printable(plan.root)} to restore point {name}"
    yield f"  taken {local_time(point.created)}, {human_age(point.age())}"
    if point.comment:
        yield f"  {printable(point.comment)}"
    yield server_time()
    if plan.scope == ("files",):
        yield "Only files: boot sectors stay as they are"
    elif plan.scope != ("system",):
        yield "Only: " + "  ".join(_scope_words(word) for word in plan.scope)
    yield from _left_alone(plan)
    yield from _changes(plan, verbose)
    for title, lines in (("Packages", plan.packages), ("Kernels", plan.kernels), ("Boot", plan.boot),
                         ("Adjusted to these file systems afterwards", plan.adjustments)):
        yield from _section(title, lines)
    if verbose:
        yield from _section("Commands", plan.commands)
    if plan.reboot:
        yield "A reboot will be due afterwards: kernels, boot sectors or what everything runs on change."
    yield from _findings(plan.findings)
    yield from _what_is_lost(plan, safety_point)


def _scope_words(word: str) -> str:
    kind, _, value = word.partition("=")
    return {"fs": f"the file system {printable(value)}", "boot": "/boot, the ESP and the boot sectors"}.get(
        kind, printable(value))


def _left_alone(plan: RollbackPlan) -> Iterator[str]:
    if plan.databases:
        yield "The following databases will NOT be touched (they are backed up separately):"
        for name in plan.databases:
            yield f"  {printable(name)}"
    if plan.excluded:
        yield "Excluded, stays as it is: " + "  ".join(printable(pattern) for pattern in plan.excluded)


def _changes(plan: RollbackPlan, verbose: bool) -> Iterator[str]:
    diff = plan.diff
    counts = [(f"{diff.count(status):,}", _WORDS[status]) for status in _WORDS if diff.count(status)]
    if not counts:
        yield "No path differs."
        return
    yield "Paths:"
    for line in table(["", ""], counts, right=(0,))[1:]:
        yield f"  {line}"
    yield f"  {human_size(diff.bytes_new)} of content come from the point, {human_size(diff.bytes_old)} go"
    written = [c for c in diff.changes if c.new is not None and c.status is not Status.ATTRS and c.new.size]
    written.sort(key=_written, reverse=True)
    yield from _section("The biggest to be written", [f"{human_size(_written(c))}  {shown_path(c.path)}"
                                                      for c in written[:_SHOWN_BIGGEST]])
    gone = [shown_path(c.path) for c in diff.changes if c.status is Status.DELETED]
    shown = gone if verbose else gone[:_SHOWN_DELETIONS]
    yield from _section("To be deleted", shown)
    if len(gone) > len(shown):
        yield f"  and {len(gone) - len(shown):,} more (-v shows all)"


def _written(change: Change) -> int:
    return change.new.size if change.new else 0


def _section(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield f"{title}:"
        for line in lines:
            yield f"  {message(line)}"


def _findings(findings: Sequence[Finding]) -> Iterator[str]:
    titles = {"blocker": "REFUSED", "warning": "WARNING"}
    for finding in findings:
        yield f"{titles.get(finding.level, 'Note')}: {message(finding.text)}"
        if finding.hint:
            yield f"  {message(finding.hint)}"


def _what_is_lost(plan: RollbackPlan, safety_point: bool) -> Iterator[str]:
    if plan.empty:
        return
    yield "WARNING: all changes made since this restore point was taken will be lost"
    if plan.newer:
        numbers = [label(point) for point in plan.newer]
        more = f", and {len(numbers) - 10} older ones" if len(numbers) > 10 else ""
        yield ("  except those that a more recent restore point holds: you can still roll forward to "
               f"{', '.join(numbers[:10])}{more}.")
    else:
        yield "  (there is no more recent restore point to roll forward to)."
    yield ("The present state is taken as a safety point first, so that this can be undone." if safety_point
           else "No safety point is taken (--no-safety-point): this cannot be undone.")
