"""The LVM backend by the book: which points a report makes, what is taken, refused and deleted, and by which commands.
The real thing is in tests/lab/test_lvm.py."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine.config import Config, Lvm
from engine.errors import ChangedError, NoRoomError, RefusedError, RollpointError, ToolError, UsageError
from engine.events import Job
from engine.results import SnapshotRequest
from engine.volumes.lvm import LvmBackend
from engine.volumes.lvmtags import Label, written
from tests.unit.lvm_case import HOME, ID, OURS, ROOT, WHEN, backend, label, prepared
from tests.unit.lvm_tools import GIB, MIB, Row, Tools, as_pairs, pool, row, thick, thin


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    return prepared(tmp_path, monkeypatch)


# --- listing -------------------------------------------------------------------------------------------------------


def test_points_of_ours_and_of_others(tools: Tools) -> None:
    tools.report(ROOT, HOME, pool(), *OURS, thick("by-hand", "root"), thin("home-snapset_x_1795194062_-home", "home"),
                 thick("rollpoint-momentary-1-2-3", "root"))
    points = {p.id: p for p in backend().points()}
    assert sorted(points) == [ID, "lvm:my-vg/by-hand", "lvm:my-vg/home-snapset_x_1795194062_-home"]
    ours = points[ID]
    assert (ours.created, ours.comment, ours.tags, ours.owner, ours.state, ours.number) == (
        WHEN, "before", ("t",), "", "ok", 0)
    assert [(p.volume, p.snapshot, p.place, p.own_bytes) for p in ours.parts] == [
        ("my-vg/root", "my-vg/root-rp-1", b"", 512 * MIB), ("my-vg/home", "my-vg/home-rp-1", b"home", None)]
    assert ours.own_bytes is None and not ours.pinned and ours.doc["lvm"]["reason"] == "manual"
    hand = points["lvm:my-vg/by-hand"]
    assert (hand.owner, hand.own_bytes, hand.parts[0].place) == ("unknown", 512 * MIB, b"")
    assert hand.created == datetime.fromtimestamp(1795194062, UTC)
    assert points["lvm:my-vg/home-snapset_x_1795194062_-home"].owner == "snapm"
    assert points["lvm:my-vg/home-snapset_x_1795194062_-home"].parts[0].place == b"home"


def test_named_volumes_alone_are_listed(tools: Tools) -> None:
    tools.report(ROOT, HOME, pool(), thick("by-hand", "root"), thin("other", "home"))
    assert [p.id for p in backend("my-vg/home").points()] == ["lvm:my-vg/other"]
    assert len(backend("auto").points()) == 2
    assert LvmBackend(Config(root="/srv/elsewhere", lvm=Lvm(volumes=("auto",)))).points() == []
    assert LvmBackend(Config(lvm=Lvm(volumes=()))).points() == []


def test_what_was_taken_together_is_whole_whatever_is_named_now(tools: Tools) -> None:
    """Its tags say what belongs to it; what the others of that volume are is nobody's business here."""
    tools.report(ROOT, HOME, pool(), *OURS, thick("by-hand", "root"), thin("other", "home"),
                 thick("noted", "root", tags=["rollpoint.comment=x"]),
                 thin("noted-too", "home", tags=["rollpoint.pinned"]))
    for named, others in (("my-vg/home", ["lvm:my-vg/noted-too", "lvm:my-vg/other"]),
                          ("my-vg/root", ["lvm:my-vg/by-hand", "lvm:my-vg/noted"])):
        kind = backend(named)
        points = {p.id: p for p in kind.points()}
        assert sorted(points) == [ID, *others]
        assert (points[ID].state, [(p.volume, p.place) for p in points[ID].parts]) == (
            "ok", [("my-vg/root", b""), ("my-vg/home", b"home")])
        assert {level.name for level in kind.levels()} >= {"my-vg/root-rp-1", "my-vg/pool data"}
    assert backend("my-vg/home").delete([points[ID]], Job()).removed == (ID,)
    assert tools.calls == [["lvremove", "-y", "my-vg/root-rp-1"], ["lvremove", "-y", "my-vg/home-rp-1"]]


