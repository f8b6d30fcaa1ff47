"""What the prune simulator does for good: writing the rules, and removing the points they do not keep."""

from __future__ import annotations

from collections.abc import Sequence

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content

from engine.backend import Losses
from engine.backends import Trouble
from engine.config import Retention
from engine.errors import ChangedError
from engine.events import Job
from engine.results import Fate, PruneResult
from tui.rules import differences, shown_value
from tui.screens.delete import loss_rows, removal_rows
from tui.screens.job import FORM, JobDialog
from tui.screens.typed import InformedDialog
from tui.storagewords import of_storage
from tui.text import Line, content, error_lines, plural, size
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


class PruneNowScreen(InformedDialog[PruneResult]):
    """Removes the points that the saved rules do not keep, of every kind, after `yes`. What goes with those of the
    storage is asked first; `troubles` are the kinds that cannot be asked, of which nothing goes."""

    HEADING = "Prune by the saved rules"
    WORKING = "old points are being removed"
    QUESTION = "Remove the points marked REMOVE for good?"
    CANCELLED = "Stopped. What was removed before stays removed; all other points are whole."
    KEYS = (("up down", "look through the points"), ("tab", "what goes with them, to read on; then the points again"),
            ("yes, enter", "remove those marked REMOVE"), ("esc", "leave without removing anything"))

    def __init__(self, fates: Sequence[Fate], troubles: Sequence[Trouble] = ()) -> None:
        super().__init__()
        self.add_class("-big")
        self._take(fates, troubles)
        self._changed = False       # whether it was asked before, and the points have changed since

    def _take(self, fates: Sequence[Fate], troubles: Sequence[Trouble]) -> None:
        self._kept = sum(f.keep for f in fates)
        self._doomed = [f for f in fates if not f.keep]
        self._troubles = troubles

    def explain(self) -> list[Line]:
        """The totals; what the storage frees is its own to say."""
        kept = [f.point.own_bytes for f in self._doomed if not of_storage(f.point)]
        known = [own for own in kept if own is not None]
        more = "" if len(known) == len(kept) else " or more"
        every = len(self._doomed) + self._kept
        rows: list[Line] = [content(("Nothing was removed: ", "warn"), "what the rules remove has changed since it was "
                                    "shown. Look again.")] if self._changed else []
        where = " in the store" if len(kept) < len(self._doomed) else ""
        freed = f", frees about {size(sum(known))}{more}{where}" if kept else ""
        return [*rows, content((plural(len(self._doomed), "point"), "bad"), f" of {every} would be removed{freed}; "
                               f"{self._kept} stay.")]

    def _say_losses(self, rows: Sequence[Line]) -> None:
        """Say what goes with points of the storage, and who cannot be asked: there may be much of it."""
        silent = [content((f"{t.backend} cannot be asked, nothing of it is removed: ", "warn"), t.reason)
                  for t in self._troubles]
        self.query_one("#losses").display = bool(rows or silent)
        self.set_class(bool(rows or silent), "-beside")
        self.query_one("#losses-text", Fields).show([*silent, *rows])

    def form(self) -> ComposeResult:
        """Totals, what goes with points of the storage, the points that go, the line to type yes into."""
        yield Fields(self.explain(), id="totals")
        with VerticalScroll(id="losses"):
            yield Fields(id="losses-text")
        yield RowList(id="fates")
        yield ConfirmYes(self.QUESTION, id="confirm")

    def begin_form(self) -> None:
        """Fill the list and begin there; ask the storage what goes with points of its own."""
        rows = self.query_one("#fates", RowList)
        rows.show(FateRows(self._doomed, self.rollpoint.now()))
        rows.focus()
        going, engine = [f.point for f in self._doomed if of_storage(f.point)], self.rollpoint.engine
        self.allow(not going)
        if going:
            self._say_losses([content(("Asking the storage what goes with them ...", "dim"))])
            self.ask("losses", lambda: engine.losses(going), self._lost, self._not_known)
        else:
            self._say_losses([])

    def _lost(self, by_backend: dict[str, Losses]) -> None:
        rows: list[Line] = []
        for backend, losses in by_backend.items():
            rows += [content((backend, "strong")), *loss_rows(losses)]
        self._say_losses(rows)
        self.allow(True)

    def _not_known(self, error: BaseException) -> None:
        self._say_losses([content(("What goes with them cannot be said:", "warn")), *error_lines(error)])
        self.allow(True)

    def on_row_list_chosen(self) -> None:
        """Enter in the list goes to the line to type into."""
        if self.stage == FORM:
            self.action_begin("")

    def run_job(self, job: Job) -> PruneResult:
        """Prune: just the points that are listed."""
        return self.rollpoint.engine.prune_all(job, [f.point for f in self._doomed])

    def _failed(self, error: BaseException) -> None:
        """Where the points are not those that were agreed to, show those of now and ask again."""
        if isinstance(error, ChangedError):
            engine = self.rollpoint.engine
            self.ask("fates", engine.all_fates, self._again, super()._failed)
        else:
            super()._failed(error)

    def _again(self, answer: tuple[list[Fate], list[Trouble]]) -> None:
        self._end()
        self._take(*answer)
        if not self._doomed:
            self._show([content(("Nothing was removed: ", "warn"), "the rules keep every point now.")])
            return
        self._changed = True
        self.add_class("-changed")
        self.query_one("#totals", Fields).show(self.explain())
        self.go(FORM)
        self.query_one(ConfirmYes).start()
        self.begin_form()

    def describe(self, result: PruneResult) -> list[Line]:
        """What came of it."""
        return removal_rows(result, measured=any(not of_storage(f.point) for f in self._doomed))
