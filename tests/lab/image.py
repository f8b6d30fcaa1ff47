"""The lab's Debian system: made once with debootstrap, kept outside the checkout.

The cache holds, for a release and a version of this recipe, ``system.tar`` (a whole bootable tree, root's and /boot's
files together), ``vmlinuz`` and ``initrd.img`` for a direct boot, and ``rescue.ext4`` (the same tree on a file system: the
rescue system that broken machines are mended from). Building takes about ten minutes.
"""

from __future__ import annotations

import fcntl
import glob
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.engine.debian import cache_dir, copy_network_settings, in_root, mirror, suite

HERE = Path(__file__).resolve().parent
_KERNEL = "linux-image-cloud-amd64"
_PACKAGES = (
    _KERNEL, "systemd-sysv", "udev", "dbus", "kmod", "initramfs-tools", "busybox", "python3", "rsync", "zstd", "lvm2",
    "thin-provisioning-tools", "mdadm", "grub-common", "grub2-common", "grub-pc-bin", "grub-efi-amd64-bin", "efibootmgr",
    "fdisk", "gdisk", "parted", "e2fsprogs", "xfsprogs", "btrfs-progs", "dosfstools", "acl", "attr", "libcap2-bin", "iproute2",
    "pciutils", "dmidecode", "procps")
_BUILD = ("linux-headers-cloud-amd64", "zfs-dkms")
_RESCUE_BYTES = 3 << 30
_MODULES = ("virtio_blk", "virtio_pci", "virtio_console", "ext4", "xfs", "btrfs", "vfat", "nls_cp437", "nls_ascii",
            "dm_mod", "dm_snapshot", "dm_thin_pool", "overlay", "loop", "efivarfs")
