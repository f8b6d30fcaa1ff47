"""A mount namespace of this very process: what it mounts, nobody else sees, and it is gone with the last process in it.

For programs that do nothing else in their life. A program with threads takes engine.machine.mounts.Namespace, which may
hand the text of this module to a Python of its own: it imports the standard library alone.
"""

from __future__ import annotations

import ctypes
import os

_NEW_NAMESPACE = 0x00020000     # sched.h: CLONE_NEWNS
_PRIVATE = 0x44000              # sys/mount.h: MS_REC | MS_PRIVATE


def enter() -> None:
    """Leave the mount namespace of the others for a private copy of it. Raises PermissionError, OSError.

    In a chroot whose root is no mount point there is nothing to make private at "/" (proc(5): it is not listed):
    entering one's own namespace leaves the chroot (setns(2)), everything is made private from there, and the chroot is
    entered again.
    """
    _call("unshare", _NEW_NAMESPACE)
    with open("/proc/self/mountinfo", "rb") as file:
        listed = any(line.split(b" ", 5)[4] == b"/" for line in file)
    if listed:
        _call("mount", None, b"/", None, _PRIVATE, None)
        return
    root = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY)
    try:
        here = os.getcwdb()
        _call("setns", namespace, _NEW_NAMESPACE)
        _call("mount", None, b"/", None, _PRIVATE, None)
        os.fchdir(root)
        os.chroot(b".")
        os.chdir(here)
    finally:
        os.close(namespace)
        os.close(root)


def _call(name: str, *arguments: int | bytes | None) -> None:
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"no private mount namespace: {name}: {os.strerror(number)}")
