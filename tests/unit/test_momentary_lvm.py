"""Momentary snapshots of logical volumes: what is planned from a report of lvs, and which commands are given. The real
thing is in tests/lab/test_momentary.py."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import RefusedError, RollpointError, ToolError
from engine.events import Job
from engine.machine.lvmreport import parse
from engine.machine.momentary import Moment
from engine.machine.momentlvm import Lvm, read, shares
from engine.machine.momentparts import PREFIX, Bench, Volume, finished, new_name
from engine.machine.mounts import Mount, Namespace
from engine.run import Arg

MIB, GIB = 1 << 20, 1 << 30
EXTENT = 4 * MIB
Row = dict[str, str]


def row(name: str, attr: str = "-wi-ao----", size: int = 20 * GIB, minor: int = 0, *, pool: str = "", snap: str = "",
        data: str = "", metadata: str = "", free: int = 10 * GIB) -> Row:
    """A row as lvs 2.03 prints it; an LV that is not active has the number -1:-1."""
    return {"vg_name": "sys", "lv_name": name, "lv_attr": attr, "lv_size": str(size), "pool_lv": pool,
            "snap_percent": snap, "data_percent": data, "metadata_percent": metadata,
            "lv_kernel_major": "253" if minor >= 0 else "-1", "lv_kernel_minor": str(minor), "vg_free": str(free),
            "vg_extent_size": str(EXTENT), "vg_size": str(100 * GIB), "lv_uuid": name, "lv_role": "public",
            "origin": "", "lv_time": "1795194062", "lv_tags": ""}


class Fake(Namespace):
    """LVM by the book: lvs lists `rows`, lvcreate and lvremove change them; what begins with `failing` fails,
    lvcreate after it has made something."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows, self.asked = list(rows), list[list[str]]()
        self.failing = ""

    def run(self, argv: Sequence[Arg], timeout: float = 60, *, ok: Sequence[int] = (0,)) -> bytes:
        words = [os.fsdecode(word) for word in argv]
        if words[0] == "lvs":
            return json.dumps({"report": [{"lv": self.rows}], "log": []}).encode()
        self.asked.append(words)
        failing = self.failing and " ".join(words).startswith(self.failing)
        if words[0] == "lvcreate":
            origin = next(r for r in self.rows if f"sys/{r['lv_name']}" == words[-1])
            thin = "-L" not in words
            self.rows.append(row(words[words.index("-n") + 1], "Vwi---tz-k" if thin else "swi-a-s---", minor=9,
                                 pool=origin["pool_lv"] if thin else "", snap="" if thin else "0.01"))
        if failing:
            raise ToolError(argv, 5, "  Out of order.")
        if words[0] == "lvremove":
            self.rows = [r for r in self.rows if f"sys/{r['lv_name']}" != words[-1]]
        return b""

    def made(self, name: str = PREFIX) -> Row:
        return next(r for r in self.rows if r["lv_name"].startswith(name))


def volume(place: str = "", minor: int = 0, kind: str = "ext4") -> Volume:
    mount = Mount(b"253:%d" % minor, b"/", b"/" + place.encode(), kind.encode(), b"/dev/mapper/sys-x")
    return Volume(place.encode(), mount, b"/")


