"""What the lab's tests do to machines: taking a point in a running system, recording its files, ruining it, going back.

Records are made on this machine, from the disk image of a machine that is switched off, by tests/oracle.py: neither
Rollpoint nor the guest's kernel has a part in them.
"""

from __future__ import annotations

import contextlib
import fnmatch
import json
import os
import random
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from engine.rescue import kit
from tests.conftest import unmount_below
from tests.lab.image import Image, run
from tests.lab.layouts import Installed, boot, copy, installed, rescue, store_disk
from tests.lab.machine import Done, Machine
from tests.oracle import Record, must_equal, record

STORE = "/backup/store"
KIT = f"{STORE}/rescue/rollpoint.pyz"
PROGRAM = "/run/rollpoint.pyz"
# What Rollpoint leaves out unless it is told otherwise, as far as a machine of the lab has it.
_LEFT_OUT = ("dev/*", "sys/*", "proc/*", "tmp/*", "run/*", "mnt/*", "media/*", "*/mnt", "*/mnt/*", "lost+found",
             "lost+found/*", "*.pid", "*.swp", "*.*$")


@dataclass(frozen=True)
class Taken:
    """A system with a restore point: the store is on the disk `store`, `record` is what the point must bring back."""

    system: Installed
    store: str
    record: Record
    point: str                      # its id
    seconds: dict[str, float]       # how long its parts took, for the report

    @property
    def place(self) -> str:
        """The directory of its disks, for what else a test makes; it goes with the test."""
        return os.path.dirname(self.store)

    def copied(self, place: str) -> Taken:
        """Return a copy of both disks in the directory `place`."""
        return Taken(self.system.copied(place), copy(self.store, place), self.record, self.point, self.seconds)


@cache
def program() -> bytes:
    """Return the whole program in one file, as the kit holds it."""
    return kit.make().files[kit.PROGRAM]


def recorded(system: Installed) -> Record:
    """Return a record of all files of a system that is switched off, less what is left out of points."""
    with system.mounted() as root:
        found = _kept(record(root))
    if system.uefi:
        with tempfile.TemporaryDirectory() as place:
            system.esp("mcopy", "-s", "-m", "-n", "::", place)
            found.update({b"boot/efi/" + path: fact for path, fact in record(place).items() if path})
    return found


def recorded_in(disk: str, below: str) -> Record:
    """Return the same of a directory on a disk that is one file system."""
    with mounted(disk) as place:
        return _kept(record(f"{place}/{below}"))


def _kept(found: Record) -> Record:
    return {path: fact for path, fact in found.items()
            if not any(fnmatch.fnmatchcase(os.fsdecode(path), pattern) for pattern in _LEFT_OUT)}


def come_up(machine: Machine) -> None:
    """Wait until a system is up and has all its file systems mounted, and its store's disk at /backup if it has one."""
    machine.wait_up()
    machine.sh("for d in $(lsblk -rno NAME,LABEL | sed -n 's/ store$//p'); do mount /dev/$d /backup; done")


def rollpoint(machine: Machine, *words: str, check: bool = True, timeout: float = 900, where: str = PROGRAM) -> Done:
    """Run Rollpoint in the guest, on the store of its second disk. With `check` it must end with 0."""
    return machine.run(["python3", where, "--store", STORE, *words], check=check, timeout=timeout)


def furnish(system: Installed) -> None:
    """Give a system files of every kind that a point must bring back."""
    with system.mounted(write=True) as root:
        place = f"{root}/srv/things"
        os.makedirs(place)
        Path(f"{place}/file").write_text("as it was\n", encoding="ascii")
        os.link(f"{place}/file", f"{place}/second name")
        with open(os.fsencode(place) + b"/no utf-8 \xff\n", "wb") as file:
            file.write(b"a name of any bytes")
        with open(f"{place}/holes", "wb") as file:
            file.truncate(8 << 20)
            file.seek(4 << 20)
            file.write(b"in between")
        os.setxattr(f"{place}/file", "user.note", b"\0kept")
        run(["setfacl", "-m", "u:1234:r", f"{place}/holes"])
        shutil.copy(f"{root}/usr/bin/true", f"{place}/capable")
        run(["setcap", "cap_net_raw+ep", f"{place}/capable"])
        os.chmod(f"{place}/file", 0o4751)
        os.chown(f"{place}/holes", 1234, 4321)
        os.mkfifo(f"{place}/fifo")
        os.mknod(f"{place}/device", 0o020640, os.makedev(1, 7))
        os.symlink("file", f"{place}/link")
        os.utime(place, ns=(1, 1_500_000_000_123_456_789))


def taken(image: Image, layout: str, place: str) -> Taken:
    """Install a layout, boot it, take a point in it onto a second disk, switch it off and record its files."""
    began, seconds = time.monotonic(), {}

    def note(what: str) -> None:
        nonlocal began
        seconds[what], began = round(time.monotonic() - began, 1), time.monotonic()

    system, store = installed(image, layout, place), store_disk(place)
    furnish(system)
    note("installed")
    with boot(system, store) as machine:
        come_up(machine)
        note("boot")
        machine.put(PROGRAM, program())
        note("program copied")
        rollpoint(machine, "--version")
        note("program starts")
        point = json.loads(rollpoint(machine, "snapshot", "-m", "before the ruin", "--json").out)["id"]
        note("snapshot")
        machine.power_off()
    note("off")
    found = recorded(system)
    note("record")
    return Taken(system, store, found, point, seconds)


# --- ruin ----------------------------------------------------------------------------------------------------------


