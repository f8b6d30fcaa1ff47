"""Inside a chroot(2) whose root is no mount point, as on many rescue systems: nothing may end up outside of it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from engine.errors import ToolError
from engine.events import Job
from engine.machine.mounts import Namespace
from engine.replica import rsync
from tests.engine.harness import copy_tree
from tests.oracle import must_equal, record

pytestmark = [pytest.mark.root]

_SHARED = ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/proc", "/dev", "/run")


def _script(cage: str) -> str:
    """Shell lines that fill the cage with bind mounts in a private namespace and enter it."""
    lines = ["set -e", f"mkdir -p -m 1777 {cage}/tmp"]
    for place in dict.fromkeys([*_SHARED, sys.prefix, sys.base_prefix, os.getcwd()]):
        if os.path.islink(place):
            lines.append(f"ln -sfn {os.readlink(place)} {cage}{place}")
        elif os.path.isdir(place) and not (place != "/usr" and place.startswith("/usr/")):
            lines += [f"mkdir -p {cage}{place}", f"mount --rbind {place} {cage}{place}"]
    return "\n".join([*lines, f'exec chroot {cage} "$@"'])


def _rollpoint(cage: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in the cage, where store and tree are plain directories of it."""
    inside = ["env", f"PYTHONPATH={os.getcwd()}", sys.executable, "-m", "tui.cli", "--store", "/store", "--root",
              "/source", *words]
    return subprocess.run(["unshare", "--mount", "--propagation", "private", "sh", "-c", _script(cage), "sh", *inside],
                          capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)


def _run(cage: str, *words: str) -> str:
    done = _rollpoint(cage, *words)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def test_take_open_and_roll_back_in_a_chroot(place: str) -> None:
    cage = os.path.join(place, "cage")
    source = os.path.join(cage, "source")
    os.mkdir(cage)
    copy_tree("/etc/ssl", source)
    with open(os.path.join(source, "config"), "w", encoding="ascii") as file:
        file.write("old\n")
    before = record(source)
    _run(cage, "snapshot", "-m", "first")
    with open(os.path.join(source, "later"), "w", encoding="ascii") as file:
        file.write("later\n")
    os.unlink(os.path.join(source, "config"))
    after = record(source)
    _run(cage, "snapshot", "-m", "second")
    _run(cage, "restore", "1", "--to", "/out")
    must_equal(before, record(os.path.join(cage, "out")), "restored in a chroot")
    _run(cage, "rollback", "1", "--yes")
    must_equal(before, record(source), "rolled back in a chroot")
    _run(cage, "rollback", "2", "--yes")
    must_equal(after, record(source), "rolled forward in a chroot")
    assert not os.path.ismount(cage)


def test_a_failure_in_a_namespace_names_the_tool_that_failed() -> None:
    """And not nsenter, by which it was started; unless it is nsenter itself that failed."""
    with Namespace() as space, pytest.raises(ToolError) as caught:
        rsync.run(space.wrap(["rsync", "--no-such-option", "/etc/", "/tmp/"]), lambda _: None, Job())
    assert caught.value.message.startswith("rsync failed with status 1:"), caught.value.message
    assert caught.value.argv[0] == "rsync"
    with Namespace() as space, pytest.raises(ToolError, match=r"^no-such-tool failed"):
        space.run(["no-such-tool", "--", "x"])
