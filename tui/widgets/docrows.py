"""The part of a point's document that nothing else knows: packages, boot images, facts of the machine, whatever an
engine wrote there. Shown as it is, under its own names, so that what is recorded later is shown without a change here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tui.text import Field, Line, content, count, field, plural, safe, shown

KNOWN = frozenset({"id", "number", "created", "comment", "tags", "pinned", "reason", "taken_by", "seconds", "counts",
                   "changed", "databases", "host", "os", "kernel", "sources", "excludes", "allocated", "files",
                   "format", "root"})
"""Keys that are shown elsewhere, or that are of use to the engine only."""
_LINES = 40
_LABELS = {"machine_id": "Machine id", "rollpoint": "Version", "rsync": "Reading"}


def other_rows(doc: Mapping[str, Any]) -> list[Line]:
    """Return what a document holds besides what is known, each key with its values below it."""
    rows: list[Line] = []
    for key, value in doc.items():
        if key == "rsync" and isinstance(value, Mapping) and not value.get("problems"):
            continue        # everything could be read
        if key in KNOWN or value is None or value == "" or value == [] or value == {}:
            continue
        label = _LABELS.get(key, safe(key).replace("_", " ").capitalize())
        lines = list(value_lines(value))
        rows.append(_labelled(label, lines[0]))
        rows += [field("", text) for text in lines[1:_LINES]]
        if len(lines) > _LINES:
            rows.append(field("", (f"and {plural(len(lines) - _LINES, 'line')} more", "dim")))
    return rows


def _labelled(label: str, text: str) -> Line:
    """A label that is too long for its column stands before the value."""
    return field(label, text) if len(label) <= 10 else Field(label, content(text), len(label) + 1)


def value_lines(value: object) -> Iterator[str]:
    """Yield a value line by line: texts of several lines as they are, one line for each item of a list or mapping."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            first, *rest = list(value_lines(inner)) or [""]
            yield f"{safe(key)}: {first}"
            yield from (f"  {line}" for line in rest)
    elif isinstance(value, list | tuple):
        if all(isinstance(item, str | int | float) for item in value) and len(value) <= _LINES // 4:
            yield ", ".join(shown(item) for item in value)
        else:
            for item in value:
                yield shown(item)
    elif isinstance(value, str):
        yield from (safe(line.expandtabs(8)) for line in value.splitlines() or [""])
    elif isinstance(value, int) and not isinstance(value, bool):
        yield count(value)
    else:
        yield shown(value)
