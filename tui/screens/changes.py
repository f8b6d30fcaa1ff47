"""What changed since a point: totals, a list by kind of change, a filter, and the difference of one file."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Input, Static

from engine.entries import Kind, Status
from engine.errors import CancelledError
from engine.points import RestorePoint
from tui.jobs import LongJob
from tui.screens.base import BaseScreen
from tui.summary import VIEWS, Summary, rows_by_view, summarize
from tui.text import Segment, content, count, path, point_title, size
from tui.widgets.changerows import ChangeRows
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.lineinput import LineInput
from tui.widgets.progress import ProgressPanel
from tui.widgets.rows import RowList
from tui.widgets.viewlist import ViewList


class ChangesScreen(BaseScreen[None]):
    """The screen behind `d`: from `older` to `newer`, or to the live system where there is no `newer`."""

    BINDINGS = [
        Binding("escape", "leave", "Back", show=False), Binding("q", "leave", "Back", show=False),
        Binding("slash", "filter", "Filter", show=False),
        *(Binding(str(n + 1), f"view({n})", show=False) for n in range(len(VIEWS))),
        Binding("right,l", "step(1)", show=False), Binding("left,h", "step(-1)", show=False)]
    KEYS = (("1 to 5, left right", "all, created, changed, attributes, deleted"), ("/", "filter by words in the path"),
            ("enter", "the difference of the file"), ("esc", "clear the filter; back"))
    NOTES = ("+ created   - deleted   M content changed   T type changed   a only attributes changed",
             "Sizes and times decide whether content changed, unless checksums of both sides are known.")

    def __init__(self, older: RestorePoint, newer: RestorePoint | None = None, paths: Sequence[bytes] = ()) -> None:
        super().__init__()
        self._older, self._newer, self._paths = older, newer, tuple(paths)
        self._work = LongJob()
        self._summary: Summary | None = None

    def compose(self) -> ComposeResult:
        """Header, what is compared, totals, progress or lists, filter, keys."""
        yield self.header()
        yield Static("", markup=False, id="subject")
        yield Static("", markup=False, id="totals")
        yield ProgressPanel(id="work")
        yield ViewList(id="changes")
        yield LineInput(placeholder="words in the path", id="filter")
        yield KeyBar([Hint("esc", "Stop", "screen.leave")], id="keys")

    def on_mount(self) -> None:
        """Compare in a worker."""
        until = content(*point_title(self._newer, self.rollpoint.now())) if self._newer else content(("now", "head"))
        since = content(("Changes since ", "dim"), *point_title(self._older, self.rollpoint.now()))
        where = content((" in ", "dim"), (", ".join(map(path, self._paths)), "strong")) if self._paths else content()
        self.query_one("#subject", Static).update(since + content((" until ", "dim")) + until + where)
        self.query_one("#changes").display = self.query_one("#filter").display = False
        self.query_one(ProgressPanel).follow(self._work)
        engine, older, newer, paths = self.rollpoint.engine, self._older, self._newer, self._paths
        job = self._work.job
        self.ask("diff", lambda: summarize(engine.diff(older, newer, paths, job)), self._compared, self._failed)

    def on_unmount(self) -> None:
        """Nobody waits for the answer any more."""
        self._work.job.cancel()

    def _failed(self, error: BaseException) -> None:
        self.dismiss(None)
        if not isinstance(error, CancelledError):
            self.rollpoint.report(error)

    def _compared(self, summary: Summary) -> None:
        self._summary = summary
        self.query_one("#work").display = False
        self.query_one("#changes").display = True
        self.query_one("#totals", Static).update(content(*totals(summary)))
        self._show(summary.views)
        self.query_one(ViewList).rows.focus()
        self.query_one("#keys", KeyBar).show([
            Hint("esc", "Back", "screen.leave"), Hint("1-5", "Kind", weight=2), Hint("/", "Filter", "screen.filter"),
            Hint("enter", "Difference of the file"), Hint("?", "Help", "app.help")])

    def _show(self, views: tuple[object, ...]) -> None:
        assert self._summary is not None
        changes = self._summary.diff.changes
        self.query_one(ViewList).show(
            [(label, ChangeRows(changes, rows)) for (label, _), rows in zip(VIEWS, views, strict=True)])  # type: ignore[arg-type]

    # --- filter --------------------------------------------------------------------------------------------------

    def action_filter(self) -> None:
        """Go to the filter."""
        if self._summary is not None:
            line = self.query_one("#filter", LineInput)
            line.display = True
            line.focus()

    @on(Input.Changed, "#filter")
    def _typed(self, event: Input.Changed) -> None:
        if self._summary is not None:
            changes, words = self._summary.diff.changes, event.value
            self.ask("filter", lambda: rows_by_view(changes, words), self._show)

    @on(Input.Submitted, "#filter")
    def _submitted(self, event: Input.Submitted) -> None:
        event.input.display = bool(event.value)
        self.query_one(ViewList).rows.focus()

    # --- moving --------------------------------------------------------------------------------------------------

    def action_view(self, index: int) -> None:
        """Show one kind of change."""
        self.query_one(ViewList).bar.choose(index)

    def action_step(self, by: int) -> None:
        """Show the next or the previous kind."""
        self.query_one(ViewList).bar.step(by)

    def action_leave(self) -> None:
        """Stop comparing; or clear the filter; or go back."""
        line = self.query_one("#filter", LineInput)
        if self._summary is not None and line.display:
            line.value = ""
            line.display = False
            self.query_one(ViewList).rows.focus()
            return
        self._work.job.cancel()
        self.dismiss(None)

    @on(RowList.Chosen)
    def _chosen(self, event: RowList.Chosen) -> None:
        source = event.rows.source
        change = source.change(event.index) if isinstance(source, ChangeRows) else None
        if change is None:
            return
        from tui.screens.filediff import FileDiffScreen

        if change.kind is Kind.FILE and change.status is not Status.ATTRS:
            self.app.push_screen(FileDiffScreen(self._older, self._newer, change.path))


def totals(summary: Summary) -> list[Segment]:
    """Return a difference in one line: counts and bytes by kind of change."""
    if not summary.diff.changes:
        return [("Nothing changed.", "good")]
    parts: list[Segment] = []
    for label, look, statuses in (("created", "good", (Status.CREATED,)),
                                  ("changed", "warn", (Status.CHANGED, Status.TYPE)),
                                  ("attributes", "", (Status.ATTRS,)), ("deleted", "bad", (Status.DELETED,))):
        tally = summary.tally(*statuses)
        parts.append(("   " * bool(parts) + f"{count(tally.count)} {label}", look if tally.count else "dim"))
        if tally.bytes:
            parts.append((f" {size(tally.bytes)}", "dim"))
    return parts
