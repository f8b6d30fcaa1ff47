"""What nobody can read is in no point, so a rollback must leave it alone: deleting it would lose it for good."""

from __future__ import annotations

import os
import traceback
import urllib.parse

import pytest
import yaml

from engine.config import Config
from engine.events import Job
from engine.results import SnapshotRequest
from engine.service import Engine

pytestmark = pytest.mark.root

# The engine imports these late, where an ordinary user may not be able to read the interpreter any more.
_NEEDED = (yaml, urllib.parse)

_NOBODY = 65534


def _as_nobody(where: str) -> None:
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    os.environ.update(HOME=where, TMPDIR=where)
    os.chdir(where)
    live = os.path.join(where, "live")
    engine = Engine(Config(store=os.path.join(where, "store"), root=live, excludes=()))
    engine.snapshot(SnapshotRequest(), Job())
    for name in ("secret", "plain"):
        with open(os.path.join(live, name), "w") as file:
            file.write(name)
    os.chmod(os.path.join(live, "secret"), 0)
    plan = engine.plan(engine.resolve("1"), ["system"], Job())
    assert [f.text for f in plan.findings if "/secret cannot be read" in f.text]
    assert [c.path for c in plan.diff.changes] == [b"", b"plain"]
    job = Job()
    engine.rollback(plan, job)
    assert os.listdir(live) == ["secret"] and any("secret" in w for w in job.warnings)
    engine.undo(Job())
    assert sorted(os.listdir(live)) == ["plain", "secret"]


def test_a_file_that_cannot_be_read_survives_a_rollback_and_its_undoing(place: str) -> None:
    os.mkdir(os.path.join(place, "live"))
    for path in (place, os.path.join(place, "live")):
        os.chown(path, _NOBODY, _NOBODY)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            _as_nobody(place)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
