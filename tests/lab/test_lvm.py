"""Restore points that are LVM snapshots, on the real thing: thick and thin, ext4 and xfs, the running root.

The oracle is a record of names, attributes and checksums that find and sha256sum made of the mounted volumes at the
time. With ROLLPOINT_LAB_RECORD=DIR the reports of lvs that tests/unit/test_lvm_report.py reads are
written anew.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.lab import steps
from tests.lab.conftest import Lab
from tests.lab.image import Image
from tests.lab.layouts import boot, installed
from tests.lab.machine import Machine

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.xdist_group("bios-lvm")]

VERBS = Path(__file__).resolve().parent / "lvm_verbs.py"
RECORD = rb"""cd "$1"
find . -mindepth 1 -path ./lost+found -prune -o -printf '%P %y %m %U:%G %s %T@ %l\n' | LC_ALL=C sort
find . -path ./lost+found -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum
"""
UNPACKED = "/run/unpacked"
VOLUMES = "my-vg/da-ta,my-vg/thin,my-vg/xdata"
PLACES = ("data", "thin", "xdata")
_SETUP = """
printf 'global {\\n thin_check_executable = ""\\n}\\n' >/etc/lvm/lvmlocal.conf
vgcreate -qq my-vg /dev/vdc
lvcreate -qq -y -L 128M -n da-ta my-vg
lvcreate -qq -y -L 320M -n xdata my-vg
lvcreate -qq -y -T -L 256M my-vg/pool
lvcreate -qq -y -V 128M -T my-vg/pool -n thin
dd if=/dev/vdd of=/dev/my-vg/xdata bs=4M conv=sparse status=none
mkfs.ext4 -q /dev/my-vg/da-ta; mkfs.ext4 -q /dev/my-vg/thin
mkdir -p /data /thin /xdata
vgextend -qq sys /dev/vdb
"""
_MOUNT = "mount /dev/my-vg/da-ta /data; mount /dev/my-vg/thin /thin; mount /dev/my-vg/xdata /xdata"
_CHANGES = (
    """mkdir -p $d/dir; echo one >$d/file; echo one >$d/gone; ln -s file $d/link; head -c 300000 /dev/urandom >$d/big
       printf x >"$d/dir/an odd name"; touch -d @1500000000.123456789 $d/dir/old""",
    """echo two >$d/file; rm $d/gone; chmod 4711 $d/big; chown 1234:4321 $d/dir/old; echo new >$d/new""",
    """echo three >$d/file; rm $d/link; head -c 400000 /dev/urandom >$d/big; mv $d/new $d/dir/moved""")


class Case:
    """A machine, and the backend in it."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.warnings: list[str] = []

    def come_up(self) -> None:
        self.machine.wait_up()
        self.machine.put(steps.PROGRAM, steps.program())
        # Unpacked, so that it is compiled once only: that is most of the time of a short command in here.
        self.machine.sh(f"python3 -c 'import zipfile; zipfile.ZipFile(\"{steps.PROGRAM}\").extractall(\"{UNPACKED}\")'")
        self.machine.put("/run/lvm_verbs.py", VERBS.read_bytes())
        self.machine.put("/run/record", RECORD)

    def verb(self, verb: str, *words: str, volumes: str = VOLUMES, path: str = "") -> Any:
        """Carry out a verb and return the answer."""
        shell = f"PATH={path}:$PATH " if path else ""
        out = self.machine.sh(f"{shell}python3 /run/lvm_verbs.py {UNPACKED} "
                              + " ".join(shlex.quote(w) for w in (volumes, verb, *words)), timeout=900)
        said = json.loads(out)
        self.warnings = said["warnings"]
        return said["answer"]

    def command(self, *words: str) -> Any:
        """Run Rollpoint as an admin does, and return its document."""
        self.machine.put("/run/config.yaml", b"""store: /srv/store
lvm: {volumes: [my-vg/da-ta, my-vg/thin, my-vg/xdata]}
retention: {min_keep: 2, min_age: 0, max_age: 1, max_store_ratio: null}
""")
        return json.loads(self.machine.run(["python3", UNPACKED, "--config", "/run/config.yaml", "--json", *words],
                                           timeout=900).out)

    def live(self, place: str) -> str:
        """Return the record of a mounted volume."""
        return self.machine.sh(f"sh /run/record /{place}")

    def points(self, volumes: str = VOLUMES) -> dict[str, Any]:
        """Return the points by their comments, those without by their ids."""
        return {p["comment"] or p["id"]: p for p in self.verb("list", volumes=volumes)}

    def volumes(self) -> dict[str, str]:
        """Return the attributes of all logical volumes by VG/LV, as lvs prints them."""
        lines = self.machine.sh("lvs -a --noheadings --separator ' ' -o vg_name,lv_name,lv_attr").splitlines()
        return {f"{group}/{name}": attr for group, name, attr in (line.split() for line in lines)}

    def note(self, name: str) -> None:
        """Keep what lvs says now for the unit tests, where that is wanted."""
        place = os.environ.get("ROLLPOINT_LAB_RECORD")
        if place:
            Path(place, f"{name}.json").write_text(self.verb("report"), encoding="ascii")
            Path(place, f"{name}.txt").write_text(self.verb("pairs"), encoding="ascii")


