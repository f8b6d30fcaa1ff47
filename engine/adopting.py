"""Adopting: what has to be put right in a system that comes back on other file systems than it was taken from.

The new file systems have other UUIDs, so fstab, the boot menus and what they were made from name what is not there.
Each line that will change is known beforehand, from the point's own files; it is changed after the rollback was
verified, so that verifying still means the point's bytes. A rollback that is resumed puts the point's bytes back first:
nothing is ever changed twice. (What has to be made anew then: engine.bootmaking.)
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from engine import unmounted
from engine.config import Config
from engine.machine import bootmeans, mounts, tabs
from engine.machine.blockids import Device
from engine.machine.filesystems import Recorded, mounted_at, same_uuid
from engine.machine.tree import Tree
from engine.points import RestorePoint
from engine.replica.catalog import Catalog
from engine.replica.disk import apply_attributes, read_entry, remove_any
from engine.replica.layout import Store, fsync_dir
from engine.replica.pointtree import PointTree
from engine.results import Finding
from engine.scopes import Scope
from engine.targets import involved
from engine.text import printable, shown_path

_FILES = (b"etc/fstab", b"etc/crypttab", b"etc/default/grub", b"etc/kernel/cmdline",
          b"etc/initramfs-tools/conf.d/resume", b"boot/grub/grub.cfg", b"boot/grub2/grub.cfg", b"boot/grub/menu.lst",
          b"boot/grub/grub.conf", b"boot/grub/grubenv", b"boot/grub2/grubenv", b"boot/extlinux/extlinux.conf",
          b"boot/syslinux/syslinux.cfg", b"boot/extlinux.conf")
_ENV, _ENV_SIZE = b"grubenv", 1024      # GRUB writes it in place and takes it at this size only
_LIMIT = 4 << 20


@dataclass(frozen=True, slots=True)
class Renamed:
    """One name of a file system in its old and its new form: ``uuid`` (as it stands anywhere), or what a ``label``,
    ``partuuid`` or device ``path`` is replaced by (UUID=…); ``mount``: a mount point whose line in fstab becomes a
    comment."""

    kind: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A file of the system and the lines that change in it, each as (old, new)."""

    path: bytes
    lines: tuple[tuple[str, str], ...]

    @property
    def words(self) -> tuple[str, ...]:
        """The changes for people: ``/etc/fstab: OLD -> NEW``."""
        return tuple(f"{shown_path(self.path)}: {' '.join(old.split())} -> {' '.join(new.split())}"
                     for old, new in self.lines)


@dataclass(frozen=True, slots=True)
class Adoption:
    """All of it for one rollback: the names, and the lines that hold them; `moved` are the recorded file systems that
    another one takes the place of, `unmounted` the swaps and containers, as (device then, device now)."""

    changes: tuple[Renamed, ...]
    found: tuple[Adjustment, ...]
    moved: tuple[tuple[Recorded, Recorded], ...] = ()
    unmounted: tuple[tuple[Device, Device], ...] = ()

    @property
    def words(self) -> tuple[str, ...]:
        """Every line that changes, for people."""
        return tuple(words for one in self.found for words in one.words)

    def document(self) -> dict[str, list[Any]]:
        """Return what the journal has to hold of it."""
        return {"renamed": [[c.kind, c.old, c.new] for c in self.changes], "files": [a.path.hex() for a in self.found]}


def look(store: Store, config: Config, catalog: Catalog, point: RestorePoint, scope: Scope,
         merged: Collection[bytes] = ()) -> Adoption:
    """Return what adopting comes to in a rollback; nothing is touched. `merged`: file systems that become directories
    of the one around them."""
    changes = [Renamed("mount", re.sub(r"[\s\\]", lambda m: f"\\{ord(m[0]):03o}", "/" + os.fsdecode(m)), "")
               for m in merged]
    pairs = moved(config, point, scope)
    tree = PointTree(store, catalog, point.number, os.path.realpath(os.fsencode(config.root)), scope.paths, scope.but)
    others = unmounted.pairs(unmounted.then(store, point), unmounted.now(), pairs, tree) if pairs else []
    names: dict[tuple[str, str], Renamed] = {}
    for one, there in (*pairs, *((_as_recorded(old), _as_recorded(new)) for old, new in others)):
        for change in _names(one, there):
            names.setdefault((change.kind, change.old), change)
    changes += names.values()
    return Adoption(tuple(changes), tuple(adjustments(tree, changes)), tuple(pairs), tuple(others))


