"""After a crash or a failure: finish what had become visible, undo what had not. May itself be interrupted."""

from __future__ import annotations

import os
import stat
from typing import Any

from engine.errors import DamageError
from engine.events import Job, step
from engine.replica import catalog as catalogs
from engine.replica import journal
from engine.replica.catalog import Catalog
from engine.replica.disk import remove_any, walk
from engine.replica.layout import Store, fsync_dir, remove_tree, sync_filesystem
from engine.replica.reconcile import reconcile

NEWEST = 1 << 60


def recover(store: Store, job: Job) -> str:
    """Bring the store to a whole state; returns what was done in words, or "" when nothing was to be done.

    The caller holds the write lock. Raises DamageError when it cannot be done, OSError.
    """
    entry = journal.read(store)
    if entry is None:
        _clear_work(store)
        return ""
    operation = entry.get("operation")
    if operation == "snapshot":
        done = _snapshot(store, entry, job)
    elif operation == "delete":
        from engine.replica.delete import finish
        done = finish(store, entry, job)
    else:
        raise DamageError(f"the store's journal names an operation this Rollpoint does not know: {operation}",
                          hint="use the Rollpoint that wrote it")
    _clear_work(store)
    journal.end(store)
    step("recovered")
    return done


def _snapshot(store: Store, entry: dict[str, Any], job: Job) -> str:
    point_id = str(entry["id"])
    if os.path.isdir(store.point(point_id)):
        return f"finished taking point {point_id}"
    if entry["base"] is None:
        for suffix in (b"", b"-journal", b".sha256"):
            catalogs_file = store.catalog + suffix
            if os.path.exists(catalogs_file):
                os.unlink(catalogs_file)
        _empty(store.tree)
    else:
        _undo(store, entry, job)
    fsync_dir(store.path)
    return f"undid the unfinished point {point_id}"


def _empty(tree: bytes) -> None:
    """Remove all that is in the tree; the directory itself stays, a new one may find no inode on a full file system."""
    if not os.path.isdir(tree):
        os.mkdir(tree)
    os.chmod(tree, 0o700)
    for name in os.listdir(tree):
        remove_any(os.path.join(tree, name))


def merge_backups(work: bytes) -> None:
    """Add what only the second pass has moved away to the backups of the first, which hold the older versions."""
    second, first = os.path.join(work, b"old-2"), os.path.join(work, b"old")
    if not os.path.isdir(second):
        return
    for path, info in walk(second):
        target = os.path.join(first, path)
        if stat.S_ISDIR(info.st_mode):
            if not os.path.lexists(target):
                os.mkdir(target, 0o700)
        elif not os.path.lexists(target) and os.path.isdir(os.path.dirname(target)):
            os.link(os.path.join(second, path), target, follow_symlinks=False)
    remove_tree(second)


def _undo(store: Store, entry: dict[str, Any], job: Job) -> None:
    base, base_seq = str(entry["base"]), int(entry["base_seq"])
    work = store.place(b"work", os.fsencode(str(entry["id"])))
    merge_backups(work)
    with Catalog.open(store, write=True) as catalog:
        if catalog.points()[-1][0] != base_seq:  # else nothing was entered yet, and a full disk would refuse to try
            with catalog.transaction():
                reopen(catalog, base_seq, int(entry["seq"]))
        step("undo-cataloged")
        remove_tree(store.point(base, b"diff"))
        problems = reconcile(store.tree, catalog.tree(NEWEST), os.path.join(work, b"old"), job)
        if problems:
            raise DamageError(f"the unfinished point could not be undone: {problems[0]}",
                              hint="run `rollpoint repair`; older points are not affected")
    step("undo-tree")
    catalogs.seal(store)
    sync_filesystem(store.path)


def reopen(catalog: Catalog, base_seq: int, seq: int) -> None:
    """Make the point `base_seq` the newest again in the catalog: forget the newer point's rows (in a transaction)."""
    catalog.db.execute("DELETE FROM entries WHERE first > ?", (base_seq,))
    catalog.db.execute("UPDATE entries SET last = NULL, data = NULL WHERE last = ?", (base_seq,))
    catalog.db.execute("DELETE FROM points WHERE seq = ?", (seq,))
    for number, point_id, doc in catalog.points():
        if number == base_seq:
            doc.pop("own_bytes", None)
            catalog.put_point(number, point_id, doc)


def _clear_work(store: Store) -> None:
    if os.path.isdir(store.work):
        for name in os.listdir(store.work):
            if name != b"mounts":
                remove_tree(os.path.join(store.work, name))
    else:
        os.mkdir(store.work)
