"""The palette: type what you want to do, choose it, and it is done on the screen below."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import Input, Static

from tui.palette import Command, search
from tui.screens.base import BaseDialog
from tui.text import content, fit, safe
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.lineinput import LineInput
from tui.widgets.rows import Row, RowList

_KEY_WIDTH = 12


class CommandRows:
    """A `RowSource` of commands: the key, and what it does."""

    def __init__(self, commands: Sequence[Command]) -> None:
        self.commands = commands

    def __len__(self) -> int:
        return len(self.commands)

    def heading(self, width: int) -> Row | None:
        """None."""
        return None

    def selectable(self, index: int) -> bool:
        """All rows are."""
        return True

    def row(self, index: int, width: int) -> Row:
        """One command."""
        command = self.commands[index]
        room = min(_KEY_WIDTH, width // 4)
        return [(" " + fit(safe(command.key), room) + " ", "strong"),
                (fit(safe(command.text), max(1, width - room - 3)), "")]


class PaletteScreen(BaseDialog[Command | None]):
    """The dialog behind `:`: dismissed with what was chosen."""

    # The line keeps the focus, so the list's own keys are bound here; letters go into the line.
    BINDINGS = [Binding("escape", "leave", show=False), Binding("up", "move(-1)", show=False),
                Binding("down", "move(1)", show=False), Binding("pageup", "page(-1)", show=False),
                Binding("pagedown", "page(1)", show=False)]
    KEYS = (("letters", "search: words, parts of them, or a key"), ("up down", "move"), ("enter", "do it"),
            ("esc", "leave without doing anything"))
    HAS_PALETTE = False

    def __init__(self, commands: Sequence[Command]) -> None:
        super().__init__()
        self._commands = commands

    def compose(self) -> ComposeResult:
        """The line to type into, what fits, the keys."""
        with Vertical(id="dialog"):
            yield Static(content(("What to do", "head")), markup=False, id="title")
            yield LineInput(placeholder="type to search", id="search")
            yield RowList(id="commands")
            yield KeyBar([Hint("enter", "Do it"), Hint("up down", "Choose"), Hint("esc", "Leave", "screen.leave")])

    def on_mount(self) -> None:
        """Show everything; the focus stays in the line."""
        rows = self.query_one("#commands", RowList)
        rows.can_focus = False
        rows.show(CommandRows(self._commands))
        self.query_one("#search", LineInput).focus()

    @on(Input.Changed, "#search")
    def _typed(self, event: Input.Changed) -> None:
        self.query_one("#commands", RowList).show(CommandRows(search(self._commands, event.value)))

    @on(Input.Submitted, "#search")
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.query_one("#commands", RowList).action_choose()

    @on(RowList.Chosen, "#commands")
    def _chosen(self, event: RowList.Chosen) -> None:
        source = event.rows.source
        if isinstance(source, CommandRows) and event.index < len(source):
            self.dismiss(source.commands[event.index])

    def action_move(self, by: int) -> None:
        """Move in the list."""
        self.query_one("#commands", RowList).action_move(by)

    def action_page(self, by: int) -> None:
        """Move in the list by screens."""
        self.query_one("#commands", RowList).action_page(by)

    def action_leave(self) -> None:
        """Leave."""
        self.dismiss(None)
