"""What can be done on the screen in front, as a list to search: its own keys, the places, the keys of every screen.

Pure: the screen's help (`KEYS`), what its keys are bound to, and what is impossible now go in; entries come out. A
screen need do nothing for it but say its keys in `KEYS` and bind them, as it does for the help.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from textual.dom import DOMNode
from textual.keys import _character_to_key

MOVES = ("up", "down", "pageup", "pagedown", "home", "end", "left", "right", "tab", "shift+tab", "j", "k", "g", "G")
"""Keys that move a cursor: nobody looks for these in a palette."""
_NAMES = {"esc": "escape", "page up": "pageup", "page down": "pagedown"}


class Bound(NamedTuple):
    """What a key does now: an action, and the widget, screen or app that has it."""

    action: str
    node: DOMNode


class Command(NamedTuple):
    """Something that can be done now. `key` is how the help names its key, "" where it has none on this screen."""

    key: str
    text: str
    action: str
    node: DOMNode


def key_name(text: str, bound: Iterable[str]) -> str:
    """Return which bound key a text of the help means: ``u`` for ``u, F5`` (the first of several for the same),
    ``slash`` for ``/``; "" for ranges (``1 to 5``), for several keys that do different things, and for words."""
    first = re.split(r",\s+| or ", text)[0]
    known = set(bound)
    names = (_character_to_key(first) if len(first) == 1 else first, _NAMES.get(first, first.lower()))
    return next((name for name in names if name in known and (len(name) > 1 or name == first)), "")


def own_commands(keys: Sequence[tuple[str, str]], bound: Mapping[str, Bound],
                 why_not: Callable[[str], str]) -> list[Command]:
    """Return what a screen offers by its own keys, each action once."""
    found: dict[str, Command] = {}
    for text, what in keys:
        name = key_name(text, bound)
        if not name or name in MOVES:
            continue
        action, node = bound[name]
        if not why_not(action.rpartition(".")[2].partition("(")[0]):
            found.setdefault(action, Command(text, what, action, node))
    return list(found.values())


def search(commands: Sequence[Command], typed: str) -> list[Command]:
    """Return the commands that fit what was typed, the best first: all words at the beginning of words, then all words
    anywhere, then all letters in their order. What was typed may also be a key."""
    wanted = typed.lower().split()
    if not wanted:
        return list(commands)
    ranked = [(rank, index) for index, command in enumerate(commands)
              if (rank := _rank(command, wanted, typed.strip())) is not None]
    return [commands[index] for _, index in sorted(ranked)]


def _rank(command: Command, wanted: Sequence[str], typed: str) -> int | None:
    text = command.text.lower()
    if typed in re.split(r"[,\s]+", command.key):
        return 0
    if all(re.search(r"(?<!\w)" + re.escape(word), text) for word in wanted):
        return 1
    if all(word in text for word in wanted):
        return 2
    return 3 if _in_order("".join(wanted), text) else None


def _in_order(letters: str, text: str) -> bool:
    at = 0
    for letter in letters:
        at = text.find(letter, at) + 1
        if not at:
            return False
    return True
