"""A mount namespace of this very process: what it mounts, nobody else sees, and it is gone with the last process in it.

For programs that do nothing else in their life. A program with threads takes engine.machine.mounts.Namespace.
"""

from __future__ import annotations

import ctypes
import os

from engine.errors import RollpointError
from engine.machine.mounts import mounts

_NEW_NAMESPACE = 0x00020000     # sched.h: CLONE_NEWNS
_PRIVATE = 0x44000              # sys/mount.h: MS_REC | MS_PRIVATE
_LIBC = ctypes.CDLL(None, use_errno=True)


def enter() -> None:
    """Leave the mount namespace of the others for a private copy of it. Raises RollpointError when that cannot be.

    In a chroot whose root is no mount point there is nothing to make private at "/": entering one's own namespace
    leaves the chroot (setns(2)), everything is made private from there, and the chroot is entered again.
    """
    _call("unshare", _NEW_NAMESPACE)
    if any(mount.point == b"/" for mount in mounts()):
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
    if getattr(_LIBC, name)(*arguments):
        raise RollpointError(f"no private mount namespace: {name}: {os.strerror(ctypes.get_errno())}",
                             hint="run as root, outside of containers that forbid it")
