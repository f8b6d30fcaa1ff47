"""A running system to roll back: Debian in a directory, entered with chroot(2) in a mount namespace of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from engine.rescue import kit
from tests.conftest import cannot_run
from tests.engine.debian import live_system
from tests.engine.harness import CHECKOUT
from tests.oracle import Record, record

STORE = "var/lib/rollpoint/store"
_ASIDE = (b"run", b"tmp", b"var/lib/rollpoint", b"dev", b"proc", b"sys")
_ENTER = """set -e
mount --bind "$0" "$0"
[ -z "$DATA" ] || mount --bind "$DATA" "$0/srv/data"
mount -t proc proc "$0/proc"; mount --rbind /dev "$0/dev"; mount --rbind /sys "$0/sys"
cd "$0"
exec chroot . "$@"
"""


@dataclass
class Live:
    """A system in a directory, and how to run Rollpoint on it: inside as the running system, outside as a tree."""

    root: str
    data: str = ""

    def path(self, *parts: str) -> str:
        return os.path.join(self.root, *parts)

    def inside(self, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a program in the system."""
        clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "DATA": self.data, **(env or {})}
        argv = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c", _ENTER, self.root, *words]
        return subprocess.run(argv, env=clean, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL)

    def rollpoint(self, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return self.inside("python3", "/run/rollpoint.pyz", *words, env=env)

    def json(self, *words: str) -> Any:
        done = self.rollpoint("--json", *words)
        assert done.returncode in (0, 3), f"{words}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout)

    def outside(self, *words: str) -> None:
        """Run Rollpoint on it the way a rescue system does: its file system is mounted, and nothing of it runs."""
        mounted = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-c",
                   'mount --bind "$0" "$0" && exec "$@"', self.root]
        argv = [*mounted, sys.executable, "-m", "tui.cli", "--store", self.path(STORE), "--root", self.root, *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=600, stdin=subprocess.DEVNULL,
                              env={**os.environ, "PYTHONPATH": CHECKOUT})
        assert done.returncode in (0, 3), f"{words}: {done.stdout}{done.stderr}"

    def record(self) -> Record:
        """What it consists of, but the store and what is never restored."""
        return {p: f for p, f in record(self.root).items()
                if p and not any(p == aside or p.startswith(aside + b"/") for aside in _ASIDE)}


@pytest.fixture
def live(place: str) -> Iterator[Live]:
    if not shutil.which("debootstrap"):
        cannot_run("rolling back a running system (debootstrap is not installed)")
    system = Live(os.path.join(place, "system"))
    os.mkdir(system.root)
    live_system(system.root)
    for name, text in (("etc/machine-id", "1f" * 16 + "\n"), ("etc/fstab", "/dev/vda / ext4 defaults 0 1\n"),
                       ("etc/motd", "before\n")):
        with open(system.path(name), "w", encoding="ascii") as file:
            file.write(text)
    os.makedirs(system.path("srv/data"))
    os.makedirs(system.path("var/lib/rollpoint"))
    with open(system.path("run/rollpoint.pyz"), "wb") as file:
        file.write(kit.make().files[kit.PROGRAM])
    yield system
    # A process that is left would hold the file system: say who, instead of failing to unmount it.
    left = [p for p in os.listdir("/proc") if p.isdigit() and _in(p, system.root)]
    assert left == [], f"processes are left in the system: {left}"


def _in(pid: str, root: str) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/root").startswith(root)
    except OSError:
        return False


def change(live: Live) -> None:
    """An admin's day: files edited, removed and new."""
    with open(live.path("etc/motd"), "a", encoding="ascii") as file:
        file.write("after\n")
    os.unlink(live.path("etc/debian_version"))
    os.mkdir(live.path("etc/later"))
