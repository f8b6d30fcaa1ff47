"""The rows of a history: now, every version once, and the points that did not have the path."""

from __future__ import annotations

from collections.abc import Sequence

from tui.entrytext import amount, mode, moment
from tui.text import Segment, fit
from tui.versions import Stage
from tui.widgets.changerows import LOOKS
from tui.widgets.rows import Row


class VersionRows:
    """A `RowSource` over the stages of a path."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = stages

    def __len__(self) -> int:
        return len(self.stages)

    def selectable(self, index: int) -> bool:
        """All rows are."""
        return True

    @staticmethod
    def _widths(width: int) -> tuple[int, int, int, int]:
        """Room for the points, the size, the time, the mode; 0: not shown."""
        return 14, 10, 18 if width >= 46 else 0, 11 if width >= 58 else 0

    def heading(self, width: int) -> Row | None:
        """Column titles."""
        where, size, time, modes = self._widths(width)
        text = f"   {fit('In points', where)}{fit('Size', size, right=True)}"
        text += f"  {fit('Changed', time - 2)}" if time else ""
        text += f" {fit('Mode', modes - 1)}" if modes else ""
        return [(fit(text, width), "head")]

    def row(self, index: int, width: int) -> Row:
        """One state. The letter says what led to it from the one below."""
        stage = self.stages[index]
        where, size, time, modes = self._widths(width)
        status = stage.change.status if stage.change is not None else None
        sign = status.value if status is not None else "=" if stage.live else " "
        look = LOOKS[status] if status is not None else "dim"
        out: list[Segment] = [(f" {sign} ", look), (fit(span(stage), where), "strong" if stage.live else "")]
        entry = stage.entry
        if entry is None:
            return [*out, (fit("not there", size + time + modes), "bad")]
        out.append((fit(amount(entry), size, right=True), ""))
        if time:
            out.append(("  " + fit(moment(entry, "%Y-%m-%d %H:%M"), time - 2), "dim"))
        if modes:
            out.append((" " + fit(mode(entry), modes - 1), "dim"))
        return out


def span(stage: Stage) -> str:
    """Return over which points a state holds: ``now``, ``8``, ``3 to 7``."""
    if stage.first is None or stage.last is None:
        return "now"
    low, high = stage.first.number, stage.last.number
    return str(low) if low == high else f"{low} to {high}"


def side_name(stage: Stage) -> str:
    """Return what a side of a difference is called: ``now``, ``point 8``."""
    return "now" if stage.last is None else f"point {stage.last.number}"
