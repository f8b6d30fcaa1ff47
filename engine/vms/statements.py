"""A vm.cfg as a list of statements: what could be read, and for each statement that could not, its line and why.

Nothing is executed and nothing is dropped: the sources of the statements joined are the file, byte by byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.vms.literals import Unreadable, Value, value
from engine.vms.tokens import Piece, pieces

MAX_BYTES = 256 << 10       # real ones have a few KiB

_ASSIGNS = ("=", "+=")


@dataclass(frozen=True, slots=True)
class Statement:
    """A stretch of the file. `key` and `value` are what it assigns (`adds`: with ``+=``); a `problem` says why it could
    not be read (then a key is only a name for people); neither: blank lines and comments. `line` counts from 1.
    `body` is where in `source` the value begins, 0 where there is none."""

    line: int
    source: bytes
    key: str = ""
    value: Value = None
    adds: bool = False
    problem: str = ""
    body: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a line could not be read, or what is odd about it. Never holds any of the file but the name of a `key`, ""
    where none was recognised."""

    line: int
    text: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Document:
    """A whole vm.cfg. `values` is what holds at its end: the last assignment of a key counts, and a key whose last
    assignment could not be read is not there. `problems` are statements that were skipped, `notes` oddities of some
    that were read."""

    statements: tuple[Statement, ...]
    values: Mapping[str, Value] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()

    @property
    def source(self) -> bytes:
        """The file as it was read, byte by byte."""
        return b"".join(statement.source for statement in self.statements)


def read(data: bytes) -> Document:
    """Return what a vm.cfg says. Never raises, whatever the bytes."""
    if len(data) > MAX_BYTES:
        problem = f"the file is longer than {MAX_BYTES >> 10} KiB, so it is not read"
        return Document((Statement(1, data, problem=problem),), problems=(Problem(1, problem),))
    text = data.decode("utf-8", "surrogateescape")
    draft = _Draft()
    for piece in pieces(text):
        draft.take(_statement(text, piece))
    return Document(tuple(draft.statements), draft.values, tuple(draft.problems), tuple(draft.notes))


def _statement(text: str, piece: Piece) -> Statement:
    source = _bytes(text[piece.start:piece.end])
    if not piece.tokens:
        return Statement(piece.line, source, problem=piece.fault)
    # The first token's line, not that of blanks before it (a BOM, continued empty lines).
    words = piece.tokens
    line = piece.line + _bytes(text[piece.start:words[0].start]).count(b"\n")
    assigns = len(words) > 1 and words[0].kind == "name" and words[1].text in _ASSIGNS
    key = words[0].text if assigns else ""
    body = len(_bytes(text[piece.start:words[1].start + len(words[1].text)])) if assigns else 0
    adds = assigns and words[1].text == "+="
    try:
        if piece.fault or not assigns:
            raise Unreadable(piece.fault or "it is no assignment of a value")
        return Statement(line, source, key, value(words[2:]), adds, body=body)
    except Unreadable as error:
        return Statement(line, source, key, adds=adds, problem=str(error), body=body)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


class _Draft:
    """What the statements so far come to."""

    def __init__(self) -> None:
        self.statements: list[Statement] = []
        self.values: dict[str, Value] = {}
        self.problems: list[Problem] = []
        self.notes: list[Problem] = []
        self._lines: dict[str, int] = {}

    def take(self, statement: Statement) -> None:
        key, problem = statement.key, statement.problem
        if key and not problem and statement.adds and key in self.values:
            problem = self._add(key, statement.value)
        elif key and not problem:
            if key in self._lines:
                self.notes.append(Problem(statement.line, f"{key} is set again (first in line {self._lines[key]}); "
                                                          "the last one counts", key))
            self.values[key] = statement.value
        if problem:
            self.values.pop(key, None)
            self.problems.append(Problem(statement.line, f"{key}: {problem}" if key else problem, key))
        if key:
            self._lines.setdefault(key, statement.line)
        self.statements.append(statement)

    def _add(self, key: str, more: Value) -> str:
        before = self.values[key]
        if isinstance(before, str) and isinstance(more, str):
            self.values[key] = before + more
            return ""
        if isinstance(before, tuple) and isinstance(more, tuple):
            self.values[key] = before + more
            return ""
        return "what += adds is of another kind"
