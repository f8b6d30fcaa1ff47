"""Where one can go from the list of points: the screens that have a key of their own, in the order they are shown.

A place is one line in `PLACES` and one module with its screen. Keys, help and palette are made from here; the module
is imported when somebody goes there, so that a place more costs the first screen nothing.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from textual.screen import Screen

    from engine.points import RestorePoint

NOTHING, POINTS, POINT, MAYBE = "nothing", "points", "point", "maybe"
"""What must be there before one can go to a place: nothing, any point at all, a point under the cursor; `MAYBE`:
nothing, but it is told the point under the cursor where there is one."""


class Here(NamedTuple):
    """Where somebody stands: the point under the cursor, and how many points there are (None: not known here)."""

    point: RestorePoint | None = None
    points: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A screen to go to. `screen` is called with the point under the cursor where `needs` is `POINT` or
    `MAYBE`, else with nothing. `title` is a word or two for the line of keys, `text` says in the help what there is."""

    name: str
    key: str
    title: str
    text: str
    module: str
    screen: str
    needs: str = NOTHING
    weight: int = 5         # in the line of keys: the higher, the sooner it goes when there is no room

    @property
    def action(self) -> str:
        """The action of the app that goes there."""
        return f"app.place('{self.name}')"

    def why_not(self, here: Here) -> str:
        """Return why one cannot go there now, "" where one can."""
        if self.needs == POINT and here.point is None:
            return "There is no point under the cursor."
        if self.needs == POINTS and here.points == 0:
            return "There is no restore point yet."
        return ""

    def make(self, here: Here) -> Screen[Any]:
        """Return its screen; the module is imported now."""
        made = getattr(importlib.import_module(self.module), self.screen)
        screen: Screen[Any] = made(here.point) if self.needs in (POINT, MAYBE) else made()
        return screen


PLACES = (
    Place("browse", "b", "Browse", "browse: this point like a file manager, beside the live system",
          "tui.screens.browse", "BrowseScreen", POINT, 2),
    Place("find", "f", "Find", "find: a name in all points", "tui.screens.find", "FindScreen", POINTS, 4),
    Place("prune", "P", "Prune", "prune: try rules of retention, see what becomes of each point, then save or prune",
          "tui.screens.prune", "PruneScreen", POINTS, 5),
    Place("growth", "o", "Over time", "over time: what was taken and changed by point, day, week or month",
          "tui.screens.growth", "GrowthScreen", POINTS, 6),
    Place("boot", "B", "Boot", "boot and disks: how this machine starts; boot code, disk layout and facts of a point",
          "tui.screens.boot", "BootScreen", MAYBE, 6),
    Place("vms", "V", "VMs", "VMs: every VM and template of the repositories, what points hold of them, what is wrong",
          "tui.screens.vms", "VmsScreen", NOTHING, 6),
    Place("store", "S", "Store", "store and jobs: health, verify, repair, who did what and when",
          "tui.screens.store", "StoreScreen", NOTHING, 6),
    Place("rescue", "Z", "Rescue", "rescue: look for stores and systems on all disks of this machine",
          "tui.screens.rescue", "RescueScreen", NOTHING, 9),
    Place("settings", "c", "Settings", "settings: every value, and where it comes from",
          "tui.screens.settings", "SettingsScreen", NOTHING, 7),
)


def place(name: str) -> Place:
    """Return the place of a name."""
    return next(p for p in PLACES if p.name == name)
