"""Every verb on the fake engine: its text, its JSON document, its exit code."""

from __future__ import annotations

import base64
import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import (
    BusyError,
    CancelledError,
    ConfigError,
    DamageError,
    NoRoomError,
    NotConfirmedError,
    RefusedError,
    RollpointError,
    ToolError,
    UsageError,
)
from engine.results import Damage, Finding, Verdict
from engine.rollback import JOURNAL
from tests.cli.conftest import Run, assert_printable
from tests.cli.fake_engine import EVIL_TEXT, HOSTILE, World
from tui.cli import main

POINT = {"id", "backend", "number", "created", "comment", "pinned", "tags", "state", "own_bytes", "newest",
         "problems"}
VERBS: dict[str, tuple[tuple[str, ...], set[str]]] = {
    "snapshot": (("snapshot", "-m", "x", "--tag", "t", "--pin"),
                 POINT | {"entries_created", "entries_changed", "entries_deleted", "entries_attrs", "pruned",
                          "bytes_copied", "diff_bytes", "excluded", "databases", "seconds", "warnings"}),
    "list": (("list",), {"points", "troubles"}),
    "show": (("show", "3"), POINT | {"document"}),
    "diff": (("diff", "1"), {"older", "newer", "totals", "changes", "warnings"}),
    "diff file": (("diff", "1", "/etc/a"), {"older", "newer", "totals", "changes", "text", "warnings"}),
    "ls": (("ls", "3", "/d"), {"point", "path", "entries"}),
    "cat": (("cat", "3", "/etc/a"), {"point", "path", "size", "content_b64"}),
    "history": (("history", "/etc/a"), {"path", "versions"}),
    "find": (("find", "*a*"), {"pattern", "found"}),
    "restore": (("restore", "3", "--to", "/x"),
                {"point", "to", "entries", "bytes", "seconds", "detail", "warnings"}),
    "rollback": (("rollback", "1", "--yes"), {"dry_run", "plan", "result", "warnings"}),
    "dry run": (("rollback", "1", "--dry-run"), {"dry_run", "plan", "warnings"}),
    "boot status": (("boot", "status"), {"root", "firmware", "disks", "notes", "verdict"}),
    "boot": (("boot",), {"root", "firmware", "disks", "notes", "verdict"}),
    "boot show": (("boot", "show", "1"),
                  {"point", "firmware", "disks", "not_compared", "texts", "facts", "damage"}),
    "undo": (("rollback", "--undo", "--yes"), {"result", "warnings"}),
    "mount": (("mount", "3", "/x"), {"point", "where", "warnings"}),
    "umount": (("umount", "/x"), {"where"}),
    "pin": (("pin", "3"), POINT),
    "comment": (("comment", "3", "new"), POINT),
    "prune": (("prune", "--yes"), {"dry_run", "fates", "removed", "failed", "freed", "warnings"}),
    "prune dry": (("prune", "--dry-run"), {"dry_run", "fates", "removed", "failed", "freed"}),
    "delete": (("delete", "1", "--yes"), {"points", "removed", "failed", "freed", "warnings"}),
    "verify": (("verify", "--data"), {"points", "entries", "bytes_read", "data", "unsummed", "damage", "warnings"}),
    "repair": (("repair",), {"done", "left", "warnings"}),
}


@pytest.mark.parametrize("name", VERBS)
def test_json_is_one_document_with_the_promised_keys(name: str, run: Run, world: World) -> None:
    words, keys = VERBS[name]
    ran = run(*words, "--json")
    assert ran.code == 0, ran.err
    assert set(ran.document) == keys
    assert ran.out.isascii() and ran.out.count("\n") == 1
    assert_printable(ran.out + ran.err)


@pytest.mark.parametrize("name", VERBS)
def test_text_holds_no_control_characters(name: str, run: Run, world: World) -> None:
    words, _ = VERBS[name]
    ran = run(*words)
    assert ran.code == 0, ran.err
    assert ran.out and "Traceback" not in ran.err
    if name != "cat":
        assert_printable(ran.out.replace("\ttab", "") + ran.err)


@pytest.mark.parametrize("name", VERBS)
def test_global_options_stand_anywhere(name: str, run: Run, world: World) -> None:
    words, _ = VERBS[name]
    before = run("--json", *words)
    world.done.clear()
    behind = run(words[0], "--json", *words[1:])
    assert before.code == behind.code == 0
    assert before.document.keys() == behind.document.keys()


