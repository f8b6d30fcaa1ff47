"""What is lost besides the catalog: a point's document, its records; and what a rollback spares."""

from __future__ import annotations

import os
import random

import pytest

from engine.config import Config
from engine.events import Job
from engine.results import SnapshotRequest
from engine.service import Engine
from tests.engine.test_damage import flip
from tests.oracle import differences, record

pytestmark = pytest.mark.root


class Small:
    """A tree with one file per round, and a point of each round with its record."""

    def __init__(self, place: str) -> None:
        self.live, self.store = os.path.join(place, "live"), os.path.join(place, "store")
        os.mkdir(self.live)
        self.records = {}
        for round_ in range(4):
            self.write("each", f"round {round_}\n" * (round_ + 1))
            self.write(f"only{round_}", "x")
            point = self.engine().snapshot(SnapshotRequest(comment=f"round {round_}"), Job()).point
            self.records[point.id] = record(os.fsencode(self.live))
        self.ids = list(self.records)

    def engine(self, **settings: tuple[str, ...]) -> Engine:
        return Engine(Config(store=self.store, root=self.live, **{"excludes": (), **settings}))  # type: ignore[arg-type]

    def write(self, name: str, text: str) -> None:
        with open(os.path.join(self.live, name), "w") as file:
            file.write(text)

    def lose_catalog(self) -> None:
        os.unlink(os.path.join(self.store, "catalog.sqlite"))

    def restored(self, point_id: str, where: str) -> list[str]:
        engine = self.engine()
        engine.restore(engine.resolve(point_id), where, [], Job())
        return differences(self.records[point_id], record(os.fsencode(where)))


def test_a_lost_document_leaves_no_gap_in_the_chain(place: str) -> None:
    small = Small(place)
    flip(os.path.join(small.store, "points", small.ids[1], "point.yaml"), random.Random(3))
    small.lose_catalog()
    assert small.engine().repair(Job()).left == ()
    assert [p.id for p in reversed(small.engine().points())] == small.ids
    for number, point_id in enumerate(small.ids):
        assert small.restored(point_id, os.path.join(place, f"out{number}")) == []


def test_a_damaged_document_is_written_again_from_the_catalog(place: str) -> None:
    small = Small(place)
    flip(os.path.join(small.store, "points", small.ids[1], "point.yaml"), random.Random(3))
    assert small.engine().resolve(small.ids[1]).state == "damaged"
    assert small.engine().repair(Job()).left == ()
    mended = small.engine().resolve(small.ids[1])
    assert (mended.state, mended.comment) == ("ok", "round 1")


def test_lost_records_never_make_an_older_point_look_whole(place: str) -> None:
    small = Small(place)
    flip(os.path.join(small.store, "points", small.ids[1], "diff", "changes.zst"), random.Random(3))
    small.lose_catalog()
    assert small.engine().repair(Job()).left != ()
    states = {p.id: p.state for p in small.engine().points()}
    assert [states[i] for i in small.ids] == ["damaged", "damaged", "ok", "ok"]
    for number, point_id in enumerate(small.ids[2:]):
        assert small.restored(point_id, os.path.join(place, f"out{number}")) == []
    engine = small.engine()
    assert engine.plan(engine.resolve(small.ids[0]), ["system"], Job()).blocked


def test_a_rollback_spares_what_was_left_out_of_the_point(place: str) -> None:
    small = Small(place)
    os.mkdir(os.path.join(small.live, "db"))
    small.write("db/table", "rows")
    small.write("notes.tmp", "left out")
    without = small.engine(databases=("/db",), excludes=("*.tmp",))
    point = without.snapshot(SnapshotRequest(), Job()).point
    small.write("new", "goes")
    engine = small.engine()  # the configuration knows nothing of the database any more
    plan = engine.plan(engine.resolve(point.id), ["system"], Job())
    assert plan.databases == ("/db",) and [c.path for c in plan.diff.changes] == [b"", b"new"]
    engine.rollback(plan, Job())
    assert sorted(os.listdir(small.live)) == ["db", "each", "notes.tmp", "only0", "only1", "only2", "only3"]
    assert os.listdir(os.path.join(small.live, "db")) == ["table"]