def moved(config: Config, point: RestorePoint, scope: Scope) -> list[tuple[Recorded, Recorded]]:
    """Return the recorded file systems that are another one now, with that one, as far as the scope goes."""
    root, table = os.path.realpath(os.fsencode(config.root)), mounts.mounts()
    found = ((one, mounted_at(root, one.place, table)) for one in involved(point, scope) if not one.plain)
    return [(one, there) for one, there in found
            if there is not None and there.uuid and not same_uuid(one.uuid, there.uuid)]


def _as_recorded(device: Device) -> Recorded:
    return Recorded(b"", device.fstype, device.uuid, device.path, device.label, partuuid=device.partuuid)


def _names(one: Recorded, there: Recorded) -> Iterator[Renamed]:
    new = f"UUID={there.uuid}"
    if one.uuid:
        yield Renamed("uuid", one.uuid, there.uuid)
    if one.label and one.label != there.label:
        yield Renamed("label", one.label, new)
    if one.partuuid and one.partuuid != there.partuuid:
        yield Renamed("partuuid", one.partuuid, new)
    if one.device.startswith("/dev/") and one.device != there.device:
        yield Renamed("path", one.device, new)


def adjustments(tree: PointTree, changes: Sequence[Renamed]) -> list[Adjustment]:
    """Return what will have to be changed in the files that a rollback brings back."""
    found = []
    for path in _files(tree) if changes else ():
        text = tree.text(path) if tree.comes(path) else None
        lines = [(o, n) for o in (text or "").splitlines() if (n := rewritten(o, changes)) != o]
        if lines:
            found.append(Adjustment(path, tuple(lines)))
    return found


class Adopted(PointTree):
    """A system as it will be when it has come back and was adjusted."""

    def __init__(self, adoption: Adoption, store: Store, catalog: Catalog, number: int, root: bytes, scope: Scope
                 ) -> None:
        super().__init__(store, catalog, number, root, scope.paths, scope.but)
        self._changes, self._adjusted = adoption.changes, {one.path for one in adoption.found}

    def text(self, path: bytes) -> str | None:
        """Return a text file as it will be."""
        text = super().text(path)
        if text is None or self.inner(path) not in self._adjusted:
            return text
        return rewritten(text, self._changes)


def _files(tree: Tree) -> list[bytes]:
    """Return the files that name file systems, each once, symbolic links followed."""
    points = [os.fsencode(line.point).strip(b"/") for line in tabs.fstab(tree.text(b"etc/fstab") or "")
              if line.fstype in ("vfat", "msdos")]
    esps = bootmeans.esp_places(tree, points)
    paths = [*_FILES, *(os.path.join(b"etc/default/grub.d", n) for n in tree.names(b"etc/default/grub.d"))]
    for place in dict.fromkeys((b"boot", *esps)):
        entries = os.path.join(place, b"loader/entries")
        paths += [os.path.join(entries, n) for n in tree.names(entries) if n.endswith(b".conf")]
        top = tree.fold(os.path.join(place, b"EFI")) or b""
        paths += [os.path.join(top, n, b"grub.cfg") for n in tree.names(top)] if top else []
    inner = (tree.inner(p) for p in paths if tree.is_file(p))
    return list(dict.fromkeys(p for p in inner if p is not None))


