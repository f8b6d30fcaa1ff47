"""What makes an adopted system start from its new disks: which of its own programs are run, what they see, and that it
can be interrupted, undone, and fail. Its programs are scripts here; the real ones run in tests/lab/test_adopt.py."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine import adapted, bootmaking, scopes
from engine.bootmaking import Making
from engine.config import Boot
from engine.events import Job
from engine.machine import bootimages, filesystems
from engine.machine.mounts import Mount
from engine.replica.catalog import Catalog
from engine.replica.layout import open_store
from engine.results import RollbackPlan, RollbackResult
from engine.service import Engine
from tests.engine.boot_images import MIB, gpt, image, install_grub, mbr
from tests.engine.harness import CHECKOUT, child_env
from tests.engine.loops import Loops, Machine, loops, run, uuid_of
from tests.oracle import differences, record

pytestmark = pytest.mark.root

# Notes how it was called and what is mounted around it, and does to its disk what grub-install does: to places of boot
# code, and not to the partition table.
_PROGRAM = """#!/bin/sh
echo "$(basename $0) $*" >>/ran
[ -c /dev/null ] && [ -e /proc/self/mountinfo ] && [ -d /sys/class ] && [ -d /run ] || echo missing >>/ran
[ ! -e /fails ] || { echo "first line" >&2; echo "error: will not proceed with blocklists." >&2; exit 1; }
for disk; do :; done
case $(basename $0) in grub-install)
    printf GRUB | dd of=$disk bs=1 conv=notrunc 2>/dev/null
    printf CORE | dd of=$disk bs=1 seek=1048576 conv=notrunc 2>/dev/null;;
