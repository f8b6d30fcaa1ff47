"""Disks of VMs back from points on real LVM: from a disk point (ext4 has no reflinks, so it comes out of a momentary
LVM snapshot), and from an LVM snapshot of the repository. A disk that is a volume itself goes back with its own."""

from __future__ import annotations

import json
import os
import re
import shlex
from typing import Any

import pytest

from tests.lab.guest import blank_disk, guest, program_in
from tests.lab.image import Image
from tests.lab.machine import Done, Machine
from tests.lab.steps import PROGRAM
from tests.vm_trees import REPO, dashed

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.lab_more, pytest.mark.xdist_group("zfs")]

PLACE = f"/OVS/Repositories/{REPO}"
WEB, DB = (f"0004fb0000060000{number:016x}" for number in (1, 2))
UNPACKED = "/run/unpacked"
SETUP = f"""
printf 'global {{\\n thin_check_executable = ""\\n}}\\n' >/etc/lvm/lvmlocal.conf
vgcreate -qq vg /dev/vdb
lvcreate -qq -y -L 192M -n re-po vg
lvcreate -qq -y -L 32M -n raw vg
mkfs.ext4 -q /dev/vg/re-po
mkfs.ext4 -q /dev/vdc
mkdir -p /backup {PLACE}
mount /dev/vdc /backup
mount /dev/vg/re-po {PLACE}
mkdir -p {PLACE}/VirtualDisks {PLACE}/VirtualMachines/{WEB} {PLACE}/VirtualMachines/{DB}
cd {PLACE}/VirtualDisks
for name in a b shared db; do
    head -c 3000000 /dev/urandom >$name.img
    truncate -s 24M $name.img
done
head -c 2000000 /dev/urandom >/dev/vg/raw
sync
"""
CONFIG = "store: /backup/store\nlvm:\n  volumes: [{volumes}]\n"
SPOIL = f"""
cd {PLACE}/VirtualDisks
for name in a b db; do dd if=/dev/urandom of=$name.img bs=4096 seek=100 count=50 conv=notrunc status=none; done
sync
"""


class Host:
    """A server with two VMs, its repository on a logical volume, and an `xl` that says what we want."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def come_up(self) -> None:
        self.machine.wait_up()
        program_in(self.machine)
        # Unpacked, so that it is compiled once only: that is most of the time of a short command in here.
        self.machine.sh(f"python3 -c 'import zipfile; zipfile.ZipFile(\"{PROGRAM}\").extractall(\"{UNPACKED}\")'")
        self.machine.sh(SETUP, timeout=900)
        disks = {name: f"file:{PLACE}/VirtualDisks/{name}.img" for name in ("a", "b", "shared", "db")}
        self._vm(WEB, "web", [f"{disks['a']},xvda,w", f"{disks['b']},xvdb,w", f"{disks['shared']},xvdc,w!",
                              "phy:/dev/vg/raw,xvdd,w"])
        self._vm(DB, "db", [f"{disks['db']},xvda,w", f"{disks['shared']},xvdb,w!"])
        for name, volumes in (("repo", "vg/re-po"), ("raw", "vg/raw")):
            self.machine.put(f"/run/{name}.yaml", CONFIG.format(volumes=volumes).encode())
        self.runs()

    def _vm(self, ident: str, name: str, disks: list[str]) -> None:
        text = (f"name = '{ident}'\nOVM_simple_name = '{name}'\nuuid = '{dashed(ident)}'\nmemory = 512\nvcpus = 1\n"
                f"disk = {disks!r}\nvif = []\n")
        self.machine.put(f"{PLACE}/VirtualMachines/{ident}/vm.cfg", text.encode())

    def runs(self, *names: str, fails: bool = False) -> None:
        """Let `xl` list these domains, or fail."""
        found = [{"domid": number, "config": {"c_info": {"name": name, "uuid": ""}}}
                 for number, name in enumerate(("Domain-0", *names))]
        answer = "exit 1" if fails else f"echo {shlex.quote(json.dumps(found))}"
        self.machine.put("/usr/local/sbin/xl", f"#!/bin/sh\n{answer}\n".encode(), 0o755)

    def rollpoint(self, *words: str, config: str = "repo", code: int = 0) -> Done:
        done = self.machine.run(
            ["env", f"PYTHONPATH={UNPACKED}", "PATH=/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "python3", "-m",
             "tui.cli", "--config", f"/run/{config}.yaml", *words], check=False, timeout=900)
        assert done.rc == code, (words, done)
        return done

    def answer(self, *words: str, config: str = "repo", code: int = 0) -> Any:
        return json.loads(self.rollpoint(*words, "--json", config=config, code=code).out)

    def sums(self) -> dict[str, str]:
        """What every disk holds, by the guest's own sha256sum."""
        lines = self.machine.sh(f"sync; cd {PLACE}/VirtualDisks; sha256sum *.img* /dev/vg/raw").splitlines()
        return {name: digest for digest, name in (line.split("  ") for line in lines)}

    def volumes(self) -> set[str]:
        return set(self.machine.sh("lvs --noheadings -o lv_name").split())


