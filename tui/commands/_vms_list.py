"""`vms list` and `vms check`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from tui.commands import Answer
from tui.commands._vms_words import amount, count, gaps, held_by_points, place, say, share, summary

if TYPE_CHECKING:
    from engine.vms.coverage import Part
    from engine.vms.inventory import Inventory
    from tui.commands._context import Context


def run_list(context: Context, inventory: Inventory, *, past: bool) -> Answer:
    """List the VMs and templates."""
    from tui.commands._vms_json import held_json, machine_json, path_json, repository_json, safe, without_secrets

    held = None if past else held_by_points(context, inventory)
    say(context, _list_lines(inventory, held))
    for finding in gaps(inventory):
        context.warn(finding.text)
    for path in inventory.skipped:
        context.out.debug(f"{path_json(path)['path']} is not about a VM")
    machines = [{**machine_json(m), "held": held_json(held[m.config] if held else None)} for m in inventory.machines]
    return Answer(without_secrets({
        "repositories": [repository_json(r) for r in inventory.repositories], "machines": machines,
        "unread": [{**path_json(u.config), "why": safe(u.why)} for u in inventory.unread],
        "skipped": [path_json(path)["path"] for path in inventory.skipped]}))


def _list_lines(inventory: Inventory, held: Mapping[bytes, list[Part]] | None) -> Iterator[str]:
    from engine.text import human_size
    from tui.commands._vms_json import safe
    from tui.output import table

    rows = []
    for machine in inventory.machines:
        facts = machine.facts
        rows.append([machine.name, "template" if machine.template else "VM", amount(facts.memory, " MiB"),
                     amount(facts.vcpus), safe(facts.kind), str(len(facts.nics)), str(len(facts.disks)),
                     human_size(machine.apparent), human_size(machine.allocated),
                     share(held[machine.config]) if held else "-", place(inventory, machine)])
    if rows:
        yield from table(["Name", "Kind", "Memory", "CPUs", "Type", "Nets", "Disks", "Size", "On disk", "Held",
                          "Repository"],
                         rows, right=(2, 3, 5, 6, 7, 8))
    yield summary(inventory) + "."


def run_check(context: Context, inventory: Inventory, *, past: bool) -> Answer:
    """Say what is wrong, or worth a look, and what of the VMs no restore point holds."""
    from engine.vms.findings import check
    from tui.commands._vms_json import finding_json, repository_json, safe, without_secrets

    findings = check(inventory)
    told: set[str] = set()
    for finding in findings:
        if finding.level == "warning":
            context.warn(finding.text)
            if finding.hint and finding.hint not in told:
                context.out.note(f"  {finding.hint}")
                told.add(finding.hint)
        else:
            context.out.info(f"note: {finding.text}")
    held = None if past else held_by_points(context, inventory)
    bare = [(machine.name, [safe(part.what) for part in held[machine.config] if not part.held])
            for machine in inventory.machines] if held is not None else []
    bare = [(name, missing) for name, missing in bare if missing]
    for name, missing in bare:
        context.out.info(f"note: no restore point holds {', '.join(missing)} of {name}")
    number = sum(finding.level == "warning" for finding in findings)
    said = "nothing to look into" if not number else f"{count(number, 'thing')} to look into"
    context.out.data(f"{summary(inventory)}" + (f": {said}." if inventory.repositories else "."))
    return Answer(without_secrets({
        "repositories": [repository_json(r) for r in inventory.repositories], "machines": len(inventory.machines),
        "complete": inventory.complete, "findings": [finding_json(finding) for finding in findings],
        "not_held": [{"machine": name, "parts": missing} for name, missing in bare] if held is not None else None}))
