"""What is kept beside the VMs of a server: Oracle VM Manager's backups of its own database, and what makes the file
systems of repositories and pools anew."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Static

from engine.events import Job
from engine.points import RestorePoint
from engine.vms.manager import Manager
from engine.vms.recipes import Recipe
from tui.screens.base import BaseScreen
from tui.text import Segment, content, plural, safe
from tui.vmwords import titled
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.managerrows import BackupRows, manager_rows, recipe_rows, told
from tui.widgets.rows import RowSource
from tui.widgets.viewlist import Findings, ViewList

MANAGER, BACKUPS, RECIPES = "Manager", "Backups", "Recipes"


class VmHostScreen(BaseScreen[None]):
    """The screen behind `M` on the VMs; with `point`, the file systems as an inventory point has them."""

    BINDINGS = [Binding("escape,q", "leave", show=False), Binding("u,f5", "reload", show=False),
                *(Binding(str(n + 1), f"view({n})", show=False) for n in range(3)),
                Binding("right,l", "step(1)", show=False), Binding("left,h", "step(-1)", show=False)]
    KEYS = (("1 to 3, left right", "the Manager, its backups, what makes file systems anew"),
            ("up down", "read on; the line below has the whole of what is cut off"), ("u, F5", "look again"),
            ("esc, q", "back to the VMs"))
    NOTES = ("The Manager backs its database up daily and keeps 15 of them: without one, and without its UUID, a lost "
             "Manager cannot be made again with the names of all its objects.",
             "Since: how long after the daily backup before it one was made. The forecast is the newest one's size "
             "times its growth so far, for all that are kept.",
             "Nothing is run from here: a command that makes a file system destroys what is on the device. The WWID of "
             "the LUN must stay the same. `rollpoint vms recipes > FILE` writes them down.")

    def __init__(self, point: RestorePoint | None = None) -> None:
        super().__init__()
        self._point = point
        self._job = Job()
        self._manager: Manager | None = None
        self._recipes: list[Recipe] | None = None
        self._why: dict[str, str] = {}      # by view, why nothing can be told

    def compose(self) -> ComposeResult:
        """Header, how it stands, lists, keys."""
        yield self.header()
        yield Static(content(("Looking ...", "dim")), markup=False, id="subject")
        yield ViewList(id="host")
        yield KeyBar(id="keys")

    def on_mount(self) -> None:
        """Look at once."""
        self.action_reload()
        self.query_one(ViewList).rows.focus()

    def on_unmount(self) -> None:
        """Nobody waits for it any more."""
        self._job.cancel()

    def action_reload(self) -> None:
        """Look again."""
        self._job.cancel()
        engine, point, job = self.rollpoint.engine, self._point, Job()
        self._job, self._manager, self._recipes, self._why = job, None, None, {}
        if point is None:
            self.ask("manager", engine.vm_manager, self._found, lambda error: self._failed(MANAGER, error))
        self.ask("recipes", lambda: engine.vm_recipes(point, job), self._told,
                 lambda error: self._failed(RECIPES, error))
        self._show()

    def _found(self, manager: Manager) -> None:
        self._manager = manager
        self._show()

    def _told(self, recipes: list[Recipe]) -> None:
        self._recipes = recipes
        self._show()

    def _failed(self, view: str, error: BaseException) -> None:
        self._why[view] = safe(error)
        self._show()

    # --- showing -------------------------------------------------------------------------------------------------

    def _show(self) -> None:
        now, manager = self.rollpoint.now(), self._manager
        parts: list[Segment] = []
        views: list[tuple[str, RowSource]] = []
        if self._point is None:
            parts = told(manager, now) if manager is not None else [("Oracle VM Manager", "head")]
            views = [(MANAGER, self._instead(MANAGER) if manager is None else manager_rows(manager, now)),
                     (BACKUPS, BackupRows(manager, now) if manager is not None and manager.backups else
                      self._instead(MANAGER) if manager is None else Findings([("There are none.", "dim")], 0))]
        else:
            parts = [("File systems in ", "head"), *titled(self._point, now)]
        views.append((RECIPES, self._instead(RECIPES) if self._recipes is None else recipe_rows(self._recipes)))
        if self._recipes is not None and self._point is not None:
            parts.append((f"   {plural(len(self._recipes), 'file system')} of VMs", "dim"))
        self.query_one("#subject", Static).update(content(*parts))
        self.query_one(ViewList).show(views, keep=True)
        lists = [Hint(f"1-{len(views)}", "Lists", weight=2)] if len(views) > 1 else []
        self.query_one("#keys", KeyBar).show([
            *lists, Hint("u", "Look again", "screen.reload", 3), Hint("esc", "Back", "screen.leave"),
            Hint(":", "More", "app.palette", 3), Hint("?", "Help", "app.help")])

    def _instead(self, view: str) -> Findings:
        """What stands where there is nothing to show yet, or nothing can be told."""
        why = self._why.get(view)
        return Findings([("Looking ...", "dim")] if why is None else [
            (f"Nothing can be told: {why}", "bad"), ("Press u to look again.", "dim")])

    @on(ViewList.Turned)
    def _turned(self, event: ViewList.Turned) -> None:
        event.stop()

    # --- keys ----------------------------------------------------------------------------------------------------

    def action_view(self, index: int) -> None:
        """Show another list."""
        self.query_one(ViewList).bar.choose(index)

    def action_step(self, by: int) -> None:
        """Show the next list, or the previous one."""
        self.query_one(ViewList).bar.step(by)

    def action_leave(self) -> None:
        """Back."""
        self.dismiss(None)
