"""The rows of the list of points: columns for the width there is, a heading for each day where there is room."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from engine.points import RestorePoint
from engine.text import short_age
from tui.text import Segment, fit, marks, safe, shown, size
from tui.widgets.rows import Row

WIDE = 60
"""From this width on the list has all its columns."""


class PointRows:
    """A `RowSource` over points, newest first. `days`: put a heading before the points of each day."""

    def __init__(self, points: Sequence[RestorePoint], now: datetime, *, days: bool = False) -> None:
        self.now = now
        self.days = days
        self._rows: list[RestorePoint | str] = []
        day = ""
        for point in points:
            name = point.created.astimezone().strftime("%A, %-d %B %Y")
            if days and name != day:
                self._rows.append(name)
                day = name
            self._rows.append(point)

    def __len__(self) -> int:
        return len(self._rows)

    def point(self, index: int) -> RestorePoint | None:
        """The point in a row, None for a heading or beyond the end."""
        row = self._rows[index] if 0 <= index < len(self._rows) else None
        return row if isinstance(row, RestorePoint) else None

    def index_of(self, point_id: str) -> int | None:
        """The row of a point, None when it is not there."""
        for index, row in enumerate(self._rows):
            if isinstance(row, RestorePoint) and row.id == point_id:
                return index
        return None

    def selectable(self, index: int) -> bool:
        """Headings are not."""
        return self.point(index) is not None

    def heading(self, width: int) -> Row | None:
        """Column titles."""
        return [(fit("".join(self._line(width, ("", "No", "Date", "Time", "Age", "Own size", "State", "Comment"))),
                     width), "head")]

    def row(self, index: int, width: int) -> Row:
        """One point, or one day."""
        row = self._rows[index]
        if isinstance(row, str):
            return [(fit(f" {row}", width), "head")]
        local = row.created.astimezone()
        cells = (marks(row), str(row.number), local.strftime("%Y-%m-%d"), local.strftime("%H:%M"),
                 short_age(row.age(self.now)), size(row.own_bytes), safe(row.state), safe(row.comment))
        mark, number, date, time, age, own, state, comment = self._line(width, cells)
        mark_look = "bad" if row.state != "ok" else "good" if row.newest else "accent"
        segments: list[Segment] = [(mark, mark_look), (number, "strong"), (date, ""), (time, ""), (age, "dim"),
                                   (own, ""), (state, "bad" if row.state != "ok" else "dim"), (comment, "")]
        return segments

    def _line(self, width: int, cells: Sequence[str]) -> list[str]:
        """Pad and cut the eight cells for a width; columns that have no room become empty."""
        mark, number, date, time, age, own, state, comment = cells
        full, middle = width >= WIDE, width >= 44
        out = [f" {fit(mark, 3)} ", fit(number, 4, right=True) + "  "]
        out.append("" if self.days else (fit(date, 10) if middle else fit(date[-5:], 5)) + " ")
        out.append(fit(time, 5) + " ")
        out.append(fit(age, 6, right=True) + "  " if full or width >= 34 else "")
        out.append(fit(own, 8, right=True) + "  " if full else "")
        out.append(fit(state.upper() if state == "damaged" else state, 7) + "  " if full else "")
        out.append(fit(comment, max(0, width - sum(map(len, out)) - 1)))
        return out


def matches(point: RestorePoint, words: str) -> bool:
    """Whether a point has every word (case ignored) in its number, id, date, comment, tags, state or marks."""
    local = point.created.astimezone()
    text = " ".join((str(point.number), point.id, local.strftime("%Y-%m-%d %H:%M %A %B"), safe(point.comment),
                     " ".join(map(safe, point.tags)), point.state, point.backend, "newest" if point.newest else "",
                     "pinned" if point.pinned else "", shown(point.doc.get("reason", ""))))
    return all(word in text.lower() for word in words.lower().split())
