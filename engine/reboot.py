"""Why a reboot would be due after a rollback of the running system: what takes effect at the next boot only."""

from __future__ import annotations

import re
from collections.abc import Sequence

_RUNNING = re.compile(r"libc6|glibc|musl|systemd(-sysv|-libs|-udev)?|libsystemd0|udev|dbus(-broker|-daemon)?"
                      r"|linux(-image.*|-firmware|-lts)?|kernel(-core|-modules)?"
                      r"|intel-microcode|amd64-microcode|amd-ucode|intel-ucode|microcode_ctl")
"""Packages that stay in use as they were until the next boot, under the names of dpkg, rpm and pacman."""


def reasons(root: bytes, boot: Sequence[str], kernels: Sequence[str], packages: Sequence[str]) -> tuple[str, ...]:
    """Return why a rollback of the tree at `root` would ask for a reboot: boot sectors, kernels and packages that
    everything runs on, in a plan's words. None for a tree that does not run."""
    if root != b"/":
        return ()
    deep = [line for line in packages if _RUNNING.fullmatch(line.split(" ")[0].partition(":")[0])]
    return (*boot, *kernels, *deep)
