"""rollpoint.pyz: the whole program out of one file, on a Python that has no packages installed."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest

from engine.config import Config
from engine.errors import DamageError, RefusedError, UsageError
from engine.events import Job
from engine.rescue import kit, parts
from engine.results import SnapshotRequest
from engine.service import Engine
from tests.engine.harness import Bench
from tests.engine.shell import TEXT, run_script, toolbox
from tests.histories import apply, seeded
from tests.oracle import must_equal, record
from tests.tui.terminal import Terminal

BARE = ("-I", "-S")                                 # no packages, no environment, not the current directory


@pytest.fixture(scope="module")
def stick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the kit."""
    where = tmp_path_factory.mktemp("stick")
    kit.write(os.fsencode(where))
    return where


def tree(place: Path) -> Path:
    """A small tree with a file that changes."""
    root = place / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/hosts").write_text("one\n", encoding="ascii")
    return root


def run_pyz(program: Path, *words: str, cwd: str = "/") -> subprocess.CompletedProcess[str]:
    """Run the pyz with a Python that knows nothing else."""
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    return subprocess.run([sys.executable, *BARE, str(program), *words], cwd=cwd, env=env, capture_output=True,
                          text=True, errors="backslashreplace", stdin=subprocess.DEVNULL, timeout=120)


