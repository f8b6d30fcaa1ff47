"""The rows of the place about booting: areas of boot code, texts about disks, facts of the machine."""

from __future__ import annotations

from collections.abc import Sequence

from engine.bootlook import FACT, Layout
from engine.machine.collect import Text
from tui.bootwords import AreaRow
from tui.text import Segment, fit, safe, size
from tui.widgets.rows import Row

_STATE = 10


class AreaRows:
    """A `RowSource` of boot areas under a heading for each disk: area, state, what is there now, what the point has."""

    def __init__(self, areas: Sequence[AreaRow], then: str) -> None:
        self.areas, self._then = areas, then
        self.amount = sum(a.place is not None or a.loader is not None for a in areas)

    def __len__(self) -> int:
        return len(self.areas)

    def selectable(self, index: int) -> bool:
        """All but the disks' headings."""
        return not self.areas[index].heading

    @staticmethod
    def _widths(width: int) -> tuple[int, int, int]:
        """Room for the area, for what is there now, and for what the point has (0: not shown)."""
        area = 20 if width >= 60 else 12
        left = max(1, width - area - _STATE - 6)
        return (area, left // 2, left - left // 2 - 2) if width >= 60 else (area, left, 0)

    def heading(self, width: int) -> Row | None:
        """Column titles."""
        area, now, then = self._widths(width)
        text = f"   {fit('Area', area)} {fit('', _STATE)} {fit('Now', now)}  {fit(self._then, then)}"
        return [(fit(text, width), "head")]

    def row(self, index: int, width: int) -> Row:
        """One area; a finding that is no area takes the room of both columns."""
        found = self.areas[index]
        if found.heading:
            return [(" " + fit(found.title, max(1, width - 2)), "strong")]
        area, now, then = self._widths(width)
        out: list[Segment] = [(f"   {fit(safe(found.title), area)} ", ""), (fit(found.state[0], _STATE) + " ",
                                                                           found.state[1])]
        if not then or (found.place is None and found.loader is None):
            return [*out, (fit(safe(found.now or found.then), now + then + 2 * bool(then)), "")]
        return [*out, (fit(safe(found.now) or "-", now) + "  ", ""), (fit(safe(found.then) or "-", then), "dim")]

    def line(self, index: int) -> list[Segment]:
        """The area in full."""
        return [(self.areas[index].more, "")]


class LayoutRows:
    """A `RowSource` of the texts about the disks, then and now."""

    def __init__(self, texts: Sequence[Layout]) -> None:
        self.texts = texts

    def __len__(self) -> int:
        return len(self.texts)

    def selectable(self, index: int) -> bool:
        """All rows are."""
        return True

    def heading(self, width: int) -> Row | None:
        """None."""
        return None

    @staticmethod
    def state(text: Layout) -> Segment:
        """How the two differ, in a word."""
        if text.then is None or text.now is None:
            return (("not known", "warn") if text.then is text.now else ("now", "dim") if text.then is None
                    else ("in point", "dim"))
        return ("equal", "good") if text.then == text.now else ("DIFFERENT", "bad")

    def row(self, index: int, width: int) -> Row:
        """One text."""
        text = self.texts[index]
        word, look = self.state(text)
        name = max(12, min(44, width - _STATE - 4))
        left = max(0, width - name - _STATE - 6)
        return [(" " + fit(safe(text.name), name) + "  ", ""), (fit(word, _STATE) + "  ", look),
                (fit(safe(text.note), left), "dim")]

    def line(self, index: int) -> list[Segment]:
        """What else is to be known of it."""
        text = self.texts[index]
        return [(text.name, "strong"), (f"   {text.note}" if text.note else "   enter shows it", "dim")]


class FactRows:
    """A `RowSource` of the texts a point keeps about the machine; `name(i)` is what the engine calls one."""

    def __init__(self, texts: Sequence[Text], facts: Sequence[Text]) -> None:
        self.texts = (*texts, *facts)
        self._plain = len(texts)

    def __len__(self) -> int:
        return len(self.texts)

    def name(self, index: int) -> str:
        """The name to ask for the text by."""
        return self.texts[index].name if index < self._plain else FACT + self.texts[index].name

    def selectable(self, index: int) -> bool:
        """All rows are."""
        return True

    def heading(self, width: int) -> Row | None:
        """Column titles."""
        return [(fit(f" {fit('Text', 20)}  {'Size':>9}  Command or file", width), "head")]

    def row(self, index: int, width: int) -> Row:
        """One text: its name, its size, where it comes from; a note where it is not whole."""
        text = self.texts[index]
        said = safe(text.command) + (f"  ({safe(text.note)})" if text.note else "")
        return [(" " + fit(safe(text.name), 20) + "  ", "strong"), (f"{size(text.bytes):>9}  ", ""),
                (fit(said, max(1, width - 35)), "warn" if text.note else "")]

    def line(self, index: int) -> list[Segment]:
        """What it is, in full."""
        text = self.texts[index]
        return [(text.name, "strong"), (f"   {text.command}", ""), (f"   {text.note}" if text.note else "", "warn")]
