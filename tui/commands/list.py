"""`list`: all restore points, newest first."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from tui.commands import Answer, Command
from tui.commands._args import backend_argument, check_backend

if TYPE_CHECKING:
    from tui.commands._context import Context


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    backend_argument(parser, "show only the points of this backend")


def run(context: Context, args: Namespace) -> Answer:
    """Show all points; a damaged one is shown as damaged, which is no failure of the listing."""
    from engine.errors import RollpointError
    from engine.text import printable
    from tui.commands._format import label, point_json, points_table, server_time
    from tui.output import is_terminal, width

    check_backend(args.backend)
    listing = context.lister.listing(args.backend)
    points = listing.points
    for trouble in listing.troubles:
        reason = f"{trouble.backend} cannot be listed: {trouble.reason}"
        if args.backend:
            raise RollpointError(reason, hint=trouble.hint)
        context.out.note(reason + (f" ({trouble.hint})" if trouble.hint else ""))
    if context.out.as_json:
        troubles = [{"backend": t.backend, "reason": t.reason, "hint": t.hint} for t in listing.troubles]
        return Answer({"points": [point_json(p) for p in points], "troubles": troubles})
    if not points:
        context.out.info("There is no restore point yet. `rollpoint snapshot` takes one.")
        return Answer()
    lines = points_table(points)
    if is_terminal(sys.stdout):
        import shutil

        roomy = points_table(points, long_age=True)
        lines = roomy if max(map(width, roomy)) <= shutil.get_terminal_size().columns else lines
    for line in lines:
        context.out.data(line)
    for point in points:
        for problem in point.problems:
            context.out.info(f"Point {label(point)} is {printable(point.state)}: {printable(problem)}")
    context.out.info(server_time())
    return Answer()


COMMANDS = (Command("list", "all points, newest first", 20, configure, run),)