def rewritten(text: str, changes: Sequence[Renamed]) -> str:
    """Return a text with every old name replaced, in one pass: what was put in is not looked at again."""
    # A container's name often holds its UUID: rd.luks.uuid=luks-UUID, /dev/mapper/luks-UUID.
    patterns = {"uuid": r"(?:(?<![0-9A-Za-z-])|(?<=\bluks-))(?i:{})(?![0-9A-Za-z-])",
                "path": r"(?<![\w/.-]){}(?![\w/.-])",
                "label": r"(?:\bLABEL=|/dev/disk/by-label/)(?P<q{n}>[\"']?){}(?P=q{n})(?![^\s\"',;])",
                "mount": r"(?m:^)[ \t]*[^#\s]\S*[ \t]+{}/?[ \t].*",
                "partuuid": r"(?:\bPARTUUID=|/dev/disk/by-partuuid/)(?i:{})(?![0-9A-Za-z-])"}
    if not changes:
        return text
    # A whole line goes first, a bare UUID last: a label or a partition may have the name of one.
    ordered = sorted(changes, key=lambda c: (c.kind != "mount", c.kind == "uuid"))
    parts = [f"(?P<c{n}>{patterns[c.kind].replace('{n}', str(n)).replace('{}', re.escape(c.old))})"
             for n, c in enumerate(ordered)]

    def put(match: re.Match[str]) -> str:
        change = next(c for n, c in enumerate(ordered) if match[f"c{n}"] is not None)
        if change.kind == "mount":
            return f"# {match[0]}"
        new = change.new
        if match[0].startswith("/dev/disk/"):
            new = "/dev/disk/by-uuid/" + new.removeprefix("UUID=")
        return new

    return re.sub("|".join(parts), put, text)


def findings(adoption: Adoption, tree: Tree, root: bytes, *, boot: bool) -> Iterator[Finding]:
    """Yield what the admin should know; `boot` tells whether boot code is part of the rollback: if not he has to see to
    that himself. `tree` is the system as it will be."""
    found = adoption.found
    if not adoption.changes:
        return
    files = {a.path for a in found}
    yield Finding("info", f"after verifying, {sum(len(a.lines) for a in found)} lines in {len(files)} files are "
                  "adjusted to the new file systems")
    yield from unmounted.findings(tree, unmounted.now(), adoption.moved)
    if boot:
        return
    inside = printable(root)
    yield Finding("warning", "boot code and initramfs were made for the old file systems and may have to be made anew",
                  f"in `rollpoint rescue shell --adopt`: chroot {inside}; then grub-install DISK, update-grub (or "
                  "grub2-mkconfig -o FILE), update-initramfs -u -k all (or dracut -f --regenerate-all)")


# --- applying ------------------------------------------------------------------------------------------------------


def apply(target: bytes, document: dict[str, list[Any]]) -> list[str]:
    """Change the files in the tree at `target` as a journal says; returns what was changed, as lines. Doing it again
    changes nothing. Raises OSError; the rollback can then be resumed."""
    changes = [Renamed(*(str(word) for word in one)) for one in document["renamed"]]
    paths = [bytes.fromhex(p) for p in document["files"]]
    tree = Tree(target)
    done: list[str] = []
    for path in paths:
        full, data = tree.place(path), tree.read(path, _LIMIT)
        if full is None or data is None:
            continue
        old = data.decode("utf-8", "surrogateescape")
        new = rewritten(old, changes)
        if new != old:
            pairs = zip(old.splitlines(), new.splitlines(), strict=True)
            done += Adjustment(path, tuple((o, n) for o, n in pairs if o != n)).words
            _replace(full, _padded(path, new).encode("utf-8", "surrogateescape"))
    return done


def _padded(path: bytes, text: str) -> str:
    return text.rstrip("#").ljust(_ENV_SIZE, "#") if os.path.basename(path) == _ENV else text


def _replace(full: bytes, data: bytes) -> None:
    """Replace a file, durably and whole or not at all; it keeps its owner, mode and attributes, and gets a new time, by
    which a rollback that is resumed sees that it is not the point's."""
    entry = read_entry(full, b"")
    temporary = os.path.join(os.path.dirname(full), b".rollpoint-%d" % os.getpid())
    remove_any(temporary)
    with open(temporary, "xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    apply_attributes(temporary, entry)
    os.utime(temporary)
    os.rename(temporary, full)
    fsync_dir(os.path.dirname(full))
