"""What a rollback is limited to: the choices that the engine offers, and paths that are typed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input, Static

from engine.results import ScopeChoice
from tui.text import Line, Segment, content, fit, safe
from tui.widgets.fields import Fields
from tui.widgets.lineinput import LineInput
from tui.widgets.rows import Row, RowList

_LEAST = 12
WHOLE = "system"


def is_open(choice: ScopeChoice) -> bool:
    """Whether a word is to be completed by typing: ``path=``."""
    return choice.word.endswith("=")


def scope_title(words: Sequence[str]) -> list[Segment]:
    """Return a scope in a few words, for the line that says what a rollback is about."""
    if tuple(words) in ((), (WHOLE,)):
        return [("everything that the point holds", "")]
    return [("only ", "dim"), (", ".join(safe(word.removeprefix("path=")) for word in words), "strong")]


class ScopeRows:
    """A `RowSource`: each choice with its mark, where it can be chosen."""

    def __init__(self, choices: Sequence[ScopeChoice], chosen: Sequence[str]) -> None:
        self.choices = choices
        self._chosen = chosen

    def __len__(self) -> int:
        return len(self.choices)

    def heading(self, width: int) -> Row | None:
        """None."""
        return None

    def selectable(self, index: int) -> bool:
        """All rows are."""
        return True

    def row(self, index: int, width: int) -> Row:
        """One choice: ``[x] system  everything that the point holds``."""
        choice = self.choices[index]
        mark = "[+] " if is_open(choice) else f"[{'x' if choice.word in self._chosen else ' '}] "
        room = min(max(cell_len(safe(c.word)) for c in self.choices), max(_LEAST, width // 2))
        return [(" " + mark, "accent"), (fit(safe(choice.word), room), "strong"), ("  " + safe(choice.text), "")]


class ScopeChooser(Vertical):
    """The list of choices and a line to type into. Posts `Chosen` with the words of the scope."""

    class Chosen(Message):
        """The admin goes on with these words."""

        def __init__(self, words: tuple[str, ...]) -> None:
            super().__init__()
            self.words = words

    def __init__(self, words: Sequence[str] = (), *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._offered: list[ScopeChoice] = []
        self._typed: list[str] = []
        self._words = list(words)
        self._open = ""

    def compose(self) -> ComposeResult:
        """Question, list, line, and why it did not go on."""
        yield Static(content("What is to be rolled back?"), markup=False, id="scope-question")
        yield RowList(id="scope-rows")
        yield LineInput(placeholder="/etc/nginx, then enter; again for more", max_length=4096, id="scope-path")
        yield Fields(id="scope-note")

    def on_mount(self) -> None:
        """The line is there only when something is to be typed."""
        self.query_one("#scope-path").display = False

    @property
    def _rows(self) -> RowList:
        return self.query_one("#scope-rows", RowList)

    @property
    def choices(self) -> list[ScopeChoice]:
        """What can be chosen now: what is offered, and what was typed."""
        return self._offered + [ScopeChoice(word, "typed") for word in self._typed]

    def offer(self, choices: Sequence[ScopeChoice]) -> None:
        """Show what the engine offers; what was given or typed already stays chosen."""
        self._offered = list(choices)
        known = {choice.word for choice in choices}
        self._typed += [word for word in self._words if word not in known and word not in self._typed]
        self._fill(self._rows.cursor)

    def say(self, rows: Sequence[Line]) -> None:
        """Say why it did not go on; no rows: nothing."""
        self.query_one("#scope-note", Fields).show(rows)

    def start(self) -> None:
        """Put the focus here."""
        self._rows.focus()

    def _fill(self, cursor: int) -> None:
        self._rows.show(ScopeRows(self.choices, self._words), cursor)

    def turn(self) -> None:
        """Choose the row under the cursor, or no longer; a typed one goes away."""
        at = self._rows.cursor
        if at >= len(self.choices):
            return
        choice = self.choices[at]
        if is_open(choice):
            self._type(choice.word)
        elif choice.word in self._words:
            self._words.remove(choice.word)
            if choice.word in self._typed:
                self._typed.remove(choice.word)
        else:
            self._words.append(choice.word)
        self._fill(at)

    def _type(self, word: str) -> None:
        self._open = word
        line = self.query_one("#scope-path", LineInput)
        line.display = True
        line.focus()

    def close_line(self) -> bool:
        """Leave the line to type into; False where it is not open."""
        line = self.query_one("#scope-path", LineInput)
        was = line.display
        line.display, line.value = False, ""
        self._rows.focus()
        return was

    @on(RowList.Chosen, "#scope-rows")
    def _entered(self, event: RowList.Chosen) -> None:
        event.stop()
        choice = self.choices[event.index]
        if is_open(choice):
            self._type(choice.word)
        else:
            self._go_on(choice.word)

    @on(Input.Submitted, "#scope-path")
    def _added(self, event: Input.Submitted) -> None:
        event.stop()
        typed = event.value.strip()
        if not typed:
            self.close_line()
            if self._words:
                self._go_on("")
            return
        word = self._open + typed
        if word not in self._words:
            self._words.append(word)
            self._typed.append(word)
        event.input.value = ""
        self.say([content(("Another one, or enter alone to go on.", "dim"))])
        self._fill(len(self.choices) - 1)

    def _go_on(self, under_cursor: str) -> None:
        """Go on with what is marked; where nothing is, with the row under the cursor."""
        self.say([])
        self.post_message(self.Chosen(tuple(self._words) or (under_cursor,)))
