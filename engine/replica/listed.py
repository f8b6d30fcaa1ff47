"""Which points a store holds. In a module of its own, with little that it stands on: to list them is the command that
is typed most, and it should not wait for all that the others need."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from engine.errors import DamageError
from engine.points import RestorePoint
from engine.replica.catalog import Catalog
from engine.replica.layout import Store, read_document, unsealed

DAMAGE = b"damage.json"
MARKS = 50              # sentences about the damage of a point that are kept at most


def points(store: Store) -> list[RestorePoint]:
    """Return the points, newest first. One that cannot be read is there too, as damaged."""
    known: dict[str, tuple[int, dict[str, Any]]] = {}
    lost = 0
    with suppress(DamageError), Catalog.open(store) as catalog:
        known = {point_id: (seq, doc) for seq, point_id, doc in catalog.points()}
        lost = int(catalog.meta("lost_records") or 0)
    marked = _marked(store)
    for point_id, (seq, _) in known.items():
        if seq <= lost:
            marked.setdefault(point_id, []).append(f"the records of point {lost} are lost, which lead back to it")
    present = store.point_ids()
    found = [_point(store, i, known.get(i), marked.get(i, [])) for i in present]
    found += [_lost(i, seq, doc) for i, (seq, doc) in known.items() if i not in set(present) and known
              and not _pending(store, i)]
    found.sort(key=lambda p: p.number, reverse=True)
    if found and found[0].id in present:
        found[0] = _as_newest(found[0])
    return found


def _pending(store: Store, point_id: str) -> bool:
    return os.path.isdir(store.place(b"work", os.fsencode(point_id)))


def _marked(store: Store) -> dict[str, list[str]]:
    """Return what the last verify found, by point."""
    try:
        with open(store.place(DAMAGE), "rb") as file:
            return dict(json.load(file))
    except (OSError, ValueError):
        return {}


def _point(store: Store, point_id: str, known: tuple[int, dict[str, Any]] | None, marks: Sequence[str]) -> RestorePoint:
    problems = list(marks)
    doc: dict[str, Any] = {}
    try:
        with open(store.point(point_id, b"point.yaml"), "rb") as file:
            if unsealed(file.read()) is None:
                raise DamageError("point.yaml is damaged: its checksum does not fit")
        doc = known[1] if known else read_document(store.point(point_id, b"point.yaml"))
    except DamageError as error:
        problems.append(error.message)
        doc = known[1] if known else {}
    except OSError as error:
        problems.append(f"point.yaml cannot be read: {error.strerror}")
        doc = known[1] if known else {}
    return _from_doc(point_id, known[0] if known else int(doc.get("number", 0)), doc, problems)


def _lost(point_id: str, seq: int, doc: dict[str, Any]) -> RestorePoint:
    return _from_doc(point_id, seq, doc, ["its directory in the store is missing"])


def _from_doc(point_id: str, number: int, doc: dict[str, Any], problems: Sequence[str]) -> RestorePoint:
    created = datetime.fromisoformat(doc.get("created", "1970-01-01T00:00:00+00:00"))
    return RestorePoint(
        point_id, "replica", number, created, doc.get("comment", ""), tuple(doc.get("tags", ())),
        bool(doc.get("pinned", False)), "damaged" if problems else "ok", doc.get("own_bytes"), False,
        tuple(problems), doc)


def _as_newest(point: RestorePoint) -> RestorePoint:
    return dataclasses.replace(point, newest=True, own_bytes=None)
