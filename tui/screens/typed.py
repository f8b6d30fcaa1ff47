"""A job dialog whose form shows what will happen and goes on only when `yes` is typed."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll

from tui.screens.base import T
from tui.screens.job import FORM, JobDialog
from tui.text import Line
from tui.widgets.confirm import ConfirmYes
from tui.widgets.fields import Fields
from tui.widgets.keybar import Hint, KeyBar


class TypedDialog(JobDialog[T]):
    """Subclasses say in `explain` what will happen, and the question to answer with yes in `QUESTION`."""

    BINDINGS = [Binding("y", "begin('y')", show=False)]
    QUESTION: ClassVar[str] = ""
    FORM_HINTS: ClassVar[tuple[Hint, ...]] = (Hint("yes enter", "Do it"),)

    def explain(self) -> list[Line]:
        """Return what will happen, in words."""
        raise NotImplementedError

    def form(self) -> ComposeResult:
        """The words, then the line to type yes into."""
        with VerticalScroll(id="explain", can_focus=False):
            yield Fields(self.explain(), id="explain-text")
        yield ConfirmYes(self.QUESTION, id="confirm")

    def begin_form(self) -> None:
        """The focus is in the line: typing into it does no harm, and nothing else is to be done here."""
        self.query_one(ConfirmYes).start()

    def action_begin(self, typed: str) -> None:
        """Typing `yes` may begin anywhere: its first letter goes to the line to type into."""
        if self.stage == FORM:
            for confirm in self.query(ConfirmYes):
                confirm.start(typed)

    def action_enter(self) -> None:
        """Enter alone never starts anything."""
        if self.stage != FORM:
            super().action_enter()

    @on(ConfirmYes.Confirmed)
    def _confirmed(self, event: ConfirmYes.Confirmed) -> None:
        event.stop()
        self.start()


class InformedDialog(TypedDialog[T]):
    """One in which yes can be typed only while `allow` says so: what it means may have to be asked for first."""

    def __init__(self) -> None:
        super().__init__()
        self._may = True

    def allow(self, may: bool) -> None:
        """Let yes be typed, or not yet; shows the line for it and the keys accordingly."""
        self._may = self.query_one(ConfirmYes).display = may
        self.query_one("#keys", KeyBar).show(self.hints())

    def hints(self) -> list[Hint]:
        """The keys of the stage: without yes where it cannot be typed."""
        found = super().hints()
        return found if self.stage != FORM or self._may else found[-1:]

    def action_begin(self, typed: str) -> None:
        """There is nothing to agree to before it is known what goes."""
        if self._may:
            super().action_begin(typed)

    def prepare(self) -> bool:
        """Only what can be agreed to."""
        return self._may
