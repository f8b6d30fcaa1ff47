"""The lab's Debian system: made once with debootstrap, kept outside the checkout.

The cache holds, for a release and a recipe, ``system.tar`` (a whole bootable tree, root's and /boot's files together),
``vmlinuz`` and ``initrd.img`` for a direct boot, and ``rescue.ext4`` (the same tree on a file system: the rescue system
that broken machines are mended from). It is small and quiet on purpose, for each instruction of a guest is emulated:
nothing of it writes to its disk by itself, so that a record of its files stays true until somebody changes them.

The name of the cache is made from what goes into the system (packages, settings, what is taken away), not from this
file's text: edits that do not matter leave it as it is. Raise _RECIPE when a step of the building changes.
"""

from __future__ import annotations

import ast
import fcntl
import glob
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import loop_ext4
from tests.engine.debian import cache_dir, copy_network_settings, in_root, mirror, suite

HERE = Path(__file__).resolve().parent
_RECIPE = 5
_PACKAGES = (
    "linux-image-cloud-amd64", "systemd-sysv", "udev", "kmod", "initramfs-tools", "busybox", "python3", "rsync", "zstd",
    "lvm2", "grub-common", "grub2-common", "grub-pc-bin", "grub-efi-amd64-bin", "efibootmgr", "fdisk", "e2fsprogs",
    "dosfstools", "acl", "attr", "libcap2-bin")
