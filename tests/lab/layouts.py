"""Installed systems to ruin and to bring back, each on a disk image of its own.

Tables and file systems are made on this machine (`mkfs.ext4 -d`, nothing is mounted), then one run of the rescue system
with all disks installs GRUB on each and makes the logical volume. The disks lie in the cache beside the lab's image;
tests get copies.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import loop_ext4, unmount_below
from tests.lab.image import TAR, Image, locked, make_ext4, run
from tests.lab.machine import KERNEL_OPTIONS, Machine

_VERSION = 1
_MIB = 1 << 20
_DISK = 1536 * _MIB
_LV = 1200 * _MIB
_HELD = ("root", "boot", "esp")
_PE_START = _MIB        # where pvcreate puts the first extent of a volume group


@dataclass(frozen=True)
class Part:
    """A partition, in MiB; `what` is root, boot, esp, bios (GRUB's BIOS boot partition) or pv (of LVM)."""

    what: str
    number: int
    start: int
    size: int
    kind: str       # as sfdisk takes it


@dataclass(frozen=True)
class Layout:
    """How a disk is divided."""

    name: str
    label: str      # dos or gpt
    parts: tuple[Part, ...]

    def part(self, what: str) -> Part | None:
        """Return the partition for something, None where this layout has none."""
        return next((p for p in self.parts if p.what == what), None)

    def uuid(self, what: str) -> str:
        """Return the UUID of a file system: four characters of it that a FAT has too."""
        made = str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{self.name}-{what}.lab.invalid"))
        return made if what != "esp" else f"{made[:4]}-{made[4:8]}".upper()

    def devices(self, disk: str) -> dict[str, str]:
        """Return what the guest calls root, boot and esp when it calls the disk `disk` (/dev/vdb)."""
        found = {p.what: f"{disk}{p.number}" for p in self.parts if p.what in _HELD}
        return found if "root" in found else {"root": "/dev/sys/root", **found}


def _layouts() -> Iterator[Layout]:
    end = _DISK // _MIB - 33        # room for one more partition
    yield Layout("bios-mbr", "dos", (Part("boot", 1, 1, 160, "83"), Part("root", 2, 161, end - 161, "83")))
    yield Layout("bios-gpt", "gpt", (Part("bios", 1, 1, 2, "21686148-6449-6E6F-744E-656564454649"),
                                     Part("boot", 2, 3, 160, "L"), Part("root", 3, 163, end - 163, "L")))
    yield Layout("uefi", "gpt", (Part("esp", 1, 1, 64, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"),
                                 Part("boot", 2, 65, 160, "L"), Part("root", 3, 225, end - 225, "L")))
    yield Layout("bios-lvm", "dos", (Part("boot", 1, 1, 160, "83"), Part("pv", 2, 161, end - 161, "8e")))


LAYOUTS = {layout.name: layout for layout in _layouts()}
_GRUB = f"""GRUB_DEFAULT=0
GRUB_TIMEOUT=0
GRUB_DISTRIBUTOR=Lab
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_CMDLINE_LINUX="{KERNEL_OPTIONS}"
GRUB_TERMINAL=serial
GRUB_DISABLE_OS_PROBER=true
"""
# In the rescue system: $D is the disk, $root $boot $esp its file systems.
_INSTALL = """
udevadm settle
if [ -n "$filled" ]; then
    pvcreate -qq -y ${D}2; vgcreate -qq sys ${D}2; lvcreate -qq -y -Wn -L ${lv}b -n root sys
    [ "$(pvs --noheadings -o pe_start --units b --nosuffix ${D}2 | tr -d ' ')" = $pe_start ]
    dd if=$filled of=$root bs=1M conv=sparse status=none
fi
mount $root /mnt; mount $boot /mnt/boot
[ -z "$esp" ] || mount $esp /mnt/boot/efi
for place in proc sys dev run; do mount --rbind /$place /mnt/$place; mount --make-rslave /mnt/$place; done
if [ -n "$esp" ]; then
    chroot /mnt grub-install --target=x86_64-efi --efi-directory=/boot/efi --no-nvram --removable 2>&1
else
    chroot /mnt grub-install --target=i386-pc $D 2>&1
fi
chroot /mnt update-grub 2>&1
for place in proc sys dev run; do umount -R -l /mnt/$place; done
sync; umount -R /mnt
"""


@dataclass(frozen=True)
class Installed:
    """A system on a disk image of its own."""

    layout: Layout
    disk: str

    @property
    def uefi(self) -> bool:
        """Whether it needs a UEFI firmware."""
        return self.layout.part("esp") is not None

    def places(self) -> dict[str, tuple[int, int]]:
        """Return (offset, size) in bytes of the file systems root, boot and esp on the disk."""
        found = {p.what: (p.start * _MIB, p.size * _MIB) for p in self.layout.parts if p.what in _HELD}
        pv = self.layout.part("pv")
        if pv is not None:      # one segment from the first extent on, as the only volume of its group
            found["root"] = (pv.start * _MIB + _PE_START, _LV)
        return found

    @contextlib.contextmanager
    def mounted(self, *, write: bool = False) -> Iterator[str]:
        """Mount its root and /boot on this machine (no guest may have them) and yield where its root is."""
        where = tempfile.mkdtemp(prefix=f"rollpoint-test-{os.getpid()}-lab-")
        loops: list[str] = []
        try:
            for what, below in (("root", ""), ("boot", "/boot")):
                if what not in self.places():
                    continue
                offset, size = self.places()[what]
                loops.append(run(["losetup", "--find", "--show", f"--offset={offset}", f"--sizelimit={size}",
                                  *([] if write else ["--read-only"]), self.disk]).strip())
                run(["mount", "-o", "rw" if write else "ro", loops[-1], where + below])
            yield where
        finally:
            unmount_below(where)
            for loop in loops:
                subprocess.run(["losetup", "--detach", loop], check=False)
            os.rmdir(where)

    def esp(self, program: str, *words: str) -> None:
        """Run one of mtools on the ESP (`::` in its words), which needs no vfat in this machine's kernel."""
        run([program, "-i", f"{self.disk}@@{self.places()['esp'][0]}", *words])

    def read(self, start: int, end: int) -> bytes:
        """Return bytes of the disk."""
        with open(self.disk, "rb") as file:
            file.seek(start)
            return file.read(end - start)

    def write(self, start: int, data: bytes) -> None:
        """Overwrite bytes of the disk."""
        with open(self.disk, "r+b") as file:
            file.seek(start)
            file.write(data)

    def boot_area(self) -> tuple[int, int]:
        """Return from which byte to which GRUB's core lies outside of any file system: the BIOS boot partition, or the
        gap after an MBR; (0, 0) where there is none."""
        bios = self.layout.part("bios")
        if bios:
            return bios.start * _MIB, (bios.start + bios.size) * _MIB
        return (512, self.layout.parts[0].start * _MIB) if self.layout.label == "dos" else (0, 0)

    def table(self) -> bytes:
        """Return every byte of the disk that belongs to its partition table, a GPT's copy at the end too."""
        if self.layout.label == "dos":
            return self.read(440, 512)
        return self.read(440, 34 * 512) + self.read(os.path.getsize(self.disk) - 33 * 512, os.path.getsize(self.disk))

    def copied(self, place: str) -> Installed:
        """Return a copy of it in the directory `place`."""
        return Installed(self.layout, copy(self.disk, place))


def copy(disk: str, place: str) -> str:
    """Copy a disk image into a directory, holes as holes; returns the copy's path."""
    target = os.path.join(place, os.path.basename(disk))
    run(["cp", "--sparse=always", "--reflink=auto", disk, target])
    return target


def store_disk(place: str, size: int = 2048 * _MIB, name: str = "store.raw") -> str:
    """Make an empty disk for restore points: one ext4 without a table, labelled ``store``. Returns its path."""
    disk = os.path.join(place, name)
    make_ext4(disk, size, "", "store")
    return disk


def boot(system: Installed, *disks: str, memory: int = 1024) -> Machine:
    """Start an installed system by its own boot loader, its disk first; other disks follow from /dev/vdb."""
    return Machine([system.disk, *disks], uefi=os.path.dirname(system.disk) if system.uefi else "", memory=memory)


def rescue(image: Image, *disks: str, memory: int = 1024, uefi: str = "") -> Machine:
    """Start the rescue system, /dev/vda, which forgets what is written to it; `disks` follow from /dev/vdb. With `uefi`
    by a UEFI firmware, whose variables are kept in that directory."""
    return Machine([image.rescue, *disks], kernel=image.kernel, initrd=image.initrd, append="root=/dev/vda rw",
                   volatile=[image.rescue], memory=memory, uefi=uefi)


def empty(layout: Layout, place: str) -> Installed:
    """Return a new disk in the directory `place` that is divided in this way, with nothing on it."""
    disk = os.path.join(place, f"{layout.name}.raw")
    with open(disk, "xb") as file:
        file.truncate(_DISK)
    _partition(layout, disk)
    return Installed(layout, disk)


def installed(image: Image, layout: str, place: str) -> Installed:
    """Return a fresh copy of an installed system in the directory `place`; all layouts are installed where one is
    missing."""
    recipe = repr((_VERSION, LAYOUTS, _DISK, _LV, _GRUB, _INSTALL))
    masters = os.path.join(image.place, f"disks-{hashlib.sha256(recipe.encode()).hexdigest()[:8]}")
    with locked(os.path.join(image.place, "disks")):
        if not os.path.isdir(masters):
            with tempfile.TemporaryDirectory(dir=image.place) as work:
                out = os.path.join(work, "out")
                os.mkdir(out)
                _fill(image, work, out)
                _install(image, work, out)
                os.rename(out, masters)
    return Installed(LAYOUTS[layout], os.path.join(masters, f"{layout}.raw")).copied(place)


def _fill(image: Image, work: str, out: str) -> None:
    """Write tables and file systems onto the disks."""
    with loop_ext4(4 << 30, "-O ^has_journal -E lazy_itable_init=1") as base:
        root, boot_files = f"{base}/root", f"{base}/boot"
        os.mkdir(root)
        run([*TAR, "-xpf", image.tree, "-C", root])
        os.rename(f"{root}/boot", boot_files)
        os.makedirs(f"{root}/boot")
        Path(f"{root}/etc/default/grub").write_text(_GRUB, encoding="ascii")
        for layout in LAYOUTS.values():
            disk = os.path.join(out, f"{layout.name}.raw")
            with open(disk, "wb") as file:
                file.truncate(_DISK)
            _partition(layout, disk)
            shutil.rmtree(f"{boot_files}/efi", ignore_errors=True)
            if layout.part("esp"):
                os.mkdir(f"{boot_files}/efi")
            Path(f"{root}/etc/fstab").write_text(_fstab(layout), encoding="ascii")
            for what, tree in (("root", root), ("boot", boot_files)):
                place = Installed(layout, disk).places()[what]
                options = ("-U", layout.uuid(what))
                if what == "root" and layout.part("pv"):
                    make_ext4(os.path.join(work, "filled.raw"), _LV, tree, what, *options)
                else:
                    make_ext4(disk, place[1], tree, what, *options, offset=place[0])
            if esp := layout.part("esp"):
                run(["mkfs.vfat", "-F", "16", "-n", "ESP", "-i", layout.uuid("esp").replace("-", ""),
                     "--offset", str(esp.start * _MIB // 512), disk, str(esp.size * 1024)])


def _partition(layout: Layout, disk: str) -> None:
    seed = uuid.uuid5(uuid.NAMESPACE_DNS, layout.name)
    lines = [f"label: {layout.label}", f"label-id: {seed if layout.label == 'gpt' else hex(seed.int % 2**32)}"]
    for part in layout.parts:
        active = ", bootable" if layout.label == "dos" and part.what == "boot" else ""
        lines.append(f"start={part.start}MiB, size={part.size}MiB, type={part.kind}{active}")
    done = subprocess.run(["sfdisk", "--quiet", disk], input="\n".join(lines), text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


def _fstab(layout: Layout) -> str:
    root = "/dev/sys/root" if layout.part("pv") else f"UUID={layout.uuid('root')}"
    lines = [f"{root} / ext4 errors=remount-ro 0 1", f"UUID={layout.uuid('boot')} /boot ext4 defaults 0 2"]
    if layout.part("esp"):
        lines.append(f"UUID={layout.uuid('esp')} /boot/efi vfat umask=0077 0 1")
    return "\n".join([*lines, ""])


def _install(image: Image, work: str, out: str) -> None:
    """Make all disks boot, in one run of the rescue system."""
    disks = [os.path.join(out, f"{name}.raw") for name in LAYOUTS]
    with rescue(image, *disks, os.path.join(work, "filled.raw")) as machine:
        machine.wait_up()
        for layout, letter in zip(LAYOUTS.values(), "bcde", strict=True):
            disk = f"/dev/vd{letter}"
            words = {"D": disk, "boot": "", "esp": "", "lv": str(_LV), "pe_start": str(_PE_START),
                     "filled": "/dev/vdf" if layout.part("pv") else "", **layout.devices(disk)}
            machine.sh("\n".join(f"{name}={value}" for name, value in words.items()) + _INSTALL, timeout=900)
        machine.power_off()
