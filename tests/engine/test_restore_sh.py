"""restore.sh alone: every point of random histories, damage, hostile names, poor tools, other users."""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.conftest import cannot_run
from tests.engine.fidelity import budget, by_script, run_chunk
from tests.engine.harness import Bench, discard
from tests.engine.shell import EXTRA, SCRIPT, SHELLS, run_script, script_copy, toolbox
from tests.engine.test_fidelity_user import NOBODY, as_nobody
from tests.histories import apply, seeded, some
from tests.oracle import Record, differences, must_equal, record
from tests.world import NAMES

pytestmark = pytest.mark.root


@pytest.fixture(autouse=True)
def shells() -> None:
    """Both shells must be here."""
    for name in ("dash", "busybox"):
        if not shutil.which(name):
            cannot_run(f"restore.sh under {name} (not installed)")


def rebuilt(bench: Bench, tools: str, point: str, *, status: int = 0, ignore: tuple[str, ...] = ()) -> str:
    """Let the script rebuild a point, compare it with what was recorded, and return what the script said."""
    out = os.path.join(bench.place, "out")
    done = run_script(tools, bench.store, point, out)
    assert done.returncode == status, done.stdout + done.stderr
    lines = differences(bench.records[point], record(out), ignore=ignore)
    assert not lines, "\n".join(lines[:20])
    discard(out)
    return done.stdout + done.stderr


def refused(bench: Bench, tools: str, point: str, *words: str) -> str:
    """Let the script fail, see that no result looks whole, and return what it said."""
    out = os.path.join(bench.place, "out")
    done = run_script(tools, bench.store, point, out)
    assert done.returncode == 1, done.stdout + done.stderr
    if os.path.exists(out) and os.listdir(out):
        assert any(name.startswith("UNFINISHED-restore.") for name in os.listdir(out)), os.listdir(out)
    discard(out)
    for word in words:
        assert word in done.stderr, done.stderr
    return done.stderr


@pytest.fixture(params=sorted(SHELLS))
def tools(request: pytest.FixtureRequest, place: str) -> str:
    """A toolbox for each kind of shell."""
    return toolbox(os.path.join(place, "tools"), str(request.param))


@pytest.fixture
def dash(place: str) -> str:
    """A toolbox with dash."""
    return toolbox(os.path.join(place, "tools-dash"), "dash")


@pytest.fixture
def bench(place: str) -> Bench:
    """A store of four points with packs."""
    bench = Bench(os.path.join(place, "bench"))
    apply(bench.world, seeded(31, privileged=True).start)
    for number in range(4):
        with open(os.path.join(bench.live, "each"), "wb") as file:
            file.write(random.Random(number).randbytes(30_000))
        with open(os.path.join(bench.live, f"own{number}"), "wb") as file:
            file.write(b"only here\n")
        apply(bench.world, some(200 + number, privileged=True))
        bench.take(f"comment {number}: it's")
    return bench


# --- it is exact ---
@pytest.mark.parametrize("chunk", range(budget(0.05)))
def test_every_point_of_random_histories(place: str, chunk: int) -> None:
    run_chunk(by_script, place, 50_000 + chunk)


def test_random_histories_of_an_ordinary_user(place: str) -> None:
    """In these rsync has to keep old versions from directories in directories that their owner has made read-only."""
    as_nobody(place, "by_script", 60_000)


def test_read_only_files_of_an_ordinary_user(place: str, tools: str) -> None:
    """With an attribute, the old content a delta or as in the tree; all of it belongs to the user."""
    os.chown(place, NOBODY, NOBODY)
    bench = Bench(os.path.join(place, "bench"))
    path, other = Path(bench.live, "image"), Path(bench.live, "other")
    for number in range(3):
        path.write_bytes(random.Random(1).randbytes(200_000) + b"%d" % number)
        other.write_bytes(b"the same")
        for file in (path, other):
            os.setxattr(file, "user.number", b"%d" % number)
            file.chmod(0o444)
        folder = Path(bench.live, "read-only")
        folder.mkdir(exist_ok=True)
        (folder / "same").write_bytes(b"in a directory that is read-only")
        (folder / "inner").mkdir(exist_ok=True)
        for place_ in (folder / "inner", folder):
            place_.chmod(0o500)
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", bench.live], check=True)
        bench.take()
    subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", bench.place], check=True)
    script = script_copy(place)
    for point in bench.order:
        out = os.path.join(bench.place, "out")
        done = run_script(tools, bench.store, point, out, script=script, user=NOBODY)
        assert done.returncode == 0, done.stdout + done.stderr
        must_equal(bench.records[point], record(out), point)
        discard(out)


