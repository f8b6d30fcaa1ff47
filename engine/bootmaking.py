"""Making an adopted system start from the disks that it is on now, with its own programs.

GRUB's core.img holds the UUID of the file system with /boot and what its partition table needs; an initramfs may hold
those of swap and containers; the firmware's entries hold the GUID of a partition. Where they were made for what is not
here any more they are made anew after the rollback was verified: each is a command of the system itself, run in it by
chroot, and stands in the plan word for word. Asked anew each time (a resumed rollback may find the disks under other
names), and doing it again ends in the same state. What fails is a warning, and can be done by hand.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from engine import unmounted
from engine.adopting import Adoption
from engine.bootpieces import Pieces
from engine.config import Config
from engine.errors import RollpointError, ToolError
from engine.events import Job
from engine.machine import bootimages, bootmeans, efiboot, inchroot
from engine.machine.disks import Disk, partition_of
from engine.machine.filesystems import Recorded, mounted_at
from engine.machine.mounts import Namespace, private_space
from engine.machine.tree import Tree
from engine.points import RestorePoint
from engine.replica import bootsaved
from engine.replica.layout import Store, fsync_dir
from engine.replica.source import view
from engine.results import Finding
from engine.run import call
from engine.scopes import Scope
from engine.targets import involved
from engine.text import message, printable, shown_path

_BIN = (b"usr/sbin", b"usr/bin", b"sbin", b"bin")
# Where GRUB looks for its files when they are on the disk that it was started from: (,gpt2)/grub. The new disk may be
# divided otherwise.
_NUMBERED = re.compile(rb"\(,(?:gpt|msdos)[0-9]+[^)\0]*\)")
_INITRAMFS = b"etc/initramfs-tools"
_SECONDS = 1800             # an initramfs for each of some kernels, on an old machine
_PROGRAM_LIMIT = 32 << 20
_ARCHITECTURES = {"x64": "x86_64-efi", "aa64": "arm64-efi", "ia32": "i386-efi", "riscv64": "riscv64-efi"}
_FIRST = (b"shim", b"systemd-boot", b"grub")        # which loader of a directory the firmware is to start
_SHELL = "in `rollpoint rescue shell --adopt`: "


@dataclass(frozen=True, slots=True)
class Deed:
    """One thing to do: a program of the system (`argv`), or one of the system that runs (`here`), or files to copy
    inside (`copies`: from, to). `disk` is the one whose boot sectors it writes to."""

    argv: tuple[bytes, ...]
    here: bool = False
    copies: tuple[tuple[bytes, bytes], ...] = ()
    disk: Disk | None = None

    def words(self, root: bytes) -> str:
        """Return it in one line: the exact command, as it can be typed."""
        if self.copies:
            return "; ".join(f"{shown_path(to)}: a copy of {shown_path(source)}" for source, to in self.copies)
        chroot = [] if self.here or root == b"/" else [b"chroot", root]
        return " ".join(shlex.quote(message(os.fsdecode(word))) for word in (*chroot, *self.argv))


@dataclass(frozen=True, slots=True)
class Making:
    """All of it for one rollback of the system at `root`, in the order in which it is done."""

    root: bytes = b"/"
    deeds: tuple[Deed, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """Every command, for people."""
        return tuple(deed.words(self.root) for deed in self.deeds)

    @property
    def menu(self) -> bool:
        """Whether the boot menu is made anew."""
        return any(deed.argv[:1] in ((b"grub-mkconfig",), (b"grub2-mkconfig",)) for deed in self.deeds)

    @property
    def disks(self) -> tuple[Disk, ...]:
        """The disks on which a boot loader will be installed."""
        return tuple({d.disk.path: d.disk for d in self.deeds if d.disk is not None}.values())


def look(store: Store, config: Config, point: RestorePoint, scope: Scope, adoption: Adoption, pieces: Pieces,
         tree: Tree, merged: Collection[bytes] = ()) -> Making:
    """Return what has to be made anew; nothing is touched. `tree` is the system as it comes back, `pieces` what becomes
    of the recorded boot sectors."""
    root = os.path.realpath(os.fsencode(config.root))
    if not scope.boot or config.boot.disks == () or not bootsaved.concerned(config, root, known=True):
        outside = [m for m in merged if m == b"boot"]
        return Making(root, findings=tuple(_unmergeable("boot sectors are not part of this rollback") for _ in outside))
    looked = _Look(store, config, root, point, scope, adoption, pieces, tree, frozenset(merged))
    deeds = (*looked.initramfs(), *looked.bios(), *looked.uefi(), *looked.menu(), *looked.firmware())
    return Making(root, deeds, tuple(looked.findings))


def _unmergeable(why: str) -> Finding:
    return Finding("blocker", f"/boot cannot be merged: {why}", "make and mount a file system for /boot")


@dataclass(slots=True)
class _Look:
    """One look at a system; `findings` fill up meanwhile."""

    store: Store
    config: Config
    root: bytes
    point: RestorePoint
    scope: Scope
    adoption: Adoption
    pieces: Pieces
    tree: Tree
    merged: frozenset[bytes]
    findings: list[Finding] = field(default_factory=list)
    installs: bool = False      # whether a boot loader is installed

    @property
    def _moved(self) -> dict[bytes, Recorded]:
        return {one.place: there for one, there in self.adoption.moved}

    @property
    def _boot_moved(self) -> bool:
        """Whether the file system with /boot is another one now: GRUB would look for that which was."""
        places = {one.place for one in involved(self.point, self.scope)} - self.merged
        return b"boot" in self.merged or (b"boot" if b"boot" in places else b"") in self._moved

    def _has(self, *names: str) -> bytes | None:
        """Return the first of these programs that the system has."""
        return next((n.encode() for n in names if any(self.tree.is_file(d + b"/" + n.encode()) for d in _BIN)), None)

    def _warn(self, text: str, hint: str) -> None:
        self.findings.append(Finding("warning", text, hint))

    # --- initramfs ---------------------------------------------------------------------------------------------------

    def initramfs(self) -> Iterator[Deed]:
        """Yield how the initramfs is made anew, where it holds names that are not true any more."""
        tools = self._has("update-initramfs"), self._has("dracut")
        changed = {one.path for one in self.adoption.found} & {unmounted.CRYPTTAB, unmounted.RESUME}
        # dracut's waits for each device of the system that made it; that of Debian finds its root by root= alone,
        # unless it was told to hold the modules of one machine only.
        settings = [_INITRAMFS + b"/initramfs.conf", *(os.path.join(_INITRAMFS, b"conf.d", name) for name in
                                                       self.tree.names(_INITRAMFS + b"/conf.d"))]
        narrow = any(re.search(r"^\s*MODULES=[\"']?dep\b", self.tree.text(p) or "", re.MULTILINE) for p in settings)
        if not (changed or self.adoption.unmounted or (self._moved and (narrow or (tools[1] and not tools[0])))):
            return
        if tools[0]:
            yield Deed((tools[0], b"-u", b"-k", b"all"))
        elif tools[1]:
            yield Deed((tools[1], b"--regenerate-all", b"--force"))
        else:
            self._warn("the initramfs holds names of devices that are not here, and the system has neither "
                       "update-initramfs nor dracut", "make it anew with the system's own tool before the restart")

    # --- GRUB --------------------------------------------------------------------------------------------------------

    def bios(self) -> Iterator[Deed]:
        """Yield how GRUB gets onto the disks that a BIOS starts from, where what comes back cannot serve."""
        if not any(self.tree.is_file(b"boot/" + g + b"/i386-pc/normal.mod") for g in (b"grub", b"grub2")):
            return
        found = bootsaved.find(self.config, self.root, known=True)
        wanted = [d for d in found.disks if self._boot_moved or d.path not in self.pieces.served]
        program = self._has("grub-install", "grub2-install")
        usable = program is not None and self.tree.is_file(b"usr/lib/grub/i386-pc/boot.img")
        for disk in wanted:
            hint = f"{_SHELL}chroot {printable(self.root)}; then grub-install {disk.name}"
            if disk.table.kind == "none":
                self._warn(f"{disk.name} has no partition table: GRUB finds no place on it", hint)
            elif disk.table.kind == "gpt" and disk.table.bios_boot is None:
                self._warn(f"{disk.name} has a GPT without a BIOS boot partition: GRUB finds no place on it",
                           f"make one of 1 MiB (sgdisk -n 0:0:+1M -t 0:EF02), then {hint}")
            elif program is None or not usable:
                self._warn(f"GRUB has to be installed on {disk.name}, and the system has no grub-install for a BIOS",
                           "install it from the rescue system: grub-install --boot-directory="
                           f"{printable(os.path.join(self.root, b'boot'))} {disk.name}")
            else:
                self.installs = True
                yield Deed((program, b"--target=i386-pc", disk.path), disk=disk)
        for note in (*found.notes, *found.warnings):
            self._warn(f"GRUB is not installed anew: {note}", "install it by hand (grub-install DISK)")

    def uefi(self) -> Iterator[Deed]:
        """Yield how GRUB gets onto the EFI system partition, where what comes back looks for what is not here."""
        old = [c.old.lower().encode() for c in self.adoption.changes if c.kind == "uuid"]
        program = self._has("grub-install")     # that of Fedora and its kin refuses UEFI, and their loaders need none
        for esp in self._esps():
            stale: dict[bytes, str] = {}
            for path in bootmeans.loaders(self.tree, [esp.place]):
                name = os.path.basename(path).lower()
                ours = b"boot" in self.merged and name.startswith((b"grub", b"shim", b"boot"))
                data = self.tree.read(path, _PROGRAM_LIMIT) or b""
                numbered = self._boot_moved and _NUMBERED.search(data) is not None
                if ours or numbered or any(uuid in data.lower() for uuid in old):
                    stale.setdefault(os.path.dirname(path), _architecture(name))
            for directory, platform in stale.items():
                vendor = os.path.basename(directory)
                if program is None or not self.tree.is_file(b"usr/lib/grub/%s/kernel.img" % platform.encode()):
                    self._warn(f"the loader in {shown_path(directory)} looks for a file system that is not here, and "
                               f"the system has no grub-install for {platform}", "install a boot loader by hand")
                    continue
                self.installs = True
                how = b"--removable" if vendor.lower() == b"boot" else b"--bootloader-id=" + vendor
                yield Deed((program, b"--target=" + platform.encode(), b"--efi-directory=/" + esp.place, b"--no-nvram",
                            how))

    def menu(self) -> Iterator[Deed]:
        """Yield how the boot menu is made anew where /boot becomes a directory, so that its paths get longer; without
        that a merged /boot is a blocker."""
        if b"boot" not in self.merged:
            return
        program = self._has("grub-mkconfig", "grub2-mkconfig")
        menu = next((p for p in (b"boot/grub/grub.cfg", b"boot/grub2/grub.cfg") if self.tree.is_file(p)), None)
        if program is None or menu is None or not self.installs:
            self.findings.append(_unmergeable(
                "GRUB would have to be installed anew and its menu made anew, and " + (
                    "the system has no grub-mkconfig" if program is None or menu is None else
                    "it cannot be installed (see the warnings)")))
        elif self.tree.names(b"boot/loader/entries"):
            self.findings.append(_unmergeable("the entries in /boot/loader name their files from the top of /boot"))
        else:
            yield Deed((program, b"-o", b"/" + menu))

    # --- the firmware ------------------------------------------------------------------------------------------------

    def _esps(self) -> list[Recorded]:
        return [one for one in involved(self.point, self.scope)
                if one.fstype in ("vfat", "msdos") and one.place not in self.merged
                and self.tree.fold(os.path.join(one.place, b"EFI")) is not None]

    def firmware(self) -> Iterator[Deed]:
        """Yield how the firmware is told of the loader, or how it finds it by itself."""
        for esp in self._esps():
            title, file = self._loader(esp.place)
            fallback = next((f for f in efiboot.FALLBACKS
                             if self.tree.fold(os.path.join(esp.place, f)) is not None), None)
            if bootimages.firmware() == "uefi" and file:
                yield from self._entry(esp, title, file)
            elif fallback is not None:
                self.findings.append(Finding("info", "the firmware finds the loader in EFI/BOOT by itself; its own "
                                             "entries are not touched"))
            elif esp.place in self._moved and file and not self.tree.names(b"boot/grub/i386-pc"):
                yield from self._fallback(esp.place, file)
            elif not file:
                self._warn(f"there is no loader in {shown_path(esp.place)}/EFI", "install a boot loader by hand")

    def _loader(self, place: bytes) -> tuple[str, bytes]:
        """Return title and path on the ESP of the loader that the firmware had an entry for, else of the most likely
        one; ("", b"") where there is none but the fallback."""
        recorded = Tree(bootsaved.directory(self.store, self.point.id)).text(b"efibootmgr.txt") or ""
        for entry in efiboot.parse(recorded) or ():
            file = os.fsencode(entry.file)
            if entry.active and file and self.tree.fold(os.path.join(place, file)) is not None:
                return printable(entry.title) or "Linux", file
        found = [p for p in bootmeans.loaders(self.tree, [place]) if _vendor(p).lower() != b"boot"]
        for name in (*_FIRST, b""):
            for path in found:
                if os.path.basename(path).lower().startswith(name):
                    return printable(_vendor(path)), os.path.relpath(path, place)
        return "", b""

    def _entry(self, esp: Recorded, title: str, file: bytes) -> Iterator[Deed]:
        there = self._moved.get(esp.place) or mounted_at(self.root, esp.place)
        where = partition_of(os.fsencode(there.device)) if there is not None else None
        if there is None or where is None:
            self._warn(f"{shown_path(esp.place)} lies on no partition that the firmware could be told of",
                       "make an entry with efibootmgr --create")
            return
        here = shutil.which("efibootmgr") is not None
        text = ""
        with contextlib.suppress(ToolError):
            text = call(("efibootmgr", "-v"), timeout=20).decode("utf-8", "replace") if here else ""
        if any(e.active and e.partition == there.partuuid.lower() and os.fsencode(e.file).lower() == file.lower()
               for e in efiboot.parse(text) or ()):
            self.findings.append(Finding("info", f"the firmware has an entry for {message(printable(file))}"))
        elif not here and self._has("efibootmgr") is None:
            self._warn(f"the firmware has no entry for {message(printable(file))} on {printable(there.device)}, and "
                       "there is no efibootmgr", "choose the loader in the firmware's setup")
        else:
            disk, number = where
            yield Deed((b"efibootmgr", b"--create", b"--disk", disk, b"--part", b"%d" % number,
                        b"--label=" + title.encode("utf-8", "replace"), b"--loader=\\" + file.replace(b"/", b"\\")),
                       here=here)

    def _fallback(self, place: bytes, file: bytes) -> Iterator[Deed]:
        suffix = next(s for s, kind in _ARCHITECTURES.items() if kind == _architecture(os.path.basename(file).lower()))
        target = os.path.join(place, b"EFI/BOOT")
        copies = [(os.path.join(place, file), os.path.join(target, b"BOOT%s.EFI" % suffix.upper().encode()))]
        if os.path.basename(file).lower().startswith(b"shim"):      # it starts the GRUB that lies beside it
            beside = os.path.join(os.path.dirname(os.path.join(place, file)), b"grub%s.efi" % suffix.encode())
            grub = self.tree.fold(beside)
            copies += [(grub, os.path.join(target, os.path.basename(grub)))] if grub is not None else []
        yield Deed((), copies=tuple(copies))


def _vendor(path: bytes) -> bytes:
    return os.path.basename(os.path.dirname(path))


def _architecture(name: bytes) -> str:
    """Return GRUB's name for what an EFI program is for, by the end of its own."""
    match = re.search(rb"(x64|aa64|ia32|riscv64)\.efi", name)
    return _ARCHITECTURES[match[1].decode() if match else "x64"]


