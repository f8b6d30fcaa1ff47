"""The server of `rollpoint demo`: a small tree that looks like a Debian machine, and what happens to it.

Everything here is made, nothing is copied from the machine it runs on. Contents are the same every time
(seeded), only the times follow the clock that `Machine` is given. engine/demo.py takes the points in between.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from datetime import datetime, timedelta

from engine import demo_text as text

Content = bytes | str

OLD_KERNEL, KERNEL, NEW_KERNEL = "6.1.0-26-amd64", "6.1.0-27-amd64", "6.1.0-28-amd64"
_MIB = 1 << 20

# Names that have broken other programs: control bytes, markup of the screen library, no UTF-8, options,
# globs, text that runs the other way, the longest name there can be.
HOSTILE_NAMES = (
    b"[red]not markup[/red].txt", b"a[/]b", b"[@click=app.quit]press me", b"two\nlines", b"tab\there",
    b"esc\x1b[31m", b"caf\xe9 (latin-1)", "café (utf-8)".encode(), b"--delete", b"*", b" blank at both ends ",
    b"back\\slash", "\u202egpj.exe".encode(), b"$(reboot)", b"'quotes\"", b"L" * 255,
)


class Machine:
    """A tree under `root` that is edited as of `now`: every change gets that time, its directory too."""

    def __init__(self, root: str, now: datetime) -> None:
        self.root = os.fsencode(root)
        self.now = now
        self.random = random.Random(2009)
        os.makedirs(self.root, exist_ok=True)
        self._touch(self.root)

    def at(self, path: Content) -> bytes:
        """Return the real path of a path of the machine (``etc/hosts`` or ``/etc/hosts``)."""
        return os.path.join(self.root, os.fsencode(path).lstrip(b"/"))

    def write(self, path: Content, content: Content = b"", mode: int = 0o644) -> None:
        """Create or replace a file, with the directories above it."""
        where = self._room_for(path)
        with open(where, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.chmod(where, mode)
        self._stamp(where)

    def append(self, path: Content, content: str) -> None:
        """Let a log grow."""
        with open(self.at(path), "ab") as file:
            file.write(content.encode())
        self._stamp(self.at(path))

    def edit(self, path: Content, old: str, new: str) -> None:
        """Replace a text that must be in the file, as an editor does (a new file takes its place)."""
        where = self.at(path)
        with open(where, "rb") as file:
            before = file.read()
        assert old.encode() in before, (path, old)
        mode = os.stat(where).st_mode & 0o7777
        os.unlink(where)
        self.write(path, before.replace(old.encode(), new.encode()), mode)

    def symlink(self, path: Content, target: str) -> None:
        """Make a symbolic link, with the directories above it."""
        where = self._room_for(path)
        os.symlink(os.fsencode(target), where)
        self._stamp(where)

    def directory(self, path: Content, mode: int = 0o755) -> None:
        """Make a directory, with those above it."""
        os.makedirs(self._room_for(path), exist_ok=True)
        os.chmod(self.at(path), mode)
        self._stamp(self.at(path))

    def remove(self, path: Content) -> None:
        """Remove a file, a link or a whole directory."""
        where = self.at(path)
        if os.path.isdir(where) and not os.path.islink(where):
            shutil.rmtree(where)
        else:
            os.unlink(where)
        self._touch(os.path.dirname(where))

    def age(self, path: Content) -> None:
        """Give something that was made or changed by other means the present moment's time."""
        self._stamp(self.at(path))

    def blob(self, size: int) -> bytes:
        """Return bytes that do not compress, as kernels and archives hold."""
        return self.random.randbytes(size)

    def program(self, size: int) -> bytes:
        """Return bytes that compress a little better than half, as programs do."""
        lines = (self.random.randbytes(24) + bytes(40) for _ in range(size // 64))
        return b"\x7fELF\x02\x01\x01" + b"".join(lines)

    def _room_for(self, path: Content) -> bytes:
        where = self.at(path)
        folder = os.path.dirname(where)
        new = []
        while not os.path.isdir(folder):
            new.append(folder)
            folder = os.path.dirname(folder)
        for each in reversed(new):
            os.mkdir(each)
        for each in (*new, folder):
            self._touch(each)
        return where

    def _stamp(self, where: bytes) -> None:
        self._touch(where)
        self._touch(os.path.dirname(where))

    def _touch(self, where: bytes) -> None:
        stamp = self.now.timestamp() + self.random.random() * 60
        with contextlib.suppress(NotImplementedError):
            os.utime(where, (stamp, stamp), follow_symlinks=False)


def install(machine: Machine) -> None:
    """Make the machine as it was on its first day."""
    for path in ("bin", "sbin", "lib"):
        machine.symlink(path, f"usr/{path}")
    for path, mode in (("dev", 0o755), ("proc", 0o555), ("sys", 0o555), ("run", 0o755), ("tmp", 0o1777),
                       ("mnt", 0o755), ("root", 0o700), ("var/tmp", 0o1777)):
        machine.directory(path, mode)
    _etc(machine)
    for kernel in (OLD_KERNEL, KERNEL):
        install_kernel(machine, kernel)
    machine.write("boot/grub/grub.cfg", text.grub_cfg([KERNEL, OLD_KERNEL]), 0o444)
    machine.write("boot/grub/grubenv", "# GRUB Environment Block\n".ljust(1024, "#"))
    _usr(machine)
    _var(machine)
    _people(machine)


def _etc(machine: Machine) -> None:
    for path, content in text.ETC.items():
        machine.write(f"etc/{path}", content, 0o640 if path in ("shadow", "sudoers") else 0o644)
    for host in ("rsa", "ed25519"):
        machine.write(f"etc/ssh/ssh_host_{host}_key", f"not a key: {machine.blob(64).hex()}\n", 0o600)
    for name, unit in text.UNITS.items():
        machine.write(f"usr/lib/systemd/system/{name}.service", unit)
        machine.symlink(f"etc/systemd/system/multi-user.target.wants/{name}.service",
                        f"/usr/lib/systemd/system/{name}.service")
    machine.symlink("etc/nginx/sites-enabled/default", "../sites-available/default")
    machine.symlink("etc/localtime", "/usr/share/zoneinfo/Etc/UTC")
    machine.write("etc/ssh/.sshd_config.swp", b"b0VIM 9.0")


def install_kernel(machine: Machine, version: str) -> None:
    """Put a kernel, its initramfs and its modules where a package puts them."""
    machine.write(f"boot/vmlinuz-{version}", machine.blob(2 * _MIB))
    machine.write(f"boot/initrd.img-{version}", machine.blob(3 * _MIB))
    machine.write(f"boot/System.map-{version}", text.system_map(version), 0o600)
    machine.write(f"boot/config-{version}", text.kernel_config(version))
    modules = [f"kernel/{name}.ko" for name in text.MODULES]
    for name in modules:
        machine.write(f"usr/lib/modules/{version}/{name}", machine.program(12_000))
    machine.write(f"usr/lib/modules/{version}/modules.dep", "".join(f"{name}:\n" for name in modules))
    machine.write(f"usr/lib/modules/{version}/modules.builtin", "kernel/fs/ext4/ext4.ko\n")


def remove_kernel(machine: Machine, version: str) -> None:
    """Take away all that `install_kernel` put there."""
    for name in ("vmlinuz", "initrd.img", "System.map", "config"):
        machine.remove(f"boot/{name}-{version}")
    machine.remove(f"usr/lib/modules/{version}")


def _usr(machine: Machine) -> None:
    for path, size in text.PROGRAMS.items():
        machine.write(f"usr/{path}", machine.program(size), 0o755)
    os.link(machine.at("usr/bin/perl"), machine.at("usr/bin/perl5.36.0"))
    machine.age("usr/bin/perl")
    os.chmod(machine.at("usr/bin/sudo"), 0o4755)
    for number in range(160):
        package = text.PACKAGES[number % len(text.PACKAGES)][0]
        machine.write(f"usr/share/doc/{package}/chapter-{number:03}.txt", text.prose(machine.random, 12))


def _var(machine: Machine) -> None:
    write_packages(machine, dict(text.PACKAGES))
    for name in text.LOGS:
        machine.write(f"var/log/{name}", "", 0o640)
    grow_logs(machine, 2500)
    for name, size in (("ibdata1", 4 * _MIB), ("shop/orders.ibd", _MIB), ("shop/customers.ibd", _MIB)):
        machine.write(f"var/lib/mysql/{name}", machine.blob(size), 0o660)
    for number in range(12):
        machine.write(f"var/cache/apt/archives/package-{number:02}.deb", machine.blob(60_000))
    machine.write("run/nginx.pid", "812\n")
    machine.write("tmp/session", "gone after a reboot\n")
    os.mkfifo(machine.at("var/lib/notify"), 0o600)
    machine.age("var/lib/notify")
    image = machine.at("var/lib/machines/test.img")
    machine.write("var/lib/machines/test.img", b"")
    with open(image, "r+b") as file:
        file.truncate(64 * _MIB)
        for place in (0, 9, 40):
            file.seek(place * _MIB)
            file.write(machine.blob(65_536))
    machine.age("var/lib/machines/test.img")


def _people(machine: Machine) -> None:
    machine.write("srv/www/shop/index.html", text.page("Shop"))
    for number in range(1, 41):
        machine.write(f"srv/www/shop/items/item-{number:02}.html", text.page(f"Item {number}"))
        machine.write(f"srv/www/shop/images/item-{number:02}.jpg", b"\xff\xd8\xff" + machine.blob(9000))
    for number, name in enumerate(HOSTILE_NAMES):
        machine.write(b"srv/www/shop/uploads/" + name, f"upload {number}\n")
    machine.write(b"srv/www/shop/uploads/dir[/]ectory/[bold]file", "inside\n")
    for user in ("anna", "ben"):
        machine.write(f"home/{user}/.bashrc", "export EDITOR=vim\nalias ll='ls -l'\n")
        machine.write(f"home/{user}/notes.txt", text.prose(machine.random, 20))
        machine.write(f"home/{user}/.ssh/authorized_keys", f"ssh-ed25519 AAAA-demo {user}@laptop\n", 0o600)


def write_packages(machine: Machine, versions: dict[str, str]) -> None:
    """Write the package database: what is installed, and which files belong to it."""
    machine.write("var/lib/dpkg/status", text.dpkg_status(versions))
    for name, version in versions.items():
        machine.write(f"var/lib/dpkg/info/{name}.list", f"/.\n/usr\n/usr/share/doc/{name}\n")
        machine.write(f"var/lib/dpkg/info/{name}.md5sums",
                      f"{version.encode().hex():0<32.32}  usr/share/doc/{name}\n")


def grow_logs(machine: Machine, lines: int) -> None:
    """Let every log grow by about that many lines, up to the machine's present moment."""
    for name in text.LOGS:
        begin = machine.now - timedelta(seconds=20 * lines)
        machine.append(f"var/log/{name}", text.log_lines(machine.random, name, begin, lines))


def upgrade(machine: Machine) -> None:
    """Install a new kernel and new OpenSSL libraries, and drop the oldest kernel."""
    versions = dict(text.PACKAGES)
    versions |= {"openssl": "3.0.15-1~deb12u1", "libssl3": "3.0.15-1~deb12u1",
                 f"linux-image-{NEW_KERNEL}": "6.1.119-1"}
    del versions[f"linux-image-{OLD_KERNEL}"]
    libraries = "usr/lib/x86_64-linux-gnu"
    for path in ("usr/bin/openssl", f"{libraries}/libssl.so.3", f"{libraries}/libcrypto.so.3"):
        size = os.path.getsize(machine.at(path))
        machine.remove(path)
        machine.write(path, machine.program(size), 0o755)
    install_kernel(machine, NEW_KERNEL)
    remove_kernel(machine, OLD_KERNEL)
    machine.remove("boot/grub/grub.cfg")
    machine.write("boot/grub/grub.cfg", text.grub_cfg([NEW_KERNEL, KERNEL]), 0o444)
    for name in (f"linux-image-{OLD_KERNEL}.list", f"linux-image-{OLD_KERNEL}.md5sums"):
        machine.remove(f"var/lib/dpkg/info/{name}")
    write_packages(machine, versions)
    machine.append("var/log/dpkg.log", text.dpkg_log(machine.now, versions))
