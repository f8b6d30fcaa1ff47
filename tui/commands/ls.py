"""`ls` and `cat`: look into a point."""

from __future__ import annotations

import base64
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from tui.commands import Answer, Command
from tui.commands._args import no_nul, point_argument

if TYPE_CHECKING:
    from tui.commands._context import Context

_BLOCK = 1 << 18
_JSON_LIMIT = 64 << 20


def configure_ls(parser: ArgumentParser) -> None:
    """Add the arguments of `ls`."""
    point_argument(parser)
    parser.add_argument("path", metavar="PATH", nargs="?", default="/", help="default: /")


def configure_cat(parser: ArgumentParser) -> None:
    """Add the arguments of `cat`."""
    point_argument(parser)
    parser.add_argument("path", metavar="PATH", help="a file")


def run_ls(context: Context, args: Namespace) -> Answer:
    """List a directory of a point, sorted by name; owners as numbers: the names are the other machine's."""
    from engine.text import inner_path, json_path, printable, shown_path
    from tui.commands._format import entry_json, entry_row
    from tui.output import table

    point = context.resolve(args.point)
    path = inner_path(no_nul(args.path))
    entries = sorted(context.engine.listdir(point, path), key=lambda e: e.path)
    if context.out.as_json:
        return Answer({"point": point.id, **json_path(path), "entries": [entry_json(e) for e in entries]})
    rows = [entry_row(e, shown_path(path) if e.path == path else printable(e.name)) for e in entries]
    if rows:
        for line in table(["Mode", "Owner", "Group", "Size", "Modified", "Name"], rows, right=(1, 2, 3)):
            context.out.data(line)
    else:
        context.out.info(f"{shown_path(path)} is empty in this point.")
    return Answer()


def run_cat(context: Context, args: Namespace) -> Answer:
    """Write a file of a point to stdout, byte for byte; with --json as base64."""
    from engine.errors import UsageError
    from engine.text import inner_path, json_path

    point = context.resolve(args.point)
    path = inner_path(no_nul(args.path))
    kept = bytearray()
    with context.engine.read(point, path) as stream:
        while block := stream.read(_BLOCK):
            if not context.out.as_json:
                context.out.raw(block)
                continue
            kept += block
            if len(kept) > _JSON_LIMIT:
                raise UsageError("the file is too large for a JSON document",
                                 hint="use `cat` without --json, or `restore`")
    if not context.out.as_json:
        return Answer()
    return Answer({"point": point.id, **json_path(path), "size": len(kept),
                   "content_b64": base64.b64encode(kept).decode()})


COMMANDS = (
    Command("ls", "list a directory of a point", 50, configure_ls, run_ls),
    Command("cat", "write a file of a point to stdout", 60, configure_cat, run_cat),
)
