"""Leaving while something runs: asks, stops it, waits until it has stopped."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import Static

from tui.screens.base import BaseDialog
from tui.text import content
from tui.widgets.keybar import Hint, KeyBar


class QuitScreen(BaseDialog[None]):
    """Shown by the app when it is asked to quit while work is under way."""

    BINDINGS = [Binding("escape,enter,n", "stay", "Stay", show=False), Binding("s", "stop", "Stop", show=False)]
    KEYS = (("esc, enter, n", "stay"), ("s", "stop what runs, where that is safe, then leave"))
    HAS_PALETTE = False

    def __init__(self, what: str, *, breakable: bool) -> None:
        super().__init__(classes="-bad")
        self._what, self._breakable = what, breakable
        self._stopping = False

    def compose(self) -> ComposeResult:
        """What runs, and the choice."""
        with Vertical(id="dialog"):
            yield Static(content(("Not finished yet", "head")), markup=False, id="title")
            with Vertical(id="form"):
                yield Static(content(f"{self._what[:1].upper()}{self._what[1:]}."), markup=False)
                text = ("Leaving now stops it first; the store is then as it was before." if self._breakable
                        else "It must not be cut off half way: please wait until it is done.")
                yield Static(content(text), markup=False, id="quit-text")
            hints = [Hint("esc", "Stay", "screen.stay")]
            if self._breakable:
                hints.append(Hint("s", "Stop it and leave", "screen.stop"))
            yield KeyBar(hints, id="keys")

    def on_mount(self) -> None:
        """Look now and then whether the work has come to its end by itself."""
        self.set_interval(0.1, self._look)

    def _look(self) -> None:
        if self.rollpoint.running:
            return
        if self._stopping:
            self.rollpoint.exit(0)
        elif self.is_current:
            self.dismiss(None)

    def action_stay(self) -> None:
        """Go on."""
        if not self._stopping:
            self.dismiss(None)

    def action_stop(self) -> None:
        """Stop what runs, then leave."""
        if self._breakable and not self._stopping:
            self._stopping = True
            self.rollpoint.cancel_all()
            self.query_one("#quit-text", Static).update(content(("Stopping, one moment ...", "warn")))
            self.query_one("#keys", KeyBar).show([])
