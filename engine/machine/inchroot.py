"""Programs of another system run in it by chroot(1), for only its own tools know its boot loader and its initramfs.

What they need of the kernel (/dev, /proc, /sys, /run) is bound inside, in a mount namespace that nobody else sees, and
is gone with it. /run is the one of the system that runs: the tools of LVM wait long for a udev that never answers.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from engine.errors import RefusedError, ToolError
from engine.machine.mounts import Namespace, inner
from engine.run import Arg, call
from engine.text import printable

_BOUND = ((b"dev", "--rbind"), (b"proc", "--bind"), (b"sys", "--rbind"), (b"run", "--bind"))
# A copy of our programs in memory must not lend its libraries to those of the system.
_ENVIRONMENT = {"LC_ALL": "C", "HOME": "/root", "TERM": "dumb", "DEBIAN_FRONTEND": "noninteractive",
                "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


def furnish(space: Namespace, where: bytes) -> None:
    """Bind what the kernel shows into the system at `where` (its name in `space`). Raises RefusedError where it has no
    directory for it, ToolError."""
    for name, how in _BOUND:
        there = os.path.join(space.outside(where), name)
        if not os.path.lexists(there):
            os.mkdir(there, 0o755)
        if not stat.S_ISDIR(os.lstat(there).st_mode):       # a symbolic link would lead into the system around it
            raise RefusedError(f"/{printable(name)} of the system is no directory: its programs cannot run in it",
                               hint=f"make /{printable(name)} a directory")
        space.run(["mount", how, b"/" + name, os.path.join(where, name)])


def run(space: Namespace, where: bytes, argv: Sequence[Arg], seconds: float) -> bytes:
    """Run a program in the system at `where`, furnished before, and return what it wrote. Raises ToolError."""
    return _called(space, ["chroot", where, *argv], seconds)


def run_here(space: Namespace, argv: Sequence[Arg], seconds: float) -> bytes:
    """Run a program of the system that runs, in the same space. Raises ToolError."""
    return _called(space, argv, seconds)


def _called(space: Namespace, argv: Sequence[Arg], seconds: float) -> bytes:
    wrapped = space.wrap(argv)
    try:
        return call(wrapped, timeout=seconds, env=_ENVIRONMENT)
    except ToolError as error:
        named = inner(wrapped)
        raise ToolError(named[2:] if named[0] == "chroot" else named, error.status, error.stderr) from error


def said(error: ToolError, most: int = 3) -> str:
    """Return the last lines that a tool wrote before it failed, as one."""
    lines = [line.strip() for line in error.stderr.splitlines() if line.strip()]
    return "; ".join(lines[-most:]) or error.message
