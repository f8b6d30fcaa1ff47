"""The history of one path: its versions over all points, each once, and beside them what each one changed."""

from __future__ import annotations

from typing import NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, Vertical
from textual.content import Content
from textual.widgets import Static

from engine.entries import Entry
from engine.errors import RollpointError
from engine.points import RestorePoint
from engine.results import FileContent
from tui.engine_api import EngineLike
from tui.entrytext import facts
from tui.filediff import READ
from tui.screens.entryactions import EntryActions
from tui.text import Line, Segment, content, error_lines, path, plural
from tui.versions import Stage, stages
from tui.widgets.changerows import describe
from tui.widgets.fields import Fields
from tui.widgets.fileview import FileDiffView
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.rows import RowList
from tui.widgets.statusline import StatusLine
from tui.widgets.versionrows import VersionRows, side_name

_HINTS = (Hint("enter", "View", "screen.view"), Hint("n N", "Next content", weight=3),
          Hint("tab", "Difference", weight=3), Hint("w", "Restore", "screen.restore"),
          Hint("c", "Compare with now", "screen.compare", 2), Hint("b", "Browse there", "screen.browse", 4),
          Hint("?", "Help", "app.help", 0), Hint("esc", "Back", "screen.leave", 0))
_KEPT = 16      # contents that are kept, so that stepping up and down reads nothing twice


class Past(NamedTuple):
    """What a worker brings: the states of a path, and why the live side is not known ("" when it is)."""

    stages: list[Stage]
    trouble: str


def load(engine: EngineLike, inside: bytes) -> Past:
    """Ask the engine for the history of a path (in a worker). Raises what `Engine.history` raises."""
    versions = engine.history(inside)
    points = sorted(engine.points(), key=lambda p: p.number)
    newest = max(points, key=lambda p: p.number)
    held: Entry | None = next((v.entry for v in versions if v.last == newest.id), None)
    try:
        change = engine.change(newest, None, inside)
    except RollpointError as error:
        return Past(stages(versions, points, None, known=False), error.message)
    return Past(stages(versions, points, held if change is None else change.new), "")


