"""The rows of the plot over time: own size and changes as bars of console glyphs."""

from __future__ import annotations

from collections.abc import Sequence

from tui.growth import KINDS, Span, scale
from tui.text import Segment, count, fit, plural, safe, size
from tui.widgets.rows import Row

GLYPHS = {"created": ("+", "good"), "changed": ("M", "warn"), "attrs": ("a", "dim"), "deleted": ("-", "bad")}
"""How each kind of change is drawn: the letters of the lists of changes."""
_LEGEND = "+ new  M content  a attrs  - gone"
_LABEL, _WIDE, _MIDDLE = 12, 110, 60


class GrowthRows:
    """A `RowSource` over spans: name, number of points, own size, changes."""

    def __init__(self, found: Sequence[Span]) -> None:
        self.spans = found
        self._most = scale([s.own or 0 for s in found])
        self._busiest = scale([sum(s.changes.values()) for s in found])

    def __len__(self) -> int:
        return len(self.spans)

    def selectable(self, index: int) -> bool:
        """All rows are."""
        return True

    @staticmethod
    def _bars(width: int) -> tuple[int, int]:
        """Room for the two bars, 0 where there is none."""
        room = width - _LABEL - 1 - 6 - 10 - 9 - 2 - (10 if width >= _WIDE else 0)
        return (room // 2, room - room // 2) if width >= _MIDDLE else (max(0, width - _LABEL - 6 - 13), 0)

    def heading(self, width: int) -> Row | None:
        """Column titles."""
        own, changed = self._bars(width)
        text = f" {'When':<{_LABEL}}{'Points':>6}{'Own size':>10}  {fit('', own)}"
        text += f"{'Sum':>8}  " if width >= _WIDE else ""
        legend = _LEGEND if changed > len(_LEGEND) else ""
        return [(fit(text + (f"{'Changes':>7}  {legend}" if changed else ""), width), "head")]

    def row(self, index: int, width: int) -> Row:
        """One span."""
        span = self.spans[index]
        own, changed = self._bars(width)
        out: list[Segment] = [(" " + fit(safe(span.name), _LABEL), ""), (f"{len(span.points):>6}", "dim"),
                              (fit(size(span.own), 10, right=True) + "  ", "strong"),
                              (fit(_bar("#", span.own or 0, self._most, own - 2), own), "accent")]
        if width >= _WIDE:
            out.append((fit(size(span.total), 8, right=True) + "  ", "dim"))
        if changed:
            total = sum(span.changes.values())
            out.append(((f"{count(total):>7}" if span.changes else f"{'-':>7}") + "  ", ""))
            out += self._mixed(span, total, changed - 2)
        return out

    def _mixed(self, span: Span, total: int, width: int) -> list[Segment]:
        """One bar of all kinds of change, each with its share; a kind that is there has at least one cell."""
        length = len(_bar("#", total, self._busiest, width))
        parts: list[Segment] = []
        left = length
        kinds = [k for k in KINDS if span.changes.get(k)]
        for index, kind in enumerate(kinds):
            glyph, look = GLYPHS[kind]
            rest = len(kinds) - index - 1
            cells = left if not rest else max(1, min(left - rest, round(length * span.changes[kind] / total)))
            parts.append((glyph * max(0, cells), look))
            left -= max(0, cells)
        return [*parts, (">" if total > self._busiest else "", "strong")]

    def line(self, index: int) -> list[Segment]:
        """One span in words."""
        span = self.spans[index]
        numbers = [str(p.number) for p in span.points]
        named = f"point {numbers[0]}"
        if len(numbers) > 1:
            named = f"{plural(len(numbers), 'point')}, {numbers[0]} to {numbers[-1]}"
        words = [f"{count(span.changes[k])} {'attributes' if k == 'attrs' else k}" for k in KINDS if k in span.changes]
        own = "own size not measured" if span.own is None else f"own size {size(span.own)}"
        return [(safe(span.name), "strong"), (f"   {named}   {own}", ""),
                (f"   all up to here {size(span.total)}", "dim"),
                ("   " + (", ".join(words) or "no changes are recorded"), "")]


def _bar(glyph: str, value: int, whole: int, width: int) -> str:
    """A bar of up to `width` cells; what is more than `whole` ends in ``>``, what is there at all has one cell."""
    if value > whole:
        return glyph * max(0, width - 1) + ">"
    return glyph * max(1 if value > 0 else 0, round(width * value / whole))
