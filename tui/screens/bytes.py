"""Two contents that are no files of a tree, or one alone: boot code as bytes, a partition table as text."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Static

from engine.errors import RefusedError
from engine.points import RestorePoint
from engine.results import FileContent
from tui.bootwords import Place
from tui.engine_api import EngineLike
from tui.filediff import READ
from tui.screens.base import BaseScreen
from tui.text import content
from tui.widgets.fileview import FileDiffView
from tui.widgets.keybar import Hint, KeyBar


class Pair(NamedTuple):
    """What is shown: the older and the newer content (None: there is none), and what else to know (damage)."""

    old: FileContent | None
    new: FileContent | None
    note: str = ""


def sided(data: bytes | None) -> FileContent | None:
    """Return bytes as a content to show: the first `READ` of them."""
    return None if data is None else FileContent(data[:READ], len(data))


def both(engine: EngineLike, point: RestorePoint | None, place: Place) -> Pair:
    """Ask for the bytes of a place: in the point (the older side) and on the disk."""
    old, damage = None, ""
    if place.file and point is not None:
        kept = engine.boot_kept(point, place.file)
        old, damage = kept.data[:place.length], kept.damage
    new = engine.boot_bytes(place.disk, place.offset, place.length) if place.disk else None
    return Pair(sided(old), sided(new), damage)


def planned(engine: EngineLike, point: RestorePoint, line: str) -> Pair:
    """Ask for the bytes of a boot area that a rollback's plan names in `line`: on the disk, and what will be there.

    Raises RefusedError when the disks are not as they were when that was planned.
    """
    plan = engine.boot_of(point).plan
    for disk, piece in ((d.disk, p) for d in plan.disks for p in d.pieces) if plan is not None else ():
        if f"{disk.name}: {piece.words}" == line:
            kept = engine.boot_kept(point, piece.file)
            return Pair(sided(engine.boot_bytes(disk.path, piece.offset, piece.length)),
                        sided(kept.data[:piece.length]), kept.damage)
    raise RefusedError("the boot sectors are not as they were when this was planned",
                       hint="go back to the scope, and plan it again")


class PairScreen(BaseScreen[None]):
    """Asks for the two in a worker (`work`) and shows them under the names of their sides."""

    BINDINGS = [Binding("escape,q", "leave", show=False)]
    KEYS = (*FileDiffView.KEYS, ("esc, q", "back"))
    NOTES = ("- is what the first of the two has, + what the other has. Underlined is what differs within a row.",
             "Places are counted from the beginning of the area.")

    def __init__(self, title: str, names: tuple[str, str], work: Callable[[], Pair]) -> None:
        super().__init__()
        self._title, self._names, self._work = title, names, work

    def compose(self) -> ComposeResult:
        """Header, what it is, what to know, contents, keys."""
        yield self.header()
        yield Static(content((self._title, "strong")), markup=False, id="subject")
        yield Static("", markup=False, id="totals")
        yield FileDiffView(id="file-view")
        yield KeyBar([Hint("esc", "Back", "screen.leave"), Hint("?", "Help", "app.help")], id="keys")

    def on_mount(self) -> None:
        """Ask."""
        self.query_one("#totals").add_class("-gone")
        view = self.query_one(FileDiffView)
        view.say("Reading ...")
        view.rows.focus()
        self.ask("pair", self._work, self._read, self._failed)

    def _read(self, pair: Pair) -> None:
        note = self.query_one("#totals", Static)
        note.update(content((pair.note, "bad")))
        note.set_class(not pair.note, "-gone")
        self.query_one(FileDiffView).show(pair.old, pair.new, b"", *self._names)

    def _failed(self, error: BaseException) -> None:
        self.dismiss(None)
        self.rollpoint.report(error)

    @on(FileDiffView.Shown)
    def _shown(self) -> None:
        self.query_one("#keys", KeyBar).show([Hint("esc", "Back", "screen.leave"),
                                              *self.query_one(FileDiffView).hints(), Hint("?", "Help", "app.help")])

    def action_leave(self) -> None:
        """Back."""
        self.dismiss(None)
