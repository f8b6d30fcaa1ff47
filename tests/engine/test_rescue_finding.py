"""A look at the disks of a rescue system: stores and systems on loop devices, what cannot be read, nothing written."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.config import Config, Retention
from engine.errors import CancelledError, UsageError
from engine.events import Job
from engine.rescue.finding import is_share, survey
from engine.rescue.survey import Survey
from engine.results import SnapshotRequest
from engine.service import Engine
from tests.engine.harness import CHECKOUT, child_env
from tests.engine.loops import Loops, loops, run, uuid_of

pytestmark = pytest.mark.root

MACHINE_ID = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Loops]:
    with loops(tmp_path) as all_of_them:
        yield all_of_them


def system(root: Path, host: str = "web1", machine_id: str = MACHINE_ID) -> None:
    """Write what a system is known by."""
    for name, text in {"etc/fstab": "UUID=x / ext4 defaults 0 1\n", "etc/hostname": f"{host}\n",
                       "etc/machine-id": f"{machine_id}\n", "etc/passwd": "root:x:0:0::/root:/bin/sh\n",
                       "usr/lib/os-release": 'NAME=Debian\nPRETTY_NAME="Debian 12"\n',
                       "lib/modules/6.1.0-9/modules.dep": ""}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    if not os.path.lexists(root / "etc/os-release"):
        (root / "etc/os-release").symlink_to("../usr/lib/os-release")


def store(path: Path, root: Path, comment: str = "", points: int = 1) -> list[str]:
    """Make a store of the tree at `root` and return the ids of its points."""
    path.parent.mkdir(parents=True, exist_ok=True)
    engine = Engine(Config(store=str(path), root=str(root), excludes=(), retention=Retention(max_store_ratio=None)))
    return [engine.snapshot(SnapshotRequest(comment), Job()).point.id for _ in range(points)]


def look(*devices: str, seconds: float = 20) -> Survey:
    return survey(Job(), devices=devices, seconds=seconds)


def bytes_of(device: str) -> str:
    with open(device, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_system_and_a_store_are_found_and_the_disk_is_not_written(made: Loops, tmp_path: Path, kind: str) -> None:
    disk = made.make(kind, "-L", "data disk" if kind == "ext4" else "data")
    where = made.mount(disk, tmp_path / "disk")
    system(where)
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/a").write_text("a")
    ids = store(where / "backup/web1/store", tmp_path / "tree", "two of them", points=2)
    made.umount(where)
    before = bytes_of(disk)
    found = look(disk)
    assert bytes_of(disk) == before
    assert found.unreadable == () and [f.device for f in found.file_systems] == [disk]
    on = found.file_systems[0]
    assert (on.fstype, on.uuid, on.size) == (kind, uuid_of(disk), os.path.getsize(tmp_path / "image0"))
    assert on.label == ("data disk" if kind == "ext4" else "data")
    (one,) = found.systems
    assert (one.on, one.within, one.name, one.host, one.machine_id, one.kernels, one.has_fstab) == (
        on, "", "Debian 12", "web1", MACHINE_ID, ("6.1.0-9",), True)
    (kept,) = found.stores
    assert (kept.name, kept.count, kept.problem) == (f"{disk}:/backup/web1/store", 2, "")
    assert [p.id for p in kept.points] == ids[::-1]
    assert kept.newest is not None and kept.newest.comment == "two of them" and kept.newest.sources[0].plain


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs"])
def test_a_journal_that_was_not_replayed_stays_as_it_is(made: Loops, tmp_path: Path, kind: str) -> None:
    """The disk of a machine whose power was cut, as an image of it taken while it was mounted."""
    disk = made.make(kind)
    where = made.mount(disk, tmp_path / "disk")
    system(where)
    made.umount(where)          # what xfs has only in its journal yet is not seen without replaying it
    made.mount(disk, where)
    (where / "etc/late").write_text("x")
    os.sync()
    shutil.copyfile(tmp_path / "image0", tmp_path / "image-cut")
    made.umount(where)
    cut = made.attach(tmp_path / "image-cut")
    made.devices.remove(disk)
    run("losetup", "-d", disk)          # the same UUID twice is more than the kernel's xfs and btrfs bear
    before = bytes_of(cut)
    found = look(cut)
    assert bytes_of(cut) == before
    assert [s.host for s in found.systems] == ["web1"], found


def test_one_that_is_mounted_already_is_seen_through_its_mount(made: Loops, tmp_path: Path) -> None:
    for number, kind in enumerate(("ext4", "btrfs")):
        disk = made.make(kind)
        where = made.mount(disk, tmp_path / f"disk{number}")
        system(where)
        found = look(disk)
        assert [s.host for s in found.systems] == ["web1"], found
        assert found.file_systems[0].mounted == (str(where),)
        (where / "still writable").write_text("x")


def test_systems_in_subvolumes_and_the_store_in_one_of_them(made: Loops, tmp_path: Path) -> None:
    disk = made.make("btrfs")
    top = made.mount(disk, tmp_path / "top")
    for name in ("@", "@home", ".snapshots"):
        run("btrfs", "subvolume", "create", str(top / name))
    system(top / "@")
    system(top / ".snapshots", host="old")
    (tmp_path / "tree").mkdir()
    store(top / "@/var/lib/rollpoint/store", tmp_path / "tree")
    made.umount(top)
    found = look(disk)
    assert [(s.within, s.host) for s in found.systems] == [("@", "web1")]
    assert [s.path for s in found.stores] == ["@/var/lib/rollpoint/store"]


def test_a_store_at_the_top_of_a_disk_and_one_too_deep(made: Loops, tmp_path: Path) -> None:
    disk = made.make()
    where = made.mount(disk, tmp_path / "disk")
    (where / "lost+found").rmdir()
    (tmp_path / "tree").mkdir()
    store(where, tmp_path / "tree")
    shutil.copytree(where, tmp_path / "copy")
    made.umount(where)
    assert [s.name for s in look(disk).stores] == [f"{disk}:/"]
    other = made.make()
    where = made.mount(other, tmp_path / "other")
    (where / "a/b/c").mkdir(parents=True)
    shutil.copytree(tmp_path / "copy", where / "a/b/c/d")
    made.umount(where)
    assert look(other).stores == ()


def test_what_cannot_be_used_is_listed_with_the_reason(made: Loops, tmp_path: Path) -> None:
    disk = made.make()
    where = made.mount(disk, tmp_path / "disk")
    (tmp_path / "tree").mkdir()
    for name in ("newer", "damaged", "half", "other"):
        store(where / name, tmp_path / "tree")
    newer = where / "newer/store.yaml"
    text = newer.read_bytes().rpartition(b"# sha256: ")[0].replace(b"format: 1\n", b"format: 9\n")
    newer.write_bytes(text + b"# sha256: " + hashlib.sha256(text).hexdigest().encode() + b"\n")
    (where / "damaged/store.yaml").write_text("format: 1\n")
    point = next((where / "half/points").iterdir()) / "point.yaml"
    point.write_bytes(point.read_bytes().replace(b"number: 1", b"number: 2"))
    shutil.rmtree(where / "other/tree")                 # a store.yaml of somebody else
    made.umount(where)
    found = {s.path: s for s in look(disk).stores}
    assert sorted(found) == ["damaged", "half", "newer"]
    assert found["newer"].problem == "it has format 9, this Rollpoint knows 1" and found["newer"].format == 9
    assert found["damaged"].problem == "its store.yaml is damaged" and found["damaged"].count == 1
    assert (found["half"].problem, found["half"].count, found["half"].points) == ("", 1, ())


def test_a_broken_file_system_is_no_reason_to_stop(made: Loops, tmp_path: Path) -> None:
    broken, good, empty, swap = made.make(), made.make(), made.make(""), made.make("")
    with open(broken, "r+b") as file:
        file.seek(2048)                     # the descriptors of the block groups
        file.write(b"\xff" * 1024)
    run("mkswap", swap)
    where = made.mount(good, tmp_path / "disk")
    system(where)
    made.umount(where)
    found = look(broken, good, empty, swap)
    assert [(u.on.device, bool(u.why)) for u in found.unreadable] == [(broken, True)]
    assert [s.on.device for s in found.systems] == [good]
    assert [f.device for f in found.file_systems] == [broken, good]


def test_a_closed_container_is_named_with_what_to_do(made: Loops) -> None:
    disk = made.make("")
    header = bytearray(MIB_OF_LUKS)
    with open(disk, "r+b") as file:
        file.write(header)
    found = look(disk)
    assert found.file_systems == ()
    assert any(f"{disk} is an encrypted volume: open it with cryptsetup open {disk}" in n for n in found.notes), found


def test_what_cannot_be_activated_is_a_note(made: Loops, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A tool that fails: the disks are looked at all the same. Without being asked none of them is run."""
    disk = made.make()
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "vgchange").write_text(f"#!/bin/sh\necho \"$@\" > {tmp_path}/called\necho no such device >&2\nexit 5\n")
    (tools / "vgchange").chmod(0o755)
    (tools / "mdadm").write_text(f"#!/bin/sh\necho \"$@\" >> {tmp_path}/called\n")
    (tools / "mdadm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    assert survey(Job(), devices=[disk]).notes == () and not (tmp_path / "called").exists()
    found = survey(Job(), devices=[disk], activate=True)
    assert [n for n in found.notes if "no such device" in n and n.startswith("LVM was not activated")]
    assert (tmp_path / "called").read_text() == "-ay\n--assemble --scan\n"
    assert [f.device for f in found.file_systems] == [disk]


def test_hostile_disks(made: Loops, tmp_path: Path) -> None:
    """Links out of the disk, a FIFO, endless and unprintable names, a document that unfolds, a tree without end."""
    secret = tmp_path / "outside"
    secret.mkdir()
    (secret / "os-release").write_text("PRETTY_NAME=stolen\n")
    disk = made.make()
    where = made.mount(disk, tmp_path / "disk")
    system(where, host="\x1b[31mevil\u202e")
    (where / "usr/lib/os-release").unlink()
    (where / "usr/lib/os-release").symlink_to(secret / "os-release")
    (where / "etc/passwd").unlink()
    os.mkfifo(where / "etc/passwd")
    (where / "loop").symlink_to(".")
    bomb = where / b"s\xff\n".decode("utf-8", "surrogateescape")
    for name in ("points", "tree"):
        (bomb / name).mkdir(parents=True)
    text = b"a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nformat: [*b]\n"
    (bomb / "store.yaml").write_bytes(text + b"# sha256: " + hashlib.sha256(text).hexdigest().encode() + b"\n")
    made.umount(where)
    found = look(disk)
    (one,) = found.systems
    assert (one.name, one.host) == ("", "\\x1b[31mevil\\u202e")
    (kept,) = found.stores
    assert kept.path == "s\udcff\n" and "this Rollpoint knows 1" in kept.problem


def test_a_device_that_does_not_answer_is_given_up(
    made: Loops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """blkid hangs on the first of two disks; the second is looked into all the same."""
    hanging, good = made.make(), made.make()
    where = made.mount(good, tmp_path / "disk")
    system(where)
    made.umount(where)
    tools = tmp_path / "bin"
    tools.mkdir()
    pids = tmp_path / "pids"
    (tools / "blkid").write_text(f"#!/bin/sh\ncase \"$*\" in *{hanging}) echo $$ >> {pids}; exec sleep 600;; esac\n"
                                 f"exec {shutil.which('blkid')} \"$@\"\n")
    (tools / "blkid").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    try:
        found = look(hanging, good, seconds=6)
    finally:
        for pid in pids.read_text().split():
            if os.path.exists(f"/proc/{pid}"):
                os.kill(int(pid), signal.SIGKILL)
    assert [u.on.device for u in found.unreadable] == [hanging]
    assert [s.on.device for s in found.systems] == [good]


def test_a_device_that_is_none_and_a_look_that_is_stopped(made: Loops, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        look("/dev/no-such-disk")
    with pytest.raises(UsageError):
        look("relative")
    job = Job()
    job.cancel()
    with pytest.raises(CancelledError):
        survey(job, devices=[made.make()])


def test_an_image_is_no_device_and_the_error_says_so(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(bytes(4096))
    done = subprocess.run(
        [sys.executable, "-c", "from engine.rescue.finding import survey; from engine.events import Job; import sys\n"
         "from engine.errors import RollpointError\n"
         "try: survey(Job(), devices=sys.argv[1:])\n"
         "except RollpointError as e: print(e.hint)", str(tmp_path / "image")],
        cwd=CHECKOUT, env=child_env(), capture_output=True, text=True)
    assert "block devices" in done.stdout, done


@pytest.mark.parametrize(("text", "share"), [("nas:/export/a", True), ("[fe80::1]:/x", True), ("/dev/sda1:/x", False),
                                             ("UUID=1-2", False), ("nas", False)])
def test_what_is_an_nfs_share(text: str, share: bool) -> None:
    assert is_share(text) is share


# The beginning of a LUKS1 header (cryptsetup, docs/on-disk-format.pdf): magic, version, names, UUID at byte 168.
MIB_OF_LUKS = (b"LUKS\xba\xbe\x00\x01" + b"aes".ljust(32, b"\0") + b"xts-plain64".ljust(32, b"\0")
               + b"sha256".ljust(32, b"\0") + bytes(64) + b"12345678-1234-1234-1234-123456789abc".ljust(40, b"\0"))
