"""Deleting points: the oldest simply goes; any other merges its difference into its older neighbour's; deleting the
newest first rolls the tree back to the one before.

Until the journal's phase is ``apply`` nothing but scratch files exists and a crash undoes the deletion; from then on
every step can be repeated and a crash is followed by finishing it.
"""

from __future__ import annotations

import os
from typing import Any

from engine.entries import Kind
from engine.errors import DamageError
from engine.events import Job, step
from engine.points import RestorePoint
from engine.replica import catalog as catalogs
from engine.replica import changes, journal, merge, packs
from engine.replica.catalog import Catalog
from engine.replica.content import Contents
from engine.replica.layout import Store, fsync_dir, remove_tree, sync_filesystem
from engine.replica.reconcile import reconcile
from engine.replica.recover import NEWEST, recover, reopen
from engine.replica.snapshot import used


def delete(store: Store, point: RestorePoint, job: Job) -> int:
    """Delete one point and return the bytes of disk space that gave back.

    The caller holds the write lock and has recovered the store. Raises DamageError, OSError; the point is then still
    there, or its deletion is finished by the next command.
    """
    with Catalog.open(store) as catalog:
        numbered = [(seq, point_id) for seq, point_id, _ in catalog.points()]
    at = next((n for n, (_, i) in enumerate(numbered) if i == point.id), None)
    if at is None:
        raise DamageError(f"point {point.id} is not in the catalog", hint="run `rollpoint repair` first")
    older = numbered[at - 1] if at else None
    newest = at == len(numbered) - 1
    how = ("only" if older is None else "newest") if newest else ("oldest" if older is None else "middle")
    at_once = how in ("oldest", "only")  # there is nothing to prepare
    entry: dict[str, Any] = {"operation": "delete", "id": point.id, "seq": numbered[at][0], "how": how,
                             "phase": "apply" if at_once else "prepare", "older": older[1] if older else None,
                             "older_seq": older[0] if older else None}
    before = _taken(store, entry)
    journal.begin(store, entry)
    try:
        step("delete-begun")
        if not at_once:
            os.makedirs(_work(store, entry))
            _prepare(store, entry, job)
            sync_filesystem(store.path)
            step("delete-prepared")
            journal.begin(store, entry | {"phase": "apply"})
    finally:
        recover(store, Job())
    return max(0, before - _taken(store, entry))


def _taken(store: Store, entry: dict[str, Any]) -> int:
    """Return the disk space in bytes of what the deletion can make smaller: the point, its neighbour, the tree."""
    total = sum(used(store.point(str(entry[k]))) for k in ("id", "older") if entry[k])
    if entry["how"] in ("newest", "only") and os.path.exists(store.catalog):
        with Catalog.open(store) as catalog:
            total += next((int(doc.get("allocated", 0)) for _, _, doc in reversed(catalog.points())), 0)
    return total


def _work(store: Store, entry: dict[str, Any]) -> bytes:
    return store.place(b"work", os.fsencode(str(entry["id"])))


def _prepare(store: Store, entry: dict[str, Any], job: Job) -> None:
    if entry["how"] == "middle":
        with Catalog.open(store) as catalog:
            merge.prepare(store, catalog, entry, os.path.join(_work(store, entry), b"diff"), job)
    elif entry["how"] == "newest":
        stage = os.path.join(_work(store, entry), b"stage")
        os.mkdir(stage)
        with Catalog.open(store) as catalog:
            contents = Contents(store, catalog)
            files = [r for r in catalog.rows("last = ?", (entry["older_seq"],)) if r.entry.kind is Kind.FILE]
            moved = [r for r in files if not _stays(contents, r)]
            for row in moved:
                os.makedirs(os.path.join(stage, os.path.dirname(row.entry.path)), exist_ok=True)
            contents.write([(r, os.path.join(stage, r.entry.path)) for r in moved], stage, job)


def _stays(contents: Contents, row: catalogs.Row) -> bool:
    """Whether the tree has this old version's content under its own name: only attributes changed."""
    if not row.entry.size:
        return False
    chain = contents.chain(row)
    return chain.tree is not None and chain.tree.entry.path == row.entry.path and not chain.deltas


