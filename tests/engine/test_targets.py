"""A rollback acts on the file systems that the point recorded, and on no other, whatever fstab says: loop devices."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.config import Config, Retention
from engine.errors import RefusedError
from engine.events import Job
from engine.results import SnapshotRequest
from engine.service import Engine
from tests.engine.loops import MACHINE_ID, Loops, Machine, loops, run, uuid_of
from tests.oracle import must_equal, record

pytestmark = pytest.mark.root

@pytest.fixture
def made(tmp_path: Path) -> Iterator[Loops]:
    with loops(tmp_path) as all_of_them:
        yield all_of_them


@pytest.fixture
def machine(made: Loops, tmp_path: Path) -> Machine:
    return Machine(made, tmp_path)


def test_a_point_records_what_each_file_system_is(machine: Machine) -> None:
    sources = machine.point().doc["sources"]
    assert [(s["mount"], s["type"], s["uuid"]) for s in sources] == [
        ("/", "ext4", uuid_of(machine.devices[""])), ("/boot", "ext4", uuid_of(machine.devices["boot"])),
        ("/boot/efi", "ext2", uuid_of(machine.devices["boot/efi"]))]


@pytest.mark.parametrize("broken", ["missing", "garbage", "without boot"])
def test_whatever_has_become_of_fstab_the_recorded_file_systems_come_back(machine: Machine, broken: str) -> None:
    point, then = machine.point(), record(str(machine.root))
    fstab = machine.root / "etc/fstab"
    fstab.unlink()
    if broken != "missing":
        fstab.write_text("\0\xff nonsense\n" if broken == "garbage" else machine.fstab().splitlines()[0])
    (machine.root / "boot/vmlinuz-1").write_text("ruined")
    (machine.root / "boot/efi/loader").unlink()
    (machine.root / "boot/efi/more").write_text("since")
    ruined = record(str(machine.root))
    done = machine.roll(point)
    assert done.verified
    must_equal(then, record(str(machine.root)), "not all of it came back")
    # The point that was taken for safety holds /boot too, though the broken fstab does not name it.
    assert machine.engine().undo(Job()).verified
    must_equal(ruined, record(str(machine.root)), "undo did not bring all of it back")


def test_what_has_changed_since_is_seen_in_the_recorded_file_systems(machine: Machine) -> None:
    """Without fstab, and without the machine id by which it was known."""
    point = machine.point()
    shutil.rmtree(machine.root / "etc")
    (machine.root / "boot/vmlinuz-1").write_text("ruined")
    machine.mount("mnt")
    changes = {c.path: c.status.name for c in machine.engine().diff(point, None, (), Job()).changes}
    assert changes.pop(b"boot/vmlinuz-1") == "CHANGED"
    assert {p for p, s in changes.items() if s == "DELETED"} == {b"etc", b"etc/fstab", b"etc/hosts", b"etc/machine-id"}
    assert not any(p.startswith(b"boot") for p in changes)
    machine.mount("elsewhere", [])
    machine.root.mkdir()
    with pytest.raises(RefusedError):
        machine.engine().diff(point, None, (), Job())


def test_without_boot_mounted_nothing_is_written_below_its_mount_point(machine: Machine) -> None:
    point = machine.point()
    machine.mount("mnt", [""])
    (machine.root / "etc/hosts").write_text("since\n")
    blockers = machine.blockers(point)
    assert len(blockers) == 2 and all("nothing is mounted at" in b for b in blockers), blockers
    assert f"mount UUID={uuid_of(machine.devices['boot'])} {machine.root}/boot" in blockers[0]
    with pytest.raises(RefusedError, match="nothing is mounted"):
        machine.roll(point)
    assert os.listdir(machine.root / "boot") == []
    # The admin may leave it out.
    assert machine.blockers(point, "fs=/") == []
    assert machine.roll(point, "fs=/").verified
    assert (machine.root / "etc/hosts").read_text() == "then\n"
    assert os.listdir(machine.root / "boot") == []


def test_a_path_needs_the_file_systems_that_it_lies_on_and_no_others(machine: Machine) -> None:
    point = machine.point()
    machine.mount("mnt", [""])
    (machine.root / "etc/hosts").write_text("since\n")
    assert machine.blockers(point, "path=/etc") == []
    assert len(machine.blockers(point, "path=/boot/efi/loader")) == 1
    assert len(machine.blockers(point, "boot")) == 2
    assert machine.roll(point, "path=/etc").verified
    assert (machine.root / "etc/hosts").read_text() == "then\n"


def test_another_file_system_in_its_place_is_refused(machine: Machine, made: Loops) -> None:
    point = machine.point()
    wrong = machine.devices["boot"] = made.make()
    machine.mount()
    (machine.root / "boot/mine").write_text("other")
    blockers = machine.blockers(point)
    assert any(uuid_of(wrong) in b and "--adopt" in b for b in blockers), blockers
    with pytest.raises(RefusedError):
        machine.roll(point)
    assert (machine.root / "boot/mine").read_text() == "other"


def test_the_same_file_system_of_another_type_is_refused(machine: Machine, made: Loops) -> None:
    point = machine.point()
    uuid = uuid_of(machine.devices["boot"])
    machine.devices["boot"] = made.make("xfs", "-m", f"uuid={uuid}")
    machine.mount(only=["", "boot"])
    assert any("it is xfs, recorded is ext4" in b for b in machine.blockers(point))


def test_a_file_system_that_is_mounted_read_only_is_refused_before_anything_is_written(machine: Machine) -> None:
    point = machine.point()
    run("mount", "-o", "remount,ro", str(machine.root / "boot"))
    assert machine.blockers(point) == []        # nothing in it would change
    (machine.root / "etc/hosts").write_text("since\n")
    assert machine.blockers(point) == []
    run("mount", "-o", "remount,rw", str(machine.root / "boot"))
    (machine.root / "boot/vmlinuz-1").write_text("ruined")
    run("mount", "-o", "remount,ro", str(machine.root / "boot"))
    assert any(f"{machine.root}/boot is mounted read-only" in b for b in machine.blockers(point))
    run("mount", "-o", "remount,rw", str(machine.root / "boot"))
    assert machine.roll(point).verified


def test_a_root_that_nobody_has_mounted_is_refused(machine: Machine) -> None:
    point = machine.point()
    machine.mount("mnt", [])
    machine.root.mkdir()
    (machine.root / "etc").mkdir()
    (machine.root / "etc/machine-id").write_text(MACHINE_ID)     # as if somebody had copied it
    assert any("of a whole file system" in b for b in machine.blockers(point))


def test_another_root_with_the_same_machine_id_is_refused(machine: Machine, made: Loops) -> None:
    """A clone that was made anew: it says that it is the same machine, but it is another disk."""
    point = machine.point()
    machine.devices[""] = made.make()
    machine.mount("mnt", [""])
    (machine.root / "etc").mkdir()
    (machine.root / "etc/machine-id").write_text(MACHINE_ID)
    assert any("its UUID is" in b for b in machine.blockers(point))


def test_a_root_that_lost_its_etc_is_known_by_its_file_system(machine: Machine) -> None:
    point, then = machine.point(), record(str(machine.root))
    machine.mount("mnt")
    shutil.rmtree(machine.root / "etc")
    # Its boot disks are looked for as well, though it has no fstab that says that it is a system.
    findings = [f.text for f in machine.plan(point, "system").findings]
    assert any("the recorded disk" in f for f in findings) and not any("plain directory" in f for f in findings)
    done = machine.roll(point)
    assert done.verified
    must_equal(then, record(str(machine.root)), "not all of it came back")


def test_a_disk_that_was_added_since_is_left_alone(machine: Machine, made: Loops) -> None:
    """It is in fstab by now, and the point has neither its files nor its mount point."""
    point = machine.point()
    (machine.root / "srv").mkdir()
    with (machine.root / "etc/fstab").open("a") as file:
        file.write("/dev/new /srv/data ext4 defaults 0 2\n")
    data = made.mount(made.make(), machine.root / "srv/data")
    (data / "precious").write_text("data")
    plan = machine.plan(point)
    assert not any(c.path.startswith(b"srv") for c in plan.diff.changes)
    assert any("/srv/data is a file system that the point does not know" in f.text for f in plan.findings)
    assert machine.roll(point).verified
    assert (data / "precious").read_text() == "data"
    assert "/srv/data" not in (machine.root / "etc/fstab").read_text()
    assert machine.engine().undo(Job()).verified
    assert (data / "precious").read_text() == "data"
    assert "/srv/data" in (machine.root / "etc/fstab").read_text()


def test_a_directory_that_became_a_file_system_since_is_not_written_below_it(machine: Machine, made: Loops) -> None:
    (machine.root / "home").mkdir()
    (machine.root / "home/a").write_text("then")
    point = machine.point()
    home = made.mount(made.make(), machine.root / "home")
    (home / "b").write_text("mine")
    assert any("/home is a file system of its own now" in b for b in machine.blockers(point))
    assert machine.blockers(point, "path=/etc") == []
    made.umount(home)
    assert machine.blockers(point) == []


def test_a_rollback_that_is_resumed_looks_at_the_disks_again(machine: Machine, made: Loops) -> None:
    """Interrupted, then a restart: this time only the root was mounted."""
    from engine import rollback, scopes

    point, then = machine.point(), record(str(machine.root))
    (machine.root / "boot/vmlinuz-1").write_text("ruined")
    engine = machine.engine()
    scope = scopes.resolve(("files",), engine.config, point)
    rollback.begin(engine._store, engine.config, point, scope, None)
    boot = machine.devices["boot"]
    machine.mount(only=[""])
    with pytest.raises(RefusedError, match="nothing is mounted"):
        machine.engine().resume(Job())
    assert os.listdir(machine.root / "boot") == []
    machine.devices["boot"] = boot
    machine.mount()
    assert machine.engine().resume(Job()).verified
    must_equal(then, record(str(machine.root)), "not all of it came back")


def test_a_rollback_is_known_by_its_file_system_wherever_it_is_mounted(machine: Machine) -> None:
    """Begun on the running system, taken back on a rescue system, where the root is mounted at another place."""
    point = machine.point()
    (machine.root / "etc/hosts").write_text("since\n")
    machine.roll(point)
    machine.mount("mnt")
    assert machine.engine().undo(Job()).verified
    assert (machine.root / "etc/hosts").read_text() == "since\n"


def test_the_safety_point_leaves_out_what_the_point_left_out(machine: Machine) -> None:
    """On a rescue system nobody has the configuration of the machine."""
    (machine.root / "big").mkdir()
    (machine.root / "big/data").write_text("x")
    config = replace(machine.engine().config, excludes=("/big/*",), databases=("/db",))
    point = Engine(config).snapshot(SnapshotRequest(), Job()).point
    (machine.root / "etc/hosts").write_text("since\n")
    safety = machine.roll(point).safety_point
    assert safety is not None and (safety.doc["excludes"], safety.doc["databases"]) == (["/big/*"], ["/db"])
    assert not (machine.store / "tree/big/data").exists() and (machine.root / "big/data").exists()


def test_btrfs_subvolumes_are_recorded_and_another_one_is_refused(made: Loops, tmp_path: Path) -> None:
    device = made.make("btrfs")
    top = made.mount(device, tmp_path / "top")
    run("btrfs", "subvolume", "create", str(top / "@"))
    run("btrfs", "subvolume", "create", str(top / "@home"))
    root = made.mount(device, tmp_path / "root", "-o", "subvol=@")
    made.mount(device, root / "home", "-o", "subvol=@home")
    (root / "etc").mkdir()
    (root / "etc/fstab").write_text("LABEL=x / btrfs subvol=@ 0 0\nLABEL=x /home btrfs subvol=@home 0 0\n")
    (root / "etc/machine-id").write_text(MACHINE_ID)
    (root / "home/a").write_text("then")
    config = Config(store=str(tmp_path / "store"), root=str(root), excludes=(),
                    retention=Retention(max_store_ratio=None))
    point = Engine(config).snapshot(SnapshotRequest(), Job()).point
    assert [(s["mount"], s.get("within")) for s in point.doc["sources"]] == [("/", "@"), ("/home", "@home")]
    (root / "home/a").write_text("since")
    plan = Engine(config).plan(point, ("files",), Job())
    assert not plan.blocked
    assert Engine(config).rollback(plan, Job()).verified and (root / "home/a").read_text() == "then"
    # The top of the same file system where the subvolume @ was: a rollback would put a system beside the subvolumes.
    made.umount(root)
    made.mount(device, root)
    (root / "etc").mkdir()
    (root / "etc/machine-id").write_text(MACHINE_ID)
    findings = Engine(config).plan(point, ("files",), Job()).findings
    assert any("recorded is /@" in f.text for f in findings if f.level == "blocker")


def test_a_bound_directory_comes_back_where_it_was_bound_from(machine: Machine, made: Loops) -> None:
    data = made.mount(made.make(), machine.place / "data")
    (data / "web").mkdir()
    (data / "web/index").write_text("then")
    with (machine.root / "etc/fstab").open("a") as file:
        file.write("/data/web /srv none bind 0 0\n")
    made.mount(str(data / "web"), machine.root / "srv", "--bind")
    point = machine.point()
    assert point.doc["sources"][-1]["mount"] == "/srv" and point.doc["sources"][-1]["within"] == "web"
    (data / "web/index").write_text("since")
    assert machine.roll(point).verified and (data / "web/index").read_text() == "then"
    made.umount(machine.root / "srv")
    made.mount(str(data), machine.root / "srv", "--bind")
    assert any("recorded is /web" in b for b in machine.blockers(point))


def test_a_plain_directory_needs_no_file_system_of_its_own(tmp_path: Path, made: Loops) -> None:
    """Also on another file system than before, as when a project moves to a new disk."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "a").write_text("then")
    config = Config(store=str(tmp_path / "store"), root=str(root), excludes=(),
                    retention=Retention(max_store_ratio=None))
    point = Engine(config).snapshot(SnapshotRequest(), Job()).point
    assert point.doc["sources"][0]["plain"] is True
    made.mount(made.make(), root)
    (root / "a").write_text("since")
    (root / "lost+found").rmdir()
    plan = Engine(config).plan(point, ("system",), Job())
    assert not plan.blocked, plan.findings
    assert Engine(config).rollback(plan, Job()).verified and (root / "a").read_text() == "then"
