"""Boot sectors in rollbacks of the real engine: whole disks compared byte for byte with what the tests know of them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import RefusedError, UsageError
from engine.events import Job
from engine.results import SnapshotRequest
from tests.boot_trees import NEW
from tests.engine.boot_bench import BIOS, CODE, GAP_GPT, GAP_MBR, BootBench, grub_gpt, grub_mbr, texts
from tests.engine.boot_images import MBR_SCRIPT, MIB, image, noise, put, table
from tests.engine.harness import discard
from tests.oracle import differences, must_equal, record

AREAS = {"mbr": (CODE, GAP_MBR), "gpt": (CODE, GAP_GPT, BIOS)}


@pytest.fixture
def mbr(tmp_path: Path) -> BootBench:
    return BootBench(tmp_path, grub_mbr)


@pytest.fixture(params=["mbr", "gpt"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> BootBench:
    return BootBench(tmp_path, grub_mbr if request.param == "mbr" else grub_gpt)


def areas(bench: BootBench) -> tuple[tuple[int, int], ...]:
    return AREAS["gpt" if bench.then[512:520] == b"EFI PART" else "mbr"]


# --- there and back ---


def test_a_ruined_machine_comes_back(bench: BootBench) -> None:
    """Boot code, gap and core.img overwritten, /boot/grub deleted; nothing else of the disk is ever touched."""
    point, then = bench.point(), record(bench.live)
    bench.ruin(*areas(bench), (20 * MIB, 21 * MIB))
    ruined = record(bench.live)
    plan = bench.plan(point)
    assert not plan.blocked and len(plan.boot) == len(areas(bench))
    assert all("differ" in words and str(bench.disk) in words for words in plan.boot)
    assert any("after this rollback: it will boot" in t for t in texts(plan.findings, "info"))
    done = bench.roll(point)
    assert done.verified and len(done.boot_applied) == len(plan.boot)
    assert done.boot is not None and done.boot.answer == "yes" and done.boot.kernel == NEW
    must_equal(then, record(bench.live), "the files did not come back")
    bench.must_be(*areas(bench))
    undone = bench.engine().undo(Job())
    assert undone.verified and len(undone.boot_applied) == len(plan.boot)
    bench.must_be()
    must_equal(ruined, record(bench.live), "undo did not bring the files back")
    assert not Path(bench.store, "rollback-boot").exists()
    assert bench.engine().verify(bench.engine().points(), Job(), data=True).damage == ()


def test_boot_sectors_alone_are_something_to_roll_back(bench: BootBench) -> None:
    point = bench.point()
    put(bench.disk, 0, bytes(440))
    bench.now = bench.disk.read_bytes()
    plan = bench.plan(point)
    assert plan.diff.changes == () and not plan.empty and "zeroes -> GRUB 2" in plan.boot[0]
    done = bench.run("rollback", "1", "--yes")
    assert done.returncode == 0, done.stderr
    assert "Boot: " in done.stdout and "zeroes -> GRUB 2" in done.stdout and "It will boot" in done.stdout
    bench.must_be(CODE)
    assert bench.plan(point).empty
    assert "nothing to roll back" in bench.run("rollback", "1", "--yes").stdout


def test_a_partition_added_since_stays(mbr: BootBench) -> None:
    point = mbr.point()
    table(mbr.disk, MBR_SCRIPT + "start=34816, size=2048, type=83\n")
    mbr.ruin(CODE, GAP_MBR)
    assert mbr.now[440:512] != mbr.then[440:512]
    assert mbr.roll(point).verified
    mbr.must_be(CODE, GAP_MBR)


def test_a_second_rollback_forgets_what_the_first_one_kept(mbr: BootBench) -> None:
    point = mbr.point()
    kept = Path(mbr.store, "rollback-boot")
    for number in range(2):
        noise(mbr.disk, [CODE], seed=number)
        mbr.now = mbr.disk.read_bytes()
        assert mbr.roll(point).verified
        assert len(list(kept.iterdir())) == 1
        saved = next(kept.iterdir()) / "disk-1.sector0"
        assert saved.read_bytes() == mbr.now[:512]
    mbr.engine().undo(Job())
    mbr.must_be()


def test_undo_of_a_rollback_that_wrote_no_boot_sector(mbr: BootBench) -> None:
    point = mbr.point()
    Path(mbr.live, "etc/new").write_text("x")
    assert mbr.roll(point).boot_applied == ()
    assert mbr.engine().undo(Job()).verified and Path(mbr.live, "etc/new").exists()
    mbr.must_be()


# --- what is refused ---


def test_another_disk_is_not_written(mbr: BootBench, tmp_path: Path) -> None:
    point = mbr.point()
    other = tmp_path / "other"
    image(other, 32 * MIB, MBR_SCRIPT.replace("cafe1234", "beef0001"))
    before = other.read_bytes()
    mbr.configure(disks=(str(other),))
    mbr.ruin()
    plan = mbr.plan(point)
    assert plan.boot == () and any("its identifier is beef0001" in t for t in texts(plan.findings, "warning"))
    done = mbr.roll(point, warned="is not here")        # as the plan has said, and nothing but that
    assert done.verified and done.differences == ()
    assert other.read_bytes() == before
    mbr.must_be()


def test_disks_that_cannot_be_told_are_the_same_in_plan_and_result(mbr: BootBench) -> None:
    """Neither says that something is not as it should be: nothing was to be written."""
    point = mbr.point()
    mbr.configure(disks=("auto",))          # of a plain directory
    mbr.ruin()
    plan = mbr.plan(point)
    assert plan.boot == () and [t for t in texts(plan.findings, "warning") if "boot sectors stay as they are" in t]
    done = mbr.roll(point, warned="boot sectors stay as they are: the root is a plain directory")
    assert done.verified and done.differences == ()
    mbr.must_be()


def test_an_undo_that_cannot_put_boot_code_back_says_what_differs(mbr: BootBench, tmp_path: Path) -> None:
    """It has no plan that could have said so before."""
    point = mbr.point()
    mbr.ruin((0, 440))
    assert mbr.roll(point).verified
    other = tmp_path / "other"
    image(other, 32 * MIB, MBR_SCRIPT.replace("cafe1234", "beef0001"))
    mbr.configure(disks=(str(other),))
    done = mbr.engine().undo(Job())
    assert not done.verified and any("is not here" in line for line in done.differences)


def test_disks_that_changed_after_the_plan_are_not_written(mbr: BootBench) -> None:
    point = mbr.point()
    plan = mbr.plan(point)
    mbr.ruin(CODE)
    before = record(mbr.live)
    with pytest.raises(RefusedError, match="not as they were when this was planned"):
        mbr.engine().rollback(plan, Job())
    mbr.must_be()
    must_equal(before, record(mbr.live), "something was changed")


def test_damaged_boot_pieces_are_refused_and_the_files_are_not(mbr: BootBench) -> None:
    point, then = mbr.point(), record(mbr.live)
    saved = mbr.saved(point, "disk-1.gap")
    data = bytearray(saved.read_bytes())
    data[1000] ^= 1
    saved.write_bytes(data)
    mbr.ruin(CODE, GAP_MBR)
    for verified in (False, True):
        if verified:
            assert mbr.engine().verify([point], Job()).damage
        point = mbr.engine().resolve(point.id)
        assert point.state == ("damaged" if verified else "ok")
        for scope in ("system", "boot"):
            plan = mbr.plan(point, scope)
            assert plan.boot == () and "damaged" in texts(plan.findings, "blocker")[0]
            with pytest.raises(RefusedError):
                mbr.engine().rollback(plan, Job())
        assert not mbr.plan(point, "files").blocked
    mbr.must_be()
    mbr.roll(point, "files")
    must_equal(then, record(mbr.live), "the files did not come back")
    mbr.must_be()


def test_damaged_files_are_refused_in_every_scope(mbr: BootBench) -> None:
    point = mbr.point()
    Path(mbr.store, "points", point.id, "items.zst").write_bytes(b"")
    mbr.engine().verify([point], Job())
    point = mbr.engine().resolve(point.id)
    assert all(mbr.plan(point, scope).blocked for scope in ("system", "files", "boot"))


def test_old_points_without_boot_pieces_still_work(mbr: BootBench) -> None:
    mbr.configure(disks=())
    point, then = mbr.point(), record(mbr.live)
    assert not mbr.saved(point).exists()
    mbr.configure(disks=(str(mbr.disk),))
    mbr.ruin(CODE)
    plan = mbr.plan(point)
    assert plan.boot == () and any("holds no boot sectors" in t for t in texts(plan.findings, "info"))
    mbr.roll(point)
    must_equal(then, record(mbr.live), "the files did not come back")
    mbr.must_be()
    mbr.engine().undo(Job())
    assert "holds no boot pieces" in mbr.run("boot", "show", "1").stderr
    assert [c.word for c in mbr.engine().scopes(point)] == ["system", "boot", "path="]


# --- scopes and configuration ---


@pytest.mark.parametrize("how", ["config", "files"])
def test_boot_sectors_stay_when_that_is_wanted(mbr: BootBench, how: str) -> None:
    point, then = mbr.point(), record(mbr.live)
    mbr.ruin(CODE, GAP_MBR)
    mbr.configure(restore=how == "files")
    assert mbr.roll(point, *(["files"] if how == "files" else [])).verified
    must_equal(then, record(mbr.live), "the files did not come back")
    mbr.must_be()
    if how == "config":     # asked for by name they are written all the same
        mbr.roll(point, "boot")
        mbr.must_be(CODE, GAP_MBR)


def test_scope_boot_touches_boot_alone(bench: BootBench) -> None:
    point = bench.point()
    Path(bench.live, "etc/hosts").write_text("since")
    bench.ruin(*areas(bench))
    done = bench.run("rollback", "1", "--scope", "boot", "--yes")
    assert done.returncode == 0, done.stderr
    bench.must_be(*areas(bench))
    assert Path(bench.live, "etc/hosts").read_text() == "since"
    assert Path(bench.live, "boot/grub/grub.cfg").exists()
    assert bench.engine().undo(Job()).verified
    bench.must_be()
    assert not Path(bench.live, "boot/grub").exists() and point.number == 1


def test_kernels_without_their_modules_are_refused(mbr: BootBench) -> None:
    """Only /boot goes back, to kernels that the live system has no modules of any more."""
    point = mbr.point()
    for release in os.listdir(os.path.join(mbr.live, "usr/lib/modules")):
        os.rename(os.path.join(mbr.live, "usr/lib/modules", release),
                  os.path.join(mbr.live, "usr/lib/modules", release.replace("6.1.0", "6.2.0")))
    for base, _, names in os.walk(os.path.join(mbr.live, "boot")):
        for name in names:
            path = Path(base, name)
            path.write_bytes(path.read_bytes().replace(b"6.1.0", b"6.2.0"))
            path.rename(path.with_name(name.replace("6.1.0", "6.2.0")))
    assert mbr.engine().boot_status().verdict.answer == "yes"
    plan = mbr.plan(point, "boot")
    assert any("no modules" in t for t in texts(plan.findings, "blocker"))
    assert not mbr.plan(point).blocked
    assert mbr.roll(point).boot is not None


def test_a_machine_that_does_not_boot_anyway_can_be_rolled_back_in_parts(mbr: BootBench) -> None:
    point = mbr.point()
    shutil.rmtree(os.path.join(mbr.live, "usr/lib/modules"))
    mbr.ruin()
    plan = mbr.plan(point, "boot")
    assert not plan.blocked and any("no modules" in t for t in texts(plan.findings, "warning"))
    done = mbr.roll(point, "boot")
    assert done.verified and done.boot is not None and done.boot.answer == "no"


def test_paths_that_have_nothing_to_do_with_booting_say_nothing_of_it(mbr: BootBench) -> None:
    point = mbr.point()
    Path(mbr.live, "srv").mkdir()
    plan = mbr.plan(point, "path=/srv")
    assert plan.findings == () and plan.boot == ()
    assert mbr.roll(point, "path=/srv").boot is None


@pytest.mark.parametrize(
    "words", [("system", "boot"), ("files", "path=/etc"), ("fs=/", "boot"), ("fs=",), ("path=/",), ("mbr",)]
)
def test_scopes_that_make_no_sense(mbr: BootBench, words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        mbr.plan(mbr.point(), *words)


# --- file systems ---


@pytest.fixture
def mounted(ext4: str, tmp_path: Path) -> Iterator[BootBench]:
    """A bench on a file system, with another one mounted on /home of its source."""
    place = Path(tempfile.mkdtemp(dir=ext4))
    bench = BootBench(place, grub_mbr)
    backing = tmp_path / "home.img"
    with backing.open("wb") as file:
        file.truncate(16 * MIB)
    subprocess.run(["mkfs.ext4", "-q", str(backing)], check=True)
    home = Path(bench.live, "home")
    home.mkdir()
    with Path(bench.live, "etc/fstab").open("a") as file:
        file.write("/dev/none /home ext4 nofail 0 2\n")
    subprocess.run(["mount", "-o", "loop", str(backing), str(home)], check=True)
    try:
        yield bench
    finally:
        subprocess.run(["umount", str(home)], check=True)
        discard(str(place))


@pytest.mark.root
def test_one_file_system(mounted: BootBench) -> None:
    bench = mounted
    home, etc = Path(bench.live, "home"), Path(bench.live, "etc/hosts")
    (home / "a").write_text("then")
    etc.write_text("then")
    point = bench.point()
    assert [s["mount"] for s in point.doc["sources"]] == ["/", "/home"]
    words = [c.word for c in bench.engine().scopes(point)]
    assert words == ["system", "files", "boot", "fs=/", "fs=/home", "path="]
    for scope, changed, stays in (("fs=/home", home / "a", etc), ("fs=/", etc, home / "a")):
        for file in (home / "a", etc):
            file.write_text("since")
        (home / "new").write_text("x")
        os.chmod(home, 0o700)
        before = record(bench.live)
        plan = bench.plan(point, scope)
        assert plan.boot == () and not plan.blocked
        top = b"home" if scope == "fs=/home" else b""
        assert all((c.path.split(b"/")[0] == b"home") == (top == b"home") for c in plan.diff.changes)
        done = bench.roll(point, scope)
        assert done.verified and done.applied
        assert changed.read_text() == "then" and stays.read_text() == "since"
        assert (home / "new").exists() == (scope == "fs=/")
        assert (home.stat().st_mode & 0o777 == 0o700) == (scope == "fs=/")
        bench.engine().undo(Job())
        assert differences(before, record(bench.live)) == []
    bench.must_be()
    with pytest.raises(UsageError, match="no file system that was mounted at /srv"):
        bench.plan(point, "fs=/srv")


@pytest.mark.root
def test_a_small_file_system_that_is_too_full_is_refused(mounted: BootBench) -> None:
    """As a /boot that newer kernels have filled: the old ones come back before the new ones go."""
    bench = mounted
    home = Path(bench.live, "home")
    (home / "old").write_bytes(os.urandom(7 * MIB))
    point = bench.point()
    (home / "old").unlink()
    (home / "new").write_bytes(os.urandom(7 * MIB))
    Path(bench.live, "etc/hosts").write_text("since")
    before = record(bench.live)
    for scope in ("system", "fs=/home"):
        plan = bench.plan(point, scope)
        assert [t.split(":")[0] for t in texts(plan.findings, "blocker")] == [f"not enough room on {home}"]
        with pytest.raises(RefusedError, match="not enough room"):
            bench.engine().rollback(plan, Job())
    must_equal(before, record(bench.live), "something was changed")
    assert not bench.plan(point, "fs=/").blocked
    (home / "new").unlink()
    assert bench.roll(point).verified


@pytest.mark.root
def test_holes_of_a_file_need_no_room(mounted: BootBench) -> None:
    """As a VM's disk, larger than its file system has room for."""
    bench = mounted
    image = Path(bench.live, "home/image")
    with image.open("wb") as file:
        file.write(b"then" * 1024)
        file.truncate(1 << 30)
    point = bench.point()
    with image.open("r+b") as file:
        file.write(b"since" * 1024)
    plan = bench.plan(point)
    assert not plan.blocked and bench.engine().rollback(plan, Job()).verified
    with image.open("rb") as file:
        assert file.read(4096) == b"then" * 1024 and image.stat().st_blocks * 512 < MIB
    with image.open("r+b") as file:
        file.write(b"later" * 1024)
    bench.point()
    assert bench.plan(point).blocked, "how much of a version that is no longer in the tree is data, nobody can say"


@pytest.mark.root
def test_a_file_system_that_is_not_mounted_is_refused(mounted: BootBench) -> None:
    bench = mounted
    point = bench.point()
    home = Path(bench.live, "home")
    subprocess.run(["umount", str(home)], check=True)
    try:
        blocked = texts(bench.plan(point, "fs=/home").findings, "blocker")
        assert any("nothing is mounted at" in t and t.endswith("into the directory there") for t in blocked), blocked
    finally:
        # Something to unmount for the fixture.
        subprocess.run(["mount", "--bind", str(home), str(home)], check=True)


# --- the safety point ---


def test_without_a_safety_point_what_was_overwritten_is_kept_all_the_same(mbr: BootBench) -> None:
    point = mbr.point()
    mbr.ruin(CODE)
    mbr.roll(point, safety_point=False)
    kept = next(Path(mbr.store, "rollback-boot").iterdir())
    assert (kept / "disk-1.sector0").read_bytes() == mbr.now[:512]
    with pytest.raises(RefusedError, match="took no safety point"):
        mbr.engine().undo(Job())
    assert mbr.engine().snapshot(SnapshotRequest(), Job()).point.number == 2


