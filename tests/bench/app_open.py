"""The app for the benchmark: ``python -m tests.bench.app_open OUT (take | STORE ROOT (points | changes | browse))``.

Opens the real app with a screen of the real engine, or (`take`) with a double whose snapshot reports a million times.
When it ends it writes to OUT, as JSON, the longest time between SIGUSR1 and SIGUSR2 for which the screen's loop did
nothing else: neither starting nor ending is measured here.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time

from textual.screen import Screen

from engine.config import load
from engine.service import Engine
from tui.app import RollpointApp, show
from tui.engine_api import EngineLike

BEAT = 0.002
LINES = 1_000_000


class Heart:
    """Beats in the app's loop and keeps the longest gap between two beats from SIGUSR1 to SIGUSR2. Seconds."""

    def __init__(self) -> None:
        self.longest = 0.0
        self._counts = False

    def count(self, yes: bool) -> None:
        """Count gaps from now on, or no more."""
        self._counts = yes

    async def beat(self) -> None:
        """Go on for ever."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self.count, True)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR2, self.count, False)
        last = time.perf_counter()
        while True:
            await asyncio.sleep(BEAT)
            now = time.perf_counter()
            if self._counts:
                self.longest = max(self.longest, now - last - BEAT)
            last = now


def reporting() -> EngineLike:
    """Return the double of the tests whose work reports a million times, as fast as it can."""
    from engine.events import Job
    from tests.tui.fake_engine import FakeEngine

    class Reporting(FakeEngine):
        def _work(self, job: Job | None, *phases: str) -> None:
            assert job is not None
            for number in range(LINES):
                job.progress("copying", number, LINES, current=b"srv/data/%09d.bin" % number, bytes_done=number * 4096)

    return Reporting(30)


def screen_of(engine: Engine, name: str) -> Screen[None] | None:
    """Return the screen to measure; None for the list of points."""
    newest, *_, oldest = engine.points()
    if name == "changes":
        from tui.screens.changes import ChangesScreen

        return ChangesScreen(oldest, newest)
    if name == "browse":
        from tui.screens.browse import BrowseScreen

        return BrowseScreen(newest, b"big")
    return None


def main() -> int:
    """Run until q."""
    out, what, *rest = sys.argv[1:]
    heart = Heart()
    screen: Screen[None] | None = None
    if what == "take":
        app = RollpointApp(reporting(), host="bench")
    else:
        engine = Engine(load(store=what, root=rest[0]))
        screen = screen_of(engine, rest[1])
        app = RollpointApp(engine, host="bench", root=rest[0], store=what)

    def begin() -> None:
        app.heart = asyncio.create_task(heart.beat())  # type: ignore[attr-defined]
        if screen is not None:
            app.push_screen(screen)

    app.call_later(begin)
    code = show(app)
    with open(out, "w") as file:
        json.dump({"stall": heart.longest}, file)
    return code


if __name__ == "__main__":
    sys.exit(main())