@pytest.mark.parametrize(("one", "state", "why"), [
    (thick("s", "root", attr="swi-I-s---", fill="100.00"), "damaged", "overflowed"),
    (thick("s", "root", attr="swi-a-s---", fill="100.00"), "damaged", "overflowed"),
    (thick("s", "root", attr="Swi-S-s---"), "damaged", "overflowed"),
    (thick("s", "root", attr="swi-m-s---"), "damaged", "merging my-vg/s has failed"),
    (thin("s", "home", attr="Vwi---tzFk"), "damaged", "has failed"),
    (thick("[s]", "root", attr="Swi-a-s---"), "merging", "waits to be merged into my-vg/root"),
    (thin("[s]", "home", attr="Swi---tz-k"), "merging", "`lvchange --poll y my-vg/home` finishes it")])
def test_what_cannot_be_gone_back_to_says_why(tools: Tools, one: Row, state: str, why: str) -> None:
    tools.report(ROOT, HOME, pool(), one)
    kind = backend()
    point = kind.points()[0]
    assert (point.id, point.state, point.parts[0].state) == ("lvm:my-vg/s", state, state)
    assert why in point.problems[0]
    assert kind.pending() == ([point.problems[0]] if state == "merging" else [])
    plan = kind.native(point)
    assert plan.blocked
    with pytest.raises(RefusedError), kind.open(point, Job()):
        raise AssertionError("it was opened")
    with pytest.raises(RefusedError):
        kind.set_back(plan, Job())
    assert tools.calls == []


def test_a_merge_under_way_says_how_far_it_is(tools: Tools) -> None:
    """As lvs 2.03.16 shows it: the origin has a fill once the merge has begun, be it open or not."""
    for fill, said in (("34.40", "is being merged into my-vg/root: 34 % of its room is still to be copied"),
                       ("0.00", "has been merged into my-vg/root, and LVM has not noted it yet: `lvchange --poll y "
                                "my-vg/root` lets it"),
                       ("", "waits to be merged into my-vg/root, when that is next activated; should that have "
                            "happened, `lvchange --poll y my-vg/root` finishes it")):
        tools.report(row("root", "Owi-aos---", role="public,origin", minor=0, fill=fill),
                     thick("[s]", "root", attr="Swi-a-s---", fill=fill or "34.40"))
        assert backend().pending() == [f"my-vg/s {said}"]


def test_after_a_merge_the_siblings_are_still_ours_and_the_volume_is_none(tools: Tools) -> None:
    """lvm2 2.03.16: they are volumes like any other then, without origin and role."""
    orphan = row("home-rp-2", "Vwi---tz-k", pool="pool", tags=label("home-rp-2", "home", b"home"))
    merged = row("home", "Vwi-aotz--", pool="pool", minor=1, tags=label("home", "home", b"home"))
    renamed = row("work", "Vwi-aotz--", pool="pool", minor=5, tags=label("home-rp-3", "home", b"home"))
    strange = row("home-rp-4", "Vwi---tz-k", pool="pool")
    tools.report(merged, pool(), orphan, renamed, strange)
    kind = backend("auto")
    assert [[p.snapshot for p in point.parts] for point in kind.points()] == [["my-vg/home-rp-2"]]
    plan = kind.native(kind.points()[0])
    assert plan.blocked and "LVM has forgotten" in plan.findings[0].text and "by content" in plan.findings[0].hint
    assert kind.delete(kind.points(), Job()).removed == (ID,)
    assert tools.calls == [["lvremove", "-y", "my-vg/home-rp-2"]]


def test_a_volume_on_an_external_origin_is_no_snapshot(tools: Tools) -> None:
    tools.report(row("base", "ori-------"), row("vm", "Vwi-a-tz--", pool="pool", origin="base", role="public"), pool())
    assert backend("auto").points() == []


# --- the tool that cannot be asked ---------------------------------------------------------------------------------


def test_the_tool_is_asked_in_plain_english_and_by_nobodys_settings(tools: Tools) -> None:
    backend().points()
    assert tools.seen() == "C"


