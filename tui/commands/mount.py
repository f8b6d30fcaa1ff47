"""`mount` and `umount`: a point as a read-only directory."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from tui.commands import Answer, Command
from tui.commands._args import no_nul, point_argument

if TYPE_CHECKING:
    from tui.commands._context import Context


def configure_mount(parser: ArgumentParser) -> None:
    """Add the arguments of `mount`."""
    point_argument(parser)
    parser.add_argument("where", metavar="DIR", help="an empty directory")


def configure_umount(parser: ArgumentParser) -> None:
    """Add the arguments of `umount`."""
    parser.add_argument("where", metavar="DIR", help="where a point is mounted")


def run_mount(context: Context, args: Namespace) -> Answer:
    """Mount a point."""
    from engine.text import printable
    from tui.commands._format import label

    point = context.resolve(args.point)
    with context.job() as job:
        context.engine.mount(point, no_nul(args.where), job)
    where = printable(args.where)
    context.out.info(f"Point {label(point)} can be read at {where} now; `rollpoint umount {where}` ends it.")
    return Answer({"point": point.id, "where": where})


def run_umount(context: Context, args: Namespace) -> Answer:
    """Unmount a point."""
    from engine.text import printable

    context.engine.umount(no_nul(args.where))
    context.out.info(f"{printable(args.where)} is not mounted any more.")
    return Answer({"where": printable(args.where)})


COMMANDS = (
    Command("mount", "mount a point read-only", 110, configure_mount, run_mount),
    Command("umount", "unmount it", 120, configure_umount, run_umount),
)
