"""The verbs for points that the storage keeps, on a real btrfs: the list, looking into them, comparing them with each
other, with the live tree and with points of the replica, copying out of them, the rules.

What must come out was recorded by the tests before."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from engine import backends
from engine.config import Retention
from engine.configsections import Btrfs
from engine.errors import ChangedError, RefusedError, RollpointError, UsageError
from engine.events import Job
from engine.reading import Reader
from engine.results import SnapshotRequest
from engine.service import Engine
from engine.storage import Storage
from engine.taking import Taker
from engine.volumes.btrfs import BtrfsBackend
from tests.engine.btrfs_machine import SECOND, BtrfsMachine, first_state, second_state, seen, state
from tests.engine.loops import loops, run
from tests.oracle import must_equal, record

pytestmark = pytest.mark.root


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[BtrfsMachine]:
    with loops(tmp_path) as made:
        yield BtrfsMachine(made, tmp_path)


# --- looking ---------------------------------------------------------------------------------------------------------


def test_a_point_is_looked_into_by_the_verbs_of_every_point(machine: BtrfsMachine) -> None:
    first_state(machine)
    point = machine.take()
    second_state(machine)
    engine = machine.engine()
    assert [e.path for e in engine.listdir(point, b"home/user")] == [b"home/user/file", b"home/user/gone"]
    assert b"nested" not in [e.path for e in engine.listdir(point)], "a stub of another subvolume is no part of it"
    entry = engine.entry(point, b"etc/conf")
    assert (entry.size, entry.xattrs) == (5, ((b"user.k", b"1"),))
    assert engine.entry(point, b"srv/sym").target == b"/etc/conf"
    assert engine.entry(point, b"srv/data").link == engine.entry(point, b"srv/link").link is not None
    with engine.read(point, b"home/user/file") as file:
        assert file.read() == b"one\ntwo\n"
    content = engine.content(point, b"home/user/gone", 10)
    assert content is not None and (content.data, content.size) == (b"x" * 10, 5000)
    assert engine.content(point, b"srv/sym", 10) is None, "a link is not followed out of the point"
    assert engine.measure(point, [b"home/user"]).bytes == 8 + 5000
    assert [e.path for e in engine.storage.find_in(point, "g*ne")] == [b"home/user/gone"]
    assert [e.path for e in engine.storage.find_in(point, "/user/f")] == [b"home/user/file"]
    for path in (b"home/user/new", b"srv/sym/x", b"nested/kept"):
        with pytest.raises(UsageError, match="is not in point"):
            engine.entry(point, path)
    with pytest.raises(UsageError, match="no regular file"), engine.read(point, b"srv"):
        pass
    assert [c.word for c in engine.scopes(point)] == ["system", "fs=/", "fs=/home", "path="]
    with pytest.raises(RefusedError, match="no record"):
        engine.verify([point], Job())


def test_differences_between_points_and_with_the_live_tree_are_the_same(machine: BtrfsMachine) -> None:
    first_state(machine)
    first = machine.take()
    second_state(machine)
    engine = machine.engine()
    live = engine.diff(first, None)
    assert seen(live) == SECOND | {("M", b"srv/link")} or seen(live) == SECOND
    second = machine.take()
    between = engine.diff(first, second)
    assert (between.older, between.newer) == (first.id, second.id)
    assert seen(between) == seen(live)
    back = engine.diff(second, first, [b"home/user", b"etc"])
    assert {path for _, path in seen(back)} == {p for _, p in SECOND if p.startswith((b"home", b"etc"))}
    assert engine.diff(second, None).changes == ()
    change = engine.change(first, None, b"etc/same")
    assert change is not None and change.what == ("mode",)
    assert engine.change(first, second, b"etc/fstab") is None
    assert [line for line in engine.file_diff(first, second, b"home/user/file") if line[0] in "+-"][2:] == [
        "-two", "+three"]


def test_a_file_that_only_got_another_time_is_no_other_content(machine: BtrfsMachine) -> None:
    first_state(machine)
    first = machine.take()
    os.utime(machine.root / "etc/conf", ns=(0, 1_000_000_007))
    for newer in (None, machine.take()):
        [change] = machine.engine().diff(first, newer).changes
        assert (change.path, change.status.value, change.what) == (b"etc/conf", "a", ("mtime",))


def test_contents_of_the_same_size_and_time_are_compared_where_that_is_configured(machine: BtrfsMachine) -> None:
    first_state(machine)
    first = machine.take()
    info = (machine.root / "etc/conf").stat()
    machine.write("etc/conf", "FIRST")
    os.utime(machine.root / "etc/conf", ns=(info.st_atime_ns, info.st_mtime_ns))
    second = machine.take()
    deep = Engine(replace(machine.config, compare_checksums=True))
    for newer in (None, second):
        assert [(c.path, c.what) for c in deep.diff(first, newer).changes] == [(b"etc/conf", ("content",))]


def test_a_point_is_compared_with_one_of_the_replica(machine: BtrfsMachine) -> None:
    first_state(machine)
    machine.loops.umount(machine.root / "home")         # the replica holds the root alone
    engine = machine.engine()
    kept = engine.snapshot(SnapshotRequest(), Job()).point
    machine.loops.mount(machine.device, machine.root / "home", "-o", "subvol=@home")
    second_state(machine)
    point = machine.take()
    found = seen(engine.diff(kept, point))
    assert found >= {("M", b"etc/conf"), ("a", b"etc/same"), ("T", b"srv/sym")}
    assert not any(path.startswith((b"home", b"nested")) for _, path in found), "only what both hold is compared"
    assert {p for _, p in seen(engine.diff(point, kept))} == {p for _, p in found}


def test_points_that_have_nothing_in_common_are_not_compared(machine: BtrfsMachine) -> None:
    first_state(machine)
    alone = [backends.of_volumes(machine.config, "btrfs", [str(machine.root / p)]).take(SnapshotRequest(), Job())
             for p in ("", "home")]
    with pytest.raises(UsageError, match="nothing in common"):
        machine.engine().diff(alone[0], alone[1])


def test_paths_are_copied_out_with_all_that_belongs_to_them(machine: BtrfsMachine) -> None:
    first_state(machine)
    then = state(machine)
    point = machine.take()
    second_state(machine)
    engine, dest = machine.engine(), machine.place / "out"
    result = engine.restore(point, str(dest), [b"home/user/gone", b"srv"], Job())
    assert result.bytes == 5000 + 1 + 1
    assert sorted(os.listdir(dest)) == ["home", "srv"] and os.listdir(dest / "home/user") == ["gone"]
    must_equal(then["srv"], record(str(dest / "srv")), "srv")  # type: ignore[arg-type]
    with pytest.raises(RefusedError, match="not empty"):
        engine.restore(point, str(dest), [], Job())
    engine.restore(point, str(dest), [], Job(), merge=True)
    for place in ("etc", "home", "srv"):
        must_equal(then[place], record(str(dest / place)), place)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="is not in point"):
        engine.restore(point, str(machine.place / "other"), [b"none"], Job())
    assert not (machine.place / "other").exists()


def test_the_versions_of_a_path_over_the_snapshots(machine: BtrfsMachine) -> None:
    points = []
    for text in ("1", "1", "22", None, "333"):
        path = machine.root / "home/file"
        if text is None:
            path.unlink()
        elif not path.exists() or path.read_text() != text:
            path.write_text(text)
        points.append(machine.take())
    found = machine.engine().storage.history_in("btrfs", b"home/file")
    assert [(v.entry.size, v.first, v.last, v.points, v.current) for v in found] == [
        (3, points[4].id, points[4].id, 1, True), (2, points[2].id, points[2].id, 1, False),
        (1, points[0].id, points[1].id, 2, False)]
    with pytest.raises(UsageError, match="in no point"):
        machine.engine().storage.history_in("btrfs", b"home/never")


# --- the list --------------------------------------------------------------------------------------------------------


def test_one_list_of_all_points_and_what_latest_means(machine: BtrfsMachine) -> None:
    engine, now = machine.engine(), datetime.now(UTC)
    first = machine.backend().take(SnapshotRequest(when=now - timedelta(hours=2)), Job())
    assert [p.id for p in engine.listing().points] == [first.id]
    assert [t.backend for t in engine.listing().troubles] == [], "a store that was never made is no trouble"
    assert engine.resolve("latest") == first
    kept = engine.snapshot(SnapshotRequest(when=now - timedelta(hours=1)), Job()).point
    second = machine.backend().take(SnapshotRequest(when=now), Job())
    found = engine.listing()
    assert [p.id for p in found.points] == [second.id, kept.id, first.id] and found.troubles == ()
    assert engine.points() == [kept], "what the replica has is asked for as ever"
    assert engine.resolve("latest") == kept
    assert engine.resolve("latest", "btrfs") == second
    assert engine.resolve(first.id) == first and engine.resolve("1") == kept
    assert [p.id for p in engine.listing("btrfs").points] == [second.id, first.id]
    with pytest.raises(UsageError, match="fits"):
        engine.resolve(first.id[:4])
    with pytest.raises(UsageError, match="no restore point is called"):
        engine.resolve("nothing")


def test_pins_and_rules_hold_for_snapshots_too(machine: BtrfsMachine) -> None:
    now = datetime.now(UTC)
    backend, engine = machine.backend(), Engine(
        replace(machine.config, retention=Retention(min_keep=1, daily=2, max_store_ratio=None)))
    old = [backend.take(SnapshotRequest(str(days), when=now - timedelta(days=days)), Job())
           for days in (40, 30, 20, 10, 2)]
    engine.annotate(old[1], pinned=True)
    alone = backends.of_volumes(machine.config, "btrfs", [str(machine.root / "home")]).take(
        SnapshotRequest(when=now - timedelta(days=60)), Job())
    fates, troubles = engine.all_fates()
    assert [t.backend for t in troubles] == []
    assert {f.point.id for f in fates if not f.keep} == {old[0].id, old[2].id}
    assert {f.point.id: f.rule for f in fates}[old[1].id] == "pinned"
    assert alone.id in {f.point.id for f in fates if f.keep}, "the only point of these volumes"
    some = engine.storage_points()
    assert engine.all_fates(listing=some) == (fates, [])
    assert {f.keep for f in engine.all_fates(Retention(min_keep=9), listing=some)[0]} == {True}
    with pytest.raises(ChangedError):
        engine.prune_all(Job(), [old[0]])
    result = engine.prune_all(Job(), [f.point for f in fates if not f.keep])
    assert set(result.removed) == {old[0].id, old[2].id} and result.failed == ()
    assert {p.id for p in engine.listing().points} == {old[1].id, old[3].id, old[4].id, alone.id}


def test_what_went_is_told_where_the_storage_fails_after_it(
        machine: BtrfsMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Engine(replace(machine.config, retention=Retention(
        min_keep=1, min_age=0, max_age=0, max_store_ratio=None)))
    kept = [engine.snapshot(SnapshotRequest(), Job()).point for _ in range(2)]
    found = [machine.backend().take(SnapshotRequest(), Job()) for _ in range(2)]

    def fails(*_: object) -> None:
        raise RollpointError("btrfs gave no answer")

    monkeypatch.setattr(BtrfsBackend, "delete", fails)
    going = [f.point for f in engine.all_fates()[0] if not f.keep]
    assert {p.id for p in going} == {kept[0].id, found[0].id}
    result = engine.prune_all(Job(), going)
    assert result.removed == (kept[0].id,) and result.failed == ((found[0].id, "btrfs gave no answer"),)
    with pytest.raises(RollpointError, match="no answer"):      # nothing went: that is an error, not a result
        engine.prune_all(Job())


def test_what_others_took_stays_unless_the_configuration_names_them(machine: BtrfsMachine) -> None:
    home = machine.top / "btrbk"
    home.mkdir()
    for day in (1, 2, 3):
        run("btrfs", "subvolume", "snapshot", "-r", str(machine.top / "@home"), str(home / f"home.2024010{day}"))
    rules = Retention(min_keep=1, min_age=0, max_age=0, max_store_ratio=None)
    engine = Engine(replace(machine.config, retention=rules))
    fates, _ = engine.all_fates()
    assert [f.rule for f in fates] == ["btrbk's, not ours to remove"] * 3
    assert engine.prune_all(Job()).removed == ()
    named = replace(machine.config, retention=rules,
                    btrfs=Btrfs(subvolumes=machine.config.btrfs.subvolumes, prune=("btrbk",)))
    assert len(Engine(named).prune_all(Job()).removed) == 2
    assert len(os.listdir(home)) == 1


def test_every_verb_about_a_point_knows_points_of_the_storage() -> None:
    """A verb that takes a point and is none for any backend would take a snapshot for a point of the replica."""
    by_itself = {"delete", "verify", "rollback", "native_plan", "losses", "find_in"}     # these look themselves
    for name, verb in vars(Engine).items() | vars(Taker).items() | vars(Reader).items():
        if name.startswith("_") or not inspect.isfunction(verb) or name in by_itself:
            continue
        kinds = [str(p.annotation) for p in inspect.signature(verb).parameters.values()]
        if any(kind.startswith(("RestorePoint", "RollbackPlan")) for kind in kinds):
            assert hasattr(verb, "__wrapped__"), name
            assert callable(getattr(Storage, name)), name
