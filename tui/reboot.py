"""Whether a reboot seems due after a rollback: judged from what its plan says, and from nothing else."""

from __future__ import annotations

import re

from engine.results import RollbackPlan

_RUNNING = re.compile(r"libc6|glibc|musl|systemd(-sysv|-libs|-udev)?|libsystemd0|udev|dbus(-broker|-daemon)?"
                      r"|linux(-image.*|-firmware|-lts)?|kernel(-core|-modules)?"
                      r"|intel-microcode|amd64-microcode|amd-ucode|intel-ucode|microcode_ctl")
"""Packages that stay in use as they were until the next boot, under the names of dpkg, rpm and pacman."""


def reboot_reasons(plan: RollbackPlan) -> tuple[str, ...]:
    """Return what changes with the plan and takes effect at the next boot only: boot sectors, kernels, packages that
    everything runs on. Empty: nothing in the plan asks for a reboot."""
    deep = [line for line in plan.packages if _RUNNING.fullmatch(line.split(" ")[0].partition(":")[0])]
    return (*plan.boot, *plan.kernels, *deep)
