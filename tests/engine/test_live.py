"""Rolling back the very system that the rollback runs from: Python, rsync and the C library go while it works.

A Debian system with Python, rsync and zstd is entered with chroot(2) in a mount namespace of its own; there it is "/",
with a file system of its own mounted in it, as on a real machine. What must be true afterwards is judged from outside.
"""

from __future__ import annotations

import glob
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
from tests.conftest import cannot_run, loop_ext4
from tests.engine.debian import live_system
from tests.engine.harness import CHECKOUT
from tests.oracle import Record, must_equal, record

pytestmark = [pytest.mark.root, pytest.mark.slow]

_STORE = "var/lib/rollpoint/store"
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
        """Run Rollpoint on it the way a rescue system does."""
        argv = [sys.executable, "-m", "tui.cli", "--store", self.path(_STORE), "--root", self.root, *words]
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


def _change(live: Live) -> None:
    """An admin's day: files edited, removed and new."""
    with open(live.path("etc/motd"), "a", encoding="ascii") as file:
        file.write("after\n")
    os.unlink(live.path("etc/debian_version"))
    os.mkdir(live.path("etc/later"))


_GONE = ("usr/bin/python3.11", "usr/bin/rsync", "usr/bin/zstd", "usr/bin/mount", "usr/bin/nsenter", "usr/bin/cat")


def _ruin(live: Live, aside: str) -> None:
    """Put garbage in the place of the C library, of the loader, of Python and of every tool; the modules go."""
    libraries = glob.glob(live.path("lib/*-linux-gnu/ld-linux-*")) + glob.glob(live.path("lib/*-linux-gnu/lib*.so.*"))
    assert any("libc.so.6" in path for path in libraries) and len(libraries) > 20
    for path in [*libraries, *(live.path(name) for name in _GONE), live.path("usr/lib/python3.11")]:
        kept = os.path.join(aside, os.path.relpath(path, live.root))
        os.makedirs(os.path.dirname(kept), exist_ok=True)
        os.rename(path, kept)
        if not path.endswith("python3.11") or path.endswith("bin/python3.11"):
            with open(path, "w", encoding="ascii") as file:
                file.write("garbage\n")


def _mend(live: Live, aside: str) -> None:
    """Bring back what `_ruin` has put aside."""
    for directory, _, names in os.walk(aside):
        for name in names:
            kept = os.path.join(directory, name)
            target = live.path(os.path.relpath(kept, aside))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            os.replace(kept, target)


def test_it_goes_on_when_the_point_takes_everything_it_runs_from_away(live: Live, place: str) -> None:
    aside = os.path.join(place, "aside")
    _ruin(live, aside)
    ruined = live.record()
    live.outside("snapshot", "-m", "a system on which nothing runs")
    _mend(live, aside)
    _change(live)
    good = live.record()
    assert live.rollpoint("list").returncode == 0

    answer = live.json("rollback", "1", "--yes")
    assert answer["result"]["verified"] and answer["plan"]["root"] == "/"
    assert answer["result"]["safety_point"]["number"] == 2
    must_equal(ruined, live.record(), "rolled back while running from it")
    assert live.inside("python3", "--version").returncode != 0, "the oracle: nothing runs there now"

    live.outside("rollback", "--undo", "--yes")
    must_equal(good, live.record(), "undone from a rescue system")
    assert live.rollpoint("list").returncode == 0


def test_what_was_not_chosen_stays_and_an_interrupted_one_is_resumed(live: Live) -> None:
    with loop_ext4(64 << 20) as data:
        live.data = data
        with open(os.path.join(data, "mail"), "w", encoding="ascii") as file:
            file.write("on another disk\n")
        os.makedirs(live.path("var/lib/mysql"))
        with open(live.path("etc/database_locations"), "w", encoding="ascii") as file:
            file.write("/var/lib/mysql\n")
        assert live.rollpoint("snapshot", "-m", "first").returncode == 0
        before = live.record()
        _change(live)
        for name in ("var/lib/mysql/ibdata1", "run/some.pid"):
            with open(live.path(name), "w", encoding="ascii") as file:
                file.write("not to be touched\n")
        expected = before | {p: f for p, f in live.record().items() if p.startswith(b"var/lib/mysql")}

        killed = live.rollpoint("rollback", "1", "--scope", "files", "--yes",
                                env={"ROLLPOINT_KILL_AT": "rollback-copied"})
        assert killed.returncode == 1 and "ended without a result" in killed.stderr
        assert os.listdir(live.path("run/rp")) == [], "the copy is gone, although nobody could clean up"
        assert "was interrupted" in live.rollpoint("list").stderr
        answer = live.json("rollback", "--resume", "--yes")
        assert answer["result"]["verified"], answer["result"]["differences"]
        must_equal(expected, live.record(), "resumed")
        assert os.listdir(data) == ["mail"] and os.path.exists(live.path("run/some.pid"))
        assert os.listdir(live.path("srv/data")) == []


def test_a_path_apart_needs_no_copy_and_a_tool_that_is_missing_changes_nothing(live: Live) -> None:
    assert live.rollpoint("snapshot").returncode == 0
    _change(live)
    live.json("rollback", "1", "--scope", "path=/etc/motd", "--yes")
    assert not os.path.exists(live.path("run/rp")) and os.path.exists(live.path("etc/later"))
    before = live.record()
    os.rename(live.path("usr/bin/nsenter"), live.path("usr/bin/nsenter.aside"))
    with open(live.path("usr/bin/nsenter"), "w", encoding="ascii") as file:
        file.write("#!/bin/sh\nexec nsenter.aside \"$@\"\n")
    os.chmod(live.path("usr/bin/nsenter"), 0o755)
    refused = live.rollpoint("rollback", "1", "--yes")
    assert refused.returncode == 5 and "is no program but a script" in refused.stderr
    os.replace(live.path("usr/bin/nsenter.aside"), live.path("usr/bin/nsenter"))
    must_equal({p: f for p, f in before.items() if p != b"usr/bin"},
               {p: f for p, f in live.record().items() if p != b"usr/bin"}, "nothing was changed")
    assert [p["number"] for p in live.json("list")["points"]] == [2, 1], "not even a safety point"
