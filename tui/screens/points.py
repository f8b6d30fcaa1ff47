"""The opening screen: the points, details of the one under the cursor, and what matters now."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container
from textual.content import Content
from textual.widgets import Input

from engine.dispatch import REPLICA
from engine.errors import RollpointError
from engine.points import RestorePoint
from engine.results import StoreStatus
from tui.engine_api import EngineLike
from tui.health import age_note, store_line
from tui.notices import banner_rows, storage_rows
from tui.places import PLACES
from tui.screens.base import FILTER
from tui.screens.storagewatch import StorageWatch, trouble_of
from tui.storagewords import kept, level_groups
from tui.text import Line, Segment, called, content, error_lines
from tui.widgets.details import DetailPane
from tui.widgets.fields import Fields
from tui.widgets.filterline import FilterLine
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.pointrows import PointRows, matches
from tui.widgets.rows import RowList
from tui.widgets.statusline import Banner, StatusLine

RELOAD_SECONDS = 10.0
DAYS_FROM = 32
"""From this height on the list has a heading for each day."""

_Read: TypeAlias = "tuple[StoreStatus | None, list[RestorePoint], BaseException | None]"


class PointsScreen(StorageWatch):
    """The list of points: those of the store as soon as it is read, those of the storage when it has answered."""

    BINDINGS = [
        Binding("s", "take", show=False), Binding("d", "changes", show=False), Binding("r", "rollback", show=False),
        Binding("m,space", "mark", show=False), Binding("p", "pin", show=False), Binding("e", "comment", show=False),
        Binding("x", "delete", show=False), Binding("v", "verify", show=False), Binding("R", "recover", show=False),
        Binding("K", "kind", show=False),
        FILTER, Binding("u,f5", "reload", show=False),
        Binding("escape", "clear", show=False), Binding("q", "app.quit", show=False),
        *(Binding(place.key, place.action, show=False) for place in PLACES)]
    KEYS = (("s", "take a restore point"), ("d", "what changed since this point, or between it and the marked one"),
            ("m, space", "mark a point to compare the next one with; again: take the mark away"),
            ("r", "roll back to this point: shows first what it would do"), ("enter", "everything about this point"),
            ("p", "pin or unpin: pinned points are never removed by the rules"), ("e", "edit the comment"),
            ("x", "delete this point"), *((place.key, place.text) for place in PLACES), ("v", "verify the store"),
            ("R", "unfinished work: go on, undo, repair; cancel what is ordered"),
            ("/", "filter as you type: words of number, date, comment, tags, owner, state"),
            ("K", "points of one kind only (the replica's, ZFS's, LVM's ...): the next kind, then all again"),
            ("u, F5", "look again"), ("esc", "take filter and mark away"), ("q", "leave Rollpoint"))
    NOTES = ("Marks before the number: * to compare with, N newest (the plain tree), P pinned, ! damaged, M merging, "
             "R an interrupted rollback was going there. Points that the storage keeps have no number; "
             "the filter knows their kinds and volumes too.",
             "Own size is what deleting the point would free. Ages count from this machine's clock.", age_note())

    def __init__(self) -> None:
        super().__init__()
        self.status: StoreStatus | None = None
        self._read = False                  # whether the store has been looked at, once
        self._failed: BaseException | None = None       # why its points cannot be listed
        self._seen: str | None = None
        self._wanted: str | None = None     # to be under the cursor as soon as it is listed
        self._loading = self._again = False

    def compose(self) -> ComposeResult:
        """Header, status, banner, list and details, filter, keys."""
        yield self.header()
        yield StatusLine(id="status")
        yield Banner(id="banner")
        with Container(id="body"):
            yield RowList(id="points")
            yield DetailPane(id="detail")
            yield Fields([content("Reading the store ...")], id="empty")
        yield FilterLine("words in number, date, comment, tags, state", "#points")
        yield KeyBar(self._hints(), id="keys")

    def _hints(self) -> list[Hint]:
        """The keys that do something now."""
        ends = [Hint("/", "Filter", "screen.filter", 4), Hint(":", "More", "app.palette", 0),
                Hint("?", "Help", "app.help", 1), Hint("q", "Quit", "app.quit", 1)]
        take = [] if self.rollpoint.read_only else [Hint("s", "Take", "screen.take")]
        if not self.points:
            return [*([] if self.status is None else take), *ends[1:]]
        word = f"Compare with {called(self.marked)}" if self.marked is not None else "Changes"
        found = [*take, Hint("d", word, "screen.changes"), Hint("r", "Roll back", "screen.rollback"),
                 Hint("m", "Mark", "screen.mark", 5)]
        if not self.rollpoint.read_only:
            found += [Hint("p", "Pin", "screen.pin", 3), Hint("e", "Comment", "screen.comment", 5),
                      Hint("x", "Delete", "screen.delete", 3)]
        places = [Hint(p.key, p.title, p.action, p.weight) for p in PLACES if not p.why_not(self.here())]
        after = f"Only {self.next_kind}" if self.next_kind else "All kinds"
        kinds = [Hint("K", after, "screen.kind", 3)] if len(self.kinds) > 1 else []
        return [*found, *kinds, *places, Hint("v", "Verify", "screen.verify", 3), *ends]

    def on_mount(self) -> None:
        """Paint first, then read the store in a worker."""
        self._say_instead([content("Reading the store ...")])
        self.query_one("#points", RowList).focus()
        self.call_after_refresh(self.action_reload)
        self.set_interval(RELOAD_SECONDS, self._look_again)

    # --- loading -------------------------------------------------------------------------------------------------

    def action_reload(self) -> None:
        """Read points and status again, and ask the storage again."""
        self.ask_storage()
        self._read_store()

    def _read_store(self) -> None:
        if self._loading:
            self._again = True      # what is being read now may be older than what has just been done
            return
        self._loading, self._again = True, False
        engine = self.rollpoint.engine
        self.ask("load", lambda: _read(engine), self._loaded, lambda error: self._loaded((None, [], error)))

    def _look_again(self) -> None:
        if self.is_current:
            self._read_store()
            self.ask_storage_at_times()

    def _loaded(self, answer: _Read) -> None:
        self._loading, self._read = False, True
        if self._again:
            self._read_store()
        self.status, self.kept, self._failed = answer
        self.show_all()
        self.announce()

    def show_all(self) -> None:
        """Show what is known now of store and storage."""
        if not self._read:
            return
        self.merge()
        if self._failed is not None and not self.points:
            self.query_one("#status", StatusLine).show([("The store cannot be read.", "bad")])
            self._say_instead(error_lines(self._failed) + [Content(""), content(("Press u to look again.", "dim"))])
            return
        if self.marked is not None:
            self.marked = next((p for p in self.points if p.id == self.marked.id), None)
        self._stand()
        self._list()
        self.query_one("#keys", KeyBar).show(self._hints())

    def _stand(self) -> None:
        """Say in the status line how store and storage stand, and above the list what must not be overlooked."""
        status, line = self.status, self.query_one("#status", StatusLine)
        levels, pending, silent = self.levels
        silent = [t for t in silent if t.backend not in {trouble.backend for trouble in self.found.troubles}]
        lost = [trouble_of(REPLICA, self._failed)] if self._failed is not None else []
        warned = storage_rows([*lost, *self.found.troubles], silent, pending)
        if status is None:
            line.show([("The store cannot be read.", "bad")] if lost else [])
            self.query_one("#banner", Banner).show(warned)
            return
        only: list[Segment] = [(f"Only {self.kind}   ", "accent")] if self.kind else []
        known = status.exists or bool(self.points)
        line.show([*only, *store_line(status, self.kept or self.points, self.rollpoint.now(),
                                      self.size.width - 2 - len("".join(text for text, _ in only)),
                                      total=len(self.points), beside=level_groups(levels, pending))] if known
                  else [("There is no store yet.", "")])
        self.query_one("#banner", Banner).show([*banner_rows(status), *warned])

    def _say_instead(self, rows: Sequence[Line]) -> None:
        self.query_one("#empty", Fields).show(rows)
        for name, shown in (("points", False), ("detail", False), ("empty", True)):
            self._present(name, shown)

    def _present(self, name: str, shown: bool) -> None:
        """Show or hide a part; by a class, so that the style sheet can hide it on small screens as well."""
        self.query_one(f"#{name}").set_class(not shown, "-gone")

    def _list(self) -> None:
        """Show the points that pass the filter; the cursor stays on its point, or next to where it was."""
        words = self.query_one(FilterLine).value
        found = [p for p in self.points if self.kind in ("", p.backend) and matches(p, words)]
        if not self.points and not self.answered:
            self._say_instead([content("Asking the storage ...")])
            return
        if not self.points:
            lost = self.status is not None and not self.status.exists and self.rollpoint.look_at_disks is not None
            self._say_instead(_welcome(self.rollpoint.root_shown, self.rollpoint.read_only, elsewhere=lost))
            return
        if not found:
            self._say_instead([content((f"No point{self.kind and ' of '}{self.kind} has all these words.", "warn")),
                               content(("escape clears the filter", "dim"))])
            return
        rows = self.query_one("#points", RowList)
        for name, shown in (("points", True), ("detail", True), ("empty", False)):
            self._present(name, shown)
        source = PointRows(found, self.rollpoint.now(), days=self.size.height >= DAYS_FROM, like=self.points,
                           marked=self.marked.id if self.marked is not None else "",
                           going_back=self.status.rollback if self.status is not None else "")
        if self._wanted and source.index_of(self._wanted) is not None:
            self._seen, self._wanted = self._wanted, None
        at = source.index_of(self._seen) if self._seen else None
        rows.show(source, rows.cursor if at is None else at)
        if self.focused is None:
            rows.focus()

    def point(self) -> RestorePoint | None:
        """The point under the cursor."""
        rows = self.query_one("#points", RowList)
        source = rows.source
        return source.point(rows.cursor) if isinstance(source, PointRows) and not rows.has_class("-gone") else None

    def say(self, text: str, look: str = "good") -> None:
        """Answer in the status line."""
        self.query_one("#status", StatusLine).answer(text, look)

    @on(RowList.Moved, "#points")
    def _moved(self) -> None:
        point = self.point()
        if point is not None:
            self._seen = point.id
        # The small pane has room for the important lines only; enter shows the rest.
        self.query_one(DetailPane).show(point, self.rollpoint.now(), full=self.size.width >= 100)

    @on(RowList.Chosen, "#points")
    def _chosen(self) -> None:
        self.action_details()

    def on_resize(self, event: events.Resize) -> None:
        """Columns, day headings, details and the status line depend on the size."""
        if self.points:
            self.call_after_refresh(self._list)
        self.call_after_refresh(self._stand)

    # --- filter --------------------------------------------------------------------------------------------------

    @on(Input.Changed, "#filter")
    def _typed(self) -> None:
        self._wanted = None     # who looks for something else is not called back
        if self.points:
            self._list()

    def action_clear(self) -> None:
        """Show all points again; take the mark away."""
        if self.kind:
            self.show_kind("")
        if self.marked is not None:
            self._mark(None)
        if not self.query_one(FilterLine).clear_away():
            self.query_one("#points", RowList).focus()

    # --- comparing ---------------------------------------------------------------------------------------------------

    def action_mark(self) -> None:
        """Mark the point to compare others with, or take its mark away."""
        point = self._chosen_point("mark")
        if point is not None:
            again = self.marked is not None and self.marked.id == point.id
            self._mark(None if again else point)
            self.say("The mark is gone: d compares with now." if again else
                     f"Point {called(point)} is marked: d on another point compares the two.")

    def _mark(self, point: RestorePoint | None) -> None:
        self.marked = point
        self._list()
        self.query_one("#keys", KeyBar).show(self._hints())

    # --- answers of the dialogs ----------------------------------------------------------------------------------

    def select(self, point_id: str) -> None:
        """Put the cursor on a point once it is listed."""
        self._wanted = point_id

    def back_from_place(self, _result: object) -> None:
        """Points may have changed meanwhile."""
        self.action_reload()


def _read(engine: EngineLike) -> _Read:
    """Ask for the store and its points (in a worker), and why they cannot be listed."""
    status = None
    try:
        status = engine.status()
        return status, kept(engine, status), None
    except (RollpointError, OSError) as error:
        return status, [], error


def _welcome(root: str, read_only: bool, *, elsewhere: bool) -> list[Line]:
    """What to do where there is no point; `elsewhere`: there is not even a store, but one may be on another disk."""
    rows: list[Line] = [content(("There is no restore point yet.", "head")), Content("")]
    if elsewhere:
        rows += [content("On a rescue CD, press ", ("Z", "strong"), " to look for stores and systems on all disks."),
                 Content("")]
    if read_only:
        return [*rows, content("This is read-only: take the first one without it.")]
    return [*rows, content("Press ", ("s", "strong"), f" to take the first one of {root}"), Content(""),
            content(("The first copies everything; later ones only what changed, in seconds.", "dim")),
            content(("From then on any change can be looked at (d) and taken back (r).", "dim"))]
