"""A rescue system for the tests of its screen: two disks, two stores, two systems; `text` wherever a string can be."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from engine.events import Job
from engine.machine.filesystems import FileSystem, Recorded
from engine.rescue.survey import FoundPoint, FoundStore, FoundSystem, Survey, Unreadable
from tests.tui.fake_engine import NOW

GIB = 1 << 30
ROOT = FileSystem("/dev/sda2", "ext4", "aaaa-1111", "root", size=20 * GIB, disk="/dev/sda", model="QEMU", serial="S1")
BOOT = FileSystem("/dev/sda1", "ext4", "bbbb-2222", "boot", size=GIB, disk="/dev/sda", model="QEMU", serial="S1")
DATA = FileSystem("/dev/sdb1", "ext4", "cccc-3333", "store", size=99 * GIB, disk="/dev/sdb", model="USB", serial="S2")
OTHER = FileSystem("/dev/sdc1", "ext4", "dddd-4444", "root", size=20 * GIB, disk="/dev/sdc", model="NEW", serial="S3")
SOURCES = (Recorded(b"", "ext4", "aaaa-1111", "/dev/vda2", "root", 19 * GIB),
           Recorded(b"boot", "ext4", "bbbb-2222", "/dev/vda1", "boot", GIB - 4096))


def found_point(number: int, sources: tuple[Recorded, ...] = SOURCES) -> FoundPoint:
    """A point of a store."""
    return FoundPoint(f"2024111{number}T030000Z", number, NOW - timedelta(hours=10 - number), "", sources)


def survey(text: str = "web01") -> Survey:
    """What is found: all that the newest point of the first store recorded is here."""
    data = replace(DATA, model=text)
    good = FoundStore(data, "stores/web01", "id1", text, "f00d", 1, 3, tuple(map(found_point, (3, 2, 1))))
    bad = FoundStore(data, "stores/old", "id2", "old", "dead", 99, 1, (), f"written by a newer Rollpoint {text}")
    systems = (FoundSystem(ROOT, "", "Debian GNU/Linux 12", text, "f00d", ("6.1.0-25", "6.1.0-26")),
               FoundSystem(OTHER, "", "Debian GNU/Linux 12", "other", "beef", (), False))
    return Survey((good, bad), systems, (Unreadable(FileSystem("/dev/sdd1"), f"no answer within 20 s {text}"),),
                  (BOOT, ROOT, data, OTHER), (f"/dev/sde is an encrypted volume: {text}",))


@dataclass
class FakeLook:
    """Looks at once, or waits while `hold` is not set; remembers what it was asked."""

    found: Survey = field(default_factory=survey)
    asked: list[tuple[tuple[str, ...], bool]] = field(default_factory=list)
    error: BaseException | None = None
    hold: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.hold.set()

    def __call__(self, job: Job, shares: Sequence[str], activate: bool) -> Survey:
        self.asked.append((tuple(shares), activate))
        job.progress("looking into the disks", 1, 4, current=b"dev/sda")
        while not self.hold.wait(0.01):
            job.check()
        if self.error is not None:
            raise self.error
        return self.found
