"""Momentary snapshots of ZFS file systems: those of one pool are made by one command, and so of the very same moment.

They are mounted in the private space; ``.zfs/snapshot`` is mounted by the kernel in the system's own namespace, and
cannot be entered from another one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence

from engine.errors import RollpointError, ToolError
from engine.machine.momentparts import PREFIX, Bench, Piece, Unable, Volume, finished, is_left_over, new_name
from engine.text import printable

_SECONDS = 300
_SNAPSHOT = re.compile(rf"[A-Za-z0-9_.:/ -]+@{PREFIX}[0-9-]+")


class Zfs:
    """The maker for ZFS."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def concerns(self, volume: Volume) -> bool:
        return volume.mount.fstype == b"zfs" and b"@" not in volume.mount.source

    def plan(self, volumes: Sequence[Volume], places: Sequence[bytes]) -> tuple[list[Piece], list[tuple[Volume, str]]]:
        names = {volume: volume.mount.source.decode("utf-8", "surrogateescape") for volume in volumes}
        try:
            self._sweep(sorted(set(names.values())))
        except RollpointError as error:
            return [], [(volume, error.message) for volume in volumes]
        groups: dict[str, _Group] = {}
        pieces: list[Piece] = []
        for volume, name in names.items():
            group = groups.setdefault(name.partition("/")[0], _Group(self._bench))
            pieces.append(_Snapshot(self._bench, volume, group, f"{name}@{new_name()}"))
        return pieces, []

    def _sweep(self, datasets: Sequence[str]) -> None:
        """Remove what killed processes left of these data sets. Raises ToolError."""
        asked = ["zfs", "list", "-H", "-t", "snapshot", "-d", "1", "-o", "name", *datasets]
        out = self._bench.space.run(asked, _SECONDS)
        for full in out.decode("utf-8", "surrogateescape").splitlines():
            if not is_left_over(full.partition("@")[2]):
                continue
            try:
                _destroy(self._bench, full)
                self._bench.warn(f"removed the momentary snapshot {full}, which an interrupted Rollpoint had left")
            except RollpointError as error:
                self._bench.warn(f"an interrupted Rollpoint left the momentary snapshot {full}, which cannot be "
                                 f"removed: {error.message}; remove it by hand: {_by_hand(full)}")


class _Group:
    """The snapshots of one pool: the first that is taken takes all of them, if the pool lets it."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._tried = False
        self.wanted: list[str] = []
        self.unclaimed: set[str] = set()        # made, and nobody has come for them yet

    def take(self, full: str) -> None:
        """Make a snapshot, unless an earlier one has brought it along. Raises ToolError."""
        if not self._tried:
            self._tried = True
            self.unclaimed = set(self.wanted)   # also when it fails, or is killed: who knows how far it came
            try:
                self._snapshot(self.wanted)
            except ToolError:
                if len(self.wanted) == 1:
                    raise
                self.unclaimed = set()          # one command makes all or none: now each by itself
        if full not in self.unclaimed:
            self._snapshot([full])
        self.unclaimed.discard(full)

    def _snapshot(self, names: Iterable[str]) -> None:
        self._bench.space.run(["zfs", "snapshot", *names], _SECONDS)


class _Snapshot:
    """The snapshot of one file system."""

    def __init__(self, bench: Bench, volume: Volume, group: _Group, full: str) -> None:
        self.volume, self._bench, self._group, self._full = volume, bench, group, full
        self._begun = False
        self._where = b""
        group.wanted.append(full)

    @property
    def by_hand(self) -> str:
        return _by_hand(self._full)

    def take(self) -> None:
        self._begun = True
        self._group.take(self._full)

    def show(self) -> Sequence[tuple[bytes, bytes]]:
        self._where = self._bench.directory()
        self._bench.space.run(["mount", "-t", "zfs", "-o", "ro", self._full, self._where])
        return [(self.volume.place, os.path.normpath(self._where + b"/" + self.volume.within))]

    def fault(self) -> str:
        return "" if self._there(self._full) else f"{printable(self._full)} was destroyed while it was read"

    def remove(self) -> None:
        finished(self._full.partition("@")[2])
        if self._where:
            self._bench.space.run(["umount", self._where], ok=(0, 1, 32))
            self._where = b""
        if self._begun and self._there(self._full):
            _destroy(self._bench, self._full)
        self._begun = False
        while self._group.unclaimed:            # of pieces that nobody took any more
            other = self._group.unclaimed.pop()
            finished(other.partition("@")[2])
            if self._there(other):
                _destroy(self._bench, other)

    def _there(self, full: str) -> bool:
        """Whether a snapshot exists. Raises ToolError when nobody can tell."""
        try:
            self._bench.space.run(["zfs", "list", "-H", "-t", "snapshot", "-o", "name", full], _SECONDS)
        except ToolError as error:
            if "does not exist" not in error.stderr:
                raise
            return False
        return True


def _by_hand(full: str) -> str:
    return f"zfs destroy '{full}'"


def _destroy(bench: Bench, full: str) -> None:
    """Destroy a momentary snapshot; never anything else, whatever went wrong before. Raises RollpointError."""
    if not _SNAPSHOT.fullmatch(full):
        raise Unable(f"{printable(full)} is no momentary snapshot")
    bench.space.run(["zfs", "destroy", full], _SECONDS)
