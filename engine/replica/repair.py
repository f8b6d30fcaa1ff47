"""Repairing a store: what a crash left, a damaged catalog, attributes in the tree; and editing a point's document."""

from __future__ import annotations

import os
from typing import Any

from engine.errors import DamageError, RollpointError, UsageError
from engine.events import Job, step
from engine.points import RestorePoint
from engine.replica import catalog as catalogs
from engine.replica import journal, query, rebuild, verify
from engine.replica.catalog import Catalog
from engine.replica.disk import apply_attributes, read_entry
from engine.replica.layout import Store, read_document, write_document
from engine.replica.reconcile import join, same_attributes
from engine.replica.recover import NEWEST, recover
from engine.results import Damage, RepairReport
from engine.text import printable


def repair(store: Store, job: Job) -> RepairReport:
    """Mend what can be mended and report it. The caller holds the write lock."""
    done: list[str] = []
    try:
        finished = recover(store, job)
        if finished:
            done.append(finished)
    except DamageError as error:
        done.append(_forget_journal(store, error))
    if store.point_ids():
        done += _mend_documents(store)
        if _catalog_fails(store):
            notes = rebuild_catalog(store, job)
            done += ["the catalog was made again from the rest of the store", *notes, *_mend_documents(store)]
        done += _mend_tree(store, job)
    left = _verify(store, job)
    return RepairReport(tuple(done), left)


def rebuild_catalog(store: Store, job: Job) -> list[str]:
    """Make the catalog again from the rest of the store; returns what could not be read. Under the write lock."""
    built = store.place(b"work", b"catalog.sqlite")
    notes = rebuild.rebuild(store, built, job)
    step("repair-rebuilt")
    rebuild.install(store, built)
    return notes


def _forget_journal(store: Store, error: DamageError) -> str:
    """A journal that cannot be read: a catalog that is whole says which state the tree must have."""
    try:
        read_document(store.journal)
    except (DamageError, OSError):
        if not catalogs.sealed(store):
            raise DamageError("the journal and the catalog are both damaged: it cannot be said which state is whole",
                              hint="restore journal.yaml or catalog.sqlite from a copy of the store") from error
        journal.end(store)
        return f"the journal was unreadable and has been removed ({error.message})"
    raise error


def _mend_documents(store: Store) -> list[str]:
    """Write point documents that are damaged again from a catalog that is whole."""
    if not os.path.exists(store.catalog) or not catalogs.sealed(store):
        return []
    with Catalog.open(store) as catalog:
        listed = catalog.points()
    done = []
    for _, point_id, doc in listed:
        try:
            read_document(store.point(point_id, b"point.yaml"))
        except (DamageError, FileNotFoundError):
            if os.path.isdir(store.point(point_id)):
                doc.pop("own_bytes", None)
                write_document(store.point(point_id, b"point.yaml"), doc)
                done.append(f"the document of point {point_id} was written again from the catalog")
    return done


def _catalog_fails(store: Store) -> bool:
    try:
        with Catalog.open(store) as catalog:
            known = {point_id for _, point_id, _ in catalog.points()}
    except RollpointError:
        return True
    return not catalogs.sealed(store) or known != set(store.point_ids())


def _mend_tree(store: Store, job: Job) -> list[str]:
    """Give entries of the tree whose content is untouched their recorded attributes again."""
    mended = 0
    with Catalog.open(store) as catalog:
        for number, (row, path, info) in enumerate(join(store.tree, catalog.tree(NEWEST))):
            if number % 256 == 0:
                job.progress("checking the tree", number, current=path)
            if row is None or info is None:
                continue
            full = os.path.join(store.tree, path)
            have = read_entry(full, path, info)
            alike = (have.kind, have.size, have.target, have.rdev) == (
                row.entry.kind, row.entry.size, row.entry.target, row.entry.rdev)
            if alike and not same_attributes(have, row.entry):
                apply_attributes(full, row.entry)
                mended += 1
    return [f"{mended} entries of the tree got their recorded attributes again"] if mended else []


def _verify(store: Store, job: Job) -> tuple[Damage, ...]:
    listed = query.points(store)
    report = verify.Verifier(store, listed, job).run(data=False)
    verify.mark(store, listed, report)
    return report.damage


def annotate(store: Store, point: RestorePoint, change: dict[str, Any]) -> None:
    """Change fields of a point's document. The caller holds the write lock.

    Raises DamageError when the document cannot be read, UsageError when the point is gone.
    """
    place = store.point(point.id, b"point.yaml")
    try:
        document = read_document(place) | change
    except FileNotFoundError:
        raise UsageError(f"there is no point {printable(os.fsencode(point.id))} any more",
                         hint="`rollpoint list` shows those there are") from None
    write_document(place, document)
    step("annotate-written")
    with Catalog.open(store, write=True) as catalog:
        with catalog.transaction():
            for number, point_id, doc in catalog.points():
                if point_id == point.id:
                    catalog.put_point(number, point_id, doc | change)
    catalogs.seal(store)
