"""What the words of `vms` share: texts of amounts and places, what restore points hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from engine.errors import RollpointError

if TYPE_CHECKING:
    from engine.vms.coverage import Part, Share
    from engine.vms.findings import VmFinding
    from engine.vms.inventory import Inventory, Machine
    from tui.commands._context import Context


def say(context: Context, lines: Iterable[str]) -> None:
    """Write lines of the answer, without secrets."""
    from engine.vms.secrets import hidden

    for line in lines:
        context.out.data(hidden(line))


def count(number: int, one: str, many: str = "") -> str:
    """Return a number of things: ``1 disk``, ``2 disks``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def amount(number: int | None, unit: str = "") -> str:
    """Return an amount, or a dash for none."""
    return "-" if number is None else f"{number}{unit}"


def place(inventory: Inventory, machine: Machine) -> str:
    """Return what people call the repository of a VM."""
    from engine.text import printable, shown_path

    found = next((r for r in inventory.repositories if r.path == machine.repository), None)
    return (printable(found.alias) if found is not None else "") or shown_path(machine.repository)


def summary(inventory: Inventory) -> str:
    """Return how much there is, in a sentence without its full stop."""
    if not inventory.repositories:
        return "No repository of VMs is at the usual places: name one with --repository, or under vms.repositories"
    templates = sum(machine.template for machine in inventory.machines)
    disks = sum(not disk.spec.cdrom for machine in inventory.machines for disk in machine.disks)
    return (f"{count(len(inventory.machines) - templates, 'VM')} and {count(templates, 'template')} with "
            f"{count(disks, 'disk')} in {count(len(inventory.repositories), 'repository', 'repositories')}")


def gaps(inventory: Inventory) -> list[VmFinding]:
    """Return what keeps an inventory from being whole."""
    from engine.vms.findings import UNLISTED, UNREADABLE, check

    return [finding for finding in check(inventory) if finding.kind in (UNREADABLE, UNLISTED)]


def held_by_points(context: Context, inventory: Inventory) -> Mapping[bytes, list[Part]] | None:
    """Return what of each VM restore points hold, by its configuration's path; None where there is nothing to ask. A
    backend that cannot be asked is a warning."""
    try:
        found = context.engine.vms_held(inventory)
    except RollpointError as error:
        context.warn(f"what restore points hold of the VMs cannot be said: {error.message}")
        return None
    for trouble in found.troubles if found is not None else ():
        context.warn(f"not all restore points could be asked: {trouble}")
    return None if found is None else found.parts


def held_lines(found: list[Part] | None) -> Iterator[str]:
    """Yield the lines about what restore points hold of one VM."""
    from tui.commands._vms_json import safe

    if found is None:
        yield "Held        nothing: there are no restore points here"
        return
    yield f"Held        {share(found)} parts are in restore points"
    for part in found:
        if not part.held:
            yield f"  {safe(part.what)}: NOT HELD: {part.why}"
            continue
        first, several = part.shares[0], len(part.shares) > 1
        whose = "" if several or first.backend == "replica" else f" of {first.backend}"
        yield f"  {safe(part.what)}: {_held(first, part.points, whose)}"
        if several:
            yield from (f"    {one.backend}: {_held(one, one.points)}" for one in part.shares)


def _held(one: Share, points: int, whose: str = "") -> str:
    """How many points hold something, and what the newest has: it as it is now, as it was, or what it lies on."""
    how = "as it is now" if one.same else "as it was then"
    if one.same is None:
        how = "with the whole disk" if one.what == "volume" else "with the file system that it lies on"
    return f"{count(points, 'point')}{whose}, the newest {one.newest}, {how}"


def share(found: list[Part]) -> str:
    """Return how many parts are held: ``2 of 3``."""
    return f"{sum(part.held for part in found)} of {len(found)}"
