"""What real tools said: reports of lvs 2.03.16, recorded in the lab (ROLLPOINT_LAB_RECORD, tests/lab/test_lvm.py), as
JSON and as the pairs that are asked of an lvs without JSON."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from engine.errors import RollpointError, ToolError
from engine.machine.lvmreport import Lv, parse, parse_pairs, pool_fault, read
from engine.volumes.lvmlist import any_here, points, snapshots

PLACE = Path(__file__).resolve().parent / "lvm_reports"
NAMES = sorted(path.stem for path in PLACE.glob("*.json"))


def report(name: str) -> list[Lv]:
    return parse((PLACE / f"{name}.json").read_bytes())


def by_name(name: str) -> dict[str, Lv]:
    return {lv.full_name: lv for lv in report(name)}


def kinds(name: str) -> dict[str, tuple[str, str, str]]:
    """What each snapshot is: kind, origin, state, by its name without the time in it."""
    return {s.lv.name.split("-rp-")[0] + ("-rp" if "-rp-" in s.lv.name else ""): (s.kind, s.origin_name, s.state)
            for s in snapshots(report(name))}


def test_all_states_were_recorded() -> None:
    assert NAMES == ["deferred", "full", "overflowed", "siblings", "three"]


@pytest.mark.parametrize("name", NAMES)
def test_both_ways_of_asking_say_the_same(name: str) -> None:
    pairs = parse_pairs((PLACE / f"{name}.txt").read_bytes())
    found = report(name)
    assert [dataclasses.replace(lv, modern=True) for lv in pairs] == found and len(found) > 5
    assert not any(lv.modern for lv in pairs) and all(lv.modern for lv in found)


def test_three_points() -> None:
    found = by_name("three")
    data, thin, xdata, pool = (found[f"my-vg/{name}"] for name in ("da-ta", "thin", "xdata", "pool"))
    assert (data.size, data.open, data.thin, data.active, data.origin) == (128 << 20, True, False, True, "")
    assert thin.thin and thin.pool == "pool" and thin.open and not xdata.thin and pool.is_pool
    assert pool.data_fill is not None and pool.metadata_fill is not None and not pool_fault(pool, 95)
    assert found["my-vg/pool_tdata"].hidden and not data.hidden
    assert data.room > data.free > 0 and data.extent == 4 << 20 and data.created > 1_700_000_000
    assert set(kinds("three").values()) == {("thick", "my-vg/da-ta", "ok"), ("thin", "my-vg/thin", "ok"),
                                            ("thick", "my-vg/xdata", "ok")}
    listed = points(snapshots(report("three")), report("three"), {})
    assert sorted(p.comment for p in listed) == ["state 1", "state 2", "state 3"]
    assert all(len(p.parts) == 3 and p.owner == "" and p.tags == ("lab",) for p in listed)
    snapshot = next(s.lv for s in snapshots(report("three")) if s.kind == "thin")
    assert snapshot.skipped and not snapshot.active and snapshot.writable and not snapshot.open


def test_a_merge_that_waits() -> None:
    """The snapshot of the origin that is open is hidden, the others are used up."""
    waiting = [s for s in snapshots(report("deferred")) if s.state == "merging"]
    assert [(s.origin_name, s.lv.hidden, s.kind) for s in waiting] == [("my-vg/da-ta", True, "thick")]
    assert by_name("deferred")["my-vg/da-ta"].merging and not by_name("deferred")["my-vg/thin"].merging
    assert not by_name("three")["my-vg/da-ta"].merging


def test_siblings_after_a_merge() -> None:
    assert set(kinds("siblings").values()) == {("thick", "my-vg/da-ta", "ok"), ("orphan", "my-vg/thin", "ok"),
                                               ("thick", "my-vg/xdata", "ok")}
    orphan = next(s for s in snapshots(report("siblings")) if s.kind == "orphan")
    assert orphan.lv.origin == "" and "snapshot" not in orphan.lv.roles and not orphan.working
    assert "my-vg/thin" not in {s.lv.full_name for s in snapshots(report("siblings"))}


def test_one_that_overflowed_and_others_programs() -> None:
    assert kinds("overflowed") == {
        "small": ("thick", "my-vg/da-ta", "damaged"), "container": ("thin", "my-vg/thin", "ok"),
        "da-ta-snapset_daily_1795194062_-data": ("thick", "my-vg/da-ta", "ok")}
    assert by_name("overflowed")["my-vg/small"].overflowed
    assert next(s for s in snapshots(report("overflowed")) if s.kind == "thin").working


def test_a_pool_that_is_full() -> None:
    pool = by_name("full")["my-vg/tight"]
    assert pool.is_pool and "my-vg/tight" in pool_fault(pool, 95.0)
    assert not pool_fault(by_name("full")["my-vg/pool"], 95.0)
    assert not pool.overflowed      # that is said of thick snapshots alone


def test_what_is_not_understood_is_not_guessed_at() -> None:
    for out in (b"", b"{}", b'{"report": 1}', b'{"report": [{"lv": [{"lv_name": "x"}]}]}', b"[]"):
        with pytest.raises(RollpointError, match="cannot be read"):
            read(lambda argv, out=out: out)     # type: ignore[misc]
    assert read(lambda argv: b'{"report": [{"lv": []}]}') == []


def test_only_an_lvs_that_knows_no_json_is_asked_again() -> None:
    asked = []

    def ask(argv: object) -> bytes:
        asked.append(argv)
        raise ToolError(["lvs"], 5, "  Volume group not found.")

    with pytest.raises(ToolError):
        read(ask)
    assert len(asked) == 1


def test_whether_there_is_any_is_told_without_a_tool(tmp_path: Path) -> None:
    assert not any_here(str(tmp_path / "none")) and not any_here(str(tmp_path))
    (tmp_path / "8:0").mkdir()
    (tmp_path / "253:0/dm").mkdir(parents=True)
    (tmp_path / "253:0/dm/uuid").write_text("CRYPT-LUKS2-1\n")
    assert not any_here(str(tmp_path))
    (tmp_path / "253:0/dm/uuid").write_text("LVM-abc\n")
    assert any_here(str(tmp_path))
