"""`rollpoint rescue` as its user sees it: on a terminal, on real file systems, from disks to a rolled back system."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.loops import Loops, loops
from tests.engine.test_rescue_open import Rescue
from tests.tui.terminal import Terminal

pytestmark = pytest.mark.root
SLOW = 90
"""Seconds that a step may take on a machine that has much else to do."""


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Loops]:
    with loops(tmp_path) as all_of_them:
        yield all_of_them


def words(rescue: Rescue) -> list[str]:
    return ["-m", "tui.cli", "rescue", *(w for device in rescue.devices for w in ("--device", device))]


def mounted() -> list[str]:
    return Path("/proc/self/mounts").read_text(errors="surrogateescape").splitlines()


def test_from_the_disks_to_a_system_that_is_back(made: Loops, tmp_path: Path) -> None:
    rescue = Rescue(made, tmp_path)
    rescue.ruin()
    before = mounted()
    with Terminal(words(rescue)) as terminal:
        terminal.until("1 store, 0 systems", SLOW)
        terminal.type("\r")
        terminal.until("enter Mount and open", SLOW)
        assert terminal.text.count("the same") >= 3
        terminal.type("\r")
        terminal.until("They are mounted to be written to", SLOW)
        terminal.type(*"yes", "\r")
        terminal.until("/run/rollpoint/rescue/root", SLOW)
        terminal.until("Point 1", SLOW)
        terminal.type("r")
        terminal.until("What is to be rolled back?", SLOW)
        terminal.until("system", SLOW)
        terminal.type("\r")
        terminal.until("enter Go on", SLOW)
        terminal.until("[Changes]", SLOW)
        terminal.until("DELETE 1", SLOW)
        terminal.type("\r")
        terminal.until("safety point first", SLOW)
        terminal.type("\r")
        terminal.until("Roll back now?", SLOW)
        terminal.type(*"yes", "\r")
        terminal.until("Rolled back to point 1", SLOW)
        terminal.type("\r")
        terminal.until("before the rollback", SLOW)
        terminal.type("q")
        assert terminal.wait(SLOW) == 0
        assert terminal.after == terminal.before, "the terminal was not given back as it was"
    assert mounted() == before
    rescue.must_be_back()


def test_leaving_mounts_nothing(made: Loops, tmp_path: Path) -> None:
    rescue = Rescue(made, tmp_path)
    before = mounted()
    with Terminal(words(rescue)) as terminal:
        terminal.until("1 store, 1 system", SLOW)
        terminal.type("\r")
        terminal.until("enter Mount and open", SLOW)
        terminal.type("\x1b", "q")
        assert terminal.wait(SLOW) == 0
    assert mounted() == before and "rescue/root" not in terminal.text


def test_a_disk_that_is_missing_is_refused(made: Loops, tmp_path: Path) -> None:
    rescue = Rescue(made, tmp_path)
    root = rescue.machine.devices[""]
    only = [w for device in rescue.devices if device != root for w in ("--device", device)]
    with Terminal(["-m", "tui.cli", "rescue", *only], columns=120, rows=30) as terminal:
        terminal.until("1 store", SLOW)
        terminal.type("\r")
        terminal.until("REFUSED: the root file system of the point is not here", SLOW)
        assert "enter Mount" not in terminal.text
        terminal.type("q")
        assert terminal.wait(SLOW) == 0


def test_without_the_packages_of_the_app_it_is_a_list(made: Loops, tmp_path: Path) -> None:
    rescue = Rescue(made, tmp_path)
    code = "import sys; sys.modules['textual'] = None; from tui.cli import main; sys.exit(main(sys.argv[1:]))"
    with Terminal(["-c", code, *words(rescue)[2:]], columns=160, rows=40) as terminal:
        assert terminal.wait(SLOW) == 0
        assert "Stores:" in terminal.text and "What point 1 of" in terminal.text
