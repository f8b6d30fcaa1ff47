"""``python -m tui.screenshots [DIR]``: pictures of the real app on the demo machine, as SVG and PNG.

The demo is made by the real engine at a fixed moment; host, paths and free room are shown as on a server, so that the
pictures come out the same on every machine. PNG needs cairosvg and the font DejaVu Sans Mono.
"""

from __future__ import annotations

import asyncio
import html
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Event
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len

from engine import demo, reboot, retention
from engine.config import Config, Retention
from engine.events import Job, Progress
from engine.points import RestorePoint
from engine.results import Fate, RollbackPlan, RollbackResult, StoreStatus
from engine.service import Engine
from tui.app import RollpointApp
from tui.jobs import SAMPLE
from tui.rollback_job import ThreadRunner
from tui.screens.run import RUN, RunScreen
from tui.theme import ANSI_DARK, DARK, LIGHT, Look

if TYPE_CHECKING:
    from textual.pilot import Pilot

NOW = datetime(2026, 3, 14, 3, 12, 40, tzinfo=UTC)
HOST, FREE, STORE = "web01", 14_300_000_000, "/var/lib/rollpoint/store"
FONT = "DejaVu Sans Mono"
SIZES = ((80, 24), (160, 45))
_BACK = (*["down"] * 5, "r")
SCENES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("points", ()), ("changes", (*["down"] * 2, "d", *["down"] * 3)),
    # At 160 columns the two texts are side by side, at 80 one below the other.
    ("filediff", (*["down"] * 2, "d", "slash", *"sshd_config", "enter", "down", "enter")),
    ("browse", (*["down"] * 4, "b", *["down"] * 2, "enter", "down")),
    ("history", ("b", *["down"] * 2, "enter", "slash", *"hosts", "enter", "h")),
    ("growth", ("o",)), ("settings", ("c",)), ("palette", ("colon", "p", "r")),
    ("prune", ("P",)), ("take", ("s", *"before the upgrade")),
    ("rollback-scope", _BACK), ("rollback", (*_BACK, "enter")),
    ("rollback-safety", (*_BACK, *["enter"] * 2)), ("rollback-confirm", (*_BACK, *["enter"] * 3, *"ye")),
    ("rollback-run", (*_BACK, *["enter"] * 3, *"yes", "enter")),
    ("rollback-result", (*_BACK, *["enter"] * 3, *"yes", "enter")))
"""Names of pictures, and the keys that lead there."""
IN_LIGHT = ("points", "changes", "browse", "prune")
HELD = {"rollback-run": "putting back"}
"""Pictures of work that stands still for them: in the middle of this phase."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture to make."""

    name: str
    keys: tuple[str, ...]
    size: tuple[int, int]
    look: Look
    hold: str = ""

    @property
    def changes(self) -> bool:
        """Whether the machine is another one after it."""
        return self.keys[-1:] == ("enter",) and "y" in self.keys


def shots() -> list[Shot]:
    """Return all pictures: each scene in two sizes, the chief ones light too, and the list on a 16-colour console."""
    found = [Shot(f"{name}-{w}x{h}-{word}", keys, (w, h), Look(theme.name, False), HELD.get(name, ""))
             for name, keys in SCENES for w, h in SIZES for word, theme in (("dark", DARK), ("light", LIGHT))]
    found = [shot for shot in found if shot.look.theme == DARK.name or shot.name.partition("-")[0] in IN_LIGHT]
    return [*found, Shot("points-80x24-console", (), (80, 24), Look(ANSI_DARK.name, True))]


