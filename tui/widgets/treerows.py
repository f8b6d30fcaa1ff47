"""The rows of a tree of changes: counts and bytes of a directory, what happened to a path, its size, its name."""

from __future__ import annotations

from bisect import bisect_left

from engine.entries import Kind, Status
from engine.text import printable
from tui.text import Segment, count, fit, path, size
from tui.treeview import TreeView
from tui.widgets.changerows import KINDS, LOOKS, PAST
from tui.widgets.rows import Row

_INDENT = 2
_SHOWN_DEPTH = 30
"""Deeper names are not moved further to the right: they would leave the screen."""
_GROUPS: tuple[tuple[str, str, tuple[Status, ...]], ...] = (
    ("+", "good", (Status.CREATED,)), ("M", "warn", (Status.CHANGED, Status.TYPE)), ("a", "dim", (Status.ATTRS,)),
    ("-", "bad", (Status.DELETED,)))
"""What is counted for a directory, and how it is shown."""


class TreeRows:
    """A `RowSource` over a view of a tree; `flat` lists the changed paths alone, each whole."""

    def __init__(self, view: TreeView, *, flat: bool = False) -> None:
        self.view = view
        self.flat = flat

    def __len__(self) -> int:
        return len(self.view.flat) if self.flat else len(self.view)

    def node(self, row: int) -> int | None:
        """The node in a row, None beyond the end."""
        if not 0 <= row < len(self):
            return None
        return self.view.flat[row] if self.flat else self.view.node(row)

    def row_of(self, node: int) -> int:
        """The row of a node, or one near it."""
        if not self.flat:
            return self.view.row(node)
        return bisect_left(self.view.flat, node)

    def heading(self, width: int) -> Row | None:
        """Column titles."""
        counts, sizes, what = _widths(width)
        line = " " + fit("Change", counts)
        line += "  " + fit("Size", sizes, right=True) if sizes else ""
        line += "  " + fit("What", what) if what else ""
        return [(fit(f"{line}  Path", width), "head")]

    def selectable(self, index: int) -> bool:
        """All rows are."""
        return True

    def row(self, index: int, width: int) -> Row:
        """One path."""
        node = self.node(index)
        assert node is not None
        tree, status = self.view.tree, self.view.status[node]
        counts, sizes, what = _widths(width)
        folder = not self.flat and self.view.can_open(node)
        parts: list[Segment] = [(" ", "")]
        parts += self._counts(node, counts, folder=folder)
        if sizes:
            number = (self.view.bytes(node) or -1) if folder else tree.size(node)
            parts.append(("  " + fit(size(number) if number >= 0 else "", sizes, right=True), "dim"))
        if what:
            parts.append(("  " + fit(" ".join(tree.what_of(node)) if status else "", what), "dim"))
        own = tree.status_of(node) if status else None
        return [*parts, *self._name(node, width - sum(len(text) for text, _ in parts), own, folder=folder)]

    def _counts(self, node: int, width: int, *, folder: bool) -> list[Segment]:
        """What happened to a path; for a directory how often below it, its own letter first."""
        own = self.view.tree.status_of(node) if self.view.status[node] else None
        if not folder:
            return [(fit(own.value if own else "", width), LOOKS[own] if own else "")]
        found = self.view.counts(node)
        parts: list[Segment] = []
        used = 0
        for sign, look, statuses in _GROUPS:
            number = sum(found[s] for s in statuses)
            if number:
                text = ("" if not parts else " ") + sign + (str(number) if number < 100_000 else f"{number // 1000}k")
                parts.append((text, look))
                used += len(text)
        if used > width:
            total = sum(found.values())
            return [(fit(f"{count(total)}", width), "warn")]
        return [*parts, (" " * (width - used), "")]

    def _name(self, node: int, width: int, own: Status | None, *, folder: bool) -> list[Segment]:
        tree = self.view.tree
        look = "strong" if folder and own in (None, Status.ATTRS) else LOOKS[own] if own else ""
        slash = "/" if tree.kind_of(node) is Kind.DIR and node else ""
        if self.flat:
            return [("  " + fit(path(tree.path(node)) + slash, max(1, width - 3), keep_end=True), look)]
        mark = ("v " if self.view.is_open(node) else "> ") if folder else "  "
        indent = "  " + " " * (_INDENT * min(self.view.depth(node), _SHOWN_DEPTH, max(0, width // 5)))
        label = printable(self.view.label(node)) + slash if node else "/"
        return [(indent + mark, "dim"), (fit(label, max(1, width - len(indent) - 3), keep_end=bool(slash)), look)]


def _widths(width: int) -> tuple[int, int, int]:
    """Room for what happened, for the size, and for the words, 0 where there is none."""
    if width < 50:
        return 6, 0, 0
    return (18, 8, 20) if width >= 110 else (16, 8, 0)


def describe_node(view: TreeView, node: int) -> list[Segment]:
    """Return a node in words, from the columns alone: for the line under the list."""
    tree = view.tree
    own = tree.status_of(node) if view.status[node] else None
    slash = "/" if tree.kind_of(node) is Kind.DIR and node else ""
    parts: list[Segment] = [(path(tree.path(node)) + slash, "strong")]
    if own is not None:
        parts.append((f"   {KINDS[tree.kind_of(node)]} {PAST[own]}", ""))
    if view.can_open(node):
        found = view.counts(node)
        words = [f"{count(sum(found[s] for s in statuses))} {word}" for word, statuses in (
            ("created", (Status.CREATED,)), ("changed", (Status.CHANGED, Status.TYPE)),
            ("with other attributes", (Status.ATTRS,)), ("deleted", (Status.DELETED,)))
            if sum(found[s] for s in statuses)]
        parts.append((f"   {', '.join(words)}", "dim"))
        if view.bytes(node):
            parts.append((f"   {size(view.bytes(node))}", "dim"))
    return parts
