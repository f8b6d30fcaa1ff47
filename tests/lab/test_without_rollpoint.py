"""The store without Rollpoint: restore.sh of the kit under busybox, with rsync, zstd and tar."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.lab import steps
from tests.lab.conftest import Lab
from tests.lab.image import Image
from tests.lab.layouts import store_disk
from tests.oracle import must_equal

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.lab_more, pytest.mark.xdist_group("bios-gpt")]

_TOOLS = "rsync zstd tar setfattr setfacl"


def test_restore_sh_brings_an_older_point_back_with_busybox_alone(lab_image: Image, lab: Lab) -> None:
    """The older of two points, so that what changed since comes out of the packs. PATH holds busybox's own commands and
    the tools named above."""
    case = lab("bios-gpt")
    with case.system.mounted(write=True) as root:
        shutil.rmtree(f"{root}/srv/things")
        os.truncate(f"{root}/boot/grub/grub.cfg", 0)
        os.unlink(f"{root}/etc/fstab")
        os.chmod(f"{root}/etc/passwd", 0)
        os.symlink("nowhere", f"{root}/usr/bin/new")
    empty = store_disk(case.place, size=1 << 30, name="target.raw")
    with steps.rescued(lab_image, case, empty) as machine:
        taken = steps.rollpoint(machine, "--root", "/mnt", "snapshot", "-m", "ruined", where=steps.KIT, check=False)
        assert taken.rc == 3 and b"/boot is mounted, and points before held it" in taken.err    # fstab is gone
        machine.sh(f"mkdir -p /run/tools /run/target; busybox --install -s /run/tools; "
                   f"for t in {_TOOLS}; do ln -sf $(command -v $t) /run/tools/$t; done; mount /dev/vdb /run/target")
        script = ["/usr/bin/busybox", "ash", f"{steps.STORE}/rescue/restore.sh", steps.STORE]
        machine.run(["env", "-i", "PATH=/run/tools", *script, case.point, "/run/target/new"], timeout=3600)
        machine.sh("umount /run/target")
    must_equal(case.record, steps.recorded_in(empty, "new"), "restore.sh did not bring the point back")
