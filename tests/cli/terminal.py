"""A process on a terminal of its own (a pty), for the tests of questions, signals and the progress line."""

from __future__ import annotations

import os
import pty
import select
import signal
import sys
import time
from collections.abc import Mapping, Sequence

_PATIENCE = 20.0


class Terminal:
    """Runs `python -m MODULE WORDS` on a pty; `seen` is everything it has written."""

    def __init__(self, module: str, words: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self.seen = b""
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, [sys.executable, "-m", module, *words],     # noqa: S606
                      {**os.environ, "COLUMNS": "100", **(env or {})})

    def read_until(self, text: str) -> None:
        """Read until `text` was written; fail when that takes too long or the process ends before it."""
        end = time.monotonic() + _PATIENCE
        while text.encode() not in self.seen:
            assert time.monotonic() < end, f"{text!r} never came: {self.seen!r}"
            assert self._read(), f"{text!r} never came: {self.seen!r}"

    def _read(self) -> bool:
        """Read what there is, for at most a second; False at the end."""
        if not select.select([self._fd], [], [], 1.0)[0]:
            return True
        try:
            block = os.read(self._fd, 65536)
        except OSError:             # Linux says EIO when the last writer is gone
            return False
        self.seen += block
        return bool(block)

    def type(self, keys: bytes) -> None:
        """Type something."""
        os.write(self._fd, keys)

    def hang_up(self) -> None:
        """Take the terminal away, as a dropped SSH line does."""
        os.close(self._fd)
        self._fd = -1

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        os.kill(self.pid, number)

    def wait(self) -> int:
        """Read to the end and return the exit code (negative: the signal that ended it)."""
        end = time.monotonic() + _PATIENCE
        while self._fd >= 0 and self._read():
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
        if self._fd >= 0:
            os.close(self._fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
