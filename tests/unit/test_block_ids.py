"""Names of block devices, and the tables that use them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.machine import efiboot
from engine.machine.blockids import (
    FOUND,
    MISSING,
    UNKNOWN,
    Device,
    Devices,
    parse_blkid,
    parse_lsblk,
    split_spec,
)
from engine.machine.tabs import crypttab, fstab
from tests.boot_trees import ESP_GUID, NVRAM

SDA = Device("/dev/sda1", "ext4", "9B1C-uuid", "my root", "cafe1234-01", "Part One")
LV = Device("/dev/mapper/vg--a-lv--b", "xfs", "0f0f")
HERE = Devices((SDA, LV))


@pytest.mark.parametrize(
    ("spec", "device"),
    [
        ("UUID=9b1c-UUID", SDA),
        ('UUID="9B1C-uuid"', SDA),
        ("LABEL=my root", SDA),
        ("PARTUUID=CAFE1234-01", SDA),
        ("PARTLABEL=Part One", SDA),
        ("/dev/sda1", SDA),
        ("/dev/disk/by-uuid/9B1C-uuid", SDA),
        ("/dev/disk/by-label/my\\x20root", SDA),
        ("/dev/mapper/vg--a-lv--b", LV),
        ("/dev/vg-a/lv-b", LV),
    ],
)
def test_what_is_here_is_found(spec: str, device: Device) -> None:
    assert HERE.find(spec) == (FOUND, device)


@pytest.mark.parametrize("spec", ["UUID=other", "LABEL=My Root", "/dev/sda2", "/dev/vg/lv", "PARTUUID=cafe1234-02"])
def test_what_is_not_here_is_missing(spec: str) -> None:
    assert HERE.find(spec) == (MISSING, None)


OTHERS = ["tank/root", "ZFS=tank/root", "server:/export", "/dev/disk/by-id/ata-X", "/dev/nfs", ""]


@pytest.mark.parametrize("spec", OTHERS)
def test_names_of_another_kind_are_not_judged(spec: str) -> None:
    assert HERE.find(spec) == (UNKNOWN, None)


def test_what_a_closed_container_may_hide_is_not_missing() -> None:
    locked = Devices((SDA, Device("/dev/sda2", "crypto_LUKS", "1-2", opened=False)))
    assert locked.find("UUID=other")[0] == UNKNOWN and locked.find("/dev/mapper/vg-root")[0] == UNKNOWN
    assert locked.find("PARTUUID=x")[0] == MISSING and locked.find("/dev/sda9")[0] == MISSING
    assert "encrypted" in locked.closed[0]


def test_lsblk() -> None:
    inner = {"name": "x", "path": "/dev/mapper/x", "type": "crypt", "fstype": "ext4", "uuid": "B"}
    tree = {
        "blockdevices": [
            {
                "name": "sda",
                "path": "/dev/sda",
                "type": "disk",
                "fstype": None,
                "children": [
                    {"name": "sda1", "path": "/dev/sda1", "type": "part", "fstype": "crypto_LUKS", "uuid": "A",
                     "children": [inner]},
                    {"name": "sda2", "type": "part", "fstype": "LVM2_member", "uuid": "C"},
                ],
            }
        ]
    }  # fmt: skip
    found = parse_lsblk(json.dumps(tree).encode())
    assert [d.path for d in found.all] == ["/dev/sda", "/dev/sda1", "/dev/mapper/x", "/dev/sda2"]
    assert found.closed == ("a physical volume of LVM (/dev/sda2)",) and found.has("uuid", "b")


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"blockdevices": 1}', b'{"blockdevices": [1]}', b"nonsense"])
def test_what_is_not_lsblk_s_is_a_value_error(text: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_lsblk(text)


def test_blkid() -> None:
    text = b"DEVNAME=/dev/sda1\nLABEL=my\\ root\nUUID=U\nBLOCK_SIZE=4096\nTYPE=ext4\nPARTUUID=P\n"
    found = parse_blkid(text + b"\nDEVNAME=/dev/sdb\nTYPE=swap\n")
    assert found.all == (Device("/dev/sda1", "ext4", "U", "my root", "P"), Device("/dev/sdb", "swap"))


@given(st.binary())
def test_nothing_makes_blkid_s_reader_raise(data: bytes) -> None:
    parse_blkid(data)


def test_fstab() -> None:
    text = """# comment
UUID=1 / ext4 errors=remount-ro 0 1
/dev/sdb1 /my\\040data xfs defaults,nofail 0 2
/dev/sdc1 /later ext4 noauto
tmpfs /tmp tmpfs nosuid 0 0
srv:/x /mnt nfs4 _netdev 0 0
/srv/a /srv/b none bind
UUID=2 none swap sw
short line
"""
    lines = fstab(text)
    assert [(line.point, line.local, line.needed) for line in lines] == [
        ("/", True, True), ("/my data", True, False), ("/later", True, False), ("/tmp", False, True),
        ("/mnt", False, True), ("/srv/b", False, True), ("none", True, False)]  # fmt: skip


def test_crypttab() -> None:
    lines = crypttab("root UUID=1 none luks\ndata /dev/sdb1 /etc/key luks,nofail\nswap /dev/sdc /dev/urandom swap\nx\n")
    assert [(c.name, c.key, c.needed) for c in lines] == [
        ("root", "", True), ("data", "/etc/key", False), ("swap", "/dev/urandom", True)]  # fmt: skip


@given(st.text())
def test_nothing_makes_the_tables_raise(text: str) -> None:
    fstab(text)
    crypttab(text)
    split_spec(text)
    efiboot.parse(text)


@pytest.mark.parametrize(
    "path",
    [
        f"HD(1,GPT,{ESP_GUID},0x800,0x100000)/File(\\EFI\\debian\\shimx64.efi)",
        f"HD(1,GPT,{ESP_GUID},0x800,0x100000)/\\EFI\\debian\\shimx64.efi",
        f"HD(1,GPT,{ESP_GUID},0x800,0x100000)/\\EFI\\debian\\shimx64.efi57494e444f5753",
        f"HD(1,800,f3800,{ESP_GUID})File(\\EFI\\debian\\shimx64.efi)",
    ],
)
def test_every_shape_of_a_firmware_entry(path: str) -> None:
    text = f"BootOrder: 0002,0001\nBoot0001* debian 12\t{path}\nBoot0002  Setup\tFvVol(7)\n"
    found = efiboot.parse(text)
    assert found is not None and [e.number for e in found] == ["0002", "0001"]
    assert found[1].partition == ESP_GUID and found[1].file == "EFI/debian/shimx64.efi"
    assert found[1].title == "debian 12" and found[1].active and not found[0].active


def test_no_firmware_entries() -> None:
    assert efiboot.parse("") is None and efiboot.parse("EFI variables are not supported on this system.\n") is None
    assert [e.number for e in efiboot.parse(NVRAM) or ()] == ["0001", "0000"]
