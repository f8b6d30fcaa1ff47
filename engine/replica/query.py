"""Questions that the catalog answers: which points there are, what is in them, what changed, where a name was."""

from __future__ import annotations

import difflib
import fnmatch
import os
import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from engine.config import Config
from engine.entries import Change, Diff, Entry, Kind, Life, Span, Status, Version, compare
from engine.errors import RollpointError, UsageError
from engine.events import Job
from engine.points import RestorePoint
from engine.replica import rsync
from engine.replica.catalog import Catalog, Row
from engine.replica.content import Contents
from engine.replica.disk import as_read, behind_link, read_entry
from engine.replica.layout import Store
from engine.replica.listed import points as points
from engine.replica.source import View, view
from engine.results import Measure
from engine.run import scratch
from engine.text import human_size, shown_path

_TEXT_LIMIT = 4 << 20
_ACCESS = frozenset({"mode", "owner", "group"})


def need(catalog: Catalog, point: RestorePoint, path: bytes) -> Row:
    """Return the row of a path in a point. Raises UsageError when the point does not have it."""
    row = catalog.at(path, point.number)
    if row is None:
        raise UsageError(f"{shown_path(path)} is not in point {point.id}",
                         hint=f"`rollpoint history {shown_path(path)}` shows which points have it")
    return row


def listdir(catalog: Catalog, point: RestorePoint, path: bytes) -> list[Entry]:
    """Return what is in a directory of a point, by name; for anything else the entry itself."""
    row = need(catalog, point, path)
    if row.entry.kind is not Kind.DIR:
        return [row.entry]
    return [r.entry for r in catalog.children(point.number, path)]


def lives(catalog: Catalog, path: bytes) -> list[Life]:
    """Return what became of each name that was in a directory in any point, by name."""
    found = groupby(catalog.lives(path), key=lambda row: row.entry.name)
    return [Life(name, tuple(Span(r.first, r.last, r.entry) for r in rows)) for name, rows in found]


def stirred(catalog: Catalog, path: bytes) -> dict[bytes, tuple[int, ...]]:
    """Return for each directory in a directory the numbers of the points after which something below it changed or
    went, in order. What came is known by the time of its directory, which changes with it."""
    found: dict[bytes, set[int]] = defaultdict(set)
    start = len(path) + 1 if path else 0
    for stored, last in catalog.ended_in(path):
        name, below, _ = stored[start:].partition(b"\0")
        if below:
            found[name].add(last)
    return {name: tuple(sorted(numbers)) for name, numbers in found.items()}


def measure(catalog: Catalog, point: RestorePoint, paths: Sequence[bytes]) -> Measure:
    """Return how much some paths of a point are, with all below them."""
    entries = size = 0
    for path in paths:
        need(catalog, point, path)
        for row in catalog.tree(point.number, path):
            entries, size = entries + 1, size + row.entry.size
    return Measure(entries, size)


def live_listing(root: bytes, path: bytes) -> list[Entry]:
    """Return what is in a directory of the live tree, by name; none where there is no such directory.

    Raises OSError when it cannot be read. Names that vanish meanwhile are passed over.
    """
    try:
        names = os.listdir(os.path.join(root, path))
    except (FileNotFoundError, NotADirectoryError):
        return []
    known: dict[bytes, bool] = {}
    found = (live_entry(root, path + b"/" + name if path else name, known) for name in sorted(names))
    return [entry for entry in found if entry is not None]


class Timeline:
    """The points in order, to say over which of them a row was valid."""

    def __init__(self, listed: Iterable[RestorePoint]) -> None:
        self.points = sorted(listed, key=lambda p: p.number)
        self.numbers = [p.number for p in self.points]

    def version(self, row: Row) -> Version | None:
        """Return a row as a version, or None when no point has it (any more)."""
        low = bisect_left(self.numbers, row.first)
        high = len(self.numbers) if row.last is None else bisect_right(self.numbers, row.last)
        if low >= high:
            return None
        return Version(row.entry, self.points[low].id, self.points[high - 1].id, row.last is None, high - low)


