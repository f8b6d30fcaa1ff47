"""Pruning by the rules: what becomes of each point and which rule says so; then, after `yes`, doing it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from textual.app import ComposeResult

from engine.events import Job
from engine.results import Fate, PruneResult
from engine.text import short_age
from tui.screens.delete import removal_rows
from tui.screens.job import FORM
from tui.screens.typed import TypedDialog
from tui.text import Line, Segment, content, fit, plural, safe, size
from tui.widgets.confirm import ConfirmYes
from tui.widgets.fields import Fields
from tui.widgets.keybar import Hint
from tui.widgets.rows import Row, RowList

_WIDE = 90


class FateRows:
    """A `RowSource`: each point, whether it stays, and the rule."""

    def __init__(self, fates: Sequence[Fate], now: datetime) -> None:
        self.fates, self.now = fates, now

    def __len__(self) -> int:
        return len(self.fates)

    def selectable(self, index: int) -> bool:
        """All rows are."""
        return True

    def heading(self, width: int) -> Row | None:
        """Column titles."""
        date = f"{'Date':<{16 if width >= _WIDE else 11}}"
        return [(fit(f" {'Fate':<6} {'No':>4}  {date} {'Age':>6}  {'Own size':>8}  Rule", width), "head")]

    def row(self, index: int, width: int) -> Row:
        """One fate; in a wide list with the comment."""
        fate = self.fates[index]
        point = fate.point
        when = point.created.astimezone().strftime("%Y-%m-%d %H:%M" if width >= _WIDE else "%m-%d %H:%M")
        out: list[Segment] = [(f" {'keep' if fate.keep else 'REMOVE':<6} ", "good" if fate.keep else "bad"),
                              (f"{point.number:>4}  ", "strong"), (f"{when} ", ""),
                              (fit(short_age(point.age(self.now)), 6, right=True) + "  ", "dim"),
                              (fit(size(point.own_bytes), 8, right=True) + "  ", "")]
        used = sum(len(text) for text, _ in out)
        words = safe(fate.rule) + (f"   {safe(point.comment)}" if point.comment and width >= _WIDE else "")
        return [*out, (fit(words, max(1, width - used - 1)), "" if fate.keep else "bad")]


class PruneScreen(TypedDialog[PruneResult]):
    """The dialog behind `P`."""

    HEADING = "Prune by the retention rules"
    WORKING = "old points are being removed"
    QUESTION = "Remove the points marked REMOVE for good?"
    CANCELLED = "Stopped. What was removed before stays removed; all other points are whole."
    KEYS = (("up down", "look through the points"), ("yes, enter", "remove those marked REMOVE"),
            ("esc", "leave without removing anything"))

    def __init__(self, fates: Sequence[Fate]) -> None:
        super().__init__()
        self.add_class("-big")
        self._fates = fates
        self._doomed = [f.point for f in fates if not f.keep]

    def explain(self) -> list[Line]:
        """The totals."""
        if not self._doomed:
            every = plural(len(self._fates), "point")
            return [content(("The rules remove nothing now: ", "good"), f"all {every} stay.")]
        known = [p.own_bytes for p in self._doomed if p.own_bytes is not None]
        freed = f"frees {size(sum(known))}" if len(known) == len(self._doomed) else f"frees {size(sum(known))} or more"
        kept = len(self._fates) - len(self._doomed)
        return [content((plural(len(self._doomed), "point"), "bad"), f" of {len(self._fates)} would be removed, "
                        f"{freed}; {kept} stay.")]

    def form(self) -> ComposeResult:
        """Totals, the list, the line to type yes into (only if there is something to remove)."""
        yield Fields(self.explain())
        yield RowList(id="fates")
        if self._doomed and not self.rollpoint.read_only:
            yield ConfirmYes(self.QUESTION, id="confirm")

    def hints(self) -> list[Hint]:
        """Nothing to do: nothing offered."""
        idle = self.stage == FORM and (not self._doomed or self.rollpoint.read_only)
        return [Hint("esc", "Leave", "screen.leave")] if idle else super().hints()

    def begin_form(self) -> None:
        """Fill the list and begin there."""
        rows = self.query_one("#fates", RowList)
        first = next((i for i, fate in enumerate(self._fates) if not fate.keep), 0)
        rows.show(FateRows(self._fates, self.rollpoint.now()), first)
        rows.focus()

    def on_row_list_chosen(self) -> None:
        """Enter in the list goes to the line to type into."""
        self.action_begin("")

    def run_job(self, job: Job) -> PruneResult:
        """Prune."""
        return self.rollpoint.engine.prune(job)

    def describe(self, result: PruneResult) -> list[Line]:
        """What came of it."""
        return removal_rows(result)
