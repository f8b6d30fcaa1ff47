"""Rolling back, step by step on one screen: scope, what will change, safety point, `yes`, how far it is, the result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from engine.errors import CancelledError
from engine.machine.filesystems import recorded
from engine.points import RestorePoint
from engine.results import RollbackPlan, ScopeChoice
from tui.jobs import LongJob
from tui.rollback_job import Runner, boot_order
from tui.screens.outcome import ordered_rows
from tui.screens.preview import BootRows, confirm_rows, preview_rows, preview_views, safety_rows
from tui.screens.run import RESULT, RUN, RunScreen
from tui.storagewords import of_storage
from tui.summary import Summary, summarize
from tui.text import Line, Segment, content, error_lines, point_title
from tui.widgets.checkline import CheckLine
from tui.widgets.confirm import ConfirmYes
from tui.widgets.fields import Fields
from tui.widgets.keybar import Hint
from tui.widgets.progress import ProgressPanel
from tui.widgets.rows import RowList, RowSource
from tui.widgets.scopes import WHOLE, ScopeChooser, scope_title
from tui.widgets.viewlist import ViewList

SCOPE, CHANGES, SAFETY, CONFIRM = "scope", "changes", "safety", "confirm"
_VIEWS = 9


class Planned(NamedTuple):
    """A plan, counted, with its lists: made in a worker, since all of it looks at every change."""

    plan: RollbackPlan
    summary: Summary
    views: list[tuple[str, RowSource]]


class RollbackScreen(RunScreen):
    """The screen behind `r`. With a `scope` (``path=/etc`` …) it begins at what that would change.

    Dismissed with True when something may have changed."""

    STEPS = ((SCOPE, "Scope"), (CHANGES, "Changes"), (SAFETY, "Safety point"), (CONFIRM, "Confirm"), (RUN, "Run"),
             (RESULT, "Result"))
    BINDINGS = [
        *(Binding(str(n + 1), f"view({n})", show=False) for n in range(_VIEWS)),
        Binding("right,l", "turn_view(1)", show=False), Binding("left,h", "turn_view(-1)", show=False),
        Binding("space,x", "mark", show=False), Binding("y", "begin('y')", show=False),
        Binding("a", "again", show=False), Binding("n", "next", show=False), Binding("A", "adopt", show=False),
        Binding("M", "merge", show=False),
        Binding("tab", "turn", show=False), Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False)]
    KEYS = (("enter", "go on to the next step"), ("esc", "back a step; nothing is changed before yes"),
            ("q", "leave"), ("space", "scope: mark one of several; safety point: with or without"),
            ("1 to 9, left right", "all changes, deletions, the largest, what stays, findings, commands, system, boot"),
            ("A", "changes: adopt, that is onto other file systems than were recorded, or another machine"),
            ("M", "changes, adopting: recorded file systems without a place become directories"),
            ("n", "changes: go on, also from the list of boot sectors, where enter shows their bytes"),
            ("tab", "changes: to the text above the list, to scroll it, and back"),
            ("tab", "last step: now, or at the next boot before anything else runs"),
            ("yes, enter", "in the last step before it begins: roll back"), ("a", "after an error: plan it again"))
    NOTES = ("The letters say what rolling back does to a path: + comes back, - is deleted, M gets its old content,",
             "T its old type, a its old attributes. With a safety point all of it can be undone.")

    def __init__(self, point: RestorePoint, runner: Runner, scope: Sequence[str] = ()) -> None:
        super().__init__(runner)
        self._point = point
        self._scope = tuple(scope)
        self._first = CHANGES if scope else SCOPE
        self._adopt = self._at_boot = self._ordering = False
        self._merged: tuple[bytes, ...] = ()
        self._plan_work = LongJob()
        self._planned: Planned | None = None

    def subject(self) -> list[Segment]:
        """The point, and what it is limited to."""
        limits: list[Segment] = [] if self._scope in ((), (WHOLE,)) else [("  ", ""), *scope_title(self._scope)]
        return [("Roll back to ", "strong"), *point_title(self._point, self.rollpoint.now()), *limits,
                ("  ADOPT" if self._adopt else "", "warn")]

    def parts(self) -> ComposeResult:
        """The four steps before the run."""
        yield ScopeChooser(self._scope, id=SCOPE)
        with Vertical(id=CHANGES):
            yield ProgressPanel(id="plan-work")
            with Vertical(id="preview"):
                with VerticalScroll(id="facts"):
                    yield Fields(id="facts-text")
                yield ViewList(id="plan-views")
        with VerticalScroll(id=SAFETY, can_focus=False):
            yield CheckLine("Take a safety point first", True, id="take-safety")
            yield Fields(safety_rows(safety_point=True), id="safety-text")
        with Vertical(id=CONFIRM):
            with VerticalScroll(classes="words", can_focus=False):
                yield Fields(id="confirm-text")
            yield ConfirmYes("Roll back now?", id="confirm-yes")

    def on_mount(self) -> None:
        """Ask what can be chosen, or plan what was chosen elsewhere. What becomes a directory may have been said on the
        rescue screen already."""
        held = {one.place for one in recorded(self._point.doc.get("sources"))}
        self._merged = tuple(place for place in self.rollpoint.merged if place in held)
        self._adopt = bool(self._merged)
        if self._first == CHANGES:
            self._make_plan()
            return
        self.go(SCOPE)
        engine, point = self.rollpoint.engine, self._point
        self.ask("scopes", lambda: engine.scopes(point), self._offered, self._not_offered)

    def on_unmount(self) -> None:
        """Nobody waits for a plan any more."""
        self._plan_work.job.cancel()

    # --- where one is --------------------------------------------------------------------------------------------

    @property
    def _obstacle(self) -> str:
        """Why it cannot go on from the changes, "" when it can."""
        if self._planned is None:
            return "The plan is not made yet."
        if self._planned.plan.blocked:
            merge = " M makes directories of file systems that have no place." if self._mergeable else ""
            return f"This rollback is blocked: what is marked BLOCKED has to be put right first.{merge}"
        if self._planned.plan.empty:
            return "Nothing differs: there is nothing to roll back."
        return "This is read-only: it can be looked at, not carried out." if self.rollpoint.read_only else ""

    @property
    def _on_boot(self) -> bool:
        """Whether the list of boot sectors is shown."""
        return isinstance(self.query_one(ViewList).rows.source, BootRows)

    @property
    def _safety_point(self) -> bool:
        return self.query_one("#take-safety", CheckLine).value

    def hints(self) -> list[Hint]:
        """The keys of the step."""
        if self.step in (RUN, RESULT):
            if self._ordering:
                return []
            again = [Hint("a", "Plan it again", "screen.again")] if self.step == RESULT and self.failed else []
            return [*super().hints(), *again]
        back = Hint("esc", "Leave" if self.step == self._first else "Back", "screen.back")
        on = Hint("enter", "Go on", "screen.on")
        bytes_ = [Hint("enter", "Bytes")] if self.step == CHANGES and self._on_boot else []
        if bytes_:
            on = Hint("n", "Go on", "screen.next")
        scroll = [Hint("tab", "Scroll", weight=4)] if self.query_one("#facts").max_scroll_y else []
        leave = [] if self.step == self._first else [Hint("q", "Leave", "screen.leave", 3)]
        lists = [Hint(f"1-{len(self._planned.views)}", "Lists", weight=2)] if self._planned else []
        return {SCOPE: [on, Hint("space", "Mark several", "screen.mark", 2), back],
                CHANGES: [*bytes_, *([] if self._obstacle else [on]), *self._adopting(), back, *lists, *scroll, *leave],
                SAFETY: [on, Hint("space", "With or without it", "screen.mark"), back, *leave],
                CONFIRM: [Hint("yes enter", "Order it" if self._at_boot else "Roll back"), back, *self._other_time()],
                }[self.step] + [Hint("?", "Help", "app.help", 2)]

    def _adopting(self) -> list[Hint]:
        """The keys that take other file systems, where something forbids the rollback or they were taken."""
        if of_storage(self._point):
            return []       # its snapshots are of the volumes that are here, and of no others
        blocked = self._planned is not None and self._planned.plan.blocked
        adopt = [Hint("A", "Do not adopt" if self._adopt else "Adopt", "screen.adopt", 2)] * (blocked or self._adopt)
        return [*([Hint("M", "Directories", "screen.merge")] if self._mergeable else []), *adopt]

    @property
    def _mergeable(self) -> tuple[bytes, ...]:
        """The recorded file systems that can become directories, or do; none where nothing is adopted."""
        if self._planned is None or not self._adopt:
            return ()
        return (*self._planned.plan.missing, *self._planned.plan.merged)

    def _other_time(self) -> list[Hint]:
        """The key for now or the next boot, where the system that runs here is rolled back to a point of the store."""
        if self._planned is None or self._planned.plan.root != "/" or of_storage(self._point):
            return []
        return [Hint("tab", "Now" if self._at_boot else "At next boot", "screen.turn")]

    def began(self, step: str) -> None:
        """Focus where the work of the step is; never on anything that changes the system."""
        self.query_one("#subject", Static).update(content(*self.subject()))
        if step == SCOPE:
            self.query_one(ScopeChooser).start()
        elif step == CHANGES:
            self.query_one(ViewList).rows.focus()
        elif step == SAFETY:
            self.query_one("#take-safety").focus()
        elif step == CONFIRM and self._planned is not None:
            self._ask_yes()

    # --- scope and plan ------------------------------------------------------------------------------------------

    def _offered(self, choices: list[ScopeChoice]) -> None:
        self.query_one(ScopeChooser).offer(choices)

    def _not_offered(self, error: BaseException) -> None:
        self.query_one(ScopeChooser).say(error_lines(error))

    @on(ScopeChooser.Chosen)
    def _scope_chosen(self, event: ScopeChooser.Chosen) -> None:
        event.stop()
        self._scope = event.words
        self._make_plan()

    def _make_plan(self) -> None:
        self._planned, self._at_boot = None, False
        self._plan_work.job.cancel()
        work = self._plan_work = LongJob()
        self.query_one("#preview").display = False
        panel = self.query_one("#plan-work", ProgressPanel)
        panel.display = True
        panel.follow(work)
        self.go(CHANGES)
        engine, point, scope, adopt = self.rollpoint.engine, self._point, self._scope, self._adopt
        merged = self._merged if adopt else ()

        def plan() -> Planned:
            made = engine.plan(point, scope, work.job, adopt=adopt, merged=merged)
            summary = summarize(made.diff)
            return Planned(made, summary, preview_views(made, summary))

        def here(then: Callable[[], None]) -> None:
            if work is self._plan_work and self.step == CHANGES:
                then()

        self.ask("plan", plan, lambda made: here(lambda: self._show_plan(made)),
                 lambda error: here(lambda: self._plan_failed(error)))

    def _plan_failed(self, error: BaseException) -> None:
        if isinstance(error, CancelledError):
            return
        if self._first == SCOPE:
            self.query_one(ScopeChooser).say(error_lines(error))
            self.go(SCOPE)
        else:
            self.failed = True
            self.finish(error_lines(error), bad=True)

    def _show_plan(self, made: Planned) -> None:
        self._planned = made
        rows = preview_rows(made.plan, made.summary, self.rollpoint.now())
        if self._obstacle and not made.plan.empty:
            rows = [content((self._obstacle, "warn")), *rows]
        self.query_one("#facts-text", Fields).show(rows)
        views = self.query_one(ViewList)
        views.show(made.views)
        self.query_one("#plan-work").display = False
        self.query_one("#preview").display = True
        self.query_one("#facts").scroll_home(animate=False)
        self.show_hints()
        self.call_after_refresh(self.show_hints)    # whether there is more text than room is known only then
        views.rows.focus()

    # --- safety point and yes ------------------------------------------------------------------------------------

    @on(CheckLine.Changed)
    def _safety_turned(self, event: CheckLine.Changed) -> None:
        event.stop()
        self.query_one("#safety-text", Fields).show(safety_rows(safety_point=event.value))

    @on(ConfirmYes.Confirmed)
    def _confirmed(self, event: ConfirmYes.Confirmed) -> None:
        event.stop()
        if self.step == CONFIRM and self._planned is not None and not self._obstacle:
            if self._at_boot:
                self._order(self._planned.plan)
            else:
                self.start("rollback", self._planned.plan, safety_point=self._safety_point)

    def _ask_yes(self) -> None:
        """Say what yes would do, and ask."""
        if self._planned is None:
            return
        self.query_one("#confirm-text", Fields).show(confirm_rows(
            self._planned.plan, self._planned.summary, safety_point=self._safety_point, at_boot=self._at_boot))
        confirm = self.query_one(ConfirmYes)
        confirm.ask("Roll back at the next boot?" if self._at_boot else "Roll back now?")
        confirm.start()
        self.show_hints()

    # --- at the next boot ----------------------------------------------------------------------------------------

    def action_turn(self) -> None:
        """In the last step: now, or at the next boot where that is possible. Elsewhere the focus goes on."""
        engine = self.rollpoint.engine
        if self.step != CONFIRM:
            self.focus_next()
        elif self._at_boot:
            self._turned_to(False)
        elif self._other_time():
            self.ask("may order", engine.may_order, lambda _: self._turned_to(True))

    def _turned_to(self, at_boot: bool) -> None:
        if self.step == CONFIRM:
            self._at_boot = at_boot
            self._ask_yes()

    def _order(self, plan: RollbackPlan) -> None:
        """Order it; nobody leaves before it is known whether it was."""
        engine, safety_point = self.rollpoint.engine, self._safety_point
        self._ordering = self._begun = True
        self.rollpoint.begin("a rollback is being ordered for the next boot", self._plan_work, breakable=False)
        self.finish([content("Ordering it for the next boot, one moment ...")], bad=False)

        def order() -> None:
            engine.order(plan, boot_order(engine.config, plan, safety_point=safety_point))

        self.ask("order", order, lambda _: self._ordered(ordered_rows(plan.point.number)), self._not_ordered)

    def _ordered(self, rows: list[Line], *, bad: bool = False) -> None:
        self._ordering = False
        self.rollpoint.end(self._plan_work)
        self.finish(rows, bad=bad)

    def _not_ordered(self, error: BaseException) -> None:
        self.failed = True
        self._ordered([*error_lines(error), Content(""), content("Nothing was ordered or changed.")], bad=True)

    def action_leave(self) -> None:
        """Leave, unless an order is being written."""
        if not self._ordering:
            super().action_leave()

    # --- keys ----------------------------------------------------------------------------------------------------

    @on(RowList.Chosen, "#view-rows")
    def _row_chosen(self, event: RowList.Chosen) -> None:
        from tui.screens.bytes import PairScreen, planned

        event.stop()
        source, engine, point = event.rows.source, self.rollpoint.engine, self._point
        if isinstance(source, BootRows):
            line = source.lines[event.index][0]
            self.app.push_screen(PairScreen(line, ("now", "afterwards"), lambda: planned(engine, point, line)))
        else:
            self.action_on()

    @on(ViewList.Turned)
    def _turned(self, event: ViewList.Turned) -> None:
        event.stop()
        self.show_hints()

    def action_next(self) -> None:
        """From the changes to the next step, whatever list is shown."""
        if self.step == CHANGES:
            self.action_on()

    def action_on(self) -> None:
        """Go on to the next step, where the one at hand lets."""
        if self.step == SCOPE:
            self.query_one("#scope-rows", RowList).action_choose()
        elif self.step == CHANGES:
            if not self._obstacle:
                self.go(SAFETY)
        elif self.step == SAFETY:
            self.go(CONFIRM)
        else:
            super().action_on()

    def action_back(self) -> None:
        """Back a step; from the first one, out."""
        if self.step == SCOPE and self.query_one(ScopeChooser).close_line():
            return
        if self.step in (self._first, RUN, RESULT):
            self.action_leave()
            return
        if self.step == CHANGES:
            self._plan_work.job.cancel()
        names = [name for name, _ in self.STEPS]
        self.go(names[names.index(self.step) - 1])

    def action_mark(self) -> None:
        """Mark a choice of the scope; with or without a safety point."""
        if self.step == SCOPE:
            self.query_one(ScopeChooser).turn()
        elif self.step == SAFETY:
            self.query_one("#take-safety", CheckLine).action_turn()

    def action_begin(self, typed: str) -> None:
        """Typing `yes` may begin anywhere in its step."""
        if self.step == CONFIRM:
            self.query_one(ConfirmYes).start(typed)

    def action_adopt(self) -> None:
        """Plan it anew: onto other file systems than were recorded, or only onto those."""
        if self.step == CHANGES and self._planned is not None and self._adopting():
            self._adopt = not self._adopt
            self._make_plan()

    def action_merge(self) -> None:
        """Choose which file systems become directories, and plan it anew."""
        from tui.screens.merge import MergeScreen

        def chosen(places: tuple[bytes, ...] | None) -> None:
            if places is not None and self.step == CHANGES:
                self._merged = places
                self._make_plan()

        if self.step == CHANGES and self._mergeable:
            self.app.push_screen(MergeScreen(self._mergeable, self._merged), chosen)

    def action_page(self, by: int) -> None:
        """Scroll the words of a step that has more of them than room."""
        for words in self.query(f"#{SAFETY}, #{CONFIRM} .words").results(VerticalScroll):
            if by > 0:
                words.scroll_page_down(animate=False)
            else:
                words.scroll_page_up(animate=False)

    def action_again(self) -> None:
        """After an error: plan with the same scope again, for another run."""
        if self.step == RESULT and self.failed:
            self.runner = self.rollpoint.make_runner()
            self.remove_class("-bad")
            self.failed = False
            self._make_plan()

    def action_view(self, index: int) -> None:
        """Show another list of the plan."""
        if self.step == CHANGES:
            self.query_one(ViewList).bar.choose(index)

    def action_turn_view(self, by: int) -> None:
        """Show the next or the previous list."""
        if self.step == CHANGES:
            self.query_one(ViewList).bar.step(by)
