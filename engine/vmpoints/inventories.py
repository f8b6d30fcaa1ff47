"""Inventory points: every vm.cfg, what the repositories are, their structure, and the facts of the disks.

Format: "Inventory points" in engine/replica/FORMAT.md. Contents are kept once for all points (`blobs`), so that a point
of a server on which nothing changed takes a few KiB.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from engine.config import Config
from engine.entries import Entry, Kind
from engine.errors import DamageError
from engine.events import Job
from engine.points import RestorePoint
from engine.replica.disk import apply_attributes, make_node
from engine.replica.layout import Store
from engine.results import PruneResult, SnapshotRequest
from engine.run import scratch
from engine.text import message
from engine.vmpoints import blobs, codec, documents, structure
from engine.vmpoints.plans import INVENTORIES
from engine.vms.findings import check
from engine.vms.inventory import Inventory, scan
from engine.vms.recipes import Recipe, recipes

KIND = b"points"
_OCTAL = re.compile(rb"\\([0-7]{3})")
CONTENT, FILES = b"inventory.json.gz", b"files"


def points(store: Store) -> list[RestorePoint]:
    """Return the inventory points, newest first. One that cannot be read is there too, as damaged."""
    found = [documents.point(store, KIND, INVENTORIES, name, (CONTENT, FILES)) for name in documents.ids(store, KIND)]
    found = [replace(point, own_bytes=documents.used(store, KIND, point.id)) for point in found]
    return sorted(found, key=lambda p: (p.created, p.id), reverse=True)


def take(store: Store, config: Config, request: SnapshotRequest, job: Job, inventory: Inventory | None = None
         ) -> RestorePoint:
    """Take a point of what there is now (`inventory`: what a scan has just found). The caller holds the write lock.
    What cannot be read is a warning. Raises OSError, CancelledError."""
    root = os.path.realpath(os.fsencode(config.root))
    inventory = scan(config.root, config.vms.repositories, job) if inventory is None else inventory
    made = structure.collect(root, inventory, job)
    names = {path: blobs.put(store, data) for path, data in made.contents.items()}
    sources = {m.config: names.get(m.file) or blobs.put(store, m.document.source) for m in inventory.machines}
    found = recipes(config.root, inventory)
    document = {"inventory": codec.encode(inventory, sources), "entries": structure.encode(made, names),
                "recipes": [[os.fsdecode(one.place), one.kind, one.device, one.command, one.lines, one.remarks]
                            for one in found]}
    when = documents.moment(request)
    point_id = documents.new_id(store, KIND, INVENTORIES, when)
    content = gzip.compress(json.dumps(document, separators=(",", ":")).encode(), mtime=0)
    files = {CONTENT: content, FILES: _listing(made, names, sources.values())}
    for remark in (remark for one in found for remark in one.remarks):
        job.warn(remark)
    troubles = [*made.troubles, *inventory.troubles, *(f"{os.fsdecode(u.config)}: {u.why}" for u in inventory.unread)]
    for trouble in dict.fromkeys(troubles):
        job.warn(message(f"not in the inventory point: {trouble}"))
    about = {**documents.common(point_id, request, when, root), "counts": _counts(inventory), "problems": len(troubles)}
    documents.appear(store, KIND, point_id, files, about)
    return next(point for point in points(store) if point.id == point_id)


def _counts(inventory: Inventory) -> dict[str, Any]:
    templates = sum(machine.template for machine in inventory.machines)
    return {"repositories": len(inventory.repositories), "machines": len(inventory.machines) - templates,
            "templates": templates, "disks": sum(len(machine.disks) for machine in inventory.machines),
            "apparent": sum(machine.apparent for machine in inventory.machines),
            "findings": dict(Counter(finding.kind for finding in check(inventory)))}


def _listing(made: structure.Structure, names: dict[bytes, str], more: Any) -> bytes:
    """The contents a point has, a line each, for people with plain tools: SHA-256, mode, owner, group, path. Lines that
    begin with ``#`` name contents without a path."""
    lines = []
    for path, name in sorted(names.items()):
        entry = made.entries[path]
        lines.append(b"%s %04o %d %d %s\n" % (name.encode(), entry.mode, entry.uid, entry.gid, _escaped(path)))
    lines += [b"# %s\n" % name.encode() for name in sorted(set(more) - set(names.values()))]
    return b"".join(lines)


def _escaped(path: bytes) -> bytes:
    """A path as printf(1) prints it back: what is no printable ASCII, the blank, % and \\ as three octal digits."""
    return b"".join(bytes([c]) if 0x21 <= c <= 0x7E and c not in b"%\\" else b"\\%03o" % c for c in path)


