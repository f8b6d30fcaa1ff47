"""What an admin types with points that are LVM snapshots, on the real thing: list, diff, restore, rollback, prune."""

from __future__ import annotations

import os
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
