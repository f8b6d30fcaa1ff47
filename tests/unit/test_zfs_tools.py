"""The ZFS backend against tools that are not as one would wish: absent, failing, hanging, speaking another language."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import Config, Zfs
from engine.errors import NoRoomError, RefusedError, RollpointError, UsageError
from engine.events import Job
from engine.machine.mounts import Mount
from engine.points import Part, RestorePoint
from engine.results import SnapshotRequest
from engine.volumes import zfstool
from engine.volumes.composed import strangers
from engine.volumes.zfs import ZfsBackend
from engine.volumes.zfsdestroy import destroy_bookmark, targets
from engine.volumes.zfslist import KEYS, Snapshot, parsed, places, pools, rows
from engine.volumes.zfstool import decoded, encoded

Fake = Callable[..., Path]
NOTHING = "\t-" * len(KEYS)
LIST_ROWS = (
    f"tank\tfilesystem\t1\t1\t1700000000\t10\t20\t30\t-\t-\t-{NOTHING}",
    f"tank/home\tfilesystem\t2\t2\t1700000000\t10\t20\t30\t-\t-\t-{NOTHING}",
    f"tank/home@by-hand\tsnapshot\t3\t7\t1700000100\t4096\t20\t30\t0\t\toff{NOTHING}",
)
HEAD = "snapshot\t3\t7\t1700000100\t1\t2\t3\t0\t-\toff\t-\t-\t-\t-\t-"
POOL = "tank\t77\t1000\t100\t900\t10\t0\tONLINE\toff"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Return a function that puts `zfs` and `zpool` of one's own before all others; what they are called with is
    written, a line each, to the file that it returns."""
    directory = tmp_path / "tools"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
    log = tmp_path / "calls"
    log.write_text("", encoding="utf-8")

    def make(zfs: str, zpool: str = f"printf '%b\\n' '{POOL}'") -> Path:
        for name, body in (("zfs", zfs), ("zpool", zpool)):
            tool = directory / name
            tool.write_text(f"#!/bin/sh\necho \"{name} $*\" >>{log}\n{body}\n", encoding="utf-8")
            tool.chmod(0o755)
        return log

    return make


def listing(*more: str, only: str = "", percent: int = 10) -> str:
    """Return a shell command that prints rows as `zfs list` does, all or only those of a type, and a pool that is so
    full as data sets see it."""
    shown = "\n".join(row for row in (*LIST_ROWS, *more) if f"\t{only}" in row)
    return f"""case "$*" in *used,available*) printf 'tank\\t{percent}\\t{100 - percent}\\n'; exit;; esac
cat <<'END'
{shown}
END"""


def backend(*datasets: str) -> ZfsBackend:
    return ZfsBackend(Config(zfs=Zfs(datasets=datasets or ("tank/home", "tank"))))


def point(snapshot: str = "tank/home@by-hand", guid: str = "3") -> RestorePoint:
    part = Part(snapshot.partition("@")[0], snapshot, facts={"guid": guid, "type": "filesystem"})
    return RestorePoint(f"zfs:{snapshot}", "zfs", 0, datetime(2024, 1, 1, tzinfo=UTC), owner="unknown", parts=(part,))


# --- tools ---------------------------------------------------------------------------------------------------------


