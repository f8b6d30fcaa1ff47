"""The boot pieces of a point: saved beside its files into points/ID/boot, judged when it is taken, checked by verify.

Which disks: those the configuration names. Else (``auto``) those below /boot, and only for a tree that is a system: the
running one, or one that is mounted as a file system of its own and has an fstab, as on a rescue CD. A plain directory
has no disks, and what is mounted without an fstab may be any data.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from engine.config import Config
from engine.errors import RefusedError, RollpointError, ToolError
from engine.events import Job, step
from engine.machine import blockids, bootcheck, bootimages, facts
from engine.machine.bootimages import BootRecord
from engine.machine.collect import Text
from engine.machine.disks import Disk, disks_below, read_disk
from engine.machine.mounts import mount_of
from engine.machine.tree import Tree
from engine.points import RestorePoint
from engine.replica import packs
from engine.replica.layout import Store
from engine.results import Verdict
from engine.run import call
from engine.text import message, printable

DIRECTORY, FACTS = b"boot", b"facts"
AUTO = ("auto",)
_SEALED = (bootimages.SUMS, os.path.join(FACTS, facts.INDEX))
_TEXT_SECONDS, _FACT_SECONDS = 10, 20       # at most; they take less than one when nothing hangs
_FINDINGS = 50


@dataclass(frozen=True, slots=True)
class Found:
    """The boot disks of a tree that could be read. `notes` say what there is no help for (a container, ZFS, no root),
    `warnings` what the admin has to put right."""

    disks: tuple[Disk, ...] = ()
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def directory(store: Store, point_id: str) -> bytes:
    """Return where the boot pieces of a point are, if it has any."""
    return store.point(point_id, DIRECTORY)


def is_system(root: bytes, *, known: bool = False) -> bool:
    """Whether a tree (a resolved path) is a system that runs, or one that is mounted as such. `known`: a point says
    that it was one, and its fstab may be what is missing now."""
    if root == b"/":
        return True
    mount = mount_of(root)
    whole = mount.root == b"/" or mount.fstype == b"btrfs"      # else a bind mount of some directory
    return mount.point == root and whole and (known or os.path.isfile(os.path.join(root, b"etc/fstab")))


def concerned(config: Config, root: bytes, *, known: bool = False) -> bool:
    """Whether a tree has anything to do with booting a machine."""
    return config.boot.disks not in (AUTO, ()) or is_system(root, known=known)


def find(config: Config, root: bytes, *, known: bool = False) -> Found:
    """Return the boot disks of the tree at `root`."""
    if config.boot.disks != AUTO:
        disks, failed = _read([os.fsencode(d) for d in config.boot.disks])
        return Found(disks, (), tuple(error.message for error in failed))
    if not is_system(root, known=known):
        return Found()
    boot = os.path.realpath(os.path.join(root, b"boot"))
    try:
        paths = disks_below(boot if os.path.isdir(boot) else root)
    except RefusedError as error:
        return Found(notes=(f"{error.message}: {error.hint}",))
    notes = [f"{printable(p)} has no device node here" for p in paths if not os.path.exists(p)]
    disks, failed = _read([p for p in paths if os.path.exists(p)])
    # Who may not read disks (an ordinary user, root of a container) is not to be told so at every point.
    warnings = [e.message for e in failed if not isinstance(e.__cause__, PermissionError)]
    notes += [e.message for e in failed if isinstance(e.__cause__, PermissionError)]
    return Found(disks, tuple(notes), tuple(warnings))


def _read(paths: list[bytes]) -> tuple[tuple[Disk, ...], list[RollpointError]]:
    disks, failed = [], []
    for path in paths:
        try:
            disks.append(read_disk(path))
        except RollpointError as error:
            failed.append(error)
    return tuple(disks), failed


# --- taking --------------------------------------------------------------------------------------------------------


def save(point: bytes, tree: bytes, config: Config, root: bytes, job: Job) -> tuple[dict[str, Any], dict[str, str]]:
    """Save the boot pieces of the tree at `root` into the directory of a point that is being taken, and judge the
    copy of it, `tree`. Returns what point.yaml says of them: `boot`, and the checksums for `files`; both empty where
    there is nothing to save. Raises OSError when the store cannot be written.
    """
    if not concerned(config, root):
        return {}, {}
    started = time.monotonic()
    job.progress("saving boot pieces")
    found = find(config, root)
    place = os.path.join(point, DIRECTORY)
    record = bootimages.save(found.disks, place, seconds=_TEXT_SECONDS)
    _warn(found, record, job)
    texts: tuple[Text, ...] = ()
    if root == b"/" and config.boot.facts:
        texts = facts.save(os.path.join(place, FACTS), root, seconds=_FACT_SECONDS).kept
    step("snapshot-boot-saved")
    verdict = judge(Tree(tree), root, found.disks, nvram=Tree(place).text(b"efibootmgr.txt") or "")
    findings = [{"level": f.level, "text": message(f.text)} for f in verdict.findings if f.level != "info"]
    boot = {"verdict": verdict.answer, "kernel": message(verdict.kernel), "firmware": record.firmware,
            "disks": [_described(d) for d in record.disks], "findings": findings[:_FINDINGS],
            "notes": [message(n) for n in (*found.notes, *found.warnings, *record.notes)],
            "facts": [t.name for t in texts], "seconds": round(time.monotonic() - started, 3)}
    return boot, sums(place)


def _warn(found: Found, record: BootRecord, job: Job) -> None:
    """Warn of what is missing and could be there; the rest is only noted in the point."""
    for text in found.warnings:
        job.warn(f"boot pieces were not saved: {text}")
    for disk, saved in zip(found.disks, record.disks, strict=True):
        if len(saved.images) < len(list(bootimages.ranges(disk))):
            job.warn(f"boot pieces of {disk.name} were not all saved: {saved.notes[-1]}")


def _described(disk: bootimages.DiskRecord) -> dict[str, Any]:
    saved = ", ".join(f"{i.what}: {i.holds}" for i in disk.images) or "nothing"
    return {"path": message(printable(disk.path)), "model": message(disk.model), "size": disk.size,
            "table": disk.table, "id": message(disk.id), "saved": message(saved)}


def sums(place: bytes) -> dict[str, str]:
    """Return the SHA-256 of each file that lists the checksums of others, by its name in the point."""
    return {os.fsdecode(os.path.join(DIRECTORY, name)): packs.file_sum(os.path.join(place, name))
            for name in _SEALED if os.path.exists(os.path.join(place, name))}


def judge(tree: Tree, root: bytes, disks: tuple[Disk, ...], *, nvram: str | None = None, known: bool = False
          ) -> Verdict:
    """Return whether `tree` boots from these disks as the system at `root`, judged by the devices that are here.

    What only the running system has (the firmware's kind, and its entries as efibootmgr prints them; None: it is asked)
    counts for that one alone: a rescue CD may have been started in another way.
    """
    kind = bootimages.firmware() if root == b"/" else ""
    if kind == "uefi" and nvram is None:
        with contextlib.suppress(ToolError):
            nvram = call(("efibootmgr", "-v"), timeout=20).decode("utf-8", "replace")
    return bootcheck.check(tree, devices=blockids.present() if is_system(root, known=known) else None, disks=disks,
                           firmware=kind, nvram=(nvram or "") if kind == "uefi" else "")


# --- checking ------------------------------------------------------------------------------------------------------


def damaged(store: Store, point_id: str, files: Mapping[str, str]) -> Iterator[str]:
    """Yield what is wrong with the boot pieces of a point; `files` is point.yaml's. Each sentence begins with boot/."""
    place = directory(store, point_id)
    listed = {name: digest for name, digest in files.items() if name.startswith("boot/")}
    for name, digest in listed.items():
        try:
            if packs.file_sum(store.point(point_id, os.fsencode(name))) != digest:
                yield f"{printable(name)} is not what was saved"
        except OSError as error:
            yield f"{printable(name)} cannot be read: {error.strerror}"
    if os.path.isdir(place):
        try:
            yield from bootimages.damaged(place)
            yield from _damaged_facts(os.path.join(place, FACTS))
        except RollpointError as error:
            yield f"boot/: {error.message}"


def only_boot(point: RestorePoint) -> bool:
    """Whether a point is damaged, but in its boot pieces only, so that its files can still be rolled back."""
    return bool(point.problems) and all(p.startswith("verify: boot/") for p in point.problems)


def _damaged_facts(place: bytes) -> Iterator[str]:
    if not os.path.isdir(place):
        return
    for text in facts.load(place).kept:
        name = os.path.basename(os.fsencode(text.name))
        try:
            if packs.file_sum(os.path.join(place, name)) != text.sha256:
                yield f"boot/facts/{printable(name)} is not what was saved"
        except OSError as error:
            yield f"boot/facts/{printable(name)} cannot be read: {error.strerror}"