def finish(store: Store, entry: dict[str, Any], job: Job) -> str:
    """Finish a deletion that had begun to be applied; undo one that had not. Returns what was done."""
    point_id = str(entry["id"])
    if entry["phase"] != "apply":
        return f"undid the unfinished deletion of point {point_id}"
    if entry["how"] == "only":
        _forget_all(store, point_id)
        return f"finished deleting point {point_id}"
    if entry["how"] == "middle":
        _place_merged(store, entry)
    _keep_items(store, entry)
    _hide(store, point_id)
    step("delete-hidden")
    with Catalog.open(store, write=True) as catalog:
        with catalog.transaction():
            _update(store, catalog, entry)
        step("delete-cataloged")
        if entry["how"] == "newest":
            _roll_back(store, catalog, entry, job)
    catalogs.seal(store)
    if entry["how"] != "oldest":
        sync_filesystem(store.path)
    step("delete-sealed")
    return f"finished deleting point {point_id}"


def _hide(store: Store, point_id: str) -> None:
    """Take the point out of sight by one rename."""
    aside = store.place(b"work", os.fsencode(point_id))
    os.makedirs(aside, exist_ok=True)
    if os.path.isdir(store.point(point_id)):
        os.rename(store.point(point_id), os.path.join(aside, b"point"))
        fsync_dir(store.place(b"points"))


def _keep_items(store: Store, entry: dict[str, Any]) -> None:
    """Keep the checksums that this point brought: files of the tree may still be the ones it copied."""
    source = store.point(str(entry["id"]), b"items.zst")
    if entry["how"] == "newest" or not os.path.exists(source):
        return
    os.makedirs(store.place(b"items"), exist_ok=True)
    name = f"{entry['seq']:08d}-{packs.file_sum(source)[:16]}.zst"
    target = store.place(b"items", name.encode())
    if not os.path.exists(target):
        os.link(source, target)
        fsync_dir(store.place(b"items"))


def _update(store: Store, catalog: Catalog, entry: dict[str, Any]) -> None:
    db, seq, older = catalog.db, entry["seq"], entry["older_seq"]
    if entry["how"] == "newest":
        reopen(catalog, older, seq)
        return
    if entry["how"] == "middle":
        diff = store.point(str(entry["older"]), b"diff")
        records = changes.decode_all(packs.read_lines(os.path.join(diff, b"changes.zst")))
        db.execute("DELETE FROM entries WHERE last = ? AND first > ?", (seq, older))
        db.executemany("UPDATE entries SET last = ?, data = ? WHERE path = ? AND first <= ? AND last IN (?, ?)",
                       [(older, r.data, r.path.replace(b"/", b"\0"), older, older, seq)
                        for r in records if r.entry is not None])
        for number, point_id, doc in catalog.points():
            if number == older:
                own = used(store.point(point_id))
                catalog.put_point(number, point_id, doc | {"own_bytes": own})
    else:
        db.execute("DELETE FROM entries WHERE last = ?", (seq,))
    db.execute("DELETE FROM points WHERE seq = ?", (seq,))


def _place_merged(store: Store, entry: dict[str, Any]) -> None:
    work = _work(store, entry)
    merged, aside = os.path.join(work, b"diff"), os.path.join(work, b"old-diff")
    place = store.point(str(entry["older"]), b"diff")
    if os.path.isdir(merged):
        if os.path.isdir(place):
            remove_tree(aside)
            os.rename(place, aside)
        step("delete-aside")
        os.rename(merged, place)
        fsync_dir(os.path.dirname(place))
        step("delete-merged")


def _roll_back(store: Store, catalog: Catalog, entry: dict[str, Any], job: Job) -> None:
    problems = reconcile(store.tree, catalog.tree(NEWEST), os.path.join(_work(store, entry), b"stage"), job)
    if problems:
        raise DamageError(f"the tree could not be rolled back to point {entry['older']}: {problems[0]}",
                          hint="run `rollpoint repair`; older points are not affected")
    step("delete-rolled-back")
    sync_filesystem(store.path)
    remove_tree(store.point(str(entry["older"]), b"diff"))


def _forget_all(store: Store, point_id: str) -> None:
    """The only point goes: the store is as new."""
    _hide(store, point_id)
    for suffix in (b"", b"-journal", b".sha256"):
        if os.path.exists(store.catalog + suffix):
            os.unlink(store.catalog + suffix)
    remove_tree(store.place(b"items"))
    remove_tree(store.tree)
    os.mkdir(store.tree)
    fsync_dir(store.path)
