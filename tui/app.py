"""The full-screen application: its colours, its one error funnel, what runs, and how it ends.

`run_app(config)` is what the command line calls. Screens ask the engine only in workers (tui/screens/base.py);
a rollback runs in a process of its own (tui/rollback_job.py).
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

from textual.app import App
from textual.binding import Binding
from textual.screen import Screen
from textual.scrollbar import ScrollBar
from textual.widgets import Input

from tui.engine_api import EngineLike
from tui.garbage import SECONDS, Garbage
from tui.jobs import LongJob
from tui.places import PLACES, place
from tui.rollback_job import Runner, ThreadRunner
from tui.rollback_registry import Run
from tui.styles import style_sheets
from tui.text import safe
from tui.theme import THEMES, Look, PlainScrollBarRender, choose
from tui.threads import AskThreads

if TYPE_CHECKING:
    from engine.config import Config
    from tui.palette import Command
    from tui.screens.base import EngineCalls, Question
    from tui.screens.rescue import Look as LookAtDisks

_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
STOP_SECONDS = 60.0
"""How long work that was told to stop may take to do so before the program ends without it."""


class RollpointApp(App[int]):
    """The app. `clock` and `host` are given by tests and by the makers of pictures, so that these do not change."""

    CSS = style_sheets("app.tcss", "dialogs.tcss", "changes.tcss", "browse.tcss", "rollback.tcss", "house.tcss",
                       "vms.tcss")
    TITLE = "Rollpoint"
    ENABLE_COMMAND_PALETTE = False
    NOTIFICATION_TIMEOUT = 8
    BINDINGS = [
        Binding("question_mark", "help", "Help", show=False),
        Binding("f1", "help", "Help", show=False, priority=True),
        # Of priority, so that it acts before the next key arrives: what is typed ahead must not run as commands.
        Binding("colon", "palette_by_letter", "What can be done", show=False, priority=True),
        Binding("ctrl+p", "palette", "What can be done", show=False, priority=True),
        Binding("t", "light", "Light or dark", show=False),
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True),
        Binding("ctrl+q", "quit", "Quit", show=False, priority=True)]

    def __init__(self, engine: EngineLike, *, read_only: bool = False, host: str = "", root: str = "/",
                 store: str = "", clock: Callable[[], datetime] | None = None, look: Look | None = None,
                 make_runner: Callable[[], Runner] | None = None,
                 find_runner: Callable[[], Runner | None] | None = None) -> None:
        self._look = look or choose()
        ScrollBar.renderer = PlainScrollBarRender
        # Decided before the app exists: with NO_COLOR and an ANSI theme set later, Textual paints black on black.
        super().__init__(ansi_color=True if self._look.ansi else None)
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = self._look.theme
        self.engine = engine
        self.read_only = read_only
        self.host = safe(host or socket.gethostname())
        self.root_shown, self.store_shown = safe(root), safe(store)
        self.now: Callable[[], datetime] = clock or (lambda: datetime.now(UTC))
        self.make_runner: Callable[[], Runner] = make_runner or (lambda: ThreadRunner(engine))
        self.find_runner: Callable[[], Runner | None] = find_runner or (lambda: None)
        self.watched_run: Run | None = None     # the one a screen has shown
        self.seen_run: Run | None = None        # the one whose end it has shown
        self.restored = 0       # how often something was put back: what a screen has read before that is old
        self.running: dict[LongJob, tuple[str, bool]] = {}
        self.open_questions: set[Question] = set()    # what the engine was asked and has not answered yet
        self.threads = AskThreads()
        self.abandoned = False          # whether it was decided not to wait for work that does not stop
        self.left_running = ""
        self.look_at_disks: LookAtDisks | None = None   # for stores and systems; None where that makes no sense
        self.merged: tuple[bytes, ...] = ()     # recorded file systems of which a rollback makes directories
        self.go_on_with: list[str] | None = None        # words of the command line to go on with after the end
        self.ended_by = 0

    def get_default_screen(self) -> Screen[Any]:
        """The list of points."""
        from tui.screens.points import PointsScreen

        return PointsScreen()

    def on_mount(self) -> None:
        """Let signals end the app as if by a key, so that the terminal is given back as it was."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(self.threads)
        if not self.is_headless:
            for number in _SIGNALS:
                loop.add_signal_handler(number, self._signalled, number)
            garbage = Garbage()
            self.call_after_refresh(garbage.started)
            self.set_interval(SECONDS, lambda: garbage.tidy(len(self.screen_stack)))

    def on_unmount(self) -> None:
        """However the app ends: nobody is left to watch work that may be broken off."""
        self.cancel_all()

    def _fatal_error(self) -> None:
        """A defect of ours: leave without the framework's traceback, which prints all local variables over the screen.
        `show` raises the error again once the terminal is given back, and the command line reports it."""
        self._close_messages_no_wait()

    def _signalled(self, number: int) -> None:
        self.ended_by = number
        self.cancel_all()
        self.exit(return_code=128 + number)

    # --- long work -----------------------------------------------------------------------------------------------

    def begin(self, what: str, work: LongJob, *, breakable: bool) -> None:
        """Note that work is under way: quitting asks, and stops it only where it is `breakable`."""
        self.running[work] = (what, breakable)

    def end(self, work: LongJob) -> None:
        """Note its end."""
        self.running.pop(work, None)

    def cancel_all(self) -> None:
        """Ask all work that may be broken off to stop at the next safe place."""
        for work, (_, breakable) in list(self.running.items()):
            if breakable:
                work.job.cancel()

    # --- what every screen has -----------------------------------------------------------------------------------

    def report(self, error: BaseException) -> None:
        """Show an error as a message with what to do next."""
        from tui.screens.message import MessageScreen

        self.push_screen(MessageScreen.of(error))

    def action_help(self) -> None:
        """The keys of the screen in front."""
        from tui.screens.base import EngineCalls
        from tui.screens.help import HelpScreen

        screen = self.screen
        if isinstance(screen, EngineCalls) and not isinstance(screen, HelpScreen):
            self.push_screen(HelpScreen(screen.KEYS, screen.NOTES))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A colon that is typed into a line belongs to the line."""
        return action != "palette_by_letter" or not isinstance(self.focused, Input)

    def action_palette_by_letter(self) -> None:
        """What can be done on the screen in front."""
        self.action_palette()

    def action_palette(self) -> None:
        """What can be done on the screen in front."""
        from tui.screens.base import EngineCalls
        from tui.screens.palette import PaletteScreen

        async def chosen(command: Command | None) -> None:
            if command is not None:
                await self.run_action(command.action, default_namespace=command.node)

        screen = self.screen
        if isinstance(screen, EngineCalls) and screen.HAS_PALETTE:
            self.push_screen(PaletteScreen(self._commands(screen)), chosen)

    def _commands(self, screen: EngineCalls) -> list[Command]:
        """The screen's own keys, then the places that are not open already, then what every screen has."""
        from tui.palette import Bound, Command, own_commands

        front = self.screen
        bound = {key: Bound(found.binding.action, found.node) for key, found in front.active_bindings.items()}
        found = [c for c in own_commands(screen.KEYS, bound, screen.why_not) if not c.action.startswith("app.place(")]
        if not front.is_modal:
            here, ours = screen.here(), {b.action for b in bound.values()}
            found += [Command(p.key if p.action in ours else "", p.text, p.action, self) for p in PLACES
                      if not p.why_not(here) and all(type(s).__name__ != p.screen for s in self.screen_stack)]
        rest = (("?", "the keys of this screen", "help"), ("t", "light or dark", "light"),
                ("ctrl+q", "leave Rollpoint", "quit"))
        return found + [Command(key, text, f"app.{action}", self) for key, text, action in rest
                        if all(c.action != f"app.{action}" for c in found)]

    def action_place(self, name: str) -> None:
        """Go to a place, or say why that is not possible now."""
        from tui.screens.base import EngineCalls

        screen, target = self.screen, place(name)
        if isinstance(screen, EngineCalls):
            here = screen.here()
            why = target.why_not(here)
            if why:
                screen.say(why, "warn")
            else:
                self.push_screen(target.make(here), screen.back_from_place)

    def action_light(self) -> None:
        """Light for dark, dark for light."""
        self._look = self._look.other()
        self.theme = self._look.theme

    async def action_quit(self) -> None:
        """Leave; while work is under way, ask first."""
        from tui.screens.quit import QuitScreen

        if not self.running:
            self.exit(0)
        elif not isinstance(self.screen, QuitScreen):
            what, breakable = next(iter(self.running.values()))
            self.push_screen(QuitScreen(what, breakable=breakable))


