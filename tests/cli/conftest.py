"""What the tests of the command line share: a run of `main` with captured streams."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.fake_engine import FakeEngine, World
from tui.cli import main

if TYPE_CHECKING:
    from tests.cli.real_tree import Tree


@dataclass(frozen=True)
class Ran:
    """How one run ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document that stdout must be."""
        return json.loads(self.out)


Run = Callable[..., Ran]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Put the fake engine in the place of the real one."""
    made = World()
    for name in ("service.Engine", "lister.Lister"):
        monkeypatch.setattr(f"engine.{name}", lambda config: FakeEngine(made, config))
    return made


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs one command line with no terminal, on a store and a tree of its own."""
    monkeypatch.setattr("sys.stdin", open(os.devnull))

    def runner(*words: str, bare: bool = False) -> Ran:
        where = [] if bare else ["--store", str(tmp_path / "store"), "--root", str(tmp_path / "root")]
        capfd.readouterr()
        code = main([*where, *words])
        seen = capfd.readouterr()
        return Ran(code, seen.out, seen.err)

    return runner


def assert_printable(text: str) -> None:
    """Fail when a stream holds anything that moves the cursor, restyles, reorders or hides text."""
    import unicodedata

    bad = {c for c in text if c != "\n" and unicodedata.category(c)[0] == "C"}
    assert not bad, f"control characters reached the terminal: {bad!r}"


@pytest.fixture
def tree(run: Run, tmp_path: Any) -> Tree:
    """A tree without a store yet, for the real engine."""
    from tests.cli.real_tree import Tree

    return Tree(tmp_path, run)


@pytest.fixture
def taken(tree: Tree) -> Tree:
    """A tree with two points: before and after an edit, a deletion and a new file; then one more edit."""
    tree.point("before")
    tree.edit("one\nTWO\n")
    (tree.root / "etc" / "new").write_text("new")
    (tree.root / "names" / "plain").unlink()
    tree.point("after")
    tree.edit("broken\n")
    return tree
