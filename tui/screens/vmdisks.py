"""From which point disks of a VM are brought back: its own disk points, the points of the store, and the snapshots that
the storage keeps of what they lie on."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import Static

from engine.points import RestorePoint
from engine.vmpoints.plans import DiskResult, Sources
from engine.vms.inventory import Machine
from tui.screens.base import BaseDialog
from tui.screens.vmback import DisksBackScreen
from tui.text import Line, content, error_lines
from tui.vmwords import plain
from tui.widgets.fields import Fields
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.rows import RowList
from tui.widgets.vmrows import VmPointRows


class DisksFromScreen(BaseDialog[bool | None]):
    """A list of points to choose from. Dismissed with True when something was brought back."""

    BINDINGS = [Binding("escape,q", "leave", show=False), Binding("space,x", "disk", show=False)]
    KEYS = (("enter", "look what bringing disks back from this point would do"),
            ("space, x", "only one disk: the next one; after the last, all again"), ("esc", "leave"))

    def __init__(self, machine: Machine, device: str = "") -> None:
        super().__init__()
        self.add_class("-big")
        self._machine = machine
        self._devices = [disk.spec.vdev for disk in machine.disks if disk.spec.vdev and not disk.spec.cdrom]
        self._device = device if device in self._devices else ""        # "": all
        self._points: list[RestorePoint] = []
        self._troubles: tuple[str, ...] = ()

    def compose(self) -> ComposeResult:
        """Which VM, which of its disks, the points."""
        with Vertical(id="dialog"):
            yield Static(content(("Bring disks back of ", "head"), (self._machine.name, "strong")), markup=False,
                         id="title")
            yield Fields([content(("Asking for the points ...", "dim"))], id="which")
            yield RowList(id="points")
            yield KeyBar(id="keys")

    def on_mount(self) -> None:
        """Ask for the points."""
        engine, machine = self.rollpoint.engine, self._machine
        self._keys()
        self.ask("vm disk points", lambda: engine.vm_disk_sources(machine), self._listed,
                 lambda error: self.query_one("#which", Fields).show(error_lines(error)))

    def _listed(self, answer: Sources) -> None:
        self._points, self._troubles = list(answer.points), answer.troubles
        rows = self.query_one("#points", RowList)
        rows.show(VmPointRows(self._points, self.rollpoint.now()))
        rows.focus()
        self._say()

    def _say(self) -> None:
        which = f"only {plain(self._device)}" if self._device else "all that belong to no other VM"
        rows: list[Line] = [content("Disks: ", (which, "strong"))]
        if not self._points:
            rows = [content(("There is no point that could hold disks of it.", "warn"))]
        rows += [content((f"Not all points could be asked: {plain(one)}", "warn")) for one in self._troubles]
        self.query_one("#which", Fields).show(rows)
        self._keys()

    def _keys(self) -> None:
        disk = [Hint("space", "Only one disk", "screen.disk")] if len(self._devices) > 1 else []
        look = [Hint("enter", "Look what it would do"), *disk] if self._points else []
        self.query_one("#keys", KeyBar).show([*look, Hint("esc", "Leave", "screen.leave")])

    def action_disk(self) -> None:
        """Only the next disk; after the last one, all."""
        choices = ["", *self._devices]
        self._device = choices[(choices.index(self._device) + 1) % len(choices)]
        self._say()

    @on(RowList.Chosen, "#points")
    def _chosen(self, event: RowList.Chosen) -> None:
        event.stop()
        source = event.rows.source
        point = source.point(event.index) if isinstance(source, VmPointRows) else None
        if point is not None:
            self.app.push_screen(DisksBackScreen(point, self._machine, [self._device] if self._device else ()),
                                 self._chose)

    def _chose(self, result: DiskResult | None) -> None:
        if result is not None:
            self.dismiss(True)

    def action_leave(self) -> None:
        """Leave."""
        self.dismiss(None)
