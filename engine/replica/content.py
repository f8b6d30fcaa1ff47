"""Where the content of any version is, and making entries of any point anew in a directory."""

from __future__ import annotations

import os
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO

from engine.entries import Kind
from engine.errors import DamageError
from engine.events import Job
from engine.replica import delta, packs
from engine.replica.catalog import Catalog, Row
from engine.replica.changes import Step, parse_data
from engine.replica.disk import apply_attributes, copy_data, make_node, write_sparse
from engine.replica.layout import Store
from engine.text import shown_path

Place = tuple[int, int]  # (number of the point whose difference it is, number of the pack)


@dataclass(frozen=True, slots=True)
class Chain:
    """How to make one content: from a file of the tree (its current row) or a member of a pack, then deltas in that
    order."""

    row: Row
    tree: Row | None
    member: tuple[Place, Step] | None
    deltas: tuple[tuple[Place, Step], ...]


class Contents:
    """Finds and writes the contents of versions. Readers need no lock: what comes from the tree is checked against
    the catalog, and if a snapshot has just moved it away it is taken from that snapshot's backup directory."""

    def __init__(self, store: Store, catalog: Catalog) -> None:
        self.store, self.catalog = store, catalog
        self._ids = {seq: point_id for seq, point_id, _ in catalog.points()}
        self._order = sorted(self._ids)

    def chain(self, row: Row) -> Chain:
        """Return how to make the content of a regular file's version. Raises DamageError."""
        deltas: list[tuple[Place, Step]] = []
        at = row
        while at.last is not None:
            steps = parse_data(at.data or ".")
            if not steps:
                raise DamageError(f"nothing is recorded about the content of {shown_path(row.entry.path)}")
            last = at.last
            deltas[:0] = [((last, s.pack), s) for s in steps if s.op == "d"]
            head = steps[0]
            if head.op == "p":
                return Chain(row, None, ((last, head.pack), head), tuple(deltas))
            seq = last if head.op == "l" else self._next(last)
            found = self.catalog.at(head.name or at.entry.path, seq)
            if found is None or found.entry.kind is not Kind.FILE:
                raise DamageError(f"the content of {shown_path(row.entry.path)} should be that of "
                                  f"{shown_path(head.name or at.entry.path)} in point {seq}, which has no such file")
            at = found
        return Chain(row, at, None, tuple(deltas))

    def _next(self, seq: int) -> int:
        return next((s for s in self._order if s > seq), 1 << 60)

    def pack(self, place: Place) -> bytes:
        """Return the path of a pack."""
        return self.store.point(self._ids.get(place[0], "?"), b"diff", packs.pack_name(place[1]))

    @contextmanager
    def open(self, row: Row) -> Iterator[IO[bytes]]:
        """Open the content of one version for reading."""
        if row.last is None:
            with self._open_tree(row) as file:
                yield file
            return
        with tempfile.TemporaryDirectory(prefix="rollpoint-") as scratch:
            target = os.path.join(os.fsencode(scratch), b"content")
            self.write([(row, target)], os.fsencode(scratch), Job())
            with open(target, "rb") as file:
                yield file

    def _open_tree(self, row: Row) -> IO[bytes]:
        """Open the tree's file for a current row, or the version a running snapshot has just moved away."""
        entry = row.entry
        candidates = [os.path.join(self.store.tree, entry.path)]
        with suppress(FileNotFoundError):
            candidates += [os.path.join(self.store.work, name, b"old", entry.path)
                           for name in os.listdir(self.store.work)]
        for full in candidates:
            try:
                file = open(full, "rb")
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                continue
            info = os.fstat(file.fileno())
            if info.st_size == entry.size and info.st_mtime_ns == entry.mtime:
                return file
            file.close()
        raise DamageError(f"{shown_path(entry.path)} in the tree of the store is not what was recorded",
                          hint="if a snapshot is running try again; else run `rollpoint verify`")

    def write(self, wanted: Sequence[tuple[Row, bytes]], near: bytes, job: Job) -> None:
        """Write the content of each row to its new file. Each pack is read once, whatever is needed from it; pieces
        needed on the way lie in a scratch directory on the file system of the directory `near`."""
        plans = [(self.chain(row), target) for row, target in wanted if row.entry.size]
        for row, target in wanted:
            if not row.entry.size:
                open(target, "xb").close()
        with tempfile.TemporaryDirectory(prefix="rollpoint-", dir=os.fsdecode(near)) as scratch:
            pieces = self._unpack(plans, os.fsencode(scratch), job)
            for chain, target in plans:
                if chain.tree is not None and not chain.deltas:
                    job.progress("unpacking", current=chain.row.entry.path)
                    with self._open_tree(chain.tree) as source:
                        copy_data(b"/proc/self/fd/%d" % source.fileno(), target)
                elif chain.deltas:
                    self._compose(chain, target, pieces)

    def _unpack(self, plans: Sequence[tuple[Chain, bytes]], scratch: bytes, job: Job) -> dict[tuple[Place, int], bytes]:
        """Write pack members that are whole contents to their targets, and all other members needed to scratch files;
        returns where these are."""
        needs: dict[Place, dict[tuple[int, int], list[bytes]]] = defaultdict(lambda: defaultdict(list))
        pieces: dict[tuple[Place, int], bytes] = {}
        for chain, target in plans:
            if chain.member and not chain.deltas:
                place, step = chain.member
                needs[place][step.offset, step.size].append(target)
            for place, step in [*([chain.member] if chain.member and chain.deltas else []), *chain.deltas]:
                if (place, step.offset) not in pieces:
                    pieces[place, step.offset] = os.path.join(scratch, b"%d" % len(pieces))
                    needs[place][step.offset, step.size].append(pieces[place, step.offset])
        for place in sorted(needs):
            for offset, member in packs.members(self.pack(place), needs[place]):
                job.progress("unpacking", current=os.path.basename(needs[place][offset, member.left][0]))
                _write_member(member, needs[place][offset, member.left])
        return pieces

    def _compose(self, chain: Chain, target: bytes, pieces: dict[tuple[Place, int], bytes]) -> None:
        if chain.tree is not None:
            base = self._open_tree(chain.tree)
        else:
            assert chain.member is not None
            base = open(pieces[chain.member[0], chain.member[1].offset], "rb")
        with base, open(target, "x+b", buffering=0) as out:
            for number, (place, step) in enumerate(chain.deltas):
                with open(pieces[place, step.offset], "rb") as patch:
                    if number == 0:
                        delta.compose(base.fileno(), out.fileno(), patch)
                    else:
                        delta.apply(out.fileno(), patch)


