"""Boot pieces saved and put back: whole disks compared byte for byte with copies that the tests made themselves."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import DamageError, RefusedError, RollpointError
from engine.machine import bootimages, bootrestore
from engine.machine.bootimages import BIOS_BOOT, GAP
from engine.machine.disks import Disk, read_disk
from tests.engine.boot_case import BIOS, CODE, GAP_GPT, GAP_MBR, Case
from tests.engine.boot_images import (
    MBR_SCRIPT,
    MIB,
    gpt,
    image,
    install_grub,
    loop,
    mbr,
    noise,
    put,
    ranges_that_differ,
    table,
)
from tests.engine.harness import CHECKOUT, child_env


@pytest.fixture
def mbr_case(tmp_path: Path) -> Case:
    return Case(tmp_path, mbr)


@pytest.fixture
def gpt_case(tmp_path: Path) -> Case:
    return Case(tmp_path, gpt)


# --- what comes back, and nothing else ---


def test_an_mbr_disk_that_is_all_noise_keeps_its_table(mbr_case: Case) -> None:
    mbr_case.ruin((0, 440), (512, MIB), (MIB + 8192, 32 * MIB))
    put(mbr_case.disk, 440, b"sig!")  # another disk signature, the same disk: the admin says so
    mbr_case.now = mbr_case.disk.read_bytes()
    plan = mbr_case.plan(named={"disk-1": os.fsencode(mbr_case.disk)})
    assert plan.writes == 2 and "is not the disk that was recorded" in plan.findings[0].text
    bootrestore.apply(plan, os.fsencode(mbr_case.keep))
    mbr_case.must_be(CODE, GAP_MBR)
    assert mbr_case.disk.read_bytes()[440:444] == b"sig!"


def test_a_gpt_disk(gpt_case: Case) -> None:
    gpt_case.ruin(CODE, GAP_GPT, BIOS, (5 * MIB, 32 * MIB - 33 * 512))
    assert len(gpt_case.apply()) == 3
    gpt_case.must_be(CODE, GAP_GPT, BIOS)


def test_nothing_to_do_writes_nothing(gpt_case: Case) -> None:
    plan = gpt_case.plan()
    assert plan.writes == 0 and plan.findings == ()
    assert bootrestore.apply(plan, os.fsencode(gpt_case.keep)) == () and not gpt_case.keep.exists()
    assert all("as it was" in words for words in plan.words)


@pytest.mark.parametrize("make", [mbr, gpt])
def test_undo_brings_every_byte_back(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    case = Case(tmp_path, make)
    case.ruin(CODE, GAP_GPT, BIOS if make is gpt else CODE)
    case.apply()
    assert case.disk.read_bytes() != case.now
    case.undo()
    case.must_be()


@pytest.mark.parametrize("name", ["boot-kept", "boot-gap-written", "boot-bios-written", "boot-code-written"])
def test_killed_at_any_step_applying_again_ends_the_same(gpt_case: Case, name: str) -> None:
    gpt_case.ruin(CODE, GAP_GPT, BIOS)
    code = """
