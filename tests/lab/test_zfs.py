"""Points of real ZFS data sets, file systems and a volume: zfs_guest.py and zfs_engine.py say what happens to them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.lab.guest import blank_disk, guest, program_in
from tests.lab.image import Image
from tests.lab.steps import PROGRAM

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.lab_more, pytest.mark.xdist_group("zfs")]

_PYTHON = f"PYTHONPATH={PROGRAM}:/run python3"
_HERE = Path(__file__).resolve().parent
_PHASES = (("zfs_guest", ("without_zfs", "made", "three_points", "diff_of_zfs", "foreign_points", "pins_and_comments",
                          "room")),
           ("zfs_engine", ("pruned", "by_content")), ("zfs_guest", ("set_back",)),
           ("zfs_engine", ("several_pools", "momentary", "full_pool")))


def test_points_of_zfs_data_sets(guest_image: Image, lab_place: str) -> None:
    disks = [blank_disk(lab_place, "zfs-tank", 2 << 30), blank_disk(lab_place, "zfs-spare", 96 << 20)]
    with guest(guest_image, *disks) as machine:
        machine.wait_up()
        program_in(machine)
        for name in ("oracle", "lab/zfs_guest", "lab/zfs_engine"):
            machine.put(f"/run/tests/{name}.py", (_HERE.parent / f"{name}.py").read_bytes())
        for module, phases in _PHASES:
            for phase in phases:
                began = time.monotonic()
                said = machine.sh(f"{_PYTHON} -m tests.lab.{module} {phase}", timeout=1800)
                print(f"{phase}: {time.monotonic() - began:.0f} s {said}")
        machine.power_off()