@pytest.mark.parametrize("verb", ["list", "ls 3 /d", "diff 1", "find x"])
def test_hostile_names_survive_json(verb: str, run: Run, world: World) -> None:
    document = run(*verb.split(), "--json").document
    if verb == "list":
        assert document["points"][0]["comment"] == EVIL_TEXT
        return
    rows = document.get("entries") or document.get("changes") or document["found"]
    seen = {base64.b64decode(row["path_b64"]) if "path_b64" in row else row["path"].encode()[1:]
            for row in rows}
    assert {b"d/" + name for name in HOSTILE} <= seen


def test_list_text(run: Run, world: World) -> None:
    ran = run("list")
    lines = ran.out.splitlines()
    assert lines[0].split() == ["No.", "Point", "Taken", "Age", "Own", "size", "Marks", "Comment"]
    assert [line.split()[0] for line in lines[1:4]] == ["3", "2", "1"]
    assert "newest" in lines[1] and "pinned, damaged" in lines[2] and "121 KiB" in lines[2]
    assert "Point 2 is damaged: pack" in ran.out and "server's time" in lines[-1]


def test_list_of_nothing_and_of_another_backend(run: Run, world: World) -> None:
    assert run("list", "--backend", "tape").code == 2
    failed = run("list", "--backend", "zfs")
    assert failed.code == 1 and "zfs cannot be listed: not here" in failed.err and "look for it" in failed.err
    assert run("list", "--backend", "replica", "--json").document["points"]
    world.points.clear()
    assert "no restore point yet" in run("list").out
    assert run("list", "--json").document == {"points": [], "troubles": []}


def test_quiet_says_nothing_but_the_answer(run: Run, world: World) -> None:
    assert run("-q", "snapshot").out == ""
    assert run("pin", "3", "-q").out == ""
    assert len(run("list", "-q").out.splitlines()) == 4


def test_snapshot_says_what_system_snapshot_says(run: Run, world: World, tmp_path: Path) -> None:
    (tmp_path / "root" / "etc").mkdir(parents=True)
    (tmp_path / "root" / "etc" / "database_locations").write_text("/var/lib/mysql\n")
    ran = run("snapshot", "-m", "-starts with a dash", "--tag", "a", "--tag", "a")
    assert ran.out.index("its limit is 1.9 GiB") < ran.out.index("*.swp") < ran.out.index("Point 4")
    assert "Excluded database, to be backed up separately: /var/lib/mysql" in ran.out
    assert "Removed to make room: 20240101-aa1" in ran.out
    assert world.done == ["snapshot '-starts with a dash' ('a',) False"]


def test_comment_that_is_no_utf8_is_refused(run: Run, world: World) -> None:
    for words in (("snapshot", "-m", "\udcff"), ("comment", "3", "\udcff"), ("snapshot", "--tag", "\udcff")):
        ran = run(*words)
        assert ran.code == 2 and "UTF-8" in ran.err
    assert not world.done


def test_diff_words(run: Run, world: World) -> None:
    text = run("diff", "1").out
    for line in ("+  /d/new\\x0aline  (7 B)", "M  /etc/a  (1 B -> 2.0 KiB)", "a  /etc/b  (mode, owner)",
                 "T  /etc/c  (file -> dir)", "-  /etc/d  (5 B)"):
        assert line in text.splitlines()
    totals = "14 created, 1 changed, 1 of another type, 1 with other attributes, 1 deleted"
    assert text.splitlines()[-1].startswith(totals)


@pytest.mark.parametrize(("words", "newer", "count"), [
    (("1",), "live", 18), (("1", "live"), "live", 18), (("1", "3"), "20240301-aa3", 18),
    (("1", "latest", "/etc"), "20240301-aa3", 4), (("1", "etc"), "live", 4),
    (("1", "./etc", "d"), "live", 18),
    (("1", "live", "etc/c"), "live", 1)])
def test_diff_second_word_is_a_point_or_a_path(words: tuple[str, ...], newer: str, count: int, run: Run,
                                               world: World) -> None:
    document = run("diff", *words, "--json").document
    assert (document["newer"], len(document["changes"])) == (newer, count)


def test_diff_of_what_is_nowhere(run: Run, world: World) -> None:
    ran = run("diff", "1", "99")
    assert ran.code == 2 and "no restore point is called '99'" in ran.err and "./99" in ran.err
    assert run("diff", "1", "/nowhere").code == 2
    assert run("diff", "1", "/same").code == 0
    ran = run("diff", "1", "2024")
    assert ran.code == 2 and "fits 3 restore points" in ran.err


def test_file_diff_is_text_and_printable(run: Run, world: World) -> None:
    lines = run("diff", "1", "/etc/a").out.splitlines()
    assert lines[1:] == ["--- a", "+++ b", "-old\\x1b[2J", "+new\ttab"]


