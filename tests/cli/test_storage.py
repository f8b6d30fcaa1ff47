"""The command line on points that a real btrfs keeps, beside those of the replica."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Ran, Run
from tests.cli.test_vms_points import runs
from tests.engine.btrfs_machine import BtrfsMachine
from tests.engine.loops import loops
from tests.vm_trees import config, image

pytestmark = pytest.mark.root


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[BtrfsMachine]:
    with loops(tmp_path) as made:
        yield BtrfsMachine(made, tmp_path)


@pytest.fixture
def rp(machine: BtrfsMachine, run: Run) -> Callable[..., Ran]:
    """Return a function that runs a command about the machine; it must end well unless told otherwise."""
    config = machine.place / "config.yaml"
    config.write_text("excludes: []\nretention: {max_store_ratio: null, min_age: 0, min_keep: 1, max_age: 0}\n"
                      f"btrfs: {{subvolumes: [{machine.root}, {machine.root}/home]}}\n")
    config.chmod(0o644)

    def command(*words: str, code: int = 0) -> Ran:
        where = ("--config", str(config), "--store", machine.config.store, "--root", str(machine.root))
        ran = run(*where, *words, bare=True)
        assert ran.code == code, ran.err
        assert "Traceback" not in ran.err
        return ran

    return command


def test_disks_of_a_vm_from_a_snapshot(machine: BtrfsMachine, rp: Callable[..., Ran], tmp_path: Path,
                                       monkeypatch: pytest.MonkeyPatch) -> None:
    """Covered, brought back, refused; a backend that fails is named, and what nothing else holds is in doubt."""
    runs(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    disk = image(machine.root, "a.img", size=4 << 20, data=1 << 16)
    config(machine.root, 1, OVM_simple_name="web", disk=[f"file:{disk},xvda,w", "phy:/dev/vg/raw,xvdb,w"])
    assert "there are no restore points here" in rp("vms", "show", "web").out
    before = (machine.root / disk[1:]).read_bytes()
    point = rp("snapshot", "--backend", "btrfs", "--json").document["id"]
    shown = rp("vms", "show", "web")
    assert f"  xvda: 1 point of btrfs, the newest {point}, with the file system that it lies on\n" in shown.out
    assert "xvdb: NOT HELD: on a device" in shown.out
    ran = rp("vms", "check", code=3)        # xvdb is not there
    assert "note: no restore point holds xvdb of web" in ran.err + ran.out
    checked = rp("vms", "check", "--json", code=3).document
    assert checked["not_held"] == [{"machine": "web", "parts": ["xvdb"]}]
    (machine.root / disk[1:]).write_bytes(b"broken")
    words = ("vms", "restore", "web", "--from", point, "--disks", "--yes")
    runs(tmp_path, f"0004fb0000060000{1:016x}")
    assert "web runs" in rp(*words, code=5).err and (machine.root / disk[1:]).read_bytes() == b"broken"
    runs(tmp_path)
    done = rp(*words, "--json").document
    assert done["result"]["devices"] == ["xvda"] and (machine.root / disk[1:]).read_bytes() == before
    ran = rp("--store", str(tmp_path / "none"), "vms", "show", "web")
    assert f"1 point of btrfs, the newest {point}" in ran.out
    working = (machine.place / "config.yaml").read_text()
    (machine.place / "config.yaml").write_text(f"btrfs: {{subvolumes: [{machine.root}/etc]}}\n")
    (machine.root / "etc").mkdir(exist_ok=True)
    ran = rp("vms", "show", "web", code=3)
    assert "not all restore points could be asked: btrfs: " in ran.err
    assert "xvda: NOT HELD: no restore point that could be asked holds it" in ran.out
    (machine.place / "config.yaml").write_text(working)
    rp("snapshot")
    shown = rp("vms", "show", "web")
    assert "  xvda: 2 points, the newest " in shown.out and f"    btrfs: 1 point, the newest {point}" in shown.out
    assert "    replica: 1 point, the newest " in shown.out


def ids(ran: Ran) -> list[str]:
    return [point["id"] for point in ran.document["points"]]


def test_one_list_with_the_facts_of_each_backend(machine: BtrfsMachine, rp: Callable[..., Ran]) -> None:
    taken: dict[str, Any] = rp("snapshot", "--backend", "btrfs", "-m", "mine", "--tag", "t", "--pin", "--json").document
    assert taken["backend"] == "btrfs" and taken["number"] == 0 and taken["pinned"] and taken["tags"] == ["t"]
    first = rp("list", "--json").document
    assert [p["id"] for p in first["points"]] == [taken["id"]]
    assert first["troubles"] == []      # that there is no store is no trouble for who only wants these
    kept = rp("snapshot", "--json").document
    document = rp("list", "--json").document
    assert document["troubles"] == []
    points = {p["id"]: p for p in document["points"]}
    assert set(points) == {taken["id"], kept["id"]}
    parts = points[taken["id"]]["btrfs"]["parts"]
    assert [(p["place"], p["volume"]) for p in parts] == [("/", str(machine.root)), ("/home", f"{machine.root}/home")]
    assert parts[0]["facts"]["read_only"] is True and len(parts[0]["facts"]["uuid"]) == 36
    assert "btrfs" not in points[kept["id"]] and "owner" not in points[kept["id"]]
    text = rp("list").out
    assert "btrfs: " in text and taken["id"] in text and "pinned, #t" in text
    assert ids(rp("list", "--backend", "btrfs", "--json")) == [taken["id"]]
    assert ids(rp("list", "--backend", "replica", "--json")) == [kept["id"]]
    assert rp("show", "latest", "--json").document["id"] == kept["id"]
    assert rp("show", "latest", "--backend", "btrfs", "--json").document["id"] == taken["id"]
    assert "Taken by   Rollpoint" in rp("show", taken["id"]).out
    assert rp("show", "latest", "--backend", "tape", code=2).err


def test_the_verbs_that_look(machine: BtrfsMachine, rp: Callable[..., Ran]) -> None:
    machine.write("etc/conf", "one\n")
    point = rp("snapshot", "--backend", "btrfs", "--json").document["id"]
    machine.write("etc/conf", "two, longer\n")
    assert [e["path"] for e in rp("ls", point, "/etc", "--json").document["entries"]] == [
        "/etc/conf", "/etc/fstab", "/etc/machine-id"]
    assert rp("cat", point, "/etc/conf").out == "one\n"
    assert "M  /etc/conf" in rp("diff", point, "/etc").out
    assert "-one" in rp("diff", point, "/etc/conf").out
    assert [e["path"] for e in rp("find", "conf", "--in", point, "--json").document["found"]] == ["/etc/conf"]
    assert [v["first"] for v in rp("history", "/etc/conf", "--backend", "btrfs", "--json").document["versions"]] == [
        point]
    rp("restore", point, "--to", str(machine.place / "out"), "/etc/conf")
    assert (machine.place / "out/etc/conf").read_text() == "one\n"
    assert "btrfs scrub" in rp("verify", point, code=5).err
    assert "no boot sectors" in rp("boot", "show", point, code=5).err
    rp("comment", point, "words")
    assert rp("show", point, "--json").document["comment"] == "words"
    assert point in rp("pin", point).out


def test_both_ways_back_are_explained_and_done(machine: BtrfsMachine, rp: Callable[..., Ran]) -> None:
    machine.write("home/file", "then")
    point = rp("snapshot", "--backend", "btrfs", "--json").document["id"]
    machine.write("home/file", "now")
    dry = rp("rollback", point, "--dry-run").out
    assert "two ways back" in dry and "content (this one)" in dry and "native" in dry and "@home.before-" in dry
    document = rp("rollback", point, "--dry-run", "--json").document
    assert document["native"]["commands"] and [c["path"] for c in document["plan"]["changes"]] == ["/home/file"]
    assert "yes" in rp("rollback", point, code=6).err + rp("rollback", point, "--way", "native", code=6).err
    assert (machine.root / "home/file").read_text() == "now"
    # 3: the toy machine has no boot loader, which it is warned of
    done = rp("rollback", point, "--yes", "--json", code=3).document
    assert done["result"]["verified"] and done["result"]["safety_point"]["backend"] == "btrfs"
    assert (machine.root / "home/file").read_text() == "then"
    rp("rollback", "--undo", "--yes", code=3)
    assert (machine.root / "home/file").read_text() == "now"
    native = rp("rollback", point, "--way", "native", "--dry-run").out
    assert "mounted again" in native and "mv --exchange" in native
    said = rp("rollback", point, "--way", "native", "--yes", "--json").document
    assert said["done"] and (machine.root / "home/file").read_text() == "now"
    machine.mount()
    assert (machine.root / "home/file").read_text() == "then"


def test_what_does_not_go_together_is_refused(machine: BtrfsMachine, rp: Callable[..., Ran]) -> None:
    point = rp("snapshot", "--backend", "btrfs", "--json").document["id"]
    number = str(rp("snapshot", "--json").document["number"])
    assert "'sideways'" in rp("rollback", point, "--way", "sideways", code=2).err
    assert rp("rollback", point, "--way", "native", "--scope", "path=/etc", "--yes", code=2).err
    assert "no volume" in rp("rollback", number, "--way", "native", "--yes", code=5).err
    assert "adopt" in rp("rollback", point, "--adopt", "--yes", code=2).err


def test_pruning_and_deleting(machine: BtrfsMachine, rp: Callable[..., Ran]) -> None:
    points = [rp("snapshot", "--backend", "btrfs", "--json").document["id"] for _ in range(3)]
    fates = {f["id"]: f for f in rp("prune", "--dry-run", "--json").document["fates"]}
    assert [fates[p]["keep"] for p in points] == [False, False, True]
    assert fates[points[0]]["rule"].startswith("older than")
    rp("pin", points[0])
    assert rp("prune", "--yes", "--json").document["removed"] == [points[1]]
    machine.loops.mount(machine.device, machine.place / "seen", "-o", f"ro,subvol=.rollpoint/{points[0]}/home")
    failed = rp("delete", points[0], "--yes", code=3)
    assert "CANNOT BE REMOVED" in failed.out and str(machine.place / "seen") in failed.out
    machine.loops.umount(machine.place / "seen")
    assert rp("delete", points[0], "--yes", "--json").document["removed"] == [points[0]]
    assert ids(rp("list", "--backend", "btrfs", "--json")) == [points[2]]


def test_deleting_says_what_it_frees_at_least(machine: BtrfsMachine, rp: Callable[..., Ran]) -> None:
    machine.write("home/user/large", "x" * (3 << 20))
    point = rp("snapshot", "--backend", "btrfs", "--json").document["id"]
    (machine.root / "home/user/large").unlink()
    assert "btrfs: deleting these frees at least 3.0 MiB" in rp("delete", point, "--yes").out
    point = rp("snapshot", "--backend", "btrfs", "--json").document["id"]
    [losses] = rp("delete", point, "--yes", "--json").document["losses"]
    assert (losses["freed"], losses["at_least"]) == (0, True)


def test_doctor_says_how_the_storage_stands(machine: BtrfsMachine, rp: Callable[..., Ran],
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    rp("snapshot", "--backend", "btrfs")
    ran = rp("doctor", code=3)
    assert "no store at" in ran.err and "ok: btrfs: btrfs-progs v" in ran.out
    assert "; 1 snapshot, the newest good one taken 0 days, 0 hrs, 0 minutes ago" in ran.out
    assert "ok: zfs: not asked, " in ran.out and "ok: lvm: not asked, " in ran.out
    tools = machine.place / "tools"
    tools.mkdir()
    for name in ("rsync", "tar", "zstd", "mount", "umount", "unshare", "nsenter", "sh", "cat", "sleep"):
        (tools / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setattr("engine.run.environment", lambda: {"PATH": str(tools), "LC_ALL": "C"})
    ran = rp("doctor", code=3)
    assert "btrfs: snapshots can neither be taken nor removed: " in ran.err and "install btrfs-progs" in ran.err
    assert "its version is not known; 1 snapshot" in ran.out


def test_a_point_is_mounted_and_unmounted(machine: BtrfsMachine, rp: Callable[..., Ran]) -> None:
    machine.write("home/file", "then")
    point = rp("snapshot", "--backend", "btrfs", "--json").document["id"]
    where = machine.place / "shown"
    where.mkdir()
    assert point in rp("mount", point, str(where)).out
    assert (where / "home/file").read_text() == "then"
    rp("umount", str(where))
    assert os.listdir(where) == []
