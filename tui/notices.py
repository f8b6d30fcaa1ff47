"""What must not be overlooked about the store, as lines for the banner under the header."""

from __future__ import annotations

from collections.abc import Sequence

from engine.backends import Trouble
from engine.results import StoreStatus
from tui.storagewords import trouble_line
from tui.text import Line, Segment, content


def banner_rows(status: StoreStatus) -> list[Line]:
    """Return what must not be overlooked: unfinished work, work of others, a store that cannot be written."""
    rows: list[Line] = []
    if status.rollback and not status.holder:
        rows.append(_notice("INTERRUPTED", "bad", status.rollback, ("  Press R to go on or undo.", "strong")))
    elif status.rollback:
        rows.append(_notice("UNDER WAY", "warn", "a rollback; it goes on without this screen",
                            ("  Press R to look.", "strong")))
    elif status.ordered:
        rows.append(_notice("NEXT BOOT", "warn", status.ordered, ("  Press R to take it back.", "strong")))
    if status.unfinished and not status.holder:
        rows.append(_notice("UNFINISHED", "warn", status.unfinished, ("  Press R to repair.", "strong")))
    if status.holder:
        rows.append(_notice("BUSY", "warn", status.holder, ("  Looking works meanwhile.", "dim")))
    if status.read_only:
        rows.append(_notice("READ-ONLY", "warn", "the store can be looked at; no point can be taken or removed"))
    return rows


def storage_rows(troubles: Sequence[Trouble], silent: Sequence[Trouble], pending: Sequence[str]) -> list[Line]:
    """Return which kinds of points are not shown, and why; which do not say how full they are; what the storage has
    begun and not finished."""
    rows = [_notice("NOT SHOWN", "bad", trouble_line(trouble)) for trouble in troubles]
    rows += [_notice("NOT KNOWN", "warn", "how full it is: " + trouble_line(one, "asked")) for one in silent]
    return [*rows, *(_notice("PENDING", "warn", text) for text in pending)]


def _notice(label: str, look: str, *parts: str | Segment) -> Line:
    return content((f"{label}  ", look), *parts)
