"""Questions, Ctrl-C, a lost line and the progress line, over real terminals and real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal

WHERE = ["--store", "/nowhere/store", "--root", "/nowhere/root"]
ASKING = {"rollback": ["rollback", "1"], "undo": ["rollback", "--undo"], "prune": ["prune"],
          "delete": ["delete", "1", "2"]}


def start(tmp_path: Path, *words: str, seconds: float = 0) -> Terminal:
    env = {"FAKE_DONE": str(tmp_path / "done"), "FAKE_WORK": str(seconds)}
    return Terminal("tests.cli.fake_main", [*WHERE, *words], env)


def done(tmp_path: Path) -> list[str]:
    """What was changed in the end (looking at the tree for a plan changes nothing)."""
    return [line for line in (tmp_path / "done").read_text().splitlines() if not line.startswith("plan")]


@pytest.mark.parametrize("verb", ASKING)
def test_yes_goes_on(verb: str, tmp_path: Path) -> None:
    terminal = start(tmp_path, *ASKING[verb])
    terminal.read_until("Type yes to go on: ")
    terminal.type(b"yes\n")
    assert terminal.wait() == 0
    assert [line.split()[0] for line in done(tmp_path)] == [verb]


@pytest.mark.parametrize("verb", ASKING)
@pytest.mark.parametrize("keys", [b"\n", b"y\n", b"YES\n", b"no\n", b"yes please\n", b"\x04", b"\x03",
                                  b"ye\x04\x04", b"\xff\n", b" yes\n"])
def test_anything_else_changes_nothing(verb: str, keys: bytes, tmp_path: Path) -> None:
    terminal = start(tmp_path, *ASKING[verb])
    terminal.read_until("Type yes to go on: ")
    terminal.type(keys)
    assert terminal.wait() == 6
    assert b"nothing was changed" in terminal.seen and b"Traceback" not in terminal.seen
    assert done(tmp_path) == []


def test_the_plan_stands_before_the_question(tmp_path: Path) -> None:
    terminal = start(tmp_path, "rollback", "1", "--json")
    terminal.read_until("Type yes to go on: ")
    for words in (b"12 days, 12 hrs, 0 minutes ago", b"will NOT be touched", b"roll forward to 3, 2",
                  b"To be deleted"):
        assert words in terminal.seen
    terminal.type(b"no\n")
    assert terminal.wait() == 6
    assert b'"exit_code": 6' in terminal.seen


def test_without_a_point_a_number_is_asked_for(tmp_path: Path) -> None:
    terminal = start(tmp_path, "rollback")
    terminal.read_until("Number of the restore point")
    assert b"0 days, 1 hrs, 0 minutes ago" in terminal.seen and b"server's time" in terminal.seen
    terminal.type(b" 1 \n")
    terminal.read_until("Roll back to point 1? Type yes to go on: ")
    terminal.type(b"yes\n")
    assert terminal.wait() == 0
    assert done(tmp_path) == ["rollback 1 True"]


@pytest.mark.parametrize(("keys", "code"),
                         [(b"\x03", 6), (b"\x04", 6), (b"\n", 6), (b"7\n", 2), (b"one\n", 2)])
def test_no_number_changes_nothing(keys: bytes, code: int, tmp_path: Path) -> None:
    terminal = start(tmp_path, "rollback")
    terminal.read_until("Number of the restore point")
    terminal.type(keys)
    assert terminal.wait() == code
    assert done(tmp_path) == []


@pytest.mark.parametrize("words", [["snapshot"], ["verify"], ["restore", "1", "--to", "x"],
                                   ["prune", "--yes"]])
def test_ctrl_c_stops_cleanly_and_again_only_says_so(words: list[str], tmp_path: Path) -> None:
    terminal = start(tmp_path, *words, seconds=30)
    terminal.read_until("working")
    terminal.type(b"\x03")
    terminal.read_until("stopping; please wait")
    terminal.type(b"\x03")
    terminal.read_until("still stopping")
    assert terminal.wait() == 1
    assert b"stopped on request" in terminal.seen and b"Traceback" not in terminal.seen
    assert done(tmp_path) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_stop_cleanly_too(number: signal.Signals, tmp_path: Path) -> None:
    terminal = start(tmp_path, "snapshot", seconds=30)
    terminal.read_until("working")
    terminal.signal(number)
    assert terminal.wait() == 1 and b"stopped on request" in terminal.seen


def test_a_lost_line_does_not_stop_a_rollback(tmp_path: Path) -> None:
    terminal = start(tmp_path, "rollback", "1", seconds=1.0)
    terminal.read_until("Type yes to go on: ")
    terminal.type(b"yes\n")
    time.sleep(0.3)
    terminal.hang_up()
    assert terminal.wait() == 0
    assert done(tmp_path) == ["rollback 1 True"]


def test_a_lost_line_stops_a_snapshot_cleanly(tmp_path: Path) -> None:
    terminal = start(tmp_path, "snapshot", seconds=30)
    terminal.read_until("working")
    terminal.hang_up()
    assert terminal.wait() == 1
    assert done(tmp_path) == []


def test_the_progress_line_is_printable_rare_and_goes_away(tmp_path: Path) -> None:
    terminal = start(tmp_path, "snapshot", seconds=1.0)
    assert terminal.wait() == 0
    drawn = terminal.seen.count(b"\r\x1b[Kcopying  1 of 2 (50 %)  /some\\x1bfile")
    assert 4 <= drawn <= 11, terminal.seen
    assert terminal.seen.rindex(b"\r\x1b[K") < terminal.seen.index(b"was taken")
    quiet = start(tmp_path, "snapshot", "-q", seconds=0.3)
    assert quiet.wait() == 0 and b"copying" not in quiet.seen


def test_ages_are_spelled_out_where_there_is_room(tmp_path: Path) -> None:
    wide = Terminal("tests.cli.fake_main", [*WHERE, "list"], {"COLUMNS": "300"})
    assert wide.wait() == 0 and b"0 days, 1 hrs, 0 minutes ago" in wide.seen
    narrow = Terminal("tests.cli.fake_main", [*WHERE, "list"], {"COLUMNS": "60"})
    assert narrow.wait() == 0 and b"minutes ago" not in narrow.seen


# --- pipes and odd streams ----------------------------------------------------------------------------------

def shell(command: str, tmp_path: Path, seconds: float = 0) -> subprocess.CompletedProcess[bytes]:
    env = {**os.environ, "FAKE_DONE": str(tmp_path / "done"), "FAKE_WORK": str(seconds),
           "RP": f"{sys.executable} -m tests.cli.fake_main {' '.join(WHERE)}"}
    return subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], env=env, capture_output=True,
                          stdin=subprocess.DEVNULL, check=False, timeout=60)


def test_a_reader_that_goes_away_is_no_error_worth_words(tmp_path: Path) -> None:
    for verb in ("list", "diff 1", "find x", "list --json", "--help"):
        ran = shell(f"$RP {verb} | (sleep 0.5; true)", tmp_path)
        assert ran.stderr == b"" and ran.returncode in (0, 1), verb
        ran = shell(f"$RP {verb} >/dev/full", tmp_path)
        assert b"Traceback" not in ran.stderr and b"Exception" not in ran.stderr and ran.returncode == 1, verb


def test_a_reader_that_goes_away_does_not_stop_what_changes_something(tmp_path: Path) -> None:
    ran = shell("$RP rollback 1 --yes | head -c 1", tmp_path, seconds=0.3)
    assert ran.stderr.replace(b"working\n", b"") == b""
    ran = shell("$RP snapshot 2>&1 | head -c 1", tmp_path, seconds=0.5)
    assert done(tmp_path) and done(tmp_path)[0].startswith("snapshot") and ran.returncode == 0


def test_closed_streams(tmp_path: Path) -> None:
    for redirect in (">&-", "2>&-", "<&-", ">&- 2>&- <&-"):
        assert shell(f"$RP snapshot {redirect}", tmp_path).returncode == 0, redirect
        assert shell(f"$RP rollback 1 {redirect}", tmp_path).returncode == 6, redirect


def test_a_latin1_locale_shows_escapes(tmp_path: Path) -> None:
    ran = shell("PYTHONUTF8=0 PYTHONIOENCODING=latin-1 $RP list", tmp_path)
    assert ran.returncode == 0 and b"\\u65e5\\u672c" in ran.stdout


def test_yes_from_a_pipe_is_not_a_typed_yes(tmp_path: Path) -> None:
    assert shell("echo yes | $RP rollback 1", tmp_path).returncode == 6
    assert done(tmp_path) == []


def test_start_up_imports_nothing_heavy(tmp_path: Path) -> None:
    ran = shell(f"{sys.executable} -X importtime -m tests.cli.fake_main {' '.join(WHERE)} list", tmp_path)
    assert ran.returncode == 0
    names = {line.rpartition(b"|")[2].strip().decode() for line in ran.stderr.splitlines()}
    found = {"textual", "rich", "yaml", "sh", "asyncio"} & names
    assert not found
