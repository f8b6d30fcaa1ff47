"""What became of one VM over the inventory points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from engine.errors import DamageError, UsageError
from engine.events import Job
from engine.points import RestorePoint
from engine.replica.layout import Store
from engine.text import message
from engine.vmpoints import inventories
from engine.vmpoints.plans import VmVersion
from engine.vms.changes import VmChange, compare
from engine.vms.inventory import Inventory, Machine, SeveralError
from engine.vms.machines import plain_id


@dataclass(slots=True)
class _Run:
    """Points in a row in which a VM is the same; `alone` is an inventory of it and nothing else."""

    first: RestorePoint
    last: RestorePoint
    alone: Inventory
    points: int
    changes: tuple[VmChange, ...]


def versions(store: Store, points: Sequence[RestorePoint], spec: str, job: Job) -> list[VmVersion]:
    """Return the versions of a VM over these points (newest first), newest first. A point that is damaged is left out,
    with a warning. Raises UsageError where none has the VM, or `spec` names several."""
    contents: dict[str, bytes] = {}
    wanted: Machine | None = None
    failed: UsageError | None = None
    seen: list[tuple[RestorePoint, Inventory]] = []
    for number, point in enumerate(points):
        job.progress("reading inventory points", number, len(points))
        try:
            inventory = inventories.load(store, point, contents)
        except DamageError as error:
            job.warn(message(f"left out: {error.message}"))
            continue
        if wanted is None:
            try:
                wanted = inventory.machine(spec)
            except SeveralError:
                raise
            except UsageError as error:
                failed = failed or error
        seen.append((point, _alone(inventory, wanted)))
    if wanted is None:
        raise failed or UsageError("there is no inventory point yet",
                                   hint="take one with `rollpoint snapshot --backend vms`")
    # In the points that were read before the VM was known it is not: they named none that fits.
    return _runs(seen)


def _runs(seen: Sequence[tuple[RestorePoint, Inventory]]) -> list[VmVersion]:
    runs: list[_Run] = []
    for point, alone in reversed(seen):
        if not runs and not alone.machines:
            continue        # before it was first there
        changes = tuple(compare(runs[-1].alone, alone)) if runs else ()
        if runs and not changes:
            runs[-1].last, runs[-1].alone, runs[-1].points = point, alone, runs[-1].points + 1
        else:
            runs.append(_Run(point, point, alone, 1, changes))
    newest = seen[0][0]
    return [VmVersion(run.alone.machines[0] if run.alone.machines else None, run.first, run.last, run.points,
                      run.changes, run.last is newest) for run in reversed(runs)]


def _alone(inventory: Inventory, wanted: Machine | None) -> Inventory:
    """The inventory with that VM alone: by its uuid where one has it, else by its place."""
    found: list[Machine] = []
    if wanted is not None:
        uuid = plain_id(wanted.facts.uuid)
        found = [m for m in inventory.machines if uuid and plain_id(m.facts.uuid) == uuid]
        if len(found) != 1:
            found = [m for m in inventory.machines if m.config == wanted.config]
    return replace(inventory, machines=tuple(found))
