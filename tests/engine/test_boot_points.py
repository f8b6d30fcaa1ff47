"""Boot pieces in points: what is saved beside the files, what is said of it, and that damage is found."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import yaml

from engine.config import Boot, Config
from engine.errors import RollpointError
from engine.events import Job
from engine.replica import bootsaved
from engine.results import SnapshotRequest
from engine.service import Engine
from tests.engine.boot_bench import BIOS, GAP_GPT, GAP_MBR, BootBench, grub_gpt, grub_mbr
from tests.engine.boot_images import MIB, put
from tests.engine.harness import Bench


@pytest.fixture(params=[grub_mbr, grub_gpt], ids=["mbr", "gpt"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> BootBench:
    make: Callable[[Path], Path] = request.param
    return BootBench(tmp_path, make)


def test_a_point_holds_the_bytes_of_its_boot_disk(bench: BootBench) -> None:
    point = bench.point()
    gpt = bench.then[512:520] == b"EFI PART"
    names = {"sector0": (0, 512), "gap": GAP_GPT if gpt else GAP_MBR} | ({"biosboot": BIOS} if gpt else {})
    for name, (start, end) in names.items():
        assert bench.saved(point, f"disk-1.{name}").read_bytes() == bench.then[start:end]
    document = yaml.safe_load(Path(bench.store, "points", point.id, "point.yaml").read_text())
    boot = document["boot"]
    assert boot == point.doc["boot"] and boot["disks"][0]["path"] == str(bench.disk)
    assert "sector 0: GRUB 2" in boot["disks"][0]["saved"] and "GRUB 2's core.img" in boot["disks"][0]["saved"]
    assert boot["verdict"] == "yes" and boot["findings"] == [] and boot["kernel"].startswith("6.1.0-18")
    sums = bench.saved(point, "SHA256SUMS")
    assert document["files"]["boot/SHA256SUMS"] == hashlib.sha256(sums.read_bytes()).hexdigest()
    done = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=sums.parent, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert not bench.saved(point, "facts").exists()  # these are of the running system only
    shown = bench.run("show", "1").stdout
    assert "verdict: yes" in shown and "saved sector 0: GRUB 2" in shown


def test_the_verdict_tells_what_is_wrong_with_the_point(bench: BootBench) -> None:
    shutil.rmtree(os.path.join(bench.live, "usr/lib/modules"))
    put(bench.disk, 0, bytes(440))
    boot = bench.point().doc["boot"]
    said = " ".join(f["text"] for f in boot["findings"])
    assert boot["verdict"] == "no" and "no modules" in said and "no boot code in sector 0" in said


@pytest.mark.parametrize("name", ["disk-1.sector0", "disk-1.gap", "boot.json", "SHA256SUMS", "disk-1.sfdisk"])
def test_verify_finds_a_flipped_byte(bench: BootBench, name: str) -> None:
    point = bench.point()
    assert bench.engine().verify([point], Job()).damage == ()
    file = bench.saved(point, name)
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    found = bench.engine().verify([point], Job()).damage
    assert found and {d.point for d in found} == {point.id}
    assert any(d.text.startswith("boot/") for d in found)
    file.unlink()
    assert any("boot/" in d.text for d in bench.engine().verify([point], Job()).damage)


def test_a_point_whose_boot_pieces_are_gone_is_damaged(bench: BootBench) -> None:
    point = bench.point()
    shutil.rmtree(bench.saved(point))
    assert [d.text for d in bench.engine().verify([point], Job()).damage] == [
        "boot/SHA256SUMS cannot be read: No such file or directory"
    ]


def test_boot_pieces_stay_with_their_points(bench: BootBench) -> None:
    """Each point has those of its own day, whatever is deleted, merged, rebuilt or repaired around it."""
    days: dict[str, bytes] = {}
    for number in range(4):
        put(bench.disk, 100, bytes([number]) * 16)
        Path(bench.live, "etc/day").write_text(str(number))
        days[bench.point().id] = bench.disk.read_bytes()[:512]
    engine = bench.engine()
    listed = engine.points()
    assert all((p.own_bytes or 0) > 512 for p in listed[1:])
    with_boot = engine.status().store_bytes
    engine.delete([listed[2], listed[0]], Job())
    assert engine.status().store_bytes < with_boot
    for name in ("catalog.sqlite", "catalog.sqlite.sha256"):
        Path(bench.store, name).unlink()
    newest = engine.resolve("latest").id
    Path(bench.store, "points", newest, "point.yaml").write_text("lost")
    assert engine.repair(Job()).left == ()
    left = engine.points()
    assert [p.id for p in left] == [listed[1].id, listed[3].id]
    assert engine.verify(left, Job(), data=True).damage == ()
    for point in left:
        assert bench.saved(point, "disk-1.sector0").read_bytes() == days[point.id]


def test_the_newest_points_boot_pieces_count_in_the_stores_size(bench: BootBench) -> None:
    point = bench.point()
    before = bench.engine().status().store_bytes
    shutil.rmtree(bench.saved(point))
    assert bench.engine().status().store_bytes < before


def test_a_plain_directory_has_no_boot_pieces(tmp_path: Path) -> None:
    bench = Bench(str(tmp_path))
    for name in ("boot", "etc"):
        Path(bench.live, name).mkdir()
    Path(bench.live, "etc/fstab").write_text("UUID=0 / ext4 defaults 0 1\n")
    point = bench.take()
    assert "boot" not in point.doc and set(point.doc["files"]) == {"items.zst"}
    assert not Path(bench.store, "points", point.id, "boot").exists()


def test_a_named_disk_that_is_not_there_is_a_warning(bench: BootBench) -> None:
    bench.configure(disks=(str(bench.disk), bench.live))
    job = Job()
    point = bench.engine().snapshot(SnapshotRequest(), job).point
    assert len(job.warnings) == 1 and "is neither a disk nor an image file" in job.warnings[0]
    assert len(point.doc["boot"]["disks"]) == 1 and point.doc["boot"]["notes"]


def test_no_disks_means_none(bench: BootBench) -> None:
    bench.configure(disks=())
    assert "boot" not in bench.point().doc


@pytest.mark.root
def test_what_counts_as_a_system(ext4: str, tmp_path: Path) -> None:
    """The running root, and a file system with an fstab that is mounted; no bind mount, nothing without an fstab."""
    assert bootsaved.is_system(b"/")
    top = os.path.realpath(ext4)
    fstab = Path(top, "etc/fstab")
    made = [p for p in (fstab.parent,) if not p.exists()]
    fstab.parent.mkdir(exist_ok=True)
    try:
        assert not bootsaved.is_system(os.fsencode(top))
        fstab.write_text("")
        assert bootsaved.is_system(os.fsencode(top))
        assert bootsaved.find(Config(root=top), os.fsencode(top)).disks != ()
        plain = tmp_path / "plain"
        plain.mkdir()
        assert not bootsaved.is_system(os.fsencode(plain))
    finally:
        fstab.unlink(missing_ok=True)
        for place in made:
            place.rmdir()


@pytest.mark.parametrize(("error", "loud"), [(errno.EPERM, False), (errno.EACCES, False), (errno.EIO, True)])
def test_only_what_can_be_helped_is_a_warning(
    error: int, loud: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root of a container may not read its disks: no exit code 3 at every point for that."""
    def refuse(path: bytes) -> NoReturn:
        cause = OSError(error, os.strerror(error))
        raise RollpointError("it cannot be read") from cause

    monkeypatch.setattr(bootsaved, "disks_below", lambda path: [os.fsencode(tmp_path)])
    monkeypatch.setattr(bootsaved, "read_disk", refuse)
    found = bootsaved.find(Config(), b"/")
    assert (found.warnings if loud else found.notes) == ("it cannot be read",)
    assert (found.notes if loud else found.warnings) == ()