def test_an_old_lvs_is_asked_in_its_own_words(tools: Tools) -> None:
    rows = [ROOT, HOME, pool(), *OURS]
    rows[0] = ROOT | {"lv_time": "2026-11-20 17:01:02 +0000"}
    (tools.place / "pairs").write_text(as_pairs(rows))
    tools.replace("lvs", f"""case "$*" in *--reportformat*)
        echo "lvs: unrecognized option '--reportformat'" >&2
        echo '  Error during parsing of command line.' >&2; exit 3;;
        *--nameprefixes*) cat {tools.place}/pairs;; *) exit 5;; esac""")
    point = backend().points()[0]
    assert point.id == ID and len(point.parts) == 2 and point.comment == "before"
    assert backend().native(point).commands[0] == "lvconvert -y -b --merge my-vg/root-rp-1"


@pytest.mark.parametrize(("script", "why"), [
    ("echo '  WARNING: something'", "what lvs says cannot be read"), ("echo '{\"report\": 3}'", "cannot be read"),
    ("echo '  Volume group \"x\" not found' >&2; exit 5", "cannot be listed: Volume group \"x\" not found"),
    ("exit 5", "lvs failed with status 5: no message")])
def test_a_tool_that_fails_is_quoted(tools: Tools, script: str, why: str) -> None:
    tools.replace("lvs", script)
    with pytest.raises(RollpointError) as caught:
        backend().points()
    assert why in caught.value.message


