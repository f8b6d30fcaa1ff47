"""Making what is mounted in a private namespace visible to everybody, at a place of its own.

A bind mount cannot reach into another namespace. A detached copy of the mounts can be carried over, though: it is made
inside (open_tree(2)), and attached outside (move_mount(2)), by a helper that enters both one after the other. Linux 5.2
and newer can do that.
"""

from __future__ import annotations

import os
import sys

from engine.errors import RefusedError, RollpointError, ToolError
from engine.machine.mounts import Namespace
from engine.run import call
from engine.text import printable

_CARRY = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
def checked(name, result):
    if result < 0:
        raise SystemExit(f"{name}: {os.strerror(ctypes.get_errno())}")
    return result
inner, outer, source, target = sys.argv[1:]
home = os.open(outer, os.O_RDONLY)
there = os.open(inner, os.O_RDONLY)
checked("setns", libc.setns(there, 0x20000))
tree = checked("open_tree", libc.syscall(428, -100, os.fsencode(source), 0x8000 | 1 | 0x80000))
checked("setns", libc.setns(home, 0x20000))
checked("move_mount", libc.syscall(429, tree, b"", -100, os.fsencode(target), 4))
"""


def attach(space: Namespace, inside: bytes, where: bytes) -> None:
    """Mount what is at `inside` in a namespace, with all that is mounted below it, on the directory `where` of our own.

    Raises RefusedError where the kernel cannot, RollpointError when it fails.
    """
    names = [f"/proc/{space.pid}/ns/mnt", "/proc/self/ns/mnt"]
    try:
        call([sys.executable, "-I", "-c", _CARRY, *names, os.fsdecode(inside), os.fsdecode(where)])
    except ToolError as error:
        if "not implemented" in error.stderr:
            raise RefusedError("this kernel cannot show the point to everybody (Linux 5.2 can)",
                               hint="copy the files out with `rollpoint restore POINT --to DIR`") from None
        raise RollpointError(f"the point cannot be mounted on {printable(where)}: {error.stderr.strip()}") from error
