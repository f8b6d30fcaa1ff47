"""One directory of a point that has no catalog, beside the live one: what a snapshot of the storage can be asked.

The bars over all points, and what became of a name in which of them, are of the replica's catalog alone: here a listing
knows one point, and stepping to another one reads that one.
"""

from __future__ import annotations

from collections.abc import Sequence

from engine.entries import Entry, Life, Span
from engine.errors import RollpointError, UsageError
from engine.points import RestorePoint
from tui.engine_api import EngineLike
from tui.listing import Listing, Loaded, View, arrange

NO_BARS = "snapshots have no catalog, and no bars over all points"


def no_history(point: RestorePoint) -> str:
    """Return why there is no history of a path in points of this kind, and who has it."""
    return ("The history of a path is of the replica's catalog; of snapshots, "
            f"`rollpoint history PATH --backend {point.backend}` lists the versions.")


def siblings(points: Sequence[RestorePoint], point: RestorePoint) -> list[RestorePoint]:
    """Return the points of some volume that a point is of too, oldest first: those one can step to."""
    volumes = {part.volume for part in point.parts}
    return sorted((p for p in points if p.backend == point.backend and (
        p.id == point.id or volumes & {part.volume for part in p.parts})), key=lambda p: (p.created, p.id))


def start_of(point: RestorePoint) -> bytes:
    """Return the directory to begin in: the place of a point of one volume, the top of one of several."""
    places = [part.place for part in point.parts if part.place is not None]
    return places[0] if len(places) == 1 else b""


def load_plain(engine: EngineLike, point: RestorePoint, known: Sequence[RestorePoint], inside: bytes, view: View
               ) -> Loaded:
    """Ask the engine for a directory of a point (in a worker). `known` are the points one can step to, where they were
    asked for already. That the live side cannot be read is noted, not raised."""
    live: list[Entry] = []
    trouble = ""
    try:
        live = engine.live_listing(inside)
    except RollpointError as error:
        trouble = error.message
    try:
        there = engine.listdir(point, inside)
    except UsageError:
        if not live:
            raise
        there = []          # a directory that is only live
    lives = [Life(entry.name, (Span(point.number, None, entry),)) for entry in sorted(there, key=lambda e: e.name)]
    listing = Listing(inside, lives, live, (), trouble=trouble)
    points = list(known) or siblings(engine.listing(point.backend).points, point)
    return Loaded(points, listing, arrange(listing, view))