def test_without_a_tool_what_is_named_is_an_error_and_auto_says_nothing(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.volumes.zfs._MODULE", str(tmp_path / "no module"))
    monkeypatch.setattr("engine.run.environment", lambda: {"PATH": str(tmp_path), "LC_ALL": "C"})
    with pytest.raises(RollpointError, match="zfs list failed with status 127: not installed") as caught:
        backend().points()
    assert "zfsutils-linux" in caught.value.hint
    assert backend("auto").points() == [] and backend("auto").levels() == [] and backend("auto").pending() == []
    assert ZfsBackend(Config(zfs=Zfs(datasets=()))).points() == []


def test_auto_lists_only_for_the_running_system(tmp_path: Path, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.volumes.zfs._MODULE", str(tmp_path))
    log = fake(listing())
    elsewhere = ZfsBackend(Config(root=str(tmp_path)))
    assert elsewhere.points() == [] and log.read_text(encoding="utf-8") == ""
    with pytest.raises(RefusedError, match="nobody can tell"):
        elsewhere.take(SnapshotRequest(), Job())
    assert [p.id for p in backend("auto").points()] == ["zfs:tank/home@by-hand"]


def test_a_tool_that_hangs_is_ended_and_told(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    fake("sleep 600 & wait")
    monkeypatch.setattr(zfstool, "ASK_SECONDS", 1.0)
    began = time.monotonic()
    with pytest.raises(RollpointError, match="still running after 1 s") as caught:
        backend().points()
    assert "suspended" in caught.value.hint and time.monotonic() - began < 300


def test_a_tool_that_fails_is_told_with_what_it_said(fake: Fake) -> None:
    fake("echo 'internal error: out of memory' >&2; exit 1")
    with pytest.raises(RollpointError, match="out of memory") as caught:
        backend().points()
    assert "zpool status" in caught.value.hint
    fake("echo 'The ZFS modules are not loaded.' >&2; echo \"Try running '/sbin/modprobe zfs' as root\" >&2; exit 1")
    with pytest.raises(RollpointError) as caught:
        backend().points()
    assert "modprobe zfs" in caught.value.hint
    fake("echo \"cannot open 'tank/x': dataset does not exist\" >&2; exit 1")
    with pytest.raises(RollpointError, match="no data set of this name is there: tank/x"):
        backend().points()
    fake("echo nonsense")
    with pytest.raises(RollpointError, match="cannot be read: nonsense"):
        backend().points()


def test_the_locale_of_the_admin_does_not_reach_the_tools(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    fake(f"[ \"$LC_ALL$LANG\" = C ] || {{ echo 'kein Datensatz'; exit 0; }}\n{listing()}")
    assert len(backend().points()) == 1


# --- what they say -------------------------------------------------------------------------------------------------


@given(st.text(max_size=200))
def test_a_value_comes_back_as_it_was_and_breaks_no_list(text: str) -> None:
    value = encoded(text)
    assert not any(c in value for c in "\t\n\r\0") and value != "-" and value.splitlines() in ([value], [])
    assert decoded(value) == text
    row = f"tank@a\tsnapshot\t3\t7\t1700000100\t4096\t20\t30\t0\t-\toff\t-\t-\t-\t-\t-\t{value}\n"
    assert parsed(next(rows(row))).props.get("comment", "") == text


def test_a_value_that_is_too_long_is_refused() -> None:
    assert decoded(encoded("a" * 8000)) == "a" * 8000
    with pytest.raises(UsageError, match="too long"):
        encoded("ü" * 4001)


def test_properties_that_somebody_set_by_hand_harm_only_their_own_row() -> None:
    text = "two\nlines\tand\ta tab"
    found = [parsed(row) for row in rows(f"tank@a\t{HEAD}\t{text}\ntank@b\t{HEAD}\tfine\n")]
    props = {s.full_name: dict(s.props) for s in found}
    assert props == {"tank@a": {"comment": text}, "tank@b": {"comment": "fine"}}


def test_a_property_that_pretends_to_be_a_snapshot_is_found_out() -> None:
    pretended = f"tank/precious@backup\t{HEAD}\tmine"
    with pytest.raises(RollpointError, match="lists tank/precious@backup twice"):
        list(rows(f"tank@a\t{HEAD}\tfirst line\n{pretended}\ntank/precious@backup\t{HEAD}\t-\n"))


@pytest.mark.parametrize("name", ["tank", "tank@", "@a", "tank@a@b", "tank@a,b", "tank@a%b", "tank@%recv", "tank/@a",
                                  "tank@a/b", "-r@a", "tank#a@b", "tank@*"])
def test_what_is_no_snapshot_cannot_be_destroyed_by_construction(name: str) -> None:
    dataset, _, snapshot = name.partition("@")
    with pytest.raises(RollpointError, match="is not the name of a snapshot"):
        parsed(next(rows(f"{dataset}@{snapshot}\tsnapshot\t3\t7\t1\t1\t2\t3\t0\t-\toff{NOTHING}")))


@pytest.mark.parametrize("name", ["tank", "tank@a", "tank#", "#a", "tank#a@b", "tank#a/b", "tank#a,b"])
def test_what_is_no_bookmark_is_not_destroyed_as_one(name: str, fake: Fake) -> None:
    log = fake("true")
    with pytest.raises(RollpointError, match="is not the name of a bookmark"):
        destroy_bookmark(name)
    assert log.read_text(encoding="utf-8") == ""


def test_many_snapshots_go_in_few_commands_and_none_is_too_long() -> None:
    some = [_snapshot(f"tank/d{n % 2}", f"s{n}") for n in range(500)]
    found = targets(some)
    assert len(found) == 6 and all(len(t) < 2000 and t.count("@") == 1 for t in found)
    names = [f"{t.partition('@')[0]}@{name}" for t in found for name in t.partition("@")[2].split(",")]
    assert sorted(names) == sorted(s.full_name for s in some)


def _snapshot(dataset: str, name: str) -> Snapshot:
    return parsed(next(rows(f"{dataset}@{name}\tsnapshot\t3\t7\t1\t1\t2\t3\t0\t-\toff{NOTHING}")))


def test_a_place_is_where_a_data_set_is_seen() -> None:
    def mount(point_: bytes, source: bytes, fstype: bytes = b"zfs", root: bytes = b"/") -> Mount:
        return Mount(b"0:1", root, point_, fstype, source)

    table = [mount(b"/", b"tank/root"), mount(b"/home", b"tank/home"), mount(b"/srv/home", b"tank/home"),
             mount(b"/part", b"tank/deep", root=b"/sub"), mount(b"/hidden", b"tank/below"),
             mount(b"/hidden", b"/dev/sda1", b"ext4"), mount(b"/home/.zfs/snapshot/a", b"tank/home@a")]
    assert places(b"/", table) == {"tank/root": b"", "tank/home": b"home"}
    assert places(b"/srv", table) == {"tank/home": b"home"}


RECORDED = Path(__file__).parent / "zfs_2_1"


def test_what_a_real_zfs_said_is_understood(fake: Fake) -> None:
    """Recorded in the lab from OpenZFS 2.1.11, with all that tests/lab/zfs_guest.py has made by then."""
    fake(f"""case "$*" in
        *"-t snapshot -o"*) grep -P -A1 "\tsnapshot\t" {RECORDED}/list | grep -Pv "\t(filesystem|volume)\t|^--";;
        list*) cat {RECORDED}/list;;
        holds*) cat {RECORDED}/holds;; esac""", f"cat {RECORDED}/pools")
    found = {p.id: p for p in backend("tank", "tank/home", "tank/home/deep", "tank/my data.a:b-c_d", "tank/vm",
                                      "tank/clone", "second").points()}
    first = found["2026-11-20_17-25-04-zfs"]
    assert [p.volume for p in first.parts] == ["tank", "tank/home", "tank/my data.a:b-c_d", "tank/vm", "tank/home/deep"]
    assert (first.comment, first.tags, first.pinned, first.owner) == ("100%25 \u2028", ("one", "two"), False, "")
    assert first.created.isoformat() == "2026-11-20T17:25:05+00:00" and first.own_bytes == 4 * 17920 + 20480
    home = first.parts[1]
    assert home.facts["clones"] == ["tank/clone"] and home.facts["holds"] == 1
    assert {id_: (p.owner, p.comment, len(p.parts)) for id_, p in found.items() if p.owner} == {
        "zfs:tank@autosnap_2026-01-02_03:04:05_daily": ("sanoid", "", 6),
        "zfs:tank/home@with space": ("unknown", "by hand\n\ttab", 1)}
    assert {name: pool.percent for name, pool in pools().items()} == {"tank": 0.0, "second": 6.0}
    losses = backend().losses([first])
    reasons = " | ".join(f.text for f in losses.findings)
    assert losses.blocked and "held by backup-job" in reasons and "tank/clone is made of" in reasons
    assert "zfs promote tank/clone" in " | ".join(f.hint for f in losses.findings)


def test_what_is_mounted_in_a_place_and_no_part_of_it_is_known() -> None:
    table = [Mount(b"0:1", b"/", point_, b"zfs", b"x") for point_ in (
        b"/", b"/proc", b"/home", b"/home/ann", b"/home/ann/nfs", b"/home/.zfs/snapshot/a", b"/homework", b"/srv")]
    assert strangers(b"/", [b"home"], table) == [b"home/ann"]
    assert strangers(b"/", [b"home", b"home/ann"], table) == [b"home/ann/nfs"]
    assert strangers(b"/", [b""], table) == [b"home", b"homework", b"proc", b"srv"]
    assert strangers(b"/home", [b""], table) == [b"ann"]


# --- destroying and taking -----------------------------------------------------------------------------------------


def test_one_that_cannot_be_destroyed_keeps_none_of_the_others(fake: Fake) -> None:
    other = LIST_ROWS[2].replace("@by-hand\tsnapshot\t3", "@busy\tsnapshot\t4")
    log = fake(f"""case "$*" in
        "destroy "*,*) echo 'cannot destroy: dataset is busy' >&2; exit 1;;
        "destroy -vp tank/home@busy") echo 'dataset is busy' >&2; exit 1;;
        "destroy -vp tank/home@by-hand") printf 'destroy\\ttank/home@by-hand\\nreclaim\\t4096\\n';;
        holds*) ;;
        *) {listing(other, only="snapshot")}
        ;; esac""")
    result = backend().delete([point(), point("tank/home@busy", "4")], Job())
    assert result.removed == ("zfs:tank/home@by-hand",) and result.freed == 4096
    assert result.failed[0][0] == "zfs:tank/home@busy" and "dataset is busy" in result.failed[0][1]
    done = [line for line in log.read_text(encoding="utf-8").splitlines() if "zfs destroy" in line]
    assert done[0] == "zfs destroy -vp tank/home@by-hand,busy" and all("-r" not in d and "-R" not in d for d in done)


def test_a_snapshot_that_has_got_anothers_name_is_left_alone(fake: Fake) -> None:
    log = fake(listing(only="snapshot"))
    result = backend().delete([point(guid="999")], Job())
    assert not result.removed and "another one has its name now" in result.failed[0][1]
    assert "zfs destroy" not in log.read_text(encoding="utf-8")


def test_what_cannot_be_taken_back_is_named_with_how_to_remove_it(fake: Fake) -> None:
    fake(f"""case "$*" in
        snapshot*) touch "$0.done"; echo 'I/O error' >&2; exit 1;;
        list*) [ ! -e "$0.done" ] || {{ echo 'pool is suspended' >&2; exit 1; }}
        {listing()}
        ;; esac""")
    with pytest.raises(RollpointError, match=r"I/O error.*could not be taken back.*pool is suspended") as caught:
        backend("tank/home").take(SnapshotRequest(), Job())
    assert "zfs destroy tank/home@rollpoint-" in caught.value.hint


@pytest.mark.parametrize(("pool", "percent", "kind", "words"), [
    (POOL, 95, NoRoomError, "95 % full"), (POOL.replace("off", "on"), 10, RefusedError, "read-only"),
    (POOL.replace("ONLINE", "SUSPENDED"), 10, RefusedError, "SUSPENDED"),
    ("other" + POOL[4:], 10, RollpointError, "not imported")])
def test_nothing_is_taken_in_a_pool_that_cannot_hold_it(pool: str, percent: int, kind: type[RollpointError],
                                                        words: str, fake: Fake) -> None:
    log = fake(listing(percent=percent), f"printf '%b\\n' '{pool}'")
    with pytest.raises(kind, match=words):
        backend("tank/home").take(SnapshotRequest(), Job())
    assert "zfs snapshot" not in log.read_text(encoding="utf-8")


@pytest.mark.parametrize(("percent", "health", "state"), [
    (79, "ONLINE", "ok"), (80, "ONLINE", "warning"), (94, "ONLINE", "warning"), (95, "ONLINE", "full"),
    (10, "DEGRADED", "warning"), (10, "FAULTED", "full")])
def test_levels_of_pools(percent: int, health: str, state: str, fake: Fake) -> None:
    """As data sets see it: zpool says that half of a small pool is free when nothing more can be written."""
    log = fake(listing(percent=percent), f"printf '%b\\n' 'tank\\t77\\t1000\\t500\\t500\\t50\\t2048\\t{health}\\toff'")
    level, = backend("tank/home").levels()
    asked = health != "FAULTED"     # one that does not work may hang
    assert (level.name, level.percent, level.state) == ("tank", percent if asked else 50, state)
    assert ("zfs list" in log.read_text(encoding="utf-8")) == asked
    assert backend("tank/home").pending() == ["the pool tank is still freeing 2.0 KiB of what was destroyed in it"]


# --- what was taken together ---------------------------------------------------------------------------------------

TOGETHER = "2026-11-20_17-00-00-zfs"


def of_ours(dataset: str, guid: int, pool: str = "77") -> str:
    """A row of a snapshot of the point TOGETHER."""
    return (f"{dataset}@rollpoint-{TOGETHER}\tsnapshot\t{guid}\t7\t1700000100\t1\t2\t3\t0\t-\toff"
            f"\t{TOGETHER}\t{pool}\t-\t-\tmanual\t-")


def together(tmp_path: Path, value: str, *beside: str) -> str:
    """Return a zfs with a point of ours in tank/home, whose snapshot says that it is of `value`, and with the snapshots
    `beside` it, which are listed by their names alone."""
    for name, text in (("named", "\n".join([LIST_ROWS[1], of_ours("tank/home", 11)])), ("beside", "\n".join(beside))):
        (tmp_path / name).write_text(text + "\n")
    return f"""case "$*" in
"get "*) printf '%s\t%s\tlocal\n' "tank/home@rollpoint-{TOGETHER}" '{value}';;
*"-t snapshot"*) cat {tmp_path}/beside; [ -s {tmp_path}/beside ] || exit 1;;
*"-d 0"*) printf 'tank/vm\tvolume\t9\t9\t1700000000\t10\t20\t30\t-\t-\t-{NOTHING}\n';;
*"-d 1"*) cat {tmp_path}/named;;
*) echo unexpected >&2; exit 9;; esac"""


def test_what_was_taken_together_is_whole_whatever_is_named_now(fake: Fake, tmp_path: Path) -> None:
    log = fake(together(tmp_path, "tank/vm,tank/home", of_ours("tank/vm", 12)))
    [found] = backend("tank/home").points()
    assert (found.id, found.state) == (TOGETHER, "ok")
    assert [(p.volume, p.facts["type"]) for p in found.parts] == [("tank/home", "filesystem"), ("tank/vm", "volume")]
    asked = [line for line in log.read_text().splitlines() if "-t snapshot" in line]
    assert len(asked) == 1 and asked[0].endswith(f" tank/vm@rollpoint-{TOGETHER}")


@pytest.mark.parametrize(("value", "row"), [
    ("tank/vm", of_ours("tank/vm", 12, pool="99")),
    ("tank/vm", of_ours("tank/vm", 12).replace(f"\t{TOGETHER}\t", "\t2026-11-20_18-00-00-zfs\t")),
    ("-r,tank%vm,tank/vm@x", of_ours("tank/vm", 12)), ("-", of_ours("tank/vm", 12))])
def test_what_a_property_makes_up_is_no_part_of_a_point(fake: Fake, tmp_path: Path, value: str, row: str) -> None:
    """A copy from another pool, a snapshot of another point, what is no name at all."""
    log = fake(together(tmp_path, value, row))
    [found] = backend("tank/home").points()
    assert [p.volume for p in found.parts] == ["tank/home"]
    assert not [line for line in log.read_text().splitlines() if "-t snapshot" in line and value != "tank/vm"]


@pytest.mark.parametrize(("value", "state"), [("2", "damaged"), ("1", "ok"), ("0", "ok"), ("9" * 5000, "ok")])
def test_a_point_of_more_data_sets_than_are_listed_is_not_whole(fake: Fake, tmp_path: Path, value: str, state: str
                                                               ) -> None:
    log = fake(together(tmp_path, value))
    [found] = backend("tank/home").points()
    assert (found.id, found.state) == (TOGETHER, state)
    assert [text.partition(":")[0] for text in found.problems] == (
        ["only 1 of its 2 data sets are listed"] if state == "damaged" else [])
    assert len([line for line in log.read_text().splitlines() if line.startswith("zfs ")]) <= 3


def test_of_too_many_data_sets_their_number_is_noted(fake: Fake) -> None:
    names = [f"tank/{'n' * 40}{number}" for number in range(100)]
    more = [f"{name}\tfilesystem\t{n}\t2\t1700000000\t10\t20\t30\t-\t-\t-{NOTHING}" for n, name in enumerate(names, 9)]
    log = fake(listing(*more))
    with pytest.raises(RollpointError, match="is not listed any more"):     # this zfs takes none
        backend(*names).take(SnapshotRequest(), Job())
    [taken] = [line for line in log.read_text().splitlines() if line.startswith("zfs snapshot")]
    assert " rollpoint:parts=100 " in taken


def test_a_question_about_parts_that_fails_is_told(fake: Fake, tmp_path: Path) -> None:
    """Status 1 is also that of a snapshot which is gone meanwhile: that is none."""
    (tmp_path / "named").write_text("\n".join([LIST_ROWS[1], of_ours("tank/home", 11)]) + "\n")
    gone = f"cannot open 'tank/home@rollpoint-{TOGETHER}': dataset does not exist"
    for said in ("pool I/O is suspended", gone):
        fake(f"""case "$*" in *"-d 1"*) cat {tmp_path}/named;; *) echo "{said}" >&2; exit 1;; esac""")
        if said is gone:
            assert len(backend("tank/home").points()) == 1
        else:
            with pytest.raises(RollpointError, match=said):
                backend("tank/home").points()


def test_what_others_took_costs_no_question_more(fake: Fake) -> None:
    log = fake(listing())
    assert len(backend("tank/home").points()) == 1
    assert [line.split()[:2] for line in log.read_text().splitlines()] == [["zfs", "list"], ["zpool", "list"]]
