"""The copy in memory is whole, or it is refused: what it lacks would come from the system while that changes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.engine.harness import CHECKOUT

pytestmark = [pytest.mark.root]

# Makes the copy in a mount namespace of its own, less the files whose names begin with one of the arguments.
_SCRIPT = """
import os, sys
from engine import run
from engine.errors import RollpointError
from engine.rescue import elf, lifeboat

goods = lifeboat.cargo()
names = list(goods.files)
for left in sys.argv[1:]:
    for name in names:
        if name.startswith(left):
            del goods.files[name]
os.makedirs(lifeboat.PLACE, exist_ok=True)
run.call(["mount", "-t", "tmpfs", "rollpoint", lifeboat.PLACE])
lifeboat.fill(goods, b"")
run.use_copies(lifeboat.PLACE)
try:
    lifeboat.check(goods, os.path.join(lifeboat.PLACE, next(n for n in names if n.startswith("bin/python"))))
except RollpointError as error:
    sys.exit(f"refused: {error}")
print(run.call(["unshare", "--mount", "--", "cat", "/proc/self/maps"]).decode())
"""


def _copy(*without: str) -> subprocess.CompletedProcess[str]:
    argv = ["unshare", "--mount", "--propagation", "slave", "--", sys.executable, "-c", _SCRIPT, *without]
    return subprocess.run(argv, env={**os.environ, "PYTHONPATH": CHECKOUT}, capture_output=True, text=True, timeout=300)


def test_a_program_that_a_program_starts_is_loaded_from_the_copy_alone() -> None:
    done = _copy()
    assert done.returncode == 0, done.stderr
    code = {line.split()[5] for line in done.stdout.splitlines() if len(line.split()) > 5 and "x" in line.split()[1]}
    files = {path for path in code if path.startswith("/")}
    assert "/run/rp/bin/cat" in files and any("libc.so" in path for path in files)
    assert [path for path in files if not path.startswith("/run/rp/")] == []


@pytest.mark.parametrize(("missing", "said"), [
    ("lib/libc.so", "would load"), ("lib/libpopt", "rsync would load"), ("lib/libmount", "libmount")])
def test_a_library_that_would_come_from_the_system_is_noticed(missing: str, said: str) -> None:
    done = _copy(missing)
    assert done.returncode == 1 and said in done.stderr and "from outside of it" in done.stderr, done.stderr


def test_a_module_that_python_lacks_is_noticed() -> None:
    version = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/json/"
    done = _copy(version)
    assert done.returncode == 1 and "refused" in done.stderr and "json" in done.stderr, done.stderr
