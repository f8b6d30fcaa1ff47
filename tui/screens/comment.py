"""Changing the comment of a point."""

from __future__ import annotations

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.widgets import Input, Static

from engine.points import RestorePoint
from tui.screens.base import BaseDialog
from tui.text import content, point_title
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.lineinput import LineInput


class CommentScreen(BaseDialog[str | None]):
    """The dialog behind `e`: dismissed with the new comment, None when it was left or nothing was changed."""

    BINDINGS = [Binding("escape", "leave", "Leave", show=False)]
    KEYS = (("enter", "save the comment"), ("esc", "leave it as it is"))

    def __init__(self, point: RestorePoint) -> None:
        super().__init__()
        self._point = point

    def compose(self) -> ComposeResult:
        """The point, its comment, the keys."""
        with Vertical(id="dialog"):
            yield Static(content(("Comment of a point", "head")), markup=False, id="title")
            with Vertical(id="form"):
                yield Static(content(*point_title(self._point, self.rollpoint.now(), "Point")), markup=False)
                yield LineInput(self._point.comment, placeholder="no comment", id="comment")
            yield KeyBar([Hint("enter", "Save"), Hint("esc", "Leave", "screen.leave")])

    def on_mount(self) -> None:
        """Begin at the end of the comment; remember how it is shown, to see whether it was changed."""
        line = self.query_one(LineInput)
        self._before = line.value
        line.cursor_position = len(line.value)
        line.focus()

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        # A comment with control characters is shown escaped; saving it unchanged must not alter it.
        self.dismiss(None if event.value == self._before else event.value.strip())

    def action_leave(self) -> None:
        """Leave it as it is."""
        self.dismiss(None)
