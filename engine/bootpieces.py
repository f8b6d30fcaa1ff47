"""Boot pieces in a rollback: what would change on which disk, putting it back, undoing that, and whether it will boot.

What a rollback overwrites is kept in STORE/rollback-boot/ID, a directory of its own for each rollback, until that is
undone or another one begins.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from engine.config import Config
from engine.errors import DamageError, RefusedError, RollpointError
from engine.events import Job, step
from engine.machine import bootimages, bootrestore, facts
from engine.machine.bootimages import Area, BootRecord
from engine.machine.bootrestore import BootPlan
from engine.machine.collect import Text
from engine.machine.disks import Disk, all_disks, disks_below, read_disk
from engine.machine.tree import Tree
from engine.points import RestorePoint
from engine.replica import bootsaved
from engine.replica.layout import Store, fsync_dir, remove_tree
from engine.results import NO, Finding, Verdict
from engine.scopes import Scope
from engine.text import message

KEPT = b"rollback-boot"
_FILES_ONLY = "choose another point, or roll back the files alone (`--scope files`)"
_SHOWN = 12
# What decides whether a system starts; a rollback of anything else needs no verdict.
_MATTERS = (b"boot", b"efi", b"etc/fstab", b"etc/crypttab", b"lib/modules", b"usr/lib/modules", b"sbin", b"usr/sbin",
            b"usr/lib/systemd")


@dataclass(frozen=True, slots=True)
class Pieces:
    """The boot sectors in a rollback's plan: those that will change, in words, and what the admin should know."""

    words: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    disks: tuple[bytes, ...] = ()       # those that are written to
    served: tuple[bytes, ...] = ()      # those that have, or get, all that was recorded of them


@dataclass(frozen=True, slots=True)
class BootStatus:
    """How the live system starts: its boot disks with what is in their boot areas, and the verdict."""

    root: bytes
    firmware: str
    disks: tuple[tuple[Disk, tuple[Area, ...]], ...]
    notes: tuple[str, ...]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class BootShown:
    """What a point holds of the machine's start. `plan` compares it with the disks that are here; None where there is
    none to compare with, and `why` says so. `damage` are sentences."""

    record: BootRecord
    plan: BootPlan | None
    why: str
    facts: tuple[Text, ...]
    damage: tuple[str, ...]


# --- looking -------------------------------------------------------------------------------------------------------


def status(config: Config) -> BootStatus:
    """Look at the live system and its boot disks."""
    root = os.path.realpath(os.fsencode(config.root))
    found = bootsaved.find(config, root)
    disks: list[tuple[Disk, tuple[Area, ...]]] = []
    notes = [*found.notes, *found.warnings]
    for disk in found.disks:
        try:
            disks.append((disk, bootimages.areas(disk)))
        except RollpointError as error:
            notes.append(error.message)
    verdict = bootsaved.judge(Tree(root), root, found.disks)
    return BootStatus(root, bootimages.firmware() if root == b"/" else "", tuple(disks), tuple(notes), verdict)


def show(store: Store, config: Config, point: RestorePoint) -> BootShown:
    """Return the boot pieces of a point beside those of the disks that are here. Raises RefusedError when it has none,
    DamageError when not even their record can be read."""
    place = bootsaved.directory(store, point.id)
    record = bootimages.index(place)
    texts: tuple[Text, ...] = ()
    with contextlib.suppress(RollpointError):
        texts = facts.load(os.path.join(place, bootsaved.FACTS)).kept
    damage = tuple(bootsaved.damaged(store, point.id, point.doc.get("files", {})))
    try:
        return BootShown(record, _compared(store, config, place), "", texts, damage)
    except RollpointError as error:
        return BootShown(record, None, error.message, texts, damage)


def _compared(store: Store, config: Config, place: bytes) -> BootPlan:
    """Return the plan that puts what is saved in `place` onto the disks that are here."""
    root = os.path.realpath(os.fsencode(config.root))
    if not bootsaved.concerned(config, root, known=True):
        raise RefusedError("the root is a plain directory, and no boot disks are configured",
                           hint="name them in the configuration: boot: {disks: [PATH]}")
    return bootrestore.plan(bootimages.load(place), present_disks(config), store_disks=_below(store))


