"""Whether a VM runs: what `xl list` and `xm list` say, and Oracle VM's lock where a pool of servers shares it."""

from __future__ import annotations

from dataclasses import dataclass

RUNNING, STOPPED, UNKNOWN = "running", "stopped", "unknown"


@dataclass(frozen=True, slots=True)
class RunState:
    """`state` is ``running`` (its domain exists, paused and crashed ones included), ``stopped`` or ``unknown``, which
    is never to be taken for stopped; `why` says what it was told by."""

    state: str
    why: str

    @property
    def stopped(self) -> bool:
        """Whether it is known not to run."""
        return self.state == STOPPED
