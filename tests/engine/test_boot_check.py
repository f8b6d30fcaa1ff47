"""Will it boot? Systems that do, and each of them with one thing broken that keeps it from it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.machine.bootcheck import check
from engine.machine.disks import Disk, read_disk
from engine.results import DOUBTFUL, NO, YES, Verdict
from tests.boot_trees import (
    BOOT,
    ESP,
    ESP_GUID,
    NEW,
    NVRAM,
    OLD,
    ROOT,
    SWAP,
    cpio,
    debian,
    devices,
    kernel,
    packed,
    program,
    ramdisk,
    system,
    with_esp,
    write,
)
from tests.conftest import cannot_run
from tests.engine.boot_images import MBR_SCRIPT, MIB, image, install_grub, put


def judge(root: Path, *without: str, disks: tuple[Disk, ...] = (), firmware: str = "", nvram: str = "") -> Verdict:
    return check(os.fsencode(root), devices=devices(*without), disks=disks, firmware=firmware, nvram=nvram)


def texts(verdict: Verdict, level: str) -> list[str]:
    return [f.text for f in verdict.findings if f.level == level]


def must_say(verdict: Verdict, answer: str, words: str) -> None:
    """Assert the answer, and that one finding, and only one, is the reason for it."""
    level = {NO: "blocker", DOUBTFUL: "warning"}[answer]
    assert verdict.answer == answer, verdict.findings
    reasons = texts(verdict, level)
    assert len(reasons) == 1 and words in reasons[0], reasons
    assert all(f.hint for f in verdict.findings if f.level != "info")


# --- systems that boot ---


@pytest.mark.parametrize("separate", [True, False])
def test_a_healthy_debian(tmp_path: Path, separate: bool) -> None:
    found = judge(debian(tmp_path / "r", separate=separate))
    assert found.answer == YES and found.kernel == NEW
    assert [f.level for f in found.findings] == ["info"]


def test_a_healthy_uefi_debian(tmp_path: Path) -> None:
    found = judge(with_esp(debian(tmp_path / "r")), firmware="uefi", nvram=NVRAM)
    assert found.answer == YES and texts(found, "info") == [
        "the firmware starts EFI/debian/shimx64.efi (entry 0001, debian)"]  # fmt: skip


def red_hat(root: Path) -> Path:
    release = "5.14.0-362.el9.x86_64"
    system(root, f"/dev/mapper/vg-root / xfs defaults 0 0\nUUID={BOOT} /boot xfs defaults 0 0\n", modules=(release,))
    cfg = 'set default="${saved_entry}"\nset kernelopts="root=/dev/mapper/vg-root ro"\nblscfg\n'
    write(root, "boot/grub2/grub.cfg", cfg)
    write(root, "boot/grub2/grubenv", f"saved_entry=0123-{release}\n".ljust(1024, "#"))
    for name, version in ((f"0123-{release}", release), ("0123-0-rescue", "0-rescue-0123")):
        text = f"title Linux {version}\nlinux /vmlinuz-{version}\ninitrd /initramfs-{version}.img\n"
        write(root, f"boot/loader/entries/{name}.conf", text + "options $kernelopts\n")
        # The rescue kernel is of a release whose modules went with the next upgrade.
        write(root, f"boot/vmlinuz-{version}", kernel(release if version == release else "5.14.0-70.el9.x86_64"))
        write(root, f"boot/initramfs-{version}.img", ramdisk())
    return root


def test_a_healthy_red_hat(tmp_path: Path) -> None:
    found = judge(red_hat(tmp_path / "r"))
    assert found.answer == YES and found.kernel == "5.14.0-362.el9.x86_64", found.findings


def test_a_red_hat_whose_default_entry_is_gone(tmp_path: Path) -> None:
    """After going back, grubenv names a kernel that came later."""
    root = red_hat(tmp_path / "r")
    write(root, "boot/grub2/grubenv", "saved_entry=0123-5.14.0-400.el9\n".ljust(1024, "#"))
    must_say(judge(root), DOUBTFUL, "does not exist: GRUB takes the first one")


def arch(root: Path) -> Path:
    release = "6.6.1-arch1-1"
    system(root, f"UUID={ROOT} / ext4 rw 0 1\nUUID={ESP} /boot vfat rw 0 2\n", modules=(release,))
    write(root, "boot/loader/loader.conf", "default arch.conf\n")
    text = "title Arch\nlinux /vmlinuz-linux\ninitrd /intel-ucode.img\ninitrd /initramfs-linux.img\n"
    write(root, "boot/loader/entries/arch.conf", text + f"options root=UUID={ROOT} rw\n")
    write(root, "boot/vmlinuz-linux", kernel(release))
    write(root, "boot/intel-ucode.img", cpio({"kernel/x86/microcode/GenuineIntel.bin": b"m" * 99}))
    write(root, "boot/initramfs-linux.img", packed(cpio({"init": b"#!/bin/sh"}), "zstd"))
    write(root, "boot/EFI/BOOT/BOOTX64.EFI", program())
    write(root, "boot/EFI/systemd/systemd-bootx64.efi", program())
    return root


def test_a_healthy_arch_with_microcode_in_a_file_of_its_own(tmp_path: Path) -> None:
    root = arch(tmp_path / "r")
    found = judge(root, firmware="uefi")
    assert found.answer == YES and found.kernel == "6.6.1-arch1-1", found.findings
    write(root, "boot/initramfs-linux.img", cpio({"etc/x": b""}))
    must_say(judge(root), NO, "holds an init")


def test_a_healthy_oracle_vm_server(tmp_path: Path) -> None:
    release = "2.6.39-300.22.2.el5uek"
    table = f"UUID={ROOT} / ext4 defaults 1 1\nUUID={BOOT} /boot ext4 defaults 1 2\n"
    root = system(tmp_path / "r", table, modules=(release,))
    text = "default=0\ntitle Oracle VM Server\n\troot (hd0,0)\n\tkernel /xen.gz dom0_mem=max:1024M\n"
    text += f"\tmodule /vmlinuz-{release} ro root=UUID={ROOT}\n\tmodule /initrd-{release}.img\n"
    write(root, "boot/grub/grub.conf", text)
    (root / "boot/grub/menu.lst").symlink_to("./grub.conf")
    write(root, "boot/xen.gz", packed(b"xen" * 999, "gzip"))
    write(root, f"boot/vmlinuz-{release}", kernel(release))
    write(root, f"boot/initrd-{release}.img", packed(cpio({"init": b"#!/bin/nash"}), "gzip"))
    found = judge(root)
    assert found.answer == YES and found.kernel == release, found.findings
    (root / "boot/xen.gz").unlink()
    must_say(judge(root), NO, "needs /xen.gz")


# --- one thing broken ---

BREAKS: list[tuple[str, Callable[[Path], object], str, str]] = [
    ("kernel gone", lambda r: (r / f"boot/vmlinuz-{NEW}").unlink(), NO, f"needs /vmlinuz-{NEW}, which does not exist"),
    ("kernel cut", lambda r: os.truncate(r / f"boot/vmlinuz-{NEW}", 9999), NO, "its header announces"),
    ("kernel empty", lambda r: os.truncate(r / f"boot/vmlinuz-{NEW}", 0), NO, "it is empty"),
    ("initramfs gone", lambda r: (r / f"boot/initrd.img-{NEW}").unlink(), NO, "needs /initrd.img"),
    ("initramfs cut", lambda r: os.truncate(r / f"boot/initrd.img-{NEW}", 2000), NO, "gzip"),
    ("initramfs empty", lambda r: os.truncate(r / f"boot/initrd.img-{NEW}", 0), NO, "it is empty"),
    ("modules gone", lambda r: shutil.rmtree(r / f"usr/lib/modules/{NEW}"), NO, f"{NEW} in /boot has no modules"),
    ("modules.dep gone", lambda r: os.rename(r / f"usr/lib/modules/{NEW}/modules.dep", r / f"usr/lib/modules/{NEW}/x"),
     DOUBTFUL, "no modules.dep"),
    ("init gone", lambda r: (r / "usr/lib/systemd/systemd").unlink(), NO, "no /sbin/init"),
    ("sbin gone", lambda r: (r / "sbin").unlink(), DOUBTFUL, "no /sbin/init: only an initramfs"),
    ("menu gone", lambda r: (r / "boot/grub/grub.cfg").unlink(), NO, "no boot menu"),
    ("menu empty", lambda r: os.truncate(r / "boot/grub/grub.cfg", 0), NO, "has no entry to boot"),
    ("fstab gone", lambda r: (r / "etc/fstab").unlink(), DOUBTFUL, "no /etc/fstab"),
    ("key file gone", lambda r: write(r, "etc/crypttab", f"x UUID={ROOT} /etc/x.key luks\n"), DOUBTFUL, "passphrase"),
    ("crypt disk gone", lambda r: write(r, "etc/crypttab", "x UUID=0-0 none luks\n"), DOUBTFUL, "crypttab opens x"),
    ("old kernel gone", lambda r: (r / f"boot/vmlinuz-{OLD}").unlink(), DOUBTFUL, f"needs /vmlinuz-{OLD}"),
    ("old modules gone", lambda r: shutil.rmtree(r / f"usr/lib/modules/{OLD}"), DOUBTFUL, f"{OLD} in /boot has no"),
    ("a kernel more", lambda r: (write(r, "boot/vmlinuz-6.9", kernel("6.9")),
                                 write(r, "lib/modules/6.9/modules.dep", "")), DOUBTFUL, "6.9 has no initramfs"),
]  # fmt: skip


@pytest.mark.parametrize(("break_it", "answer", "words"), [b[1:] for b in BREAKS], ids=[b[0] for b in BREAKS])
def test_one_broken_thing_is_the_one_reason(
    tmp_path: Path, break_it: Callable[[Path], object], answer: str, words: str
) -> None:
    root = debian(tmp_path / "r")
    assert judge(root).answer == YES
    break_it(root)
    found = judge(root)
    if words == "no /etc/fstab":  # without it nobody knows of the /boot of its own: that is a second doubt
        assert found.answer in (DOUBTFUL, NO) and any(words in t for t in texts(found, "warning"))
        return
    must_say(found, answer, words)


@pytest.mark.parametrize(
    ("gone", "answer", "words"),
    [
        (SWAP, DOUBTFUL, "for swap, which does not exist: the start goes on"),
        (f"{ESP}", NO, "for /boot/efi, which does not exist: the start will end in emergency mode"),
    ],
)
def test_a_file_system_that_is_gone(tmp_path: Path, gone: str, answer: str, words: str) -> None:
    must_say(judge(with_esp(debian(tmp_path / "r")), gone), answer, words)


def test_a_root_that_is_gone(tmp_path: Path) -> None:
    found = judge(debian(tmp_path / "r"), ROOT)
    assert found.answer == NO and any("boots with root=UUID=" in t for t in texts(found, "blocker"))


def test_a_boot_that_is_gone_and_searched(tmp_path: Path) -> None:
    found = judge(debian(tmp_path / "r"), BOOT)
    assert found.answer == NO and any("searches for the file system" in t for t in texts(found, "warning"))


@pytest.mark.parametrize("options", ["nofail", "noauto", "defaults,nofail,x-systemd.device-timeout=5"])
def test_what_fstab_can_do_without(tmp_path: Path, options: str) -> None:
    root = debian(tmp_path / "r")
    with (root / "etc/fstab").open("a") as file:
        file.write(f"UUID=0-0 /data ext4 {options} 0 2\nsrv:/x /mnt nfs defaults 0 0\n")
    assert judge(root).answer == YES
    write(root, "etc/fstab", (root / "etc/fstab").read_text() + "LABEL=none /more ext4 defaults 0 2\n")
    must_say(judge(root), NO, "LABEL=none for /more")


def test_a_bind_mount_of_nothing(tmp_path: Path) -> None:
    root = debian(tmp_path / "r")
    with (root / "etc/fstab").open("a") as file:
        file.write("/srv/a /srv/b none bind 0 0\n")
    must_say(judge(root), NO, "binds /srv/a")


def test_a_volume_that_crypttab_opens_counts(tmp_path: Path) -> None:
    root = debian(tmp_path / "r")
    with (root / "etc/fstab").open("a") as file:
        file.write("/dev/mapper/data /data ext4 defaults 0 2\n")
    must_say(judge(root), NO, "/dev/mapper/data")
    write(root, "etc/crypttab", "data PARTUUID=cafe1234-03 none luks\n")
    assert judge(root).answer == YES
    write(root, "etc/crypttab", "data PARTUUID=gone none luks\n")
    assert judge(root).answer == NO


def test_no_initramfs_needs_a_root_the_kernel_understands(tmp_path: Path) -> None:
    root = debian(tmp_path / "r")
    cfg = root / "boot/grub/grub.cfg"
    cfg.write_text(cfg.read_text().replace("initrd\t", "# "))
    assert any("does not understand root=" in t for t in texts(judge(root), "blocker"))
    cfg.write_text(cfg.read_text().replace(f"UUID={ROOT}", "PARTUUID=cafe1234-03"))
    assert judge(root).answer == YES


def test_root_and_fstab_disagree(tmp_path: Path) -> None:
    root = debian(tmp_path / "r")
    cfg = root / "boot/grub/grub.cfg"
    cfg.write_text(cfg.read_text().replace(f"root=UUID={ROOT}", "root=LABEL=boot", 1))
    must_say(judge(root), DOUBTFUL, "fstab means /dev/sda3")


def test_a_menu_for_another_boot(tmp_path: Path) -> None:
    """Restored without its /boot: the menu counts from a file system that is not there any more."""
    root = debian(tmp_path / "r", separate=True)
    write(root, "etc/fstab", f"UUID={ROOT} / ext4 defaults 0 1\n")
    found = judge(root)
    assert found.answer == DOUBTFUL and any("written for another /boot" in t for t in texts(found, "warning"))


def test_an_unmounted_boot(tmp_path: Path) -> None:
    root = debian(tmp_path / "r")
    shutil.rmtree(root / "boot")
    (root / "boot").mkdir()
    found = judge(root)
    assert found.answer == NO and any("is it mounted?" in t for t in texts(found, "blocker"))


def test_paths_in_a_subvolume(tmp_path: Path) -> None:
    root = debian(tmp_path / "r", separate=False)
    cfg = root / "boot/grub/grub.cfg"
    cfg.write_text(cfg.read_text().replace("/boot/", "/@/boot/"))
    assert judge(root).answer == YES


def test_what_cannot_be_known_is_no_reason(tmp_path: Path) -> None:
    found = check(os.fsencode(debian(tmp_path / "r")))
    assert found.answer == YES and any("not known here" in t for t in texts(found, "info"))


def test_nothing_at_all(tmp_path: Path) -> None:
    found = judge(tmp_path)
    assert found.answer == NO and "it will not boot: " in found.words


# --- the firmware's side ---


def boot_disk(place: Path) -> Path:
    disk = image(place / "disk", 32 * MIB, MBR_SCRIPT)
    install_grub(disk, place)
    return disk


def test_grub_in_the_boot_sector(tmp_path: Path) -> None:
    root, path = debian(tmp_path / "r"), boot_disk(tmp_path)

    def disk() -> Disk:
        return read_disk(os.fsencode(path))

    found = judge(root, disks=(disk(),))
    assert found.answer == YES and any("GRUB 2 in sector 0" in t for t in texts(found, "info"))
    good = path.read_bytes()
    for offset, data, words in (
        (512, bytes(512), "where GRUB's boot code looks for core.img"),
        (512, b"something else", "something else is at byte 512"),
        (8192, bytes(9000), "overwritten with zeroes"),
        (0, bytes(440), "only zeroes"),
    ):
        put(path, offset, data)
        must_say(judge(root, disks=(disk(),)), NO, words)
        put(path, 0, good[:MIB])
    (root / "boot/grub/i386-pc/normal.mod").unlink()
    must_say(judge(root, disks=(disk(),)), NO, "normal.mod")


def test_one_of_two_boot_disks_is_enough_for_a_doubt(tmp_path: Path) -> None:
    root, path = debian(tmp_path / "r"), boot_disk(tmp_path)
    empty = image(tmp_path / "empty", 32 * MIB, MBR_SCRIPT)
    disks = (read_disk(os.fsencode(empty)), read_disk(os.fsencode(path)))
    must_say(judge(root, disks=disks), DOUBTFUL, "only zeroes")
    must_say(judge(root, disks=disks[:1]), NO, "only zeroes")


def test_unknown_boot_code_is_a_doubt(tmp_path: Path) -> None:
    root, path = debian(tmp_path / "r"), image(tmp_path / "disk", 32 * MIB, MBR_SCRIPT)
    put(path, 0, b"\xfa\x33\xc0 what is this?")
    must_say(judge(root, disks=(read_disk(os.fsencode(path)),)), DOUBTFUL, "unknown code")


def test_a_generic_boot_code_needs_an_active_partition(tmp_path: Path) -> None:
    source = Path("/usr/lib/syslinux/mbr/mbr.bin")
    if not source.exists():
        cannot_run("SYSLINUX's boot code (not installed: syslinux-common)")
    root, path = debian(tmp_path / "r"), image(tmp_path / "disk", 32 * MIB, MBR_SCRIPT)
    put(path, 0, source.read_bytes())
    assert judge(root, disks=(read_disk(os.fsencode(path)),)).answer == YES
    put(path, 446, b"\0")
    must_say(judge(root, disks=(read_disk(os.fsencode(path)),)), NO, "none is active")


NO_ENTRY = "BootOrder: 0000\nBoot0000* Setup\tFvVol(1)\n"
ELSEWHERE = NVRAM.replace(ESP_GUID, "11111111-2222-4333-8444-555555555555")
UEFI: list[tuple[str, Callable[[Path], object], str, str, str]] = [
    ("loader gone", lambda r: (r / "boot/efi/EFI/debian/shimx64.efi").unlink(), NVRAM, DOUBTFUL, "is not on the ESP"),
    ("loader cut", lambda r: os.truncate(r / "boot/efi/EFI/debian/grubx64.efi", 99), NVRAM, DOUBTFUL, "no EFI program"),
    ("all loaders gone", lambda r: shutil.rmtree(r / "boot/efi/EFI"), NVRAM, NO, "no loader on an EFI"),
    ("no entry", lambda r: None, NO_ENTRY, DOUBTFUL, "fallback in EFI/BOOT is left"),
    ("no entry, no fallback", lambda r: shutil.rmtree(r / "boot/efi/EFI/BOOT"), NO_ENTRY,
     NO, "no entry that leads to a disk"),
    ("other partition", lambda r: shutil.rmtree(r / "boot/efi/EFI/BOOT"), ELSEWHERE, NO, "does not exist"),
    ("stub for another", lambda r: write(r, "boot/efi/EFI/debian/grub.cfg", "search.fs_uuid 0-0 root\n"), NVRAM, NO,
     "looks for the file system 0-0"),
]  # fmt: skip


@pytest.mark.parametrize(("break_it", "nvram", "answer", "words"), [u[1:] for u in UEFI], ids=[u[0] for u in UEFI])
def test_uefi(tmp_path: Path, break_it: Callable[[Path], object], nvram: str, answer: str, words: str) -> None:
    root = with_esp(debian(tmp_path / "r"))
    break_it(root)
    must_say(judge(root, firmware="uefi", nvram=nvram), answer, words)


def test_without_the_firmware_s_list_nothing_is_held_against_it(tmp_path: Path) -> None:
    found = judge(with_esp(debian(tmp_path / "r")))
    assert found.answer == YES and any("were not looked at" in t for t in texts(found, "info"))


# --- hostile trees ---


def test_links_never_lead_out_of_the_tree(tmp_path: Path) -> None:
    """The kernel is there only on the machine that looks, not in the tree."""
    root = debian(tmp_path / "r")
    outside = write(tmp_path, f"vmlinuz-{NEW}", kernel(NEW))
    (root / f"boot/vmlinuz-{NEW}").unlink()
    (root / f"boot/vmlinuz-{NEW}").symlink_to(outside)
    must_say(judge(root), NO, "does not exist")
    (root / f"boot/vmlinuz-{NEW}").unlink()
    (root / f"boot/vmlinuz-{NEW}").symlink_to("../../../../../vm")
    write(root, "vm", kernel(NEW))
    assert judge(root).answer == YES, "as in a chroot, .. stops at the root"


ODD = ["boot/grub/grub.cfg", "boot/grub/grubenv", "etc/fstab", "etc/crypttab", f"boot/vmlinuz-{NEW}"]


@pytest.mark.parametrize("path", ODD)
@pytest.mark.parametrize("kind", ["fifo", "loop", "directory", "garbage"])
def test_odd_files_neither_hang_nor_raise(tmp_path: Path, path: str, kind: str) -> None:
    root = debian(tmp_path / "r")
    (root / path).unlink(missing_ok=True)
    if kind == "fifo":
        os.mkfifo(root / path)
    elif kind == "loop":
        (root / path).symlink_to(os.path.basename(path))
    elif kind == "directory":
        (root / path).mkdir()
    else:
        (root / path).write_bytes(bytes(range(256)) * 40)
    found = judge(root)
    assert found.answer in (YES, DOUBTFUL, NO)
    assert all(f.text.isprintable() and f.hint.isprintable() for f in found.findings)
