"""What all screens share: the app with its type, the header, and the one way to call the engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

from textual.binding import Binding
from textual.screen import ModalScreen, Screen
from textual.widgets import Input
from textual.worker import get_current_worker

from tui.messages import Answer, Trouble
from tui.places import Here
from tui.text import content
from tui.widgets.filterline import FilterLine
from tui.widgets.header import HeaderBar

if TYPE_CHECKING:
    from tui.app import RollpointApp

V = TypeVar("V")
T = TypeVar("T")

HORIZONTAL = [(0, "-tiny"), (60, "-narrow"), (100, "-wide")]
VERTICAL = [(0, "-low"), (18, "-middle"), (30, "-high")]
FILTER = Binding("slash", "filter", show=False, priority=True)
"""The key of a filter. Of priority, so that it acts before the next key arrives: letters that are typed fast after it
must not run as commands."""


class Question:
    """Something that the engine was asked by a screen; `begun` once a thread is at it."""

    def __init__(self, screen: Screen[Any], group: str) -> None:
        self.screen, self.group, self.begun = screen, group, False


class EngineCalls:
    """A mixin for screens: `ask` runs something of the engine in a thread and brings the answer back as a message."""

    KEYS: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Keys of this screen and what they do, for the help."""
    NOTES: ClassVar[tuple[str, ...]] = ()
    """What else the help should say."""
    HAS_PALETTE: ClassVar[bool] = True
    """Whether the palette may be opened over it."""

    @property
    def rollpoint(self) -> RollpointApp:
        """The app."""
        return cast("RollpointApp", cast("Screen[object]", self).app)

    def ask(self, group: str, work: Callable[[], V], then: Callable[[V], None],
            failed: Callable[[BaseException], None] | None = None) -> None:
        """Run `work` in a thread; call `then` with its value, or `failed` (default: show the error), on this side.

        A newer call of the same group replaces an older one: what that one answers is thrown away.
        """
        screen = cast("Screen[object]", self)
        on_error = failed or self.rollpoint.report
        open_questions, question = self.rollpoint.open_questions, Question(screen, group)
        # One that is replaced before its thread has begun never comes to an answer.
        open_questions -= {q for q in list(open_questions) if (q.screen, q.group) == (screen, group) and not q.begun}
        open_questions.add(question)

        def run() -> None:
            worker, question.begun = get_current_worker(), True
            try:
                message: Answer | Trouble = Answer(question, then, work())
            except BaseException as error:  # whatever it is, it must reach the screen, not end the app
                message = Trouble(question, on_error, error)
            if worker.is_cancelled or not screen.post_message(message):
                open_questions.discard(question)

        screen.run_worker(run, thread=True, exclusive=True, exit_on_error=False, group=group, name=group)

    def on_answer(self, message: Answer) -> None:
        """Hand an answer over."""
        message.stop()
        self.rollpoint.open_questions.discard(message.question)
        if self._there():
            message.then(message.value)

    def on_trouble(self, message: Trouble) -> None:
        """Hand an error over."""
        message.stop()
        self.rollpoint.open_questions.discard(message.question)
        if self._there():
            message.then(message.error)

    def _there(self) -> bool:
        """Whether this screen has not been left meanwhile: then nobody waits for an answer, and to leave it again
        would close the screen below."""
        return cast("Screen[object]", self) in self.rollpoint.screen_stack

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """The key of a filter is of priority (`FILTER`); typed into a line it belongs to the line."""
        return action != "filter" or not isinstance(cast("Screen[object]", self).focused, Input)

    def open_line(self, line: Input) -> None:
        """Show a line to type into and give it the focus at once, so that what is typed next goes there."""
        line.display = True
        cast("Screen[object]", self).set_focus(line)

    def action_filter(self) -> None:
        """Go to the filter of the list, on a screen that has one."""
        for line in cast("Screen[object]", self).query(FilterLine):
            line.open()

    # --- what a screen may say of itself -----------------------------------------------------------------------------

    def why_not(self, action: str) -> str:
        """Return why an action (``delete``) makes no sense now, "" where it does: then the palette offers it."""
        return ""

    def here(self) -> Here:
        """Return where one stands: which places can be gone to depends on it."""
        return Here()

    def say(self, text: str, look: str = "good") -> None:
        """Answer an action in a few words."""
        from tui.screens.message import MessageScreen

        self.rollpoint.push_screen(MessageScreen("Rollpoint", [content((text, look))]))

    def back_from_place(self, _result: object) -> None:
        """Somebody came back from a place."""

    def header(self) -> HeaderBar:
        """Return the header line of this machine and tree."""
        app = self.rollpoint
        return HeaderBar(app.host, app.root_shown, app.store_shown, read_only=app.read_only)


class BaseScreen(EngineCalls, Screen[T]):
    """A screen of its own: header on top."""

    HORIZONTAL_BREAKPOINTS = HORIZONTAL
    VERTICAL_BREAKPOINTS = VERTICAL


class BaseDialog(EngineCalls, ModalScreen[T]):
    """A dialog over a screen, with the same header above it: that of the screen below is darkened with all of it."""

    # A dialog shuts out the keys of the app but those of priority.
    BINDINGS = [Binding("question_mark", "app.help", show=False)]
    HORIZONTAL_BREAKPOINTS = HORIZONTAL
    VERTICAL_BREAKPOINTS = VERTICAL

    def on_mount(self) -> None:
        """Put the header on top. Subclasses have an `on_mount` of their own; both are called."""
        self.mount(self.header(), before=0)