import sys
from engine.machine import bootimages, bootrestore
from engine.machine.disks import read_disk
disk, saved, keep = map(str.encode, sys.argv[1:])
bootrestore.apply(bootrestore.plan(bootimages.load(saved), [read_disk(disk)]), keep)
"""
    argv = [sys.executable, "-c", code, str(gpt_case.disk), str(gpt_case.saved), str(gpt_case.keep)]
    for _ in range(2):
        done = subprocess.run(argv, cwd=CHECKOUT, env=child_env({"ROLLPOINT_KILL_AT": name}), capture_output=True)
    assert done.returncode == -9 or name != "boot-kept", done.stderr
    gpt_case.apply()
    gpt_case.must_be(CODE, GAP_GPT, BIOS)
    gpt_case.undo()
    gpt_case.must_be()


def test_half_written_is_finished_and_undone(gpt_case: Case) -> None:
    """A power cut in the middle of one write: what was kept before must not be overwritten by the half of it."""
    gpt_case.ruin(CODE, GAP_GPT, BIOS)
    gpt_case.apply()
    put(gpt_case.disk, BIOS[0] + 1000, gpt_case.now[BIOS[0] + 1000 : BIOS[1]])
    put(gpt_case.disk, 0, gpt_case.now[:440])
    gpt_case.apply()
    gpt_case.must_be(CODE, GAP_GPT, BIOS)
    gpt_case.undo()
    gpt_case.must_be()


def test_a_keep_that_was_not_finished_is_made_again(gpt_case: Case) -> None:
    gpt_case.keep.mkdir()
    (gpt_case.keep / "disk-1.gap").write_bytes(b"half")
    gpt_case.ruin(CODE)
    gpt_case.apply()
    gpt_case.undo()
    gpt_case.must_be()


def test_a_keep_of_something_else_is_refused(gpt_case: Case, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    Case(other, mbr)
    shutil.copytree(other / "boot", gpt_case.keep)
    gpt_case.ruin(CODE)
    with pytest.raises(RefusedError, match="another rollback"):
        gpt_case.apply()
    gpt_case.must_be()


def test_undo_of_nothing_says_so(gpt_case: Case) -> None:
    with pytest.raises(RefusedError, match="no boot pieces"):
        gpt_case.undo()


# --- the conditions ---


def test_a_gap_that_became_smaller_stays(mbr_case: Case) -> None:
    table(mbr_case.disk, MBR_SCRIPT.replace("start=2048, size=8192", "start=1024, size=8192"))
    mbr_case.ruin(CODE, GAP_MBR)
    assert "starts at byte 524288 now" in mbr_case.refusal(GAP)
    mbr_case.apply()
    mbr_case.must_be(CODE)


def test_a_gap_that_became_larger_is_written_as_far_as_it_was(mbr_case: Case) -> None:
    table(mbr_case.disk, MBR_SCRIPT.replace("start=2048, size=8192", "start=4096, size=4096"))
    mbr_case.ruin(CODE, (512, 2 * MIB))
    mbr_case.apply()
    mbr_case.must_be(CODE, GAP_MBR)


@pytest.mark.parametrize(
    ("bios", "count", "why"), [(2048, 1024, "were saved"), (2056, 2048, "moved"), (0, 0, "no BIOS")]
)
def test_a_bios_boot_partition_that_does_not_fit_stays(gpt_case: Case, bios: int, count: int, why: str) -> None:
    if bios:
        fresh = gpt(gpt_case.place / "fresh", bios=bios, count=count)
    else:
        script = "label: gpt\nlabel-id: 01234567-89AB-CDEF-0123-456789ABCDEF\nstart=2048, size=2048\n"
        fresh = image(gpt_case.place / "fresh", 32 * MIB, script)
    shutil.copy(fresh, gpt_case.disk)
    gpt_case.ruin(CODE, GAP_GPT, BIOS)
    assert why in gpt_case.refusal(BIOS_BOOT)
    gpt_case.apply()
    gpt_case.must_be(CODE, GAP_GPT)


def test_a_bios_boot_partition_that_grew_is_written(gpt_case: Case) -> None:
    shutil.copy(gpt(gpt_case.place / "fresh", count=4096), gpt_case.disk)
    gpt_case.ruin(CODE, (MIB, 3 * MIB))
    gpt_case.apply()
    gpt_case.must_be(CODE, GAP_GPT, BIOS)


def test_partitions_added_since_do_not_matter(mbr_case: Case) -> None:
    table(mbr_case.disk, MBR_SCRIPT + "start=36864, size=4096, type=83\n")
    mbr_case.ruin(CODE, GAP_MBR)
    mbr_case.apply()
    mbr_case.must_be(CODE, GAP_MBR)


def test_a_table_of_another_kind_keeps_everything(mbr_case: Case) -> None:
    shutil.copy(gpt(mbr_case.place / "fresh"), mbr_case.disk)
    mbr_case.ruin(CODE)
    plan = mbr_case.plan(named={"disk-1": os.fsencode(mbr_case.disk)})
    assert plan.writes == 0 and all("has a GPT now" in p.refused for p in plan.disks[0].pieces)
    bootrestore.apply(plan, os.fsencode(mbr_case.keep))
    mbr_case.must_be()


@pytest.mark.parametrize("make", [mbr, gpt])
def test_a_wiped_sector_0_is_told_not_written(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    case = Case(tmp_path, make)
    put(case.disk, 0, bytes(512))
    if make is gpt:
        put(case.disk, 512, bytes(512))
        put(case.disk, 32 * MIB - 512, bytes(512))
    case.now = case.disk.read_bytes()
    plan = case.plan(named={"disk-1": os.fsencode(case.disk)})
    assert plan.writes == 0 and "write it back first" in plan.disks[0].pieces[0].refused
    case.must_be()


def test_after_a_damaged_gpt_only_the_boot_code_is_written(gpt_case: Case) -> None:
    put(gpt_case.disk, 600, b"?")
    put(gpt_case.disk, 32 * MIB - 500, b"?")
    gpt_case.ruin(CODE, GAP_GPT, BIOS)
    plan = gpt_case.plan(named={"disk-1": os.fsencode(gpt_case.disk)})
    assert "damaged" in plan.disks[0].pieces[0].refused
    bootrestore.apply(plan, os.fsencode(gpt_case.keep))
    gpt_case.must_be(CODE)


def test_a_gpt_known_by_its_backup_alone_is_good_enough(gpt_case: Case) -> None:
    put(gpt_case.disk, 600, b"?")
    gpt_case.ruin(CODE, GAP_GPT, BIOS)
    gpt_case.apply()
    gpt_case.must_be(CODE, GAP_GPT, BIOS)


def test_a_file_system_on_the_whole_disk_is_never_written(tmp_path: Path) -> None:
    def make(path: Path) -> Path:
        with path.open("wb") as file:
            file.truncate(32 * MIB)
        subprocess.run(["mkfs.vfat", str(path)], check=True, capture_output=True)
        return path

    case = Case(tmp_path, make)
    case.ruin((100, 400))
    plan = case.plan(named={"disk-1": os.fsencode(case.disk)})
    assert plan.writes == 0 and "file system" in plan.disks[0].pieces[0].refused


def test_a_disk_that_changed_after_the_plan_is_not_written(gpt_case: Case) -> None:
    gpt_case.ruin(CODE)
    plan = gpt_case.plan()
    shutil.copy(gpt(gpt_case.place / "fresh", count=1024), gpt_case.disk)
    before = gpt_case.disk.read_bytes()
    with pytest.raises(RefusedError, match="not as it was when this was planned"):
        bootrestore.apply(plan, os.fsencode(gpt_case.keep))
    assert gpt_case.disk.read_bytes() == before and not gpt_case.keep.exists()


@pytest.mark.parametrize("start", [0, 440, 446, 510, 512, 1024, MIB, 2 * MIB, 6 * MIB, 32 * MIB - 512])
def test_the_last_guard_lets_no_other_range_through(gpt_case: Case, start: int) -> None:
    """A plan that was tampered with: even then no table and no file system is written."""
    gpt_case.ruin(CODE)
    plan = gpt_case.plan()
    code = plan.disks[0].pieces[-1]
    bad = replace(code, offset=start, length=512 if start == 0 else 440)
    tampered = replace(plan, disks=(replace(plan.disks[0], pieces=(bad,)),))
    if start == MIB:
        return  # the BIOS boot partition itself
    with pytest.raises(RefusedError, match="are not boot code's"):
        bootrestore.apply(tampered, None)
    gpt_case.must_be()


# --- GRUB ---


def test_boot_loaders_have_names(tmp_path: Path) -> None:
    case = Case(tmp_path, mbr)
    install_grub(case.disk, tmp_path)
    case.now = case.disk.read_bytes()
    words = case.plan().words
    assert "boot code: GRUB 2 -> unknown code" in words[1] and "gap: GRUB 2's core.img ->" in words[0]
    view = case.plan().disks[0].pieces[-1].view
    assert view[0].startswith("00000000  eb 63 90 ") and " -> " in view[0]


def test_boot_code_that_would_find_no_core_is_not_written(tmp_path: Path) -> None:
    """The recorded GRUB lies where a partition is now, another one works: better that than none."""
    case = Case(tmp_path, mbr)
    core = install_grub(case.disk, tmp_path, sector=100)
    bootimages.save([case.read()], os.fsencode(case.saved), texts=False)
    table(case.disk, MBR_SCRIPT.replace("start=2048, size=8192", "start=1024, size=8192"))
    put(case.disk, 512, bytes(MIB // 2 - 512))
    install_grub(case.disk, tmp_path, sector=1)
    assert len(core) < MIB // 4
    case.now = case.disk.read_bytes()
    assert "would not" in case.refusal("boot code")
    assert case.apply() == ()
    case.must_be()
    put(case.disk, 0, bytes(440))  # now nothing works: the recorded code can do no harm
    assert case.refusal("boot code") == ""


# --- real block devices ---


@pytest.mark.root
@pytest.mark.parametrize("sector", [512, 4096])
def test_on_a_loop_device(tmp_path: Path, sector: int) -> None:
    disk = noise(image(tmp_path / "disk", 64 * MIB, "label: gpt\n"), [(0, 64 * MIB)])
    gap = 34 * 512 if sector == 512 else 6 * 4096
    with loop(disk, sector) as device:
        script = f"label: gpt\nstart={MIB // sector}, size={MIB // sector}, type=21686148-6449-6E6F-744E-656564454649\n"
        table(device, script + f"start={2 * MIB // sector}, size={8 * MIB // sector}\n")
        subprocess.run(["mkfs.ext4", "-q", "-F", "-E", f"offset={2 * MIB}", device, "8M"], check=True,
                       capture_output=True)
        found = read_disk(os.fsencode(device))
        assert not found.image and found.sector == sector
        bootimages.save([found], os.fsencode(tmp_path / "boot"))
        then = disk.read_bytes()
        noise(disk, [CODE, (gap, MIB), BIOS], seed=3)
        subprocess.run(["blockdev", "--flushbufs", device], check=True)
        now = disk.read_bytes()
        record = bootimages.load(os.fsencode(tmp_path / "boot"))
        plan = bootrestore.plan(record, [read_disk(os.fsencode(device))])
        assert plan.writes == 3
        bootrestore.apply(plan, os.fsencode(tmp_path / "keep"))
        assert ranges_that_differ(disk.read_bytes(), then) == []
        undo = bootrestore.undo(os.fsencode(tmp_path / "keep"), [read_disk(os.fsencode(device))])
        bootrestore.apply(undo, None)
        assert ranges_that_differ(disk.read_bytes(), now) == []


@pytest.mark.root
def test_a_read_only_disk_is_told_before_anything_is_kept(tmp_path: Path) -> None:
    disk = gpt(tmp_path / "disk")
    with loop(disk) as device:
        bootimages.save([read_disk(os.fsencode(device))], os.fsencode(tmp_path / "boot"), texts=False)
        noise(disk, [CODE], seed=3)
        subprocess.run(["blockdev", "--flushbufs", "--setro", device], check=True)
        try:
            plan = bootrestore.plan(bootimages.load(os.fsencode(tmp_path / "boot")), [read_disk(os.fsencode(device))])
            assert plan.writes == 1
            with pytest.raises(RollpointError, match="cannot be written"):
                bootrestore.apply(plan, os.fsencode(tmp_path / "keep"))
        finally:  # the kernel keeps this for the next user of the loop device
            subprocess.run(["blockdev", "--setrw", device], check=True)
    assert not (tmp_path / "keep").exists()


# --- what only a plan can see, and what only a disk can do ---


def refusal_on(case: Case, disk: Disk, what: str) -> str:
    plan = bootrestore.plan(case.record(), [disk], named={"disk-1": disk.path})
    return next(p.refused for p in plan.disks[0].pieces if p.what == what)


def test_a_gpt_that_reaches_further_into_the_gap_now(gpt_case: Case) -> None:
    script = "label: gpt\nlabel-id: 01234567-89AB-CDEF-0123-456789ABCDEF\ntable-length: 256\nstart=2048, size=2048\n"
    shutil.copy(image(gpt_case.place / "fresh", 32 * MIB, script), gpt_case.disk)
    gpt_case.ruin((66 * 512, MIB))
    assert "partition table reaches to byte 33792" in gpt_case.refusal(GAP)


def test_other_sectors_and_overlapping_partitions(gpt_case: Case) -> None:
    disk = gpt_case.read()
    assert "its sectors were 512 bytes" in refusal_on(gpt_case, replace(disk, sector=4096), GAP)
    first, second, *others = disk.table.partitions
    crossed = replace(disk.table, partitions=(first, replace(second, start=first.end - 512), *others))
    assert "another partition overlaps" in refusal_on(gpt_case, replace(disk, table=crossed), BIOS_BOOT)


@pytest.mark.parametrize(("at", "words"), [(100, "does not give back"), (446, "partition table of")])
def test_a_disk_that_does_not_keep_what_was_written(
    gpt_case: Case, monkeypatch: pytest.MonkeyPatch, at: int, words: str
) -> None:
    real = os.pwrite

    def lying(fd: int, data: bytes, offset: int) -> int:
        done = real(fd, data, offset)
        if offset == 0:
            real(fd, b"!", at)
        return done

    gpt_case.ruin(CODE)
    monkeypatch.setattr("engine.machine.bootrestore.os.pwrite", lying)
    with pytest.raises(DamageError, match=words):
        bootrestore.apply(gpt_case.plan(), None)


def test_a_write_that_fails_says_where_and_can_be_undone(gpt_case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.pwrite

    def failing(fd: int, data: bytes, offset: int) -> int:
        if offset >= MIB and len(data) <= MIB - 4096:
            raise OSError(errno.EIO, "Input/output error")
        return real(fd, data[:4096], offset)

    gpt_case.ruin(CODE, GAP_GPT, BIOS)
    keep = os.fsencode(gpt_case.keep)
    with monkeypatch.context() as patched:
        patched.setattr("engine.machine.bootrestore.os.pwrite", failing)
        with pytest.raises(RollpointError, match="cannot be written at byte 1052672: Input/output error"):
            bootrestore.apply(gpt_case.plan(), keep)
    gpt_case.undo()
    gpt_case.must_be()
