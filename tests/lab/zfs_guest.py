"""Runs inside the guest: what a real ZFS does with what the ZFS backend asks of it, one phase of the test a run.

`PYTHONPATH=/run/rollpoint.pyz:/run python3 -m tests.lab.zfs_guest PHASE`; some later phases are in zfs_engine.py.
Records are oracle.py's, made of the live data sets before anything happens to them; what ZFS itself believes is asked
of zfs(8) here, not by the engine's code.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from engine.config import Config, Zfs
from engine.errors import ChangedError, RefusedError, RollpointError
from engine.events import Job
from engine.points import RestorePoint
from engine.results import SnapshotRequest
from engine.volumes.zfs import ZfsBackend
from tests.oracle import Record, must_equal, record

HERE = "/run"
TANK = "/srv/tank"
COMMENT = "vor dem Upgrade:\t50 % \u00fcbrig\nzweite Zeile \x1b[31m"
ODD = "tank/my data.a:b-c_d"
NAMED = ("tank", "tank/home", "tank/home/deep", ODD, "tank/vm")
HOME = NAMED[1]


def sh(script: str, *, check: bool = True) -> str:
    """Run a shell script and return what it said."""
    done = subprocess.run(["bash", "-ec", script], capture_output=True, check=False)
    assert not check or done.returncode == 0, (script, done.stdout, done.stderr)
    return done.stdout.decode("utf-8", "surrogateescape") + done.stderr.decode() * (not check)


def backend(*datasets: str, recursive: bool = False) -> ZfsBackend:
    """Return the backend as a configuration with these data sets has it; without any, as ``auto`` has it."""
    return ZfsBackend(Config(zfs=Zfs(datasets=datasets or ("auto",), recursive=recursive)))


def by_id(id_: str) -> RestorePoint:
    """Return the point of an id as it is listed now."""
    found = [p for p in backend().points() if p.id == id_]
    assert len(found) == 1, (id_, [p.id for p in backend().points()])
    return found[0]


def raises(kind: type[RollpointError], call: Callable[[], object], *words: str) -> str:
    """Check that a call raises an error of a kind, with all of these words in its text."""
    try:
        call()
    except kind as error:
        text = f"{error.message} | {error.hint}"
        assert all(word in text for word in words), text
        return text
    raise AssertionError(f"nothing was raised, and {words} was to be")


def keep(name: str, value: object) -> None:
    """Keep something for a later phase."""
    Path(f"{HERE}/kept-{name}").write_bytes(pickle.dumps(value))


def kept(name: str) -> str:
    """Return the text that an earlier phase has kept."""
    return str(pickle.loads(Path(f"{HERE}/kept-{name}").read_bytes()))


def kept_record(name: str) -> Record:
    """Return the record that an earlier phase has kept."""
    found: Record = pickle.loads(Path(f"{HERE}/kept-{name}").read_bytes())
    return found


def recorded() -> Record:
    """Return a record of all that is mounted below the pool's own place, after ZFS has written it down."""
    sh("zpool sync")
    return record(TANK)


