"""When a test may look: nothing is left to run in the event loop, and what was to be drawn is drawn.

Textual's own wait sleeps 20 ms, again and again until the process has used hardly any processor meanwhile, up to a
second: a test that presses hundreds of keys does little else, and on a busy machine it looks too soon. Here the loop
itself is asked, so that the answer depends on no clock.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
import textual.app
import textual.pilot
from textual._context import active_app
from textual.pilot import Pilot
from textual.screen import Screen

_TURNS = 3
"""So many turns of the loop without anything to do: in each it has also looked for what threads have sent."""
_MOST = 10.0


async def quiet(_least: float = 0, _most: float = 1) -> None:
    """Wait until the loop has nothing to do and the screen nothing to draw; takes the place of Textual's
    `wait_for_idle`. What waits for a clock or a thread is not waited for."""
    app = active_app.get()
    end = time.monotonic() + _MOST
    while True:
        await _nothing_to_run(end)
        screen = app._screen_stack[-1] if app._running and app._screen_stack else None
        if screen is None or time.monotonic() > end:
            return
        if app._resize_timer is not None:       # a new size, which waits for the next frame too
            app._check_resize()
        elif _to_draw(screen):
            screen._on_timer_update()
        else:
            return


async def quiet_screen(_pilot: Pilot[Any], _most: float = 30) -> bool:
    """The same in place of the pilot's own wait, which sends each widget of a screen a message and waits for it."""
    await quiet()
    return True


def wait_by_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pilots wait like this."""
    for module in (textual.app, textual.pilot):
        monkeypatch.setattr(module, "wait_for_idle", quiet)
    monkeypatch.setattr(Pilot, "_wait_for_screen", quiet_screen)


async def _nothing_to_run(end: float) -> None:
    ready: Any = asyncio.get_running_loop()._ready     # type: ignore[attr-defined]
    still = 0
    while still < _TURNS and time.monotonic() < end:
        await asyncio.sleep(0)
        still = 0 if ready else still + 1


def _to_draw(screen: Screen[Any]) -> bool:
    """Whether a screen would do something at its next frame."""
    return bool(screen._callbacks or (screen.is_current and not screen.app._batch_count and (
        screen._layout_required or screen._scroll_required or screen._repaint_required or screen._recompose_required
        or screen._dirty_widgets)))
