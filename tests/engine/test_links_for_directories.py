"""A directory becomes a symbolic link, as /lib does when a system merges it into /usr: its names are gone then, even
where the link leads to others of the same name, or to itself."""

from __future__ import annotations

import os
import shutil

import pytest

from engine.entries import Status
from engine.events import Job
from tests.engine.fidelity import roll
from tests.engine.harness import Bench

LINKS = {"usrmerge": b"usr/lib", "itself": b"lib", "nowhere": b"n" * 300, "outside": b"/etc"}


def _write(bench: Bench, path: str, text: str) -> None:
    full = os.path.join(bench.live, path)
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "w", encoding="ascii") as file:
        file.write(text)


@pytest.mark.parametrize("target", LINKS.values(), ids=LINKS)
def test_points_and_rollbacks_are_exact(place: str, target: bytes) -> None:
    bench = Bench(place, privileged=False)
    for name in ("passwd", "hosts", "sub/one"):
        _write(bench, f"lib/{name}", f"old {name}\n")
        _write(bench, f"usr/lib/{name}", f"new {name}\n")
    os.link(os.path.join(bench.live, "lib/hosts"), os.path.join(bench.live, "lib/linked"))
    first = bench.take()
    shutil.rmtree(os.path.join(bench.live, "lib"))
    os.symlink(target, os.path.join(os.fsencode(bench.live), b"lib"))
    live = {c.path: c.status for c in bench.engine().diff(first, None).changes}
    assert live[b"lib"] is Status.TYPE and live[b"lib/sub/one"] is live[b"lib/passwd"] is Status.DELETED
    second = bench.take()
    changes = {c.path: c.status for c in bench.engine().diff(first, second).changes}
    assert changes[b"lib"] is Status.TYPE and changes[b"lib/passwd"] is changes[b"lib/linked"] is Status.DELETED
    assert [life.at(second.number) for life in bench.engine().lives(b"lib")] == [None] * 4
    bench.check()
    roll(bench, first.id)
    bench.check_live(first.id)
    roll(bench, second.id)
    bench.check_live(second.id)
    assert bench.engine().verify(bench.engine().points(), Job(), data=True).damage == ()
