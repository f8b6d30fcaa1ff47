"""Where the command line writes: answers on stdout, messages on stderr, one JSON document, one progress line.

Everything that may hold a name from a disk has passed `engine.text` before it reaches a stream here.
Writing must never stop work that is changing something: once `must_finish` is set, a pipe or a terminal
that went away is ignored.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
import threading
import time
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from typing import IO, Any

from engine import text
from engine.events import Progress

_GONE = (errno.EPIPE, errno.EIO, errno.EBADF, errno.ENXIO)
_TICK = 0.12            # seconds between two drawings of the progress line: about 8 Hz


def width(line: str) -> int:
    """Return how many terminal columns `line` takes: wide characters count two, combining marks none."""
    if line.isascii():
        return len(line)
    return sum(_columns(c) for c in line)


def _columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def clip(line: str, columns: int) -> str:
    """Return `line` cut to at most `columns` terminal columns, with ``...`` at its end where something is
    missing."""
    if width(line) <= columns:
        return line
    kept, used = [], 0
    for char in line:
        used += _columns(char)
        if used > columns - 3:
            break
        kept.append(char)
    return "".join(kept) + "..."


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[int] = ()) -> list[str]:
    """Return aligned lines, the heading first. `right` names the columns that are aligned to the right
    (from 0)."""
    every = [list(head), *[list(row) for row in rows]]
    widths = [max(width(row[i]) for row in every) for i in range(len(head))]
    return ["  ".join(_cell(cell, widths[i], i in right) for i, cell in enumerate(row)).rstrip()
            for row in every]


def _cell(cell: str, columns: int, right: bool) -> str:
    gap = " " * (columns - width(cell))
    return gap + cell if right else cell + gap


def safe_text(value: str) -> str:
    """Return a free text (a comment, a tag) as JSON and terminals can hold it: lone surrogates become
    ``\\xNN``."""
    return "".join(text.printable(c) if 0xD800 <= ord(c) <= 0xDFFF else c for c in value)


def to_json(document: dict[str, Any], *, indent: int | None = None) -> str:
    """Return `document` as pure ASCII JSON without control characters and without lone surrogates."""
    out = json.dumps(document, default=_plain, indent=indent)
    if "\\ud" in out:
        out = json.dumps(_cleaned(document), default=_plain, indent=indent)
    return out


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return text.printable(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, set | frozenset):
        return sorted(value)
    return str(value)


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return safe_text(value)
    if isinstance(value, dict):
        return {_cleaned(k): _cleaned(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(v) for v in value]
    return value


def is_terminal(stream: IO[Any] | None) -> bool:
    """Return whether a standard stream is there and is a terminal."""
    try:
        return stream is not None and stream.isatty()
    except ValueError:
        return False


def prepare_streams() -> None:
    """Make the standard streams take and give any text: what a terminal cannot show becomes an escape.

    The number of a closed one is taken here: a file of the store would get it else, and a message with it.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
    for stream, errors in ((sys.stdin, "surrogateescape"), (sys.stdout, "backslashreplace"),
                           (sys.stderr, "backslashreplace")):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=errors)


