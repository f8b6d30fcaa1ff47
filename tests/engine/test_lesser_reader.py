"""An ordinary user who looks at a store that root has made: what he may not see is no damage, what is damaged is."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import engine
from engine.errors import RollpointError
from engine.events import Job
from tests.engine.harness import Bench

pytestmark = pytest.mark.root
NOBODY = 65534


def as_nobody(ask: Callable[[], Any]) -> Any:
    """Return what a function answers (as JSON) in a process that has given up root."""
    for module in pkgutil.walk_packages(engine.__path__, "engine."):
        importlib.import_module(module.name)        # the checkout may lie where only root can read
    importlib.import_module("yaml")
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(out)
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            os.chdir("/")
            answer = {"answer": ask()}
        except BaseException:
            answer = {"failed": traceback.format_exc()}
        with open(into, "w", encoding="utf-8") as pipe:
            json.dump(answer, pipe)
        sys.stderr.flush()
        os._exit(0)
    os.close(into)
    with open(out, encoding="utf-8") as pipe:
        said = json.load(pipe)
    os.waitpid(child, 0)
    assert "answer" in said, said
    return said["answer"]


@pytest.fixture
def bench(place: str) -> Bench:
    """Two points of a tree with attributes that only root sees, or only who may read the file; all may enter the
    store."""
    made = Bench(place)
    write(made, "bin/ping", 0o755)
    subprocess.run(["setcap", "cap_net_raw+ep", os.path.join(made.live, "bin/ping")], check=True)
    os.setxattr(write(made, "etc/trusted"), b"trusted.a", b"1")
    os.setxattr(write(made, "etc/user"), b"user.a", b"1")
    os.setxattr(write(made, "etc/shadow", 0o600), b"user.a", b"1")
    subprocess.run(["setfacl", "-m", "u:1000:rw", write(made, "etc/acl")], check=True)
    subprocess.run(["setfacl", "-m", "u:1000:rw", write(made, "etc/acl600", 0o600)], check=True)
    os.symlink("user", os.path.join(made.live, "etc/link"))
    os.setxattr(os.path.join(made.live, "etc/link"), b"trusted.l", b"1", follow_symlinks=False)
    write(made, "etc/plain")
    made.take()
    # What it is in the first point it will be again: only the capability is to be seen of it, and only by root.
    ping = Path(made.live, "bin/ping")
    before = ping.stat()
    ping.write_text("of the second point")
    made.take()
    ping.write_text("bin/ping")
    subprocess.run(["setcap", "cap_net_raw+ep", ping], check=True)
    os.utime(ping, ns=(before.st_atime_ns, before.st_mtime_ns))
    write(made, "etc/plain").write_text("a mistake")
    os.chmod(made.store, 0o755)
    return made


def write(bench: Bench, name: str, mode: int = 0o644) -> Path:
    path = Path(bench.live, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(name)
    path.chmod(mode)
    return path


def planned(bench: Bench, number: int) -> Any:
    """Return the blockers of a plan, and what it would change."""
    found = bench.engine().plan(bench.engine().resolve(str(number)), ("system",), Job())
    return [[f.text for f in found.findings if f.level == "blocker"],
            [[c.status.value, os.fsdecode(c.path)] for c in found.diff.changes]]


def verified(bench: Bench, *, data: bool) -> Any:
    """Return the damage that a verification finds, or why there is none."""
    try:
        return [f"/{os.fsdecode(d.path)} {d.text}" for d in bench.engine().verify(
            bench.engine().points(), Job(), data=data).damage]
    except RollpointError as error:
        return f"{error.message}; {error.hint}"


def test_attributes_that_only_root_sees_are_no_damage(bench: Bench) -> None:
    assert planned(bench, 1) == [[], [["M", "etc/plain"]]], "the test has prepared something else than it says"
    assert as_nobody(lambda: planned(bench, 1)) == [[], [["M", "etc/plain"]]]
    assert as_nobody(lambda: planned(bench, 2))[0] == []
    assert as_nobody(lambda: verified(bench, data=False)) == []


@pytest.mark.parametrize("path,harm", [
    ("bin/ping", lambda full: os.chmod(full, 0o700)), ("etc/user", lambda full: os.removexattr(full, b"user.a")),
    ("etc/user", lambda full: os.setxattr(full, b"user.b", b"1")), ("etc/shadow", os.unlink),
    ("etc/acl", lambda full: subprocess.run(["setfacl", "-b", full], check=True))])
def test_what_anybody_can_see_is_damage_to_him_too(bench: Bench, path: str, harm: Callable[[str], object]) -> None:
    harm(os.path.join(bench.store, "tree", path))
    blockers = as_nobody(lambda: planned(bench, 2))[0]
    assert len(blockers) == 1 and "damaged" in blockers[0] and f"/{path} " in blockers[0]
    assert [d for d in as_nobody(lambda: verified(bench, data=False)) if d.startswith(f"/{path} ")]


def test_lost_attributes_that_only_root_sees_are_damage_to_root(bench: Bench) -> None:
    os.removexattr(os.path.join(bench.store, "tree/etc/trusted"), b"trusted.a")
    blockers = planned(bench, 2)[0]
    assert len(blockers) == 1 and "/etc/trusted differs" in blockers[0]


def test_a_directory_that_he_may_not_enter_is_said_to_be_just_that(bench: Bench) -> None:
    write(bench, "root/secret/key")
    os.chmod(os.path.join(bench.live, "root"), 0o700)
    bench.take()
    blockers = as_nobody(lambda: planned(bench, 3))[0]
    assert len(blockers) == 1 and "root" in blockers[0] and "/root/secret" in blockers[0]
    assert "damaged" not in blockers[0] and "/etc" not in blockers[0]
    assert planned(bench, 3)[0] == []
    assert "Permission denied; run it as root" in as_nobody(lambda: verified(bench, data=False))


def test_contents_that_he_may_not_read_are_no_damage(bench: Bench) -> None:
    assert "acl600: Permission denied; run it as root" in as_nobody(lambda: verified(bench, data=True))
    assert verified(bench, data=True) == []
