"""Are kernel images and initramfs files whole? Told from their own structure, without unpacking more than needed.

Sources: Linux, Documentation/arch/x86/boot.rst (bzImage: the size and version in the header) and
Documentation/driver-api/early-userspace/buffer-format.rst (cpio archives and compressed ones in a row, zeroes between
them); RFC 8878 (zstd), RFC 1952 (gzip), the xz and LZ4 frame formats; PE/COFF as in the UEFI specification 2.10, 2.1.1.
"""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass

_CPIO = (b"070701", b"070702")
_ZSTD, _XZ, _GZIP, _LZ4 = b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"\x1f\x8b", b"\x02\x21\x4c\x18"
_OPAQUE = (b"BZh", b"\x89LZO", b"\x5d\x00\x00")     # bzip2, LZO, lzma: taken as they are
_SKIPPABLE = range(0x184D2A50, 0x184D2A60)
_MAX_MEMBERS = 500_000
_MAX_UNPACKED = 1 << 30
_CHUNK = 1 << 20
_HEADER = 0x268     # bytes of a bzImage that are looked at


class _Cut(Exception):
    """The file ends before what its own structure announces, or breaks off with something else."""


def kernel_fault(fd: int) -> str:
    """Return why an open kernel image cannot be one (``it is empty``, …), or ""."""
    size = os.fstat(fd).st_size
    head = os.pread(fd, 4096, 0)
    if not size:
        return "it is empty"
    if not any(head):
        return "it begins with zeroes"
    if head[0x202:0x206] == b"HdrS" and len(head) >= _HEADER:
        sectors = head[0x1F1] or 4
        needed = (sectors + 1) * 512 + struct.unpack_from("<I", head, 0x1F4)[0] * 16
        if size < needed:
            return f"it has {size} bytes and its header announces {needed}"
    return ""


def kernel_release(fd: int) -> str:
    """Return the release that a bzImage says it is (``6.1.0-18-amd64``), "" where it does not say."""
    head = os.pread(fd, _HEADER, 0)
    if head[0x202:0x206] != b"HdrS" or len(head) < _HEADER:
        return ""
    pointer = struct.unpack_from("<H", head, 0x20E)[0]
    text = os.pread(fd, 256, pointer + 0x200).split(b"\0", 1)[0] if pointer else b""
    return text.split(b" ", 1)[0].decode("ascii", "replace")


def efi_fault(fd: int) -> str:
    """Return why an open file cannot be an EFI program (PE/COFF), or ""."""
    size = os.fstat(fd).st_size
    head = os.pread(fd, 4096, 0)
    if not size:
        return "it is empty"
    at = struct.unpack_from("<I", head, 0x3C)[0] if len(head) >= 64 else 0
    if head[:2] != b"MZ" or head[at:at + 4] != b"PE\0\0" or len(head) < at + 24:
        return "it is no EFI program"
    count, optional = struct.unpack_from("<H", head, at + 6)[0], struct.unpack_from("<H", head, at + 20)[0]
    for number in range(min(count, 96)):
        entry = head[at + 24 + optional + 40 * number:][:40]
        if len(entry) == 40:
            raw, start = struct.unpack_from("<II", entry, 16)
            if raw and start + raw > size:
                return f"it has {size} bytes and its sections reach to {start + raw}"
    return ""


# --- initramfs -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Initramfs:
    """What an initramfs file is: `fault` says why it cannot be unpacked, "" if it can; without `init` it holds only
    microcode or other extras, and another file has to be loaded with it."""

    fault: str
    init: bool = False


def initramfs(fd: int) -> Initramfs:
    """Look at an open initramfs.

    Archives are walked, not unpacked (gzip, which has no lengths inside, is); that each byte is right is not checked.
    """
    size = os.fstat(fd).st_size
    if not size:
        return Initramfs("it is empty")
    position, parts, init = 0, 0, False
    try:
        while (position := _skip_zeroes(fd, position, size)) < size:
            magic = os.pread(fd, 6, position)
            if magic in _CPIO:
                position, found = _cpio(fd, position, size)
                init |= found
            else:
                position, init = _compressed(fd, magic, position, size), True
            parts += 1
    except _Cut as cut:
        return Initramfs(str(cut))
    except (struct.error, zlib.error) as error:
        return Initramfs(f"it is damaged ({error})")
    return Initramfs("" if parts else "it is all zeroes", init)


