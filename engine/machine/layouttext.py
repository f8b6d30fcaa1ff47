"""Texts about disks, made comparable: lsblk's JSON as a small tree, a dump of sfdisk under the disk's name of today."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from engine.errors import DamageError
from engine.text import human_size, message

_WORDS = (("fstype", ""), ("label", "label "), ("uuid", "UUID "), ("partuuid", "PARTUUID "), ("model", "model "),
          ("serial", "serial "), ("wwn", "WWN "))
_LEFT_OUT = ("loop", "rom")     # of images and drives without a medium: they come and go
_DEPTH = 16


def device_tree(data: bytes) -> str:
    """Return what `lsblk -J -b -O` said as one line a device: name, type, size, file system, where it is mounted; what
    changes by itself (free room, queues) is left out. Sizes are exact bytes with those for people beside them.

    Raises DamageError when it is none of lsblk's.
    """
    try:
        devices = json.loads(data)["blockdevices"]
        return "".join(f"{line}\n" for device in devices for line in _lines(device, 0))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamageError(f"this is no list of devices as lsblk makes it: {message(str(error))}",
                          hint="read it as it is") from error


def _lines(device: dict[str, Any], depth: int) -> Iterator[str]:
    kind, size = str(device.get("type") or "?"), int(device.get("size") or 0)
    if kind in _LEFT_OUT or (kind == "disk" and not size) or depth > _DEPTH:
        return
    words = [str(device.get("name") or "?"), kind, f"{size} ({human_size(size)})"]
    words += [before + str(device[key]).strip() for key, before in _WORDS if device.get(key)]
    mounts = [str(m) for m in device.get("mountpoints") or [device.get("mountpoint")] if m]
    words += ["on " + ", ".join(sorted(mounts))] if mounts else []
    yield "  " * depth + "  ".join(message(word) for word in words)
    for child in device.get("children") or ():
        yield from _lines(child, depth + 1)


def renamed_dump(data: bytes, then: bytes, now: bytes) -> bytes:
    """Return a dump of `sfdisk -d` with the disk's path `then` replaced by `now`, partitions included (a path that ends
    in a digit has a ``p`` before the number): names in /dev change between two starts, and are no difference."""
    between = b"p" if now[-1:].isdigit() else b""
    data = re.sub(rb"^device: " + re.escape(then) + rb"$", lambda _: b"device: " + now, data, flags=re.MULTILINE)
    return re.sub(rb"^" + re.escape(then) + rb"p?(\d+) :", lambda m: now + between + m[1] + b" :", data,
                  flags=re.MULTILINE)
