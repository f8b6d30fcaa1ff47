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

_ORIGINS, _EACH, _TURNS = 100, 2, 5
_MEASURE = f"""
import json, subprocess, sys, time
sys.path.insert(0, {PROGRAM!r})
from engine.config import Config
from engine.machine.lvmreport import QUESTION
from engine.volumes.lvm import LvmBackend
backend, taken = LvmBackend(Config()), {{"bare": [], "asked": [], "ours": [], "points": 0}}
for _ in range({_TURNS}):
    for name, words in (("bare", ["lvs"]), ("asked", QUESTION)):
        began = time.perf_counter()
        subprocess.run(words, check=True, capture_output=True)
        taken[name].append(time.perf_counter() - began)
    began = time.perf_counter()
    taken["points"] = len(backend.points())
    taken["ours"].append(time.perf_counter() - began)
print(json.dumps(taken))
"""


def many(text: str) -> str:
    """Return the text of an empty volume group (vgcfgbackup(8)) with all volumes in it, each of one extent and not
    active. Made one by one they would take an hour in here."""
    volumes: list[str] = []

    def volume(name: str, kind: str, status: str = '"READ", "WRITE", "VISIBLE"') -> None:
        number = f"{len(volumes):032d}"
        ident = "-".join([number[:6], *(number[at:at + 4] for at in range(6, 26, 4)), number[26:]])
        volumes.append(f"""{name} {{ id = "{ident}" status = [{status}] flags = [] creation_time = 1795194062
            creation_host = "lab" segment_count = 1 segment1 {{ start_extent = 0 extent_count = 1 {kind} }} }}""")

    def linear() -> str:
        return f'type = "striped" stripe_count = 1 stripes = ["pv0", {len(volumes)}]'

    for origin in range(_ORIGINS):
        volume(f"d{origin}", linear())
        for number in range(_EACH):
            name = f"d{origin}-s{number}"
            volume(name, linear())
            volume(f"snapshot{origin * _EACH + number}", f'type = "snapshot" chunk_size = 8 origin = "d{origin}" '
                   f'cow_store = "{name}"', '"READ", "WRITE"')
    end = text.rindex("}")
    return text[:end] + "logical_volumes {\n" + "\n".join(volumes) + "\n}\n" + text[end:]


def main() -> None:
    """Boot, make the snapshots, measure, and print the medians and their ratio."""
    with tempfile.TemporaryDirectory(prefix="rollpoint-bench-", dir=cache_dir()) as place:
        disk = os.path.join(place, "many.raw")
        with open(disk, "wb") as file:
            file.truncate(4 << 30)
        with rescue(image(), disk) as machine:
            machine.wait_up()
            machine.put(PROGRAM, program())
            machine.sh("vgcreate -qq many /dev/vdb; vgcfgbackup -qq -f /run/before many")
            machine.put("/run/after", many(machine.get("/run/before").decode()).encode())
            machine.sh("vgcfgrestore -f /run/after many")
            taken = json.loads(machine.run(["python3", "-c", _MEASURE], timeout=1800).out)
            machine.power_off()
    bare, asked, ours = (sorted(taken[name])[_TURNS // 2] for name in ("bare", "asked", "ours"))
    print(f"{taken['points']} points of {_ORIGINS * _EACH} snapshots, {_TURNS} turns, on {os.cpu_count()} cores")
    print(f"lvs: {bare:.2f} s; with all that is asked: {asked:.2f} s; LvmBackend.points: {ours:.2f} s; "
          f"ratio {ours / bare:.2f}")
    for name in ("bare", "asked", "ours"):
        print(f"{name}:", *(f"{t:.2f}" for t in taken[name]))


if __name__ == "__main__":
    main()
