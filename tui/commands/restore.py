"""`restore`: copy a point, or paths of it, into a directory beside the original."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from tui.commands import Answer, Command
from tui.commands._args import no_nul, point_argument

if TYPE_CHECKING:
    from tui.commands._context import Context

_DETAILS = "DIR is made if it is missing; one that is not empty is refused without --merge."


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    point_argument(parser)
    parser.add_argument("paths", metavar="PATH", nargs="*", default=[], help="copy only these paths")
    parser.add_argument("--to", metavar="DIR", required=True, help="where to copy to")
    parser.add_argument("--merge", action="store_true", help="copy into a directory that is not empty")


def run(context: Context, args: Namespace) -> Answer:
    """Copy out."""
    from engine.errors import UsageError
    from engine.text import human_size, inner_path, printable
    from tui.commands._format import label

    if not args.to:
        raise UsageError("--to: expected a directory, got nothing")
    point = context.resolve(args.point)
    dest = no_nul(args.to)
    paths = [inner_path(no_nul(path)) for path in args.paths]
    with context.job() as job:
        result = context.engine.restore(point, dest, paths, job, merge=args.merge)
    context.out.info(f"{result.entries:,} entries ({human_size(result.bytes)}) of point {label(point)} are "
                     f"in {printable(dest)} now; it took {result.seconds:.1f} s.")
    return Answer({"point": result.point.id, "to": printable(dest), "entries": result.entries,
                   "bytes": result.bytes, "seconds": round(result.seconds, 3), "detail": result.detail})


COMMANDS = (Command("restore", "copy a point, or paths of it, into a directory", 90, configure, run,
                    _DETAILS),)
