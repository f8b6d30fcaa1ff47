"""Accidents that users of comparable tools have had, played through: what was lost there stays here.

The numbers are those of Timeshift's reports (TS: linuxmint/timeshift, TJ: teejee2008/timeshift). Those about boot
loaders, /boot, the ESP and other disks are in tests/lab and test_boot_*.py, test_targets.py and test_adopt.py; full
disks in test_full_disk.py; metadata in test_fidelity.py; single files in test_rollback_paths.py.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from engine.config import Config
from engine.errors import DamageError, RefusedError
from engine.events import Job
from engine.results import RollbackPlan, SnapshotRequest
from engine.service import Engine
from tests.engine.harness import Bench, child_env, wait_until
from tests.engine.loops import loops
from tests.oracle import must_equal, record


def fill(bench: Bench) -> None:
    """A small system."""
    for path in ("etc/hosts", "etc/ssh/sshd_config", "home/ann/letter", "home/ann/photo"):
        full = Path(bench.live, path)
        full.parent.mkdir(parents=True, exist_ok=True)
        full.write_text(f"first {path}\n")


@pytest.fixture
def bench(place: str) -> Bench:
    """Two points of a small system; the admin has changed something since."""
    made = Bench(place, privileged=os.geteuid() == 0)
    fill(made)
    made.take()
    Path(made.live, "etc/hosts").write_text("second\n")
    made.take()
    Path(made.live, "etc/hosts").write_text("a mistake\n")
    Path(made.live, "home/ann/new").write_text("written today\n")
    return made


def plan(bench: Bench, number: int, *scope: str) -> RollbackPlan:
    engine = bench.engine()
    return engine.plan(engine.resolve(str(number)), scope or ("system",), Job())


def in_tree(bench: Bench, path: str) -> str:
    return os.path.join(bench.store, "tree", path)


def empty(bench: Bench) -> None:
    for name in os.listdir(in_tree(bench, "")):
        shutil.rmtree(in_tree(bench, name))


def lose_home(bench: Bench) -> None:
    shutil.rmtree(in_tree(bench, "home"))


def truncate(bench: Bench) -> None:
    os.truncate(in_tree(bench, "home/ann/letter"), 0)


def make_it_a_link(bench: Bench) -> None:
    os.unlink(in_tree(bench, "home/ann/letter"))
    os.symlink("photo", in_tree(bench, "home/ann/letter"))


def open_to_all(bench: Bench) -> None:
    os.chmod(in_tree(bench, "etc/ssh/sshd_config"), 0o666)


@pytest.mark.parametrize("safety", [True, False], ids=["safe", "unsafe"])
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("happened", [empty, lose_home, truncate, make_it_a_link, open_to_all])
def test_a_point_that_was_emptied_is_not_rolled_back_to(bench: Bench, happened: Callable[[Bench], None], number: int,
                                                         safety: bool) -> None:
    """TS#167: an emptied point was listed like any other, and restoring it left no system. (What the live system still
    has, the safety point puts right in the store; then there is nothing against going on.)"""
    before = plan(bench, number)
    happened(bench)
    live = record(bench.live)
    assert [f.text for f in plan(bench, number).findings if f.level == "blocker" and "damaged" in f.text]
    try:
        bench.engine().rollback(before, Job(), safety_point=safety)
    except DamageError:
        must_equal(live, record(bench.live), "a rollback to a damaged point changed something")
    else:
        assert safety
        bench.check_live(bench.order[number - 1])


def test_what_is_whole_of_a_damaged_store_can_still_be_had(bench: Bench) -> None:
    lose_home(bench)
    chosen = plan(bench, 1, "path=/etc/hosts")
    assert not chosen.blocked
    bench.engine().rollback(chosen, Job(), safety_point=False)
    assert Path(bench.live, "etc/hosts").read_text() == "first etc/hosts\n"
    assert Path(bench.live, "home/ann/new").read_text() == "written today\n"


def test_damage_that_is_known_forbids_only_what_would_use_it(bench: Bench) -> None:
    """A verification remembers what it found, and so all plans know of it; the order in which the admin looks must not
    decide what can still be had."""
    lose_home(bench)
    os.chmod(in_tree(bench, "etc/ssh/sshd_config"), 0o666)
    engine = bench.engine()
    assert engine.verify(engine.points(), Job()).damage
    for reached in ("path=/home/ann", "path=/etc", "path=/etc/ssh/sshd_config", "files", "system"):
        assert plan(bench, 1, reached).blocked, reached
    chosen = plan(bench, 1, "path=/etc/hosts")
    warned = [f for f in chosen.findings if f.level == "warning" and "damaged" in f.text]
    assert len(warned) == 1 and "/home" in warned[0].text and not chosen.blocked
    bench.engine().rollback(chosen, Job(), safety_point=False)
    assert Path(bench.live, "etc/hosts").read_text() == "first etc/hosts\n"


def test_more_damage_than_is_kept_forbids_everything(bench: Bench) -> None:
    """Only fifty sentences are kept of a point: what the others were about, nobody can say."""
    for number in range(60):
        Path(bench.live, f"home/file{number}").write_text("x")
    bench.take()
    lose_home(bench)
    engine = bench.engine()
    engine.verify(engine.points(), Job())
    assert plan(bench, 3, "path=/etc/hosts").blocked


@pytest.mark.root
def test_damage_in_another_file_system_than_the_chosen_one(place: str) -> None:
    """What the store has lost of /home is nothing to a rollback of the root alone, and the other way round."""
    bench = Bench(place)
    with loops(Path(place)) as made:
        made.mount(made.make(), Path(bench.live, "home"))
        fill(bench)
        taken = Engine(sourced(bench)).snapshot(SnapshotRequest(), Job()).point
        Path(bench.live, "etc/hosts").write_text("a mistake\n")
        Path(bench.live, "home/ann/new").write_text("written today\n")
        os.unlink(in_tree(bench, "home/ann/letter"))
        engine = Engine(sourced(bench))
        for scope in ("system", "fs=/home"):
            found = [f.text for f in engine.plan(taken, (scope,), Job()).findings if f.level == "blocker"]
            assert len(found) == 1 and "/home/ann/letter is missing" in found[0], (scope, found)
        chosen = engine.plan(taken, ("fs=/",), Job())
        assert not [f.text for f in chosen.findings if f.level == "blocker"]
        engine.rollback(chosen, Job(), safety_point=False)
        assert Path(bench.live, "etc/hosts").read_text() == "first etc/hosts\n"
        assert Path(bench.live, "home/ann/new").read_text() == "written today\n"


def sourced(bench: Bench) -> Config:
    """Return a configuration whose points hold the file system at /home too."""
    return Config(store=bench.store, root=bench.live, excludes=(), retention=bench.retention, sources=("/", "/home"))


def test_a_flipped_bit_in_the_store_is_said_after_it_was_copied(bench: Bench) -> None:
    """Size and times of the file are as recorded, so only its checksum tells."""
    path = in_tree(bench, "home/ann/photo")
    info = os.stat(path)
    with open(path, "r+b") as file:
        file.write(b"F")
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    os.unlink(os.path.join(bench.live, "home/ann/photo"))
    result = bench.engine().rollback(plan(bench, 2), Job(), safety_point=False)
    assert not result.verified
    assert result.differences == ("/home/ann/photo: its content in the store is damaged",)


@pytest.mark.root
def test_exclusions_that_cannot_be_written_down_stop_it(bench: Bench) -> None:
    """TS#52: the list of what to leave alone did not fit on the full disk; the restore went on and erased /home."""
    Path(bench.config).write_text(Path(bench.config).read_text() + "\nexclude: [/home]\n")
    live = record(bench.live)
    words = bench.command("rollback", "1", "--yes", "--no-safety-point")
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", "mount -t tmpfs -o size=16k,nr_inodes=64 none /run && "
         "{ head -c 64k /dev/zero >/run/full 2>/dev/null; exec \"$@\"; }", "sh", *words],
        capture_output=True, text=True, env=child_env(), check=False)
    assert done.returncode == 1 and "room" in done.stderr, done
    must_equal(live, record(bench.live), "without its exclusions a rollback changed something")


