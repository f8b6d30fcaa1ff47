"""Long work as a screen sees it: counters that the working thread bumps, and that the screen samples at 10 Hz."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from engine.events import Job, Progress

SAMPLE = 0.1
"""Seconds between two looks at the counters."""
_SMOOTH = 3.0
"""Seconds over which rates are smoothed: an older look counts for a third after that, for a tenth after twice that."""
_SOON = 0.5
"""Seconds of a phase after which its rate means something."""


class Rate:
    """How fast a counter grows, smoothed. A counter that goes back begins anew; a clock that stands still or goes
    back is no time that has passed."""

    def __init__(self) -> None:
        self._at: tuple[float, int] | None = None
        self._smooth = self._watched = 0.0

    def see(self, now: float, value: int) -> None:
        """Take a look at the counter."""
        if self._at is None or value < self._at[1] or now < self._at[0]:
            self._at, self._smooth, self._watched = (now, value), 0.0, 0.0
            return
        seconds = now - self._at[0]
        if seconds > 0:
            keep = math.exp(-seconds / _SMOOTH)
            self._smooth = self._smooth * keep + (value - self._at[1]) / seconds * (1 - keep)
            self._watched += seconds
            self._at = (now, value)

    @property
    def per_second(self) -> float:
        """Units a second; 0 as long as too little was seen."""
        if self._watched < _SOON:
            return 0.0
        return self._smooth / (1 - math.exp(-self._watched / _SMOOTH))  # the first seconds weigh as much as later ones


class LongJob:
    """One piece of long work: its engine `job`, the last progress it reported, and how fast it goes.

    `see` is called by the working thread alone and only stores a reference; `sample` by the screen alone. `usual` is
    how many seconds such work took before, None where nobody knows.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, usual: float | None = None) -> None:
        self._clock = clock
        self.job = Job(on_progress=self.see)
        self.latest: Progress | None = None
        self.started = clock()
        self.ended: float | None = None
        self.usual = usual
        self._phase = ""
        self._units, self._bytes = Rate(), Rate()

    def see(self, progress: Progress) -> None:
        """Take a progress report (from the working thread)."""
        self.latest = progress

    def finish(self) -> None:
        """Note the end of the work."""
        self.ended = self._clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the start, up to the end once there is one."""
        return max(0.0, (self._clock() if self.ended is None else self.ended) - self.started)

    def sample(self) -> Progress | None:
        """Return the last progress, and take note of it for `rate`."""
        progress = self.latest
        if progress is None:
            return None
        if progress.phase != self._phase:
            self._phase = progress.phase
            self._units, self._bytes = Rate(), Rate()
        now = self._clock()
        self._units.see(now, progress.done)
        self._bytes.see(now, progress.bytes_done)
        return progress

    def rate(self) -> tuple[float, float]:
        """Return how many units of `done`, and how many bytes, a second are worked off."""
        return self._units.per_second, self._bytes.per_second

    def left(self) -> float | None:
        """Return an estimate of the seconds left in this phase, None where there is nothing to base it on."""
        progress, rate = self.latest, self._units.per_second
        if progress is None or not progress.total or rate <= 0 or self.elapsed < 2:
            return None
        return max(0.0, (progress.total - progress.done) / rate)
