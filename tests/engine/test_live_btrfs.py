"""Rolling back the running system to a snapshot of its own root, a btrfs: its C library, Python and every tool change
while it works. btrfs-progs is not installed in it: listing and opening need the kernel alone."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.config import Config
from engine.configsections import Btrfs
from engine.events import Job
from engine.rescue import kit
from engine.results import SnapshotRequest
from engine.volumes.btrfs import BtrfsBackend
from tests.engine.debian import live_system
from tests.engine.live_system import Live, change
from tests.engine.loops import loops, run
from tests.oracle import must_equal

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.fixture
def system(place: str) -> Iterator[Live]:
    with loops(Path(place)) as made:
        device = made.make("btrfs", mib=3000)
        top = made.mount(device, Path(place) / "top", "-o", "subvolid=5")
        run("btrfs", "subvolume", "create", str(top / "@"))
        root = made.mount(device, Path(place) / "system", "-o", "subvol=@")
        live_system(str(root))
        live = Live(str(root))
        for name, text in (("etc/machine-id", "1f" * 16 + "\n"), ("etc/motd", "before\n"),
                           ("etc/fstab", f"{device} / btrfs subvol=@ 0 1\n")):
            Path(live.path(name)).write_text(text)
        os.makedirs(live.path("var/lib/rollpoint"))
        os.makedirs(live.path("srv/data"))
        Path(live.path("run/rollpoint.pyz")).write_bytes(kit.make().files[kit.PROGRAM])
        yield live


def _upgrade(live: Live) -> None:
    """Put another version in the place of the C library, Python and every tool, as an upgrade does: one byte longer."""
    libraries = glob.glob(live.path("lib/*-linux-gnu/ld-linux-*")) + glob.glob(live.path("lib/*-linux-gnu/libc.so.*"))
    assert len(libraries) >= 2
    tools = [live.path("usr/bin", name) for name in ("rsync", "mount", "umount", "nsenter", "unshare", "cat")]
    for path in {os.path.realpath(p) for p in [*libraries, *tools, live.path("usr/bin/python3.11")]}:
        with open(path, "rb") as old, open(path + ".new", "wb") as new:
            new.write(old.read() + b"\n")
        os.chmod(path + ".new", os.stat(path).st_mode)
        os.rename(path + ".new", path)


def test_the_running_system_goes_back_to_a_snapshot_of_its_root(system: Live) -> None:
    assert not os.path.exists(system.path("usr/bin/btrfs")) and not os.path.exists(system.path("bin/btrfs"))
    before = system.record()
    config = Config(root=system.root, btrfs=Btrfs(subvolumes=(system.root,)))
    point = BtrfsBackend(config).take(SnapshotRequest("good"), Job())
    change(system)
    _upgrade(system)
    listed = system.json("list")
    assert [p["id"] for p in listed["points"]] == [point.id], listed
    answer = system.json("rollback", point.id, "--yes")
    assert answer["result"]["verified"] and answer["plan"]["root"] == "/"
    # Without btrfs-progs no snapshot of the present state can be taken: that is said, and the replica keeps it.
    assert answer["result"]["safety_point"]["backend"] == "replica", answer["warnings"]
    assert answer["result"]["point"]["backend"] == "btrfs"
    assert any("btrfs" in warning for warning in answer["warnings"])
    must_equal(before, system.record(), "rolled back while running from it")