class ShownEngine(Engine):
    """The real engine, whose host and free room are those of the picture, and whose work can stand still for it."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.hold = ""
        self.held, self.go_on, self.idle = Event(), Event(), Event()
        self.idle.set()

    def rollback(self, plan: RollbackPlan, job: Job, *, safety_point: bool = True) -> RollbackResult:
        """Roll back, standing still in the middle of the phase `hold` until `go_on` is set."""
        def see(progress: Progress) -> None:
            if job.on_progress is not None:
                job.on_progress(progress)
            if progress.phase == self.hold and 2 * progress.done > (progress.total or 0):
                self.held.set()
                self.go_on.wait()

        self.idle.clear()
        try:
            return super().rollback(plan, Job(on_progress=see), safety_point=safety_point)
        finally:
            self.idle.set()

    def status(self) -> StoreStatus:
        """The status with a fixed free room."""
        return replace(super().status(), free_bytes=FREE)

    def points(self) -> list[RestorePoint]:
        """The points with a fixed host."""
        return [replace(p, doc=p.doc | {"host": HOST, "taken_by": "root", "sources": _sources()})
                for p in super().points()]

    def plan(self, point: RestorePoint, scope: Sequence[str], job: Job, *, adopt: bool = False,
             merged: Sequence[bytes] = ()) -> RollbackPlan:
        """The plan for the point as it is (the file systems it is shown with are not there), of a tree that runs."""
        real = next(p for p in super().points() if p.id == point.id)
        found = super().plan(real, scope, job, adopt=adopt, merged=merged)
        return replace(found, reboot=reboot.reasons(b"/", found.boot, found.kernels, found.packages))

    def settings(self) -> list[tuple[str, str, str]]:
        """The settings with the paths of a server, also in what they come from."""
        shown, here = {"root": "/", "store": STORE}, self.config.root
        return [(key, shown.get(key, value), origin.replace(here, "")) for key, value, origin in super().settings()]

    def rules(self) -> Retention:
        """Rules that keep five days."""
        return Retention(max_age=5 * 86400, daily=3)

    def fates(self, rules: Retention | None = None) -> list[Fate]:
        """What rules would do at the moment of the picture."""
        known, status = self.points(), self.status()
        return retention.fates(known, rules or self.rules(), NOW, store_bytes=status.store_bytes,
                               source_bytes=status.tree_bytes)


class ShownRunner(ThreadRunner):
    """Works in this process, which stays, and shows itself like the one that has a process of its own."""

    leaving_is_safe = True


def _sources() -> list[dict[str, Any]]:
    return [{"mount": "/", "type": "ext4", "device": "/dev/vda2"},
            {"mount": "/boot", "type": "ext4", "device": "/dev/vda1"}]


async def picture(engine: ShownEngine, shot: Shot) -> str:
    """Return one picture as SVG, without anything that a browser would have to fetch."""
    app = RollpointApp(engine, host=HOST, root="/", store=STORE, clock=lambda: NOW, look=shot.look,
                       make_runner=lambda: ShownRunner(engine))
    engine.hold = shot.hold
    async with app.run_test(size=shot.size) as pilot:
        await _settle(pilot, engine)
        for key in shot.keys:
            await pilot.press(key)
            await _settle(pilot, engine)
        svg = app.export_screenshot(title="Rollpoint")
        engine.go_on.set()
        while not engine.idle.is_set():
            await pilot.pause(0.01)
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.S)
    return svg.replace("Fira Code", FONT)


async def _settle(pilot: Pilot[int], engine: ShownEngine) -> None:
    """Wait until the engine has answered, work has ended or stands still, and everything is drawn."""
    app = pilot.app
    assert isinstance(app, RollpointApp)
    await pilot.pause()
    while app.open_questions or (_runs(app) and not engine.held.is_set()):
        await pilot.pause(0.01)
        await pilot.pause()     # an answer may lead to another question
    await pilot.pause(3 * SAMPLE if _runs(app) else None)


def _runs(app: RollpointApp) -> bool:
    return isinstance(app.screen, RunScreen) and app.screen.step == RUN


def to_png(svg: str, path: str) -> None:
    """Write an SVG as PNG. Each glyph gets a place of its own: cairosvg knows no textLength, columns would drift."""
    import cairosvg

    placed = re.sub(r'x="([\d.]+)"([^>]*?) textLength="([\d.]+)"[^>]*?>([^<]*)</text>', _place, svg)
    cairosvg.svg2png(bytestring=placed.encode(), write_to=path)


def _place(found: re.Match[str]) -> str:
    text = html.unescape(found[4])
    step, at, places = float(found[3]) / max(1, cell_len(text)), float(found[1]), []
    for char in text:
        places.append(f"{at:.2f}")
        at += step * cell_len(char)
    return f'x="{" ".join(places)}"{found[2]}>{found[4]}</text>'


def make(folder: str, *, png: bool = True) -> list[str]:
    """Make all pictures in a folder and return their names without ending."""
    os.makedirs(folder, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rollpoint-demo-") as place, _utc():
        base = ShownEngine(demo.build(os.path.join(place, "demo"), Job(), now=NOW))
        for shot in shots():
            own = os.path.join(place, shot.name)
            engine = ShownEngine(demo.build(own, Job(), now=NOW)) if shot.changes else base
            svg = asyncio.run(picture(engine, shot))
            with open(os.path.join(folder, shot.name + ".svg"), "w", encoding="utf-8") as file:
                file.write(svg)
            if png:
                to_png(svg, os.path.join(folder, shot.name + ".png"))
    return [shot.name for shot in shots()]


@contextmanager
def _utc() -> Iterator[None]:
    """Times of day are those of UTC, whatever the zone of this machine."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = "UTC"
    time.tzset()
    try:
        yield
    finally:
        os.environ.pop("TZ")
        if before is not None:
            os.environ["TZ"] = before
        time.tzset()


def main() -> int:
    """Make the pictures and say which."""
    folder = sys.argv[1] if len(sys.argv) > 1 else "screenshots"
    for name in make(folder):
        print(os.path.join(folder, name + ".png"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
