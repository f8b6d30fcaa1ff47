"""A lost fstab: what points held and is mounted still, but not listed any more, is named, not left out in silence."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine.events import Job
from engine.results import SnapshotRequest
from tests.engine.harness import CHECKOUT, child_env
from tests.engine.loops import Machine, loops

pytestmark = pytest.mark.root


def warned(machine: Machine) -> list[str]:
    job = Job()
    machine.engine().snapshot(SnapshotRequest(), job)
    return job.warnings


@pytest.mark.parametrize("lost", ["empty", "gone"])
def test_a_lost_fstab_is_said_at_every_point_until_it_is_back(tmp_path: Path, lost: str) -> None:
    with loops(tmp_path) as made:
        machine = Machine(made, tmp_path)
        fstab = machine.root / "etc/fstab"
        text = fstab.read_text()
        assert warned(machine) == [] and warned(machine) == []
        if lost == "empty":
            fstab.write_text("")
        else:
            fstab.unlink()
        for _ in range(2):
            found = warned(machine)
            assert len(found) == 2, found
            assert found[0].startswith("/boot is mounted, and points before held it, but") and str(fstab) in found[0]
            assert found[1].startswith("/boot/efi is mounted") and "sources: [auto, /boot/efi]" in found[1]
        done = subprocess.run([sys.executable, "-m", "tui.cli", "--store", str(machine.store), "--root",
                               str(machine.root), "snapshot"], cwd=CHECKOUT, env=child_env(), capture_output=True,
                              text=True)
        assert done.returncode == 3 and "/boot is mounted" in done.stderr, done.stderr
        fstab.write_text(text)
        assert warned(machine) == []
        machine.loops.umount(machine.root / "boot/efi")
        fstab.write_text("\n".join(text.splitlines()[:2]) + "\n")
        assert warned(machine) == []        # one that is not mounted any more was taken away on purpose
