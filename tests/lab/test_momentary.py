"""Points read from momentary snapshots of real logical volumes: thick of the running root, thin, and one with xfs."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.lab import steps
from tests.lab.conftest import Lab
from tests.lab.layouts import boot
from tests.lab.machine import Machine

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.lab_more, pytest.mark.xdist_group("bios-lvm")]

_SETUP = """
printf 'global {\\n thin_check_executable = ""\\n}\\n' >/etc/lvm/lvmlocal.conf
mkdir -p /opt/gate /data /xdata
mkfifo /run/gate
cat >/opt/gate/rsync <<'END'
#!/bin/sh
case "$*" in *--delete-excluded*) touch /run/arrived; : </run/gate;; esac
exec /usr/bin/rsync "$@"
END
chmod +x /opt/gate/rsync
"""
_MORE = """
vgextend -qq sys /dev/vdc
lvcreate -qq -y -T -L 128M sys/pool
lvcreate -qq -y -V 96M -T sys/pool -n data
lvcreate -qq -y -L 324M -n xdata sys
mkfs.ext4 -q /dev/sys/data
dd if=/dev/vdd of=/dev/sys/xdata bs=4M conv=sparse status=none
mount /dev/sys/data /data; mount /dev/sys/xdata /xdata
for place in /srv /data /xdata; do
    echo then >$place/file; echo then >$place/removed
done
sync
"""
_MEANWHILE = """
for place in /srv /data /xdata; do
    echo now >$place/file; rm $place/removed; echo now >$place/new
done
sync
"""


class Case:
    """A machine with more room in its volume group, and a Rollpoint in it whose copy stops at a gate."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def start(self, consistent: str) -> None:
        """Begin a point and wait until its copy stands at the gate."""
        self.configure(consistent)
        self.machine.sh(f"""
            rm -f /run/arrived
            PATH=/opt/gate:$PATH setsid python3 {steps.PROGRAM} --config /run/config.yaml --store {steps.STORE} \\
                snapshot >/run/said 2>&1 & pid=$!
            echo $pid >/run/pid
            until [ -e /run/arrived ]; do kill -0 $pid || {{ cat /run/said >&2; exit 1; }}; sleep 0.2; done
            """)

    def configure(self, consistent: str) -> None:
        text = f"consistent: {consistent}\nsources: [auto, /data, /xdata]\nretention: {{max_store_ratio: null}}\n"
        self.machine.put("/run/config.yaml", text.encode())

    def finish(self) -> str:
        """Open the gate, wait for the end, and return what was said."""
        return self.machine.sh("""
            : >/run/gate
            while kill -0 $(cat /run/pid) 2>/dev/null; do sleep 0.2; done
            cat /run/said
            """, timeout=900)

    def snapshot(self, consistent: str) -> tuple[int, str]:
        self.configure(consistent)
        done = steps.rollpoint(self.machine, "--config", "/run/config.yaml", "snapshot", check=False)
        return done.rc, (done.out + done.err).decode()

    def momentary(self) -> list[str]:
        out = self.machine.sh("lvs --noheadings -o lv_name,lv_attr")
        return sorted(" ".join(line.split()) for line in out.splitlines() if "rollpoint" in line)

    def points(self) -> list[dict[str, object]]:
        return list(json.loads(steps.rollpoint(self.machine, "--json", "list").out)["points"])

    def held(self, path: str) -> str:
        """Return what the newest point holds at a path."""
        return self.machine.sh(f"cat {steps.STORE}/tree{path}")


def test_points_of_logical_volumes_are_of_one_moment(lab: Lab) -> None:
    case = lab("bios-lvm")
    more, xfs = os.path.join(case.place, "more.raw"), os.path.join(case.place, "xfs.raw")
    for path, mib in ((more, 1152), (xfs, 320)):
        with Path(path).open("wb") as file:
            file.truncate(mib << 20)
    subprocess.run(["mkfs.xfs", "-q", xfs], check=True, capture_output=True)
    with boot(case.system, case.store, more, xfs) as machine:
        steps.come_up(machine)
        machine.put(steps.PROGRAM, steps.program())
        machine.sh(_SETUP)
        _too_little_room(Case(machine))
        machine.sh(_MORE)
        _of_one_moment(Case(machine))
        _not_removed(Case(machine))
        _killed(Case(machine))
        _overflowed(Case(machine))
        machine.power_off()


