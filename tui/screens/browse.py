"""A point as a file manager: a directory of it beside the live one, with a bar over all points for each name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container
from textual.content import Content
from textual.widgets import Input, Static

from engine.entries import Kind
from engine.points import RestorePoint
from tui.entrytext import differs, facts, story
from tui.listing import ORDERS, Arranged, Listing, Loaded, Tally, View, arrange, load
from tui.plainlisting import NO_BARS, load_plain, start_of
from tui.screens.base import FILTER
from tui.screens.browseactions import BrowseActions, after_rows, on_rows
from tui.storagewords import of_storage
from tui.text import Line, Segment, content, count, error_lines, path, plural
from tui.widgets.browserows import BrowseRows
from tui.widgets.fields import Fields
from tui.widgets.filterline import FilterLine
from tui.widgets.heldrows import HeldRows
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.placeline import PlaceLine
from tui.widgets.rows import RowList
from tui.widgets.statusline import StatusLine

AT_ONCE = 3000
"""Up to so many names are sorted and counted on the way to the next frame, more of them by a worker."""

_HINTS = (Hint("enter", "Open", "screen.open", 2), Hint("[ ]", "Point"), Hint("n N", "Its changes", weight=3),
          Hint("space", "Mark", "screen.mark", 4), Hint("w", "Restore", "screen.restore"),
          Hint("c", "Compare", "screen.compare", 2), Hint("h", "History", "screen.history", 2),
          Hint("tab", "Side", "screen.side", 4), Hint(".", "Deleted", "screen.deleted", 5),
          Hint("/", "Filter", "screen.filter", 6), Hint("o", "Sort", "screen.order", 6),
          Hint("f", "Find", "screen.find", 6), Hint("?", "Help", "app.help", 0), Hint("esc", "Back", "screen.leave", 0))


class BrowseScreen(BrowseActions):
    """The directory `path` of a point, with the cursor on `name`, and from there everywhere."""

    BINDINGS = [
        Binding("escape", "leave", show=False), Binding("q", "close", show=False),
        Binding("right", "open", show=False), Binding("backspace,left", "up", show=False),
        Binding("left_square_bracket,minus", "step(-1)", show=False),
        Binding("right_square_bracket,plus", "step(1)", show=False),
        Binding("n", "change(1)", show=False), Binding("N", "change(-1)", show=False),
        Binding("tab", "side", show=False), Binding("full_stop,a", "deleted", show=False),
        Binding("o", "order", show=False), FILTER,
        Binding("space", "mark", show=False), Binding("asterisk", "mark_all", show=False),
        Binding("c,d", "compare", show=False), Binding("C,D", "compare_before", show=False),
        Binding("h", "history", show=False), Binding("f", "find", show=False), Binding("i", "info", show=False),
        Binding("w", "restore", show=False), Binding("f5,u", "reload", show=False),
        # As those of the list, for keys that are typed before it is there.
        Binding("up,k", "move(-1)", show=False), Binding("down,j", "move(1)", show=False),
        Binding("pageup,ctrl+b", "page(-1)", show=False), Binding("pagedown,ctrl+f", "page(1)", show=False),
        Binding("home,g", "edge(-1)", show=False), Binding("end,G", "edge(1)", show=False),
        Binding("enter", "open", show=False)]
    KEYS = (("enter, right", "open the directory, view the file"), ("backspace, left", "go up"),
            ("[ ] or - +", "the point before, the point after"),
            ("n N", "to the next, the previous point in which this name changed"),
            ("tab", "look at the point's side or at the live one"), (". or a", "show names deleted since, or later"),
            ("o", "sort by name, size, time, changes"), ("/", "filter as you type"),
            ("space", "mark or unmark"), ("*", "mark all, or none"), ("w", "restore what is marked, or this"),
            ("c", "compare the point with now"), ("C", "compare the point with the one before it"),
            ("h", "all versions of it"), ("i", "everything about it"), ("f", "find a name in all points"),
            ("u, F5", "look again"), ("esc, q", "back"))
    NOTES = ("The bar has the points, the oldest left, this one in brackets: . absent, = as before, + created,",
             "M changed, T changed its type, a only attributes, m something in that directory changed, - deleted;",
             "of several points in one cell the gravest is shown. The column Now says how the live entry differs from",
             "this point's: + only live, - only in the point; of a directory itself, not of what is in it.",
             "Sizes and times decide whether content changed, unless checksums of both sides are known.")

    def __init__(self, point: RestorePoint, path: bytes = b"", name: bytes | None = None) -> None:
        super().__init__()
        self.point = self._read = point     # `_read` is the one that the listing of a snapshot is of
        self.plain = of_storage(point)
        if self.plain and name is None:
            path = path or start_of(point)
        self.points: list[RestorePoint] = [point]
        self.view = View(point.number)
        self.listing: Listing | None = None
        self.marked: dict[bytes, None] = {}
        self._start, self._wanted = path, path
        self._below: dict[bytes, bytes] = {} if name is None else {path: name}     # where the cursor was in each
        self._tally: Tally | None = None
        self._reading = self._arranging = False
        self._later: list[Callable[[], None]] = []      # what was typed before the rows were there

    def compose(self) -> ComposeResult:
        """Header, place, list, line about the entry, status, filter, keys."""
        yield self.header()
        yield PlaceLine(id="place")
        with Container(id="body"):
            yield HeldRows(self.in_turn, self.action_open, id="names")
            yield Fields([content("Reading ...")], id="empty")
        yield Static("", markup=False, id="about")
        yield StatusLine(id="status")
        yield FilterLine("words in the name", "#names")
        # What other points have is not known of a snapshot: keys that go by it are not offered.
        yield KeyBar([h for h in _HINTS if not self.plain or h.key not in ("n N", ".")], id="keys")

    def on_mount(self) -> None:
        """Paint first, then read the directory in a worker."""
        self._instead([content("Reading ...")])
        self._show_place(self._start)
        self.call_after_refresh(self._go, self._start)

    # --- keys that are typed ahead -------------------------------------------------------------------------------

    def in_turn(self, act: Callable[[], None], *, rows: bool = True) -> None:
        """Do something at once, or after what was typed before it; with `rows` as soon as those are there."""
        if self._later or (rows and (self._reading or self._arranging)):
            self._later.append(act)
        else:
            act()

    def _catch_up(self) -> None:
        """Do what was typed ahead, as far as the rows are there for it; nothing below another screen."""
        while self._later and not (self._reading or self._arranging):
            later, self._later = self._later, []
            if self.app.screen is self:
                later[0]()
                self._later += later[1:]

    def _off_read(self, act: Callable[[], None]) -> None:
        """Do something in place of a read, which may never end: what was typed for its rows is forgotten."""
        if self._reading:
            self._later.clear()
        self.in_turn(act, rows=False)

    # --- loading -------------------------------------------------------------------------------------------------

    def _go(self, inside: bytes) -> None:
        """Open another directory of the same point."""
        self._wanted, self._reading = inside, True
        engine, point, view = self.rollpoint.engine, self.point, self._fresh(inside)
        known = self.points if self.listing is not None else ()
        if self.listing is not None:
            self.query_one("#status", StatusLine).show([(f"Reading {path(inside)} ...", "dim")])
        self.ask("listing", lambda: load_plain(engine, point, known, inside, view) if self.plain else
                 load(engine, point.backend, inside, view), lambda loaded: self._loaded(loaded, point),
                 lambda error: self._load_failed(error, inside, point))

    def _fresh(self, inside: bytes) -> View:
        """The view of a directory that is opened or read again."""
        same = self.listing is not None and inside == self.listing.path
        return replace(self.view, words=self.view.words if same else "", keep=self._below.get(inside))

    def _replaced(self, inside: bytes, point: RestorePoint) -> bool:
        """Whether meanwhile another directory was asked for, or that of another snapshot."""
        return inside != self._wanted or (self.plain and point.id != self.point.id)

    def _load_failed(self, error: BaseException, inside: bytes, point: RestorePoint) -> None:
        if self._replaced(inside, point):
            return
        self._wanted = self.listing.path if self.listing is not None else self._start
        self._reading = False
        self._later.clear()         # it was meant for a directory that cannot be shown
        if self.listing is None:
            self._instead([*error_lines(error), Content(""), content(("Press u to look again.", "dim"))])
        else:
            if self.plain:
                self.point = self._read     # the rows are still those of this one
                self._show_place(self._wanted)
            self.say_tally()
            self.rollpoint.report(error)

    def _loaded(self, loaded: Loaded, point: RestorePoint) -> None:
        if self._replaced(loaded.listing.path, point):
            return
        self._reading = False
        if point.id != self._read.id and self.plain:
            self.marked.clear()         # those were of the point that is left
        moved = self.listing is not None and self.listing.path != loaded.listing.path
        self.points = loaded.points or [self.point]
        self.point = self._read = next((p for p in self.points if p.id == self.point.id), self.point)
        self.listing = loaded.listing
        line = self.query_one(FilterLine)
        if moved and self.focused is not line:      # else it was opened for this directory
            self._close_filter()
        self.view = replace(self._fresh(loaded.listing.path), words=line.value)
        self._show_place(loaded.listing.path)
        if loaded.arranged.view == self.view:
            self._show(loaded.arranged, self._below.get(loaded.listing.path))
        else:
            self._arrange()     # stepped, sorted or filtered while it was read

    def _show_place(self, inside: bytes) -> None:
        self.query_one(PlaceLine).show(self.point, inside, self.rollpoint.now())

    def _instead(self, rows: list[Line]) -> None:
        self.query_one("#empty", Fields).show(rows)
        self.query_one("#empty").display = True
        self.rows.display = False

    # --- showing -------------------------------------------------------------------------------------------------

    def _arrange(self) -> None:
        """Work the view out: at once, or in one worker at a time that looks again when the view has changed."""
        listing, view = self.listing, self.view
        if listing is None:
            return
        if len(listing) <= AT_ONCE:
            self._show(arrange(listing, view), view.keep)
        elif not self._arranging:
            self._arranging = True
            self.ask("arrange", lambda: (listing, arrange(listing, view)), self._arranged, self._arrange_failed)

    def _arrange_failed(self, error: BaseException) -> None:
        self._arranging = False
        self._later.clear()
        self.rollpoint.report(error)

    def _arranged(self, answer: tuple[Listing, Arranged]) -> None:
        self._arranging = False
        if answer[0] is self.listing and answer[1].view == self.view:
            self.say("")
            self._show(answer[1], self.view.keep)
        else:
            self._arrange()

    def _source(self, rows: Sequence[int]) -> BrowseRows:
        assert self.listing is not None
        return BrowseRows(self.listing, rows, self.point.number, self.rollpoint.now().timestamp(),
                          live=self.view.live, marked=self.marked)

    def _show(self, arranged: Arranged, name: bytes | None) -> None:
        self._tally = arranged.tally
        source = self._source(arranged.rows)
        at = source.find(name) if name is not None else None
        filtering = self.focused is self.query_one("#filter")   # has_focus is told later
        if len(source):
            self.query_one("#empty").display = False
            self.rows.display = True
            self.rows.show(source, (0 if name is None else self.rows.cursor) if at is None else at)
            if not filtering:
                self.rows.focus()
        else:
            self.rows.show(source)
            self._instead(self._why_empty(arranged))
            if not filtering:
                self.set_focus(None)
        self.say_tally()
        self._catch_up()

    def _why_empty(self, arranged: Arranged) -> list[Line]:
        if arranged.view.words and len(self.listing or ()):
            return [content(("No name has all these words.", "warn")), content(("escape clears the filter", "dim"))]
        if arranged.tally.elsewhere:
            hidden = plural(arranged.tally.elsewhere, "name")
            return [content(("Nothing is here, neither in this point nor now.", "warn")), Content(""),
                    content(f"Other points have {hidden} here: ", (".", "strong"), " shows them, ", ("[", "strong"),
                            " and ", ("]", "strong"), " go through the points.")]
        return [content(("This directory is empty.", "dim")),
                *([content((f"What other points have here is not known: {NO_BARS}.", "dim"))] if self.plain else [])]

    def say_tally(self) -> None:
        """Say in the status line what there is."""
        tally = self._tally
        if tally is None or self.listing is None:
            return
        parts: list[Segment] = [(f"{count(len(self.marked))} marked   ", "accent")] if self.marked else []
        parts.append((f"{count(tally.here)} here", ""))
        if self.listing.trouble:
            parts.append((f"   the live side cannot be read: {self.listing.trouble}", "warn"))
        else:
            parts += [(f", {count(n)} {word}", look) for n, word, look in (
                (tally.changed, "changed", "warn"), (tally.only_here, "gone", "bad"),
                (tally.only_live, "new", "good")) if n]
            parts.append((" since" if tally.changed + tally.only_here + tally.only_live else ", none changed since",
                          "dim"))
        if tally.elsewhere:
            word = "shown too" if self.view.deleted else "press ."
            parts.append((f"   {count(tally.elsewhere)} in other points ({word})", "dim"))
        if self.view.order != ORDERS[0]:
            parts.append((f"   by {self.view.order}", "accent"))
        self.query_one("#status", StatusLine).show(parts)

    def say(self, text: str, look: str = "good") -> None:
        """Answer in the status line."""
        self.query_one("#status", StatusLine).answer(text, look)

    # --- the name under the cursor -------------------------------------------------------------------------------

    @on(RowList.Moved, "#names")
    def _moved(self) -> None:
        found = self.current()
        if found is None or self.listing is None:
            self.query_one("#about", Static).update("")
            return
        index, one = found
        self._below[self.listing.path] = one.name
        here = one.at(self.point.number)
        entry = one.shown(self.point.number, live=self.view.live)
        assert entry is not None
        gap: Segment = ("   ", "")
        beside = [] if self.listing.trouble else [gap, *differs(here, one.live)] if here or one.live else []
        self.query_one("#about", Static).update(
            content((path(entry.path), "strong"), "  ", *facts(entry)) + Content("\n")
            + content(*story(self.listing, index), *beside))

    def action_move(self, by: int) -> None:
        """Move the cursor, also while there is no list to have the focus yet."""
        self.rows.action_move(by)

    def action_page(self, by: int) -> None:
        """Move the cursor by screens."""
        self.rows.action_page(by)

    def action_edge(self, side: int) -> None:
        """Move the cursor to the first or the last row."""
        self.rows.action_edge(side)

    @on_rows
    def action_open(self) -> None:
        """Enter a directory, view a file, tell about anything else."""
        found = self.current()
        if found is None:
            return
        here, live = found[1].at(self.point.number), found[1].live
        entry = (live or here) if self.view.live else (here or live)
        if entry is None:
            self.action_history()       # neither here nor live: its versions are what is left to see
        elif entry.kind is Kind.DIR:
            self._go(entry.path)
        elif entry.kind is Kind.FILE:
            self.open_file(self.point if entry is here else None, entry)
        else:
            self.action_info()

    def action_up(self) -> None:
        """Go to the directory above, with the cursor on the one that is left."""
        self._off_read(self._up)

    def _up(self) -> None:
        if not self._wanted:
            self.say("This is the top.", "dim")
            return
        above, _, name = self._wanted.rpartition(b"/")
        self._below[above] = name
        self._go(above)

    def action_reload(self) -> None:
        """Read this directory again."""
        self._off_read(lambda: self._go(self._wanted))

    # --- other points, other views -------------------------------------------------------------------------------

    def _see(self, **changed: object) -> None:
        """Change the view; the name under the cursor stays where it is."""
        self.say("")
        found = self.current()
        keep = found[1].name if found is not None else self.view.keep
        self.view = replace(self.view, number=self.point.number, keep=keep, **changed)  # type: ignore[arg-type]
        source = self.rows.source
        if isinstance(source, BrowseRows) and self.listing is not None and len(self.listing) > AT_ONCE:
            self.rows.show(self._source(source.rows), self.rows.cursor)   # these rows now, the right ones soon
        self._arrange()

    def _visit(self, point: RestorePoint) -> None:
        self.point = point
        self._show_place(self._wanted)
        self._see()

    @after_rows
    def action_step(self, by: int) -> None:
        """Look at the point before or after."""
        ids = [p.id for p in self.points]
        at = ids.index(self.point.id) + by if self.point.id in ids else len(ids) - 1
        if 0 <= at < len(ids) and self.plain:
            self.point = self.points[at]
            self._show_place(self._wanted)
            self._go(self._wanted)
        elif 0 <= at < len(ids):
            self._visit(self.points[at])
        else:
            self.say("This is the oldest point." if by < 0 else "This is the newest point.", "dim")

    @on_rows
    def action_change(self, by: int) -> None:
        """Go to the next or the previous point in which something happened to the name under the cursor."""
        found = self.current()
        if found is None or self.listing is None:
            return
        if self.plain:
            self.say(f"It is not known which points changed it: {NO_BARS}.", "warn")
            return
        numbers = [self.listing.numbers[event.index] for event in self.listing.events(found[0])]
        ahead = [n for n in numbers if (n > self.point.number if by > 0 else n < self.point.number)]
        if not ahead:
            self.say(f"No {'later' if by > 0 else 'earlier'} point changed it.", "dim")
            return
        wanted = ahead[0] if by > 0 else ahead[-1]
        self._visit(next(p for p in self.points if p.number == wanted))

    @after_rows
    def action_side(self) -> None:
        """Look at the other side: sizes and times, and what enter opens."""
        self._see(live=not self.view.live)

    @after_rows
    def action_deleted(self) -> None:
        """Show or hide names that are neither in this point nor live."""
        if self.plain:
            self.say(f"It is not known which names other points have here: {NO_BARS}.", "warn")
        else:
            self._see(deleted=not self.view.deleted)

    @after_rows
    def action_order(self) -> None:
        """Sort by the next thing."""
        order = ORDERS[(ORDERS.index(self.view.order) + 1) % len(ORDERS)]
        self._see(order=order)
        self.say(f"Sorting by {order} ..." if self._arranging else f"Sorted by {order}.", "dim")

    # --- filter --------------------------------------------------------------------------------------------------

    @on(Input.Changed, "#filter")
    def _typed(self, event: Input.Changed) -> None:
        if self.listing is not None and event.value != self.view.words:
            self.view = replace(self.view, words=event.value, keep=None)
            self._arrange()

    def _close_filter(self) -> None:
        self.view = replace(self.view, words="")
        self.query_one(FilterLine).clear_away()

    def action_leave(self) -> None:
        """Clear the filter, or go back."""
        if not self.query_one("#filter").display:
            self.dismiss(None)
            return
        found = self.current()
        self._close_filter()
        self.view = replace(self.view, keep=found[1].name if found is not None else None)
        self._arrange()

    def action_close(self) -> None:
        """Go back to the points."""
        self.dismiss(None)

    def on_resize(self, event: events.Resize) -> None:
        """Columns depend on the width."""
        self.rows.refresh()
