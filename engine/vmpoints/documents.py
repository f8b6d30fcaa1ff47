"""What all points about VMs share: their directories in STORE/vms, sealed documents, and how one becomes visible.

A document is JSON (which is YAML too) with the seal of all the store's documents. A point is a directory: it is
filled in STORE/work, made durable, and becomes visible by one rename; deleting it is one rename back. So a crash leaves
nothing but scratch, which the next writer clears.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from engine import __version__
from engine.errors import DamageError, RefusedError
from engine.events import step
from engine.points import RestorePoint
from engine.replica.layout import (
    Store,
    fsync_dir,
    machine_id,
    remove_tree,
    sync_filesystem,
    unsealed,
    user_name,
    write_file,
)
from engine.results import SnapshotRequest
from engine.text import message, printable

FORMAT = 1
DOCUMENT = b"point.yaml"
_SEAL = b"# sha256: "
_ID = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d-[a-z]+(?:-\d+)?")


def home(store: Store, kind: bytes) -> bytes:
    """Return the directory of a kind of points: ``points`` (inventories) or ``disks``."""
    return store.place(b"vms", kind)


def ids(store: Store, kind: bytes) -> list[str]:
    """Return the ids of all points of a kind, oldest first."""
    try:
        return sorted(name for name in map(os.fsdecode, os.listdir(home(store, kind))) if _ID.fullmatch(name))
    except FileNotFoundError:
        return []


def new_id(store: Store, kind: bytes, suffix: str, when: datetime) -> str:
    """Return an id that no point of the kind has."""
    plain, taken = f"{when:%Y-%m-%d_%H-%M-%S}-{suffix}", set(ids(store, kind))
    number, found = 1, plain
    while found in taken:
        number += 1
        found = f"{plain}-{number}"
    return found


def common(point_id: str, request: SnapshotRequest, when: datetime, root: bytes) -> dict[str, Any]:
    """Return what every point's document says."""
    return {"format": FORMAT, "id": point_id, "created": when.isoformat(timespec="seconds"),
            "comment": request.comment, "tags": list(request.tags), "pinned": request.pin, "reason": request.reason,
            "taken_by": user_name(), "host": socket.gethostname(), "machine_id": machine_id(root),
            "root": printable(root), "rollpoint": __version__}


def moment(request: SnapshotRequest) -> datetime:
    """Return when a point counts as taken."""
    return (request.when or datetime.now(UTC)).astimezone(UTC)


def sealed(document: Mapping[str, Any]) -> bytes:
    """Return a document as it is written."""
    text = json.dumps(document, indent=1).encode() + b"\n"
    return text + _SEAL + hashlib.sha256(text).hexdigest().encode() + b"\n"


def read(path: bytes) -> dict[str, Any]:
    """Read a sealed document. Raises DamageError, RefusedError for one of a newer format, OSError."""
    with open(path, "rb") as file:
        text = unsealed(file.read())
    if text is None:
        raise DamageError(f"{printable(os.path.basename(path))} is damaged: its checksum does not fit")
    document = json.loads(text)
    if not isinstance(document, dict) or not isinstance(document.get("format"), int):
        raise DamageError(f"{printable(os.path.basename(path))} is damaged: it holds no document")
    if document["format"] > FORMAT:
        raise RefusedError(f"it has format {document['format']}, this Rollpoint knows {FORMAT}")
    return document


def point(store: Store, kind: bytes, backend: str, point_id: str, parts: Sequence[bytes]) -> RestorePoint:
    """Return a point as lists show it; a damaged one with the reason. `parts` are the files it must have, with the
    sizes that its document says."""
    folder = os.path.join(home(store, kind), os.fsencode(point_id))
    problems: list[str] = []
    document: dict[str, Any] = {}
    try:
        document = read(os.path.join(folder, DOCUMENT))
        for name in parts:
            size = os.stat(os.path.join(folder, name)).st_size
            if size != document["files"][os.fsdecode(name)]["size"]:
                problems.append(f"{printable(name)} has {size:,} bytes, and had others when it was written")
    except (DamageError, RefusedError) as error:
        problems.append(error.message)
    except OSError as error:
        problems.append(f"{printable(os.path.basename(os.fsencode(error.filename or b'it')))} cannot be read: "
                        f"{error.strerror}")
    except (KeyError, TypeError, ValueError) as error:
        problems.append(message(f"point.yaml lacks what it should hold: {error!r}"))
    return RestorePoint(
        point_id, backend, 0, _created(document, point_id), str(document.get("comment", "")),
        tuple(document.get("tags", ())), document.get("pinned") is True, "damaged" if problems else "ok",
        None, False, tuple(problems), document)