class HistoryScreen(EntryActions):
    """The versions of `path`; the cursor starts on the one of `point`."""

    BINDINGS = [
        Binding("escape,q", "leave", show=False), Binding("n", "deep(1)", show=False),
        Binding("N", "deep(-1)", show=False), Binding("w", "restore", show=False), Binding("c", "compare", show=False),
        Binding("b", "browse", show=False), Binding("m", "mode", show=False), Binding("f5,u", "reload", show=False)]
    KEYS = (("up, down", "the version after, the version before"),
            ("n N", "to the next older, newer one with another content"), ("enter", "view this version alone"),
            ("tab", "into the difference and back: there n N and c are about its lines"),
            ("m", "the difference as text, side by side, as bytes"), ("w", "restore this version"),
            ("c", "compare this version with now"), ("b", "browse its directory"), ("u, F5", "look again"),
            ("esc, q", "back"))
    NOTES = ("The letter says what led to a version from the one below it: + created, M content, T type,",
             "a attributes only, - deleted; = on top: the live file is as the newest version.")

    def __init__(self, path: bytes, point: RestorePoint | None = None) -> None:
        super().__init__()
        self._path, self._point = path, point
        self._stages: list[Stage] = []
        self._contents: dict[str, FileContent | None] = {}

    def compose(self) -> ComposeResult:
        """Header, path, versions, difference, status, keys."""
        yield self.header()
        yield Static(content(("History of ", "dim"), (path(self._path), "strong")), markup=False, id="subject")
        with Container(id="body"):
            with Vertical(id="past"):
                yield RowList(id="versions")
                yield Static("", markup=False, id="about")
            with Vertical(id="beside"):
                yield FileDiffView(id="difference")
                yield Fields([content(("Reading ...", "dim"))], id="instead")
        yield StatusLine(id="status")
        yield KeyBar(_HINTS, id="keys")

    def on_mount(self) -> None:
        """Read the history in a worker."""
        self._instead([content(("Reading ...", "dim"))])
        self.query_one("#versions").focus()
        self.call_after_refresh(self.action_reload)

    def action_reload(self) -> None:
        """Read it again."""
        engine, inside = self.rollpoint.engine, self._path
        self.ask("history", lambda: load(engine, inside), self._loaded, self._failed)

    def _failed(self, error: BaseException) -> None:
        self._instead(error_lines(error))

    def _loaded(self, past: Past) -> None:
        known = self._stages[self._rows.cursor] if self._stages else None
        self._stages = past.stages
        self._contents.clear()
        point = self._point if known is None else known.last
        at = next((i for i, stage in enumerate(self._stages) if point is not None and _holds(stage, point)), 0)
        self._rows.show(VersionRows(self._stages), at)
        versions = [stage for stage in self._stages if stage.entry is not None and not stage.live]
        parts: list[Segment] = [(f"{plural(len(versions), 'version')} in "
                                 f"{plural(sum(s.points for s in versions), 'point')}", "")]
        if past.trouble:
            parts.append((f"   the live side cannot be read: {past.trouble}", "warn"))
        self.query_one(StatusLine).show(parts)

    # --- showing -------------------------------------------------------------------------------------------------

    @property
    def _rows(self) -> RowList:
        return self.query_one("#versions", RowList)

    def _instead(self, rows: list[Line]) -> None:
        """Show text where the difference of contents would be."""
        self.query_one("#instead", Fields).show(rows)
        self.query_one("#instead").display = True
        self.query_one("#difference").display = False

    def _pair(self) -> tuple[Stage | None, Stage] | None:
        """The state under the cursor, and the one before it in time."""
        at = self._rows.cursor
        if at >= len(self._stages):
            return None
        return (self._stages[at + 1] if at + 1 < len(self._stages) else None), self._stages[at]

    @on(RowList.Moved, "#versions")
    def _moved(self) -> None:
        pair = self._pair()
        if pair is None:
            return
        before, stage = pair
        self.query_one("#about", Static).update(self._about(before, stage))
        if not stage.file and not (before is not None and before.file):
            self._instead(_without_content(before, stage))
            return
        engine, inside = self.rollpoint.engine, self._path
        wanted = [one for one in (before, stage) if one is not None and one.file and _key(one) not in self._contents]

        def read() -> tuple[Stage, dict[str, FileContent | None]]:
            return stage, {_key(one): engine.content(one.last, inside, READ) for one in wanted}

        if wanted:
            self.ask("content", read, self._read, self._unread)
        else:
            self._show_difference()

    def _about(self, before: Stage | None, stage: Stage) -> Content:
        """The line below the versions: what differs, or what it is."""
        where = _taken(stage)
        if stage.entry is None:
            more = "; shown is its last content" if before is not None and before.file else ""
            return content(("not there", "bad"), more, *where)
        if stage.change is not None and stage.change.old is not None:
            return content(*((text.lstrip() if i == 0 else text, look) for i, (text, look)
                             in enumerate(describe(stage.change)[1:])), *where)
        return content(*facts(stage.entry), *where)

    def _read(self, answer: tuple[Stage, dict[str, FileContent | None]]) -> None:
        stage, contents = answer
        if len(self._contents) > _KEPT:
            self._contents.clear()
        self._contents.update(contents)
        pair = self._pair()
        if pair is not None and pair[1] is stage:
            self._show_difference()

    def _unread(self, error: BaseException) -> None:
        self._instead(error_lines(error))

    def _show_difference(self) -> None:
        pair = self._pair()
        if pair is None:
            return
        before, stage = pair
        sides = [None if one is None or not one.file else self._contents.get(_key(one)) for one in (before, stage)]
        names = [side_name(one) if one is not None else "before" for one in (before, stage)]
        self.query_one("#instead").display = False
        self.query_one("#difference").display = True
        self.query_one(FileDiffView).show(sides[0], sides[1], self._path, names[0], names[1])

    @on(FileDiffView.Shown)
    def _shown(self, event: FileDiffView.Shown) -> None:
        event.stop()
        self._hint()

    def on_descendant_focus(self) -> None:
        """Other keys do something now."""
        self._hint()

    def _hint(self) -> None:
        view = self.query_one(FileDiffView)
        if view.rows.has_focus:
            self.query_one(KeyBar).show([Hint("tab", "Versions"), *view.hints(), *_HINTS[-2:]])
        else:
            self.query_one(KeyBar).show(_HINTS)

    def say(self, text: str, look: str = "good") -> None:
        """Answer in the status line."""
        self.query_one(StatusLine).answer(text, look)

    # --- keys ----------------------------------------------------------------------------------------------------

    def action_deep(self, by: int) -> None:
        """Go to the next older, or newer, state whose content is another."""
        at = self._rows.cursor + by
        while 0 <= at < len(self._stages) and not self._stages[at].deep:
            at += by
        if 0 <= at < len(self._stages):
            self._rows.cursor = at
        else:
            self.say(f"No {'older' if by > 0 else 'newer'} version has another content.", "dim")

    @on(RowList.Chosen, "#versions")
    def _chosen(self) -> None:
        self.action_view()

    def action_view(self) -> None:
        """View this version alone."""
        pair = self._pair()
        if pair is not None and pair[1].entry is not None and pair[1].file:
            self.open_file(pair[1].last, pair[1].entry)
        else:
            self.say("It has no content to view.", "dim")

    def _kept(self) -> tuple[RestorePoint, Entry] | None:
        """The point and the entry of this version; says so where it is in no point."""
        pair = self._pair()
        if pair is None:
            return None
        if pair[1].last is None:
            self.say("This is the live state: choose a version of a point.", "warn")
        elif pair[1].entry is None:
            self.say("It was not there then: choose a version of a point.", "warn")
        else:
            return pair[1].last, pair[1].entry
        return None

    def action_restore(self) -> None:
        """Restore this version."""
        kept = self._kept()
        if kept is not None:
            self.open_restore(kept[0], (self._path,))

    def action_compare(self) -> None:
        """This version against the live state."""
        kept = self._kept()
        if kept is not None:
            self.open_difference(kept[0], None, kept[1])

    def action_browse(self) -> None:
        """Its directory in this version's point."""
        kept = self._kept()
        if kept is not None:
            self.open_browse(kept[0], self._path)

    def action_mode(self) -> None:
        """Show the difference in another way."""
        self.query_one(FileDiffView).action_mode()

    def action_leave(self) -> None:
        """Back."""
        self.dismiss(None)


def _key(stage: Stage) -> str:
    return "" if stage.last is None else stage.last.id


def _holds(stage: Stage, point: RestorePoint) -> bool:
    return (stage.first is not None and stage.last is not None
            and stage.first.number <= point.number <= stage.last.number)


def _taken(stage: Stage) -> list[Segment]:
    """When the points of a state were taken."""
    if stage.first is None or stage.last is None:
        return []
    first, last = (point.created.astimezone().strftime("%Y-%m-%d %H:%M") for point in (stage.first, stage.last))
    return [("   taken " + (first if stage.points == 1 else f"{first} to {last}"), "dim")]


def _without_content(before: Stage | None, stage: Stage) -> list[Line]:
    """What can be said of states that have no content: directories, links, devices, absence."""
    rows: list[Line] = []
    for one in (before, stage):
        if one is not None:
            said = facts(one.entry) if one.entry is not None else [("not there", "bad")]
            rows += [content((f"{side_name(one)}  ", "head"), *said)]
    return rows or [content(("Nothing is known.", "dim"))]