class Output:
    """The two streams of one run of the command line."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False, verbose: int = 0) -> None:
        self.as_json = as_json
        self.quiet = quiet
        self.verbose = verbose
        self.must_finish = False
        self.progress = ProgressLine(self, shown=not quiet and is_terminal(sys.stderr))

    def data(self, line: str = "") -> None:
        """Write one line of the answer; with --json the document is the answer, so nothing is written."""
        if not self.as_json:
            self._write(sys.stdout, line + "\n")

    def info(self, line: str = "") -> None:
        """Write a line that explains: to stdout, or to stderr with --json; not with -q."""
        if not self.quiet:
            self.say(line)

    def say(self, line: str = "") -> None:
        """Write a line that must be seen (what a question is about): to stdout, or to stderr with --json."""
        self._write(sys.stderr if self.as_json else sys.stdout, line + "\n")

    def debug(self, line: str) -> None:
        """Write a line that only -v shows, to stderr."""
        if self.verbose:
            self._message(text.message(line))

    def note(self, sentence: str) -> None:
        """Write a message to stderr that is no warning; not with -q."""
        if not self.quiet:
            self._message(text.message(sentence))

    def warn(self, sentence: str) -> None:
        """Write a warning to stderr."""
        self._message("warning: " + text.message(sentence))

    def error(self, sentence: str, hint: str = "") -> None:
        """Write what failed to stderr, and below it what to do about it."""
        self._message("rollpoint: " + text.message(sentence))
        if hint:
            self._message("hint: " + text.message(hint))

    def document(self, document: dict[str, Any]) -> None:
        """Write the JSON document of this run to stdout."""
        indent = 2 if is_terminal(sys.stdout) else None
        self._write(sys.stdout, to_json(document, indent=indent) + "\n")

    def raw(self, block: bytes) -> None:
        """Write bytes to stdout as they are (`cat`)."""
        self.progress.clear()
        stream = sys.stdout
        if stream is not None:
            stream.buffer.write(block)

    def prompt(self, question: str) -> None:
        """Write a question without ending the line, where the admin sees it although stdout is redirected."""
        to_stdout = not self.as_json and is_terminal(sys.stdout)
        self._write(sys.stdout if to_stdout else sys.stderr, question)
        self.flush()

    def flush(self) -> None:
        """Hand over what is buffered."""
        for stream in (sys.stdout, sys.stderr):
            if stream is not None and not stream.closed:
                try:
                    stream.flush()
                except OSError as error:
                    self._lost(error, stream)

    def _message(self, line: str) -> None:
        if sys.stdout is not None and sys.stdout is not sys.stderr:
            self.flush()            # keeps the order where both streams are the same file
        self._write(sys.stderr, line + "\n")

    def _write(self, stream: IO[str] | None, chunk: str) -> None:
        if stream is None:
            return
        self.progress.clear()
        try:
            stream.write(chunk)
        except OSError as error:
            self._lost(error, stream)

    def _lost(self, error: OSError, stream: IO[str]) -> None:
        """Go on without the reader where work is under way, else let the caller end quietly."""
        if self.must_finish and error.errno in _GONE:
            _point_at_nothing(stream)
            return
        raise error


def silence_streams() -> None:
    """Point stdout and stderr, where their reader is gone, at nothing, so that no later write or flush
    can fail."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            _point_at_nothing(stream)


def _point_at_nothing(stream: IO[str]) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


class ProgressLine:
    """One line on stderr that is drawn over again a few times a second while long work runs, and then
    vanishes."""

    def __init__(self, out: Output, *, shown: bool) -> None:
        self.shown = shown
        self._out = out
        self._lock = threading.Lock()
        self._next = 0.0
        self._drawn = False

    def __call__(self, progress: Progress) -> None:
        """Take what the engine reports; called from the working thread, possibly thousands of times a
        second."""
        now = time.monotonic()
        if not self.shown or now < self._next:
            return
        with self._lock:
            self._next = now + _TICK
            columns = shutil.get_terminal_size().columns
            self._raw("\r\x1b[K" + clip(progress_text(progress), max(10, columns - 1)))
            self._drawn = True

    def clear(self) -> None:
        """Take the line away, so that other output starts on an empty one."""
        if self._drawn:
            with self._lock:
                self._raw("\r\x1b[K")
                self._drawn = False

    def _raw(self, chunk: str) -> None:
        try:
            sys.stderr.write(chunk)
            sys.stderr.flush()
        except OSError:
            self.shown = False      # a terminal that is gone must not stop the work


def progress_text(progress: Progress) -> str:
    """Return where work stands as one printable line: phase, count of total, bytes, current item."""
    count = text.human_size if progress.unit == "bytes" else _number
    parts = [text.message(progress.phase)]
    if progress.total:
        share = min(100, progress.done * 100 // progress.total)
        parts.append(f"{count(progress.done)} of {count(progress.total)} ({share} %)")
    elif progress.done:
        parts.append(count(progress.done) + ("" if progress.unit == "bytes" else " " + progress.unit))
    if progress.bytes_done and progress.unit != "bytes":
        parts.append(text.human_size(progress.bytes_done))
    if progress.current:
        parts.append(text.shown_path(progress.current))
    return "  ".join(parts)


def _number(count: int) -> str:
    return f"{count:,}"
