"""A rollback ordered for the next boot: units and link as systemd has to find them, and what the unit runs.

There is no systemd in the system that is rolled back here (tests/lab has a machine that boots): a directory says that
it runs, and its steps are taken by hand, as the unit file has them.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.engine.live_system import STORE, Live, change, live
from tests.oracle import must_equal

__all__ = ["live"]
pytestmark = [pytest.mark.root, pytest.mark.slow]

_UNIT = "etc/systemd/system/rollpoint-next-boot.service"
_WANTS = "etc/systemd/system/system-update.target.wants"


def _unit(live: Live) -> dict[str, list[str]]:
    """Read the unit: all values of each key."""
    found: dict[str, list[str]] = {}
    for line in Path(live.path(_UNIT)).read_text(encoding="ascii").splitlines():
        key, mark, value = line.partition("=")
        if mark and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def _boot(live: Live, env: dict[str, str] | None = None) -> list[subprocess.CompletedProcess[str]]:
    """Do what systemd does with the unit: its condition, then its commands."""
    unit = _unit(live)
    inside = live.inside("test", "-e", unit["ConditionPathExists"][0])
    assert inside.returncode == 0, "the condition holds: the link leads to the order"
    commands = [shlex.split(unit["ExecStartPre"][0].removeprefix("-")), shlex.split(unit["ExecStart"][0])]
    return [live.inside(*words, env=env) for words in commands]


def _ordered(live: Live, *words: str) -> None:
    os.makedirs(live.path("run/systemd/system"), exist_ok=True)
    done = live.rollpoint("rollback", "1", "--scope", "files", "--at-next-boot", "--yes", *words)
    assert done.returncode in (0, 3), done.stdout + done.stderr


def test_it_is_ordered_done_at_the_boot_and_told_afterwards(live: Live) -> None:
    before = live.record()
    assert live.rollpoint("snapshot", "-m", "first").returncode == 0
    change(live)
    _ordered(live)
    assert os.readlink(live.path("system-update")) == f"/{STORE}/next-boot"
    wants = live.path(_WANTS, "rollpoint-next-boot.service")
    assert os.path.samefile(wants, live.path(_UNIT)), "wanted by system-update.target"
    unit = _unit(live)
    assert unit["RequiresMountsFor"] == [f"/{STORE}"] and unit["DefaultDependencies"] == ["no"]
    assert unit["SuccessAction"] == unit["FailureAction"] == ["reboot"] and unit["Type"] == ["oneshot"]
    assert "system-update.target" in unit["Before"][0] and "sysinit.target" in unit["After"][0]
    listed = live.rollpoint("list")
    assert "will be done at the next boot" in listed.stderr
    refused = live.rollpoint("delete", "1", "--yes")
    assert refused.returncode == 5 and "ordered for the next boot" in refused.stderr

    Path(live.path("etc/last-minute")).write_text("written before the reboot\n", encoding="ascii")
    first, second = _boot(live)
    assert first.returncode == 0 and not os.path.lexists(live.path("system-update"))
    assert second.returncode == 0, second.stdout + second.stderr
    assert "putting back" in second.stdout and "verified" in second.stdout
    must_equal(before, live.record(), "rolled back at the boot, and nothing of ours is left")

    shutil.rmtree(live.path("run/rollpoint"))       # the machine boots again: /run is empty
    told = live.json("rollback", "--attach")
    assert told["result"]["verified"] and told["result"]["point"]["number"] == 1
    assert told["result"]["safety_point"]["number"] == 2, "taken at that boot"
    assert live.rollpoint("rollback", "--attach").returncode == 2, "told once"
    assert "next boot" not in live.rollpoint("list").stderr
    assert not os.path.exists(live.path(STORE, "next-boot"))
    assert '"rollback --at-next-boot"' in Path(live.path(STORE, "audit.log")).read_text(encoding="ascii")
    # What was there when the safety point was taken: the admin's files, and nothing of the order.
    live.json("rollback", "--undo", "--yes")
    assert os.path.exists(live.path("etc/last-minute")) and not os.path.exists(live.path(_UNIT))


def test_it_is_taken_back_and_a_failure_neither_loops_nor_is_silent(live: Live) -> None:
    assert live.rollpoint("snapshot").returncode == 0
    before = live.record()
    _ordered(live)
    assert live.rollpoint("rollback", "1", "--at-next-boot", "--yes").returncode == 5, "one order at a time"
    assert live.rollpoint("rollback", "--undo", "--yes").returncode == 0
    after = live.record()
    for path in (b"etc/systemd/system", b"etc/systemd", b"etc"):
        before.pop(path, None), after.pop(path, None)      # their time may differ
    must_equal(before, after, "taken back")
    assert not os.path.lexists(live.path("system-update"))

    change(live)
    _ordered(live)
    Path(live.path("etc/machine-id")).write_text("2e" * 16 + "\n", encoding="ascii")     # another machine now
    changed = live.record()
    first, second = _boot(live)
    assert (first.returncode, second.returncode) == (0, 1) and "another machine" in second.stdout
    assert not os.path.lexists(live.path("system-update")) and not os.path.exists(live.path(_UNIT))
    now = live.record()
    ours = [p for p in changed if b"system-update" in p or b"rollpoint" in p or p in (b"etc/systemd/system", b"etc")]
    for path in ours:
        changed.pop(path), now.pop(path, None)
    must_equal(changed, now, "nothing was rolled back")
    told = live.rollpoint("rollback", "--attach")
    assert told.returncode == 5 and "another machine" in told.stderr


def test_a_power_cut_at_that_boot_is_an_interrupted_rollback_like_any_other(live: Live) -> None:
    assert live.rollpoint("snapshot").returncode == 0
    change(live)
    wanted = live.record()
    _ordered(live)
    _, second = _boot(live, {"ROLLPOINT_KILL_AT": "rollback-copied"})
    assert second.returncode == 1 and "not rolled back" in second.stdout
    shutil.rmtree(live.path("run/rollpoint"))
    assert "was interrupted" in live.rollpoint("list").stderr and not os.path.lexists(live.path("system-update"))
    live.json("rollback", "--undo", "--yes")
    now = live.record()
    for path in (b"etc/systemd/system", b""):
        wanted.pop(path, None), now.pop(path, None)     # the order came and went there
    must_equal(wanted, now, "undone: the state when the safety point was taken")
    assert live.rollpoint("list").stderr == ""


def test_where_it_cannot_work_it_is_refused(live: Live) -> None:
    assert live.rollpoint("snapshot").returncode == 0
    none = live.rollpoint("rollback", "1", "--at-next-boot", "--yes")
    assert none.returncode == 5 and "with systemd" in none.stderr
    os.makedirs(live.path("run/systemd/system"))
    os.symlink("/var/lib/PackageKit", live.path("system-update"))
    other = live.rollpoint("rollback", "1", "--at-next-boot", "--yes")
    assert other.returncode == 5 and "another offline update" in other.stderr
    assert os.readlink(live.path("system-update")) == "/var/lib/PackageKit"
    assert not os.path.exists(live.path(_UNIT)) and not os.path.exists(live.path(STORE, "next-boot"))


def test_systemd_itself_takes_the_unit(live: Live, tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("CANNOT RUN: the unit is not checked by systemd (systemd-analyze is not installed)")
    assert live.rollpoint("snapshot").returncode == 0
    _ordered(live)
    copy = tmp_path / os.path.basename(_UNIT)
    text = Path(live.path(_UNIT)).read_text(encoding="ascii")
    copy.write_text(text.replace("/usr/bin/python3.11", shutil.which("true") or ""), encoding="ascii")
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True)
    assert [line for line in done.stderr.splitlines() if copy.name in line] == [] and done.returncode == 0, done.stderr
