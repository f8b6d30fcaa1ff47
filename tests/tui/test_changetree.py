"""The tree of a difference, without a screen: against a slow and simple model of it, and a million paths."""

from __future__ import annotations

import random
import resource
from collections.abc import Iterator

import pytest

from engine.entries import Change, Kind, Status
from engine.text import shown_path
from tests.tui.fake_engine import entry
from tests.tui.fake_tree import HOSTILE
from tui.changetree import ChangeTree, walk_key
from tui.treeview import TreeView, first_opened, view_of

NAMES = (b"a", b"b", b"ab", b"etc", b"ssh", b"x.conf", b"Caf\xc3\xa9", b"caf\xe9", b"back\\slash", b"a b", b"-", b"a.b")


def made(path: bytes, status: Status = Status.CREATED, size: int = 10, kind: Kind = Kind.FILE) -> Change:
    """A change of a path."""
    old = None if status is Status.CREATED else entry(path, size + 1, kind)
    new = None if status is Status.DELETED else entry(path, size, kind)
    return Change(path, status, old, new, ("content", "size") if status is Status.CHANGED else ())


def some(seed: int, count: int = 60) -> list[Change]:
    """Random changes in walk order."""
    dice = random.Random(seed)
    names = NAMES + HOSTILE[:6]
    paths = {b"/".join(dice.choice(names) for _ in range(dice.randrange(1, 6))) for _ in range(count)}
    return [made(path, dice.choice(list(Status)), dice.randrange(5000)) for path in sorted(paths, key=walk_key)]


class Model:
    """The same tree as nested loops over paths."""

    def __init__(self, changes: list[Change], keep: set[bytes]) -> None:
        self.all = {b"/".join(c.path.split(b"/")[:n]) for c in changes for n in range(1, c.path.count(b"/") + 2)}
        self.keep = keep
        self.shown = {b"/".join(p.split(b"/")[:n]) for p in keep for n in range(1, p.count(b"/") + 2)}

    def children(self, path: bytes, among: set[bytes]) -> list[bytes]:
        start = path + b"/" if path else b""
        return sorted((p for p in among if p.startswith(start) and p != path and b"/" not in p[len(start):]),
                      key=walk_key)

    def rows(self, opened: set[bytes], path: bytes = b"", depth: int = 0) -> list[tuple[int, bytes, bytes]]:
        """Depth, label and path of each row."""
        found = []
        for child in self.children(path, self.shown):
            end = child
            while end not in self.keep:
                below = self.children(end, self.shown)
                if len(below) != 1 or not self.children(below[0], self.all):
                    break
                end = below[0]
            found.append((depth, end[len(path) + bool(path):], end))
            if end in opened:
                found += self.rows(opened, end, depth + 1)
        return found


def rows_of(view: TreeView) -> list[tuple[int, bytes, bytes]]:
    """What a view shows, in the same form."""
    nodes = [view.node(row) for row in range(len(view))]
    return [(view.depth(n), view.label(n), view.tree.path(n)) for n in nodes]


@pytest.mark.parametrize("seed", range(25))
def test_rows_are_those_of_the_model_however_directories_are_opened(seed: int) -> None:
    dice = random.Random(seed)
    changes = some(seed)
    tree = ChangeTree.of(changes)
    assert tree.changes == len(changes)
    opened = bytearray(len(tree))
    for kinds in (None, (Status.CREATED,), (Status.DELETED, Status.ATTRS)):
        keep = {c.path for c in changes if kinds is None or c.status in kinds}
        model, view = Model(changes, keep), TreeView(tree, opened, kinds)
        for _ in range(30):
            names = {tree.path(n) for n in range(len(tree)) if view.opened[n]}
            expected = model.rows(names)
            assert rows_of(view) == expected
            order = list(range(len(view)))
            dice.shuffle(order)
            assert all(view.row(view.node(row)) == row for row in order)
            folders = [n for n in range(len(tree)) if view.can_open(n) and view.hidden[n] == 0]
            if not folders:
                break
            view.toggle(dice.choice(folders))
        view.open_all()
        assert rows_of(view) == model.rows(model.all)
        view.close_all()
        assert rows_of(view) == model.rows(set())
        assert [tree.path(n) for n in view.flat] == sorted(keep, key=walk_key)


@pytest.mark.parametrize("seed", range(10))
def test_counts_and_bytes_are_those_of_what_lies_below(seed: int) -> None:
    changes = some(seed)
    tree = ChangeTree.of(changes)
    view = TreeView(tree, bytearray(len(tree)), (Status.CREATED, Status.DELETED, Status.ATTRS))
    for node in range(len(tree)):
        path = tree.path(node)
        below = [c for c in changes if c.status in (Status.CREATED, Status.DELETED, Status.ATTRS)
                 and (c.path == path or not path or c.path.startswith(path + b"/"))]
        assert view.counts(node) == {s: sum(1 for c in below if c.status is s) for s in Status}
        entries = [c.new or c.old for c in below if c.status is not Status.ATTRS]
        assert view.bytes(node) == sum(e.size for e in entries if e is not None)
        assert tree.find(path) == node
    by_path = {c.path: c for c in changes}
    for node in range(len(tree)):
        change = by_path.get(tree.path(node))
        assert tree.status_of(node) is (change.status if change else None)
        assert tree.what_of(node) == (change.what if change else ())
    assert tree.find(b"no/such") is None


