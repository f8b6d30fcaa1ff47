"""A rollback ordered for the next boot: systemd finds it there, does it before anything else, and boots again."""

from __future__ import annotations

import contextlib
import json

import pytest

from tests.lab import steps
from tests.lab.conftest import Lab
from tests.lab.layouts import boot
from tests.lab.machine import NoBoot

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.lab_more, pytest.mark.xdist_group("bios-mbr")]

# The store's disk is mounted at every boot from now on, as the order needs it. Then an upgrade that replaced what
# everything runs on, and what came and went with it.
_CHANGED = """
echo 'LABEL=store /backup ext4 defaults,nofail 0 2' >>/etc/fstab
for f in /usr/lib/x86_64-linux-gnu/libc.so.6 /usr/bin/rsync /usr/lib/systemd/systemd /usr/bin/mount; do
    cp -p $f /run/new; echo >>/run/new; mv /run/new $f
done
rm -r /usr/share/doc /etc/motd; mkdir /etc/later; echo later >/etc/later/file; chmod 600 /etc/hosts
sync
"""


def test_it_is_done_at_the_next_boot_and_told_at_the_one_after(lab: Lab) -> None:
    case = lab("bios-mbr")
    sectors, table = steps.boot_sectors(case.system), case.system.table()
    with boot(case.system, case.store) as machine:
        steps.come_up(machine)
        machine.put(steps.PROGRAM, steps.program())
        machine.sh(_CHANGED)
        done = steps.rollpoint(machine, "rollback", "latest", "--at-next-boot", "--yes")
        print((done.out + done.err).decode("utf-8", "backslashreplace"))
        with contextlib.suppress(NoBoot):       # the answer may come too late
            machine.run(["systemctl", "--no-block", "reboot"])
        machine.wait_off()
    with boot(case.system, case.store) as machine:
        machine.wait_off(1800)      # nobody says anything to it: it rolls itself back, and restarts
        console = machine.console()
        print(console)
    assert "rollpoint: rolled back to point 1" in console
    steps.must_be_back(case, table, sectors)
    with boot(case.system, case.store) as machine:
        steps.come_up(machine)
        machine.put(steps.PROGRAM, steps.program())
        assert "system-update" not in machine.sh("systemctl get-default; ls -A / /etc/systemd/system")
        told = json.loads(steps.rollpoint(machine, "--json", "rollback", "--attach").out)
        assert told["result"]["verified"] and told["result"]["safety_point"]["number"] == 2
        failed = machine.sh("systemctl --failed --plain --no-legend")
        assert not failed, failed
        machine.power_off()
