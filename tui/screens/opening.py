"""What is about to be mounted to be written to, once more, before it is done."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from engine.rescue.mapping import EXACT, Mapping
from engine.rescue.survey import FoundStore
from tui.screens.base import BaseDialog
from tui.text import Line, content, field
from tui.widgets.confirm import ConfirmYes
from tui.widgets.fields import Fields
from tui.widgets.keybar import Hint, KeyBar


class OpenScreen(BaseDialog[bool | None]):
    """Dismissed with True when it is to be done: enter where all is as it was recorded, else only `yes`."""

    BINDINGS = [Binding("escape,q", "leave", show=False), Binding("enter", "open", show=False),
                Binding("y", "begin('y')", show=False)]
    KEYS = (("enter", "mount them and open Rollpoint there; yes first, where something is not as it was recorded"),
            ("esc", "leave; nothing is mounted"))

    def __init__(self, store: FoundStore, mapping: Mapping, *, adopt: bool) -> None:
        super().__init__()
        self._store, self._mapping = store, mapping
        self._ask = adopt or any(r.device is not None and r.state != EXACT for r in mapping.rows)

    def compose(self) -> ComposeResult:
        """The mounts, what is not as it was, the line to type into, keys."""
        with Vertical(id="dialog"):
            yield Static(content(("Mount and open", "head")), markup=False, id="title")
            with VerticalScroll(id="explain", can_focus=False):
                yield Fields(open_rows(self._store, self._mapping, ask=self._ask))
            if self._ask:
                yield ConfirmYes("Mount these all the same?", id="confirm")
            word = "yes enter" if self._ask else "enter"
            yield KeyBar([Hint(word, "Mount and open"), Hint("esc", "Leave", "screen.leave")])

    def on_mount(self) -> None:
        """The focus is in the line, where there is one."""
        for confirm in self.query(ConfirmYes):
            confirm.start()

    def action_begin(self, typed: str) -> None:
        """Typing `yes` may begin anywhere."""
        for confirm in self.query(ConfirmYes):
            confirm.start(typed)

    def action_open(self) -> None:
        """Enter, where nothing is to be agreed to."""
        if not self._ask:
            self.dismiss(True)

    @on(ConfirmYes.Confirmed)
    def _confirmed(self, event: ConfirmYes.Confirmed) -> None:
        event.stop()
        self.dismiss(True)

    def action_leave(self) -> None:
        """Mount nothing."""
        self.dismiss(None)


def open_rows(store: FoundStore, mapping: Mapping, *, ask: bool) -> list[Line]:
    """Return what will be mounted where, and what of it is not as it was recorded."""
    rows: list[Line] = [field("Store", (store.name, "strong"), f"  {store.host}")]
    for row in mapping.rows:
        if row.device is None:
            rows.append(field(row.recorded.mount, ("not mounted: ", "warn"), row.why))
        else:
            rows.append(field(row.recorded.mount, (row.device.device, "strong"), "  ",
                              (row.why, "" if row.state == EXACT else "warn")))
    rows += [Content(""), content("They are mounted to be written to, where only this Rollpoint sees them, and "
                                  "unmounted when it is left. A journal that was not finished is replayed.")]
    if ask:
        rows.append(content(("These are not the file systems that were recorded, or adopt is on: ", "bad"),
                            "a rollback replaces what is on them. Be sure that they are the right ones."))
    return rows
