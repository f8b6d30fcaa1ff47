"""What nobody can read is in no point, so a rollback must leave it alone: deleting it would lose it for good."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.root

_NOBODY = 65534


def _as_nobody(place: str, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tui.cli", "--store", f"{place}/store", "--root", f"{place}/live", *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False, user=_NOBODY, group=_NOBODY,
                          extra_groups=(), stdin=subprocess.DEVNULL)


def test_a_file_that_cannot_be_read_survives_a_rollback(place: str) -> None:
    where = os.path.join(place, "unreadable")
    os.makedirs(os.path.join(where, "live"))
    for path in (where, os.path.join(where, "live")):
        os.chown(path, _NOBODY, _NOBODY)
    if _as_nobody(where, "doctor").returncode not in (0, 3):
        pytest.skip("this Python cannot be started by an ordinary user")
    assert _as_nobody(where, "snapshot").returncode == 0
    for name in ("secret", "plain"):
        with open(os.path.join(where, "live", name), "w") as file:
            file.write(name)
    os.chown(os.path.join(where, "live", "plain"), _NOBODY, _NOBODY)
    os.chmod(os.path.join(where, "live", "secret"), 0)
    done = _as_nobody(where, "rollback", "1", "--yes")
    assert done.returncode == 3 and "/secret cannot be read" in done.stdout + done.stderr
    assert os.listdir(os.path.join(where, "live")) == ["secret"]
