"""The last two steps of every rollback: how far it is, and what came of it. Base of rollback, attach, resume, undo."""

from __future__ import annotations

import time
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import ContentSwitcher, Static

from engine.results import RollbackPlan, StoreStatus
from tui.jobs import LongJob
from tui.rollback_job import Runner
from tui.rollback_registry import Verb
from tui.screens.base import BaseScreen
from tui.screens.outcome import ended_rows, left_rows
from tui.text import Line, Segment, content, error_lines
from tui.widgets.fields import Fields
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.runpanel import RunPanel
from tui.widgets.stepbar import StepBar

RUN, RESULT = "run", "result"


class RunScreen(BaseScreen[bool]):
    """Steps, one of them shown. Dismissed with True when something may have changed.

    A subclass names its steps in `STEPS` (name, label), the last two being those of here, and yields the widgets of
    the others in `parts`, each with its step's name as id.
    """

    STEPS: ClassVar[tuple[tuple[str, str], ...]] = ((RUN, "Run"), (RESULT, "Result"))
    BINDINGS = [Binding("escape", "back", "Back", show=False), Binding("q", "leave", "Leave", show=False),
                Binding("enter", "on", "Go on", show=False)]

    def __init__(self, runner: Runner) -> None:
        super().__init__()
        self.runner = runner
        self.step = ""
        self.failed = False     # whether it came to an error after which it can be tried again
        self._begun = False
        self._run_work = LongJob()

    # --- what a subclass gives -----------------------------------------------------------------------------------

    def subject(self) -> list[Segment]:
        """Return what this is about, in one line."""
        raise NotImplementedError

    def parts(self) -> ComposeResult:
        """Yield the widgets of the steps before the run."""
        yield from ()

    def began(self, step: str) -> None:
        """A step was gone to: put the focus where its work is."""

    def hints(self) -> list[Hint]:
        """Return the keys that do something in the step at hand."""
        if self.step == RUN:
            return [Hint("esc", "Leave it running", "screen.leave")] if self.runner.leaving_is_safe else []
        return [Hint("enter", "Close", "screen.leave")]

    # --- the steps -----------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Header, subject, where one is, the step, keys."""
        yield self.header()
        yield Static(content(*self.subject()), markup=False, id="subject")
        yield StepBar([label for _, label in self.STEPS], id="steps")
        with ContentSwitcher(id="step"):
            yield from self.parts()
            yield RunPanel(id=RUN)
            with VerticalScroll(id=RESULT):
                yield Fields(id="outcome")
        yield KeyBar(id="keys")

    def go(self, step: str) -> None:
        """Show a step."""
        self.step = step
        self.query_one("#step", ContentSwitcher).current = step
        self.query_one(StepBar).current = [name for name, _ in self.STEPS].index(step)
        self.show_hints()
        if step == RUN:
            self.set_focus(None)
        elif step == RESULT:
            self.query_one(f"#{RESULT}").focus()
        self.began(step)

    def show_hints(self) -> None:
        """Show the keys of the step anew."""
        self.query_one("#keys", KeyBar).show(self.hints())

    # --- run and result ------------------------------------------------------------------------------------------

    def start(self, verb: Verb, plan: RollbackPlan | None = None, *, safety_point: bool = True) -> None:
        """Start the run and watch it; where it cannot be started nothing was changed, and the result says why."""
        try:
            self.runner.start(verb, plan, safety_point=safety_point)
        except Exception as error:  # whatever it is, it belongs on the screen
            self.failed = True
            self.finish([*error_lines(error), Content(""), content("Nothing was changed.")], bad=True)
            return
        self.follow()

    def follow(self) -> None:
        """Watch the runner's run."""
        run = self.runner.run
        self._begun = True
        self._run_work = LongJob()
        if run is not None and run.started:
            self._run_work.started = min(run.started, time.monotonic())
        if not self.runner.leaving_is_safe:
            self.rollpoint.begin("a rollback is under way", self._run_work, breakable=False)
        self.rollpoint.watched_run = run
        self.go(RUN)
        self.query_one(RunPanel).watch_run(self.runner, self._run_work)

    @on(RunPanel.Ended)
    def _ended(self, event: RunPanel.Ended) -> None:
        event.stop()
        state = event.state
        self.rollpoint.end(self._run_work)
        self.rollpoint.left_running = ""
        self.failed = state.result is None
        rows = ended_rows(state, self.runner.run)
        self.finish(rows, bad=state.result is None or not state.result.verified)
        self.runner.seen()
        self.rollpoint.seen_run = self.runner.run
        if self.failed:
            self.ask("left", self.rollpoint.engine.status, lambda status: self._left(rows, status), lambda _: None)

    def _left(self, rows: list[Line], status: StoreStatus) -> None:
        if self.step == RESULT:
            self.failed = not status.rollback   # half done, nothing else can be planned before that is settled
            self.finish([*rows, Content(""), *left_rows(status.rollback, status.holder)], bad=True)

    def finish(self, rows: list[Line], *, bad: bool) -> None:
        """Show the result."""
        self.set_class(bad, "-bad")
        self.query_one("#outcome", Fields).show(rows)
        self.go(RESULT)

    # --- keys ----------------------------------------------------------------------------------------------------

    def action_back(self) -> None:
        """Back a step; there is none before the run."""
        self.action_leave()

    def action_on(self) -> None:
        """Go on: from the result back to where one came from."""
        if self.step == RESULT:
            self.action_leave()

    def action_leave(self) -> None:
        """Leave. A running rollback goes on by itself where it can; otherwise it is waited for."""
        if self.step == RUN:
            if not self.runner.leaving_is_safe:
                return
            what = self.runner.run.title if self.runner.run is not None else "the rollback"
            self.rollpoint.left_running = (f"{what[:1].upper()}{what[1:]} was left to itself ({self.runner.where}). "
                                           "The next start of Rollpoint shows how far it is, or how it ended.")
        self.dismiss(self._begun)
