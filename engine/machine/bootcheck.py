"""Will it boot? A verdict with its reasons, from the files of a system and from what is known of its disks.

Nothing of the tree is run or believed beyond what a boot loader would read. What was not to be had (the disks of
another machine, the firmware's entries on a rescue CD) is said, and is no reason against.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence

from engine.machine import bootfiles, bootmeans, bootmenu, tabs
from engine.machine.blockids import FOUND, MISSING, Device, Devices, split_spec
from engine.machine.bootmenu import Entry, Menu
from engine.machine.disks import Disk
from engine.machine.tree import Tree
from engine.results import DOUBTFUL, NO, YES, Finding, Verdict
from engine.text import message, printable

_KERNEL = re.compile(rb"(?:vmlinuz|vmlinux|kernel|bzImage)-(.+)")
_INITRAMFS = ("initrd.img-{}", "initramfs-{}.img", "initrd-{}", "initrd-{}.img", "initramfs-{}")
_INITS = (b"sbin/init", b"etc/init", b"bin/init")      # what the kernel and every initramfs try
_SYSTEMD = (b"usr/lib/systemd/systemd", b"lib/systemd/systemd")
_NO_DEVICES = "which devices exist is not known here: root= and fstab were not checked"
_UNREADABLE = "it cannot be read"
NEW_MENU = "make the menu anew"
"""What the hints begin with of findings that a new boot menu puts right."""
NO_MODULES = "has no modules in /lib/modules"
_ROLL_BACK = "roll /boot and the root file system back to the same point"


def check(root: bytes | Tree, *, devices: Devices | None = None, disks: Sequence[Disk] = (), firmware: str = "",
          nvram: str = "") -> Verdict:
    """Judge the system whose files are below `root` (also an opened restore point), /boot and the ESP included.

    `devices` are the block devices it will find, `disks` those the firmware may start from, `firmware` is ``bios`` or
    ``uefi`` ("": told by what is there), `nvram` what `efibootmgr -v` printed. Never raises for what is in the tree.
    """
    look = _Look(root if isinstance(root, Tree) else Tree(root), devices)
    places = bootmeans.esp_places(look.tree, [os.fsencode(line.point).strip(b"/") for line in look.fstab
                                              if line.fstype in ("vfat", "msdos")])
    found = [*look.menus(places), *look.kernels(), *look.tables()]
    if devices is None:
        found.append(Finding("info", _NO_DEVICES))
    elif devices.closed:
        found.append(Finding("info", f"what is inside {message(', '.join(devices.closed))} cannot be seen from here"))
    kind = firmware or ("uefi" if bootmeans.loaders(look.tree, places) else "bios")
    if kind == "uefi":
        found += bootmeans.uefi(look.tree, places, devices, nvram)
    elif disks:
        found += bootmeans.bios(look.tree, disks)
    else:
        found.append(Finding("info", "the boot code on the disks was not looked at"))
    order = {"blocker": 0, "warning": 1, "info": 2}
    first: dict[str, Finding] = {}
    for finding in sorted(found, key=lambda f: order[f.level]):
        first.setdefault(finding.text, finding)     # said once, at its worst
    levels = {f.level for f in first.values()}
    answer = NO if "blocker" in levels else DOUBTFUL if "warning" in levels else YES
    return Verdict(answer, tuple(first.values()), look.release)


class _Look:
    """One look at a tree; `release` is filled in by `menus`."""

    def __init__(self, tree: Tree, devices: Devices | None) -> None:
        self.tree, self.devices, self.release = tree, devices, ""
        text = tree.text(b"etc/fstab")
        self.fstab = tabs.fstab(text or "")
        self.no_fstab = text is None
        self.crypttab = tabs.crypttab(tree.text(b"etc/crypttab") or "")
        self.separate = any(line.point == "/boot" for line in self.fstab)
        self.used: set[bytes] = set()       # kernels and initramfs files that a menu names
        self._kernels: dict[bytes, str] = {}
        self._ramdisks: dict[bytes, bootfiles.Initramfs] = {}

    # --- menus -----------------------------------------------------------------------------------------------------

    def menus(self, esps: Sequence[bytes]) -> Iterator[Finding]:
        """Yield what is wrong with what boot loaders offer; the entry that starts by itself counts most."""
        menus = bootmenu.menus(self.tree, b"boot", esps)
        if not any(m.entries for m in menus):
            yield from self._no_menu(menus, esps)
            return
        for menu in menus:
            for note in menu.notes:
                yield Finding("warning", f"{message(menu.source)}: {message(note)}", "choose the entry to start anew "
                              "(grub-set-default, or default= in the configuration)")
            yield from self._searches(menu)
            for number, entry in enumerate(menu.entries):
                yield from self._entry(menu, entry, number == menu.default, esps)

    def _no_menu(self, menus: list[Menu], esps: Sequence[bytes]) -> Iterator[Finding]:
        if menus:
            yield Finding("blocker", f"{message(menus[0].source)} has no entry to boot", "make it anew (update-grub)")
        elif self.tree.is_file(b"etc/lilo.conf"):
            yield Finding("warning", "this system boots by LILO, whose map cannot be checked", "run lilo after changes")
        elif any(p.lower().startswith(b"efi/linux/") for e in esps for p in self._unified(e)):
            yield Finding("info", "unified kernel images on the ESP were not looked into")
        else:
            yield Finding("blocker", "there is no boot menu: no grub.cfg, no loader entries, no menu.lst in /boot",
                          _ROLL_BACK)

    def _unified(self, esp: bytes) -> list[bytes]:
        return [b"EFI/Linux/" + n for n in self.tree.names(self.tree.fold(esp + b"/EFI/Linux") or b"?")]

    def _searches(self, menu: Menu) -> Iterator[Finding]:
        for uuid in menu.searches:
            if "$" not in uuid and self._device(f"UUID={uuid}")[0] == MISSING:
                yield Finding("warning", f"{message(menu.source)} searches for the file system {message(uuid)}, which "
                              "is not here", f"{NEW_MENU} for these disks (update-grub)")

    def _entry(self, menu: Menu, entry: Entry, default: bool, esps: Sequence[bytes]) -> Iterator[Finding]:
        who = f"{'the default entry' if default else 'the entry'} {message(entry.title or entry.id)!r}"
        if not entry.kernel:
            if default:
                yield Finding("info", f"{who} of {message(menu.source)} starts something else than Linux: not checked")
            return
        level = "blocker" if default else "warning"
        places = {p: self._find(p, esps) for p in (entry.kernel, *entry.initrds, entry.hypervisor) if p}
        for path, (place, exact) in places.items():
            if place is None:
                yield Finding(level, f"{who} needs {message(path)}, which does not exist", _ROLL_BACK)
                continue
            self.used.add(place)
            if not exact:
                yield Finding("warning", f"{who} calls for {message(path)}; there is only /{printable(place)}: was "
                              "the menu written for another /boot?", f"{NEW_MENU} (update-grub)")
            fault = self._initramfs(place).fault if path in entry.initrds else self._kernel(place)
            if fault:
                yield Finding(level, f"/{printable(place)}, which {who} starts, is no good: {fault}", _ROLL_BACK)
        ramdisks = [place for p in entry.initrds if (place := places[p][0]) is not None]
        looked = [self._initramfs(place) for place in ramdisks]
        if looked and not any(r.init or r.fault for r in looked):
            yield Finding(level, f"none of the initramfs files of {who} holds an init", "make the initramfs anew")
        kernel = places[entry.kernel][0]
        if kernel is not None:
            yield from self._kernel_of(entry, kernel, who, default)
        if default:
            yield from self._root(entry, who)
            yield from self._init(entry)

    def _kernel_of(self, entry: Entry, kernel: bytes, who: str, default: bool) -> Iterator[Finding]:
        release, level = self._release(kernel), "blocker" if default else "warning"
        self.release = release if default and not self.release else self.release
        if b"-rescue-" not in kernel:   # that one brings its modules along in its initramfs
            yield from self._modules(release, level)
        root = _option(entry.options, "root")
        alone = not entry.initrds and not _option(entry.options, "initrd")
        if alone and (split_spec(root)[0] in ("uuid", "label") or root.startswith("/dev/mapper/")):
            yield Finding(level, f"{who} has no initramfs, and without one the kernel does not understand "
                          f"root={message(root)}", "make an initramfs and the menu anew")

    def _find(self, path: str, esps: Sequence[bytes]) -> tuple[bytes | None, bool]:
        """Return where in the tree a path of a menu is, and whether that is where the boot loader will look.

        Menus count from the top of the file system that /boot is on: with a /boot of its own, ``/vmlinuz`` is
        /boot/vmlinuz. On btrfs and ZFS a subvolume's name may stand in front.
        """
        bare = os.fsencode(path).strip(b"/")
        inner = bare[bare.index(b"boot/"):] if b"/boot/" in b"/" + bare and not bare.startswith(b"boot/") else bare
        exact = [b"boot/" + bare] if self.separate else [bare, inner]
        other = [bare, inner] if self.separate else [b"boot/" + bare]
        for place in (*exact, *(e + b"/" + bare for e in esps)):
            if self.tree.is_file(place):
                return place, True
        return next(((p, False) for p in other if self.tree.is_file(p)), (None, False))

    def _kernel(self, place: bytes) -> str:
        """Return what is wrong with a kernel image, "" if nothing."""
        if place not in self._kernels:
            try:
                with self.tree.open(place) as fd:
                    self._kernels[place] = _UNREADABLE if fd is None else bootfiles.kernel_fault(fd)
            except OSError:
                self._kernels[place] = _UNREADABLE
        return self._kernels[place]

    def _initramfs(self, place: bytes) -> bootfiles.Initramfs:
        if place not in self._ramdisks:
            try:
                with self.tree.open(place) as fd:
                    unreadable = bootfiles.Initramfs(_UNREADABLE)
                    self._ramdisks[place] = unreadable if fd is None else bootfiles.initramfs(fd)
            except OSError:
                self._ramdisks[place] = bootfiles.Initramfs(_UNREADABLE)
        return self._ramdisks[place]

    def _release(self, kernel: bytes) -> str:
        with self.tree.open(kernel) as fd:
            release = bootfiles.kernel_release(fd) if fd is not None else ""
        match = _KERNEL.fullmatch(os.path.basename(kernel))
        return release or (os.fsdecode(match[1]) if match else "")

    def _modules(self, release: str, level: str) -> Iterator[Finding]:
        config = self.tree.text(b"boot/config-" + os.fsencode(release)) or ""
        if not release or "# CONFIG_MODULES is not set" in config:
            return
        places = [place + os.fsencode(release) for place in (b"lib/modules/", b"usr/lib/modules/")]
        if not any(self.tree.names(p) for p in places):
            yield Finding(level, f"the kernel {message(release)} in /boot {NO_MODULES}", _ROLL_BACK)
        elif not any(self.tree.is_file(p + b"/modules.dep") for p in places):
            yield Finding("warning", f"the modules of {message(release)} have no modules.dep: none will be loaded",
                          f"run depmod {message(release)}")

    def _root(self, entry: Entry, who: str) -> Iterator[Finding]:
        root = _option(entry.options, "root")
        if not root:
            yield Finding("info", f"{who} names no root=: the initramfs has to find it")
            return
        found, device = self._device(root)
        if found == MISSING:
            yield Finding("blocker", f"{who} boots with root={message(root)}, which does not exist",
                          "correct root= (and make the menu anew), or attach the disk it means")
        line = next((f for f in self.fstab if f.point == "/"), None)
        other = self._device(line.spec)[1] if line is not None else None
        if device is not None and other is not None and other != device:
            yield Finding("warning", f"{who} boots with root={message(root)} ({message(device.path)}), and fstab means "
                          f"{message(other.path)}", "make both name the same file system")

    def _init(self, entry: Entry) -> Iterator[Finding]:
        named = _option(entry.options, "init")
        inits = (os.fsencode(named),) if named else _INITS
        if any(self.tree.is_file(i) for i in inits):
            return
        what = f"there is no {message(named or '/sbin/init')}"
        if not named and any(self.tree.is_file(s) for s in _SYSTEMD):
            yield Finding("warning", f"{what}: only an initramfs with systemd in it starts systemd without", _ROLL_BACK)
        else:
            yield Finding("blocker", f"{what}: nothing can be started after the kernel", _ROLL_BACK)

    # --- kernels that no menu names, and tables -----------------------------------------------------------------------

    def kernels(self) -> Iterator[Finding]:
        """Yield what is wrong with the kernels in /boot."""
        names = self.tree.names(b"boot")
        places = [b"boot/" + n for n in names if _KERNEL.fullmatch(n) and b"-rescue-" not in n
                  and not n.endswith((b".hmac", b".old")) and self.tree.is_file(b"boot/" + n)]
        if not places and not self.used:
            mounted = ", which is a file system of its own: is it mounted?" if self.separate and not names else ""
            yield Finding("blocker", f"there is no kernel in /boot{mounted}", _ROLL_BACK)
        custom = any(n.startswith((b"initrd", b"initramfs")) for n in names)
        for place in places:
            release = self._release(place)
            yield from self._modules(release, "warning")
            fault = self._kernel(place)
            if fault and place not in self.used:
                yield Finding("warning", f"/{printable(place)} is no good: {fault}", _ROLL_BACK)
            if custom and place not in self.used and not self._initramfs_of(place, release):
                yield Finding("warning", f"the kernel {message(release)} has no initramfs in /boot",
                              "make one (update-initramfs, dracut)")

    def _initramfs_of(self, kernel: bytes, release: str) -> bool:
        match = _KERNEL.fullmatch(os.path.basename(kernel))
        suffixes = {release, os.fsdecode(match[1]) if match else release}
        return any(self.tree.is_file(b"boot/" + os.fsencode(n.format(s))) for s in suffixes for n in _INITRAMFS)

    def tables(self) -> Iterator[Finding]:
        """Yield what fstab and crypttab call for and nobody can give."""
        if self.no_fstab:
            yield Finding("warning", "there is no /etc/fstab: only the root file system will be mounted", _ROLL_BACK)
        for line in self.fstab:
            yield from self._mount(line)
        used = {line.spec for line in self.fstab if line.needed}
        for crypt in self.crypttab:
            if not crypt.needed:
                continue
            needed = f"/dev/mapper/{crypt.name}" in used
            if self._device(crypt.spec)[0] == MISSING:
                yield Finding("blocker" if needed else "warning", f"crypttab opens {message(crypt.name)} on "
                              f"{message(crypt.spec)}, which does not exist", "correct crypttab, or attach the disk")
            key = crypt.key.split(":", 1)[0]
            kept = key.startswith("/") and not key.startswith(("/dev/", "/run/"))
            if kept and not self.tree.exists(os.fsencode(key)):
                yield Finding("warning", f"the key file {message(key)} of {message(crypt.name)} does not exist: the "
                              "start will wait for a passphrase", "restore the file, or correct crypttab")

    def _mount(self, line: tabs.FsLine) -> Iterator[Finding]:
        where = "swap" if line.swap else message(line.point)
        if {"bind", "rbind"} & set(line.options) and line.needed and not self.tree.exists(os.fsencode(line.spec)):
            yield Finding("blocker", f"fstab binds {message(line.spec)} to {where}, and it does not exist: the start "
                          "will end in emergency mode", "make the directory, or add nofail")
        if not line.local or self._device(line.spec)[0] != MISSING or "noauto" in line.options:
            return
        level = "blocker" if line.needed else "warning" if line.swap and "nofail" not in line.options else "info"
        then = "will end in emergency mode" if line.needed else "goes on without it"
        yield Finding(level, f"fstab wants {message(line.spec)} for {where}, which does not exist: the start {then}",
                      "correct fstab, or attach the disk")

    def _device(self, spec: str) -> tuple[str, Device | None]:
        """Look a device up; one that crypttab will make counts as there when what it is made of is."""
        if self.devices is None:
            return "unknown", None
        found, device = self.devices.find(spec)
        if found == MISSING and spec.startswith("/dev/mapper/"):
            line = next((c for c in self.crypttab if c.name == spec[12:]), None)
            if line is not None and self.devices.find(line.spec)[0] != MISSING:
                return FOUND, None
        return found, device


def _option(options: Sequence[str], name: str) -> str:
    """Return the last value of ``name=`` on a kernel command line, "" without any."""
    return next((o[len(name) + 1:].strip('"') for o in reversed(options) if o.startswith(name + "=")), "")