_RESCUE_BYTES = 1 << 30
_KEPT_DAYS = 7
TAR = ("tar", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls")
# The initramfs loads these; whatever else stays of the kernel's modules is loaded when it is asked for.
_BOOT_MODULES = ("virtio_blk", "virtio_pci", "virtio_console", "ext4", "dm_mod")
_KEPT_MODULES = re.compile(
    r"kernel/(drivers/(block/(virtio|loop|brd|nbd)|virtio|md|char/(virtio|hw_random)|scsi|ata|nvme|firmware/efi|dax)"
    r"|fs/(ext4|jbd2|mbcache|fat|nls|overlayfs|autofs|fuse|isofs|squashfs|xfs|efivarfs)|lib|crypto|arch/x86/crypto)")
_TAKEN_AWAY = (
    "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/zoneinfo", "usr/share/i18n",
    "usr/share/lintian", "usr/share/bash-completion", "usr/share/gdb", "usr/lib/x86_64-linux-gnu/gconv",
    "usr/lib/x86_64-linux-gnu/perl-base/unicore", "usr/lib/grub/x86_64-efi/monolithic", "var/lib/apt/lists",
    "var/cache/apt", "var/cache/debconf", "var/log", "etc/resolv.conf", "etc/apt/apt.conf.d", "etc/ssl/certs")
_MASKED = (
    "apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer",
    "dpkg-db-backup.timer", "systemd-timesyncd.service", "systemd-random-seed.service", "systemd-update-utmp.service",
    "systemd-update-utmp-runlevel.service", "systemd-update-done.service", "systemd-pstore.service", "rsync.service",
    "systemd-binfmt.service", "proc-sys-fs-binfmt_misc.automount", "getty@tty1.service", "serial-getty@ttyS0.service",
    "getty.target", "systemd-logind.service", "systemd-ask-password-console.path", "systemd-ask-password-wall.path",
    "systemd-tmpfiles-clean.timer", "dev-hugepages.mount", "dev-mqueue.mount", "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount", "sys-fs-fuse-connections.mount", "sys-kernel-config.mount", "modprobe@.service",
    "systemd-sysusers.service", "lvm2-monitor.service", "systemd-user-sessions.service")
_SETTINGS = {
    "etc/systemd/system/lab-agent.service": """[Unit]
Description=Takes orders of the lab
DefaultDependencies=no
After=local-fs.target systemd-udev-trigger.service
Requires=local-fs.target
Conflicts=shutdown.target emergency.target rescue.target
Before=shutdown.target
[Service]
ExecStart=/usr/bin/python3 -S -E /usr/local/sbin/lab-agent
Restart=always
RestartSec=1
[Install]
WantedBy=multi-user.target
""",
    "etc/hostname": "lab\n",
    "etc/hosts": "127.0.0.1 localhost lab\n",
    "etc/fstab": "",
    "etc/machine-id": "0" * 31 + "1\n",
    "etc/systemd/journald.conf.d/lab.conf": "[Journal]\nStorage=volatile\nAudit=no\nForwardToSyslog=no\n",
    "etc/systemd/system.conf.d/lab.conf": "[Manager]\nDefaultTimeoutStartSec=600s\nDefaultDeviceTimeoutSec=600s\n",
    "etc/initramfs-tools/modules": "\n".join(_BOOT_MODULES) + "\n",
    "etc/initramfs-tools/conf.d/lab": "MODULES=list\nCOMPRESS=lz4\nRESUME=none\nFSTYPE=ext4\n",
    "etc/dpkg/dpkg.cfg.d/lab": "force-unsafe-io\npath-exclude=/usr/share/doc/*\npath-exclude=/usr/share/man/*\n"
                               "path-exclude=/usr/share/locale/*\n",
}


@dataclass(frozen=True)
class Image:
    """Where the pieces are."""

    tree: str       # system.tar
    kernel: str
    initrd: str
    rescue: str     # a raw ext4 image, to be booted with root=/dev/vda

    @property
    def place(self) -> str:
        """The directory of the cache, for what else is made from this image."""
        return os.path.dirname(self.tree)


def image() -> Image:
    """Return the image, built first where it is missing (a few minutes; one process builds, others wait)."""
    recipe = repr((_RECIPE, _PACKAGES, _RESCUE_BYTES, _KEPT_MODULES.pattern, _TAKEN_AWAY, _MASKED, _SETTINGS,
                   _code(HERE / "agent.py")))
    where = os.path.join(cache_dir(), f"lab-{suite()}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}")
    with locked(where):
        if not os.path.isdir(where):
            with tempfile.TemporaryDirectory(dir=cache_dir(), prefix="lab-work-") as work:
                os.mkdir(os.path.join(work, "out"))
                with loop_ext4(4 << 30, "-O ^has_journal -E lazy_itable_init=1") as root:
                    os.chmod(root, 0o755)
                    _build(root, os.path.join(work, "out"))
                os.rename(os.path.join(work, "out"), where)
            _forget_unused()
        os.utime(where)
    return Image(*(os.path.join(where, part) for part in ("system.tar", "vmlinuz", "initrd.img", "rescue.ext4")))


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Hold the lock that goes with a file or directory of the cache, whatever test process asks for it."""
    with open(path + ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _code(path: Path) -> str:
    """Return a Python file's code without what does not matter to it: comments, blank lines, texts of documentation."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            del node.body[0]
    return ast.dump(tree)


def _forget_unused() -> None:
    """Remove the images of other recipes that nobody has asked for in a week."""
    for old in glob.glob(os.path.join(cache_dir(), f"lab-{suite()}-*[!k]")):
        if os.path.isdir(old) and os.stat(old).st_mtime < time.time() - _KEPT_DAYS * 86400:
            shutil.rmtree(old, ignore_errors=True)


def run(argv: Sequence[str], timeout: float = 1800) -> str:
    """Run a program of this machine and return what it wrote; an AssertionError has its last words."""
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout)
    assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def _build(root: str, out: str) -> None:
    run(["debootstrap", "--variant=minbase", suite(), root, *mirror()])
    copy_network_settings(root)
    _write(root, "usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)    # nothing starts while it is built
    for path, text in _SETTINGS.items():
        _write(root, path, text)
    _write(root, "usr/local/sbin/lab-agent", (HERE / "agent.py").read_text(encoding="utf-8"), 0o755)
    with kernel_views(root):
        in_root(root, ["apt-get", "update"], timeout=600)
        in_root(root, ["apt-get", "install", "-y", "-q", "--no-install-recommends",
                       "-o", "Dpkg::Options::=--force-confold", *_PACKAGES], timeout=1800)
        in_root(root, ["passwd", "-d", "root"])
        in_root(root, ["systemctl", "enable", "lab-agent.service"])
        in_root(root, ["systemctl", "mask", *_MASKED], check=False)
        shutil.copy(f"{root}/usr/share/systemd/tmp.mount", f"{root}/etc/systemd/system/tmp.mount")
        in_root(root, ["systemctl", "enable", "tmp.mount"])
        _slim_modules(root)
        in_root(root, ["update-initramfs", "-u", "-k", "all"], timeout=900)
        in_root(root, ["python3", "-m", "compileall", "-q", "/usr/lib/python3.11"], check=False)
    slim(root)
    for part, pattern in (("vmlinuz", "vmlinuz-*"), ("initrd.img", "initrd.img-*")):
        shutil.copyfile(glob.glob(f"{root}/boot/{pattern}")[0], f"{out}/{part}")
    run([*TAR, "-cpf", f"{out}/system.tar", "-C", root, "."])
    make_ext4(f"{out}/rescue.ext4", _RESCUE_BYTES, root, "rescue")


def make_ext4(image_file: str, size: int, tree: str, label: str, *options: str, offset: int = 0) -> None:
    """Make an ext4 of `size` bytes at an offset of an image file; it holds the files below `tree` ("" for none)."""
    with open(image_file, "ab") as file:
        file.truncate(max(offset + size, os.path.getsize(image_file)))
    run(["mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "1", "-L", label, "-E", f"lazy_itable_init=1,offset={offset}",
         *options, *(["-d", tree] if tree else []), image_file, str(size // 4096)])


def _write(root: str, path: str, text: str, mode: int = 0o644) -> None:
    os.makedirs(os.path.dirname(f"{root}/{path}"), exist_ok=True)
    Path(f"{root}/{path}").write_text(text, encoding="utf-8")
    os.chmod(f"{root}/{path}", mode)


@contextmanager
def kernel_views(root: str) -> Iterator[None]:
    """Give the tree /proc, /sys and /dev while packages are installed."""
    places = [f"{root}/{name}" for name in ("proc", "sys", "dev")]
    for place in places:
        run(["mount", "--rbind", "/" + os.path.basename(place), place])
        run(["mount", "--make-rslave", place])
    try:
        yield
    finally:
        for place in places:
            subprocess.run(["umount", "-R", "-l", place], check=False)


def _slim_modules(root: str) -> None:
    """Take away the modules that no machine of the lab has a use for: udev loads every one that fits some device."""
    release = os.listdir(f"{root}/lib/modules")[0]
    base = f"{root}/lib/modules/{release}"
    for place, _, names in os.walk(f"{base}/kernel"):
        for name in names:
            if not _KEPT_MODULES.match(os.path.relpath(os.path.join(place, name), base)):
                os.unlink(os.path.join(place, name))
    in_root(root, ["find", f"/lib/modules/{release}/kernel", "-type", "d", "-empty", "-delete"])
    in_root(root, ["depmod", release])


def slim(root: str) -> None:
    """Take away what no machine of the lab has a use for."""
    in_root(root, ["apt-get", "clean"])
    os.unlink(f"{root}/usr/sbin/policy-rc.d")
    for name in _TAKEN_AWAY:
        path = f"{root}/{name}"
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
            os.makedirs(path)
        elif os.path.lexists(path):
            os.unlink(path)
    os.makedirs(f"{root}/backup", exist_ok=True)    # where the disk of the restore points is mounted