def present_disks(config: Config) -> list[Disk]:
    """Return the disks among which the recorded ones are looked for: those that are configured, else all."""
    if config.boot.disks != bootsaved.AUTO:
        return [read_disk(os.fsencode(d)) for d in config.boot.disks]
    found = []
    for path in all_disks():
        with contextlib.suppress(RollpointError):       # a drive without a medium; the recorded one would be missed
            found.append(read_disk(path))
    return found


def _below(store: Store) -> list[bytes]:
    try:
        return disks_below(store.path)
    except RefusedError:
        return []


# --- planning ------------------------------------------------------------------------------------------------------


def plan(store: Store, config: Config, point: RestorePoint, scope: Scope) -> Pieces:
    """Return what becomes of boot sectors in a rollback; nothing is touched."""
    root = os.path.realpath(os.fsencode(config.root))
    place = bootsaved.directory(store, point.id)
    there = os.path.isdir(place)
    if not scope.boot or config.boot.disks == () or not (there or bootsaved.concerned(config, root)):
        return Pieces()
    if not there:
        return Pieces(findings=(Finding("info", f"point {point.id} holds no boot sectors: they stay as they are"),))
    try:
        boot = _compared(store, config, place)
    except DamageError as error:
        return Pieces(findings=(Finding("blocker", error.message, _FILES_ONLY),))
    except RollpointError as error:
        return Pieces(findings=(Finding("warning", f"boot sectors stay as they are: {error.message}", error.hint),))
    written = [(d.disk, p) for d in boot.disks for p in d.pieces if p.writes]
    return Pieces(tuple(f"{disk.name}: {p.words}" for disk, p in written), boot.findings,
                  tuple(dict.fromkeys(disk.path for disk, _ in written)),
                  tuple(d.disk.path for d in boot.disks if d.pieces and not any(p.refused and p.differs
                                                                                for p in d.pieces)))


def foresee(store: Store, config: Config, then: Tree, point: RestorePoint, scope: Scope, written: Collection[bytes]
            ) -> Iterator[Finding]:
    """Yield whether the system will boot after a rollback to a point of the store (see `outlook`)."""
    known = os.path.isdir(bootsaved.directory(store, point.id))
    instead = "roll back the whole system to this point instead" if scope.paths or scope.but else ""
    yield from outlook(config, then, scope.paths, written, known=known, instead=instead)


def outlook(config: Config, then: Tree, paths: Sequence[bytes], written: Collection[bytes], *, known: bool,
            instead: str) -> Iterator[Finding]:
    """Yield whether the system will boot after a rollback of these paths (none: of all), where that has to do with it.
    `then` is the system as it will be, `written` the disks whose boot sectors will not be those that are there now,
    `known` says that it was a system when the point was taken.

    What speaks against it is a warning: the checker may know less than the admin, and the machine may be past booting
    already. Only a rollback of parts that would take a system that boots away from booting is forbidden (kernels in
    /boot whose modules stay away, for example): `instead` says what to do then ("": it is no rollback of parts).
    """
    root = os.path.realpath(os.fsencode(config.root))
    if not bootsaved.concerned(config, root, known=known) or not matters(paths):
        return
    disks = tuple(d for d in bootsaved.find(config, root, known=known).disks if d.path not in written)
    after = bootsaved.judge(then, root, disks, known=known)
    forbidden = False
    if after.answer == NO and instead:
        forbidden = bootsaved.judge(Tree(root), root, disks, known=known).answer != NO
    kernel = f" (kernel {after.kernel})" if after.kernel else ""
    yield Finding("info", f"after this rollback: {after.words}{kernel}")
    serious = [f for f in after.findings if f.level != "info"]
    for finding in serious[:_SHOWN]:
        level = "blocker" if forbidden and finding.level == "blocker" else "warning"
        yield Finding(level, f"after this rollback: {finding.text}", instead if level == "blocker" else finding.hint)


