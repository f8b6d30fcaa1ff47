"""The process that a rollback from the screens runs in: ``python -m tui.rollback_run ORDER``.

It has a session of its own (engine.run.detach), ignores a hangup, and writes one JSON object a line: its pid,
progress a few times a second, warnings, and last the result or the error. The journal in the store, not this process,
is what makes an interruption harmless.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from typing import Any

from engine.config import Boot, Config, Retention
from engine.errors import RollpointError
from engine.events import Job, Progress
from tui.rollback_job import carry_out, write_result

_EVERY = 0.15


class Writer:
    """Writes lines to stdout; progress at most every `_EVERY` seconds, or when the phase changes.

    A log that cannot be written (its file system is full) must not end a rollback half way: what finds no room waits
    for the next line, and progress is left out meanwhile.
    """

    def __init__(self, fd: int = 1) -> None:
        self._fd = fd
        self._next = 0.0
        self._phase = ""
        self._waiting = b""

    def line(self, **said: Any) -> None:
        """Write one object."""
        self._waiting += json.dumps(said).encode() + b"\n"
        self.flush()

    def flush(self) -> None:
        """Write what is waiting, as far as there is room."""
        with contextlib.suppress(OSError):
            while self._waiting:
                self._waiting = self._waiting[os.write(self._fd, self._waiting):]

    def progress(self, progress: Progress) -> None:
        """Take a progress report of the engine."""
        now = time.monotonic()
        if now < self._next and progress.phase == self._phase:
            return
        self._next, self._phase = now + _EVERY, progress.phase
        self.flush()
        if self._waiting:
            return
        self.line(progress={"phase": progress.phase, "done": progress.done, "total": progress.total,
                            "unit": progress.unit, "current": os.fsdecode(progress.current),
                            "bytes_done": progress.bytes_done})

    def warning(self, text: str) -> None:
        """Take a warning of the engine."""
        self.line(warning=text)


def read_config(settings: dict[str, Any]) -> Config:
    """Return the configuration from its JSON form (lists were tuples)."""
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()}
    values["retention"] = Retention(**settings["retention"])
    boot = settings.get("boot", {})     # an order that an older app wrote has none
    values["boot"] = Boot(**boot | {"disks": tuple(boot["disks"])}) if boot else Boot()
    return Config(**values)


def run(order: dict[str, Any], out: Writer) -> None:
    """Carry the order out and write the result. A rollback is planned again, and what is blocked now is refused."""
    from engine.service import Engine

    engine = Engine(read_config(order["config"]))
    job = Job(on_progress=out.progress, on_warning=out.warning)
    plan = None
    if order["verb"] == "rollback":
        plan = engine.plan(engine.resolve(order["point"]), order["scope"], job, adopt=order.get("adopt", False))
    out.line(result=write_result(carry_out(engine, order["verb"], plan, job,
                                              safety_point=order["safety_point"])))


def main() -> int:
    """Read the order, carry it out; always ends with a line that says how it went."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    out = Writer()
    out.line(pid=os.getpid())
    try:
        with open(sys.argv[1], encoding="ascii") as file:
            order = json.load(file)
        os.unlink(sys.argv[1])
        run(order, out)
    except RollpointError as error:
        out.line(error=error.message, hint=error.hint)
        return error.exit_code
    except Exception as error:  # the screen must hear of it, whatever it is
        out.line(error=f"unexpected {type(error).__name__}: {error}", hint="please report this")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
