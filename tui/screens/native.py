"""Setting the volumes of a point themselves back, after `yes`."""

from __future__ import annotations

from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content

from engine.backend import NativePlan
from engine.events import Job
from tui.nativewords import done_rows, native_rows
from tui.screens.typed import TypedDialog
from tui.text import Line, content, point_title
from tui.widgets.keybar import Hint


class NativeScreen(TypedDialog[list[str]]):
    """Shows a plan once more, whole, and carries it out. The engine refuses it when anything has changed since it was
    made. Dismissed with what was done, None where nothing was."""

    BINDINGS = [Binding("pageup", "page(-1)", show=False), Binding("pagedown", "page(1)", show=False)]
    HEADING = "Set volumes back"
    WORKING = "volumes are being set back"
    FORM_HINTS = (Hint("yes enter", "Set them back"), Hint("page down", "Read on", "screen.page(1)", 2))
    QUESTION = "Set them back, for good?"
    KEYS = (("yes, enter", "set the volumes back; it cannot be taken back, nor stopped once it has begun"),
            ("page up, down", "read on in what would be done"), ("esc", "leave without changing anything"))

    def __init__(self, plan: NativePlan) -> None:
        super().__init__()
        self.add_class("-big")
        self.breakable = False      # half of it is nothing that anybody could want
        self._plan = plan

    def explain(self) -> list[Line]:
        """The plan."""
        return [content(*point_title(self._plan.point, self.rollpoint.now(), "To point")), Content(""),
                *native_rows(self._plan)]

    def run_job(self, job: Job) -> list[str]:
        """Set them back."""
        return self.rollpoint.engine.set_back(self._plan, job)

    def describe(self, result: list[str]) -> list[Line]:
        """What was done."""
        return done_rows(result)

    def action_page(self, by: int) -> None:
        """Read on in what would be done."""
        text = self.query_one("#explain", VerticalScroll)
        text.scroll_page_down(animate=False) if by > 0 else text.scroll_page_up(animate=False)
