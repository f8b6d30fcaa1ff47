"""The audit log: what is written is read again, torn lines harm nobody, and it never stands in the way."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import audit
from engine.audit import AuditEntry, record, tail

NOON = datetime(2024, 3, 10, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SUDO_USER", raising=False)
    return tmp_path


def put(store: Path, *subjects: str) -> None:
    for subject in subjects:
        assert record(str(store), "delete", subject, "ok", now=NOON)


def subjects(store: Path, count: int = 100) -> list[str]:
    return [entry.subject for entry in tail(str(store), count)]


def test_a_line_holds_who_did_what_and_when(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "alice")
    monkeypatch.setattr("engine.audit.os.getuid", lambda: 0)
    assert record(str(store), "rollback", "20240310-1", "ok", "system, 12 changed", now=NOON)
    line = (store / "audit.log").read_bytes()
    assert line.endswith(b"}\n") and line.count(b"\n") == 1
    assert json.loads(line) == {
        "time": "2024-03-10T12:00:00+00:00",
        "user": "alice",
        "verb": "rollback",
        "subject": "20240310-1",
        "result": "ok",
        "detail": "system, 12 changed",
    }
    assert tail(str(store), 5) == [
        AuditEntry(
            "2024-03-10T12:00:00+00:00", "alice", "rollback", "20240310-1", "ok", "system, 12 changed"
        )
    ]
    assert stat.S_IMODE((store / "audit.log").stat().st_mode) == 0o600


def test_only_root_is_believed_about_sudo(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "alice")
    monkeypatch.setattr("engine.audit.os.getuid", lambda: 54321)
    put(store, "a")
    assert tail(str(store), 1)[0].user == "54321", "an account without a name is shown by its number"


def test_the_user_without_sudo_has_a_name(store: Path) -> None:
    put(store, "a")
    name = subprocess.run(["id", "-un"], capture_output=True, text=True).stdout.strip()
    assert tail(str(store), 1)[0].user == name


def test_the_time_is_now_in_utc(store: Path) -> None:
    before = datetime.now(UTC)
    record(str(store), "prune", "", "ok")
    taken = datetime.fromisoformat(tail(str(store), 1)[0].time)
    assert abs((taken - before).total_seconds()) < 5 and taken.utcoffset() is not None


def test_tail_returns_the_last_ones_the_oldest_first(store: Path) -> None:
    put(store, *"abcde")
    assert subjects(store, 2) == ["d", "e"]
    assert subjects(store, 0) == []
    assert subjects(store, 99) == list("abcde")


@given(st.text(st.characters(), max_size=30), st.binary(max_size=8))
def test_any_text_comes_back_and_the_file_is_plain_ascii(
    tmp_path_factory: pytest.TempPathFactory, text: str, name: bytes
) -> None:
    store = tmp_path_factory.mktemp("store")
    detail = os.fsdecode(name)
    assert record(str(store), "restore", text, "failed", detail)
    data = (store / "audit.log").read_bytes()
    assert data.isascii() and not any(byte < 32 for byte in data[:-1])
    entry = tail(str(store), 1)[0]
    assert (entry.subject, entry.detail) == (text, detail)


@pytest.mark.parametrize(
    "torn",
    [
        b'{"time": "2024',
        b"\0" * 5000,
        b"[" * 5000,
        b"[]",
        b'"text"',
        b'{"time": 1}',
        b"\xff",
        b'{"time": 1, "user": 2, "verb": 3, "subject": 4, "result": 5, "detail": 6}',
    ],
)
def test_a_torn_line_swallows_nothing(store: Path, torn: bytes) -> None:
    put(store, "before")
    with (store / "audit.log").open("ab") as file:
        file.write(torn)
    assert subjects(store) == ["before"]
    put(store, "after")
    assert subjects(store) == ["before", "after"]
    assert subjects(store, 1) == ["after"]


@pytest.mark.parametrize("block", [1, 7, 64, 1 << 16])
def test_every_line_is_found_at_any_block_size(
    store: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    put(store, "x" * 200, "", "y", "z" * 63)
    monkeypatch.setattr(audit, "_BLOCK", block)
    assert subjects(store) == ["x" * 200, "", "y", "z" * 63]


def test_only_the_end_of_a_long_log_is_read(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, "a")
    path = store / "audit.log"
    path.write_bytes(path.read_bytes() * 20_000)
    put(store, "b")
    read: list[int] = []
    real = os.pread

    def counted(fd: int, size: int, at: int) -> bytes:
        read.append(size)
        return real(fd, size, at)

    monkeypatch.setattr("engine.audit.os.pread", counted)
    assert subjects(store, 2) == ["a", "b"]
    assert sum(read) <= 1 << 16


def test_writers_at_once_lose_no_line(store: Path) -> None:
    code = (
        "import sys; from engine.audit import record\n"
        "for n in range(200): assert record(sys.argv[1], 'v', sys.argv[2] + str(n), 'ok')"
    )
    jobs = [subprocess.Popen([sys.executable, "-c", code, str(store), name]) for name in "abc"]
    assert [job.wait(60) for job in jobs] == [0, 0, 0]
    assert sorted(subjects(store, 1000)) == sorted(f"{name}{n}" for name in "abc" for n in range(200))


# --- it never stands in the way ---


def test_no_store_no_log_no_error(tmp_path: Path) -> None:
    assert record(str(tmp_path / "none"), "v", "s", "ok") is False
    assert record("a\0b", "v", "s", "ok") is False
    assert tail(str(tmp_path / "none"), 5) == [] and tail("a\0b", 5) == []


@pytest.mark.parametrize("kind", ["directory", "fifo", "link"])
def test_what_is_no_regular_file_is_left_alone(store: Path, kind: str) -> None:
    path, other = store / "audit.log", store / "other"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        other.write_text("precious\n")
        path.symlink_to(other)
    assert record(str(store), "v", "s", "ok") is False
    assert tail(str(store), 5) == []
    assert kind != "link" or other.read_text() == "precious\n"


@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_a_full_disk_is_no_error(store: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    put(store, "before")
    with monkeypatch.context() as patched:
        patched.setattr(f"engine.audit.os.{call}", full)
        assert record(str(store), "v", "lost", "ok") is False
    put(store, "after")
    assert [s for s in subjects(store) if s != "lost"] == ["before", "after"]


def test_half_a_line_on_a_full_disk_harms_no_other(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    put(store, "before")
    with monkeypatch.context() as patched:
        patched.setattr("engine.audit.os.write", lambda fd, data: real(fd, data[:20]))
        assert record(str(store), "v", "half", "ok") is False
    put(store, "after")
    assert subjects(store) == ["before", "after"]


@pytest.mark.root
def test_a_really_full_file_system(tmp_path: Path) -> None:
    code = (
        "import os, sys; from engine.audit import record, tail\n"
        "assert record(sys.argv[1], 'v', 'first', 'ok')\n"
        "fd = os.open(sys.argv[1] + '/fill', os.O_WRONLY | os.O_CREAT)\n"
        "try:\n    while True: os.write(fd, bytes(4096))\nexcept OSError: os.close(fd)\n"
        "while record(sys.argv[1], 'v', 'x' * 1000, 'ok'): pass\n"
        "os.unlink(sys.argv[1] + '/fill')\n"
        "assert record(sys.argv[1], 'v', 'last', 'ok')\n"
        "names = [e.subject for e in tail(sys.argv[1], 99)]\n"
        "assert (names[0], names[-1]) == ('first', 'last')"
    )
    script = 'mount -t tmpfs -o size=64k none "$1" && exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script, "sh", str(tmp_path), sys.executable, code],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
