"""Onto a new, empty disk that is divided otherwise, with other UUIDs: the system comes back by its own grub-install,
update-grub and update-initramfs, run in it by the rollback, and boots."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from tests.lab import steps
from tests.lab.conftest import Lab
from tests.lab.image import Image, run
from tests.lab.layouts import Layout, Part, boot, empty, rescue
from tests.lab.machine import Done, Machine
from tests.lab.steps import Taken
from tests.oracle import differences

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.lab_more]

_ONE_ROOT = Layout("one-root", "gpt", (
    Part("bios", 1, 1, 2, "21686148-6449-6E6F-744E-656564454649"), Part("root", 2, 3, 1300, "L"),
    Part("swap", 3, 1303, 64, "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F")))
_NEW_UEFI = Layout("new-uefi", "gpt", (
    Part("boot", 1, 1, 192, "L"), Part("root", 2, 193, 1200, "L"),
    Part("esp", 3, 1393, 64, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B")))
_OLD_SWAP = "5f0e8a3b-1c2d-4e5f-8a9b-0c1d2e3f4a5b"
# What the programs of the system write, and the directories that it is written in.
_WRITTEN = re.compile(rb"etc|etc/fstab|etc/initramfs-tools/conf\.d(/resume)?|boot|boot/(grub|initrd\.img|efi).*"
                      rb"|var/lib/initramfs-tools(/.*)?|usr/lib/modules/.*|var/tmp|tmp")


def test_a_bios_system_comes_back_on_one_file_system_of_a_new_disk(lab_image: Image, lab: Lab) -> None:
    """An MBR with /boot of its own and a swap becomes a GPT with a BIOS boot partition, one root and another swap."""
    case = lab("bios-mbr")
    swap = os.path.join(case.place, "swap.raw")
    Path(swap).write_bytes(bytes(64 << 20))
    run(["mkswap", "-q", "-U", _OLD_SWAP, swap])
    point = _taken(case, f"""
        echo 'UUID={_OLD_SWAP} none swap sw 0 0' >>/etc/fstab
        echo 'RESUME=UUID={_OLD_SWAP}' >/etc/initramfs-tools/conf.d/resume
        """, swap)
    then, new = steps.recorded(case.system), empty(_ONE_ROOT, case.place)
    with rescue(lab_image, new.disk, case.store) as machine:
        steps.come_up(machine)
        machine.sh("udevadm settle; mkfs.ext4 -q /dev/vdb2; mkswap -q /dev/vdb3; udevadm settle; mount /dev/vdb2 /mnt")
        words = ("--root", "/mnt", "rollback", point, "--adopt", "--merge", "/boot")
        plan = json.loads(steps.rollpoint(machine, *words, "--dry-run", "--json", where=steps.KIT, check=False).out)
        commands = [line for line in plan["plan"]["adjustments"] if line.startswith("chroot ")]
        assert commands == ["chroot /mnt update-initramfs -u -k all",
                            "chroot /mnt grub-install --target=i386-pc /dev/vdb",
                            "chroot /mnt grub-mkconfig -o /boot/grub/grub.cfg"], plan
        done = _go(machine, *words)
        assert all(f"Adjusted: {command}" in done for command in commands), done
        assert "failed" not in done and ", verified." in done, done
        left = machine.sh("findmnt -rno TARGET | grep ^/mnt").split()
        assert left == ["/mnt"], left
        table = new.table()
        machine.sh("umount -R /mnt /backup")
        machine.power_off()
    now = steps.recorded(new)
    kept = {p: fact for p, fact in then.items() if not _WRITTEN.fullmatch(p)}
    assert len(kept) > 1000
    assert differences(kept, {p: fact for p, fact in now.items() if p in kept}) == []
    assert new.table() == table
    with boot(new) as machine:
        machine.wait_up()
        assert machine.sh("findmnt -no SOURCE /; findmnt -n /boot || true").split() == ["/dev/vda2"]
        machine.sh("for n in $(seq 100); do grep -q vda3 /proc/swaps && exit; sleep 0.3; done; cat /proc/swaps; exit 1")
        assert not machine.sh("systemctl --failed --plain --no-legend")
        machine.power_off()


def test_a_uefi_system_comes_back_on_a_new_disk_and_in_the_firmware(lab_image: Image, lab: Lab) -> None:
    """Its GRUB holds the UUID of the old /boot, there is no fallback loader, and the new firmware has no entry."""
    case = lab("uefi")
    point = _taken(case, """
        grub-install --target=x86_64-efi --efi-directory=/boot/efi --bootloader-id=lab
        rm -r /boot/efi/EFI/BOOT
        """)
    place = os.path.join(case.place, "new")
    os.mkdir(place)
    new = empty(_NEW_UEFI, place)
    with rescue(lab_image, new.disk, case.store, uefi=place) as machine:
        steps.come_up(machine)
        machine.sh("""
            udevadm settle; mkfs.ext4 -q /dev/vdb1; mkfs.ext4 -q /dev/vdb2; mkfs.vfat -F 16 /dev/vdb3 >/dev/null
            udevadm settle; mount /dev/vdb2 /mnt; mkdir /mnt/boot; mount /dev/vdb1 /mnt/boot
            mkdir /mnt/boot/efi; mount /dev/vdb3 /mnt/boot/efi
            """)
        done = _go(machine, "--root", "/mnt", "rollback", point, "--adopt")
        assert "grub-install --target=x86_64-efi --efi-directory=/boot/efi --no-nvram --bootloader-id=lab" in done, done
        assert "efibootmgr --create --disk /dev/vdb --part 3 --label=lab" in done and "failed" not in done, done
        print(machine.sh("efibootmgr -v"))
        machine.sh("umount -R /mnt /backup")
        machine.power_off()
    steps.must_boot(new)


def _taken(case: Taken, changes: str, *disks: str) -> str:
    """Boot the system, change it, take another point, switch it off; returns the point's id."""
    with boot(case.system, case.store, *disks) as machine:
        steps.come_up(machine)
        machine.sh(changes, timeout=900)
        machine.put(steps.PROGRAM, steps.program())
        point = str(json.loads(steps.rollpoint(machine, "snapshot", "--json").out)["id"])
        machine.power_off()
    return point


def _go(machine: Machine, *words: str) -> str:
    """Roll back onto an empty disk, of which a safety point would be one of nothing; returns what was said."""
    done: Done = steps.rollpoint(machine, *words, "--yes", "--no-safety-point", where=steps.KIT, check=False,
                                 timeout=3600)
    text = (done.out + done.err).decode("utf-8", "backslashreplace")
    print(text)
    assert done.rc in (0, 3), text
    return text
