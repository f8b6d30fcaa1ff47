"""The rollback that was ordered for this boot: ``rollpoint.pyz --run-module tui.next_boot STORE``, run by our unit.

It says on the console how far it is. The rollback itself is the same process as ever (tui/rollback_run.py).
"""

from __future__ import annotations

import os
import sys
import time

from engine import audit, nextboot
from engine.errors import RollpointError
from engine.replica.layout import Store, open_store
from engine.results import RollbackResult
from engine.text import message
from tui.rollback_job import DetachedRunner, Runner, RunState
from tui.rollback_run import read_config

_EVERY = 0.2


def main() -> int:
    """Carry the order out; 0 when the rollback was done and verified."""
    store = open_store(os.fsencode(sys.argv[1]))
    try:
        order = nextboot.claim(store)
        runner = DetachedRunner(read_config(order["config"]))
        runner.start_order(order)
        state = follow(runner)
    except (RollpointError, OSError, ValueError, KeyError) as error:
        say(f"the rollback could not begin: {error}")
        audit.record(os.fsdecode(store.path), "rollback --at-next-boot", "", "failed", str(error))
        return 1
    return told(store, str(order.get("point", "")), state)


def follow(runner: Runner) -> RunState:
    """Wait for the end, and say when something else begins."""
    said = 0
    while True:
        state = runner.poll()
        for phase in state.phases[said:]:
            say(phase)
        said = len(state.phases)
        if not state.running:
            return state
        time.sleep(_EVERY)


def told(store: Store, point: str, state: RunState) -> int:
    """Say how it ended. What failed goes to the audit log here, what was done is there already."""
    result: RollbackResult | None = state.result
    if result is None:
        say(f"not rolled back: {state.error}")
        audit.record(os.fsdecode(store.path), "rollback --at-next-boot", point, "failed", str(state.error))
        return 1
    say(f"rolled back to point {result.point.number}: {result.applied} entries, "
        + ("verified" if result.verified else "NOT verified"))
    return 0 if result.verified else 1


def say(text: str) -> None:
    """Write a line to the console and the journal; nobody need be there to read it."""
    try:
        sys.stdout.write(f"rollpoint: {message(text)}\n")
        sys.stdout.flush()
    except OSError:
        return


if __name__ == "__main__":
    sys.exit(main())
