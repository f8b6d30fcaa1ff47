"""Who did what to a store: STORE/audit.log, one JSON object a line, only ever appended to.

A line is pure ASCII: ``{"time": "2024-03-10T12:00:00+00:00", "user": …, "verb": …, "subject": …, "result": …,
"detail": …}``. Control characters and bytes that are no UTF-8 are escaped, so the file is safe to look at
on a terminal. The log must never stand in the way of the work it tells of: what cannot be written is
dropped, and what was half written (a full disk, a power cut) is passed over when it is read.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

NAME = "audit.log"
_BLOCK = 1 << 16


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One line of the log. `time` is ISO 8601 in UTC; `result` is ``ok``, ``failed`` or the like."""

    time: str
    user: str
    verb: str
    subject: str
    result: str
    detail: str = ""


def record(store: str, verb: str, subject: str, result: str, detail: str = "", *,
           now: datetime | None = None) -> bool:
    """Append one line, in a single write, and return whether it is on the disk. Never raises an OSError."""
    moment = (now or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="seconds")
    entry = AuditEntry(moment, _user(), verb, subject, result, detail)
    line = json.dumps(asdict(entry)).encode("ascii") + b"\n"
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        fd = os.open(os.path.join(store, NAME), flags, 0o600)
    except (OSError, ValueError):
        return False
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            return False
        # A torn last line must not swallow this one.
        if info.st_size and os.pread(fd, 1, info.st_size - 1) != b"\n":
            line = b"\n" + line
        whole = os.write(fd, line) == len(line)
        os.fdatasync(fd)
        return whole
    except OSError:
        return False
    finally:
        os.close(fd)


def tail(store: str, count: int) -> list[AuditEntry]:
    """Return the last `count` entries, the oldest of them first; [] without a readable log.

    Lines that are torn or no entries are passed over.
    """
    found: list[AuditEntry] = []
    try:
        with open(os.path.join(store, NAME), "rb", opener=_plain) as file:
            for line in _lines_backwards(file.fileno(), os.fstat(file.fileno()).st_size):
                if len(found) >= count:
                    break
                entry = _parse(line)
                if entry is not None:
                    found.append(entry)
    except (OSError, ValueError):
        pass
    return found[::-1]


def _plain(path: str, flags: int) -> int:
    fd = os.open(path, flags | os.O_NONBLOCK | os.O_NOFOLLOW)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ValueError("no regular file")
    return fd


def _lines_backwards(fd: int, end: int) -> Iterator[bytes]:
    """Yield the lines of a file from the last to the first, read in blocks: the log only grows."""
    rest: list[bytes] = []      # the pieces of a line whose beginning is not read yet, the last piece first
    while end > 0:
        start = max(0, end - _BLOCK)
        first, *lines = os.pread(fd, end - start, start).split(b"\n")
        if lines:
            yield lines.pop() + b"".join(reversed(rest))
            yield from reversed(lines)
            rest = []
        rest.append(first)
        end = start
    yield b"".join(reversed(rest))


def _parse(line: bytes) -> AuditEntry | None:
    try:
        data = json.loads(line)
        fields = {name: data[name] for name in AuditEntry.__slots__}
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return AuditEntry(**fields) if all(isinstance(value, str) for value in fields.values()) else None


def _user() -> str:
    """Return who is behind this process: the one who called sudo, or else the owner of the process."""
    import pwd

    name = os.environ.get("SUDO_USER", "")
    if name and os.getuid() == 0:
        return name
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
