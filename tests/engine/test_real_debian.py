"""The real thing: packages are installed into a Debian tree and rolled back; dpkg and the record agree."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from engine.events import Job
from tests.conftest import cannot_run
from tests.engine.debian import PACKAGES, in_root, install, system
from tests.engine.fidelity import roll
from tests.engine.harness import Bench

pytestmark = [pytest.mark.root, pytest.mark.slow]


def _verify(root: str) -> str:
    return in_root(root, ["dpkg", "--verify"], check=False).stdout


def _installed(root: str) -> set[str]:
    out = in_root(root, ["dpkg-query", "-W", "-f", "${Package} ${Status}\\n"]).stdout
    return {line.split()[0] for line in out.splitlines() if line.endswith("install ok installed")}


def test_an_upgrade_of_a_debian_system_is_rolled_back(place: str) -> None:
    if not shutil.which("debootstrap"):
        cannot_run("the Debian test (debootstrap is not installed)")
    bench = Bench(place)
    system(bench.live)
    before = bench.take("fresh")
    packages, verified = _installed(bench.live), _verify(bench.live)
    install(bench.live)
    with open(os.path.join(bench.live, "etc/crontab"), "a", encoding="ascii") as file:
        file.write("# a local change\n")
    # Not every release has a program that comes with a capability.
    subprocess.run(["setcap", "cap_net_raw+ep", os.path.join(bench.live, "usr/bin/openssl")], check=True)
    after = bench.take("installed")
    new_packages, new_verified = _installed(bench.live), _verify(bench.live)
    assert set(PACKAGES) <= new_packages - packages and "/etc/crontab" in new_verified
    assert any(
        name == "security.capability" for f in bench.records[after.id].values() for name, _ in f.xattrs
    )
    in_root(bench.live, ["dpkg", "--purge", "cron"])
    in_root(bench.live, ["rm", "-rf", "/usr/share/perl5", "/var/lib/dpkg/info/dash.list"])

    roll(bench, before.id)
    assert _installed(bench.live) == packages and _verify(bench.live) == verified
    bench.check_live(before.id)
    roll(bench, after.id)
    assert _installed(bench.live) == new_packages and _verify(bench.live) == new_verified
    bench.check()
    assert bench.engine().verify(bench.engine().points(), Job(), data=True).damage == ()
