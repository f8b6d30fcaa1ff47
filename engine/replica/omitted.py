"""File systems that points held and the next one would leave out in silence: the fstab that lists them was lost."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from engine.config import Config
from engine.machine import mounts
from engine.machine.filesystems import Recorded, described, recorded
from engine.text import printable, shown_path


def omitted(config: Config, last: Mapping[str, Any], taken: Collection[bytes]) -> list[Recorded]:
    """Return the file systems that the last point (its document) held, or missed in the same way, that are mounted now
    and are not among those that are `taken`: only where it is fstab that chooses (``auto``)."""
    if "auto" not in config.sources or b"" not in taken:
        return []
    root = os.path.realpath(os.fsencode(config.root))
    here = set(mounts.local_below(root))
    known = {one.place: one for key in ("omitted", "sources") for one in recorded(last.get(key))}
    return [one for place, one in sorted(known.items()) if place and place in here and place not in taken]


def warnings(config: Config, found: Collection[Recorded]) -> Iterator[str]:
    """Yield a sentence for each."""
    fstab = printable(os.path.join(os.path.realpath(os.fsencode(config.root)), b"etc/fstab"))
    for one in found:
        where = shown_path(one.place)
        yield (f"{where} is mounted, and points before held it, but {fstab} does not list it: it is left out of this "
               f"point; put its line back into fstab, or name it in the configuration (sources: [auto, {where}]), and "
               "take another")


def document(found: Collection[Recorded]) -> list[dict[str, Any]]:
    """Return what a point's document says of them."""
    return [described(one) for one in found]
