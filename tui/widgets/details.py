"""Everything that is known about one point, as lines of text: for the pane beside the list and for the full view."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from textual.containers import VerticalScroll

from engine.points import RestorePoint
from engine.text import human_age
from tui.storagewords import whose
from tui.text import Line, Segment, called, content, count, field, plural, safe, shown, size, stamp, standing
from tui.widgets.docrows import other_rows
from tui.widgets.fields import Fields
from tui.widgets.partrows import part_rows


def detail_rows(point: RestorePoint, now: datetime, *, full: bool = True) -> list[Line]:
    """Return what is known about a point, the important first. Not `full`: short lists, no excludes."""
    doc = point.doc
    title, age = (f"Point {called(point)}", "head"), human_age(point.age(now))
    rows: list[Line] = [content(title, "  " + stamp(point.created), ("" if full else f"  {age}", "dim"))]
    if full:
        rows.append(field("Age", age))
    rows.append(field("State", *_spread(standing(point))))
    rows += [field("Problem" if i == 0 else "", (p, "bad")) for i, p in enumerate(point.problems)]
    rows.append(field("Comment", (point.comment, "") if point.comment else ("none", "dim")))
    rows.append(field("Taken", *_taken(point)))
    rows += part_rows(point, full=full)
    rows += _counts(doc)
    if full:
        why = "freed when it is deleted" if point.own_bytes is not None else (
            "it is the plain tree of the store" if point.newest else "not measured")
        rows.append(field("Own size", size(point.own_bytes), (f"  {why}", "dim")))
    rows += _named("Databases", doc.get("databases"), "not in it: ", full)
    rows += _machine(doc)
    rows += _sources(doc, full)
    if full:
        rows += _named("Left out", doc.get("excludes"), "", full)
        rows += other_rows(doc)
    rows.append(field("Id", point.id, (f"  {safe(point.backend)}", "dim")))
    return rows


def _spread(parts: list[Segment]) -> list[Segment]:
    out: list[Segment] = []
    for part in parts:
        out += [(", ", ""), part] if out else [part]
    return out


def _taken(point: RestorePoint) -> list[Segment]:
    doc = point.doc
    parts: list[Segment] = []
    if point.owner:
        parts.append((f"by {whose(point)}" if point.owner != "unknown" else "not by us, nobody knows by whom", "warn"))
    if doc.get("taken_by"):
        parts.append((f"by {shown(doc['taken_by'])}", ""))
    if doc.get("reason"):
        parts.append((("  " if parts else "") + shown(doc["reason"]), ""))
    if isinstance(doc.get("seconds"), int | float):
        parts.append((f"  in {doc['seconds']:.1f} s", "dim"))
    if point.tags:
        parts.append((("  " if parts else "") + "tags " + ", ".join(map(safe, point.tags)), "accent"))
    return parts or [("not known by whom", "dim")]


_KINDS = (("files", "file"), ("dirs", "directory"), ("links", "link"), ("others", "other"))


def _counts(doc: Mapping[str, Any]) -> list[Line]:
    """What is in the point, and how it differs from the point before."""
    rows: list[Line] = []
    counts, changed = doc.get("counts"), doc.get("changed")
    if isinstance(counts, Mapping):
        words = [plural(counts[key], one, "directories" if one == "directory" else "")
                 for key, one in _KINDS if isinstance(counts.get(key), int) and counts[key]]
        total = counts.get("bytes")
        rows.append(field("Contents", size(total) if isinstance(total, int) else "", (" in ", "dim"),
                          (", ".join(words), "")))
    if isinstance(changed, Mapping) and changed:
        parts: list[Segment] = []
        for key, look in (("created", "good"), ("changed", "warn"), ("attrs", ""), ("deleted", "bad")):
            if isinstance(changed.get(key), int):
                word = "attributes" if key == "attrs" else key
                parts.append((", " * bool(parts) + f"{count(changed[key])} {word}", look if changed[key] else "dim"))
        rows.append(field("Changes", *parts))
    return rows


def _machine(doc: Mapping[str, Any]) -> list[Line]:
    words = [shown(doc[key]) for key in ("host", "os") if doc.get(key)]
    rows: list[Line] = [field("Machine", ", ".join(words))] if words else []
    if doc.get("kernel"):
        rows.append(field("Kernel", shown(doc["kernel"])))
    return rows


def _sources(doc: Mapping[str, Any], full: bool) -> list[Line]:
    sources = doc.get("sources")
    if not isinstance(sources, list | tuple) or not sources:
        return []
    rows: list[Line] = []
    for index, source in enumerate(sources):
        if isinstance(source, Mapping):
            words = [shown(source[key]) for key in ("type", "device", "uuid") if source.get(key)]
            used, whole = source.get("used"), source.get("size")
            if isinstance(used, int) and isinstance(whole, int):
                words.append(f"{size(used)} of {size(whole)} used")
            place, rest = shown(source.get("mount", "?")), "  ".join(words)
        else:
            place, rest = shown(source), ""
        if full or index < 2:
            rows.append(field("Sources" if index == 0 else "", place, (f"  {rest}" if rest else "", "dim")))
    if not full and len(sources) > 2:
        rows.append(field("", (f"and {len(sources) - 2} more", "dim")))
    return rows


def _named(label: str, names: object, lead: str, full: bool) -> list[Line]:
    """Names, each on a line of its own in the full view, joined otherwise."""
    items = [shown(n) for n in names] if isinstance(names, list | tuple) else []
    if not items:
        return []
    if not full:
        return [field(label, (lead, "dim"), (", ".join(items), "warn" if lead else ""))]
    return [field(label if i == 0 else "", (lead if i == 0 else " " * len(lead), "dim"), item)
            for i, item in enumerate(items)]


class DetailPane(VerticalScroll):
    """The details of the point under the cursor."""

    def compose(self) -> Any:
        """One text."""
        yield Fields(id="detail-text")

    def show(self, point: RestorePoint | None, now: datetime, *, full: bool = True) -> None:
        """Show another point, or nothing."""
        rows = detail_rows(point, now, full=full) if point is not None else []
        self.query_one("#detail-text", Fields).show(rows)
        self.scroll_home(animate=False)
