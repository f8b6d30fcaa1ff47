"""A recorded file system for which there is no disk any more: from a rescue system it becomes a directory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import config
from engine.events import Job
from engine.points import RestorePoint
from engine.service import Engine
from tests.engine.harness import CHECKOUT, child_env
from tests.engine.loops import Loops, Machine, loops, uuid_of

pytestmark = pytest.mark.root


class Without:
    """A machine that was taken with /home on a disk of its own, and that disk is gone."""

    def __init__(self, made: Loops, place: Path) -> None:
        self.loops, self.machine = made, Machine(made, place)
        home = made.make()
        self.uuid = uuid_of(home)
        made.mount(home, self.machine.root / "home")
        (self.machine.root / "home/me").write_text("mine")
        with (self.machine.root / "etc/fstab").open("a") as file:
            file.write(f"UUID={self.uuid} /home ext4 defaults 0 2\n")
        self.point: RestorePoint = self.machine.point()
        made.umount(self.machine.root / "home")

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `rollpoint rescue open …` on the machine's own disks, its store being in a directory here."""
        named = [w for d in self.machine.devices.values() for w in ("--device", d)]
        return subprocess.run([sys.executable, "-m", "tui.cli", "rescue", *words[:1], "--store",
                               str(self.machine.store), *named, *words[1:]], cwd=CHECKOUT, env=child_env(),
                              capture_output=True, text=True, timeout=300)


@pytest.fixture
def without(tmp_path: Path) -> Iterator[Without]:
    with loops(tmp_path) as made:
        yield Without(made, tmp_path)


def test_a_plan_names_what_could_become_a_directory_and_what_does(without: Without) -> None:
    machine = without.machine
    engine = Engine(config.load(store=str(machine.store), root=str(machine.root)))
    point = engine.resolve(without.point.id)
    for adopt in (False, True):
        plan = engine.plan(point, ["files"], Job(), adopt=adopt)
        assert (plan.missing, plan.merged, plan.blocked) == ((b"home",), (), True)
    plan = engine.plan(point, ["files"], Job(), adopt=True, merged=[b"home"])
    assert (plan.missing, plan.merged) == ((), (b"home",))
    without.loops.umount(machine.root / "boot/efi")
    plan = engine.plan(point, ["files"], Job(), adopt=True)
    assert plan.missing == (b"home",), "what boots is no file system to be merged"


def test_rescue_open_merges_for_its_command(without: Without) -> None:
    machine = without.machine
    without.loops.umount(machine.root)
    rollback = ("--", "rollback", "latest", "--no-safety-point", "--scope", "files", "--yes")
    refused = without.run("open", "--merge", "/home", *rollback)
    assert refused.returncode == 5 and "/home becomes a directory only when others are adopted (--adopt)" in (
        refused.stderr)
    unknown = without.run("open", "--adopt", "--merge", "/srv", *rollback)
    assert unknown.returncode == 5 and "mounted at /srv" in unknown.stderr
    listed = without.run("list", "--adopt", "--merge", "/home/")
    assert "merged" in listed.stdout and "REFUSED" not in listed.stdout, listed.stdout
    done = without.run("open", "--adopt", "--merge", "/home", *rollback)
    assert done.returncode in (0, 3) and ", verified." in done.stdout, done.stderr
    machine.mount()
    assert (machine.root / "home/me").read_text() == "mine" and not os.path.ismount(machine.root / "home")
    assert f"# UUID={without.uuid} /home ext4 defaults 0 2\n" in (machine.root / "etc/fstab").read_text()