def test_snapshots_of_logical_volumes(lab_image: Image, lab_place: str, lab: Lab) -> None:
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
        machine.sh(_SETUP + _MOUNT, timeout=900)
        records = _three_points(case)
        _looked_into(case, records)
        _by_command_line(case, records)
        _annotated(case)
        _what_fails_half_way_is_taken_back(case)
        _deleted(case)
        _stale(case)
        _set_back(case, records)
        _siblings(case, records)
        _foreign_and_overflowed(case)
        _full_pool(case)
        _root_before(case)
        machine.restart()
    with boot(system, *disks) as machine:
        case = Case(machine)
        case.come_up()
        _root_after(case)
        machine.power_off()


def _three_points(case: Case) -> list[dict[str, str]]:
    records = []
    for number, changes in enumerate(_CHANGES, 1):
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


def _by_command_line(case: Case, records: list[dict[str, str]]) -> None:
    """What an admin types; with a way back by content, and forward again."""
    ids = {name: point["id"] for name, point in case.points().items()}
    listed = case.command("list")
    assert {p["id"] for p in listed["points"]} == set(ids.values()) and listed["troubles"] == []
    assert {p["place"] for p in listed["points"][0]["lvm"]["parts"]} == {"/data", "/thin", "/xdata"}
    said = case.command("diff", ids["state 1"], ids["state 2"])
    paths = {c["path"] for c in said["changes"]}
    assert {f"/{d}/{name}" for d in PLACES for name in ("file", "gone", "big", "dir/old", "new")} <= paths
    assert not [p for p in paths if p.endswith(("link", "odd name"))], paths
    case.command("restore", ids["state 1"], "--to", "/run/out", "/data/file")
    assert case.machine.get("/run/out/data/file") == b"one\n"
    for name, record, more in (("state 1", records[0], ()), ("state 3", records[2], ("--no-safety-point",))):
        case.command("rollback", ids[name], "--scope", "fs=/thin", "--yes", *more)
        assert case.live("thin") == record["thin"]
        assert (case.live("data"), case.live("xdata")) == (records[2]["data"], records[2]["xdata"])
    safety = [p for name, p in case.points().items() if name == f"before the rollback to {ids['state 1']}"]
    assert len(safety) == 1 and safety[0]["tags"] == ["safety"], safety
    case.command("delete", safety[0]["id"], "--yes")
    fates = {f["id"]: (f["keep"], f["rule"]) for f in case.command("prune", "--backend", "lvm", "--dry-run")["fates"]}
    assert fates == {ids["state 1"]: (False, "older than 1 s"), ids["state 2"]: (True, "one of the newest 2"),
                     ids["state 3"]: (True, "one of the newest 2")}, fates


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
    assert losses == {"freed": None, "findings": []}
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
    case.machine.sh("umount /data /thin /xdata; echo before >/srv/state; sync")
    taken = case.verb("take", "root", volumes="auto")
    assert [(p["volume"], p["place"]) for p in taken["parts"]] == [("sys/root", "")], taken
    assert case.warnings == []
    case.machine.sh("echo after >/srv/state; touch /srv/more; sync")
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