def _too_little_room(case: Case) -> None:
    """The volume group was made with less than a snapshot of its root needs."""
    case.machine.put("/run/config.yaml", b"consistent: {/: required}\n")
    done = steps.rollpoint(case.machine, "--config", "/run/config.yaml", "snapshot", check=False)
    assert done.rc == 5 and b"the volume group sys has 14" in done.err, done.err
    assert b"and its snapshot needs 256 MiB of its own" in done.err
    assert case.momentary() == [] and len(case.points()) == 1


def _of_one_moment(case: Case) -> None:
    wanted = "{/: required, /data: required, /xdata: required}"
    # What is deleted while it is open waits in the snapshot for a mount that clears it up.
    case.machine.sh("exec 3>/srv/open; rm /srv/open; sleep 1000 >/dev/null 2>&1 & echo $! >/run/holder")
    case.start(wanted)
    kinds = [line.split()[1][0] for line in case.momentary()]
    assert sorted(kinds) == ["V", "s", "s"], case.momentary()
    case.machine.sh(_MEANWHILE)
    said = case.finish()
    case.machine.sh("kill $(cat /run/holder)")
    assert "was taken in" in said and "warning" not in said, said
    assert case.momentary() == []
    for place in ("/srv", "/data", "/xdata"):
        assert (case.held(f"{place}/file"), case.held(f"{place}/removed")) == ("then\n", "then\n"), place
        assert "new" not in case.machine.sh(f"ls {steps.STORE}/tree{place}").split(), place
    shown = json.loads(steps.rollpoint(case.machine, "--json", "show", "latest").out)
    sources = {s["mount"]: s for s in shown["document"]["sources"]}
    assert {mount: s.get("momentary") for mount, s in sources.items()} == {
        "/": True, "/boot": None, "/data": True, "/xdata": True}
    assert sources["/"]["device"] == "/dev/mapper/sys-root" and sources["/xdata"]["type"] == "xfs"


def _not_removed(case: Case) -> None:
    """Where lvremove fails the point is taken all the same, and what to remove by hand is said: that does it."""
    case.machine.sh("""
        printf '#!/bin/sh\necho "Logical volume is used by another device." >&2\nexit 5\n' >/opt/gate/lvremove
        chmod +x /opt/gate/lvremove
        """)
    taken = len(case.points())
    case.start("{/data: required}")
    said = case.finish()
    case.machine.sh("rm /opt/gate/lvremove")
    left = [line.split()[0] for line in case.momentary()]
    by_hand = f"lvremove sys/{left[0]}"
    assert len(left) == 1 and "was taken in" in said and len(case.points()) == taken + 1, said
    assert "Logical volume is used by another device.; remove it by hand: " + by_hand in said, said
    case.machine.sh(f"{by_hand} -y")
    assert case.momentary() == []


def _killed(case: Case) -> None:
    """With kill -9, Rollpoint and all that it started: the next one finds what is left by its name."""
    case.start("{/: required, /data: required}")
    case.machine.sh("""
        kill -9 $(cat /run/pid)
        for file in /proc/[0-9]*/cmdline; do
            tr '\\0' ' ' <$file 2>/dev/null | grep -q 'delete-ex[c]luded' || continue
            kill -9 $(basename $(dirname $file)) 2>/dev/null || true
        done
        """)
    left = [line.split()[0] for line in case.momentary()]
    assert len(left) == 2
    code, said = case.snapshot("{/: required, /data: required}")
    assert code == 3 and all(f"removed the momentary snapshot sys/{name}" in said for name in left), said
    assert case.momentary() == []
    assert case.snapshot("{/: required, /data: required}")[0] == 0


def _overflowed(case: Case) -> None:
    """More is written to the root meanwhile than its snapshot has room for: the point is not taken."""
    before = [point["id"] for point in case.points()]
    case.machine.sh("lvcreate -qq -y -l $(( $(vgs --noheadings -o vg_free_count sys) - 64 )) -n filler sys")
    case.start("{/: required}")
    case.machine.sh("dd if=/dev/zero of=/filler bs=1M count=300 conv=fsync status=none; sync", timeout=900)
    case.machine.sh("rm /filler; sync")
    said = case.finish()
    assert "the momentary snapshot did not last until the end: /: sys/rollpoint-momentary-" in said, said
    assert case.momentary() == [] and [point["id"] for point in case.points()] == before
