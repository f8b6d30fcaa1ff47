"""Programs as files (elf(5)): which loader starts one, which libraries it needs, and the same program with another
loader."""

from __future__ import annotations

import os
import re
import struct
from dataclasses import dataclass

from engine.errors import RollpointError
from engine.run import call
from engine.text import printable

_MAGIC = b"\x7fELF"
_PT_INTERP = 3
_NEEDED = re.compile(r"^\s*(\S+)(?: => (\S.*?))? \(0x[0-9a-f]+\)$")


class NoProgram(ValueError):
    """A file that is no ELF file, a script for example."""


@dataclass(frozen=True, slots=True)
class Interp:
    """Where in a file the name of its loader stands, how much room it has there (bytes, with the NUL), and the name."""

    offset: int
    room: int
    name: bytes


def interp(data: bytes) -> Interp | None:
    """Return what a program says of its loader; None for a static program or a library. Raises NoProgram."""
    if data[:4] != _MAGIC or len(data) < 64 or data[4] not in (1, 2) or data[5] not in (1, 2):
        raise NoProgram("no ELF file")
    wide, order = data[4] == 2, "<" if data[5] == 1 else ">"
    try:
        start = struct.unpack_from(order + ("Q" if wide else "I"), data, 0x20 if wide else 0x1C)[0]
        size, count = struct.unpack_from(order + "HH", data, 0x36 if wide else 0x2A)
        for number in range(count):
            header = struct.unpack_from(order + ("IIQQQQ" if wide else "IIIII"), data, start + number * size)
            if header[0] == _PT_INTERP:
                offset, room = (header[2], header[5]) if wide else (header[1], header[4])
                return Interp(offset, room, data[offset:offset + room].rstrip(b"\0"))
    except (struct.error, OverflowError) as error:
        raise NoProgram("a damaged ELF file") from error
    return None


def started_by(data: bytes, loader: bytes) -> bytes:
    """Return the same program, started by another loader. Raises RollpointError when its name is too long: it has to
    fit where the old one stands."""
    found = interp(data)
    if found is None:
        return data
    if len(loader) >= found.room:
        raise RollpointError(f"{printable(loader)} is too long a name for a loader: {found.room - 1} bytes fit")
    return data[:found.offset] + loader.ljust(found.room, b"\0") + data[found.offset + found.room:]


def needs(loader: str, path: str) -> dict[str, str]:
    """Return the libraries that the loader would load for a program or a library: name -> path, "" for a missing one.

    The loader itself is asked (ld.so(8), --list; musl's knows it too), since nobody else knows all of its rules. Raises
    ToolError for what it cannot load.
    """
    found = {}
    for line in call([loader, "--list", path]).decode("utf-8", "surrogateescape").splitlines():
        match = _NEEDED.match(line)
        name, _, other = line.strip().partition(" => ")
        if other == "not found":
            found[name] = ""
        elif match and match[2] and os.path.basename(match[1]) != os.path.basename(loader):
            found[match[1]] = match[2]
    return found
