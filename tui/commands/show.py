"""`show`: everything that is recorded about one point."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tui.commands import Answer, Command
from tui.commands._args import point_argument

if TYPE_CHECKING:
    from engine.points import RestorePoint
    from tui.commands._context import Context

_SHOWN_ABOVE = frozenset(("id", "number", "created", "comment", "tags", "pinned", "pin", "state", "backend"))


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    point_argument(parser)


def run(context: Context, args: Namespace) -> Answer:
    """Show one point."""
    from tui.commands._format import point_json

    point = context.resolve(args.point)
    for line in _lines(point):
        context.out.data(line)
    return Answer(point_json(point, whole=True))


def _lines(point: RestorePoint) -> Iterator[str]:
    from engine.text import human_age, message, printable, shown_path
    from tui.commands._format import local_time, marks, size

    yield "Point      " + (f"{point.number} ({printable(point.id)})" if point.number else printable(point.id))
    yield f"Taken      {local_time(point.created)}, {human_age(point.age())}"
    yield f"Backend    {printable(point.backend)}"
    yield f"State      {printable(point.state)}" + (f" ({marks(point)})" if marks(point) else "")
    for problem in point.problems:
        yield f"           {message(problem)}"
    if point.comment:
        yield f"Comment    {printable(point.comment)}"
    yield f"Own size   {size(point.own_bytes)}"
    if point.backend != "replica":
        yield f"Taken by   {printable(point.owner) or 'Rollpoint'}"
    for part in point.parts:
        where = shown_path(part.place) if part.place is not None else "not mounted"
        yield f"Volume     {message(part.volume)} ({where}): {message(part.snapshot)}, {printable(part.state)}"
        yield from _value_lines(dict(part.facts), "           ")
    yield from _value_lines({k: v for k, v in point.doc.items() if k not in _SHOWN_ABOVE}, "")


def _value_lines(value: Any, indent: str) -> Iterator[str]:
    """Yield a mapping or a list as indented lines: keys that are added to the format later are shown too."""
    from engine.text import printable

    pairs = value.items() if isinstance(value, dict) else ((None, v) for v in value)
    for key, item in pairs:
        label = f"{indent}-" if key is None else f"{indent}{printable(str(key))}:"
        if key is None and isinstance(item, dict):
            yield f"{label} " + ", ".join(f"{printable(str(k))} {_shown(v)}" for k, v in item.items() if v != "")
        elif isinstance(item, dict | list | tuple) and item:
            yield label
            yield from _value_lines(item, indent + "  ")
        elif item not in ("", None, [], {}, ()):
            yield f"{label} {_shown(item)}"


def _shown(value: Any) -> str:
    from engine.text import printable

    return printable(value if isinstance(value, str | bytes) else str(value))


COMMANDS = (Command("show", "all that is recorded about one point", 30, configure, run),)
