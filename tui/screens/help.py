"""The keys of a screen, and what its letters mean."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from tui.screens.message import MessageScreen
from tui.text import Field, Line, content

EVERYWHERE = (
    ("up down, j k", "move"), ("page up, page down", "move by screens"), ("home end, g G", "to the first, to the last"),
    ("?", "this help"), ("t", "light or dark"), ("esc", "back, without changing anything"),
    ("ctrl+c, ctrl+q", "leave Rollpoint; asks while something is under way"))


class HelpScreen(MessageScreen):
    """The help of one screen."""

    def __init__(self, keys: Sequence[tuple[str, str]], notes: Sequence[str]) -> None:
        rows: list[Line] = [_line(key, text) for key, text in keys]
        rows += [Content(""), content(("Everywhere", "head"))] + [_line(key, text) for key, text in EVERYWHERE]
        if notes:
            rows += [Content("")] + [content(note) for note in notes]
        super().__init__("Keys", rows)


def _line(key: str, text: str) -> Line:
    return Field(key, content(text), 18)
