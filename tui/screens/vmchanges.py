"""What became of the VMs from one inventory point to another, or until now, in words."""

from __future__ import annotations

from collections import Counter

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.widgets import Input, Static

from engine.errors import CancelledError
from engine.points import RestorePoint
from engine.vms.changes import ADDED, CHANGED, REMOVED, VmChange
from tui.jobs import LongJob
from tui.screens.base import FILTER
from tui.screens.vmways import VmWays
from tui.text import Segment, content, error_lines, plural
from tui.vmwords import Seen, look_through, titled
from tui.widgets.fields import Fields
from tui.widgets.filterline import FilterLine
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.progress import ProgressPanel
from tui.widgets.rows import RowList, RowSource
from tui.widgets.viewlist import Findings, ViewList
from tui.widgets.vmrows import VmChangeRows

_VIEWS = (("All", ""), ("Added", ADDED), ("Removed", REMOVED), ("Changed", CHANGED))


class VmChangesScreen(VmWays):
    """From `older` to `newer`, or to now where there is no `newer`."""

    BINDINGS = [
        Binding("escape", "leave", show=False), Binding("q", "close", show=False),
        Binding("u,f5", "reload", show=False),
        *(Binding(str(n + 1), f"view({n})", show=False) for n in range(len(_VIEWS))),
        Binding("right,l", "turn_view(1)", show=False), Binding("left,h", "turn_view(-1)", show=False),
        Binding("left_square_bracket,minus", "step(-1)", show=False),
        Binding("right_square_bracket,plus", "step(1)", show=False), FILTER]
    KEYS = (("1 to 4, left right", "all, added, removed, changed"), ("enter", "everything about the VM"),
            ("[, -", "since the point before"), ("], +", "since the point after"),
            ("/", "filter by words, as you type"), ("u, F5", "look again"),
            ("esc", "stop looking; clear the filter; back"), ("q", "back"))
    NOTES = ("+ added   - removed   M changed. Of a password it is only said that it changed.",)

    def __init__(self, older: RestorePoint, newer: RestorePoint | None = None) -> None:
        super().__init__()
        self._older, self._newer = older, newer
        self._points: list[RestorePoint] = []
        self._changes: list[VmChange] | None = None
        self._busy = False
        self._work = LongJob()

    def compose(self) -> ComposeResult:
        """Header, what is compared, progress or lists, the filter, keys."""
        yield self.header()
        yield Static("", markup=False, id="subject")
        yield Fields(id="empty")
        yield ProgressPanel(id="work")
        yield ViewList(id="vm-views")
        yield FilterLine("words", "#view-rows")
        yield KeyBar(id="keys")

    def on_mount(self) -> None:
        """Compare."""
        super().on_mount()
        self.action_reload()
        self.ask("vm points", self.rollpoint.engine.vm_points, self._listed)

    def on_unmount(self) -> None:
        """Nobody waits for it any more."""
        self._work.job.cancel()

    def _listed(self, points: list[RestorePoint]) -> None:
        self._points = sorted(points, key=lambda p: p.created)

    def action_reload(self) -> None:
        """Compare (again)."""
        self._work.job.cancel()
        work = self._work = LongJob()
        self._busy = True
        self.query_one(ProgressPanel).follow(work)
        self._present("work")
        engine, older, newer = self.rollpoint.engine, self._older, self._newer
        self.ask("vm changes", lambda: engine.vm_changes(older, newer, work.job), self._compared, self._failed)

    def _present(self, shown: str) -> None:
        for name in ("empty", "work", "vm-views"):
            self.query_one(f"#{name}").display = name == shown
        if shown == "vm-views" and self.focused is not self.query_one(FilterLine):
            self.query_one(ViewList).rows.focus()
        self._say()

    def _failed(self, error: BaseException) -> None:
        self._busy = False
        stopped = isinstance(error, CancelledError)
        rows = [content(("Stopped.", "warn"))] if stopped else error_lines(error)
        self.query_one("#empty", Fields).show([*rows, Content(""), content(("Press u to look again.", "dim"))])
        self._present("empty")

    def _compared(self, changes: list[VmChange]) -> None:
        self._busy, self._changes = False, changes
        self._fill()
        self._present("vm-views")

    def _fill(self) -> None:
        words = self.query_one(FilterLine).words
        self.query_one(ViewList).show([(label, self._source(kind, words)) for label, kind in _VIEWS], keep=True)

    def _source(self, kind: str, words: list[str]) -> RowSource:
        changes = [change for change in self._changes or () if kind in ("", change.kind)]
        return VmChangeRows(changes, words) if changes else Findings([("Nothing of that kind.", "dim")], 0)

    def _say(self) -> None:
        now = self.rollpoint.now()
        parts: list[Segment] = [("VMs since " if self._newer is None else "VMs from ", "head"),
                                *titled(self._older, now)]
        parts += [(", until now", "strong")] if self._newer is None else [(", to ", "head"),
                                                                          *titled(self._newer, now)]
        if self._changes is not None and not self._busy:
            counts = Counter(change.kind for change in self._changes)
            said = [f"{counts[kind]} {label.lower()}" for label, kind in _VIEWS[1:] if counts[kind]]
            parts.append((f"   {plural(len(self._changes), 'difference')}: {', '.join(said)}" if said
                          else "   no difference", ""))
        self.query_one("#subject", Static).update(content(*parts))
        ends = [Hint("esc", "Stop" if self._busy else "Back", "screen.leave"), Hint("?", "Help", "app.help")]
        self.query_one("#keys", KeyBar).show(ends if self._busy else [
            Hint("enter", "The VM"), Hint("[ ]", "Other point"), Hint("1-4", "Lists", weight=2),
            Hint("/", "Filter", "screen.filter", 3), *ends])

    @on(Input.Changed, "#filter")
    def _typed(self) -> None:
        if self._changes is not None:
            self._fill()

    # --- keys ----------------------------------------------------------------------------------------------------

    @on(RowList.Chosen, "#view-rows")
    def _chosen(self, event: RowList.Chosen) -> None:
        event.stop()
        source = event.rows.source
        if not isinstance(source, VmChangeRows):
            return
        change = source.changes[event.index]
        point = self._older if change.kind == REMOVED else self._newer
        engine, job = self.rollpoint.engine, self._work.job

        def opened(seen: Seen) -> None:
            found = [machine for machine in seen.inventory.machines if machine.name == change.machine]
            self.seen = seen
            if len(found) == 1:
                self.open_vm(found[0])
            else:
                self.say(f"{plural(len(found), 'VM')} of that name: look for it in the tree (V).", "warn")

        self.ask("vm", lambda: look_through(engine.vms(job) if point is None else engine.vm_inventory(point), point),
                 opened)

    def action_step(self, by: int) -> None:
        """Begin with the point before or after; it stays older than what it is compared with."""
        ids = [point.id for point in self._points]
        at = ids.index(self._older.id) + by if self._older.id in ids else -1
        end = ids.index(self._newer.id) if self._newer is not None and self._newer.id in ids else len(ids)
        if 0 <= at < end:
            self._older = self._points[at]
            self.action_reload()

    def action_view(self, index: int) -> None:
        """Show another list."""
        self.query_one(ViewList).bar.choose(index)

    def action_turn_view(self, by: int) -> None:
        """Show the next or the previous list."""
        self.query_one(ViewList).bar.step(by)

    def action_leave(self) -> None:
        """Stop looking; clear the filter; or go back."""
        if self._busy and not self._work.job.cancelled:
            self._work.job.cancel()
            self.query_one(ProgressPanel).note("Stopping, one moment ...")
        elif not self.query_one(FilterLine).clear_away():
            self.dismiss(None)

    def action_close(self) -> None:
        """Back."""
        self.dismiss(None)
