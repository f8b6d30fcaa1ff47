"""What going back by content does to the LVM snapshots that it reads from, by the book: the figures, and the commands
that help. The real thing is in tests/lab/test_lvm_commands.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import ChangedError
from engine.results import Finding
from engine.volumes.lvm import LvmBackend
from tests.unit.lvm_case import HOME, ID, OURS, ROOT, backend, label, prepared
from tests.unit.lvm_tools import GIB, MIB, Row, Tools, pool, row, thick, thin


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tools:
    return prepared(tmp_path, monkeypatch)


def strained(kind: LvmBackend, written: dict[bytes, int], name: str = ID) -> list[Finding]:
    """Return the findings for the point that has this id."""
    return list(kind.strain(next(p for p in kind.points() if p.id == name), written))


def test_nothing_written_asks_nothing(tools: Tools) -> None:
    tools.report(ROOT, HOME, pool(), *OURS)
    [point] = backend().points()
    tools.replace("lvs", "exit 5")
    assert list(backend().strain(point, {b"": 0})) == []


@pytest.mark.parametrize(("mib", "level", "says"), [
    (100, "info", "about 100 MiB will be written to my-vg/root, and its snapshot my-vg/root-rp-1, which is read from, "
                  "keeps the old blocks of that: it has room for 459 MiB; it would be about 30 % full"),
    (300, "warning", "it has room for 459 MiB; it would be about 69 % full"),
    (459, "warning", "it has room for 459 MiB; it would be about 100 % full"),
    (460, "blocker", "it has room for 459 MiB; it would overflow, and nothing more could be read from it")])
def test_the_snapshot_that_is_read_fills(tools: Tools, mib: int, level: str, says: str) -> None:
    """512 MiB of which 10 % are used: less the list of places, 459 MiB of blocks more."""
    tools.report(ROOT, HOME, pool(), *OURS)
    [found] = strained(backend(), {b"": mib * MIB})
    assert found.level == level and says in found.text, found


def test_the_command_that_gives_it_room_is_exact(tools: Tools) -> None:
    tools.report(ROOT, HOME, pool(), *OURS)
    [found] = strained(backend(size=100), {b"": GIB})
    # 1024 - 459 MiB, and a quarter more, in extents of 4 MiB.
    assert found.hint.startswith("`lvextend -L +708m my-vg/root-rp-1` gives it more room; or set the volume itself ")
    assert "`rollback --way native`" in found.hint
    tight = {**OURS[0], "vg_free": str(100 * MIB)}
    tools.report(ROOT, HOME, pool(), tight, OURS[1])
    [found] = strained(backend(size=100), {b"": GIB})
    assert found.hint.startswith("`lvextend -L +708m my-vg/root-rp-1` needs more than the 100 MiB that the volume ")
    assert "`rollback --way native`" in found.hint


def test_never_more_room_is_named_than_lvm_gives(tools: Tools) -> None:
    """No snapshot gets larger than its origin and the list of places (4 GiB, 16 MiB, and an extent)."""
    tools.report(ROOT, HOME, pool(), *OURS)
    [found] = strained(backend(size=100), {b"": 3900 * MIB})
    assert "lvextend -L +3604m my-vg/root-rp-1" in found.hint


def test_a_snapshot_with_room_for_all_of_its_origin_never_fills(tools: Tools) -> None:
    whole = thick("root-rp-1", "root", size=4 * GIB + 20 * MIB, fill="60.00", tags=label("root-rp-1", "root", b""))
    tools.report(ROOT, HOME, pool(), whole)
    assert strained(backend(size=100), {b"": 3900 * MIB}) == []


def test_other_snapshots_of_the_volume_and_the_safety_point_fill_too(tools: Tools) -> None:
    large = thick("root-rp-1", "root", size=3 * GIB, fill="0.01", tags=label("root-rp-1", "root", b""))
    tools.report(ROOT, HOME, pool(), large, thick("small", "root", fill="95.00"), thick("roomy", "root", size=2 * GIB),
                 thick("dead", "root", attr="swi-I-s---", fill="100.00"), thick("elsewhere", "other", fill="99.00"))
    own, small, safety = strained(backend(), {b"": 900 * MIB})
    assert own.level == "info"
    assert small.level == safety.level == "warning"
    assert "the snapshot my-vg/small may overflow too, and is lost then: it has room for 26 MiB" in small.text
    # Not the native way: a merge writes to the volume too.
    assert small.hint == "`lvextend -L +1096m my-vg/small` gives it more room"
    assert "a safety point of my-vg/root has room for 817 MiB, and about 900 MiB will be written" in safety.text
    assert "`size` in the section `lvm`" in safety.hint


def test_a_thin_volume_takes_of_its_pool(tools: Tools) -> None:
    tools.report(ROOT, HOME, pool(fill="50.00"), *OURS)
    assert strained(backend(), {b"home": 200 * MIB}) == []
    [found] = strained(backend(), {b"home": 400 * MIB})
    assert found.level == "warning", "of blocks that are its own already it writes over without taking more"
    assert found.text == ("about 400 MiB will be written to my-vg/home, and its thin pool my-vg/pool has 512 MiB free: "
                          "where it fills up, writing to all of its volumes fails")
    assert "`lvextend -L +500m my-vg/pool`" in found.hint


def test_what_the_volumes_of_a_pool_take_is_told_together(tools: Tools) -> None:
    """Each of them alone would have room."""
    more = row("srv", "Vwi-aotz--", role="public,origin,thinorigin", pool="pool", minor=2)
    tools.report(HOME, more, pool(fill="50.00"), thin("home-rp-1", "home", tags=label("home-rp-1", "home", b"home")),
                 thin("srv-rp-1", "srv", tags=label("srv-rp-1", "srv", b"srv")))
    assert strained(backend(), {b"home": 200 * MIB, b"srv": 0}) == []
    [found] = strained(backend(), {b"home": 200 * MIB, b"srv": 200 * MIB})
    assert found.level == "warning" and found.text.startswith(
        "about 400 MiB will be written to my-vg/home, my-vg/srv, and their thin pool my-vg/pool has 512 MiB free")
    assert "`lvextend -L +500m my-vg/pool`" in found.hint


def test_a_thick_snapshot_of_a_thin_volume_fills_as_well(tools: Tools) -> None:
    tools.report(HOME, pool(), thin("home-rp-1", "home", tags=label("home-rp-1", "home", b"home")),
                 thick("by-hand", "home", fill="90.00"))
    [found] = strained(backend(), {b"home": 100 * MIB})
    assert found.level == "warning" and "the snapshot my-vg/by-hand may overflow too" in found.text


@pytest.mark.parametrize("now", [[ROOT], [ROOT, {**OURS[0], "lv_uuid": "another"}]])
def test_a_snapshot_that_is_gone_meanwhile_is_no_point_any_more(tools: Tools, now: list[Row]) -> None:
    tools.report(ROOT, OURS[0])
    [point] = backend().points()
    tools.report(*now)
    with pytest.raises(ChangedError):
        backend().strain(point, {b"": MIB})


def test_an_origin_that_is_gone_is_no_finding(tools: Tools) -> None:
    orphan = row("home-rp-2", "Vwi---tz-k", pool="pool", tags=label("home-rp-2", "home", b"home"))
    tools.report(pool(), orphan)
    assert strained(backend(), {b"home": GIB}) == []
