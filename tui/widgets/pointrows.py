"""The rows of the list of points: columns for the width there is, a heading for each day where there is room."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from rich.cells import cell_len

from engine.points import RestorePoint
from engine.text import short_age
from tui.storagewords import by, of_storage, short_volumes, snapshot_name, whose
from tui.text import Segment, fit, marks, safe, shown, size
from tui.widgets.rows import Row

_VOLUME = 18
"""So many cells the names of volumes may take."""


class Column(NamedTuple):
    """A column: title, cells, how to fill it. Those of the highest `weight` go first when there is no room."""

    title: str
    width: int
    text: Callable[[RestorePoint], str]
    look: Callable[[RestorePoint], str]
    weight: int
    right: bool = False


class PointRows:
    """A `RowSource` over points, newest first. `days`: put a heading before the points of each day. `marked` is the id
    of the point that the one under the cursor is to be compared with, `going_back` what an interrupted rollback says
    (the point it names is marked). `like` are all points, where `points` are only some of them: the columns stay."""

    def __init__(self, points: Sequence[RestorePoint], now: datetime, *, days: bool = False, marked: str = "",
                 going_back: str = "", like: Sequence[RestorePoint] = ()) -> None:
        self.now = now
        self.days = days
        self.marked, self._going_back = marked, going_back
        self._rows: list[RestorePoint | str] = []
        self._at: dict[str, int] = {}
        self._columns = self._wanted(like or points)
        self._fitting: tuple[int, list[Column]] = (-1, [])
        before: object = None
        for point in points:
            local = point.created.astimezone()
            if days and local.date() != before:
                before = local.date()
                self._rows.append(local.strftime("%A, %-d %B %Y"))
            self._at[point.id] = len(self._rows)
            self._rows.append(point)

    def __len__(self) -> int:
        return len(self._rows)

    def point(self, index: int) -> RestorePoint | None:
        """The point in a row, None for a heading or beyond the end."""
        row = self._rows[index] if 0 <= index < len(self._rows) else None
        return row if isinstance(row, RestorePoint) else None

    def index_of(self, point_id: str) -> int | None:
        """The row of a point, None when it is not there."""
        return self._at.get(point_id)

    def selectable(self, index: int) -> bool:
        """Headings are not."""
        return self.point(index) is not None

    # --- columns -------------------------------------------------------------------------------------------------

    def _wanted(self, points: Sequence[RestorePoint]) -> list[Column]:
        """The columns between the marks and the comment. One that would say the same in every row is left out."""
        def plain(look: str) -> Callable[[RestorePoint], str]:
            return lambda _: look

        local = datetime.astimezone
        found = [Column("No", 4, lambda p: str(p.number or ""), plain("strong"), 0, right=True)]
        if points and not any(p.number for p in points):
            found = []      # points of VMs have none
        if len({p.backend for p in points}) > 1:
            found.append(Column("Kind", 7, lambda p: safe(p.backend), plain("dim"), 2))
        of = [short_volumes(p) for p in points if p.parts]
        if of:
            room = max(8, min(_VOLUME, max(map(cell_len, of))))
            found.append(Column("Volume", room, lambda p: fit(short_volumes(p), room, keep_end=True), plain(""), 2))
        if not self.days:
            found.append(Column("Date", 10, lambda p: local(p.created).strftime("%Y-%m-%d"), plain(""), 1))
        found.append(Column("Time", 5, lambda p: local(p.created).strftime("%H:%M"), plain(""), 1))
        found.append(Column("Age", 6, lambda p: short_age(p.age(self.now)), plain("dim"), 3, right=True))
        found.append(Column("Own size", 8, lambda p: size(p.own_bytes), plain(""), 5, right=True))
        if any(p.state != "ok" for p in points):
            found.append(Column("State", 8, lambda p: "" if p.state == "ok" else safe(p.state).upper(),
                                lambda p: "dim" if p.state == "ok" else "bad", 4))
        if any(p.owner for p in points):
            found.append(Column("Owner", 9, whose, plain("dim"), 6))
        if any(p.doc.get("reason") for p in points):
            found.append(Column("Why", 8, lambda p: shown(p.doc.get("reason", "")), plain("dim"), 7))
        if len({str(p.doc.get("taken_by", "")) for p in points}) > 1:
            found.append(Column("By", 8, lambda p: shown(p.doc.get("taken_by", "")), plain("dim"), 8))
        return found

    def columns(self, width: int) -> list[Column]:
        """Return the columns for a width in cells. A short date (month and day) comes before none."""
        if self._fitting[0] == width:
            return self._fitting[1]
        left, comment = list(self._columns), max(12, min(22, width // 5))
        while left and 5 + sum(c.width + len(_gap(c)) for c in left) + comment > width:
            worst = max(left, key=lambda c: c.weight)
            if worst.weight <= 1:
                left = [_short_date(c) if c.title == "Date" else c for c in left]
                break
            left.remove(worst)
        self._fitting = (width, left)
        return left

    # --- rows ----------------------------------------------------------------------------------------------------

    def heading(self, width: int) -> Row | None:
        """Column titles."""
        titles = "".join(fit(c.title, c.width, right=c.right) + _gap(c) for c in self.columns(width))
        return [(fit("     " + titles + "Comment", width), "head")]

    def row(self, index: int, width: int) -> Row:
        """One point, or one day."""
        point = self._rows[index]
        if isinstance(point, str):
            return [(fit(f" {point}", width), "head")]
        look = "bad" if point.state != "ok" else "good" if point.newest else "accent"
        out: list[Segment] = [("*" if point.id == self.marked else " ", "warn"),
                              (marks(point, self._going_back) + " ", look)]
        columns = self.columns(width)
        out += [(fit(c.text(point), c.width, right=c.right) + _gap(c), c.look(point)) for c in columns]
        comment, look, notes = safe(point.comment), "", [f"#{safe(tag)}" for tag in point.tags]
        if of_storage(point):
            there = {c.title for c in columns}
            if point.state != "ok" and "State" not in there:    # must not go unseen where its column does
                out.append((safe(point.state).upper() + " ", "bad"))
            if not comment and point.owner:     # its name is what others know it by
                comment, look = snapshot_name(point), "dim"
            notes += [by(point)] if point.owner and "Owner" not in there else []
        used = sum(cell_len(text) for text, _ in out)
        between = " " if comment else ""
        more = between + " ".join(notes) if width - used > len(comment) + 8 else ""
        return [*out, (fit(comment, min(cell_len(comment), max(0, width - used - 1))), look), (more, "dim")]


def _gap(column: Column) -> str:
    return " " if column.title in ("Date", "Time") else "  "


def _short_date(column: Column) -> Column:
    return column._replace(width=5, text=lambda p: p.created.astimezone().strftime("%m-%d"))


def matches(point: RestorePoint, words: str) -> bool:
    """Whether a point has every word (case ignored) in its number, id, date, comment, tags, kind, state, owner,
    reason, or in the names of its volumes and snapshots."""
    local = point.created.astimezone()
    text = " ".join((str(point.number), point.id, local.strftime("%Y-%m-%d %H:%M %A %B"), safe(point.comment),
                     " ".join(map(safe, point.tags)), point.state, point.backend, "newest" if point.newest else "",
                     "pinned" if point.pinned else "", shown(point.doc.get("reason", "")),
                     shown(point.doc.get("taken_by", "")), whose(point),
                     *(f"{safe(part.volume)} {safe(part.snapshot)}" for part in point.parts)))
    return all(word in text.lower() for word in words.lower().split())
