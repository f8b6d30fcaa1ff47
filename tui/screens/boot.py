"""Boot and disks: how this machine starts, and its boot code, its disks and its facts beside those of a point."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Static

from engine.bootlook import Layout, Loader
from engine.bootpieces import BootShown, BootStatus
from engine.errors import RollpointError
from engine.points import RestorePoint
from tui.bootwords import area_rows, start_rows
from tui.engine_api import EngineLike
from tui.places import Here
from tui.screens.base import BaseScreen
from tui.screens.bytes import Pair, PairScreen, both, sided
from tui.storagewords import of_storage
from tui.text import content, point_title
from tui.widgets.bootrows import AreaRows, FactRows, LayoutRows
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.rows import RowList
from tui.widgets.viewlist import Findings, ViewList

VIEWS = 4


class Against(NamedTuple):
    """What a point (or none) holds, as it was asked for in a worker; `why` says what cannot be shown ("" for all)."""

    shown: BootShown | None
    why: str
    layout: tuple[Layout, ...]
    loaders: tuple[Loader, ...]


class BootScreen(BaseScreen[None]):
    """The place behind `B`: against the point under the cursor, the newest where there was no cursor."""

    BINDINGS = [
        Binding("escape,q", "leave", show=False), Binding("u,f5", "reload", show=False),
        *(Binding(str(n + 1), f"view({n})", show=False) for n in range(VIEWS)),
        Binding("right,l", "turn_view(1)", show=False), Binding("left,h", "turn_view(-1)", show=False),
        Binding("left_square_bracket,minus", "step(-1)", show=False),
        Binding("right_square_bracket,plus", "step(1)", show=False)]
    KEYS = (("1 to 4, left right", "how it starts, boot code, disk layout, facts of the machine"),
            ("enter", "boot code as bytes; a text, now and in the point"),
            ("[, -", "against the point before"), ("], +", "against the point after"), ("u, F5", "look again"),
            ("esc, q", "back to the points"))
    NOTES = ("Nothing is changed from here. A rollback puts boot code back: bytes 0 to 439 of sector 0, the gap behind "
             "the partition table, the BIOS boot partition; never a partition table.",
             "stays: a rollback leaves it as it is, and the line below the list says why.")

    def __init__(self, point: RestorePoint | None = None) -> None:
        super().__init__()
        self._point = point
        self._points: list[RestorePoint] = []
        self._status: BootStatus | None = None
        self._failed: BaseException | None = None
        self._against = Against(None, "", (), ())
        self._cursor: int | None = None     # where it is to be again once another point has answered

    def compose(self) -> ComposeResult:
        """Header, what is compared, lists, keys."""
        yield self.header()
        yield Static("", markup=False, id="subject")
        yield ViewList(id="boot-views")
        yield KeyBar([Hint("1-4", "Lists", weight=2), Hint("enter", "Open", weight=2), Hint("[ ]", "Other point"),
                      Hint("esc", "Back", "screen.leave"), Hint(":", "More", "app.palette", 3),
                      Hint("?", "Help", "app.help")], id="keys")

    def on_mount(self) -> None:
        """Ask for the machine, and for the points."""
        self._show()
        self.query_one(ViewList).rows.focus()
        self.action_reload()

    def here(self) -> Here:
        """The point it is compared with."""
        return Here(self._point, len(self._points) if self._points else None)

    # --- asking --------------------------------------------------------------------------------------------------

    def action_reload(self) -> None:
        """Look at everything again: first at the machine, which takes longest, and at the point beside it."""
        engine = self.rollpoint.engine
        self.ask("boot now", engine.boot_status, self._looked, self._not_looked)
        self.ask("boot points", engine.points, self._listed)

    def _looked(self, status: BootStatus) -> None:
        self._status, self._failed = status, None
        self._show()

    def _not_looked(self, error: BaseException) -> None:
        self._status, self._failed = None, error
        self._show()

    def _listed(self, points: list[RestorePoint]) -> None:
        self._points = points
        if self._point is None and points:
            self._point = points[0]
        self._compare()

    def _compare(self) -> None:
        """Ask what the point holds; a newer question replaces an older one."""
        self._show()
        engine, point = self.rollpoint.engine, self._point
        self.ask("boot then", lambda: _ask(engine, point), self._found)

    def _found(self, against: Against) -> None:
        self._against = against
        self._show()
        if self._cursor is not None:
            rows = self.query_one(ViewList).rows
            rows.show(rows.source, self._cursor)
            self._cursor = None

    # --- showing -------------------------------------------------------------------------------------------------

    def _show(self) -> None:
        point, found = self._point, self._against
        beside = [(" beside ", "dim"), *point_title(point, self.rollpoint.now())] if point is not None else []
        bad = ("   DAMAGED (1)" if found.shown is not None and found.shown.damage else "", "bad")
        self.query_one("#subject", Static).update(content(("Boot and disks ", "head"), ("now", "strong"), *beside, bad))
        then = f"Point {point.number}" if point is not None else ""
        texts = [t for t in found.shown.record.texts if t.sha256] if found.shown is not None else []
        self.query_one(ViewList).show([
            ("Start", Findings(start_rows(self._status, self._failed, point, found.shown, found.why))),
            ("Boot code", AreaRows(area_rows(self._status, found.shown, found.loaders), then)),
            ("Layout", LayoutRows(found.layout)),
            ("Facts", FactRows(texts, found.shown.facts if found.shown is not None else ()))], keep=True)

    # --- keys ----------------------------------------------------------------------------------------------------

    def action_step(self, by: int) -> None:
        """Compare with the point before or after; the list has the newest first."""
        ids = [p.id for p in self._points]
        at = ids.index(self._point.id) - by if self._point is not None and self._point.id in ids else 0
        if self._points and 0 <= at < len(ids):
            self._point = self._points[at]
            self._cursor = self.query_one(ViewList).rows.cursor if self._cursor is None else self._cursor
            self._against = Against(None, "", (), ())
            self._compare()

    def action_view(self, index: int) -> None:
        """Show another list."""
        self.query_one(ViewList).bar.choose(index)

    def action_turn_view(self, by: int) -> None:
        """Show the next or the previous list."""
        self.query_one(ViewList).bar.step(by)

    @on(RowList.Chosen, "#view-rows")
    def _chosen(self, event: RowList.Chosen) -> None:
        event.stop()
        source, at = event.rows.source, event.index
        if isinstance(source, AreaRows):
            self._open_area(source, at)
        elif isinstance(source, LayoutRows):
            text = source.texts[at]
            self._open(text.name, lambda: Pair(sided(text.then), sided(text.now), text.note))
        elif isinstance(source, FactRows) and self._point is not None:
            engine, point, name = self.rollpoint.engine, self._point, source.name(at)

            def read() -> Pair:
                kept = engine.boot_kept(point, name)
                return Pair(sided(kept.data), None, kept.damage)

            self._open(f"{source.texts[at].name}: {source.texts[at].command}", read)

    def _open_area(self, source: AreaRows, at: int) -> None:
        from tui.screens.filediff import FileDiffScreen

        row, engine, point = source.areas[at], self.rollpoint.engine, self._point
        if row.loader is not None and point is not None:
            self.app.push_screen(FileDiffScreen(point, None, row.loader))
        elif row.place is not None:
            place = row.place
            self._open(place.title, lambda: both(engine, point, place))

    def _open(self, title: str, work: Callable[[], Pair]) -> None:
        then = f"point {self._point.number}" if self._point is not None else "then"
        self.app.push_screen(PairScreen(title, (then, "now"), work))

    def action_leave(self) -> None:
        """Back."""
        self.dismiss(None)


def _ask(engine: EngineLike, point: RestorePoint | None) -> Against:
    """Ask what a point holds: what cannot be had is said, and keeps nothing else away."""
    shown, reasons = None, []
    layout: tuple[Layout, ...] = ()
    loaders: tuple[Loader, ...] = ()
    try:
        shown = engine.boot_of(point) if point is not None else None
    except RollpointError as error:
        reasons.append(error.message)
    if point is not None and of_storage(point):
        point = None        # nor has it anything else of the disks: those of now are shown alone
    try:
        layout = engine.boot_layout(point)
    except RollpointError as error:
        reasons.append(error.message)
    try:
        loaders = engine.boot_loaders(point)
    except RollpointError as error:
        reasons.append(error.message)
    return Against(shown, "; ".join(dict.fromkeys(reasons)), layout, loaders)
