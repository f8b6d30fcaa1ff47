"""`vms …`: the VMs and templates of a Xen or Oracle VM server, what is wrong with them, what became of them, what makes
one anew, their points, and the way back."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.errors import UsageError
from tui.commands import Answer, Command
from tui.commands._args import no_nul, yes_argument

if TYPE_CHECKING:
    from engine.vms.inventory import Inventory
    from tui.commands._context import Context

_DETAILS = ("`vms` (or `vms list`) shows every VM and template of the repositories with its disks' sizes, `vms show "
            "VM` all that one's vm.cfg says, passwords hidden, and `vms check` what is wrong: disks that are missing, "
            "shared, or belong to no VM, ids that are there twice, and so on; exit code 3 when there is such a thing. "
            "It notes too which parts of which VM no restore point holds. "
            "`vms recreate VM` prints the commands for Oracle VM Manager's CLI, or a file for `xl create`, that make "
            "it anew; what a vm.cfg does not say stands there as @WHAT@ and on stderr (exit code 3). "
            "`vms take` takes an inventory point: every vm.cfg, and the facts of all disks; with a VM it takes a point "
            "of that one's disks. `vms points` lists both kinds. With --point the words above are about what an "
            "inventory point holds. `vms diff FROM [TO]` says what became of the VMs: FROM is an inventory point or "
            "the root of an older state, TO another point or `live`; `vms history VM` what became of one. `vms restore "
            "VM --from POINT` brings its vm.cfg back (--vm-cfg), or its disks (--disks, or only those named), which "
            "is refused while the VM runs; what is there now stays beside it. `vms restore --resume` finishes one that "
            "was interrupted. `vms manager` looks at Oracle VM Manager's own backups, `vms recipes` at the file "
            "systems of repositories and pool. VM is a name, a uuid, a unique beginning of either, or the path of a "
            "vm.cfg.")


@dataclass(frozen=True, slots=True)
class _Word:
    """What may follow a word of `vms`: from how many to how many names, and which options."""

    least: int
    most: int
    options: frozenset[str]
    usage: str


def _word(names: tuple[int, int], options: str, usage: str) -> _Word:
    return _Word(*names, frozenset(options.split()), usage)


_TAKING = "comment tag pin"
_WORDS = {
    "list": _word((0, 0), "repository point", "vms list"), "check": _word((0, 0), "repository point", "vms check"),
    "show": _word((1, 1), "repository point file", "vms show VM"),
    "diff": _word((1, 2), "repository", "vms diff POINT|DIR [POINT|live]"),
    "recreate": _word((1, 1), "repository point target network pool", "vms recreate VM"),
    "points": _word((0, 1), "", "vms points [VM]"), "history": _word((1, 1), "", "vms history VM"),
    "take": _word((0, 1), _TAKING, "vms take [VM]"),
    "restore": _word((0, 99), "origin whole disks dry_run yes stopped resume", "vms restore VM --from POINT …"),
    "manager": _word((0, 0), "", "vms manager"), "recipes": _word((0, 0), "point", "vms recipes"),
}
_OPTIONS = {
    "repository": "--repository", "point": "--point", "file": "--file", "target": "--for", "network": "--network",
    "pool": "--pool", "comment": "--comment", "tag": "--tag", "pin": "--pin", "origin": "--from", "whole": "--vm-cfg",
    "disks": "--disks", "dry_run": "--dry-run", "yes": "--yes", "stopped": "--stopped", "resume": "--resume"}


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("what", metavar="|".join(_WORDS), nargs="?", default="list", help="default: list")
    parser.add_argument("words", metavar="VM|POINT|DIR|DISK", nargs="*", default=[],
                        help="for most words the VM or template; for `diff` the older state and the newer one; for "
                             "`restore --disks` the VM and its disks (xvda …)")
    parser.add_argument("--repository", metavar="DIR", action="append",
                        help="look in this directory (may be given again; default: vms.repositories of the "
                             "configuration, or the usual places of Oracle VM and Xen)")
    parser.add_argument("--point", metavar="POINT", help="look into this inventory point, not at what is there now")
    parser.add_argument("--file", action="store_true", help="for `show`: the vm.cfg itself, passwords hidden")
    parser.add_argument("--for", dest="target", metavar="3.4|3.3|3.2|xl",
                        help="for `recreate`: the release of Oracle VM Manager (default: 3.4), or xl")
    parser.add_argument("--network", metavar="BRIDGE=NAME", action="append",
                        help="for `recreate`: what the Manager calls a bridge's network (may be given again)")
    parser.add_argument("--pool", metavar="NAME", help="for `recreate`: the server pool")
    parser.add_argument("-m", "--comment", metavar="COMMENT", default="", help="for `take`: why the point is taken")
    parser.add_argument("--tag", metavar="T", action="append", default=[], help="for `take`: a tag")
    parser.add_argument("--pin", action="store_true", help="for `take`: never remove the point by rule")
    parser.add_argument("--from", dest="origin", metavar="POINT", help="for `restore`: the point to go back to")
    parser.add_argument("--vm-cfg", dest="whole", action="store_true", help="for `restore`: bring the vm.cfg back")
    parser.add_argument("--disks", action="store_true", help="for `restore`: bring disks back")
    parser.add_argument("--dry-run", action="store_true", help="for `restore`: only say what would be done")
    parser.add_argument("--stopped", action="store_true",
                        help="for `restore`: you know that the VM runs on no server, where Rollpoint cannot tell")
    parser.add_argument("--resume", action="store_true", help="for `restore`: finish, or undo, an interrupted one")
    yes_argument(parser)


def run(context: Context, args: Namespace) -> Answer:
    """Do what the word says."""
    _check(args)
    if args.what in ("list", "check", "show", "recreate"):
        return _looking(context, args)
    if args.what == "restore":
        from tui.commands._vms_restore import run_restore

        return run_restore(context, args)
    from tui.commands import _vms_points

    work: dict[str, Callable[[Context, Namespace], Answer]] = {
        "diff": _diff, "points": _vms_points.run_points, "history": _vms_points.run_history,
        "take": _vms_points.run_take, "manager": _vms_points.run_manager, "recipes": _vms_points.run_recipes}
    return work[args.what](context, args)


def _check(args: Namespace) -> None:
    """Raise UsageError for a word that does not exist, or that does not take what it was given."""
    word = _WORDS.get(args.what)
    if word is None:
        raise UsageError(f"there is no `vms {args.what}`", hint="there is: " + ", ".join(f"`vms {w}`" for w in _WORDS))
    if not word.least <= len(args.words) <= word.most:
        raise UsageError(f"`{word.usage}` is how it is called", hint="see `rollpoint vms --help`")
    for name in _OPTIONS:
        if getattr(args, name) and name not in word.options:
            owners = ", ".join(f"`vms {w}`" for w, about in _WORDS.items() if name in about.options)
            raise UsageError(f"{_OPTIONS[name]} does not belong to `vms {args.what}`", hint=f"it belongs to {owners}")


def _looking(context: Context, args: Namespace) -> Answer:
    past = args.point is not None
    if past:
        from tui.commands._vms_points import inventory_point

        if args.repository:
            raise UsageError("--point and --repository do not go together", hint="a point holds all its repositories")
        inventory = context.engine.vm_inventory(inventory_point(context, args.point))
    else:
        inventory = look(context, args.repository, context.config.root)
    if args.what in ("list", "check"):
        from tui.commands._vms_list import run_check, run_list

        return (run_list if args.what == "list" else run_check)(context, inventory, past=past)
    if args.what == "show":
        from tui.commands._vms_show import run_show

        return run_show(context, inventory, args, past=past)
    from tui.commands._vms_recreate import run_recreate

    return run_recreate(context, inventory, args)


def look(context: Context, given: list[str] | None, root: str) -> Inventory:
    """Return what there is now below a root."""
    from engine.vms.inventory import scan

    places = tuple(_in_root(no_nul(name), root) for name in given) if given else context.config.vms.repositories
    with context.job(keep_output=False) as job:
        return scan(root, places, job)


def _in_root(name: str, root: str) -> str:
    """A directory as the root sees it; one that was typed with the root before it (completion does that) too."""
    path = os.path.abspath(name)
    if root != "/" and (path + "/").startswith(root.rstrip("/") + "/"):
        return path[len(root.rstrip("/")):] or "/"
    return path


def _diff(context: Context, args: Namespace) -> Answer:
    from engine.vms.changes import compare
    from tui.commands._vms_points import inventory_point
    from tui.commands._vms_words import count, gaps, say

    sides: list[Inventory] = []
    for number, word in enumerate([*args.words, "live"][:2]):
        if number and word == "live":
            sides.append(look(context, args.repository, context.config.root))
        elif "/" in word or word in (".", ".."):
            root = os.path.abspath(no_nul(word))
            if not os.path.isdir(root):
                raise UsageError(f"{word!r} is no directory", hint="`rollpoint mount POINT DIR` makes a point one")
            sides.append(look(context, args.repository, root))
        else:
            sides.append(context.engine.vm_inventory(inventory_point(context, word)))
    older, newer = sides
    changes = compare(older, newer)
    say(context, (change.text for change in changes))
    for side, name in ((older, "the older state"), (newer, "the newer state")):
        for finding in gaps(side):
            context.warn(f"{name}: {finding.text}")
    found = count(len(changes), "difference") if changes else "no difference"
    context.out.info(f"{found} between {len(older.machines)} VMs and templates then and {len(newer.machines)} now.")
    return Answer({"changes": [{"kind": c.kind, "machine": c.machine, "text": c.text} for c in changes]})


COMMANDS = (Command("vms", "the VMs of a Xen or Oracle VM server, and what is wrong with them", 107, configure, run,
                    _DETAILS),)
