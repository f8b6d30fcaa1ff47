"""The source view: exactly the file systems that were chosen, read-only, and nothing that is mounted over them.

As root it is composed in a private mount namespace (DESIGN: views), so that rsync cannot see /proc, network mounts or
a USB disk, and sees what lies hidden under mount points. Without root it is the plain directory.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from engine.config import Config
from engine.errors import RefusedError
from engine.events import Job
from engine.machine import momentary, mounts
from engine.machine.filesystems import described, mounted_at
from engine.machine.momentary import Moment
from engine.machine.momentparts import Volume
from engine.replica import rsync
from engine.replica.layout import Store
from engine.run import scratch
from engine.text import inner_path, printable, shown_path

_OWNERLESS = ("vfat", "msdos", "exfat")


@dataclass(frozen=True, slots=True)
class View:
    """A composed tree: `path` is where we find it, `inside` where a program run in `space` does; then the rsync
    options and filters it needs, what it is made of, and the momentary snapshots behind it, if any."""

    space: mounts.Space
    path: bytes
    inside: bytes
    options: tuple[str, ...]
    sources: tuple[dict[str, Any], ...]
    filters: tuple[bytes, ...]
    moment: Moment | None = None

    def read(self) -> None:
        """Note that all has been read: momentary snapshots go, the files of the view with them. Raises RollpointError
        when what was read from them cannot be trusted."""
        if self.moment is not None:
            self.moment.finish()

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

    ``auto``: local file systems that the tree's own fstab lists. Raises RefusedError for one that is named and not
    mounted.
    """
    wanted = [os.fsencode(s).strip(b"/") for s in config.sources if s != "auto"]
    present = mounts.local_below(root)
    missing = [w for w in wanted if w and w not in present]
    if missing:
        raise RefusedError(f"{shown_path(missing[0])} is configured as a source but not mounted below "
                           f"{printable(root)}", hint="mount it, or take it out of `sources`")
    listed = mounts.fstab_points(root) if "auto" in config.sources else []
    return [p for p in present if p in wanted or p in listed]


@contextlib.contextmanager
def view(config: Config, store: Store | None, *, target_in: mounts.Space | None = None, job: Job | None = None
         ) -> Iterator[View]:
    """Compose the view of the configured root: read-only in a space of its own, or writable in the space given.

    With a `job` it is what a point is taken of: momentary snapshots stand for the file systems for which the
    configuration wants them. Raises RefusedError where it demands one and none can be made.
    """
    root = os.path.realpath(os.fsencode(config.root))
    patterns = filters(config, store, root)
    with contextlib.ExitStack() as stack:
        space = target_in or stack.enter_context(mounts.private_space())
        if not isinstance(space, mounts.Namespace):
            if job is not None:
                _without_root(config, job)
            yield View(space, root, root, ("--one-file-system",), _described(root, (b"",)), patterns)
            return
        places = chosen(config, root)
        where = os.fsencode(stack.enter_context(scratch()))
        table = mounts.mounts()
        volumes = [momentary.volume(root, place, table) for place in (b"", *places)]
        patterns += tuple(rsync.escape_pattern(p) + b"*" for p in momentary.leftovers(volumes))
        patterns += tuple(rsync.escape_pattern(p) for p in momentary.kept_points(volumes))
        wanted = _wanted(config, volumes, job) if job is not None else {}
        moment, shown = None, {}
        if job is not None and wanted and store is not None:
            bench = momentary.bench(space, os.fsencode(stack.enter_context(scratch())), store.path, job)
            moment = Moment(bench, where, job)
            stack.callback(moment.close)
            shown = moment.take(wanted, places)
        for volume in volumes:
            live = os.path.join(root, volume.place) if volume.place else root
            for place, source in shown.get(volume.place, [(volume.place, live)]):
                space.bind(source, os.path.join(where, place), read_only=target_in is None)
        sources = _described(root, (b"", *places), moment.places if moment is not None else ())
        yield View(space, space.outside(where), where, (), sources, patterns, moment)


def _wanted(config: Config, volumes: Sequence[Volume], job: Job) -> dict[Volume, bool]:
    """Return the volumes of which the configuration wants momentary snapshots, and whether it demands them. Raises
    RefusedError where it demands one of something that is not taken."""
    names = {os.fsdecode(b"/" + v.place): v for v in volumes}
    for name, way in config.consistent:
        if name not in names and name != "*":
            if way == "required":
                raise RefusedError(f"{printable(name)} has to be consistent, and is not among what is taken",
                                   hint="mount it, name it in `sources`, or take it out of `consistent`")
            job.warn(f"`consistent` names {printable(name)}, which is not among what is taken")
    ways = {v: config.consistency(name) for name, v in names.items()}
    return {v: way == "required" for v, way in ways.items() if way != "off"}


def _without_root(config: Config, job: Job) -> None:
    """Say that an ordinary user makes no momentary snapshots. Raises RefusedError where the configuration demands
    one."""
    ways = [way for _, way in config.consistent]
    if "required" in ways:
        raise RefusedError("the configuration demands momentary snapshots, and only root can make them",
                           hint="run as root, or take `consistent` out of the configuration")
    if ways:
        job.warn("the files are read as they are, without momentary snapshots: only root can make them")


def _described(root: bytes, places: Sequence[bytes], momentary_ones: Collection[bytes] = ()
               ) -> tuple[dict[str, Any], ...]:
    """Return what a point's document says of the file systems mounted at these places."""
    table = mounts.mounts()
    found = ((place, mounted_at(root, place, table)) for place in places)
    return tuple(described(one) | ({"momentary": True} if place in momentary_ones else {})
                 for place, one in found if one is not None)
