"""Facts of the machine: kept where they are to be had, and never in the way where they are not."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.errors import DamageError, RefusedError
from engine.machine import facts
from engine.machine.collect import Text, Wanted, collect
from tests.engine.harness import wait_until


def sh(name: str, script: str, timeout: float = 10, ok: tuple[int, ...] = (0,)) -> Wanted:
    return Wanted(name, ("sh", "-c", script), ok, timeout)


def run(place: Path, *wanted: Wanted, seconds: float = 30) -> tuple[Text, ...]:
    return collect(wanted, os.fsencode(place), seconds=seconds)


def test_what_a_tool_says_is_kept(tmp_path: Path) -> None:
    good, failed, partial, silent, missing = run(
        tmp_path,
        sh("good.txt", "echo here; echo there"),
        sh("failed.txt", "echo broken pipes >&2; exit 3"),
        sh("partial.txt", "echo half; exit 1"),
        sh("silent.txt", "true"),
        Wanted("missing.txt", ("no-such-tool-anywhere", "-x")),
    )
    assert good == Text("good.txt", "sh -c echo here; echo there", "", 11, hashlib.sha256(b"here\nthere\n").hexdigest())
    assert (tmp_path / "good.txt").read_text() == "here\nthere\n"
    assert failed.note == "it ended with status 3: broken pipes" and failed.sha256 == ""
    assert partial.note.startswith("it ended with status 1") and (tmp_path / "partial.txt").read_text() == "half\n"
    assert silent.note == "it said nothing" and missing.note == "not installed"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["good.txt", "partial.txt"]


def test_statuses_that_are_no_failure(tmp_path: Path) -> None:
    assert run(tmp_path, sh("x", "echo a; exit 2", ok=(0, 2)))[0].note == ""


def test_a_tool_that_hangs_is_stopped_with_its_children(tmp_path: Path) -> None:
    started = time.monotonic()
    hung = sh("hung.txt", "echo begun; sleep 97531 & sleep 97531", timeout=0.3)
    found = run(tmp_path, hung, sh("good.txt", "echo x"))
    assert time.monotonic() - started < 5
    assert "too long" in found[0].note and found[0].bytes == 6 and found[1].note == ""
    wait_until("the end of its children", lambda: not any(b"sleep\x0097531" in line for line in command_lines()))


def command_lines() -> Iterator[bytes]:
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            yield Path(f"/proc/{name}/cmdline").read_bytes() if name.isdecimal() else b""


def test_all_together_end_in_time(tmp_path: Path) -> None:
    started = time.monotonic()
    found = run(tmp_path, *(sh(f"{n}.txt", "sleep 60", timeout=50) for n in range(9)), seconds=0.5)
    assert time.monotonic() - started < 5
    assert all(t.note in ("it took too long and was stopped", "no time was left for it") for t in found)


def test_they_run_side_by_side(tmp_path: Path) -> None:
    started = time.monotonic()
    found = run(tmp_path, *(sh(f"{n}.txt", "sleep 0.5; echo x") for n in range(4)))
    assert time.monotonic() - started < 1.8 and all(t.note == "" for t in found)


def test_a_tool_that_never_stops_talking(tmp_path: Path) -> None:
    (found,) = run(tmp_path, sh("yes.txt", "yes"))
    assert "8 MiB" in found.note and (tmp_path / "yes.txt").stat().st_size == found.bytes == 8 << 20


def test_the_facts_of_this_machine(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/machine-id").write_text("0123\n")
    (root / "usr/lib").mkdir(parents=True)
    (root / "usr/lib/os-release").write_text("NAME=Test\n")
    os.mkfifo(root / "etc/hostname")
    place = os.fsencode(tmp_path / "facts")
    found = facts.save(place, os.fsencode(root))
    by_name = {t.name: t for t in found.texts}
    assert len(by_name) == len(found.texts) == len(facts.TOOLS) + 4
    assert (tmp_path / "facts/os-release.txt").read_text() == "NAME=Test\n"
    assert (tmp_path / "facts/machine-id.txt").read_text() == "0123\n"
    assert by_name["hostname.txt"].note == "there is none"
    assert by_name["uname.txt"].bytes and by_name["df.txt"].bytes
    assert facts.load(place) == found
    for text in found.kept:
        assert hashlib.sha256((tmp_path / "facts" / text.name).read_bytes()).hexdigest() == text.sha256
    assert {p.name for p in (tmp_path / "facts").iterdir()} == {t.name for t in found.kept} | {"index.json"}


def test_nothing_secret_is_asked_for() -> None:
    words = " ".join(str(w) for t in facts.TOOLS for w in t.argv)
    assert "luksDump" not in words and "--showkeys" not in words and "table" not in words


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"texts": [1]}', b'{"texts": [{"name": 1}]}', b"\xff"])
def test_a_damaged_index(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "index.json").write_bytes(data)
    with pytest.raises(DamageError):
        facts.load(os.fsencode(tmp_path))
    (tmp_path / "index.json").unlink()
    with pytest.raises(RefusedError):
        facts.load(os.fsencode(tmp_path))


def test_the_index_is_plain_json(tmp_path: Path) -> None:
    facts.save(os.fsencode(tmp_path / "f"), tools=(), seconds=1)
    assert json.loads((tmp_path / "f/index.json").read_text())["format"] == 1
