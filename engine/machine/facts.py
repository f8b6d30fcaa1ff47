"""The facts of the machine a point keeps for reading and for a bare replacement: disks, volumes, buses, addresses.

Nothing here is ever needed to roll back, so nothing here can fail a point. No secrets: no keys, no key slots, no
passwords; of encrypted disks only that they are there and their headers' UUIDs. Network file systems are left out of
`df`, because a dead server would hold up the point.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from engine.errors import DamageError, RefusedError
from engine.machine.collect import Text, Wanted, collect, keep_text
from engine.text import printable

INDEX = b"index.json"
_FORMAT = 1
_LVM = ("--readonly", "--reportformat", "json", "--units", "b")
TOOLS = (
    Wanted("df.txt", ("df", "-PTl"), ok=(0, 1)),
    Wanted("mount.txt", ("mount",)),
    Wanted("fdisk.txt", ("fdisk", "-l"), ok=(0, 1)),
    Wanted("ip-address.txt", ("ip", "address")),
    Wanted("ip-route.txt", ("ip", "route")),
    Wanted("lspci.txt", ("lspci", "-vvv")),
    Wanted("multipath.txt", ("multipath", "-ll")),
    Wanted("dmidecode.txt", ("dmidecode",)),
    Wanted("pvs.json", ("pvs", *_LVM, "-o", "+pv_uuid,pv_used")),
    Wanted("vgs.json", ("vgs", *_LVM, "-o", "+vg_uuid,vg_extent_size")),
    Wanted("lvs.json", ("lvs", *_LVM, "-a", "-o", "+lv_uuid,segtype,devices,lv_time")),
    Wanted("mdadm.txt", ("mdadm", "--detail", "--scan")),
    # Status 2: there is none. These are the identifiers of the headers; a dump of a header would show its key slots.
    Wanted("luks.txt", ("blkid", "-t", "TYPE=crypto_LUKS", "-o", "export"), ok=(0, 2)),
    Wanted("dm.txt", ("dmsetup", "info", "-c", "--noheadings", "-o", "name,uuid,major,minor")),
    Wanted("zpool.txt", ("zpool", "status", "-P")),
    Wanted("btrfs.txt", ("btrfs", "filesystem", "show")),
)
_FILES = (("os-release.txt", (b"etc/os-release", b"usr/lib/os-release")), ("machine-id.txt", (b"etc/machine-id",)),
          ("hostname.txt", (b"etc/hostname",)))
_FILE_LIMIT = 64 << 10


@dataclass(frozen=True, slots=True)
class Facts:
    """What was written into a directory: one text for each fact, also for those that were not to be had."""

    texts: tuple[Text, ...]

    @property
    def kept(self) -> tuple[Text, ...]:
        """Those that are there."""
        return tuple(t for t in self.texts if t.sha256)


def save(directory: bytes, root: bytes = b"/", *, tools: Sequence[Wanted] = TOOLS, seconds: float = 30) -> Facts:
    """Write the facts of this machine, and of the system at `root`, into a new directory; at most `seconds` long.

    Raises OSError only when the directory cannot be written.
    """
    os.mkdir(directory, 0o700)
    texts = [keep_text("uname.txt", "uname -a", (" ".join(os.uname()) + "\n").encode(), directory)]
    for name, places in _FILES:
        data = next((d for place in places if (d := _read(os.path.join(root, place)))), b"")
        source = printable(places[0])
        texts.append(keep_text(name, source, data, directory) if data else Text(name, source, "there is none"))
    texts += collect(tools, directory, seconds=seconds)
    document = {"format": _FORMAT, "texts": [asdict(t) for t in texts]}
    with open(os.path.join(directory, INDEX), "w", encoding="utf-8", errors="backslashreplace") as file:
        json.dump(document, file, indent=1)
    return Facts(tuple(texts))


def _read(path: bytes) -> bytes:
    try:
        # Not even a file name that is a FIFO or leads to a device may hold up a point.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, _FILE_LIMIT)
    except OSError:
        return b""
    finally:
        os.close(fd)


def load(directory: bytes) -> Facts:
    """Return the index of saved facts. Raises RefusedError when there is none, DamageError when it is unreadable."""
    try:
        with open(os.path.join(directory, INDEX), "rb") as file:
            document = json.load(file)
    except FileNotFoundError:
        raise RefusedError(f"{printable(directory)} holds no facts of a machine", hint="choose another point") from None
    except (OSError, ValueError) as error:
        raise DamageError(f"the index of facts in {printable(directory)} cannot be read: {error}",
                          hint="the text files beside it can be read without it") from error
    try:
        return Facts(tuple(Text(**entry) for entry in document["texts"]))
    except (KeyError, TypeError) as error:
        raise DamageError(f"the index of facts in {printable(directory)} is not one",
                          hint="the text files beside it can be read without it") from error
