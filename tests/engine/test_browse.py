"""What a browser asks: the lives of a directory's names, what stirred below its directories, where not to copy to."""

from __future__ import annotations

import os
import random
from itertools import pairwise
from pathlib import Path

import pytest

from engine.config import Config, Retention
from engine.entries import Kind, Status
from engine.errors import NotEmptyError
from engine.events import Job
from engine.points import RestorePoint
from engine.results import SnapshotRequest
from engine.service import Engine

PLACES = ("a", "a/x", "a/x/deep", "a-b", "b", "b/caf\udce9")


def stir(root: Path, chance: random.Random) -> None:
    """Create, change, delete something somewhere."""
    for _ in range(chance.randint(4, 8)):
        file = root / chance.choice(PLACES) / f"f{chance.randrange(4)}"
        if file.exists() and chance.random() < 0.3:
            file.unlink()
        else:
            file.write_text(str(chance.random()))


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[Engine, list[RestorePoint], Path]:
    """Eight points of a tree that changes a little between them, oldest first."""
    place = tmp_path_factory.mktemp("browse")
    root, chance = place / "root", random.Random(7)
    for name in PLACES:
        (root / name).mkdir(parents=True, exist_ok=True)
    engine = Engine(Config(store=str(place / "store"), root=str(root), excludes=(),
                           retention=Retention(max_store_ratio=None)))
    for _ in range(8):
        engine.snapshot(SnapshotRequest(), Job())
        stir(root, chance)
    return engine, engine.points()[::-1], root


def test_lives_are_what_the_points_list(known: tuple[Engine, list[RestorePoint], Path]) -> None:
    engine, points, _ = known
    for folder in (b"", *(os.fsencode(name) for name in PLACES)):
        lives = engine.lives(folder)
        assert [life.name for life in lives] == sorted(life.name for life in lives)
        for point in points:
            at = [entry for entry in (life.at(point.number) for life in lives) if entry is not None]
            assert at == engine.listdir(point, folder), (folder, point.number)


def test_stirred_is_what_the_differences_say(known: tuple[Engine, list[RestorePoint], Path]) -> None:
    engine, points, _ = known
    seen = 0
    for folder in (b"", b"a", b"b"):
        stirred = engine.stirred(folder)
        names = {life.name for life in engine.lives(folder) if life.spans[-1].entry.kind is Kind.DIR}
        assert set(stirred) <= names
        for name in names:
            below = (folder + b"/" if folder else b"") + name + b"/"
            for before, after in pairwise(points):
                changes = [c for c in engine.diff(before, after).changes if c.path.startswith(below)]
                ended = any(c.status is not Status.CREATED for c in changes)
                assert (before.number in stirred.get(name, ())) == ended, (folder, name, before.number)
                seen += ended
    assert seen > 10


def test_a_directory_that_is_not_empty_has_an_error_of_its_own(known: tuple[Engine, list[RestorePoint], Path],
                                                               tmp_path: Path) -> None:
    engine, points, _ = known
    (tmp_path / "mine").write_text("mine")
    path = engine.listdir(points[-1], b"a")[0].path
    with pytest.raises(NotEmptyError) as caught:
        engine.restore(points[-1], str(tmp_path), (path,), Job())
    assert caught.value.exit_code == 5 and os.listdir(tmp_path) == ["mine"]
    engine.restore(points[-1], str(tmp_path), (path,), Job(), merge=True)
    assert (tmp_path / "mine").read_text() == "mine" and (tmp_path / os.fsdecode(path)).exists()