def test_ctrl_c_in_a_rollback_loses_nothing_and_it_can_be_finished(bench: Bench) -> None:
    """TS#280: Ctrl-C in a pass that deleted first left the partition nearly empty."""
    many = Path(bench.live, "srv")
    many.mkdir()
    for number in range(4000):
        (many / f"{number:04}").write_text("old")
    point = bench.take()
    for path in many.iterdir():
        path.write_text("newer")
    (many / "added").write_text("since")
    both = set(record(bench.live))
    words = bench.command("rollback", point.id, "--yes", "--no-safety-point")
    with subprocess.Popen(words, env=child_env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_until("something is put back", lambda: process.poll() is not None or (many / "0000").read_text() == "old")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    found = set(record(bench.live))
    if process.returncode != 0:     # else it was quicker than we
        assert found >= both, "something was deleted before all was put back"
        assert bench.engine().status().rollback
        bench.engine().resume(Job())
    bench.check_live(point.id)


@pytest.mark.root
def test_what_is_mounted_in_the_tree_is_neither_taken_nor_touched(place: str) -> None:
    """TS#506 (a NAS), TJ#72 (overlays of containers), TJ#193 (the second disk): pulled in, or wiped."""
    bench = Bench(place)
    fill(bench)
    share = Path(bench.live, "mnt-share")
    share.mkdir()
    (share / "below").write_text("hidden by the mount\n")
    subprocess.run(["mount", "-t", "tmpfs", "none", share], check=True)
    try:
        (share / "theirs").write_text("on the server\n")
        engine = bench.engine()
        point = engine.snapshot(SnapshotRequest(), Job()).point
        assert [entry.path for entry in engine.listdir(point, b"mnt-share")] == [b"mnt-share/below"]
        (share / "since").write_text("written since\n")
        engine.rollback(engine.plan(point, ("system",), Job()), Job(), safety_point=False)
        assert sorted(os.listdir(share)) == ["since", "theirs"]
    finally:
        subprocess.run(["umount", share], check=True)
    assert (share / "below").read_text() == "hidden by the mount\n"


def test_a_home_that_was_left_out_stays(bench: Bench) -> None:
    """TS#434, TJ#679: "keep /home" overwrote it."""
    engine = bench.engine()
    engine.config = dataclasses.replace(engine.config, excludes=("/home",))
    before = {path: fact for path, fact in record(bench.live).items() if path.startswith(b"home")}
    engine.rollback(engine.plan(engine.resolve("1"), ("system",), Job()), Job(), safety_point=False)
    after = {path: fact for path, fact in record(bench.live).items() if path.startswith(b"home")}
    must_equal(before, after, "/home was to be left alone")
    assert Path(bench.live, "etc/hosts").read_text() == "first etc/hosts\n"


def test_points_that_cannot_be_read_are_kept_by_every_rule(bench: Bench) -> None:
    """TS#48, TS#477: emptied descriptions of points, and the next start deleted all of them as invalid."""
    for point in os.listdir(os.path.join(bench.store, "points")):
        os.truncate(os.path.join(bench.store, "points", point, "point.yaml"), 0)
    engine = bench.engine()
    assert [p.state for p in engine.points()] == ["damaged", "damaged"]
    assert engine.prune(Job()).removed == ()
    assert len(os.listdir(os.path.join(bench.store, "points"))) == 2
    with pytest.raises(RefusedError):
        engine.rollback(engine.plan(engine.resolve("1"), ("system",), Job()), Job())
