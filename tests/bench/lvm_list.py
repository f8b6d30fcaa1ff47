"""What listing 200 LVM snapshots costs beside the bare `lvs`: `python -m tests.bench.lvm_list`.

It runs in the lab's system, where every instruction is emulated: the seconds say nothing, the ratios do. The two are
measured in turns, in one Python process, so that neither has the start of Python in it.
"""

from __future__ import annotations

import json
import os
import tempfile

from tests.engine.debian import cache_dir
from tests.lab.image import image
from tests.lab.layouts import rescue
from tests.lab.steps import PROGRAM, program

_ORIGINS, _EACH, _TURNS = 10, 20, 5
# Without backups of the metadata, and not active, as thin snapshots are: the making is no part of what is measured.
_SETUP = f"""
printf 'global {{\\n thin_check_executable = ""\\n}}\\nbackup {{\\n backup = 0\\n archive = 0\\n}}\\n' \\
    >/etc/lvm/lvmlocal.conf
vgcreate -qq many /dev/vdb
lvcreate -qq -y -T -L 512M --poolmetadatasize 64M many/pool
for n in $(seq {_ORIGINS}); do
    lvcreate -qq -y -V 64M -T many/pool -n d$n
    for s in $(seq {_EACH}); do lvcreate -qq -y -s -n d$n-s$s --addtag some.tag=$s many/d$n; done
done 2>&1 | grep -v WARNING || true
"""
_MEASURE = f"""
import json, subprocess, sys, time
sys.path.insert(0, {PROGRAM!r})
from engine.config import Config
from engine.volumes.lvm import LvmBackend
backend, taken = LvmBackend(Config()), {{"bare": [], "ours": [], "points": 0}}
for _ in range({_TURNS}):
    began = time.perf_counter()
    subprocess.run(["lvs"], check=True, capture_output=True)
    taken["bare"].append(time.perf_counter() - began)
    began = time.perf_counter()
    taken["points"] = len(backend.points())
    taken["ours"].append(time.perf_counter() - began)
print(json.dumps(taken))
"""


def main() -> None:
    """Boot, make the snapshots, measure, and print the medians and their ratio."""
    with tempfile.TemporaryDirectory(prefix="rollpoint-bench-", dir=cache_dir()) as place:
        disk = os.path.join(place, "many.raw")
        with open(disk, "wb") as file:
            file.truncate(1 << 30)
        with rescue(image(), disk) as machine:
            machine.wait_up()
            machine.put(PROGRAM, program())
            machine.sh(_SETUP, timeout=3600)
            taken = json.loads(machine.run(["python3", "-c", _MEASURE], timeout=1800).out)
            machine.power_off()
    bare, ours = (sorted(taken[name])[_TURNS // 2] for name in ("bare", "ours"))
    print(f"{taken['points']} points of {_ORIGINS * _EACH} snapshots, {_TURNS} turns, on {os.cpu_count()} cores")
    print(f"lvs: {bare:.2f} s; LvmBackend.points: {ours:.2f} s; ratio {ours / bare:.2f}")
    print("bare:", *(f"{t:.2f}" for t in taken["bare"]), " ours:", *(f"{t:.2f}" for t in taken["ours"]))


if __name__ == "__main__":
    main()
