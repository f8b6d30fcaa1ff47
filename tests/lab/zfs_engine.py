"""Runs inside the guest, after zfs_guest.py: what the engine's verbs make of ZFS points (rules, going back by content,
the replica's own points), several pools, and a pool that is full.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from engine.config import Config, Retention, Zfs
from engine.errors import NoRoomError, RefusedError, RollpointError
from engine.events import Job
from engine.results import SnapshotRequest
from engine.service import Engine
from tests.lab.zfs_guest import (
    HERE,
    NAMED,
    TANK,
    backend,
    by_id,
    kept,
    kept_record,
    raises,
    recorded,
    sh,
)
from tests.oracle import Record, differences, must_equal, record


def pruned() -> None:
    """The rules prune our points; what others took goes only where the configuration says so, by the same rules."""
    sh("zfs create tank/pruned")
    ours = [backend("tank/pruned").take(SnapshotRequest(pin=not n), Job()).id for n in range(4)]
    sanoid = [f"tank/pruned@autosnap_2026-01-0{n}_03:04:05_daily" for n in (1, 2)]
    for name in sanoid:
        sh(f"zfs snapshot {name}")
    last = backend("tank/pruned").points()[-1].created.timestamp()
    while time.time() < last + 3:
        time.sleep(0.2)
    for owners, gone in (((), ours[1:3]), (("sanoid",), [f"zfs:{sanoid[0]}"])):
        section = Zfs(datasets=("tank/pruned",), prune=owners)
        config = Config(store="/opt/none", zfs=section, retention=Retention(min_keep=1, min_age=0, max_age=1))
        result = Engine(config).prune_all(Job(), backend="zfs")
        assert sorted(result.removed) == sorted(gone) and not result.failed, (result, gone)
    left = {point.id for point in backend("tank/pruned").points()}
    assert left == {ours[0], ours[3], f"zfs:{sanoid[1]}"}, left
    sh(f"zfs release rollpoint tank/pruned@rollpoint-{ours[0]}; zfs destroy -r tank/pruned")


def _one(found: Record, path: bytes) -> Record:
    return {path: found[path]} if path in found else {}


def _below(found: Record, top: bytes) -> Record:
    """Return the part of a record that is below a directory, as a record of that directory."""
    def inner(path: bytes) -> bytes:
        return path.removeprefix(top).lstrip(b"/")

    return {inner(path): replace(fact, group=frozenset(map(inner, fact.group)))
            for path, fact in found.items() if path == top or path.startswith(top + b"/")}


def by_content() -> None:
    """The engine's own verbs: compare two points, copy out of one, go back by content, and forward again."""
    config = Config(store="/srv/second/store", zfs=Zfs(datasets=NAMED))
    engine = Engine(config)
    listing = engine.listing()
    ids = [point.id for point in listing.points]
    assert kept("id-0") in ids and not [t for t in listing.troubles if t.backend == "zfs"], listing
    older, newer = engine.resolve(kept("id-0")), engine.resolve(kept("id-1"))
    records = kept_record("record-0"), kept_record("record-1")
    told = {change.path for change in engine.diff(older, newer).changes}
    changed = {b"srv/tank/" + path if path else b"srv/tank" for path in {*records[0], *records[1]} if differences(
        _one(records[0], path), _one(records[1], path), ignore=("allocated",))}
    assert changed and told == changed, (sorted(told ^ changed), len(changed))
    engine.restore(older, "/opt/copied", [b"srv/tank/home/dir"], Job())
    copied = record("/opt/copied/srv/tank/home/dir")
    must_equal(_below(records[0], b"home/dir"), copied, "what was copied out of the point")
    listed = set(ids)
    sh(f"zfs create tank/home/added; echo kept >{TANK}/home/added/file")       # after the points: no part of them
    for number, point in enumerate((older, newer)):         # back, and forward again: the newer one is still there
        plan = engine.plan(point, ["system"], Job())
        assert not plan.blocked and not plan.empty, plan.findings
        result = engine.rollback(plan, Job())
        assert result.verified and not result.differences and result.safety_point, result
        assert result.safety_point.backend == "zfs", result.safety_point
        now = {p: f for p, f in recorded().items() if not p.startswith(b"home/added")}
        must_equal(records[number], now, f"after going to the content of {number}")
        assert any("/srv/tank/home/added" in f.text for f in plan.findings), plan.findings
        assert sh(f"cat {TANK}/home/added/file; findmnt -no SOURCE {TANK}/home/added") == "kept\ntank/home/added\n"
    assert listed < {point.id for point in engine.listing().points}, "a point went with a rollback by content"
    sh("rm -r /srv/second/store /opt/copied; zfs destroy tank/home/added")


