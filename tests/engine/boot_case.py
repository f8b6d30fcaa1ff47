"""A disk whose boot pieces were saved, and what becomes of every byte of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from engine.machine import bootimages, bootrestore
from engine.machine.bootimages import BootRecord
from engine.machine.bootrestore import BootPlan
from engine.machine.disks import Disk, read_disk
from tests.engine.boot_images import MIB, noise, ranges_that_differ

CODE, GAP_MBR, GAP_GPT, BIOS = (0, 440), (512, MIB), (34 * 512, MIB), (MIB, 2 * MIB)


class Case:
    """A disk, a record of it in `saved`, and copies of what it was: `then` when recorded, `now` before applying."""

    def __init__(self, place: Path, make: Callable[[Path], Path]) -> None:
        self.place, self.disk, self.saved, self.keep = place, make(place / "disk"), place / "boot", place / "keep"
        self.then = self.disk.read_bytes()
        bootimages.save([self.read()], os.fsencode(self.saved), texts=False)
        self.now = self.then

    def read(self) -> Disk:
        return read_disk(os.fsencode(self.disk))

    def record(self) -> BootRecord:
        return bootimages.load(os.fsencode(self.saved))

    def ruin(self, *ranges: tuple[int, int]) -> None:
        """Overwrite ranges, and remember the disk as it is now."""
        noise(self.disk, list(ranges), seed=2)
        self.now = self.disk.read_bytes()

    def plan(self, **options: Mapping[str, bytes] | Collection[bytes]) -> BootPlan:
        return bootrestore.plan(self.record(), [self.read()], **options)  # type: ignore[arg-type]

    def apply(self) -> tuple[str, ...]:
        return bootrestore.apply(self.plan(), os.fsencode(self.keep))

    def undo(self) -> None:
        bootrestore.apply(bootrestore.undo(os.fsencode(self.keep), [self.read()]), None)

    def must_be(self, *restored: tuple[int, int]) -> None:
        """Assert that these ranges are as recorded and every other byte is as it was before applying."""
        wanted = bytearray(self.now)
        for start, end in restored:
            wanted[start:end] = self.then[start:end]
        assert ranges_that_differ(bytes(wanted), self.disk.read_bytes()) == []

    def refusal(self, what: str) -> str:
        pieces = [p for d in self.plan().disks for p in d.pieces]
        return next(p.refused for p in pieces if p.what == what)
