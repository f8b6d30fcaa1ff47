"""Coming back to a rollback that runs without this screen, or that ended while nobody looked."""

from __future__ import annotations

from tui.screens.run import RunScreen
from tui.text import Segment, safe


class AttachScreen(RunScreen):
    """Shows a rollback that was started elsewhere: its progress, then its result. It asks for nothing."""

    KEYS = (("esc", "leave it running; it needs no screen"), ("enter", "close the result"))
    NOTES = ("A rollback runs in a process of its own. Leaving, a lost line or a killed screen does not stop it, and",
             "what it came to is shown once, here or at the next start.")

    def subject(self) -> list[Segment]:
        """Which run, and since when."""
        run = self.runner.run
        if run is None:
            return [("A rollback", "strong")]
        scope = "" if run.scope in ((), ("system",)) else f"  only {' '.join(map(safe, run.scope))}"
        return [(run.title[:1].upper() + run.title[1:], "strong"), (scope, ""), (f"  begun {run.begun}", "dim")]

    def on_mount(self) -> None:
        """Watch it."""
        self.follow()

