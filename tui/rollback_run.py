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
from collections.abc import Sequence
from typing import Any

from engine import confirmed
from engine.config import SECTIONS, Config
from engine.errors import RollpointError
from engine.events import Job, Progress
from engine.text import inner_path
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
    values = _tuples(settings)
    for name, section in SECTIONS.items():
        values[name] = section(**_tuples(settings.get(name, {})))       # an order that an older app wrote may lack one
    return Config(**values)


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def paths_of(words: Sequence[str]) -> list[bytes]:
    """Return the paths that scopes are about, none for everything."""
    pairs = [word.partition("=") for word in words]
    if not all(kind in ("path", "fs", "boot") for kind, _, _ in pairs):
        return []
    return [inner_path(value) if value else os.fsencode(kind) for kind, _, value in pairs]


def go_aboard(order: dict[str, Any], out: Writer) -> None:
    """Where the rollback could replace what we run from, go on in a copy of it: this then does not return."""
    from engine.rescue import lifeboat

    if lifeboat.due(read_config(order["config"]), paths_of(order.get("scope", ()))):
        out.progress(Progress("copying itself into memory"))
        lifeboat.board("tui.rollback_run", sys.argv[1:])


def run(order: dict[str, Any], out: Writer) -> None:
    """Carry the order out and write the result. A rollback is planned again, and what is blocked now is refused."""
    from engine.rescue import lifeboat
    from engine.service import Engine

    config = read_config(order["config"])
    engine = Engine(lifeboat.spared(config) if lifeboat.aboard() else config)
    job = Job(on_progress=out.progress, on_warning=out.warning)
    plan = None
    if order["verb"] == "rollback":
        plan = engine.plan(engine.resolve(order["point"]), order["scope"], job, adopt=order.get("adopt", False),
                           merged=[bytes.fromhex(p) for p in order.get("merged", ())])
        if "confirmed" in order:        # an order that an older app wrote has none
            confirmed.check(confirmed.read(order["confirmed"]), plan, paths=not order.get("at_boot"))
    out.line(result=write_result(carry_out(engine, order["verb"], plan, job,
                                              safety_point=order["safety_point"])))


def main() -> int:
    """Read the order, carry it out; always ends with a line that says how it went."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    out = Writer()
    out.line(pid=os.getpid())
    order: dict[str, Any] = {}
    try:
        with open(sys.argv[1], encoding="ascii") as file:
            order.update(json.load(file))
        go_aboard(order, out)
        os.unlink(sys.argv[1])
        run(order, out)
    except RollpointError as error:
        out.line(error=error.message, hint=error.hint, code=error.exit_code)
        return error.exit_code
    except Exception as error:  # the screen must hear of it, whatever it is
        out.line(error=f"unexpected {type(error).__name__}: {error}", hint="please report this")
        return 1
    finally:
        if order.get("at_boot"):
            keep(str(order["config"]["store"]))
    return 0


def keep(store: str) -> None:
    """Keep how it ended beyond the reboot that follows; where that cannot be, the audit log still tells."""
    from engine import nextboot
    from engine.replica.layout import open_store
    from tui.rollback_registry import Registry

    registry = Registry(store)
    with contextlib.suppress(OSError, RollpointError):
        nextboot.ended(open_store(os.fsencode(store)), registry.record, registry.log)


if __name__ == "__main__":
    sys.exit(main())
