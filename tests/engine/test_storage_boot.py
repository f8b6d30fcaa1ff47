"""Will it boot after going back to a snapshot? Systems that boot, made by hand on a real btrfs; one thing is amiss."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from engine.config import Boot
from engine.errors import RefusedError
from engine.events import Job
from engine.points import RestorePoint
from engine.results import Finding
from engine.service import Engine
from tests.boot_trees import BOOT, NEW, OLD, ROOT, SWAP, debian, kernel, ramdisk, write
from tests.engine.btrfs_machine import BtrfsMachine
from tests.engine.loops import loops, run, uuid_of

pytestmark = pytest.mark.root
LATER = "6.1.0-20-amd64"
LAST = "6.1.0-21-amd64"


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[BtrfsMachine]:
    """A Debian on the subvolumes of a btrfs; its disks are not looked at, it has no boot code."""
    with loops(tmp_path) as made:
        found = BtrfsMachine(made, tmp_path)
        found.config = dataclasses.replace(found.config, boot=Boot(()))
        yield found


def whole(machine: BtrfsMachine, boot: str = "") -> None:
    """Write a system that boots; with `boot` (a UUID) its /boot is a file system of its own, and mounted."""
    kept = (machine.root / "etc/machine-id").read_text()
    debian(machine.root, separate=bool(boot))
    write(machine.root, "etc/machine-id", kept)
    real = uuid_of(machine.device)
    lines = [f"UUID={real} / btrfs subvol=/@ 0 0", f"UUID={real} /home btrfs subvol=/@home 0 0"]
    write(machine.root, "etc/fstab", "\n".join([*lines, *([f"UUID={boot} /boot ext4 defaults 0 2"] if boot else [])]))
    menu = machine.root / "boot/grub/grub.cfg"
    menu.write_text(menu.read_text().replace(ROOT, real).replace(BOOT, boot or real).replace(SWAP, real))


def upgrade(machine: BtrfsMachine) -> None:
    """Replace both kernels by later ones, as an upgrade and an autoremove do."""
    for old, new in ((OLD, LATER), (NEW, LAST)):
        for name in (f"boot/vmlinuz-{old}", f"boot/initrd.img-{old}"):
            (machine.root / name).unlink()
        shutil.rmtree(machine.root / f"usr/lib/modules/{old}")
        write(machine.root, f"boot/vmlinuz-{new}", kernel(new))
        write(machine.root, f"boot/initrd.img-{new}", ramdisk())
        write(machine.root, f"usr/lib/modules/{new}/modules.dep", "")
        menu = machine.root / "boot/grub/grub.cfg"
        menu.write_text(menu.read_text().replace(old, new))


def said(findings: Sequence[Finding], *levels: str) -> list[str]:
    """Return what findings say of booting."""
    return [f.text for f in findings if f.text.startswith("after this rollback: ") and (
        not levels or f.level in levels)]


def planned(machine: BtrfsMachine, point: RestorePoint, *scope: str) -> tuple[Finding, ...]:
    return Engine(machine.config).plan(point, scope or ("system",), Job()).findings


def native(machine: BtrfsMachine, point: RestorePoint) -> tuple[Finding, ...]:
    return Engine(machine.config).native_plan(point).findings


def test_a_broken_system_will_boot_again(machine: BtrfsMachine) -> None:
    whole(machine)
    point = machine.take()
    shutil.rmtree(machine.root / "boot")
    shutil.rmtree(machine.root / "usr/lib/modules")
    for findings in (planned(machine, point), native(machine, point)):
        assert said(findings) == [f"after this rollback: it will boot, as far as can be seen (kernel {NEW})"]
    # /boot alone comes back: its kernels have no modules then.
    assert any("has no modules" in text for text in said(planned(machine, point, "path=/boot"), "warning"))
    assert said(planned(machine, point, "path=/usr/lib/modules"), "warning")
    assert said(planned(machine, point, "fs=/home")) == []


@pytest.mark.parametrize("lost,word", [
    (f"boot/initrd.img-{NEW}", "initrd.img"), (f"boot/vmlinuz-{NEW}", "vmlinuz"), ("boot/grub/grub.cfg", "boot menu"),
    (f"usr/lib/modules/{NEW}/modules.dep", "modules"), ("usr/sbin/init", "init"), ("etc/fstab", "fstab")])
def test_what_a_point_lacks_is_warned_of(machine: BtrfsMachine, lost: str, word: str) -> None:
    """The whole point is chosen and nothing stays around it: the admin may know better, so it is no blocker."""
    whole(machine)
    shutil.move(machine.root / lost, machine.place / "kept")
    if lost.endswith("init"):
        (machine.root / "usr/lib/systemd/systemd").unlink()
    point = machine.take()
    shutil.move(machine.place / "kept", machine.root / lost)
    if lost.endswith("init"):
        write(machine.root, "usr/lib/systemd/systemd", b"\x7fELF")
    for findings in (planned(machine, point), native(machine, point)):
        assert any(word in text for text in said(findings, "warning")), said(findings)
        assert said(findings, "blocker") == [] and not any("it will boot" in text for text in said(findings))


@pytest.mark.parametrize("path", ["etc/fstab", "boot/grub/grub.cfg"])
def test_file_systems_that_are_not_here_any_more_are_named(machine: BtrfsMachine, path: str) -> None:
    whole(machine)
    good = (machine.root / path).read_text()
    write(machine.root, path, good.replace(uuid_of(machine.device), ROOT))
    point = machine.take()
    write(machine.root, path, good)
    assert any(ROOT in text for text in said(planned(machine, point), "warning"))


def test_a_boot_that_stays_must_go_with_the_point(machine: BtrfsMachine) -> None:
    device = machine.loops.make("ext4", mib=64)
    machine.loops.mount(device, machine.root / "boot")
    whole(machine, uuid_of(device))
    point = machine.take()
    assert said(planned(machine, point)) == [f"after this rollback: it will boot, as far as can be seen (kernel {NEW})"]
    upgrade(machine)
    now = machine.take()
    assert said(planned(machine, now)) == [f"after this rollback: it will boot, as far as can be seen (kernel {LAST})"]
    engine = Engine(machine.config)
    for findings in (planned(machine, point), planned(machine, point, "path=/usr"), native(machine, point)):
        assert "after this rollback: it will not boot" in " ".join(said(findings, "info"))
        blockers = [f for f in findings if f.level == "blocker"]
        assert blockers and any("modules" in f.text and LAST in f.text for f in blockers)
    assert any("(/boot)" in f.hint for f in native(machine, point))
    with pytest.raises(RefusedError):
        engine.set_back(engine.native_plan(point), Job())
    assert machine.at_the_top() == [".rollpoint", "@", "@home"]
    # One and the same thing is said once, and a rollback of something else says nothing.
    texts = [f.text for f in planned(machine, point)]
    assert len(texts) == len(set(texts)) and sum("keeps its kernels" in text for text in texts) == 1
    assert not any(text.endswith("has no modules in /lib/modules") for text in texts)
    assert said(planned(machine, point, "fs=/home")) == [] and said(planned(machine, point, "path=/etc/hostname")) == []


def test_a_point_that_cannot_be_opened_is_said_not_to_have_been_looked_at(
        machine: BtrfsMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    whole(machine)
    point = machine.take()

    def closed(*_: object) -> None:
        raise RefusedError("no mount is left")

    monkeypatch.setattr("engine.volumes.btrfs.compose", closed)
    notes = [f.text for f in native(machine, point) if f.level == "info"]
    assert notes == ["whether the system will boot was not looked at: no mount is left"]
    home = dataclasses.replace(point, parts=point.parts[1:])
    assert not [f for f in native(machine, home) if "boot" in f.text]


def test_links_of_the_point_are_followed_in_it_and_lead_out_to_what_stays(machine: BtrfsMachine) -> None:
    """The point's /lib leads to its own /usr/lib; a modules directory that is a subvolume of its own stays."""
    whole(machine)
    shutil.rmtree(machine.root / "usr/lib/modules")
    run("btrfs", "subvolume", "create", str(machine.root / "usr/lib/modules"))
    for release in (NEW, OLD):
        write(machine.root, f"usr/lib/modules/{release}/modules.dep", "")
    point = machine.take()
    os.unlink(machine.root / "lib")
    (machine.root / "lib").mkdir()
    assert said(planned(machine, point)) == [f"after this rollback: it will boot, as far as can be seen (kernel {NEW})"]
    shutil.rmtree(machine.root / f"usr/lib/modules/{NEW}")
    assert any(NEW in text and "modules" in text for text in said(planned(machine, point), "warning"))