def unusable_terminal(stdin: TextIO | None, stderr: TextIO | None, term: str) -> str:
    """Return why the app cannot be shown on this terminal, "" when it can."""
    for stream, name in ((stdin, "input"), (stderr, "standard error (the screen is drawn there)")):
        if stream is None or not stream.isatty():
            return f"the full-screen app needs a terminal, and its {name} is none"
    if term in ("dumb", "unknown"):
        return f"the full-screen app cannot be drawn on a terminal of type {term}"
    encoding = (getattr(stderr, "encoding", "") or "").lower().replace("-", "").replace("_", "")
    if encoding not in ("utf8", "utf8sig"):
        return f"the full-screen app needs UTF-8, and this terminal's encoding is set to {encoding or 'none'}"
    return ""


def run_app(config: Config, merged: Sequence[bytes] = ()) -> int:
    """Open the app on a configuration and return its exit code: 0, 2 where there is no usable terminal, 128 + N
    after signal N. `merged`: recorded file systems of which a rollback makes directories. Raises what the engine raises
    when it cannot be made."""
    why = unusable_terminal(sys.__stdin__, sys.__stderr__, os.environ.get("TERM", ""))
    if why:
        sys.stderr.write(f"rollpoint: {safe(why)}\nhint: `rollpoint list` and the other commands need none\n")
        return 2
    from engine.service import Engine
    from tui.rescuelook import disk_look, go_on
    from tui.rollback_job import DetachedRunner

    app = RollpointApp(Engine(config), read_only=config.read_only, root=config.root, store=config.store,
                       make_runner=lambda: DetachedRunner(config), find_runner=lambda: DetachedRunner.attach(config))
    app.look_at_disks, app.merged = disk_look(), tuple(merged)
    code = show(app)
    return code if code or app.go_on_with is None else go_on(app.go_on_with)


def show(app: RollpointApp) -> int:
    """Run the app on this terminal and return its exit code; on the way out, wait for work that was told to stop, and
    for nothing else."""
    from tui.output import silence_streams

    try:
        app.run(mouse=os.environ.get("ROLLPOINT_MOUSE", "1") != "0")
    except OSError:
        if not app.ended_by:    # after a hangup there is no terminal to give back, and that is no fault
            raise
    if app._exception is not None:
        raise app._exception
    if app.running and not app.abandoned:   # it was told to stop; the store should be as it was before this ends
        app.threads.join(STOP_SECONDS)
    try:
        if app.left_running:
            sys.stderr.write(f"{app.left_running}\n")
        for stream in (sys.stderr, sys.stdout):
            if stream is not None:
                stream.flush()
    except OSError:
        silence_streams()       # or the interpreter's own last flush would change the exit code
    return 128 + app.ended_by if app.ended_by else app.return_code or 0
