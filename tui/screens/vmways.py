"""The ways between the screens about VMs: from a VM to its findings and back, to its script, to the versions of a
part."""

from __future__ import annotations

from engine.points import RestorePoint
from engine.vms.findings import VmFinding
from engine.vms.inventory import Machine
from tui.screens.entryactions import EntryActions
from tui.vmwords import Held, Seen

VM_FACTS, VM_DISKS, VM_HELD, VM_FINDINGS, VM_HISTORY = "Facts", "Disks", "Coverage", "Findings", "History"
"""The lists of the screen about one VM."""


class VmWays(EntryActions):
    """A screen that knows an inventory (`seen`) and, where they were asked, what points hold of it (`held`)."""

    seen: Seen | None = None
    held: Held | None = None

    def open_vm(self, machine: Machine, view: str = VM_FACTS, *, disk: int | None = None,
                finding: VmFinding | None = None) -> None:
        """Show everything about a VM: one of its lists, with the cursor on a disk or a finding."""
        from tui.screens.vm import VmScreen

        if self.seen is not None:
            self.app.push_screen(VmScreen(self.seen, machine, self.held, VM_DISKS if disk is not None else view,
                                          disk=disk, finding=finding))

    def open_host(self, point: RestorePoint | None) -> None:
        """Show the Manager's own backups and what makes the file systems anew, now or as a point has it."""
        from tui.screens.vmhost import VmHostScreen

        self.app.push_screen(VmHostScreen(point))

    def open_finding(self, finding: VmFinding) -> None:
        """Show all of a finding and the VMs that it is about."""
        from tui.screens.vmfinding import FindingScreen

        if self.seen is not None:
            self.app.push_screen(FindingScreen(self.seen, finding, self.held))

    def done(self, result: object) -> None:
        """Something was brought back or taken: what this screen and those below it show is old."""
        if result:
            self.rollpoint.restored += 1
            self.on_screen_resume()
