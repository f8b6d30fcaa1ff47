"""What a content is, by its first bytes: for people who look at a file that is no text."""

from __future__ import annotations

_SIGNS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x7fELF", "ELF program or library"), (0, b"\x1f\x8b", "gzip"), (0, b"\x28\xb5\x2f\xfd", "Zstandard"),
    (0, b"\xfd7zXZ\x00", "xz"), (0, b"BZh", "bzip2"), (0, b"\x04\x22\x4d\x18", "LZ4"), (0, b"PK\x03\x04", "zip"),
    (0, b"7z\xbc\xaf\x27\x1c", "7-Zip"), (257, b"ustar", "tar"), (0, b"!<arch>\n", "ar (deb, static library)"),
    (0, b"\xed\xab\xee\xdb", "RPM package"), (0, b"070701", "cpio (initramfs)"), (0, b"070702", "cpio"),
    (0, b"hsqs", "squashfs"), (0, b"SQLite format 3\x00", "SQLite database"), (0, b"LPKSHHRH", "systemd journal"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG picture"), (0, b"\xff\xd8\xff", "JPEG picture"), (0, b"GIF8", "GIF picture"),
    (0, b"%PDF-", "PDF"), (0, b"QFI\xfb", "qcow2 disk image"), (0, b"KDMV", "VMDK disk image"),
    (0, b"\xde\x12\x04\x95", "gettext catalog"), (0, b"TZif", "time zone"), (0, b"RIFF", "RIFF (sound, video)"),
    (0, b"OggS", "Ogg"), (0, b"\x00asm", "WebAssembly"), (0, b"GDBM", "GDBM database"),
    (0, b"\xce\x9a\x57\x13", "GDBM database"), (0, b"\xcf\x9a\x57\x13", "GDBM database"),
    (0, b"\x30\x82", "DER (certificate, key)"), (0x202, b"HdrS", "Linux kernel image"),
    (510, b"\x55\xaa", "boot sector"), (0, b"MZ", "PE program (EFI, Windows)"))
_HEAD = 8192
_TEXT_CONTROLS = frozenset(b"\t\n\r\f\b\x1b")


def guess(data: bytes) -> str:
    """Return what the beginning of a content says it is: ``gzip``, ``text``, ``empty``, ``zeros``, ``data``."""
    if not data:
        return "empty"
    binary = is_binary(data)
    for offset, sign, name in _SIGNS:
        # A sign of letters alone may be the beginning of a text.
        if data.startswith(sign, offset) and (binary or not (sign.isascii() and sign.decode().isprintable())):
            return name
    if not data[:_HEAD].strip(b"\0"):
        return "zeros"
    return "data" if binary else "text"


def is_binary(data: bytes) -> bool:
    """Whether a content is better shown as bytes: a NUL near its beginning, or many control characters."""
    head = data[:_HEAD]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):     # UTF-16 has NULs, and is text
        return False
    if b"\0" in head:
        return True
    controls = sum(1 for byte in head if byte < 32 and byte not in _TEXT_CONTROLS)
    return controls * 10 > len(head) + 30      # a few of them in a short text make it no binary
