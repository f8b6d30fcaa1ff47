"""A dialog around one piece of long work: a form, then live progress, then the result. Base of take, delete, verify …

The work runs in a thread of a worker and only bumps counters; escape while it runs asks it to stop and waits until
it has, so that the store is never left half-way.
"""

from __future__ import annotations

from typing import ClassVar, Generic

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from engine.errors import CancelledError
from engine.events import Job
from tui.jobs import LongJob
from tui.screens.base import BaseDialog, T
from tui.text import Line, content, error_lines, plural
from tui.widgets.fields import Fields
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.progress import ProgressPanel

FORM, WORK, DONE = "form", "work", "done"
_WARNINGS_SHOWN = 50


class JobDialog(BaseDialog[T | None], Generic[T]):
    """Subclasses give the form, the work and the words for its result. Dismissed with the result, or None."""

    BINDINGS = [Binding("escape", "leave", "Leave", show=False), Binding("enter", "enter", "Go on", show=False),
                Binding("c", "stop", "Stop", show=False), Binding("q", "leave", "Leave", show=False)]

    HEADING: ClassVar[str] = ""
    WORKING: ClassVar[str] = ""
    FORM_HINTS: ClassVar[tuple[Hint, ...]] = ()
    CANCELLED: ClassVar[str] = "Stopped. The store is as it was before."
    STOP: ClassVar[str] = "Stop"

    def __init__(self) -> None:
        super().__init__()
        self.stage = FORM
        self.breakable = True
        self.failed = False
        self.usual: float | None = None     # seconds that such work took before
        self.work: LongJob | None = None
        self._result: T | None = None

    # --- what a subclass gives -----------------------------------------------------------------------------------

    def form(self) -> ComposeResult:
        """Yield the widgets of the form."""
        yield from ()

    def begin_form(self) -> None:
        """Put the focus where the form begins; the first field that takes it, unless a subclass says otherwise."""

    def run_job(self, job: Job) -> T:
        """Do the work (in a thread; must not touch any widget) and return its result."""
        raise NotImplementedError

    def prepare(self) -> bool:
        """Read the form before the work starts; False: stay in the form."""
        return True

    def describe(self, result: T) -> list[Line]:
        """Return the result in words."""
        raise NotImplementedError

    # --- the dialog ----------------------------------------------------------------------------------------------

    def compose(self) -> ComposeResult:
        """Form, progress and result; one of them is shown."""
        with Vertical(id="dialog"):
            yield Static(content((self.HEADING, "head")), markup=False, id="title")
            with Vertical(id="form"):
                yield from self.form()
            yield ProgressPanel(id="work")
            with VerticalScroll(id="done"):
                yield Fields(id="result")
            yield KeyBar(id="keys")

    def on_mount(self) -> None:
        """Show the form."""
        self.go(FORM)
        self.begin_form()

    def go(self, stage: str) -> None:
        """Show one of the three stages."""
        self.stage = stage
        for name in (FORM, WORK, DONE):
            self.query_one(f"#{name}").display = name == stage
        self.set_class(stage == DONE, "-done")
        if stage == WORK:
            self.set_focus(None)
        elif stage == DONE:
            self.query_one("#done").focus()
        self.query_one("#keys", KeyBar).show(self.hints())

    def hints(self) -> list[Hint]:
        """Return the keys that do something in this stage."""
        if self.stage == FORM:
            return [*self.FORM_HINTS, Hint("esc", "Leave", "screen.leave")]
        if self.stage == WORK:
            return [Hint("c", self.STOP, "screen.stop")] if self.breakable else []
        return [Hint("enter", "Close", "screen.leave")]

    def start(self) -> None:
        """Begin the work, once."""
        if self.stage != FORM or not self.prepare():
            return
        self.work, self.failed = LongJob(usual=self.usual), False
        self.rollpoint.begin(self.WORKING, self.work, breakable=self.breakable)
        self.go(WORK)
        self.query_one(ProgressPanel).follow(self.work)
        job = self.work.job
        self.ask("job", lambda: self.run_job(job), self._finished, self._failed)

    def _end(self) -> None:
        if self.work is not None:
            self.work.finish()
            self.rollpoint.end(self.work)

    def _finished(self, result: T) -> None:
        self._end()
        self._result = result
        self._show(self.describe(result))

    def _failed(self, error: BaseException) -> None:
        self._end()
        self.failed = True
        if isinstance(error, CancelledError):
            self._show([content((self.CANCELLED, "warn"))])
            return
        self.add_class("-bad")
        self._show(error_lines(error))

    def _show(self, rows: list[Line]) -> None:
        warnings = self.work.job.warnings if self.work is not None else []
        if warnings:
            rows = [*rows, Content(""), content((plural(len(warnings), "warning") + ":", "warn"))]
            rows += [content("  ", w) for w in warnings[:_WARNINGS_SHOWN]]
            if len(warnings) > _WARNINGS_SHOWN:
                rows.append(content(f"  and {len(warnings) - _WARNINGS_SHOWN} more"))
        self.query_one("#result", Fields).show(rows)
        self.go(DONE)

    def action_enter(self) -> None:
        """Go on: from the form to the work, from the result back to the list."""
        if self.stage == FORM:
            self.start()
        elif self.stage == DONE:
            self.action_leave()

    def action_stop(self) -> None:
        """Ask the work to stop; the dialog goes on until it has."""
        if self.stage == WORK and self.work is not None and self.breakable:
            self.work.job.cancel()
            self.query_one(ProgressPanel).note("Stopping, one moment ...")

    def action_leave(self) -> None:
        """Leave the form or the result; ask running work to stop."""
        if self.stage == WORK:
            self.action_stop()
        else:
            self.dismiss(self._result)

