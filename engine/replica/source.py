"""The source view: exactly the file systems that were chosen, read-only, and nothing that is mounted over them.

As root it is composed in a private mount namespace (DESIGN: views), so that rsync cannot see /proc, network mounts or
a USB disk, and sees what lies hidden under mount points. Without root it is the plain directory.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from engine.config import Config
from engine.errors import RefusedError
from engine.machine import mounts
from engine.replica import rsync
from engine.replica.layout import Store
from engine.run import scratch
from engine.text import inner_path, printable, shown_path

_OWNERLESS = ("vfat", "msdos", "exfat")


@dataclass(frozen=True, slots=True)
class View:
    """A composed tree: `path` is where we find it, `inside` where a program run in `space` does; then the rsync
    options and filters it needs, and what it is made of."""

    space: mounts.Space
    path: bytes
    inside: bytes
    options: tuple[str, ...]
    sources: tuple[dict[str, Any], ...]
    filters: tuple[bytes, ...]

    def ownerless(self, path: bytes) -> bool:
        """Whether a path lies on a FAT: modes and owners there are made up from mount options (mount(8), umask=), so
        that they can neither be put back nor tell of a change."""
        holders = [(len(place), str(source["type"])) for source in self.sources
                   if not (place := inner_path(str(source["mount"]))) or (path + b"/").startswith(place + b"/")]
        return bool(holders) and max(holders)[1] in _OWNERLESS


def filters(config: Config, store: Store | None, root: bytes) -> tuple[bytes, ...]:
    """Return the exclusion patterns: the store itself, wherever it appears below the root, the databases, the
    configured patterns."""
    patterns = []
    if store is not None:
        patterns += [rsync.escape_pattern(p) for p in mounts.place_below(store.path, root)]
        real = os.path.realpath(root)
        if store.path.startswith(real.rstrip(b"/") + b"/"):
            patterns.append(rsync.escape_pattern(os.path.relpath(store.path, real)))
    patterns += [rsync.escape_pattern(os.fsencode(d).strip(b"/")) for d in config.databases]
    patterns += [os.fsencode(p) for p in config.excludes]
    return tuple(dict.fromkeys(patterns))


def chosen(config: Config, root: bytes) -> list[bytes]:
    """Return the root-relative mount points to take besides the root itself.

    ``auto``: local file systems that the tree's own fstab lists. Raises RefusedError for one that is not mounted.
    """
    if "auto" in config.sources:
        return mounts.local_below(root, mounts.fstab_points(root))
    wanted = [os.fsencode(s).strip(b"/") for s in config.sources]
    present = mounts.local_below(root)
    missing = [w for w in wanted if w and w not in present]
    if missing:
        raise RefusedError(f"{shown_path(missing[0])} is configured as a source but not mounted below "
                           f"{printable(root)}", hint="mount it, or take it out of `sources`")
    return [w for w in present if w in wanted]


@contextlib.contextmanager
def view(config: Config, store: Store, *, target_in: mounts.Space | None = None) -> Iterator[View]:
    """Compose the view of the configured root: read-only in a space of its own, or writable in the space given."""
    root = os.path.realpath(os.fsencode(config.root))
    patterns = filters(config, store, root)
    with contextlib.ExitStack() as stack:
        space = target_in or stack.enter_context(mounts.private_space())
        if not isinstance(space, mounts.Namespace):
            yield View(space, root, root, ("--one-file-system",), (_describe(root, b""),), patterns)
            return
        places = chosen(config, root)
        where = os.fsencode(stack.enter_context(scratch()))
        space.bind(root, where, read_only=target_in is None)
        for place in places:
            space.bind(os.path.join(root, place), os.path.join(where, place), read_only=target_in is None)
        sources = tuple(_describe(root, place) for place in (b"", *places))
        yield View(space, space.outside(where), where, (), sources, patterns)


def _describe(root: bytes, place: bytes) -> dict[str, Any]:
    path = os.path.join(root, place) if place else root
    mount = mounts.mount_of(os.path.realpath(path))
    room = os.statvfs(path)
    return {"mount": shown_path(place), "type": printable(mount.fstype), "device": printable(mount.source),
            "uuid": _uuid(mount.source), "size": room.f_blocks * room.f_frsize,
            "used": (room.f_blocks - room.f_bfree) * room.f_frsize}


def _uuid(device: bytes) -> str:
    with contextlib.suppress(OSError):
        wanted = os.path.realpath(device)
        for name in os.listdir(b"/dev/disk/by-uuid"):
            if os.path.realpath(b"/dev/disk/by-uuid/" + name) == wanted:
                return printable(name)
    return ""
