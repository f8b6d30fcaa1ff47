"""The app on a rescue CD: it begins with what is on the disks, and ends with the words that open what was chosen."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from textual.screen import Screen

from tui.app import RollpointApp, show, unusable_terminal
from tui.engine_api import EngineLike
from tui.rescuelook import go_on
from tui.screens.rescue import Look, RescueScreen, Wish
from tui.text import safe
from tui.theme import Look as Colours

if TYPE_CHECKING:
    from engine.config import Config


class RescueApp(RollpointApp):
    """The app, with the rescue screen as its first one. `engine` is asked nothing: there is no store yet."""

    def __init__(self, engine: EngineLike, look: Look, wish: Wish, *, host: str = "",
                 clock: Callable[[], datetime] | None = None, colours: Colours | None = None) -> None:
        super().__init__(engine, host=host, root="rescue", clock=clock, look=colours)
        self.look_at_disks = look
        self._wish = wish

    def get_default_screen(self) -> Screen[Any]:
        """What is on the disks."""
        return RescueScreen(self.look_at_disks, self._wish, begin=True)


def run_rescue(config: Config, wish: Wish, look: Look, before: Sequence[str] = ()) -> int:
    """Open the app on what is on the disks, then, with the options `before`, what was chosen there; returns the exit
    code of the last one."""
    why = unusable_terminal(sys.__stdin__, sys.__stderr__, os.environ.get("TERM", ""))
    if why:
        sys.stderr.write(f"rollpoint: {safe(why)}\nhint: `rollpoint rescue list` needs none\n")
        return 2
    from engine.service import Engine

    app = RescueApp(Engine(config), look, wish)
    code = show(app)
    return go_on(app.go_on_with, before) if app.go_on_with is not None and not code else code