def test_large_files_with_many_deltas(place: str, tools: str) -> None:
    bench = Bench(os.path.join(place, "bench"))
    path, rng = os.path.join(bench.live, "image"), random.Random(1)
    Path(path).write_bytes(rng.randbytes(3 << 20))
    for number in range(20):
        bench.take()
        with open(path, "r+b") as file:
            file.seek(rng.randrange(0, 700) * 4096)
            file.write(rng.randbytes(rng.randrange(1, 20_000)))
            file.truncate((3 << 20) + rng.randrange(-9000, 9000))
        if number == 9:
            bench.delete(bench.order[3], bench.order[5])
    bench.take()
    for point in (bench.order[0], bench.order[3], bench.order[9], bench.order[-2], bench.order[-1]):
        rebuilt(bench, tools, point)


def test_so_many_names_that_xargs_takes_several_goes(place: str, tools: str) -> None:
    bench = Bench(os.path.join(place, "bench"))
    many = [os.path.join(bench.live, f"{number:04} {'long name ' * 20}") for number in range(700)]
    for path in many:
        Path(path).write_text(path, encoding="ascii")
        os.utime(path, ns=(0, 10**18 + 5))
    bench.take()
    for path in many:
        os.chown(path, 33, 33)
        os.chmod(path, 0o600)
    bench.take()
    for path in many:
        os.unlink(path)
    bench.take()
    for point in bench.order:
        rebuilt(bench, tools, point)


def test_a_file_larger_than_a_pack_comes_out_with_its_holes(place: str, tools: str) -> None:
    bench = Bench(os.path.join(place, "bench"))
    path = os.path.join(bench.live, "large")
    with open(path, "wb") as file:
        file.write(random.Random(2).randbytes(40 << 20))
        file.truncate(60 << 20)
    bench.take()
    os.unlink(path)
    bench.take()
    rebuilt(bench, tools, bench.order[0])


def test_every_hostile_name_as_file_and_directory(place: str, tools: str) -> None:
    bench = Bench(os.path.join(place, "bench"))
    root = os.fsencode(bench.live)
    names = [*NAMES, b"\n", b"x\n", b"\n\n", b"-", b" ", b"UNFINISHED-restore", b"%s", b"\\055", b"\t", b"*",
             b"'; exit"]
    for number, name in enumerate(names):
        os.makedirs(root + b"/d/" + name + b"/" + name)
        Path(os.fsdecode(root + b"/" + name)).write_bytes(b"%d" % number)
        os.symlink(name, root + b"/d/" + name + b"/link")
        os.setxattr(root + b"/d/" + name, "user.n", name)
    bench.take()
    for number, name in enumerate(names):
        Path(os.fsdecode(root + b"/" + name)).write_bytes(b"other %d" % number)
        if number % 2:
            shutil.rmtree(root + b"/d/" + name)
    bench.take()
    for name in names:
        os.unlink(root + b"/" + name)
        os.mkdir(root + b"/" + name)
    bench.take()
    for point in bench.order:
        rebuilt(bench, tools, point)


def test_symbolic_links_lead_nowhere(bench: Bench, tools: str) -> None:
    """What was a directory is a link to one elsewhere now, and the other way round: nothing elsewhere changes."""
    outside = os.path.join(bench.place, "outside")
    os.makedirs(os.path.join(outside, "sub"))
    for path in ("file", "sub/file"):
        Path(outside, path).write_text("mine", encoding="ascii")
    trap, real = os.path.join(bench.live, "trap"), os.path.join(bench.live, "real")
    os.makedirs(os.path.join(trap, "sub"))
    for path in ("file", "sub/file", "more"):
        Path(trap, path).write_text("old", encoding="ascii")
    os.symlink(outside, real)
    bench.take()
    shutil.rmtree(trap)
    bench.take()
    os.symlink(outside, trap)
    os.unlink(real)
    os.makedirs(os.path.join(real, "sub"))
    Path(real, "sub/file").write_text("real", encoding="ascii")
    bench.take()
    before = record(outside)
    for point in bench.order[-3:]:
        rebuilt(bench, tools, point)
    must_equal(before, record(outside), "something outside of the target changed")


def test_inherited_acls_of_the_target_do_not_get_in(bench: Bench, tools: str) -> None:
    out = os.path.join(bench.place, "out")
    os.mkdir(out)
    os.chmod(out, 0o2777)
    subprocess.run(["setfacl", "-d", "-m", "u:33:rwx", out], check=True)
    for point in (bench.order[0], bench.order[-1]):
        done = run_script(tools, bench.store, point, out)
        assert done.returncode == 0, done.stderr
        must_equal(bench.records[point], record(out), "it came back different")
        for name in os.listdir(out):
            subprocess.run(["rm", "-rf", "--", os.path.join(out, name)], check=True)


