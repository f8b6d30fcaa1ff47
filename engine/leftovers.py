"""Scratch directories of Rollpoints that were killed: swept when the next one makes its own.

Their names hold the process that made them. One is removed only when that process is gone, nothing is mounted on it or
below it in any mount namespace, no process stands in it, and all of it lies on one file system.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator

_NAME = re.compile(rb"rollpoint-([0-9]+)-[^/]+")


def prefix() -> str:
    """Return what the names of this process's scratch directories begin with."""
    return f"rollpoint-{os.getpid()}-"


def sweep(place: bytes) -> list[bytes]:
    """Remove what killed Rollpoints left in the directory `place`; returns the paths. Never raises: what cannot be
    removed stays."""
    old: list[bytes] = []
    with contextlib.suppress(OSError):
        old = [os.path.join(place, name) for name in sorted(os.listdir(place))
               if (match := _NAME.fullmatch(name)) and not os.path.exists(b"/proc/" + match[1])]
    old = [path for path in old if _ours(path)]
    used = list(_in_use()) if old else []       # looked at only then: it takes a look at every process
    gone = []
    for path in old:
        if not any(one == path or one.startswith(path + b"/") for one in used):
            with contextlib.suppress(OSError):
                _remove(path, os.lstat(path).st_dev)
                gone.append(path)
    return gone


def _ours(path: bytes) -> bool:
    with contextlib.suppress(OSError):
        info = os.lstat(path)
        return stat.S_ISDIR(info.st_mode) and info.st_uid == os.geteuid() and stat.S_IMODE(info.st_mode) & 0o077 == 0
    return False


def _in_use() -> Iterator[bytes]:
    """Yield the mount points of all mount namespaces, and where processes stand."""
    seen = set()
    for name in os.listdir(b"/proc"):
        if not name.isdigit():
            continue
        with contextlib.suppress(OSError):
            yield os.readlink(b"/proc/%s/cwd" % name)
        with contextlib.suppress(OSError):
            namespace = os.readlink(b"/proc/%s/ns/mnt" % name)
            if namespace not in seen:
                with open(b"/proc/%s/mountinfo" % name, "rb") as file:
                    yield from [_unescaped(line.split(b" ", 5)[4]) for line in file]
                seen.add(namespace)


def _unescaped(field: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), field)


def _remove(path: bytes, device: int) -> None:
    """Remove a directory that lies on `device` with all that is in it. Raises OSError where another one begins."""
    for entry in list(os.scandir(path)):
        info = entry.stat(follow_symlinks=False)
        if info.st_dev != device:
            raise OSError(f"{entry.path!r} is on another file system")
        if stat.S_ISDIR(info.st_mode):
            _remove(entry.path, device)
        else:
            os.unlink(entry.path)
    os.rmdir(path)
