"""Looking into points that the storage keeps, under the names that `Engine` has for those of the replica.

Nothing here asks which storage it is: a point is opened as a directory by its backend, and the answers are read from
there. Points of the replica may be compared with them: those are opened too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import IO

from engine import backends, opentree, rollback, scopes, software, storageback
from engine.backend import Backend, Level, Opened
from engine.backends import Listing, Trouble
from engine.dispatch import REPLICA
from engine.entries import Change, Diff, Entry, Kind, Version
from engine.errors import RefusedError, RollpointError, UsageError
from engine.events import Job
from engine.machine.mounts import private_space
from engine.opentree import OpenTree, below
from engine.points import RestorePoint
from engine.replica import query
from engine.replica.layout import Store
from engine.replica.opened import open_point
from engine.results import (
    FileContent,
    Measure,
    Software,
)
from engine.scopes import Scope
from engine.session import Session, clean_errors
from engine.text import message, shown_path


class Looking(Session):
    """Points of one configuration that ZFS, LVM or btrfs keep. Every method raises RollpointError."""

    # --- which there are ---------------------------------------------------------------------------------------------

    def listing(self, kept: Sequence[RestorePoint] = (), *, only: str | None = None) -> Listing:
        """Return the points of all backends, or of one, and those `kept`, newest first."""
        with clean_errors():
            return backends.listing(self.config, kept, only=only)

    def named(self, backend: str, ident: str) -> RestorePoint:
        """Return a point by its backend and id, as it is now. Raises UsageError when it is gone."""
        with clean_errors():
            found = next((p for p in self.backend(backend).points() if p.id == ident), None)
        if found is None:
            raise UsageError(f"point {ident} is gone", hint="`rollpoint list` shows those there are")
        return found

    def backend(self, name: str) -> Backend:
        """Return a backend by its name."""
        return backends.get(self.config, name)

    def levels(self) -> tuple[list[Level], list[str], list[Trouble]]:
        """Return how full what the points live in is, what has begun and is not finished, and who cannot say."""
        levels: list[Level] = []
        pending: list[str] = []
        troubles = []
        for backend in backends.of(self.config):
            try:
                levels += backend.levels()
                pending += backend.pending()
            except RollpointError as error:
                troubles.append(Trouble(backend.name, message(error.message), message(error.hint)))
        return levels, pending, troubles

    # --- looking into one --------------------------------------------------------------------------------------------

    @contextmanager
    def opened(self, point: RestorePoint, job: Job | None = None) -> Iterator[Opened]:
        """Open a point of any backend as a directory."""
        with clean_errors(), ExitStack() as stack:
            if point.backend != REPLICA:
                yield stack.enter_context(self.backend(point.backend).open(point, job or Job()))
                return
            store, catalog = stack.enter_context(self._catalog())
            stack.enter_context(self._writing(store, "diff", Job()))
            space = stack.enter_context(private_space())
            inside = stack.enter_context(
                open_point(store, catalog, point, space, self.config.staging, job or Job()))
            yield Opened(space, space.outside(inside), inside, tuple(scopes.recorded(point)) or (b"",))

    @contextmanager
    def tree(self, point: RestorePoint, job: Job | None = None) -> Iterator[OpenTree]:
        """Open a point of any backend to ask it."""
        with self.opened(point, job) as opened:
            yield storageback.tree_of(opened, point.id)

    def listdir(self, point: RestorePoint, path: bytes = b"") -> list[Entry]:
        """Return what is in a directory of a point, by name; of anything else the entry itself."""
        with self.tree(point) as tree:
            return tree.listdir(path)

    def entry(self, point: RestorePoint, path: bytes) -> Entry:
        """Return the entry of a path in a point."""
        with self.tree(point) as tree:
            return tree.need(path)

    def find_in(self, point: RestorePoint, pattern: str) -> Iterator[Entry]:
        """Yield what fits a pattern in a point, in path order (see OpenTree.find)."""
        with self.tree(point) as tree:
            yield from tree.find(pattern)

    def content(self, point: RestorePoint, path: bytes, limit: int) -> FileContent | None:
        """Return the first `limit` bytes of a regular file of a point, and its size; None where there is none."""
        with self.tree(point) as tree, tree.open(path) as file:
            return None if file is None else FileContent(file.read(limit), os.fstat(file.fileno()).st_size)

    def measure(self, point: RestorePoint, paths: Sequence[bytes]) -> Measure:
        """Return how much some paths of a point are, with all below them."""
        with self.tree(point) as tree:
            return tree.measure(paths)

    @contextmanager
    def read(self, point: RestorePoint, path: bytes) -> Iterator[IO[bytes]]:
        """Open a regular file of a point for reading."""
        with self.tree(point) as tree:
            tree.need(path)
            with tree.open(path) as file:
                if file is None:
                    raise UsageError(f"{shown_path(path)} is no regular file in point {point.id}",
                                     hint="`rollpoint ls` shows what it is")
                yield file

    def history_in(self, backend: str, path: bytes) -> list[Version]:
        """Return the versions of a path over the points of a backend, the newest first. Each point is opened."""
        listed = self.listing(only=backend)
        if not listed.points and listed.troubles:
            raise RollpointError(f"{backend}: {listed.troubles[0].reason}", hint=listed.troubles[0].hint)
        found: list[Version] = []
        before: Entry | None = None
        for point in reversed([p for p in listed.points if _may_hold(p, path)]):
            with self.tree(point) as tree:
                entry = tree.at(path)
            if entry is not None and entry == before:
                found[-1] = replace(found[-1], last=point.id, points=found[-1].points + 1)
            elif entry is not None:
                found.append(Version(entry, point.id, point.id, False))
            before = entry
        if not found:
            raise UsageError(f"{shown_path(path)} is in no point of {backend}", hint="check the path")
        if before is not None:
            found[-1] = replace(found[-1], current=True)
        return found[::-1]

    # --- differences -------------------------------------------------------------------------------------------------

    def changes(self, older: RestorePoint, newer: RestorePoint | None, paths: Sequence[bytes] = (),
                job: Job | None = None) -> Iterator[Change]:
        """Yield what changed from one point to another, or to the live tree (None), in walk order; between two points
        as far as both hold it."""
        if newer is None:
            yield from self._live_changes(older, paths, job or Job())
            return
        with self.tree(older, job) as old, self.tree(newer, job) as new:
            apart = set(old.places) ^ set(new.places)
            common = [place for place in old.places if place in new.places]
            if not common:
                raise UsageError(f"points {older.id} and {newer.id} have nothing in common: they are of "
                                 f"{_places(old)} and of {_places(new)}", hint="compare points of the same volumes")
            tops = scopes.outermost([p for p in paths if any(below(p, c) for c in common)] + [
                c for c in common if any(below(c, p) for p in paths)]) if paths else scopes.outermost(common)

            def wanted(path: bytes) -> bool:
                return not any(place and below(path, place) for place in apart) and not any(
                    below(path, hole) for hole in (*old.holes, *new.holes))

            yield from opentree.changes(old, new, tops, wanted, contents=self.config.compare_checksums)

    def _live_changes(self, point: RestorePoint, paths: Sequence[bytes], job: Job) -> Iterator[Change]:
        must_be_mounted(point)
        scope = Scope(paths=scopes.outermost(paths) if paths and b"" not in paths else ())
        with self.opened(point, job) as opened:
            scope = storageback.fitted(scope, opened)
            found = storageback.differences(self.config, self._perhaps_store(), scope, opened, point.id, job)
        yield from rollback.inverted(Diff("live", point.id, tuple(found))).changes

    def diff(self, older: RestorePoint, newer: RestorePoint | None, paths: Sequence[bytes] = (),
             job: Job | None = None) -> Diff:
        """Return what changed from one point to another, or to the live tree (None)."""
        return Diff(older.id, newer.id if newer else "live", tuple(self.changes(older, newer, paths, job)))

    def change(self, older: RestorePoint, newer: RestorePoint | None, path: bytes) -> Change | None:
        """Return how one path (and not what is below it) changed, None where it did not."""
        with self.tree(older) as old, self._newer(newer) as new:
            return opentree.judge(old, new, path, contents=self.config.compare_checksums)

    def software(self, older: RestorePoint, newer: RestorePoint | None) -> Software:
        """Return in words what became of packages (dpkg, rpm, pacman) and kernels."""
        with self.tree(older) as old, self._newer(newer) as new:
            return software.compare(old, new)

    def file_diff(self, older: RestorePoint, newer: RestorePoint | None, path: bytes) -> list[str]:
        """Return the unified difference of one file as lines (surrogate-escaped text)."""
        with self.tree(older) as old, self._newer(newer) as new:
            before, after = _whole(old, path), _whole(new, path)
        if before is None and after is None:
            raise UsageError(f"{shown_path(path)} is on neither side", hint="check the path")
        return query.unified(before or b"", after or b"", path, older.id, newer.id if newer else "live")

    @contextmanager
    def _newer(self, newer: RestorePoint | None) -> Iterator[OpenTree]:
        with nullcontext(OpenTree(os.path.realpath(os.fsencode(self.config.root)), "live")) if newer is None else \
                self.tree(newer) as tree:
            yield tree

    # --- helpers -----------------------------------------------------------------------------------------------------

    def _perhaps_store(self) -> Store | None:
        """Return the store, None where there is none: snapshots need none."""
        there = os.path.lexists(os.path.join(os.fsencode(self.config.store), b"store.yaml"))
        return self._store if there else None

    def _protected(self) -> dict[str, str]:
        store = self._perhaps_store()
        return rollback.protected(store) if store is not None else {}

    def _note(self, verb: str, subject: str, result: str, detail: str = "") -> None:
        if self._perhaps_store() is not None:
            self._audit(self._store, verb, subject, result, detail)


def _places(tree: OpenTree) -> str:
    return ", ".join(map(shown_path, tree.places))


def _may_hold(point: RestorePoint, path: bytes) -> bool:
    return any(part.place is not None and below(path, part.place) for part in point.parts)


def must_be_mounted(point: RestorePoint) -> None:
    """Raise RefusedError for a point of which nothing is mounted: there is nothing to compare it with."""
    if not any(part.place is not None for part in point.parts):
        raise RefusedError(f"nothing that point {point.id} is of is mounted below the root",
                           hint="mount it there, or copy files out with `rollpoint restore`")


def _whole(tree: OpenTree, path: bytes) -> bytes | None:
    entry = tree.at(path)
    if entry is not None and entry.kind is not Kind.FILE:
        raise RollpointError(f"{shown_path(path)} is no regular file in {tree.name}")
    with tree.open(path) as file:
        return None if file is None else file.read()

