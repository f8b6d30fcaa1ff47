"""`verify` and `repair`: is everything in the store as it was written, and mend what a crash left."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING, Any

from tui.commands import Answer, Command

if TYPE_CHECKING:
    from engine.results import Damage
    from tui.commands._context import Context


def configure_verify(parser: ArgumentParser) -> None:
    """Add the arguments of `verify`."""
    parser.add_argument("points", metavar="POINT", nargs="*", default=[],
                        help="look only at these points (default: all in the store, inventories of VMs and copies of "
                             "their disks too)")
    parser.add_argument("--data", action="store_true", help="read everything again and compare the checksums")


def configure_repair(_parser: ArgumentParser) -> None:
    """`repair` has no arguments."""


def run_verify(context: Context, args: Namespace) -> Answer:
    """Check the store; exit code 7 when something is damaged."""
    from engine.errors import DamageError
    from engine.text import human_size, plural

    points = list({point.id: point for point in map(context.resolve, args.points)}.values())
    points = points or context.engine.kept_points()
    with context.job(keep_output=False) as job:
        report = context.engine.verify(points, job, data=args.data)
    for damage in report.damage:
        context.out.data(_damage_line(damage))
    read = f", {human_size(report.bytes_read)} read" if report.bytes_read else ""
    context.out.info(f"{plural(report.points, 'point')}, {plural(report.entries, 'entry', 'entries')} checked{read}: " +
                     (f"{len(report.damage)} damaged." if report.damage else "all is well."))
    if report.unsummed:
        context.out.info(f"Of {report.unsummed} copies of disks there is no checksum: it is only known that they are "
                         "there.")
    return Answer({"points": report.points, "entries": report.entries, "bytes_read": report.bytes_read,
                   "data": args.data, "unsummed": report.unsummed,
                   "damage": [_damage_json(damage) for damage in report.damage]},
                  DamageError.exit_code if report.damage else 0)


def run_repair(context: Context, args: Namespace) -> Answer:
    """Finish or undo what a crash left, rebuild what can be rebuilt; exit code 7 when damage stays."""
    from engine.errors import DamageError
    from engine.text import message

    with context.job() as job:
        report = context.engine.repair(job)
    for sentence in report.done:
        context.out.info(message(sentence))
    for damage in report.left:
        context.out.data(_damage_line(damage))
    if not report.done and not report.left:
        context.out.info("There was nothing to repair.")
    return Answer({"done": [message(sentence) for sentence in report.done],
                   "left": [_damage_json(damage) for damage in report.left]},
                  DamageError.exit_code if report.left else 0)


def _damage_line(damage: Damage) -> str:
    from engine.text import message, printable, shown_path

    where = printable(damage.point) if damage.point else "store"
    return f"{where}  {shown_path(damage.path) if damage.path else '-'}  {message(damage.text)}"


def _damage_json(damage: Damage) -> dict[str, Any]:
    from engine.text import json_path, message

    path = json_path(damage.path) if damage.path else {"path": None}
    return {"point": damage.point or None, **path, "text": message(damage.text)}


COMMANDS = (
    Command("verify", "check the store (--data: read everything again)", 170, configure_verify, run_verify),
    Command("repair", "mend what a crash left, rebuild the catalog", 180, configure_repair, run_repair),
)