def _created(document: Mapping[str, Any], point_id: str) -> datetime:
    """When a point was taken: by its document, or, where that is lost, by its id."""
    try:
        return datetime.fromisoformat(document["created"]).astimezone(UTC)
    except (KeyError, TypeError, ValueError):
        return datetime.strptime(point_id[:19], "%Y-%m-%d_%H-%M-%S").replace(tzinfo=UTC)


def appear(store: Store, kind: bytes, point_id: str, files: Mapping[bytes, bytes], document: dict[str, Any]) -> int:
    """Make a point of these files and its document visible, all at once, and return the bytes of disk it takes. The
    caller holds the write lock. Raises OSError."""
    work = store.place(b"work", os.fsencode(point_id))
    remove_tree(work)
    os.makedirs(work, mode=0o700)
    document["files"] = {os.fsdecode(name): {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
                         for name, data in files.items()}
    for name, data in {**files, DOCUMENT: sealed(document)}.items():
        with open(os.path.join(work, name), "xb") as file:
            file.write(data)
    os.makedirs(home(store, kind), mode=0o700, exist_ok=True)
    step("vms-written")
    sync_filesystem(store.path)     # the point's files, and the contents that it names
    os.rename(work, os.path.join(home(store, kind), os.fsencode(point_id)))
    fsync_dir(home(store, kind))
    step("vms-visible")
    return used(store, kind, point_id)


def vanish(store: Store, kind: bytes, point_id: str) -> int:
    """Delete a point and return the bytes of disk that frees. The caller holds the write lock. Raises OSError."""
    freed = used(store, kind, point_id)
    work = store.place(b"work", b"gone-" + os.fsencode(point_id))
    remove_tree(work)
    os.rename(os.path.join(home(store, kind), os.fsencode(point_id)), work)
    fsync_dir(home(store, kind))
    step("vms-hidden")
    remove_tree(work)
    return freed


def used(store: Store, kind: bytes, point_id: str) -> int:
    """Return the bytes of disk that a point's own directory takes."""
    folder = os.path.join(home(store, kind), os.fsencode(point_id))
    return sum(os.lstat(os.path.join(folder, name)).st_blocks * 512 for name in os.listdir(folder))


def annotate(store: Store, kind: bytes, found: RestorePoint, comment: str | None, pinned: bool | None) -> None:
    """Change the comment or the pin in a point's document. The caller holds the write lock. Raises DamageError for a
    point whose document is damaged, OSError."""
    path = os.path.join(home(store, kind), os.fsencode(found.id), DOCUMENT)
    try:
        document = read(path)
    except DamageError as error:
        raise DamageError(f"point {found.id}: {error.message}", hint="a damaged point cannot be changed") from error
    document |= {key: value for key, value in (("comment", comment), ("pinned", pinned)) if value is not None}
    write_file(path, sealed(document))


def checked(store: Store, kind: bytes, found: RestorePoint, name: bytes) -> bytes:
    """Return a file of a point. Raises DamageError where it is not what was written."""
    path = os.path.join(home(store, kind), os.fsencode(found.id), name)
    try:
        document = read(os.path.join(os.path.dirname(path), DOCUMENT))
        with open(path, "rb") as file:
            data = file.read()
        if hashlib.sha256(data).hexdigest() != document["files"][os.fsdecode(name)]["sha256"]:
            raise DamageError(f"{printable(name)} is damaged: its checksum does not fit")
    except (DamageError, RefusedError) as error:
        raise DamageError(f"point {found.id}: {error.message}", hint=_HINT) from error
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DamageError(message(f"point {found.id}: {printable(name)} cannot be read: {error}"),
                          hint=_HINT) from error
    return data


_HINT = "take it from a copy of the store, or use another point: the others do not depend on this one"
