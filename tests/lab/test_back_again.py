"""The promise itself: a ruined machine of each kind is booted from a rescue CD, rolled back, and boots again."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.lab import steps
from tests.lab.conftest import Lab, in_group
from tests.lab.image import Image

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.mark.parametrize("layout", [in_group(name) for name in ("bios-mbr", "bios-gpt", "uefi", "bios-lvm")])
def test_a_ruined_system_boots_again_and_is_what_it_was(lab_image: Image, lab: Lab, layout: str) -> None:
    """Boot code zeroed, core image overwritten, kernel, GRUB, modules, /usr/sbin and the EFI loader gone, fstab broken,
    a partition and a disk added since: from the kit on the store's disk it goes back to the point, exactly, and not a
    byte of the tables and of the added disk changes."""
    case = lab(layout)
    added = steps.added_disk(case.place)
    disk = Path(added).read_bytes()
    sectors = steps.boot_sectors(case.system)
    steps.ruin_files(case.system)
    steps.ruin_sectors(case.system)
    steps.add_partition(case.system)
    table = case.system.table()
    why = steps.must_not_boot(case.system)
    with steps.rescued(lab_image, case, added) as machine:
        began = time.monotonic()
        done = steps.go_back(machine)
        print(f"{layout}: did not boot ({why}); rolled back in {time.monotonic() - began:.0f} s")
        print((done.out + done.err).decode("utf-8", "backslashreplace"))
    steps.must_be_back(case, table, sectors)
    assert Path(added).read_bytes() == disk, "the disk that was added was written to"
    steps.must_boot(case.system)
