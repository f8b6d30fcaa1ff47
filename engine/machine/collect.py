"""What tools say about the machine, as text files: side by side, each with a time limit, and never an error.

A tool that is missing, fails, hangs or says too much costs the point nothing but a note.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from engine.errors import ToolError
from engine.run import Process, environment

_AT_ONCE = 4
_LIMIT = 8 << 20        # bytes of one tool's output
_PAUSE = 0.01


@dataclass(frozen=True, slots=True)
class Wanted:
    """A command whose stdout is wanted in the file `name`; `ok` are the statuses that are no failure, `timeout` is in
    seconds."""

    name: str
    argv: tuple[str | bytes, ...]
    ok: tuple[int, ...] = (0,)
    timeout: float = 10


@dataclass(frozen=True, slots=True)
class Text:
    """A text that was asked for. `note` says in words why it is missing or not whole ("" when all is well); `sha256`
    is "" when there is no file."""

    name: str
    command: str
    note: str
    bytes: int = 0
    sha256: str = ""


@dataclass(slots=True)
class _Running:
    wanted: Wanted
    process: Process
    path: bytes
    out: int
    until: float
    note: str = field(default="")


def collect(wanted: Sequence[Wanted], directory: bytes, *, seconds: float = 30) -> tuple[Text, ...]:
    """Run the commands, at most four at a time and `seconds` altogether, each into its file in `directory` (which
    exists). Returns one `Text` for each, in the order of `wanted`; raises only when the directory cannot be written.
    """
    deadline = time.monotonic() + seconds
    waiting, running = list(wanted), list[_Running]()
    done: dict[str, Text] = {}
    try:
        while waiting or running:
            while waiting and len(running) < _AT_ONCE:
                started = _start(waiting.pop(0), directory, deadline, done)
                running += [started] if started is not None else []
            for one in [r for r in running if _ended(r)]:
                running.remove(one)
                done[one.wanted.name] = _finish(one)
            if running:
                time.sleep(_PAUSE)
    finally:
        for one in running:
            one.process.abandon()
            os.close(one.out)
    return tuple(done[w.name] for w in wanted)


def _start(wanted: Wanted, directory: bytes, deadline: float, done: dict[str, Text]) -> _Running | None:
    command = _command(wanted)
    left = deadline - time.monotonic()
    program = shutil.which(os.fsdecode(wanted.argv[0]), path=environment()["PATH"])
    if program is None or left <= 0:
        note = "not installed" if program is None else "no time was left for it"
        done[wanted.name] = Text(wanted.name, command, note)
        return None
    path = os.path.join(directory, os.fsencode(wanted.name))
    out = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        process = Process([program, *wanted.argv[1:]], stdout=out)
    except ToolError as error:
        os.close(out)
        os.unlink(path)
        done[wanted.name] = Text(wanted.name, command, error.message)
        return None
    return _Running(wanted, process, path, out, time.monotonic() + min(wanted.timeout, left))


def _ended(one: _Running) -> bool:
    """Whether a command is over: by itself, or because it took too long or said too much."""
    if one.process.poll() is not None:
        return True
    if os.fstat(one.out).st_size > _LIMIT:
        one.note = f"it said more than {_LIMIT >> 20} MiB and was stopped"
    elif time.monotonic() > one.until:
        one.note = "it took too long and was stopped"
    return bool(one.note)


def _finish(one: _Running) -> Text:
    status = one.process.poll()
    note = one.note
    if not note and status not in one.wanted.ok:
        said = one.process.stderr_text().strip().splitlines()
        note = f"it ended with status {status}: {said[-1] if said else 'no message'}"
    one.process.abandon()
    with contextlib.suppress(OSError):
        if os.fstat(one.out).st_size > _LIMIT:
            os.ftruncate(one.out, _LIMIT)
    data = os.pread(one.out, _LIMIT, 0)
    os.close(one.out)
    if not data:
        os.unlink(one.path)
        return Text(one.wanted.name, _command(one.wanted), note or "it said nothing")
    return Text(one.wanted.name, _command(one.wanted), note, len(data), hashlib.sha256(data).hexdigest())


def _command(wanted: Wanted) -> str:
    return " ".join(os.fsencode(a).decode("utf-8", "backslashreplace") for a in wanted.argv)


def keep_text(name: str, source: str, data: bytes, directory: bytes) -> Text:
    """Write a text that no tool had to be asked for (a file of /etc, uname) the way `collect` does."""
    with open(os.path.join(directory, os.fsencode(name)), "wb") as file:
        file.write(data)
    return Text(name, source, "", len(data), hashlib.sha256(data).hexdigest())
