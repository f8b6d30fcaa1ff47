"""The difference of one path between two points, or a point and now: its content, and what else differs."""

from __future__ import annotations

from typing import NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Static

from engine.entries import Change, Kind
from engine.points import RestorePoint
from engine.results import FileContent
from tui.changefacts import facts
from tui.engine_api import EngineLike
from tui.filediff import READ
from tui.screens.entryactions import EntryActions
from tui.text import called, content, path
from tui.widgets.fields import Fields
from tui.widgets.fileview import FileDiffView
from tui.widgets.keybar import Hint, KeyBar


class _Found(NamedTuple):
    """What the engine knows of a path: how it changed (None: not at all), and its contents."""

    change: Change | None
    old: FileContent | None
    new: FileContent | None


class FileDiffScreen(EntryActions):
    """One path, from `older` to `newer`; None is the live system, on either side."""

    BINDINGS = [Binding("escape,q,enter", "leave", "Back", show=False), Binding("a", "facts", show=False),
                Binding("h", "history", show=False)]
    KEYS = (*FileDiffView.KEYS, ("a", "what else differs: mode, owner, times, attributes"), ("h", "all versions of it"),
            ("esc", "back to the list"))
    NOTES = ("- is a line of the older content, + one of the newer. Underlined is what differs within a line.",
             "Characters that a terminal would obey are shown as \\x1b and the like; so are the ends of DOS lines.")

    def __init__(self, older: RestorePoint | None, newer: RestorePoint | None, path: bytes) -> None:
        super().__init__()
        self._older, self._newer, self._path = older, newer, path
        self._facts_chosen: bool | None = None

    def compose(self) -> ComposeResult:
        """Header, path, what else differs, contents, keys."""
        yield self.header()
        yield Static(content((path(self._path), "strong")), markup=False, id="subject")
        yield Fields(id="file-facts")
        yield FileDiffView(id="file-view")
        yield KeyBar([Hint("esc", "Back", "screen.leave"), Hint("?", "Help", "app.help")], id="keys")

    def on_mount(self) -> None:
        """Ask for the contents."""
        self.query_one("#file-facts").display = False
        view = self.query_one(FileDiffView)
        view.say("Reading ...")
        view.rows.focus()
        engine, older, newer, name = self.rollpoint.engine, self._older, self._newer, self._path
        self.ask("file", lambda: _find(engine, older, newer, name), self._read, self._failed)

    def _read(self, found: _Found) -> None:
        pane = self.query_one("#file-facts", Fields)
        if found.change is not None:
            pane.show(facts(found.change))
            # Content, size and time are seen below; whatever else differs must not be overlooked.
            pane.display = (found.old is None or found.new is None or found.old == found.new
                            or not {"content", "size", "mtime"}.issuperset(found.change.what))
        view = self.query_one(FileDiffView)
        if found.old is None and found.new is None:
            view.say("Nothing differs." if found.change is None else "It has no content to compare.")
        else:
            view.show(found.old, found.new, self._path, _name(self._older), _name(self._newer))
        self._say_keys()

    def _failed(self, error: BaseException) -> None:
        self.dismiss(None)
        self.rollpoint.report(error)

    @on(FileDiffView.Shown)
    def _shown(self) -> None:
        self._say_keys()

    def _say_keys(self) -> None:
        pane = self.query_one("#file-facts", Fields)
        self.query_one("#keys", KeyBar).show([
            Hint("esc", "Back", "screen.leave"), *self.query_one(FileDiffView).hints(),
            Hint("a", "Hide attributes" if pane.display else "Attributes", "screen.facts", 3),
            Hint("h", "History", "screen.history", 4),
            Hint("?", "Help", "app.help")])

    def action_facts(self) -> None:
        """Show what differs besides the content, or hide it."""
        pane = self.query_one("#file-facts", Fields)
        pane.display = not pane.display
        self._say_keys()

    def action_history(self) -> None:
        """All versions of it."""
        self.open_history(self._path, self._older)

    def action_leave(self) -> None:
        """Back."""
        self.dismiss(None)


def _name(point: RestorePoint | None) -> str:
    return "now" if point is None else f"point {called(point)}"


def _find(engine: EngineLike, older: RestorePoint | None, newer: RestorePoint | None, name: bytes) -> _Found:
    """Ask for a path's change and for the contents of the sides on which it is a regular file."""
    if older is not None:
        change = engine.change(older, newer, name)
    else:
        change = _turned(engine.change(newer, None, name)) if newer is not None else None
    sides = []
    for point, entry in ((older, change and change.old), (newer, change and change.new)):
        there = entry.kind is Kind.FILE if entry else change is None
        sides.append(engine.content(point, name, READ) if there else None)
    return _Found(change, sides[0], sides[1])


def _turned(change: Change | None) -> Change | None:
    """A change, seen from its other end."""
    from engine.entries import compare

    return compare(change.new, change.old) if change is not None else None
