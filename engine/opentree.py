"""Questions about a point that lies open as a directory, whoever keeps it.

What is asked of the catalog for points of the replica is asked of the tree itself here; the answers are of the same
types. Symbolic links are never followed: they are the other machine's, or another time's.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO

from engine.entries import Change, Entry, Kind, compare
from engine.errors import UsageError
from engine.replica.disk import behind_link, read_entry, same_data
from engine.results import Measure
from engine.text import shown_path

Info = os.stat_result


@dataclass(frozen=True)
class OpenTree:
    """A tree that lies open at `path`. `name` is that of the point, or ``live``; `places` are the mount points that it
    really holds (b"" for a whole system), `holes` directories in it that stand for something that it does not hold."""

    path: bytes
    name: str
    places: tuple[bytes, ...] = (b"",)
    holes: frozenset[bytes] = frozenset()

    def holds(self, path: bytes) -> bool:
        """Whether a path is part of the point, or on the way to one of its parts."""
        if any(below(path, hole) for hole in self.holes):
            return False
        return any(below(path, place) or below(place, path) for place in self.places)

    def at(self, path: bytes) -> Entry | None:
        """Return what is at a path, None where there is nothing. Names of one file have the same `link`."""
        full = os.path.join(self.path, path) if path else self.path
        if not self.holds(path) or behind_link(self.path, path, {}):
            return None
        try:
            info = os.lstat(full)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return self._entry(path, info)

    def need(self, path: bytes) -> Entry:
        """Return what is at a path. Raises UsageError where there is nothing."""
        entry = self.at(path)
        if entry is None:
            raise UsageError(f"{shown_path(path)} is not in point {self.name}", hint="`rollpoint ls` shows what it has")
        return entry

    def _entry(self, path: bytes, info: Info) -> Entry:
        linked = info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode)
        return read_entry(os.path.join(self.path, path) if path else self.path, path, info,
                          link=info.st_ino if linked else None)

    def listdir(self, path: bytes) -> list[Entry]:
        """Return what is in a directory, by name; of anything else the entry itself."""
        entry = self.need(path)
        if entry.kind is not Kind.DIR:
            return [entry]
        return [self._entry(child, info) for child, info in self._children(path)]

    def _children(self, path: bytes) -> list[tuple[bytes, Info]]:
        """Return (path, lstat) of what is in a directory, by name, without holes and what is on the way to nothing."""
        prefix = path + b"/" if path else b""
        try:
            with os.scandir(os.path.join(self.path, path) if path else self.path) as listing:
                found = sorted((prefix + item.name, item.stat(follow_symlinks=False)) for item in listing)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [(child, info) for child, info in found if self.holds(child)]

    def walk(self, top: bytes = b"") -> Iterator[Entry]:
        """Yield what is at a path and below it: a directory before what is in it, names in byte order."""
        entry = self.need(top)
        yield entry
        stack = [iter(self._children(top))] if entry.kind is Kind.DIR else []
        while stack:
            for path, info in stack[-1]:
                yield self._entry(path, info)
                if stat.S_ISDIR(info.st_mode):
                    stack.append(iter(self._children(path)))
                    break
            else:
                stack.pop()

    def measure(self, paths: Sequence[bytes]) -> Measure:
        """Return how much some paths are, with all below them."""
        entries = size = 0
        for path in paths:
            for entry in self.walk(path):
                entries, size = entries + 1, size + entry.size
        return Measure(entries, size)

    def find(self, pattern: str) -> Iterator[Entry]:
        """Yield what fits a pattern, in path order: with ``*``, ``?`` or ``[`` a shell pattern for the name, or for the
        whole path when it holds a slash; otherwise it is looked for anywhere in the path."""
        raw = os.fsencode(pattern)
        if re.search(rb"[*?\[]", raw):
            whole = b"/" in raw
            match = re.compile(fnmatch.translate(raw.decode("latin-1")).encode("latin-1"), re.DOTALL).match
        else:
            whole, match = True, re.compile(re.escape(raw)).search
        for entry in self.walk():
            if entry.path and match(b"/" + entry.path if whole else entry.name):
                yield entry

    # --- as packages.Files

    @contextmanager
    def open(self, path: bytes) -> Iterator[IO[bytes] | None]:
        """Open a regular file for reading; None where there is none."""
        entry = self.at(path)
        if entry is None or entry.kind is not Kind.FILE:
            yield None
            return
        with open(os.path.join(self.path, path), "rb") as file:
            yield file

    def names(self, path: bytes) -> list[bytes]:
        """Return the names in a directory."""
        entry = self.at(path)
        return [os.path.basename(p) for p, _ in self._children(path)] if entry and entry.kind is Kind.DIR else []


def below(path: bytes, place: bytes) -> bool:
    """Whether a path is a place or lies in it."""
    return not place or path == place or path.startswith(place + b"/")


# --- differences -----------------------------------------------------------------------------------------------------


def changes(old: OpenTree, new: OpenTree, tops: Sequence[bytes], wanted: Callable[[bytes], bool], *,
            contents: bool = False) -> Iterator[Change]:
    """Yield what changed from one tree to the other at and below the paths `tops`, in walk order, as far as `wanted`
    says; what is not wanted is not gone into. With `contents` every file is compared byte by byte, else those that have
    the same size and time are taken to be the same."""
    for top in sorted(tops, key=lambda p: p.replace(b"/", b"\0")):
        queue: list[tuple[bytes, Info | None, Info | None]] = [(top, _info(old, top), _info(new, top))]
        while queue:
            path, before, after = queue.pop()
            if (before is None and after is None) or not wanted(path):
                continue
            if before is None or after is None or not _untouched(before, after, contents):
                change = judge(old, new, path, contents=contents)
                if change is not None:
                    yield change
            children: dict[bytes, list[Info | None]] = {}
            for side, (tree, info) in enumerate(((old, before), (new, after))):
                if info is not None and stat.S_ISDIR(info.st_mode):
                    for child, found in tree._children(path):
                        children.setdefault(child, [None, None])[side] = found
            queue += [(child, *children[child]) for child in sorted(children, reverse=True)]  # type: ignore[misc]


def judge(old: OpenTree, new: OpenTree, path: bytes, *, contents: bool = False) -> Change | None:
    """Return how one path changed from a tree to another, None where it did not. Files of the same size with different
    times are read: perhaps only the time changed; with `contents` those of the same time too."""
    before, after = old.at(path), new.at(path)
    change = compare(before and replace(before, link=None), after and replace(after, link=None))
    if before is None or after is None or before.kind is not Kind.FILE or after.kind is not Kind.FILE:
        return change
    if before.size != after.size or not (contents or before.mtime != after.mtime):
        return change
    same = same_data(os.path.join(old.path, path), os.path.join(new.path, path))
    before, after = replace(before, link=None), replace(after, link=None)
    change = compare(replace(before, csum=b"same"), replace(after, csum=b"same" if same else b"other"))
    return replace(change, old=before, new=after) if change is not None else None


def _info(tree: OpenTree, path: bytes) -> Info | None:
    if not tree.holds(path) or behind_link(tree.path, path, {}):
        return None
    try:
        return os.lstat(os.path.join(tree.path, path) if path else tree.path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _untouched(one: Info, other: Info, contents: bool) -> bool:
    """Whether two entries are one that nobody has touched since a snapshot: the same inode with the same time of
    change, which no program can set."""
    return not contents and (
        (one.st_ino, one.st_ctime_ns, one.st_mtime_ns, one.st_size, one.st_mode, one.st_uid, one.st_gid, one.st_nlink)
        == (other.st_ino, other.st_ctime_ns, other.st_mtime_ns, other.st_size, other.st_mode, other.st_uid,
            other.st_gid, other.st_nlink))
