"""A difference as a tree, in columns: a million changed paths take some 50 bytes each, and no Python object.

Nodes are numbered in walk order, so what is below node `i` is the run `i + 1` to `end[i]`; counts over a directory
are counts over a run of bytes. Directories that did not change themselves are nodes too, without a status.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property, lru_cache
from itertools import compress

from engine.entries import Change, Entry, Kind, Status
from engine.text import printable

STATUSES = tuple(Status)
KINDS = tuple(Kind)
WORDS = ("content", "size", "mtime", "mode", "owner", "group", "xattrs", "acl", "target", "device", "links", "type")
_CODES = {status: code for code, status in enumerate(STATUSES, 1)}
_KIND_CODES = {kind: code for code, kind in enumerate(KINDS)}
_BITS = {word: 1 << bit for bit, word in enumerate(WORDS)}
DEEPEST = 250
"""Directories from this depth on cannot be closed: a view counts the closed ones above a node in one byte."""
_MANY, _RUN = 20_000, 65_536


def walk_key(path: bytes) -> bytes:
    """Return what paths are in walk order by: a directory, all that is below it, then its next neighbour."""
    return path.replace(b"/", b"\0")


class ChangeTree:
    """The columns. `status` has 0 for a directory that only leads to changes, else the place in `STATUSES` plus 1;
    `old_size` and `new_size` are bytes of regular files, -1 where the side has none."""

    def __init__(self) -> None:
        self.parent = array("i")
        self.end = array("i")
        self.status = bytearray()
        self.kind = bytearray()
        self.what = array("H")
        self.old_size = array("q")
        self.new_size = array("q")
        self.names = bytearray()        # each name with a NUL before it, and one behind the last
        self.name_at = array("I")
        self._search: tuple[bytes, array[int]] | None = None

    @classmethod
    def of(cls, changes: Iterable[Change]) -> ChangeTree:
        """Return the tree of changes that come in walk order (`walk_key`); raises ValueError where they do not."""
        tree = cls()
        tree._add(-1, b"", 0, Kind.DIR)
        # The directories that lead to the last node: paths and nodes. What changed last joins them once it is seen
        # that something lies below it.
        chain: list[tuple[bytes, int]] = [(b"", 0)]
        last, last_node, last_key = b"", 0, b""
        for change in changes:
            path, key = change.path, walk_key(change.path)
            if not path:
                tree._describe(0, change)
                continue
            if key <= last_key:
                raise ValueError(f"changes are not in walk order at {path!r}")
            folder, _, name = path.rpartition(b"/")
            if folder != chain[-1][0]:
                if last and path.startswith(last + b"/"):
                    chain.append((last, last_node))
                tree._descend(chain, folder)
            last, last_node, last_key = path, len(tree.status), key
            tree._add(chain[-1][1], name, 0, Kind.FILE)
            tree._describe(last_node, change)
        while chain:
            tree.end[chain.pop()[1]] = len(tree)
        tree.names += b"\0"
        tree.name_at.append(len(tree.names))
        return tree

    def _descend(self, chain: list[tuple[bytes, int]], folder: bytes) -> None:
        """Leave the directories that do not lead to `folder`, and go down to it."""
        while chain[-1][0] not in (b"", folder) and not folder.startswith(chain[-1][0] + b"/"):
            self.end[chain.pop()[1]] = len(self)
        while chain[-1][0] != folder:
            above, node = chain[-1]
            step = folder[len(above) + bool(above):].partition(b"/")[0]
            chain.append((above + b"/" * bool(above) + step, len(self)))
            self._add(node, step, 0, Kind.DIR)

    def _add(self, parent: int, name: bytes, status: int, kind: Kind) -> None:
        self.parent.append(parent)
        self.end.append(len(self.status) + 1)
        self.status.append(status)
        self.kind.append(_KIND_CODES[kind])
        self.what.append(0)
        self.old_size.append(-1)
        self.new_size.append(-1)
        self.names += b"\0"
        self.name_at.append(len(self.names))
        self.names += name

    def _describe(self, node: int, change: Change) -> None:
        self.status[node] = _CODES[change.status]
        self.kind[node] = _KIND_CODES[change.kind]
        self.old_size[node], self.new_size[node] = _size(change.old), _size(change.new)
        self.what[node] = _bits(change.what)

    def __len__(self) -> int:
        return len(self.status)

    @property
    def counts(self) -> dict[Status, int]:
        """How many paths changed in each way."""
        return {status: self.status.count(code) for status, code in _CODES.items()}

    @property
    def changes(self) -> int:
        """How many paths changed."""
        return len(self.status) - self.status.count(0)

    @cached_property
    def deep(self) -> bytearray:
        """For each node whether it lies so deep (`DEEPEST`) that it always stays open."""
        depth, found = array("H"), bytearray(len(self))
        for node, parent in enumerate(self.parent):
            depth.append(depth[parent] + 1 if parent >= 0 else 0)
            found[node] = depth[node] >= DEEPEST
        return found

    # --- one node ------------------------------------------------------------------------------------------------

    def name(self, node: int) -> bytes:
        """The last component of a node's path."""
        return bytes(self.names[self.name_at[node]:self.name_at[node + 1] - 1])

    def path(self, node: int) -> bytes:
        """The path of a node."""
        parts = []
        while node > 0:
            parts.append(self.name(node))
            node = self.parent[node]
        return b"/".join(reversed(parts))

    def find(self, path: bytes) -> int | None:
        """Return the node of a path, None where nothing changed at or below it."""
        node = 0
        for name in path.split(b"/") if path else ():
            child, end = node + 1, self.end[node]
            while child < end and self.name(child) != name:
                child = self.end[child]
            if child >= end:
                return None
            node = child
        return node

    def status_of(self, node: int) -> Status | None:
        """What happened to a node itself, None where only something below it changed."""
        code = self.status[node]
        return STATUSES[code - 1] if code else None

    def kind_of(self, node: int) -> Kind:
        """The kind of the newer entry, or of the older one when there is no newer."""
        return KINDS[self.kind[node]]

    def what_of(self, node: int) -> tuple[str, ...]:
        """What differs about a node (see `engine.entries.Change`)."""
        bits = self.what[node]
        return tuple(word for word in WORDS if bits & _BITS[word])

    def has_children(self, node: int) -> bool:
        """Whether something below it changed."""
        return self.end[node] > node + 1

    def size(self, node: int) -> int:
        """The size of a regular file, of the older one where there is no newer; -1 for everything else."""
        return (self.old_size if self.status[node] == _CODES[Status.DELETED] else self.new_size)[node]

    # --- by name -------------------------------------------------------------------------------------------------

    def matching(self, words: str, stale: Callable[[], bool] = lambda: False) -> bytearray | None:
        """Return for each node 1 where its shown path holds every one of the words, case ignored, else 0.

        None when `stale` said meanwhile that nobody wants to know any more.
        """
        wanted = words.lower().split()
        found = (1 << (8 * len(self))) - 1 if not wanted else None
        for word in wanted:
            mask = self._having(word, stale)
            if mask is None:
                return None
            bits = int.from_bytes(mask, "little")
            found = bits if found is None else found & bits
        if not wanted:
            return bytearray(b"\1") * len(self)
        return bytearray((found or 0).to_bytes(len(self), "little"))

    def _having(self, word: str, stale: Callable[[], bool]) -> bytearray | None:
        """Where the path holds one word: found in a name, it holds for everything below. A word with a slash in it
        must begin where a name ends and end where a name begins."""
        *above, wanted = word.encode("utf-8", "surrogatepass").split(b"/")
        mask = bytearray(len(self))
        # "ssh/" is all that is below a directory whose name ends so.
        below = bool(above) and not wanted
        if below:
            wanted = above.pop()
        before = b"\0" if above else b""
        after = b"\0" if below else b""
        for turn, node in enumerate(self._named(before + wanted + after)):
            if not mask[node] and self._leads(node, above):
                end, start = self.end[node], node + below
                mask[start:end] = b"\1" * (end - start)
            if turn % 20_000 == 19_999 and stale():
                return None
        return mask

    def _named(self, needle: bytes) -> Iterator[int]:
        """The nodes in whose name (as it is shown, between two NULs) something is found."""
        text, at = self._searched()
        if text.count(needle) < _MANY:
            place = text.find(needle)
            while place >= 0:
                node = bisect_right(at, place + needle.startswith(b"\0")) - 1
                yield node
                if node + 1 >= len(self):
                    return
                place = text.find(needle, at[node + 1] - 1)
            return
        for first in range(0, len(self), _RUN):     # one by one this would take seconds
            past = min(len(self), first + _RUN)
            names = text[at[first]:at[past] - 1].split(b"\0")
            yield from compress(range(first, past), (needle in b"\0" + name + b"\0" for name in names))

    def _leads(self, node: int, above: list[bytes]) -> bool:
        """Whether the names above a node are those of a word: the first needs only end so."""
        text, at = self._searched()
        for index in range(len(above) - 1, -1, -1):
            node = self.parent[node]
            if node < 0:
                return False
            name = text[at[node]:at[node + 1] - 1]
            if not (name.endswith(above[index]) if index == 0 else name == above[index]):
                return False
        return True

    def _searched(self) -> tuple[bytes, array[int]]:
        """All names as they are shown, in lower case, and where each begins. Made when first asked for."""
        if self._search is None:
            raw = bytes(self.names)
            if raw.isascii() and b"\\" not in raw and not raw.translate(None, bytes(range(32, 127)) + b"\0"):
                self._search = raw.lower(), self.name_at
            else:
                shown, at = bytearray(), array("I")
                for node in range(len(self)):
                    shown += b"\0"
                    at.append(len(shown))
                    shown += printable(self.name(node)).lower().encode()
                shown += b"\0"
                at.append(len(shown))
                self._search = bytes(shown), at
        return self._search

    def keep(self, statuses: Iterable[Status] | None, mask: bytearray | None) -> bytearray:
        """Return the status column with 0 where a change is of another kind than wanted, or where the mask has 0."""
        table = bytearray(256)
        for status in STATUSES if statuses is None else statuses:
            table[_CODES[status]] = _CODES[status]
        found = self.status.translate(bytes(table))
        if mask is None:
            return found
        wide = int.from_bytes(mask.translate(b"\0" + b"\xff" * 255), "little")
        return bytearray((int.from_bytes(found, "little") & wide).to_bytes(len(found), "little"))

    def below(self, path: bytes) -> list[int]:
        """Return the nodes that changed at or below a path."""
        node = self.find(path)
        if node is None:
            return []
        return list(compress(range(node, self.end[node]), self.status[node:self.end[node]]))


@lru_cache(maxsize=4096)
def _bits(what: tuple[str, ...]) -> int:
    return sum({_BITS.get(word, 0) for word in what})


def _size(entry: Entry | None) -> int:
    return entry.size if entry is not None and entry.kind is Kind.FILE else -1
