"""Repositories of every layout on trees of our own: what is found, measured, and not read; hostile trees too."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from engine.errors import CancelledError, UsageError
from engine.events import Job
from engine.vms.inventory import Inventory, scan
from engine.vms.places import (
    DRIVE,
    EMPTY,
    FILE,
    ISO,
    LOGICAL,
    NETWORK,
    PHYSICAL,
    VOLUME,
    DiskState,
)
from engine.vms.repositories import DIRECTORY, OVM2, OVM3
from engine.vms.statements import MAX_BYTES
from tests.vm_trees import OTHER, REPO, config, image, look, repo_path

SIMPLE = "name = 'guest'\nmemory = 64\ndisk = []\n"


def names(inventory: Inventory) -> list[str]:
    return [machine.name for machine in inventory.machines]


def unread(inventory: Inventory) -> dict[str, str]:
    return {os.fsdecode(one.config): one.why for one in inventory.unread}


def states_of(tree: Path, *specs: str) -> tuple[DiskState, ...]:
    """What is found of the disks of one VM."""
    config(tree, 1, disk=list(specs))
    return look(tree).machines[0].disks


# --- layouts ---
def test_oracle_vm_3(tmp_path: Path) -> None:
    one = image(tmp_path, "one.img", size=10 << 20, data=1 << 20)
    config(tmp_path, 1, disk=[f"file:{one},xvda,w"], OVM_simple_name="web 1")
    config(tmp_path, 2, template=True)
    config(tmp_path, 3, repository=OTHER)
    (repo_path(tmp_path) / "VirtualMachines/pool").mkdir()
    (repo_path(tmp_path) / "VirtualMachines/pool/ovspoolfs.img").touch()
    (repo_path(tmp_path) / ".ovsrepo").write_bytes(b"OVS_REPO_UUID=x\nOVS_REPO_ALIAS = gold \xff\nJUNK\n")
    found = look(tmp_path)
    assert [(m.name, m.template) for m in found.machines] == [("vm3", False), ("web 1", False), ("vm2", True)]
    assert [(os.fsdecode(r.path), r.kind, r.alias) for r in found.repositories] == [
        (f"OVS/Repositories/{REPO}", OVM3, "gold \udcff"), (f"OVS/Repositories/{OTHER}", OVM3, "")]
    assert not found.unread and not found.troubles and found.complete


def test_oracle_vm_2_behind_its_link(tmp_path: Path) -> None:
    pool = tmp_path / "var/ovs/mount/0123456789ABCDEF"
    for where in ("running_pool/1_web", "seed_pool/OL5"):
        (pool / where).mkdir(parents=True)
        (pool / where / "vm.cfg").write_text(f"name='{where[-3:]}'\ndisk=['file:/OVS/{where}/System.img,xvda,w']\n")
        (pool / where / "System.img").write_bytes(b"x" * 5000)
    (pool / "sharedDisk").mkdir()
    (pool / "sharedDisk/quorum").touch()
    (tmp_path / "OVS").symlink_to("var/ovs/mount/0123456789ABCDEF")
    found = look(tmp_path)
    assert [(r.kind, os.fsdecode(r.path)) for r in found.repositories] == [(OVM2, "var/ovs/mount/0123456789ABCDEF")]
    assert [(m.name, m.template) for m in found.machines] == [("web", False), ("OL5", True)]
    assert all(m.disks[0].exists and m.disks[0].apparent == 5000 for m in found.machines)
    assert all(m.disks[0].repository == found.repositories[0].path for m in found.machines)
    assert sorted(os.path.basename(i.path) for i in found.images) == [b"System.img", b"System.img", b"quorum"]


def test_plain_xen(tmp_path: Path) -> None:
    xen = tmp_path / "etc/xen"
    (xen / "auto").mkdir(parents=True)
    (xen / "domU/domU_b").mkdir(parents=True)
    (xen / "guest.cfg").write_text(SIMPLE)
    (xen / "old").write_text(SIMPLE.replace("guest", "old"))
    (xen / "auto/guest.cfg").symlink_to("../guest.cfg")
    (xen / "again.cfg").symlink_to("guest.cfg")
    (xen / "domU/domU_b/vm.cfg").write_text(SIMPLE.replace("guest", "b"))
    (xen / "pool.cfg").write_text("name = 'pool'\nsched = 'credit'\n")
    for other in ("xl.conf", "xend-config.sxp", "xmexample1", "README"):
        (xen / other).write_text(SIMPLE)
    (xen / "notes").write_text("to do: more of it\n")
    (xen / "code.cfg").write_text("import os\nname = 'vm%d' % 5\nmemory = 64\n")
    (xen / "binary.cfg").write_bytes(b"\x7fELF\0\0")
    found = look(tmp_path)
    assert names(found) == ["b", "code.cfg", "guest", "old"] and {r.kind for r in found.repositories} == {DIRECTORY}
    assert found.skipped == (b"etc/xen/notes", b"etc/xen/pool.cfg")
    assert unread(found) == {"etc/xen/binary.cfg": "nothing that makes a VM could be read in it"}


def test_exadata_where_disks_are_links_into_the_guest_images(tmp_path: Path) -> None:
    guest = tmp_path / "EXAVMIMAGES/GuestImages/db01.example.com"
    guest.mkdir(parents=True)
    (guest / "System.img").write_bytes(b"x" * 8192)
    (repo_path(tmp_path) / "VirtualDisks").mkdir(parents=True)
    (repo_path(tmp_path) / "VirtualDisks/aa.img").symlink_to("/EXAVMIMAGES/GuestImages/db01.example.com/System.img")
    (guest / "vm.cfg").write_text(
        f"name = 'db01'\nmemory = 64\ndisk = ['file:///OVS/Repositories/{REPO}/VirtualDisks/aa.img,xvda,w']\n")
    (repo_path(tmp_path) / "vm.cfg").symlink_to("/EXAVMIMAGES/GuestImages/db01.example.com/vm.cfg")
    found = look(tmp_path)
    assert names(found) == ["db01"] and not found.unread
    disk = found.machines[0].disks[0]
    assert disk.exists and disk.path == b"EXAVMIMAGES/GuestImages/db01.example.com/System.img" and disk.apparent == 8192
    assert len(found.images) == 1


def test_any_directory_given(tmp_path: Path) -> None:
    (tmp_path / "srv/vms/a").mkdir(parents=True)
    (tmp_path / "srv/vms/a/vm.cfg").write_text(SIMPLE)
    (tmp_path / "srv/vms/b.cfg").write_text(SIMPLE.replace("guest", "b"))
    (tmp_path / "link").symlink_to("/srv/vms")
    assert names(look(tmp_path, ["/srv/vms"])) == ["b", "guest"]
    found = look(tmp_path, ["/link", "/srv/vms", "auto"])
    assert names(found) == ["b", "guest"] and [r.path for r in found.repositories] == [b"srv/vms"]
    for wrong in ("/nowhere", "/srv/vms/b.cfg", "/x\0y"):
        with pytest.raises(UsageError) as caught:
            look(tmp_path, [wrong])
        assert caught.value.hint
    assert look(tmp_path / "srv").machines == ()


# --- disks ---
def test_sizes_are_measured(tmp_path: Path) -> None:
    """GNU du is the judge of what a sparse file takes."""
    target = image(tmp_path, "sparse.img", size=100 << 20, data=300_000)
    disk = states_of(tmp_path, f"file:{target},xvda,w")[0]
    du = ["du", "--block-size=1", str(tmp_path) + target]
    assert disk.apparent == 100 << 20
    assert disk.allocated == int(subprocess.run(du, capture_output=True, check=True).stdout.split()[0]) < 1 << 20
    machine = look(tmp_path).machines[0]
    assert (machine.apparent, machine.allocated) == (disk.apparent, disk.allocated)


@pytest.mark.parametrize(("spec", "kind"), [
    ("file:/a.img,xvda,w", FILE), ("file:/a.iso,xvda,r", ISO), ("file:/a,hdc:cdrom,r", ISO), (",hdc:cdrom,r", EMPTY),
    ("phy:/dev/mapper/3600144f0c17a765000004bd1a0b30001,xvda,w", PHYSICAL), ("phy:/dev/mapper/mpathb,xvda,w", PHYSICAL),
    ("phy:/dev/sdb,xvda,w", PHYSICAL), ("phy:/dev/disk/by-id/scsi-3600,xvda,w", PHYSICAL),
    ("phy:/dev/vg0/lv,xvda,w", LOGICAL), ("phy:/dev/mapper/vg0-lv--x,xvda,w", LOGICAL), ("phy:vg0/lv,xvda,w", LOGICAL),
    ("phy:/dev/zvol/tank/vm,xvda,w", VOLUME), ("phy:/dev/drbd/by-res/r/0,xvda,w", VOLUME),
    ("phy:/dev/drbd1,xvda,w", VOLUME),
    ("drbd:res,xvda,w", NETWORK), ("vdev=xvda,target=rbd:pool/image", NETWORK), ("phy:/dev/cdrom,hdc:cdrom,r", DRIVE)])
def test_kinds_by_name(tmp_path: Path, spec: str, kind: str) -> None:
    disk = states_of(tmp_path, spec)[0]
    assert disk.kind == kind
    assert disk.exists is (None if kind in (EMPTY, NETWORK) else False)
    assert (disk.identity is None) == (kind == EMPTY)


def test_one_thing_under_several_names(tmp_path: Path) -> None:
    """Links, hard links, spellings; and for what is missing the two names of a logical volume."""
    target = image(tmp_path, "a.img")
    os.link(str(tmp_path) + target, repo_path(tmp_path) / "VirtualDisks/hard.img")
    (tmp_path / "short").symlink_to(os.path.dirname(target))
    folder = os.path.dirname(target)
    found = states_of(tmp_path, f"file:{target},xvda,w", f"file:{folder}/hard.img,xvdb,w", "file:/short/a.img,xvdc,w",
                  f"file:///{folder}//../VirtualDisks/a.img,xvdd,w", "phy:/dev/vg-0/lv-x,xvde,w",
                  "phy:/dev/mapper/vg--0-lv--x,xvdf,w", "file:/short/gone.img,xvdg,w", f"file:{folder}/gone.img,xvdh,w",
                  f"file:{folder}/other.img,xvdi,w")
    groups = [disk.identity for disk in found]
    assert len(set(groups[:4])) == 1 and groups[4] == groups[5] and groups[6] == groups[7]
    assert len(set(groups)) == 4


@pytest.mark.root
def test_a_block_device(tmp_path: Path) -> None:
    """A loop device: its size from the kernel, its identity whatever it is called. A node of our own in a tree of our
    own is the second name."""
    backing = tmp_path / "backing"
    with open(backing, "wb") as file:
        file.truncate(3 << 20)
    losetup = ["losetup", "-f", "--show", str(backing)]
    device = subprocess.run(losetup, capture_output=True, check=True, text=True).stdout.strip()
    try:
        number = os.stat(device).st_rdev
        (tmp_path / "tree/dev/mapper").mkdir(parents=True)
        for name in ("dev/mapper/3600144f0c17a765000004bd1a0b30001", "dev/sdx"):
            os.mknod(tmp_path / "tree" / name, 0o060600, number)
        mapper = "phy:/dev/mapper/3600144f0c17a765000004bd1a0b30001,xvda,w"
        found = states_of(tmp_path / "tree", mapper, "phy:sdx,xvdb,w")
    finally:
        subprocess.run(["losetup", "-d", device], check=True)
    facts = [(disk.exists, disk.apparent, disk.allocated, disk.kind) for disk in found]
    assert facts == [(True, 3 << 20, None, PHYSICAL)] * 2
    assert found[0].identity == found[1].identity and found[0].identity is not None


# --- hostile trees ---
def test_links_that_lead_out_are_not_read(tmp_path: Path) -> None:
    outside = tmp_path / "tree/etc/shadow"
    outside.parent.mkdir(parents=True)
    outside.write_text("name = 'stolen'\nmemory = 1\n")
    real = tmp_path / "real"
    real.write_text("name = 'stolen'\nmemory = 1\n")
    tree = tmp_path / "tree"
    machines = repo_path(tree) / "VirtualMachines"
    for number, target in enumerate(("/etc/shadow", "../../../../../etc/shadow", str(real), "vm.cfg", "nowhere")):
        (machines / f"m{number}").mkdir(parents=True)
        (machines / f"m{number}/vm.cfg").symlink_to(target)
    (machines / "dir").symlink_to("/etc")
    (tree / "etc/vm.cfg").write_text("name = 'stolen'\nmemory = 1\n")
    config(tree, 7)
    (machines / "inside").mkdir()
    (machines / "inside/vm.cfg").symlink_to(f"/OVS/Repositories/{REPO}/VirtualMachines/0004fb0000060000{7:016x}/vm.cfg")
    found = look(tree)
    assert names(found) == ["vm7"]
    why = unread(found)
    where = f"OVS/Repositories/{REPO}/VirtualMachines"
    for name in ("m0", "m1", "dir"):
        assert "leads out of the repository" in why[f"{where}/{name}/vm.cfg"]
    assert all(f"{where}/{name}/vm.cfg" in why for name in ("m2", "m3", "m4")) and len(why) == 6
    assert "stolen" not in str(found)


def test_things_that_are_no_files(tmp_path: Path) -> None:
    """A FIFO would wait for ever; a directory, a socket and a file that is too long are told apart."""
    machines = repo_path(tmp_path) / "VirtualMachines"
    for name in ("fifo", "folder", "long", "socket"):
        (machines / name).mkdir(parents=True)
    os.mkfifo(machines / "fifo/vm.cfg")
    (machines / "folder/vm.cfg").mkdir()
    (machines / "long/vm.cfg").write_bytes(b"#" * (MAX_BYTES + 1))
    before = os.getcwd()
    os.chdir(machines / "socket")
    try:
        socket.socket(socket.AF_UNIX).bind("vm.cfg")
    finally:
        os.chdir(before)
    os.mkfifo(machines / "a-fifo")
    (machines.parent / "VirtualDisks").mkdir()
    os.mkfifo(machines.parent / "VirtualDisks/pipe.img")
    found = look(tmp_path)
    why = {os.path.basename(os.path.dirname(path)): text for path, text in unread(found).items()}
    assert set(why) == {"fifo", "folder", "long", "socket"} and "longer" in why["long"]
    assert {why[name] for name in ("fifo", "folder", "socket")} == {"it is no regular file"}
    assert found.images == () and not found.complete


def test_disks_that_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to("loop")
    pipe, folder, loop, nul, long = states_of(tmp_path, "file:/pipe,xvda,w", "file:/OVS,xvdb,w", "file:/loop,xvdc,w",
                                          "file:/a\0b,xvdd,w", f"file:/{'x' * 300},xvde,w")
    assert pipe.trouble and folder.trouble and pipe.apparent is None
    assert loop.exists is None and loop.trouble
    assert nul.exists is None and nul.trouble and long.exists is None and long.trouble


@pytest.mark.root
def test_what_may_not_be_read(place: str) -> None:
    """As another user, in a process of its own: root may read everything."""
    tree = Path(place)
    config(tree, 1, disk=["file:/closed/a.img,xvda,w"])
    config(tree, 2).chmod(0o600)
    config(tree, 3).parent.chmod(0o700)
    (tree / "closed").mkdir(mode=0o700)
    (repo_path(tree) / "Templates").mkdir(mode=0o700)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgid(65534)
            os.setuid(65534)
            found = look(tree)
            disk = found.machines[0].disks[0]
            seen = [names(found), sorted(unread(found).values()), found.troubles, disk.exists, disk.trouble,
                    found.complete]
            os.write(writer, repr(seen).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as file:
        told = file.read().decode()
    os.waitpid(child, 0)
    denied = "Permission denied"
    place = f"/OVS/Repositories/{REPO}/Templates: {denied}"
    assert told == repr([["vm1"], [denied, denied], (place,), None, denied, False])


@pytest.mark.parametrize("name", [b"\xff\xfe", "naïve ☃".encode(), b"-rf", b"$(touch x)", b"a\nb\x1b[31m", b"x" * 200])
def test_names_of_any_bytes(tmp_path: Path, name: bytes) -> None:
    folder = os.fsencode(repo_path(tmp_path)) + b"/VirtualMachines/" + name
    os.makedirs(folder)
    target = os.fsencode(repo_path(tmp_path)) + b"/VirtualDisks/" + name + b".img"
    os.mkdir(os.path.dirname(target))
    with open(target, "wb") as file:
        file.truncate(4096)
    inner = os.fsencode(f"/OVS/Repositories/{REPO}/VirtualDisks/") + name + b".img"
    with open(os.path.join(folder, b"vm.cfg"), "wb") as file:
        file.write(b"memory = 5\ndisk = ['''file:" + inner + b",xvda,w''']\n")
    found = look(tmp_path)
    machine = found.machines[0]
    assert machine.disks[0].exists and machine.disks[0].path == inner[1:] and machine.disks[0].apparent == 4096
    assert machine.name.isprintable() and found.machine(machine.name) is machine


# --- finding one ---
def test_ways_to_name_a_machine(tmp_path: Path) -> None:
    config(tmp_path, 1, OVM_simple_name="web")
    config(tmp_path, 2, OVM_simple_name="web2")
    config(tmp_path, 3, OVM_simple_name="twin")
    config(tmp_path, 4, OVM_simple_name="twin")
    found = look(tmp_path)
    path = f"/OVS/Repositories/{REPO}/VirtualMachines/0004fb00000600000000000000000002"
    for spec in ("web2", "0004fb00000600000000000000000002", "0004FB00-0006-0000-0000-000000000002", path,
                 path + "/vm.cfg", path + "/"):
        assert found.machine(spec).facts.title == "web2", spec
    assert found.machine("web").facts.title == "web"
    for spec in ("twin", "we", "0004fb", "nothing", "", "/"):
        with pytest.raises(UsageError) as caught:
            found.machine(spec)
        assert caught.value.hint
    with pytest.raises(UsageError) as caught:
        found.machine("twin")
    assert "2 VMs" in caught.value.message and "vm.cfg" in caught.value.hint


def test_it_can_be_stopped(tmp_path: Path) -> None:
    config(tmp_path, 1)
    job = Job()
    job.cancel()
    with pytest.raises(CancelledError):
        scan(str(tmp_path), ["auto"], job)


def test_nothing_is_written(tmp_path: Path) -> None:
    config(tmp_path, 1, disk=[f"file:{image(tmp_path, 'a.img')},xvda,w"])
    before = _times(tmp_path)
    look(tmp_path)
    assert _times(tmp_path) == before


def _times(tree: Path) -> dict[Path, tuple[int, int]]:
    """When everything was changed; of disks also when they were read."""
    found = {path: path.lstat() for path in tree.rglob("*")}
    return {p: (i.st_mtime_ns, i.st_atime_ns if p.suffix == ".img" else i.st_ctime_ns) for p, i in found.items()}
