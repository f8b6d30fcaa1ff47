"""Our parser of partition tables against sfdisk's reading of the same disks, whole and damaged."""

from __future__ import annotations

import binascii
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from engine.machine.disks import read_disk
from engine.machine.partitions import BIOS_BOOT, Table
from tests.engine.boot_images import (
    MIB,
    gpt,
    image,
    loop,
    mbr,
    need,
    noise,
    put,
    sfdisk_json,
    table,
)


def read(path: Path | str) -> Table:
    return read_disk(os.fsencode(path)).table


def must_agree(path: Path | str, ours: Table) -> None:
    """Assert that sfdisk says the same of every partition."""
    theirs = sfdisk_json(path)
    assert {"dos": "mbr", "gpt": "gpt"}[theirs["label"]] == ours.kind
    assert theirs["id"].lower().removeprefix("0x") == ours.id
    assert theirs.get("sectorsize", 512) == ours.sector
    wanted: list[tuple[Any, ...]] = []
    for number, part in enumerate(theirs["partitions"], 1):
        numbered = int(part["node"].removeprefix(str(path)).removeprefix("p") or number)
        uuid = part.get("uuid", f"{ours.id}-{numbered:02x}").lower()
        kind = part["type"].lower() if ours.kind == "gpt" else f"{int(part['type'], 16):02x}"
        sizes = part["start"] * ours.sector, part["size"] * ours.sector
        wanted.append((numbered, *sizes, kind, uuid, part.get("name", "")))
    assert wanted == [(p.number, p.start, p.size, p.type, p.guid, p.name) for p in ours.partitions]


def test_mbr_with_logical_partitions(tmp_path: Path) -> None:
    disk = mbr(tmp_path / "disk")
    found = read(disk)
    must_agree(disk, found)
    assert [p.number for p in found.partitions] == [1, 2, 5, 6]
    assert found.whole and found.problems == () and found.gap == (512, MIB)
    assert found.partitions[0].flags == 0x80 and found.partitions[2].logical


def test_gpt(tmp_path: Path) -> None:
    disk = gpt(tmp_path / "disk")
    found = read(disk)
    must_agree(disk, found)
    assert found.gap == (34 * 512, MIB) and found.first == 34 * 512
    assert found.last == 32 * MIB - 33 * 512
    assert found.bios_boot is not None and found.bios_boot.type == BIOS_BOOT
    assert found.esp is not None and found.esp.name == "esp ü"


def test_sgdisk_agrees_on_what_it_made(tmp_path: Path) -> None:
    need("sgdisk")
    disk = image(tmp_path / "disk", 32 * MIB, "label: gpt\n")
    argv = ["sgdisk", "-n", "5:2048:4095", "-t", "5:EF02", "-A", "5:set:2", "-n", "9:8192:0", str(disk)]
    subprocess.run(argv, check=True, capture_output=True)
    found = read(disk)
    must_agree(disk, found)
    assert [p.number for p in found.partitions] == [5, 9] and found.partitions[0].flags == 4


@pytest.mark.root
def test_sectors_of_4096_bytes(tmp_path: Path) -> None:
    disk = image(tmp_path / "disk", 64 * MIB, "label: gpt\n")
    noise(disk, [(0, 64 * MIB)])
    with loop(disk, 4096) as device:
        script = "label: gpt\nstart=256, size=256, type=21686148-6449-6E6F-744E-656564454649\nstart=512, size=8192\n"
        table(device, script)
        found = read(device)
        must_agree(device, found)
    assert found.sector == 4096 and found.gap == (6 * 4096, MIB)
    assert found == read(disk), "an image file does not say its sector size; the GPT does"
    with loop(disk, 4096) as device:
        table(device, "label: dos\nlabel-id: 0x12345678\nstart=256, size=256, type=83\n")
        found = read(device)
        must_agree(device, found)
    assert found.gap == (4096, MIB)


@pytest.mark.parametrize("offset", [512, 512 + 16, 512 + 56, 512 + 88, 1024, 1024 + 56, 1024 + 128 + 33])
def test_a_damaged_primary_gpt_is_read_from_its_backup(tmp_path: Path, offset: int) -> None:
    disk = gpt(tmp_path / "disk")
    before = read(disk)
    put(disk, offset, bytes([disk.read_bytes()[offset] ^ 0x10]))
    found = read(disk)
    assert found.partitions == before.partitions and found.id == before.id
    assert (found.first, found.last, found.whole) == (before.first, before.last, True)
    assert "this is its backup" in found.problems[-1]


