r"""Words of a statement -> its value: strings, numbers, True, False, None, lists, tuples and dictionaries of these.

Strings have Python 2's meaning, which for what xl allows is xl's too: ``\xNN`` and ``\NNN`` are bytes, an escape that
is none stays as it is, strings side by side are one. Bytes that are no UTF-8 become surrogates, as in names of files.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from engine.vms.tokens import Token

_NUMBER_LENGTH = 40
_INTEGER = re.compile(r"(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)[lL]?")
_FLOAT = re.compile(r"(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+")
_ESCAPE = re.compile(r"\\(?:(\r\n|[\r\n])|([0-7]{1,3})|x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|([\s\S]))")
_SIMPLE = {"\\": "\\", "'": "'", '"': '"', "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t",
           "v": "\v"}
_WORDS = {"True": True, "False": False, "None": None}
_CODE = "it is code, not a value"


@dataclass(frozen=True, slots=True)
class Pairs:
    """A dictionary, as the pairs that stand in it."""

    items: tuple[tuple[Value, Value], ...]


Value = str | int | float | bool | None | tuple["Value", ...] | Pairs
"""What a key can hold; lists and tuples are both tuples."""


class Unreadable(Exception):
    """Words that are no value; the text says why."""


def value(tokens: Sequence[Token]) -> Value:
    """Return the value that all these tokens are; raises Unreadable."""
    reader = _Reader(tokens)
    found = reader.value()
    if reader.peek() is not None:
        raise Unreadable("something follows the value" if reader.peek() != "," else "it is a list without brackets")
    return found


class _Reader:
    """Recursive descent; the scanner has limited the depth."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens, self.at = tokens, 0

    def peek(self) -> str | None:
        """The text of the next token, None at the end."""
        return self.tokens[self.at].text if self.at < len(self.tokens) else None

    def value(self) -> Value:
        """Read one value."""
        if self.at >= len(self.tokens):
            raise Unreadable("there is no value")
        token = self.tokens[self.at]
        self.at += 1
        if token.kind == "string":
            return self._strings(token)
        if token.kind == "number":
            return number(token.text)
        if token.kind == "name" and token.text in _WORDS:
            return _WORDS[token.text]
        if token.text in ("-", "+") and self.at < len(self.tokens) and self.tokens[self.at].kind == "number":
            self.at += 1
            amount = number(self.tokens[self.at - 1].text)
            return -amount if token.text == "-" else amount
        if token.text in ("[", "("):
            return self._sequence(token.text)
        if token.text == "{":
            return self._pairs()
        raise Unreadable(_CODE)

    def _strings(self, token: Token) -> str:
        out = [string(token.text)]
        while self.at < len(self.tokens) and self.tokens[self.at].kind == "string":
            out.append(string(self.tokens[self.at].text))
            self.at += 1
        return _joined("".join(out))

    def _sequence(self, opened: str) -> Value:
        close, out, comma = "]" if opened == "[" else ")", list[Value](), False
        while self.peek() != close:
            if out and not comma:
                raise Unreadable(_CODE if self.peek() not in ("]", ")", "}", None) else "a bracket is not closed")
            out.append(self.value())
            comma = self.peek() == ","
            self.at += comma
        self.at += 1
        return out[0] if opened == "(" and len(out) == 1 and not comma else tuple(out)

    def _pairs(self) -> Pairs:
        out, comma = list[tuple[Value, Value]](), True
        while self.peek() != "}":
            if not comma:
                raise Unreadable(_CODE)
            key = self.value()
            if self.peek() != ":":
                raise Unreadable(_CODE)
            self.at += 1
            out.append((key, self.value()))
            comma = self.peek() == ","
            self.at += comma
        self.at += 1
        return Pairs(tuple(out))


def number(text: str) -> int | float:
    """Return the number a word is: decimal, 0x, 0b, octal (0755, 0o755), with Python 2's L, or a fraction. Raises
    Unreadable."""
    if len(text) <= _NUMBER_LENGTH:
        found = _INTEGER.fullmatch(text)
        if found:
            digits = found[1].lower()
            if digits[:2] in ("0x", "0b", "0o"):
                return int(digits, 0)
            return int(digits, 8 if digits.startswith("0") else 10)
        if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
            return float(text)
    raise Unreadable("it holds a number that is none")


def string(text: str) -> str:
    """Return what a string with its prefix and quotes stands for; single bytes above 127 as surrogates."""
    quote = min(at for at in (text.find("'"), text.find('"')) if at >= 0)
    prefix, width = text[:quote].lower(), 3 if text[quote:quote + 3] in ("'''", '"""') and len(text) >= quote + 6 else 1
    inner = text[quote + width:-width]
    if "r" in prefix or "\\" not in inner:
        return inner
    wide = "u" in prefix
    return _ESCAPE.sub(lambda found: _unescaped(found, wide), inner)


def _unescaped(found: re.Match[str], wide: bool) -> str:
    newline, octal, hexa, short, long, other = found.groups()
    if newline:
        return ""
    if octal or hexa:
        code = int(octal, 8) & 0xFF if octal else int(hexa, 16)
        return chr(code) if wide or code < 0x80 else chr(0xDC00 + code)
    if short or long:
        code = int(short or long, 16)
        fits = wide and code < 0x110000 and not 0xD800 <= code <= 0xDFFF
        return chr(code) if fits else found[0]
    return _SIMPLE.get(other, found[0])


def _joined(text: str) -> str:
    """Bytes that were written one by one may be UTF-8 together."""
    return text if text.isascii() else text.encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
