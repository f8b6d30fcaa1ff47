"""Colours for the words of a file, from its name: Pygments' kinds of words, mapped onto the few looks there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.filediff import PIECE
from tui.text import Segment, safe

if TYPE_CHECKING:
    from pygments.lexer import Lexer

LIMIT = 256 << 10
"""Characters of text that are coloured at most: some of Pygments' grammars are slow."""
_LOOKS = (("Comment", "dim"), ("Keyword", "head"), ("Name.Tag", "head"), ("Name.Builtin", "head"),
          ("Literal.String", "good"), ("Literal.Number", "accent"), ("Name.Variable", "accent"),
          ("Name.Attribute", "accent"), ("Generic.Heading", "strong"), ("Name.Namespace", "strong"))
_ALIASES = {"conf": "ini", "cnf": "ini", "cfg": "ini", "rules": "bash", "list": "debsources", "mount": "systemd",
            "timer": "systemd", "socket": "systemd", "target": "systemd", "path": "systemd", "network": "systemd"}
_SHEBANGS = (("python", "python"), ("perl", "perl"), ("sh", "bash"))


def dress(text: str, name: bytes) -> list[list[Segment]] | None:
    """Return the lines of a text as pieces with a look, tabs as blanks and made safe; None where no grammar is known
    or where the text is too long."""
    if len(text) > LIMIT or any(len(line) > PIECE for line in text.split("\n")):
        return None
    lexer = _lexer(name, text[:100])
    if lexer is None:
        return _commented(text) if name.startswith(b"etc/") else None
    lines: list[list[Segment]] = [[]]
    column = 0
    for kind, value in lexer.get_tokens(text):
        look = _look(str(kind))
        for index, part in enumerate(value.split("\n")):
            if index:
                lines.append([])
                column = 0
            if part:
                shown, column = _expanded(part, column)
                lines[-1].append((safe(shown), look))
    return lines


def _commented(text: str) -> list[list[Segment]]:
    """Lines of a file of /etc that no grammar is known for: in most of them a `#` begins a comment."""
    return [[(safe(line.expandtabs(8)), "dim" if line.lstrip().startswith("#") else "")] for line in text.split("\n")]


def _expanded(part: str, column: int) -> tuple[str, int]:
    """A piece of a line with tabs as blanks, and the column behind it."""
    shown = (" " * (column % 8) + part).expandtabs(8)[column % 8:] if "\t" in part else part
    return shown, column + len(shown)


def _look(kind: str) -> str:
    word = kind.removeprefix("Token.")
    return next((look for start, look in _LOOKS if word.startswith(start)), "")


def _lexer(name: bytes, beginning: str) -> Lexer | None:
    from pygments.lexers import find_lexer_class_for_filename, get_lexer_by_name
    from pygments.util import ClassNotFound

    base = name.rpartition(b"/")[2].decode("utf-8", "replace")
    alias = _ALIASES.get(base.rpartition(".")[2] if "." in base else "")
    # Pygments takes the whole name for a pattern's subject, so `nginx.conf` is found before `.conf` is looked up.
    found = find_lexer_class_for_filename(base)
    options = {"stripnl": False, "ensurenl": False}
    if found is not None:
        return found(**options)
    if alias is None and beginning.startswith("#!"):
        first = beginning.split("\n", 1)[0]
        alias = next((word for sign, word in _SHEBANGS if sign in first), None)
    try:
        return get_lexer_by_name(alias, **options) if alias else None
    except ClassNotFound:
        return None
