"""Who uses a ZFS volume now: what is mounted from it, and the programs that have it open (a VM's disk)."""

from __future__ import annotations

import contextlib
import glob
import os
import stat
from collections.abc import Sequence

from engine.machine.mounts import Mount, mounts
from engine.text import printable

_NODES = "/dev/zvol"


def users(volume: str) -> list[str]:
    """Return who uses a volume, in words: mount points, swap, programs with their process ids; none when its device
    has no node here."""
    numbers = _numbers(volume)
    table = mounts()
    found = [f"mounted at {printable(m.point)}" for m in table if _number_of(m) in numbers]
    found += ["in use as swap"] * _is_swap(numbers)
    return found + [f"open in {name} (process {pid})" for pid, name in _programs(numbers)]


def _numbers(volume: str) -> set[int]:
    """Return the device numbers of a volume and of its partitions."""
    found = set()
    node = f"{_NODES}/{volume}"
    for path in (node, *glob.glob(f"{glob.escape(node)}-part*")):
        with contextlib.suppress(OSError):
            info = os.stat(path)
            if stat.S_ISBLK(info.st_mode):
                found.add(info.st_rdev)
    return found


def _number_of(mount: Mount) -> int:
    major, _, minor = mount.device.partition(b":")
    return os.makedev(int(major), int(minor))


def _is_swap(numbers: set[int]) -> bool:
    with contextlib.suppress(OSError), open("/proc/swaps", encoding="utf-8", errors="surrogateescape") as file:
        for line in file.read().splitlines()[1:]:
            with contextlib.suppress(OSError, IndexError):
                if os.stat(line.split()[0]).st_rdev in numbers:
                    return True
    return False


def _programs(numbers: set[int]) -> Sequence[tuple[int, str]]:
    found = []
    for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdecimal()) if numbers else ():
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                info = os.stat(f"/proc/{pid}/fd/{name}")
                if stat.S_ISBLK(info.st_mode) and info.st_rdev in numbers:
                    with open(f"/proc/{pid}/comm", "rb") as file:
                        found.append((pid, printable(file.read().strip())))
                    break
    return found
