"""Leaving while something runs: asks, stops it, waits until it has stopped; or leaves without it when it does not."""

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

    BINDINGS = [Binding("escape,enter,n", "stay", "Stay", show=False), Binding("s", "stop", "Stop", show=False),
                Binding("l", "abandon", "Leave at once", show=False)]
    KEYS = (("esc, enter, n", "stay"), ("s", "stop what runs, where that is safe, then leave"),
            ("l", "leave without waiting any longer, once that is offered"))
    HAS_PALETTE = False
    PATIENCE = 10.0
    """Seconds after which leaving without waiting any longer is offered."""

    def __init__(self, what: str, *, breakable: bool) -> None:
        super().__init__(classes="-bad")
        self._what, self._breakable = what, breakable
        self._stopping = self._late = False

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
            self.set_timer(self.PATIENCE, self._lose_patience)

    def _lose_patience(self) -> None:
        """A backend that hangs must keep nobody here; what it leaves is what a crash would leave."""
        self._late = True
        text = ("It has not stopped yet: its disk or its server may not answer. Leaving now leaves it as a "
                "crash would; the store is put right when it is used next.")
        self.query_one("#quit-text", Static).update(content((text, "warn")))
        self.query_one("#keys", KeyBar).show([Hint("l", "Leave without waiting", "screen.abandon")])

    def action_abandon(self) -> None:
        """Leave without waiting any longer, once that was offered."""
        if self._late:
            self.rollpoint.abandoned = True
            self.rollpoint.exit(1)
