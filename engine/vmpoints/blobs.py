"""Contents kept once, however many points have them: STORE/vms/blobs/XX/SHA256, plain files.

A blob is durable before any point that names it can be seen. One that is there already is compared first: a damaged one
(also one that a power cut has left empty) is replaced by what it should be, which mends the older points that have it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection

from engine.errors import DamageError
from engine.replica.layout import Store
from engine.text import printable

PLACE = (b"vms", b"blobs")


def digest(data: bytes) -> str:
    """Return the name of a content."""
    return hashlib.sha256(data).hexdigest()


def place(store: Store, name: str) -> bytes:
    """Return where a blob lies."""
    return store.place(*PLACE, name[:2].encode(), name.encode())


def put(store: Store, data: bytes) -> str:
    """Keep a content and return its name. The caller holds the write lock, and makes the store's file system durable
    before anything names it. Raises OSError."""
    name = digest(data)
    where = place(store, name)
    try:
        with open(where, "rb") as file:
            if file.read(len(data) + 1) == data:
                return name
    except OSError:
        os.makedirs(os.path.dirname(where), mode=0o700, exist_ok=True)
    with open(where + b".new", "wb") as file:
        file.write(data)
    os.rename(where + b".new", where)
    return name


def get(store: Store, name: str) -> bytes:
    """Return a content. Raises DamageError when it is gone or is not what was kept."""
    where = place(store, name)
    try:
        with open(where, "rb") as file:
            data = file.read()
    except OSError as error:
        raise DamageError(f"{printable(where)} cannot be read: {error.strerror}",
                          hint="restore it from a copy of the store, or take a new point while the file is as it was"
                          ) from error
    if digest(data) != name:
        raise DamageError(f"{printable(where)} is damaged: its checksum does not fit",
                          hint="restore it from a copy of the store, or take a new point while the file is as it was")
    return data


def sweep(store: Store, used: Collection[str]) -> int:
    """Remove the blobs that nobody uses, and what a crash left half written; returns the bytes of disk that freed. The
    caller holds the write lock and knows of every point what it uses. Raises OSError."""
    home, freed = store.place(*PLACE), 0
    for folder in os.listdir(home) if os.path.isdir(home) else ():
        for name in os.listdir(os.path.join(home, folder)):
            if os.fsdecode(name) not in used:
                where = os.path.join(home, folder, name)
                freed += os.lstat(where).st_blocks * 512
                os.unlink(where)
    return freed