def several_pools() -> None:
    """A point of two pools; what the first has taken is taken back when the second one fails."""
    both = backend("tank/home", "second")
    job = Job()
    point = both.take(SnapshotRequest(), job)
    assert {p.volume for p in point.parts} == {"tank/home", "second"} and any("2 pools" in w for w in job.warnings)
    both.delete([point], Job())
    when = datetime(2020, 5, 6, 7, 8, 9, tzinfo=UTC)
    sh("zfs snapshot second@rollpoint-2020-05-06_07-08-09-zfs")
    raises(RollpointError, lambda: both.take(SnapshotRequest(when=when), Job()), "exist")
    left = sh("zfs list -H -t snapshot -o name | grep 2020-05-06").split()
    assert left == ["second@rollpoint-2020-05-06_07-08-09-zfs"], left
    sh("zfs destroy second@rollpoint-2020-05-06_07-08-09-zfs")
    deep = "tank/" + "d" * 200 + "/e"
    sh(f"zfs create -p {deep}{'e' * 20}")
    raises(RollpointError, lambda: backend(f"{deep}{'e' * 20}").take(SnapshotRequest(), Job()), "too long")
    sh(f"zfs destroy -r tank/{'d' * 200}")
    sh("zpool export second; zpool import -o readonly=on -d /dev second")
    raises(RefusedError, lambda: backend("second").take(SnapshotRequest(), Job()), "read-only")
    sh("zpool export second")
    raises(RollpointError, backend("second").points, "zpool import")
    sh("zpool import -d /dev second")


def momentary() -> None:
    """A point of the replica is read from momentary snapshots: of one moment, whatever is written meanwhile."""
    before = recorded()
    os.makedirs("/opt/gate")
    Path("/opt/gate/rsync").write_text(f"""#!/bin/sh
        case "$*" in *--delete-excluded*)
            zfs list -Hp -t snapshot -o createtxg,name | grep rollpoint-momentary >/run/seen
            for p in {TANK} {TANK}/home {TANK}/home/deep; do echo later >$p/dir/file; echo later >$p/new; done
        esac
        exec /usr/bin/rsync "$@"
        """, encoding="utf-8")
    os.chmod("/opt/gate/rsync", 0o755)
    Path("/run/moment.yaml").write_text(f"root: {TANK}\nstore: /srv/second/store\nconsistent: required\n"
                                        "sources: [/, /home, /home/deep]\nretention: {max_store_ratio: null}\n"
                                        "excludes: ['*.pid']\n", encoding="utf-8")
    said = sh(f"PATH=/opt/gate:$PATH python3 {HERE}/rollpoint.pyz --config /run/moment.yaml snapshot 2>&1")
    seen = [line.split() for line in Path("/run/seen").read_text(encoding="utf-8").splitlines()]
    assert len(seen) == 3 and len({txg for txg, _ in seen}) == 1, (seen, said)
    assert Path(f"{TANK}/home/dir/file").read_text(encoding="utf-8") == "later\n", "nothing was written meanwhile"
    other = b"my data.a:b-c_d"       # mounted as well, and not taken
    taken = {path: fact for path, fact in record("/srv/second/store/tree").items() if not path.startswith(other)}
    expected = {path: fact for path, fact in before.items() if not path.startswith(other)}
    must_equal(expected, taken, "the point of the replica")
    assert "momentary" not in sh("zfs list -H -t snapshot -o name; cat /proc/mounts")
    sh("rm -r /srv/second/store")


def full_pool() -> None:
    """A pool that is full: it is told, nothing is taken in it, and points in it can still be deleted."""
    point = backend("second").take(SnapshotRequest(), Job())
    sh("dd if=/dev/urandom of=/srv/second/rubbish bs=1M status=none || true; sync; zpool sync")
    level = next(one for one in backend("second").levels() if one.name == "second")
    assert level.percent >= 95 and level.state == "full", level
    raises(NoRoomError, lambda: backend("second").take(SnapshotRequest(), Job()), "% full")
    result = backend("second").delete([by_id(point.id)], Job())
    assert result.removed == (point.id,), result


if __name__ == "__main__":
    globals()[sys.argv[1]]()
