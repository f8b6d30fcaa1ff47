"""fstab and crypttab, read leniently (fstab(5), crypttab(5), systemd.mount(5) for nofail)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "ceph", "glusterfs", "9p", "virtiofs", "fuse.sshfs", "ocfs2"})
_VIRTUAL = frozenset({"proc", "sysfs", "tmpfs", "devpts", "devtmpfs", "debugfs", "tracefs", "securityfs", "cgroup",
                      "cgroup2", "configfs", "hugetlbfs", "mqueue", "overlay", "efivarfs", "binfmt_misc", "bpf",
                      "ramfs", "autofs", "zfs", "none", "usbfs", "rootfs"})


@dataclass(frozen=True, slots=True)
class FsLine:
    """A line of fstab."""

    spec: str
    point: str
    fstype: str
    options: tuple[str, ...]

    @property
    def local(self) -> bool:
        """Whether it is about a block device of this machine."""
        remote = self.fstype in _NETWORK or "_netdev" in self.options or self.fstype.startswith("fuse")
        return not (remote or self.fstype in _VIRTUAL or "bind" in self.options or "rbind" in self.options
                    or ("loop" in self.options and not self.spec.startswith("/dev/")))

    @property
    def needed(self) -> bool:
        """Whether systemd does not finish its start without it: emergency mode follows."""
        return not {"noauto", "nofail", "x-systemd.automount"} & set(self.options) and self.fstype != "swap"

    @property
    def swap(self) -> bool:
        """Whether it is swap space (its lack only delays a start)."""
        return self.fstype == "swap"


@dataclass(frozen=True, slots=True)
class CryptLine:
    """A line of crypttab; `key` is "" when none is named."""

    name: str
    spec: str
    key: str
    options: tuple[str, ...]

    @property
    def needed(self) -> bool:
        """Whether it is opened at every start."""
        return not {"noauto", "nofail"} & set(self.options)


def fstab(text: str) -> list[FsLine]:
    """Return the lines of an fstab that say something."""
    return [FsLine(_plain(f[0]), _plain(f[1]), f[2], tuple(f[3].split(",")) if len(f) > 3 else ())
            for f in _fields(text) if len(f) >= 3]


def crypttab(text: str) -> list[CryptLine]:
    """Return the lines of a crypttab that say something."""
    found = []
    for f in _fields(text):
        if len(f) >= 2:
            key = f[2] if len(f) > 2 and f[2] not in ("none", "-") else ""
            options = tuple(f[3].split(",")) if len(f) > 3 else ()
            found.append(CryptLine(_plain(f[0]), _plain(f[1]), _plain(key), options))
    return found


def _fields(text: str) -> Iterator[list[str]]:
    for line in text.splitlines()[:10_000]:
        fields = line.split()
        if fields and not fields[0].startswith("#"):
            yield fields


def _plain(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), field)
