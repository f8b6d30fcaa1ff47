"""What of a tree of changes is shown: a kind of change, a name, and which directories are open.

Nothing here loops over all rows for a key: `hidden` says for each node how many closed directories lie above it, and
opening or closing one shifts a run of that column by one, at the speed of a copy. A row is the n-th 0 in it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable
from itertools import accumulate, compress

from engine.entries import Status
from tui.changetree import DEEPEST, STATUSES, ChangeTree

_OUT = 255
"""In `hidden`: not part of this view."""
_MORE = bytes([*range(1, _OUT), _OUT - 1, _OUT])
_LESS = bytes([0, *range(_OUT - 1), _OUT])
_BLOCK = 1024
_OPEN_ALL = 200
"""A difference of so few nodes is shown with all its directories open."""


class TreeView:
    """A tree as it is shown. `opened` has a byte for each node of the tree, and is handed on from view to view, so
    that directories stay open when another kind of change is shown."""

    def __init__(self, tree: ChangeTree, opened: bytearray, statuses: Iterable[Status] | None = None,
                 mask: bytearray | None = None) -> None:
        self.tree = tree
        self.opened = opened
        self.status = tree.keep(statuses, mask)
        self.flat = array("I", compress(range(len(tree)), self.status))
        self._bytes = array("q", accumulate(self._weights(), initial=0))
        self._folders = array("I", (i for i, end in enumerate(tree.end) if end > i + 1))
        self._counted: dict[int, dict[Status, int]] = {}
        self.joined = bytearray(len(tree))
        everything = self._in_view()
        self._all_closed = self._closed(everything, tree.deep)     # made here: a key must not wait for it
        self.hidden = everything
        if mask is not None:
            self.open_all()     # what was searched for is to be seen
        else:
            self.hidden = self._closed(everything, opened)
            self._count()

    def _weights(self) -> Iterable[int]:
        tree, status = self.tree, self.status
        attrs, deleted = STATUSES.index(Status.ATTRS) + 1, STATUSES.index(Status.DELETED) + 1
        for code, old, new in zip(status, tree.old_size, tree.new_size, strict=True):
            size = old if code == deleted else new
            yield size if code and code != attrs and size > 0 else 0

    def _in_view(self) -> bytearray:
        """The column `hidden` with 0 for what changed and for the directories that lead there; a directory that leads
        to one other directory only is joined with it in one row."""
        tree = self.tree
        passed = array("I", accumulate((1 if code else 0 for code in self.status), initial=0))
        hidden = bytearray(self.status.translate(bytes([_OUT]) + bytes(255)))
        for node in self._folders:
            if passed[tree.end[node]] > passed[node]:
                hidden[node] = 0
        for node in self._folders:
            if hidden[node] or self.status[node]:
                continue
            child = hidden.find(0, node + 1)
            if node == 0 or (tree.end[child] > child + 1 and passed[tree.end[child]] == passed[tree.end[node]]
                             and child < tree.end[node]):
                self.joined[node] = 1
        for node in compress(self._folders, (self.joined[node] for node in self._folders)):
            hidden[node] = _OUT
        return hidden

    def _closed(self, everything: bytearray, opened: bytearray) -> bytearray:
        """The column `hidden`, from what it is when all directories are open."""
        hidden, end, joined = bytearray(everything), self.tree.end, self.joined
        for node in self._folders:
            if not opened[node] and not joined[node]:
                hidden[node + 1:end[node]] = hidden[node + 1:end[node]].translate(_MORE)
        return hidden

    def _count(self) -> None:
        """Count the rows in each block of nodes."""
        count, size = self.hidden.count, len(self.hidden)
        self._rows_before = list(accumulate(
            (count(0, at, min(size, at + _BLOCK)) for at in range(0, size, _BLOCK)), initial=0))
        self._last = (0, self.hidden.find(0))

    # --- rows ----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """How many rows there are."""
        return self._rows_before[-1]

    def node(self, row: int) -> int:
        """The node in a row. Neighbours of the row asked for last are found at once."""
        last_row, last_node = self._last
        if row == last_row + 1:
            node = self.hidden.find(0, last_node + 1)
        elif row == last_row:
            return last_node
        else:
            block = bisect_right(self._rows_before, row) - 1
            node = self.hidden.find(0, block * _BLOCK)
            for _ in range(row - self._rows_before[block]):
                node = self.hidden.find(0, node + 1)
        self._last = row, node
        return node

    def row(self, node: int) -> int:
        """The row of a node, or of the nearest row above where the node is in none."""
        while node > 0 and 0 < self.hidden[node] < _OUT:
            node = self.tree.parent[node]
        block = node // _BLOCK
        rows = self._rows_before[block] + self.hidden.count(0, block * _BLOCK, node + 1)
        return max(0, rows - 1)

    def depth(self, node: int) -> int:
        """How many rows lead to a node."""
        depth, parent = 0, self.tree.parent
        above = parent[node]
        while above >= 0:
            depth += not self.joined[above]
            above = parent[above]
        return depth

    def label(self, node: int) -> bytes:
        """The name in a node's row: with those of the directories that are joined with it."""
        parts = [self.tree.name(node)]
        above = self.tree.parent[node]
        while above > 0 and self.joined[above]:
            parts.append(self.tree.name(above))
            above = self.tree.parent[above]
        return b"/".join(reversed(parts))

    def parent(self, node: int) -> int | None:
        """The node of the row that leads to a node, None at the top."""
        above = self.tree.parent[node]
        while above >= 0 and self.joined[above]:
            above = self.tree.parent[above]
        return above if above >= 0 else None

    def counts(self, node: int) -> dict[Status, int]:
        """How many paths at and below a node changed in each way."""
        end = self.tree.end[node]
        if node not in self._counted:
            found = {status: self.status.count(code, node, end) for code, status in enumerate(STATUSES, 1)}
            if end - node < _BLOCK:
                return found
            self._counted[node] = found     # milliseconds each, and drawn again with every key
        return self._counted[node]

    def bytes(self, node: int) -> int:
        """The bytes that the changes at and below a node are about."""
        return self._bytes[self.tree.end[node]] - self._bytes[node]

    # --- opening and closing -------------------------------------------------------------------------------------

    def can_open(self, node: int) -> bool:
        """Whether something that is shown lies below a node, and whether it can be closed."""
        end = self.tree.end[node]
        if end == node + 1 or end - node - 1 == self.status.count(0, node + 1, end):
            return False
        return self.depth(node) < DEEPEST

    def is_open(self, node: int) -> bool:
        """Whether a directory's rows are shown."""
        return bool(self.opened[node])

    def toggle(self, node: int) -> None:
        """Open a directory, or close it."""
        if not self.can_open(node):
            return
        start, end = node + 1, self.tree.end[node]
        table = _MORE if self.opened[node] else _LESS
        self.opened[node] ^= 1
        self.hidden[start:end] = self.hidden[start:end].translate(table)
        self._count()

    def open_all(self) -> None:
        """Open every directory."""
        self.opened[:] = b"\1" * len(self.opened)
        self.hidden = self.hidden.translate(bytes(_OUT) + bytes([_OUT]))
        self._count()

    def close_all(self) -> None:
        """Close every directory that can be closed."""
        self.opened[:] = self.tree.deep
        self.hidden = bytearray(self._all_closed)
        self._count()


def first_opened(tree: ChangeTree) -> bytearray:
    """Return which directories are open at first: all of a small difference, none of a large one."""
    return bytearray(b"\1") * len(tree) if len(tree) <= _OPEN_ALL else bytearray(tree.deep)


def view_of(tree: ChangeTree, opened: bytearray, statuses: Iterable[Status] | None = None, words: str = "",
            stale: Callable[[], bool] = lambda: False) -> TreeView | None:
    """Return a tree with only some kinds of change and only paths that hold all the words; None when it got `stale`.

    A second or so for a million paths: for a worker. A search opens directories in its own view alone.
    """
    if not words.split():
        return TreeView(tree, opened, statuses)
    mask = tree.matching(words, stale)
    return None if mask is None or stale() else TreeView(tree, bytearray(len(tree)), statuses, mask)
