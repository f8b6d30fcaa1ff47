"""The one door to external programs: argv lists only, LC_ALL=C, a session of their own, stderr kept for the error.

Short commands whose output is wanted whole go through `call`. Commands that stream or take long are a `Process`. Both
are killable with all their children. (The `sh` library did the first until its wait with a time limit, in version 2.4,
was seen to come back before the output was read: empty in half of the runs of a quick command.)
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import IO, NoReturn

from engine.errors import ToolError

Arg = str | bytes
_STDERR_KEPT = 256 * 1024
_GRACE = 5.0
_copies = ""


def environment() -> dict[str, str]:
    """Return the environment of every child: plain locale, a sane PATH, nothing that changes a tool's behaviour."""
    env = {"LC_ALL": "C", "PATH": os.environ.get("PATH", "") or os.defpath}
    if "/sbin" not in env["PATH"].split(":"):
        env["PATH"] += ":/usr/local/sbin:/usr/sbin:/sbin"
    for name in ("HOME", "TMPDIR", "TZ"):
        if name in os.environ:
            env[name] = os.environ[name]
    if _copies:
        env |= {"PATH": f"{_copies}/bin", "LD_LIBRARY_PATH": f"{_copies}/lib"}
    return env


def use_copies(directory: str) -> None:
    """From now on the programs that are started are those in DIRECTORY/bin, with the libraries of DIRECTORY/lib, and
    no others are found."""
    global _copies
    _copies = directory


def become(argv: Sequence[str], more: Mapping[str, str]) -> NoReturn:
    """Be another program from now on, with `more` in our environment. Raises ToolError."""
    try:
        os.execvpe(argv[0], list(argv), {**os.environ, **more})     # noqa: S606 (no shell is wanted)
    except OSError as error:
        raise ToolError(argv, 127, str(error.strerror)) from error


class Process:
    """A running program in a session of its own; leaving the `with` block never leaves it behind.

    stdout is a pipe unless a file is given; stdin is /dev/null unless `feed` asks for a pipe. What it writes to
    stderr goes to an unlinked file, so that a talkative tool can never block.
    """

    def __init__(self, argv: Sequence[Arg], *, feed: bool = False, stdout: IO[bytes] | int | None = None,
                 stdin: IO[bytes] | int | None = None) -> None:
        self.argv = list(argv)
        self._deaf = False
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

    def output(self, timeout: float) -> bytes:
        """Read stdout to its end and wait; raises ToolError, with everything killed, after `timeout` seconds."""
        try:
            return self._child.communicate(timeout=timeout)[0]
        except subprocess.TimeoutExpired:
            self.stop(_GRACE)
            raise ToolError(self.argv, 124, f"still running after {timeout:.0f} s") from None

    def wait(self) -> int:
        """Wait for the end and return the exit status (negative: the signal that ended it)."""
        return self._child.wait()

    def poll(self) -> int | None:
        """Return the exit status if the program has ended, else None."""
        return self._child.poll()

    def abandon(self) -> None:
        """Let go of the program without waiting for it; kill it and its children if it still runs.

        One that hangs in the kernel, on a dead disk or server, does not even hear SIGKILL.
        """
        if self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout=0.2)
        self._stderr.close()

    def check(self, ok: Sequence[int] = (0,)) -> int:
        """Wait for the end; raise ToolError when the status is not in `ok`."""
        status = self.wait()
        if status not in ok:
            raise ToolError(self.argv, status, self.stderr_text())
        return status

    def stop(self, patience: float | None = None) -> None:
        """End the program and all its children: SIGTERM, a grace period, SIGKILL. With `patience` it is not waited for
        longer than so many seconds after that, nor later: one that hangs in the kernel, on a suspended pool or a dead
        server, does not even hear SIGKILL, and will end as soon as it does."""
        for sig, grace in ((signal.SIGTERM, _GRACE), (signal.SIGKILL, patience)):
            if self._child.poll() is not None:
                break
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, sig)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(timeout=grace)
        self._deaf = self._child.poll() is None

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._child.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._child.stdin.close()
        if kind is not None or self._child.stdout is not None:
            if kind is not None and not self._deaf:
                self.stop()
            if self._child.stdout is not None:
                self._child.stdout.close()
        if not self._deaf:
            self._child.wait()
        self._stderr.close()


def call(argv: Sequence[Arg], *, ok: Sequence[int] = (0,), timeout: float = 60) -> bytes:
    """Run a short command and return what it wrote to stdout.

    Raises ToolError when it cannot be started, ends with a status not in `ok`, or runs longer than `timeout` seconds
    (then it is killed with all its children).
    """
    with Process(argv) as process:
        out = process.output(timeout)
        process.check(ok)
    return out


def foreground(argv: Sequence[Arg]) -> int:
    """Run a program on our terminal, with our environment and in our process group, and return its exit code: 128 + N
    after signal N. A Ctrl-C is for it to deal with; SIGTERM and SIGHUP are passed on."""
    with subprocess.Popen(list(argv), env=os.environ | {"PATH": environment()["PATH"]}) as child:
        def pass_on(number: int, _frame: object) -> None:
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(number)

        before = {s: signal.signal(s, pass_on) for s in (signal.SIGTERM, signal.SIGHUP)}
        before |= {s: signal.signal(s, lambda *_: None) for s in (signal.SIGINT, signal.SIGQUIT)}
        try:
            status = child.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
    return 128 - status if status < 0 else status


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
