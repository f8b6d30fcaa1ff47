"""The rows of a search: paths that fit, each once, with what is known of its versions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from engine.entries import Entry, Kind, Version
from tui.entrytext import amount, moment
from tui.text import Segment, count, fit, path
from tui.widgets.rows import Row


@dataclass(slots=True)
class Hit:
    """A path that fits: its newest version so far, how many versions there are, in how many points it is."""

    newest: Version
    versions: int = 1
    points: int = 0

    @property
    def entry(self) -> Entry:
        """The entry of the newest version."""
        return self.newest.entry


class FoundRows:
    """A `RowSource` over the first `length` hits; more may come to the list meanwhile. `numbers` gives the number of a
    point by its id."""

    def __init__(self, hits: Sequence[Hit], numbers: dict[str, int]) -> None:
        self._hits, self._length, self._numbers = hits, len(hits), numbers

    def __len__(self) -> int:
        return self._length

    def selectable(self, index: int) -> bool:
        """All rows are."""
        return True

    def hit(self, index: int) -> Hit | None:
        """The hit in a row, None beyond the end."""
        return self._hits[index] if 0 <= index < self._length else None

    @staticmethod
    def _widths(width: int) -> tuple[int, int, int, int]:
        """Room for the size, the time, the number of versions, the point that has it last; 0: not shown."""
        return 9 if width >= 50 else 0, 17 if width >= 90 else 0, 10 if width >= 70 else 0, 9 if width >= 34 else 0

    def heading(self, width: int) -> Row | None:
        """Column titles."""
        size, time, versions, last = self._widths(width)
        text = f"   {fit('Last in', last)}{fit('Versions', versions)}{fit('Size', size, right=True)}"
        text += f"  {fit('Changed', time)}" if time else "  "
        return [(fit(f"{text}Path", width), "head")]

    def row(self, index: int, width: int) -> Row:
        """One path. One that the newest point has no more begins with a minus."""
        hit = self._hits[index]
        size, time, versions, last = self._widths(width)
        gone = not hit.newest.current
        number = self._numbers.get(hit.newest.last)
        where = "newest" if not gone else f"point {number}" if number is not None else "?"
        out: list[Segment] = [(" - " if gone else "   ", "bad"), (fit(where, last), "bad" if gone else "dim")]
        out.append((fit(count(hit.versions), max(0, versions - 2), right=True) + "  " * bool(versions), ""))
        out.append((fit(amount(hit.entry), size, right=True) + "  ", ""))
        if time:
            out.append((fit(moment(hit.entry, "%Y-%m-%d %H:%M"), time), "dim"))
        used = sum(len(text) for text, _ in out)
        shown = path(hit.entry.path) + ("/" if hit.entry.kind is Kind.DIR else "")
        return [*out, (fit(shown, max(1, width - used - 1), keep_end=True), "dim" if gone else "")]
