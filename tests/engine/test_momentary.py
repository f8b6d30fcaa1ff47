"""A point of btrfs is read from momentary snapshots: all of it is from one moment, and nothing of them is left behind,
however it ends. The rsync of these tests is the real one behind a gate, so that what happens meanwhile is certain."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.config import Config, Retention
from engine.errors import RefusedError
from engine.events import Job
from engine.machine.momentparts import PREFIX, finished, is_left_over, new_name
from engine.machine.mounts import Space
from engine.results import SnapshotRequest
from engine.service import Engine
from tests.engine.harness import CHECKOUT, child_env, descendants, wait_until
from tests.engine.loops import Loops, loops, run
from tests.oracle import must_equal, record

pytestmark = pytest.mark.root
_FILES = 60


class System:
    """A root subvolume with a nested one, one that is read-only, and /home of its own, all of one btrfs; a store beside
    it. `gate` is a FIFO at which the copy waits once the momentary snapshots are there."""

    def __init__(self, made: Loops, place: Path) -> None:
        self.place, self.loops = place, made
        self.device = made.make("btrfs", mib=256)
        self.top = made.mount(self.device, place / "top")
        for name in ("@", "@home", "@/nested", "@/fixed"):
            run("btrfs", "subvolume", "create", str(self.top / name))
        self.root = self.top / "@"
        for name in ("", "nested", "fixed"):
            self.fill(self.root / name, "0")
        self.fill(self.top / "@home", "0")
        run("btrfs", "property", "set", str(self.top / "@/fixed"), "ro", "true")
        (self.root / "home").mkdir()
        (self.root / "etc").mkdir()
        (self.root / "etc/fstab").write_text("UUID=x / btrfs subvol=@ 0 0\nUUID=x /home btrfs subvol=@home 0 0\n")
        self.root = made.mount(self.device, place / "root", "-o", "subvol=@")
        made.mount(self.device, self.root / "home", "-o", "subvol=@home")
        self.bin = place / "bin"
        self.bin.mkdir()
        self.gate = place / "gate"
        self.arrived = place / "arrived"

    @staticmethod
    def fill(directory: Path, text: str) -> None:
        for number in range(_FILES):
            (directory / f"file{number:02}").write_text(text * 8)

    def change(self) -> None:
        """Make everything that can be changed another thing than it was."""
        for place in ("", "nested", "home"):
            self.fill(self.root / place, "9")
            (self.root / place / "file00").unlink()
            (self.root / place / "new").write_text("new")

    def closed(self) -> None:
        """Let the next copy stop at the gate."""
        self.arrived.unlink(missing_ok=True)
        self.gate.unlink(missing_ok=True)
        os.mkfifo(self.gate)
        self.program("rsync", f'*--delete-excluded*) touch "{self.arrived}"; : <"{self.gate}";;')

    def program(self, name: str, case: str) -> None:
        """Put a shell script before a real program: it does what this case of its arguments says, and then the rest."""
        path = self.bin / name
        path.write_text(f'#!/bin/sh\ncase "$*" in\n{case}\nesac\nexec {shutil.which(name)} "$@"\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def start(self, *words: str, consistent: str = "required") -> subprocess.Popen[str]:
        """Start a command of Rollpoint with these programs before the real ones."""
        config = self.place / "config.yaml"
        config.write_text(f"consistent: {consistent}\nexcludes: []\nretention: {{max_store_ratio: null}}\n")
        config.chmod(0o644)
        argv = [sys.executable, "-m", "tui.cli", "--config", str(config), "--store", str(self.place / "store"),
                "--root", str(self.root), *(words or ("snapshot",))]
        return subprocess.Popen(argv, cwd=CHECKOUT, env=child_env({"PATH": f"{self.bin}:{os.environ['PATH']}"}),
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                start_new_session=True)

    def snapshot(self, consistent: str = "required") -> tuple[int, str]:
        """Take a point; returns the exit code and what was said on stderr."""
        process = self.start(consistent=consistent)
        said = process.communicate(timeout=120)[1]
        return process.returncode, said

    @contextlib.contextmanager
    def at_the_gate(self, consistent: str = "required") -> Iterator[subprocess.Popen[str]]:
        """Take a point and stop before its copy; it goes on at the end, if it still lives."""
        self.closed()
        process = self.start(consistent=consistent)
        family: list[int] = []
        try:
            wait_until("the copy begins", lambda: self.arrived.exists() or process.poll() is not None, 60)
            assert process.poll() is None, process.communicate()[1]
            family = descendants(process.pid)
            yield process
            wait_until("the gate opens", lambda: process.poll() is not None or self._opened())
            process.wait(timeout=120)
        finally:
            for pid in (process.pid, *family):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.communicate()

    def _opened(self) -> bool:
        try:
            os.close(os.open(self.gate, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:         # nobody reads it yet
            return False
        return True

    def momentary(self) -> list[str]:
        """Return the names of the momentary snapshots that exist."""
        return sorted(name for name in os.listdir(self.top) if name.startswith(PREFIX))

    def engine(self) -> Engine:
        return Engine(Config(store=str(self.place / "store"), root=str(self.root), excludes=(),
                             retention=Retention(max_store_ratio=None)))

    def tree(self) -> Path:
        return self.place / "store/tree"


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    if not shutil.which("mkfs.btrfs"):
        pytest.skip("CANNOT RUN: not installed: btrfs-progs")
    with loops(tmp_path) as made:
        yield System(made, tmp_path)


def test_everything_in_the_point_is_from_the_moment_before_the_copy(system: System) -> None:
    """Also what lies in nested subvolumes and on another volume; and the source is none the worse for it."""
    before, top = record(str(system.root)), os.stat(system.top).st_mtime_ns
    with system.at_the_gate() as process:
        assert len(system.momentary()) == 3         # /, nested, /home; what is read-only needs none
        system.change()
        after = record(str(system.root))
    assert process.returncode == 0
    must_equal(before, record(str(system.tree())), "the point is not of the moment before the copy")
    must_equal(after, record(str(system.root)), "taking a point changed the source")
    assert os.stat(system.top).st_mtime_ns == top
    assert system.momentary() == []
    sources = system.engine().points()[0].doc["sources"]
    assert [(s["mount"], s["device"], s["within"], s["momentary"]) for s in sources] == [
        ("/", system.device, "@", True), ("/home", system.device, "@home", True)]


def test_without_it_the_point_is_a_mixture(system: System) -> None:
    """Else the tests here would prove nothing."""
    with system.at_the_gate("off"):
        assert system.momentary() == []
        system.change()
        after = record(str(system.root))
    must_equal(after, record(str(system.tree())), "the files were not read after the gate")
    assert all("momentary" not in s for s in system.engine().points()[0].doc["sources"])


def test_a_writer_that_never_rests_leaves_no_gap(system: System) -> None:
    """It writes one number after another into the files in turn: at any one moment those up to some file hold n + 1,
    and those after it n."""
    paths, done = [system.root / f"file{number:02}" for number in range(_FILES)], threading.Event()
    rounds = 0

    def write() -> None:
        nonlocal rounds
        files = [os.open(path, os.O_WRONLY) for path in paths]
        while not done.is_set():
            rounds += 1
            for file in files:
                os.pwrite(file, b"%08d" % rounds, 0)
        for file in files:
            os.close(file)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with system.at_the_gate():
            at_gate = rounds
            wait_until("all is written once more", lambda: rounds > at_gate + 2)
    finally:
        done.set()
        writer.join()
    numbers = [int((system.tree() / path.name).read_text()) for path in paths]
    assert numbers == sorted(numbers, reverse=True) and numbers[0] - numbers[-1] <= 1, numbers
    assert 0 < numbers[0] <= at_gate


def test_a_later_point_holds_just_what_has_changed(system: System) -> None:
    """Another subvolume every time, with other numbers of device and inode at its root: that is no change."""
    assert system.snapshot() == (0, "")
    (system.root / "file07").write_text("later")
    assert system.snapshot() == (0, "")
    assert system.engine().points()[0].doc["changed"] | {"bytes_copied": 0} == {
        "created": 0, "changed": 1, "deleted": 0, "attrs": 0, "bytes_copied": 0}


def test_the_top_level_itself_is_a_source(system: System) -> None:
    """The snapshots appear in the very directory that is taken; the point knows nothing of them."""
    system.loops.umount(system.root)
    system.root = system.top
    (system.top / f"{PREFIX}notes").write_text("only begins like one")
    before = record(str(system.root))
    del before[f"{PREFIX}notes".encode()]
    with system.at_the_gate():
        assert len(system.momentary()) == 4 + 1
        (system.top / "@/file01").write_text("changed")
    assert system.momentary() == [f"{PREFIX}notes"]
    must_equal(before, record(str(system.tree())), "the point is not what was there")


def test_a_plain_directory_of_a_subvolume_is_a_source(system: System) -> None:
    root = system.root / "srv/project"
    root.mkdir(parents=True)
    run("btrfs", "subvolume", "create", str(root / "inner"))
    system.fill(root, "0")
    system.fill(root / "inner", "0")
    system.root = root
    before = record(str(root))
    with system.at_the_gate():
        for place in (root, root / "inner"):
            system.fill(place, "9")
    must_equal(before, record(str(system.tree())), "the point is not of the moment before the copy")
    assert system.momentary() == []


# --- however it ends -----------------------------------------------------------------------------------------------


def test_nothing_is_left_when_the_copy_fails(system: System) -> None:
    system.program("rsync", "*--delete-excluded*) exit 11;;")
    code, said = system.snapshot()
    assert code == 1 and "failed with status 11" in said, said
    assert system.momentary() == [] and system.engine().points() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_left_when_it_is_stopped(system: System, number: signal.Signals) -> None:
    with system.at_the_gate() as process:
        assert len(system.momentary()) == 3
        process.send_signal(number)
        process.wait(timeout=60)        # the gate is still closed
    assert process.returncode == 1
    assert system.momentary() == [] and system.engine().points() == []


def test_what_a_kill_has_left_is_removed_by_the_next(system: System) -> None:
    with system.at_the_gate() as process:
        process.kill()
        process.wait(timeout=60)
        left = system.momentary()
        assert len(left) == 3
    (system.bin / "rsync").unlink()
    code, said = system.snapshot()
    assert code == 3 and all(f"removed the momentary snapshot {name}" in said for name in left), said
    assert system.momentary() == []
    assert system.snapshot() == (0, "")


def test_what_another_one_is_reading_from_stays(system: System) -> None:
    """Two stores of one machine: the names tell whose process lives."""
    with system.at_the_gate() as process:
        first = system.momentary()
        other = Engine(Config(store=str(system.place / "other"), root=str(system.root), excludes=(),
                              consistent=(("*", "required"),), retention=Retention(max_store_ratio=None)))
        job = Job()
        other.snapshot(SnapshotRequest(), job)
        assert job.warnings == [] and system.momentary() == first
    assert process.returncode == 0 and system.momentary() == []


def test_what_cannot_be_removed_is_named(system: System) -> None:
    system.program("btrfs", "'subvolume delete'*) echo 'out of order' >&2; exit 1;;")
    code, said = system.snapshot()
    left = system.momentary()
    assert code == 3 and len(left) == 3
    assert said.count("could not be removed: ") == 2 and "out of order" in said
    for name in left:
        assert f"/mnt/{name}" in said
    assert f"remove it by hand: mount -o subvolid=5 {system.device} /mnt && btrfs subvolume delete /mnt/" in said
    assert system.engine().points()[0].doc["sources"][0]["momentary"] is True
    (system.bin / "btrfs").unlink()
    assert system.snapshot()[0] == 3 and system.momentary() == []


def test_a_snapshot_that_was_taken_away_fails_the_point(system: System) -> None:
    with system.at_the_gate() as process:
        run("btrfs", "subvolume", "delete", str(system.top / system.momentary()[0]))
    assert process.returncode == 1
    assert system.momentary() == [] and system.engine().points() == []


# --- where there is none to be had ---------------------------------------------------------------------------------


def test_where_none_can_be_made_auto_says_why_and_required_refuses(system: System) -> None:
    system.program("btrfs", "'subvolume snapshot'*@home*) echo 'no more today' >&2; exit 1;;")
    code, said = system.snapshot("required")
    assert code == 5 and "no momentary snapshot of /home can be made" in said and "no more today" in said, said
    assert system.momentary() == [] and system.engine().points() == []
    code, said = system.snapshot("auto")
    assert code == 3 and "/home is read as it is, without a momentary snapshot: btrfs failed" in said, said
    assert system.momentary() == []
    sources = system.engine().points()[0].doc["sources"]
    assert [s.get("momentary") for s in sources] == [True, None]
    must_equal(record(str(system.root)), record(str(system.tree())), "the point is not what was there")


def test_each_file_system_has_its_own_word(system: System) -> None:
    system.program("btrfs", "'subvolume snapshot'*@home*) exit 1;;")
    assert system.snapshot("{/: required}") == (0, "")
    assert [s.get("momentary") for s in system.engine().points()[0].doc["sources"]] == [True, None]
    code, said = system.snapshot("{/: required, /srv: required}")
    assert code == 5 and "/srv has to be consistent, and is not among what is taken" in said, said
    code, said = system.snapshot("{/srv: auto}")
    assert code == 3 and "`consistent` names /srv, which is not among what is taken" in said, said


def taken(place: Path, way: str) -> list[str]:
    """Take a point of PLACE/root that is to be consistent in that way; returns the warnings."""
    job = Job()
    Engine(Config(store=str(place / "store"), root=str(place / "root"), excludes=(), consistent=(("*", way),),
                  retention=Retention(max_store_ratio=None))).snapshot(SnapshotRequest(), job)
    return job.warnings


def test_a_partition_has_none(tmp_path: Path) -> None:
    with loops(tmp_path) as made:
        device = made.make("ext4")
        made.mount(device, tmp_path / "root")
        why = f"ext4 on {device} is neither btrfs nor ZFS nor on a logical volume"
        with pytest.raises(RefusedError, match=why):
            taken(tmp_path, "required")
        assert taken(tmp_path, "auto") == [f"/ is read as it is, without a momentary snapshot: {why}"]


def test_a_file_system_that_is_mounted_read_only_is_left_so(system: System) -> None:
    """The mount that a snapshot needs would make it writable behind the admin's back."""
    for where in (system.root / "home", system.root, system.top):
        system.loops.umount(where)
    system.loops.mount(system.device, system.root, "-o", "ro,subvol=@")
    code, said = system.snapshot("auto")
    assert code == 3 and "/ is read as it is, without a momentary snapshot: it is mounted read-only" in said, said
    assert run("findmnt", "-n", "-o", "FS-OPTIONS", str(system.root)).startswith("ro,")


