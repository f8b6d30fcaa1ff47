"""The only place where strings of the engine become text of a screen.

Everything that comes from a disk (names, comments, hosts, messages of tools) passes `safe` or `path`, and then
stands in a `Content` or a row segment as it is: nothing here is ever parsed as markup, and no control or bidi
character reaches the terminal. Only glyphs that every console font has are used.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from rich.cells import cell_len, set_cell_size
from textual.content import Content

from engine.errors import RollpointError
from engine.points import RestorePoint
from engine.text import human_size, message, short_age, shown_path
from engine.text import plural as plural
from tui.oserrors import explain

CUT = ".."
"""What stands where text was cut off: the ellipsis is missing in most console fonts."""

Segment = tuple[str, str]
"""A piece of a row and the name of its look: "", dim, strong, good, warn, bad, accent, head; plus and minus are the
parts of a line that came and went."""

STYLES = {"": "", "dim": "$rp-dim", "strong": "bold", "good": "$text-success", "warn": "bold $text-warning",
          "bad": "bold $text-error", "accent": "$text-accent", "head": "bold $text-primary",
          "plus": "bold underline $text-success", "minus": "bold underline $text-error"}


def safe(value: object) -> str:
    """Return anything as one printable line; the name of its type where it cannot be turned into text."""
    if isinstance(value, str):
        return message(value)
    try:
        return message(str(value))
    except Exception:
        return type(value).__name__


def path(name: bytes) -> str:
    """Return a path inside a point as an absolute, printable one."""
    return shown_path(name)


def content(*parts: str | Segment) -> Content:
    """Return pieces (text, or text and the name of a look) as Content; every piece is made safe."""
    return Content.assemble(*((safe(p), "") if isinstance(p, str) else (safe(p[0]), STYLES[p[1]]) for p in parts))


class Field(NamedTuple):
    """A line with a label in a column of its own; what does not fit goes on under the value."""

    label: str
    value: Content
    indent: int = 11


Line = Content | Field


def field(label: str, *parts: str | Segment) -> Field:
    """Return a labelled line; the label is a constant of ours."""
    return Field(label, content(*parts))


def laid_out(rows: Iterable[Line], width: int) -> Content:
    """Return rows as one Content for a width in cells, long ones wrapped; those of a field under their value."""
    out: list[Content] = []
    for row in rows:
        label, value, indent = row if isinstance(row, Field) else ("", row, 0)
        if width <= 2 * indent:
            value, indent = Content.assemble((f"{label} " if label else "", STYLES["dim"]), value), 0
        elif cell_len(label) >= indent > 0:     # no room for it beside its value
            out.append(Content.assemble((label, STYLES["dim"])))
            label = ""
        for index, part in enumerate(value.wrap(max(4, width - indent)) or [value]):
            head = label if index == 0 and indent else ""
            out.append(Content.assemble((f"{head:<{indent}}" if indent else "", STYLES["dim"]), part))
    return Content("\n").join(out)


def fit(text: str, width: int, *, right: bool = False, keep_end: bool = False) -> str:
    """Return `text` in exactly `width` cells: padded, or cut with `CUT` (at the front with `keep_end`)."""
    if width <= 0:
        return ""
    size = cell_len(text)
    if size > width:
        if width <= len(CUT) + 1:
            return set_cell_size(text, width)
        if not keep_end:
            return set_cell_size(set_cell_size(text, width - len(CUT)) + CUT, width)
        return set_cell_size(CUT + _tail(text, width - len(CUT)), width)
    pad = " " * (width - size)
    return pad + text if right else text + pad


def _tail(text: str, width: int) -> str:
    """The longest end of `text` that takes no more than `width` cells."""
    taken = 0
    for index in range(len(text) - 1, -1, -1):
        taken += cell_len(text[index])
        if taken > width:
            return text[index + 1:]
    return text


def count(number: int) -> str:
    """Return a number with thousands separated: ``12,345``."""
    return f"{number:,}"


def size(number: int | None) -> str:
    """Return bytes for people, ``-`` where nobody measured."""
    return "-" if number is None else human_size(number)


def stamp(when: datetime) -> str:
    """Return a time of this machine with its zone: ``2024-11-02 03:10:22 +0100``."""
    return when.astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def clock_time(seconds: float) -> str:
    """Return a duration as ``0:07``, ``12:34`` or ``1:02:03``."""
    whole = max(0, int(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, secs = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{secs:02d}" if hours else f"{minutes}:{secs:02d}"


def called(point: RestorePoint) -> str:
    """Return what a point is called in a sentence: its number, or its id where it has none."""
    return str(point.number) if point.number else safe(point.id)


def marks(point: RestorePoint, going_back: str = "") -> str:
    """Return the three letters of the mark column: N newest, P pinned, ! not whole, M merging; R where an interrupted
    rollback was going (`going_back` is what the engine says about it)."""
    last = {"ok": " ", "merging": "M"}.get(point.state, "!")
    last = "R" if last == " " and point.id in going_back.split() else last
    return ("N" if point.newest else " ") + ("P" if point.pinned else " ") + last


def standing(point: RestorePoint) -> list[Segment]:
    """Return in words what is special about a point."""
    words: list[Segment] = []
    if point.state != "ok":
        words.append((point.state.upper(), "bad"))
    if point.newest:
        words.append(("newest", "good"))
    if point.pinned:
        words.append(("pinned", "accent"))
    return words or [("ok", "")]


def point_title(point: RestorePoint, now: datetime, word: str = "point") -> list[Segment]:
    """Return the one-line name of a point: number (or id), time, age."""
    return [(f"{word} {called(point)}", "head"), ("  " + stamp(point.created), ""),
            ("  " + brief_age(point.age(now)), "dim")]


def bar(share: float, width: int) -> str:
    """Return a bar of console glyphs: ``[####------]``, `width` cells wide in all."""
    inner = max(1, width - 2)
    full = min(inner, max(0, int(share * inner)))
    return "[" + "#" * full + "-" * (inner - full) + "]"


def brief_age(seconds: float) -> str:
    """Return an age for a narrow place: ``just now``, ``40 min ago``."""
    return "just now" if seconds < 60 else f"{short_age(seconds)} ago"


def error_lines(error: BaseException) -> list[Line]:
    """Return an error as rows: what happened, then what to do next. Never a traceback."""
    if isinstance(error, RollpointError):
        text = error.message or type(error).__name__
        rows: list[Line] = [content((text[:1].upper() + text[1:], "bad"))]
        hint = error.hint
    elif isinstance(error, OSError):
        said, hint = explain(error)
        rows = [content(("The system says: " + said, "bad"))]
    else:
        kind, said = type(error).__name__, safe(error)
        what = f"{kind}: {said}" if said not in ("", kind) else kind
        rows = [content((f"Unexpected: {what}", "bad"))]
        hint = "This is a fault in Rollpoint; please report it. `rollpoint doctor` may say more."
    if hint:
        rows += [Content(""), content(("What to do: ", "strong"), hint)]
    return rows


def shown(value: object) -> str:
    """Return a value of a point document for people: lists joined, mappings as ``key value`` pairs."""
    if isinstance(value, Mapping):
        return ", ".join(f"{safe(k)} {shown(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(shown(v) for v in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return count(value)
    return safe(value)
