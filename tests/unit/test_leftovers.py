"""Scratch directories of killed processes are swept, and nothing else is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine import leftovers
from tests.conftest import unmount_below


@pytest.fixture
def dead() -> int:
    """The id of a process that is gone."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    unmount_below(str(tmp_path))


def left(place: Path, name: str) -> Path:
    """A directory with something in it, and with a symbolic link that leads out."""
    path = place / name
    (path / "below").mkdir(parents=True)
    path.chmod(0o700)
    (path / "below/file").write_text("x")
    (place / "outside").mkdir(exist_ok=True)
    (place / "outside/file").write_text("kept")
    (path / "link").symlink_to(place / "outside")
    return path


def test_one_of_a_dead_process_goes_and_no_other(place: Path, dead: int) -> None:
    old = left(place, f"rollpoint-{dead}-abc")
    kept = [left(place, name) for name in (f"rollpoint-{os.getpid()}-abc", "rollpoint-abc", f"other-{dead}-abc")]
    foreign = left(place, f"rollpoint-{dead}-shared")
    foreign.chmod(0o755)
    (place / f"rollpoint-{dead}-link").symlink_to(place / "outside")
    assert leftovers.sweep(bytes(place)) == [bytes(old)]
    assert not old.exists() and all((path / "below/file").exists() for path in (*kept, foreign))
    assert (place / "outside/file").read_text() == "kept" and (place / f"rollpoint-{dead}-link").is_symlink()


def test_one_that_a_process_stands_in_stays(place: Path, dead: int) -> None:
    old = left(place, f"rollpoint-{dead}-abc")
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, cwd=old / "below") as user:
        assert leftovers.sweep(bytes(place)) == []
        assert user.stdin is not None
        user.stdin.close()
    assert leftovers.sweep(bytes(place)) == [bytes(old)]


@pytest.mark.root
@pytest.mark.parametrize("below", ["", "below"])
def test_one_with_a_mount_stays_also_when_only_another_namespace_has_it(place: Path, dead: int, below: str) -> None:
    old = left(place, f"rollpoint-{dead}-abc")
    holder = ["unshare", "--mount", "--propagation", "private", "sh", "-c",
              'mount -t tmpfs none "$1" && touch "$1/precious" && echo ready && cat', "sh", str(old / below)]
    with subprocess.Popen(holder, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
        assert user.stdout is not None and user.stdout.readline() == b"ready\n"
        assert leftovers.sweep(bytes(place)) == [] and (old / "below/file").exists()
        assert user.stdin is not None
        user.stdin.close()
    assert leftovers.sweep(bytes(place)) == [bytes(old)]


@pytest.mark.root
def test_the_first_scratch_directory_of_a_process_sweeps(dead: int) -> None:
    name = Path(f"/run/rollpoint-{dead}-test")
    name.mkdir(mode=0o700)
    try:
        subprocess.run([sys.executable, "-c", "from engine import run; run.scratch().cleanup()"], check=True,
                       cwd=Path(__file__).resolve().parents[2])
        assert not name.exists()
    finally:
        if name.exists():
            name.rmdir()
