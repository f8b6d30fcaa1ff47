"""Restore points that are LVM snapshots, on the real thing: thick and thin, ext4 and xfs, the running root.

The oracle is a record of names, attributes and checksums that find and sha256sum made of the mounted volumes at the
time. With ROLLPOINT_LAB_RECORD=DIR the reports of lvs that tests/unit/test_lvm_report.py reads are
written anew.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.lab.image import Image
from tests.lab.layouts import boot, installed
from tests.lab.lvm_case import CHANGES, MOUNT, PLACES, SETUP, VOLUMES, Case

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.lab_more, pytest.mark.xdist_group("bios-lvm")]

_MORE = "vgextend -qq sys /dev/vdb\n"


def test_snapshots_of_logical_volumes(lab_image: Image, lab_place: str) -> None:
    place = os.path.join(lab_place, "lvm")
    os.mkdir(place)
    system = installed(lab_image, "bios-lvm", place)
    disks = []
    for name, mib in (("more", 1536), ("big", 4096), ("xfs", 320)):
        disks.append(os.path.join(place, f"{name}.raw"))
        with Path(disks[-1]).open("wb") as file:
            file.truncate(mib << 20)
    subprocess.run(["mkfs.xfs", "-q", disks[-1]], check=True, capture_output=True)
    with boot(system, *disks) as machine:
        case = Case(machine)
        case.come_up()
        machine.sh("big=/dev/vdc; xfs=/dev/vdd" + SETUP + _MORE + MOUNT, timeout=900)
        records = _three_points(case)
        _looked_into(case, records)
        _annotated(case)
        _what_fails_half_way_is_taken_back(case)
        _deleted(case)
        _stale(case)
        _set_back(case, records)
        _siblings(case, records)
        _foreign_and_overflowed(case)
        _full_pool(case)
        machine.power_off()


def test_the_running_root_goes_back_at_the_next_boot(lab_image: Image, lab_place: str) -> None:
    place = os.path.join(lab_place, "lvm-root")
    os.mkdir(place)
    system, more = installed(lab_image, "bios-lvm", place), os.path.join(place, "more.raw")
    with Path(more).open("wb") as file:
        file.truncate(1536 << 20)
    with boot(system, more) as machine:
        case = Case(machine)
        case.come_up()
        machine.sh(_MORE)
        _root_before(case)
        machine.restart()
    with boot(system, more) as machine:
        case = Case(machine)
        case.come_up()
        _root_after(case)
        machine.power_off()


def _three_points(case: Case) -> list[dict[str, str]]:
    records = []
    for number, changes in enumerate(CHANGES, 1):
        case.machine.sh(f"for d in /data /thin /xdata; do {changes}\ndone; sync")
        records.append({place: case.live(place) for place in PLACES})
        taken = case.verb("take", f"state {number}", "lab")
        assert "error" not in taken, taken
        assert [p["place"] for p in taken["parts"]] == list(PLACES) and taken["tags"] == ["lab"]
        assert [p["facts"]["kind"] for p in taken["parts"]] == ["thick", "thin", "thick"]
        assert case.warnings == []
    assert len({json.dumps(r, sort_keys=True) for r in records}) == 3
    case.note("three")
    # Of 128 MiB the least is all of it and a little more, of 320 MiB too; a thin one never has a size of its own.
    attrs = case.volumes()
    assert sum(name.startswith("my-vg/da-ta-rp-") and attr[0] == "s" for name, attr in attrs.items()) == 3
    assert sum(name.startswith("my-vg/thin-rp-") and attr[0] == "V" for name, attr in attrs.items()) == 3
    return records


def _looked_into(case: Case, records: list[dict[str, str]]) -> None:
    points = case.points()
    assert sorted(points) == ["state 1", "state 2", "state 3"]
    before = case.volumes()
    assert case.verb("record", "state 1", "state 2", "state 3") == records
    assert case.volumes() == before         # thin ones are not active any more, nothing is read-only or open
    case.verb("copy", "state 1", "xdata/gone", "/run/gone")
    assert case.machine.get("/run/gone") == b"one\n"


def _annotated(case: Case) -> None:
    text = "état 2, “quoted”, " + "a long story " * 20
    case.verb("pin", "state 2")
    case.verb("comment", "state 2", text)
    point = case.points()[text]
    assert point["pinned"] and point["tags"] == ["lab"] and len(point["parts"]) == 3
    case.verb("comment", text, "state 2")
    tags = case.machine.sh("lvs --noheadings -o lv_tags @rollpoint.pinned").split()
    assert len(tags) == 3 and not [t for t in tags if "rollpoint.comment.1" in t], tags
    said = case.verb("comment", "state 2", "x" * 1001)
    assert said["error"] == "UsageError", said


def _what_fails_half_way_is_taken_back(case: Case) -> None:
    case.machine.sh("""
        mkdir -p /opt/fake
        cat >/opt/fake/lvcreate <<'END'
