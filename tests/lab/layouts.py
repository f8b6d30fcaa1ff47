"""Installed systems to ruin and to bring back: real partitioning, mkfs, LVM and grub-install inside the rescue system.

Each layout is installed once into a raw image in the cache beside the lab's image, and copied for each test.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
from dataclasses import dataclass

from tests.lab.image import Image
from tests.lab.machine import Machine

_BYTES = 5 << 30
_PREPARE = {
    "bios-mbr": """
printf 'label: dos\\nlabel-id: 0x5eed1234\\nstart=2048, size=600M, type=83, bootable\\ntype=83\\n' | sfdisk -q $D
boot=${D}1 root=${D}2
""",
    "bios-gpt": """
printf 'label: gpt\\nsize=2M, type=21686148-6449-6E6F-744E-656564454649\\nsize=600M\\n\\n' | sfdisk -q $D
boot=${D}2 root=${D}3
""",
    "uefi": """
printf 'label: gpt\\nsize=100M, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B\\nsize=600M\\n\\n' | sfdisk -q $D
esp=${D}1 boot=${D}2 root=${D}3
""",
    "bios-lvm": """
printf 'label: dos\\nlabel-id: 0x5eed1235\\nstart=2048, size=600M, type=83, bootable\\ntype=8e\\n' | sfdisk -q $D
boot=${D}1
udevadm settle
pvcreate -qq -y ${D}2; vgcreate -qq sys ${D}2; lvcreate -qq -y -L 3300M -n root sys
root=/dev/sys/root
""",
}
LAYOUTS = tuple(_PREPARE)
_INSTALL = """
udevadm settle
mkfs.ext4 -q -F -L root $root; mkfs.ext4 -q -F -L boot $boot
mount $root /mnt; mkdir -p /mnt/boot; mount $boot /mnt/boot
if [ -n "$esp" ]; then mkfs.vfat -n ESP $esp >/dev/null; mkdir -p /mnt/boot/efi; mount $esp /mnt/boot/efi; fi
tar --numeric-owner --xattrs --xattrs-include='*' --acls -xpf $TREE -C /mnt
uuid() { blkid -s UUID -o value $1; }
echo "UUID=$(uuid $root) / ext4 errors=remount-ro 0 1" >/mnt/etc/fstab
echo "UUID=$(uuid $boot) /boot ext4 defaults 0 2" >>/mnt/etc/fstab
[ -z "$esp" ] || echo "UUID=$(uuid $esp) /boot/efi vfat umask=0077 0 1" >>/mnt/etc/fstab
cat >/mnt/etc/default/grub <<'END'
GRUB_DEFAULT=0
GRUB_TIMEOUT=0
GRUB_DISTRIBUTOR=Lab
GRUB_CMDLINE_LINUX_DEFAULT="quiet systemd.show_status=0"
GRUB_CMDLINE_LINUX="console=ttyS0 panic=-1"
GRUB_TERMINAL=serial
GRUB_DISABLE_OS_PROBER=true
END
for place in proc sys dev run; do mount --rbind /$place /mnt/$place; done
if [ -n "$esp" ]; then
    chroot /mnt grub-install --target=x86_64-efi --efi-directory=/boot/efi --no-nvram --removable >/tmp/grub 2>&1 || { cat /tmp/grub; exit 1; }
    chroot /mnt grub-install --target=x86_64-efi --efi-directory=/boot/efi --no-nvram --bootloader-id=lab >/tmp/grub 2>&1 || { cat /tmp/grub; exit 1; }
else
    chroot /mnt grub-install --target=i386-pc $D >/tmp/grub 2>&1 || { cat /tmp/grub; exit 1; }
fi
chroot /mnt update-grub >/tmp/grub 2>&1 || { cat /tmp/grub; exit 1; }
for place in proc sys dev run; do umount -R -l /mnt/$place; done
sync; umount -R /mnt
"""


@dataclass(frozen=True)
class Installed:
    """A system on a disk image of its own."""

    layout: str
    disk: str

    @property
    def uefi(self) -> bool:
        """Whether it needs a UEFI firmware."""
        return self.layout == "uefi"


def rescue(image: Image, disks: list[str]) -> Machine:
    """Start the rescue system, /dev/vda; `disks` follow from /dev/vdb."""
    return Machine([image.rescue, *disks], kernel=image.kernel, initrd=image.initrd, append="root=/dev/vda rw",
                   volatile=[image.rescue])


def installed(image: Image, layout: str, place: str) -> Installed:
    """Return a fresh copy of an installed system in the directory `place`."""
    master = os.path.join(os.path.dirname(image.tree), f"{layout}.raw")
    with open(master + ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.exists(master):
            with tempfile.TemporaryDirectory(dir=os.path.dirname(master)) as work:
                fresh = os.path.join(work, "disk")
                _install(image, layout, fresh)
                os.rename(fresh, master)
    disk = os.path.join(place, f"{layout}.raw")
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", master, disk], check=True)
    return Installed(layout, disk)


def _install(image: Image, layout: str, disk: str) -> None:
    with open(disk, "wb") as file:
        file.truncate(_BYTES)
    with rescue(image, [disk, image.tree]) as machine:
        machine.wait_up()
        machine.sh("D=/dev/vdb TREE=/dev/vdc esp=\n" + _PREPARE[layout] + _INSTALL, timeout=1200)
        machine.power_off()
