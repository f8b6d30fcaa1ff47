"""Swap space and LUKS containers of a system that is adopted: fstab, crypttab and RESUME= name them, and they are no
file systems that a point holds.

What they were called stands in the texts about the disks that a point keeps (lsblk, blkid). What takes their place is
taken only where there is no choice: the container below a file system that takes the place of one that lay in a
container, or the only one of its kind on the disks that are rolled back. For all else a finding names the line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine.machine import blockids, tabs
from engine.machine.blockids import MISSING, Device, Devices
from engine.machine.filesystems import Recorded, same_uuid
from engine.machine.tree import Tree
from engine.points import RestorePoint
from engine.replica import bootsaved
from engine.replica.layout import Store
from engine.results import Finding
from engine.text import message, shown_path

SWAP, LUKS = "swap", "crypto_LUKS"
RESUME = b"etc/initramfs-tools/conf.d/resume"
FSTAB, CRYPTTAB = b"etc/fstab", b"etc/crypttab"
_NAMING = (FSTAB, CRYPTTAB, RESUME, b"etc/default/grub", b"etc/kernel/cmdline")


@dataclass(frozen=True, slots=True)
class Known:
    """The block devices of a machine: what they are called, and what each lies on (the disk first, itself last)."""

    devices: Devices
    below: dict[str, tuple[str, ...]]

    def named(self, path: str) -> Device | None:
        """Return the device with a path."""
        return next((d for d in self.devices.all if d.path == path), None)

    def container(self, path: str) -> Device | None:
        """Return the one LUKS container that a device lies in; None for none, or several."""
        chain = (self.named(p) for p in self.below.get(path, ())[:-1])
        found = [d for d in chain if d is not None and d.fstype == LUKS]
        return found[0] if len(found) == 1 else None

    def opened(self, path: str, container: Device) -> str:
        """Return what the container that a device lies in was opened as: the path of what is in it."""
        chain = self.below.get(path, ())
        return chain[chain.index(container.path) + 1]

    def disk(self, path: str) -> str:
        """Return the disk of a device."""
        return next(iter(self.below.get(path, ())), path)


def then(store: Store, point: RestorePoint) -> Known:
    """Return the devices that the machine had when a point was taken, none where it holds no texts of them."""
    tree = Tree(bootsaved.directory(store, point.id))
    probed, text = blockids.parse_blkid_lines(tree.read(b"blkid.txt") or b""), tree.read(b"lsblk.json") or b""
    try:
        return Known(blockids.merged(probed, blockids.parse_lsblk(text)), blockids.parse_stacks(text))
    except ValueError:
        return Known(probed, {})


def now() -> Known:
    """Return the devices that are here."""
    return Known(blockids.present() or Devices(()), blockids.stacks())


def pairs(before: Known, here: Known, moved: Sequence[tuple[Recorded, Recorded]], tree: Tree
          ) -> list[tuple[Device, Device]]:
    """Return the swaps and containers that were, each with the one that takes its place; `moved` are the file systems
    that others take the place of, `tree` the system as it comes back."""
    found: dict[str, tuple[Device, Device]] = {}
    for one, there in moved:
        old, new = before.container(one.device), here.container(there.device)
        if old is not None and new is not None and not same_uuid(old.uuid, new.uuid):
            found.setdefault(old.path, (old, new))
    text = "\n".join(tree.text(path) or "" for path in _NAMING)
    disks = {here.disk(there.device) for _, there in moved}
    taken = {new.path for _, new in found.values()}
    for kind in (SWAP, LUKS):
        lost = [d for d in before.devices.all if d.fstype == kind and d.uuid and d.path not in found
                and not here.devices.has("uuid", d.uuid) and _names(text, d)]
        fresh = [d for d in here.devices.all if d.fstype == kind and d.uuid and d.path not in taken
                 and here.disk(d.path) in disks and not before.devices.has("uuid", d.uuid)]
        if len(lost) == len(fresh) == 1:
            found[lost[0].path] = lost[0], fresh[0]
    return list(found.values())


def _names(text: str, device: Device) -> bool:
    """Whether a text calls a device by one of its names."""
    names = [device.uuid, device.partuuid, device.path, f"LABEL={device.label}" if device.label else ""]
    return any(n and re.search(rf"(?<![0-9A-Za-z]){re.escape(n)}(?![0-9A-Za-z-])", text, re.IGNORECASE) for n in names)


def findings(tree: Tree, here: Known, moved: Sequence[tuple[Recorded, Recorded]]) -> Iterator[Finding]:
    """Yield the lines of an adopted system, as they will be, that call for a swap or a container that is not here, and
    those that make a container anew at each start of whatever lies on a device then; and the containers below file
    systems that crypttab does not name, or calls otherwise than they are opened as."""
    if not here.devices.all:
        return
    yield from _containers(tree, here, moved)
    for line in tabs.fstab(tree.text(FSTAB) or ""):
        if line.swap and line.spec.startswith(("/dev/", "UUID=", "LABEL=", "PART")) and _gone(here, line.spec, tree):
            yield _look(FSTAB, f"{line.spec} … swap", "the swap space that it names is not here")
    for crypt in tabs.crypttab(tree.text(CRYPTTAB) or ""):
        shown = f"{crypt.name} {crypt.spec}"
        if crypt.key in ("/dev/urandom", "/dev/random") or {"swap", "tmp"} & {o.split("=")[0] for o in crypt.options}:
            yield _look(CRYPTTAB, shown, "it writes over that device at each start, and other disks may be here")
        elif _gone(here, crypt.spec, tree):
            yield _look(CRYPTTAB, shown, "the container that it names is not here")
    resume = re.search(r"^\s*RESUME=[\"']?([^\s\"'#]+)", tree.text(RESUME) or "", re.MULTILINE)
    if resume and _gone(here, resume[1], tree):
        yield _look(RESUME, f"RESUME={resume[1]}", "the swap space that it names is not here")


def _containers(tree: Tree, here: Known, moved: Sequence[tuple[Recorded, Recorded]]) -> Iterator[Finding]:
    lines = tabs.crypttab(tree.text(CRYPTTAB) or "")
    for one, there in moved:
        container = here.container(there.device)
        if container is None:
            continue
        line = next((c for c in lines if here.devices.find(c.spec)[1] == container), None)
        opened = here.opened(there.device, container)
        if line is None:
            yield Finding("warning", f"{shown_path(one.place)} lies in the encrypted {message(container.path)} now, "
                          "which /etc/crypttab does not name: nobody will open it at a start",
                          f"add it to /etc/crypttab afterwards (NAME UUID={message(container.uuid)} none luks), and "
                          "make the initramfs anew")
        elif opened != f"/dev/mapper/{line.name}":
            yield Finding("warning", f"the encrypted {message(container.path)} is open as {message(opened)}, and "
                          f"crypttab calls it {message(line.name)}: an initramfs made now will not open it",
                          f"unmount it, and open it again as {message(line.name)} (cryptsetup open "
                          f"{message(container.path)} {message(line.name)})")


def _gone(here: Known, spec: str, tree: Tree) -> bool:
    made = {f"/dev/mapper/{c.name}" for c in tabs.crypttab(tree.text(CRYPTTAB) or "")}
    return spec not in made and here.devices.find(spec)[0] == MISSING


def _look(path: bytes, line: str, why: str) -> Finding:
    return Finding("warning", f"{shown_path(path)}: look at the line `{message(line)}`: {why}",
                   f"correct {shown_path(path)} after the rollback, and make the initramfs anew")
