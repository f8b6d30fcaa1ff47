"""What an admin said yes to, in few bytes: it goes to the process that carries a rollback out, which plans again.

Between the look and the act the system lives on. A path that was to be deleted or replaced may have changed once more,
and what it holds now is lost as its content then would have been: that was confirmed. What nobody was shown is a path
that is to be deleted or replaced now and was not then. One such path stops the rollback, unless it lies where running
systems write all the time: below a directory called log, logs, journal, cache, .cache or tmp, or in the state of
systemd and of the clients of DHCP and NTP (`_RESTLESS`). Created paths and attributes lose nothing. Boot sectors have
to be exactly those that were shown (rollback.same_boot).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from engine.entries import Change, Status
from engine.errors import RefusedError
from engine.results import RollbackPlan
from engine.text import shown_path

_WRITTEN = frozenset({b"log", b"logs", b"journal", b"cache", b".cache", b"tmp"})
_RESTLESS = (b"var/lib/systemd", b"var/lib/dhcp", b"var/lib/dhclient", b"var/lib/NetworkManager", b"var/lib/chrony",
             b"var/lib/ntp", b"var/lib/ntpsec")
_MARK = 8       # bytes of hash a path: two of a million paths are alike with a chance of 1 in 37 million
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What was shown: the point, the scope, boot sectors in words, and a hash for each path that would be lost."""

    point: str
    scope: tuple[str, ...]
    boot: tuple[str, ...]
    lost: frozenset[bytes]

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"point": self.point, "scope": list(self.scope), "boot": list(self.boot),
                "lost": base64.b85encode(b"".join(sorted(self.lost))).decode("ascii")}


def seal(plan: RollbackPlan) -> Confirmed:
    """Return what a plan that was confirmed has shown."""
    return Confirmed(plan.point.id, plan.scope, plan.boot, frozenset(_mark(c.path) for c in plan.diff.changes
                                                                     if _loses(c)))


def read(document: dict[str, Any]) -> Confirmed:
    """Return what `Confirmed.document` gave. Raises ValueError, KeyError for anything else."""
    marks = base64.b85decode(document["lost"])
    return Confirmed(str(document["point"]), tuple(document["scope"]), tuple(document["boot"]),
                     frozenset(marks[at:at + _MARK] for at in range(0, len(marks), _MARK)))


def unseen(confirmed: Confirmed, plan: RollbackPlan) -> Iterator[bytes]:
    """Yield the paths that the plan would delete or replace although nobody was shown that, without those of which
    the directory is named already and those where running systems write all the time."""
    named: set[bytes] = set()
    for change in plan.diff.changes:
        if not _loses(change) or _mark(change.path) in confirmed.lost:
            continue
        parent = change.path.rpartition(b"/")[0]
        if parent in named:
            named.add(change.path)
        elif not _restless(change.path):
            named.add(change.path)
            yield change.path


def check(confirmed: Confirmed, plan: RollbackPlan, *, paths: bool = True) -> None:
    """Raise RefusedError when a plan that was made anew would do what nobody has confirmed. Without `paths` only point,
    scope and boot sectors have to be the same: who orders a rollback for the next boot knows that the system goes on
    until then, shuts down and starts, and is told so."""
    grown = list(unseen(confirmed, plan)) if paths else []
    same = (plan.point.id, plan.scope, plan.boot) == (confirmed.point, confirmed.scope, confirmed.boot)
    if same and not grown:
        return
    what = "the boot sectors differ" if not grown else ", ".join(shown_path(p) for p in grown[:_NAMED])
    if len(grown) > _NAMED:
        what += f" and {len(grown) - _NAMED:,} more"
    raise RefusedError("the system is not as it was when you confirmed, and nothing was changed: "
                       + (f"{what} would be lost too" if grown else what), hint="look at the plan again")


def _loses(change: Change) -> bool:
    return change.status in (Status.DELETED, Status.CHANGED, Status.TYPE)


def _restless(path: bytes) -> bool:
    return not _WRITTEN.isdisjoint(path.split(b"/")[:-1]) or any(path.startswith(p + b"/") for p in _RESTLESS)


def _mark(path: bytes) -> bytes:
    return hashlib.blake2b(path, digest_size=_MARK).digest()
