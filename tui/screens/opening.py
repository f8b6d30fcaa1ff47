"""What is about to be mounted to be written to, once more, before it is done."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from engine.rescue.mapping import EXACT, MERGED, Mapping
from engine.rescue.survey import FoundStore
from tui.screens.base import BaseDialog
from tui.text import Line, content, field
from tui.widgets.confirm import ConfirmYes
from tui.widgets.fields import Fields
from tui.widgets.keybar import Hint, KeyBar


class OpenScreen(BaseDialog[bool | None]):
    """Dismissed with True when it is to be done: only after `yes`."""

    BINDINGS = [Binding("escape,q", "leave", show=False), Binding("y", "begin('y')", show=False)]
    KEYS = (("yes, enter", "mount them, leave this, and open Rollpoint there"), ("esc", "leave; nothing is mounted"))

    def __init__(self, store: FoundStore, mapping: Mapping, *, adopt: bool) -> None:
        super().__init__()
        self._store, self._mapping = store, mapping
        self._other = adopt or any(r.device is not None and r.state != EXACT for r in mapping.rows)

    def compose(self) -> ComposeResult:
        """The mounts, what is not as it was, the line to type into, keys."""
        with Vertical(id="dialog"):
            yield Static(content(("Mount and open", "head")), markup=False, id="title")
            with VerticalScroll(id="explain", can_focus=False):
                yield Fields(open_rows(self._store, self._mapping, other=self._other))
            yield ConfirmYes("Mount these all the same?" if self._other else "Mount these?", id="confirm")
            yield KeyBar([Hint("yes enter", "Mount and open"), Hint("esc", "Leave", "screen.leave")])

    def on_mount(self) -> None:
        """The focus is in the line: typing into it does no harm."""
        self.query_one(ConfirmYes).start()

    def action_begin(self, typed: str) -> None:
        """Typing `yes` may begin anywhere."""
        self.query_one(ConfirmYes).start(typed)

    @on(ConfirmYes.Confirmed)
    def _confirmed(self, event: ConfirmYes.Confirmed) -> None:
        event.stop()
        self.dismiss(True)

    def action_leave(self) -> None:
        """Mount nothing."""
        self.dismiss(None)


def open_rows(store: FoundStore, mapping: Mapping, *, other: bool) -> list[Line]:
    """Return what will be mounted where, and what of it is not as it was recorded."""
    rows: list[Line] = [field("Store", (store.name, "strong"), f"  {store.host}")]
    for row in mapping.rows:
        if row.state == MERGED:
            rows.append(field(row.recorded.mount, ("becomes a directory: ", "warn"), row.why))
        elif row.device is None:
            rows.append(field(row.recorded.mount, ("not mounted: ", "warn"), row.why))
        else:
            rows.append(field(row.recorded.mount, (row.device.device, "strong"), "  ",
                              (row.why, "" if row.state == EXACT else "warn")))
    rows += [Content(""), content("They are mounted to be written to, where only this Rollpoint sees them, and "
                                  "unmounted when it is left. A journal that was not finished is replayed.")]
    if other:
        rows.append(content(("These are not the file systems that were recorded, or adopt is on: ", "bad"),
                            "a rollback replaces what is on them. Be sure that they are the right ones."))
    return rows