def history(catalog: Catalog, timeline: Timeline, path: bytes) -> list[Version]:
    """Return the versions of a path, the newest first. Raises UsageError when no point ever had it."""
    found = versions(catalog, timeline, path)
    if not found:
        raise UsageError(f"{shown_path(path)} is in no restore point", hint="`rollpoint find NAME` looks everywhere")
    return found


def versions(catalog: Catalog, timeline: Timeline, path: bytes) -> list[Version]:
    """Return the versions of a path, the newest first; [] when no point ever had it."""
    rows = catalog.rows("path = ?", (path.replace(b"/", b"\0"),), order="first DESC")
    return [v for v in map(timeline.version, rows) if v is not None]


def find(catalog: Catalog, timeline: Timeline, pattern: str, *, deleted: bool = True) -> Iterator[Version]:
    """Yield the versions of all paths that fit a pattern, in path order.

    With ``*``, ``?`` or ``[`` it is a shell pattern for the name, or for the whole path when it holds a slash;
    otherwise it is looked for anywhere in the path. `deleted` False leaves out what the newest point has no more.
    """
    raw = os.fsencode(pattern)
    if re.search(rb"[*?\[]", raw):
        whole = b"/" in raw
        match = re.compile(fnmatch.translate(raw.decode("latin-1")).encode("latin-1"), re.DOTALL).match
    else:
        whole, match = True, re.compile(re.escape(raw)).search
    for (stored,) in catalog.db.execute("SELECT DISTINCT path FROM entries ORDER BY path").fetchall():
        path = stored.replace(b"\0", b"/")
        if not match(b"/" + path if whole else path.rpartition(b"/")[2]):
            continue
        for row in catalog.rows("path = ?", (stored,)):
            version = timeline.version(row)
            if version is not None and (deleted or version.current):
                yield version


# --- differences ---------------------------------------------------------------------------------------------------


def diff_points(catalog: Catalog, older: RestorePoint, newer: RestorePoint, paths: Sequence[bytes] = ()
                ) -> Iterator[Change]:
    """Yield what changed from one point to another (in either direction of time), in walk order."""
    low, high = sorted((older.number, newer.number))
    for before, after in catalog.differing(low, high):
        if older.number > newer.number:
            before, after = after, before
        change = change_of(before.entry if before else None, after.entry if after else None)
        if change is not None and _wanted(change.path, paths):
            yield change


def change_of(old: Entry | None, new: Entry | None) -> Change | None:
    """`compare`, and a change of hard links alone counts too."""
    change = compare(old, new)
    if change is None and old is not None and new is not None and old.link != new.link:
        return Change(new.path, Status.ATTRS, old, new, ("links",))
    return change


def _wanted(path: bytes, paths: Sequence[bytes]) -> bool:
    return not paths or any(not p or path == p or path.startswith(p + b"/") for p in paths)


def diff_live(store: Store, config: Config, catalog: Catalog, point: RestorePoint, paths: Sequence[bytes],
              job: Job) -> Diff:
    """Return what changed from a point to the live tree.

    One dry run of rsync against the newest state says what differs from it; the catalog knows the way from there to
    the point. Excluded paths are not looked at.
    """
    with view(config, store) as live:
        touched = _touched(store, config, live, job)
        candidates: dict[bytes, Entry | None] = {}
        for old, new in catalog.differing(point.number, None):
            row = old or new
            if row is not None:
                candidates[row.entry.path] = old.entry if old else None
        for path in touched:
            if path not in candidates:
                row = catalog.at(path, point.number)
                candidates[path] = row.entry if row else None
        known: dict[bytes, bool] = {}
        found = {p: live_entry(live.path, p, known) for p in candidates if _wanted(p, paths)}
        _add_lost_children(catalog, point, candidates, found)
        changes = [compare(_unlinked(_as_read(candidates[p], live.path)), found[p]) for p in found]
        changes = _same_content(live.path, str(store.identity["checksum"]), changes)
        changes = [c for c in changes if c is not None and not (_ACCESS.issuperset(c.what) and c.status is Status.ATTRS
                                                                and live.ownerless(c.path))]
    ordered = sorted((c for c in changes if c is not None), key=lambda c: c.path.replace(b"/", b"\0"))
    return Diff(point.id, "live", tuple(ordered))


