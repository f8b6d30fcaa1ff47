"""Finding a name in all points: results come in while the engine still looks, and enter shows the history of one."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Input, Static

from engine.entries import Version
from engine.points import RestorePoint
from tui.jobs import SAMPLE
from tui.screens.entryactions import EntryActions
from tui.text import Segment, content, count, plural
from tui.widgets.foundrows import FoundRows, Hit
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.lineinput import LineInput
from tui.widgets.rows import RowList
from tui.widgets.statusline import StatusLine

LIMIT = 10_000
"""So many paths are listed at most; then it is said that there are more."""


class Search:
    """One search: filled by the thread that works, looked at by the screen."""

    def __init__(self) -> None:
        self.hits: list[Hit] = []
        self.numbers: dict[str, int] = {}
        self.points: dict[str, RestorePoint] = {}
        self.more = False
        self.running = True
        self._stop = threading.Event()

    def stop(self) -> None:
        """Ask it to end at the next result."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        """Whether it was asked to end."""
        return self._stop.is_set()

    def fill(self, points: list[RestorePoint], versions: Iterator[Version]) -> None:
        """Take what is found, the versions of a path together, up to `LIMIT` paths."""
        self.points = {point.id: point for point in points}
        self.numbers = {point.id: point.number for point in points}
        for version in versions:
            if self.stopped:
                return
            last = self.hits[-1] if self.hits else None
            if last is None or last.entry.path != version.entry.path:
                if len(self.hits) >= LIMIT:
                    self.more = True
                    return
                self.hits.append(Hit(version, 1, version.points))
                continue
            last.versions, last.points = last.versions + 1, last.points + version.points
            if self.numbers.get(version.last, 0) >= self.numbers.get(last.newest.last, 0):
                last.newest = version


class FindScreen(EntryActions):
    """A line to type a pattern into, and the paths that fit it."""

    BINDINGS = [
        Binding("escape", "leave", show=False), Binding("q", "close", show=False),
        Binding("slash", "pattern", show=False), Binding("full_stop,a", "deleted", show=False),
        Binding("down", "list", show=False), Binding("b", "browse", show=False), Binding("h", "history", show=False)]
    KEYS = (("enter", "look for the pattern; then the history of a path"), ("/", "another pattern"),
            ("b", "browse there, in the newest point that has it"), ("h", "all versions of it"),
            (". or a", "with or without what the newest point has no more"), ("esc", "stop looking; back"),
            ("q", "back"))
    NOTES = ("With * ? or [ it is a shell pattern for the name, or for the whole path when it holds a slash;",
             "otherwise it is looked for anywhere in the path. A minus marks what the newest point has no more.")

    def __init__(self, pattern: str = "") -> None:
        super().__init__()
        self._pattern = pattern
        self._deleted = True
        self._search: Search | None = None

    def compose(self) -> ComposeResult:
        """Header, pattern, results, status, keys."""
        yield self.header()
        yield Static(content(("Find in all points", "head"), "   part of a path, or a pattern: ",
                             ("*.conf", "strong")), markup=False, id="subject")
        yield LineInput(self._pattern, placeholder="nginx.conf", max_length=1000, id="pattern")
        yield RowList(id="found")
        yield StatusLine(id="status")
        yield KeyBar(id="keys")

    def on_mount(self) -> None:
        """Type first; look at once when there is a pattern already."""
        self.query_one("#pattern").focus()
        self.set_interval(SAMPLE, self._look)
        self._hint()
        if self._pattern:
            self._begin(self._pattern)

    def on_unmount(self) -> None:
        """Nobody waits for results any more."""
        if self._search is not None:
            self._search.stop()

    def _hint(self) -> None:
        listed = [Hint("enter", "History", "screen.history"), Hint("b", "Browse there", "screen.browse"),
                  Hint("/", "Pattern", "screen.pattern", 2),
                  Hint(".", "Without deleted" if self._deleted else "With deleted", "screen.deleted", 3)]
        typing = self.focused is self.query_one("#pattern")
        leave = "Stop" if self._search is not None and self._search.running else "Back"
        self.query_one(KeyBar).show([*([Hint("enter", "Look for it")] if typing else listed),
                                     Hint("F1" if typing else "?", "Help", "app.help"),
                                     Hint("esc", leave, "screen.leave", 0)])

    def on_descendant_focus(self) -> None:
        """Other keys do something now."""
        self._hint()

    # --- looking -------------------------------------------------------------------------------------------------

    @on(Input.Submitted, "#pattern")
    def _submitted(self, event: Input.Submitted) -> None:
        if event.value:
            self._begin(event.value)
        else:
            self.say("Type a name or a part of one first.", "warn")

    def _begin(self, pattern: str) -> None:
        if self._search is not None:
            self._search.stop()
        self._pattern = pattern
        self.say("")
        search = self._search = Search()
        engine, deleted = self.rollpoint.engine, self._deleted
        self.query_one("#found", RowList).show(FoundRows((), {}))

        def work() -> Search:
            try:
                search.fill(engine.points(), engine.find(pattern, deleted=deleted))
            finally:
                search.running = False
            return search

        self.ask("find", work, self._done, self._failed)
        self._look()

    def _failed(self, error: BaseException) -> None:
        self._look()
        self.rollpoint.report(error)

    def _done(self, search: Search) -> None:
        if search is self._search:
            self._look()
            if search.hits:
                self.query_one("#found").focus()

    def _look(self) -> None:
        """Show what has come since the last look."""
        search = self._search
        if search is None:
            return
        rows = self.query_one("#found", RowList)
        if len(search.hits) != len(rows.source):
            rows.show(FoundRows(search.hits, search.numbers), rows.cursor)
        self.query_one(StatusLine).show(self._summary(search))
        self._hint()

    def _summary(self, search: Search) -> list[Segment]:
        what: Segment = (plural(len(search.hits), "path"), "" if search.hits else "warn")
        parts: list[Segment] = [("Looking ...  ", "accent"), what] if search.running else [what]
        if search.stopped:
            parts.append(("  stopped", "warn"))
        if search.more:
            parts.append((f"  only the first {count(LIMIT)}: a longer pattern finds fewer", "warn"))
        gone = sum(1 for hit in search.hits if not hit.newest.current) if not search.running else 0
        if gone:
            parts.append((f"  {count(gone)} of them deleted", "bad"))
        if not self._deleted:
            parts.append(("  without what the newest point has no more", "dim"))
        return parts

    def say(self, text: str, look: str = "good") -> None:
        """Answer in the status line."""
        self.query_one(StatusLine).answer(text, look)

    # --- keys ----------------------------------------------------------------------------------------------------

    def _hit(self) -> Hit | None:
        rows = self.query_one("#found", RowList)
        return rows.source.hit(rows.cursor) if isinstance(rows.source, FoundRows) else None

    def _point(self, hit: Hit) -> RestorePoint | None:
        return self._search.points.get(hit.newest.last) if self._search is not None else None

    @on(RowList.Chosen, "#found")
    def _chosen(self) -> None:
        self.action_history()

    def action_history(self) -> None:
        """The versions of the path under the cursor."""
        hit = self._hit()
        if hit is not None:
            self.open_history(hit.entry.path, self._point(hit))

    def action_browse(self) -> None:
        """Its directory, in the newest point that has it."""
        hit = self._hit()
        point = self._point(hit) if hit is not None else None
        if hit is not None and point is not None:
            self.open_browse(point, hit.entry.path)

    def action_pattern(self) -> None:
        """Type another pattern."""
        self.query_one("#pattern").focus()

    def action_list(self) -> None:
        """Go from the pattern to the results."""
        if self._hit() is not None:
            self.query_one("#found").focus()

    def action_deleted(self) -> None:
        """With or without what the newest point has no more; looks again."""
        self._deleted = not self._deleted
        self._hint()
        if self._pattern:
            self._begin(self._pattern)

    def action_leave(self) -> None:
        """Stop looking; or go back."""
        if self._search is not None and self._search.running and not self._search.stopped:
            self._search.stop()
            self._look()
        else:
            self.dismiss(None)

    def action_close(self) -> None:
        """Go back."""
        self.dismiss(None)
