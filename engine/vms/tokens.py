r"""The words of a vm.cfg, and where one statement ends and the next begins.

One reader for both dialects: xm's files are Python 2 programs (xend ran them), xl's have a grammar of their own
(libxlu_cfg_l.l). Nothing is ever executed. What is common to both is enough to find the end of a statement: strings
(``'…'`` and ``"…"`` on one line, three quotes over several), brackets, ``#`` comments, a newline or ``;`` at its end,
``\`` before a newline. A string or bracket that is never closed costs its own statement, not those after it: inside
brackets a line that begins like an assignment begins the next one, for no list or dictionary can hold that.

The time is linear in the size of the file, and both are limited.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

MAX_NESTING = 32
MAX_TOKENS = 20_000     # some 50 ms of work; a real file has a few hundred

_TOKEN = re.compile(r"""
    (?P<space>(?:[ \t\f\v\ufeff]|\\(?:\r\n|[\r\n]))++)
  | (?P<comment>\#[^\r\n]*+)
  | (?P<newline>\r\n|[\r\n])
  | (?P<number>(?:[0-9]|\.(?=[0-9]))(?:[eE][-+](?=[0-9])|[0-9A-Za-z_.])*+)
  | (?P<name>[^\W\d][\w.]*+)
  | (?P<deep>[\[({]{33,}+ | [\])}]{33,}+)
  | (?P<junk>[^\s\w'"\[\](){}\#;=,+:\\-]++)
  | (?P<mark>\+=|==|[\s\S])
""", re.VERBOSE)
_STRINGS = {
    "'''": re.compile(r"'''(?:[^'\\]++|\\[\s\S]|'(?!''))*+'''"),
    '"""': re.compile(r'"""(?:[^"\\]++|\\[\s\S]|"(?!""))*+"""'),
    "'": re.compile(r"'(?:[^'\\\r\n]++|\\(?:\r\n|[\s\S]))*+'"),
    '"': re.compile(r'"(?:[^"\\\r\n]++|\\(?:\r\n|[\s\S]))*+"'),
}
_STRING_PREFIXES = frozenset({"u", "b", "r", "ur", "br", "rb"})
_LINE_REST = re.compile(r"[^\r\n]*+")
_NEWLINE = re.compile(r"\r\n|[\r\n]")
_ASSIGNMENT = re.compile(r"[ \t]*+[^\W\d][\w.]*+[ \t]*+\+?=(?!=)")
_INDENTED = re.compile(r"[ \t]|[\r\n]")
_BLOCKS = frozenset({"if", "elif", "else", "for", "while", "def", "class", "try", "except", "finally", "with"})
_PAIRS = {")": "(", "]": "[", "}": "{"}


class Token(NamedTuple):
    """A word: ``name``, ``number``, ``string``, ``mark`` (operators, brackets) or ``junk``; `start` counts
    characters of the text."""

    kind: str
    text: str
    start: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the text from `start` to `end` that begins in `line` (from 1): a statement with its tokens, or blank
    and comment lines without any. `fault` says why no statement can be made of it, "" where nothing is known against
    it."""

    start: int
    end: int
    line: int
    tokens: tuple[Token, ...]
    fault: str = ""


class _Scanner:
    """Cuts a text into pieces."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.count = text, 0, 0
        self._never_closed: set[str] = set()

    def piece(self, line: int) -> Piece:
        """Read on to the end of the next statement, or of the next line without one."""
        start, tokens, open_, fault = self.at, list[Token](), list[str](), ""
        block = blank = False
        while self.at < len(self.text):
            token = self._token()
            if self.count > MAX_TOKENS:
                fault, self.at = f"more than {MAX_TOKENS:,} words: the rest of the file is not read", len(self.text)
                break
            if not tokens and (token.kind in ("newline", "comment") or token.text == ";"):
                blank = True
                continue
            if token.kind in ("space", "comment"):
                continue
            if blank:
                self.at = token.start
                break
            if not open_ and self._ends(token, block):
                break
            if token.kind == "newline":
                if open_ and self._starts_anew(open_):
                    break
                continue
            fault = fault or self._fault(token, open_)
            if not fault or len(tokens) < 2:
                tokens.append(token)
            if len(tokens) == 2:
                block = block or (tokens[0].text in _BLOCKS and tokens[1].text not in ("=", "+="))
        if open_:
            fault = fault or "a bracket is not closed"
        return Piece(start, self.at, line, tuple(tokens), fault)

    def _ends(self, token: Token, block: bool) -> bool:
        """Whether a statement without open brackets ends with this token; the indented lines of a block belong to
        it."""
        if token.kind == "newline":
            return not (block and _INDENTED.match(self.text, self.at))
        return token.text == ";" and not block

    def _starts_anew(self, open_: list[str]) -> bool:
        """Whether the line here begins a statement although brackets are open. In a call (``(``) an indented
        ``name=`` is an argument."""
        if "(" in open_ and _INDENTED.match(self.text, self.at):
            return False
        return _ASSIGNMENT.match(self.text, self.at) is not None

    def _fault(self, token: Token, open_: list[str]) -> str:
        """Keep account of the brackets; say what is wrong with a token where it stands."""
        if token.kind == "unclosed":
            return "a string is not closed"
        if token.kind == "deep" and token.text[0] in _PAIRS:
            del open_[-len(token.text):]
            return "too many brackets are closed"
        if token.kind == "deep":
            open_.extend(token.text)
        elif token.kind == "mark" and token.text in "([{":
            open_.append(token.text)
        elif token.kind == "mark" and token.text in _PAIRS:
            opened = open_.pop() if open_ else ""
            if opened != _PAIRS[token.text]:
                return f"a {token.text} closes nothing"
        return f"brackets are nested deeper than {MAX_NESTING}" if len(open_) > MAX_NESTING else ""

    def _token(self) -> Token:
        start = self.at
        self.count += 1
        found = _TOKEN.match(self.text, start)
        assert found is not None                    # `mark` takes any character
        kind, text = str(found.lastgroup), found[0]
        if text[0] in "'\"":
            return self._string(start, start)
        self.at = found.end()
        if kind == "name" and text.lower() in _STRING_PREFIXES and self.text[self.at:self.at + 1] in ("'", '"'):
            return self._string(start, self.at)
        return Token(kind, text, start)

    def _string(self, start: int, quote: int) -> Token:
        """Read a string whose prefix is at `start` and whose quote is at `quote`; the rest of the line where it is not
        closed."""
        single = self.text[quote]
        for marks in (single * 3, single):
            if marks in self._never_closed or not self.text.startswith(marks, quote):
                continue
            found = _STRINGS[marks].match(self.text, quote)
            if found:
                self.at = found.end()
                return Token("string", self.text[start:self.at], start)
            if marks != single:     # no later one is closed either, and to look again for each would take for ever
                self._never_closed.add(marks)
            break
        rest = _LINE_REST.match(self.text, quote)
        self.at = rest.end() if rest else len(self.text)
        return Token("unclosed", "", start)


def pieces(text: str) -> Iterator[Piece]:
    """Yield the pieces of a text in their order, without a gap: joined, they are the text again."""
    scanner, line = _Scanner(text), 1
    while scanner.at < len(text):
        found = scanner.piece(line)
        line += len(_NEWLINE.findall(text, found.start, found.end))
        yield found
