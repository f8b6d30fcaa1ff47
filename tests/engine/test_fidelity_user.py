"""Random histories of a user without privileges: no overlay, no mounts, read-only directories of his own."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
import traceback
from typing import NoReturn

import pytest

import engine
from tests.engine.fidelity import budget

NOBODY = 65534


def as_nobody(place: str, check: str, number: int) -> None:
    """Run a chunk of histories in a process that has given up root; its report becomes an AssertionError."""
    if os.geteuid() != 0:
        _chunk(place, check, number)
        return
    os.chown(place, NOBODY, NOBODY)
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(out)
        _child(place, check, number, into)
    os.close(into)
    with open(out, encoding="utf-8", errors="backslashreplace") as pipe:
        report = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status == 0, report


def _chunk(place: str, check: str, number: int) -> None:
    fidelity = importlib.import_module("tests.engine.fidelity")
    fidelity.run_chunk(getattr(fidelity, check), place, number, privileged=False)


def _child(place: str, check: str, number: int, into: int) -> NoReturn:
    status = 1
    try:
        _import_as_nobody()
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        os.environ.update(HOME=place, TMPDIR=place)
        os.chdir(place)
        _chunk(place, check, number)
        status = 0
    except BaseException:
        with open(into, "w", encoding="utf-8", errors="backslashreplace") as pipe:
            pipe.write(traceback.format_exc())
    finally:
        os._exit(status)


def _import_as_nobody() -> None:
    """Import the engine afresh, for it may look at who it is when it is imported.

    Not after giving up root: the checkout and Python's packages may lie where only root can read.
    """
    real = os.geteuid, os.getuid
    os.geteuid = os.getuid = lambda: NOBODY
    try:
        for name in [m for m in sys.modules if m.partition(".")[0] in ("engine", "tests")]:
            if name != __name__:
                del sys.modules[name]
        package = importlib.import_module(engine.__name__)
        for module in pkgutil.walk_packages(package.__path__, "engine."):
            importlib.import_module(module.name)
        for name in ("yaml", "tests.engine.fidelity"):
            importlib.import_module(name)
        kit = importlib.import_module("engine.rescue.kit")
        mark = kit.stamp()
        kit._made(mark)                 # of files that this user may not be able to read
        vars(kit)["stamp"] = lambda: mark
    finally:
        os.geteuid, os.getuid = real


@pytest.mark.parametrize("check", ["deletions", "catalog", "there_and_back"])
@pytest.mark.parametrize("chunk", range(budget(0.05)))
def test_histories_of_a_user(place: str, check: str, chunk: int) -> None:
    as_nobody(place, check, 30_000 + chunk)
