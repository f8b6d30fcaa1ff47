"""The store: its health, who works on it, what was left unfinished, and who did what to it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TypeAlias

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.widgets import Input, Static

from engine.audit import AuditEntry
from engine.points import RestorePoint
from engine.results import StoreStatus
from tui.engine_api import EngineLike
from tui.health import age_note, health_rows, level_rows
from tui.notices import banner_rows
from tui.places import Here
from tui.screens.base import FILTER
from tui.screens.upkeep import Upkeep
from tui.storagewords import Levels, kept
from tui.text import Segment, content, error_lines, fit, plural, safe
from tui.widgets.fields import Fields
from tui.widgets.filterline import FilterLine
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.rows import Row, RowList
from tui.widgets.statusline import Banner, StatusLine

ENTRIES = 5000
"""How many entries of the log are read: the list is virtual, so that they cost no more than a screen of them."""
RELOAD_SECONDS = 10.0
_GOOD = ("done", "ok")


_Read: TypeAlias = "tuple[StoreStatus, list[RestorePoint], list[AuditEntry]]"


class LogRows:
    """A `RowSource` of the audit log: when, who, what, about what, what came of it."""

    def __init__(self, entries: Sequence[AuditEntry], numbers: dict[str, int]) -> None:
        self.entries, self._numbers = entries, numbers

    def __len__(self) -> int:
        return len(self.entries)

    def selectable(self, index: int) -> bool:
        """All rows are."""
        return True

    def subject(self, entry: AuditEntry) -> str:
        """What an entry is about: a point by its number, while there is one of that id."""
        number = self._numbers.get(entry.subject)
        return f"point {number}" if number is not None else safe(entry.subject)

    @staticmethod
    def _widths(width: int) -> tuple[int, int, int]:
        """Room for time, user and verb."""
        return (16, 10, 18) if width >= 100 else (11, 8, 10) if width >= 60 else (11, 0, 9)

    def heading(self, width: int) -> Row | None:
        """Column titles."""
        when, who, what = self._widths(width)
        user = f"{'Who':<{who}}  " if who else ""
        return [(fit(f" {'When':<{when}}  {user}{'What':<{what}}  Result", width), "head")]

    def row(self, index: int, width: int) -> Row:
        """One entry."""
        entry = self.entries[index]
        when, who, what = self._widths(width)
        look = "" if entry.result in _GOOD else "bad" if entry.result in ("failed", "damage") else "warn"
        result = safe(entry.result) if not look else safe(entry.result).upper()
        user = fit(safe(entry.user), who) + "  " if who else ""
        left = width - when - who - what - 8
        words = f"{self.subject(entry)}  {safe(entry.detail)}".strip()
        return [(" " + fit(_when(entry.time, "%Y-%m-%d %H:%M" if when == 16 else "%m-%d %H:%M"), when) + "  ", ""),
                (user, "dim"), (fit(safe(entry.verb), what) + "  ", "strong"),
                (result + "  ", look or "good"), (fit(words, max(1, left - len(result))), "")]

    def line(self, index: int) -> list[Segment]:
        """One entry in full."""
        entry = self.entries[index]
        about = self.subject(entry) + (f" ({safe(entry.subject)})" if entry.subject in self._numbers else "")
        return [(_when(entry.time, "%Y-%m-%d %H:%M:%S %z"), ""), (f"   {safe(entry.user)}", "dim"),
                (f"   {safe(entry.verb)} ", "strong"), (about, ""),
                (f"   {safe(entry.result)}", "" if entry.result in _GOOD else "bad"),
                (f"   {safe(entry.detail)}" if entry.detail else "", "")]


def _when(text: str, form: str) -> str:
    """A time of the log as one of this machine; as it stands where it is none."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return safe(text)
    return (when if when.tzinfo is not None else when.replace(tzinfo=UTC)).astimezone().strftime(form)


