"""A terminal to run the real program in: a pty, its process, and pyte as the screen that a person would see."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyte
import pytest

ROOT = str(Path(__file__).resolve().parents[2])
BYTES = {"enter": "\r", "escape": "\x1b", "tab": "\t", "space": " ", "slash": "/", "question_mark": "?", "up": "\x1b[A",
         "down": "\x1b[B", "right": "\x1b[C", "left": "\x1b[D", "home": "\x1b[1~", "end": "\x1b[4~",
         "pageup": "\x1b[5~", "pagedown": "\x1b[6~", "f1": "\x1b[[A", "ctrl+c": "\x03", "backspace": "\x7f",
         "colon": ":", "full_stop": ".", "left_square_bracket": "[", "right_square_bracket": "]", "asterisk": "*"}
"""What a Linux console sends for the keys that Textual calls so."""
BOX = set("─│┌┐└┘├┤┬┴┼═║╔╗╚╝")
"""What every console font has besides ASCII (and the letters of file names)."""


class Terminal:
    """One run of a program on a terminal of its own. A context manager; nothing is left behind. `stdin`, `stderr`: file
    descriptors to use instead of the terminal."""

    def __init__(self, argv: Sequence[str], *, term: str = "linux", columns: int = 80, rows: int = 24,
                 env: dict[str, str] | None = None, stdin: int | None = None, stderr: int | None = None) -> None:
        self.screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.before = termios.tcgetattr(slave)
        self._slave = slave
        clean = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME", "TMPDIR", "LANG", "VIRTUAL_ENV")}
        clean |= {"TERM": term, "PYTHONPATH": ROOT, "TEXTUAL_ANIMATIONS": "none", "TZ": "UTC"} | (env or {})
        self.process = subprocess.Popen(
            [sys.executable, *argv], stdin=slave if stdin is None else stdin, stdout=slave,
            stderr=slave if stderr is None else stderr, env=clean, cwd=ROOT, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(1, termios.TIOCSCTTY, 0))

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: Any) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for fd in (self.master, self._slave):
            with contextlib.suppress(OSError):
                os.close(fd)

    # --- looking -----------------------------------------------------------------------------------------------

    def feed(self, seconds: float = 0.05) -> None:
        """Take over what the program has drawn, for at least so long."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.master], [], [], left)[0]:
                return
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            self.take(data)

    def settle(self, quiet: float = 0.2, at_most: float = 15.0) -> None:
        """Take over what is drawn until nothing was for a while and the program waits: what a key has started is on
        the screen."""
        end = time.monotonic() + at_most
        while time.monotonic() < end:
            if select.select([self.master], [], [], quiet)[0]:
                self.feed(0.01)
            elif not self._at_work():
                return

    def _at_work(self) -> bool:
        """Whether a thread of the program runs, or would where the machine had the time for it."""
        states = []
        for path in Path(f"/proc/{self.process.pid}/task").glob("*/stat"):
            with contextlib.suppress(OSError):
                states.append(path.read_text().rpartition(")")[2].split()[0])
        return "R" in states or "D" in states

    def take(self, data: bytes) -> None:
        """Take over what somebody else has read from the program."""
        self.raw += data
        self._stream.feed(data)

    @property
    def text(self) -> str:
        """What is on the screen."""
        return "\n".join(self.screen.display)

    def until(self, ready: str | Callable[[], object], seconds: float = 15) -> None:
        """Wait until a text is on the screen (or something is so)."""
        test = (lambda: ready in self.text) if isinstance(ready, str) else ready
        end = time.monotonic() + seconds
        while not test():
            over = self.process.poll() is not None and not select.select([self.master], [], [], 0)[0]
            if over or time.monotonic() > end:
                pytest.fail(f"waited for {ready!r}; status {self.process.poll()}; the screen shows:\n{self.text}")
            self.feed()

    def cells(self) -> list[tuple[int, int, Any]]:
        """All cells that are not blank: row, column, pyte character."""
        return [(y, x, self.screen.buffer[y][x]) for y in range(self.screen.lines)
                for x in range(self.screen.columns) if self.screen.buffer[y][x].data.strip()]

    # --- doing -------------------------------------------------------------------------------------------------

    def type(self, *keys: str) -> None:
        """Send keys one by one, each after what the one before has drawn."""
        for key in keys:
            os.write(self.master, key.encode())
            self.feed(0.25 if key == "\x1b" else 0.05)     # a lone escape is one only after a pause

    def resize(self, columns: int, rows: int) -> None:
        """Become another size; the kernel tells the program."""
        self.screen.resize(rows, columns)
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.feed(0.3)

    def hang_up(self) -> None:
        """Lose the line: the kernel sends SIGHUP to the session."""
        os.close(self._slave)
        os.close(self.master)

    def wait(self, seconds: float = 15) -> int:
        """Wait for the program's end, drawing on, and return its status."""
        end = time.monotonic() + seconds
        while self.process.poll() is None:
            if time.monotonic() > end:
                pytest.fail(f"still running; the screen shows:\n{self.text}")
            self.feed()
        self.feed()
        return int(self.process.returncode)

    @property
    def after(self) -> Any:
        """The settings of the line now."""
        return termios.tcgetattr(self._slave)
