"""Momentary snapshots: what a point is read from so that all of a volume is from one moment.

Volumes are handed to the makers of their kind of storage: btrfs, ZFS, LVM. All snapshots are planned first, then made
one right after another, before anything is read. Several volumes are thus as close together as the tools are quick, but
not of the very same instant (those of one ZFS pool are): freezing them all would stop the programs that are to make the
snapshots. They are removed in every case; what is left by a kill -9 is found by its name (engine.machine.momentparts)
when the next one is planned.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence

from engine.errors import RefusedError, RollpointError, ToolError
from engine.events import Job
from engine.machine.momentbtrfs import Btrfs
from engine.machine.momentlvm import Lvm
from engine.machine.momentparts import PREFIX, Bench, Maker, Piece, Volume
from engine.machine.momentzfs import Zfs
from engine.machine.mounts import Mount, Namespace, mount_of
from engine.text import message, printable

_MAKERS: tuple[Callable[[Bench], Maker], ...] = (Btrfs, Zfs, Lvm)
HOME = b".rollpoint"     # at the top of a btrfs: engine.volumes.btrfspoints
_HINT = ("put that right, or let the configuration demand it of other file systems alone, as in "
         "`consistent: {/: required}`")


def volume(root: bytes, place: bytes, table: Sequence[Mount]) -> Volume:
    """Return what lies at `place` below `root` (resolved, absolute)."""
    path = os.path.join(root, place) if place else root
    mount = mount_of(path, table)
    return Volume(place, mount, os.path.normpath(os.path.join(mount.root, os.path.relpath(path, mount.point))))


def leftovers(volumes: Sequence[Volume]) -> list[bytes]:
    """Return the patterns (root-relative, literal but for the last ``*``) of momentary snapshots that may be in sight
    below these volumes: where the top level of a btrfs is mounted."""
    return [os.path.join(v.place, PREFIX.encode()) for v in volumes
            if v.mount.fstype == b"btrfs" and v.within == b"/"]


def kept_points(volumes: Sequence[Volume]) -> list[bytes]:
    """Return the places (root-relative) at which our points on btrfs are in sight below these volumes: a point must
    not hold the others, nor a rollback remove them."""
    return [os.path.join(v.place, HOME) for v in volumes if v.mount.fstype == b"btrfs" and v.within == b"/"]


Shown = dict[bytes, Sequence[tuple[bytes, bytes]]]


class Moment:
    """The momentary snapshots that one view reads from."""

    def __init__(self, bench: Bench, view: bytes, job: Job) -> None:
        self._bench, self._view, self._job = bench, view, job
        self._pieces: list[Piece] = []

    @property
    def places(self) -> frozenset[bytes]:
        """The places whose files come from a momentary snapshot."""
        return frozenset(piece.volume.place for piece in self._pieces)

    def take(self, wanted: Mapping[Volume, bool], places: Sequence[bytes]) -> Shown:
        """Make snapshots of these volumes (the value: whether it has to be) and return what to bind for each place, as
        `Piece.show`; a place that is missing there is read as it is, and the admin has been told why. `places` are all
        that the view is composed of. Raises RefusedError where one has to be and cannot."""
        for piece in self._planned(wanted, places):
            self._job.progress("taking momentary snapshots", current=piece.volume.place)
            self._pieces.append(piece)          # before it is made: what is half made has to go too
            with self._optional(piece, wanted):
                piece.take()
        shown: Shown = {}
        for piece in tuple(self._pieces):
            with self._optional(piece, wanted):
                shown[piece.volume.place] = piece.show()
        return shown

    def _planned(self, wanted: Mapping[Volume, bool], places: Sequence[bytes]) -> list[Piece]:
        makers = [make(self._bench) for make in _MAKERS]
        pieces: list[Piece] = []
        left = list(wanted)
        refused: list[tuple[Volume, str]] = []
        for maker in makers:
            concerned = [v for v in left if maker.concerns(v)]
            left = [v for v in left if v not in concerned]
            if concerned:
                planned, cannot = maker.plan(concerned, places)
                pieces += planned
                refused += cannot
        refused += [(v, f"{printable(v.mount.fstype)} on {printable(v.mount.source)} is neither btrfs nor ZFS nor on a "
                        "logical volume") for v in left]
        for one, why in sorted(refused, key=lambda r: not wanted[r[0]]):
            self._without(one, why, demanded=wanted[one])
        return pieces

    @contextlib.contextmanager
    def _optional(self, piece: Piece, wanted: Mapping[Volume, bool]) -> Iterator[None]:
        """Go on without a piece that fails in the block, where that may be."""
        try:
            yield
        except (RollpointError, OSError) as error:
            self._remove(piece)
            self._pieces.remove(piece)
            self._without(piece.volume, str(error), demanded=wanted[piece.volume])

    def _without(self, one: Volume, why: str, *, demanded: bool) -> None:
        if demanded:
            raise RefusedError(message(f"no momentary snapshot of {one.shown} can be made, and the configuration "
                                       f"demands one: {why}"), hint=_HINT)
        self._job.warn(message(f"{one.shown} is read as it is, without a momentary snapshot: {why}"))

    def finish(self) -> None:
        """Remove the snapshots, after all was read. Raises RollpointError when what was read cannot be trusted."""
        faults = [f"{piece.volume.shown}: {why}" for piece in self._pieces if (why := piece.fault())]
        self.close()
        if faults:
            raise RollpointError(message(f"the momentary snapshot did not last until the end: {'; '.join(faults)}"),
                                 hint="take the point when less is written, give the volume group more free room, or "
                                      "set `consistent: off` for that file system")

    def close(self) -> None:
        """Remove the snapshots, if that has not been done. Never raises: what cannot be removed is a warning."""
        if not self._pieces:
            return
        with contextlib.suppress(ToolError):        # it may not be composed yet
            self._bench.space.run(["umount", "--recursive", self._view])
        while self._pieces:
            self._remove(self._pieces.pop())

    def _remove(self, piece: Piece) -> None:
        try:
            piece.remove()
        except (RollpointError, OSError) as error:
            self._job.warn(message(f"the momentary snapshot of {piece.volume.shown} could not be removed: "
                                   f"{error}; remove it by hand: {piece.by_hand}"))


def bench(space: Namespace, scratch: bytes, store: bytes, job: Job) -> Bench:
    """Return what makers work with; `store` is the path of the store."""
    return Bench(space, scratch, os.stat(store).st_dev, lambda text: job.warn(message(text)))
