"""A guest with ZFS and LVM, for what needs their kernel modules and no boot loader.

It is the lab's Debian system (image.py) with more packages in it, on a file system of its own that is booted directly
by QEMU and keeps nothing. Made once and kept beside that image, so that the systems that are installed and ruined stay
as small as they are; the compiler that Debian's ZFS modules are built with goes away again.

To write a test::

    @pytest.mark.xdist_group("zfs")
    def test_something(guest_image):
        with guest(guest_image, disk) as machine:       # /dev/vdb is the raw image `disk`, and so on
            machine.sh("modprobe zfs; zpool create tank /dev/vdb")
            machine.power_off()

`blank_disk` makes such a disk; steps.PROGRAM is where `program_in` puts rollpoint.pyz. What is on the disks outlives
a boot: `guest` again with the same ones is the next start of the machine.
"""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.conftest import loop_ext4
from tests.engine.debian import copy_network_settings, in_root
from tests.lab import image as base
from tests.lab.machine import Machine
from tests.lab.steps import PROGRAM, program

_VERSION = 1
_PACKAGES = ("thin-provisioning-tools", "xfsprogs", "zfsutils-linux")
_BUILDERS = ("zfs-dkms", "dkms", "linux-headers-cloud-amd64")
_ROOT_BYTES = 1 << 30
_MASKED = ("zfs-mount.service", "zfs-import-cache.service", "zfs-import-scan.service", "zfs-share.service",
           "zfs-volume-wait.service", "zfs-zed.service", "zfs-load-module.service")
_SOURCES = {"Components: main\n": "Components: main contrib\n", " main\n": " main contrib\n"}


def guest_files(system: base.Image) -> base.Image:
    """Return the guest's files, made first where they are missing (some ten minutes: the ZFS modules are compiled).

    `rescue` of it is the guest's root file system.
    """
    recipe = repr((_VERSION, os.path.basename(system.place), _PACKAGES, _BUILDERS, _ROOT_BYTES, _MASKED))
    where = os.path.join(system.place, f"guest-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}")
    with base.locked(where):
        if not os.path.isdir(where):
            with tempfile.TemporaryDirectory(dir=system.place, prefix="guest-work-") as work:
                os.mkdir(os.path.join(work, "out"))
                with loop_ext4(5 << 30, "-O ^has_journal -E lazy_itable_init=1") as root:
                    os.chmod(root, 0o755)
                    _build(system, root, os.path.join(work, "out"))
                os.rename(os.path.join(work, "out"), where)
    return base.Image(system.tree, *(os.path.join(where, name) for name in ("vmlinuz", "initrd.img", "root.ext4")))


def guest(files: base.Image, *disks: str, memory: int = 1024) -> Machine:
    """Start the guest with disks that are /dev/vdb, /dev/vdc and so on; its own keeps nothing."""
    return Machine([files.rescue, *disks], kernel=files.kernel, initrd=files.initrd, append="root=/dev/vda rw",
                   volatile=[files.rescue], memory=memory)


def blank_disk(place: str, name: str, size: int) -> str:
    """Make an empty disk of `size` bytes in the directory `place`; it takes no room until it is written to."""
    disk = os.path.join(place, f"{name}.raw")
    with open(disk, "wb") as file:
        file.truncate(size)
    return disk


def program_in(machine: Machine) -> None:
    """Put rollpoint.pyz of this checkout into a guest that is up, as steps.PROGRAM."""
    machine.put(PROGRAM, program())


def _build(system: base.Image, root: str, out: str) -> None:
    base.run([*base.TAR, "-xpf", system.tree, "-C", root])
    copy_network_settings(root)
    for path in [*glob.glob(f"{root}/etc/apt/sources.list.d/*"), f"{root}/etc/apt/sources.list"]:
        if os.path.isfile(path):
            text = Path(path).read_text(encoding="utf-8")
            for old, new in _SOURCES.items():
                text = text.replace(old, new)
            Path(path).write_text(text, encoding="utf-8")
    Path(f"{root}/usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
    os.chmod(f"{root}/usr/sbin/policy-rc.d", 0o755)
    with base.kernel_views(root):
        install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "-o",
                   "Dpkg::Options::=--force-confold"]
        in_root(root, ["apt-get", "update"], timeout=600)
        in_root(root, [*install, "--reinstall", "perl-base"], timeout=600)      # of which the small system lacks parts
        in_root(root, [*install, *_PACKAGES], timeout=1800)
        _zfs_modules(root, install)
        in_root(root, ["systemctl", "mask", *_MASKED], check=False)
    base.slim(root)
    release = _release(root)
    for name in ("vmlinuz", "initrd.img"):
        shutil.copyfile(f"{root}/boot/{name}-{release}", f"{out}/{name}")
    base.make_ext4(f"{out}/root.ext4", _ROOT_BYTES, root, "guest")


def _zfs_modules(root: str, install: list[str]) -> None:
    """Compile them, keep them, and take away what that needed."""
    before = set(in_root(root, ["dpkg-query", "-W", "-f", "${Package}\n"]).stdout.split())
    in_root(root, [*install, "linux-image-cloud-amd64", *_BUILDERS], timeout=3600)
    release = _release(root)
    built = glob.glob(f"{root}/lib/modules/{release}/updates/dkms/*.ko*")
    assert any(os.path.basename(path).startswith("zfs.ko") for path in built), f"no ZFS module for {release}: {built}"
    kept = f"{root}/lib/modules/{release}/extra"
    os.makedirs(kept, exist_ok=True)
    for path in built:
        shutil.copy(path, kept)
    after = set(in_root(root, ["dpkg-query", "-W", "-f", "${Package}\n"]).stdout.split())
    builders = [name for name in after - before if not name.startswith("linux-image")]
    in_root(root, ["apt-get", "purge", "-y", "-q", *builders], timeout=900)
    in_root(root, ["depmod", release])
    subprocess.run(["chroot", root, "modinfo", "-k", release, "zfs"], check=True, capture_output=True)
    subprocess.run(["chroot", root, "zpool", "--help"], check=True, capture_output=True)


def _release(root: str) -> str:
    """Return the newest kernel of the system that has both an image and modules."""
    found = [name for name in os.listdir(f"{root}/lib/modules") if os.path.exists(f"{root}/boot/vmlinuz-{name}")]
    return max(found, key=lambda name: os.stat(f"{root}/boot/vmlinuz-{name}").st_mtime)
