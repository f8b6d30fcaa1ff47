"""The edge between bytes and what people see: the one place that makes strings from a disk printable.

A name on a Linux file system is any bytes but NUL and '/'. Inside, Rollpoint keeps bytes; on a screen, in a
message or in a JSON document such a name must neither move the cursor nor restyle the text nor be lost.
"""

from __future__ import annotations

import base64
import os
import unicodedata

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def printable(name: bytes | str) -> str:
    r"""Return `name` as text that is safe on any terminal.

    Bytes that are no UTF-8 become ``\xNN``; control, format (bidi, zero width), surrogate, private and unassigned
    characters, and spaces other than the plain one, become ``\xNN``, ``\uNNNN`` or ``\UNNNNNNNN``. A backslash is
    doubled, so that two different names never look the same.
    """
    text = name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return "".join(_visible(c) for c in text)


def message(text: str) -> str:
    """Return a sentence (which may hold names) as one printable line; unlike `printable`, backslashes stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c == "\\" else _visible(c) for c in text)


def _visible(char: str) -> str:
    if char == "\\":
        return "\\\\"
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    category = unicodedata.category(char)
    if char == " " or category[0] not in "CZ":
        return char
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def shown_path(path: bytes) -> str:
    """Return a path inside a point (relative, without a leading slash) as an absolute, printable one."""
    return "/" + printable(path)


def json_path(path: bytes) -> dict[str, str]:
    """Return the JSON form of a path in a point: `path` for people, and `path_b64` too where that is lossy."""
    shown = shown_path(path)
    out = {"path": shown}
    if shown.encode("utf-8", "replace") != b"/" + path:
        out["path_b64"] = base64.b64encode(path).decode()
    return out


def inner_path(text: str | bytes) -> bytes:
    """Return the point-relative bytes of a path an admin typed: ``/etc//x/`` and ``etc/x`` are ``b"etc/x"``.

    ``..`` is resolved lexically and never leaves the root of the point.
    """
    parts: list[bytes] = []
    for part in os.fsencode(text).split(b"/"):
        if part in (b"", b"."):
            continue
        if part == b"..":
            del parts[-1:]
        else:
            parts.append(part)
    return b"/".join(parts)


def plural(number: int, one: str, many: str = "") -> str:
    """Return ``1 point``, ``2 points``, ``1,024 entries``."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def human_size(count: int) -> str:
    """Return a number of bytes for people: ``0 B``, ``999 B``, ``1.5 KiB``, ``12 GiB`` (binary units)."""
    value = float(abs(count))
    for unit in _UNITS:
        if value < 999.5 or unit == _UNITS[-1]:
            break
        value /= 1024
    sign = "-" if count < 0 else ""
    digits = f"{value:.1f}" if unit != "B" and value < 9.95 else f"{value:.0f}"
    return f"{sign}{digits} {unit}"


def human_age(seconds: float) -> str:
    """Return an age the way ClusterMaker prints it: ``0 days, 0 hrs, 40 minutes ago``."""
    minutes = max(0, int(seconds)) // 60
    days, rest = divmod(minutes, 24 * 60)
    hours, minutes = divmod(rest, 60)
    return f"{days} days, {hours} hrs, {minutes} minutes ago"


def short_age(seconds: float) -> str:
    """Return an age for a narrow column: ``40 s``, ``12 min``, ``5 h``, ``3 d``, ``8 w``, ``2 y``."""
    left = max(0, int(seconds))
    for limit, size, unit in ((60, 1, "s"), (3600, 60, "min"), (2 * 86400, 3600, "h"), (14 * 86400, 86400, "d"),
                              (730 * 86400, 7 * 86400, "w")):
        if left < limit:
            return f"{left // size} {unit}"
    return f"{left // (365 * 86400)} y"
