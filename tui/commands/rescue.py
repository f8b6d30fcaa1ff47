"""`rescue`: what is on the disks of a rescue system, and working on a broken system from there.

Alone, on a terminal, it opens the app on what is there. `list` looks at every disk for stores and systems; `open`
mounts a store and the file systems that its point recorded, where nobody else sees them, and runs a verb (or the app)
on them; `shell` lets the admin work on them himself.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from engine.errors import RollpointError, UsageError
from tui.commands import Answer, Command
from tui.commands._args import no_nul

if TYPE_CHECKING:
    from engine.rescue.mapping import Choices, Mapping
    from engine.rescue.opening import Opened
    from engine.rescue.survey import FoundPoint, FoundStore, Survey
    from tui.commands._context import Context

_DETAILS = ("`rescue list` only reads: it shows the stores and systems on all disks, and what would be mounted for "
            "them; `rescue` alone, on a terminal, opens the app on that. `rescue open -- rollback latest` mounts the "
            "store and each file system that the point recorded below /run/rollpoint, for this one command, and "
            "unmounts them after it; `rescue open` alone opens the app there, `rescue shell` a shell with the system "
            "ready for chroot. Here --store is DEVICE or DEVICE:/PATH, or a directory with a store that is mounted "
            "already. A device is a path (/dev/sdb1), UUID=…, LABEL=… or PARTUUID=….")


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("words", metavar="list | shell | open [-- COMMAND …]", nargs="*",
                        help="what to do (default: list, on a terminal the app); behind -- a command of Rollpoint")
    parser.add_argument("--system", metavar="DEVICE", help="the root file system of the broken system")
    parser.add_argument("--map", metavar="MOUNTPOINT=DEVICE", action="append", default=[], dest="mapped",
                        help="what to mount there, for example /boot=/dev/sdb1 (may be given again)")
    parser.add_argument("--point", metavar="POINT", help="whose file systems are looked for (default: that of COMMAND, "
                        "or the newest)")
    parser.add_argument("--adopt", action="store_true",
                        help="accept named devices that are other ones than the recorded, and another machine")
    parser.add_argument("--merge", metavar="MOUNTPOINT", action="append", default=[],
                        help="with --adopt: this recorded file system becomes a directory (may be given again)")
    parser.add_argument("--device", metavar="DEVICE", action="append", default=[], dest="devices",
                        help="look at this device alone, also at a loop device (may be given again)")
    parser.add_argument("--share", metavar="SERVER:/PATH", action="append", default=[], dest="shares",
                        help="look at this NFS share too (may be given again)")
    parser.add_argument("--activate", action="store_true", help="activate LVM volumes and assemble RAIDs first")


def run(context: Context, args: Namespace) -> Answer:
    """Show what is here, or open it."""
    action, command = (args.words[0] if args.words else "list"), args.words[1:]
    if action not in ("list", "open", "shell") or (action != "open" and command):
        raise UsageError(f"rescue: there is no {' '.join(args.words)!r}", hint="say `rescue list`, `rescue shell` or "
                         "`rescue open [-- COMMAND …]`")
    if context.options.root is not None:
        raise UsageError("--root makes no sense with `rescue`", hint="name the broken system with --system DEVICE")
    if command[:1] == ["rescue"] or (not command and context.options.as_json and action != "list"):
        raise UsageError("`rescue open` needs another COMMAND for that", hint="for example `rescue open -- list`")
    if not args.words and args.point is None and not context.options.as_json and _on_a_terminal():
        return Answer(None, _app(context, args))
    found = _survey(context, args)
    return _list(context, args, found) if action == "list" else _open(context, args, found, command)


def _on_a_terminal() -> bool:
    """Whether the app can be shown: on a terminal, and with the packages that it needs, which a rescue CD may lack."""
    import sys
    from importlib.util import find_spec

    from tui.output import is_terminal

    streams = (sys.stdin, sys.stdout, sys.stderr)
    return all(map(is_terminal, streams)) and all(find_spec(name) is not None for name in ("textual", "rich"))


def _app(context: Context, args: Namespace) -> int:
    """Open the app on what is on the disks, then on what was chosen there; returns its exit code."""
    import os

    from tui.environment import tidy

    tidy(os.environ)
    from tui.rescueapp import run_rescue
    from tui.rescuelook import disk_look
    from tui.screens.rescue import Wish

    spec = no_nul(context.options.store or "")
    also, shares, paths = _extra(context, args)
    look = disk_look(args.devices, also, paths, spec if os.path.isdir(spec) else "")
    wish = Wish(tuple(args.devices), tuple(shares), args.activate, spec,
                _choices(args))
    return run_rescue(context.config, wish, look, _passed_on(context))


def _named(args: Namespace) -> dict[str, str]:
    """Return device by mount point, as --map gives them."""
    found = {}
    for word in args.mapped:
        mount, mark, device = no_nul(word).partition("=")
        if not mark or not mount.startswith("/") or not device:
            raise UsageError(f"--map {word!r}: expected MOUNTPOINT=DEVICE", hint="for example --map /boot=/dev/sdb1")
        found["/" + mount.strip("/")] = device
    return found


def _choices(args: Namespace) -> Choices:
    from engine.rescue.mapping import Choices

    return Choices(_named(args), args.system or "", args.adopt, frozenset(_merged(args)))


def _merged(args: Namespace) -> list[str]:
    """Return the mount points that --merge names."""
    return ["/" + no_nul(mount).strip("/") for mount in args.merge]


def _extra(context: Context, args: Namespace) -> tuple[list[str], list[str], list[str]]:
    """Return what else is to be looked at for what was named: devices, NFS shares, paths on each file system."""
    import os

    from engine.rescue.choosing import split_store
    from engine.rescue.finding import is_share

    spec = no_nul(context.options.store or "")
    device, path = split_store(spec) if spec and not os.path.isdir(spec) else ("", None)
    shares = [*args.shares, *([device] if is_share(device) and device not in args.shares else [])]
    also = [d for d in (device, args.system or "", *_named(args).values()) if d.startswith("/dev/")]
    return list(dict.fromkeys(also)), shares, [path] if path else []


def _survey(context: Context, args: Namespace) -> Survey:
    from engine.rescue.finding import survey

    also, shares, paths = _extra(context, args)
    with context.job(keep_output=False) as job:
        return survey(job, devices=args.devices, also=also, shares=shares, paths=paths, activate=args.activate)


def _store(context: Context, found: Survey) -> FoundStore:
    import os

    from engine.rescue import choosing
    from engine.rescue.finding import store_in

    spec = context.options.store or ""
    if not os.path.isdir(spec):
        return choosing.store(found, spec)
    store = store_in(spec)
    if store is None:
        raise UsageError(f"there is no store in {spec}", hint="name the directory that holds store.yaml")
    return store


def _propose(args: Namespace, found: Survey, store: FoundStore, point: FoundPoint) -> Mapping:
    from engine.rescue.mapping import propose

    return propose(point.sources, found, _choices(args), store)


# --- list ---------------------------------------------------------------------------------------------------


def _list(context: Context, args: Namespace, found: Survey) -> Answer:
    """Show stores, systems and the mapping; that there is no store, or more than one, is no error here."""
    from engine.rescue import choosing
    from tui.commands._rescue import survey_json, survey_lines

    mapping = point = store = None
    why = ""
    try:
        store = _store(context, found)
        point = choosing.point(store, args.point or "latest")
        mapping = _propose(args, found, store, point)
    except RollpointError as error:
        if context.options.store or args.point:
            raise
        why = f"{error.message} ({error.hint})" if error.hint else error.message
    for line in survey_lines(found, store, point, mapping, why):
        context.out.data(line)
    return Answer(survey_json(found, store, point, mapping))


# --- open ---------------------------------------------------------------------------------------------------


def _open(context: Context, args: Namespace, found: Survey, command: list[str]) -> Answer:
    """Mount store and system, run the command on them, unmount them."""
    from engine.rescue import choosing, itself, opening
    from engine.run import foreground
    from engine.text import printable, shown_path

    store = _store(context, found)
    about = choosing.point(store, args.point) if args.point else choosing.point_of(store, command)
    mapping = _propose(args, found, store, about)
    opening.refuse(mapping)
    context.out.note(f"store {printable(store.name)}; " + ", ".join(
        f"{shown_path(r.recorded.place)} on {printable(r.device.device)}" for r in mapping.rows if r.device))
    with opening.open_target(store, mapping, chroot=args.words[0] == "shell") as opened:
        for note in opened.notes:
            context.out.warn(note)
        if args.words[0] == "shell":
            return Answer(None, _shell(context, opened))
        words: list[str | bytes] = [*itself.argv("tui.cli"), *_passed_on(context)]
        if not command:
            words += [f"--merge={mount}" for mount in _merged(args)]
        elif args.adopt and command[0] == "rollback" and not {"--adopt", "--resume", "--undo"} & set(command):
            command = ["rollback", "--adopt", *(f"--merge={mount}" for mount in _merged(args)), *command[1:]]
        code = foreground([*words, b"--store=" + opened.store, b"--root=" + opened.root, *command])
        if left := opening.others():
            context.out.note(f"still at work on it: process {', '.join(map(str, left))}; it stays mounted for it alone")
    return Answer(None, code)


def _shell(context: Context, opened: Opened) -> int:
    import os

    from engine.run import foreground
    from engine.text import printable

    root = printable(opened.root)
    context.out.info(f"The system is at {root} (`chroot {root}` runs its own programs), the store at "
                     f"{printable(opened.store)}. Leaving this shell unmounts both.")
    context.out.flush()
    return foreground([os.environ.get("SHELL") or "/bin/sh"])


def _passed_on(context: Context) -> list[str]:
    options = context.options
    words = [f"--config={options.config}"] if options.config else []
    words += ["--json"] if options.as_json else []
    return [*words, *["-v"] * options.verbose, *(["-q"] if options.quiet else [])]


COMMANDS = (Command("rescue", "find stores and broken systems on all disks, and work on them", 175, configure, run,
                    _DETAILS),)
