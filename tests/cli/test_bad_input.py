"""What an admin can get wrong, on the real engine: each a one-line error with a hint and its exit code."""

from __future__ import annotations

import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Ran, Run, assert_printable
from tests.cli.real_tree import Tree, root_only


def one_line(ran: Ran, code: int) -> None:
    assert ran.code == code, ran
    assert "Traceback" not in ran.err + ran.out and "unexpected" not in ran.err
    lines = ran.err.splitlines()
    assert len(lines) == 2 and lines[0].startswith("rollpoint: ") and lines[1].startswith("hint: "), ran.err
    assert_printable(ran.err)


@pytest.mark.parametrize("words", [
    ["show", "99"], ["show", "nonsense"], ["diff", "1", "99"], ["cat", "99", "/x"], ["pin", "99"],
    ["restore", "99", "--to", "/nowhere/x"], ["rollback", "99", "--yes"], ["delete", "99", "--yes"],
    ["verify", "99"], ["show", "2"]])
def test_unknown_and_ambiguous_points(words: list[str], taken: Tree) -> None:
    if words == ["show", "2"]:
        words = ["show", taken("list", "--json").document["points"][0]["id"][:3]]
    one_line(taken(*words), 2)


@pytest.mark.parametrize("words", [["list"], ["show", "1"], ["verify"], ["rollback", "1", "--yes"],
                                   ["prune", "--yes"]])
def test_no_store_yet(words: list[str], tree: Tree) -> None:
    ran = tree(*words)
    assert ran.code in ((0, 2) if words in (["list"], ["prune", "--yes"]) else (2,))
    assert "Traceback" not in ran.err
    assert "rollpoint snapshot" in ran.err + ran.out
    assert not tree.store.exists()


@pytest.mark.parametrize(("text", "words"), [
    ("store: [\n", ":"), ("stor: /x\n", ":1: stor"), ("- a\n", ":1"),
    ("retention:\n  min_keep: none\n", ":2: retention.min_keep: expected"),
    ("store: /x\nstore: /y\n", ":2: store")])
