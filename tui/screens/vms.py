"""The VMs of a Xen or Oracle VM server: repositories with every VM and template, what restore points hold of them, what
is wrong, and the inventory points."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.content import Content
from textual.widgets import Input, Static

from engine.errors import CancelledError, RollpointError
from engine.points import RestorePoint
from engine.vms.findings import VmFinding
from tui.jobs import LongJob
from tui.screens.base import FILTER
from tui.screens.vmways import VM_FINDINGS, VM_HELD, VmWays
from tui.text import Line, Segment, content, error_lines, plural
from tui.vmwords import Held, Seen, asked, look_through, plain, summary, titled, versions_from
from tui.widgets.fields import Fields
from tui.widgets.filterline import FilterLine
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.progress import ProgressPanel
from tui.widgets.rows import RowList, RowSource
from tui.widgets.statusline import Banner
from tui.widgets.viewlist import Findings, ViewList
from tui.widgets.vmrows import CoverageRows, FindingRows, MachineRows, Node, VmPointRows

TREE, COVERAGE, FINDINGS, POINTS = "VMs", "Coverage", "Findings", "Points"
_LIVE, _THEN = (TREE, COVERAGE, FINDINGS, POINTS), (TREE, FINDINGS)


class VmsScreen(VmWays):
    """The place behind `V`; with `point`, what an inventory point holds."""

    BINDINGS = [
        Binding("escape", "leave", show=False), Binding("q", "close", show=False),
        Binding("u,f5", "reload", show=False),
        *(Binding(str(n + 1), f"view({n})", show=False) for n in range(len(_LIVE))),
        Binding("right,l", "open(True)", show=False), Binding("left,h", "open(False)", show=False),
        Binding("space", "fold", show=False), Binding("asterisk", "all", show=False),
        Binding("n", "gaps", show=False), Binding("s", "take", show=False), Binding("d", "changes", show=False),
        Binding("m", "mark", show=False), Binding("R", "settle", show=False),
        Binding("x", "delete", show=False), Binding("M", "host", show=False), FILTER]
    KEYS = (("1 to 4", "the VMs, what points hold of them, findings, inventory points"),
            ("enter", "everything about a VM; all of a finding; the VMs as a point has them; the versions of a part"),
            ("right left, space", "open, close; left again goes to what is above"),
            ("*", "show all disks, or none"), ("n", "coverage: only what no point holds, or everything"),
            ("s", "take an inventory point"), ("d", "points: what became of the VMs since, or between two"),
            ("m", "points: mark one to compare the next one with"),
            ("x", "points: delete this inventory point"),
            ("/", "filter as you type: words of name, uuid, repository, disk, network"),
            ("M", "the Manager's own backups; what makes the file systems of repositories and pools anew"),
            ("R", "finish or undo bringing disks back that was killed"),
            ("u, F5", "look again"),
            ("esc", "stop looking; clear the filter; back"), ("q", "back to the points"))
    NOTES = ("Held: parts of a VM (its vm.cfg and each disk) that some restore point has, of how many there are.",
             "! is how many findings about it are to be looked into. A disk that is copied while its VM runs is there, "
             "but not consistent.",
             "Nothing is run, mounted or changed by looking. Passwords of a vm.cfg are never shown.")

    def __init__(self, point: RestorePoint | None = None) -> None:
        super().__init__()
        self._point = point
        self._names = _LIVE if point is None else _THEN
        self._points: list[RestorePoint] | None = None
        self._marked = ""
        self._folded: set[bytes] = set()
        self._opened: set[bytes] = set()
        self._gaps = self._busy = False
        self._half_done = ""        # disks that were being brought back when a Rollpoint was killed
        self._work = LongJob()

    def compose(self) -> ComposeResult:
        """Header, what this is about, words or progress or lists, the filter, keys."""
        yield self.header()
        yield Static("", markup=False, id="subject")
        yield Banner(id="banner")
        yield Fields(id="empty")
        yield ProgressPanel(id="work")
        yield ViewList(id="vm-views")
        yield FilterLine("words in name, uuid, repository, disk, network", "#view-rows")
        yield KeyBar(id="keys")

    def on_mount(self) -> None:
        """Look at once."""
        super().on_mount()
        self.action_reload()

    def on_unmount(self) -> None:
        """Nobody waits for it any more."""
        self._work.job.cancel()

    # --- looking -------------------------------------------------------------------------------------------------

    def _present(self, shown: str) -> None:
        for name in ("empty", "work", "vm-views"):
            self.query_one(f"#{name}").display = name == shown
        if shown == "vm-views" and self.focused is not self.query_one(FilterLine):
            self.query_one(ViewList).rows.focus()
        self._say()

    def action_reload(self) -> None:
        """Look at everything again, unless that is being done."""
        if self._busy:
            return
        self._busy = True
        work = self._work = LongJob()
        engine, point = self.rollpoint.engine, self._point
        self.query_one(ProgressPanel).follow(work)
        self._present("work")

        def look() -> Seen:
            return look_through(engine.vms(work.job) if point is None else engine.vm_inventory(point), point)

        self.ask("vms", look, self._looked, self._failed)
        if point is None:
            self.ask("vm points", lambda: (engine.vm_points(), engine.vm_interrupted()), self._listed, self._not_listed)

    def _failed(self, error: BaseException) -> None:
        self._busy = False
        stopped = isinstance(error, CancelledError)
        if self.seen is not None:
            self._present("vm-views")
            if not stopped:
                self.rollpoint.report(error)
            return
        rows: list[Line] = [content(("Stopped.", "warn"))] if stopped else error_lines(error)
        self.query_one("#empty", Fields).show([*rows, Content(""), content(("Press u to look again.", "dim"))])
        self._present("empty")

    def _looked(self, seen: Seen) -> None:
        self._busy = False
        self.seen = seen
        self._opened &= {machine.config for machine in seen.inventory.machines}
        if not seen.inventory.repositories and self._point is None:
            self.query_one("#empty", Fields).show([
                content("No repository of VMs is at the usual places of Oracle VM and Xen."), Content(""),
                content(("What to do: ", "strong"), "name one in the configuration under vms.repositories, then press "
                                                    "u.")])
            self._present("empty")
            return
        self._fill()
        self._present("vm-views")
        if self._point is None:
            engine = self.rollpoint.engine

            self.ask("vm held", lambda: asked(engine, seen.inventory), self._known, self._not_known)

    def _known(self, held: Held) -> None:
        self.held = held
        self._warn()
        self._fill()

    def _not_known(self, error: BaseException) -> None:
        self.held = Held(why=error.message if isinstance(error, RollpointError) else type(error).__name__)
        self._fill()

    def _listed(self, answer: tuple[list[RestorePoint], str]) -> None:
        points, self._half_done = answer
        self._warn()
        self._points = points
        if self._marked not in {point.id for point in points}:
            self._marked = ""
        self._fill()

    def _warn(self) -> None:
        """Say what is half done, and whose points could not be asked."""
        rows = [content((self._half_done, "bad"), ("   R: finish or undo it", "strong"))] if self._half_done else []
        rows += [content((f"Not all points could be asked: {plain(one)}", "warn"))
                 for one in (self.held.troubles if self.held is not None else ())]
        self.query_one(Banner).show(rows)

    def _not_listed(self, error: BaseException) -> None:
        self._points = None
        if not isinstance(error, RollpointError):
            self.rollpoint.report(error)

    # --- showing -------------------------------------------------------------------------------------------------

    def _fill(self, at: Node | None = None) -> None:
        """Show everything anew; with `at` the cursor of the tree goes to that row."""
        seen = self.seen
        if seen is None:
            return
        words = self.query_one(FilterLine).words
        sources = {TREE: MachineRows(seen, self.held, self._folded, self._opened, words),
                   FINDINGS: self._findings(seen, words)}
        if self._point is None:
            sources |= {COVERAGE: self._coverage(seen, words), POINTS: self._inventories()}
        views = self.query_one(ViewList)
        views.show([(name, sources[name]) for name in self._names], keep=True)
        tree = sources[TREE]
        if at is not None and isinstance(tree, MachineRows) and self.view == TREE:
            views.rows.cursor = tree.index_of(at)
        self._say()

    @staticmethod
    def _findings(seen: Seen, words: Sequence[str]) -> RowSource:
        if seen.findings:
            return FindingRows(seen, seen.findings, words)
        return Findings([("Nothing to look into.", "good")], 0)

    def _coverage(self, seen: Seen, words: Sequence[str]) -> RowSource:
        held = self.held
        if held is None or held.why:
            asking: Segment = ("Asking what restore points hold ...", "dim")
            return Findings([asking if held is None else (f"What points hold is not known: {held.why}", "warn")])
        rows = CoverageRows(seen, held, self.rollpoint.now().timestamp(), words, gaps=self._gaps)
        if self._gaps and not rows.missing:
            return Findings([("Points hold every part of every VM.", "good")])
        return rows

    def _inventories(self) -> RowSource:
        if self._points:
            return VmPointRows(self._points, self.rollpoint.now(), marked=self._marked)
        said = "There is no inventory point yet: s takes one." if self._points is not None else "None are known."
        return Findings([(said, "dim")], 0)

    @property
    def view(self) -> str:
        """The name of the list that is shown."""
        return self._names[min(self.query_one(ViewList).bar.current, len(self._names) - 1)]

    def _say(self) -> None:
        """What is shown, and the keys."""
        parts: list[Segment] = [("VMs ", "head")]
        if self._point is not None:
            parts = [("VMs in ", "head"), *titled(self._point, self.rollpoint.now())]
        if self.seen is not None:
            parts.append((f"  {summary(self.seen.inventory)}", ""))
            missing = sum(not part.held for found in self.held.parts.values() for part in found) if self.held else 0
            if missing:
                parts.append((f"   {plural(missing, 'part')} in no point", "warn"))
            if not self.seen.inventory.complete:
                parts.append(("   NOT ALL COULD BE READ", "bad"))
        self.query_one("#subject", Static).update(content(*parts))
        self.query_one("#keys", KeyBar).show(self._hints())

    def _hints(self) -> list[Hint]:
        ends = [Hint("esc", "Stop" if self._busy else "Back", "screen.leave"), Hint("?", "Help", "app.help")]
        if self._busy or self.seen is None or self.query_one("#empty").display:
            return ends
        first = {TREE: [Hint("enter", "Open"), Hint("right left", "Disks", weight=3)],
                 COVERAGE: [Hint("enter", "Its versions"),
                            Hint("n", "All" if self._gaps else "Only what no point holds", "screen.gaps")],
                 FINDINGS: [Hint("enter", "Open")],
                 POINTS: [Hint("enter", "The VMs then"), Hint("d", "Changes", "screen.changes"),
                          Hint("m", "Mark", "screen.mark", 3),
                          *([] if self.rollpoint.read_only else [Hint("x", "Delete", "screen.delete", 4)])]}[self.view]
        take = [] if self.rollpoint.read_only or self._point is not None else [
            Hint("s", "Take an inventory", "screen.take", 3)]
        return [*first, *take, Hint("M", "Manager" if self._point is None else "Recipes", "screen.host", 4),
                Hint(f"1-{len(self._names)}", "Lists", weight=2),
                Hint("/", "Filter", "screen.filter", 4), Hint("u", "Look again", "screen.reload", 5), *ends,
                Hint(":", "More", "app.palette", 4)]

    @on(ViewList.Turned)
    def _turned(self, event: ViewList.Turned) -> None:
        event.stop()
        self._say()

    @on(Input.Changed, "#filter")
    def _typed(self) -> None:
        self._fill()

    # --- the tree ------------------------------------------------------------------------------------------------

    def _node(self) -> Node | None:
        """The row of the tree under the cursor, None in other lists."""
        rows = self.query_one(ViewList).rows
        return rows.source.node(rows.cursor) if isinstance(rows.source, MachineRows) else None

    def action_open(self, wanted: bool) -> None:
        """Open what is under the cursor; or close it, or go to what is above."""
        node = self._node()
        if node is None:
            return
        if self._is_open(node) == wanted or node.disk is not None:
            if not wanted and node.disk is not None:
                self._go(Node(node.repository, node.machine))
            elif not wanted and node.machine is not None:
                self._go(Node(node.repository))
            return
        self._turn(node)

    def _go(self, node: Node) -> None:
        rows = self.query_one(ViewList).rows
        if isinstance(rows.source, MachineRows):
            rows.cursor = rows.source.index_of(node)

    def _is_open(self, node: Node) -> bool:
        if node.machine is not None:
            return node.machine.config in self._opened
        return node.repository.path not in self._folded

    def _turn(self, node: Node) -> None:
        """Close what is open, open what is closed."""
        if node.machine is not None:
            self._opened ^= {node.machine.config}
        else:
            self._folded ^= {node.repository.path}
        self._fill(node)

    def action_fold(self) -> None:
        """Close what is open, open what is closed; from a disk, its VM."""
        node = self._node()
        if node is not None:
            self._turn(Node(node.repository, node.machine))

    def action_all(self) -> None:
        """Show the disks of all VMs, or of none."""
        node = self._node()
        if node is not None and self.seen is not None:
            self._opened = set() if self._opened else {m.config for m in self.seen.inventory.machines if m.disks}
            self._folded = set()
            self._fill(node)

    # --- keys ----------------------------------------------------------------------------------------------------

    @on(RowList.Chosen, "#view-rows")
    def _chosen(self, event: RowList.Chosen) -> None:
        event.stop()
        source, at = event.rows.source, event.index
        if isinstance(source, MachineRows):
            node = source.nodes[at]
            if node.machine is None:
                self._turn(node)
            else:
                self.open_vm(node.machine, disk=node.disk)
        elif isinstance(source, CoverageRows):
            machine, part = source.rows[at]
            if part is not None and part.held:
                self.open_history(part.path, versions_from(part, self.held) if self.held else None)
            else:
                self.open_vm(machine, VM_HELD)
        elif isinstance(source, FindingRows):
            self._open_finding(source.findings[at])
        elif isinstance(source, VmPointRows) and (point := source.point(at)) is not None:
            self.app.push_screen(VmsScreen(point))

    def _open_finding(self, finding: VmFinding) -> None:
        """The VM that a finding is about; the finding itself where it is about none or several."""
        machines = self.seen.machines(finding) if self.seen is not None else []
        if len(machines) == 1:
            self.open_vm(machines[0], VM_FINDINGS, finding=finding)
        else:
            self.open_finding(finding)

    def action_gaps(self) -> None:
        """Only what no point holds, or everything."""
        if self.view == COVERAGE:
            self._gaps = not self._gaps
            self._fill()

    def inventory_point(self) -> RestorePoint | None:
        """The inventory point under the cursor, None in other lists."""
        rows = self.query_one(ViewList).rows
        return rows.source.point(rows.cursor) if isinstance(rows.source, VmPointRows) else None

    def action_mark(self) -> None:
        """Mark an inventory point, or take its mark away."""
        point = self.inventory_point()
        if point is not None:
            self._marked = "" if self._marked == point.id else point.id
            self._fill()

    def action_changes(self) -> None:
        """What became of the VMs since this point, or between it and the marked one."""
        from tui.screens.vmchanges import VmChangesScreen

        point = self.inventory_point()
        if point is None:
            return
        marked = next((p for p in self._points or () if p.id == self._marked and p.id != point.id), None)
        older, newer = (point, None) if marked is None else sorted((marked, point), key=lambda p: p.created)
        self.app.push_screen(VmChangesScreen(older, newer))

    def action_take(self) -> None:
        """Take an inventory point."""
        from tui.screens.vmtake import TakeInventoryScreen

        why = self.why_not("take")
        if why:
            self.say(why, "warn")
        else:
            self.app.push_screen(TakeInventoryScreen(), self.done)

    def action_delete(self) -> None:
        """Delete the inventory point under the cursor."""
        from tui.screens.vmtake import DeleteInventoryScreen

        point, why = self.inventory_point(), self.why_not("delete")
        if why or point is None:
            self.say(why, "warn")
        else:
            self.app.push_screen(DeleteInventoryScreen(point, len(self._points or ()) - 1), self.done)

    def action_host(self) -> None:
        """The Manager's own backups, and file systems."""
        self.open_host(self._point)

    def action_settle(self) -> None:
        """Finish or undo what a killed Rollpoint has left."""
        from tui.screens.vmsettle import SettleScreen

        why = self.why_not("settle")
        if why:
            self.say(why, "warn")
        else:
            self.app.push_screen(SettleScreen(self._half_done), self.done)

    def why_not(self, action: str) -> str:
        """Why an action makes no sense now."""
        if action == "settle" and not self._half_done:
            return "No disks were left half brought back."
        if action in ("take", "settle", "delete") and self.rollpoint.read_only:
            return "This is read-only: nothing can be changed from here."
        if action == "take" and self._point is not None:
            return "This is what a point holds: take one from the VMs as they are now."
        if action in ("mark", "changes", "delete") and self.inventory_point() is None:
            return "There is no inventory point under the cursor."
        if action == "gaps" and self.view != COVERAGE:
            return "That is for the list of what points hold."
        return "That is for the tree." if action in ("fold", "all") and self._node() is None else ""

    def action_view(self, index: int) -> None:
        """Show another list."""
        self.query_one(ViewList).bar.choose(index)

    def action_leave(self) -> None:
        """Stop looking; clear the filter; or go back."""
        if self._busy and not self._work.job.cancelled:
            self._work.job.cancel()
            self.query_one(ProgressPanel).note("Stopping, one moment ...")
        elif not self.query_one(FilterLine).clear_away():
            self.dismiss(None)

    def action_close(self) -> None:
        """Back."""
        self.dismiss(None)

