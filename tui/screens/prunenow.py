"""What the prune simulator does for good: writing the rules, and removing the points they do not keep."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.content import Content

from engine.config import Retention
from engine.errors import ChangedError
from engine.events import Job
from engine.results import Fate, PruneResult
from tui.rules import differences, shown_value
from tui.screens.delete import removal_rows
from tui.screens.job import FORM, JobDialog
from tui.screens.typed import TypedDialog
from tui.text import Line, content, plural, size
from tui.widgets.confirm import ConfirmYes
from tui.widgets.faterows import FateRows
from tui.widgets.fields import Fields
from tui.widgets.keybar import Hint
from tui.widgets.rows import RowList


class SaveRulesScreen(JobDialog[str]):
    """Writes rules to the configuration: dismissed with the file's path, None when it was left. `first`: it stands
    before a prune, which goes by the saved rules."""

    HEADING = "Write the rules"
    WORKING = "the rules are being written"
    FORM_HINTS = (Hint("enter", "Write them", "screen.enter"),)
    KEYS = (("enter", "write the rules"), ("esc", "leave them as they are"))

    def __init__(self, old: Retention, new: Retention, *, first: bool = False) -> None:
        super().__init__()
        self._old, self._new, self._first = old, new, first

    def form(self) -> ComposeResult:
        """Which rules change, and what that means."""
        rows: list[Line] = []
        if self._first:
            rows += [content(("Pruning goes by the saved rules, and these are not saved yet.", "warn")), Content("")]
        for rule, old, new in differences(self._old, self._new):
            rows.append(content(f"{rule.title}: ", (shown_value(rule, old), "dim"), " -> ",
                                (shown_value(rule, new), "strong")))
        rows += [Content(""), content("They are written to a file of their own in the configuration, and hold from "
                                      "then on: for every prune, and when a snapshot needs room. No point is removed "
                                      "now.")]
        yield Fields(rows)

    def run_job(self, job: Job) -> str:
        """Write them."""
        return self.rollpoint.engine.save_rules(self._new)

    def describe(self, result: str) -> list[Line]:
        """Where they are."""
        rows: list[Line] = [content(("The rules were saved", "good"), f" to {result}.")]
        return [*rows, content("Next: what they remove.")] if self._first else rows


class PruneNowScreen(TypedDialog[PruneResult]):
    """Removes the points that the saved rules do not keep, after `yes`."""

    HEADING = "Prune by the saved rules"
    WORKING = "old points are being removed"
    QUESTION = "Remove the points marked REMOVE for good?"
    CANCELLED = "Stopped. What was removed before stays removed; all other points are whole."
    KEYS = (("up down", "look through the points"), ("yes, enter", "remove those marked REMOVE"),
            ("esc", "leave without removing anything"))

    def __init__(self, fates: Sequence[Fate]) -> None:
        super().__init__()
        self.add_class("-big")
        self._take(fates)
        self._changed = False       # whether it was asked before, and the points have changed since

    def _take(self, fates: Sequence[Fate]) -> None:
        self._kept = sum(f.keep for f in fates)
        self._doomed = [f for f in fates if not f.keep]

    def explain(self) -> list[Line]:
        """The totals."""
        known = [f.point.own_bytes for f in self._doomed if f.point.own_bytes is not None]
        more = "" if len(known) == len(self._doomed) else " or more"
        every = len(self._doomed) + self._kept
        rows: list[Line] = [content(("Nothing was removed: ", "warn"), "what the rules remove has changed since it was "
                                    "shown. Look again.")] if self._changed else []
        freed = f"frees about {size(sum(known))}{more}; {self._kept} stay."
        return [*rows, content((plural(len(self._doomed), "point"), "bad"), f" of {every} would be removed, {freed}")]

    def form(self) -> ComposeResult:
        """Totals, the points that go, the line to type yes into."""
        yield Fields(self.explain(), id="totals")
        yield RowList(id="fates")
        yield ConfirmYes(self.QUESTION, id="confirm")

    def begin_form(self) -> None:
        """Fill the list and begin there."""
        rows = self.query_one("#fates", RowList)
        rows.show(FateRows(self._doomed, self.rollpoint.now()))
        rows.focus()

    def on_row_list_chosen(self) -> None:
        """Enter in the list goes to the line to type into."""
        if self.stage == FORM:
            self.action_begin("")

    def run_job(self, job: Job) -> PruneResult:
        """Prune: just the points that are listed."""
        return self.rollpoint.engine.prune(job, [f.point for f in self._doomed])

    def _failed(self, error: BaseException) -> None:
        """Where the points are not those that were agreed to, show those of now and ask again."""
        if isinstance(error, ChangedError):
            engine = self.rollpoint.engine
            self.ask("fates", engine.fates, self._again, super()._failed)
        else:
            super()._failed(error)

    def _again(self, fates: list[Fate]) -> None:
        self._end()
        self._take(fates)
        if not self._doomed:
            self._show([content(("Nothing was removed: ", "warn"), "the rules keep every point now.")])
            return
        self._changed = True
        self.query_one("#totals", Fields).show(self.explain())
        self.go(FORM)
        self.query_one(ConfirmYes).start()
        self.begin_form()

    def describe(self, result: PruneResult) -> list[Line]:
        """What came of it."""
        return removal_rows(result)
