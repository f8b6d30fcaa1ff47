"""The app on the double, for runs in a terminal: ``python -m tests.tui.pty_app [hold]``."""

from __future__ import annotations

import sys

from tests.tui.fake_engine import FakeEngine
from tui.app import RollpointApp


def main() -> int:
    """Run; with `hold`, work that is started goes on until it is cancelled."""
    engine = FakeEngine(30)
    if "hold" in sys.argv:
        engine.hold.clear()
    app = RollpointApp(engine, host="web01")
    app.run()
    return app.return_code or 0


if __name__ == "__main__":
    sys.exit(main())
