"""What becomes of each point under the rules: as a list, and as a calendar of weeks."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from rich.cells import cell_len

from engine.results import Fate
from engine.text import short_age
from tui.storagewords import of_storage, short_volumes, volumes
from tui.text import Segment, called, count, fit, plural, safe, size, stamp
from tui.widgets.rows import Row

_WIDE, _MIDDLE = 90, 60
_VOLUME = 18
"""So many cells the names of volumes may take in a wide list."""
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


class FateRows:
    """A `RowSource`: each point, whether it stays, and the rule that says so. Columns come with the width. A point that
    the storage keeps has its kind in the place of a number. `asking`: nobody knows yet what becomes of those."""

    def __init__(self, fates: Sequence[Fate], now: datetime, *, asking: bool = False) -> None:
        self.fates, self.now, self._asking = fates, now, asking
        kinds = [cell_len(safe(f.point.backend)) for f in fates if not f.point.number]
        self._name = max([4, *kinds])
        of = [cell_len(short_volumes(f.point)) for f in fates if f.point.parts]
        self._volume = max(8, min(_VOLUME, max(of))) if of else 0

    def __len__(self) -> int:
        return len(self.fates)

    def selectable(self, index: int) -> bool:
        """All rows are."""
        return True

    def heading(self, width: int) -> Row | None:
        """Column titles."""
        text = f" {'Fate':<6} {'No':>{self._name}}  "
        text += f"{'Volume':<{self._volume}}  " if self._volume and width >= _WIDE else ""
        text += f"{'Date':<{16 if width >= _WIDE else 11}} "
        text += f"{'Age':>6}  {'Own size':>8}  " if width >= _MIDDLE else ""
        return [(fit(text + "Rule", width), "head")]

    def _fate(self, fate: Fate) -> Segment:
        if self._asking and of_storage(fate.point):
            return "...", "dim"
        return ("keep", "good") if fate.keep else ("REMOVE", "bad")

    def row(self, index: int, width: int) -> Row:
        """One fate; in a wide list with the volume and the comment."""
        fate = self.fates[index]
        point = fate.point
        when = point.created.astimezone().strftime("%Y-%m-%d %H:%M" if width >= _WIDE else "%m-%d %H:%M")
        word, look = self._fate(fate)
        name = str(point.number or safe(point.backend))
        out: list[Segment] = [(f" {word:<6} ", look), (f"{fit(name, self._name, right=True)}  ", "strong")]
        if self._volume and width >= _WIDE:
            out.append((fit(short_volumes(point), self._volume, keep_end=True) + "  ", ""))
        out.append((f"{when} ", ""))
        if width >= _MIDDLE:
            out += [(fit(short_age(point.age(self.now)), 6, right=True) + "  ", "dim"),
                    (fit(size(point.own_bytes), 8, right=True) + "  ", "")]
        if word == "...":
            return out
        used = sum(cell_len(text) for text, _ in out)
        words = safe(fate.rule) + (f"   {safe(point.comment)}" if point.comment and width >= _WIDE else "")
        return [*out, (fit(words, max(1, width - used - 1)), "" if fate.keep else "bad")]

    def line(self, index: int) -> list[Segment]:
        """One fate in full."""
        fate = self.fates[index]
        point = fate.point
        word = ("stays", "good") if fate.keep else ("would be REMOVED", "bad")
        rule = f": {safe(fate.rule)}"
        if self._fate(fate)[0] == "...":
            word, rule = ("is being asked about", "dim"), ""
        of = f"   {volumes(point)}" if of_storage(point) else ""
        return [(f"Point {called(point)} ", "strong"), word, (rule, ""), (of, "accent"),
                (f"   {stamp(point.created)}   own size {size(point.own_bytes)}", "dim"),
                (f"   {safe(point.comment)}" if point.comment else "", "")]


class CalendarRows:
    """A `RowSource`: a week a row, the newest first; in each day how many points stay and how many go (``3-1``)."""

    def __init__(self, fates: Sequence[Fate]) -> None:
        self.days: dict[date, list[Fate]] = {}
        for fate in fates:
            self.days.setdefault(fate.point.created.astimezone().date(), []).append(fate)
        mondays = {day - timedelta(days=day.weekday()) for day in self.days}
        self._weeks: list[date] = []
        week = max(mondays, default=None)
        while week is not None and week >= min(mondays):
            self._weeks.append(week)
            week -= timedelta(days=7)

    def __len__(self) -> int:
        return len(self._weeks)

    def selectable(self, index: int) -> bool:
        """All rows are."""
        return True

    @staticmethod
    def _cell(width: int) -> int:
        return max(4, min(9, (width - 13) // 7))

    def heading(self, width: int) -> Row | None:
        """The days of the week."""
        cell = self._cell(width)
        return [(fit(f" {'Week of':<11}" + "".join(fit(day, cell) for day in _DAYS), width), "head")]

    def row(self, index: int, width: int) -> Row:
        """One week."""
        cell = self._cell(width)
        out: list[Segment] = [(f" {self._weeks[index]:%Y-%m-%d} ", "dim")]
        for day in range(7):
            found = self.days.get(self._weeks[index] + timedelta(days=day), [])
            kept, gone = sum(f.keep for f in found), sum(not f.keep for f in found)
            text = (f"{kept}" if kept else "") + (f"-{gone}" if gone else "") or "."
            out.append((fit(text, cell - 1) + " ", "dim" if not found else "bad" if gone else "good"))
        return out

    def line(self, index: int) -> list[Segment]:
        """One week in words."""
        monday = self._weeks[index]
        found = [f for day in range(7) for f in self.days.get(monday + timedelta(days=day), [])]
        gone = [f for f in found if not f.keep]
        numbers = ", ".join(called(f.point) for f in gone)
        return [(f"{monday:%G week %V}: ", "strong"), (f"{plural(len(found) - len(gone), 'point')} stay", "good"),
                (f", {count(len(gone))} go: {numbers}" if gone else ", none goes", "bad" if gone else "dim"),
                ("   3 stay  3-1 one of four goes  -2 both go  . none", "dim")]
