"""What becomes of packages and kernels between two states: of a restore point and another one, or the live system."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from engine.entries import Kind
from engine.errors import RollpointError
from engine.machine import packages
from engine.replica.catalog import Catalog
from engine.replica.content import Contents
from engine.replica.layout import Store
from engine.replica.query import live_entry
from engine.results import Software
from engine.run import scratch


class PointFiles:
    """The files of a restore point, as `packages.Files`."""

    def __init__(self, store: Store, catalog: Catalog, number: int) -> None:
        self._catalog, self._number = catalog, number
        self._contents = Contents(store, catalog)

    @contextmanager
    def open(self, path: bytes) -> Iterator[IO[bytes] | None]:
        """Open a regular file for reading; None where there is none."""
        row = self._catalog.at(path, self._number)
        if row is None or row.entry.kind is not Kind.FILE:
            yield None
            return
        with self._contents.open(row) as file:
            yield file

    def names(self, path: bytes) -> list[bytes]:
        """Return the names in a directory."""
        return [row.entry.name for row in self._catalog.children(self._number, path)]


class LiveFiles:
    """The files of a tree on this machine, as `packages.Files`. Symbolic links are not followed: one could lead out of
    the tree, and a point's are not followed either."""

    def __init__(self, root: bytes) -> None:
        self._root = root

    @contextmanager
    def open(self, path: bytes) -> Iterator[IO[bytes] | None]:
        """Open a regular file for reading; None where there is none."""
        entry = live_entry(self._root, path)
        if entry is None or entry.kind is not Kind.FILE:
            yield None
            return
        with open(os.path.join(self._root, path), "rb") as file:
            yield file

    def names(self, path: bytes) -> list[bytes]:
        """Return the names in a directory."""
        entry = live_entry(self._root, path)
        return os.listdir(os.path.join(self._root, path)) if entry is not None and entry.kind is Kind.DIR else []


def compare(old: packages.Files, new: packages.Files, changed: Sequence[bytes] | None = None) -> Software:
    """Return what becomes of packages and kernels from one tree to another; what cannot be found out is a note.

    With `changed`, the paths that change, only what these have a part in.
    """
    notes: list[str] = []
    words: list[str] = []
    kernels: list[str] = []
    if _touched(changed, packages.DATABASES):
        words = _told(lambda: packages.differences(_installed(old), _installed(new)), "packages", notes)
    if _touched(changed, (packages.BOOT,)):
        kernels = _told(lambda: packages.kernel_differences(packages.kernels(old), packages.kernels(new)), "kernels",
                        notes)
    return Software(tuple(words), tuple(kernels), tuple(notes))


def _touched(changed: Sequence[bytes] | None, places: Sequence[bytes]) -> bool:
    if changed is None:
        return True
    return any(path == place or path.startswith(place + b"/") for path in changed for place in places)


def _installed(files: packages.Files) -> dict[str, str]:
    with scratch() as place:
        return packages.installed(files, place)


def _told(ask: Callable[[], list[str]], what: str, notes: list[str]) -> list[str]:
    try:
        return ask()
    except (OSError, RollpointError) as error:
        hint = f" ({error.hint})" if isinstance(error, RollpointError) and error.hint else ""
        notes.append(f"what becomes of the {what} cannot be said: {error}{hint}")
        return []