@pytest.mark.root
def test_the_running_system_has_facts_and_its_own_disks(tmp_path: Path) -> None:
    """Only the boot pieces of this machine, which are read and never written; no point of all of it."""
    point = tmp_path / "point"
    point.mkdir()
    tree = tmp_path / "tree"
    tree.mkdir()
    job = Job()
    boot, sums = bootsaved.save(os.fsencode(point), os.fsencode(tree), Config(), b"/", job)
    assert set(sums) == {"boot/SHA256SUMS", "boot/facts/index.json"}
    assert "uname.txt" in boot["facts"] and boot["seconds"] < 30
    index = json.loads((point / "boot/facts/index.json").read_text())
    assert {t["name"] for t in index["texts"] if t["sha256"]} == set(boot["facts"])
    without, _ = bootsaved.save(
        os.fsencode(tmp_path), os.fsencode(tree), Config(boot=Boot(facts=False)), b"/", Job()
    )
    assert without["facts"] == [] and not (tmp_path / "boot/facts").exists()


def test_an_ordinary_users_own_root_needs_no_disks(tmp_path: Path) -> None:
    found = bootsaved.find(Config(root=str(tmp_path)), os.fsencode(tmp_path))
    assert found == bootsaved.Found()
    engine = Engine(Config(store=str(tmp_path / "s"), root=str(tmp_path)))
    assert not bootsaved.concerned(engine.config, os.fsencode(tmp_path))




def test_the_boot_commands_tell_programs_the_same(bench: BootBench) -> None:
    point = bench.point()
    put(bench.disk, 0, bytes(16))
    shown = bench.run("boot", "show", "1", "--json")
    assert shown.returncode == 0, shown.stderr
    document = json.loads(shown.stdout)
    disk = document["disks"][0]
    assert document["point"] == point.id and disk["now"] == str(bench.disk) and disk["missing"] == ""
    code = next(p for p in disk["pieces"] if p["what"] == "boot code")
    assert code["differs"] == sum(b != 0 for b in bench.then[:16]) and code["view"][0].startswith("00000000  00 00")
    assert all(p["differs"] == 0 for p in disk["pieces"] if p is not code)
    assert {t["name"] for t in document["texts"]} >= {"disk-1.sfdisk", "lsblk.json"}
    status = bench.run("boot", "--json")
    live = json.loads(status.stdout)
    assert status.returncode == {"yes": 0, "doubtful": 3, "no": 7}[live["verdict"]["answer"]] != 0
    assert live["disks"][0]["areas"][0]["holds"] != "GRUB 2"
    assert live["disks"][0]["partitions"][0]["start"] == MIB  # in both tables
    bench.saved(point, "disk-1.gap").write_bytes(b"")
    damaged = bench.run("boot", "show", "1")
    assert damaged.returncode == 7 and "DAMAGED: boot/disk-1.gap is not what was saved" in damaged.stdout
