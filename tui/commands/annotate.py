"""`pin`, `unpin` and `comment`: what an admin notes on a point."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from functools import partial
from typing import TYPE_CHECKING

from tui.commands import Answer, Command
from tui.commands._args import check_text, point_argument

if TYPE_CHECKING:
    from tui.commands._context import Context


def configure_comment(parser: ArgumentParser) -> None:
    """Add the arguments of `comment`."""
    point_argument(parser)
    parser.add_argument("text", metavar="TEXT", help="the comment; an empty one takes it away")


def run_pin(pinned: bool, context: Context, args: Namespace) -> Answer:
    """Pin or unpin a point."""
    from tui.commands._format import label, point_json

    point = context.engine.annotate(context.resolve(args.point), pinned=pinned)
    context.out.info(f"Point {label(point)} is pinned: no rule removes it." if pinned
                     else f"Point {label(point)} is not pinned any more.")
    return Answer(point_json(point))


def run_comment(context: Context, args: Namespace) -> Answer:
    """Change a point's comment."""
    from tui.commands._format import label, point_json

    text = check_text("comment", args.text)
    point = context.engine.annotate(context.resolve(args.point), comment=text)
    context.out.info(f"The comment of point {label(point)} is changed.")
    return Answer(point_json(point))


COMMANDS = (
    Command("pin", "keep a point from being removed by rule", 130, point_argument, partial(run_pin, True)),
    Command("unpin", "let the rules decide about it again", 131, point_argument, partial(run_pin, False)),
    Command("comment", "change a point's comment", 140, configure_comment, run_comment),
)
