"""A small machine on one btrfs: the root and /home are subvolumes that fstab mounts by their names, with a third one
nested in the root."""

from __future__ import annotations

import os
from pathlib import Path

from engine.config import Config, Retention
from engine.configsections import Btrfs
from engine.events import Job
from engine.points import RestorePoint
from engine.results import SnapshotRequest
from engine.service import Engine
from engine.volumes.btrfs import BtrfsBackend
from tests.engine.loops import MACHINE_ID, Loops, run


class BtrfsMachine:
    """Mounted at `root`; `top` shows the whole file system; a store may be made beside it."""

    def __init__(self, made: Loops, place: Path) -> None:
        self.loops, self.place = made, place
        self.device = made.make("btrfs", mib=256)
        self.top = made.mount(self.device, place / "top", "-o", "subvolid=5")
        for name in ("@", "@home", "@/nested"):
            run("btrfs", "subvolume", "create", str(self.top / name))
        for name in ("home", "etc"):
            (self.top / "@" / name).mkdir()
        (self.top / "@/etc/fstab").write_text("x / btrfs rw,subvol=/@ 0 0\nx /home btrfs subvol=@home 0 0\n")
        (self.top / "@/etc/machine-id").write_text(MACHINE_ID)
        (self.top / "@/nested/kept").write_text("lies in the subvolume nested in the root")
        self.root = place / "root"
        self.mount()
        self.config = Config(
            store=str(place / "store"), root=str(self.root), excludes=(), retention=Retention(max_store_ratio=None),
            btrfs=Btrfs(subvolumes=(str(self.root), str(self.root / "home"))))

    def mount(self) -> None:
        """Mount root and home anew, as the next boot would."""
        self.loops.umount(self.root)
        self.loops.mount(self.device, self.root, "-o", "subvol=@")
        self.loops.mount(self.device, self.root / "home", "-o", "subvol=@home")

    def backend(self) -> BtrfsBackend:
        return BtrfsBackend(self.config)

    def engine(self) -> Engine:
        return Engine(self.config)

    def take(self, comment: str = "", *, pin: bool = False) -> RestorePoint:
        """Take a point of both subvolumes; nothing may be warned of."""
        job = Job()
        point = self.backend().take(SnapshotRequest(comment, pin=pin), job)
        assert job.warnings == []
        return point

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def at_the_top(self) -> list[str]:
        """Return the names at the top of the file system."""
        return sorted(os.listdir(self.top))

    def of_rollpoint(self) -> list[str]:
        """Return the names of points, and of what may be left of them."""
        home = self.top / ".rollpoint"
        return sorted(name for name in os.listdir(home) if name != "lock") if home.exists() else []
