"""The one way to agree to something that cannot simply be taken back: to type `yes`."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Static

from tui.text import content
from tui.widgets.lineinput import LineInput


class ConfirmYes(Vertical):
    """A question with an input. `Confirmed` is posted for exactly ``yes`` and enter; anything else does nothing."""

    WORD = "yes"

    class Confirmed(Message):
        """The admin typed yes."""

    def __init__(self, question: str, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._question = question

    def compose(self) -> ComposeResult:
        """The question, the line to type into, and what came of it."""
        with Horizontal():
            yield Static(content((self._question, "strong")), markup=False, classes="confirm-question")
            yield LineInput(placeholder="type yes, then enter", id="yes")
        yield Static("", markup=False, id="confirm-note")

    def start(self, typed: str = "") -> None:
        """Put the focus here, with some text typed already."""
        line = self.query_one("#yes", LineInput)
        line.value = typed
        line.cursor_position = len(typed)
        line.focus()

    def ask(self, question: str) -> None:
        """Ask something else."""
        self.query_one(".confirm-question", Static).update(content((question, "strong")))

    def on_mount(self) -> None:
        """The note takes no room until there is one."""
        self.query_one("#confirm-note").display = False

    def _note(self, text: str) -> None:
        note = self.query_one("#confirm-note", Static)
        note.update(content((text, "warn")))
        note.display = bool(text)

    @on(Input.Submitted, "#yes")
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if event.value == self.WORD:
            self.post_message(self.Confirmed())
            return
        said = f"`{event.value}` is not yes" if event.value else "nothing was typed"
        event.input.value = ""
        self._note(f"Nothing was done: {said}. Only yes goes on; escape leaves.")

    @on(Input.Changed, "#yes")
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        if event.value:
            self._note("")
