"""Rollpoint commands without the start of an interpreter, which is half of what a small one takes.

A server has imported everything already and forks one process for each command, which then runs what
`python -m tui.cli` runs: a process of its own, to be killed and to fail like any other. The crash tests and the
histories run thousands.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from typing import NoReturn

CHECKOUT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Names of what an interpreter reads of the environment when it starts: with another value of these a real start is due.
AT_START = ("LANG", "LC_", "PYTHON")
STREAMS = 3


class Forker:
    """The server of one test process; made when it is first needed, gone when its socket closes."""

    def __init__(self) -> None:
        self._started = _at_start(os.environ)
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            subprocess.Popen([sys.executable, "-m", "tests.engine.forked", str(theirs.fileno())], cwd=CHECKOUT,
                             env={**os.environ, "PYTHONPATH": CHECKOUT}, stdin=subprocess.DEVNULL,
                             pass_fds=[theirs.fileno()])

    def fits(self, env: Mapping[str, str]) -> bool:
        """Whether a command with this environment would be the same had it been started."""
        return _at_start(env) == self._started

    def run(self, argv: list[str], env: Mapping[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
        """Run ``MODULE WORD…`` to its end in the checkout, with nobody at the terminal, and return what it said. Raises
        TimeoutExpired, after it has killed it."""
        with open(os.devnull, "rb") as nobody, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            streams = [nobody.fileno(), out.fileno(), err.fileno()]
            socket.send_fds(self._socket, [json.dumps([argv, dict(env)]).encode("ascii")], streams)
            code = self._ended(argv, timeout)
            said = []
            for stream in (out, err):
                stream.seek(0)
                said.append(stream.read().decode("utf-8", "backslashreplace"))
        return subprocess.CompletedProcess(argv, code, *said)

    def _ended(self, argv: list[str], timeout: float) -> int:
        pid = int(self._socket.recv(32))
        self._socket.settimeout(timeout)
        try:
            return int(self._socket.recv(32))
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            self._socket.settimeout(None)
            self._socket.recv(32)
            raise subprocess.TimeoutExpired(argv, timeout) from None
        finally:
            self._socket.settimeout(None)


def _at_start(env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name.startswith(AT_START) and name != "PYTHONPATH"}


def _become(argv: list[str], env: dict[str, str], streams: Iterable[int]) -> NoReturn:
    """Be the command: its streams, its environment, its module as the main one."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    sys.argv = argv
    code = 1
    try:
        runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _serve(asked: socket.socket) -> None:
    while True:
        message, streams, _flags, _address = socket.recv_fds(asked, 1 << 18, STREAMS)
        if not message:
            return
        pid = os.fork()
        if pid == 0:
            asked.close()
            argv, env = json.loads(message)
            _become(argv, env, streams)
        for stream in streams:
            os.close(stream)
        asked.send(b"%d" % pid)
        asked.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _import_all() -> None:
    for package in ("engine", "tui.commands"):
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)


if __name__ == "__main__":
    _import_all()
    with socket.socket(fileno=int(sys.argv[1])) as own:
        _serve(own)