_SERVICE = """[Unit]
Description=Takes orders of the lab
After=local-fs.target systemd-udevd.service
[Service]
ExecStart=/usr/bin/python3 /usr/local/sbin/lab-agent
Restart=always
RestartSec=1
[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True)
class Image:
    """Where the pieces are."""

    tree: str       # system.tar
    kernel: str
    initrd: str
    rescue: str     # a raw ext4 image, to be booted with root=/dev/vda


def image() -> Image:
    """Return the image, built first where it is missing."""
    recipe = b"".join((HERE / name).read_bytes() for name in ("image.py", "agent.py"))
    name = f"lab-{suite()}-{hashlib.sha256(recipe).hexdigest()[:12]}"
    where = os.path.join(cache_dir(), name)
    with open(where + ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.isdir(where):
            with tempfile.TemporaryDirectory(dir=cache_dir(), prefix="lab-work-") as work:
                _build(work)
                os.rename(os.path.join(work, "out"), where)
            for old in glob.glob(os.path.join(cache_dir(), f"lab-{suite()}-*")):
                if not old.startswith(where):
                    shutil.rmtree(old) if os.path.isdir(old) else os.unlink(old)
    return Image(*(os.path.join(where, part) for part in ("system.tar", "vmlinuz", "initrd.img", "rescue.ext4")))


def _run(argv: Sequence[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"


def _build(work: str) -> None:
    root, out = os.path.join(work, "root"), os.path.join(work, "out")
    os.mkdir(out)
    _run(["debootstrap", "--variant=minbase", "--components=main,contrib", suite(), root, *mirror()])
    _sources(root)
    with open(f"{root}/usr/sbin/policy-rc.d", "w", encoding="ascii") as file:
        file.write("#!/bin/sh\nexit 101\n")  # nothing starts while it is built
    os.chmod(f"{root}/usr/sbin/policy-rc.d", 0o755)
    with _kernel_views(root):
        in_root(root, ["apt-get", "update"], timeout=600)
        install = ["apt-get", "install", "-y", "-q", "--no-install-recommends"]
        in_root(root, [*install, *_PACKAGES], timeout=1800)
        _zfs(root, install)
        _settings(root)
        in_root(root, ["update-initramfs", "-u", "-k", "all"], timeout=900)
    os.unlink(f"{root}/usr/sbin/policy-rc.d")
    _slim(root)
    for part, pattern in (("vmlinuz", "vmlinuz-*"), ("initrd.img", "initrd.img-*")):
        shutil.copyfile(glob.glob(os.path.join(root, "boot", pattern))[0], os.path.join(out, part))
    tar = ["tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls"]
    _run([*tar, "-cpf", os.path.join(out, "system.tar"), "-C", root, "."])
    rescue = os.path.join(out, "rescue.ext4")
    with open(rescue, "wb") as file:
        file.truncate(_RESCUE_BYTES)
    _run(["mkfs.ext4", "-q", "-F", "-L", "rescue", "-d", root, rescue])


def _sources(root: str) -> None:
    copy_network_settings(root)
    for path in [*glob.glob(f"{root}/etc/apt/sources.list.d/*"), f"{root}/etc/apt/sources.list"]:
        if os.path.isfile(path):
            text = Path(path).read_text(encoding="utf-8")
            Path(path).write_text(text.replace("Components: main", "Components: main contrib").replace(
                " main\n", " main contrib\n").replace("contrib contrib", "contrib"), encoding="utf-8")


@contextmanager
def _kernel_views(root: str) -> Iterator[None]:
    """Give the tree /proc, /sys and /dev while packages are installed."""
    places = [f"{root}/{name}" for name in ("proc", "sys", "dev")]
    for place in places:
        _run(["mount", "--rbind", "/" + os.path.basename(place), place])
        _run(["mount", "--make-rslave", place])
    try:
        yield
    finally:
        for place in places:
            subprocess.run(["umount", "-R", "-l", place], check=False)


def _zfs(root: str, install: Sequence[str]) -> None:
    """Build the ZFS modules, keep them, and take the compiler away again."""
    in_root(root, [*install, *_BUILD, "zfsutils-linux"], timeout=3600)
    release = os.listdir(f"{root}/lib/modules")[0]
    built = glob.glob(f"{root}/lib/modules/{release}/updates/dkms/*.ko*")
    assert any("zfs.ko" in path for path in built), "the ZFS module was not built"
    kept = f"{root}/lib/modules/{release}/extra"
    os.makedirs(kept, exist_ok=True)
    for path in built:
        shutil.copy(path, kept)
    in_root(root, ["apt-get", "purge", "-y", "-q", *_BUILD, "dkms"], timeout=900)
    in_root(root, ["apt-get", "autoremove", "--purge", "-y", "-q"], timeout=900)
    in_root(root, ["depmod", release])
    assert os.path.exists(f"{root}/usr/sbin/zpool") or os.path.exists(f"{root}/sbin/zpool"), "zpool went with dkms"


def _settings(root: str) -> None:
    """Make it a machine: agent, host name, modules of the initramfs, nothing that delays a boot."""
    def write(path: str, text: str, mode: int = 0o644) -> None:
        os.makedirs(os.path.dirname(f"{root}/{path}"), exist_ok=True)
        Path(f"{root}/{path}").write_text(text, encoding="utf-8")
        os.chmod(f"{root}/{path}", mode)

    write("usr/local/sbin/lab-agent", (HERE / "agent.py").read_text(encoding="utf-8"), 0o755)
    write("etc/systemd/system/lab-agent.service", _SERVICE)
    write("etc/hostname", "lab\n")
    write("etc/hosts", "127.0.0.1 localhost lab\n")
    write("etc/fstab", "")
    write("etc/machine-id", "0" * 31 + "1\n")
    write("etc/initramfs-tools/modules", "\n".join(_MODULES) + "\n")
    write("etc/initramfs-tools/conf.d/lab", "MODULES=most\nCOMPRESS=zstd\nRESUME=none\n")
    in_root(root, ["systemctl", "enable", "lab-agent.service"])
    for unit in ("apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "fstrim.timer", "man-db.timer",
                 "systemd-timesyncd.service", "zfs-mount.service", "zfs-import-cache.service", "zfs-share.service",
                 "zfs-zed.service", "getty@tty1.service", "serial-getty@ttyS0.service"):
        in_root(root, ["systemctl", "mask", unit], check=False)
    in_root(root, ["passwd", "-d", "root"])


def _slim(root: str) -> None:
    in_root(root, ["apt-get", "clean"])
    for name in ("usr/share/doc", "usr/share/man", "usr/share/locale", "var/lib/apt/lists", "var/cache/apt",
                 "usr/share/info"):
        shutil.rmtree(f"{root}/{name}", ignore_errors=True)
        os.makedirs(f"{root}/{name}", exist_ok=True)
    for name in ("etc/resolv.conf", "etc/apt/apt.conf.d/99proxy"):
        if os.path.lexists(f"{root}/{name}"):
            os.unlink(f"{root}/{name}")
