"""Everything about one VM or template: what its vm.cfg says, its disks, what points hold of it, what is wrong with it,
and how it was before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Static

from engine.errors import RollpointError
from engine.events import Job
from engine.points import RestorePoint
from engine.vmpoints.plans import VmVersion
from engine.vms.coverage import Part
from engine.vms.findings import VmFinding
from engine.vms.inventory import Machine
from engine.vms.running import RUNNING, RunState
from engine.vms.secrets import masked
from tui.screens.bytes import Pair, PairScreen, sided
from tui.screens.vmways import VM_DISKS, VM_FACTS, VM_FINDINGS, VM_HELD, VM_HISTORY, VmWays
from tui.text import Segment, content, safe
from tui.vmwords import (
    Held,
    Seen,
    asked,
    called,
    fact_lines,
    kind_word,
    look_through,
    place,
    plain,
    spec_of,
    spot,
    titled,
    versions_from,
)
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.rows import RowList, RowSource
from tui.widgets.viewlist import Findings, ViewList
from tui.widgets.vmrows import CoverageRows, DiskRows, FindingRows, VersionRows


class VmScreen(VmWays):
    """The screen behind enter on a VM."""

    BINDINGS = [
        Binding("escape,q", "leave", show=False), Binding("u,f5", "reload", show=False),
        *(Binding(str(n + 1), f"view({n})", show=False) for n in range(5)),
        Binding("right,l", "turn_view(1)", show=False), Binding("left,h", "turn_view(-1)", show=False),
        Binding("f", "file", show=False), Binding("m", "script", show=False), Binding("d", "difference", show=False),
        Binding("c", "compare", show=False), Binding("w", "bring_back", show=False),
        Binding("W", "bring_disks", show=False), Binding("s", "take", show=False)]
    KEYS = (("1 to 5, left right", "facts, disks, what points hold, findings, history"),
            ("enter", "versions of a disk or part; all of a finding; the VM as it was then"),
            ("f", "its vm.cfg, passwords hidden"), ("m", "the script that makes it anew, to look at and to save"),
            ("d", "history: what a version changed in the vm.cfg"), ("c", "history: a version against now"),
            ("w", "bring its vm.cfg back from a point"),
            ("W", "bring disks of it back from a point; in their list, this one"),
            ("s", "take a point of its disks"), ("u, F5", "look again"), ("esc, q", "back"))
    NOTES = ("Bringing back shows first what it would do, and asks for yes. It is refused while the VM runs; what is "
             "replaced is kept beside it.",)

    def __init__(self, seen: Seen, machine: Machine, held: Held | None = None, view: str = VM_FACTS, *,
                 disk: int | None = None, finding: VmFinding | None = None) -> None:
        super().__init__()
        self.seen, self.held = seen, held
        self._seen, self.machine = seen, machine
        self._first, self._disk, self._finding = view, disk, finding
        self._names = [VM_FACTS, VM_DISKS, *([VM_HELD] if seen.point is None else []), VM_FINDINGS, VM_HISTORY]
        self._state: RunState | None = None
        self._versions: list[VmVersion] | None = None
        self._why = ""          # why its history is not known
        self._job = Job()

    def compose(self) -> ComposeResult:
        """Header, which VM, lists, keys."""
        yield self.header()
        yield Static("", markup=False, id="subject")
        yield ViewList(id="vm-views")
        yield KeyBar(id="keys")

    def on_mount(self) -> None:
        """Show what is known, and ask for the rest."""
        super().on_mount()
        self._fill()
        views = self.query_one(ViewList)
        views.bar.choose(self._names.index(self._first) if self._first in self._names else 0)
        views.rows.focus()
        if self._disk is not None:
            self._start(VM_DISKS, self._disk)
        elif self._finding is not None:
            about = self._seen.about.get(self.machine.config, ())
            found = [at for at, number in enumerate(about) if self._seen.findings[number] is self._finding]
            self._start(VM_FINDINGS, found[0] if found else 0)
        self._ask()

    def _start(self, view: str, at: int) -> None:
        """Begin with the cursor on a row."""
        views = self.query_one(ViewList)
        views.show([(name, self._source(name)) for name in self._names], keep=True)
        if self.view == view:
            views.rows.cursor = at

    # --- asking --------------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        engine, machine, seen = self.rollpoint.engine, self.machine, self._seen
        self.ask("vm history", lambda: engine.vm_history(spec_of(machine)), self._past, self._no_past)
        if seen.point is not None:
            return
        self.ask("vm running", lambda: engine.vm_running(machine), self._told, self._not_told)
        if self.held is None:
            only = replace(seen.inventory, machines=(machine,))
            self.ask("vm held", lambda: asked(engine, only), self._known,
                     lambda error: self._known(Held(why=_said(error))))

    def _known(self, held: Held) -> None:
        self.held = held
        self._fill()

    def _told(self, state: RunState) -> None:
        self._state = state
        self._fill()

    def _not_told(self, error: BaseException) -> None:
        self._told(RunState("unknown", _said(error)))

    def _past(self, versions: list[VmVersion]) -> None:
        self._versions, self._why = versions, ""
        self._fill()

    def _no_past(self, error: BaseException) -> None:
        self._versions, self._why = None, _said(error)
        self._fill()

    def action_reload(self) -> None:
        """Look at everything again."""
        engine, point = self.rollpoint.engine, self._seen.point
        self._job.cancel()
        job = self._job = Job()
        self.ask("vms", lambda: look_through(engine.vms(job) if point is None else engine.vm_inventory(point), point),
                 self._looked)

    def on_unmount(self) -> None:
        """Nobody waits for it any more."""
        self._job.cancel()

    def _looked(self, seen: Seen) -> None:
        machine = seen.again(self.machine)
        if machine is None:
            self.dismiss(None)
            self.say(f"{self.machine.name} is no longer there.", "warn")
            return
        self.seen = self._seen = seen
        self.machine, self.held = machine, None
        self._fill()
        self._ask()

    # --- showing -------------------------------------------------------------------------------------------------

    @property
    def view(self) -> str:
        """The name of the list that is shown."""
        return self._names[min(self.query_one(ViewList).bar.current, len(self._names) - 1)]

    def _fill(self) -> None:
        self.query_one(ViewList).show([(name, self._source(name)) for name in self._names], keep=True)
        machine, running, warnings = self.machine, self._state, self._seen.warnings(self.machine)
        parts: list[Segment] = [(f"{kind_word(machine).capitalize() if machine.template else 'VM'} ", "head"),
                                (machine.name, "strong")]
        if self._seen.point is not None:
            parts += [("  as in ", "dim"), *titled(self._seen.point, self.rollpoint.now())]
        elif running is not None and not machine.template:
            known = running.state == RUNNING or running.stopped
            parts.append((f"  {running.state}" if known else f"  running or not is unknown: {running.why}",
                          "good" if running.state == RUNNING else "" if known else "warn"))
        if warnings:
            parts.append((f"  {warnings} to look into", "bad"))
        if self.held is not None and self.held.troubles:
            parts.append((f"  not all points could be asked: {plain('; '.join(self.held.troubles))}", "warn"))
        self.query_one("#subject", Static).update(content(*parts))
        self._hint()

    def _source(self, name: str) -> RowSource:
        machine, seen = self.machine, self._seen
        if name == VM_FACTS:
            where = next((place(r) for r in seen.inventory.repositories if r.path == machine.repository), "")
            return Findings(fact_lines(machine, where))
        if name == VM_DISKS:
            return DiskRows(machine) if machine.disks else Findings([("It has no disks.", "dim")], 0)
        if name == VM_FINDINGS:
            findings = [seen.findings[at] for at in seen.about.get(machine.config, ())]
            return FindingRows(seen, findings) if findings else Findings([("Nothing to look into.", "good")], 0)
        return self._held_rows() if name == VM_HELD else self._version_rows()

    def _held_rows(self) -> RowSource:
        held = self.held
        if held is None:
            return Findings([("Asking what restore points hold ...", "dim")])
        if held.why:
            return Findings([(f"What points hold is not known: {held.why}", "warn")])
        return CoverageRows(self._seen, held, self.rollpoint.now().timestamp(), machines=[self.machine])

    def _version_rows(self) -> RowSource:
        if self._versions:
            return VersionRows(self._versions, self.rollpoint.now())
        if self._why:
            return Findings([(f"Its history is not known: {self._why}", "warn")])
        return Findings([("Asking the inventory points ...", "dim")] if self._versions is None else
                        [("No inventory point has it yet.", "dim")], None if self._versions is None else 0)

    def _hint(self) -> None:
        own = {VM_FACTS: [], VM_DISKS: [Hint("enter", "Its versions")], VM_HELD: [Hint("enter", "Its versions")],
               VM_FINDINGS: [Hint("enter", "Open")],
               VM_HISTORY: [Hint("enter", "As it was"), Hint("d", "What changed", "screen.difference", 2),
                            Hint("c", "Compare with now", "screen.compare", 4)]}[self.view]
        writes = [] if self.rollpoint.read_only else [
            Hint("w", "Bring back", "screen.bring_back", 2), Hint("W", "Disks back", "screen.bring_disks", 4),
            Hint("s", "Take its disks", "screen.take", 6)]
        self.query_one("#keys", KeyBar).show([
            *own, Hint("f", "vm.cfg", "screen.file", 2), Hint("m", "Script", "screen.script", 3), *writes,
            Hint(f"1-{len(self._names)}", "Lists", weight=3), Hint("esc", "Back", "screen.leave", 0),
            Hint("?", "Help", "app.help", 0)])

    @on(ViewList.Turned)
    def _turned(self, event: ViewList.Turned) -> None:
        event.stop()
        self._hint()

    # --- keys ----------------------------------------------------------------------------------------------------

    def version(self) -> VmVersion | None:
        """The version under the cursor of the history."""
        rows = self.query_one(ViewList).rows
        source = rows.source
        return source.versions[rows.cursor] if isinstance(source, VersionRows) and rows.cursor < len(source) else None

    @on(RowList.Chosen, "#view-rows")
    def _chosen(self, event: RowList.Chosen) -> None:
        event.stop()
        source, at = event.rows.source, event.index
        if isinstance(source, FindingRows):
            self.open_finding(source.findings[at])
        elif isinstance(source, CoverageRows):
            self._open_part(source.rows[at][1])
        elif isinstance(source, DiskRows):
            self._open_disk(at)
        elif isinstance(source, VersionRows):
            self._open_version(source.versions[at])

    def _open_disk(self, at: int) -> None:
        disk = self.machine.disks[at]
        parts = self.held.parts.get(self.machine.config, ()) if self.held is not None else ()
        part = next((p for p in parts if disk.path and p.path == disk.path), None)
        if part is None:
            self.say("It is no part of the VM that points could hold." if parts else "That is not known.", "warn")
        else:
            self._open_part(part)

    def _open_part(self, part: Part | None) -> None:
        if part is not None and part.held:
            self.open_history(part.path, versions_from(part, self.held) if self.held is not None else None)
        elif part is not None:
            self.say(f"No point holds {plain(part.what)}: {part.why}.", "warn")

    def _open_version(self, version: VmVersion) -> None:
        if version.machine is None:
            self.say("It was not there then.", "warn")
            return
        engine, point, machine = self.rollpoint.engine, version.last, version.machine

        def opened(seen: Seen) -> None:
            found = seen.again(machine)
            if found is not None:
                self.app.push_screen(VmScreen(seen, found))

        self.ask("version", lambda: look_through(engine.vm_inventory(point), point), opened)

    def _show_file(self, title: str, names: tuple[str, str], old: Machine | None, new: Machine | None) -> None:
        def read() -> Pair:
            before, after = (sided(masked(one.document)) if one is not None else None for one in (old, new))
            return Pair(before, after, "Passwords are hidden." if _hides(old) or _hides(new) else "")

        self.app.push_screen(PairScreen(title, names, read))

    def action_file(self) -> None:
        """The vm.cfg: of the version under the cursor, or as it is."""
        version = self.version()
        machine = self.machine if version is None else version.machine
        if machine is None:
            self.say("It was not there then.", "warn")
            return
        name = "now" if version is None and self._seen.point is None else _numbered(
            self._seen.point if version is None else version.last)
        self._show_file(f"{spot(machine.config)}, {name}", (name, name), None, machine)

    def action_difference(self) -> None:
        """What the version under the cursor changed in the vm.cfg."""
        version, versions = self.version(), self._versions or []
        if version is None:
            self._choose_version()
            return
        at = versions.index(version) + 1
        before = versions[at] if at < len(versions) else None
        names = (_numbered(before.last) if before is not None else "before", _numbered(version.first))
        self._show_file(f"vm.cfg of {self.machine.name}", names, before.machine if before is not None else None,
                        version.machine)

    def action_compare(self) -> None:
        """The vm.cfg of the version under the cursor against the one of now."""
        version = self.version()
        if version is None:
            self._choose_version()
        else:
            then = _numbered(self._seen.point) if self._seen.point is not None else "now"
            self._show_file(f"vm.cfg of {self.machine.name}", (_numbered(version.last), then), version.machine,
                            self.machine)

    def _choose_version(self) -> None:
        """Go to the history, where a version can be chosen."""
        self.query_one(ViewList).bar.choose(self._names.index(VM_HISTORY))

    def action_script(self) -> None:
        """What makes it anew."""
        from tui.screens.vmscript import ScriptScreen

        self.app.push_screen(ScriptScreen(self.machine))

    def action_view(self, index: int) -> None:
        """Show another list."""
        self.query_one(ViewList).bar.choose(index)

    def action_turn_view(self, by: int) -> None:
        """Show the next or the previous list."""
        self.query_one(ViewList).bar.step(by)

    def action_leave(self) -> None:
        """Back."""
        self.dismiss(None)

    # --- bringing back -------------------------------------------------------------------------------------------

    def why_not(self, action: str) -> str:
        """Why an action makes no sense now."""
        if action in ("bring_back", "bring_disks", "take") and self.rollpoint.read_only:
            return "This is read-only: nothing can be changed from here."
        if action == "take" and self._seen.point is not None:
            return "This is how the VM was: take a point from how it is now."
        return ""

    def _do(self, action: str, work: Callable[[], None]) -> None:
        why = self.why_not(action)
        if why:
            self.say(why, "warn")
        else:
            work()

    def action_bring_back(self) -> None:
        """Bring the vm.cfg of the version under the cursor back, or that of the point this is."""
        version = self.version()
        point = version.last if version is not None else self._seen.point

        def ask() -> None:
            from tui.screens.vmback import ConfigBackScreen

            if version is not None and version.machine is None:
                self.say("It was not there then: choose another version.", "warn")
            elif point is None:
                self._choose_version()
            else:
                found = self.machine if version is None else version.machine
                self.app.push_screen(ConfigBackScreen(point, found or self.machine), self.done)

        self._do("bring_back", ask)

    def action_bring_disks(self) -> None:
        """Bring disks back, the one under the cursor in their list: from which point is asked first."""
        def ask() -> None:
            from tui.screens.vmdisks import DisksFromScreen

            rows = self.query_one(ViewList).rows
            at = rows.cursor if isinstance(rows.source, DiskRows) else None
            device = self.machine.disks[at].spec.vdev if at is not None and at < len(self.machine.disks) else ""
            self.app.push_screen(DisksFromScreen(self.machine, device), self.done)

        self._do("bring_disks", ask)

    def action_take(self) -> None:
        """Take a point of the VM's disks."""
        def ask() -> None:
            from tui.screens.vmtake import TakeDisksScreen

            self.app.push_screen(TakeDisksScreen(self.machine), self.done)

        self._do("take", ask)


def _said(error: BaseException) -> str:
    return safe(error.message) if isinstance(error, RollpointError) else safe(error) or type(error).__name__


def _numbered(point: RestorePoint | None) -> str:
    return called(point) if point is not None else "now"


def _hides(machine: Machine | None) -> bool:
    return machine is not None and masked(machine.document) != machine.document.source
