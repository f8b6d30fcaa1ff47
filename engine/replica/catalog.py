"""The index of a store: one row per version of an entry, valid from one point to another (SQLite).

It answers lists, searches, histories and comparisons without touching the tree, and it remembers attributes that
the tree no longer has. Everything in it can be made again from the rest of the store (rebuild.py).

Paths are stored with NUL in the place of '/' so that SQLite's byte order is the order of a walk and everything
below a directory is one range. Only writers, who hold the store's lock, change the file; its SHA-256 stands beside
it, so that a flipped bit is found.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from engine.entries import Entry, Kind
from engine.errors import DamageError
from engine.replica.layout import Store, write_file
from engine.text import printable

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE points (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, doc TEXT NOT NULL);
CREATE TABLE entries (
    path BLOB NOT NULL, first INTEGER NOT NULL, last INTEGER,
    kind TEXT NOT NULL, mode INTEGER NOT NULL, uid INTEGER NOT NULL, gid INTEGER NOT NULL, mtime INTEGER NOT NULL,
    size INTEGER NOT NULL, rdev INTEGER NOT NULL, target BLOB, xattrs BLOB, link INTEGER, csum BLOB, data TEXT,
    PRIMARY KEY (path, first)) WITHOUT ROWID;
"""
_INDEXES = """
CREATE INDEX entries_last ON entries (last) WHERE last IS NOT NULL;
CREATE INDEX entries_link ON entries (link) WHERE link IS NOT NULL;
CREATE INDEX entries_setid ON entries (mode) WHERE last IS NULL AND mode & 3072 != 0;
"""
_COLUMNS = "path, first, last, kind, mode, uid, gid, mtime, size, rdev, target, xattrs, link, csum, data"
_INSERT = f"INSERT INTO entries ({_COLUMNS}) VALUES ({', '.join('?' * 15)})"
_AT = "first <= :seq AND (last IS NULL OR last >= :seq)"
FORMAT = 1
_STEPPED = 50      # rows below a directory that are read rather than skipped; a new look costs about as many


@dataclass(frozen=True, slots=True)
class Row:
    """An entry and the run of points it is valid for; `last` is None while the tree still has it, and `data` says
    otherwise how point `last` keeps its content (see changes.py)."""

    entry: Entry
    first: int
    last: int | None
    data: str | None


def key(path: bytes) -> bytes:
    """Return the stored form of a path."""
    return path.replace(b"/", b"\0")


def pack_xattrs(xattrs: Sequence[tuple[bytes, bytes]]) -> bytes | None:
    """Return xattrs as one value: ``name=hex`` separated by NUL."""
    return b"\0".join(n + b"=" + v.hex().encode() for n, v in xattrs) or None


def unpack_xattrs(value: bytes | None) -> tuple[tuple[bytes, bytes], ...]:
    """The reverse of `pack_xattrs`."""
    if not value:
        return ()
    pairs = (item.rpartition(b"=") for item in value.split(b"\0"))
    return tuple((name, bytes.fromhex(text.decode())) for name, _, text in pairs)


def _row(r: tuple[Any, ...]) -> Row:
    entry = Entry(r[0].replace(b"\0", b"/"), Kind(r[3]), r[4], r[5], r[6], r[7], r[8], r[9], r[10] or b"",
                  unpack_xattrs(r[11]), r[12], r[13] or b"")
    return Row(entry, r[1], r[2], r[14])


def values(entry: Entry, first: int, last: int | None = None, data: str | None = None) -> tuple[Any, ...]:
    """Return the database values of a row."""
    return (entry.path.replace(b"/", b"\0"), first, last, entry.kind.value, entry.mode, entry.uid, entry.gid,
            entry.mtime, entry.size, entry.rdev, entry.target or None,
            pack_xattrs(entry.xattrs) if entry.xattrs else None, entry.link, entry.csum or None, data)


def is_lost(store: Store) -> bool:
    """Whether there are points but no catalog at all."""
    return not os.path.exists(store.catalog) and bool(store.point_ids())