def matters(paths: Sequence[bytes]) -> bool:
    """Whether a rollback of these paths (none: of all) has any bearing on whether the system starts."""
    return not paths or any(one == other or one.startswith(other + b"/") or other.startswith(one + b"/")
                            for one in paths for other in _MATTERS)


# --- applying ------------------------------------------------------------------------------------------------------


def restore(store: Store, config: Config, entry: dict[str, Any], job: Job, also: Sequence[Disk] = ()
            ) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Put boot pieces back as the journal's `entry` says, or with its `undo` what was there before; repeating it ends
    in the same state. What is in the boot areas of the disks in `also`, on which a boot loader will be installed, is
    kept for undoing. Returns the areas written, and what differs from what should be there, as lines. What cannot be
    put back, as the plan has said (an undo has none), is a warning and no difference.

    Raises RollpointError when a disk cannot be written; the rollback can then be resumed or undone.
    """
    place = _place(store, entry)
    if place is None and not also:
        return (), ()
    job.progress("restoring boot sectors")
    try:
        boot = _planned(store, config, entry, place) if place is not None else None
    except RollpointError as error:
        if entry["undo"] or isinstance(error, DamageError):     # no plan has said so
            return (), (f"boot sectors: {error.message}",)
        job.warn(message(f"boot sectors stay as they are: {error.message}"))
        boot = None
    keep = None
    if (also or (boot is not None and boot.writes)) and not entry["undo"]:
        keep = _made(store, entry)
    done = bootrestore.apply(boot or bootrestore.NOTHING, keep, also)
    step("rollback-boot-written")
    if boot is None or place is None:
        return done, ()
    left = _planned(store, config, entry, place)
    staying = tuple(_staying(left)) if not also else ()
    for words in staying if not entry["undo"] else ():
        job.warn(message(words))
    differing = [f"{d.disk.name}: {p.words}" for d in left.disks for p in d.pieces if p.writes]
    return done, (*differing, *(staying if entry["undo"] else ()))


def _place(store: Store, entry: dict[str, Any]) -> bytes | None:
    """Return where the boot pieces are that a journal wants on the disks; None where it wants none."""
    if not entry.get("boot"):
        return None
    if entry["undo"]:
        place = _kept(store, entry)
        return place if os.path.exists(os.path.join(place, bootimages.SUMS)) else None
    place = bootsaved.directory(store, entry["point"])
    return place if os.path.isdir(place) else None


def _planned(store: Store, config: Config, entry: dict[str, Any], place: bytes) -> BootPlan:
    return bootrestore.undo(place, present_disks(config)) if entry["undo"] else _compared(store, config, place)


def _staying(boot: BootPlan) -> Iterator[str]:
    """Yield what stays as it is, as the plan has said."""
    for disk in boot.disks:
        for piece in disk.pieces:
            if piece.differs and piece.refused:
                yield f"{disk.disk.name}: {piece.words}"
    yield from (f"boot sectors: {why}" for _, why in boot.missing)


def _kept(store: Store, entry: dict[str, Any]) -> bytes:
    return store.place(KEPT, os.fsencode(entry["id"]))


def _made(store: Store, entry: dict[str, Any]) -> bytes:
    """Make the directory for what will be overwritten, durably: its name must not be lost after the writes."""
    place = _kept(store, entry)
    os.makedirs(place, mode=0o700, exist_ok=True)
    fsync_dir(store.place(KEPT))
    fsync_dir(store.path)
    return place


def tidy(store: Store, needed: str = "") -> None:
    """Remove what other rollbacks than the one with this id have kept: nothing can undo them any more."""
    kept = store.place(KEPT)
    for name in os.listdir(kept) if os.path.isdir(kept) else ():
        if name != os.fsencode(needed):
            remove_tree(os.path.join(kept, name))
    if os.path.isdir(kept) and not os.listdir(kept):
        os.rmdir(kept)


def verdict(config: Config, paths: Sequence[bytes]) -> Verdict | None:
    """Return whether the live system will boot now, None where a rollback of these paths has no bearing on that."""
    root = os.path.realpath(os.fsencode(config.root))
    if not bootsaved.concerned(config, root) or not matters(paths):
        return None
    return bootsaved.judge(Tree(root), root, bootsaved.find(config, root).disks)
