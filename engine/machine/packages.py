"""Which packages and kernels a system tree has, read from its own files (no package manager is run)."""

from __future__ import annotations

import re
from collections.abc import Mapping

DPKG_STATUS = b"var/lib/dpkg/status"
_KERNEL = re.compile(rb"boot/(?:vmlinuz|vmlinux|kernel)-(.+)")


def dpkg(status: bytes) -> dict[str, str]:
    """Return {package: version} of what is installed, from the text of dpkg's status file (deb-control(5))."""
    found = {}
    for stanza in status.decode("utf-8", "replace").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[:1] != " ")
        if fields.get("Status", "").endswith(" installed") and "Package" in fields:
            name = fields["Package"]
            if fields.get("Multi-Arch") == "same" and "Architecture" in fields:
                name += ":" + fields["Architecture"]
            found[name] = fields.get("Version", "?")
    return found


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Return in words what changes from one set of packages to another: ``openssl 3.0.11 -> 3.0.15``."""
    words = []
    for name in sorted(old.keys() | new.keys()):
        if name not in old:
            words.append(f"{name} {new[name]} is installed")
        elif name not in new:
            words.append(f"{name} {old[name]} is removed")
        elif old[name] != new[name]:
            words.append(f"{name} {old[name]} -> {new[name]}")
    return words


def kernel_of(path: bytes) -> str:
    """Return the kernel release that a path below /boot is the image of, or ""."""
    match = _KERNEL.fullmatch(path)
    return match[1].decode("utf-8", "backslashreplace") if match else ""
