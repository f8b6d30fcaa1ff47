"""What was agreed to is what is done: a prune removes the points that were shown, and an interrupted rollback says
whether it can be undone."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.errors import ChangedError
from engine.events import Job
from tests.engine.harness import EAGER, Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    bench = Bench(str(tmp_path), privileged=os.geteuid() == 0)
    for number in range(4):
        Path(bench.live, "day").write_text(str(number))
        bench.take(when=datetime.now(UTC) - timedelta(days=9 - number))
    return bench


# --- prune -----------------------------------------------------------------------------------------------------------


def test_a_prune_removes_just_what_was_shown(bench: Bench) -> None:
    bench.retention = EAGER
    going = [f.point for f in bench.engine().fates() if not f.keep]
    assert len(going) == 2
    assert set(bench.engine().prune(Job(), going).removed) == {p.id for p in going}


def test_a_prune_of_other_points_than_were_shown_is_refused(bench: Bench) -> None:
    bench.retention = EAGER
    engine = bench.engine()
    before = engine.points()
    going = [f.point for f in engine.fates() if not f.keep]
    engine.annotate(going[0], pinned=True)
    with pytest.raises(ChangedError, match=f"would not go any more: {going[0].number} \\({going[0].id}\\)"):
        engine.prune(Job(), going)
    assert [p.id for p in engine.points()] == [p.id for p in before]
    engine.annotate(going[0], pinned=False)
    Path(bench.live, "day").write_text("another")
    bench.take()        # the newest two are kept: one more goes
    with pytest.raises(ChangedError, match="these would go too: 3 "):
        engine.prune(Job(), going)
    with pytest.raises(ChangedError, match="would go too"):
        engine.prune(Job(), [])
    assert len(engine.points()) == 5
    assert len(engine.prune(Job()).removed) == 3, "without a list the rules alone decide"


# --- interrupted rollbacks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("safe", [True, False])
def test_the_store_says_whether_an_interrupted_rollback_can_be_undone(bench: Bench, safe: bool) -> None:
    engine = bench.engine()
    assert engine.status().safety == ""
    Path(bench.live, "day").write_text("before the rollback")
    bench.take()
    words = ["rollback", "1", "--yes", *([] if safe else ["--no-safety-point"])]
    done = bench.run(*words, env={"ROLLPOINT_KILL_AT": "rollback-opened"})
    assert done.returncode != 0
    status = engine.status()
    assert status.rollback
    tagged = [p.id for p in engine.points() if "safety" in p.tags]
    assert status.safety == (tagged[0] if safe else "") and len(tagged) == safe
    finished = engine.resume(Job())
    assert (finished.safety_point.id if finished.safety_point else "") == status.safety
    assert Path(bench.live, "day").read_text() == "0"
    assert (engine.status().rollback, engine.status().safety) == ("", "")
