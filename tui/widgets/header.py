"""The first line of every screen: which machine and which tree this is about. It never goes away."""

from __future__ import annotations

from rich.cells import cell_len
from textual.content import Content
from textual.widget import Widget

from tui.text import content, fit, safe


class HeaderBar(Widget):
    """``Rollpoint  HOST  /ROOT    store DIR``; what is less important goes first when there is no room."""

    def __init__(self, host: str, root: str, store: str = "", *, read_only: bool = False) -> None:
        super().__init__()
        self._host, self._root, self._store = safe(host), safe(root), safe(store)
        self._read_only = read_only

    def render(self) -> Content:
        """Draw the line for the width there is."""
        width = self.size.width
        right = " READ ONLY " if self._read_only else ""
        name, store = "Rollpoint  ", f"  store {self._store}" if self._store else ""
        room = width - cell_len(right) - 2
        if cell_len(name + self._host + self._root + store) + 2 > room:
            store = ""
        if cell_len(name + self._host + self._root) + 2 > room:
            name = ""
        host = fit(self._host, min(cell_len(self._host), max(8, room // 2)))
        root_room = max(1, room - cell_len(name + host) - 2)
        root = fit(self._root, min(cell_len(self._root), root_room), keep_end=True)
        # Padded to the whole width: in 16 colours the bar is reverse text, and blanks around it would stay dark.
        gap = " " * max(0, width - cell_len(f" {name}{host}  {root}{store}{right}"))
        return content(" " + name, (host, "strong"), "  ", (root, "strong"), store + gap, (right, "strong"))
