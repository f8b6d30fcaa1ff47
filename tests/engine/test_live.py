"""Rolling back the very system that the rollback runs from: Python, rsync and the C library go while it works.

A Debian system with Python, rsync and zstd is entered with chroot(2) in a mount namespace of its own; there it is "/",
with a file system of its own mounted in it, as on a real machine. What must be true afterwards is judged from outside.
"""

from __future__ import annotations

import glob
import os

import pytest

from tests.conftest import loop_ext4
from tests.engine.live_system import Live, change, live
from tests.oracle import must_equal

__all__ = ["live"]
pytestmark = [pytest.mark.root, pytest.mark.slow]

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
    change(live)
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
        change(live)
        with open(live.path("etc/fstab"), "a", encoding="ascii") as file:
            file.write("/dev/vdb /srv/data ext4 defaults 0 2\n")     # a disk that was added after the point
        for name in ("var/lib/mysql/ibdata1", "run/some.pid"):
            with open(live.path(name), "w", encoding="ascii") as file:
                file.write("not to be touched\n")
        expected = before | {p: f for p, f in live.record().items() if p.startswith(b"var/lib/mysql")}

        assert "srv/data/mail" not in live.rollpoint("rollback", "1", "--dry-run", "-v").stdout
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
    change(live)
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
