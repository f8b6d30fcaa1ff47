"""One flipped or missing byte in any file of the store is found and named; all else stays usable."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import stat
import subprocess
import tempfile
from collections.abc import Iterator

import pytest

from engine.errors import RollpointError
from engine.events import Job
from engine.results import Damage
from engine.service import Engine
from tests.conftest import unmount_below
from tests.engine.harness import EAGER, Bench, copy_tree, discard
from tests.histories import apply, seeded, some
from tests.oracle import differences, must_equal

pytestmark = pytest.mark.root
# These say who did what and who holds the store; no point depends on them.
HARMLESS = {"lock", "readers", "audit.log", "catalog.sqlite-shm", "catalog.sqlite-wal"}
PER_KIND = int(os.environ.get("ROLLPOINT_DAMAGES", "3"))


@pytest.fixture(scope="module")
def whole(ext4: str) -> Iterator[Bench]:
    """A store of six points with packs, differences of large files and all else; and a copy of it."""
    place = tempfile.mkdtemp(dir=ext4)
    try:
        bench = Bench(place, retention=EAGER)
        apply(bench.world, seeded(31, privileged=True).start)
        for number in range(6):
            with open(os.path.join(bench.live, f"own{number}"), "wb") as file:
                file.write(b"only changed once\n" * 500)
            with open(os.path.join(bench.live, "each"), "wb") as file:
                file.write(random.Random(number).randbytes(30_000))
            apply(bench.world, some(100 + number, privileged=True, count=6))
            bench.take()
        copy_tree(bench.store, bench.store + ".whole")
        yield bench
    finally:
        unmount_below(place)
        discard(place)


@pytest.fixture
def bench(whole: Bench) -> Bench:
    """The store as it was."""
    discard(whole.store)
    copy_tree(whole.store + ".whole", whole.store)
    return whole


def store_files(store: str) -> list[str]:
    """Return all regular files of a store that hold anything, relative."""
    out = []
    for base, _dirs, names in os.walk(store):
        for name in names:
            full = os.path.join(base, name)
            info = os.lstat(full)
            if stat.S_ISREG(info.st_mode) and info.st_size and os.path.relpath(full, store) not in HARMLESS:
                out.append(os.path.relpath(full, store))
    return sorted(out)


def kind_of(path: str) -> str:
    """Return what sort of file of the store it is: the tests take some of each."""
    first, _, rest = path.partition("/")
    if first in ("tree", "rescue"):
        return first
    return os.path.basename(rest).split("-")[0].split(".")[0] if first == "points" else first


def victims() -> list[tuple[str, int]]:
    """Return (kind, number) pairs; which files there are is only known when a test runs."""
    kinds = ["tree", "point", "changes", "pack", "store.yaml", "catalog.sqlite", "other"]
    return [(kind, number) for kind in kinds for number in range(PER_KIND if kind != "store.yaml" else 2)]


def choose(bench: Bench, kind: str, number: int) -> str | None:
    """Return a file of a kind; the kind `other` is any file of the store."""
    files = [f for f in store_files(bench.store) if kind == "other" or kind_of(f).startswith(kind)]
    rng = random.Random(f"{kind} {number}")
    return files[rng.randrange(len(files))] if files else None


def flip(path: str, rng: random.Random) -> None:
    """Flip one bit of one byte; size and times stay, as with a bad disk."""
    info = os.stat(path)
    with open(path, "r+b") as file:
        where = rng.randrange(info.st_size)
        file.seek(where)
        byte = file.read(1)[0]
        file.seek(where)
        file.write(bytes([byte ^ 1 << rng.randrange(8)]))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def cut(path: str, rng: random.Random) -> None:
    """Cut the end off."""
    info = os.stat(path)
    os.truncate(path, info.st_size - 1 - rng.randrange(min(info.st_size, 100)))
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))


def dump(catalog: str) -> list[str] | None:
    """Return all that a catalog says, or None when it cannot be read."""
    try:
        with sqlite3.connect(f"file:{catalog}?mode=ro", uri=True) as db:
            return sorted(db.iterdump())
    except (sqlite3.Error, UnicodeError):
        return None


def verify(engine: Engine) -> tuple[Damage, ...] | None:
    """Return the damage that a full verify finds, or None when the store cannot be opened for it."""
    try:
        return engine.verify(engine.points(), Job(), data=True).damage
    except RollpointError as error:
        assert error.exit_code == 7, f"not said to be damage: {error}"
        return None


@pytest.mark.parametrize("how", [flip, cut], ids=["flip", "cut"])
@pytest.mark.parametrize(("kind", "number"), victims())
def test_damage_is_found_named_and_contained(bench: Bench, kind: str, number: int, how: object) -> None:
    victim = choose(bench, kind, number)
    assert victim is not None, f"there is no {kind} in the store: {store_files(bench.store)}"
    assert callable(how)
    how(os.path.join(bench.store, victim), random.Random(f"{victim} {number}"))
    damage = verify(bench.engine())
    if damage == () and victim == "catalog.sqlite":
        # Bytes of a database that nothing uses: what it says is all as it was.
        assert dump(os.path.join(bench.store, victim)) == dump(os.path.join(bench.store + ".whole", victim))
        damage = None
    elif damage is not None:
        assert damage, f"nobody noticed the damage in {victim}"
        _names_it(bench, victim, damage)
    if victim in ("catalog.sqlite", "store.yaml") or damage is None:
        _no_wrong_data(bench, set())
        return
    hurt = {d.point for d in damage}
    _no_wrong_data(bench, hurt)
    _is_shown_and_kept(bench, hurt - {""})


def _contents(store: str, pack: str) -> bytes:
    """Return all contents of a pack that zstd and tar can still get out of it."""
    packed = subprocess.run(["zstd", "-dcq", os.path.join(store, pack)], capture_output=True).stdout
    return subprocess.run(["tar", "-xOf", "-"], input=packed, capture_output=True).stdout


def _names_it(bench: Bench, victim: str, damage: tuple[Damage, ...]) -> None:
    """Damage in a point's files names it or one behind it; in the tree and in packs also the path."""
    parts = victim.split("/")
    named = {d.point for d in damage}
    if parts[0] == "tree":
        path = os.fsencode("/".join(parts[1:]))
        whole = bench.records[bench.order[-1]]
        names = whole[path].group | {path}
        assert any(d.path in names and d.point == bench.order[-1] for d in damage), damage
    elif parts[0] == "points":
        place = bench.order.index(parts[1])
        older = kind_of(victim) == "pack" and named & set(bench.order[:place])
        assert parts[1] in named or older, damage
        assert not named & set(bench.order[place + 1 :]), "a newer point cannot be hurt by this"
        if kind_of(victim) == "pack":
            # Cut in the padding behind the last content, it has lost nothing that a path could be named for.
            assert any(d.path for d in damage) or _contents(bench.store, victim) == _contents(
                bench.store + ".whole", victim), damage