def test_cat_is_byte_for_byte(world: World, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["--store", "/x", "--root", "/y", "cat", "3", "/etc/a"]) == 0
    assert capfdbinary.readouterr().out == b"raw \x00\xff\n" * 3


def test_restore_takes_paths_on_both_sides_of_its_options(run: Run, world: World) -> None:
    run("restore", "3", "--to", "/x", "/etc/../a", "--merge", "b//c")
    run("restore", "--to=/x", "--", "3", "-dash")
    assert world.done == ["restore 3 '/x' [b'a', b'b/c'] True", "restore 3 '/x' [b'-dash'] False"]


def test_warnings_make_exit_3_and_are_named(run: Run, world: World) -> None:
    world.warnings = ("/var/log/x vanished", "y\x1b")
    for words in (("snapshot",), ("restore", "3", "--to", "x"), ("rollback", "3", "--yes"), ("repair",)):
        ran = run(*words, "--json")
        assert ran.code == 3 and "warning: /var/log/x vanished" in ran.err and r"y\x1b" in ran.err
        assert ran.document["warnings"][0] == "/var/log/x vanished"


def test_a_point_that_cannot_be_removed_is_a_warning(run: Run, world: World) -> None:
    world.failed = (("20240101-aa1", "it is mounted"),)
    ran = run("prune", "--yes", "--json")
    assert ran.code == 3 and "point 20240101-aa1 could not be removed: it is mounted" in ran.err
    assert ran.document["failed"] == [{"id": "20240101-aa1", "reason": "it is mounted"}]


def test_damage_is_exit_7_and_named_by_point_and_path(run: Run, world: World) -> None:
    world.damage = (Damage("20240101-aa1", b"etc/pass\nwd", "checksum differs"),
                    Damage("", b"", "no store.yaml"))
    ran = run("verify", "1", "1", "--data")
    assert ran.code == 7 and r"20240101-aa1  /etc/pass\x0awd  checksum differs" in ran.out
    assert "store  -  no store.yaml" in ran.out and world.done == ["verify [1] True"]
    assert run("repair").code == 7
    found = run("verify", "--json").document["damage"]
    assert found[1] == {"point": None, "path": None, "text": "no store.yaml"}


def test_prune_shows_each_fate_and_its_rule(run: Run, world: World) -> None:
    ran = run("prune", "--dry-run")
    lines = ran.out.splitlines()
    assert "keep" in lines[1] and lines[1].endswith("newest")
    assert "REMOVE" in lines[3] and r"older than max_age \x1b" in lines[3]
    assert not world.done