def _document(store: Store, point: RestorePoint) -> dict[str, Any]:
    data = documents.checked(store, KIND, point, CONTENT)
    try:
        document: dict[str, Any] = json.loads(gzip.decompress(data))
        return document
    except (ValueError, OSError, EOFError, zlib.error) as error:
        raise DamageError(f"point {point.id}: its inventory cannot be read: {error}") from error


def load(store: Store, point: RestorePoint, known: dict[str, bytes] | None = None) -> Inventory:
    """Return the inventory that a point holds. `known` keeps contents for whoever loads many. Raises DamageError."""
    known = {} if known is None else known

    def content(name: str) -> bytes:
        if name not in known:
            known[name] = blobs.get(store, name)
        return known[name]

    return codec.decode(_document(store, point).get("inventory", {}), content)


def kept_recipes(store: Store, point: RestorePoint) -> list[Recipe]:
    """Return what made the file systems of a point's repositories and pools. Raises DamageError."""
    try:
        return [Recipe(os.fsencode(place), kind, device, command, tuple(lines), tuple(remarks))
                for place, kind, device, command, lines, remarks in _document(store, point).get("recipes", [])]
    except (TypeError, ValueError) as error:
        raise DamageError(f"point {point.id}: its recipes are not of the form this Rollpoint knows: {error!r}"
                          ) from error


def entries(store: Store, point: RestorePoint) -> list[tuple[Entry, str | None]]:
    """Return the entries of a point in walk order, each with the name of its content (None: it was not kept). Raises
    DamageError."""
    try:
        return structure.decode(_document(store, point)["entries"])
    except (KeyError, TypeError, ValueError) as error:
        raise DamageError(f"point {point.id}: its entries are not of the form this Rollpoint knows: {error!r}"
                          ) from error


@contextlib.contextmanager
def opened(store: Store, point: RestorePoint) -> Iterator[bytes]:
    """Yield a directory with what a point keeps: directories, links, and the files whose content it has. It is made for
    this and removed after it. Raises DamageError, OSError."""
    with store.reading(), scratch() as place:
        top = os.path.join(os.fsencode(place), b"tree")
        os.mkdir(top, 0o755)
        made = []
        for entry, name in entries(store, point):
            full = os.path.join(top, entry.path)
            if entry.kind not in (Kind.FILE, Kind.DIR, Kind.LINK) or (entry.kind is Kind.FILE and name is None):
                continue
            os.makedirs(os.path.dirname(full), exist_ok=True)       # one that could not be read has no entry
            if name is not None:
                with open(full, "xb") as file:
                    file.write(blobs.get(store, name))
            else:
                make_node(full, entry)
            made.append((full, entry))
        for full, entry in reversed(made):
            apply_attributes(full, entry)
        yield top


def uses(store: Store, point: RestorePoint) -> set[str]:
    """Return the names of the contents that a point has. Raises DamageError."""
    listing = documents.checked(store, KIND, point, FILES)
    return {line.removeprefix(b"# ").split(b" ", 1)[0].decode("ascii") for line in listing.splitlines()}


def listed(store: Store, point: RestorePoint) -> Iterator[tuple[bytes, str]]:
    """Yield the files whose content a point has, with their SHA-256. Raises DamageError."""
    for line in documents.checked(store, KIND, point, FILES).splitlines():
        if not line.startswith(b"#"):
            digest, _mode, _uid, _gid, path = line.split(b" ")
            yield _OCTAL.sub(lambda found: bytes([int(found[1], 8)]), path), digest.decode("ascii")


def delete(store: Store, victims: Sequence[RestorePoint], job: Job) -> PruneResult:
    """Delete points, and the contents that no other one has. The caller holds the write lock. As long as one that stays
    is damaged, so that nobody knows what it has, no content is removed."""
    removed: list[str] = []
    failed: list[tuple[str, str]] = []
    freed = 0
    for number, point in enumerate(victims):
        job.progress("deleting", number, len(victims), current=os.fsencode(point.id))
        try:
            freed += documents.vanish(store, KIND, point.id)
            removed.append(point.id)
        except OSError as error:
            failed.append((point.id, error.strerror or str(error)))
            job.warn(message(f"point {point.id} could not be removed: {error}"))
    try:
        used = set[str]()
        for point in points(store):
            used |= uses(store, point)
        freed += blobs.sweep(store, used)
    except DamageError as error:
        job.warn(message(f"contents that no point needs any more were left: {error.message}"))
    except OSError as error:
        job.warn(message(f"contents that no point needs any more could not be removed: {error}"))
    return PruneResult(tuple(removed), tuple(failed), freed)
