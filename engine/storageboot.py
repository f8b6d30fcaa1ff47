"""Will it boot after going back to a point that the storage keeps? The same verdict as for points of the replica
(engine/bootpieces.py), on the system as it will be: the opened point, with what stays of the live one around it.

Snapshots hold no boot sectors: those are, and stay, the ones that are there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from engine import bootpieces
from engine.backend import Opened
from engine.config import Config
from engine.machine.mounts import local_below, mounts
from engine.machine.tree import Tree
from engine.opentree import below
from engine.results import Finding
from engine.scopes import Scope
from engine.text import shown_path


class MixedTree(Tree):
    """The files of the live system at `root` as they will be once a scope of an opened point has come back. `scope` is
    fitted to the point; `stays` are the places where something else is mounted that the point does not hold, or that
    the scope leaves alone."""

    def __init__(self, root: bytes, opened: Opened, scope: Scope, stays: Sequence[bytes]) -> None:
        super().__init__(root)
        self._opened, self._scope, self._stays = opened.path, scope, tuple(stays)
        self._places = opened.places

    def comes(self, path: bytes) -> bool:
        """Whether a path comes from the point."""
        chosen = not self._scope.paths or any(below(path, top) for top in self._scope.paths)
        if not chosen or self._scope.spares(path):
            return False
        holder = max((p for p in (*self._places, *self._stays) if below(path, p)), key=len, default=None)
        return holder is not None and holder not in self._stays

    def _at(self, path: bytes) -> bytes:
        base = self._opened if self.comes(path) else self.root
        return os.path.join(base, path) if path else base

    def place(self, path: bytes) -> bytes | None:
        """Return where a path leads, all symbolic links followed inside the tree; None where there is nothing."""
        inner = self.inner(path)
        return None if inner is None else self._at(inner)

    def exists_as(self, path: bytes) -> tuple[bool, bytes | None]:
        """Return whether something has this name (links are not followed), and where a symbolic link leads."""
        return Tree(self._opened if self.comes(path) else self.root).exists_as(path)

    def names(self, path: bytes) -> list[bytes]:
        """Return the sorted names in a directory, as they will be."""
        inner = self.inner(path)
        if inner is None:
            return []
        found = set(Tree(self._opened).names(inner)) | set(Tree(self.root).names(inner))
        return sorted(name for name in found if self.exists_as(os.path.join(inner, name) if inner else name)[0])


def staying(root: bytes, scope: Scope) -> list[bytes]:
    """Return the places below the root at which something is mounted that a fitted scope does not touch."""
    found = {os.path.relpath(m.point, root) for m in mounts() if m.point != root and below(m.point, root.rstrip(b"/"))}
    return sorted(place for place in found if place not in scope.mounts)


def foresee(config: Config, opened: Opened, scope: Scope) -> Iterator[Finding]:
    """Yield whether the system will boot after a rollback of a fitted scope, where the rollback has to do with that."""
    root = os.path.realpath(os.fsencode(config.root))
    stays = staying(root, scope)
    then = MixedTree(root, opened, scope, stays)
    # The machine starts from what stays as much as from what comes back (a /boot of its own, for example).
    others = [place for place in local_below(root) if place in stays and bootpieces.matters((place,))]
    instead = ""
    if scope.paths or others or set(scope.but) - set(opened.holes):
        named = f" ({', '.join(map(shown_path, others))})" if others else ""
        instead = f"choose a point that goes with what stays{named}, or roll back less (--scope path=PATH)"
    yield from bootpieces.outlook(config, then, scope.paths, (), known=then.is_file(b"etc/fstab"), instead=instead)
