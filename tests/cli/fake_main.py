"""`python -m tests.cli.fake_main WORDS`: the real command line on the fake engine, as a process.

FAKE_DONE names a file that gets what was done to the engine; FAKE_WORK=SECONDS lets every job work that long.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

import engine.lister
import engine.service
from engine.events import Job
from tests.cli.fake_engine import FakeEngine, World
from tui.cli import main


def work(job: Job) -> None:
    """Work for a while, at many reports a second, until told to stop; then take a moment to clean up."""
    end = time.monotonic() + float(os.environ.get("FAKE_WORK", "0"))
    if end > time.monotonic() and sys.stderr is not None:
        with contextlib.suppress(BrokenPipeError):    # the reader may be gone, as in the tests of that
            sys.stderr.write("working\n")
    while time.monotonic() < end:
        if job.cancelled:
            time.sleep(0.6)
        job.progress("copying", 1, 2, current=b"some\x1bfile")
        time.sleep(0.01)


if __name__ == "__main__":
    world = World(during=work)
    for module, name in ((engine.service, "Engine"), (engine.lister, "Lister")):
        setattr(module, name, lambda config: FakeEngine(world, config))
    code = main(sys.argv[1:])
    if "FAKE_DONE" in os.environ:
        Path(os.environ["FAKE_DONE"]).write_text("\n".join(world.done))
    sys.exit(code)