def test_a_tool_that_hangs_is_ended(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    tools.replace("lvs", "sleep 1000")
    monkeypatch.setattr("engine.volumes.lvmlist.LIST_SECONDS", 0.5)
    with pytest.raises(RollpointError, match="still running after"):
        backend().points()


def test_a_tool_that_is_missing_matters_where_something_is_to_be_seen(tools: Tools, tmp_path: Path,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setattr("engine.run.environment", lambda: {"LC_ALL": "C", "PATH": str(tmp_path / "empty")})
    monkeypatch.setattr("engine.volumes.lvmlist.any_here", lambda: False)
    assert backend("auto").points() == [] and backend("auto").levels() == [] and backend("auto").pending() == []
    for kind, here in ((backend(), False), (backend("auto"), True)):
        monkeypatch.setattr("engine.volumes.lvmlist.any_here", lambda here=here: here)
        with pytest.raises(ToolError) as caught:
            kind.points()
        assert "lvs failed with status 127" in caught.value.message and caught.value.hint == "install lvm2"


# --- taking --------------------------------------------------------------------------------------------------------


def test_thick_ones_have_a_size_and_thin_ones_never(tools: Tools) -> None:
    tools.then("lvcreate", ROOT, HOME, pool(), *OURS)
    point = backend().take(SnapshotRequest("before", ("t",), when=WHEN), Job())
    assert point.id == ID and len(point.parts) == 2
    root, home = tools.given("lvcreate")
    stamp = "20261120-172022"
    want = [written(Label(ID, f"{name}-rp-{stamp}", name, place, "before", ("t",), reason="manual"))
            for name, place in (("root", b""), ("home", b"home"))]
    assert root == ["lvcreate", "-y", "-s", "-L", f"{820 * MIB}b", "-n", f"root-rp-{stamp}",
                    *[w for t in want[0] for w in ("--addtag", t)], "my-vg/root"]
    assert home == ["lvcreate", "-y", "-s", "-n", f"home-rp-{stamp}", *[w for t in want[1] for w in ("--addtag", t)],
                    "my-vg/home"]


@pytest.mark.parametrize(("size", "percent", "wanted"), [
    (20 * GIB, 20, 4 * GIB), (GIB, 20, 512 * MIB), (100 * MIB, 20, 104 * MIB), (4 * GIB, 20, 820 * MIB),
    (4 * GIB, 100, 4 * GIB), (10 * GIB, 1, 512 * MIB)])
def test_the_room_of_a_thick_one(tools: Tools, size: int, percent: int, wanted: int) -> None:
    tools.report(row("root", minor=0, size=size, free=100 * GIB))
    with pytest.raises(RollpointError, match="lvs does not list"):
        backend("my-vg/root", size=percent).take(SnapshotRequest(), Job())
    words = tools.given("lvcreate")[0]
    assert words[words.index("-L") + 1] == f"{wanted}b"


def test_ids_and_names_are_never_given_twice(tools: Tools) -> None:
    long = row("r" * 110, minor=0, size=GIB)
    taken = thick("root-rp-20261120-172022", "root", tags=label("root-rp-20261120-172022", "root", b""))
    tools.report(ROOT, taken, long)
    for name in ("my-vg/root", f"my-vg/{'r' * 110}"):
        with pytest.raises(RollpointError, match=f"lvcreate has made {ID}-2"):
            backend(name).take(SnapshotRequest(when=WHEN), Job())
    names = [words[words.index("-n") + 1] for words in tools.given("lvcreate")]
    assert names[0] == "root-rp-20261120-172022-2" and names[1].endswith("r-rp-20261120-172022")
    # libdevmapper: 127 characters, with each dash in a name doubled, and -cow behind that of a thick snapshot.
    assert all(len(f"my--vg-{name.replace('-', '--')}-cow") <= 127 for name in names)


@pytest.mark.parametrize(("rows", "why"), [
    ([HOME], "there is no logical volume my-vg/root"),
    ([row("root", "Owi-aos---", role="public,origin", minor=0)], "a snapshot is being merged into it, and LVM takes"),
    ([row("x", "owi-aos---", role="public,origin"), thick("root", "x")], "it is itself a snapshot"),
    ([row("root", "twi-aotz--", role="private", minor=0)], "it is a part of other volumes"),
    ([ROOT, *(thick(f"s{n}", "root") for n in range(5))], "it has 5 thick snapshots already"),
    ([row("root", "Vwi-aotz--", pool="pool", minor=0), pool(fill="95.00")], "the data of the thin pool my-vg/pool"),
    ([row("root", "Vwi-aotz--", pool="pool", minor=0), pool(metadata="97.00")], "the metadata of the thin pool"),
    ([row("root", "Vwi-aotz--", pool="pool", minor=0), pool(attr="twi-aotzD-")], "has no data space left"),
    ([row("root", "Vwi-aotz--", pool="pool", minor=0), pool(attr="twi-aotzM-")], "has its metadata read-only")])
def test_what_is_named_and_cannot_be_taken_is_refused(tools: Tools, rows: list[Row], why: str) -> None:
    tools.report(*rows)
    with pytest.raises(RefusedError) as caught:
        backend("my-vg/root").take(SnapshotRequest(), Job())
    assert why in caught.value.message and tools.calls in ([], tools.given("blkid"))


def test_swap_is_never_taken(tools: Tools) -> None:
    tools.say("blkid", "swap\n")
    with pytest.raises(RefusedError, match="it is swap space"):
        backend("my-vg/root").take(SnapshotRequest(), Job())


def test_a_group_without_room_is_refused_before_anything_is_made(tools: Tools) -> None:
    tools.report(row("root", minor=0, size=4 * GIB, free=GIB), row("var", minor=2, size=4 * GIB, free=GIB))
    with pytest.raises(NoRoomError) as caught:
        backend("my-vg/root", "my-vg/var").take(SnapshotRequest(), Job())
    assert caught.value.missing == 2 * 820 * MIB - GIB
    assert "my-vg has 1.0 GiB free, and 2 snapshots need 1.6 GiB" in caught.value.message
    assert tools.given("lvcreate") == []


def test_a_root_that_would_not_start_is_refused(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.volumes.lvmtake.root_fault", lambda: ("no dm-snapshot in it", "add it"))
    with pytest.raises(RefusedError, match="no dm-snapshot in it"):
        backend("my-vg/root").take(SnapshotRequest(), Job())
    monkeypatch.setattr("engine.volumes.lvmtake.root_fault", lambda: None)
    job = Job()
    with pytest.raises(RollpointError, match="lvs does not list"):
        backend("my-vg/root").take(SnapshotRequest(), job)
    assert "could not be seen" in job.warnings[0]


def test_auto_takes_what_is_mounted_and_says_what_it_leaves_out(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    tools.report(ROOT, HOME, pool(fill="99.00"), row("data", minor=9))
    job = Job()
    with pytest.raises(RollpointError, match="lvs does not list"):
        backend("auto").take(SnapshotRequest(), job)
    assert [c[-1] for c in tools.given("lvcreate")] == ["my-vg/root"]
    assert job.warnings == ["my-vg/home is left out: the data of the thin pool my-vg/pool is 99 % full"]


def test_auto_takes_nothing_outside_of_the_root_that_is_looked_after(tools: Tools) -> None:
    tools.report(ROOT, HOME, pool())
    kind = LvmBackend(Config(store="/nowhere/store", root="/home", lvm=Lvm(("auto", "my-vg/home"))))
    with pytest.raises(RollpointError, match="lvs does not list"):
        kind.take(SnapshotRequest(), Job())
    words = tools.given("lvcreate")
    assert [w[-1] for w in words] == ["my-vg/home"] and "rollpoint.place=/" in words[0]


def test_the_volume_of_the_store_is_never_taken(tools: Tools, tmp_path: Path) -> None:
    """tmp_path stands for the store; its device is the one of my-vg/root in this report."""
    import os

    device = os.stat(tmp_path).st_dev
    tools.report(ROOT | {"lv_kernel_major": str(os.major(device)) or "1", "lv_kernel_minor": str(os.minor(device))})
    if os.major(device) == 0:
        pytest.skip("CANNOT RUN: the temporary directory has no block device")
    with pytest.raises(RefusedError, match="the store lies on it"):
        LvmBackend(Config(store=str(tmp_path), lvm=Lvm(("my-vg/root",)))).take(SnapshotRequest(), Job())
    with pytest.raises(RollpointError, match="lvs does not list"):      # nothing is written to what is not there
        LvmBackend(Config(store=str(tmp_path / "none"), lvm=Lvm(("my-vg/root",)))).take(SnapshotRequest(), Job())


@pytest.mark.parametrize("stuck", [False, True])
def test_what_fails_half_way_is_taken_back(tools: Tools, stuck: bool) -> None:
    """lvcreate may leave a plain volume of that name when it fails (seen with one whose origin could not be
    suspended): it goes too, and nothing else does, not even what has our tags and was there before."""
    before = thin("home-rp-1", "home", tags=label("home-rp-1", "home", b"home"))
    tools.report(ROOT, HOME, pool(), before)
    names = ("root-rp-20261120-172022", "home-rp-20261120-172022")
    own = f"{ID}-2"
    half = row(names[1], "-wi-i-----", tags=label(names[1], "home", b"home", id=own))
    tools.then("lvcreate", ROOT, HOME, pool(), before,
               thick(names[0], "root", tags=label(names[0], "root", b"", id=own)), half,
               row("bystander", tags=label("bystander", "home", b"home")))
    tools.fail("lvcreate", "my-vg/home")
    if stuck:
        tools.fail("lvremove", names[0])
    with pytest.raises(RollpointError) as caught:
        backend().take(SnapshotRequest("before", when=WHEN), Job())
    assert tools.given("lvremove") == [["lvremove", "-y", f"my-vg/{name}"] for name in names]
    assert "no snapshot of my-vg/home could be taken" in caught.value.message
    assert "Out of order." in caught.value.message and "WARNING" not in caught.value.message
    assert (f"remove by hand what is left of it: lvremove my-vg/{names[0]}" in caught.value.message) is stuck


# --- annotating, deleting ------------------------------------------------------------------------------------------


def test_only_the_tags_that_differ_are_changed(tools: Tools) -> None:
    tools.report(ROOT, HOME, pool(), *OURS, thick("by-hand", "root", tags=["mine"]))
    kind = backend()
    points = {p.id: p for p in kind.points()}
    kind.annotate(points[ID], pinned=True)
    kind.annotate(points[ID], comment="after")
    kind.annotate(points["lvm:my-vg/by-hand"], comment="x")
    assert [c[1:] for c in tools.calls] == [
        ["--addtag", "rollpoint.pinned", "my-vg/root-rp-1"], ["--addtag", "rollpoint.pinned", "my-vg/home-rp-1"],
        ["--deltag", "rollpoint.comment=before", "--addtag", "rollpoint.comment=after", "my-vg/root-rp-1"],
        ["--deltag", "rollpoint.comment=before", "--addtag", "rollpoint.comment=after", "my-vg/home-rp-1"],
        ["--addtag", "rollpoint.comment=x", "my-vg/by-hand"]]
    with pytest.raises(UsageError):
        kind.annotate(points[ID], comment="x" * 1001)


def test_a_snapshot_of_others_stays_theirs_when_it_is_annotated(tools: Tools) -> None:
    tools.report(ROOT, thick("by-hand", "root", tags=["rollpoint.pinned", "rollpoint.comment=x"]))
    point = backend().points()[0]
    assert (point.id, point.owner, point.comment, point.pinned) == ("lvm:my-vg/by-hand", "unknown", "x", True)


def test_nothing_but_the_very_snapshots_is_deleted(tools: Tools) -> None:
    tools.report(ROOT, HOME, pool(), *OURS, thick("by-hand", "root"))
    kind = backend()
    points = {p.id: p for p in kind.points()}
    assert kind.losses([points["lvm:my-vg/by-hand"]]).freed == 512 * MIB
    assert kind.losses([points[ID]]).freed is None
    # By the time of deleting the name is that of another volume, or of no snapshot at all.
    for now in (thick("by-hand", "root", lv_uuid="another"), row("by-hand")):
        tools.report(ROOT, HOME, pool(), *OURS, now)
        result = kind.delete([points["lvm:my-vg/by-hand"], points[ID]], Job())
        assert result.removed == (ID,) and result.failed[0][0] == "lvm:my-vg/by-hand"
        assert "is not there any more, or is another one" in result.failed[0][1]
        with pytest.raises(ChangedError):
            kind.losses([points["lvm:my-vg/by-hand"]])
    assert tools.calls == [["lvremove", "-y", "my-vg/root-rp-1"], ["lvremove", "-y", "my-vg/home-rp-1"]] * 2


@pytest.mark.parametrize(("one", "why"), [
    (thick("s", "root", attr="swi-aos---"), "is open: mounted"),
    (thick("[s]", "root", attr="Swi-a-s---"), "LVM removes no such"),
    (thin("s", "home", attr="Vwi-a-tz--"), "may be a volume in use")])
def test_what_is_in_use_is_not_deleted(tools: Tools, one: Row, why: str) -> None:
    tools.report(ROOT, HOME, pool(), one)
    kind = backend()
    assert kind.losses(kind.points()).blocked and why in kind.losses(kind.points()).findings[0].text
    result = kind.delete(kind.points(), Job())
    assert result.removed == () and why in result.failed[0][1] and tools.calls == []


def test_one_that_cannot_be_removed_does_not_keep_the_others(tools: Tools) -> None:
    tools.report(ROOT, thick("a", "root"), thick("b", "root"))
    tools.fail("lvremove", "my-vg/a")
    kind = backend()
    result = kind.delete(kind.points(), Job())
    assert result.removed == ("lvm:my-vg/b",)
    assert result.failed == (("lvm:my-vg/a", "it could not be removed: Out of order."),)


def test_what_is_freed_is_measured(tools: Tools) -> None:
    tools.report(ROOT, HOME, pool(fill="50.00"), thin("a", "home"), thick("b", "root"))
    kind = backend()
    tools.then("lvremove", row("root", minor=0, free=8 * GIB + 512 * MIB),
               {**pool(fill="40.00"), "vg_free": str(8 * GIB + 512 * MIB)})
    points = [p for p in kind.points() if p.id == "lvm:my-vg/b"]
    assert kind.delete(points, Job()).freed == 512 * MIB + int(GIB * 0.5) - int(GIB * 0.4)
