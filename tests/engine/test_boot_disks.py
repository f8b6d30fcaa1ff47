"""Which disks lie below a path: made-up trees of sysfs, as the kernel lays them out."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.errors import RefusedError
from engine.machine.disks import all_disks, disks_below, read_disk
from engine.machine.mounts import Mount
from tests.engine.boot_images import MIB, gpt, loop


class Sys:
    """A sysfs below a directory: block devices with their partitions, slaves and holders."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("dev/block", "block", "fs/btrfs"):
            (root / name).mkdir(parents=True)

    def add(self, name: str, number: str, parent: str = "", *, slaves: tuple[str, ...] = (), uuid: str = "",
            size: int = 1000) -> None:  # fmt: skip
        where = self.root / "devices" / (f"{parent}/{name}" if parent else name)
        for part in ("holders", "slaves"):
            (where / part).mkdir(parents=True)
        (self.root / "dev/block" / number).symlink_to(where)
        (where / "uevent").write_text(f"MAJOR={number.split(':')[0]}\nDEVNAME={name.replace('!', '/')}\n")
        (where / "dev").write_text(number + "\n")
        (where / "size").write_text(f"{size}\n")
        if parent:
            (where / "partition").write_text("1\n")
        else:
            (self.root / "block" / name).symlink_to(where)
        if uuid:
            (where / "dm").mkdir()
            (where / "dm/uuid").write_text(uuid + "\n")
        for slave in slaves:
            below = next(p for p in (self.root / "devices").glob("**/" + slave) if (p / "uevent").exists())
            (where / "slaves" / slave).symlink_to(below)
            (below / "holders" / name).symlink_to(where)

    def below(self, number: str, fstype: bytes = b"ext4", source: bytes = b"/dev/x") -> list[str]:
        table = [Mount(number.encode(), b"/", b"/", fstype, source)]
        return [os.fsdecode(p) for p in disks_below(b"/boot", os.fsencode(self.root), b"/dev", table)]

    def all(self) -> list[str]:
        return [os.fsdecode(p) for p in all_disks(os.fsencode(self.root), b"/dev")]


@pytest.fixture
def sys(tmp_path: Path) -> Sys:
    made = Sys(tmp_path / "sys")
    made.add("sda", "8:0")
    made.add("sda1", "8:1", "sda")
    made.add("sda2", "8:2", "sda")
    made.add("sdb", "8:16")
    made.add("sdb1", "8:17", "sdb")
    return made


def test_a_partition_and_a_whole_disk(sys: Sys) -> None:
    assert sys.below("8:2") == ["/dev/sda"] and sys.below("8:16") == ["/dev/sdb"]
    assert sys.all() == ["/dev/sda", "/dev/sdb"]


def test_names_the_kernel_writes_otherwise(sys: Sys) -> None:
    sys.add("cciss!c0d0", "104:0")
    sys.add("cciss!c0d0p1", "104:1", "cciss!c0d0")
    sys.add("nvme0n1", "259:0")
    sys.add("nvme0n1p2", "259:2", "nvme0n1")
    assert sys.below("104:1") == ["/dev/cciss/c0d0"] and sys.below("259:2") == ["/dev/nvme0n1"]


def test_lvm_over_luks_over_raid_over_two_disks(sys: Sys) -> None:
    sys.add("md0", "9:0", slaves=("sda2", "sdb1"))
    sys.add("dm-0", "253:0", slaves=("md0",), uuid="CRYPT-LUKS2-x")
    sys.add("dm-1", "253:1", slaves=("dm-0",), uuid="LVM-x")
    assert sys.below("253:1") == ["/dev/sda", "/dev/sdb"]
    assert sys.all() == ["/dev/sda", "/dev/sdb"]


def test_multipath_is_one_disk(sys: Sys) -> None:
    sys.add("sdc", "8:32")
    sys.add("sdd", "8:48")
    sys.add("dm-2", "253:2", slaves=("sdc", "sdd"), uuid="mpath-360014055cafe0123")
    sys.add("dm-3", "253:3", slaves=("dm-2",), uuid="part1-mpath-360014055cafe0123")
    assert sys.below("253:3") == ["/dev/dm-2"]
    assert sys.all() == ["/dev/dm-2", "/dev/sda", "/dev/sdb"]


