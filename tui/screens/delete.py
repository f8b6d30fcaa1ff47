"""Deleting one point, after `yes`."""

from __future__ import annotations

from textual.content import Content

from engine.backend import Losses
from engine.events import Job
from engine.points import RestorePoint
from engine.results import PruneResult
from tui.screens.job import FORM
from tui.screens.typed import InformedDialog
from tui.storagewords import of_storage, whose
from tui.text import Line, content, error_lines, field, plural, point_title, safe, size
from tui.widgets.confirm import ConfirmYes
from tui.widgets.fields import Fields
from tui.widgets.partrows import part_rows


def removal_rows(result: PruneResult, *, measured: bool = True) -> list[Line]:
    """Return what a removal came to: how many went, what it freed (where that is `measured`), which could not be
    removed and why."""
    removed = f"{plural(len(result.removed), 'point')} removed"
    freed = f", {size(result.freed)} freed." if measured or result.freed else "."
    rows: list[Line] = [content((removed, "good"), freed)]
    rows += [content((f"{safe(point)} could not be removed: ", "bad"), why) for point, why in result.failed]
    return rows


def loss_rows(losses: Losses | None) -> list[Line]:
    """Return what deleting points of the storage comes to: what it frees, what goes with them or forbids it."""
    if losses is None:
        return []
    rows: list[Line] = []
    for finding in losses.findings:
        label, look = {"blocker": ("BLOCKED", "bad"), "warning": ("Warning", "warn")}.get(finding.level, ("Note", ""))
        rows.append(field(label, (finding.text, look)))
        rows += [field("", (finding.hint, "dim"))] if finding.hint else []
    if losses.freed is None:
        return [*rows, field("Frees", ("the storage cannot say how much", "dim"))]
    least = "at least " if losses.least else ""
    return [*rows, field("Frees", least, (size(losses.freed), "strong"), ("  as the storage works it out", "dim"))]


class DeleteScreen(InformedDialog[PruneResult]):
    """The dialog behind `x`."""

    HEADING = "Delete a restore point"
    WORKING = "a restore point is being deleted"
    QUESTION = "Delete this point for good?"
    CANCELLED = "Stopped. The point is still there, whole."
    KEYS = (("yes, enter", "delete the point"), ("esc", "leave without deleting it"))

    def __init__(self, point: RestorePoint, others: int) -> None:
        super().__init__()
        self.point, self._others = point, others

    def begin_form(self) -> None:
        """Ask the storage what goes with a point of its own; yes can be typed once that is known."""
        engine, point = self.rollpoint.engine, self.point
        if not of_storage(point):
            super().begin_form()
            return
        self.allow(False)
        self.set_focus(None)
        self.ask("losses", lambda: engine.losses([point]).get(point.backend), self._lost, self._not_known)

    def _lost(self, losses: Losses | None) -> None:
        self.query_one("#explain-text", Fields).show([*self.told(), *loss_rows(losses)])
        if losses is None or not losses.blocked:
            self._ask()

    def _not_known(self, error: BaseException) -> None:
        self.query_one("#explain-text", Fields).show([
            *self.told(), content(("What goes with it cannot be said:", "warn")), *error_lines(error)])
        self._ask()

    def _ask(self) -> None:
        self.allow(True)
        if self.stage == FORM:
            self.query_one(ConfirmYes).start()

    def told(self) -> list[Line]:
        """Which point that is not of the store, and whose it is."""
        point = self.point
        rows: list[Line] = [content(*point_title(point, self.rollpoint.now(), "Point")),
                            field("Comment", point.comment or "none"), *part_rows(point, full=False), Content("")]
        if point.owner:
            who = "another program" if point.owner == "unknown" else whose(point)
            rows.append(content((f"It was taken by {who}, which may count on it.", "warn")))
        if point.pinned:
            rows.append(content(("It is pinned: the retention rules would keep it.", "warn")))
        return rows

    def explain(self) -> list[Line]:
        """Which point, and what it means for the others."""
        point = self.point
        if of_storage(point):
            return [*self.told(), content(("Asking the storage what goes with it ...", "dim"))]
        rows: list[Line] = [content(*point_title(point, self.rollpoint.now(), "Point")),
                field("Comment", point.comment or "none"), field("Own size", size(point.own_bytes)), Content("")]
        if point.pinned:
            rows.append(content(("It is pinned: the retention rules would keep it.", "warn")))
        if point.newest and self._others:
            rows.append(content("It is the newest: the store's plain tree goes back to the point before it."))
        if not self._others:
            rows.append(content(("It is the only point in the store: without it the store has nothing left.", "bad")))
        else:
            rows.append(content("The other points stay whole and can still be rolled back to."))
        rows.append(content(("To remove points by the rules, leave and press P.", "dim")))
        return rows

    def run_job(self, job: Job) -> PruneResult:
        """Delete it."""
        return self.rollpoint.engine.delete([self.point], job)

    def describe(self, result: PruneResult) -> list[Line]:
        """What came of it."""
        return removal_rows(result, measured=not of_storage(self.point))
