"""Where one is: the point (number, time, age) and the path in it. In one line, or in two where there is room."""

from __future__ import annotations

from datetime import datetime

from textual.content import Content
from textual.widget import Widget

from engine.points import RestorePoint
from tui.text import brief_age, called, content, fit, path, stamp


class PlaceLine(Widget):
    """``Point 8  2024-11-18 13:32:40 +0000  2 d ago   /etc/ssh/``; what is less important goes first."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._point: RestorePoint | None = None
        self._path = ""
        self._now: datetime | None = None

    def show(self, point: RestorePoint, inside: bytes, now: datetime) -> None:
        """Set the point and the path in it."""
        self._point, self._now = point, now
        self._path = path(inside)
        self.refresh()

    def render(self) -> Content:
        """Draw it for the size there is."""
        if self._point is None or self._now is None:
            return Content("")
        width, point = self.size.width, self._point
        # An id can be long, and says less than the time: it stands behind, where it may be cut off.
        name, ident = (f"Point {called(point)}", "") if point.number else ("Point", f"  {called(point)}")
        short = point.created.astimezone().strftime("%m-%d %H:%M")
        marks = "  DAMAGED" if point.state != "ok" else "  newest" if point.newest else ""
        if self.size.height > 1:
            first = content((name, "head"), f"  {stamp(point.created)}",
                            (f"  {brief_age(point.age(self._now))}", "dim"),
                            (marks, "bad" if point.state != "ok" else "good"), (ident, "head"),
                            (f"  {point.comment}" if point.comment else "", "dim"))
            return first.truncate(width) + Content("\n") + content((fit(self._path, width, keep_end=True), "strong"))
        return content((name, "head"), f" {short}  ",
                       (fit(self._path, max(1, width - len(name) - len(short) - 3), keep_end=True), "strong"))