def test_a_path_of_multipath_leads_to_it(sys: Sys) -> None:
    sys.add("sdc", "8:32")
    sys.add("sdc1", "8:33", "sdc")
    sys.add("dm-2", "253:2", slaves=("sdc",), uuid="mpath-3600")
    assert sys.below("8:33") == ["/dev/dm-2"]


def test_a_raid_volume_with_partitions_is_what_the_firmware_sees(sys: Sys) -> None:
    sys.add("md126", "9:126", slaves=("sda", "sdb"))
    sys.add("md126p1", "259:9", "md126")
    assert sys.below("259:9") == ["/dev/md126"]
    assert "/dev/md126" in sys.all()


def test_btrfs_over_two_disks(sys: Sys, tmp_path: Path) -> None:
    number = os.stat("/dev/null").st_rdev
    sys.add("sdx1", f"{os.major(number)}:{os.minor(number)}", "sda")
    for system, parts in (("aaaa", ("sdb/sdb1",)), ("bbbb", ("sda/sdx1", "sdb/sdb1"))):
        at = sys.root / "fs/btrfs" / system / "devices"
        at.mkdir(parents=True)
        for part in parts:
            (at / os.path.basename(part)).symlink_to(sys.root / "devices" / part)
    assert sys.below("0:44", b"btrfs", b"/dev/null") == ["/dev/sda", "/dev/sdb"]


@pytest.mark.parametrize("fstype", [b"zfs", b"overlay", b"nfs4"])
def test_what_the_kernel_does_not_say_has_to_be_named(sys: Sys, fstype: bytes) -> None:
    with pytest.raises(RefusedError, match="cannot be found out") as caught:
        sys.below("0:44", fstype, b"tank/root")
    assert "boot: {disks:" in caught.value.hint


def test_a_circle_of_devices_ends(sys: Sys) -> None:
    sys.add("dm-5", "253:5", uuid="LVM-x")
    place = sys.root / "devices/dm-5"
    (place / "slaves/dm-5").symlink_to(place)
    with pytest.raises(RefusedError):
        sys.below("253:5")


def test_disks_that_are_none(sys: Sys) -> None:
    for number, name in enumerate(("loop0", "ram0", "zram0", "sr0", "nbd0")):
        sys.add(name, f"7:{number}")
    sys.add("sde", "8:64", size=0)
    assert sys.all() == ["/dev/sda", "/dev/sdb"]


@pytest.mark.root
def test_who_a_disk_is(tmp_path: Path) -> None:
    with loop(gpt(tmp_path / "disk")) as device:
        number = os.stat(device).st_rdev
        files: dict[str, bytes]
        for files, wanted in (
            ({"device/model": b"QEMU DISK   \n", "serial": b"S1\n", "wwid": b"naa.1\n"}, ("QEMU DISK", "S1", "naa.1")),
            ({"device/vpd_pg80": b"\0\x80\0\x04ABCD", "device/wwid": b"t10.X\n"}, ("", "ABCD", "t10.X")),
            ({"dm/uuid": b"mpath-3600\n"}, ("", "", "3600")),
            ({}, ("", "", "")),
        ):
            made = Sys(tmp_path / f"sys-{len(files)}-{wanted[2]}")
            made.add("sdz", f"{os.major(number)}:{os.minor(number)}")
            for name, data in files.items():
                (made.root / "devices/sdz" / name).parent.mkdir(exist_ok=True)
                (made.root / "devices/sdz" / name).write_bytes(data)
            found = read_disk(os.fsencode(device), os.fsencode(made.root))
            assert (found.model, found.serial, found.wwn) == wanted
            assert (found.size, found.sector, found.image) == (32 * MIB, 512, False)


def test_the_disks_of_this_machine_exist() -> None:
    for path in all_disks():
        assert os.path.exists(path)
