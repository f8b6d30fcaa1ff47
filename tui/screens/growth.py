"""Points over time: what they take, what changed, and when the store's limit would be reached."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Static

from engine.points import RestorePoint
from engine.results import StoreStatus
from tui.growth import SPANS, daily, spans
from tui.health import store_line
from tui.screens.base import BaseScreen
from tui.text import Segment, content, plural, size
from tui.widgets.growthrows import GrowthRows
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.rows import RowList
from tui.widgets.viewlist import ViewList

_DAYS = 1


class GrowthScreen(BaseScreen[None]):
    """The place behind `o`."""

    BINDINGS = [Binding("escape,q", "leave", "Back", show=False),
                *(Binding(str(n + 1), f"view({n})", show=False) for n in range(len(SPANS))),
                Binding("right,l", "step(1)", show=False), Binding("left,h", "step(-1)", show=False)]
    KEYS = (("1 to 4, left right", "by point, day, week, month"), ("enter", "everything about the point (view 1)"),
            ("esc, q", "back to the points"))
    NOTES = ("# own size   + created   M content changed   a only attributes changed   - deleted",
             "A bar that ends in > is longer than there is room for: it would dwarf all others.",
             "Sum: the tree and all points up to here, as they are now; what was removed meanwhile is not in it.")

    def compose(self) -> ComposeResult:
        """Header, how it goes on, lists, keys."""
        yield self.header()
        yield Static(content(("Reading the store ...", "dim")), markup=False, id="subject")
        yield ViewList(id="growth")
        yield KeyBar([Hint("1-4", "By", weight=2), Hint("enter", "About the point", weight=3),
                      Hint("esc", "Back", "screen.leave"), Hint(":", "More", "app.palette"),
                      Hint("?", "Help", "app.help")])

    def on_mount(self) -> None:
        """Ask for the points."""
        engine = self.rollpoint.engine
        self.ask("load", lambda: (engine.status(), engine.points()), self._loaded, self._failed)

    def _failed(self, error: BaseException) -> None:
        self.dismiss(None)
        self.rollpoint.report(error)

    def _loaded(self, answer: tuple[StoreStatus, list[RestorePoint]]) -> None:
        status, points = answer
        now = self.rollpoint.now()
        self.query_one("#subject", Static).update(content(*forecast(status, points, daily(points, now)))
                                                  if points else content(*store_line(status, points, now)))
        lists = self.query_one(ViewList)
        lists.show([(label, GrowthRows(spans(points, name, status.tree_bytes, single=index == 0)))
                    for index, (label, name) in enumerate(SPANS)])
        lists.bar.choose(_DAYS)
        lists.rows.focus()

    def action_view(self, index: int) -> None:
        """Count in another way."""
        self.query_one(ViewList).bar.choose(index)

    def action_step(self, by: int) -> None:
        """Count in the next or the previous way."""
        self.query_one(ViewList).bar.step(by)

    def action_leave(self) -> None:
        """Back."""
        self.dismiss(None)

    @on(RowList.Chosen)
    def _chosen(self, event: RowList.Chosen) -> None:
        from tui.screens.details import DetailScreen

        source = event.rows.source
        members = source.spans[event.index].points if isinstance(source, GrowthRows) else ()
        if len(members) == 1:
            self.app.push_screen(DetailScreen(members[0]))


def forecast(status: StoreStatus, points: list[RestorePoint], rate: float | None) -> list[Segment]:
    """Return how fast the store grows and when it would reach its limit: an estimate, and said to be one."""
    parts: list[Segment] = [("Store ", "dim"), (size(status.store_bytes), "strong")]
    if status.limit_bytes:
        parts += [(" of ", "dim"), (size(status.limit_bytes), "")]
    parts.append((f"   {plural(len(points), 'point')}", ""))
    if rate is None:
        return [*parts, ("   too few points of the last two weeks to say how fast it grows", "dim")]
    parts += [("   about ", "dim"), (size(int(rate)), "strong"), (" a day lately", "dim")]
    if status.limit_bytes and rate > 0:
        left = (status.limit_bytes - status.store_bytes) / rate
        if left <= 0:
            parts.append(("   OVER ITS LIMIT", "bad"))
        else:
            parts.append((f"   at its limit in about {plural(max(1, int(left)), 'day')} if nothing goes", "dim"))
    return parts
