"""What an admin types with points that are LVM snapshots, on the real thing: list, diff, restore, rollback, prune."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.lab.image import Image
from tests.lab.layouts import rescue
from tests.lab.lvm_case import CHANGES, MOUNT, PLACES, SETUP, Case

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.lab_more, pytest.mark.xdist_group("bios-lvm")]


def test_what_an_admin_types(lab_image: Image, lab_place: str) -> None:
    place = os.path.join(lab_place, "lvm-commands")
    os.mkdir(place)
    disks = []
    for name, mib in (("big", 4096), ("xfs", 320)):
        disks.append(os.path.join(place, f"{name}.raw"))
        with Path(disks[-1]).open("wb") as file:
            file.truncate(mib << 20)
    subprocess.run(["mkfs.xfs", "-q", disks[-1]], check=True, capture_output=True)
    with rescue(lab_image, *disks) as machine:
        case = Case(machine)
        case.come_up()
        machine.sh("big=/dev/vdb; xfs=/dev/vdc" + SETUP + MOUNT, timeout=900)
        records = []
        for number, changes in enumerate(CHANGES[:2], 1):
            machine.sh(f"for d in /data /thin /xdata; do {changes}\ndone; sync")
            records.append({place: case.live(place) for place in PLACES})
            case.command("snapshot", "--backend", "lvm", "-m", f"state {number}")
        _by_command_line(case, records)
        _some_volumes_configured(case)
        _into_the_snapshot_that_is_read(case)
        _the_volumes_themselves(case, records)
        machine.power_off()


def _by_command_line(case: Case, records: list[dict[str, str]]) -> None:
    """What an admin types; with a way back by content, and forward again."""
    listed = case.command("list")
    ids = {point["comment"]: point["id"] for point in listed["points"]}
    assert len(ids) == len(listed["points"]) == 2
    assert {t["backend"] for t in listed["troubles"]} <= {"replica"}        # which has no store here
    assert {p["place"] for p in listed["points"][0]["lvm"]["parts"]} == {"/data", "/thin", "/xdata"}
    said = case.command("diff", ids["state 1"], ids["state 2"])
    paths = {c["path"] for c in said["changes"]}
    assert {f"/{d}/{name}" for d in PLACES for name in ("file", "gone", "big", "dir/old", "new")} <= paths
    assert not [p for p in paths if p.endswith(("link", "odd name"))], paths
    case.command("restore", ids["state 1"], "--to", "/run/out", "/data/file")
    assert case.machine.get("/run/out/data/file") == b"one\n"
    case.command("rollback", ids["state 1"], "--scope", "fs=/thin", "--yes")
    assert {place: case.live(place) for place in PLACES} == records[1] | {"thin": records[0]["thin"]}
    # A mount point that the point does not know: to remove it would take away what is mounted there, everywhere.
    case.machine.sh("mkdir /thin/later; mount -t tmpfs later /thin/later; touch /thin/later/kept")
    case.command("rollback", ids["state 2"], "--scope", "fs=/thin", "--yes", "--no-safety-point")
    case.machine.sh("mountpoint -q /thin/later; [ -e /thin/later/kept ]; umount /thin/later; rmdir /thin/later")
    assert {place: case.live(place) for place in PLACES} == records[1]
    safety = [p for name, p in case.points().items() if name == f"before the rollback to {ids['state 1']}"]
    assert len(safety) == 1 and safety[0]["tags"] == ["safety"], safety
    case.command("delete", safety[0]["id"], "--yes")
    fates = {f["id"]: f["keep"] for f in case.command("prune", "--backend", "lvm", "--dry-run")["fates"]}
    assert fates == {ids["state 1"]: False, ids["state 2"]: True}


def _some_volumes_configured(case: Case) -> None:
    """What was taken together is one whole point, whichever of its volumes the configuration names now."""
    for volumes in ("my-vg/thin", "my-vg/da-ta, my-vg/xdata"):
        listed = case.command("list", volumes=volumes)["points"]
        assert [(p["comment"], p["state"], len(p["lvm"]["parts"])) for p in listed] == [
            ("state 2", "ok", 3), ("state 1", "ok", 3)]
        assert {p["place"] for p in listed[0]["lvm"]["parts"]} == {"/data", "/thin", "/xdata"}


def _into_the_snapshot_that_is_read(case: Case) -> None:
    """What is put back in a volume fills its thick snapshots, the one that is read from too."""
    case.machine.sh("head -c 25165824 /dev/urandom >/data/was; sync; lvcreate -qq -y -s -L 16M -n tight my-vg/da-ta")
    then = case.live("data")
    case.machine.sh("rm /data/was; sync")
    without = case.live("data")
    before = _used(case)
    plan = case.command("rollback", "lvm:my-vg/tight", "--dry-run", ends_with=5)["plan"]
    assert [f["level"] for f in plan["findings"]] == ["blocker"], plan["findings"]
    said = plan["findings"][0]
    assert "about 24 MiB will be written to my-vg/da-ta, and its snapshot my-vg/tight, " in said["text"], said
    assert case.command("rollback", "lvm:my-vg/tight", "--yes", ends_with=5)["error"]["message"].endswith(said["text"])
    assert case.live("data") == without and _used(case) - before < 1 << 20
    more = re.search(r"`(lvextend -L \+\d+m my-vg/tight)` gives it more room", said["hint"])
    assert more is not None and "--way native" in said["hint"], said
    case.machine.sh(more[1])
    plan = case.command("rollback", "lvm:my-vg/tight", "--dry-run")["plan"]
    assert [f["level"] for f in plan["findings"]] == ["warning"] and "% full" in plan["findings"][0]["text"], plan
    case.command("rollback", "lvm:my-vg/tight", "--yes", "--no-safety-point")
    assert case.live("data") == then
    assert case.volumes()["my-vg/tight"].startswith("swi-a-s")
    # By its own account: what was said beforehand came to pass, as far as blocks were not kept already.
    assert 20 << 20 < _used(case) - before < 30 << 20
    case.machine.sh("rm /data/was; lvremove -qq -y my-vg/tight")


def _used(case: Case) -> int:
    """Return the bytes of my-vg/tight that are in use."""
    size, fill = case.machine.sh("lvs --noheadings --units b --nosuffix -o lv_size,snap_percent my-vg/tight").split()
    return int(int(size) * float(fill) / 100)


def _the_volumes_themselves(case: Case, records: list[dict[str, str]]) -> None:
    """Set back by LVM: at once what is not in use, and the rest when it is next activated."""
    point = next(p for p in case.command("list")["points"] if p["comment"] == "state 1")
    names = {p["volume"]: p["snapshot"] for p in point["lvm"]["parts"]}
    case.machine.sh("umount /thin /xdata")
    said = case.command("rollback", point["id"], "--way", "native", "--dry-run")
    wanted = [f"lvconvert -y -b --mergesnapshot {names['my-vg/da-ta']}",
              f"lvconvert -y -b --mergethin {names['my-vg/thin']}",
              f"lvconvert -y -b --mergesnapshot {names['my-vg/xdata']}"]
    assert said["dry_run"] and said["plan"]["commands"] == wanted and not said["plan"]["blocked"], said
    assert "my-vg/xdata: at once" in said["plan"]["when"] and "my-vg/da-ta is next activated" in said["plan"]["when"]
    assert set(names.values()) <= case.volumes().keys()         # it was a dry run
    done = case.command("rollback", point["id"], "--way", "native", "--yes")["done"]
    assert len(done) == 3 and "waits to be merged into my-vg/da-ta" in done[0], done
    case.machine.sh("mount /dev/my-vg/thin /thin; mount /dev/my-vg/xdata /xdata")
    assert {place: case.live(place) for place in PLACES} == records[0] | {"data": records[1]["data"]}
    [waiting] = [p for p in case.command("list")["points"] if p["comment"] == "state 1"]
    assert waiting["state"] == "merging" and [p["volume"] for p in waiting["lvm"]["parts"]] == ["my-vg/da-ta"]
    case.command("rollback", point["id"], "--way", "native", "--yes", ends_with=5)
    case.machine.sh("umount /data; lvchange -an my-vg/da-ta; lvchange -ay my-vg/da-ta; mount /dev/my-vg/da-ta /data; "
                    "lvchange --poll y my-vg/da-ta; n=0; while lvs -a my-vg | grep -q '\\[da-ta-rp'; do sleep 1; "
                    "n=$((n+1)); [ $n -lt 120 ]; done")
    assert case.live("data") == records[0]["data"]
    assert [p["comment"] for p in case.command("list")["points"]] == ["state 2"]
