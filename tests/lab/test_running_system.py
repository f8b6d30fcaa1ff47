"""A bad upgrade, rolled back on the running system itself, which is then restarted."""

from __future__ import annotations

import os

import pytest

from tests.lab import steps
from tests.lab.conftest import Lab
from tests.lab.layouts import boot

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.lab_more, pytest.mark.xdist_group("bios-gpt")]

# An upgrade of kernel, boot loader menu and init that stopped half way: what is new is cut off, what was there is gone.
_UPGRADE = """
old=$(uname -r)
head -c 3000000 /boot/vmlinuz-$old >/boot/vmlinuz-9.9.9-new
rm /boot/vmlinuz-$old /boot/initrd.img-$old
sed -i "s/$old/9.9.9-new/g" /boot/grub/grub.cfg
mv /usr/lib/modules/$old /usr/lib/modules/9.9.9-new
rm -r /usr/lib/modules/9.9.9-new/kernel/fs
cp -p /usr/lib/x86_64-linux-gnu/libzstd.so.1 /run/lib; echo >>/run/lib
rm /usr/lib/x86_64-linux-gnu/libzstd.so.1; cp /run/lib /usr/lib/x86_64-linux-gnu/libzstd.so.1
rm /usr/lib/systemd/systemd-udevd /usr/sbin/init
mkdir -p /var/lib/dpkg/updates; echo half >/var/lib/dpkg/updates/0001
sed -i 's/^Status: install ok installed/Status: install ok half-configured/' /var/lib/dpkg/status
chmod 600 /etc/passwd; ln -f /etc/hosts /etc/hosts.dpkg-new
for n in $(seq 300); do echo new >/usr/share/rubbish-$n; done
sync
"""


def test_a_bad_upgrade_is_rolled_back_on_the_running_system(lab: Lab) -> None:
    """It would not boot; rolled back in place, with root /, it does after a restart, and is what it was."""
    case = lab("bios-gpt")
    sectors, table = steps.boot_sectors(case.system), case.system.table()
    os.mkdir(f"{case.place}/broken")
    with boot(case.system, case.store) as machine:
        steps.come_up(machine)
        machine.put(steps.PROGRAM, steps.program())
        machine.sh(_UPGRADE)
        broken = case.system.copied(f"{case.place}/broken")
        done = steps.rollpoint(machine, "rollback", "latest", "--yes")
        print((done.out + done.err).decode("utf-8", "backslashreplace"))
        machine.restart()
    print(f"the upgrade would not have booted: {steps.must_not_boot(broken)}")
    steps.must_be_back(case, table, sectors)
    steps.must_boot(case.system)
