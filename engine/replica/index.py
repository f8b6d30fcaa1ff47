"""The first point's rows, made while rsync is still copying: a full tree has too many entries to start afterwards."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter, defaultdict, deque
from typing import Any

from engine.entries import Entry
from engine.events import Job
from engine.replica.catalog import Catalog, values
from engine.replica.disk import read_entry
from engine.replica.rsync import Item

_BATCH = 2000
_LAG = 4000


class FirstIndex:
    """Collects the rows of a tree that rsync fills for the first time.

    rsync names an entry before it is in place, but moves a file to its final name only when it is complete; so a
    name that exists is ready, and one that does not yet is asked for again later. Directories get their times last,
    and hard links are counted last.
    """

    def __init__(self, catalog: Catalog, tree: bytes, seq: int, job: Job) -> None:
        self.catalog, self.tree, self.seq, self.job = catalog, tree, seq, job
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        self._late: list[bytes] = []
        self._linked: dict[bytes, bytes] = {}
        self._rows: list[tuple[Any, ...]] = []
        self.counts: Counter[str] = Counter()
        self.allocated = 0
        catalog.db.execute("BEGIN")

    def add(self, item: Item) -> None:
        """Take one item of rsync's output."""
        if item.deleted:
            return
        self.counts["created"] += 1
        if item.csum:
            self.counts["bytes_copied"] += item.size
        if item.code[1:2] == b"d":
            self._late.append(item.path)
        elif item.linked:
            self._linked[item.path] = item.linked
        else:
            self._waiting.append((item.path, item.csum))
            if len(self._waiting) > _LAG:
                self._take_some(_BATCH)
        if self.counts["created"] % 64 == 0:
            self.job.progress("copying", self.counts["created"], current=item.path,
                              bytes_done=self.counts["bytes_copied"])

    def _take_some(self, count: int) -> None:
        for _ in range(count):
            path, csum = self._waiting.popleft()
            try:
                self._put(path, csum)
            except FileNotFoundError:
                self._waiting.append((path, csum))
        self._flush()

    def _put(self, path: bytes, csum: bytes) -> None:
        full = self.tree + b"/" + path
        info = os.lstat(full)
        self.allocated += info.st_blocks * 512
        self._rows.append(values(read_entry(full, path, info, csum), self.seq))

    def _flush(self) -> None:
        self.catalog.insert(self._rows, replace=True)  # a second pass names entries again
        self._rows.clear()

    def finish(self) -> None:
        """Take what is left after rsync has ended; entries that it could not make are left out."""
        for path, csum in [*self._waiting, *((p, b"") for p in self._late)]:
            try:
                self._put(path, csum)
            except FileNotFoundError:
                self.counts["created"] -= 1
        self._flush()
        self._finish_links()

    def _finish_links(self) -> None:
        groups: dict[bytes, list[bytes]] = defaultdict(list)
        for path in self._linked:
            leader = path
            while leader in self._linked:
                leader = self._linked[leader]
            groups[leader].append(path)
        for leader, members in groups.items():
            first = self.catalog.current(leader)
            if first is None:
                continue
            number = self.catalog.new_link()
            self.catalog.db.execute("UPDATE entries SET link = ? WHERE path = ? AND last IS NULL",
                                    (number, leader.replace(b"/", b"\0")))
            self.catalog.insert(values(self._follower(first.entry, path, number), self.seq) for path in members)

    @staticmethod
    def _follower(first: Entry, path: bytes, number: int) -> Entry:
        return dataclasses.replace(first, path=path, link=number)