def test_disks_come_back_on_lvm(guest_image: Image, lab_place: str) -> None:
    place = os.path.join(lab_place, "vm-disks")
    os.mkdir(place)
    disks = [blank_disk(place, "group", 1 << 30), blank_disk(place, "store", 256 << 20)]
    with guest(guest_image, *disks) as machine:
        host = Host(machine)
        host.come_up()
        taken = host.sums()
        copied = _a_disk_point_of_a_running_vm(host, taken)
        snapshot = host.answer("snapshot", "--backend", "lvm", "-m", "the repository")["id"]
        for point in (copied, snapshot):
            _back_from(host, point, taken)
        _what_would_overflow_a_snapshot(host)
        _covered(host, copied, snapshot)
        _a_disk_that_is_a_volume(host, taken)
        machine.power_off()


def _a_disk_point_of_a_running_vm(host: Host, taken: dict[str, str]) -> str:
    """ext4 has no reflinks, so that its disks are of one moment only in a momentary snapshot, which goes away again."""
    host.runs(WEB)
    before = host.volumes()
    point = host.answer("vms", "take", "web", "-m", "disks", code=3)      # xvdd is a volume: a warning
    assert point["document"]["running"] == "running" and point["backend"] == "vmdisks"
    assert host.volumes() == before
    copies = host.machine.sh(f"cd {PLACE}/VirtualDisks/.rollpoint-disks/*/{point['id']}; sha256sum *.img").splitlines()
    assert {name: digest for digest, name in (line.split("  ") for line in copies)} == {
        name: taken[name] for name in ("a.img", "b.img", "shared.img")}
    held = host.machine.sh(f"cat /backup/store/vms/disks/{point['id']}/disks.json")
    assert {disk["way"] for disk in json.loads(held)} == {"copy"}
    return str(point["id"])