@pytest.mark.parametrize("words", ["", "a", "AB", "etc ssh", "etc/ssh", "tc/ss", "/etc", "ssh/", "c/ssh/x", "/",
                                   "\\xe9", "caf\u00c9", "back\\\\", "a b", "x1b[2j", "]alarm", "zz", "conf/", "a/b/a"])
def test_a_search_finds_what_is_shown(words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(6):
        changes = some(seed, 120)
        for many in (20_000, 1):
            monkeypatch.setattr("tui.changetree._MANY", many)
            monkeypatch.setattr("tui.changetree._RUN", 7)
            tree = ChangeTree.of(changes)
            view = view_of(tree, bytearray(len(tree)), None, words)
            assert view is not None
            expected = [c.path for c in changes if all(w in shown_path(c.path).lower() for w in words.lower().split())]
            assert [tree.path(n) for n in view.flat] == expected
            if words.split():
                assert rows_of(view) == Model(changes, set(expected)).rows(Model(changes, set(expected)).all)


def test_a_search_that_nobody_waits_for_ends() -> None:
    tree = ChangeTree.of(made(b"d/%05d" % i) for i in range(30_000))
    assert view_of(tree, bytearray(len(tree)), None, "0", lambda: True) is None


def test_order_roots_and_deep_ones() -> None:
    with pytest.raises(ValueError, match="walk order"):
        ChangeTree.of([made(b"b"), made(b"a")])
    with pytest.raises(ValueError, match="walk order"):
        ChangeTree.of([made(b"a"), made(b"a")])
    tree = ChangeTree.of([])
    assert (len(tree), tree.changes, len(TreeView(tree, first_opened(tree)))) == (1, 0, 0)
    tree = ChangeTree.of([made(b"", Status.ATTRS, kind=Kind.DIR), made(b"a")])
    view = TreeView(tree, first_opened(tree))
    assert rows_of(view) == [(0, b"", b""), (1, b"a", b"a")]
    # A file in the place of a directory, and what was below that; a name that sorts before "/".
    paths = [b"a", b"a/b", b"a-b", b"a.c/d"]
    tree = ChangeTree.of([made(paths[0], Status.TYPE), *(made(p, Status.DELETED) for p in paths[1:])])
    view = TreeView(tree, first_opened(tree))
    assert [path for _, _, path in rows_of(view)] == [b"a", b"a/b", b"a-b", b"a.c", b"a.c/d"]


def test_a_path_of_two_thousand_directories() -> None:
    deep = [b"/".join([b"d"] * n) for n in range(1, 2000)]
    tree = ChangeTree.of(made(path, Status.ATTRS, kind=Kind.DIR) for path in deep)
    view = TreeView(tree, first_opened(tree))
    assert len(view) == 1
    for _ in range(300):        # what cannot be closed any more is open, and the count of closed ones never overflows
        row = len(view) - 1
        view.toggle(view.node(row))
    assert len(view) == 1999
    view.close_all()
    assert len(view) == 1
    view.open_all()
    assert len(view) == 1999


def million() -> Iterator[Change]:
    """A million changes of a hundred files in each directory."""
    old = entry(b"x", 900)
    for folder in range(10_000):
        for file in range(100):
            path = b"usr/share/pkg%02d/lib%03d/module_%03d.py" % (folder // 1000, folder % 1000, file)
            new = entry(path, 1000)
            yield Change(path, Status.CHANGED, old, new, ("content", "size"))


def test_a_million_paths() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    tree = ChangeTree.of(million())
    view = TreeView(tree, first_opened(tree))
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) < 130_000, "KiB for the columns and a view"
    dice = random.Random(2)
    view.open_all()
    for turn in range(60):
        top = dice.randrange(len(view))
        nodes = [view.node(row) for row in range(top, min(len(view), top + 50))]
        for node in nodes:
            view.label(node), view.depth(node), view.counts(node), view.bytes(node), tree.path(node)
        folder = next(n for n in [nodes[0], view.parent(nodes[0])] if n is not None and view.can_open(n))
        rows = len(view)
        view.toggle(folder)
        assert len(view) != rows, "a directory with something in it was opened or closed"
        view.toggle(folder)
        assert len(view) == rows
        view.toggle(folder)
        if turn % 10 == 9:
            view.open_all()
