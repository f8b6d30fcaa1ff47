"""What is saved of boot disks: readable without us, complete, and refused when a bit of it is wrong."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from engine.errors import DamageError, RefusedError, RollpointError, UsageError
from engine.machine import bootimages, bootrestore
from engine.machine.bootimages import BIOS_BOOT, GAP, SECTOR0
from engine.machine.disks import read_disk
from tests.engine.boot_case import BIOS, CODE, GAP_GPT, Case
from tests.engine.boot_images import MIB, gpt, image, put, ranges_that_differ, table


@pytest.fixture
def gpt_case(tmp_path: Path) -> Case:
    return Case(tmp_path, gpt)


@pytest.mark.parametrize("file", ["disk-1.sector0", "disk-1.gap", "disk-1.biosboot"])
@pytest.mark.parametrize("how", ["flip", "cut", "gone"])
def test_a_damaged_image_is_refused(gpt_case: Case, file: str, how: str) -> None:
    saved = gpt_case.saved / file
    record = gpt_case.record()
    gpt_case.ruin(CODE, GAP_GPT, BIOS)
    plan = gpt_case.plan()
    if how == "gone":
        saved.unlink()
    elif how == "cut":
        os.truncate(saved, 100)
    else:
        put(saved, 300, bytes([saved.read_bytes()[300] ^ 1]))
    with pytest.raises(DamageError):
        gpt_case.record()
    with pytest.raises(DamageError):
        bootrestore.plan(record, [gpt_case.read()])
    with pytest.raises(DamageError):
        bootrestore.apply(plan, os.fsencode(gpt_case.keep))
    gpt_case.must_be()
    assert any(file in text for text in bootimages.damaged(os.fsencode(gpt_case.saved)))


def test_every_flipped_bit_of_the_record_is_found(gpt_case: Case) -> None:
    saved = gpt_case.saved / "boot.json"
    whole = saved.read_bytes()
    for at in range(0, len(whole), 7):
        put(saved, at, bytes([whole[at] ^ 4]))
        with pytest.raises(DamageError):
            bootimages.index(os.fsencode(gpt_case.saved))
        put(saved, at, whole[at : at + 1])
    assert bootimages.index(os.fsencode(gpt_case.saved)).disks


def test_sha256sum_can_check_what_was_saved(tmp_path: Path) -> None:
    disk = gpt(tmp_path / "disk")
    record = bootimages.save([read_disk(os.fsencode(disk))], os.fsencode(tmp_path / "boot"))
    names = {p.name for p in (tmp_path / "boot").iterdir()}
    assert {"disk-1.sector0", "disk-1.gap", "disk-1.biosboot", "boot.json", "disk-1.sfdisk", "SHA256SUMS"} <= names
    subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=tmp_path / "boot", check=True,
                   capture_output=True)
    text = (tmp_path / "boot/disk-1.sfdisk").read_text()
    assert "01234567-89AB-CDEF-0123-456789ABCDEF" in text
    assert bootimages.load(os.fsencode(tmp_path / "boot")) == record
    for what, (start, end) in {SECTOR0: (0, 512), GAP: GAP_GPT, BIOS_BOOT: BIOS}.items():
        saved = record.disks[0].image(what)
        assert saved is not None and record.data(saved) == disk.read_bytes()[start:end]


def test_a_saved_table_brings_a_bare_disk_back(tmp_path: Path) -> None:
    """The sfdisk dump is for a new disk: with it and the images the disk is what it was, outside its partitions."""
    case = Case(tmp_path, gpt)
    bootimages.save([case.read()], os.fsencode(case.saved))
    os.truncate(case.disk, 0)
    os.truncate(case.disk, 32 * MIB)
    table(case.disk, (case.saved / "disk-1.sfdisk").read_text())
    case.now = case.disk.read_bytes()
    case.apply()
    assert ranges_that_differ(case.disk.read_bytes(), case.then) == []


# --- what is left out, and trouble while saving ---


def test_a_huge_gap_is_saved_in_part_and_says_so(tmp_path: Path) -> None:
    case = Case(tmp_path, lambda p: image(p, 32 * MIB, "label: dos\nlabel-id: 0x1\nstart=32768, type=83\n"))
    saved = case.record().disks[0].image(GAP)
    assert saved is not None and saved.length == bootimages.GAP_LIMIT
    assert "only the first 8.0 MiB were saved" in case.record().notes[0]


def test_a_disk_that_vanishes_is_a_note(tmp_path: Path) -> None:
    disk = gpt(tmp_path / "disk")
    found = read_disk(os.fsencode(disk))
    disk.unlink()
    record = bootimages.save([found], os.fsencode(tmp_path / "boot"), texts=False)
    assert record.disks[0].images == () and "cannot be read" in record.notes[0]


def test_a_disk_that_ends_early_is_a_note_and_not_kept_over(gpt_case: Case) -> None:
    found = gpt_case.read()
    os.truncate(gpt_case.disk, MIB)
    record = bootimages.save([found], os.fsencode(gpt_case.place / "short"), texts=False)
    assert {i.what for i in record.disks[0].images} == {SECTOR0, GAP} and "ends before" in record.notes[0]


def test_no_record_and_a_newer_one(tmp_path: Path, gpt_case: Case) -> None:
    with pytest.raises(RefusedError, match="no boot pieces"):
        bootimages.load(os.fsencode(tmp_path / "nothing"))
    with pytest.raises(RollpointError):
        read_disk(os.fsencode(tmp_path / "none"))
    with pytest.raises(UsageError, match="neither"):
        read_disk(os.fsencode(tmp_path))


@pytest.mark.parametrize(
    ("old", "new"), [('"disk-1.gap"', '"../x/gap"'), ('"gap"', '"everything"'), ('"images": [', '"images": [7, ')]
)
def test_a_record_that_names_what_none_can_have(gpt_case: Case, old: str, new: str) -> None:
    """Sealed rightly, and still not believed."""
    path, sums = gpt_case.saved / "boot.json", gpt_case.saved / "SHA256SUMS"
    text = path.read_text().replace(old, new)
    assert text != path.read_text()
    path.write_text(text)
    lines = [line for line in sums.read_text().splitlines() if not line.endswith("boot.json")]
    sums.write_text("\n".join([hashlib.sha256(text.encode()).hexdigest() + "  boot.json", *lines]) + "\n")
    with pytest.raises(DamageError):
        gpt_case.record()


def test_a_record_of_a_newer_format_is_left_alone(gpt_case: Case) -> None:
    path, sums = gpt_case.saved / "boot.json", gpt_case.saved / "SHA256SUMS"
    text = path.read_text().replace('"format": 1', '"format": 2')
    path.write_text(text)
    sums.write_text(hashlib.sha256(text.encode()).hexdigest() + "  boot.json\n")
    with pytest.raises(RefusedError, match="newer Rollpoint"):
        gpt_case.record()
