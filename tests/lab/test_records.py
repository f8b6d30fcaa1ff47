"""The lab's own oracles tell a disk that differs from one that does not; no machine is started for this."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.lab import steps
from tests.lab.conftest import in_group
from tests.lab.image import Image
from tests.lab.layouts import LAYOUTS, installed
from tests.oracle import differences

pytestmark = [pytest.mark.root, pytest.mark.slow]


def test_a_record_tells_what_was_changed_on_each_file_system_of_a_disk(lab_image: Image, lab_place: str) -> None:
    """Content of the same size and time, a mode, a new name, and a file of the ESP; and nothing of what is left out."""
    with tempfile.TemporaryDirectory(dir=lab_place) as place:
        system = installed(lab_image, "uefi", place)
        before = steps.recorded(system)
        assert {b"etc/fstab", b"boot/grub/grub.cfg", b"boot/efi/EFI/BOOT/BOOTX64.EFI"} <= set(before)
        assert not differences(before, steps.recorded(system))
        with system.mounted(write=True) as root:
            info = os.stat(f"{root}/etc/hostname")
            Path(f"{root}/etc/hostname").write_text("bal\n", encoding="ascii")
            os.utime(f"{root}/etc/hostname", ns=(info.st_atime_ns, info.st_mtime_ns))
            os.chmod(f"{root}/boot/grub/grub.cfg", 0o640)
            os.symlink("nowhere", f"{root}/new")
            Path(f"{root}/tmp/left out").touch()
        other = os.path.join(place, "other.efi")
        Path(other).write_bytes(b"not a loader")
        system.esp("mcopy", "-o", other, "::/EFI/BOOT/BOOTX64.EFI")
        found = {line.partition(":")[0] for line in differences(before, steps.recorded(system))}
    # The root and /tmp have new times, since they have new entries.
    assert found == {repr(path) for path in (b"", b"tmp", b"new", b"etc/hostname", b"boot/grub/grub.cfg",
                                             b"boot/efi/EFI/BOOT/BOOTX64.EFI")}


@pytest.mark.parametrize("layout", [in_group(name) for name in LAYOUTS])
def test_tables_and_boot_sectors_are_told_apart(lab_image: Image, lab_place: str, layout: str) -> None:
    """A partition more changes the table and no boot sector; ruined boot sectors are no change of the table."""
    with tempfile.TemporaryDirectory(dir=lab_place) as place:
        system = installed(lab_image, layout, place)
        table, sectors = system.table(), steps.boot_sectors(system)
        assert sectors[:440].strip(b"\0") or system.uefi, "GRUB is not in the boot sector"
        steps.ruin_sectors(system)
        ruined = steps.boot_sectors(system)
        assert system.table() == table
        assert (ruined == sectors) is system.uefi
        steps.add_partition(system)
        assert system.table() != table
        assert steps.boot_sectors(system) == ruined
