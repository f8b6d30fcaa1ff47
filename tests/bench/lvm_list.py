"""What listing 200 LVM snapshots costs beside the bare `lvs`: `python -m tests.bench.lvm_list`.

It runs in the lab's system, where every instruction is emulated: the seconds say nothing, the ratios do. All is taken
in turns: the two tools and `LvmBackend.points` in one Python process, so that none of them has the start of Python in
it; and told apart from that, what an admin waits for, `rollpoint list` as a process of its own, beside a Python that
does nothing. Rollpoint lies there as it is installed, its modules compiled.
"""

from __future__ import annotations

import json
import os
import tempfile

from tests.engine.debian import cache_dir
from tests.lab.image import image
from tests.lab.layouts import rescue
from tests.lab.steps import PROGRAM, program

_ORIGINS, _EACH, _TURNS = 100, 2, 9
_INSTALLED = "/run/installed"
_UNPACK = f"import zipfile; zipfile.ZipFile({PROGRAM!r}).extractall({_INSTALLED!r})"
_CLI = ["python3", "-m", "tui.cli", "--config", "/run/config.yaml"]
_MEASURE = f"""
import json, os, subprocess, sys, time
sys.path.insert(0, {_INSTALLED!r})
from engine.config import Config
from engine.machine.lvmreport import QUESTION
from engine.volumes.lvm import LvmBackend
open("/run/config.yaml", "w").write("lvm: {{volumes: [auto]}}")
backend, points = LvmBackend(Config()), []
def run(*words):
    subprocess.run(words, check=True, capture_output=True, env=dict(os.environ, PYTHONPATH={_INSTALLED!r}))
ways = {{"lvs": lambda: run("lvs"), "all that is asked of lvs": lambda: run(*QUESTION),
        "LvmBackend.points": lambda: points.append(len(backend.points())), "python": lambda: run("python3", "-c", ""),
        "rollpoint --version": lambda: run(*{_CLI}, "--version"), "rollpoint list": lambda: run(*{_CLI}, "list")}}
ways["rollpoint list"]()        # compiles
taken = {{name: [] for name in ways}}
for _ in range({_TURNS}):
    for name, way in ways.items():
        began = time.perf_counter()
        way()
        taken[name].append(time.perf_counter() - began)
print(json.dumps([points[-1], taken]))
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
            machine.run(["python3", "-c", _UNPACK])
            points, taken = json.loads(machine.run(["python3", "-c", _MEASURE], timeout=1800).out)
            machine.power_off()
    print(f"{points} points of {_ORIGINS * _EACH} snapshots, {_TURNS} turns, on {os.cpu_count()} cores")
    middle = {name: sorted(times)[_TURNS // 2] for name, times in taken.items()}
    for name, times in taken.items():
        print(f"{name:24} median {middle[name]:.2f} s:", *(f"{t:.2f}" for t in times))
    bare, ours = middle["lvs"], middle["LvmBackend.points"]
    print(f"LvmBackend.points is {ours / bare:.2f} of lvs; the limit is 1.3 and 0.3 s: {1.3 * bare + 0.3:.2f} s")


if __name__ == "__main__":
    main()