class Catalog:
    """An open catalog. Methods raise DamageError when SQLite finds the file broken."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self.db = database
        self._path = str(database.execute("PRAGMA database_list").fetchone()[2])   # a broken one would not say

    # --- opening -------------------------------------------------------------------------------------------------

    @staticmethod
    def create(path: bytes) -> Catalog:
        """Make an empty catalog at `path`, without the indexes (see `finish`): fast to fill, not yet durable."""
        open(path, "ab").close()        # SQLite would not say why it cannot
        db = sqlite3.connect(os.fsdecode(path), isolation_level=None, check_same_thread=False)
        db.executescript("PRAGMA page_size=8192; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
                         "PRAGMA cache_size=-24000;" + _SCHEMA)
        catalog = Catalog(db)
        catalog.set_meta("format", str(FORMAT))
        catalog.set_meta("next_link", "1")
        return catalog

    def finish(self) -> None:
        """Commit what was filled into a catalog from `create`, and add the indexes."""
        if self.db.in_transaction:
            self.db.execute("COMMIT")
        self.db.executescript(_INDEXES)

    @staticmethod
    def open(store: Store, *, write: bool = False) -> Catalog:
        """Open the store's catalog; raises DamageError when it is missing or no database."""
        mode = "rw" if write else "ro"
        uri = f"file:{_quote(store.catalog)}?mode={mode}"
        hot = os.path.exists(store.catalog + b"-journal")
        if not write and not hot and not os.access(store.path, os.W_OK):
            uri += "&immutable=1"  # a store on read-only media: SQLite must not look for locks
        try:
            db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=20, check_same_thread=False)
            db.execute("PRAGMA cache_size=-16000")
            if write:
                db.execute("PRAGMA synchronous=FULL")
                db.execute("PRAGMA cache_spill=OFF")
            db.execute("SELECT value FROM meta WHERE key = 'format'").fetchone()
        except sqlite3.Error as error:
            raise _damaged(store, error) from None
        return Catalog(db)

    def close(self) -> None:
        """Close the database."""
        self.db.close()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything in the block happens, durably, or nothing does. Raises OSError where there is no inode for what
        SQLite has to note beside the catalog: it says only that it cannot open a file."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException as error:
            if self.db.in_transaction:      # SQLite may have ended it itself (sqlite.org, "Response To Errors")
                self.db.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error) and self._no_inode(error):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._path) from error
            raise
        self.db.execute("COMMIT")

    def _no_inode(self, error: sqlite3.Error) -> bool:
        if getattr(error, "sqlite_errorcode", None) != sqlite3.SQLITE_CANTOPEN:    # Python's own errors have none
            return False
        free = os.statvfs(os.path.dirname(self._path))
        return bool(free.f_files) and not free.f_favail

    # --- meta and points -----------------------------------------------------------------------------------------

    def meta(self, name: str) -> str:
        """Return a value of the meta table, or "" when it is not there."""
        found = self.db.execute("SELECT value FROM meta WHERE key = ?", (name,)).fetchone()
        return found[0] if found else ""

    def set_meta(self, name: str, value: str) -> None:
        """Set a value of the meta table."""
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (name, value))

    def new_link(self) -> int:
        """Return a number for a new hard-link group."""
        number = int(self.meta("next_link") or "1")
        self.set_meta("next_link", str(number + 1))
        return number

    def points(self) -> list[tuple[int, str, dict[str, Any]]]:
        """Return (number, id, document) of all points, oldest first."""
        return [(s, i, json.loads(d)) for s, i, d in self.db.execute("SELECT seq, id, doc FROM points ORDER BY seq")]

    def has_point(self, seq: int, point_id: str) -> bool:
        """Whether there is a point with that number and id."""
        found = self.db.execute("SELECT 1 FROM points WHERE seq = ? AND id = ?", (seq, point_id)).fetchone()
        return found is not None

    def put_point(self, seq: int, point_id: str, doc: dict[str, Any]) -> None:
        """Add or replace a point's document."""
        self.db.execute("INSERT OR REPLACE INTO points VALUES (?, ?, ?)", (seq, point_id, json.dumps(doc)))

    # --- entries -------------------------------------------------------------------------------------------------

    def insert(self, rows: Iterable[tuple[Any, ...]], *, replace: bool = False) -> None:
        """Insert rows made by `values`; with `replace` a row may be there already."""
        self.db.executemany(_INSERT.replace("INSERT", "INSERT OR REPLACE", 1) if replace else _INSERT, rows)

    def current(self, path: bytes) -> Row | None:
        """Return the row of `path` that the tree has now."""
        return self._one("path = ? AND last IS NULL", (key(path),))

    def at(self, path: bytes, seq: int) -> Row | None:
        """Return the row of `path` in the point with that number."""
        return self._one("path = :path AND " + _AT, {"path": key(path), "seq": seq})

    def _one(self, where: str, arguments: Any) -> Row | None:
        found = self.db.execute(f"SELECT {_COLUMNS} FROM entries WHERE {where}", arguments).fetchone()
        return _row(found) if found else None

    def rows(self, where: str, arguments: Any = (), order: str = "path, first") -> Iterator[Row]:
        """Yield rows; `where` is SQL over the columns of the entries table."""
        for found in self.db.execute(f"SELECT {_COLUMNS} FROM entries WHERE {where} ORDER BY {order}", arguments):
            yield _row(found)

    def tree(self, seq: int, below: bytes = b"") -> Iterator[Row]:
        """Yield the rows of a point in walk order, only `below` (that path and all in it) when given."""
        if not below:
            return self.rows(_AT, {"seq": seq})
        low = key(below)
        return self.rows(f"(path = :path OR path >= :low AND path < :high) AND {_AT}",
                         {"seq": seq, "path": low, "low": low + b"\0", "high": low + b"\1"})

    def children(self, seq: int, path: bytes) -> Iterator[Row]:
        """Yield the rows directly in directory `path` of a point, by name."""
        return self._directly_in(path, _AT, {"seq": seq})

    def lives(self, path: bytes) -> Iterator[Row]:
        """Yield the rows that were directly in directory `path` in any point, by name, the oldest first."""
        return self._directly_in(path, "1", {})

    def ended_in(self, path: bytes) -> Iterator[tuple[bytes, int]]:
        """Yield the paths (as they are stored) in a directory, at any depth, of rows that ended, and after which point.

        Costs what the store has of ended rows, not what the directory holds: hence the plus signs.
        """
        base = key(path) + b"\0" if path else b""
        high = base[:-1] + b"\1" if base else b"\xff" * 300
        query = "SELECT path, last FROM entries WHERE last IS NOT NULL AND +path >= ? AND +path < ?"
        return iter(self.db.execute(query, (base, high)))

    def _directly_in(self, path: bytes, where: str, arguments: dict[str, Any]) -> Iterator[Row]:
        """Yield the rows directly in a directory that fit a condition.

        What lies deeper is stepped over row by row as long as it is little, and skipped by index where it is much, so
        that a directory of many files costs one scan and one of large subtrees one look at each.
        """
        base = key(path) + b"\0" if path else b""
        low, high = base + b"\1", base[:-1] + b"\1" if base else b"\xff" * 300
        query = (f"SELECT {_COLUMNS} FROM entries WHERE path >= :low AND path < :high AND {where} "
                 "ORDER BY path, first")
        position: bytes | None = low
        while position is not None:
            found = self.db.execute(query, {**arguments, "low": position, "high": high})
            position, deeper = None, 0
            for values_ in found:
                cut = values_[0].find(b"\0", len(base))
                if cut < 0:
                    deeper = 0
                    yield _row(values_)
                    continue
                deeper += 1
                if deeper > _STEPPED:
                    position = values_[0][:cut] + b"\1"
                    break

    def differing(self, older: int, newer: int | None) -> Iterator[tuple[Row | None, Row | None]]:
        """Yield (row at `older`, row at `newer`) for each path whose rows differ, in walk order.

        `newer` None stands for the newest state. Only rows that ended since `older` are looked at.
        """
        top = newer if newer is not None else 1 << 60
        where = "last IS NOT NULL AND last >= :a AND last < :b AND first <= :a"
        paths = (f"SELECT path FROM entries WHERE {where} UNION SELECT path FROM entries "
                 "WHERE first > :a AND first <= :b AND (last IS NULL OR last >= :b)")
        columns = ", ".join(f"{side}.{name}" for side in ("o", "n") for name in _COLUMNS.split(", "))
        sides = " ".join(
            f"LEFT JOIN entries {side} ON {side}.path = p.path AND {side}.first <= :{at} "
            f"AND ({side}.last IS NULL OR {side}.last >= :{at})" for side, at in (("o", "a"), ("n", "b")))
        query = f"SELECT {columns} FROM ({paths}) p {sides} ORDER BY p.path"
        for found in self.db.execute(query, {"a": older, "b": top}):
            half = len(found) // 2
            old = _row(found[:half]) if found[0] is not None else None
            new = _row(found[half:]) if found[half] is not None else None
            if old != new:
                yield old, new

    def totals(self, seq: int) -> dict[str, int]:
        """Count a point's entries by kind and its bytes (a hard-linked file once)."""
        counts = dict.fromkeys(("files", "dirs", "links", "others", "bytes"), 0)
        query = (f"SELECT kind, count(*), sum(size) FROM entries WHERE {_AT} GROUP BY kind")
        names = {"f": "files", "d": "dirs", "l": "links"}
        for kind, count, size in self.db.execute(query, {"seq": seq}):
            counts[names.get(kind, "others")] += count
            counts["bytes"] += size
        again = ("SELECT coalesce(sum(size * (n - 1)), 0) FROM (SELECT size, count(*) AS n FROM entries "
                 f"WHERE link IS NOT NULL AND {_AT} GROUP BY link)")
        counts["bytes"] -= self.db.execute(again, {"seq": seq}).fetchone()[0]
        return counts


def _quote(path: bytes) -> str:
    from urllib.parse import quote
    return quote(path)


def _damaged(store: Store, error: Exception) -> DamageError:
    return DamageError(f"the catalog of {printable(store.path)} cannot be read: {error}",
                       hint="`rollpoint repair` makes it again from the rest of the store; no point is lost")


def seal(store: Store) -> None:
    """Write the catalog's SHA-256 beside it (in the format of sha256sum), unless it is there."""
    if not sealed(store):
        write_file(store.catalog + b".sha256", _seal(store))


def _seal(store: Store) -> bytes:
    with open(store.catalog, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest().encode() + b"  catalog.sqlite\n"


def sealed(store: Store) -> bool:
    """Whether the catalog is, bit for bit, what the last writer left."""
    with contextlib.suppress(OSError), open(store.catalog + b".sha256", "rb") as file:
        return file.read() == _seal(store)
    return False
