"""A machine with a volume group of thick and thin volumes, ext4 and xfs, and the LVM backend in it."""

from __future__ import annotations

import json
import os
import shlex
from pathlib import Path
from typing import Any

from tests.lab import steps
from tests.lab.machine import Machine

VERBS = Path(__file__).resolve().parent / "lvm_verbs.py"
RECORD = rb"""cd "$1"
find . -mindepth 1 -path ./lost+found -prune -o -printf '%P %y %m %U:%G %s %T@ %l\n' | LC_ALL=C sort
find . -path ./lost+found -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0r sha256sum
"""
UNPACKED = "/run/unpacked"
VOLUMES = "my-vg/da-ta,my-vg/thin,my-vg/xdata"
PLACES = ("data", "thin", "xdata")
SETUP = """
printf 'global {\\n thin_check_executable = ""\\n}\\n' >/etc/lvm/lvmlocal.conf
vgcreate -qq my-vg $big
lvcreate -qq -y -L 128M -n da-ta my-vg
lvcreate -qq -y -L 320M -n xdata my-vg
lvcreate -qq -y -T -L 256M my-vg/pool
lvcreate -qq -y -V 128M -T my-vg/pool -n thin
dd if=$xfs of=/dev/my-vg/xdata bs=4M conv=sparse status=none
mkfs.ext4 -q /dev/my-vg/da-ta; mkfs.ext4 -q /dev/my-vg/thin
mkdir -p /data /thin /xdata
"""
MOUNT = "mount /dev/my-vg/da-ta /data; mount /dev/my-vg/thin /thin; mount /dev/my-vg/xdata /xdata"
CHANGES = (
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

    def command(self, *words: str, volumes: str = VOLUMES, ends_with: int = 0) -> Any:
        """Run Rollpoint as an admin does, who has configured these volumes, and return its document."""
        self.machine.put("/run/config.yaml", f"""store: /srv/store
lvm: {{volumes: [{volumes}]}}
retention: {{min_keep: 1, min_age: 0, max_age: 1, max_store_ratio: null}}
""".encode())
        done = self.machine.run(["python3", steps.PROGRAM, "--config", "/run/config.yaml", "--json", *words],
                                check=False, timeout=900)
        assert done.rc == ends_with, f"{words} ended with {done.rc}: {(done.out + done.err)[-4000:].decode()}"
        return json.loads(done.out)

    def live(self, place: str) -> str:
        """Return the record of a mounted volume."""
        return self.machine.sh(f"sh /run/record /{place}")

    def points(self, volumes: str = VOLUMES) -> dict[str, Any]:
        """Return the points by their comments, those without by their ids."""
        listed = self.verb("list", volumes=volumes)
        assert isinstance(listed, list), listed
        return {p["comment"] or p["id"]: p for p in listed}

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
