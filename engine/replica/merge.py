"""Merging two differences into one, so that a point in the middle can go: from newer to middle, then middle to older.

No content is unpacked: the packs of both are linked into the merged difference (those nothing refers to any more are
left out) and the chains of the records are joined.
"""

from __future__ import annotations

import dataclasses
import os
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from engine.entries import Kind
from engine.errors import DamageError
from engine.events import Job
from engine.replica import changes, packs
from engine.replica.catalog import Catalog
from engine.replica.changes import Record, Step
from engine.replica.difference import write_records
from engine.replica.layout import Store
from engine.text import shown_path


def prepare(store: Store, catalog: Catalog, entry: Mapping[str, Any], target: bytes, job: Job) -> None:
    """Write into the new directory `target` the difference that leads from the middle point's newer neighbour to its
    older one. `entry` is the journal's: ``older``, ``older_seq``, ``id``. Raises DamageError, OSError."""
    os.mkdir(target)
    old_dir, mid_dir = store.point(str(entry["older"]), b"diff"), store.point(str(entry["id"]), b"diff")
    shift = 1 + max([-1, *_packs(old_dir)])
    older = {r.path: r for r in _records(old_dir)}
    middle = {r.path: _renumbered(r, shift) for r in _records(mid_dir)}
    joined = _Joiner(older, middle)
    seq = int(entry["older_seq"])
    out = []
    leaders = _leaders(catalog, seq, {**middle, **older})
    for number, path in enumerate(sorted({*older, *middle}, key=lambda p: p.replace(b"/", b"\0"))):
        job.progress("merging", number, len(older) + len(middle), current=path)
        record = older.get(path) or middle[path]
        if record.entry is not None and record.entry.kind is Kind.FILE:
            leader = leaders.get(path, path)
            data = str(Step("l", name=leader)) if leader != path else joined.data(path)
            record = dataclasses.replace(record, data=data)
        elif record.entry is not None and path in leaders:
            leader = leaders[path]
            record = dataclasses.replace(record, data=str(Step("l", name=leader)) if leader != path else ".")
        out.append(record)
    write_records(out, target)
    _link_packs(old_dir, mid_dir, shift, target, out)
    packs.write_sums(target)


def _records(directory: bytes) -> list[Record]:
    return list(changes.decode_all(packs.read_lines(os.path.join(directory, b"changes.zst"))))


def _packs(directory: bytes) -> list[int]:
    names = (n for n in os.listdir(directory) if n.startswith(b"pack-"))
    return [int(n[5:].split(b".")[0]) for n in names]


def _renumbered(record: Record, shift: int) -> Record:
    steps = [dataclasses.replace(s, pack=s.pack + shift) if s.op in "pd" else s
             for s in changes.parse_data(record.data)]
    return dataclasses.replace(record, data=changes.format_data(steps))


def _leaders(catalog: Catalog, seq: int, union: Mapping[bytes, Record]) -> dict[bytes, bytes]:
    """Map each member of a hard-link group that differs to the one that stands for the group in the older point: a
    member that does not differ where there is one, else the first."""
    groups: dict[int, set[bytes]] = defaultdict(set)
    for path in union:
        row = catalog.at(path, seq)
        if row is not None and row.entry.link is not None and row.entry.link not in groups:
            mates = catalog.rows("link = :link AND first <= :seq AND (last IS NULL OR last >= :seq)",
                                 {"link": row.entry.link, "seq": seq})
            groups[row.entry.link] = {m.entry.path for m in mates}
    leaders: dict[bytes, bytes] = {}
    for members in groups.values():
        leader = min(members, key=lambda p: (p in union, p))
        leaders.update((p, leader) for p in members)
    return leaders


class _Joiner:
    """Joins data chains: the older difference refers to the middle state, which the middle difference explains."""

    def __init__(self, older: Mapping[bytes, Record], middle: Mapping[bytes, Record]) -> None:
        self.older, self.middle = older, middle

    def data(self, path: bytes) -> str:
        """Return the chain of a path of the older point, relative to the newer state."""
        steps = [dataclasses.replace(s, name=b"") if s.name == path else s for s in self._older(path)]
        return changes.format_data(steps)

    def _older(self, path: bytes) -> list[Step]:
        record = self.older.get(path)
        if record is None:
            return self._middle(path)
        steps = self._named(record)
        if not steps:
            return []
        if steps[0].op == "l":
            return self._older(steps[0].name)
        return [*self._middle(steps[0].name), *steps[1:]] if steps[0].op == "=" else steps

    def _middle(self, path: bytes) -> list[Step]:
        record = self.middle.get(path)
        if record is None:
            return [Step("=", name=path)]
        steps = self._named(record)
        return self._middle(steps[0].name) if steps and steps[0].op == "l" else steps

    @staticmethod
    def _named(record: Record) -> list[Step]:
        if record.entry is None:
            raise DamageError(f"the records disagree about {shown_path(record.path)}")
        return [dataclasses.replace(s, name=s.name or record.path) for s in changes.parse_data(record.data)]


def _link_packs(old_dir: bytes, mid_dir: bytes, shift: int, target: bytes, records: list[Record]) -> None:
    needed = {s.pack for r in records for s in changes.parse_data(r.data) if s.op in "pd"}
    for directory, offset in ((old_dir, 0), (mid_dir, shift)):
        for number in _packs(directory):
            if number + offset in needed:
                os.link(os.path.join(directory, packs.pack_name(number)),
                        os.path.join(target, packs.pack_name(number + offset)))
