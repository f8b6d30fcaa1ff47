"""Boot pieces to look at: bytes, texts and loaders that a point keeps, beside those of this machine."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from engine import bootpieces
from engine.config import Config
from engine.errors import RefusedError, RollpointError, ToolError, UsageError
from engine.machine import bootimages, bootmeans, facts, tabs
from engine.machine.collect import Text
from engine.machine.diskmatch import match
from engine.machine.disks import read_disk
from engine.machine.layouttext import device_tree, renamed_dump
from engine.machine.tree import Tree
from engine.points import RestorePoint
from engine.replica import bootsaved
from engine.replica.catalog import Catalog
from engine.replica.layout import Store
from engine.replica.pointtree import PointTree
from engine.run import call
from engine.text import message, printable

FACT = "facts/"
"""What the names of facts begin with in `kept`."""
_LIMIT = 64 << 20           # bytes of a saved file or an EFI program
_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Kept:
    """A saved file of a point's boot pieces; `damage` says in words what is wrong with it ("": nothing)."""

    data: bytes
    damage: str


@dataclass(frozen=True, slots=True)
class Layout:
    """A text about the disks, as a point keeps it and as it is now; None where there is none, and `note` says why (or
    what else to know of it)."""

    name: str
    then: bytes | None
    now: bytes | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Loader:
    """An EFI program (`path` in the tree), now and in a point: None where it is not there, "" where it can be started,
    else what is wrong with it. `same`: both have the same content."""

    path: bytes
    now: str | None
    then: str | None
    same: bool


# --- bytes ---------------------------------------------------------------------------------------------------------


def kept(store: Store, point: RestorePoint, name: str) -> Kept:
    """Return a file that a point has saved: an image (``disk-1.gap``), a text (``lsblk.json``), or a fact
    (``facts/df.txt``). What is damaged is returned as it is, with the damage in words.

    Raises UsageError when the point has saved none of that name, RollpointError when it cannot be read.
    """
    place = bootsaved.directory(store, point.id)
    wanted = dict(_listed(place)).get(name)
    if wanted is None:
        raise UsageError(f"point {point.id} has saved no {printable(name)}", hint="`rollpoint boot show` lists what "
                         "it has")
    path = os.path.join(place, os.fsencode(name))
    try:
        with open(path, "rb") as file:
            data = file.read(_LIMIT)
    except OSError as error:
        raise RollpointError(f"{printable(path)} cannot be read: {error.strerror}",
                             hint="choose another point; `rollpoint verify` says what else is damaged") from error
    whole = hashlib.sha256(data).hexdigest() == wanted
    return Kept(data, "" if whole else f"{printable(name)} is damaged: its SHA-256 is not the recorded one")


def _listed(place: bytes) -> Iterator[tuple[str, str]]:
    """Yield (name, SHA-256) of each file that was saved; no name leads out of the directory."""
    record = bootimages.index(place)
    images = [(i.file, i.sha256) for d in record.disks for i in d.images]
    texts = [(t.name, t.sha256) for t in record.texts if t.sha256]
    with contextlib.suppress(RollpointError):       # there need be none; a damaged index is told by `bootpieces.show`
        texts += [(FACT + os.path.basename(t.name), t.sha256)
                  for t in facts.load(os.path.join(place, bootsaved.FACTS)).kept]
    yield from (pair for pair in (*images, *texts) if "/" not in pair[0].removeprefix(FACT))


def present(path: bytes, offset: int, length: int) -> bytes:
    """Return bytes of a disk that is here, less where it ends before. Raises RollpointError when it cannot be read."""
    disk = read_disk(path)
    with bootimages.opened(disk) as fd:
        return bootimages.read_range(fd, disk, offset, max(0, min(length, disk.size - offset)))


# --- layout --------------------------------------------------------------------------------------------------------


