"""Rolling back on one screen: what it will do, `yes`, how far it is, what came of it."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from engine.errors import CancelledError
from engine.points import RestorePoint
from engine.results import RollbackPlan
from tui.jobs import SAMPLE, LongJob
from tui.rollback_job import Runner, RunState
from tui.screens.base import BaseScreen
from tui.screens.preview import preview_rows, preview_views
from tui.screens.recover import rollback_rows
from tui.summary import Summary, summarize
from tui.text import Line, content, error_lines, point_title
from tui.widgets.confirm import ConfirmYes
from tui.widgets.fields import Fields
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.progress import ProgressPanel
from tui.widgets.rows import RowList
from tui.widgets.viewlist import ViewList

PLAN, PREVIEW, RUN, DONE = "plan", "preview", "run", "done"


class RollbackScreen(BaseScreen[bool]):
    """The screen behind `r`. Dismissed with True when something may have changed."""

    BINDINGS = [
        Binding("escape", "leave", "Leave", show=False), Binding("q", "leave", "Leave", show=False),
        Binding("enter", "leave_done", "Close", show=False), Binding("y", "begin('y')", show=False),
        *(Binding(str(n + 1), f"view({n})", show=False) for n in range(6)),
        Binding("right,l", "step(1)", show=False), Binding("left,h", "step(-1)", show=False)]
    KEYS = (("1 to 6, left right", "all changes, deletions on their own, what stays, findings, commands, packages"),
            ("enter or tab", "go to the line to type yes into"), ("yes, enter", "roll back"),
            ("esc", "leave; nothing is changed before yes"))
    NOTES = ("The letters say what rolling back does to a path: + comes back, - is deleted, M gets its old content,",
             "T its old type, a its old attributes. The state before it becomes a point: it can be undone.")

    def __init__(self, point: RestorePoint, runner: Runner, scope: Sequence[str] = ()) -> None:
        super().__init__()
        self._point, self._runner, self._scope = point, runner, tuple(scope) or ("system",)
        self._work = LongJob()
        self._plan: RollbackPlan | None = None
        self._stage = PLAN

    def compose(self) -> ComposeResult:
        """Header, subject, progress, preview with the line to type into, result, keys."""
        yield self.header()
        yield Static(content(("Roll back to ", "strong"), *point_title(self._point, self.rollpoint.now())),
                     markup=False, id="subject")
        yield ProgressPanel(id="work")
        with Vertical(id="preview"):
            with VerticalScroll(id="facts", can_focus=False):
                yield Fields(id="facts-text")
            yield ViewList(id="plan-views")
            yield ConfirmYes("Roll back now?", id="confirm")
        with VerticalScroll(id="done"):
            yield Fields(id="result")
        yield KeyBar(id="keys")

    def on_mount(self) -> None:
        """Make the plan in a worker."""
        self._go(PLAN)
        self.query_one(ProgressPanel).follow(self._work)
        engine, point, scope, job = self.rollpoint.engine, self._point, self._scope, self._work.job

        def plan() -> tuple[RollbackPlan, Summary]:
            made = engine.plan(point, scope, job)
            return made, summarize(made.diff)

        self.ask("plan", plan, self._planned, self._plan_failed)

    def on_unmount(self) -> None:
        """Nobody waits for the plan any more."""
        if self._stage == PLAN:
            self._work.job.cancel()

    def _go(self, stage: str) -> None:
        self._stage = stage
        self.query_one("#work").display = stage in (PLAN, RUN)
        self.query_one("#preview").display = stage == PREVIEW
        self.query_one("#done").display = stage == DONE
        blocked = self._plan is None or self._plan.blocked
        leave = Hint("enter" if stage == DONE else "esc",
                     {RUN: "Leave it running", DONE: "Close"}.get(stage, "Leave"), "screen.leave")
        hints = {
            PLAN: [leave],
            PREVIEW: [leave, *([] if blocked else [Hint("yes enter", "Roll back")]), Hint("1-6", "Views", weight=2),
                      Hint("?", "Help", "app.help")],
            RUN: [leave] if self._runner.leaving_is_safe else [],
            DONE: [leave]}[stage]
        self.query_one("#keys", KeyBar).show(hints)

    # --- plan ----------------------------------------------------------------------------------------------------

    def _plan_failed(self, error: BaseException) -> None:
        self.dismiss(False)
        if not isinstance(error, CancelledError):
            self.rollpoint.report(error)

    def _planned(self, made: tuple[RollbackPlan, Summary]) -> None:
        plan, summary = made
        self._plan = plan
        rows = preview_rows(plan, summary, self.rollpoint.now())
        self.query_one("#facts-text", Fields).show(rows)
        self.query_one(ViewList).show(preview_views(plan, summary))
        confirm = self.query_one(ConfirmYes)
        confirm.display = not plan.blocked and bool(plan.diff.changes) and not self.rollpoint.read_only
        self._go(PREVIEW)
        self.query_one(ViewList).rows.focus()

    # --- run -----------------------------------------------------------------------------------------------------

    @on(ConfirmYes.Confirmed)
    def _confirmed(self, event: ConfirmYes.Confirmed) -> None:
        event.stop()
        if self._stage != PREVIEW or self._plan is None or self._plan.blocked or self.rollpoint.read_only:
            return
        self._work = LongJob()
        try:
            self._runner.start("rollback", self._plan)
        except Exception as error:  # cannot start: nothing was changed, and the screen says why
            self._finish(error_lines(error), bad=True)
            return
        if not self._runner.leaving_is_safe:
            self.rollpoint.begin("a rollback is under way", self._work, breakable=False)
        self._go(RUN)
        self.set_focus(None)
        panel = self.query_one(ProgressPanel)
        panel.follow(self._work)
        if self._runner.leaving_is_safe:
            panel.note(f"It runs on its own ({self._runner.where}); leaving or losing this terminal does not stop it.",
                       "dim")
        else:
            panel.note("Please wait until it is done.", "dim")
        self._timer = self.set_interval(SAMPLE, self._look)

    def _look(self) -> None:
        state = self._runner.poll()
        if state.progress is not None:
            self._work.see(state.progress)
        self._work.job.warnings[:] = state.warnings
        if not state.running:
            self._timer.stop()
            self._ended(state)

    def _ended(self, state: RunState) -> None:
        self._work.finish()
        self.rollpoint.end(self._work)
        if state.result is not None:
            rows, bad = rollback_rows(state.result), not state.result.verified
        else:
            rows, bad = error_lines(state.error or RuntimeError("no result")), True
            rows += [Content(""), content("Leave and look at the list of points: it says whether something was left "
                                          "unfinished, and R goes on with it or undoes it.")]
        if state.warnings:
            rows += [Content(""), content((f"Warnings: {len(state.warnings)}", "warn"))]
            rows += [content("  ", line) for line in state.warnings[:100]]
        self._finish(rows, bad=bad)

    def _finish(self, rows: list[Line], *, bad: bool) -> None:
        self.set_class(bad, "-bad")
        self.query_one("#result", Fields).show(rows)
        self._go(DONE)
        self.query_one("#done").focus()

    # --- keys ----------------------------------------------------------------------------------------------------

    def action_leave(self) -> None:
        """Leave. A running rollback goes on by itself where it can; otherwise it is waited for."""
        if self._stage == RUN and not self._runner.leaving_is_safe:
            return
        if self._stage == RUN:
            self.rollpoint.left_running = f"The rollback to point {self._point.number} goes on: {self._runner.where}"
        self.dismiss(self._stage in (RUN, DONE))

    def action_leave_done(self) -> None:
        """Enter closes the result, and nothing else."""
        if self._stage == DONE:
            self.action_leave()

    def action_begin(self, typed: str) -> None:
        """Typing `yes` may begin in the list: its first letter goes to the line."""
        confirm = self.query_one(ConfirmYes)
        if self._stage == PREVIEW and confirm.display:
            confirm.start(typed)

    def action_view(self, index: int) -> None:
        """Show another view of the plan."""
        self.query_one(ViewList).bar.choose(index)

    def action_step(self, by: int) -> None:
        """Show the next or the previous view."""
        self.query_one(ViewList).bar.step(by)

    @on(RowList.Chosen)
    def _chosen(self) -> None:
        self.action_begin("")
