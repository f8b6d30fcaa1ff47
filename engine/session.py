"""One store and the tree it is about: opening, locking, recovering, and one-line errors for whatever goes wrong."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from engine import audit
from engine.config import Config
from engine.errors import BusyError, DamageError, NoRoomError, RefusedError
from engine.events import Job
from engine.replica import catalog as catalogs
from engine.replica import layout
from engine.replica.catalog import Catalog
from engine.replica.layout import Store


class Session:
    """What all verbs share. Opening it touches nothing."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @property
    def _store(self) -> Store:
        return layout.open_store(os.fsencode(self.config.store))

    def _settled(self) -> Store:
        """Open the store, and first finish or undo what a crash has left, if we may: nobody else will have to."""
        store = self._store
        unsettled = os.path.exists(store.journal) or catalogs.is_lost(store)
        if unsettled and not store.holder() and os.access(store.path, os.W_OK):
            with suppress(BusyError), clean_errors(), self._writing(store, "recovery", Job()):
                pass
        return store

    @contextmanager
    def _catalog(self) -> Iterator[tuple[Store, Catalog]]:
        store = self._settled()
        with clean_errors(), Catalog.open(store) as catalog:
            yield store, catalog

    def _may_write(self) -> None:
        if self.config.read_only:
            raise RefusedError("the configuration says read_only", hint="take `read_only` out of the configuration")

    @contextmanager
    def _writing(self, store: Store, verb: str, job: Job) -> Iterator[None]:
        from engine.replica import recover, repair  # who only looks need not wait for these

        with store.write_lock(verb):
            done = recover.recover(store, Job())
            if done:
                job.warn(f"{done} (an earlier Rollpoint was interrupted)")
            if catalogs.is_lost(store):
                repair.rebuild_catalog(store, job)
                job.warn("the catalog was missing and has been made again from the rest of the store")
            yield

    @staticmethod
    def _audit(store: Store, verb: str, subject: str, result: str, detail: str = "") -> None:
        audit.record(os.fsdecode(store.path), verb, subject, result, detail)


def is_full(error: Exception) -> bool:
    """Whether an error says that a file system has no room."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return isinstance(error, NoRoomError) or (isinstance(error, sqlite3.Error) and "full" in str(error))


@contextmanager
def clean_errors() -> Iterator[None]:
    """Turn what the system and SQLite raise into one-line errors."""
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise NoRoomError(f"no room left: {layout.describe_os_error(error).message}",
                              hint="the store is as it was; free room on its file system") from error
        raise layout.describe_os_error(error) from error
    except sqlite3.Error as error:
        if is_full(error):
            raise NoRoomError(f"no room left for the catalog: {error}",
                              hint="the store is as it was; free room on its file system") from error
        raise DamageError(f"the catalog cannot be used: {error}", hint="run `rollpoint repair`") from error