def _write_member(member: packs.Member, targets: list[bytes]) -> None:
    size = member.left
    with open(targets[0], "xb", buffering=0) as file:
        position = 0
        while data := member.read():
            write_sparse(file.fileno(), data, position)
            position += len(data)
        os.ftruncate(file.fileno(), size)
    for other in targets[1:]:
        copy_data(targets[0], other)


def build(contents: Contents, rows: Iterable[Row], target: bytes, job: Job,
          linked: Mapping[int, bytes] | None = None, *, settle: bool = True) -> int:
    """Make the entries of `rows` (in walk order, parents before children) below the directory `target`, exactly.

    Directories that exist are kept and get their attributes; everything else must not exist. Hard links among the
    rows are kept; `linked` names, by group, files of the target to link to instead of making the content again.
    Without `settle` the directories' attributes are left to the caller. Returns the number of entries made.
    """
    entries = list(rows)
    first = dict(linked or {})
    links: list[tuple[bytes, bytes]] = []
    files: list[tuple[Row, bytes]] = []
    for row in entries:
        full = os.path.join(target, row.entry.path)
        if row.entry.link is not None and row.entry.link in first:
            links.append((first[row.entry.link], full))
            continue
        if row.entry.link is not None:
            first[row.entry.link] = full
        if row.entry.kind is Kind.FILE:
            files.append((row, full))
        else:
            make_node(full, row.entry)
    contents.write(files, target, job)
    for existing, full in links:
        os.link(existing, full, follow_symlinks=False)
    for row in reversed(entries):
        if settle or row.entry.kind is not Kind.DIR:
            apply_attributes(os.path.join(target, row.entry.path), row.entry)
    return len(entries)
