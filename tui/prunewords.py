"""What rules of retention would do, in words: for the store in one line, for each kind of points beside it in another.
Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.backend import Losses
from engine.backends import Trouble
from engine.results import Fate, StoreStatus
from tui.storagewords import trouble_line
from tui.text import Segment, safe, size


def totals(fates: Sequence[Fate], status: StoreStatus | None, *, saved: bool) -> list[Segment]:
    """Return what rules would do to the store in one line: points that stay and go, what is freed, the store after
    it."""
    going = [f.point for f in fates if not f.keep]
    parts: list[Segment] = [("SAVED RULES  " if saved else "NOT SAVED  ", "head" if saved else "warn")]
    if status is not None and not status.exists:
        return [*parts, ("there is no store", "dim")]
    parts += [(f"{len(fates) - len(going)} stay", "good"), (", ", ""),
              (f"{len(going)} go" if going else "none goes", "bad" if going else "dim")]
    known = sum(p.own_bytes for p in going if p.own_bytes is not None)
    if going:
        more = " or more" if any(p.own_bytes is None for p in going) else ""
        parts.append((f", about {size(known)}{more} freed", ""))
    if status is not None:
        after = max(0, status.store_bytes - known)
        parts.append((f"   store {size(status.store_bytes)}" + (f" -> {size(after)}" if going else ""), "dim"))
        if status.limit_bytes and after > status.limit_bytes:
            parts.append((f", OVER its limit of {size(status.limit_bytes)}", "bad"))
    return parts


def beside_line(fates: Sequence[Fate], losses: Mapping[str, Losses], troubles: Sequence[Trouble], why: str, *,
                asking: bool) -> list[Segment]:
    """Return the same for the points that the storage keeps, by kind; who cannot be asked; `why` nobody knows what
    removing them frees. `asking`: the fates are those of other rules, and are left out."""
    kinds = list(dict.fromkeys(f.point.backend for f in fates))
    if asking:
        return [("Asking the storage ...", "dim")]
    parts: list[Segment] = []
    for kind in sorted(kinds):
        members = [f for f in fates if f.point.backend == kind]
        going = sum(not f.keep for f in members)
        parts += [(f"{safe(kind)} ", "strong"), (f"{len(members) - going} stay", "good")]
        if going:
            parts += [(", ", ""), (f"{going} go{'es' * (going == 1)}", "bad"), *_freed(losses.get(kind))]
        parts.append(("   ", ""))
    if why:
        parts.append((f"what is freed cannot be said: {safe(why)}   ", "warn"))
    parts += [(f"{trouble_line(trouble)}   ", "warn") for trouble in troubles]
    return parts


def _freed(losses: Losses | None) -> list[Segment]:
    if losses is None:
        return []
    forbidden = sum(f.level == "blocker" for f in losses.findings)
    parts: list[Segment] = [] if losses.freed is None else [(f", frees {size(losses.freed)}", "")]
    return parts + ([(f", {forbidden} BLOCKED", "bad")] if forbidden else [])
