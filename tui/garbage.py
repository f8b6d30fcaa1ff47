"""When Python looks for garbage in cycles: at moments chosen here, never in the middle of a key.

Left to itself the collector walks all objects of the program now and then, and with a directory of 100,000 names on the
screen that takes longer than a frame (measured: up to 0.3 s). Nearly everything here is freed without it, by counting
references; what is not are screens that were closed, and the framework's messages. See the manual of the module gc.
"""

from __future__ import annotations

import gc

SECONDS = 2.0
"""How often `Garbage.tidy` is to be called."""
_FEW, _MANY = 5_000, 200_000


def off() -> None:
    """Switch automatic collections off: starting makes much, and nothing that could be let go."""
    gc.disable()


class Garbage:
    """Collects on request: a little often, everything after a screen was closed."""

    def __init__(self) -> None:
        self._screens = 0

    def started(self) -> None:
        """What is there now stays to the end: no collection looks at it again."""
        gc.disable()
        gc.freeze()

    def tidy(self, screens: int) -> None:
        """Collect what is young, or everything when fewer screens are open than the last time. What was loaded in one
        go and is too much to be looked at within a frame is left alone until its screen is closed."""
        closed, self._screens = screens < self._screens, screens
        if closed:
            gc.unfreeze()
            gc.collect()
            gc.freeze()
        elif gc.get_count()[0] > _MANY:
            gc.freeze()
        elif gc.get_count()[0] > _FEW:
            gc.collect(1)
