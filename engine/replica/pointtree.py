"""The files of a system as they would be after a rollback: some paths from a point, all others from the live tree.

Nothing is opened or mounted: the index says what is there, and only what is read is unpacked.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

from engine.entries import Kind
from engine.errors import RollpointError
from engine.machine.tree import Tree
from engine.replica.catalog import Catalog
from engine.replica.content import Contents
from engine.replica.layout import Store


class PointTree(Tree):
    """`paths` come from the point with that number (none: everything), and the rest from the tree at `root`; with
    `but`, these stay live although they lie in one of them."""

    def __init__(self, store: Store, catalog: Catalog, number: int, root: bytes, paths: Sequence[bytes] = (),
                 but: Sequence[bytes] = ()) -> None:
        super().__init__(root)
        self._catalog, self._number = catalog, number
        self._contents = Contents(store, catalog)
        self._paths, self._but = tuple(paths), tuple(but)

    def comes(self, path: bytes) -> bool:
        """Whether a path comes from the point."""
        return (not self._paths or _within(path, self._paths)) and not _within(path, self._but)

    def exists_as(self, path: bytes) -> tuple[bool, bytes | None]:
        """Return whether something has this name (links are not followed), and where a symbolic link leads."""
        if not self.comes(path):
            return super().exists_as(path)
        row = self._catalog.at(path, self._number)
        return row is not None, row.entry.target if row is not None and row.entry.kind is Kind.LINK else None

    @contextlib.contextmanager
    def open(self, path: bytes) -> Iterator[int | None]:
        """Open a regular file; what cannot be unpacked counts as one that cannot be read."""
        place = self.inner(path)
        if place is None or not self.comes(place):
            with super().open(path) as fd:
                yield fd
            return
        row = self._catalog.at(place, self._number)
        if row is None or row.entry.kind is not Kind.FILE:
            yield None
            return
        with contextlib.ExitStack() as stack:
            fd = None
            with contextlib.suppress(RollpointError, OSError):
                fd = stack.enter_context(self._contents.open(row)).fileno()
            yield fd

    def names(self, path: bytes) -> list[bytes]:
        """Return the names in a directory, as they will be."""
        place = self.inner(path)
        if place is None:
            return []
        of_point = {row.entry.name for row in self._catalog.children(self._number, place)}
        live = set(super().names(path))
        below = [os.path.join(place, n) if place else n for n in of_point | live]
        return sorted(os.path.basename(p) for p in below
                      if os.path.basename(p) in (of_point if self.comes(p) else live))

    def is_file(self, path: bytes) -> bool:
        """Whether a path leads to a regular file."""
        place = self.inner(path)
        if place is None or not self.comes(place):
            return super().is_file(path)
        row = self._catalog.at(place, self._number)
        return row is not None and row.entry.kind is Kind.FILE


def _within(path: bytes, tops: Sequence[bytes]) -> bool:
    return any(not top or path == top or path.startswith(top.rstrip(b"/") + b"/") for top in tops)
