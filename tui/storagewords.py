"""Points that the storage keeps, in words: what they are of, whose they are, how full what they live in is. The same
words for the list, the status line and `doctor`. Pure, and without any part of the user interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from engine.dispatch import REPLICA
from engine.points import RestorePoint
from engine.text import message, printable

if TYPE_CHECKING:
    from engine.backend import Level
    from engine.backends import Trouble
    from engine.results import StoreStatus
    from tui.engine_api import EngineLike

Levels: TypeAlias = "tuple[list[Level], list[str], list[Trouble]]"
"""What `Engine.levels` answers: how full, what is pending, who cannot say."""
WHOSE = {"": "", "unknown": "not ours"}


def kept(engine: EngineLike, status: StoreStatus) -> list[RestorePoint]:
    """Return the points of the store, none where there is no store: that is nothing wrong, unless it may be on a disk
    that is not mounted. Raises what the engine does."""
    return engine.points() if status.exists or status.unmounted else []


def of_storage(point: RestorePoint) -> bool:
    """Whether the storage keeps a point, and not the store."""
    return point.backend != REPLICA


def volumes(point: RestorePoint) -> str:
    """Return what a point is of, for people: the volumes of one that the storage keeps, else ``replica``."""
    names = [message(part.volume) for part in point.parts]
    more = f" and {len(names) - 2} more" if len(names) > 2 else ""
    return f"{printable(point.backend)}: {', '.join(names[:2])}{more}" if names else printable(point.backend)


def short_volumes(point: RestorePoint) -> str:
    """Return the same for a narrow column: ``tank/home +2``."""
    more = f" +{len(point.parts) - 1}" if len(point.parts) > 1 else ""
    return message(point.parts[0].volume) + more if point.parts else ""


def snapshot_name(point: RestorePoint) -> str:
    """Return what the first snapshot of a point is called, without the volume: ``autosnap_2024-11-20_daily``."""
    if not point.parts:
        return ""
    name = point.parts[0].snapshot
    return message(name.partition("@")[2] if point.backend == "zfs" and "@" in name else name)


def whose(point: RestorePoint) -> str:
    """Return the program that took a point, "" for ours."""
    return WHOSE.get(point.owner, message(point.owner))


def by(point: RestorePoint) -> str:
    """Return who took a point: ``by sanoid``, ``not ours``, "" for us."""
    return f"by {whose(point)}" if point.owner not in WHOSE else whose(point)


def level_line(level: Level) -> str:
    """Return how full something is, as a sentence."""
    return f"{level.backend}: {level.text}"


def level_hint(level: Level) -> str:
    """Return what to do about it, "" where nothing need be done."""
    return "" if level.state == "ok" else "remove snapshots, or make room"


def trouble_line(trouble: Trouble, verb: str = "listed") -> str:
    """Return which backend cannot be `listed` or `asked`, and why."""
    hint = f" ({message(trouble.hint)})" if trouble.hint else ""
    return f"{printable(trouble.backend)} cannot be {verb}: {message(trouble.reason)}{hint}"


def level_groups(levels: Sequence[Level], pending: Sequence[str]) -> list[list[tuple[str, str]]]:
    """Return for a status line, as groups of text and look: what is nearly full or full, how much is pending, and,
    where nothing is near it, the fullest."""
    groups = [[(f"{level.name} {level.percent:.0f}%" + " FULL" * (level.state == "full"),
                "bad" if level.state == "full" else "warn")] for level in levels if level.state != "ok"]
    if pending:
        groups.append([(f"{len(pending)} pending", "warn")])
    if levels and not groups:
        fullest = max(levels, key=lambda level: level.percent)
        groups.append([(f"{fullest.name} ", "dim"), (f"{fullest.percent:.0f}%", "")])
    return groups
