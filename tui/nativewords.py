"""The two ways back to a point that the storage keeps, in words. Pure: point and plan in, text out."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from engine.backend import NativePlan
from engine.points import RestorePoint
from tui.text import Line, Segment, content, error_lines, field, path, safe

_LOOKS = {"blocker": ("BLOCKED", "bad"), "warning": ("Warning", "warn")}


def why_not_content(point: RestorePoint) -> str:
    """Return why a point cannot be gone back to by its content, "" where it may be."""
    if any(part.place is not None for part in point.parts):
        return ""
    return "nothing that this point is of is mounted below the root"


def content_rows(point: RestorePoint) -> list[Line]:
    """Return what going back by content means, before anything is compared."""
    why = why_not_content(point)
    rows: list[Line] = [content(("NOT POSSIBLE: ", "bad"), why), Content("")] if why else []
    rows.append(content("What differs is copied out of the snapshot onto the live volumes."))
    places = [path(part.place) for part in point.parts if part.place is not None]
    rows += [Content(""), field("Changes", *([(", ".join(places), "strong")] if places else [("nothing", "")])),
             field("", ("all of it, one volume of it, or some paths", "dim")),
             field("When", "at once; as long as copying takes"),
             _filled() if point.backend == "lvm" else
             field("Goes", ("nothing: every snapshot stays", "good"), ", newer ones too"),
             field("Stays", "what is excluded, databases that are named"),
             field("Undo", ("yes", "good"), ": a safety point first; can be undone, and resumed when interrupted"),
             field("First", "every path that would change is shown")]
    return rows


def _filled() -> Line:
    """What going back by content does to LVM's snapshots: what is copied goes into the thick ones as well."""
    return field("Goes", ("no snapshot is removed", "good"), "; thick ones fill up: the plan says how far")


def native_rows(plan: NativePlan) -> list[Line]:
    """Return what setting the volumes themselves back does, all of it: each thing that goes by its name."""
    rows: list[Line] = finding_rows(plan, "blocker")
    rows += [Content("")] if rows else []
    rows.append(content("The volumes themselves are set back by their storage, each as a whole."))
    rows.append(Content(""))
    # First of all: on a small screen what stands further down has to be scrolled to.
    rows.append(field("Undo", ("NO", "bad"), ": it cannot be taken back; no safety point is taken"))
    rows += _named("Volumes", [part.volume for part in plan.point.parts], "strong", "none")
    rows.append(field("In effect", plan.when))
    rows += _named("Goes", plan.goes, "bad", "nothing else")
    rows.append(field("Changes", ("all that is in them", "warn"), ": nothing is excluded, no database stays as it is"))
    rows += finding_rows(plan, "warning") + finding_rows(plan, "info")
    return rows + _named("Commands", plan.commands, "", "none")


def refused_rows(error: BaseException) -> list[Line]:
    """Return why the volumes themselves cannot be set back."""
    return [content(("NOT POSSIBLE", "bad")), *error_lines(error)]


def finding_rows(plan: NativePlan, level: str) -> list[Line]:
    """Return the findings of a level, with what to do about each."""
    rows: list[Line] = []
    label, look = _LOOKS.get(level, ("Note", ""))
    for finding in plan.findings:
        if finding.level == level:
            rows.append(field(label, (finding.text, look)))
            rows += [field("", (finding.hint, "dim"))] if finding.hint else []
    return rows


def done_rows(done: Sequence[str]) -> list[Line]:
    """Return what was done, in the sentences of the storage."""
    return [content(("The volumes were set back.", "good")), Content(""), *(content(line) for line in done)]


def title(name: str, *, chosen: bool) -> Segment:
    """Return the heading of a way, the chosen one in brackets."""
    return (f"[{safe(name)}]", "head") if chosen else (f" {safe(name)} ", "dim")


def _named(label: str, names: Sequence[str], look: str, nothing: str) -> list[Line]:
    if not names:
        return [field(label, (nothing, "good" if label == "Goes" else "dim"))]
    return [field(label if i == 0 else "", (name, look)) for i, name in enumerate(names)]
