"""What the app needs for a rescue before anybody asks for one: how disks are looked at, and how it goes on at its end.

Imported with the first screen, so that nothing of the rescue itself is imported here before it is used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.events import Job
    from engine.rescue.survey import Survey
    from tui.screens.rescue import Look


def disk_look(devices: Sequence[str] = (), also: Sequence[str] = (), paths: Sequence[str] = (), directory: str = ""
              ) -> Look:
    """Return what looks at all disks, or at `devices` alone; `also` are loop devices to look at as well, `paths` where
    on each file system a store may lie, `directory` one with a store that is mounted already ("" for none)."""
    def look(job: Job, shares: Sequence[str], activate: bool) -> Survey:
        from engine.rescue.finding import store_in, survey

        found = survey(job, devices=devices, also=also, shares=shares, paths=paths, activate=activate)
        here = store_in(directory) if directory else None
        return replace(found, stores=(here, *found.stores)) if here is not None else found

    return look


def go_on(words: Sequence[str], before: Sequence[str] = ()) -> int:
    """Run Rollpoint once more on this terminal, with the options `before` and `words`; returns its exit code."""
    from engine.rescue.itself import argv
    from engine.run import foreground

    return foreground([*argv("tui.cli"), *before, *words])
