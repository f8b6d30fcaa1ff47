"""Choosing which of the file systems that are here takes the place of a recorded one."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import Static

from engine.rescue.mapping import Row
from engine.rescue.survey import Survey
from tui.screens.base import BaseDialog
from tui.text import content, size
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.rescuerows import DeviceRows
from tui.widgets.rows import RowList


class DeviceScreen(BaseDialog[str | None]):
    """The dialog behind `m`: dismissed with a device, "" for what is found by itself, None for no change."""

    BINDINGS = [Binding("escape,q", "leave", show=False), Binding("r", "reset", show=False)]
    KEYS = (("enter", "take this one"), ("r", "take what is found by itself"), ("esc", "leave it as it is"))

    def __init__(self, mapped: Row, found: Survey) -> None:
        super().__init__()
        self.add_class("-big")
        self._mapped, self._found = mapped, found

    def compose(self) -> ComposeResult:
        """What was recorded, the devices, keys."""
        one = self._mapped.recorded
        with Vertical(id="dialog"):
            yield Static(content(("Which device is ", "head"), (one.mount, "strong")), markup=False, id="title")
            known = [one.fstype, size(one.size) if one.size else "", f"UUID {one.uuid or 'none'}", one.device]
            yield Static(content("Recorded: " + ", ".join(word for word in known if word)), markup=False, id="recorded")
            yield RowList(id="fates")
            yield KeyBar([Hint("enter", "Take it"), Hint("r", "By itself", "screen.reset"),
                          Hint("esc", "Leave", "screen.leave")])

    def on_mount(self) -> None:
        """Begin at the device that is proposed."""
        rows = self.query_one(RowList)
        now = self._mapped.device
        names = [d.device for d in self._found.file_systems]
        rows.show(DeviceRows(self._found), names.index(now.device) if now is not None and now.device in names else 0)
        rows.focus()

    @on(RowList.Chosen)
    def _chosen(self, event: RowList.Chosen) -> None:
        event.stop()
        self.dismiss(self._found.file_systems[event.index].device)

    def action_reset(self) -> None:
        """What is found by itself."""
        self.dismiss("")

    def action_leave(self) -> None:
        """No change."""
        self.dismiss(None)