def _touched(store: Store, config: Config, live: View, job: Job) -> set[bytes]:
    touched: set[bytes] = set()

    def note(item: rsync.Item) -> None:
        touched.add(item.path)
        job.progress("comparing with the live system", len(touched), current=item.path)

    job.progress("comparing with the live system")
    with scratch() as place:
        listed = rsync.write_filters(os.path.join(os.fsencode(place), b"filters"), live.filters)
        compare_sums = ["--checksum"] if config.compare_checksums else []
        argv = rsync.copy_argv(live.inside, store.tree, ["--dry-run", "--delete", *compare_sums, *live.options], listed)
        rsync.run(live.space.wrap(argv), note, job)
    return touched


def live_entry(root: bytes, path: bytes, known: dict[bytes, bool] | None = None) -> Entry | None:
    """Return the entry of a path in the live tree, None where there is none (`known`: see disk.behind_link)."""
    if behind_link(root, path, {} if known is None else known):
        return None
    try:
        return read_entry(os.path.join(root, path), path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _as_read(entry: Entry | None, root: bytes) -> Entry | None:
    return as_read(entry, os.path.join(root, entry.path)) if entry is not None else None


def _unlinked(entry: Entry | None) -> Entry | None:
    import dataclasses
    return dataclasses.replace(entry, link=None) if entry is not None and entry.link is not None else entry


def _add_lost_children(catalog: Catalog, point: RestorePoint, candidates: dict[bytes, Entry | None],
                       found: dict[bytes, Entry | None]) -> None:
    """What was in a directory that is none any more is gone; rsync does not name it."""
    for path, entry in list(found.items()):
        old = candidates[path]
        if old is not None and old.kind is Kind.DIR and (entry is None or entry.kind is not Kind.DIR):
            for row in catalog.tree(point.number, path):
                candidates.setdefault(row.entry.path, row.entry)
                found.setdefault(row.entry.path, None)


def _same_content(root: bytes, algorithm: str, changes: Sequence[Change | None]) -> list[Change | None]:
    """Read the files again whose size is the same and whose time is not: perhaps only the time changed."""
    import dataclasses

    doubtful = {c.path: n for n, c in enumerate(changes)
                if c and c.old and c.new and "content" in c.what and c.old.size == c.new.size and c.old.csum}
    out = list(changes)
    if doubtful:
        for path, csum in rsync.checksums(root, algorithm, doubtful):
            change = out[doubtful[path]]
            assert change is not None and change.new is not None
            out[doubtful[path]] = compare(_unlinked(change.old), dataclasses.replace(change.new, csum=csum))
    return out


def unified(old: bytes, new: bytes, path: bytes, old_name: str, new_name: str) -> list[str]:
    """Return the unified difference of two contents as lines; for binary contents one line that says so."""
    if max(len(old), len(new)) > _TEXT_LIMIT or b"\0" in old[:8192] or b"\0" in new[:8192]:
        if old == new:
            return []
        return [f"binary contents of {shown_path(path)} differ: {human_size(len(old))} -> {human_size(len(new))}"]
    lines = [t.decode("utf-8", "surrogateescape").splitlines() for t in (old, new)]
    return list(difflib.unified_diff(lines[0], lines[1], f"{old_name}:{shown_path(path)}",
                                     f"{new_name}:{shown_path(path)}", lineterm=""))


def read_whole(store: Store, catalog: Catalog, point: RestorePoint, path: bytes) -> bytes | None:
    """Return the content of a regular file in a point, or None when the point has no such path."""
    row = catalog.at(path, point.number)
    if row is None:
        return None
    if row.entry.kind is not Kind.FILE:
        raise RollpointError(f"{shown_path(path)} is no regular file in point {point.id}")
    with Contents(store, catalog).open(row) as file:
        return file.read()