def test_bad_configuration(text: str, words: str, run: Run, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    ran = run("list", "--config", str(path), bare=True)
    assert ran.code == 8 and f"{path}{words}" in ran.err and "Traceback" not in ran.err


def test_unsafe_and_missing_configuration(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("store: /x\n")
    path.chmod(0o666)
    if os.geteuid() == 0:
        assert run("list", "--config", str(path), bare=True).code == 8
    assert run("list", "--config", str(tmp_path / "none"), bare=True).code == 8
    assert run("list", "--config", str(tmp_path), bare=True).code == 8


def test_source_inside_the_store_and_equal_to_it(tree: Tree, run: Run) -> None:
    tree.point()
    for root in (tree.store, tree.store / "tree", tree.store / "tree" / "etc"):
        one_line(run("snapshot", "--store", str(tree.store), "--root", str(root), bare=True), 5)


def test_store_inside_the_source(run: Run, tmp_path: Path) -> None:
    root = tmp_path / "r"
    (root / "a").mkdir(parents=True)
    where = ["--store", str(root / "store"), "--root", str(root)]
    for _ in range(2):
        assert run("snapshot", *where, bare=True).code == 0
    entries = run("ls", "latest", *where, "--json", bare=True).document["entries"]
    assert {e["path"] for e in entries} == {"/a"}


def test_root_that_is_none(run: Run, tree: Tree) -> None:
    where = ["--store", str(tree.store)]
    one_line(run("snapshot", *where, "--root", str(tree.base / "none"), bare=True), 2)
    one_line(run("snapshot", *where, "--root", str(tree.root / "etc" / "hosts"), bare=True), 2)


def test_store_that_cannot_be_made(run: Run, tree: Tree) -> None:
    where = ["--root", str(tree.root)]
    (tree.base / "full").mkdir()
    (tree.base / "full" / "x").touch()
    for store in ("none/store", "full", "full/x"):
        ran = run("snapshot", "--store", str(tree.base / store), *where, bare=True)
        assert ran.code in (1, 2, 5) and ran.err.startswith("rollpoint: "), store
        assert "Traceback" not in ran.err


def test_newer_format(taken: Tree) -> None:
    taken.seal("store.yaml", "format: 1", "format: 99")
    for words in (["list"], ["snapshot"], ["rollback", "1", "--yes"], ["verify"], ["delete", "1", "--yes"]):
        one_line(taken(*words), 5)


def test_store_of_another_machine(tree: Tree, run: Run) -> None:
    (tree.root / "etc" / "machine-id").write_text("a" * 32 + "\n")
    tree.point()
    (tree.root / "etc" / "machine-id").write_text("b" * 32 + "\n")
    one_line(tree("snapshot"), 5)
    assert tree("list").code == 0
    ran = tree("rollback", "1", "--yes")
    assert ran.code == 5 and "machine" in ran.err
    assert (tree.root / "etc" / "machine-id").read_text() == "b" * 32 + "\n"
    assert tree("restore", "1", "--to", str(tree.base / "out")).code == 0


def test_damaged_store_document(taken: Tree) -> None:
    path = taken.store / "store.yaml"
    path.write_text(path.read_text().replace("format: 1", "format: 2"))
    assert taken("list").code == 7


@pytest.fixture
def read_only(taken: Tree) -> Iterator[Tree]:
    """The store, on a read-only bind mount."""
    subprocess.run(["mount", "--bind", taken.store, taken.store], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", taken.store], check=True)
        yield taken
    finally:
        subprocess.run(["umount", taken.store], check=True)


@root_only
@pytest.mark.root
def test_read_only_store(read_only: Tree) -> None:
    for words in (["snapshot"], ["delete", "1", "--yes"], ["pin", "1"]):
        ran = read_only(*words)
        assert ran.code in (1, 5) and "read-only" in ran.err.lower() and len(ran.err.splitlines()) == 2, ran
    for words in (["list"], ["diff", "1", "2"], ["cat", "1", "/etc/hosts"], ["ls", "1"]):
        assert read_only(*words).code == 0, words
    assert read_only("restore", "1", "--to", str(read_only.base / "out")).code == 0
    assert (read_only.base / "out" / "etc" / "hosts").read_text() == "one\ntwo\n"


@root_only
@pytest.mark.root
def test_not_enough_room(run: Run, tmp_path: Path) -> None:
    disk, root = tmp_path / "disk", tmp_path / "root"
    disk.mkdir()
    root.mkdir()
    where = ["--store", str(disk / "store"), "--root", str(root)]
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", disk], check=True)
    try:
        (root / "small").write_text("small")
        assert run("snapshot", *where, bare=True).code == 0
        (root / "large").write_bytes(os.urandom(20 << 20))
        ran = run("snapshot", *where, bare=True)
        assert ran.code == 1 and "room" in ran.err and ran.err.splitlines()[-1].startswith("hint: "), ran.err
        assert len(run("list", *where, "--json", bare=True).document["points"]) == 1
        (root / "large").unlink()
        assert run("snapshot", *where, bare=True).code == 0
        assert run("verify", "--data", *where, bare=True).code == 0
    finally:
        subprocess.run(["umount", disk], check=True)


def test_the_second_writer_is_told_who_holds_the_store(taken: Tree) -> None:
    with open(taken.store / "lock", "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(b'{"user": "anna", "host": "h", "pid": 77, "verb": "snapshot", "since": "now"}')
        file.flush()
        for words in (["snapshot"], ["delete", "1", "--yes"], ["pin", "1"], ["prune", "--yes"], ["repair"]):
            ran = taken(*words)
            assert ran.code in ((0, 4) if words[0] == "prune" else (4,)), ran
            assert ran.code == 0 or "anna@h, pid 77" in ran.err
        for words in (["list"], ["diff", "1"], ["cat", "1", "/etc/hosts"], ["find", "hosts"], ["verify"]):
            assert taken(*words).code == 0, words
    assert taken("snapshot").code == 0


def test_store_on_a_mount_that_is_missing(tree: Tree, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tree.base / "backup"
    place.mkdir()
    listed = os.fsencode(place)[1:]
    monkeypatch.setattr("engine.machine.mounts.fstab_points", lambda root: [listed] if root == b"/" else [])
    where = ["--store", str(place / "store"), "--root", str(tree.root)]
    for words, code in ((["snapshot"], 5), (["show", "1"], 2), (["rollback", "1", "--yes"], 2)):
        ran = run(*words, *where, bare=True)
        one_line(ran, code)
        assert str(place) in ran.err and "mount" in ran.err
    assert not list(place.iterdir())
