"""Which programs and loop devices of this machine hold files open: what no listing of domains says (a qemu that was
started by hand, a disk that somebody looks into by losetup)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping

from engine.text import printable

Inode = tuple[int, int]


def holders(files: Mapping[Inode, str]) -> list[str]:
    """Return a sentence for each holder of one of the files (device and inode, and what it is called). Without root
    only our own programs are seen."""
    found = dict.fromkeys(_loops(files))
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        for name in _open_in(pid, files):
            found[f"{name} is open in {_program(pid)} (pid {pid})"] = None
    return list(found)


def _open_in(pid: str, files: Mapping[Inode, str]) -> set[str]:
    names = set()
    with contextlib.suppress(OSError):      # it has ended, or is not ours to look into
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                info = os.stat(f"/proc/{pid}/fd/{fd}")
                names.add(files.get((info.st_dev, info.st_ino), ""))
    return names - {""}


def _program(pid: str) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", "rb") as file:
        return printable(file.read(64).strip())
    return "a program"


def _loops(files: Mapping[Inode, str]) -> list[str]:
    """The loop devices whose backing files are among these."""
    found = []
    for device in filter(lambda name: name.startswith("loop"), os.listdir("/sys/block")):
        with contextlib.suppress(OSError), open(f"/sys/block/{device}/loop/backing_file", "rb") as file:
            info = os.stat(file.read().rstrip(b"\n"))
            name = files.get((info.st_dev, info.st_ino), "")
            found += [f"{name} is attached to /dev/{device}"] if name else []
    return found
