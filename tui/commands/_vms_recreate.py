"""`vms recreate VM`."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from engine.errors import UsageError
from tui.commands import Answer

if TYPE_CHECKING:
    from engine.vms.inventory import Inventory
    from tui.commands._context import Context


def run_recreate(context: Context, inventory: Inventory, args: Namespace) -> Answer:
    """Print what makes a VM anew."""
    from engine.vms.recreate import TARGETS, script

    target = args.target or TARGETS[0]
    if target not in TARGETS:
        raise UsageError(f"there is no script for {target!r}", hint=f"--for takes one of: {', '.join(TARGETS)}")
    networks = dict(_network(given) for given in args.network or ())
    made = script(inventory.machine(args.words[0]), target, networks, args.pool or "")
    for line in made.lines:
        context.out.data(line)
    for sentence in made.unknown:
        context.warn(sentence)
    return Answer({"for": target, "script": made.lines, "unknown": made.unknown})


def _network(given: str) -> tuple[str, str]:
    bridge, equals, name = given.partition("=")
    if not equals or not bridge or not name:
        raise UsageError(f"--network takes BRIDGE=NAME, not {given!r}", hint="for example --network 10238073c2=prod")
    return bridge, name
