"""What can be done with the names of a directory: mark, restore, compare, look up. The list is the subclass's.

While a directory is read, or a large one sorted, the rows on the screen are those from before. Keys that are typed then
wait (`in_turn`), and are done in their order as soon as the right rows are there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from engine.entries import Entry, Kind, compare
from engine.points import RestorePoint
from tui.entrytext import both_sides, story
from tui.listing import Listing, Name
from tui.screens.entryactions import EntryActions
from tui.text import called, content, path, point_title
from tui.widgets.browserows import BrowseRows
from tui.widgets.rows import RowList

P = ParamSpec("P")
S = TypeVar("S", bound="BrowseActions")


def on_rows(method: Callable[Concatenate[S, P], None]) -> Callable[Concatenate[S, P], None]:
    """Make an action one that waits until the rows are there."""
    @functools.wraps(method)
    def action(self: S, /, *args: P.args, **kwargs: P.kwargs) -> None:
        self.in_turn(lambda: method(self, *args, **kwargs))

    return action


def after_rows(method: Callable[Concatenate[S, P], None]) -> Callable[Concatenate[S, P], None]:
    """Make an action that needs no rows one that waits only for those typed before it: several of them in a row (the
    next point, and the next) are worked out once."""
    @functools.wraps(method)
    def action(self: S, /, *args: P.args, **kwargs: P.kwargs) -> None:
        self.in_turn(lambda: method(self, *args, **kwargs), rows=False)

    return action


class BrowseActions(EntryActions):
    """The actions of `BrowseScreen` that are about entries."""

    point: RestorePoint
    points: list[RestorePoint]
    listing: Listing | None
    marked: dict[bytes, None]
    plain: bool         # whether the point has no catalog

    @property
    def rows(self) -> RowList:
        """The list."""
        return self.query_one("#names", RowList)

    def current(self) -> tuple[int, Name] | None:
        """The name under the cursor and its index in the listing."""
        rows = self.rows
        source = rows.source
        if not rows.display or not isinstance(source, BrowseRows) or rows.cursor >= len(source):
            return None
        index = source.rows[rows.cursor]
        return index, source.listing.names[index]

    def in_turn(self, act: Callable[[], None], *, rows: bool = True) -> None:
        """Do something at once, or after what was typed before it. With `rows` it waits for those."""
        raise NotImplementedError

    def say(self, text: str, look: str = "good") -> None:
        """Answer in the status line."""
        raise NotImplementedError

    def say_tally(self) -> None:
        """Say in the status line what there is."""
        raise NotImplementedError

    def _entry(self) -> Entry | None:
        """The entry of the point under the cursor; says so where the point does not have it."""
        found = self.current()
        entry = found[1].at(self.point.number) if found is not None else None
        if found is not None and entry is None:
            self.say(f"{path(self._any(found[1]).path)} is not in point {called(self.point)}.", "warn")
        return entry

    def _any(self, one: Name) -> Entry:
        entry = one.shown(self.point.number)
        assert entry is not None
        return entry

    @on_rows
    def action_mark(self) -> None:
        """Mark or unmark, and go on to the next row."""
        entry = self._entry()
        if entry is not None:
            if entry.path in self.marked:
                del self.marked[entry.path]
            else:
                self.marked[entry.path] = None
            self.rows.action_move(1)
            self.rows.refresh()
            self.say_tally()

    @on_rows
    def action_mark_all(self) -> None:
        """Mark all rows that the point has; none when all are."""
        source = self.rows.source
        if not isinstance(source, BrowseRows):
            return
        entries = (source.listing.names[i].at(self.point.number) for i in source.rows)
        paths = [entry.path for entry in entries if entry is not None]
        if all(one in self.marked for one in paths):
            for one in paths:
                del self.marked[one]
        else:
            self.marked.update(dict.fromkeys(paths))
        self.rows.refresh()
        self.say_tally()

    @on_rows
    def action_restore(self) -> None:
        """Restore what is marked, or what is under the cursor."""
        entry = None if self.marked else self._entry()
        paths = tuple(self.marked) if entry is None else (entry.path,)
        if paths:
            self.open_restore(self.point, paths)

    def restored(self) -> None:
        """Marks are done with."""
        self.marked.clear()

    @on_rows
    def action_compare(self) -> None:
        """The point's entry against the live one."""
        found = self.current()
        if found is not None:
            self._compare(self.point, None, found[1].at(self.point.number), found[1].live)

    @on_rows
    def action_compare_before(self) -> None:
        """The point's entry against the one of the point before."""
        found = self.current()
        ids = [p.id for p in self.points]
        before = self.points[:ids.index(self.point.id)] if self.point.id in ids else []
        if not before:
            self.say("This is the oldest point.", "dim")
        elif found is not None and self.plain:
            self.open_difference(before[-1], self.point, self._any(found[1]))
        elif found is not None:
            self._compare(before[-1], self.point, found[1].at(before[-1].number), found[1].at(self.point.number))

    def _compare(self, older: RestorePoint, newer: RestorePoint | None, old: Entry | None, new: Entry | None) -> None:
        word = f"point {called(newer)}" if newer is not None else "now"
        entry = new or old
        if entry is None:
            self.say(f"It is neither in point {called(older)} nor in {word}.", "warn")
        elif entry.kind is not Kind.DIR and compare(old, new) is None:
            self.say(f"It is the same in point {called(older)} and {word}.")
        else:
            self.open_difference(older, newer, entry)

    @on_rows
    def action_history(self) -> None:
        """All versions."""
        found = self.current()
        if found is not None and found[1].life is None and not self.plain:
            self.say("No point has it: it has no history yet.", "warn")
        elif found is not None:
            self.open_history(self._any(found[1]).path, self.point)

    def action_find(self) -> None:
        """Find a name in all points."""
        self.open_find()

    @on_rows
    def action_info(self) -> None:
        """Everything about the entry, on both sides."""
        from tui.screens.message import MessageScreen

        found = self.current()
        if found is not None and self.listing is not None:
            title = content(*point_title(self.point, self.rollpoint.now(), "Point")).plain
            rows = both_sides(found[1].at(self.point.number), found[1].live, title, story(self.listing, found[0]))
            self.app.push_screen(MessageScreen("Entry", rows))
