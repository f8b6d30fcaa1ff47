"""Long work as a screen sees it: counters that the working thread bumps, and that the screen samples at 10 Hz."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from engine.events import Job, Progress

SAMPLE = 0.1
"""Seconds between two looks at the counters."""
_WINDOW = 5.0


class LongJob:
    """One piece of long work: its engine `job`, the last progress it reported, and the rate over some seconds.

    `see` is called by the working thread alone and only stores a reference; `sample` by the screen alone.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.job = Job(on_progress=self.see)
        self.latest: Progress | None = None
        self.started = clock()
        self.ended: float | None = None
        self._phase = ""
        self._marks: deque[tuple[float, int, int]] = deque()

    def see(self, progress: Progress) -> None:
        """Take a progress report (from the working thread)."""
        self.latest = progress

    def finish(self) -> None:
        """Note the end of the work."""
        self.ended = self._clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the start, up to the end once there is one."""
        return (self._clock() if self.ended is None else self.ended) - self.started

    def sample(self) -> Progress | None:
        """Return the last progress, and keep a mark of it for `rate`."""
        now, progress = self._clock(), self.latest
        if progress is None:
            return None
        if progress.phase != self._phase:
            self._phase = progress.phase
            self._marks.clear()
        self._marks.append((now, progress.done, progress.bytes_done))
        while len(self._marks) > 2 and now - self._marks[0][0] > _WINDOW:
            self._marks.popleft()
        return progress

    def rate(self) -> tuple[float, float]:
        """Return how many units of `done`, and how many bytes, a second were worked off lately."""
        if len(self._marks) < 2:
            return 0.0, 0.0
        first, last = self._marks[0], self._marks[-1]
        seconds = last[0] - first[0]
        if seconds < 0.5:
            return 0.0, 0.0
        return (last[1] - first[1]) / seconds, (last[2] - first[2]) / seconds

    def left(self) -> float | None:
        """Return an estimate of the seconds left in this phase, None where there is nothing to base it on."""
        progress, (rate, _) = self.latest, self.rate()
        if progress is None or not progress.total or rate <= 0 or self.elapsed < 2:
            return None
        return max(0.0, (progress.total - progress.done) / rate)
