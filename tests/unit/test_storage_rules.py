"""The rules for snapshots of the storage: by owner, by volumes, and by the size that the storage measures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine.backend import Losses
from engine.config import Config, Retention
from engine.configsections import Zfs
from engine.points import Part, RestorePoint
from engine.storage import Storage

NOW = datetime.now(UTC)


def point(ident: str, days: float, *, owner: str = "", volume: str = "tank/home", size: int | None = 10,
          pinned: bool = False) -> RestorePoint:
    part = Part(volume, f"{volume}@{ident}", b"")
    return RestorePoint(ident, "zfs", 0, NOW - timedelta(days=days), pinned=pinned, own_bytes=size, owner=owner,
                        parts=(part,))


def gone(tmp_path: Path, points: Sequence[RestorePoint], rules: Retention, *, prune: tuple[str, ...] = ()) -> set[str]:
    config = Config(root=str(tmp_path), store=str(tmp_path / "none"), retention=rules, zfs=Zfs(("tank",), prune=prune))
    return {fate.point.id for fate in Storage(config).fates(points) if not fate.keep}


OLD = Retention(min_keep=1, max_age=86400 * 5, max_store_ratio=None)


def test_each_set_of_volumes_keeps_its_own_newest(tmp_path: Path) -> None:
    points = [point("a", 30), point("b", 20), point("c", 30, volume="tank/srv"), point("d", 1)]
    assert gone(tmp_path, points, OLD) == {"a", "b"}


def test_another_programs_are_pruned_only_where_it_is_named_and_by_themselves(tmp_path: Path) -> None:
    points = [point("ours", 30), point("s1", 1, owner="sanoid"), point("s2", 30, owner="sanoid"),
              point("x1", 31, owner="unknown"), point("x2", 32, owner="unknown")]
    assert gone(tmp_path, points, OLD) == set(), "one of ours is the newest of ours"
    assert gone(tmp_path, points, OLD, prune=("sanoid",)) == {"s2"}
    assert gone(tmp_path, points, OLD, prune=("sanoid", "unknown")) == {"s2", "x2"}


def test_the_size_rule_goes_by_what_the_storage_works_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = os.statvfs(tmp_path)
    used = (room.f_blocks - room.f_bfree) * room.f_frsize
    rules = Retention(min_keep=1, min_age=0, max_store_ratio=1.5)
    points = [point(str(n), n, size=used // 4) for n in range(1, 5)]
    monkeypatch.setattr(Storage, "losses", lambda self, victims: Losses(None))
    monkeypatch.setattr(os, "statvfs", lambda path: room)
    assert gone(tmp_path, points, rules) == {"4", "3"}, "a half of the volume may be snapshots, and that is two"
    monkeypatch.setattr(Storage, "losses", lambda self, victims: Losses(used // 2))
    assert gone(tmp_path, points, rules) == set(), "they share so much that together they free less than their sum"
    assert gone(tmp_path, [*points[:-1], point("4", 4, size=None)], rules) == set(), "nobody has measured one"