def zvol_hash() -> str:
    """Return a hash of the whole volume."""
    with open("/dev/zvol/tank/vm", "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_zvol(text: str) -> None:
    """Write to the volume, and wait until it is down and its users are gone."""
    sh(f"printf %s '{text}' | dd of=/dev/zvol/tank/vm conv=notrunc,fsync status=none; zpool sync; udevadm settle")


def furnish() -> None:
    """Give each data set files of every kind."""
    for place in (TANK, f"{TANK}/home", f"{TANK}/home/deep", f"{TANK}/my data.a:b-c_d"):
        os.makedirs(f"{place}/dir/inner")
        Path(f"{place}/dir/file").write_text("as it was\n", encoding="ascii")
        os.link(f"{place}/dir/file", f"{place}/dir/second name")
        with open(os.fsencode(place) + b"/no utf-8 \xff\n\t", "wb") as file:
            file.write(b"a name of any bytes")
        with open(f"{place}/holes", "wb") as file:
            file.truncate(8 << 20)
            file.seek(4 << 20)
            file.write(b"in between")
        os.setxattr(f"{place}/dir/file", "user.note", b"\0kept")
        os.chmod(f"{place}/dir/file", 0o4751)
        os.chown(f"{place}/holes", 1234, 4321)
        os.mkfifo(f"{place}/fifo")
        os.mknod(f"{place}/device", 0o020640, os.makedev(1, 7))
        os.symlink("dir/file", f"{place}/link")
        os.utime(f"{place}/dir", ns=(1, 1_500_000_000_123_456_789))


def change(number: int) -> None:
    """Change something of each kind in each data set."""
    for place in (TANK, f"{TANK}/home", f"{TANK}/home/deep", f"{TANK}/my data.a:b-c_d"):
        Path(f"{place}/dir/file").write_text(f"now {number}\n", encoding="ascii")
        Path(f"{place}/new {number}").write_bytes(os.urandom(300_000))
        if number == 1:
            os.unlink(f"{place}/dir/second name")
            os.rename(f"{place}/holes", f"{place}/moved")
        if number == 2:
            os.unlink(f"{place}/fifo")
            os.mkdir(f"{place}/fifo")
            os.setxattr(f"{place}/dir/file", "user.note", b"other")
    write_zvol(f"state {number}")


# --- the phases, in their order ------------------------------------------------------------------------------------


def without_zfs() -> None:
    """No module is loaded: what is not named is not there, and what is named is an error with its reason."""
    assert backend().points() == [] and backend().levels() == [] and backend().pending() == []
    raises(RollpointError, backend("tank").points, "modprobe zfs")


def made() -> None:
    """Make the pools and everything in them."""
    sh(f"""
        modprobe zfs
        zpool create -f -O mountpoint={TANK} -O compression=off -O atime=off -O xattr=sa tank /dev/vdb
        zfs create tank/home; zfs create tank/home/deep; zfs create '{ODD}'
        zfs create -V 16M tank/vm
        zpool create -f -O mountpoint=/srv/second -O compression=off second /dev/vdc
        udevadm settle
        """)
    raises(RollpointError, backend("tank/nothing", "tank").points, "tank/nothing")
    assert backend().points() == []
    furnish()
    write_zvol("state 0")


def three_points() -> None:
    """Take three points around changes, list them, and open each: it is what was recorded when it was taken."""
    ids = []
    for number in range(3):
        if number:
            change(number)
        keep(f"record-{number}", recorded())
        keep(f"zvol-{number}", zvol_hash())
        request = SnapshotRequest(COMMENT if not number else f"number {number}", ("one", "two") if not number else ())
        point = backend(*NAMED).take(request, Job())
        assert point.id.endswith("-zfs") or point.id[:-1].endswith("-zfs-"), point.id
        assert {part.snapshot for part in point.parts} == {f"{name}@rollpoint-{point.id}" for name in NAMED}
        txgs = sh("zfs list -Hp -t snapshot -o createtxg | sort -u | wc -l").strip()
        assert txgs == str(number + 1), "the snapshots of a point are not of one moment"
        ids.append(point.id)
        keep(f"id-{number}", point.id)
    listed = sorted(backend().points(), key=lambda p: p.created)
    assert {p.id for p in listed} == set(ids) and len(listed) == 3, listed
    first = by_id(ids[0])
    assert (first.comment, first.tags, first.pinned, first.owner) == (COMMENT, ("one", "two"), False, "")
    assert {p.volume: p.place for p in first.parts} == {
        "tank": b"srv/tank", "tank/home": b"srv/tank/home", "tank/home/deep": b"srv/tank/home/deep",
        ODD: b"srv/tank/my data.a:b-c_d", "tank/vm": None}
    assert first.doc == {"reason": "manual"}
    change(3)
    sh(f"ls {TANK}/home/.zfs/snapshot/rollpoint-{ids[0]}")         # an admin looks into it: the kernel mounts it
    for number, id_ in enumerate(ids):
        job = Job()
        with backend().open(by_id(id_), job) as opened:
            must_equal(kept_record(f"record-{number}"), record(opened.path + TANK.encode()), f"opened {number}")
            assert opened.places == (b"srv/tank", b"srv/tank/home", b"srv/tank/home/deep", b"srv/tank/my data.a:b-c_d")
            raises_os = subprocess.run(["touch", opened.path + TANK.encode() + b"/x"], capture_output=True)
            assert raises_os.returncode and b"Read-only" in raises_os.stderr, raises_os.stderr
            if not number:      # one file comes back out of it
                shutil.copy2(opened.path + b"/srv/tank/home/dir/file", b"/run/restored")
        assert any("tank/vm" in w and "volume" in w for w in job.warnings), job.warnings
    assert Path("/run/restored").read_text(encoding="ascii") == "as it was\n"
    assert "rollpoint-" not in sh("grep -v /.zfs/ /proc/mounts"), "a mount was left behind"
    for name in ("tank/vm", "tank/home/deep"):      # one of its volumes is named: it is the whole point
        whole = {p.id: {part.volume for part in p.parts} for p in backend(name).points()}
        assert whole == {id_: set(NAMED) for id_ in ids}, whole
    raises(RefusedError, lambda: backend().open(_alone(first, "tank/vm"), Job()).__enter__(), "zfs clone")
    sh("zfs unmount tank/home/deep")
    with backend().open(by_id(ids[0]), Job()) as opened:
        assert b"srv/tank/home/deep" not in opened.places
    raises(RefusedError, lambda: backend().open(_alone(by_id(ids[0]), "tank/home/deep"), Job()).__enter__(),
           "zfs mount tank/home/deep")
    sh("zfs mount tank/home/deep")


def _alone(point: RestorePoint, name: str) -> RestorePoint:
    """Return a point as it is where it was taken of one data set alone."""
    return dataclasses.replace(point, parts=tuple(part for part in point.parts if part.volume == name))


def diff_of_zfs() -> None:
    """`zfs diff` against a comparison of the records: what it does not tell is why the engine does not rely on it."""
    older, newer = kept_record("record-0"), kept_record("record-1")
    below = b"home/"
    walk = {path.removeprefix(b"home") for path in {*older, *newer}
            if path.startswith(below) and not path.startswith(b"home/deep") and older.get(path) != newer.get(path)}
    out = sh(f"zfs diff -FHt -h '{HOME}@rollpoint-{kept('id-0')}' '{HOME}@rollpoint-{kept('id-1')}'")
    told: set[bytes] = set()
    for line in out.split("\n"):
        told.update(os.fsencode(f) for f in line.split("\t")[3:])
    told = {path.removeprefix(b"/srv/tank/home") for path in told if path}
    keep("diff", repr((sorted(walk - told), sorted(told - walk), out)))
    assert walk - told, "zfs diff tells everything now: the fast path can be taken"
    print("not told by zfs diff:", sorted(walk - told))
    print("told, and no change:", sorted(told - walk))
    print(out)


def foreign_points() -> None:
    """Snapshots of others, copies of ours, and properties that come from above."""
    sh("""
        zfs snapshot -r tank@autosnap_2026-01-02_03:04:05_daily
        zfs snapshot tank/home@by-hand; zfs snapshot 'tank/home@with space'; zfs snapshot tank/vm@by-hand
        """)
    found = {p.id: p for p in backend().points()}
    daily = found["zfs:tank@autosnap_2026-01-02_03:04:05_daily"]
    assert daily.owner == "sanoid" and {p.volume for p in daily.parts} == set(NAMED), daily
    assert found["zfs:tank/home@by-hand"].owner == "unknown" and len(found["zfs:tank/home@by-hand"].parts) == 1
    assert found["zfs:tank/vm@by-hand"].parts[0].place is None
    with backend().open(found["zfs:tank/home@with space"], Job()) as opened:
        must_equal(record(f"{TANK}/home/dir"), record(opened.path + b"/srv/tank/home/dir"), "a name with a space")
    assert any("taken by sanoid" in f.text for f in backend().losses([daily]).findings)
    # A copy on another pool has our properties, and is none of our points; nor is what inherits an id from above.
    first = kept("id-0")
    sh(f"""
        zfs send -p tank/home@rollpoint-{first} | zfs receive -u second/copy
        zfs send -p tank/home@rollpoint-{first} | zfs receive -u tank/copy
        zfs set rollpoint:id=2026-01-01_00-00-00-zfs second
        zfs set rollpoint:comment=$'two\\nlines\\tand a tab' second
        zfs snapshot second@inherits
        """)
    found = {p.id: p for p in backend().points()}
    assert {p.volume for p in found[first].parts} == set(NAMED), "a copy became a part of the point"
    assert found[f"zfs:second/copy@rollpoint-{first}"].owner == "rollpoint"
    assert found[f"zfs:tank/copy@rollpoint-{first}"].owner == "rollpoint"
    assert found["zfs:second@inherits"].owner == "unknown" and "2026-01-01_00-00-00-zfs" not in found
    sh("zfs destroy -r second/copy; zfs destroy -r tank/copy; zfs destroy second@inherits")
    # What lies below a named data set belongs to it with `recursive` only.
    assert {p.volume for q in backend("tank/home").points() if q.owner for p in q.parts} == {HOME}
    assert {p.volume for q in backend(HOME, recursive=True).points() if q.owner for p in q.parts} == {
        HOME, "tank/home/deep"}
    below = backend(HOME, recursive=True).take(SnapshotRequest(), Job())
    assert {p.volume for p in below.parts} == {HOME, "tank/home/deep"}
    # A data set that is renamed takes its points along.
    sh("zfs rename tank/home tank/casa")
    assert "tank/casa/deep" in {p.volume for p in by_id(below.id).parts}
    sh("zfs rename tank/casa tank/home")
    result = backend().delete([by_id(below.id), found["zfs:tank/home@by-hand"], found["zfs:tank/vm@by-hand"],
                               found["zfs:tank/home@with space"], daily], Job())
    assert not result.failed and len(result.removed) == 5, result
    assert {p.id for p in backend().points()} == {kept(f"id-{n}") for n in range(3)}


def pins_and_comments() -> None:
    """A pin is a hold; a pinned point cannot be deleted; comments can be changed and taken away."""
    first = kept("id-0")
    assert backend().annotate(by_id(first), pinned=True).pinned
    backend().annotate(by_id(first), pinned=True)                   # again does no harm
    assert sh(f"zfs holds -H tank/home@rollpoint-{first}").split("\t")[1] == "rollpoint"
    assert sh(f"zfs destroy tank/home@rollpoint-{first}", check=False).count("busy"), "the hold does not hold"
    assert backend().losses([by_id(first)]).blocked
    result = backend().delete([by_id(first)], Job())
    assert not result.removed and "pinned" in result.failed[0][1] and len(by_id(first).parts) == 5, result
    assert backend().annotate(by_id(first), comment="-").comment == "-"
    assert backend().annotate(by_id(first), comment="").comment == ""
    assert backend().annotate(by_id(first), comment="100%25 \u2028").comment == "100%25 \u2028"
    assert not backend().annotate(by_id(first), pinned=False).pinned
    assert sh(f"zfs holds -H tank/home@rollpoint-{first}") == ""
    sh(f"zfs hold backup-job tank/vm@rollpoint-{first}; zfs clone tank/home@rollpoint-{first} tank/clone")
    losses = backend().losses([by_id(first)])
    texts = " | ".join(f"{f.level}: {f.text}" for f in losses.findings)
    assert losses.blocked and "backup-job" in texts and "tank/clone" in texts, texts
    failed = backend().delete([by_id(first)], Job()).failed
    assert "backup-job" in failed[0][1] and len(by_id(first).parts) == 5, "some parts went although others could not"
    sh(f"zfs release backup-job tank/vm@rollpoint-{first}; zfs destroy tank/clone")
    pinned = backend("tank/home").take(SnapshotRequest(pin=True), Job())
    assert pinned.pinned and sh(f"zfs holds -H tank/home@rollpoint-{pinned.id}").count("rollpoint") == 2
    backend().annotate(pinned, pinned=False)
    backend().delete([by_id(pinned.id)], Job())


def room() -> None:
    """What several points free together is more than the sum of what each takes alone, and what really is freed."""
    target = backend("tank/home")
    Path(f"{TANK}/home/big").write_bytes(os.urandom(3 << 20))
    points = [target.take(SnapshotRequest(), Job()) for _ in range(2)]
    os.unlink(f"{TANK}/home/big")
    sh("zpool sync")
    listed = [by_id(p.id) for p in points]
    alone = sum(p.own_bytes or 0 for p in listed)
    losses = target.losses(listed)
    assert losses.freed is not None and alone < 1 << 20 and losses.freed > 3 << 20, (alone, losses)
    names = ",".join(f"rollpoint-{p.id}" for p in points)
    said = sh(f"zfs destroy -nvp tank/home@{names}")
    assert losses.freed == int(said.rsplit("reclaim\t", 1)[1]), (losses, said)
    one = target.losses(listed[:1])
    assert one.freed == listed[0].own_bytes and not one.findings, (one, listed[0].own_bytes)
    before = int(sh("zfs get -Hpo value usedbysnapshots tank/home"))
    # One is gone before we come to it, one has got another's name meanwhile.
    gone, other, third = *listed, target.take(SnapshotRequest(), Job())
    sh(f"zfs destroy {gone.parts[0].snapshot}; zfs destroy {other.parts[0].snapshot}; "
       f"zfs snapshot {other.parts[0].snapshot}")
    assert target.losses([gone]).blocked and target.losses([other]).blocked
    raises(RollpointError, lambda: target.open(gone, Job()).__enter__(), "not there any more")
    raises(RollpointError, lambda: target.annotate(other, comment="x"), "another snapshot")
    result = target.delete([gone, other, third], Job())
    assert result.removed == (third.id,) and {id_ for id_, _ in result.failed} == {gone.id, other.id}, result
    sh(f"zfs list -t snapshot {other.parts[0].snapshot}; zfs destroy {other.parts[0].snapshot}; zpool sync")
    assert int(sh("zfs get -Hpo value usedbysnapshots tank/home")) < before


def set_back() -> None:
    """`zfs rollback`: refused on holds, clones and use, stale plans refused, then done, children and volume too."""
    first, second, third = (by_id(kept(f"id-{n}")) for n in range(3))
    sh(f"""
        zfs snapshot tank/home@autosnap_2026-01-02_03:04:05_daily
        zfs bookmark {third.parts[1].snapshot} tank/home#mark
        zfs bookmark tank/home@rollpoint-{first.id} tank/home#older
        zfs clone tank/home@autosnap_2026-01-02_03:04:05_daily tank/clone
        zfs create tank/home/later
        zfs hold backup-job tank/vm@rollpoint-{third.id}
        """)
    backend().annotate(third, pinned=True)
    plan = backend().native(by_id(second.id))
    texts = " | ".join(f"{f.level}: {f.text}" for f in plan.findings)
    goes = " | ".join(plan.goes)
    assert plan.blocked and plan.when == "at once"
    for words in ("held by backup-job", "tank/clone is made of tank/home@autosnap", "is pinned", "tank/home/later"):
        assert words in texts, (words, texts)
    for words in ("tank/home@autosnap_2026-01-02_03:04:05_daily", f"tank/vm@rollpoint-{third.id}", "tank/home#mark"):
        assert words in goes, (words, goes)
    assert "#older" not in goes and first.id not in goes, goes
    raises(RefusedError, lambda: backend().set_back(plan, Job()), "backup-job")
    sh(f"zfs destroy tank/clone; zfs release backup-job tank/vm@rollpoint-{third.id}")
    backend().annotate(by_id(third.id), pinned=False)
    with open("/dev/zvol/tank/vm", "rb"):
        in_use = backend().native(by_id(second.id))
        assert in_use.blocked and any("open in python3" in f.text for f in in_use.findings), in_use.findings
    stale = backend().native(by_id(second.id))
    assert not stale.blocked, stale.findings
    sh("zfs snapshot tank/home/deep@taken-meanwhile")
    raises(ChangedError, lambda: backend().set_back(stale, Job()), "come or gone")
    must_be = {p.id for p in backend().points()}
    assert third.id in must_be and "zfs:tank/home/deep@taken-meanwhile" in must_be, "a stale plan has done something"
    fresh = backend().native(by_id(second.id))
    assert all(" -r" not in c and " -R" not in c for c in fresh.commands), fresh.commands
    order = [c.split()[-1] for c in fresh.commands if c.startswith("zfs rollback")]
    assert len(order) == 5 and "tank@" in fresh.commands[1], fresh.commands
    change(4)
    done = backend().set_back(fresh, Job())
    assert sum("set back to" in line for line in done) == 5, done
    again = recorded()
    must_equal(kept_record("record-1"), {p: f for p, f in again.items() if not p.startswith(b"home/later")},
               "the data sets are not what they were at the point")
    assert zvol_hash() == kept("zvol-1"), "the volume is not what it was"
    assert {p.id for p in backend().points()} == {first.id, second.id}
    assert sh("zfs list -H -t bookmark -o name -r tank").split() == ["tank/home#older"]
    sh("zfs destroy tank/home/later; zfs destroy tank/home#older")


if __name__ == "__main__":
    globals()[sys.argv[1]]()
