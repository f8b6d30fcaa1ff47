"""A job dialog that first asks the engine what it would do, shows that, and goes on only when `yes` is typed."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content

from engine.events import Job
from engine.results import Finding
from engine.vms.running import UNKNOWN, RunState
from tui.screens.base import T
from tui.screens.job import FORM
from tui.screens.typed import TypedDialog
from tui.text import Line, Segment, content, error_lines, field
from tui.widgets.checkline import CheckLine
from tui.widgets.confirm import ConfirmYes
from tui.widgets.fields import Fields
from tui.widgets.keybar import Hint, KeyBar


class Planned(Protocol):
    """What plans about a VM have in common."""

    @property
    def running(self) -> RunState:
        """Whether the VM runs."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What forbids it, and what else to know."""

    @property
    def blocked(self) -> bool:
        """Whether something forbids it."""


P = TypeVar("P", bound=Planned)
_LOOKS = {"blocker": ("Refused", "bad"), "warning": ("Warning", "warn")}


class PlannedDialog(TypedDialog[T], Generic[T, P]):
    """Subclasses ask for the plan in `make_plan` and say in `plan_rows` what it comes to; `run_job` carries out
    `self.plan`. Where nobody can tell whether the VM runs, the admin can say that it does not."""

    BINDINGS = [Binding("pageup", "page(-1)", show=False), Binding("pagedown", "page(1)", show=False)]

    def __init__(self) -> None:
        super().__init__()
        self.add_class("-big")
        self.plan: P | None = None
        self.stopped = False
        self._planning = Job()

    def make_plan(self, job: Job, *, stopped: bool) -> P:
        """Ask the engine what would be done (in a thread)."""
        raise NotImplementedError

    def plan_rows(self, plan: P) -> list[Line]:
        """Return in words what would be done."""
        raise NotImplementedError

    def explain(self) -> list[Line]:
        """Until the plan is there."""
        return [content(("Looking what would be done ...", "dim"))]

    def form(self) -> ComposeResult:
        """The plan, the switch for what only the admin knows, the line to type yes into."""
        with VerticalScroll(id="explain", can_focus=False):
            yield Fields(self.explain(), id="plan")
        yield CheckLine("I know that this VM does not run, on no server", id="stopped")
        yield ConfirmYes(self.QUESTION, id="confirm")

    def begin_form(self) -> None:
        """Plan, before anything can be typed."""
        self._ask()

    def on_unmount(self) -> None:
        """Nobody waits for the plan any more."""
        self._planning.cancel()

    def _ask(self) -> None:
        self.plan = None
        self._offer()
        self._planning.cancel()
        job, stopped = Job(), self.stopped
        self._planning = job
        self.ask("plan", lambda: self.make_plan(job, stopped=stopped), self._planned, self._unplanned)

    def _planned(self, plan: P) -> None:
        self.plan = plan
        rows = self.plan_rows(plan)
        rows += [field(*_told(finding)) for finding in plan.findings]
        # What a hint says of an option of the command line, the switch below says here.
        rows += [field("", (hint, "dim")) for hint in dict.fromkeys(f.hint for f in plan.findings if plan.blocked)
                 if hint and "--" not in hint]
        self.query_one("#plan", Fields).show(rows)
        self._offer()
        if plan.blocked:
            self.set_focus(self.query_one(CheckLine) if self.query_one(CheckLine).display else None)
        else:
            self.query_one(ConfirmYes).start()

    def _unplanned(self, error: BaseException) -> None:
        self.query_one("#plan", Fields).show([*error_lines(error), Content(""), content("Nothing was changed.")])
        self._offer()

    def _offer(self) -> None:
        """Show what can be answered now."""
        plan = self.plan
        self.query_one(CheckLine).display = plan is not None and (self.stopped or plan.running.state == UNKNOWN)
        self.query_one(ConfirmYes).display = plan is not None and not plan.blocked
        self.query_one("#keys", KeyBar).show(self.hints())

    def hints(self) -> list[Hint]:
        """The keys that do something now."""
        if self.stage != FORM or (self.plan is not None and not self.plan.blocked):
            return super().hints()
        switch = [Hint("space", "It does not run")] if self.query_one(CheckLine).display else []
        return [*switch, Hint("esc", "Leave", "screen.leave")]

    @on(CheckLine.Changed)
    def _switched(self, event: CheckLine.Changed) -> None:
        event.stop()
        self.stopped = event.value
        self._ask()

    def prepare(self) -> bool:
        """Only what was planned, and may be done."""
        return self.plan is not None and not self.plan.blocked

    def action_begin(self, typed: str) -> None:
        """There is nothing to agree to before the plan is there."""
        if self.prepare():
            super().action_begin(typed)

    def action_page(self, by: int) -> None:
        """Read on in what would be done."""
        text = self.query_one("#explain", VerticalScroll)
        text.scroll_page_down(animate=False) if by > 0 else text.scroll_page_up(animate=False)

    @staticmethod
    def running_row(state: RunState) -> Line:
        """Whether the VM runs, and how that is known."""
        return field("State", (state.state, "good" if state.stopped else "warn"), (f"  {state.why}", "dim"))


def _told(finding: Finding) -> tuple[str, Segment]:
    label, look = _LOOKS.get(finding.level, ("Note", ""))
    return label, (finding.text, look)
