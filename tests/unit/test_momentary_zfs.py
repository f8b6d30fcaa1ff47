"""Momentary snapshots of ZFS file systems: which commands are given. The real thing is in tests/lab/test_zfs.py."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from engine.errors import CancelledError, RefusedError, RollpointError, ToolError
from engine.events import Job
from engine.machine.momentary import Moment
from engine.machine.momentparts import PREFIX, Bench, Volume
from engine.machine.momentzfs import Zfs
from engine.machine.mounts import Mount, Namespace
from engine.run import Arg


class Fake(Namespace):
    """ZFS by the book: `snapshots` are there; what begins with one of `failing` fails."""

    def __init__(self, *snapshots: str, failing: Sequence[str] = ()) -> None:
        self.snapshots, self.failing = list(snapshots), failing
        self.asked: list[list[str]] = []

    def run(self, argv: Sequence[Arg], timeout: float = 60, *, ok: Sequence[int] = (0,)) -> bytes:
        words = [os.fsdecode(word) for word in argv]
        self.asked.append(words)
        if any(" ".join(words).startswith(text) for text in self.failing):
            raise ToolError(argv, 1, "cannot do that")
        if words[:2] == ["zfs", "snapshot"]:
            self.snapshots += words[2:]
        elif words[:2] == ["zfs", "destroy"]:
            self.snapshots.remove(words[2])
        elif words[:2] == ["zfs", "list"] and "-d" not in words and words[-1] not in self.snapshots:
            raise ToolError(argv, 1, f"cannot open '{words[-1]}': dataset does not exist")
        return "".join(f"{name}\n" for name in self.snapshots).encode()

    def said(self, *words: str) -> list[list[str]]:
        """Return what was asked that begins with these words, without them."""
        return [asked[len(words):] for asked in self.asked if asked[:len(words)] == list(words)]


def volume(place: str, dataset: str) -> Volume:
    mount = Mount(b"0:50", b"/", b"/" + place.encode(), b"zfs", dataset.encode())
    return Volume(place.encode(), mount, b"/")


ROOT, HOME, DATA = volume("", "rpool/root"), volume("home", "rpool/home"), volume("data", "tank/my data")


def moment(fake: Fake, place: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> Moment:
    monkeypatch.setattr("engine.machine.momentary._MAKERS", (Zfs,))
    scratch = place / "scratch"
    scratch.mkdir()
    return Moment(Bench(fake, os.fsencode(scratch), 0, job.warn), b"/view", job)


def test_those_of_a_pool_are_made_by_one_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake, job = Fake("rpool/home@kept"), Job()
    taking = moment(fake, tmp_path, job, monkeypatch)
    shown = taking.take({ROOT: True, HOME: True, DATA: False}, [])
    assert [sorted(name.partition("@")[0] for name in names) for names in fake.said("zfs", "snapshot")] == [
        ["rpool/home", "rpool/root"], ["tank/my data"]]
    assert all(name.partition("@")[2].startswith(PREFIX) for name in fake.snapshots[1:])
    mounted = fake.said("mount", "-t", "zfs", "-o", "ro")
    assert [words[0].partition("@")[0] for words in mounted] == ["rpool/root", "rpool/home", "tank/my data"]
    assert {place: files for place, ((_, files),) in shown.items()} == {
        v.place: os.fsencode(words[1]) for v, words in zip((ROOT, HOME, DATA), mounted, strict=True)}
    taking.finish()
    assert fake.snapshots == ["rpool/home@kept"] and job.warnings == []


def test_one_that_cannot_be_made_with_the_others_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake, job = Fake(failing=["zfs snapshot rpool/home"]), Job()
    taking = moment(fake, tmp_path, job, monkeypatch)
    shown = taking.take({HOME: False, ROOT: True}, [])
    assert set(shown) == {b""} and "/home is read as it is" in job.warnings[0]
    assert [name.partition("@")[0] for name in fake.snapshots] == ["rpool/root"]
    taking.finish()
    assert fake.snapshots == []


def test_what_the_first_brought_along_goes_too_when_the_others_are_not_reached(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake, job = Fake(), Job()
    taking = moment(fake, tmp_path, job, monkeypatch)
    run = fake.run

    def then_cancel(argv: Sequence[Arg], timeout: float = 60, *, ok: Sequence[int] = (0,)) -> bytes:
        out = run(argv, timeout, ok=ok)
        if list(argv[:2]) == ["zfs", "snapshot"]:
            job.cancel()
        return out

    monkeypatch.setattr(fake, "run", then_cancel)
    with pytest.raises(CancelledError):
        taking.take({ROOT: True, HOME: True}, [])
    assert len(fake.snapshots) == 2
    taking.close()
    assert fake.snapshots == [] and job.warnings == []


def test_one_that_is_demanded_and_cannot_be_made_stops_the_point(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake(failing=["zfs snapshot"])
    taking = moment(fake, tmp_path, Job(), monkeypatch)
    with pytest.raises(RefusedError, match=r"the configuration demands one.*cannot do that"):
        taking.take({ROOT: True}, [])


def test_one_that_is_destroyed_while_it_is_read_fails_the_point(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake()
    taking = moment(fake, tmp_path, Job(), monkeypatch)
    taking.take({ROOT: True}, [])
    fake.snapshots.clear()
    with pytest.raises(RollpointError, match="destroyed while it was read"):
        taking.finish()


def test_what_a_killed_process_left_goes_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, others = f"rpool/root@{PREFIX}999999999-5-1", ["rpool/root@daily", f"rpool/root@{PREFIX}x"]
    fake, job = Fake(*others, gone), Job()
    taking = moment(fake, tmp_path, job, monkeypatch)
    taking.take({ROOT: True}, [])
    taking.finish()
    assert fake.snapshots == others and gone in job.warnings[0]


def test_what_cannot_be_removed_is_named_with_how_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake, job = Fake(failing=["zfs destroy"]), Job()
    taking = moment(fake, tmp_path, job, monkeypatch)
    taking.take({DATA: True}, [])
    taking.finish()
    assert len(job.warnings) == 1 and f"zfs destroy 'tank/my data@{PREFIX}" in job.warnings[0]
