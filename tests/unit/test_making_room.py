"""Points that are given up for a snapshot: none where that would not do, and it is said which."""

from __future__ import annotations

import errno
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine import rollback, taking
from engine.config import Config, Retention
from engine.errors import RollpointError
from engine.events import Job
from engine.points import RestorePoint
from engine.replica import query, recover, room
from engine.replica.layout import Store
from engine.replica.room import Missing
from engine.results import PruneResult
from engine.service import Engine

OLD = [RestorePoint(f"p{n}", "replica", n, datetime(2024, 1, n, tzinfo=UTC), own_bytes=4096) for n in (1, 2, 3)]


@pytest.mark.parametrize("missing,removed,says", [
    ([Missing(4096, 7), Missing(0, 7)], [], ("4.0 KiB", "the store is as it was")),
    ([Missing(4096, 0), Missing(1024, 0)], ["p1"], ("1.0 KiB", "removed for it: p1")),
    ([Missing(4096, 0), Missing(0, 3)], ["p1"], ("inodes", "removed for it: p1")),
])
def test_no_point_goes_for_nothing_or_unsaid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: list[Missing],
                                             removed: list[str], says: tuple[str, str]) -> None:
    gone: list[str] = []
    measured = iter(missing)
    monkeypatch.setattr(recover, "recover", lambda *_: None)
    monkeypatch.setattr(room, "missing", lambda *_: next(measured))
    monkeypatch.setattr(query, "points", lambda _: OLD)
    monkeypatch.setattr(rollback, "protected", lambda _: {})

    def remove(_: object, __: object, victims: list[RestorePoint], ___: object) -> PruneResult:
        gone.extend(point.id for point in victims)
        return PruneResult(tuple(gone), (), 0)

    monkeypatch.setattr(taking.Taker, "_remove", remove)
    engine = Engine(Config(store=str(tmp_path), root="/", retention=Retention(min_keep=1, min_age=0)))
    with pytest.raises(RollpointError) as told:
        engine._make_room(Store(bytes(tmp_path), {}), OSError(errno.ENOSPC, "full"), Job())
    assert gone == removed
    assert says[0] in str(told.value) and says[1] in told.value.hint
