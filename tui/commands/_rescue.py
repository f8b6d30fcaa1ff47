"""What a look at all disks looks like: tables for the admin, one document for a program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from engine.machine.filesystems import FileSystem
from engine.rescue.mapping import Mapping
from engine.rescue.survey import FoundPoint, FoundStore, FoundSystem, Survey
from engine.text import human_size, json_path, message, printable, shown_path
from tui.commands._format import local_time
from tui.output import safe_text, table

_SHORT = 8      # of a machine id, which is enough to tell two apart


def survey_lines(found: Survey, store: FoundStore | None, point: FoundPoint | None, mapping: Mapping | None, why: str
                 ) -> Iterator[str]:
    """Yield stores, systems, what would be mounted for the store (None: `why` says why there is none), the rest."""
    yield from _table("Stores", ["Store", "Host", "Machine", "Points", "Newest", ""],
                      [_store_row(s) for s in found.stores], (3,))
    yield from _table("Systems", ["Device", "Part", "System", "Host", "Machine", "Newest kernel"],
                      [_system_row(s) for s in found.systems], ())
    if mapping is not None and store is not None and point is not None:
        rows = [[shown_path(r.recorded.place), printable(r.device.device) if r.device else "-", r.state,
                 human_size(r.device.size) if r.device else "", r.why] for r in mapping.rows]
        yield from _table(f"What point {point.number} of {printable(store.name)} recorded",
                          ["Mounted at", "Is now", "", "Size", ""], rows, (3,))
        yield from (f"REFUSED: {message(refusal)}" for refusal in mapping.refusals)
        if not mapping.refusals:
            yield "`rollpoint rescue open -- rollback latest` goes back to its newest point."
    elif why:
        yield f"Nothing can be opened: {message(why)}"
    for bad in found.unreadable:
        yield f"Cannot be read: {_name(bad.on)}: {message(bad.why)}"
    for note in found.notes:
        yield f"Note: {message(note)}"


def _table(title: str, head: list[str], rows: list[list[str]], right: tuple[int, ...]) -> Iterator[str]:
    if not rows:
        yield f"{title}: none"
        return
    yield f"{title}:"
    for line in table(head, rows, right=right):
        yield f"  {line}"


def _store_row(store: FoundStore) -> list[str]:
    newest = local_time(store.newest.created) if store.newest else "-"
    return [printable(store.name), store.host or "-", store.machine_id[:_SHORT] or "-", str(store.count), newest,
            store.problem]


def _system_row(system: FoundSystem) -> list[str]:
    return [printable(system.on.device), shown_path(system.within.encode("utf-8", "surrogateescape")),
            system.name or "-", system.host or "-", system.machine_id[:_SHORT] or "-",
            system.kernels[-1] if system.kernels else "-"]


def _name(on: FileSystem) -> str:
    more = ", ".join(w for w in (printable(on.fstype), human_size(on.size) if on.size else "",
                                 printable(on.model)) if w)
    return f"{printable(on.device)} ({more})" if more else printable(on.device)


def survey_json(found: Survey, store: FoundStore | None, point: FoundPoint | None, mapping: Mapping | None
                ) -> dict[str, Any]:
    """Return all of it."""
    return {
        "stores": [_store_json(s) for s in found.stores], "systems": [_system_json(s) for s in found.systems],
        "mapping": None if mapping is None or store is None or point is None else {
            "store": safe_text(store.name), "point": point.id, "refusals": [message(r) for r in mapping.refusals],
            "rows": [{"mount": json_path(r.recorded.place), "uuid": safe_text(r.recorded.uuid),
                      "type": safe_text(r.recorded.fstype), "within": safe_text(r.recorded.within),
                      "device": safe_text(r.device.device) if r.device else None, "state": r.state,
                      "why": message(r.why)} for r in mapping.rows]},
        "unreadable": [{"device": safe_text(u.on.device), "type": safe_text(u.on.fstype), "why": message(u.why)}
                       for u in found.unreadable],
        "file_systems": [_file_system_json(f) for f in found.file_systems],
        "notes": [message(n) for n in found.notes],
    }


def _store_json(store: FoundStore) -> dict[str, Any]:
    newest = store.newest
    return {"name": safe_text(store.name), "device": safe_text(store.on.device), "path": safe_text(store.path),
            "id": store.id, "host": store.host, "machine_id": store.machine_id, "format": store.format,
            "points": store.count, "problem": store.problem, "newest": None if newest is None else {
                "id": safe_text(newest.id), "number": newest.number, "created": newest.created.isoformat(),
                "comment": safe_text(newest.comment)}}


def _system_json(system: FoundSystem) -> dict[str, Any]:
    return {"device": safe_text(system.on.device), "within": safe_text(system.within), "name": system.name,
            "host": system.host, "machine_id": system.machine_id, "kernels": list(system.kernels),
            "has_fstab": system.has_fstab}


def _file_system_json(one: FileSystem) -> dict[str, Any]:
    return {"device": safe_text(one.device), "type": safe_text(one.fstype), "uuid": safe_text(one.uuid),
            "label": safe_text(one.label), "size": one.size, "disk": safe_text(one.disk),
            "model": safe_text(one.model), "serial": safe_text(one.serial),
            "mounted": [safe_text(m) for m in one.mounted]}
