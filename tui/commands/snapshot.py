"""`snapshot`: take a restore point. Says first how full the store is and what is left out, then how it
went."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tui.commands import Answer, Command
from tui.commands._args import BACKENDS, backend_argument, check_backend, check_text

if TYPE_CHECKING:
    from engine.results import SnapshotRequest, SnapshotResult, StoreStatus
    from tui.commands._context import Context
    from tui.output import Output


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("-m", "--comment", metavar="COMMENT", default="", help="why the point is taken")
    parser.add_argument("--tag", metavar="T", action="append", default=[], help="a tag; may be given again")
    parser.add_argument("--pin", action="store_true", help="never remove the point by rule")
    backend_argument(parser, "take the point with this backend")


def run(context: Context, args: Namespace) -> Answer:
    """Take a point."""
    from engine.results import SnapshotRequest

    check_backend(args.backend)
    tags = tuple(dict.fromkeys(check_text("tag", tag) for tag in args.tag))
    request = SnapshotRequest(comment=check_text("comment", args.comment), tags=tags, pin=args.pin)
    context.out.must_finish = True     # a reader that goes away (| head) must not cost the point
    if args.backend not in (None, BACKENDS[0]):
        return _of_storage(context, request, args.backend)
    _say_before(context.out, context.engine.status(), context.config.excludes, context.config.databases)
    with context.job() as job:
        result = context.engine.snapshot(request, job)
    _say_after(context.out, result)
    return Answer(_document(result))


def _of_storage(context: Context, request: SnapshotRequest, backend: str) -> Answer:
    """Take a point of what the storage snapshots: nothing is copied, so there is little to say."""
    from tui.commands._format import label, point_json
    from tui.storagewords import volumes

    with context.job() as job:
        result = context.engine.snapshot(request, job, backend)
    context.out.info(f"Point {label(result.point)} of {volumes(result.point)} was taken in {result.seconds:.1f} s.")
    return Answer({**point_json(result.point), "seconds": round(result.seconds, 3)})


def _say_before(out: Output, status: StoreStatus, excludes: Sequence[str], databases: Sequence[str]) -> None:
    from engine.text import human_size, printable

    where = f"The store {printable(status.path)}"
    if not status.exists:
        out.info(f"{where} does not exist yet; it will be made.")
    elif status.limit_bytes is None:
        out.info(f"{where} takes {human_size(status.store_bytes)}; no limit is known for it yet.")
    else:
        taken, limit = human_size(status.store_bytes), human_size(status.limit_bytes)
        out.info(f"{where} takes {taken}; its limit is {limit}.")
        if status.store_bytes > status.limit_bytes:
            out.info("  That is more than it may take: old points go as far as the rules allow.")
    if excludes:
        out.info("Excluded: " + "  ".join(printable(pattern) for pattern in excludes))
    for name in databases:
        out.info(f"Excluded database, to be backed up separately: {printable(name)}")


def _say_after(out: Output, result: SnapshotResult) -> None:
    from engine.text import human_size, printable

    for gone in result.pruned:
        out.info(f"Removed to make room: {printable(gone)}")
    point = result.point
    out.info(f"Point {point.number} ({printable(point.id)}) was taken in {result.seconds:.1f} s.")
    out.info(f"  {result.created:,} created, {result.changed:,} changed, {result.deleted:,} deleted, "
             f"{result.attrs:,} with other attributes")
    out.info(f"  {human_size(result.bytes_copied)} copied; the difference to the point before takes "
             f"{human_size(result.diff_bytes)}")


def _document(result: SnapshotResult) -> dict[str, Any]:
    from engine.text import printable
    from tui.commands._format import point_json

    return {
        **point_json(result.point), "entries_created": result.created, "entries_changed": result.changed,
        "entries_deleted": result.deleted, "entries_attrs": result.attrs, "bytes_copied": result.bytes_copied,
        "diff_bytes": result.diff_bytes, "pruned": list(result.pruned),
        "excluded": [printable(pattern) for pattern in result.excluded],
        "databases": [printable(name) for name in result.databases], "seconds": round(result.seconds, 3),
    }


COMMANDS = (Command("snapshot", "take a point", 10, configure, run),)