esac
"""


class Moving(Machine):
    """A Debian of a kind with GRUB for a BIOS, whose point was taken on an MBR disk; `disk` is a new one with a GPT."""

    def __init__(self, made: Loops, place: Path) -> None:
        super().__init__(made, place)
        old = mbr(place / "disk-old")
        install_grub(old, place)
        self.disk, self.old_disk = made.attach(gpt(place / "disk-new")), made.attach(old)
        self.boot = Boot(disks=(self.old_disk,))
        self._furnish()
        self.old = {p: uuid_of(d) for p, d in self.devices.items()}
        self.taken = self.point()
        self.before = Path(self.disk).read_bytes()
        self.boot = Boot(disks=(self.disk,))

    def _furnish(self) -> None:
        for name in ("dev", "proc", "sys", "run", "usr/sbin", "bin", "usr/lib/grub/i386-pc", "boot/grub/i386-pc"):
            (self.root / name).mkdir(parents=True)
        shutil.copy(shutil.which("busybox") or "", self.root / "bin/busybox")
        for name in ("sh", "dd", "basename"):
            (self.root / "bin" / name).symlink_to("busybox")
        for name in ("grub-install", "grub-mkconfig", "update-initramfs"):
            (self.root / "usr/sbin" / name).write_text(_PROGRAM)
            (self.root / "usr/sbin" / name).chmod(0o755)
        for name in ("usr/lib/grub/i386-pc/boot.img", "boot/grub/i386-pc/normal.mod"):
            (self.root / name).write_bytes(b"x")
        (self.root / "boot/grub/grub.cfg").write_text(f"search --fs-uuid --set=root {uuid_of(self.devices['boot'])}\n")

    def engine(self) -> Engine:
        engine = super().engine()
        return Engine(replace(engine.config, boot=self.boot))

    def move(self, *places: str) -> None:
        """Put new, empty file systems in the place of these."""
        self.devices |= {p: self.loops.make("ext2" if p == "boot/efi" else "ext4") for p in places}
        self.mount("new")
        for place in places:
            shutil.rmtree(self.root / place / "lost+found")

    def adopted(self, merged: tuple[bytes, ...] = (), scope: str = "system") -> RollbackPlan:
        return self.engine().plan(self.taken, (scope,), Job(), adopt=True, merged=merged)

    def commands(self, plan: RollbackPlan) -> list[str]:
        """The commands of a plan, without the chroot in front."""
        start = f"chroot {self.root} "
        return [line.removeprefix(start) for line in plan.adjustments if line.startswith(start)]

    def ran(self) -> list[str]:
        return (self.root / "ran").read_text().splitlines() if (self.root / "ran").exists() else []

    def looked(self, **sources: str) -> Making:
        """What is planned for the point with file systems of other types, as it would say with a FAT at /boot/efi."""
        doc: dict[str, Any] = dict(self.taken.doc)
        doc["sources"] = [s | {"type": sources.get(s["mount"], s["type"])} for s in doc["sources"]]
        point, config = replace(self.taken, doc=doc), self.engine().config
        store = open_store(os.fsencode(config.store))
        with Catalog.open(store) as catalog:
            return adapted.look(store, config, catalog, point, scopes.resolve(("system",), config, point)).making


@pytest.fixture
def moving(tmp_path: Path) -> Iterator[Moving]:
    with loops(tmp_path) as made:
        yield Moving(made, tmp_path)


def roll(moving: Moving, plan: RollbackPlan, job: Job | None = None) -> RollbackResult:
    return moving.engine().rollback(plan, job or Job())


def test_grub_is_installed_on_the_new_disk_by_the_system_itself_and_undone(moving: Moving) -> None:
    moving.move("", "boot", "boot/efi")
    (moving.root / "mine").write_text("mine")
    then = record(str(moving.root))
    plan = moving.adopted()
    wanted = f"grub-install --target=i386-pc {moving.disk}"
    assert moving.commands(plan) == [wanted] and not plan.blocked, plan.findings
    assert any("GRUB is installed instead" in f.text and f.level == "info" for f in plan.findings)
    assert not [f for f in plan.findings if "no boot code is written" in f.text and f.level != "info"]
    job = Job()
    done = roll(moving, plan, job)
    assert done.verified and job.warnings == [] and f"chroot {moving.root} {wanted}" in done.adjusted
    assert moving.ran() == [wanted]
    now = Path(moving.disk).read_bytes()
    assert (now[:4], now[MIB:MIB + 4]) == (b"GRUB", b"CORE")
    assert run("findmnt", "-n", "-R", str(moving.root)).count("\n") == 3        # nothing stays bound inside
    undone = moving.engine().undo(Job())
    assert undone.verified and differences(then, record(str(moving.root))) == []
    assert Path(moving.disk).read_bytes() == moving.before


def test_what_is_there_already_serves(moving: Moving) -> None:
    """The same disk and the same /boot: its recorded boot code is put back, and nothing is installed."""
    moving.boot = Boot(disks=(moving.old_disk,))
    moving.devices[""] = moving.loops.make()
    moving.mount("new")
    assert moving.commands(moving.adopted()) == []
    moving.boot = Boot(disks=(moving.disk,))
    assert moving.commands(moving.adopted()) == [f"grub-install --target=i386-pc {moving.disk}"]
    assert moving.commands(moving.adopted(scope="files")) == []


@pytest.mark.parametrize("step", ["rollback-adjusted", "rollback-boot-written", "rollback-made"])
def test_killed_and_resumed_it_is_done(moving: Moving, step: str, tmp_path: Path) -> None:
    moving.move("", "boot", "boot/efi")
    config = tmp_path / "config.yaml"
    config.write_text(f"excludes: []\nboot: {{disks: [{moving.disk}]}}\n")
    words = [sys.executable, "-m", "tui.cli", "--config", str(config), "--store", str(moving.store), "--root",
             str(moving.root), "rollback"]

    def rollpoint(*more: str, kill: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run([*words, *more, "--yes"], cwd=CHECKOUT, env=child_env({"ROLLPOINT_KILL_AT": kill}),
                              capture_output=True, text=True)

    killed = rollpoint("latest", "--adopt", kill=step)
    assert killed.returncode == -9, killed.stderr
    done = rollpoint("--resume")
    command = f"grub-install --target=i386-pc {moving.disk}"
    assert done.returncode in (0, 3) and f"Adjusted: chroot {moving.root} {command}" in done.stdout, done.stderr
    assert moving.ran() == [command]
    undone = rollpoint("--undo")
    assert undone.returncode in (0, 3), undone.stderr
    assert Path(moving.disk).read_bytes() == moving.before


def test_a_tool_that_fails_is_a_warning_with_its_words(moving: Moving) -> None:
    (moving.root / "fails").write_text("")
    moving.boot = Boot(disks=(moving.old_disk,))
    moving.taken = moving.point()
    moving.boot = Boot(disks=(moving.disk,))
    moving.move("", "boot", "boot/efi")
    job = Job()
    done = roll(moving, moving.adopted(), job)
    command = f"chroot {moving.root} grub-install --target=i386-pc {moving.disk}"
    assert done.verified and command not in done.adjusted
    assert [w for w in job.warnings if w.startswith(f"{command} failed: first line; error: will not proceed with "
                                                    "blocklists.") and w.endswith(command)], job.warnings


def test_a_merged_boot_gets_a_new_menu(moving: Moving) -> None:
    moving.devices = {"": moving.loops.make(), "boot/efi": moving.devices["boot/efi"]}
    moving.loops.umount(moving.root)
    moving.root = moving.loops.mount(moving.devices[""], moving.place / "new")
    shutil.rmtree(moving.root / "lost+found")
    (moving.root / "boot/efi").mkdir(parents=True)
    moving.loops.mount(moving.devices["boot/efi"], moving.root / "boot/efi")
    plan = moving.adopted((b"boot",))
    commands = [f"grub-install --target=i386-pc {moving.disk}", "grub-mkconfig -o /boot/grub/grub.cfg"]
    assert moving.commands(plan) == commands and not plan.blocked, plan.findings
    assert not any("make the menu anew" in f.hint for f in plan.findings)       # that is what is done
    assert any("the boot menu is made anew" in f.text for f in plan.findings)
    roll(moving, plan)
    assert moving.ran() == commands and (moving.root / "boot/vmlinuz-1").exists()
    assert moving.adopted((b"boot",), "files").blocked
    moving.boot = Boot(disks=(moving.loops.attach(image(moving.place / "dos", 32 * MIB, "label: gpt\n")),))
    bad = moving.adopted((b"boot",))
    assert any("/boot cannot be merged" in f.text and f.level == "blocker" for f in bad.findings)
    assert any("without a BIOS boot partition" in f.text for f in bad.findings)


@pytest.mark.parametrize(("name", "text", "made"), [
    ("etc/crypttab", "data UUID={root} none luks\n", True),
    ("etc/initramfs-tools/conf.d/resume", "RESUME=UUID={root}\n", True),
    ("etc/initramfs-tools/initramfs.conf", "MODULES=dep\n", True),
    ("etc/initramfs-tools/conf.d/driver-policy", "# set by the installer\nMODULES=dep\n", True),
    ("etc/initramfs-tools/initramfs.conf", "# MODULES=dep is smaller\nMODULES=most\n", False),
    ("etc/crypttab", "data UUID=none none luks\n", False)])
def test_the_initramfs_is_made_anew_when_what_it_holds_changes(moving: Moving, name: str, text: str, made: bool
                                                                ) -> None:
    (moving.root / name).parent.mkdir(parents=True, exist_ok=True)
    (moving.root / name).write_text(text.format(root=moving.old[""]))
    moving.taken = moving.point()
    moving.move("", "boot", "boot/efi")
    assert ("update-initramfs -u -k all" in moving.commands(moving.adopted())) is made


@pytest.mark.parametrize(("loader", "holds", "how"), [
    ("EFI/debian/grubx64.efi", "search.fs_uuid {boot} root", "--bootloader-id=debian"),
    ("EFI/debian/grubx64.efi", "(,gpt2)/grub", "--bootloader-id=debian"),
    ("EFI/BOOT/BOOTX64.EFI", "search.fs_uuid {boot} root", "--removable"),
    ("EFI/debian/grubx64.efi", "/EFI/debian", "")])      # a signed one, which reads a grub.cfg beside it
def test_a_loader_that_looks_for_what_is_gone_is_installed_anew(moving: Moving, loader: str, holds: str, how: str
                                                               ) -> None:
    path = moving.root / "boot/efi" / loader
    path.parent.mkdir(parents=True)
    path.write_bytes(b"MZ" + bytes(1000) + holds.format(**moving.old).encode() + bytes(1000))
    (moving.root / "usr/lib/grub/x86_64-efi").mkdir()
    (moving.root / "usr/lib/grub/x86_64-efi/kernel.img").write_bytes(b"x")
    moving.taken = moving.point()
    moving.move("", "boot", "boot/efi")
    words = [w for w in moving.looked(**{"/boot/efi": "vfat"}).words if "x86_64-efi" in w]
    command = f"chroot {moving.root} grub-install --target=x86_64-efi --efi-directory=/boot/efi --no-nvram {how}"
    assert words == ([command] if how else [])
    assert not any("x86_64-efi" in words for words in moving.looked().words)       # that is no ESP


def test_a_loader_that_serves_becomes_the_one_that_firmware_finds(moving: Moving) -> None:
    """Started by a BIOS nobody can tell the firmware of it: shim and what it starts are copied to EFI/BOOT."""
    shutil.rmtree(moving.root / "boot/grub/i386-pc")
    vendor = moving.root / "boot/efi/EFI/debian"
    vendor.mkdir(parents=True)
    for name in ("shimx64.efi", "grubx64.efi"):
        (vendor / name).write_bytes(b"MZ" + name.encode())
    moving.taken = moving.point()
    moving.move("", "boot", "boot/efi")
    making = moving.looked(**{"/boot/efi": "vfat"})
    words = ("/boot/efi/EFI/BOOT/BOOTX64.EFI: a copy of /boot/efi/EFI/debian/shimx64.efi; "
             "/boot/efi/EFI/BOOT/grubx64.efi: a copy of /boot/efi/EFI/debian/grubx64.efi")
    if os.path.isdir("/sys/firmware/efi"):
        pytest.skip("this machine was started by UEFI: the firmware would be told instead")
    assert making.words == (words,)


_GUID, _OTHER = "6f1c0c5e-1111-4222-8333-444455556666", "6f1c0c5e-9999-4222-8333-444455556666"
_LINE = "BootOrder: 0001\nBoot0001* {title}\tHD(1,GPT,{guid},0x800,0x20000)/File(\\EFI\\debian\\shimx64.efi)\n"


@pytest.mark.parametrize(("now", "told"), [
    ("BootOrder: 0000\nBoot0000* UiApp\n", True), (_LINE.format(title="debian", guid=_OTHER), True),
    (_LINE.format(title="debian", guid=_GUID), False), (_LINE.format(title="debian", guid=_GUID.upper()), False)])
def test_the_firmware_is_told_of_the_loader_unless_it_knows_it(
    moving: Moving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: str, told: bool
) -> None:
    """Started by UEFI: by an entry with the title that the old one had, where none leads to the loader on this very
    partition."""
    vendor = moving.root / "boot/efi/EFI/debian"
    vendor.mkdir(parents=True)
    (vendor / "shimx64.efi").write_bytes(b"MZ")
    moving.taken = moving.point()
    saved = moving.store / "points" / moving.taken.id / "boot/efibootmgr.txt"
    saved.write_text(_LINE.format(title="Server --disk x", guid=_OTHER))
    moving.move("", "boot", "boot/efi")
    names = filesystems.names_of

    def with_partition(mount: Mount) -> tuple[str, str, str]:
        return (*names(mount)[:2], _GUID if mount.source.decode() == moving.devices["boot/efi"] else "")

    monkeypatch.setattr(filesystems, "names_of", with_partition)
    monkeypatch.setattr(bootimages, "firmware", lambda: "uefi")
    monkeypatch.setattr(bootmaking, "partition_of", lambda device: (b"/dev/vdb", 3))
    tool = tmp_path / "bin/efibootmgr"
    tool.parent.mkdir()
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{now}END\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}:{os.environ['PATH']}")
    words = [w for w in moving.looked(**{"/boot/efi": "vfat"}).words if "efibootmgr" in w]
    assert words == ["efibootmgr --create --disk /dev/vdb --part 3 '--label=Server --disk x' "
                     "'--loader=\\EFI\\debian\\shimx64.efi'"][:told]


def test_programs_of_a_hostile_tree_get_nothing_of_ours(moving: Moving) -> None:
    """A /dev that is a symbolic link would have ours bound over what it leads to: nothing is run then."""
    (moving.root / "dev").rmdir()
    (moving.root / "dev").symlink_to("/srv")
    moving.boot = Boot(disks=(moving.old_disk,))
    moving.taken = moving.point()
    moving.boot = Boot(disks=(moving.disk,))
    moving.move("", "boot", "boot/efi")
    job = Job()
    assert roll(moving, moving.adopted(), job).verified
    assert moving.ran() == [] and any("/dev of the system is no directory" in w for w in job.warnings), job.warnings
    assert run("findmnt", "-n", "-R", str(moving.root)).count("\n") == 3
