"""Which rollback of a store runs in a process of its own, or has ended without anybody looking: one record a store.

Whoever starts one takes the run's lock, and the process inherits it: it is held until that process ends, however it
ends, so no number of a process that was given away again can be mistaken for it. The record says what was asked for,
the log what the process wrote; both stay until somebody has seen the end. /run is empty again after a boot.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from engine.errors import BusyError, RollpointError
from engine.results import RollbackPlan
from engine.text import message

Verb = Literal["rollback", "resume", "undo"]
_PATIENCE = 10


@dataclass(frozen=True, slots=True)
class Run:
    """What was asked for. `number` is the point's (0: it has none, or resume and undo go by the journal), `scope` the
    words of the plan, `started` the seconds of this machine's monotonic clock, `begun` the time of day (UTC), `point`
    the point's id."""

    verb: Verb
    number: int = 0
    scope: tuple[str, ...] = ()
    safety_point: bool = False
    started: float = 0.0
    begun: str = ""
    point: str = ""

    @staticmethod
    def of(verb: Verb, plan: RollbackPlan | None, *, safety_point: bool) -> Run:
        """Return the record of a run that begins now."""
        if plan is None:
            return Run(verb, 0, (), False, *Run.now())
        return Run(verb, plan.point.number, plan.scope, safety_point, *Run.now(), plan.point.id)

    @staticmethod
    def now() -> tuple[float, str]:
        """Return the present for `started` and `begun`."""
        return time.monotonic(), datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

    @property
    def title(self) -> str:
        """What it does, in words that can begin a sentence."""
        called = str(self.number) if self.number else message(self.point)
        return {"rollback": f"the rollback to point {called}", "resume": "going on with the interrupted rollback",
                "undo": "undoing the rollback"}[self.verb]


class Registry:
    """The files about the rollbacks of one store, below `run_directory`."""

    def __init__(self, store: str) -> None:
        self._store = os.fsencode(store)
        name = hashlib.sha256(os.path.realpath(os.fsencode(store))).hexdigest()[:16]
        base = os.path.join(run_directory(), f"rollback-{name}")
        self.record, self.lock, self.log, self.order = (f"{base}.{end}" for end in ("run", "lock", "log", "order"))

    @contextlib.contextmanager
    def claimed(self) -> Iterator[int]:
        """Hold the lock, as a descriptor for the process to inherit. Raises BusyError while a rollback runs."""
        fd = os.open(self.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            for left in range(_PATIENCE, -1, -1):   # somebody may just be looking whether it is held
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if not left:
                        raise BusyError("a rollback of this store is running already",
                                        hint="leave, and press R on the list of points to watch it") from None
                    time.sleep(0.02)
            yield fd
        finally:
            os.close(fd)

    def held(self) -> bool:
        """Whether the process of a run is alive."""
        try:
            fd = os.open(self.lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def begin(self, run: Run, order: dict[str, Any]) -> None:
        """Write the record and the order; the log of the run before goes. The lock must be held. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.log)
        _write(self.order, order)
        _write(self.record, asdict(run))

    def read(self) -> Run | None:
        """Return the run that is under way or that nobody has seen the end of, None when there is none."""
        try:
            with open(self.record, encoding="ascii") as file:
                said = json.load(file)
            return Run(**said | {"scope": tuple(said["scope"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def adopt(self) -> Run | None:
        """Take over the record of a run that has ended at the last boot, which the store has kept, and return it."""
        from engine import nextboot
        from engine.replica.layout import open_store

        with contextlib.suppress(OSError, RollpointError):
            found = nextboot.outcome(open_store(self._store))
            if found is not None:
                for path, data in zip((self.record, self.log), found, strict=True):
                    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                        file.write(data)
                return self.read()
        return None

    def forget(self, run: Run | None) -> None:
        """Somebody has seen the end of `run`. A record of another one, begun meanwhile, stays."""
        if run is not None and self.read() == run:
            with contextlib.suppress(OSError):
                os.unlink(self.record)


def _write(path: str, document: dict[str, Any]) -> None:
    """Write a file for ourselves alone, whole or not at all."""
    new = f"{path}.new"
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
            json.dump(document, file)
        os.replace(new, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise


def run_directory() -> str:
    """Return a directory of ours alone for orders and logs, outside of everything a rollback touches; the same one at
    every start, so that a later one finds what an earlier one began."""
    runtime = "/run" if os.geteuid() == 0 else os.environ.get("XDG_RUNTIME_DIR", "")
    places = [os.path.join(runtime, "rollpoint")] if runtime and os.path.isdir(runtime) else []
    for path in [*places, os.path.join(tempfile.gettempdir(), f"rollpoint-{os.geteuid()}")]:
        with contextlib.suppress(OSError):
            os.makedirs(path, mode=0o700, exist_ok=True)
            found = os.lstat(path)
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022:
                return path
    return tempfile.mkdtemp(prefix="rollpoint-")    # others have taken the name: then no later start finds it
