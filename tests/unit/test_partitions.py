"""Partition tables made of anything: the reader never raises, and what a checksum covers is never misread."""

from __future__ import annotations

import binascii
import struct
import tempfile
import uuid

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.machine.bootcode import area, core_of, hex_view, loader
from engine.machine.partitions import Table, read_table

SECTORS = 200
TYPE, DISK = uuid.UUID(int=0x0FC63DAF84834772_8E793D69D8477DE4), uuid.UUID(int=77)


def read(data: bytes) -> Table:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return read_table(file.fileno(), len(data))


def gpt(parts: list[tuple[int, int]]) -> bytes:
    """Return a GPT disk of 200 sectors written by hand; `parts` are (first, last) sectors."""
    disk = bytearray(SECTORS * 512)
    disk[450], disk[510:512] = 0xEE, b"\x55\xaa"
    disk[454:462] = struct.pack("<II", 1, SECTORS - 1)
    entries = bytearray(128 * 128)
    for number, (first, last) in enumerate(parts):
        name = f"part {number}".encode("utf-16-le")
        entry = TYPE.bytes_le + uuid.UUID(int=number + 1).bytes_le + struct.pack("<QQQ", first, last, 0) + name
        entries[number * 128 : number * 128 + len(entry)] = entry
    for here, other, at in ((1, SECTORS - 1, 2), (SECTORS - 1, 1, SECTORS - 33)):
        header = struct.pack("<8s4sIIIQQQQ16sQIII", b"EFI PART", b"\0\0\1\0", 92, 0, 0, here, other, 34, SECTORS - 34,
                             DISK.bytes_le, at, 128, 128, binascii.crc32(entries))  # fmt: skip
        header = header[:16] + struct.pack("<I", binascii.crc32(header)) + header[20:]
        disk[here * 512 : here * 512 + 92] = header
        disk[at * 512 : at * 512 + len(entries)] = entries
    return bytes(disk)


GOOD = gpt([(40, 59), (60, 99)])


@given(st.lists(st.tuples(st.integers(34, 100), st.integers(0, 60)), max_size=20))
@settings(max_examples=50)
def test_what_was_written_is_read(parts: list[tuple[int, int]]) -> None:
    found = read(gpt([(start, start + extra) for start, extra in parts]))
    assert [(p.start, p.size) for p in found.partitions] == [(s * 512, (e + 1) * 512) for s, e in parts]
    assert found.kind == "gpt" and found.id == str(DISK) and found.problems == ()
    assert (found.first, found.last) == (34 * 512, (SECTORS - 33) * 512)


@given(st.integers(512, 34 * 512 - 1), st.integers(1, 255))
def test_one_wrong_byte_in_the_primary_never_changes_the_answer(at: int, flip: int) -> None:
    damaged = bytearray(GOOD)
    damaged[at] ^= flip
    found, good = read(bytes(damaged)), read(GOOD)
    assert (found.partitions, found.id, found.first, found.last) == (good.partitions, good.id, good.first, good.last)
    assert found.whole
    covered = at < 512 + 92 or at >= 1024
    assert bool(found.problems) == covered, "bytes after the header belong to nobody"


@given(st.binary(max_size=4096), st.booleans(), st.sampled_from([b"", b"EFI PART"]))
def test_nothing_makes_it_raise(data: bytes, signed: bool, magic: bytes) -> None:
    disk = bytearray(data.ljust(1024, b"\0"))
    if signed:
        disk[510:512] = b"\x55\xaa"
    disk[512 : 512 + len(magic)] = magic
    found = read(bytes(disk))
    gap = found.gap
    assert gap is None or gap[0] < gap[1]


@given(st.lists(st.tuples(st.sampled_from([0, 5, 0x0F, 0x83, 0xEE]), st.integers(0, 9), st.integers(0, 9)), min_size=4,
                max_size=4))  # fmt: skip
def test_any_chain_of_extended_records_ends(entries: list[tuple[int, int, int]]) -> None:
    sector = bytearray(512)
    for at, (kind, start, count) in zip(range(446, 510, 16), entries, strict=True):
        sector[at + 4] = kind
        sector[at + 8 : at + 16] = struct.pack("<II", start, count)
    sector[510:512] = b"\x55\xaa"
    assert len(read(bytes(sector) * 10).partitions) < 1100


@given(st.binary(min_size=512, max_size=512))
def test_boot_code_of_any_kind_has_a_name(sector: bytes) -> None:
    assert loader(sector) and area(sector)
    core_of(b"\xeb\x63" + sector[2:300] + b"GRUB \0Geom" + sector[310:], lambda at, n: b"")


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_the_hex_view_shows_something_exactly_where_they_differ(one: bytes, other: bytes) -> None:
    view = hex_view(one, other, rows=2)
    assert bool(view) == (one != other) and len(view) <= 3
