"""When a rollback has to run from a copy of itself in memory, and what stops it before anything was changed."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig

import pytest

from engine.config import Config
from engine.errors import RefusedError
from engine.rescue import lifeboat


@pytest.fixture(autouse=True)
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def _inner(path: str) -> bytes:
    return os.fsencode(os.path.realpath(path)).lstrip(b"/")


def test_everything_of_the_running_root_needs_it_and_other_trees_do_not(tmp_path: object) -> None:
    assert lifeboat.due(Config(root="/"))
    assert not lifeboat.due(Config(root=str(tmp_path)))
    with pytest.raises(RefusedError, match="the very files that it runs from"):
        lifeboat.require(Config(root="/"), ())
    lifeboat.require(Config(root=str(tmp_path)), ())


@pytest.mark.parametrize("path", [
    _inner(sysconfig.get_path("stdlib")), _inner(sysconfig.get_path("stdlib")) + b"/json",
    _inner(shutil.which("rsync") or ""), _inner(sys.executable), _inner(lifeboat.__file__), b"usr"])
def test_paths_that_we_run_from_need_it(path: bytes) -> None:
    assert lifeboat.due(Config(root="/"), [b"etc/hosts", path])


def test_paths_apart_and_ordinary_users_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not lifeboat.due(Config(root="/"), [b"etc/hosts", b"srv/data", b"usrlocal"])
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert not lifeboat.due(Config(root="/"))


def test_too_little_memory_is_said_with_both_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifeboat, "available", lambda: 64 << 20)
    with pytest.raises(RefusedError, match=r"1\d\d MiB are needed, 64 MiB are available") as caught:
        lifeboat._check_memory(70 << 20)
    assert "--at-next-boot" in caught.value.hint and "rescue CD" in caught.value.hint
    monkeypatch.setattr(lifeboat, "available", lambda: None)
    lifeboat._check_memory(70 << 20)


def test_the_kernel_says_how_much_there_is() -> None:
    found = lifeboat.available()
    assert found is not None and 0 < found <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_where_run_is_part_of_the_root_our_places_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Config(root="/", excludes=("/proc/*",))
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda path, **more: real("/" if path == "/run" else path, **more))
    assert lifeboat.spared(one).excludes == ("/proc/*", "/run/rp", "/run/rollpoint")
    monkeypatch.setattr(os, "stat", lambda path, **more: real("/proc" if path == "/run" else path, **more))
    assert lifeboat.spared(one).excludes == ("/proc/*",)