#!/bin/sh
case "$*" in *my-vg/xdata) echo "  Out of order." >&2; exit 5;; esac
exec /sbin/lvcreate "$@"
END
        chmod +x /opt/fake/lvcreate""")
    before = case.volumes()
    said = case.verb("take", "half", path="/opt/fake")
    assert said["message"] == "no snapshot of my-vg/xdata could be taken: Out of order.", said
    assert case.volumes().keys() == before.keys()


def _deleted(case: Case) -> None:
    point = case.points()["state 3"]
    names = {p["snapshot"] for p in point["parts"]}
    losses = case.verb("losses", "state 3")
    assert losses["freed"] is None and losses["findings"] == []
    before, free = case.volumes(), _free(case)
    thin = point["parts"][1]["snapshot"]
    case.machine.sh(f"lvchange -ay -K {thin}; mkdir -p /look; mount -o ro,noload /dev/{thin} /look")
    said = case.verb("delete", "state 3")
    assert said["removed"] == [] and "is open: mounted" in said["failed"][0][1], said
    assert case.volumes().keys() == before.keys()
    case.machine.sh("umount /look")
    said = case.verb("delete", "state 3")
    assert said["removed"] == [point["id"]] and said["failed"] == [], said
    assert before.keys() - case.volumes().keys() == names
    thick = sum(p["own_bytes"] or 0 for p in point["parts"])
    assert _free(case) - free == thick and thick <= said["freed"] <= thick + (16 << 20)


def _free(case: Case) -> int:
    return int(case.machine.sh("vgs --noheadings --units b --nosuffix -o vg_free my-vg"))


def _stale(case: Case) -> None:
    said = case.verb("back", "state 2", "lvcreate -qq -y -s -n by-hand my-vg/thin")
    assert said["error"] == "ChangedError", said
    case.machine.sh("lvremove -qq -y my-vg/by-hand")
    assert not [a for a in case.volumes().values() if a[0] in "OS"]


def _set_back(case: Case, records: list[dict[str, str]]) -> None:
    """To the second state: a volume that is mounted waits, the others are back at once."""
    case.machine.sh("umount /thin /xdata")
    plan = case.verb("native", "state 2")
    assert not [f for f in plan["findings"] if f["level"] == "blocker"], plan
    assert any("the snapshot my-vg/xdata-rp-" in g for g in plan["goes"])
    assert "my-vg/xdata: at once" in plan["when"] and "my-vg/da-ta is next activated" in plan["when"]
    assert [c.split()[:4] for c in plan["commands"]] == [["lvconvert", "-y", "-b", f"--merge{kind}"]
                                                         for kind in ("snapshot", "thin", "snapshot")]
    assert any("pinned" in f["text"] for f in plan["findings"])
    said = case.verb("back", "state 2")
    assert len(said) == 3 and "waits to be merged into my-vg/da-ta" in said[0], said
    assert "my-vg/thin is as it was" in said[1] and "my-vg/xdata is as it was" in said[2], said
    case.machine.sh("mount /dev/my-vg/thin /thin; mount /dev/my-vg/xdata /xdata")
    assert (case.live("thin"), case.live("xdata")) == (records[1]["thin"], records[1]["xdata"])
    assert case.live("data") == records[2]["data"]
    case.note("deferred")
    left = case.points()["state 2"]
    assert left["state"] == "merging" and [p["state"] for p in left["parts"]] == ["merging"]
    assert len(case.verb("pending")) == 1 and "waits to be merged" in case.verb("pending")[0]
    for verb, words in (("record", ()), ("comment", ("x",))):
        assert case.verb(verb, "state 2", *words)["error"] == "RefusedError"
    assert "LVM removes no such" in case.verb("delete", "state 2")["failed"][0][1]
    refused = case.verb("take", "meanwhile", volumes="my-vg/da-ta")
    assert refused["error"] == "RefusedError" and "takes no other meanwhile" in refused["message"], refused
    case.machine.sh("umount /data; lvchange -an my-vg/da-ta; lvchange -ay my-vg/da-ta; mount /dev/my-vg/da-ta /data")
    assert case.live("data") == records[1]["data"]
    case.machine.sh("lvchange --poll y my-vg/da-ta; n=0; while lvs -a my-vg | grep -q '\\[da-ta-rp'; do sleep 1; "
                    "n=$((n+1)); [ $n -lt 120 ]; done")
    assert "state 2" not in case.points() and case.verb("pending") == []


def _siblings(case: Case, records: list[dict[str, str]]) -> None:
    """The other points of the merged volumes: whole, also where LVM has forgotten what the thin ones are."""
    case.note("siblings")
    point = case.points()["state 1"]
    assert [p["facts"]["kind"] for p in point["parts"]] == ["thick", "orphan", "thick"] and point["state"] == "ok"
    assert [p["volume"] for p in point["parts"]] == VOLUMES.split(",")
    assert case.verb("record", "state 1") == records[:1]
    plan = case.verb("native", "state 1")
    assert ["has forgotten that my-vg/thin-rp-" in f["text"] for f in plan["findings"] if f["level"] == "blocker"] == [
        True]
    assert case.verb("back", "state 1")["error"] == "RefusedError"
    assert case.verb("delete", "state 1")["removed"] == [point["id"]]
    assert sorted(n for n in case.volumes() if n.startswith("my-vg/") and "[" not in n) == [
        "my-vg/da-ta", "my-vg/pool", "my-vg/thin", "my-vg/xdata"]


def _foreign_and_overflowed(case: Case) -> None:
    case.machine.sh("""
        lvcreate -qq -y -s -L 16M -n small my-vg/da-ta
        lvcreate -qq -y -s -L 64M -n da-ta-snapset_daily_1795194062_-data my-vg/da-ta
        lvcreate -qq -y -s -kn -n container my-vg/thin
        dd if=/dev/urandom of=/data/fill bs=1M count=40 conv=fsync status=none; sync""", timeout=900)
    case.note("overflowed")
    points = case.points()
    assert {name: (p["owner"], p["state"]) for name, p in points.items()} == {
        "lvm:my-vg/small": ("unknown", "damaged"), "lvm:my-vg/container": ("unknown", "ok"),
        "lvm:my-vg/da-ta-snapset_daily_1795194062_-data": ("snapm", "ok")}
    dead = "lvm:my-vg/small"
    assert "overflowed" in points[dead]["problems"][0]
    assert case.verb("record", dead)["error"] == "RefusedError"
    assert [f["level"] for f in case.verb("native", dead)["findings"]] == ["blocker"]
    assert case.verb("back", dead)["error"] == "RefusedError"
    levels = {level["name"]: level for level in case.verb("levels")}
    assert levels["my-vg/small"]["state"] == "full"
    filled = levels["my-vg/da-ta-snapset_daily_1795194062_-data"]
    assert filled["state"] == "warning" and "more than half full; `lvextend" in filled["text"], filled
    assert "may be a volume in use" in case.verb("delete", "lvm:my-vg/container")["failed"][0][1]
    assert case.verb("delete", dead, "lvm:my-vg/da-ta-snapset_daily_1795194062_-data")["failed"] == []
    assert case.verb("delete", dead)["error"] if dead in case.points() else True
    case.machine.sh("lvremove -qq -y my-vg/container; rm /data/fill")


def _full_pool(case: Case) -> None:
    case.machine.sh("""
        lvcreate -qq -y -T -L 64M my-vg/tight; lvchange -qq -y --errorwhenfull y my-vg/tight
        lvcreate -qq -y -V 128M -T my-vg/tight -n over; lvcreate -qq -y -s -n before my-vg/over
        dd if=/dev/zero of=/dev/my-vg/over bs=1M count=100 oflag=direct status=none 2>/dev/null || true""", timeout=900)
    case.note("full")
    refused = case.verb("take", "full", volumes="my-vg/over")
    assert refused["error"] == "RefusedError" and "thin pool my-vg/tight" in refused["message"], refused
    levels = {level["name"]: level["state"] for level in case.verb("levels", volumes="my-vg/over,my-vg/da-ta")}
    assert levels["my-vg/tight data"] == "full" and "my-vg/pool data" not in levels and levels["my-vg"] == "ok"
    case.machine.sh("lvremove -qq -y my-vg/before my-vg/over my-vg/tight")


def _root_before(case: Case) -> None:
    """Of the running root: the merge waits for the next boot."""
    case.machine.sh("echo before >/srv/state; sync")
    taken = case.verb("take", "root", volumes="auto")
    assert [(p["volume"], p["place"]) for p in taken["parts"]] == [("sys/root", "")], taken
    assert case.warnings == []
    case.machine.sh("echo after >/srv/state; touch /srv/more; sync")
    case.verb("copy", "root", "srv/state", "/run/state", volumes="auto")
    assert case.machine.get("/run/state") == b"before\n"
    plan = case.verb("native", "root", volumes="auto")
    assert plan["when"] == "when sys/root is next activated: at the next boot"
    assert any("/boot is a file system of its own" in f["text"] for f in plan["findings"])
    said = case.verb("back", "root", volumes="auto")
    assert "waits to be merged into sys/root" in said[0], said
    assert case.machine.sh("cat /srv/state") == "after\n"


def _root_after(case: Case) -> None:
    assert case.machine.sh("cat /srv/state; ls /srv") == "before\nstate\n"
    left = case.points("auto")
    if left:        # nothing in the machine polls (lvm2-monitor is off): the metadata are still to be finished
        assert left["root"]["state"] == "merging" and "lvchange --poll y sys/root" in case.verb(
            "pending", volumes="auto")[0]
        case.machine.sh("lvchange --poll y sys/root; n=0; while lvs -a sys | grep -q '\\[root-rp'; do sleep 1; "
                        "n=$((n+1)); [ $n -lt 120 ]; done")
    assert case.points("auto") == {} and case.verb("pending", volumes="auto") == []
    assert "root-rp" not in " ".join(case.volumes())
