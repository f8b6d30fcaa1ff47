"""The command line above the real engine, on a real tree: every verb, and questions over a terminal."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys

import pytest

from tests.cli.conftest import assert_printable
from tests.cli.fake_engine import HOSTILE
from tests.cli.real_tree import Tree, names_in, root_only
from tests.cli.terminal import Terminal


def test_list_and_show(taken: Tree) -> None:
    points = taken("list", "--json").document["points"]
    assert [p["comment"] for p in points] == ["after", "before"] and points[0]["newest"] is True
    assert [p["number"] for p in points] == [2, 1]
    lines = taken("list").out.splitlines()
    assert lines[1].split()[0] == "2" and "newest" in lines[1] and lines[1].endswith("after")
    shown = taken("show", "latest")
    assert shown.code == 0 and points[0]["id"] in shown.out
    assert taken("show", "1", "--json").document["document"]
    assert taken("show", points[1]["id"]).code == 0


def test_databases_and_exclusions_are_named(tree: Tree) -> None:
    ran = tree("snapshot")
    assert ran.code == 0
    assert "Excluded database, to be backed up separately: /db" in ran.out and "*.swp" in ran.out
    document = tree("snapshot", "--json").document
    assert document["databases"] == ["/db"] and "*.pid" in document["excluded"]
    assert tree("ls", "latest", "/db/data").code == 2


def test_diff(taken: Tree) -> None:
    document = taken("diff", "1", "2", "--json").document
    assert {(c["status"], c["path"]) for c in document["changes"]} >= {
        ("M", "/etc/hosts"), ("+", "/etc/new"), ("-", "/names/plain")}
    assert document["totals"]["created"] == 1 and document["totals"]["deleted"] == 1
    assert "M  /etc/hosts  (8 B -> 7 B)" in taken("diff", "2").out
    text = taken("diff", "1", "latest", "/etc/hosts").out
    assert "-two" in text and "+TWO" in text
    assert taken("diff", "1", "/etc/nothing").code == 2
    assert taken("diff", "2", "2").out == "No differences.\n"
    back = taken("diff", "2", "1", "names").out
    assert "+  /names/plain  (5 B)" in back


def test_binary_files_are_named_with_their_sizes(tree: Tree) -> None:
    (tree.root / "bin").write_bytes(b"\0" * 10)
    tree.point()
    (tree.root / "bin").write_bytes(b"\0" * 20)
    text = tree("diff", "1", "/bin").out
    assert "10 B" in text and "20 B" in text and "binary" in text


def test_ls_and_cat_with_hostile_names(taken: Tree) -> None:
    listed = taken("ls", "1", "/names")
    assert listed.code == 0
    assert_printable(listed.out)
    rows = taken("ls", "1", "names", "--json").document["entries"]
    assert names_in(rows) == {b"names/" + name for name in HOSTILE}
    for name in HOSTILE:
        found = taken("cat", "1", "--json", "--", "/names/" + os.fsdecode(name)).document
        assert base64.b64decode(found["content_b64"]) == name
    assert taken("cat", "1", "/etc").code != 0
    assert len(taken("ls", "1", "/etc/hosts", "--json").document["entries"]) == 1


def test_history_and_find(taken: Tree) -> None:
    versions = taken("history", "/etc/hosts", "--json").document["versions"]
    assert [v["points"] for v in versions] == [1, 1] and versions[0]["current"] is True
    assert taken("history", "/nothing").code == 2
    assert taken("history", "etc/hosts").out.count("\n") == 3
    found = taken("find", "plain")
    assert "/names/plain  (5 B, points 1, changed or deleted since)" in found.out
    assert names_in(taken("find", "*", "--json").document["found"]) >= {b"names/" + n for n in HOSTILE}
    assert taken("find", "no such name").code == 0


def test_restore(taken: Tree) -> None:
    out = taken.base / "out"
    ran = taken("restore", "1", "--to", str(out), "--json")
    assert ran.code == 0 and (out / "etc" / "hosts").read_text() == "one\ntwo\n"
    assert set(os.listdir(os.fsencode(out / "names"))) == set(HOSTILE)
    assert taken("restore", "1", "--to", str(out)).code in (2, 5)
    assert taken("restore", "2", "/etc/hosts", "--to", str(out), "--merge").code == 0
    assert "TWO" in "".join(p.read_text() for p in out.rglob("hosts"))
    assert taken("restore", "2", "/no/such", "--to", str(taken.base / "out2")).code == 2
    assert taken("restore", "2", "--to", str(taken.store / "x")).code == 5


def test_rollback_and_undo(taken: Tree) -> None:
    (taken.root / "db" / "data").write_text("changed database")
    plan = taken("rollback", "1", "--dry-run", "--json").document["plan"]
    assert {(c["status"], c["path"]) for c in plan["changes"]} >= {
        ("M", "/etc/hosts"), ("-", "/etc/new"), ("+", "/names/plain")}
    assert plan["databases"] == ["/db"] and taken.hosts() == "broken\n"
    text = taken("rollback", "1", "--dry-run").out
    assert "will NOT be touched" in text and "  /db" in text and "roll forward to 2" in text
    assert taken("rollback", "1").code == 6 and taken.hosts() == "broken\n"
    ran = taken("rollback", "1", "--yes", "--json")
    assert ran.code == 0, ran.err
    result = ran.document["result"]
    assert result["verified"] is True and result["safety_point"]["number"] == 3
    assert taken.hosts() == "one\ntwo\n" and not (taken.root / "etc" / "new").exists()
    assert (taken.root / "db" / "data").read_text() == "changed database"
    again = taken("rollback", "1", "--yes")
    assert again.code == 0 and "nothing to roll back" in again.out
    assert taken("rollback", "--undo", "--yes").code == 0
    assert taken.hosts() == "broken\n" and (taken.root / "etc" / "new").exists()
    assert taken("rollback", "--resume", "--yes").code == 2


@pytest.mark.parametrize("way", ["--resume", "--undo"])
@pytest.mark.parametrize("step", ["rollback-begun", "rollback-copied"])
def test_a_killed_rollback_is_announced_and_finished_or_undone(way: str, step: str, taken: Tree) -> None:
    where = ["--store", str(taken.store), "--root", str(taken.root)]
    killed = subprocess.run([sys.executable, "-m", "tui.cli", *where, "rollback", "1", "--yes"], check=False,
                            env={**os.environ, "ROLLPOINT_KILL_AT": step}, capture_output=True)
    assert killed.returncode == -9, killed
    for words in (["list"], ["diff", "1", "2"], ["rollback", "1", "--dry-run"]):
        assert "interrupted" in taken(*words).err and "--resume" in taken(*words).err
    assert "interrupted" not in taken("list", "-q").err
    assert taken("rollback", way).code == 6
    refused = taken("rollback", "2", "--yes")
    assert refused.code == 5 and "--resume" in refused.err
    ran = taken("rollback", way, "--yes")
    assert ran.code in (0, 3), ran.err
    assert taken.hosts() == ("one\ntwo\n" if way == "--resume" else "broken\n")
    assert "interrupted" not in taken("list").err


def test_rollback_of_a_path_only(taken: Tree) -> None:
    ran = taken("rollback", "1", "--scope", "path=/names", "--yes", "--no-safety-point", "--json")
    assert ran.code == 0 and ran.document["result"]["safety_point"] is None
    assert (taken.root / "names" / "plain").exists() and taken.hosts() == "broken\n"
    assert len(taken("list", "--json").document["points"]) == 2


def test_pin_comment_prune_delete(taken: Tree) -> None:
    assert taken("pin", "1", "--json").document["pinned"] is True
    fates = taken("prune", "--dry-run", "--json").document["fates"]
    assert [f["keep"] for f in fates] == [True, True] and all(f["rule"] for f in fates)
    assert taken("unpin", "1", "--json").document["pinned"] is False
    comment = "evil \x1b[2J [red] \u202e 日本 'quote\"\nline: - #"
    assert taken("comment", "1", comment).code == 0
    assert taken("list", "--json").document["points"][1]["comment"] == comment
    listed = taken("list")
    assert_printable(listed.out)
    assert taken("delete", "1").code == 6
    taken.point("third")
    ran = taken("delete", "1", "2", "--yes", "--json")
    assert ran.code == 0 and len(ran.document["removed"]) == 2
    assert [p["number"] for p in taken("list", "--json").document["points"]] == [3]
    assert taken("prune", "--yes").code == 0


def test_verify_and_repair(taken: Tree) -> None:
    assert taken("verify").code == 0
    report = taken("verify", "--data", "--json")
    assert report.code == 0 and report.document["bytes_read"] > 0 and report.document["damage"] == []
    assert taken("verify", "1").code == 0
    assert taken("repair", "--json").code == 0
    assert taken("verify", "--data").code == 0


def test_damage_is_exit_7_and_listed(taken: Tree) -> None:
    pack = next(taken.store.glob("points/*/diff/pack-*.tar.zst"))
    raw = bytearray(pack.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    pack.write_bytes(raw)
    ran = taken("verify", "--data")
    assert ran.code == 7 and pack.parent.parent.name in ran.out and "Traceback" not in ran.err
    assert taken("verify", "--data", "--json").document["damage"]
    assert taken("list").code == 0
    assert taken("doctor").code in (0, 7)
    assert taken("cat", "2", "/etc/hosts").code == 0


@root_only
@pytest.mark.root
def test_mount_and_umount(taken: Tree) -> None:
    where = taken.base / "mnt"
    where.mkdir()
    try:
        ran = taken("mount", "1", str(where))
        assert ran.code == 0, ran.err
        assert (where / "etc" / "hosts").read_text() == "one\ntwo\n"
        with pytest.raises(OSError):
            (where / "x").write_text("x")
    finally:
        assert taken("umount", str(where)).code == 0
    assert not (where / "etc").exists()


def test_doctor(taken: Tree) -> None:
    ran = taken("doctor", "--json")
    assert ran.code in (0, 3), ran.err
    assert any(str(taken.store) in check["text"] for check in ran.document["checks"])


def test_typed_yes_rolls_back_and_ctrl_c_does_not(taken: Tree) -> None:
    where = ["--store", str(taken.store), "--root", str(taken.root)]
    for keys, code, text in ((b"\x03", 6, "broken\n"), (b"y\n", 6, "broken\n"), (b"yes\n", 0, "one\ntwo\n")):
        terminal = Terminal("tui.cli", [*where, "rollback"])
        terminal.read_until("Number of the restore point")
        terminal.type(b"1\n")
        terminal.read_until("Type yes to go on: ")
        terminal.type(keys)
        assert terminal.wait() == code, terminal.seen
        assert taken.hosts() == text


def test_ctrl_c_leaves_the_store_as_it_was(tree: Tree) -> None:
    tree.point("first")
    for number in range(400):
        (tree.root / f"large{number}").write_bytes(os.urandom(100_000))
    terminal = Terminal("tui.cli", ["--store", str(tree.store), "--root", str(tree.root), "snapshot"])
    terminal.read_until("Excluded")
    terminal.read_until("\r\x1b[K")
    terminal.type(b"\x03")
    assert terminal.wait() == 1, terminal.seen
    assert b"stopp" in terminal.seen and b"Traceback" not in terminal.seen
    assert [p["comment"] for p in tree("list", "--json").document["points"]] == ["first"]
    shutil.rmtree(tree.root / "names")
    tree.point("second")
    assert tree("verify", "--data").code == 0
