"""The one door to external programs."""

from __future__ import annotations

import os
import signal
import time

import pytest

from engine.errors import ToolError
from engine.run import call


def test_output_is_whole_every_time() -> None:
    for size in (0, 1, 70_000) * 20:
        assert call(["head", "-c", str(size), "/dev/zero"]) == bytes(size)


def test_bytes_that_are_no_text_reach_the_program_and_come_back() -> None:
    word = bytes(range(1, 256))
    assert call(["printf", "%s", word]) == word


def test_a_failure_keeps_what_the_program_said() -> None:
    with pytest.raises(ToolError) as caught:
        call(["ls", "/no such place"])
    assert "/no such place" in str(caught.value)
    assert call(["false"], ok=(0, 1)) == b""
    with pytest.raises(ToolError, match="not installed"):
        call(["no-such-program"])


def test_a_program_that_hangs_is_ended_with_its_children(tmp_path: os.PathLike[str]) -> None:
    note = os.path.join(tmp_path, "pid")
    began = time.monotonic()
    with pytest.raises(ToolError, match="still running after 1 s"):
        call(["sh", "-c", f"sleep 600 & echo $! >{note}; wait"], timeout=1)
    assert time.monotonic() - began < 30
    with open(note, encoding="ascii") as file:
        child = int(file.read())
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    pytest.fail("the program's child was left behind")
