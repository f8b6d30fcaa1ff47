"""What a rollback refuses on a real machine before anything has changed, and what it says then."""

from __future__ import annotations

import os

import pytest

from tests.lab import steps
from tests.lab.conftest import Lab
from tests.lab.image import Image
from tests.oracle import must_equal

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.lab_more, pytest.mark.xdist_group("bios-mbr")]


def test_a_rollback_that_cannot_come_right_changes_nothing(lab_image: Image, lab: Lab) -> None:
    """/boot has no room for the kernel, and the machine is another one: both are reasons to refuse, and both are said;
    and boot code would not go onto a disk that is not the recorded one."""
    case = lab("bios-mbr")
    steps.ruin_files(case.system)
    with case.system.mounted(write=True) as root:
        room = os.statvfs(f"{root}/boot")
        with open(f"{root}/boot/filler", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_frsize - (4 << 20))
    case.system.write(440, b"\x01\x02\x03\x04")         # the disk's signature: now it is another disk
    before, sectors, table = steps.recorded(case.system), steps.boot_sectors(case.system), case.system.table()
    with steps.rescued(lab_image, case) as machine:
        machine.sh("echo 00000000000000000000000000000002 >/run/id; mount --bind /run/id /mnt/etc/machine-id")
        done = steps.go_back(machine, check=False)
        text = (done.out + done.err).decode("utf-8", "backslashreplace")
        machine.sh("umount /mnt/etc/machine-id")
    must_equal(before, steps.recorded(case.system), "a refused rollback changed something")
    assert (steps.boot_sectors(case.system), case.system.table()) == (sectors, table)
    assert done.rc == 5, text
    assert "not enough room on /mnt/boot" in text
    assert "belongs to another machine" in text
    assert "no boot code is written: the recorded disk /dev/vda is not here" in text
    assert "identifier is 04030201" in text
    assert steps.must_not_boot(case.system)
