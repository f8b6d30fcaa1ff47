"""The running system is rolled back although whoever asked for it is gone: another command shows how it ended."""

from __future__ import annotations

import contextlib
import json

import pytest

from tests.lab import steps
from tests.lab.conftest import Lab
from tests.lab.layouts import boot
from tests.lab.machine import NoBoot

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.lab_more, pytest.mark.xdist_group("bios-gpt")]

# Python, rsync and every library are other files since the point.
_REPLACED = """
for f in /usr/bin/python3.11 /usr/bin/rsync /usr/bin/zstd /usr/lib/x86_64-linux-gnu/*.so.* /usr/lib/python3.11/*.py; do
    [ -f "$f" ] && [ ! -L "$f" ] || continue
    cp -p "$f" /run/new; echo >>/run/new; mv /run/new "$f"
done
echo later >/etc/later; rm /etc/motd
sync
"""


def test_the_command_is_killed_and_the_rollback_comes_to_its_end(lab: Lab) -> None:
    case = lab("bios-gpt")
    sectors, table = steps.boot_sectors(case.system), case.system.table()
    with boot(case.system, case.store) as machine:
        steps.come_up(machine)
        machine.put(steps.PROGRAM, steps.program())
        machine.sh(_REPLACED)
        command = f"python3 {steps.PROGRAM} --store {steps.STORE} rollback latest --yes"
        machine.sh(f"""
            {command} >/run/said 2>&1 &
            until ls /run/rollpoint/*.log >/dev/null 2>&1; do kill -0 $!; sleep 0.2; done
            kill -9 $!
            """)
        told = steps.rollpoint(machine, "--json", "rollback", "--attach")
        result = json.loads(told.out)["result"]
        assert result["verified"] and result["safety_point"]["number"] == 2 and result["applied"] > 200
        assert machine.sh("ls -A /run/rp") == "" and "/run/rp" not in machine.sh("cat /proc/mounts")
        with contextlib.suppress(NoBoot):       # the answer may come too late
            machine.run(["systemctl", "--no-block", "reboot"])
        machine.wait_off()
    steps.must_be_back(case, table, sectors)
    steps.must_boot(case.system)
