r"""The records that lead from the next newer state back to a point: one line per path that differs (`changes.zst`).

A line has 13 fields separated by tabs; bytes outside printable ASCII, the backslash, the percent sign and the
separators ``+ : @`` inside names are written as a backslash and three octal digits, so that `printf %b` or awk
undo them. Fields: kind (``-`` for a path the point does not have), mode (octal), uid, gid, mtime (ns), size,
rdev, link, checksum, data, path, target, xattrs (``name=hex,…``); an empty field is ``-``.

`data` says where a regular file's content comes from; it is a chain of steps joined by ``+``:

``.``            no content (not a regular file, or an empty one)
``=[:NAME]``     the content of this path (or of NAME) in the next newer state
``p3@512,70[:NAME]``  the member of pack 3 whose content is the 70 bytes from byte 512 of the unpacked archive
``d4@512,70[:NAME]``  apply the delta in that member of pack 4 to the content so far (delta.py)
``l:NAME``       this path is a hard link to NAME, in this same state
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from engine.entries import Entry, Kind
from engine.errors import DamageError

_PLAIN = re.compile(rb"[^!-$&-*,-9;-?A-\[\]-~]")
_OCTAL = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a data chain: `op` is ``=``, ``p``, ``d`` or ``l``; `name` "" stands for the record's own path."""

    op: str
    pack: int = 0
    offset: int = 0
    size: int = 0
    name: bytes = b""

    def __str__(self) -> str:
        place = f"{self.pack}@{self.offset},{self.size}" if self.op in "pd" else ""
        return self.op + place + (":" + escape(self.name) if self.name else "")


@dataclass(frozen=True, slots=True)
class Record:
    """One path of a difference: its old entry, or None when the point does not have it, and its data chain."""

    path: bytes
    entry: Entry | None
    data: str = "."


def escape(name: bytes) -> str:
    """Return bytes as the printable ASCII of the format."""
    return _PLAIN.sub(lambda m: b"\\%03o" % m[0][0], name).decode("ascii")


def unescape(text: str) -> bytes:
    """The reverse of `escape`."""
    return _OCTAL.sub(lambda m: bytes([int(m[1], 8)]), text.encode("ascii"))


def parse_data(data: str) -> list[Step]:
    """Return the steps of a data chain ([] for ``.``)."""
    if data == ".":
        return []
    steps = []
    for word in data.split("+"):
        head, _, name = word.partition(":")
        pack, _, place = head[1:].partition("@")
        offset, _, size = place.partition(",")
        steps.append(Step(head[0], int(pack or 0), int(offset or 0), int(size or 0), unescape(name)))
    return steps


def format_data(steps: Iterable[Step]) -> str:
    """The reverse of `parse_data`."""
    return "+".join(map(str, steps)) or "."


def encode(record: Record) -> bytes:
    """Return the line of a record, newline included."""
    e = record.entry
    if e is None:
        fields = ["-"] * 10 + [escape(record.path) or "-", "-", "-"]
    else:
        xattrs = ",".join(escape(n).replace(",", "\\054") + "=" + v.hex() for n, v in e.xattrs)
        fields = [e.kind.value, f"{e.mode:o}", str(e.uid), str(e.gid), str(e.mtime), str(e.size), str(e.rdev),
                  "-" if e.link is None else str(e.link), e.csum.decode("ascii") or "-", record.data,
                  escape(e.path) or "-", escape(e.target) or "-", xattrs or "-"]
        if e.path == b"-":
            fields[10] = "\\055"
    if record.path == b"-":
        fields[10] = "\\055"
    return "\t".join(fields).encode("ascii") + b"\n"


def decode(line: bytes) -> Record:
    """Return the record of a line. Raises DamageError when it is none."""
    try:
        f = line.decode("ascii").rstrip("\n").split("\t")
        path = b"" if f[10] == "-" else unescape(f[10])
        if f[0] == "-":
            return Record(path, None)
        xattrs = tuple(_xattr(item) for item in f[12].split(",")) if f[12] != "-" else ()
        entry = Entry(path, Kind(f[0]), int(f[1], 8), int(f[2]), int(f[3]), int(f[4]), int(f[5]), int(f[6]),
                      b"" if f[11] == "-" else unescape(f[11]), xattrs, None if f[7] == "-" else int(f[7]),
                      b"" if f[8] == "-" else f[8].encode())
        parse_data(f[9])
        return Record(path, entry, f[9])
    except (ValueError, IndexError) as error:
        raise DamageError(f"a record of changes.zst cannot be read: {error}") from None


def _xattr(item: str) -> tuple[bytes, bytes]:
    name, _, value = item.rpartition("=")
    return unescape(name), bytes.fromhex(value)


def decode_all(lines: Iterable[bytes]) -> Iterator[Record]:
    """Yield the records of the lines."""
    return (decode(line) for line in lines)