def test_a_wiped_primary_gpt(tmp_path: Path) -> None:
    disk = gpt(tmp_path / "disk")
    before = read(disk)
    put(disk, 512, bytes(33 * 512))
    found = read(disk)
    assert found.partitions == before.partitions and (found.first, found.last) == (before.first, before.last)


def test_both_damaged_means_not_whole(tmp_path: Path) -> None:
    disk = gpt(tmp_path / "disk")
    put(disk, 512, b"?")
    put(disk, 32 * MIB - 512, b"?")
    found = read(disk)
    assert found.kind == "gpt" and not found.whole and found.partitions == () and found.gap is None
    assert found.problems


def test_a_damaged_backup_is_told(tmp_path: Path) -> None:
    disk = gpt(tmp_path / "disk")
    put(disk, 32 * MIB - 512 + 20, b"?")
    found = read(disk)
    assert found.whole and "backup GPT" in found.problems[0] and len(found.partitions) == 3


@pytest.mark.parametrize("size", [0, 100, 512, 600, 1024, 20 * 512, 2 * MIB])
@pytest.mark.parametrize("make", [mbr, gpt])
def test_an_image_cut_short_is_told(tmp_path: Path, make: Any, size: int) -> None:
    disk = make(tmp_path / "disk")
    os.truncate(disk, size)
    found = read(disk)
    assert found.kind == "none" if size < 512 else (found.problems and found.kind != "none")


def test_partitions_behind_the_end_of_the_disk_are_told(tmp_path: Path) -> None:
    disk = gpt(tmp_path / "disk")
    os.truncate(disk, 12 * MIB)
    found = read(disk)
    assert "partition 3 ends at byte" in found.problems[-1] and "backup GPT is missing" in found.problems[0]


def test_a_gpt_without_its_protective_mbr(tmp_path: Path) -> None:
    disk = gpt(tmp_path / "disk")
    put(disk, 0, bytes(512))
    found = read(disk)
    assert found.kind == "gpt" and len(found.partitions) == 3 and "protective" in found.problems[0]


def test_an_old_gpt_below_a_new_mbr_does_not_count(tmp_path: Path) -> None:
    disk = gpt(tmp_path / "disk")
    whole = disk.read_bytes()
    table(disk, "label: dos\nlabel-id: 0x1\nstart=4096, size=2048, type=83\n")
    put(disk, 512, whole[512 : 34 * 512])
    found = read(disk)
    assert found.kind == "mbr" and [p.start for p in found.partitions] == [2 * MIB]


def test_a_circle_of_extended_boot_records_ends(tmp_path: Path) -> None:
    disk = mbr(tmp_path / "disk")
    # The second entry of the second record: back to the first one.
    second = 10240 * 512 + int.from_bytes(disk.read_bytes()[10240 * 512 + 470 :][:4], "little") * 512
    put(disk, second + 462, bytes([0, 0, 0, 0, 5, 0, 0, 0]) + (0).to_bytes(4, "little") + b"\1\0\0\0")
    found = read(disk)
    assert found.gap == (512, MIB) and "circle" in found.problems[0]


def test_a_lost_extended_boot_record_is_told(tmp_path: Path) -> None:
    disk = mbr(tmp_path / "disk")
    put(disk, 10240 * 512 + 510, b"\0\0")
    found = read(disk)
    assert [p.number for p in found.partitions] == [1, 2] and found.whole
    assert "extended boot record" in found.problems[0]


@pytest.mark.parametrize("maker", [["mkfs.vfat"], ["mkfs.vfat", "-F", "32"], ["mkfs.ext4", "-q", "-F"], ["mkfs.xfs"]])
def test_a_file_system_on_the_whole_disk_is_no_table(tmp_path: Path, maker: list[str]) -> None:
    need(maker[0])
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(400 * MIB)
    subprocess.run([*maker, str(disk)], check=True, capture_output=True)
    found = read(disk)
    assert found.kind == "none" and found.partitions == () and found.gap is None


def test_too_many_entries_are_not_read(tmp_path: Path) -> None:
    disk = gpt(tmp_path / "disk")
    data = bytearray(disk.read_bytes()[512:604])
    data[80:84] = (1 << 30).to_bytes(4, "little")
    data[16:20] = bytes(4)
    data[16:20] = binascii.crc32(data).to_bytes(4, "little")
    put(disk, 512, bytes(data))
    assert "UEFI does not allow" in read(disk).problems[0]


def test_a_larger_table_of_entries(tmp_path: Path) -> None:
    disk = image(tmp_path / "disk", 32 * MIB, "label: gpt\ntable-length: 256\nstart=2048, size=2048\n")
    found = read(disk)
    must_agree(disk, found)
    assert found.first == 66 * 512 and found.gap == (66 * 512, MIB)
