"""Which packages and kernels a system tree has, read from its own files.

dpkg's and pacman's data are plain files. rpm's is a database in one of three formats, which rpm itself reads best; no
package manager is ever run on the system that is looked at.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from typing import IO, Protocol

from engine.errors import ToolError
from engine.run import call

DPKG_STATUS = b"var/lib/dpkg/status"
_PACMAN = b"var/lib/pacman/local"
# Where rpm keeps its database: nearly everywhere; Fedora 36 and openSUSE; ostree systems.
_RPM = (b"var/lib/rpm", b"usr/lib/sysimage/rpm", b"usr/share/rpm")
# Its files by format: sqlite, ndb, and Berkeley DB (rpm before 4.16, which needs nothing but Packages for a list).
_RPM_FILES = (b"rpmdb.sqlite", b"Packages.db", b"Packages")
BOOT = b"boot"
DATABASES = (DPKG_STATUS, _PACMAN, *_RPM)
_KERNEL = re.compile(rb"(?:vmlinuz|vmlinux|kernel)-(.+)")

_UNFINISHED = ("half-configured", "half-installed", "unpacked")
_THERE = ("installed", "triggers-awaited", "triggers-pending", *_UNFINISHED)

Installed = Mapping[str, str]


class Files(Protocol):
    """A tree to read from: a restore point, or the live system. Paths have no leading slash."""

    def open(self, path: bytes) -> AbstractContextManager[IO[bytes] | None]:
        """Open a regular file for reading; None where there is none."""

    def names(self, path: bytes) -> list[bytes]:
        """Return the names in a directory, none where there is none."""


def installed(files: Files, scratch: str) -> dict[str, str]:
    """Return {package: version} of a tree, of all its package managers together; `scratch` is a directory for copies.

    Raises ToolError where there is an rpm database that cannot be read here.
    """
    found = dict(_pacman(files.names(_PACMAN)))
    with files.open(DPKG_STATUS) as status:
        if status is not None:
            found |= dpkg(status.read())
    return found | rpm(files, scratch)


def dpkg(status: bytes) -> dict[str, str]:
    """Return {package: version} of what is installed, from the text of dpkg's status file (deb-control(5)). What was
    not installed to its end (dpkg(1), PACKAGE STATES) has its state behind its version."""
    found = {}
    for stanza in status.decode("utf-8", "replace").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in stanza.splitlines() if ": " in line and line[:1] != " ")
        state = fields.get("Status", "").rpartition(" ")[2]
        if state in _THERE and "Package" in fields:
            name = fields["Package"]
            if fields.get("Multi-Arch") == "same" and "Architecture" in fields:
                name += ":" + fields["Architecture"]
            found[name] = fields.get("Version", "?") + (f" ({state})" if state in _UNFINISHED else "")
    return found


def _pacman(names: Iterable[bytes]) -> Iterable[tuple[str, str]]:
    """Yield (package, version): the local database has a directory NAME-VERSION-RELEASE for each (alpm's layout)."""
    for name in names:
        parts = name.decode("utf-8", "backslashreplace").rsplit("-", 2)
        if len(parts) == 3:
            yield parts[0], f"{parts[1]}-{parts[2]}"


def rpm(files: Files, scratch: str) -> dict[str, str]:
    """Return {package: version-release} of an rpm database, as rpm prints them; several versions of one package (as
    of kernels) stand together, separated by commas."""
    for place in _RPM:
        for name in _RPM_FILES:
            if _copied(files, place + b"/" + name, scratch):
                # What sqlite has not yet moved into the database itself stands in its write-ahead log.
                _copied(files, place + b"/" + name + b"-wal", scratch)
                return _rpm_query(os.fsdecode(name), scratch)
    return {}


def _copied(files: Files, path: bytes, scratch: str) -> bool:
    """Copy a file into the directory `scratch`; whether there is one."""
    with files.open(path) as source:
        if source is None:
            return False
        with open(os.path.join(os.fsencode(scratch), os.path.basename(path)), "wb") as target:
            shutil.copyfileobj(source, target)
        return True


def _rpm_query(name: str, scratch: str) -> dict[str, str]:
    if shutil.which("rpm") is None:
        raise ToolError(["rpm"], 127, "not installed", hint="install rpm here to see what becomes of the packages")
    backend = {"rpmdb.sqlite": "sqlite", "Packages.db": "ndb", "Packages": "bdb_ro"}[name]
    out = call(["rpm", "--dbpath", scratch, "--define", f"_db_backend {backend}", "-qa", "--qf",
                   r"%{NAME}.%{ARCH}\t%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\n"])
    found: dict[str, str] = {}
    for line in sorted(out.decode("utf-8", "backslashreplace").splitlines()):
        package, _, version = line.partition("\t")
        found[package] = f"{found[package]}, {version}" if package in found else version
    return found


def differences(old: Installed, new: Installed) -> list[str]:
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


def kernels(files: Files) -> list[str]:
    """Return the releases of the kernel images in /boot, sorted."""
    found = (_KERNEL.fullmatch(name) for name in files.names(BOOT))
    return sorted(match[1].decode("utf-8", "backslashreplace") for match in found if match)


def kernel_differences(old: Iterable[str], new: Iterable[str]) -> list[str]:
    """Return in words which kernel images come and which go."""
    before, after = set(old), set(new)
    return [f"kernel {release} {'comes' if release in after else 'goes'}" for release in sorted(before ^ after)]
