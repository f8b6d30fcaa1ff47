"""The right disk, and no other: by who it is, not by its name."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import UsageError
from engine.machine import bootimages, bootrestore
from engine.machine.disks import Disk, read_disk
from tests.engine.boot_case import CODE, Case
from tests.engine.boot_images import MBR_SCRIPT, MIB, image, mbr


@pytest.fixture
def mbr_case(tmp_path: Path) -> Case:
    return Case(tmp_path, mbr)


def other_disk(case: Case, **changes: str) -> Disk:
    return replace(case.read(), **changes)  # type: ignore[arg-type]


def test_the_wrong_disk_is_refused_with_the_reason(mbr_case: Case) -> None:
    wrong = image(mbr_case.place / "wrong", 32 * MIB, MBR_SCRIPT.replace("cafe", "beef"))
    plan = bootrestore.plan(mbr_case.record(), [read_disk(os.fsencode(wrong))])
    assert plan.disks == () and "beef1234, recorded is cafe1234" in plan.findings[0].text
    larger = image(mbr_case.place / "larger", 33 * MIB, MBR_SCRIPT)
    plan = bootrestore.plan(mbr_case.record(), [read_disk(os.fsencode(larger))])
    assert plan.disks == () and "its size is" in plan.missing[0][1]
    assert bootrestore.plan(mbr_case.record(), []).missing[0][1].endswith("(there is no disk at all)")


def test_of_several_disks_the_right_one_is_taken(mbr_case: Case) -> None:
    wrong = image(mbr_case.place / "wrong", 32 * MIB, MBR_SCRIPT.replace("cafe", "beef"))
    moved = mbr_case.place / "now-called-so"
    mbr_case.disk.rename(moved)
    mbr_case.disk = moved
    mbr_case.ruin(CODE)
    before = wrong.read_bytes()
    disks = [read_disk(os.fsencode(wrong)), mbr_case.read()]
    bootrestore.apply(bootrestore.plan(mbr_case.record(), disks), os.fsencode(mbr_case.keep))
    mbr_case.must_be(CODE)
    assert wrong.read_bytes() == before


def test_two_clones_are_refused_unless_one_is_named(mbr_case: Case) -> None:
    clone = mbr_case.place / "clone"
    shutil.copy(mbr_case.disk, clone)
    disks = [mbr_case.read(), read_disk(os.fsencode(clone))]
    plan = bootrestore.plan(mbr_case.record(), disks)
    assert plan.disks == () and "both look like" in plan.missing[0][1]
    plan = bootrestore.plan(mbr_case.record(), disks, named={"disk-1": os.fsencode(clone)})
    assert [d.disk.path for d in plan.disks] == [os.fsencode(clone)]


def test_a_serial_number_decides_between_clones_and_against_a_replacement(mbr_case: Case) -> None:
    saved = mbr_case.place / "with-serial"
    bootimages.save([other_disk(mbr_case, serial="S1", model="M")], os.fsencode(saved), texts=False)
    record = bootimages.load(os.fsencode(saved))
    one, two = other_disk(mbr_case, serial="S1"), replace(other_disk(mbr_case, serial="S2"), path=b"/x")
    assert bootrestore.plan(record, [one, two]).disks[0].disk == one
    refused = bootrestore.plan(record, [two]).missing[0][1]
    assert "its serial number is S2, recorded is S1" in refused
    assert "its model" in bootrestore.plan(record, [replace(one, model="N")]).missing[0][1]
    unknown = other_disk(mbr_case)
    assert bootrestore.plan(record, [unknown]).disks[0].disk == unknown, "the signature is enough"


def test_two_paths_to_one_disk_are_one_disk(mbr_case: Case) -> None:
    saved = mbr_case.place / "san"
    wwn = "naa.60014055cafe0123"
    bootimages.save([other_disk(mbr_case, wwn=wwn)], os.fsencode(saved), texts=False)
    twin = mbr_case.place / "twin"
    twin.symlink_to(mbr_case.disk)
    disks = [other_disk(mbr_case, wwn="360014055cafe0123"), replace(other_disk(mbr_case, wwn="360014055cafe0123"),
                                                                    path=os.fsencode(twin))]
    plan = bootrestore.plan(bootimages.load(os.fsencode(saved)), disks)
    assert len(plan.disks) == 1 and plan.findings == ()


def test_a_disk_nothing_identifies_must_be_named(tmp_path: Path) -> None:
    case = Case(tmp_path, lambda p: image(p, 32 * MIB, MBR_SCRIPT.replace("cafe1234", "0")))
    case.ruin(CODE)
    assert "nothing identifies it" in case.plan().missing[0][1]
    assert len(case.plan(named={"disk-1": os.fsencode(case.disk)}).disks) == 1


def test_the_store_s_disk_is_written_only_when_it_is_the_boot_disk(mbr_case: Case) -> None:
    wrong = image(mbr_case.place / "wrong", 32 * MIB, MBR_SCRIPT.replace("cafe", "beef"))
    path = os.fsencode(wrong)
    plan = bootrestore.plan(mbr_case.record(), [read_disk(path)], named={"disk-1": path}, store_disks=[path])
    assert plan.disks == () and "holds the store" in plan.missing[0][1]
    mbr_case.ruin(CODE)
    assert mbr_case.plan(store_disks=[os.fsencode(mbr_case.disk)]).writes == 1


def test_a_name_for_no_disk_is_a_mistake(mbr_case: Case) -> None:
    for named in ({"disk-1": b"/dev/none"}, {"disk-9": os.fsencode(mbr_case.disk)}):
        with pytest.raises(UsageError):
            mbr_case.plan(named=named)


def test_one_disk_is_never_taken_for_two(mbr_case: Case) -> None:
    clone = mbr_case.place / "clone"
    shutil.copy(mbr_case.disk, clone)
    saved = os.fsencode(mbr_case.place / "both")
    bootimages.save([mbr_case.read(), read_disk(os.fsencode(clone))], saved, texts=False)
    record = bootimages.load(saved)
    plan = bootrestore.plan(record, [mbr_case.read()])
    assert plan.disks == () and all("more than one" in why for _, why in plan.missing)
    path = os.fsencode(mbr_case.disk)
    with pytest.raises(UsageError, match="two recorded disks"):
        bootrestore.plan(record, [mbr_case.read()], named={"disk-1": path, "disk-2": path})
    both = {"disk-1": path, "disk-2": os.fsencode(clone)}
    assert len(bootrestore.plan(record, [mbr_case.read(), read_disk(os.fsencode(clone))], named=both).disks) == 2