def layout(store: Store | None, config: Config, point: RestorePoint | None) -> tuple[Layout, ...]:
    """Return the texts about the disks, then and now: a dump of each partition table, the devices, their identifiers,
    the firmware's entries. Without a point (or one that has them) only those of now.

    A tool that is missing or fails becomes a note; raises DamageError when not even the record can be read.
    """
    saved = None
    if store is not None and point is not None:
        with contextlib.suppress(RefusedError):     # it has no boot pieces
            saved = bootimages.index(bootsaved.directory(store, point.id))

    def then(name: str) -> tuple[bytes | None, str]:
        if saved is None or store is None or point is None:
            return None, ""
        text = next((t for t in saved.texts if t.name == name), None)
        return _then(store, point, text) if text is not None else (None, "the point has none")

    tables = _tables_now(config) if saved is None else _tables(saved, config, then)
    return (*tables, _other("block devices", ("lsblk", "-J", "-b", "-O"), then("lsblk.json"), _tree),
            _other("identifiers of file systems", ("blkid",), then("blkid.txt"), bytes, ok=(0, 2)),
            *([_other("entries of the firmware", ("efibootmgr", "-v"), then("efibootmgr.txt"), bytes)]
              if bootimages.firmware() == "uefi" or then("efibootmgr.txt")[0] is not None else []))


def _then(store: Store, point: RestorePoint, text: Text) -> tuple[bytes | None, str]:
    """Return a saved text, None where there is none, and what to say of it."""
    if not text.sha256:
        return None, f"not in the point: {text.note}"
    try:
        found = kept(store, point, text.name)
    except RollpointError as error:
        return None, error.message
    return found.data, found.damage or text.note


def _tables(saved: bootimages.BootRecord, config: Config, then: Callable[[str], tuple[bytes | None, str]]
            ) -> Iterator[Layout]:
    for found in match(saved.disks, bootpieces.present_disks(config), {}):
        data, note = then(f"{found.recorded.name}.sfdisk")
        name, now = printable(found.recorded.path), None
        if found.disk is None:
            note = note or found.reason
        else:
            if data is not None:
                data = renamed_dump(data, os.fsencode(found.recorded.path), found.disk.path)
            if name != found.disk.name:
                note = note or f"it was {name} when the point was taken"
            name = found.disk.name
            now, failed = _said(("sfdisk", "-d", found.disk.path))
            note = note or failed
        yield Layout(f"partition table of {name}", data, now, note)


def _tables_now(config: Config) -> Iterator[Layout]:
    for disk in bootsaved.find(config, os.path.realpath(os.fsencode(config.root))).disks:
        now, note = _said(("sfdisk", "-d", disk.path))
        yield Layout(f"partition table of {disk.name}", None, now, note)


def _other(name: str, argv: tuple[str, ...], then: tuple[bytes | None, str], shape: Callable[[bytes], bytes], *,
           ok: tuple[int, ...] = (0,)) -> Layout:
    """Return one of the texts that are about the whole machine, both sides in the same shape."""
    now, failed = _said(argv, ok)
    data, note = then
    try:
        return Layout(name, data and shape(data), now and shape(now), note or failed)
    except RollpointError as error:
        return Layout(name, data, now, error.message)


def _tree(data: bytes) -> bytes:
    return device_tree(data).encode("utf-8", "surrogateescape")


def _said(argv: tuple[str | bytes, ...], ok: tuple[int, ...] = (0,)) -> tuple[bytes | None, str]:
    """Return what a tool says, or None and why it says nothing."""
    try:
        return call(argv, ok=ok, timeout=_SECONDS), ""
    except ToolError as error:
        return None, message(error.message)


# --- loaders -------------------------------------------------------------------------------------------------------


def loaders(store: Store | None, catalog: Catalog | None, config: Config, point: RestorePoint | None
            ) -> tuple[Loader, ...]:
    """Return the EFI programs of this system and of a point, by path."""
    root = os.path.realpath(os.fsencode(config.root))
    here = Tree(root)
    now = _programs(here) if bootsaved.concerned(config, root) else {}
    if store is None or catalog is None or point is None:
        return tuple(Loader(p, now[p], None, False) for p in sorted(now))
    there = PointTree(store, catalog, point.number, root)
    then = _programs(there)
    return tuple(Loader(p, now.get(p), then.get(p), p in now and p in then
                        and here.read(p, _LIMIT) == there.read(p, _LIMIT)) for p in sorted(now.keys() | then.keys()))


def _programs(tree: Tree) -> dict[bytes, str]:
    """Return the EFI programs of a tree with what is wrong with each."""
    mounts = [os.fsencode(line.point).strip(b"/") for line in tabs.fstab(tree.text(b"etc/fstab") or "")
              if line.fstype in ("vfat", "msdos")]
    found = bootmeans.loaders(tree, bootmeans.esp_places(tree, mounts))
    return {path: bootmeans.program_fault(tree, path) for path in found}
