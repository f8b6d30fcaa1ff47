"""`diff`: what changed from a point to another one, or to the live tree."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from tui.commands import Answer, Command
from tui.commands._args import no_nul, point_argument

if TYPE_CHECKING:
    from engine.entries import Change, Diff
    from engine.points import RestorePoint
    from tui.commands._context import Context

LIVE = "live"
_DETAILS = ("Letters: + created, M changed, T another type, a other attributes, - deleted. With exactly one "
            "PATH that is a regular file, its text is compared. The word behind POINT is the second POINT if "
            "it is `live` or names a point; it is a PATH if it has a slash in it or names something in the "
            "point (./3 is always a PATH).")


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    point_argument(parser)
    parser.add_argument("others", metavar="[POINT|live] PATH", nargs="*", default=[],
                        help="compare with this point (default: live); look only at these paths")
    parser.add_argument("--packages", action="store_true",
                        help="what became of packages (dpkg, rpm, pacman) and kernels, in words, instead of paths")


def run(context: Context, args: Namespace) -> Answer:
    """Compare; differences are no failure, so the exit code is 0 with them too."""
    from engine.entries import Kind
    from engine.text import inner_path

    older = context.resolve(args.point)
    words = [no_nul(word) for word in args.others]
    newer, words = _second_point(context, older, words)
    paths = [inner_path(word) for word in words]
    if args.packages:
        return _packages(context, older, newer, paths)
    with context.job(keep_output=False) as job:
        diff = context.engine.diff(older, newer, paths, job)
    if len(paths) == 1 and not diff.changes:
        _must_exist(context, older, newer, paths[0])
    change = next((c for c in diff.changes if paths == [c.path]), None)
    if change is not None and all(e is None or e.kind is Kind.FILE for e in (change.old, change.new)):
        return _file(context, older, newer, diff, change)
    return _trees(context, diff)


def _packages(context: Context, older: RestorePoint, newer: RestorePoint | None, paths: list[bytes]) -> Answer:
    from engine.errors import UsageError
    from engine.text import message

    if paths:
        raise UsageError("--packages takes no PATH: packages are of the whole system", hint="leave the paths out")
    found = context.engine.software(older, newer)
    for line in (*found.kernels, *found.packages):
        context.out.data(message(line))
    for note in found.notes:
        context.warn(note)
    context.out.info(f"{len(found.packages)} packages and {len(found.kernels)} kernels differ")
    return Answer({"older": older.id, "newer": newer.id if newer else "live",
                   "packages": [message(p) for p in found.packages], "kernels": [message(k) for k in found.kernels]})


def _second_point(context: Context, older: RestorePoint,
                  words: list[str]) -> tuple[RestorePoint | None, list[str]]:
    """Return the second point (None: the live tree) and the words that are paths."""
    from engine.errors import UsageError
    from engine.text import inner_path

    if not words or "/" in words[0]:
        return None, words
    if words[0] == LIVE:
        return None, words[1:]
    try:
        return context.resolve(words[0]), words[1:]
    except UsageError as error:
        # `diff 3 etc` is a path that exists; `diff 3 99` is a point that does not.
        try:
            context.engine.entry(older, inner_path(words[0]))
        except UsageError:
            error.hint = f"{error.hint}; a PATH is written with a slash: ./{words[0]}"
            raise error from None
        return None, words


def _trees(context: Context, diff: Diff) -> Answer:
    from tui.commands._format import change_json, change_line, diff_totals, totals_line

    if not context.out.as_json:
        for change in diff.changes:
            context.out.data(change_line(change))
        context.out.info(totals_line(diff))
        return Answer()
    return Answer({"older": diff.older, "newer": diff.newer, "totals": diff_totals(diff),
                   "changes": [change_json(change) for change in diff.changes]})


def _file(context: Context, older: RestorePoint, newer: RestorePoint | None, diff: Diff,
          change: Change) -> Answer:
    """Show one regular file's change: its line, and the text that differs (of a binary file the engine
    says so)."""
    from engine.text import message
    from tui.commands._format import change_json, change_line, diff_totals

    # Tabs stay: a Makefile with \x09 in it cannot be read, and they do a terminal no harm.
    lines = ["\t".join(map(message, line.rstrip("\r\n").split("\t")))
             for line in context.engine.file_diff(older, newer, change.path)]
    context.out.info(change_line(change))
    for line in lines:
        context.out.data(line)
    return Answer({"older": diff.older, "newer": diff.newer, "totals": diff_totals(diff),
                   "changes": [change_json(change)], "text": lines})


def _must_exist(context: Context, older: RestorePoint, newer: RestorePoint | None, path: bytes) -> None:
    """Raise UsageError for a path that is nowhere: that is a typing mistake, not a path without
    differences."""
    from engine.errors import UsageError

    try:
        context.engine.entry(older, path)
    except UsageError:
        if newer is None:
            raise
        context.engine.entry(newer, path)


COMMANDS = (Command("diff", "what changed since a point, or between two", 40, configure, run, _DETAILS),)
