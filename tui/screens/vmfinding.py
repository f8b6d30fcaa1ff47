"""One finding about VMs: what is wrong, what to do, and the VMs that it is about."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.widgets import Static

from engine.vms.findings import VmFinding
from tui.screens.vmways import VM_FINDINGS, VmWays
from tui.text import Line, content, field, plural
from tui.vmwords import KINDS, WARNING, Held, Seen, spot
from tui.widgets.fields import Fields
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.rows import RowList
from tui.widgets.vmrows import MachineRows


class FindingScreen(VmWays):
    """The screen behind enter on a finding that is about no VM, or about several."""

    BINDINGS = [Binding("escape,q", "leave", show=False), Binding("h", "history", show=False)]
    KEYS = (("enter", "everything about the VM"), ("h", "all versions of the path, where points have it"),
            ("esc, q", "back"))

    def __init__(self, seen: Seen, finding: VmFinding, held: Held | None = None) -> None:
        super().__init__()
        self.seen, self.held = seen, held
        self._seen, self._finding = seen, finding
        self._machines = seen.machines(finding)

    def compose(self) -> ComposeResult:
        """Header, the finding, its VMs, keys."""
        yield self.header()
        yield Static(content(("Finding ", "head"), (KINDS.get(self._finding.kind, self._finding.kind), "strong"),
                             (f"  about {plural(len(self._machines), 'VM')}" if self._machines else "", "dim")),
                     markup=False, id="subject")
        yield Fields(self._lines(), id="finding")
        yield RowList(id="machines")
        hints = [Hint("enter", "The VM")] if self._machines else []
        path = [Hint("h", "Versions of the path", "screen.history", 2)] if self._finding.path else []
        yield KeyBar([*hints, *path, Hint("esc", "Back", "screen.leave"), Hint("?", "Help", "app.help")], id="keys")

    def _lines(self) -> list[Line]:
        finding = self._finding
        bad = finding.level == WARNING
        rows: list[Line] = [field("Look into" if bad else "Note", (finding.text, "warn" if bad else ""))]
        if finding.hint:
            rows.append(field("What to do" if bad else "", finding.hint))
        if finding.path:
            rows.append(field("Path", spot(finding.path)))
        return rows

    def on_mount(self) -> None:
        """List the VMs."""
        super().on_mount()
        rows = self.query_one("#machines", RowList)
        rows.show(MachineRows(self._seen, self.held, (), (), only=self._machines))
        rows.focus()

    @on(RowList.Chosen, "#machines")
    def _chosen(self, event: RowList.Chosen) -> None:
        event.stop()
        source = event.rows.source
        node = source.node(event.index) if isinstance(source, MachineRows) else None
        if node is not None and node.machine is not None:
            self.open_vm(node.machine, VM_FINDINGS, finding=self._finding)

    def why_not(self, action: str) -> str:
        """Why an action makes no sense now."""
        return "The finding names no path." if action == "history" and not self._finding.path else ""

    def action_history(self) -> None:
        """The versions of the path that it is about."""
        if self._finding.path:
            self.open_history(self._finding.path, None)

    def action_leave(self) -> None:
        """Back."""
        self.dismiss(None)
