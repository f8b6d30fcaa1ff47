"""The one door to external programs."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from engine.errors import ToolError
from engine.run import call
from tests.conftest import loop_ext4


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


@pytest.mark.root
def test_a_program_that_not_even_a_kill_reaches_is_not_waited_for() -> None:
    with loop_ext4(8 << 20) as place:
        subprocess.run(["fsfreeze", "--freeze", place], check=True)     # who writes there hangs in the kernel
        try:
            with pytest.raises(ToolError, match="still running after 1 s"):
                call(["touch", f"{place}/file"], timeout=1)
            hanging = subprocess.run(["pgrep", "--full", f"^touch {place}/file"], capture_output=True, text=True)
            assert hanging.stdout.split(), "it was to hang, and has ended: nothing was tested"
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", place], check=True)
        end = time.monotonic() + 60
        while os.path.exists(f"/proc/{hanging.stdout.split()[0]}/cwd") and time.monotonic() < end:
            time.sleep(0.05)
