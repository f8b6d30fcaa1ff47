"""`python -m tests.bench.vms`: what a server of 300 VMs and 1,000 disks costs to scan, to keep and to look back at.

Median of five runs each, the files in the page cache, on the file system that TMPDIR is on. `stat calls` is what the
same number of lstat of the same paths takes by itself, for comparison.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from engine.backends import Listing
from engine.config import Config
from engine.events import Job
from engine.points import Part, RestorePoint
from engine.replica.layout import create_store
from engine.results import SnapshotRequest
from engine.service import Engine
from engine.vms.findings import check
from engine.vms.inventory import scan
from tests.vm_trees import config, image

MACHINES, DISKS, POINTS, SNAPSHOTS = 300, 1000, 30, 200


class Server(Engine):
    """A server whose storage has snapshots of what the disks lie on; listing them costs nothing here."""

    def storage_points(self) -> Listing:
        kept = super().storage_points()
        made = [RestorePoint(f"lvm:vg/{number}", "lvm", 0, datetime(2026, 1, 1, number % 24, number // 24, tzinfo=UTC),
                             parts=(Part("vg/ovs", f"vg/{number}", b"OVS"), Part("vg/raw", f"vg/raw{number}")))
                for number in range(SNAPSHOTS)]
        return Listing((*kept.points, *made), kept.troubles)


def populate(tree: Path) -> None:
    """Make the repository: disks are spread over the VMs, each sparse."""
    for number in range(MACHINES):
        own = [image(tree, f"{disk:04}.img", size=10 << 30) for disk in range(number, DISKS, MACHINES)]
        config(tree, number + 1, disk=[f"file:{path},xvd{'abcd'[at]},w" for at, path in enumerate(own)])


def median(work: Callable[[], object], times: int = 5) -> float:
    """Return the seconds that a piece of work takes."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="rollpoint-bench-") as place:
        root, store = Path(place, "root"), Path(place, "store")
        root.mkdir()
        populate(root)
        create_store(os.fsencode(store), os.fsencode(root), "md5")
        engine, server = (kind(Config(store=str(store), root=str(root))) for kind in (Engine, Server))
        paths = [os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names]
        inventory = scan(str(root), ("auto",), Job())
        rows = [("stat calls", median(lambda: [os.lstat(path) for path in paths])),
                ("scan", median(lambda: scan(str(root), ("auto",), Job()))),
                ("findings", median(lambda: check(inventory)))]
        began = time.perf_counter()
        engine.vm_take(SnapshotRequest(), Job())
        rows.append(("first inventory point", time.perf_counter() - began))
        rows.append(("another one", median(lambda: engine.vm_take(SnapshotRequest(), Job()), POINTS - 1)))
        points = engine.vm_points()
        rows += [("list of 30 points", median(engine.vm_points)),
                 ("one point read", median(lambda: engine.vm_inventory(points[0]))),
                 ("history of one VM over 30 points", median(lambda: engine.vm_history("vm7"))),
                 ("held, by 30 points", median(lambda: engine.vms_held(inventory))),
                 ("held, and by 200 snapshots", median(lambda: server.vms_held(inventory)))]
        for what, seconds in rows:
            print(f"{what:<36}{seconds * 1000:10.1f} ms")
        print(f"{'one more point takes':<36}{points[0].own_bytes or 0:10,} bytes")


if __name__ == "__main__":
    main()
