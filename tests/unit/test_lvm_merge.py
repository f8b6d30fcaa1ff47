"""Merging LVM snapshots, and how full what they live in is, by the book: what a plan says, what makes it stale, which
commands are given. The real thing is in tests/lab/test_lvm.py."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from engine.errors import CancelledError, ChangedError, RollpointError
from engine.events import Job
from tests.unit.lvm_case import HOME, ID, OURS, ROOT, backend, prepared
from tests.unit.lvm_tools import GIB, MIB, Row, Tools, pool, row, thick, thin


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    return prepared(tmp_path, monkeypatch)


# --- merging -------------------------------------------------------------------------------------------------------


def test_what_a_merge_comes_to(tools: Tools) -> None:
    tools.report(ROOT, HOME | {"lv_device_open": "", "lv_attr": "Vwi-a-tz--"}, pool(), *OURS,
                 thick("full", "root", fill="95.00"), thick("roomy", "root", fill="1.00"), thin("later", "home"))
    kind = backend()
    point = next(p for p in kind.points() if p.id == ID)
    plan = kind.native(dataclasses.replace(point, pinned=True))
    assert plan.commands == ("lvconvert -y -b --mergesnapshot my-vg/root-rp-1",
                             "lvconvert -y -b --mergethin my-vg/home-rp-1")
    assert plan.when == "when my-vg/root is next activated: at the next boot; my-vg/home: at once"
    assert plan.goes == (
        "all that was written to my-vg/root since 2026-11-20 17:20:22 UTC",
        "the snapshot my-vg/root-rp-1 itself: the merge uses it up",
        "perhaps my-vg/full: what comes back to my-vg/root is 51 MiB, and it has room for 26 MiB",
        "all that was written to my-vg/home since 2026-11-20 17:20:22 UTC",
        "the snapshot my-vg/home-rp-1 itself: the merge uses it up")
    texts = [f.text for f in plan.findings]
    assert not plan.blocked and any("cannot be cancelled" in t for t in texts)
    assert any("forgotten that my-vg/later are snapshots" in t for t in texts)
    assert any("pinned" in t for t in texts) and any("one after another" in t for t in texts)
    assert tools.calls == []


def test_a_merge_that_the_next_start_could_not_finish_is_refused(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    tools.report(ROOT, OURS[0])
    monkeypatch.setattr("engine.volumes.lvmmerge.root_fault", lambda: ("no dm-snapshot in it", "add it"))
    assert backend().native(backend().points()[0]).blocked
    monkeypatch.setattr("engine.volumes.lvmmerge.root_fault", lambda: None)
    plan = backend().native(backend().points()[0])
    assert not plan.blocked and any("could not be seen" in f.text for f in plan.findings)


@pytest.mark.parametrize("now", [
    [ROOT, HOME, pool(), *OURS, thick("newer", "root")],                                # another sibling
    [ROOT | {"lv_device_open": "", "lv_attr": "owi-a-s---"}, HOME, pool(), *OURS],      # it would happen at once
    [ROOT | {"lv_uuid": "another"}, HOME, pool(), *OURS],
    [ROOT, HOME, pool(), OURS[0]],
    [ROOT, HOME, pool(), {**OURS[0], "lv_uuid": "another"}, OURS[1]]])
def test_a_plan_that_is_stale_is_refused(tools: Tools, now: list[Row]) -> None:
    tools.report(ROOT, HOME, pool(), *OURS)
    kind = backend()
    plan = kind.native(kind.points()[0])
    tools.report(*now)
    with pytest.raises(ChangedError):
        kind.set_back(plan, Job())
    assert tools.calls == []


def test_several_volumes_one_after_another_and_what_failed_between(tools: Tools) -> None:
    closed = [ROOT | {"lv_device_open": "", "lv_attr": "owi-a-s---"}, HOME, pool()]
    tools.report(*closed, *OURS)
    kind = backend()
    plan = kind.native(kind.points()[0])
    tools.then("lvconvert", *closed, OURS[1])
    tools.fail("lvconvert", "my-vg/home-rp-1")
    with pytest.raises(RollpointError) as caught:
        kind.set_back(plan, Job())
    assert caught.value.message == (
        "my-vg/home-rp-1 could not be merged (before it: my-vg/root is as it was when my-vg/root-rp-1 was taken, which "
        "is used up): Out of order.")


def test_one_that_waits_is_said_to_wait(tools: Tools) -> None:
    tools.report(ROOT, OURS[0])
    kind = backend("my-vg/root")
    tools.then("lvconvert", row("root", "Owi-aos---", role="public,origin", minor=0),
               {**OURS[0], "lv_name": "[root-rp-1]", "lv_attr": "Swi-a-s---", "lv_merging": "merging"})
    assert kind.set_back(kind.native(kind.points()[0]), Job()) == [
        "my-vg/root-rp-1 waits to be merged into my-vg/root, when that is next activated"]


# --- levels --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fill", "state", "words"), [
    ("59.99", "ok", "has used 60 % of 512 MiB"),
    ("60.00", "warning", "more than half full; `lvextend -L +256m my-vg/s`"),
    ("80.00", "warning", "nearly full"), ("95.00", "warning", "about to overflow"), ("100.00", "full", "overflowed")])
def test_how_full_a_thick_one_is(tools: Tools, fill: str, state: str, words: str) -> None:
    tools.report(ROOT, thick("s", "root", fill=fill))
    found = next(level for level in backend().levels() if level.name == "my-vg/s")
    assert found.state == state and words in found.text and found.percent == float(fill)


def test_how_full_pools_and_groups_are(tools: Tools) -> None:
    tools.report(ROOT | {"vg_free": str(GIB)}, HOME, pool(fill="82.00", metadata="96.00"),
                 pool(name="other", fill="99.00"))
    found = {level.name: (level.state, level.text) for level in backend().levels()}
    assert found.keys() == {"my-vg/pool data", "my-vg/pool metadata", "my-vg"}
    assert found["my-vg/pool data"][0] == "warning" and "nearly full" in found["my-vg/pool data"][1]
    assert found["my-vg/pool metadata"][0] == "full" and "--poolmetadatasize" in found["my-vg/pool metadata"][1]
    assert found["my-vg"] == ("warning", "the volume group my-vg has 1.0 GiB of 16 GiB free; the next snapshot needs "
                              "820 MiB")
    tools.report(ROOT | {"vg_free": str(500 * MIB)})
    assert backend().levels()[-1].state == "full"


def test_into_a_volume_that_is_not_active_nothing_can_be_copied(tools: Tools) -> None:
    tools.report(row("root", "owi---s---", role="public,origin,thickorigin"), OURS[0])
    kind = backend("my-vg/root")
    plan = kind.native(kind.points()[0])
    assert plan.when == "when my-vg/root is next activated"
    assert any("my-vg/root is not active: the merge waits" in f.text for f in plan.findings)
    tools.then("lvconvert", row("root", "Owi---s---", role="public,origin"),
               {**OURS[0], "lv_name": "[root-rp-1]", "lv_attr": "Swi---s---", "lv_merging": "merging"})
    assert kind.set_back(plan, Job()) == [
        "my-vg/root-rp-1 waits to be merged into my-vg/root, when that is next activated"]


def test_a_merge_is_followed_to_its_end_and_cannot_be_stopped(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = ROOT | {"lv_device_open": "", "lv_attr": "owi-a-s---"}
    under_way = [{**closed, "lv_attr": "Owi-a-s---"},
                 {**OURS[0], "lv_name": "[root-rp-1]", "lv_attr": "Swi-a-s---", "lv_merging": "merging"}]
    fills = iter(["80.00", "50.00", "20.00", ""])

    def later(_seconds: float) -> None:
        fill = next(fills)
        tools.report(*([under_way[0], {**under_way[1], "snap_percent": fill}] if fill else [ROOT]))

    monkeypatch.setattr("engine.volumes.lvmmerge.sleep", later)
    tools.report(closed, OURS[0])
    tools.then("lvconvert", *under_way)
    kind = backend("my-vg/root")
    plan, seen = kind.native(kind.points()[0]), list[int]()
    job = Job(on_progress=lambda progress: seen.append(progress.done))
    assert kind.set_back(plan, job) == ["my-vg/root is as it was when my-vg/root-rp-1 was taken, which is used up"]
    assert seen == [0, 90, 20, 50, 80] and plan.when == "at once"
    tools.report(closed, OURS[0])
    stopped = Job()
    stopped.on_progress = lambda progress: stopped.cancel()
    with pytest.raises(CancelledError, match="the merge into my-vg/root cannot be stopped"):
        kind.set_back(plan, stopped)
