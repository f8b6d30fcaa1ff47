"""Taking a point of VMs: an inventory of all of them, or a copy of one VM's disks; and deleting an inventory."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.content import Content
from textual.widgets import Input, Static

from engine.events import Job
from engine.points import RestorePoint
from engine.results import SnapshotRequest
from engine.vms.inventory import Machine
from tui.screens.delete import DeleteScreen
from tui.screens.job import JobDialog
from tui.text import Line, content, field, plural, size, stamp
from tui.vmwords import called, titled
from tui.widgets.checkline import CheckLine
from tui.widgets.fields import Fields
from tui.widgets.keybar import Hint
from tui.widgets.lineinput import LineInput


class TakeVmPointScreen(JobDialog[RestorePoint]):
    """A comment, a pin, what will be taken. Dismissed with the point."""

    FORM_HINTS = (Hint("enter", "Take it", "screen.enter"), Hint("tab", "Next field"),
                  Hint("space", "Switch", weight=2))
    CANCELLED = "Stopped. No point was taken."
    KEYS = (("enter", "take the point"), ("tab", "go to the next field"), ("space", "switch the pin"),
            ("c or esc", "while it is being taken: stop, nothing is kept"))

    def __init__(self) -> None:
        super().__init__()
        self.request = SnapshotRequest()

    def explain(self) -> list[Line]:
        """Return in words what will be taken."""
        raise NotImplementedError

    def form(self) -> ComposeResult:
        """What it is, comment, pin."""
        yield Fields(self.explain())
        yield Static("Comment: why, in a few words; it may be empty", markup=False)
        yield LineInput(placeholder="before ...", id="comment")
        yield CheckLine("Pin it: no rule ever removes it", id="pin")

    def begin_form(self) -> None:
        """The comment first."""
        self.query_one("#comment").focus()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.start()

    def prepare(self) -> bool:
        """Read the form."""
        self.request = SnapshotRequest(self.query_one("#comment", LineInput).value.strip(), (),
                                       self.query_one("#pin", CheckLine).value, "manual")
        return True

    def describe(self, result: RestorePoint) -> list[Line]:
        """Which point, and what it takes."""
        said = called(result)
        rows: list[Line] = [content((f"{said[0].upper()}{said[1:]} was taken", "good"), "."), Content(""),
                            field("Time", stamp(result.created)), field("Id", result.id)]
        return [*rows, field("Own size", size(result.own_bytes))] if result.own_bytes is not None else rows


class TakeInventoryScreen(TakeVmPointScreen):
    """Takes an inventory point."""

    HEADING = "Take an inventory point"
    WORKING = "an inventory of the VMs is being taken"

    def explain(self) -> list[Line]:
        """What an inventory holds."""
        return [content("Every vm.cfg and the facts of all disks (names, sizes, what is there) are kept; not what is "
                        "on the disks. It is small and takes moments."), Content("")]

    def run_job(self, job: Job) -> RestorePoint:
        """Take it."""
        return self.rollpoint.engine.vm_take(self.request, job)


class DeleteInventoryScreen(DeleteScreen):
    """Deletes one inventory point, after `yes`."""

    HEADING = "Delete an inventory point"
    KEYS = (("yes, enter", "delete the point"), ("esc", "leave without deleting it"))

    def told(self) -> list[Line]:
        """Which point; that nothing of a VM is touched."""
        point = self.point
        rows: list[Line] = [content(*titled(point, self.rollpoint.now())),
                            field("Comment", point.comment or "none"), field("Own size", size(point.own_bytes))]
        if point.pinned:
            rows.append(content(("It is pinned: the retention rules would keep it.", "warn")))
        return [*rows, content("No VM and no disk is touched. The other inventory points stay whole.")]


class TakeDisksScreen(TakeVmPointScreen):
    """Takes a point of one VM's disks."""

    HEADING = "Take a point of a VM's disks"
    WORKING = "disks of a VM are being copied"
    CANCELLED = "Stopped. No point was taken, and no copy is left."

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self._machine = machine

    def explain(self) -> list[Line]:
        """Which disks, and that a running VM may forbid it."""
        disks = [disk for disk in self._machine.disks if not disk.spec.cdrom]
        return [field("VM", (self._machine.name, "strong")),
                field("Disks", plural(len(disks), "disk"), f", {size(self._machine.allocated)} on the disk"),
                content(("A copy of all of one moment, made by the file system where it can. Where that needs the VM "
                         "to be stopped, and it may be running, it is refused.", "dim")), Content("")]

    def run_job(self, job: Job) -> RestorePoint:
        """Take it."""
        return self.rollpoint.engine.vm_take_disks(self._machine, self.request, job)
