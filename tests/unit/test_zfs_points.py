"""Which ZFS snapshots are one restore point, what setting one back takes with it, and what is told of both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from engine.backend import NativePlan
from engine.errors import ChangedError, RollpointError
from engine.events import Job
from engine.points import RestorePoint
from engine.volumes import zfsback
from engine.volumes.zfslist import COLUMNS, Dataset, Everything, Pool, parsed, rows
from engine.volumes.zfspoints import apart, joined, points
from engine.volumes.zfstool import decoded, encoded

ID, OTHER = "2026-11-20_17-00-00-zfs", "2026-11-20_18-00-00-zfs"
POOLS = {name: Pool(name, guid, 1000, 10, 990, 1.0, 0, "ONLINE", False) for name, guid in
         (("tank", "77"), ("spare", "88"))}


def row(name: str, guid: int, txg: int, *, kind: str = "snapshot", used: int = 0, holds: int = 0, clones: str = "",
        deferred: str = "off", **props: str) -> str:
    """A line of `zfs list -Hp` with our columns; all keys of `props` are user properties."""
    shown = {f"rollpoint:{key}": value for key, value in props.items()}
    fields = {"name": name, "type": kind, "guid": str(guid), "createtxg": str(txg),
              "creation": str(1_700_000_000 + txg), "used": str(used), "referenced": "1",
              "written": "1", "userrefs": str(holds), "clones": clones, "defer_destroy": deferred} | shown
    return "\t".join(fields.get(column, "-") for column in COLUMNS.split(","))


def listed(*lines: str, above: Mapping[str, str] | None = None) -> dict[str, RestorePoint]:
    """Return the points, by id, of snapshots that are listed so, in data sets with the properties `above`."""
    snapshots = tuple(parsed(r) for r in rows("\n".join(lines)))
    kinds = {s.dataset: "volume" if s.dataset.endswith("vm") else "filesystem" for s in snapshots}
    datasets = {name: Dataset(name, kind, "1", 0, above or {}) for name, kind in kinds.items()}
    found = points(Everything(datasets, snapshots), POOLS, {"tank/home": b"home"})
    assert len({p.id for p in found}) == len(found)
    return {p.id: p for p in found}


def ours(name: str, guid: int, txg: int, id_: str = ID, pool: str = "77", comment: str = "-") -> str:
    return row(f"{name}@rollpoint-{id_}", guid, txg, id=id_, pool=pool, comment=comment)


def test_snapshots_of_one_id_are_one_point_also_of_several_pools() -> None:
    found = listed(ours("tank/home", 1, 5, comment="before"), ours("tank/vm", 2, 5), ours("spare", 3, 9, pool="88"),
                   ours("tank/home", 4, 7, OTHER))
    assert {id_: [p.volume for p in point.parts] for id_, point in found.items()} == {
        ID: ["spare", "tank/home", "tank/vm"], OTHER: ["tank/home"]}
    assert found[ID].comment == "before" and found[ID].owner == "" and found[ID].number == 0
    assert [p.place for p in found[ID].parts] == [None, b"home", None]
    assert found[ID].created.timestamp() == 1_700_000_005


@pytest.mark.parametrize(("line", "why"), [
    (ours("spare/copy", 1, 9), "received in another pool: the properties came along"),
    (ours("tank/copy", 1, 9), "received in the same pool: the guid is that of the first"),
    (row("tank/home@again", 9, 9, id=ID, pool="77"), "a second one of the same data set"),
    (ours("tank/else", 9, 9, pool="99"), "of a pool that is not here"),
])
def test_copies_are_no_part_of_a_point(line: str, why: str) -> None:
    found = listed(ours("tank/home", 1, 5), line)
    assert [p.snapshot for p in found[ID].parts] == [f"tank/home@rollpoint-{ID}"], why
    other, = (point for id_, point in found.items() if id_ != ID)
    assert other.owner in ("rollpoint", "unknown") and other.id.startswith("zfs:")


def test_an_id_that_comes_from_above_or_is_none_makes_no_point_of_ours() -> None:
    assert listed(row("tank@a", 1, 5, id=ID, pool="77"), above={"id": ID})["zfs:tank@a"].owner == "unknown"
    assert listed(row("tank@a", 1, 5, id="nonsense", pool="77"))["zfs:tank@a"].owner == "unknown"


def test_foreign_snapshots_of_one_command_are_one_point() -> None:
    name = "autosnap_2026-01-02_03:04:05_daily"
    found = listed(row(f"tank/home@{name}", 1, 5, used=10), row(f"tank@{name}", 2, 5, used=20),
                   row(f"tank/late@{name}", 3, 6), row(f"spare@{name}", 4, 5), row("tank@manual", 5, 5))
    assert {id_: len(point.parts) for id_, point in found.items()} == {
        f"zfs:tank@{name}": 2, f"zfs:tank/late@{name}": 1, f"zfs:spare@{name}": 1, "zfs:tank@manual": 1}
    assert found[f"zfs:tank@{name}"].owner == "sanoid" and found[f"zfs:tank@{name}"].own_bytes == 30
    assert found["zfs:tank@manual"].owner == "unknown"


def test_a_pin_a_comment_and_a_deferred_destroy_are_told() -> None:
    found = listed(row("tank@a", 1, 5, pinned="yes", comment="50 %25", tags="x,y", deferred="on", holds=1))
    point = found["zfs:tank@a"]
    assert (point.pinned, point.comment, point.tags) == (True, "50 %", ("x", "y"))
    assert "as soon as its last hold or clone is gone" in point.problems[0]
    assert not listed(row("tank@a", 1, 5, pinned=""))["zfs:tank@a"].pinned


def test_tags_with_commas_stay_apart() -> None:
    tags = ("one", "a, b", "50 %")
    assert apart(decoded(encoded(joined(tags)))) == tags and apart("") == ()


# --- setting back --------------------------------------------------------------------------------------------------


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Tools that list the file `rows` and the file `held`, and note in `calls` what else they are asked for."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "zfs").write_text(f"""#!/bin/sh
        case "$1" in
        list) cat {tmp_path}/rows;;
        holds) cat {tmp_path}/held;;
        *) echo "$*" >>{tmp_path}/calls; [ ! -e {tmp_path}/fails ] || {{ echo 'I/O error' >&2; exit 1; }};;
        esac""", encoding="utf-8")
    (tools / "zfs").chmod(0o755)
    for name in ("rows", "held", "calls"):
        (tmp_path / name).write_text("", encoding="utf-8")
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    yield tmp_path


LIVE = (row("tank/home", 100, 1, kind="filesystem"), row("tank/vm", 101, 1, kind="volume"),
        row("tank/home/below", 102, 1, kind="filesystem"))
TWO = (ours("tank/home", 1, 5), ours("tank/vm", 2, 5))


def planned(system: Path, *lines: str, boot: str = "", live: bool = True) -> NativePlan:
    """Return the plan for the point ID of what is listed."""
    (system / "rows").write_text("\n".join((*LIVE, *lines)), encoding="utf-8")
    found = listed(*(line for line in lines if "\tsnapshot\t" in line))
    return zfsback.plan(found[ID], list(found.values()), boot, live=live)


def test_a_plan_names_what_is_newer_and_nothing_older(system: Path) -> None:
    mark, old = row("tank/home#mark", 7, 6, kind="bookmark"), row("tank/home#old", 1, 5, kind="bookmark")
    plan = planned(system, *TWO, row("tank/home@before", 8, 4), row("tank/home@after", 9, 6),
                   row("tank/home/below@after", 10, 6), ours("tank/home", 4, 7, OTHER), ours("tank/else", 5, 7, OTHER),
                   mark, old)
    assert plan.commands == (f"zfs destroy -vp tank/home@after,rollpoint-{OTHER}", "zfs destroy 'tank/home#mark'",
                             f"zfs rollback tank/home@rollpoint-{ID}", f"zfs rollback tank/vm@rollpoint-{ID}")
    told = " | ".join((*plan.goes, *(f.text for f in plan.findings)))
    assert not plan.blocked and "before" not in told and "#old" not in told
    for words in ("tank/home@after", f"of the point {OTHER}", "tank/home#mark", "written to tank/vm since",
                  f"{OTHER} keeps only tank/else@rollpoint-{OTHER}", "tank/home/below"):
        assert words in told, words


@pytest.mark.parametrize(("more", "held", "words"), [
    ((row("tank/home@after", 9, 6, holds=1),), "tank/home@after\tbackup\tFri\n", "held by backup"),
    ((row("tank/home@after", 9, 6, holds=1),), "tank/home@after\trollpoint\tFri\n", "is pinned"),
    ((row("tank/home@after", 9, 6, clones="tank/c1,tank/c2"),), "", "tank/c2 is made of tank/home@after"),
])
def test_holds_and_clones_of_what_would_go_forbid_it(more: tuple[str, ...], held: str, words: str,
                                                     system: Path) -> None:
    (system / "held").write_text(held, encoding="utf-8")
    plan = planned(system, *TWO, *more)
    assert plan.blocked and any(words in f.text and f.hint for f in plan.findings), plan.findings


def test_a_snapshot_that_is_gone_or_has_got_anothers_name_forbids_it(system: Path) -> None:
    planned(system, *TWO)
    point = listed(*TWO)[ID]
    for left in ((TWO[0],), (TWO[0], ours("tank/vm", 99, 8))):
        (system / "rows").write_text("\n".join((*LIVE, *left)), encoding="utf-8")
        plan = zfsback.plan(point, [point], "", live=True)
        assert plan.blocked and any("tank/vm@" in f.text and "not there any more" in f.text for f in plan.findings)


def test_the_running_root_and_a_system_without_its_boot_are_refused(system: Path) -> None:
    now = row("rpool", 1, 1, kind="filesystem"), ours("rpool", 5, 5)
    (system / "rows").write_text("\n".join(now), encoding="utf-8")
    snapshots = tuple(parsed(r) for r in rows(ours("rpool", 5, 5)))
    every = Everything({"rpool": Dataset("rpool", "filesystem", "1", 0, {})}, snapshots)
    point, = points(every, {"rpool": POOLS["tank"]}, {"rpool": b""})
    assert any("root of the running system" in f.text for f in zfsback.plan(point, [], "", live=True).findings)
    assert not zfsback.plan(point, [], "", live=False).blocked
    apart = zfsback.plan(point, [], "bpool", live=False)
    assert apart.blocked and any("modules would no longer fit" in f.text for f in apart.findings)


@pytest.mark.parametrize("change", [
    row("tank/home@meanwhile", 50, 8), row("tank/vm#mark", 51, 8, kind="bookmark"),
    row("tank/home/new", 52, 8, kind="filesystem"), ""])
def test_a_stale_plan_is_refused_and_nothing_is_done(change: str, system: Path) -> None:
    plan = planned(system, *TWO, row("tank/home@after", 9, 6))
    lines = [*LIVE, *TWO, *([row("tank/home@after", 9, 6), change] if change else [])]
    (system / "rows").write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ChangedError, match="come or gone"):
        zfsback.set_back(plan, Job())
    assert (system / "calls").read_text(encoding="utf-8") == ""


def test_setting_back_does_what_the_plan_says_and_no_more(system: Path) -> None:
    plan = planned(system, *TWO, row("tank/home@after", 9, 6), row("tank/home#mark", 7, 6, kind="bookmark"))
    said = zfsback.set_back(plan, Job())
    assert (system / "calls").read_text(encoding="utf-8").splitlines() == [
        "destroy -vp tank/home@after", "destroy tank/home#mark", f"rollback tank/home@rollpoint-{ID}",
        f"rollback tank/vm@rollpoint-{ID}"]
    assert said[-1] == f"tank/vm set back to tank/vm@rollpoint-{ID}"


def test_what_was_done_before_a_failure_is_told(system: Path) -> None:
    plan = planned(system, *TWO)
    (system / "fails").touch()
    with pytest.raises(RollpointError, match="I/O error; nothing was done"):
        zfsback.set_back(plan, Job())