def _skip_zeroes(fd: int, position: int, size: int) -> int:
    while position < size:
        chunk = os.pread(fd, 65536, position)
        rest = chunk.lstrip(b"\0")
        position += len(chunk) - len(rest)
        if rest:
            return position
    return size


def _cpio(fd: int, position: int, size: int) -> tuple[int, bool]:
    """Walk a cpio archive ("newc"): returns where it ends, and whether there is an init in it."""
    init = False
    for _ in range(_MAX_MEMBERS):
        header = os.pread(fd, 110, position)
        if len(header) < 110 or header[:6] not in _CPIO:
            raise _Cut(f"its cpio archive breaks off at byte {position}")
        try:
            data, length = int(header[54:62], 16), int(header[94:102], 16)
        except ValueError:
            raise _Cut(f"its cpio archive is damaged at byte {position}") from None
        name = os.pread(fd, min(length, 4096), position + 110).rstrip(b"\0")
        position = _even(_even(position + 110 + length) + data)
        if name == b"TRAILER!!!":
            return min(position, size), init
        if position > size:
            raise _Cut("it ends in the middle of a file of its cpio archive")
        init |= name.lstrip(b"./") in (b"init", b"linuxrc", b"sbin/init")
    raise _Cut("its cpio archive has no end")


def _even(position: int) -> int:
    return (position + 3) & ~3


def _compressed(fd: int, magic: bytes, position: int, size: int) -> int:
    """Check a compressed archive and return where it ends."""
    if magic[:4] == _ZSTD or (len(magic) >= 4 and struct.unpack("<I", magic[:4])[0] in _SKIPPABLE):
        return _zstd(fd, position, size)
    if magic[:2] == _GZIP:
        return _gzip(fd, position, size)
    if magic[:4] == _LZ4:
        return _lz4(fd, position + 4, size)
    if magic == _XZ:
        if not os.pread(fd, 65536, max(position, size - 65536)).rstrip(b"\0").endswith(b"YZ"):
            raise _Cut("its xz archive has no end")
        return size
    if magic.startswith(_OPAQUE):
        return size
    raise _Cut(f"what begins at byte {position} is no archive of a kind that the kernel unpacks")


def _zstd(fd: int, position: int, size: int) -> int:
    """Walk one frame block by block (RFC 8878, 3.1)."""
    head = os.pread(fd, 8, position)
    if len(head) < 8:
        raise _Cut("it ends in the middle of its zstd archive")
    if head[:4] != _ZSTD:
        end = position + 8 + struct.unpack_from("<I", head, 4)[0]
        return _inside(end, size, "zstd")
    flags = head[4]
    single = flags >> 5 & 1
    content = {0: 1 if single else 0, 1: 2, 2: 4, 3: 8}[flags >> 6]
    position += 5 + (not single) + (0, 1, 2, 4)[flags & 3] + content
    last = False
    while not last:
        raw = os.pread(fd, 3, position)
        if len(raw) < 3:
            raise _Cut("it ends in the middle of its zstd archive")
        header = int.from_bytes(raw, "little")
        last, kind, length = bool(header & 1), header >> 1 & 3, header >> 3
        if kind == 3:
            raise _Cut(f"its zstd archive is damaged at byte {position}")
        position = _inside(position + 3 + (1 if kind == 1 else length), size, "zstd")
    return _inside(position + (4 if flags & 4 else 0), size, "zstd")


def _inside(position: int, size: int, what: str) -> int:
    if position > size:
        raise _Cut(f"it ends in the middle of its {what} archive")
    return position


def _lz4(fd: int, position: int, size: int) -> int:
    """Walk the legacy format, which has no end mark: lengths and blocks until the file ends or zeroes follow."""
    while position < size:
        raw = os.pread(fd, 4, position)
        length = int.from_bytes(raw, "little")
        if len(raw) < 4 or length == 0:
            return position
        if raw == _LZ4:
            position += 4
            continue
        position = _inside(position + 4 + length, size, "lz4")
    return position


def _gzip(fd: int, position: int, size: int) -> int:
    inflate, unpacked = zlib.decompressobj(31), 0
    while not inflate.eof:
        chunk = os.pread(fd, _CHUNK, position)
        if not chunk:
            raise _Cut("it ends in the middle of its gzip archive")
        position += len(chunk)
        unpacked += len(inflate.decompress(chunk, _MAX_UNPACKED))
        if unpacked > _MAX_UNPACKED:
            return size     # whoever packs that much into an initramfs knows why
    return position - len(inflate.unused_data)
