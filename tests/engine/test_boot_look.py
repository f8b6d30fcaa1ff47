"""What a point keeps of disks and loaders, to be looked at beside what is there now."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from engine.bootlook import Layout, Loader
from engine.errors import DamageError, RollpointError, UsageError
from engine.machine.layouttext import device_tree, renamed_dump
from engine.points import RestorePoint
from tests.engine.boot_bench import BootBench, grub_gpt, grub_mbr
from tests.engine.boot_images import MIB, put, table
from tests.engine.harness import Bench

EFI = b"boot/efi/EFI/debian/grubx64.efi"


@pytest.fixture
def bench(tmp_path: Path) -> BootBench:
    return BootBench(tmp_path, grub_mbr)


def tables(found: tuple[Layout, ...]) -> list[Layout]:
    return [each for each in found if each.name.startswith("partition table")]


def sfdisk(disk: Path) -> bytes:
    return subprocess.run(["sfdisk", "-d", str(disk)], capture_output=True, check=True).stdout


# --- files and bytes -------------------------------------------------------------------------------------------------


def test_saved_files_come_with_their_damage(bench: BootBench) -> None:
    point, engine = bench.point(), bench.engine()
    found = engine.boot_kept(point, "disk-1.gap")
    assert (found.data, found.damage) == (bench.then[512:MIB], "")
    file = bench.saved(point, "disk-1.gap")
    file.write_bytes(b"x" + bench.then[513:MIB])
    found = engine.boot_kept(point, "disk-1.gap")
    assert found.data[:1] == b"x" and "disk-1.gap is damaged" in found.damage
    file.unlink()
    with pytest.raises(RollpointError, match="cannot be read: No such file"):
        engine.boot_kept(point, "disk-1.gap")


@pytest.mark.parametrize("name", ["disk-2.gap", "../point.yaml", "facts/../boot.json", "/etc/passwd", ""])
def test_nothing_but_saved_files_can_be_asked_for(bench: BootBench, name: str) -> None:
    with pytest.raises(UsageError, match="has saved no"):
        bench.engine().boot_kept(bench.point(), name)


def test_bytes_of_a_disk_end_where_it_ends(bench: BootBench) -> None:
    engine, disk, size = bench.engine(), os.fsencode(bench.disk), len(bench.then)
    assert engine.boot_bytes(disk, 440, 72) == bench.then[440:512]
    assert engine.boot_bytes(disk, size - 10, 512) == bench.then[-10:] and engine.boot_bytes(disk, size + 9, 4) == b""
    with pytest.raises(RollpointError, match="cannot be read"):
        engine.boot_bytes(disk + b"-not-there", 0, 512)


# --- layout ----------------------------------------------------------------------------------------------------------


def test_an_unchanged_disk_has_the_same_layout(bench: BootBench) -> None:
    point = bench.point()
    found = tables(bench.engine().boot_layout(point))
    assert [(each.then, each.now, each.note) for each in found] == [(sfdisk(bench.disk), sfdisk(bench.disk), "")]
    devices = next(each for each in bench.engine().boot_layout(point) if each.name == "block devices")
    assert devices.then == devices.now != b""


def test_another_table_shows_as_a_difference(bench: BootBench) -> None:
    point = bench.point()
    table(bench.disk, "label: dos\nlabel-id: 0xcafe1234\nstart=2048, size=4096, type=83\n")
    found, = tables(bench.engine().boot_layout(point))
    assert found.then is not None and b"size=        8192" in found.then and found.now == sfdisk(bench.disk)
    assert b"size=        8192" not in found.now


def test_a_renamed_disk_is_no_difference(bench: BootBench) -> None:
    point = bench.point()
    moved = bench.disk.rename(bench.disk.with_name("disk7"))
    bench.configure(disks=(str(moved),))
    found, = tables(bench.engine().boot_layout(point))
    assert found.name.endswith("disk7") and found.then == found.now == sfdisk(moved)
    assert found.note == f"it was {bench.disk} when the point was taken"


def test_a_disk_that_is_not_here_says_so(bench: BootBench) -> None:
    point = bench.point()
    put(bench.disk, 440, b"\1\2\3\4")
    found, = tables(bench.engine().boot_layout(point))
    assert found.then is not None and found.now is None and "is not here" in found.note


def test_a_point_without_boot_pieces_shows_what_is_now(bench: BootBench) -> None:
    engine = bench.engine()
    bench.configure(disks=())
    bare = bench.point()
    for asked in (None, bare):
        found, = tables(engine.boot_layout(asked))
        assert (found.then, found.now) == (None, sfdisk(bench.disk))
    with pytest.raises(RollpointError, match="holds no boot pieces"):
        engine.boot_kept(bare, "disk-1.gap")


def test_a_damaged_record_and_a_damaged_text_are_told(bench: BootBench) -> None:
    point, engine = bench.point(), bench.engine()
    text = bench.saved(point, "disk-1.sfdisk")
    text.write_bytes(text.read_bytes().replace(b"0xcafe1234", b"0xcafe9999"))
    found, = tables(engine.boot_layout(point))
    assert found.then is not None and b"0xcafe9999" in found.then and "is damaged" in found.note
    devices = bench.saved(point, "lsblk.json")
    devices.write_bytes(b"[1, 2")
    assert any("no list of devices" in e.note and e.then == b"[1, 2" for e in engine.boot_layout(point))
    bench.saved(point, "boot.json").write_text("{}")
    with pytest.raises(DamageError):
        engine.boot_layout(point)


def test_devices_in_a_few_lines() -> None:
    said = {"blockdevices": [
        {"name": "sda", "type": "disk", "size": 20 << 30, "model": "QEMU  ", "fsavail": 12, "children": [
            {"name": "sda1", "type": "part", "size": 1 << 20, "fstype": "ext4", "uuid": "12-34", "label": "a\nb",
             "mountpoints": ["/srv", None, "/boot"]}]},
        {"name": "loop0", "type": "loop", "size": 5}, {"name": "sr0", "type": "rom", "size": 5},
        {"name": "sdb", "type": "disk", "size": 0}]}
    assert device_tree(json.dumps(said).encode()) == (
        "sda  disk  21474836480 (20 GiB)  model QEMU\n"
        "  sda1  part  1048576 (1.0 MiB)  ext4  label a\\x0ab  UUID 12-34  on /boot, /srv\n")
    for wrong in (b"", b"{}", b'{"blockdevices": 7}', b'{"blockdevices": [7]}', b'{"blockdevices": [{"size": "x"}]}'):
        with pytest.raises(DamageError, match="no list of devices"):
            device_tree(wrong)


@pytest.mark.parametrize(("then", "now", "first"), [
    (b"/dev/sda", b"/dev/vdb", b"/dev/vdb1"), (b"/dev/sda", b"/dev/nvme0n1", b"/dev/nvme0n1p1"),
    (b"/dev/nvme0n1", b"/dev/sdb", b"/dev/sdb1"), (b"/dev/mmcblk0", b"/dev/mmcblk1", b"/dev/mmcblk1p1")])
def test_names_in_a_dump(then: bytes, now: bytes, first: bytes) -> None:
    between = b"p" if then[-1:].isdigit() else b""
    text = b"label: gpt\ndevice: %b\n\n%b%b1 : start=1, name=\"%b\"\n%b%b12 : start=7\n" % (
        then, then, between, then, then, between)
    assert renamed_dump(text, then, now) == (
        b"label: gpt\ndevice: %b\n\n%b : start=1, name=\"%b\"\n%b2 : start=7\n" % (now, first, then, first))


# --- loaders ---------------------------------------------------------------------------------------------------------


def efi(bench: Bench, what: bytes) -> None:
    path = Path(bench.live, os.fsdecode(EFI))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(what)


def of(found: tuple[Loader, ...], path: bytes = EFI) -> Loader | None:
    return next((each for each in found if each.path == path), None)


def test_loaders_now_and_then(tmp_path: Path) -> None:
    bench = BootBench(tmp_path, grub_gpt)
    engine = bench.engine()
    efi(bench, b"no program")
    first: RestorePoint = bench.point()
    alone = of(engine.boot_loaders(None))
    assert alone is not None and alone.now and alone.then is None and not alone.same
    assert of(engine.boot_loaders(first)) == Loader(EFI, alone.now, alone.now, True)
    efi(bench, b"another !!")           # of the same size
    assert of(engine.boot_loaders(first)) == Loader(EFI, alone.now, alone.now, False)
    os.unlink(os.path.join(bench.live, os.fsdecode(EFI)))
    assert of(engine.boot_loaders(first)) == Loader(EFI, None, alone.now, False)
    assert of(engine.boot_loaders(bench.point())) is None
