"""The app on the double, for runs in a terminal: ``python -m tests.tui.pty_app [hold] [hang] [noise] [defect]``."""

from __future__ import annotations

import logging
import sys
import threading
import warnings

from textual.events import Key

from tests.tui.fake_engine import FakeEngine
from tests.tui.fake_rescue import FakeLook, survey
from tui.app import RollpointApp, show


class OddEngine(FakeEngine):
    """`hang`: nothing but the list of points is ever answered. `noise`: every call writes to the standard streams, as
    libraries do."""

    def _enter(self, verb: str) -> None:
        if "hang" in sys.argv and verb not in ("points", "status"):
            threading.Event().wait()
        if "noise" in sys.argv:
            print("SCRIBBLE")
            sys.stderr.write("SCRIBBLE\x1b[2J\n")
            warnings.warn("SCRIBBLE", stacklevel=1)
            logging.error("SCRIBBLE")
        super()._enter(verb)


def fail(app: RollpointApp, event: Key) -> None:
    """A defect of the app itself, behind F9."""
    if event.key == "f9":
        raise ZeroDivisionError("a defect behind F9")


def main() -> int:
    """Run; with `hold`, work that is started goes on until it is cancelled."""
    engine = OddEngine(30)
    if "hold" in sys.argv:
        engine.hold.clear()
    if "defect" in sys.argv:
        RollpointApp.on_key = fail  # type: ignore[attr-defined]
    app = RollpointApp(engine, host="web01")
    app.look_at_disks = lambda job, shares, activate: FakeLook(survey(engine.boot_text))(job, shares, activate)
    return show(app)


if __name__ == "__main__":
    sys.exit(main())