# --- doing it --------------------------------------------------------------------------------------------------------


def apply(making: Making, config: Config, store: Store, job: Job) -> tuple[str, ...]:
    """Do it all, in a space that nobody else sees, and return what was done, as lines. What fails is a warning, with
    what the tool said and what to do by hand; nothing is raised for it."""
    done: list[str] = []
    if not making.deeds:
        return ()
    try:
        with private_space() as space, view(config, store, target_in=space) as target:
            if not isinstance(space, Namespace):
                raise RollpointError("only root can run the system's own programs")
            if any(deed.argv and not deed.here for deed in making.deeds):
                inchroot.furnish(space, target.inside)
            for number, deed in enumerate(making.deeds):
                job.progress("making the system start from these disks", number, len(making.deeds),
                             current=os.fsencode(deed.words(making.root)))
                if _do(deed, making.root, space, target.inside, job):
                    done.append(deed.words(making.root))
    except (RollpointError, OSError) as error:
        left = "; ".join(words for words in making.words if words not in done)
        job.warn(message(f"the system was not made to start from these disks: {error}; do it by hand: {left}"))
    os.sync()
    return tuple(done)


def _do(deed: Deed, root: bytes, space: Namespace, where: bytes, job: Job) -> bool:
    try:
        if deed.copies:
            for source, to in deed.copies:
                _copy(space.outside(where), source, to)
        elif deed.here:
            inchroot.run_here(space, deed.argv, _SECONDS)
        else:
            inchroot.run(space, where, deed.argv, _SECONDS)
        return True
    except (ToolError, OSError) as error:
        said = inchroot.said(error) if isinstance(error, ToolError) else str(error)
        where_by_hand = "" if deed.here or root == b"/" else _SHELL
        job.warn(message(f"{deed.words(root)} failed: {said}; the files are back; do it by hand {where_by_hand}"
                         f"{deed.words(root)}"))
        return False


def _copy(root: bytes, source: bytes, to: bytes) -> None:
    """Copy a file of an ESP, whole or not at all."""
    target = os.path.join(root, to)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    temporary = os.path.join(os.path.dirname(target), b"rollpoint.new")
    with open(os.path.join(root, source), "rb") as old, open(temporary, "wb") as new:
        shutil.copyfileobj(old, new)
        new.flush()
        os.fsync(new.fileno())
    os.replace(temporary, target)
    fsync_dir(os.path.dirname(target))


def foreseen(pieces: Pieces, making: Making) -> Sequence[Finding]:
    """Return the findings about recorded boot sectors, those that GRUB is installed in place of as news only."""
    if not making.disks:
        return pieces.findings
    return [Finding("info", f"{f.text}; GRUB is installed instead") if f.level == "warning" else f
            for f in pieces.findings]
