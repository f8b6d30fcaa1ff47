"""Looking at the files of a btrfs ends in time wherever it is, and what cannot be read takes nothing away."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import time
from pathlib import Path

import pytest

from engine.volumes import btrfsroom


class Disk:
    """A clock that each answer of the kernel moves on by a second; a file is extents of 4096 bytes without an end."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def extents(self, fd: int, _: int, buffer: bytearray) -> None:
        self.now += 1
        if self.now > 100:
            raise AssertionError("nobody looked at the time")
        position = struct.unpack_from("<Q", buffer)[0]
        struct.pack_into("<I", buffer, 20, 1)
        struct.pack_into("<QQQQQIIII", buffer, 32, position, position, 4096, 0, 0, 0, 0, 0, 0)

    def last(self, fd: int, _: int, buffer: bytearray) -> None:
        struct.pack_into("<I", buffer, 20, 1)
        struct.pack_into("<QQQQQIIII", buffer, 32, 0, os.fstat(fd).st_ino << 20, 4096, 0, 0, 1, 0, 0, 0)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    made = Disk()
    monkeypatch.setattr(time, "monotonic", made.monotonic)
    monkeypatch.setattr(fcntl, "ioctl", made.extents)
    return made


def test_one_file_of_many_extents_ends_in_time(tmp_path: Path, disk: Disk) -> None:
    (tmp_path / "file").write_bytes(bytes(range(1, 256)) * 64)
    assert btrfsroom.alone([os.fsencode(tmp_path)], 10.0) == btrfsroom.Alone(11 * 4096, 0, False)


def test_directories_without_files_end_in_time(tmp_path: Path, disk: Disk) -> None:
    (tmp_path / "directory").mkdir()
    assert btrfsroom.alone([os.fsencode(tmp_path)], -1.0) == btrfsroom.Alone(0, 0, False)


def test_what_cannot_be_read_leaves_the_rest(tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "ioctl", disk.last)
    for name in ("bad", "good"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(bytes(range(1, 256)) * 64)
    scan = os.scandir

    def broken(path: bytes) -> object:
        if path.endswith(b"/bad"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", broken)
    places = [os.fsencode(tmp_path / name) for name in ("bad", "good")]
    assert btrfsroom.alone(places, 10.0) == btrfsroom.Alone(4096, 0, False)
