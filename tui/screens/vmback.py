"""Bringing back one vm.cfg from an inventory point, or disks of a VM from a point that holds them."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from engine.events import Job
from engine.points import RestorePoint
from engine.vmpoints.plans import ConfigPlan, ConfigResult, DiskPlan, DiskResult, DiskStep
from engine.vms.inventory import Machine
from tui.screens.planned import PlannedDialog
from tui.text import Line, content, field, plural, size
from tui.vmwords import plain, spec_of, spot, titled

_SHOWN = 40


class ConfigBackScreen(PlannedDialog[ConfigResult, ConfigPlan]):
    """Brings the vm.cfg of a VM back as `point` has it."""

    HEADING = "Bring a vm.cfg back"
    WORKING = "a vm.cfg is being brought back"
    QUESTION = "Bring it back?"
    CANCELLED = "Stopped. The vm.cfg is as it was."
    KEYS = (("yes, enter", "bring it back; the one that is there now is kept beside it"),
            ("space", "where nobody can tell: say that the VM does not run"),
            ("page up, down", "read on in what would be done"), ("esc", "leave without changing anything"))

    def __init__(self, point: RestorePoint, machine: Machine) -> None:
        super().__init__()
        self._point, self._machine = point, machine

    def make_plan(self, job: Job, *, stopped: bool) -> ConfigPlan:
        """What it would change."""
        return self.rollpoint.engine.vm_plan_config(self._point, spec_of(self._machine), job, stopped=stopped)

    def plan_rows(self, plan: ConfigPlan) -> list[Line]:
        """Where it goes, what is kept, what becomes of the VM."""
        rows: list[Line] = [content("From ", *titled(plan.point, self.rollpoint.now())),
                            field("VM", (plan.machine.name, "strong")), field("File", spot(plan.path))]
        if plan.aside:
            rows.append(field("Kept as", spot(plan.aside), ("  what is there now", "dim")))
        rows.append(self.running_row(plan.running))
        if plan.same:
            rows.append(field("Changes", ("none: the file is there as the point has it", "good")))
        rows += [field("Changes" if i == 0 else "", text) for i, text in enumerate(plan.changes[:_SHOWN])]
        if len(plan.changes) > _SHOWN:
            rows.append(field("", (f"and {plural(len(plan.changes) - _SHOWN, 'more change', 'more changes')}", "dim")))
        return rows

    def run_job(self, job: Job) -> ConfigResult:
        """Bring it back."""
        assert self.plan is not None
        return self.rollpoint.engine.vm_bring_back_config(self.plan, job)

    def describe(self, result: ConfigResult) -> list[Line]:
        """What came of it."""
        if not result.changed:
            return [content(("Nothing had to be changed", "good"), ": the vm.cfg is as the point has it.")]
        rows: list[Line] = [content(("The vm.cfg was brought back", "good"), "."), Content(""),
                            field("File", spot(result.path))]
        if result.aside:
            rows.append(field("Before", spot(result.aside), ("  what was there before", "dim")))
        return rows


class DisksBackScreen(PlannedDialog[DiskResult, DiskPlan]):
    """Brings disks of a VM back from a point: all that belong to no other VM, or those of `devices`."""

    HEADING = "Bring disks back"
    WORKING = "disks of a VM are being brought back"
    QUESTION = "Replace these disks?"
    CANCELLED = "Stopped. The disks are as they were."
    KEYS = (("yes, enter", "bring them back; the disks that are there now are moved aside first"),
            ("space", "where nobody can tell: say that the VM does not run"),
            ("page up, down", "read on in what would be done"), ("esc", "leave without changing anything"))

    def __init__(self, point: RestorePoint, machine: Machine, devices: Sequence[str] = ()) -> None:
        super().__init__()
        self._point, self._machine, self._devices = point, machine, tuple(devices)

    def make_plan(self, job: Job, *, stopped: bool) -> DiskPlan:
        """What it would replace."""
        return self.rollpoint.engine.vm_plan_disks(self._point, spec_of(self._machine), job, devices=self._devices,
                                                   stopped=stopped)

    def plan_rows(self, plan: DiskPlan) -> list[Line]:
        """Each disk, what stays, room."""
        rows: list[Line] = [content("From ", *titled(plan.point, self.rollpoint.now())),
                            field("Of", (plan.machine.name, "strong")), self.running_row(plan.running)]
        for step in plan.steps[:_SHOWN]:
            rows += _step_rows(step)
        if len(plan.steps) > _SHOWN:
            rows.append(field("", (f"and {plural(len(plan.steps) - _SHOWN, 'more disk', 'more disks')}", "dim")))
        rows += [field("Stays" if i == 0 else "", (text, "dim")) for i, text in enumerate(plan.left[:_SHOWN])]
        if plan.steps:
            look = "bad" if plan.needed > plan.free else ""
            rows.append(field("Room", (f"{size(plan.needed)} needed, {size(plan.free)} free", look)))
        return rows

    def run_job(self, job: Job) -> DiskResult:
        """Bring them back."""
        assert self.plan is not None
        return self.rollpoint.engine.vm_restore_disks(self.plan, job)

    def describe(self, result: DiskResult) -> list[Line]:
        """What came of it."""
        named = ", ".join(map(plain, result.devices))
        rows: list[Line] = [content((f"{plural(len(result.devices), 'disk')} brought back", "good"),
                                    f" in {result.seconds:.1f} s: {named}."), Content(""),
                            field("Size", size(result.bytes), ("  they are as the point has them", "dim"))]
        rows += [field("Before" if i == 0 else "", spot(path)) for i, path in enumerate(result.aside)]
        if result.aside:
            rows.append(field("", ("the disks that were there before: remove them when all is well", "dim")))
        return rows


def _step_rows(step: DiskStep) -> list[Line]:
    way = "shared with the point's copy" if step.way == "reflink" else f"at most {size(step.allocated)} copied"
    rows: list[Line] = [field(plain(step.device), (spot(step.path), "strong"),
                              (f"  {size(step.size)}, {way}", "dim"))]
    if step.aside:
        rows.append(field("", (f"the disk of now is kept as {spot(step.aside)}", "dim")))
    if step.users:
        rows.append(field("", (f"also a disk of {', '.join(map(plain, step.users))}", "bad")))
    return rows
