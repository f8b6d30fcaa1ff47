"""A store whose source has a boot disk: an image file with a real partition table, GRUB in its boot sectors."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from engine.events import Job
from engine.points import RestorePoint
from engine.results import Finding, RollbackPlan, RollbackResult, SnapshotRequest
from tests.boot_trees import debian
from tests.engine.boot_images import MIB, gpt, install_grub, mbr, noise, ranges_that_differ
from tests.engine.harness import Bench

CODE, GAP_MBR, GAP_GPT, BIOS = (0, 440), (512, MIB), (34 * 512, MIB), (MIB, 2 * MIB)


class BootBench(Bench):
    """`disk` is the image, `then` what it was when the point was taken, `now` what the test has made of it."""

    def __init__(self, place: Path, make: Callable[[Path], Path]) -> None:
        self.disk = make(place / "disk")
        super().__init__(str(place), disks=(str(self.disk),))
        shutil.rmtree(self.live)
        debian(Path(self.live))
        self.then = self.now = self.disk.read_bytes()

    def configure(self, **values: object) -> None:
        """Change what the configuration says of boot pieces."""
        self.boot = replace(self.boot, **values)  # type: ignore[arg-type]

    def point(self) -> RestorePoint:
        """Take a point; nothing may be wrong with it."""
        job = Job()
        point = self.engine().snapshot(SnapshotRequest(), job).point
        assert job.warnings == []
        return point

    def saved(self, point: RestorePoint, name: str = "") -> Path:
        """Return where a boot piece of a point lies."""
        return Path(self.store, "points", point.id, "boot", name)

    def ruin(self, *ranges: tuple[int, int]) -> None:
        """Overwrite ranges of the disk with noise, remove GRUB's own files, and remember it all."""
        noise(self.disk, list(ranges), seed=2)
        shutil.rmtree(os.path.join(self.live, "boot/grub"))
        self.now = self.disk.read_bytes()

    def plan(self, point: RestorePoint, *scope: str) -> RollbackPlan:
        return self.engine().plan(point, scope or ("system",), Job())

    def roll(self, point: RestorePoint, *scope: str, safety_point: bool = True, warned: str = "") -> RollbackResult:
        """Roll back; `warned` is a part of the one warning that there has to be."""
        job = Job()
        done = self.engine().rollback(self.plan(point, *scope), job, safety_point=safety_point)
        assert len(job.warnings) == bool(warned) and all(warned in text for text in job.warnings), job.warnings
        return done

    def must_be(self, *restored: tuple[int, int]) -> None:
        """Assert that these ranges of the disk are as they were taken, and every other byte as it was before."""
        wanted = bytearray(self.now)
        for start, end in restored:
            wanted[start:end] = self.then[start:end]
        assert ranges_that_differ(bytes(wanted), self.disk.read_bytes()) == []


def grub_mbr(path: Path) -> Path:
    """An MBR disk that boots by GRUB, with core.img in the gap."""
    mbr(path)
    install_grub(path, path.parent)
    return path


def grub_gpt(path: Path) -> Path:
    """A GPT disk that boots by GRUB, with core.img in its BIOS boot partition."""
    gpt(path)
    install_grub(path, path.parent, sector=2048)
    return path


def texts(findings: Sequence[Finding], level: str) -> list[str]:
    """Return what findings of a level say."""
    return [f.text for f in findings if f.level == level]