class StoreScreen(Upkeep):
    """The place behind `S`."""

    BINDINGS = [
        Binding("escape", "leave", show=False), Binding("q", "leave", show=False), Binding("v", "verify", show=False),
        Binding("f", "repair", show=False), Binding("R", "recover", show=False), FILTER,
        Binding("u,f5", "reload", show=False)]
    KEYS = (("v", "verify: does the store hold what it says it holds"), ("f", "repair: finish or undo what was left"),
            ("R", "unfinished work: go on, undo, repair; cancel what is ordered"), ("/", "filter the log by words"),
            ("tab", "to the health and back to the log"), ("u, F5", "look again"), ("esc", "clear the filter; back"),
            ("q", "back to the points"))
    NOTES = ("The log is audit.log in the store, the newest entry first. Nothing is ever taken out of it.", age_note())

    def __init__(self) -> None:
        super().__init__()
        self.points: list[RestorePoint] = []
        self.status: StoreStatus | None = None
        self._log: list[AuditEntry] = []
        self._levels: Levels = ([], [], [])

    def compose(self) -> ComposeResult:
        """Header, answers, what must not be overlooked, health, log, the entry in full, filter, keys."""
        yield self.header()
        yield StatusLine(id="status")
        yield Banner(id="banner")
        with VerticalScroll(id="health"):
            yield Fields(id="health-text")
        yield RowList(id="log")
        yield Static("", markup=False, id="view-line")
        yield FilterLine("words in the log", "#log")
        yield KeyBar(self._hints(), id="keys")

    def _hints(self) -> list[Hint]:
        writes = [] if self.rollpoint.read_only else [Hint("f", "Repair", "screen.repair", 2)]
        left = self.status is not None and (
            self.status.rollback or self.status.unfinished or self.status.ordered)
        recover = [Hint("R", "Unfinished work", "screen.recover")] if left else []
        verify = [Hint("v", "Verify", "screen.verify")] if self.points else []
        return [*verify, *writes, *recover, Hint("/", "Filter", "screen.filter", 3),
                Hint("esc", "Back", "screen.leave"), Hint(":", "More", "app.palette"), Hint("?", "Help", "app.help")]

    def on_mount(self) -> None:
        """Ask for everything."""
        self.say_what_it_is()
        self.query_one("#log", RowList).focus()
        self.action_reload()
        self.set_interval(RELOAD_SECONDS, self._look_again)

    def say_what_it_is(self) -> None:
        """The line under the header, when it has no answer to show."""
        lines = f"{plural(len(self._log), 'entry', 'entries')} in the log"
        self.query_one("#status", StatusLine).show([("Store and jobs ", "head"), (lines if self._log else "", "dim")])

    def _look_again(self) -> None:
        if self.is_current:
            self._read()

    def here(self) -> Here:
        """No point under a cursor, but a number of them."""
        return Here(None, None if self.status is None else len(self.points))

    def say(self, text: str, look: str = "good") -> None:
        """Answer in the status line."""
        self.query_one("#status", StatusLine).answer(text, look)

    def action_reload(self) -> None:
        """Read everything again, and ask the storage, which may take longer."""
        engine = self.rollpoint.engine
        self.ask("levels", engine.levels, self._filled, lambda _: None)
        self._read()

    def _filled(self, levels: Levels) -> None:
        self._levels = levels
        self._say_health()

    def _read(self) -> None:
        engine = self.rollpoint.engine
        self.ask("load", lambda: _read(engine), self._loaded, self._failed)

    def _failed(self, error: BaseException) -> None:
        self.query_one("#status", StatusLine).show([("The store cannot be read.", "bad")])
        self.query_one("#health-text", Fields).show(error_lines(error))

    def _loaded(self, answer: _Read) -> None:
        self.status, self.points, self._log = answer
        self.say_what_it_is()
        self.query_one("#banner", Banner).show(banner_rows(self.status))
        self._say_health()
        self.query_one("#keys", KeyBar).show(self._hints())
        self._list()

    def _say_health(self) -> None:
        if self.status is not None:
            self.query_one("#health-text", Fields).show([
                *health_rows(self.status, self.points, self.rollpoint.now(), self.size.width),
                *level_rows(self._levels)])

    def _list(self) -> None:
        words = self.query_one(FilterLine).words
        rows = self.query_one("#log", RowList)
        source = LogRows(self._log, {p.id: p.number for p in self.points})
        if words:
            kept = [e for e in self._log if all(word in _searched(source, e) for word in words)]
            source = LogRows(kept, {p.id: p.number for p in self.points})
        rows.show(source, rows.cursor)

    @on(RowList.Moved, "#log")
    def _moved(self, event: RowList.Moved) -> None:
        source, line = event.rows.source, self.query_one("#view-line", Static)
        if isinstance(source, LogRows) and event.index < len(source):
            line.update(content(*source.line(event.index)))
        else:
            line.update(content(("The log has no such entry." if self._log else "The log is empty.", "dim")))

    # --- filter --------------------------------------------------------------------------------------------------

    @on(Input.Changed, "#filter")
    def _typed(self) -> None:
        self._list()

    def action_leave(self) -> None:
        """Clear the filter, or go back."""
        if not self.query_one(FilterLine).clear_away():
            self.dismiss(None)


def _read(engine: EngineLike) -> _Read:
    status = engine.status()
    return status, kept(engine, status), engine.audit(ENTRIES)


def _searched(source: LogRows, entry: AuditEntry) -> str:
    return " ".join((_when(entry.time, "%Y-%m-%d %H:%M"), entry.user, entry.verb, entry.subject, source.subject(entry),
                     entry.result, entry.detail)).lower()
