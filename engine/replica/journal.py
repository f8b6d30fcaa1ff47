"""What is under way in a store, written before it begins, so that whoever comes after a crash can finish or undo it."""

from __future__ import annotations

import os
from typing import Any

from engine.errors import DamageError
from engine.replica.layout import Store, fsync_dir, read_document, write_document


def begin(store: Store, entry: dict[str, Any]) -> None:
    """Write the journal durably. Raises OSError."""
    write_document(store.journal, entry)


def read(store: Store) -> dict[str, Any] | None:
    """Return the journal, or None when nothing is under way.

    Raises DamageError when it cannot be read: nobody can say then what was under way.
    """
    try:
        return read_document(store.journal)
    except FileNotFoundError:
        return None
    except DamageError as error:
        raise DamageError(error.message, hint="`rollpoint repair` finds out from the rest of the store") from None


def end(store: Store) -> None:
    """Remove the journal: the operation is finished or undone."""
    try:
        os.unlink(store.journal)
    except FileNotFoundError:
        return
    fsync_dir(store.path)