ERRORS: list[tuple[BaseException, int]] = [
    (RollpointError("it went\x1b wrong", hint="do\nthis"), 1), (CancelledError("stopped on request"), 1),
    (NoRoomError("no room", missing=5), 1), (ToolError(["rsync"], 23, "bad"), 1), (UsageError("what"), 2),
    (BusyError("held by 1234"), 4), (RefusedError("dangerous"), 5), (NotConfirmedError("no"), 6),
    (DamageError("broken"), 7), (ConfigError("/etc/x:3: bad"), 8),
    (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/st\nore"), 1),
    (PermissionError(errno.EACCES, os.strerror(errno.EACCES), b"/\xff"), 1),
    (OSError(errno.EROFS, os.strerror(errno.EROFS)), 1), (KeyboardInterrupt(), 1), (MemoryError(), 1),
]


@pytest.mark.parametrize(("error", "code"), ERRORS)
@pytest.mark.parametrize("as_json", [False, True])
def test_errors_are_one_line_and_a_hint(error: BaseException, code: int, as_json: bool, run: Run,
                                        world: World) -> None:
    world.raises = error
    ran = run("list", *["--json"] * as_json)
    assert ran.code == code
    assert len(ran.err.splitlines()) <= 2 and ran.err.startswith("rollpoint: ") and "Traceback" not in ran.err
    assert_printable(ran.err + ran.out)
    if as_json:
        found = ran.document["error"]
        assert set(found) == {"message", "hint", "exit_code"} and found["exit_code"] == code
    else:
        assert ran.out == ""


def test_a_defect_leaves_its_traceback_in_a_file(run: Run, world: World, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    world.raises = ZeroDivisionError("oh\x1b")
    ran = run("list")
    files = list(tmp_path.glob("rollpoint-traceback-*.txt"))
    assert ran.code == 1 and len(files) == 1 and str(files[0]) in ran.err and "Traceback" not in ran.err
    assert "ZeroDivisionError" in files[0].read_text() and files[0].stat().st_mode & 0o777 == 0o600
    assert "Traceback" in run("-v", "list").err and len(list(tmp_path.glob("rollpoint-traceback-*"))) == 1


USAGE = [
    ["nonsense"], ["--pin", "snapshot"], ["list", "extra"], ["show"], ["show", "9"], ["show", "2024"],
    ["show", ""], ["diff"], ["cat", "3"], ["ls", "3", "/nowhere"], ["cat", "3", "/missing"],
    ["cat", "3", "a\0b"], ["restore", "3"], ["restore", "3", "--to"], ["restore", "3", "--to", ""],
    ["restore", "3", "--to", "--merge"], ["rollback", "3", "--scope", "mbr"],
    ["rollback", "3", "--scope", "fs="], ["rollback", "3", "--scope", "path="], ["rollback", "--yes"],
    ["rollback", "3", "--scope", "system", "--scope", "path=/etc"],
    ["rollback", "--resume", "--undo", "--yes"], ["rollback", "3", "--resume", "--yes"],
    ["rollback", "--resume", "--yes"], ["rollback", "--undo", "--dry-run"],
    ["rollback", "--attach"], ["rollback", "3", "--attach"], ["rollback", "--attach", "--undo"],
    ["rollback", "--undo", "--at-next-boot"], ["pin"], ["delete"], ["delete", "1", "9", "--yes"], ["verify", "9"],
    ["snapshot", "--backend", "tape"], ["list", "-q", "-v"], ["list", "--jso"], ["demo", "x"],
    ["boot", "x"], ["boot", "show"], ["boot", "status", "3"], ["boot", "show", "9"],
    ["rollback", "3", "--scope", "files", "--scope", "boot"],
    ["rollback", "3", "--scope", "fs=/", "--scope", "boot"],
]


@pytest.mark.parametrize("words", USAGE, ids=" ".join)
@pytest.mark.parametrize("as_json", [False, True])
def test_usage_errors(words: list[str], as_json: bool, run: Run, world: World) -> None:
    ran = run(*words, *["--json"] * as_json)
    assert ran.code == 2 and ran.err.startswith("rollpoint: ") and "Traceback" not in ran.err
    assert not {name for name in world.done if not name.startswith("diff")}
    if as_json:
        assert ran.document["error"]["exit_code"] == 2


@pytest.mark.parametrize(("answer", "code"), [("yes", 0), ("doubtful", 3), ("no", 7)])
def test_boot_status_says_whether_it_will_boot(answer: str, code: int, run: Run, world: World) -> None:
    world.verdict = Verdict(answer, (Finding("blocker", "no kernel \x1b", "do this"),))
    ran = run("boot")
    assert ran.code == code and "Disk       /dev/sd\\x1ba: 64 MiB, MBR 0xcafe" in ran.out
    assert "  sector 0, bytes 0 to 512: GRUB 2\n" in ran.out and "  NO: no kernel \\x1b\n    do this\n" in ran.out
    document = run("boot", "--json").document
    assert document["verdict"]["answer"] == answer and document["disks"][0]["areas"][0]["holds"] == "GRUB 2"


def test_a_rollback_says_what_becomes_of_boot_sectors(run: Run, world: World) -> None:
    world.changes = ()
    ran = run("rollback", "1", "--yes")
    assert "nothing to roll back" in ran.out and not any(d.startswith("rollback") for d in world.done)
    world.boot, world.boot_applied = ("/dev/sda: boot code: a\x1b -> b",), ("/dev/sda: boot code: a\x1b -> b",)
    world.verdict = Verdict("no", (Finding("blocker", "no kernel \x1b"),), "6.1")
    ran = run("rollback", "1", "--yes")
    assert "Boot:\n  /dev/sda: boot code: a\\x1b -> b\n" in ran.out and "Boot: /dev/sda: boot code" in ran.out
    assert "Will it boot? It will not boot (kernel 6.1)." in ran.out
    assert ran.code == 3 and "warning: boot: no kernel \\x1b" in ran.err
    result = run("rollback", "1", "--yes", "--json").document["result"]
    assert result["boot"]["answer"] == "no" and len(result["boot_applied"]) == 1


def test_config_that_cannot_be_read(run: Run, world: World, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("store: /x\nretention:\n  dayly: 3\n")
    ran = run("--config", str(path), "list", bare=True)
    assert ran.code == 8 and f"{path}:3: retention.dayly: unknown key" in ran.err
    assert run("list", "--config", str(tmp_path / "none"), bare=True).code == 8


def test_help_and_version(run: Run) -> None:
    overview = run("--help", bare=True)
    assert overview.code == 0
    for verb in ("snapshot", "list", "rollback", "doctor", "demo"):
        assert f"\n  {verb} " in overview.out
        one = run(verb, "--help", bare=True)
        assert one.code == 0 and f"usage: rollpoint {verb}" in one.out
    assert run("--version", bare=True).out.startswith("rollpoint ")


def test_no_command_without_a_terminal(run: Run) -> None:
    ran = run()
    assert ran.code == 2 and "terminal" in ran.err
    assert run("--json").document["error"]["exit_code"] == 2


def test_a_rollback_at_the_next_boot_is_ordered_shown_and_taken_back(run: Run, world: World) -> None:
    assert run("rollback", "3", "--at-next-boot").code == 6 and "order" not in str(world.done)
    ran = run("rollback", "3", "--at-next-boot", "--yes", "--json", "--no-safety-point")
    assert ran.code == 0 and world.done[-1] == "order safety=False"
    assert ran.document["ordered"] and ran.document["result"] is None
    assert "What changes until then is lost as well (no safety point" in ran.err
    shown = run("list")
    assert r"attention: a rollback to point 3\x1b is ordered" in shown.err and "--undo" in shown.err
    assert any("is ordered" in check["text"] for check in run("doctor", "--json").document["checks"])
    assert run("rollback", "--undo").code == 6 and world.status.ordered
    assert run("rollback", "--undo", "--yes").code == 0
    assert world.done[-1] == "take order back" and "is ordered" not in run("list").err


def test_interrupted_rollback_is_announced(run: Run, world: World, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / os.fsdecode(JOURNAL)).touch()
    world.status = replace(world.status, rollback="half\x1b done")
    ran = run("list")
    assert ran.code == 0 and r"interrupted (half\x1b done)" in ran.err and "--resume" in ran.err
    assert "interrupted" not in run("rollback", "--resume", "--yes", "-q").err
    assert world.done == ["resume"]


def test_blocked_rollback_is_refused_even_with_yes(run: Run, world: World) -> None:
    world.findings = (Finding("blocker", "no room\x1b", "make some"), Finding("warning", "other kernel"))
    for words, code in ((("--yes",), 5), (("--dry-run",), 5)):
        ran = run("rollback", "1", *words, "--json")
        assert ran.code == code and ran.document["plan"]["blocked"] is True
    assert not [name for name in world.done if name.startswith("rollback")]
    assert "hint: make some" in run("rollback", "1", "--yes").err


def test_rollback_with_nothing_to_do(run: Run, world: World) -> None:
    world.changes = ()
    assert "nothing to roll back" in run("rollback", "1", "--yes").out
    assert run("rollback", "1", "--yes", "--json").document["result"] is None
    assert not [name for name in world.done if name.startswith("rollback")]


def test_rollback_that_does_not_verify_is_a_warning(run: Run, world: World) -> None:
    world.verified, world.differences = False, ("/etc/x\x1b: mode",)
    ran = run("rollback", "1", "--yes", "--no-safety-point")
    assert ran.code == 3 and r"still differs: /etc/x\x1b: mode" in ran.err and "NOT verified" in ran.out
    assert "rollback 1 False" in world.done


def test_plan_says_what_system_restore_says(run: Run, world: World) -> None:
    text = run("rollback", "1", "--dry-run").out
    for words in ("12 days, 12 hrs, 0 minutes ago", "The server's time is", r"will NOT be touched",
                  r"/var/lib/my\x1bsql",
                  "all changes made since this restore point was taken will be lost", "roll forward to 3, 2",
                  "14  to be created", "1  to be DELETED", "To be deleted:\n  /etc/d", "The biggest to be",
                  "safety point first", "dry run: nothing was changed"):
        assert words in text, words
    assert "no more recent restore point" in run("rollback", "3", "--dry-run").out
    assert world.done[0] == "plan 1 ['system']"


def test_scopes_reach_the_engine(run: Run, world: World) -> None:
    run("rollback", "1", "--dry-run", "--scope", "path=/etc", "--scope=path=/srv", "--scope", "path=/etc")
    assert world.done == ["plan 1 ['path=/etc', 'path=/srv']"]


def test_nobody_to_ask_is_refused(run: Run, world: World) -> None:
    for words in (("rollback", "1"), ("rollback",), ("rollback", "--undo"), ("prune",), ("delete", "1")):
        ran = run(*words, "--json")
        assert ran.code == 6 and ran.document["error"]["exit_code"] == 6 and "nothing was changed" in ran.err
    assert not world.done
