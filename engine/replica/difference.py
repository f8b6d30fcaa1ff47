"""The reverse difference: what changed between the tree's last point and now, kept as the way back.

rsync has just made the tree like the source, moved old versions into a backup directory and said which paths it
touched. From these paths alone (not the whole tree) come the records, the packs and the catalog's new rows.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from engine.entries import Entry, Kind
from engine.errors import DamageError
from engine.events import Job
from engine.replica import changes, delta, packs
from engine.replica.catalog import Catalog, Row, values
from engine.replica.changes import Record, Step
from engine.replica.disk import behind_link, read_entry, same_data
from engine.text import shown_path

DELTA_MIN = 64 << 10
MAX_DELTAS = 16


@dataclass
class Touched:
    """What rsync said: the checksum of each path it touched (b"" where it transferred no content)."""

    csums: dict[bytes, bytes] = field(default_factory=dict)

    def add(self, path: bytes, csum: bytes = b"", linked: bytes = b"") -> None:
        """Note a path, and the path it was hard-linked to."""
        if csum or path not in self.csums:
            self.csums[path] = csum
        if linked:
            self.csums.setdefault(linked, b"")


class Difference:
    """Works out one difference: `old` and `new` hold, by path, the catalog's rows and the entries in the tree."""

    def __init__(self, catalog: Catalog, tree: bytes, backup: bytes, touched: Touched, job: Job) -> None:
        self.catalog, self.tree, self.backup, self.job = catalog, tree, backup, job
        self.csums = touched.csums
        self.old: dict[bytes, Row] = {}
        self.new: dict[bytes, Entry] = {}
        self.relinked: dict[bytes, int] = {}
        self._fresh: set[int | None] = set()
        self._close_over(list(touched.csums))
        self._read_tree()
        self.changed = sorted(self._changed(), key=lambda p: p.replace(b"/", b"\0"))
        self._moved = self._moved_to()
        self.allocated = self._allocated()
        self.counts: Counter[str] = Counter()

    # --- which paths, and what they are now ----------------------------------------------------------------------

    def _close_over(self, queue: list[bytes]) -> None:
        """Load the old rows of all touched paths, of what was below a directory that is none any more, and of the
        other members of their hard-link groups."""
        seen = set(queue)
        groups: set[int] = set()

        def more(rows: Iterable[Row]) -> None:
            for row in rows:
                self.old.setdefault(row.entry.path, row)
                if row.entry.path not in seen:
                    seen.add(row.entry.path)
                    self.csums.setdefault(row.entry.path, b"")
                    queue.append(row.entry.path)

        while queue:
            path = queue.pop()
            row = self.old.get(path) or self.catalog.current(path)
            if row is None:
                continue
            self.old[path] = row
            if row.entry.kind is Kind.DIR and path and not self._is_dir(path):
                more(self.catalog.tree(1 << 60, path))
            if row.entry.link is not None and row.entry.link not in groups:
                groups.add(row.entry.link)
                more(self.catalog.rows("link = ? AND last IS NULL", (row.entry.link,)))

    def _is_dir(self, path: bytes) -> bool:
        full = os.path.join(self.tree, path)
        return os.path.isdir(full) and not os.path.islink(full)

    def _read_tree(self) -> None:
        inodes: dict[tuple[int, int], list[bytes]] = defaultdict(list)
        known: dict[bytes, bool] = {}
        for path in self.csums:
            full = os.path.join(self.tree, path)
            if behind_link(self.tree, path, known):
                continue
            try:
                info = os.lstat(full)
                entry = read_entry(full, path, info)
            except (FileNotFoundError, NotADirectoryError):
                continue
            if entry.kind is Kind.FILE:
                entry = dataclasses.replace(entry, csum=self.csums[path] or self._old_csum(path, entry))
            if entry.kind is not Kind.DIR and info.st_nlink > 1:
                inodes[info.st_dev, info.st_ino].append(path)
            self.new[path] = entry
        self._number_groups(list(inodes.values()))

    def _old_csum(self, path: bytes, entry: Entry) -> bytes:
        row = self.old.get(path)
        return row.entry.csum if row and row.entry.size == entry.size else b""

    def _number_groups(self, groups: list[list[bytes]]) -> None:
        """Give each hard-link group its number: that of the old group most of its members come from, or a new one."""
        taken: set[int] = set()
        for members in sorted(groups, key=len, reverse=True):
            links = (self.old[p].entry.link for p in members if p in self.old)
            votes = Counter(link for link in links if link is not None and link not in taken)
            if votes:
                number: int | None = votes.most_common(1)[0][0]
            else:
                number = self.catalog.new_link() if len(members) > 1 else None
                if number is not None:
                    self._fresh.add(number)
            if number is not None:
                taken.add(number)
            csum = next((self.csums[p] for p in members if self.csums[p]), b"")  # rsync copies one of them only
            csum = csum or next((self.new[p].csum for p in members if self.new[p].csum), b"")
            for path in members:
                self.new[path] = dataclasses.replace(self.new[path], link=number, csum=csum)

    def _changed(self) -> Iterable[bytes]:
        for path in self.csums:
            row, new = self.old.get(path), self.new.get(path)
            old = row.entry if row else None
            if old == new:
                continue
            if old and new and new.link in self._fresh and dataclasses.replace(new, link=None) == old:
                # A file that got further names: it was a group of one all along, so no new version of it. Only one
                # file of a new group can have been that: two would have been linked in the past too.
                self._fresh.discard(new.link)
                self.relinked[path] = new.link or 0
                continue
            yield path

    # --- where the old content is ---------------------------------------------------------------------------------

    def _moved_to(self) -> dict[tuple[bytes, int], bytes]:
        """Map (checksum, size) of the contents that are new in the tree to one path that has them."""
        return {(e.csum, e.size): p for p, e in self.new.items() if e.csum and e.size and self.csums.get(p)}

    def records(self, writer: packs.PackWriter) -> Iterable[Record]:
        """Yield the records in path order, adding old contents to the packs as needed."""
        leaders = self._leaders()
        for number, path in enumerate(self.changed):
            self.job.progress("packing", number, len(self.changed), current=path)
            row, new = self.old.get(path), self.new.get(path)
            self._count(row.entry if row else None, new)
            if row is None:
                yield Record(path, None)
                continue
            leader = leaders.get(path, path)
            data = str(Step("l", name=leader)) if leader != path else self._data(row.entry, new, writer)
            yield Record(path, row.entry, data)

    def _leaders(self) -> dict[bytes, bytes]:
        """Map changed members of old hard-link groups to the member that stands for the group's content: one that
        did not change where there is one, else the first."""
        changed = set(self.changed)
        groups: dict[int, list[bytes]] = defaultdict(list)
        for path, row in self.old.items():
            if row.entry.link is not None:
                groups[row.entry.link].append(path)
        leaders: dict[bytes, bytes] = {}
        for members in groups.values():
            stays = sorted(p for p in members if p not in changed)
            leader = stays[0] if stays else min(members, key=lambda p: (not self._reachable(p), p))
            leaders.update((p, leader) for p in members)
        return leaders

    def _reachable(self, path: bytes) -> bool:
        old = self.old[path].entry
        return old.kind is not Kind.FILE or self._unchanged(old, self.new.get(path)) or os.path.lexists(
            self._old_file(path))

    def _old_file(self, path: bytes) -> bytes:
        return os.path.join(self.backup, path)

    def _unchanged(self, old: Entry, new: Entry | None) -> bool:
        """Whether the tree still has the content under the same name."""
        if new is None or new.kind is not old.kind or new.size != old.size:
            return False
        if not os.path.lexists(self._old_file(old.path)):
            return True
        return new.csum == old.csum and same_data(self._old_file(old.path), os.path.join(self.tree, old.path))

    def _data(self, old: Entry, new: Entry | None, writer: packs.PackWriter) -> str:
        if old.kind is not Kind.FILE or old.size == 0:
            return "."
        if self._unchanged(old, new):
            return "="
        source = self._old_file(old.path)
        moved = self._moved.get((old.csum, old.size))
        if moved is not None and same_data(source, os.path.join(self.tree, moved)):
            return str(Step("=", name=moved))
        try:
            if new is not None and new.kind is Kind.FILE and old.size >= DELTA_MIN and self._may_delta(old.path):
                found = delta.runs(source, os.path.join(self.tree, old.path), old.size // 2)
                if found is not None:
                    return f"=+{self._add_delta(old, source, found, writer)}"
            with open(source, "rb", buffering=0) as file:
                return str(writer.add(old, file, old.size))
        except FileNotFoundError:
            raise DamageError(f"the old version of {shown_path(old.path)} is missing: the tree in the store was "
                              "changed by hand", hint="run `rollpoint verify`, then `rollpoint repair`") from None

    def _may_delta(self, path: bytes) -> bool:
        """Whether the chain of deltas that older versions of the path already need is short enough for one more."""
        rows = self.catalog.rows("path = ? AND last IS NOT NULL", (path.replace(b"/", b"\0"),), order="last DESC")
        chain = itertools.takewhile(lambda row: (row.data or "").startswith("=+"), rows)
        return sum(1 for _ in itertools.islice(chain, MAX_DELTAS)) < MAX_DELTAS

    def _add_delta(self, old: Entry, source: bytes, found: list[tuple[int, int]], writer: packs.PackWriter) -> Step:
        head = delta.header(old.size, found)
        with open(source, "rb", buffering=0) as file:
            return writer.add(old, _Runs(head, file.fileno(), found), len(head) + sum(n for _, n in found), "d")

    def _count(self, old: Entry | None, new: Entry | None) -> None:
        if old is None or new is None:
            self.counts["created" if old is None else "deleted"] += 1
        elif old.kind is new.kind and self._unchanged_cheap(old, new):
            self.counts["attrs"] += 1
        else:
            self.counts["changed"] += 1
        if new is not None and self.csums.get(new.path):
            self.counts["bytes_copied"] += new.size

    @staticmethod
    def _unchanged_cheap(old: Entry, new: Entry) -> bool:
        return (old.csum, old.size, old.target, old.rdev) == (new.csum, new.size, new.target, new.rdev)

    def _allocated(self) -> int:
        """Return by how many bytes the tree's disk usage grew: new contents minus old ones no longer in the tree."""
        grown: dict[tuple[int, int], int] = {}
        gone: dict[tuple[int, int], list[int]] = {}
        for path in self.csums:
            if self.csums[path] and path in self.new:
                info = os.lstat(os.path.join(self.tree, path))
                grown[info.st_dev, info.st_ino] = info.st_blocks * 512
            if path in self.old and self.old[path].entry.kind is Kind.FILE:
                try:
                    info = os.lstat(self._old_file(path))
                except (FileNotFoundError, NotADirectoryError):
                    continue
                names = gone.setdefault((info.st_dev, info.st_ino), [info.st_blocks * 512, info.st_nlink])
                names[1] -= 1
        return sum(grown.values()) - sum(size for size, names in gone.values() if not names)

    # --- the catalog -----------------------------------------------------------------------------------------------

    def commit(self, seq: int, base: int, records: Iterable[Record]) -> None:
        """Enter the difference into the catalog (inside the caller's transaction): end the old rows, add the new."""
        db = self.catalog.db
        db.executemany("UPDATE entries SET last = ?, data = ? WHERE path = ? AND last IS NULL",
                       [(base, r.data, r.path.replace(b"/", b"\0")) for r in records if r.entry is not None])
        self.catalog.insert(values(self.new[p], seq) for p in self.changed if p in self.new)
        db.executemany("UPDATE entries SET link = ? WHERE path = ? AND last IS NULL",
                       [(link, p.replace(b"/", b"\0")) for p, link in self.relinked.items()])


class _Runs:
    """A file object over the text of a delta and the runs of bytes it lists."""

    def __init__(self, head: bytes, fd: int, found: list[tuple[int, int]]) -> None:
        self._head, self._fd, self._left = head, fd, iter(found)
        self._position, self._count = 0, 0

    def read(self, count: int) -> bytes:
        if self._head:
            data, self._head = self._head[:count], self._head[count:]
            return data
        if not self._count:
            self._position, self._count = next(self._left, (0, 0))
        data = os.pread(self._fd, min(count, self._count), self._position)
        self._position, self._count = self._position + len(data), self._count - len(data)
        return data


def write_records(records: Iterable[Record], directory: bytes) -> list[Record]:
    """Write changes.zst, and xattrs.tar.zst when a record has extended attributes; returns the records.

    The archive holds an empty member for each such record, so that tar alone can put the attributes back.
    """
    kept = list(records)
    packs.compress(b"".join(map(changes.encode, kept)), os.path.join(directory, b"changes.zst"))
    marked = [packs.header(r.entry, 0) for r in kept if r.entry is not None and r.entry.xattrs]
    if marked:
        packs.compress(b"".join(marked) + bytes(1024), os.path.join(directory, b"xattrs.tar.zst"))
    return kept