def _no_wrong_data(bench: Bench, hurt: set[str]) -> None:
    """Points that verify did not name restore exactly, if need be after `repair`."""
    for point in bench.order:
        try:
            found = differences(bench.records[point], bench.restored(point))
        except RollpointError as error:
            assert point in hurt or _is_mended(bench, point), f"{point} is not restorable: {error}"
            continue
        assert found == [] or point in hurt, f"{point} came back different, and verify said nothing"


def _is_mended(bench: Bench, point: str) -> bool:
    """`repair` rebuilds the catalog; nothing else may stand between a point and its restore."""
    try:
        bench.engine().repair(Job())
    except RollpointError as error:
        return error.exit_code == 7 and bool(error.hint)
    return differences(bench.records[point], bench.restored(point)) == []


def _is_shown_and_kept(bench: Bench, hurt: set[str]) -> None:
    """A damaged point is shown as damaged and no rule removes it, even one that removes all it can."""
    states = {p.id: p for p in bench.engine().points()}
    assert set(states) == set(bench.order)
    for point in hurt:
        assert states[point].state == "damaged" and states[point].problems, f"{point} is shown as whole"
    import time

    time.sleep(max(0.0, 1.1 - min(p.age() for p in states.values())))
    fates = {f.point.id: f.keep for f in bench.engine().fates()}
    assert all(fates[point] for point in hurt)
    result = bench.engine().prune(Job())
    assert not hurt & set(result.removed)
    assert hurt <= {p.id for p in bench.engine().points()}


@pytest.mark.parametrize("gone", ["catalog.sqlite", "store.yaml", "tree", "point.yaml", "changes", "pack"])
def test_missing_files_are_damage_too(bench: Bench, gone: str) -> None:
    victim = {"tree": "tree/each", "point.yaml": f"points/{bench.order[2]}/point.yaml"}.get(gone) or next(
        (
            f
            for f in store_files(bench.store)
            if f == gone
            or (f.startswith(f"points/{bench.order[2]}/") and os.path.basename(f).startswith(gone))
        ),
        None,
    )
    assert victim is not None
    os.unlink(os.path.join(bench.store, victim))
    if gone == "catalog.sqlite":
        assert bench.engine().repair(Job()).left == ()
        bench.check()
        return
    if gone == "store.yaml":
        with pytest.raises(RollpointError):
            bench.engine().verify(bench.engine().points(), Job())
        return
    damage = bench.engine().verify(bench.engine().points(), Job(), data=True).damage
    assert damage
    _no_wrong_data(bench, {d.point for d in damage})
    hurt = {d.point for d in damage}
    assert not hurt & set(bench.order[4 if gone != "tree" else 6 :])


def test_a_damaged_point_does_not_stop_new_ones(bench: Bench) -> None:
    path = os.path.join(bench.store, "points", bench.order[1], "point.yaml")
    flip(path, random.Random(1))
    states = {p.id: p.state for p in bench.engine().points()}
    assert states[bench.order[1]] == "damaged"
    point = bench.take()
    must_equal(bench.records[point.id], bench.restored(point.id), "the new point")
    for name in bench.order[2:]:
        must_equal(bench.records[name], bench.restored(name), name)
    bench.forget(point.id)


def test_verify_of_a_whole_store_finds_nothing(bench: Bench) -> None:
    report = bench.engine().verify(bench.engine().points(), Job(), data=True)
    assert report.damage == () and report.points == len(bench.order) and report.bytes_read > 100_000
    shutil.rmtree(bench.store)
    copy_tree(bench.store + ".whole", bench.store)
    bench.check()
