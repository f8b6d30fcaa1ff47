"""The keys of a screen, and what its letters mean."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from tui.screens.message import MessageScreen
from tui.text import Field, Line, content

LISTS = (("up down, j k", "move"), ("page up, page down", "move by screens"), ("home end, g G", "first, last"),
         ("tab", "to the next part of the screen"))
EVERYWHERE = (
    (": ctrl+p", "what can be done here: search it, and do it"), ("? F1", "this help"), ("t", "light or dark"),
    ("esc", "back, without changing anything"), ("ctrl+c ctrl+q", "leave Rollpoint; asks while something runs"))
TYPING = "While a line is typed into, letters belong to it: F1 and ctrl+p work there as well."


class HelpScreen(MessageScreen):
    """The help of one screen."""

    KEYS = (("up down", "scroll"), ("esc, enter", "close the help"))

    def __init__(self, keys: Sequence[tuple[str, str]], notes: Sequence[str]) -> None:
        rows: list[Line] = [_line(key, text) for key, text in keys]
        rows += [Content("")] if keys else []
        if notes:
            rows += [content(note) for note in notes] + [Content("")]
        rows += [content(("Lists", "head"))] + [_line(key, text) for key, text in LISTS]
        rows += [Content(""), content(("Everywhere", "head"))] + [_line(key, text) for key, text in EVERYWHERE]
        rows += [content((TYPING, "dim"))]
        super().__init__("Keys", rows)


def _line(key: str, text: str) -> Line:
    return Field(key, content(text), 20)