def test_an_ordinary_user_is_told_that_he_makes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.machine.mounts.private_space", Space)
    (tmp_path / "root").mkdir()
    with pytest.raises(RefusedError, match="only root can make them"):
        taken(tmp_path, "required")
    said = "the files are read as they are, without momentary snapshots: only root can make them"
    assert taken(tmp_path, "auto") == [said]


# --- names ---------------------------------------------------------------------------------------------------------


def test_names_tell_whose_process_still_runs() -> None:
    mine = new_name()
    assert not is_left_over(mine)
    finished(mine)
    assert is_left_over(mine)           # of ours, and nobody reads from it any more
    pid, start = mine.removeprefix(PREFIX).split("-")[:2]
    with subprocess.Popen(["sleep", "60"]) as other:
        fields = Path(f"/proc/{other.pid}/stat").read_text().rpartition(")")[2].split()
        living = f"{PREFIX}{other.pid}-{fields[19]}-1"
        assert not is_left_over(living)
        assert is_left_over(f"{PREFIX}{other.pid}-{int(fields[19]) + 1}-1")     # its number went to another one
        other.kill()
    assert is_left_over(living)
    assert pid == str(os.getpid()) and int(start) > 0
    for name in (PREFIX, f"{PREFIX}1", f"{PREFIX}notes", f"x{living}", f"{living}-2", f"{living}x"):
        assert not is_left_over(name)
