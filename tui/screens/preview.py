"""A rollback's plan in words and lists. Pure: plan in, text out."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from datetime import datetime

from engine.entries import Change, Status
from engine.results import RollbackPlan
from engine.text import human_age, shown_path
from tui.summary import Summary, weight
from tui.text import Line, Segment, called, content, count, field, plural, safe, size, stamp
from tui.widgets.changerows import ChangeRows
from tui.widgets.rows import RowSource
from tui.widgets.scopes import WHOLE, scope_title
from tui.widgets.viewlist import Findings, TextRows

_NAMED, _FEW, _LARGEST = 6, 3, 100


class BootRows(TextRows):
    """The boot sectors that change, a line each, as in `RollbackPlan.boot`: they can be looked at as bytes."""


def preview_rows(plan: RollbackPlan, summary: Summary, now: datetime) -> list[Line]:
    """Return what rolling back means, in a few lines: blockers, totals, what is lost, what stays, warnings, and what
    becomes of boot sectors, kernels and packages."""
    rows: list[Line] = finding_rows(plan, "blocker")
    if plan.diff.changes:
        rows.append(field("It will", *_totals(summary)))
        if plan.scope != (WHOLE,):
            rows.append(field("Scope", *scope_title(plan.scope), ("; all else stays as it is", "dim")))
        rows += finding_rows(plan, "warning")
        rows.append(field("Lost", ("all changes since then", "warn"), f", {human_age(plan.point.age(now))}"))
    else:
        rows.append(content(("Nothing differs from that point: there is nothing to roll back.", "good")))
        rows += finding_rows(plan, "warning")
    if plan.newer:
        numbers = ", ".join(called(p) for p in plan.newer[:_NAMED]) + (" .." if len(plan.newer) > _NAMED else "")
        rows.append(field("Forward", f"newer points ({numbers}) stay: rolling forward is possible"))
    rows.append(_stays(plan))
    rows += [field("Boot" if i == 0 else "", line) for i, line in enumerate(plan.boot[:_FEW])]
    rows += [field("", f"and {plural(len(plan.boot) - _FEW, 'boot area')} more")] if len(plan.boot) > _FEW else []
    if plan.adopt:
        lines = sum(line.startswith("/") for line in plan.adjustments)
        run = len(plan.adjustments) - lines
        rows.append(field("Adopt", ("onto other file systems than were recorded, or another machine", "warn"),
                          f"; {plural(lines, 'line')} of its files are adjusted to them",
                          f", {plural(run, 'command')} run" if run else ""))
    if plan.merged:
        rows.append(field("Merged", (", ".join(map(shown_path, plan.merged)), "warn"), " becomes a directory"
                          if len(plan.merged) == 1 else " become directories"))
    rows += [field(label, _few(lines)) for label, lines in (
        ("Kernels", plan.kernels), ("Packages", plan.package_words)) if lines]
    if plan.reboot:
        rows.append(field("Reboot", ("seems due afterwards", "warn")))
    if plan.point.comment:
        rows.append(field("Comment", plan.point.comment))
    rows.append(field("Server", (f"time now {stamp(now)}", "dim")))
    return rows


def _few(lines: Sequence[str]) -> str:
    return ", ".join(lines[:_FEW]) + (f" and {len(lines) - _FEW} more" if len(lines) > _FEW else "")


def _stays(plan: RollbackPlan) -> Line:
    patterns = f"all that {plural(len(plan.excluded), 'exclusion')} left out"
    if not plan.databases:
        return field("Stays", (f"{patterns}; no database is named", "dim"))
    word = "database " if len(plan.databases) == 1 else "databases "
    return field("Stays", word, (", ".join(map(safe, plan.databases)), "strong"),
                 (f" and {patterns}" if plan.excluded else "", "dim"))


def _totals(summary: Summary) -> list[Segment]:
    parts: list[Segment] = []
    for label, look, statuses in (("DELETE", "bad", (Status.DELETED,)),
                                  ("replace", "warn", (Status.CHANGED, Status.TYPE)),
                                  ("create", "good", (Status.CREATED,)), ("set attributes of", "", (Status.ATTRS,))):
        tally = summary.tally(*statuses)
        parts += [(", " if parts else "", "dim"), (f"{label} {count(tally.count)}", look if tally.count else "dim")]
        if tally.bytes:
            parts.append((f" ({size(tally.bytes)})", "dim"))
    return parts


def finding_rows(plan: RollbackPlan, level: str) -> list[Line]:
    """Return the findings of a level, each with what to do."""
    label, look = ("BLOCKED", "bad") if level == "blocker" else ("Warning", "warn")
    return [field(label, (f.text, look), (f"  {by_key(f.hint)}" if f.hint else "", "")) for f in plan.findings
            if f.level == level]


def by_key(hint: str) -> str:
    """Return what to do with the key of this screen in the place of an option of the command line."""
    return hint.replace("adopt the new one with --adopt", "adopt the new one with A")


def preview_views(plan: RollbackPlan, summary: Summary) -> list[tuple[str, RowSource]]:
    """Return the lists of a plan: all changes, deletions on their own, the largest, what stays, findings, the exact
    commands, what becomes of kernels and packages, and of boot sectors. Not quick: it looks at every change."""
    changes = plan.diff.changes
    stays: list[Segment] = [(f"database  {safe(name)}", "strong") for name in plan.databases]
    stays += [(f"left out  {safe(pattern)}", "") for pattern in plan.excluded]
    looks = {"blocker": "bad", "warning": "warn"}
    findings: list[Segment] = []
    for level in ("blocker", "warning", "info"):
        for found in (f for f in plan.findings if f.level == level):
            findings.append((f"{level}: {found.text}", looks.get(level, "")))
            findings += [(f"    what to do: {by_key(found.hint)}", "")] if found.hint else []
    system: list[Segment] = [(f"{word:<8} {safe(line)}", look) for word, look, lines in (
        ("kernel", "warn", plan.kernels), ("package", "", plan.package_words)) for line in lines]
    views: list[tuple[str, RowSource]] = [
        ("Changes", ChangeRows(changes, summary.views[0])), ("Deleted", ChangeRows(changes, summary.views[4])),
        ("Largest", ChangeRows(changes, largest(changes))), ("Stays", TextRows(stays)),
        ("Findings", Findings(findings, len(plan.findings))),
        ("Commands", TextRows([(line, "") for line in plan.commands]))]
    views += [("System", TextRows(system))] if system else []
    views += [("Adjusted", TextRows([(line, "") for line in plan.adjustments]))] if plan.adjustments else []
    return [*views, ("Boot", BootRows([(line, "warn") for line in plan.boot]))] if plan.boot else views


def largest(changes: Sequence[Change], most: int = _LARGEST) -> list[int]:
    """Return the indexes of the changes that move the most bytes, the largest first; those that move none are left
    out."""
    found = heapq.nlargest(most, range(len(changes)), key=lambda i: weight(changes[i]))
    return [i for i in found if weight(changes[i])]


def confirm_rows(plan: RollbackPlan, summary: Summary, *, safety_point: bool, at_boot: bool = False) -> list[Line]:
    """Return what is about to happen, in the few lines that stand above the line to type yes into."""
    first = "then, before anything else" if at_boot else "first"
    way = (field("Way back", (f"a safety point is taken {first}: this can be undone", "good")) if safety_point else
           field("Way back", ("NONE: no safety point. This cannot be undone.", "bad")))
    adopt = [field("Adopt", ("onto other file systems than were recorded, or another machine", "bad"))]
    rows = [way, field("It will", *_totals(summary)), field("Scope", *scope_title(plan.scope)), _stays(plan)]
    return [*(adopt if plan.adopt else []), *_when(plan, at_boot), *rows]


def _when(plan: RollbackPlan, at_boot: bool) -> list[Line]:
    """When it will be done; only the system that runs here can choose."""
    if at_boot:
        return [field("When", ("at the next boot", "strong"), ", before anything else runs; then it boots again. ",
                      ("What changes until then is lost as well.", "warn"))]
    return [field("When", ("now", "strong"), ", while everything runs; ", ("tab", "strong"),
                  ": at the next boot, when nothing else does")] if plan.root == "/" else []


def safety_rows(*, safety_point: bool) -> list[Line]:
    """Return what taking a safety point means, and what leaving it out means."""
    if safety_point:
        return [content("Before anything is changed, the system as it is now becomes a point of its own, tagged "
                        "safety."),
                content(("With it this rollback can be undone", "good"), ", also when it was interrupted.")]
    return [content(("Nothing can be undone then.", "bad")),
            content("What is on this system now and in no other point is lost for good. If the rollback is "
                    "interrupted, it can only be finished, not taken back."),
            content("Leave it out only where there is no room for it, or where the present state is worth nothing.")]
