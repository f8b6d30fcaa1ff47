"""Making the catalog again from the rest of the store: the tree, the points' documents, their records and item logs."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from engine.errors import DamageError
from engine.events import Job
from engine.replica import bootsaved, changes, packs, rsync
from engine.replica import catalog as catalogs
from engine.replica.catalog import Catalog, values
from engine.replica.disk import read_entry, walk
from engine.replica.layout import Store, fsync_dir, read_document
from engine.replica.snapshot import used

_UNKNOWN = -1
_BATCH = 5000
_TREE_LINKS = 1 << 40  # above all group numbers that records can hold


def documents(store: Store) -> list[dict[str, Any]]:
    """Return the points' documents from their own files, oldest first.

    For one that cannot be read, what the id and the neighbours tell: leaving the point out would leave a gap in the
    chain of differences, and every older point would silently come back wrong.
    """
    found: list[dict[str, Any]] = []
    for point_id in store.point_ids():
        try:
            found.append(read_document(store.point(point_id, b"point.yaml")))
        except (DamageError, OSError):
            found.append(_guessed(store, point_id, 1 + (int(found[-1]["number"]) if found else 0)))
    return sorted(found, key=lambda d: int(d["number"]))


def _guessed(store: Store, point_id: str, number: int) -> dict[str, Any]:
    created = datetime.strptime(point_id[:19], "%Y-%m-%d_%H-%M-%S").replace(tzinfo=UTC)
    items = store.point(point_id, b"items.zst")
    return {"id": point_id, "number": number, "created": created.isoformat(), "comment": "(its document was lost)",
            "tags": [], "pinned": True,
            "files": bootsaved.sums(bootsaved.directory(store, point_id))
            | ({"items.zst": packs.file_sum(items)} if os.path.exists(items) else {})}


def rebuild(store: Store, target: bytes, job: Job) -> list[str]:
    """Write a new catalog to the file `target`; returns sentences about what could not be read.

    Files of the tree whose checksum no item log knows are read again.
    """
    notes: list[str] = []
    docs = documents(store)
    with Catalog.create(target) as catalog:
        catalog.db.execute("BEGIN")
        numbers = [int(d["number"]) for d in docs]
        _read_tree(store, catalog, job)
        catalog.db.executescript("CREATE INDEX building ON entries (link) WHERE link IS NOT NULL;")
        for position in range(len(docs) - 2, -1, -1):
            job.progress("reading differences", len(docs) - position, len(docs))
            problem = _apply(store, catalog, docs[position], numbers[position], numbers[position + 1])
            if problem:
                notes.append(problem)
                lost = catalog.meta("lost_records") or str(numbers[position])
                catalog.set_meta("lost_records", lost)
        if numbers:
            catalog.db.execute("UPDATE entries SET first = ? WHERE first = ?", (numbers[0], _UNKNOWN))
            catalog.set_meta("last_seq", str(numbers[-1]))
        highest = catalog.db.execute("SELECT coalesce(max(link), 0) FROM entries").fetchone()[0]
        catalog.set_meta("next_link", str(highest + 1))
        for position, doc in enumerate(docs):
            own = {} if position == len(docs) - 1 else {"own_bytes": used(store.point(str(doc["id"])))}
            catalog.put_point(int(doc["number"]), str(doc["id"]), doc | own)
        catalog.db.execute("DROP INDEX building")
        catalog.finish()
    return notes


def install(store: Store, built: bytes) -> None:
    """Put a rebuilt catalog in the place of the old one, durably."""
    with open(built, "rb") as file:
        os.fsync(file.fileno())
    if os.path.exists(store.catalog + b"-journal"):
        os.unlink(store.catalog + b"-journal")
    os.rename(built, store.catalog)
    fsync_dir(store.path)
    catalogs.seal(store)


def _read_tree(store: Store, catalog: Catalog, job: Job) -> None:
    sums = item_sums(store)
    inodes: dict[tuple[int, int], int] = {}
    unknown: list[bytes] = []
    rows: list[tuple[Any, ...]] = []
    for number, (path, info) in enumerate(walk(store.tree)):
        link = None
        if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
            link = inodes.setdefault((info.st_dev, info.st_ino), _TREE_LINKS + len(inodes))
        csum = sums.get(path, b"") if stat.S_ISREG(info.st_mode) else b""
        if stat.S_ISREG(info.st_mode) and not csum:
            unknown.append(path)
        rows.append(values(read_entry(os.path.join(store.tree, path), path, info, csum, link), _UNKNOWN))
        if len(rows) >= _BATCH:
            job.progress("reading the tree", number, current=path)
            catalog.insert(rows)
            rows.clear()
    catalog.insert(rows)
    if unknown:
        job.progress("reading files again", 0, len(unknown))
        fresh = rsync.checksums(store.tree, str(store.identity["checksum"]), unknown)
        catalog.db.executemany("UPDATE entries SET csum = ? WHERE path = ? AND first = -1",
                               [(c, catalogs.key(p)) for p, c in fresh])


def item_sums(store: Store) -> dict[bytes, bytes]:
    """Return the checksums that the item logs know, by path: the newest log that names a path counts."""
    logs: list[tuple[int, bytes]] = []
    for doc in documents(store):
        logs.append((int(doc["number"]), store.point(str(doc["id"]), b"items.zst")))
    kept = store.place(b"items")
    if os.path.isdir(kept):
        logs += [(int(n[:8]), os.path.join(kept, n)) for n in os.listdir(kept)]
    sums: dict[bytes, bytes] = {}
    for _, log in sorted(logs):
        for item in _items(log):
            if item.csum:
                sums[item.path] = item.csum
            elif item.linked:
                sums[item.path] = sums.get(item.linked, b"")
            elif item.deleted:
                sums.pop(item.path, None)
    return sums


def _items(log: bytes) -> Iterator[rsync.Item]:
    try:
        for line in packs.read_lines(log):
            item = rsync.parse(line.rstrip(b"\n"))
            if item is not None:
                yield item
    except DamageError:
        return  # its checksums are read anew; verify names the damaged log


def _apply(store: Store, catalog: Catalog, doc: dict[str, Any], seq: int, newer: int) -> str:
    """Enter the records of one point: rows that began with the newer point get their beginning, old ones appear.
    Returns what is wrong with the records, or ""."""
    log = store.point(str(doc["id"]), b"diff", b"changes.zst")
    new: list[tuple[Any, ...]] = []
    try:
        records = list(changes.decode_all(packs.read_lines(log)))
    except (DamageError, OSError) as error:
        return f"the records of point {doc['id']} are lost: {error}"
    differing = {record.path for record in records}
    for record in records:
        if record.entry is not None and record.entry.link is not None:
            _unite(catalog, record.data, record.entry.link, differing)
    for record in records:
        catalog.db.execute("UPDATE entries SET first = ? WHERE path = ? AND first = ?",
                           (newer, catalogs.key(record.path), _UNKNOWN))
        if record.entry is not None:
            new.append(values(record.entry, _UNKNOWN, seq, record.data))
    catalog.insert(new)
    return ""


def _unite(catalog: Catalog, data: str, link: int, differing: set[bytes]) -> None:
    """A file of the tree that did not change and that a record links to is of the record's group, and so are all that
    share its inode in the tree."""
    steps = changes.parse_data(data)
    if not steps or steps[0].op != "l" or steps[0].name in differing:
        return
    stored = catalogs.key(steps[0].name)
    found = catalog.db.execute("SELECT link FROM entries WHERE path = ? AND first = ? AND last IS NULL",
                               (stored, _UNKNOWN)).fetchone()
    if found is None or found[0] == link:
        return
    if found[0] is None:
        catalog.db.execute("UPDATE entries SET link = ? WHERE path = ? AND first = ?", (link, stored, _UNKNOWN))
    else:
        catalog.db.execute("UPDATE entries SET link = ? WHERE link = ? AND last IS NULL", (link, found[0]))
