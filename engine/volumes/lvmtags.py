"""What a snapshot of ours knows of itself, in the tags of its logical volume.

Tags outlive what the report says by itself: after a merge the other thin snapshots of that origin have lost their
``origin`` and are volumes like any other (lvm2, tried with 2.03.16); ours still name it.

LVM takes ``A-Za-z0-9_+.-/=!:#&`` in a tag, no ``-`` at its beginning, and at least 127 characters (lvm(8)). So each tag
is ``rollpoint.FIELD=VALUE``, a byte of the value that is none of ``A-Za-z0-9_.:/-`` is ``+`` and two hex digits, and a
value that is longer than a tag goes on in ``rollpoint.FIELD.1=``, ``rollpoint.FIELD.2=``, ….
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

PREFIX = "rollpoint."
MOST_COMMENT = 1000         # bytes: the metadata of a volume group has room for some hundred snapshots with such
_PIECE = 90
_PLAIN = re.compile(rb"[A-Za-z0-9_.:/-]")
_TAG = re.compile(r"rollpoint\.([a-z]+)(?:\.(\d+))?(?:=(.*))?")


@dataclass(frozen=True, slots=True)
class Label:
    """The tags of a snapshot. `id` is the point that it belongs to ("": one of another program's that was annotated),
    `name` and `origin` the names of the logical volume and of its origin when it was made, `place` where that was
    mounted (root-relative; None: nowhere)."""

    id: str = ""
    name: str = ""
    origin: str = ""
    place: bytes | None = None
    comment: str = ""
    tags: tuple[str, ...] = ()
    pinned: bool = False
    reason: str = ""


def written(label: Label) -> list[str]:
    """Return the tags that say this."""
    values = {"id": label.id, "name": label.name, "origin": label.origin, "reason": label.reason}
    found = [tag for field, value in values.items() if value for tag in _pieces(field, value.encode())]
    if label.place is not None:
        found += _pieces("place", b"/" + label.place)
    if label.tags:
        found += _pieces("tags", "\n".join(label.tags).encode("utf-8", "surrogateescape"))
    return found + changeable(label.comment, pinned=label.pinned)


def changeable(comment: str, *, pinned: bool) -> list[str]:
    """Return the tags of what may be changed later."""
    found = _pieces("comment", comment.encode("utf-8", "surrogateescape")) if comment else []
    return found + ([f"{PREFIX}pinned"] if pinned else [])


def read(tags: Iterable[str]) -> Label | None:
    """Return what the tags of a logical volume say, None where none of them is ours. Never raises: what is not
    understood is left out."""
    pieces: dict[str, dict[int, str]] = {}
    for tag in tags:
        found = _TAG.fullmatch(tag)
        if found:
            pieces.setdefault(found[1], {})[int(found[2] or 0)] = found[3] or ""
    if not pieces:
        return None
    raw = {field: _decoded("".join(text for _, text in sorted(parts.items()))) for field, parts in pieces.items()}
    text = {field: value.decode("utf-8", "surrogateescape") for field, value in raw.items()}
    place = raw.get("place")
    return Label(text.get("id", ""), text.get("name", ""), text.get("origin", ""),
                 place[1:] if place is not None else None, text.get("comment", ""),
                 tuple(t for t in text.get("tags", "").split("\n") if t), "pinned" in pieces, text.get("reason", ""))


def _pieces(field: str, value: bytes) -> list[str]:
    coded = [chr(b) if _PLAIN.fullmatch(bytes([b])) else f"+{b:02x}" for b in value]
    lines, line = [], ""
    for char in coded:
        if len(line) + len(char) > _PIECE:
            lines.append(line)
            line = ""
        line += char
    lines.append(line)
    return [f"{PREFIX}{field}{f'.{number}' if number else ''}={text}" for number, text in enumerate(lines)]


def _decoded(text: str) -> bytes:
    return re.sub(rb"\+([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), text.encode("ascii", "replace"))


def cut(comment: str) -> str:
    """Return as much of a comment as is kept."""
    data = comment.encode("utf-8", "surrogateescape")
    return comment if len(data) <= MOST_COMMENT else data[:MOST_COMMENT - 3].decode("utf-8", "ignore") + "…"
