"""Directories put together in a namespace of their own, as the snapshots of a point are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.errors import RefusedError, ToolError
from engine.machine.mounts import Namespace, mounts
from engine.volumes.composed import compose

pytestmark = pytest.mark.root


def parts(place: Path) -> dict[str, bytes]:
    """Make the directories root, home and deep, each with a file of its name; root has a place for home."""
    made = {}
    for name in ("root", "home", "deep"):
        (place / name).mkdir()
        (place / name / f"of {name}").write_text(name)
        made[name] = os.fsencode(place / name)
    (place / "root/home").mkdir()
    (place / "root/home/hidden").write_text("below the mount point")
    return made


def test_parts_are_seen_at_their_places_and_cannot_be_written(tmp_path: Path) -> None:
    made = parts(tmp_path)
    with compose([(b"home", made["home"]), (b"", made["root"])]) as opened:
        assert opened.places == (b"", b"home")
        assert sorted(os.listdir(opened.path)) == [b"home", b"of root"]
        assert os.listdir(opened.path + b"/home") == [b"of home"]
        for name in (b"/new", b"/home/new"):
            with pytest.raises(OSError, match="Read-only"):
                open(opened.path + name, "wb").close()
        assert opened.space.run(["cat", opened.inside + b"/home/of home"]) == b"home"  # type: ignore[attr-defined]
    assert (tmp_path / "root/home/hidden").exists()


def test_without_a_root_only_the_way_to_the_parts_is_there(tmp_path: Path) -> None:
    made = parts(tmp_path)
    (tmp_path / "home/a").mkdir()
    with compose([(b"srv/x", made["deep"]), (b"home", made["home"]), (b"home/a", made["root"])]) as opened:
        assert opened.places == (b"home", b"home/a", b"srv/x")
        assert sorted(os.listdir(opened.path)) == [b"home", b"srv"]
        assert os.listdir(opened.path + b"/srv") == [b"x"]
        assert os.listdir(opened.path + b"/srv/x") == [b"of deep"]
        assert b"of root" in os.listdir(opened.path + b"/home/a")
        with pytest.raises(OSError, match="Read-only"):
            os.mkdir(opened.path + b"/new")


def test_a_callable_mounts_in_the_namespace_alone_and_nothing_stays(tmp_path: Path) -> None:
    before = mounts()

    def how(space: Namespace, where: bytes) -> None:
        space.run(["mount", "-t", "tmpfs", "-o", "ro", "test", where])

    with compose([(b"data", how)]) as opened:
        assert os.listdir(opened.path + b"/data") == []
        assert mounts() == before
        kept = opened.path
    assert mounts() == before
    assert not os.path.exists(kept)


def test_a_mount_never_follows_a_link_of_the_snapshot(tmp_path: Path) -> None:
    made = parts(tmp_path)
    (tmp_path / "root/link").symlink_to(tmp_path / "deep")
    with pytest.raises(RefusedError, match="/link"), compose([(b"", made["root"]), (b"link", made["home"])]):
        pass
    with pytest.raises(RefusedError, match="/none"), compose([(b"", made["root"]), (b"none", made["home"])]):
        pass


def test_two_parts_at_one_place_and_a_mount_that_fails_are_refused(tmp_path: Path) -> None:
    made = parts(tmp_path)
    with pytest.raises(RefusedError), compose([(b"home", made["home"]), (b"home", made["deep"])]):
        pass
    with pytest.raises(ToolError, match="mount"), compose([(b"home", made["home"] + b"/no such")]):
        pass