@pytest.fixture
def devices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /sys/dev/block in which the numbers 253:0 to 253:4 are logical volumes."""
    for minor in range(5):
        (tmp_path / f"dev/253:{minor}/dm").mkdir(parents=True)
        (tmp_path / f"dev/253:{minor}/dm/uuid").write_text("LVM-8zZ\n")
    monkeypatch.setattr("engine.machine.momentary._MAKERS", (lambda bench: Lvm(bench, str(tmp_path / "dev")),))
    return tmp_path / "dev"


def moment(fake: Fake, place: Path, job: Job, store: int = 0) -> Moment:
    scratch = place / "scratch"
    scratch.mkdir(exist_ok=True)
    return Moment(Bench(fake, os.fsencode(scratch), store, job.warn), b"/view", job)


def test_a_thick_one_from_its_making_to_its_end(devices: Path, tmp_path: Path) -> None:
    """All are made before the first is mounted; ext4 finishes its journal in it, xfs has a UUID that is mounted."""
    fake, job = Fake([row("root"), row("home", size=GIB, minor=1)]), Job()
    taking = moment(fake, tmp_path, job)
    shown = taking.take({volume(): True, volume("home", 1, "xfs"): True}, [b"home"])
    names = [words[words.index("-n") + 1] for words in fake.asked if words[0] == "lvcreate"]
    scratch = f"{tmp_path}/scratch"
    assert fake.asked == [
        ["lvcreate", "-y", "-s", "-L", f"{3 * GIB}b", "-n", names[0], "sys/root"],
        ["lvcreate", "-y", "-s", "-L", f"{256 * MIB}b", "-n", names[1], "sys/home"],
        ["mount", "-t", "ext4", "-o", "ro", f"/dev/sys/{names[0]}", f"{scratch}/0"],
        ["mount", "-t", "xfs", "-o", "ro,nouuid", f"/dev/sys/{names[1]}", f"{scratch}/1"],
    ]
    assert shown == {b"": [(b"", f"{scratch}/0".encode())], b"home": [(b"home", f"{scratch}/1".encode())]}
    assert taking.places == {b"", b"home"} and len(set(names)) == 2
    fake.asked.clear()
    taking.finish()
    assert fake.asked == [
        ["umount", "--recursive", "/view"], ["umount", f"{scratch}/1"], ["lvremove", "-y", f"sys/{names[1]}"],
        ["umount", f"{scratch}/0"], ["lvremove", "-y", f"sys/{names[0]}"]]
    assert [r["lv_name"] for r in fake.rows] == ["root", "home"] and job.warnings == []


def test_a_thin_one_has_no_size_and_is_activated_for_once(devices: Path, tmp_path: Path) -> None:
    fake = Fake([row("root", "Vwi-aotz--", pool="pool", data="40.00"),
                 row("pool", "twi-aotz--", minor=3, data="94.90", metadata="12.00")])
    taking = moment(fake, tmp_path, Job())
    taking.take({volume(): True}, [])
    name = fake.made()["lv_name"]
    assert fake.asked[:2] == [["lvcreate", "-y", "-s", "-n", name, "sys/root"],
                              ["lvchange", "-ay", "-K", f"sys/{name}"]]
    taking.finish()
    assert [r["lv_name"] for r in fake.rows] == ["root", "pool"]


@pytest.mark.parametrize(("change", "why"), [
    ({"snap_percent": "100.00"}, "was full: more than 3.0 GiB were written"),
    ({"lv_attr": "swi-I-s---"}, "was full"), ({"lv_attr": "Swi-S-s---"}, "was full"),
    ({"lv_name": "other"}, "was removed while it was read")])
def test_a_thick_one_that_did_not_last_fails_the_point(devices: Path, tmp_path: Path, change: Row, why: str) -> None:
    fake = Fake([row("root")])
    taking = moment(fake, tmp_path, Job())
    taking.take({volume(): False}, [])
    fake.made().update(change)
    with pytest.raises(RollpointError, match=why):
        taking.finish()
    assert not [r for r in fake.rows if r["lv_name"].startswith(PREFIX)]


@pytest.mark.parametrize(("which", "change", "why"), [
    (PREFIX, {"lv_attr": "Vwi-aotzFk"}, "has failed"), ("pool", {"lv_attr": "twi-aotzD-"}, "no data space left"),
    ("pool", {"lv_attr": "twi-aotzM-"}, "metadata read-only"), ("pool", {"data_percent": "100.00"}, "100 % full"),
    ("pool", {"metadata_percent": "100.00"}, "the metadata of the thin pool sys/pool is 100 % full")])
def test_a_pool_that_ran_full_fails_the_point(devices: Path, tmp_path: Path, which: str, change: Row, why: str) -> None:
    fake = Fake([row("root", "Vwi-aotz--", pool="pool"),
                 row("pool", "twi-aotz--", minor=3, data="5.00", metadata="1.00")])
    taking = moment(fake, tmp_path, Job())
    taking.take({volume(): False}, [])
    fake.made(which).update(change)
    with pytest.raises(RollpointError, match=why):
        taking.finish()


@pytest.mark.parametrize(("rows", "kind", "why"), [
    ([row("root", free=255 * MIB)], "ext4", "sys has 255 MiB free, and its snapshot needs 256 MiB"),
    ([row("root", "swi-a-s---")], "ext4", "sys/root is itself a snapshot"),
    ([row("root", "Owi-aos---")], "ext4", "a snapshot is being merged into sys/root"),
    ([row("root")], "jfs", "jfs on a logical volume"),
    ([row("home", minor=1)], "ext4", "lvs does not list /dev/mapper/sys-x"),
    ([row("root", minor=-1)], "ext4", "lvs does not list /dev/mapper/sys-x"),
    ([row("root", "Vwi-aotz--", pool="pool"), row("pool", "twi-aotz--", minor=3, data="95.00", metadata="1.00")],
     "ext4", "the data of the thin pool sys/pool is 95 % full"),
    ([row("root", "owi-aotz--", pool="pool"), row("pool", "twi-aotz--", minor=3, data="1.00", metadata="97.51")],
     "ext4", "the metadata of the thin pool sys/pool is 98 % full"),
    ([row("root", "Vwi-aotz--", pool="pool"), row("pool", "twi-cotzM-", minor=3, data="1.00", metadata="1.00")],
     "ext4", "has its metadata read-only"),
])
def test_where_none_can_be_made_the_reason_is_given(devices: Path, tmp_path: Path, rows: list[Row], kind: str, why: str
                                                    ) -> None:
    fake, job = Fake(rows), Job()
    with pytest.raises(RefusedError, match="no momentary snapshot of / can be made") as caught:
        moment(fake, tmp_path, job).take({volume(kind=kind): True}, [])
    assert why in caught.value.message and job.warnings == []
    taking = moment(fake, tmp_path, job)
    assert taking.take({volume(kind=kind): False}, []) == {} and taking.places == frozenset()
    assert len(job.warnings) == 1 and why in job.warnings[0]
    assert fake.asked == []


def test_the_store_must_not_fill_the_snapshot_of_its_own_volume(devices: Path, tmp_path: Path) -> None:
    fake, job = Fake([row("root"), row("home", minor=1)]), Job()
    taking = moment(fake, tmp_path, job, store=os.makedev(253, 0))
    assert set(taking.take({volume(): False, volume("home", 1): False}, [b"home"])) == {b"home"}
    assert "the store lies on it as well" in job.warnings[0]


@pytest.mark.parametrize("step", ["lvcreate", "mount"])
def test_what_fails_half_way_is_removed_at_once(devices: Path, tmp_path: Path, step: str) -> None:
    fake, job = Fake([row("root"), row("home", minor=1)]), Job()
    fake.failing = step
    taking = moment(fake, tmp_path, job)
    assert taking.take({volume(): False, volume("home", 1): False}, [b"home"]) == {}
    assert [r["lv_name"] for r in fake.rows] == ["root", "home"]
    assert job.warnings == [f"/{place} is read as it is, without a momentary snapshot: {step} failed with status 5: "
                            "Out of order." for place in ("", "home")]
    assert sum(words[0] == "lvremove" for words in fake.asked) == 2


def test_what_cannot_be_removed_is_named_and_the_others_go(devices: Path, tmp_path: Path) -> None:
    fake, job = Fake([row("root"), row("home", minor=1)]), Job()
    taking = moment(fake, tmp_path, job)
    taking.take({volume(): True, volume("home", 1): True}, [b"home"])
    name = fake.made()["lv_name"]
    fake.failing = f"lvremove -y sys/{name}"
    taking.close()
    assert [r["lv_name"] for r in fake.rows] == ["root", "home", name]
    assert len(job.warnings) == 1 and job.warnings[0].endswith(f"remove it by hand: lvremove sys/{name}")
    asked = len(fake.asked)
    taking.close()
    assert len(fake.asked) == asked         # once is enough


def test_leftovers_go_first_and_make_room(devices: Path, tmp_path: Path) -> None:
    """What a killed one left, and what one that runs is reading from."""
    living = new_name()
    try:
        fake, job = Fake([row("root"), row(f"{PREFIX}1-2-3", "swi-a-s---", minor=7),
                          row(living, "swi-a-s---", minor=8), row(f"{PREFIX}by-hand", minor=6)]), Job()
        moment(fake, tmp_path, job).take({volume(): True}, [])
        assert fake.asked[0] == ["lvremove", "-y", f"sys/{PREFIX}1-2-3"]
        assert [words[0] for words in fake.asked[1:]] == ["lvcreate", "mount"]
        assert job.warnings == [f"removed the momentary snapshot sys/{PREFIX}1-2-3, which an interrupted Rollpoint had "
                                "left"]
    finally:
        finished(living)


def test_what_lvs_says_is_not_guessed_at(tmp_path: Path) -> None:
    class Odd(Fake):
        def run(self, argv: Sequence[Arg], timeout: float = 60, *, ok: Sequence[int] = (0,)) -> bytes:
            return b"  WARNING: something\n"
    with pytest.raises(RollpointError, match="what lvs says cannot be read"):
        read(Bench(Odd([]), os.fsencode(tmp_path), 0, print))
    assert parse(b'{"report": [{"lv": []}]}') == []
    hidden = parse(json.dumps({"report": [{"lv": [row("[pool_tdata]", "Twi-ao----", minor=-1)]}]}).encode())[0]
    assert (hidden.name, hidden.device, hidden.data_fill) == ("pool_tdata", 0, None)


@pytest.mark.parametrize(("origins", "free", "wanted"), [
    ([20 * GIB], 10 * GIB, [3 * GIB]),                              # 15 %
    ([GIB], 10 * GIB, [256 * MIB]),                                 # at least
    ([100 * MIB], 10 * GIB, [100 * MIB]),                           # of a small one all
    ([20 * GIB], GIB, [GIB]),                                       # what there is
    ([20 * GIB], 256 * MIB, [256 * MIB]),
    ([20 * GIB], 252 * MIB, [0]),
    ([20 * GIB, 20 * GIB], 2 * GIB, [GIB, GIB]),                    # shared
    ([20 * GIB, GIB], GIB, [768 * MIB, 256 * MIB]),
    ([GIB, GIB, GIB], 600 * MIB, [256 * MIB, 256 * MIB, 0]),        # two of three
    ([], 0, []),
])
def test_the_size_of_thick_ones(origins: list[int], free: int, wanted: list[int]) -> None:
    assert shares(origins, free, EXTENT) == wanted


@given(st.lists(st.integers(1, 1 << 44), max_size=6), st.integers(0, 1 << 30))
def test_sizes_never_take_more_than_there_is(origins: list[int], extents: int) -> None:
    given_ = shares(origins, extents * EXTENT, EXTENT)
    assert sum(given_) <= extents * EXTENT and len(given_) == len(origins)
    for size, got in zip(origins, given_, strict=True):
        assert got % EXTENT == 0 and (got == 0 or got >= min(256 * MIB, size))
        assert got <= max(256 * MIB, size * 0.15 + EXTENT)


def test_a_disk_that_is_none_of_lvm_is_not_asked_about(devices: Path, tmp_path: Path) -> None:
    (devices / "253:3/dm/uuid").write_text("CRYPT-LUKS2-1\n")
    maker = Lvm(Bench(Fake([]), os.fsencode(tmp_path), 0, print), str(devices))
    assert [maker.concerns(volume(minor=minor)) for minor in (0, 3, 77)] == [True, False, False]


def test_no_thick_one_of_a_root_that_could_not_start_with_it(devices: Path, tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.machine.momentlvm.root_fault", lambda: ("the initramfs has no dm-snapshot", "add it"))
    fake, job = Fake([row("root"), row("home", minor=1)]), Job()
    taking = moment(fake, tmp_path, job)
    assert set(taking.take({volume(): False, volume("home", 1): False}, [b"home"])) == {b"home"}
    assert len(job.warnings) == 1 and "the initramfs has no dm-snapshot" in job.warnings[0]
