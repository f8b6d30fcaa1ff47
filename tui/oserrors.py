"""What the operating system says when it refuses something: to what, and what to do about it, for people."""

from __future__ import annotations

import errno
import os

from engine.text import message, printable

_ROOT = "run it as root"
_KERNEL = "look for I/O errors in the kernel's log (dmesg)"
_SERVER = "see whether the server of that network file system answers, then mount it again"
_HINTS = {
    errno.ENOSPC: "free some room there", errno.EDQUOT: "free some room there, or raise the quota",
    errno.EROFS: "the file system is mounted read-only: see why (dmesg), and mount it read-write",
    errno.EACCES: _ROOT, errno.EPERM: _ROOT, errno.ESTALE: "mount the file system again",
    errno.EIO: _KERNEL, errno.ENXIO: _KERNEL, errno.ENOENT: "see whether it is still there, and mounted",
    errno.ENOTDIR: "see what stands in its place", errno.ETIMEDOUT: _SERVER, errno.EHOSTDOWN: _SERVER,
    errno.ENOTCONN: _SERVER, errno.EMFILE: "close other programs, or raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close other programs; the whole system has too many open files",
    errno.ENOMEM: "close other programs; the system is out of memory"}
_UNKNOWN = "try again; the kernel's log (dmesg) may say more"


def explain(error: OSError) -> tuple[str, str]:
    """Return what the system said, of which names, and what to do next ("" where there is nothing to advise)."""
    names = [printable(n) for n in (error.filename, error.filename2) if isinstance(n, str | bytes)]
    reason = message(error.strerror or str(error) or type(error).__name__)
    hint = _HINTS.get(error.errno or 0, _UNKNOWN)
    if hint == _ROOT and os.geteuid() == 0:
        hint = "not even root may: look for a read-only or network file system, or an immutable file (lsattr)"
    return (f"{' -> '.join(names)}: {reason}" if names else reason), hint