def answer(program: Path, *words: str) -> dict[str, object]:
    """Run a command that must succeed and return its JSON document."""
    done = run_pyz(program, *words, "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


# --- what is in it ---
def test_the_same_program_gives_the_same_bytes() -> None:
    first = kit.make()
    kit._made.cache_clear()
    again = kit.make()
    assert first is not again and first.files == again.files
    assert first.missing == ()
    print(f"rollpoint.pyz has {len(first.files[kit.PROGRAM]):,} bytes")
    assert 1 << 20 < len(first.files[kit.PROGRAM]) < 6 << 20


def test_it_holds_what_is_required_and_nothing_native(stick: Path) -> None:
    with zipfile.ZipFile(stick / "rollpoint.pyz") as archive:
        names = archive.namelist()
        assert archive.testzip() is None
    assert names == [names[0], *sorted(names[1:])] and names[0] == "__main__.py"
    tops = {name.partition("/")[0] for name in names}
    assert {"engine", "tui", "textual", "rich", "yaml", "markdown_it", "pygments", "platformdirs"} <= tops
    assert not {"pytest", "hypothesis", "tests", "mypy", "PIL", "pip"} & tops
    assert not [n for n in names if n.endswith((".so", ".pyc", ".pyd")) or "__pycache__" in n or ".." in n]
    assert {"tui/app.tcss", "engine/rescue/restore.sh"} <= set(names)
    assert any(n.startswith("textual-") and "LICENSE" in n for n in names)
    text = (stick / "rollpoint.pyz").read_bytes()
    assert text.startswith(b"#!/usr/bin/env python3\n") and os.fsencode(sys.prefix) not in text


def test_requirements_are_followed_by_their_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    packages = {name for name, _ in parts.collect_packages()}
    assert {"textual", "rich", "pyyaml", "linkify-it-py", "typing-extensions"} <= packages
    assert parts.collect().missing == ()
    monkeypatch.setattr(parts, "_requirements", lambda: ["nowhere-to-be-found>=1", "not-there; os_name == 'x'",
                                                         "other; extra == 'e'", "rich"])
    found = parts.collect()
    assert found.missing == ("nowhere-to-be-found",) and not found.whole
    assert {name for name, _ in found.packages} >= {"rich", "pygments"}


def test_packages_without_a_list_of_files_come_along_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Distributions' own packages have none."""
    listed = set(parts.collect().files)
    monkeypatch.setattr(metadata.Distribution, "files", None)
    again = set(parts.collect().files)
    code = {n for n in listed if n.endswith(".py") and not n.startswith("_yaml")}
    assert code <= again


# --- it runs ---
def test_it_needs_nothing_installed(stick: Path) -> None:
    probe = "import yaml"
    bare = subprocess.run([sys.executable, *BARE, "-c", probe], capture_output=True)
    assert bare.returncode != 0, "the isolation of this test does not hold"
    done = run_pyz(stick / "rollpoint.pyz", "--version")
    assert done.returncode == 0 and done.stdout.startswith("rollpoint "), done.stderr
    for words in ((), ("snapshot",), ("vms",), ("rescue-kit",), ("schedule",)):
        done = run_pyz(stick / "rollpoint.pyz", *words, "--help")
        assert done.returncode == 0 or "there is no command" in done.stderr, done.stderr


def test_points_are_taken_listed_compared_and_restored(stick: Path, tmp_path: Path) -> None:
    program, root = stick / "rollpoint.pyz", tree(tmp_path)
    places = ("--store", str(tmp_path / "store"), "--root", str(root))
    first = answer(program, *places, "snapshot", "-m", "first")
    (root / "etc/hosts").write_text("two\n", encoding="ascii")
    answer(program, *places, "snapshot")
    assert [p["id"] for p in answer(program, *places, "list")["points"]][-1] == first["id"]  # type: ignore[attr-defined]
    assert "hosts" in run_pyz(program, *places, "diff", "1", "2").stdout
    answer(program, *places, "restore", "1", "--to", str(tmp_path / "out"))
    assert (tmp_path / "out/etc/hosts").read_text() == "one\n"
    answer(program, *places, "verify", "--data")
    assert {"bytes", "files"} <= set(answer(program, "rescue-kit", str(tmp_path / "copy")))
    assert (tmp_path / "copy/rollpoint.pyz").read_bytes() == program.read_bytes()
    assert (tmp_path / "store/rescue/rollpoint.pyz").read_bytes() == program.read_bytes()


def test_the_app_paints_itself(stick: Path, tmp_path: Path) -> None:
    root = tree(tmp_path)
    config = Config(store=str(tmp_path / "store"), root=str(root), excludes=())
    Engine(config).snapshot(SnapshotRequest(comment="painted from the pyz"), Job())
    argv = [*BARE, str(stick / "rollpoint.pyz"), "--store", config.store, "--root", config.root]
    began = time.monotonic()
    with Terminal(argv, columns=100) as terminal:
        terminal.until("painted from the pyz", 30)
        print(f"first paint after {time.monotonic() - began:.1f} s")
        assert "Unable to" not in terminal.text
        colours = {cell.fg for _, _, cell in terminal.cells()}
        assert len(colours) > 2, "the style sheets were not found"
        terminal.type("q")
        assert terminal.wait() == 0


@pytest.mark.root
def test_a_rollback_from_the_app_runs_in_a_process_of_its_own(place: str) -> None:
    """The pyz itself may go meanwhile: the other process runs from a copy, and takes that away at its end."""
    where = Path(place)
    root, program = tree(where), where / "stick/rollpoint.pyz"
    kit.write(os.fsencode(program.parent))
    config = Config(store=str(where / "store"), root=str(root), excludes=())
    Engine(config).snapshot(SnapshotRequest(comment="before"), Job())
    (root / "etc/hosts").write_text("ruined\n", encoding="ascii")
    before = set(os.listdir("/run/rollpoint")) if os.path.isdir("/run/rollpoint") else set()
    argv = [*BARE, str(program), "--store", config.store, "--root", config.root]
    with Terminal(argv, columns=100, rows=30) as terminal:
        terminal.until("before", 30)
        terminal.type("r")
        terminal.until("enter Go on", 30)
        for wanted in ("It will", "Take a safety point first", "Roll back now?"):
            terminal.type("\r")
            terminal.until(wanted, 30)
        terminal.type("y", "e", "s", "\r")
        terminal.until(lambda: (root / "etc/hosts").read_text() == "one\n", 60)
        program.unlink()
        terminal.until("Verified: every entry", 60)
        terminal.type("\r", "q")
        terminal.wait()
    left = set(os.listdir("/run/rollpoint")) - before
    for name in left:
        os.unlink(os.path.join("/run/rollpoint", name))
    assert not [name for name in left if name.endswith((".pyz", ".order"))], left
    assert Engine(config).points()[0].tags == ("safety",)


# --- in the store ---
@pytest.fixture
def bench(place: str) -> Bench:
    """A store of three points."""
    bench = Bench(place)
    bench.play(seeded(5, privileged=os.geteuid() == 0, points=3))
    return bench


@pytest.fixture
def read_only(bench: Bench) -> Iterator[Bench]:
    """The same on a file system that nobody can write to."""
    subprocess.run(["mount", "--bind", bench.store, bench.store], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", bench.store], check=True)
        yield bench
    finally:
        subprocess.run(["umount", bench.store], check=True)


@pytest.mark.root
def test_a_store_that_cannot_be_written_to_brings_its_own_program(read_only: Bench) -> None:
    rescue = Path(read_only.store, "rescue")
    done = subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=rescue, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    places = ("--store", read_only.store)
    listed = answer(rescue / "rollpoint.pyz", *places, "list")["points"]
    assert [p["id"] for p in listed] == list(reversed(read_only.order))  # type: ignore[attr-defined]
    for number, point in enumerate(read_only.order):
        out = os.path.join(read_only.place, f"back{number}")
        answer(rescue / "rollpoint.pyz", *places, "restore", point, "--to", out)
        must_equal(read_only.records[point], record(out), point)
    with Terminal([*BARE, str(rescue / "rollpoint.pyz"), *places], columns=100) as terminal:
        terminal.until(read_only.order[-1][:10], 30)
        terminal.type("q")
        assert terminal.wait() == 0


@pytest.mark.root
def test_the_script_in_the_store_knows_its_store(read_only: Bench) -> None:
    tools = toolbox(os.path.join(read_only.place, "tools"), "dash")
    script = os.path.join(read_only.store, "rescue", "restore.sh")
    assert Path(script).read_bytes() == TEXT
    listed = run_script(tools, "list", script=script)
    assert listed.returncode == 0 and all(point in listed.stdout for point in read_only.order), listed.stderr
    done = run_script(tools, "1", os.path.join(read_only.place, "first"), script=script)
    assert done.returncode == 0, done.stderr
    must_equal(read_only.records[read_only.order[0]], record(os.path.join(read_only.place, "first")), "the first point")


@pytest.mark.root
def test_the_kit_is_written_again_only_when_the_program_changed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    rescue = Path(bench.store, "rescue")
    before = {p.name: p.stat().st_mtime_ns for p in rescue.iterdir()}
    assert set(before) == {"rollpoint.pyz", "restore.sh", "README.txt", "SHA256SUMS"}
    bench.take()
    assert {p.name: p.stat().st_mtime_ns for p in rescue.iterdir()} == before
    monkeypatch.setattr(parts, "fingerprint", lambda: "another program")
    bench.take()
    assert {p.name: p.stat().st_mtime_ns for p in rescue.iterdir()}.items().isdisjoint(before.items())
    assert b"kit: another program\n" in (rescue / "README.txt").read_bytes()
    (rescue / "SHA256SUMS").unlink()                # as after a crash while it was written
    assert bench.engine().verify(bench.engine().points(), Job()).damage == ()
    bench.take()
    assert (rescue / "SHA256SUMS").exists()
    bench.check()


@pytest.mark.root
def test_a_kit_that_cannot_be_made_is_a_warning(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise PermissionError(13, "Permission denied", "engine")

    monkeypatch.setattr(parts, "fingerprint", broken)
    job = Job()
    assert bench.engine().snapshot(SnapshotRequest(), job).point.newest
    assert len(job.warnings) == 1 and "rescue kit" in job.warnings[0]


@pytest.mark.root
@pytest.mark.parametrize("name", ["rollpoint.pyz", "restore.sh", "README.txt", "SHA256SUMS"])
def test_a_damaged_kit_is_found_and_mended(bench: Bench, name: str) -> None:
    path = Path(bench.store, "rescue", name)
    whole = path.read_bytes()
    for damaged in (whole[:20] + bytes([whole[20] ^ 1]) + whole[21:], whole[:-5], None):
        path.unlink()
        if damaged is not None:
            path.write_bytes(damaged)
        elif name == "SHA256SUMS":
            continue                                # that one is unfinished, not damaged
        report = bench.engine().verify(bench.engine().points(), Job())
        assert [d.point for d in report.damage] and all("rescue/" in d.text for d in report.damage), report
        assert {p.state for p in bench.engine().points()} == {"ok"}
        mended = bench.engine().repair(Job())
        assert mended.left == () and any("rescue kit" in line for line in mended.done)
        assert path.read_bytes() == whole
    apply(bench.world, seeded(6, privileged=True).points[0])
    bench.take()
    bench.check()


# --- on a stick ---
def test_the_kit_on_a_stick_is_whole(stick: Path) -> None:
    for line in (stick / "SHA256SUMS").read_text(encoding="ascii").splitlines():
        digest, _, name = line.partition("  ")
        assert hashlib.sha256((stick / name).read_bytes()).hexdigest() == digest
        assert not (stick / name).is_symlink() and stat.S_IMODE((stick / name).stat().st_mode) & 0o444 == 0o444
    assert len((stick / "README.txt").read_text(encoding="ascii").splitlines()) < 20


def test_wrong_places_for_the_kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("x", encoding="ascii")
    with pytest.raises(UsageError):
        kit.write(os.fsencode(tmp_path / "file"))
    (tmp_path / "store.yaml").write_text("x", encoding="ascii")
    with pytest.raises(RefusedError):
        kit.write(os.fsencode(tmp_path / "rescue"))
    (tmp_path / "stick").mkdir()
    (tmp_path / "stick" / "mine").write_text("x", encoding="ascii")
    monkeypatch.setattr(kit, "_read_back", lambda path: b"other")
    with pytest.raises(DamageError):
        kit.write(os.fsencode(tmp_path / "stick"))
    assert (tmp_path / "stick" / "mine").exists()
