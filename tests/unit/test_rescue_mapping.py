"""Which file system takes the place of which recorded one: the same, one like it, none; and what is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from engine.machine.filesystems import FileSystem, Recorded, described, recorded
from engine.rescue.mapping import EXACT, MERGED, MISSING, OTHER, Choices, Mapping, propose
from engine.rescue.survey import FoundPoint, FoundStore, FoundSystem, Survey

GIB = 1 << 30
ROOT = Recorded(b"", "ext4", "1111-aaaa", "/dev/sda2", "", 19 * GIB)
BOOT = Recorded(b"boot", "ext4", "2222-bbbb", "/dev/sda1", "BOOT", 480 << 20)
ESP = Recorded(b"boot/efi", "vfat", "AB12-CD34", "/dev/sda3", "", 100 << 20)
SOURCES = (ESP, BOOT, ROOT)
FS_ROOT = FileSystem("/dev/sdb2", "ext4", "1111-AAAA", "", "p-2", 20 * GIB)
FS_BOOT = FileSystem("/dev/sdb1", "ext4", "2222-bbbb", "BOOT", "p-1", 512 << 20)
FS_ESP = FileSystem("/dev/sdb3", "vfat", "ab12-cd34", "", "p-3", 101 << 20)
STICK = FileSystem("/dev/sdc1", "ext4", "9999-ffff", "", "p-9", 64 * GIB)
POINT = FoundPoint("2026-01-01_00-00-00", 3, datetime(2026, 1, 1, tzinfo=UTC), "", SOURCES)
STORE = FoundStore(STICK, "store", "id", "web1", "a" * 32, 1, 1, (POINT,))


def here(*file_systems: FileSystem, systems: tuple[FoundSystem, ...] = ()) -> Survey:
    return Survey((STORE,), systems, (), file_systems)


def states(mapping: Mapping) -> list[tuple[str, str, str]]:
    return [(r.recorded.mount, r.device.device if r.device else "-", r.state) for r in mapping.rows]


def test_the_same_file_systems_are_found_by_uuid_whatever_they_are_called_now_root_first() -> None:
    mapping = propose(SOURCES, here(STICK, FS_ESP, FS_BOOT, FS_ROOT), store=STORE)
    assert states(mapping) == [("/", "/dev/sdb2", EXACT), ("/boot", "/dev/sdb1", EXACT),
                               ("/boot/efi", "/dev/sdb3", EXACT)]
    assert mapping.refusals == ()


def test_one_that_is_not_here_is_missing_and_the_others_are_still_mapped() -> None:
    mapping = propose(SOURCES, here(FS_ROOT, FS_ESP), store=STORE)
    assert states(mapping)[1] == ("/boot", "-", MISSING)
    assert "2222-bbbb" in mapping.rows[1].why
    assert mapping.refusals == ()       # the root is there: what has /boot to do with it is the rollback's business


def test_without_the_root_nothing_is_opened() -> None:
    mapping = propose(SOURCES, here(FS_BOOT, FS_ESP), store=STORE)
    assert any("root file system" in r for r in mapping.refusals)
    assert propose((), here(FS_ROOT)).refusals
    assert any("of a directory" in r for r in propose((replace(ROOT, plain=True),), here(FS_ROOT)).refusals)


def test_a_file_system_made_anew_is_proposed_by_its_likeness_and_taken_only_by_name_and_with_adopt() -> None:
    anew = replace(FS_BOOT, uuid="3333-cccc")
    mapping = propose(SOURCES, here(FS_ROOT, anew, FS_ESP), store=STORE)
    assert states(mapping)[1] == ("/boot", "/dev/sdb1", OTHER)
    assert "label BOOT" in mapping.rows[1].why
    assert any("/dev/sdb1 is not the file system" in r for r in mapping.refusals)
    unnamed = propose(SOURCES, here(FS_ROOT, anew, FS_ESP), Choices(adopt=True), STORE)
    assert any("--map /boot=/dev/sdb1" in r for r in unnamed.refusals)
    named = Choices({"/boot": "/dev/sdb1"}, adopt=True)
    assert propose(SOURCES, here(FS_ROOT, anew, FS_ESP), named, STORE).refusals == ()


def test_two_that_are_alike_are_both_named_and_none_is_taken() -> None:
    one, other = replace(FS_ROOT, device="/dev/sdx1", uuid="x"), replace(FS_ROOT, device="/dev/sdy1", uuid="y")
    mapping = propose((ROOT,), here(one, other), Choices(adopt=True), STORE)
    assert states(mapping) == [("/", "-", MISSING)]
    assert "/dev/sdx1 and /dev/sdy1" in mapping.rows[0].why


def test_a_clone_with_the_same_uuid_is_refused_until_one_of_them_is_named() -> None:
    clone = replace(FS_ROOT, device="/dev/sdz2")
    mapping = propose((ROOT,), here(FS_ROOT, clone), store=STORE)
    assert mapping.rows[0].state == MISSING
    assert any("/dev/sdb2 and /dev/sdz2" in r for r in mapping.refusals)
    chosen = propose((ROOT,), here(FS_ROOT, clone), Choices({"/": "/dev/sdz2"}), STORE)
    assert (states(chosen), chosen.refusals) == ([("/", "/dev/sdz2", EXACT)], ())


def test_a_btrfs_on_several_devices_is_one_file_system() -> None:
    root = replace(ROOT, fstype="btrfs", within="@")
    home = replace(root, place=b"home", within="@home")
    parts = tuple(FileSystem(d, "btrfs", "1111-aaaa", size=GIB, member=d) for d in ("/dev/sda", "/dev/sdb"))
    mapping = propose((home, root), here(*parts), store=STORE)
    assert states(mapping) == [("/", "/dev/sda", EXACT), ("/home", "/dev/sda", EXACT)]
    assert mapping.refusals == ()       # the same device twice, but other parts of it
    members = tuple(replace(p, member=m) for p, m in zip(parts, "ab", strict=True))
    assert propose((root,), here(*members), store=STORE).refusals == ()
    copies = tuple(replace(p, member="a") for p in parts)
    assert any("/dev/sda and /dev/sdb" in r for r in propose((root,), here(*copies), store=STORE).refusals)


@pytest.mark.parametrize("spec", ["/dev/sdq1", "UUID=7777-eeee", "LABEL=new", "PARTUUID=p-7"])
def test_the_admin_names_a_device_by_any_of_its_names_and_it_counts_with_adopt_alone(spec: str) -> None:
    new = FileSystem("/dev/sdq1", "ext4", "7777-eeee", "new", "p-7", 5 * GIB)
    refused = propose(SOURCES, here(FS_ROOT, new, FS_ESP), Choices({"/boot": spec}), STORE)
    assert any("recorded is 2222-bbbb" in r for r in refused.refusals)
    mapping = propose(SOURCES, here(FS_ROOT, new, FS_ESP), Choices({"/boot": spec}, adopt=True), STORE)
    assert (states(mapping)[1], mapping.refusals) == (("/boot", "/dev/sdq1", OTHER), ())


def test_a_system_that_is_named_takes_the_place_of_the_root() -> None:
    mapping = propose((ROOT,), here(FS_ROOT, STICK), Choices(system="/dev/sdb2"), STORE)
    assert states(mapping) == [("/", "/dev/sdb2", EXACT)]


def test_what_is_named_must_be_there_and_its_place_must_have_been_recorded() -> None:
    assert any("no file system on /dev/nope" in r for r in
               propose(SOURCES, here(FS_ROOT), Choices({"/boot": "/dev/nope"}), STORE).refusals)
    assert any("mounted at /srv" in r for r in
               propose(SOURCES, here(FS_ROOT, STICK), Choices({"/srv": "/dev/sdc1"}), STORE).refusals)


def test_the_store_is_never_written_over_but_may_lie_on_the_root_that_was_recorded() -> None:
    over = propose((ROOT,), here(STICK), Choices({"/": "/dev/sdc1"}, adopt=True), STORE)
    assert any("holds the store" in r for r in over.refusals)
    alike = propose((replace(ROOT, size=63 * GIB),), here(STICK), Choices(adopt=True), STORE)
    assert alike.rows[0].device is None         # nor is it proposed
    inside = replace(STORE, on=FS_ROOT, path="var/lib/rollpoint/store")
    assert propose((ROOT,), here(FS_ROOT), store=inside).refusals == ()


def test_one_device_is_never_two_places() -> None:
    choices = Choices({"/": "/dev/sdb2", "/boot": "/dev/sdb2"}, adopt=True)
    assert any("cannot be both / and /boot" in r for r in
               propose((ROOT, BOOT), here(FS_ROOT, FS_BOOT), choices, STORE).refusals)


def test_another_machine_on_the_disk_is_refused_without_adopt() -> None:
    survey = here(FS_ROOT, systems=(FoundSystem(FS_ROOT, "", "Debian", "db7", "b" * 32),))
    assert any("db7" in r and "another machine" in r for r in propose((ROOT,), survey, store=STORE).refusals)
    assert propose((ROOT,), survey, Choices(adopt=True), STORE).refusals == ()
    own = here(FS_ROOT, systems=(FoundSystem(FS_ROOT, "", "Debian", "web1", "a" * 32),))
    assert propose((ROOT,), own, store=STORE).refusals == ()


def test_the_same_uuid_with_another_type_is_another_file_system() -> None:
    mapping = propose((ROOT,), here(replace(FS_ROOT, fstype="xfs")), store=STORE)
    assert mapping.rows[0].state == MISSING


@pytest.mark.parametrize("place", [b"", b"boot", b"data/\xff\\x41 \n", "häß".encode()])
def test_places_of_any_name_survive_the_points_document(place: bytes) -> None:
    one = Recorded(place, "ext4", "u", "/dev/x", "L", 7, 3, "@\udcfe", plain=True)
    assert recorded([described(one)]) == (one,)


@pytest.mark.parametrize("junk", [None, 7, [None, "x"], [{"mount": None, "size": "big", "mount_hex": "zz"}]])
def test_a_document_with_anything_in_it_is_no_crash(junk: object) -> None:
    assert all(r.size == 0 for r in recorded(junk))


def test_what_has_no_place_becomes_a_directory_when_others_are_adopted() -> None:
    home = Recorded(b"home", "xfs", "9999-ffff", "/dev/vda9", size=GIB)
    sources = (*SOURCES, home)
    found = here(FS_ROOT, FS_BOOT, FS_ESP)
    assert propose(sources, found, store=STORE).rows[-1].state == MISSING
    merged = Choices(adopt=True, merged=frozenset({"/home"}))
    mapping = propose(sources, found, merged, STORE)
    assert (states(mapping)[-1], mapping.refusals) == (("/home", "-", MERGED), ())
    alone = propose(sources, found, replace(merged, adopt=False), STORE, adopting="key a")
    assert any("/home" in r and "(key a)" in r for r in alone.refusals)


@pytest.mark.parametrize("mount", ["/", "/boot/efi", "/srv"])
def test_the_root_the_esp_and_what_was_never_recorded_become_no_directory(mount: str) -> None:
    mapping = propose(SOURCES, here(FS_ROOT, FS_BOOT, FS_ESP), Choices(adopt=True, merged=frozenset({mount})), STORE)
    assert len(mapping.refusals) == 1 and mount in mapping.refusals[0]


def test_the_words_for_naming_a_device_are_those_of_who_asks() -> None:
    found = here(FS_ROOT, replace(FS_BOOT, uuid="3333-cccc"), FS_ESP)
    refusals = propose(SOURCES, found, Choices(adopt=True), STORE, naming="key m").refusals
    assert len(refusals) == 1 and refusals[0].endswith("name it (key m)") and "--map" not in refusals[0]
