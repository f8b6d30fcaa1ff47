"""A rollback limited to single paths: files, links, what is missing now, what is another type now; nothing beside."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.config import Config, Retention
from engine.events import Job
from engine.results import SnapshotRequest
from engine.service import Engine


def facts(root: Path) -> dict[str, str]:
    """What stands at each path, by content or target."""
    found = {}
    for folder, names, files in os.walk(root):
        for name in (*names, *files):
            one = Path(folder, name)
            kind = f"-> {one.readlink()}" if one.is_symlink() else "dir" if one.is_dir() else one.read_text()
            found[str(one.relative_to(root))] = kind
    return found


@pytest.fixture
def bench(tmp_path: Path) -> tuple[Engine, Path]:
    """A tree and one point of it."""
    root = tmp_path / "root"
    (root / "d").mkdir(parents=True)
    (root / "e").mkdir()
    for name in ("d/f", "d/g", "e/x"):
        (root / name).write_text(f"old {name}")
    (root / "d/link").symlink_to("../e")
    os.link(root / "d/g", root / "d/twin")
    engine = Engine(Config(store=str(tmp_path / "store"), root=str(root), excludes=(),
                           retention=Retention(max_store_ratio=None)))
    engine.snapshot(SnapshotRequest(), Job())
    return engine, root


def rewrite(root: Path) -> None:
    (root / "d/f").write_text("new")


def remove(root: Path) -> None:
    (root / "d/f").unlink()


def remove_all(root: Path) -> None:
    shutil.rmtree(root / "d")


def make_a_directory_of_it(root: Path) -> None:
    remove(root)
    (root / "d/f").mkdir()
    (root / "d/f/mine").write_text("mine")


def point_elsewhere(root: Path) -> None:
    (root / "d/link").unlink()
    (root / "d/link").symlink_to("../d")


def make_a_directory_of_the_link(root: Path) -> None:
    (root / "d/link").unlink()
    (root / "d/link").mkdir()
    (root / "d/link/mine").write_text("mine")


@pytest.mark.parametrize("between", [False, True], ids=["newest", "older"])
@pytest.mark.parametrize(("path", "happened"), [
    ("d/f", rewrite), ("d/f", remove), ("d/f", remove_all), ("d/f", make_a_directory_of_it),
    ("d/link", point_elsewhere), ("d/link", make_a_directory_of_the_link)])
def test_only_that_path_comes_back(bench: tuple[Engine, Path], path: str, happened: Callable[[Path], None],
                                   between: bool) -> None:
    engine, root = bench
    before = facts(root)
    happened(root)
    (root / "e/x").write_text("stays")
    (root / "e/new").write_text("stays too")
    if between:
        engine.snapshot(SnapshotRequest(), Job())
    now = facts(root)
    plan = engine.plan(engine.resolve("1"), [f"path=/{path}"], Job())
    assert not plan.blocked and plan.diff.changes
    assert all(c.path == path.encode() or c.path.startswith(path.encode() + b"/") for c in plan.diff.changes)
    result = engine.rollback(plan, Job())
    assert result.verified and not engine.status().rollback
    wanted = {p: what for p, what in now.items() if p != path and not p.startswith(path + "/")} | {path: before[path]}
    assert facts(root) == wanted | ({"d": "dir"} if happened is remove_all else {})


def test_several_files_at_once_and_undone_again(bench: tuple[Engine, Path]) -> None:
    engine, root = bench
    before = facts(root)
    for name in ("d/f", "d/g", "e/x"):
        (root / name).write_text("new")
    now = facts(root)
    assert now["d/twin"] == "new"       # a hard link
    engine.rollback(engine.plan(engine.resolve("1"), ["path=/d/f", "path=/e/x"], Job()), Job())
    assert facts(root) == now | {"d/f": before["d/f"], "e/x": before["e/x"]}
    engine.undo(Job())
    assert facts(root) == now
