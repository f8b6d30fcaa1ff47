"""`history` and `find`: the versions of a path, and where a name occurs in any point."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from tui.commands import Answer, Command
from tui.commands._args import BACKENDS, backend_argument, check_backend, no_nul

if TYPE_CHECKING:
    from engine.entries import Version
    from tui.commands._context import Context

_FIND_DETAILS = ("PATTERN is a shell pattern (* ? [ab]) or a part of a path; deleted entries that an older "
                 "point still has are found too.")


def configure_history(parser: ArgumentParser) -> None:
    """Add the arguments of `history`."""
    parser.add_argument("path", metavar="PATH", help="a path inside the points")
    backend_argument(parser, "look into the points of this backend; each of its snapshots is opened")


def configure_find(parser: ArgumentParser) -> None:
    """Add the arguments of `find`."""
    parser.add_argument("pattern", metavar="PATTERN", help="what to look for")
    parser.add_argument("--in", metavar="POINT", dest="point", help="look into this point alone, of whatever backend")


def run_history(context: Context, args: Namespace) -> Answer:
    """Show the versions of one path, newest first."""
    from engine.text import inner_path, json_path
    from tui.commands._format import entry_row, version_json
    from tui.output import table

    path = inner_path(no_nul(args.path))
    check_backend(args.backend)
    versions = context.engine.history(path) if args.backend in (None, BACKENDS[0]) else (
        context.engine.history_in(args.backend, path))
    if context.out.as_json:
        return Answer({**json_path(path), "versions": [version_json(v) for v in versions]})
    numbers = _numbers(context) if args.backend in (None, BACKENDS[0]) else {}
    rows = [[_span(v, numbers), str(v.points), *entry_row(v.entry, "current" if v.current else "")]
            for v in versions]
    head = ["In points", "Points", "Mode", "Owner", "Group", "Size", "Modified", ""]
    for line in table(head, rows, right=(1, 3, 4, 5)):
        context.out.data(line)
    return Answer()


def run_find(context: Context, args: Namespace) -> Answer:
    """Show every version of every path that fits; finding nothing is no failure."""
    from engine.text import human_size, shown_path
    from tui.commands._format import version_json

    if args.point is not None:
        return _find_in(context, args)
    found = context.engine.find(no_nul(args.pattern))
    if context.out.as_json:
        return Answer({"pattern": args.pattern, "found": [version_json(v) for v in found]})
    numbers = _numbers(context)
    count = 0
    for count, version in enumerate(found, 1):      # noqa: B007 - the number of the last one is wanted below
        gone = "" if version.current else ", changed or deleted since"
        context.out.data(f"{shown_path(version.entry.path)}  ({human_size(version.entry.size)}, "
                         f"points {_span(version, numbers)}{gone})")
    if not count:
        context.out.info("Nothing found.")
    return Answer()


def _find_in(context: Context, args: Namespace) -> Answer:
    """Show what fits in one point, as it is there."""
    from engine.text import human_size, shown_path
    from tui.commands._format import entry_json

    point = context.resolve(args.point)
    found = context.engine.find_in(point, no_nul(args.pattern))
    if context.out.as_json:
        return Answer({"pattern": args.pattern, "point": point.id, "found": [entry_json(entry) for entry in found]})
    count = 0
    for count, entry in enumerate(found, 1):        # noqa: B007 - the number of the last one is wanted below
        context.out.data(f"{shown_path(entry.path)}  ({human_size(entry.size)})")
    if not count:
        context.out.info("Nothing found.")
    return Answer()


def _numbers(context: Context) -> dict[str, int]:
    return {point.id: point.number for point in context.engine.points()}


def _span(version: Version, numbers: dict[str, int]) -> str:
    """Return the run of points that have this version, by number: ``3``, or ``3-7``."""
    first, last = (str(numbers.get(i, i)) for i in (version.first, version.last))
    return first if first == last else f"{first}-{last}"


COMMANDS = (
    Command("history", "the versions of a path", 70, configure_history, run_history),
    Command("find", "where a name occurs in any point", 80, configure_find, run_find, _FIND_DETAILS),
)
