"""Deleting one point, after `yes`."""

from __future__ import annotations

from textual.content import Content

from engine.events import Job
from engine.points import RestorePoint
from engine.results import PruneResult
from tui.screens.typed import TypedDialog
from tui.text import Line, content, field, plural, point_title, safe, size


def removal_rows(result: PruneResult) -> list[Line]:
    """Return what a removal came to: how many went, what it freed, which could not be removed and why."""
    removed = f"{plural(len(result.removed), 'point')} removed"
    rows: list[Line] = [content((removed, "good"), f", {size(result.freed)} freed.")]
    rows += [content((f"{safe(point)} could not be removed: ", "bad"), why) for point, why in result.failed]
    return rows


class DeleteScreen(TypedDialog[PruneResult]):
    """The dialog behind `x`."""

    HEADING = "Delete a restore point"
    WORKING = "a restore point is being deleted"
    QUESTION = "Delete this point for good?"
    CANCELLED = "Stopped. The point is still there, whole."
    KEYS = (("yes, enter", "delete the point"), ("esc", "leave without deleting it"))

    def __init__(self, point: RestorePoint, others: int) -> None:
        super().__init__()
        self.point, self._others = point, others

    def explain(self) -> list[Line]:
        """Which point, and what it means for the others."""
        point = self.point
        rows: list[Line] = [content(*point_title(point, self.rollpoint.now(), "Point")),
                field("Comment", point.comment or "none"), field("Own size", size(point.own_bytes)), Content("")]
        if point.pinned:
            rows.append(content(("It is pinned: the retention rules would keep it.", "warn")))
        if point.newest and self._others:
            rows.append(content("It is the newest: the store's plain tree goes back to the point before it."))
        if not self._others:
            rows.append(content(("It is the only point there is. Without it there is nothing to go back to.", "bad")))
        else:
            rows.append(content("The other points stay whole and can still be rolled back to."))
        rows.append(content(("To remove points by the rules, leave and press P.", "dim")))
        return rows

    def run_job(self, job: Job) -> PruneResult:
        """Delete it."""
        return self.rollpoint.engine.delete([self.point], job)

    def describe(self, result: PruneResult) -> list[Line]:
        """What came of it."""
        return removal_rows(result)
