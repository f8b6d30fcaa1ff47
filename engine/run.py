"""The one door to external programs: argv lists only, LC_ALL=C, a session of their own, stderr kept for the error.

Short commands whose output is wanted whole go through `capture` (the `sh` library, baked safely: facts measured
with sh 2.4: bytes arguments need latin-1, the default pty and the shared process group are dangerous). Commands
that stream, take long or must be killable with all their children are a `Process`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from types import TracebackType
from typing import IO

from engine.errors import ToolError

Arg = str | bytes
_STDERR_KEPT = 256 * 1024
_GRACE = 5.0


def environment() -> dict[str, str]:
    """Return the environment of every child: plain locale, a sane PATH, nothing that changes a tool's behaviour."""
    env = {"LC_ALL": "C", "PATH": os.environ.get("PATH", "") or os.defpath}
    if "/sbin" not in env["PATH"].split(":"):
        env["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"
    for name in ("HOME", "TMPDIR", "TZ"):
        if name in os.environ:
            env[name] = os.environ[name]
    return env


def capture(argv: Sequence[Arg], *, ok: Sequence[int] = (0,), timeout: float = 60) -> bytes:
    """Run a short command and return what it wrote to stdout.

    Raises ToolError when it cannot be started, ends with a status not in `ok`, or runs longer than `timeout`
    seconds (then its whole process group is killed).
    """
    import sh  # 55 ms: most runs of Rollpoint need no short command at all

    words = [os.fsencode(a).decode("latin-1") for a in argv]
    try:
        command = sh.Command(words[0])
    except sh.CommandNotFound:
        raise ToolError(argv, 127, "not installed", hint=f"install {words[0]}") from None
    running = command(*words[1:], _tty_out=False, _encoding="latin-1", _new_session=True, _bg=True, _bg_exc=False,
                      _truncate_exc=False, _return_cmd=True, _env=environment(), _ok_code=list(range(256)))
    try:
        running.wait(timeout=timeout)
    except sh.TimeoutException:
        with contextlib.suppress(ProcessLookupError):
            running.process.signal_group(signal.SIGKILL)
        raise ToolError(argv, 124, f"still running after {timeout:.0f} s") from None
    if running.exit_code not in ok:
        raise ToolError(argv, running.exit_code, running.stderr.decode("utf-8", "backslashreplace"))
    return bytes(running.stdout)


class Process:
    """A running program in a session of its own; leaving the `with` block never leaves it behind.

    stdout is a pipe unless a file is given; stdin is /dev/null unless `feed` asks for a pipe. What it writes to
    stderr goes to an unlinked file, so that a talkative tool can never block.
    """

    def __init__(self, argv: Sequence[Arg], *, feed: bool = False, stdout: IO[bytes] | int | None = None,
                 stdin: IO[bytes] | int | None = None) -> None:
        self.argv = list(argv)
        self._stderr = tempfile.TemporaryFile()
        try:
            self._child = subprocess.Popen(
                self.argv, stdin=subprocess.PIPE if feed else stdin if stdin is not None else subprocess.DEVNULL,
                stdout=subprocess.PIPE if stdout is None else stdout, stderr=self._stderr, env=environment(),
                start_new_session=True, bufsize=0)
        except OSError as error:
            self._stderr.close()
            missing = error.errno == errno.ENOENT
            raise ToolError(argv, 127, "not installed" if missing else str(error.strerror),
                            hint=f"install {os.fsdecode(argv[0])}" if missing else "") from error

    @property
    def pid(self) -> int:
        """The process id, which is also the id of its process group."""
        return self._child.pid

    @property
    def stdin(self) -> IO[bytes]:
        """The pipe into the program (only with `feed`)."""
        assert self._child.stdin is not None
        return self._child.stdin

    @property
    def stdout(self) -> IO[bytes]:
        """The unbuffered pipe out of the program."""
        assert self._child.stdout is not None
        return self._child.stdout

    def stderr_text(self) -> str:
        """Return the last part of what the program has written to stderr so far."""
        size = os.fstat(self._stderr.fileno()).st_size
        data = os.pread(self._stderr.fileno(), _STDERR_KEPT, max(0, size - _STDERR_KEPT))
        return data.decode("utf-8", "backslashreplace")

    def wait(self) -> int:
        """Wait for the end and return the exit status (negative: the signal that ended it)."""
        return self._child.wait()

    def check(self, ok: Sequence[int] = (0,)) -> int:
        """Wait for the end; raise ToolError when the status is not in `ok`."""
        status = self.wait()
        if status not in ok:
            raise ToolError(self.argv, status, self.stderr_text())
        return status

    def stop(self) -> None:
        """End the program and all its children: SIGTERM, a grace period, SIGKILL."""
        for sig, grace in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, None)):
            if self._child.poll() is not None:
                break
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, sig)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout=grace)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._child.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._child.stdin.close()
        if kind is not None or self._child.stdout is not None:
            if kind is not None:
                self.stop()
            if self._child.stdout is not None:
                self._child.stdout.close()
        self._child.wait()
        self._stderr.close()


def call(argv: Sequence[Arg], *, ok: Sequence[int] = (0,)) -> bytes:
    """Run a quick command on a hot path without the `sh` library and return its stdout; raises ToolError."""
    with Process(argv) as process:
        out = bytearray()
        while chunk := process.stdout.read(65536):
            out += chunk
        process.check(ok)
    return bytes(out)


def scratch() -> tempfile.TemporaryDirectory[str]:
    """Return a temporary directory for small things and mount points: for root in /run, since /tmp may be part of what
    is looked at, and its time should not change for it."""
    place = "/run" if os.geteuid() == 0 and os.access("/run", os.W_OK) else None
    return tempfile.TemporaryDirectory(prefix="rollpoint-", dir=place)


def detach(argv: Sequence[Arg], log: str, keep: Sequence[int] = ()) -> int:
    """Start a program that outlives us and our terminal; its output goes to the file `log`, and it inherits the
    descriptors `keep` (a lock that is to last as long as it lives). Returns its pid."""
    with open(log, "ab") as out, open(os.devnull, "rb") as null:
        child = subprocess.Popen(list(argv), stdin=null, stdout=out, stderr=out, start_new_session=True,
                                 close_fds=True, pass_fds=tuple(keep))
    return child.pid
