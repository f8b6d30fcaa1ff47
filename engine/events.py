"""What long work says while it runs, and how it is told to stop.

The engine counts and calls; whoever shows it (a line on a terminal, JSON, a screen) samples at its own pace.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from engine.errors import CancelledError


@dataclass(frozen=True, slots=True)
class Progress:
    """Where long work stands. `total` is None when it is not known; `unit` is ``entries`` or ``bytes``."""

    phase: str
    done: int = 0
    total: int | None = None
    unit: str = "entries"
    current: bytes = b""
    bytes_done: int = 0


@dataclass(slots=True)
class Job:
    """One piece of long work: who listens to it, whether it was cancelled, and what it warned of.

    `on_progress` and `on_warning` are called from the thread that works, possibly thousands of times a second;
    they must be quick and must not raise.
    """

    on_progress: Callable[[Progress], None] | None = None
    on_warning: Callable[[str], None] | None = None
    warnings: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def progress(self, phase: str, done: int = 0, total: int | None = None, *, unit: str = "entries",
                 current: bytes = b"", bytes_done: int = 0) -> None:
        """Report where the work stands, and raise `CancelledError` if it was told to stop."""
        self.check()
        if self.on_progress is not None:
            self.on_progress(Progress(phase, done, total, unit, current, bytes_done))

    def warn(self, message: str) -> None:
        """Record something the admin should know although the work goes on (exit code 3 at the end)."""
        self.warnings.append(message)
        if self.on_warning is not None:
            self.on_warning(message)

    def cancel(self) -> None:
        """Ask the work to stop at the next safe place; may be called from any thread or signal handler."""
        self._stop.set()

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked the work to stop."""
        return self._stop.is_set()

    def check(self) -> None:
        """Raise `CancelledError` if the work was told to stop."""
        if self._stop.is_set():
            raise CancelledError("stopped on request")


def step(name: str) -> None:
    """Mark a named step of a critical sequence; FORMAT.md says what a crash right here leaves behind.

    With ROLLPOINT_KILL_AT=NAME in the environment the process ends here as if by `kill -9`: the crash tests
    prove with it that every named step can be survived.
    """
    if os.environ.get("ROLLPOINT_KILL_AT") == name:
        os.kill(os.getpid(), signal.SIGKILL)
