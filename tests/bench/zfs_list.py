"""What listing 2,000 ZFS snapshots costs beside the bare `zfs list`: `python -m tests.bench.zfs_list`.

It runs in the lab's guest (tests/lab/guest.py), where every instruction is emulated: the seconds say nothing, the
ratios do. The two are measured in turns, in one Python process, so that neither has the start of Python in it.
"""

from __future__ import annotations

import json
import os
import tempfile

from tests.engine.debian import cache_dir
from tests.lab.guest import blank_disk, guest, guest_files, program_in
from tests.lab.image import image
from tests.lab.steps import PROGRAM

_DATASETS, _EACH, _TURNS = 20, 100, 5
_SETUP = f"""
modprobe zfs
zpool create -f -O mountpoint=/srv/tank tank /dev/vdb
for n in $(seq {_DATASETS}); do zfs create tank/d$n; done
for n in $(seq {_EACH}); do
    for d in /srv/tank/d*; do echo $n >$d/file; done
    zfs snapshot $(for d in $(seq {_DATASETS}); do echo tank/d$d@s$n; done)
done
"""
_MEASURE = f"""
import json, subprocess, sys, time
sys.path.insert(0, {PROGRAM!r})
from engine.config import Config
from engine.volumes import zfstool
from engine.volumes.zfs import ZfsBackend
zfstool.ASK_SECONDS = 3600.0        # emulated, and beside other work, zfs list alone takes longer than it may
backend, taken = ZfsBackend(Config()), {{"bare": [], "ours": [], "points": 0}}
def bare(*words):
    began = time.perf_counter()
    subprocess.run(["zfs", "list", "-Hp", *words], check=True, capture_output=True)
    return time.perf_counter() - began
for _ in range({_TURNS}):
    taken["bare"].append(bare("-t", "snapshot"))
    began = time.perf_counter()
    taken["points"] = len(backend.points())
    taken["ours"].append(time.perf_counter() - began)
print(json.dumps(taken))
"""


def main() -> None:
    """Boot, make the snapshots, measure, and print the medians and their ratio."""
    with tempfile.TemporaryDirectory(prefix="rollpoint-bench-", dir=cache_dir()) as place:
        files = guest_files(image())
        with guest(files, blank_disk(place, "tank", 1 << 30)) as machine:
            machine.wait_up()
            program_in(machine)
            machine.sh(_SETUP, timeout=1800)
            taken = json.loads(machine.run(["python3", "-c", _MEASURE], timeout=1800).out)
            machine.power_off()
    bare, ours = (sorted(taken[name])[_TURNS // 2] for name in ("bare", "ours"))
    print(f"{taken['points']} points of {_DATASETS * _EACH} snapshots, {_TURNS} turns, on {os.cpu_count()} cores")
    print(f"zfs list -Hp -t snapshot: {bare:.2f} s; ZfsBackend.points: {ours:.2f} s; ratio {ours / bare:.2f}")
    print("bare:", *(f"{t:.2f}" for t in taken["bare"]), " ours:", *(f"{t:.2f}" for t in taken["ours"]))


if __name__ == "__main__":
    main()
