"""Restore points of every kind, in one list, behind one small protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from engine.errors import UsageError

LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Part:
    """One volume of a point that is made of the storage's own snapshots.

    `volume` and `snapshot` are the names their tool uses (``tank/home`` and ``tank/home@daily``, ``vg/root`` and
    ``vg/root-snap``). `place` is where the volume is mounted, relative to the root; None where it is not, or holds
    something else than files. `state` is ``ok``, ``damaged`` (an overflowed snapshot) or ``merging``. `own_bytes` is
    what the tool says that it takes by itself; `facts` is all that the tool says, for reading.
    """

    volume: str
    snapshot: str
    place: bytes | None = None
    state: str = "ok"
    own_bytes: int | None = None
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class RestorePoint:
    """One restore point as lists show it.

    `number` is what `list` prints: it belongs to the point for good and is never given to another one; 0 where there is
    none, and the id has to do (snapshots that the storage keeps). `created` is aware (UTC). `state` is ``ok``,
    ``damaged`` or ``merging`` (then `problems` says why). `own_bytes` is the room that deleting the point would free,
    None where nobody measured it. `newest` marks the point that is the plain tree. `owner` is the program that took it,
    "" for ours. `parts` are the volumes of a point that is made of snapshots of the storage: one or, taken together,
    several.
    `doc` is the whole point document: sources, counts, kernel, excludes, databases, changed, files, taken_by, ….
    """

    id: str
    backend: str
    number: int
    created: datetime
    comment: str = ""
    tags: tuple[str, ...] = ()
    pinned: bool = False
    state: str = "ok"
    own_bytes: int | None = None
    newest: bool = False
    problems: tuple[str, ...] = ()
    doc: dict[str, Any] = field(default_factory=dict, compare=False)
    owner: str = ""
    parts: tuple[Part, ...] = ()

    def age(self, now: datetime | None = None) -> float:
        """Return the age in seconds (negative when the clock went backwards)."""
        return ((now or datetime.now(UTC)) - self.created).total_seconds()


def resolve(points: Sequence[RestorePoint], spec: str) -> RestorePoint:
    """Return the point that `spec` names: an id, ``latest``, the number `list` shows, or a unique prefix of an id.

    Raises UsageError when there is none or more than one.
    """
    if not points:
        raise UsageError("there is no restore point yet", hint="take one with `rollpoint snapshot`")
    if spec == LATEST:
        return max(points, key=lambda p: (p.created, p.number))
    exact = [p for p in points if p.id == spec or (p.number and spec.isdecimal() and p.number == int(spec))]
    found = exact or [p for p in points if spec and p.id.startswith(spec)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UsageError(f"no restore point is called {spec!r}", hint="`rollpoint list` shows those there are")
    names = ", ".join(p.id for p in found[:4]) + (", …" if len(found) > 4 else "")
    raise UsageError(f"{spec!r} fits {len(found)} restore points: {names}", hint="type more of the id, or its number")