# --- it is careful ---
def test_the_store_is_not_touched(bench: Bench, dash: str) -> None:
    before = record(bench.store)
    rebuilt(bench, dash, bench.order[0])
    run_script(dash, bench.store, "list")
    must_equal(before, record(bench.store), "the store was written to")


def test_a_store_on_a_read_only_mount(bench: Bench, tools: str) -> None:
    subprocess.run(["mount", "--bind", bench.store, bench.store], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", bench.store], check=True)
        for point in bench.order:
            rebuilt(bench, tools, point)
    finally:
        subprocess.run(["umount", bench.store], check=True)


FILES = ["pack-000.tar.zst", "changes.zst", "SHA256SUMS", "../point.yaml", "../../../store.yaml"]


def packs_of(bench: Bench, index: int) -> Path:
    return Path(bench.store, "points", bench.order[index], "diff")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("sums", [True, False], ids=["sha256sum", "no-sha256sum"])
def test_a_flipped_byte_is_refused(bench: Bench, place: str, name: str, sums: bool) -> None:
    if not sums and name.endswith(("yaml", "SUMS")):
        return                                      # nothing else can see it, and nothing is made from it
    box = toolbox(os.path.join(place, "few"), "dash", tuple(t for t in EXTRA if sums or t != "sha256sum"))
    flip(packs_of(bench, 0) / name)
    assert "damage" in refused(bench, box, bench.order[0]) or not sums


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_refused(bench: Bench, dash: str, name: str) -> None:
    os.unlink(packs_of(bench, 0) / name)
    refused(bench, dash, bench.order[0])


def test_a_missing_difference_or_file_of_the_tree_is_refused(bench: Bench, dash: str) -> None:
    shutil.rmtree(packs_of(bench, 1))
    refused(bench, dash, bench.order[0], "cannot be told which point tree/ is")
    rebuilt_tree = os.path.join(bench.store, "tree", "own0")
    assert os.path.exists(rebuilt_tree)


def test_a_damaged_file_of_the_tree_is_refused_where_it_is_needed(bench: Bench, dash: str) -> None:
    os.chown(os.path.join(bench.live, "own0"), 33, 33)
    bench.take()
    tree = Path(bench.store, "tree", "own0")
    info = tree.stat()
    tree.write_bytes(b"only herE\n")
    os.utime(tree, ns=(info.st_atime_ns, info.st_mtime_ns))
    refused(bench, dash, bench.order[-2], "own0")
    tree.unlink()
    refused(bench, dash, bench.order[-2], "own0")


def test_an_unfinished_snapshot_is_refused(bench: Bench, dash: str) -> None:
    Path(bench.store, "journal.yaml").write_text("operation: snapshot\n", encoding="ascii")
    for point in bench.order:
        refused(bench, dash, point, "journal.yaml", "repair")


def test_wrong_targets_and_points_are_refused(bench: Bench, dash: str) -> None:
    out = os.path.join(bench.place, "out")
    os.mkdir(out)
    Path(out, "mine").write_text("mine", encoding="ascii")
    done = run_script(dash, bench.store, "1", out)
    assert done.returncode == 1 and "not empty" in done.stderr and os.listdir(out) == ["mine"]
    before = record(bench.store)
    for target in ("work/out", "tree", "new", "points/../new"):
        done = run_script(dash, bench.store, "1", os.path.join(bench.store, target))
        assert done.returncode == 1, done.stdout
    must_equal(before, record(bench.store), "the store was written to")
    for point in ("9", "2", "nothing", "20", "-1", ".*"):
        done = run_script(dash, bench.store, point, os.path.join(bench.place, "other"))
        assert (done.returncode == 1) == (point != "2"), done.stderr
        if point != "2":
            assert "there is no point" in done.stderr
    for words in ((), ("a", "b", "c", "d"), (bench.store, "", out), ("--help",)):
        assert run_script(dash, *words).returncode == 2
    assert run_script(dash, bench.place, "list").returncode == 1


def test_stopping_it_leaves_a_mark(bench: Bench, dash: str) -> None:
    out = os.path.join(bench.place, "out")
    slow = os.path.join(dash, "zstd")
    os.unlink(slow)
    Path(slow).write_text("#!/bin/sh\n/bin/sleep 30\n", encoding="ascii")
    os.chmod(slow, 0o755)
    child = subprocess.Popen([os.path.join(dash, "sh"), SCRIPT, bench.store, "1", out], env={"PATH": dash}, cwd="/",
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    assert child.stdout is not None
    while b"reading the differences" not in child.stdout.readline():
        assert child.poll() is None
    os.killpg(child.pid, 15)
    child.communicate(timeout=20)
    assert child.returncode != 0
    assert [n.rpartition(".")[0] for n in os.listdir(out)] == ["UNFINISHED-restore"]


# --- it makes do with what there is ---
def test_the_list(bench: Bench, tools: str) -> None:
    bench.engine().annotate(bench.engine().resolve("2"), pinned=True)
    flip(Path(bench.store, "points", bench.order[2], "point.yaml"))
    done = run_script(tools, bench.store, "list")
    assert done.returncode == 0, done.stderr
    lines = sorted(done.stdout.splitlines()[1:], key=lambda line: line.split()[1])
    assert bench.order == [line.split()[1] for line in lines]
    marks = [[mark for mark in ("newest", "pinned", "damaged") if f"[{mark}]" in line] for line in lines]
    assert marks == [[], ["pinned"], ["damaged"], ["newest"]]
    assert "comment 0: it's" in done.stdout


def test_points_by_number_prefix_and_latest(bench: Bench, dash: str) -> None:
    out = os.path.join(bench.place, "out")
    for spec, index in (("1", 0), ("latest", -1), (bench.order[2], 2)):
        done = run_script(dash, bench.store, spec, out)
        assert done.returncode == 0, done.stderr
        must_equal(bench.records[bench.order[index]], record(out), spec)
        discard(out)


def test_without_setfattr_what_is_left_out_is_named(bench: Bench, place: str) -> None:
    path = Path(bench.live, "with attribute")
    path.write_text("x", encoding="ascii")
    os.setxattr(path, "user.mark", b"x")
    bench.take()
    path.unlink()
    bench.take()
    marked = bench.order[-2]
    only_acls = toolbox(os.path.join(place, "acl"), "dash", ("sha256sum", "tar", "setfacl"))
    nothing = toolbox(os.path.join(place, "none"), "all-busybox", ("sha256sum", "tar"))
    for box in (only_acls, nothing):
        said = rebuilt(bench, box, marked, status=3, ignore=("xattrs", "mode"))
        assert "no setfattr here" in said and "./with\\040attribute" in said


def test_acls_without_setfattr(place: str) -> None:
    bench = Bench(os.path.join(place, "bench"))
    os.mkdir(os.path.join(bench.live, "d"))
    Path(bench.live, "d", "f").write_text("x", encoding="ascii")
    for argv in (["-m", "u:1000:rw-,g:50:r--,m::rw-"], ["-d", "-m", "u:33:rwx,o::--x"]):
        subprocess.run(["setfacl", *argv, os.path.join(bench.live, "d")], check=True)
    subprocess.run(["setfacl", "-m", "u:3000000000:r-x", os.path.join(bench.live, "d", "f")], check=True)
    bench.take()
    subprocess.run(["setfacl", "-R", "-b", "-k", bench.live], check=True)
    os.chmod(os.path.join(bench.live, "d", "f"), 0o600)
    bench.take()
    box = toolbox(os.path.join(place, "acl"), "all-busybox", ("sha256sum", "tar", "setfacl"))
    said = rebuilt(bench, box, bench.order[0])
    assert "warning" not in said


def test_an_ordinary_user_hears_what_only_root_can_do(bench: Bench, dash: str) -> None:
    """Somebody who may read the store of another, as from a copy of it, gets the contents as his own."""
    os.chmod(bench.place, 0o755)
    copy, out = os.path.join(bench.place, "copy"), os.path.join(bench.place, "his")
    subprocess.run(["rsync", "-aHAXS", bench.store + "/", copy + "/"], check=True)
    os.makedirs(out)
    os.chown(out, NOBODY, NOBODY)
    os.chmod(copy, 0o755)
    for base, _, names in os.walk(copy):
        for name in names:
            if stat.S_ISREG(os.lstat(os.path.join(base, name)).st_mode):
                os.chmod(os.path.join(base, name), 0o644)
        os.chmod(base, 0o755)
    target = os.path.join(out, "point")
    done = run_script(dash, copy, "1", target, script=script_copy(bench.place), user=NOBODY)
    if done.returncode == 1:                        # the tree itself has what only root can copy
        assert any(n.startswith("UNFINISHED-restore.") for n in os.listdir(target)), done.stderr
        return
    assert done.returncode == 3 and "not root" in done.stderr, done.stderr
    facts: Record = {p: f for p, f in bench.records[bench.order[0]].items() if f.type not in ("block", "char")}
    lines = differences(facts, record(target), ignore=("uid", "gid", "mode", "xattrs"))
    assert not lines, lines