def ruin_sectors(system: Installed, seed: int = 1) -> None:
    """Zero the boot code of the disk, and write rubbish over what it would load."""
    system.write(0, bytes(440))
    start, end = system.boot_area()
    if end:
        system.write(start, random.Random(seed).randbytes(end - start))


def ruin_files(system: Installed) -> None:
    """Take kernel, GRUB's files, modules, /usr/sbin and the EFI loader away, break fstab, and change this and that."""
    with system.mounted(write=True) as root:
        for kernel in os.listdir(f"{root}/boot"):
            if kernel.startswith(("vmlinuz", "initrd")):
                os.unlink(f"{root}/boot/{kernel}")
        for place in ("boot/grub", "usr/lib/modules", "usr/sbin"):
            shutil.rmtree(f"{root}/{place}", ignore_errors=True)
        fstab = Path(f"{root}/etc/fstab").read_text(encoding="ascii")
        Path(f"{root}/etc/fstab").write_text(re.sub(r"^\S+", "UUID=0000-0000", fstab, flags=re.MULTILINE),
                                             encoding="ascii")
        Path(f"{root}/boot/rubbish").write_bytes(os.urandom(1 << 20))
        place = f"{root}/srv/things"
        os.unlink(f"{place}/second name")
        os.unlink(f"{place}/fifo")
        os.mkdir(f"{place}/fifo")
        os.setxattr(f"{place}/file", "user.note", b"other")
        run(["setfacl", "-b", f"{place}/holes"])
        with open(f"{place}/holes", "r+b") as file:
            file.write(b"rubbish")
        os.chown(f"{root}/etc/passwd", 7, 7)
    if system.uefi:
        system.esp("mdeltree", "::/EFI")


def add_partition(system: Installed) -> None:
    """Put one more partition into the free room at the end of the disk, as an admin does who needs room."""
    _sfdisk("size=16MiB\n", "--append", "--no-reread", system.disk)


def added_disk(place: str) -> str:
    """Make a small disk with a table and something on it, as an admin puts into a machine. Returns its path."""
    disk = os.path.join(place, "added.raw")
    Path(disk).write_bytes(random.Random(7).randbytes(16 << 20))
    _sfdisk("label: dos\nstart=2048, size=8MiB, type=83, bootable\n", "--wipe", "never", disk)
    return disk


def _sfdisk(script: str, *words: str) -> None:
    done = subprocess.run(["sfdisk", "--quiet", *words], input=script, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


# --- going back ----------------------------------------------------------------------------------------------------


def mount_target(machine: Machine, system: Installed, disk: str = "/dev/vdb", at: str = "/mnt") -> None:
    """In the rescue system: mount a broken system's file systems where an admin would."""
    devices = system.layout.devices(disk)
    lines = ["udevadm settle", "vgchange -qq -ay" if system.layout.part("pv") else "", f"mount {devices['root']} {at}",
             f"mount {devices['boot']} {at}/boot"]
    lines += [f"mkdir -p {at}/boot/efi", f"mount {devices['esp']} {at}/boot/efi"] if "esp" in devices else []
    machine.sh("\n".join(lines))


@contextlib.contextmanager
def rescued(image: Image, case: Taken, *before: str) -> Iterator[Machine]:
    """Run the rescue system with a broken system, mounted at /mnt, and the store's disk at /backup; it is switched off
    in order afterwards. The disks `before` are found first (from /dev/vdb on), the broken system's after them.
    """
    with rescue(image, *before, case.system.disk, case.store) as machine:
        come_up(machine)
        mount_target(machine, case.system, f"/dev/vd{'bcdefg'[len(before)]}")
        yield machine
        machine.sh("umount -R /mnt /backup")
        machine.power_off()


def go_back(machine: Machine, *words: str, check: bool = True) -> Done:
    """Roll the mounted system back to the latest point with the program that lies in the store."""
    return rollpoint(machine, "--root", "/mnt", "rollback", *(words or ("latest",)), "--yes", check=check, where=KIT)


def must_be_back(case: Taken, table: bytes, sectors: bytes) -> None:
    """Check the files, the partition table (as it was just before) and the boot sectors (as they were at the point)."""
    must_equal(case.record, recorded(case.system), "the tree is not what it was when the point was taken")
    assert case.system.table() == table, "the partition table was touched"
    assert boot_sectors(case.system) == sectors, "the boot sectors are not what they were"


def boot_sectors(system: Installed) -> bytes:
    """Return the boot code and what it loads from outside of any file system."""
    start, end = system.boot_area()
    return system.read(0, 440) + system.read(start, end)


def must_boot(system: Installed, *disks: str) -> None:
    """Check that a system comes up by itself, with the file systems that its fstab names and nothing failed."""
    with boot(system, *disks) as machine:
        machine.wait_up()
        mounted = machine.sh("findmnt --noheadings --raw --output TARGET --types ext4,vfat").split()
        assert {"/", "/boot", *(["/boot/efi"] if system.uefi else [])} <= set(mounted), mounted
        failed = machine.sh("systemctl --failed --plain --no-legend")
        assert not failed, failed
        machine.power_off()


def must_not_boot(system: Installed) -> str:
    """Check that a system does not come up, and return why."""
    with boot(system) as machine:
        return machine.wait_dead()


@contextlib.contextmanager
def mounted(disk: str) -> Iterator[str]:
    """Mount a disk that is one file system on this machine, read-only; yields where it is."""
    where = tempfile.mkdtemp(prefix=f"rollpoint-test-{os.getpid()}-disk-")
    try:
        run(["mount", "-o", "loop,ro", disk, where])
        yield where
    finally:
        unmount_below(where)
        os.rmdir(where)