def _back_from(host: Host, point: str, taken: dict[str, str]) -> None:
    """The disks of one VM, bit by bit; refused while it runs, or may; what belongs to others is untouched."""
    host.machine.sh(SPOIL)
    spoiled = host.sums()
    assert {name for name in taken if spoiled[name] != taken[name]} >= {"a.img", "b.img", "db.img"}
    words = ("vms", "restore", "web", "--from", point, "--disks", "--yes")
    host.runs(WEB)
    assert b"web runs" in host.rollpoint(*words, code=5).err
    host.runs(fails=True)
    assert b"not known" in host.rollpoint(*words, code=5).err
    host.runs(DB)
    assert host.sums() == spoiled
    done = host.answer(*words)["result"]
    assert done["devices"] == ["xvda", "xvdb"]
    after = host.sums()
    aside = {path.rpartition("/")[2] for path in done["aside"]}
    assert {name: after[name] for name in ("a.img", "b.img")} == {name: taken[name] for name in ("a.img", "b.img")}
    assert {name: after[name] for name in ("db.img", "shared.img", "/dev/vg/raw")} == {
        name: spoiled[name] for name in ("db.img", "shared.img", "/dev/vg/raw")}
    assert {after[name] for name in aside} == {spoiled["a.img"], spoiled["b.img"]} and len(aside) == 2
    blocks = int(host.machine.sh(f"stat -c %b {PLACE}/VirtualDisks/a.img"))
    assert blocks * 512 < 12 << 20, "holes stay holes"
    host.machine.sh(f"cd {PLACE}/VirtualDisks; rm " + " ".join(map(shlex.quote, sorted(aside))))
    assert {lv for lv in host.volumes() if "momentary" in lv} == set()


def _what_would_overflow_a_snapshot(host: Host) -> None:
    """Bringing a disk back writes to the volume that the snapshot is of: one without room for that would be lost."""
    host.runs()
    before = host.sums()
    host.machine.sh("lvcreate -qq -y -s -L 12M -n small vg/re-po")
    host.machine.sh(SPOIL)
    spoiled = host.sums()
    words = ("vms", "restore", "web", "--from", "lvm:vg/small", "--disks", "--yes")
    said = host.rollpoint(*words, code=5).err.decode()
    advice = re.search(r"lvextend -L \+\d+m [^\s`]+", said)
    assert advice and advice[0].endswith("vg/small") and "would overflow" in said and host.sums() == spoiled
    host.machine.sh(advice[0])
    host.rollpoint(*words)
    after = host.sums()
    assert {name: after[name] for name in ("a.img", "b.img")} == {name: before[name] for name in ("a.img", "b.img")}
    assert after["db.img"] == spoiled["db.img"]
    fill = host.machine.sh("lvs --noheadings -o snap_percent,lv_snapshot_invalid vg/small").split()
    assert float(fill[0]) < 100 and len(fill) == 1
    host.machine.sh("lvremove -qq -y vg/small")


def _covered(host: Host, copied: str, snapshot: str) -> None:
    shown = host.answer("vms", "show", "web")["machine"]["held"]
    by = {part["part"]: [(one["backend"], one["newest"], one["what"]) for one in part["by"]] for part in shown}
    assert by["xvda"] == [("lvm", snapshot, "file system"), ("vmdisks", copied, "file")]
    assert by["vm.cfg"] == [("lvm", snapshot, "file system")] and by["xvdd"] == []


def _a_disk_that_is_a_volume(host: Host, taken: dict[str, str]) -> None:
    """It is no file to bring back: the refusal says what to do instead, and that works."""
    point = host.answer("snapshot", "--backend", "lvm", config="raw")["id"]
    host.machine.sh("dd if=/dev/urandom of=/dev/vg/raw bs=4096 count=20 conv=notrunc status=none; sync")
    before = host.sums()
    assert before["/dev/vg/raw"] != taken["/dev/vg/raw"]
    shown = host.answer("vms", "show", "web", config="raw")["machine"]["held"]
    assert [(one["backend"], one["newest"], one["what"]) for one in shown[-1]["by"]] == [("lvm", point, "volume")]
    words = ("vms", "restore", "web", "--from", point, "--disks", "xvdd", "--yes")
    said = host.rollpoint(*words, config="raw", code=5).err.decode()
    assert f"rollpoint rollback {point} --way native" in said and host.sums() == before
    host.rollpoint("rollback", point, "--way", "native", "--yes", config="raw")
    host.machine.sh("udevadm settle; for i in 1 2 3 4 5 6; do lvs vg/raw -o lv_attr --noheadings | grep -q O || break; "
                    "sleep 2; done")
    assert host.sums()["/dev/vg/raw"] == taken["/dev/vg/raw"]
