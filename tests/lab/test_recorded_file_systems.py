"""A rollback acts on the file systems that the point recorded, whatever the broken system's fstab says today."""

from __future__ import annotations

import os

import pytest

from tests.lab import steps
from tests.lab.conftest import Lab
from tests.lab.image import Image

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.lab_more, pytest.mark.xdist_group("bios-mbr")]


def test_boot_must_be_mounted_and_needs_no_fstab_for_it(lab_image: Image, lab: Lab) -> None:
    """With /boot not mounted, its files would land in the directory below it: that is refused. Mounted, it is rolled
    back although fstab lists nothing any more."""
    case = lab("bios-mbr")
    sectors, table = steps.boot_sectors(case.system), case.system.table()
    steps.ruin_files(case.system)
    with case.system.mounted(write=True) as root:
        os.truncate(f"{root}/etc/fstab", 0)
    with steps.rescued(lab_image, case) as machine:
        machine.sh("umount /mnt/boot")
        refused = steps.go_back(machine, check=False)
        below = machine.sh("ls -A /mnt/boot")
        machine.sh("mount /dev/vdb1 /mnt/boot")
        steps.go_back(machine)
    text = (refused.out + refused.err).decode("utf-8", "backslashreplace")
    assert refused.rc == 5, text
    assert "/boot was a file system of its own" in text
    assert not below, "something was written below the mount point"
    steps.must_be_back(case, table, sectors)
