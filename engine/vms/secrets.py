"""Passwords in a vm.cfg (vncpasswd, spicepasswd, keys of storage), and how they are kept out of every output.

What a screen, a message or a document shows of a vm.cfg passes `hidden` (one text), `hidden_value` (the value of a key)
or `masked` (the whole file). They hide too much rather than too little: a key counts as a secret by its name, known or
not.
"""

from __future__ import annotations

import re

from engine.vms.literals import Pairs, Value
from engine.vms.statements import Document, Statement, read
from engine.vms.tokens import pieces

HIDDEN = "********"

_NAME = (r"[\w.-]*(?:passw|passphrase|pwd|secret|token|credential|api_?key|private_?key|auth_?key|access_?key"
         r"|luks[._-]?key)[\w.-]*|(?:[\w.-]*[_.-])?pass|(?:[\w.-]*[_.-])?pw")
_SECRET_KEY = re.compile(rf"(?:{_NAME})", re.IGNORECASE)
# `key=` alone is one in what follows a storage protocol (rbd:pool/image:id=admin:key=...), `keymap=` never is. A value
# ends at a comma: xend and xl split there, and know no quotes.
_PARAMETER = re.compile(rf"(?<![\w.-])((?:{_NAME}|(?<=[:,;?&])key)[ \t]*=[ \t]*)(?:\"[^\"]*\"|'[^']*')?[^,\r\n]*",
                        re.IGNORECASE)
_IN_ADDRESS = re.compile(r"(://[^/\s@:%]*[:%])[^/\s@]+(?=@)")
# Where the file could not be read: whatever follows on the line, or in the statement.
_COMMENT = re.compile(r"#[^\r\n]*")
_BEFORE = rf"(?<![\w.-])((?:{_NAME})\b['\"]?[ \t]*[:=,])"
_LINE = re.compile(_BEFORE + r"[^\r\n]+", re.IGNORECASE)
_STATEMENT = re.compile(_BEFORE + r"[\s\S]*?[^\r\n][\s\S]*?(?=[\r\n]*\Z)", re.IGNORECASE)


def is_secret(key: str) -> bool:
    """Whether a key or parameter of that name holds a secret."""
    return _SECRET_KEY.fullmatch(key) is not None


def hidden(text: str) -> str:
    """Return a text with the values of secret parameters in it (``vncpasswd=…``, ``//user:…@host``) replaced."""
    if "=" not in text and "@" not in text:
        return text
    return _IN_ADDRESS.sub(rf"\g<1>{HIDDEN}", _PARAMETER.sub(rf"\g<1>{HIDDEN}", text))


def hidden_value(key: str, value: Value) -> Value:
    """Return the value of a key with everything secret in it replaced; an empty or unset secret stays as it is."""
    if is_secret(key):
        return value if value is None or value == "" or value == () else HIDDEN
    if isinstance(value, str):
        return hidden(value)
    if isinstance(value, tuple):
        return tuple(hidden_value("", item) for item in value)
    if isinstance(value, Pairs):
        return Pairs(tuple((hidden_value("", name), hidden_value(name if isinstance(name, str) else "", item))
                           for name, item in value.items))
    return value


def masked(document: Document) -> bytes:
    """Return the file as it is, byte by byte, but for its secrets."""
    return b"".join(_masked(statement) for statement in document.statements)


def _masked(statement: Statement) -> bytes:
    text = statement.source.decode("utf-8", "surrogateescape")
    if statement.problem:
        return _encoded(_STATEMENT.sub(rf"\g<1> {HIDDEN}", text))
    if not statement.key:
        return _encoded(_in_line(text))
    wanted = hidden_value(statement.key, statement.value)
    if wanted == statement.value or not is_secret(statement.key):
        shown = _encoded(_in_strings(text))
        # Only where the file that is shown says what may be shown: a secret can be written in pieces or with escapes.
        if [(s.key, s.value) for s in read(shown).statements if s.key or s.problem] == [(statement.key, wanted)]:
            return shown
    source = statement.source
    return source[:statement.body] + f" '{HIDDEN}'".encode() + source[len(source.rstrip(b"\r\n")):]


def _in_strings(text: str) -> str:
    """Hide what the strings and the comments of a statement hold."""
    out, at = [], 0
    for token in (token for piece in pieces(text) for token in piece.tokens if token.kind == "string"):
        out += [_COMMENT.sub(lambda found: _in_line(found[0]), text[at:token.start]), hidden(token.text[:-1])]
        at = token.start + len(token.text) - 1      # the last quote is left for the next stretch
    return "".join(out) + _COMMENT.sub(lambda found: _in_line(found[0]), text[at:])


def _in_line(text: str) -> str:
    return _LINE.sub(rf"\g<1> {HIDDEN}", text)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
