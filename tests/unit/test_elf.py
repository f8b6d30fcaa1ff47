"""Programs with another loader: what readelf reads, and a program that runs."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from engine.errors import RollpointError
from engine.rescue import elf


def loader_of(path: str) -> str:
    """What readelf says: an oracle of its own."""
    said = subprocess.run(["readelf", "-lW", path], capture_output=True, text=True, check=True).stdout
    found = re.search(r"program interpreter: (.*?)\]", said)
    return found[1] if found else ""


@pytest.mark.parametrize("name", ["cat", "mount", "rsync"])
def test_another_loader_is_written_where_the_first_stood(name: str, tmp_path: Path) -> None:
    path = shutil.which(name)
    if path is None or shutil.which("readelf") is None:
        pytest.skip(f"CANNOT RUN: loaders of programs ({name} or readelf is not installed)")
    data = Path(path).read_bytes()
    found = elf.interp(data)
    assert found is not None and os.fsdecode(found.name) == loader_of(path)
    other = tmp_path / name
    other.write_bytes(elf.started_by(data, b"/run/rp/ld.so"))
    assert loader_of(str(other)) == "/run/rp/ld.so" and other.stat().st_size == len(data)
    assert elf.started_by(other.read_bytes(), found.name) == data, "and nothing else was changed"


def test_a_program_runs_with_it(tmp_path: Path) -> None:
    path = str(shutil.which("cat"))
    data = Path(path).read_bytes()
    found = elf.interp(data)
    assert found is not None
    short = f"/tmp/ld{os.getpid()}"
    copy = tmp_path / "cat"
    copy.write_bytes(elf.started_by(data, short.encode()))
    copy.chmod(0o755)
    try:
        assert subprocess_fails(str(copy)), "the loader is not there yet"
        shutil.copy(os.fsdecode(found.name), short)
        assert subprocess.run([str(copy)], input=b"read", capture_output=True, check=True).stdout == b"read"
    finally:
        Path(short).unlink(missing_ok=True)


def subprocess_fails(path: str) -> bool:
    try:
        return subprocess.run([path], stdin=subprocess.DEVNULL).returncode != 0
    except FileNotFoundError:
        return True


def test_what_cannot_be() -> None:
    data = Path(str(shutil.which("cat"))).read_bytes()
    with pytest.raises(RollpointError, match="too long a name"):
        elf.started_by(data, b"/run/" + b"x" * 80)
    for wrong in (b"#!/bin/sh\n", b"", data[:40], data[:5] + b"\7" + data[6:], data[:32] + b"\xff" * 8 + data[40:]):
        with pytest.raises(elf.NoProgram):
            elf.interp(wrong)


def test_the_loader_names_what_a_program_needs() -> None:
    path = str(shutil.which("mount"))
    found = elf.needs(loader_of(path), path)
    said = subprocess.run(["readelf", "-dW", path], capture_output=True, text=True, check=True).stdout
    direct = set(re.findall(r"\(NEEDED\).*\[(.*)\]", said))
    assert direct and direct <= set(found) and all(os.path.isfile(p) for p in found.values())
