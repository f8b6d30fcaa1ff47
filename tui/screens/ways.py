"""Going back to a point that the storage keeps: its two ways side by side, before one is chosen."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, Vertical, VerticalScroll
from textual.widgets import Static

from engine.backend import NativePlan
from engine.points import RestorePoint
from tui.nativewords import content_rows, native_rows, refused_rows, title, why_not_content
from tui.rollback_job import Runner
from tui.screens.base import BaseScreen
from tui.storagewords import volumes
from tui.text import content, point_title
from tui.widgets.fields import Fields
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.statusline import StatusLine

CONTENT, NATIVE = "by-content", "by-native"
_TITLES = {CONTENT: "By content", NATIVE: "Native"}


class WaysScreen(BaseScreen[bool]):
    """The screen behind `r` on such a point. Dismissed with True when something may have changed."""

    BINDINGS = [Binding("escape,q", "leave", show=False), Binding("enter", "on", show=False),
                Binding("tab,left,right,h,l,shift+tab", "other", show=False, priority=True),
                Binding("c", f"choose('{CONTENT}')", show=False), Binding("n", f"choose('{NATIVE}')", show=False),
                Binding("u,f5", "look", show=False)]
    KEYS = (("enter", "go on with the way in brackets; nothing is changed before yes"),
            ("tab, left, right", "the other way"), ("c", "by content: what differs is copied back"),
            ("n", "native: the storage sets the volumes themselves back"), ("up, down", "read on in a way"),
            ("u, F5", "ask the storage again"), ("esc", "leave; nothing is changed"))
    NOTES = ("By content keeps every snapshot and can be undone. Native is what the storage does itself (zfs rollback,",
             "an LVM merge, a swapped subvolume): quick however much differs, but whole, and for good.")

    def __init__(self, point: RestorePoint, runner: Runner) -> None:
        super().__init__()
        self._point, self._runner = point, runner
        self._way = CONTENT
        self._plan: NativePlan | None = None
        self._refused: BaseException | None = None

    def compose(self) -> ComposeResult:
        """Header, which point, the ways, why it does not go on, keys."""
        yield self.header()
        yield Static(content(("Roll back to ", "strong"), *point_title(self._point, self.rollpoint.now()),
                             (f"  {volumes(self._point)}", "dim")), markup=False, id="subject")
        with Container(id="ways"):
            for way in (CONTENT, NATIVE):
                with Vertical(id=f"{way}-side"):
                    yield Static("", markup=False, id=f"{way}-title", classes="way-title")
                    with VerticalScroll(id=way):
                        yield Fields([content(("Asking the storage ...", "dim"))], id=f"{way}-text")
        yield StatusLine(id="status")
        yield KeyBar(id="keys")

    def on_mount(self) -> None:
        """Say what needs no question at once; the storage is asked in a worker."""
        self.query_one(f"#{CONTENT}-text", Fields).show(content_rows(self._point))
        self._choose(CONTENT)
        self.action_look()

    def action_look(self) -> None:
        """Ask what setting the volumes themselves back would do."""
        engine, point = self.rollpoint.engine, self._point
        self._plan = self._refused = None
        self.query_one(f"#{NATIVE}-text", Fields).show([content(("Asking the storage ...", "dim"))])
        self.ask("native", lambda: engine.native_plan(point), self._asked, self._not_possible)

    def _asked(self, plan: NativePlan) -> None:
        self._plan = plan
        self.query_one(f"#{NATIVE}-text", Fields).show(native_rows(plan))
        self._show()

    def _not_possible(self, error: BaseException) -> None:
        self._refused = error
        self.query_one(f"#{NATIVE}-text", Fields).show(refused_rows(error))
        self._show()

    # --- choosing ------------------------------------------------------------------------------------------------

    def _choose(self, way: str) -> None:
        self._way = way
        self.set_focus(self.query_one(f"#{way}"))       # at once: a focus that comes later would undo the next choice
        self._show()

    def _show(self) -> None:
        for way, name in _TITLES.items():
            self.query_one(f"#{way}-title", Static).update(content(title(name, chosen=way == self._way)))
            self.query_one(f"#{way}-side").set_class(way == self._way, "-chosen")
        on = [] if self._obstacle else [Hint("enter", f"Go on: {_TITLES[self._way].lower()}", "screen.on")]
        self.query_one("#keys", KeyBar).show([*on, Hint("tab", "The other way", "screen.other"),
                                              Hint("up down", "Read on", weight=3),
                                              Hint("esc", "Leave", "screen.leave"), Hint("?", "Help", "app.help")])
        self.query_one("#status", StatusLine).show([(self._obstacle, "warn")])

    @property
    def _obstacle(self) -> str:
        """Why one cannot go on with the chosen way, "" where one can."""
        if self._way == CONTENT:
            why = why_not_content(self._point)
            return f"Not possible: {why}." if why else ""
        if self._refused is not None:
            return "The storage cannot set these volumes back."
        if self._plan is None:
            return "The storage is still being asked."
        if self._plan.blocked:
            return "What is marked BLOCKED has to be put right first; u asks again."
        return "This is read-only: it can be looked at, not carried out." if self.rollpoint.read_only else ""

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """A click chooses as well."""
        if event.widget is self.focused and event.widget.id in _TITLES and event.widget.id != self._way:
            self._choose(event.widget.id)

    def action_other(self) -> None:
        """The other way."""
        self._choose(NATIVE if self._way == CONTENT else CONTENT)

    def action_choose(self, way: str) -> None:
        """A way by its letter."""
        self._choose(way)

    def action_on(self) -> None:
        """Go on with the chosen way."""
        from tui.screens.native import NativeScreen
        from tui.screens.rollback import RollbackScreen

        if self._obstacle:
            self.query_one("#status", StatusLine).answer(self._obstacle, "warn")
        elif self._way == CONTENT:
            self.app.push_screen(RollbackScreen(self._point, self._runner), self._been)
        elif self._plan is not None:
            self.app.push_screen(NativeScreen(self._plan), lambda done: self._been(done is not None))

    def _been(self, changed: bool | None) -> None:
        """Back from a way: out where something may have changed, else to choose again."""
        if changed:
            self.dismiss(True)
        else:
            self._runner = self.rollpoint.make_runner()
            self.action_look()      # what was shown may be old by now

    def action_leave(self) -> None:
        """Leave; nothing was changed."""
        self.dismiss(False)
