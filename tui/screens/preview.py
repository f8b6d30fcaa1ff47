"""A rollback's plan in words and lists. Pure: plan in, text out."""

from __future__ import annotations

from datetime import datetime

from engine.entries import Status
from engine.results import RollbackPlan
from engine.text import human_age
from tui.summary import Summary
from tui.text import Line, Segment, content, count, field, plural, safe, size, stamp
from tui.widgets.changerows import ChangeRows
from tui.widgets.rows import RowSource
from tui.widgets.viewlist import TextRows

_NAMED, _FEW = 6, 3


def preview_rows(plan: RollbackPlan, summary: Summary, now: datetime) -> list[Line]:
    """Return what rolling back means, in a few lines: blockers, totals, what is lost, what stays, warnings."""
    rows: list[Line] = finding_rows(plan, "blocker")
    if plan.diff.changes:
        rows.append(field("It will", *_totals(summary)))
        rows.append(field("Lost", ("all changes since then", "warn"), f", {human_age(plan.point.age(now))}"))
        rows.append(field("Way back", "the state now becomes a safety point first"))
    else:
        rows.append(content(("Nothing differs from that point: there is nothing to roll back.", "good")))
    if plan.newer:
        numbers = ", ".join(str(p.number) for p in plan.newer[:_NAMED]) + (" .." if len(plan.newer) > _NAMED else "")
        rows.append(field("Forward", f"newer points ({numbers}) stay: rolling forward is possible"))
    rows.append(_stays(plan))
    rows += finding_rows(plan, "warning")
    changes = _software(plan)
    if changes:
        more = f" and {len(changes) - _FEW} more" if len(changes) > _FEW else ""
        rows.append(field("Packages", ", ".join(changes[:_FEW]) + more))
    if plan.point.comment:
        rows.append(field("Comment", plan.point.comment))
    rows.append(field("Server", (f"time now {stamp(now)}", "dim")))
    return rows


def _software(plan: RollbackPlan) -> list[str]:
    return [*map(safe, plan.kernels), *map(safe, plan.packages), *map(safe, plan.boot)]


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
    return [field(label, (f.text, look), (f"  {f.hint}" if f.hint else "", "")) for f in plan.findings
            if f.level == level]


def preview_views(plan: RollbackPlan, summary: Summary) -> list[tuple[str, RowSource]]:
    """Return the lists of a plan: all changes, deletions on their own, what stays, findings, commands, packages."""
    changes = plan.diff.changes
    deleted = summary.views[4]
    stays: list[Segment] = [(f"database  {safe(name)}", "strong") for name in plan.databases]
    stays += [(f"left out  {safe(pattern)}", "") for pattern in plan.excluded]
    looks = {"blocker": "bad", "warning": "warn"}
    findings: list[Segment] = [(f"{f.level}: {f.text}" + (f"  ({f.hint})" if f.hint else ""), looks.get(f.level, ""))
                               for f in plan.findings]
    commands: list[Segment] = [(line, "") for line in plan.commands]
    software: list[Segment] = [(line, "") for line in _software(plan)]
    views: list[tuple[str, RowSource]] = [
        ("Changes", ChangeRows(changes, summary.views[0])), ("Deleted", ChangeRows(changes, deleted)),
        ("Stays", TextRows(stays)), ("Findings", TextRows(findings)), ("Commands", TextRows(commands))]
    return [*views, ("Packages", TextRows(software))] if software else views
