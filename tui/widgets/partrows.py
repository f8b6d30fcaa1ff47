"""The volumes that a point of the storage is made of, and what the storage says of each."""

from __future__ import annotations

from engine.points import Part, RestorePoint
from tui.text import Line, Segment, content, field, path, plural, safe, size
from tui.widgets.docrows import value_lines

_FEW = 2


def part_rows(point: RestorePoint, *, full: bool = True) -> list[Line]:
    """Return the parts of a point, nothing for one that has none. Not `full`: the first ones, and only where they
    are."""
    shown = point.parts if full else point.parts[:_FEW]
    rows: list[Line] = []
    for part in shown:
        rows.append(field("Volume", (safe(part.volume), "strong"), *_where(part)))
        if full:
            rows += _facts(part)
    if len(point.parts) > len(shown):
        rows.append(field("", (f"and {plural(len(point.parts) - len(shown), 'volume')} more", "dim")))
    return rows


def _where(part: Part) -> list[Segment]:
    place: Segment = ("  not mounted", "dim") if part.place is None else (f"  {path(part.place)}", "")
    return [place, ("" if part.state == "ok" else f"  {part.state.upper()}", "bad")]


def _facts(part: Part) -> list[Line]:
    """The snapshot's name and size, and its facts in columns of their own names."""
    own = "" if part.own_bytes is None else f"  {size(part.own_bytes)}"
    rows: list[Line] = [field("", part.snapshot, (own, "dim"))]
    wide = max((len(safe(key)) for key in part.facts), default=0)
    for key, value in part.facts.items():
        if value is None or value == "" or value == () or value == []:
            continue
        # A number here may well be a name (a guid): no thousands are parted in it.
        first, *rest = list(value_lines(str(value) if isinstance(value, int) else value)) or [""]
        rows.append(field("", (f"{safe(key):<{min(wide, 20)}}  ", "dim"), first))
        rows += [field("", (" " * (min(wide, 20) + 2), ""), line) for line in rest]
    return [*rows, content("")] if part.facts else rows
