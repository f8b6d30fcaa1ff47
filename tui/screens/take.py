"""Taking a point: comment, tags, pin, what will be in it; live progress; what came of it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from engine.dispatch import REPLICA
from engine.events import Job
from engine.points import RestorePoint
from engine.results import SnapshotRequest, SnapshotResult
from tui.screens.job import DONE, FORM, JobDialog
from tui.storagewords import kept, of_storage
from tui.text import Line, brief_age, called, clock_time, content, count, error_lines, field, plural, safe, shown, size
from tui.widgets.checkline import CheckLine
from tui.widgets.choiceline import ChoiceLine
from tui.widgets.fields import Fields
from tui.widgets.keybar import Hint
from tui.widgets.lineinput import LineInput
from tui.widgets.partrows import part_rows

_LAST = 3
_Settings = Sequence[tuple[str, str, str]]


class Target(NamedTuple):
    """One thing that a point will be taken of, and by which backend: ``replica  / into /var/lib/rollpoint/store``."""

    backend: str
    text: str


def targets(settings: _Settings) -> list[Target]:
    """Return what the settings say a point is taken of, and how."""
    values = {key: value for key, value, _ in settings}
    if "root" not in values:
        return []
    sources = values.get("sources", "auto")
    parts = "" if sources == "auto" else f" (file systems {sources})"
    return [Target("replica", f"{values['root']}{parts} into {values.get('store', 'the store')}")]


def fact_rows(settings: _Settings, points: Sequence[RestorePoint], now: datetime) -> list[Line]:
    """Return what the next point will hold and what it will not, and when the last one was taken."""
    values = {key: value for key, value, _ in settings}
    rows: list[Line] = [field(target.backend.capitalize(), target.text) for target in targets(settings)]
    if points:
        last = points[0]
        rows.append(field("Last one", f"point {called(last)}, {brief_age(last.age(now))}", *_held(last)))
    else:
        rows.append(field("Last one", "none: this first one copies everything"))
    usual = usual_seconds(points)
    if usual is not None and usual >= 1:
        rows.append(field("It takes", f"about {clock_time(usual)}", (" if it is like the last ones", "dim")))
    databases, patterns = values.get("databases", "none"), values.get("excludes", "none")
    rows.append(field("Databases", ("none is named", "dim")) if databases == "none" else
                field("Databases", ("not in it: ", "dim"), (databases, "warn")))
    if patterns != "none":
        rows.append(field("Left out", (patterns, "dim")))
    return rows


def storage_rows(settings: _Settings, backend: str) -> list[Line]:
    """Return what a point that the storage makes will be of, and what it is not: another copy."""
    named = {"zfs": "zfs.datasets", "lvm": "lvm.volumes", "btrfs": "btrfs.subvolumes"}.get(backend, "")
    volumes = next((value for key, value, _ in settings if key == named), "auto")
    every = volumes == "auto"
    return [field(backend.upper(), "of ", ("all that the running system has mounted" if every else volumes, "strong")),
            field("It takes", "a moment: the storage copies nothing"),
            field("It holds", "each volume whole, databases and what is otherwise left out as well"),
            field("Beware", ("it lies on the same disks as the volumes, and goes with them", "warn"))]


def _held(point: RestorePoint) -> list[tuple[str, str]]:
    """What a point's document says that it holds."""
    counts, sources = point.doc.get("counts"), point.doc.get("sources")
    parts: list[tuple[str, str]] = []
    if isinstance(counts, dict) and isinstance(counts.get("bytes"), int):
        parts.append((f": {size(counts['bytes'])} in {plural(int(counts.get('files', 0)), 'file')}", ""))
    if isinstance(sources, list):
        mounts = [shown(s.get("mount", "")) for s in sources if isinstance(s, dict)]
        parts.append((f" of {', '.join(mounts)}", "") if mounts else ("", ""))
    return parts


def usual_seconds(points: Sequence[RestorePoint]) -> float | None:
    """Return how long taking a point took lately (the median of the last ones), None where nobody measured it. The
    very first one copied everything, and says nothing of the later ones."""
    took = [p.doc.get("seconds") for p in points[:-1][:_LAST]]
    known = [float(seconds) for seconds in took if isinstance(seconds, int | float)]
    return statistics.median(known) if known else None


class TakeScreen(JobDialog[SnapshotResult]):
    """The dialog behind `s`."""

    HEADING = "Take a restore point"
    WORKING = "a restore point is being taken"
    CANCELLED = "Stopped. No point was taken; the store is as it was before."
    FORM_HINTS = (Hint("enter", "Take the point", "screen.enter"), Hint("tab", "Next field"),
                  Hint("space", "Switch", weight=2))
    BINDINGS = [Binding("pageup", "page(-1)", show=False), Binding("pagedown", "page(1)", show=False)]
    KEYS = (("enter", "take the point"), ("tab", "go to the next field"), ("space", "switch the pin"),
            ("left, right", "on the line of backends: take it with the replica, with ZFS, LVM or btrfs"),
            ("page up, down", "read on in what will be taken"),
            ("c or esc", "while it is being taken: stop, nothing is kept"),
            ("enter", "after an error: back to the form, as it was filled in"))

    def __init__(self) -> None:
        super().__init__()
        self._request, self._backend = SnapshotRequest(), REPLICA
        self._read: tuple[list[tuple[str, str, str]], list[RestorePoint]] | None = None

    def form(self) -> ComposeResult:
        """Comment, tags, pin, and what will be taken."""
        yield Static("Comment: why, in a few words; it may be empty", markup=False)
        yield LineInput(placeholder="before the upgrade of ...", id="comment")
        yield Static("Tags, separated by spaces", markup=False)
        yield LineInput(placeholder="none", id="tags")
        yield CheckLine("Pin it: no rule ever removes it", id="pin")
        yield ChoiceLine("Take it with", (REPLICA,), id="backend")
        with VerticalScroll(id="take-facts", can_focus=False):
            yield Fields([content(("Reading what will be taken ...", "dim"))], id="take-rows")

    def on_mount(self) -> None:
        """Show the form at once; what will be taken is read in a worker."""
        super().on_mount()
        self.query_one("#backend").display = False      # most machines have nothing to choose here
        engine = self.rollpoint.engine
        self.ask("takers", engine.takers, self._can_take, lambda _: None)
        self.ask("facts", lambda: (engine.settings(), kept(engine, engine.status())), self._facts, self._no_facts)

    def _facts(self, answer: tuple[list[tuple[str, str, str]], list[RestorePoint]]) -> None:
        self._read = answer
        self._tell()

    def _can_take(self, backends: Sequence[str]) -> None:
        line = self.query_one("#backend", ChoiceLine)
        line.offer(backends)
        line.display = len(backends) > 1
        self.set_class(line.display, "-choice")

    @on(ChoiceLine.Changed)
    def _tell(self) -> None:
        """What will be taken, with the backend that is chosen."""
        if self._read is None:
            return
        settings, points = self._read
        backend = self.query_one("#backend", ChoiceLine).value
        if backend == REPLICA:
            self.usual = usual_seconds(points)
            rows = fact_rows(settings, points, self.rollpoint.now())
        else:
            self.usual, rows = None, storage_rows(settings, backend)
        self.query_one("#take-rows", Fields).show(rows)

    def _no_facts(self, error: BaseException) -> None:
        self.query_one("#take-rows", Fields).show(error_lines(error))

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.start()

    def prepare(self) -> bool:
        """Read the form."""
        tags = self.query_one("#tags", LineInput).value.replace(",", " ").split()
        self._request = SnapshotRequest(self.query_one("#comment", LineInput).value.strip(), tuple(tags),
                                        self.query_one("#pin", CheckLine).value, "manual")
        self._backend = self.query_one("#backend", ChoiceLine).value
        return True

    def run_job(self, job: Job) -> SnapshotResult:
        """Take the point."""
        return self.rollpoint.engine.snapshot(self._request, job, self._backend)

    def hints(self) -> list[Hint]:
        """The keys of the stage; after an error the form is there again."""
        if self.stage == DONE and self.failed:
            return [Hint("enter", "Back to the form", "screen.enter"), Hint("esc", "Leave", "screen.leave")]
        return super().hints()

    def action_enter(self) -> None:
        """Go on; after an error back to the form, which is as it was."""
        if self.stage == DONE and self.failed:
            self.remove_class("-bad")
            self.go(FORM)
            self.query_one("#comment").focus()
        else:
            super().action_enter()

    def action_page(self, by: int) -> None:
        """Scroll what will be taken."""
        facts = self.query_one("#take-facts", VerticalScroll)
        facts.scroll_page_down(animate=False) if by > 0 else facts.scroll_page_up(animate=False)

    def describe(self, result: SnapshotResult) -> list[Line]:
        """What was taken, what was left out, what was removed to make room."""
        name = called(result.point)
        rows: list[Line] = [content((f"Point {name} was taken", "good"), f" in {result.seconds:.1f} s."), Content("")]
        if of_storage(result.point):
            return rows + part_rows(result.point)
        rows += [
                field("Changes", f"{count(result.created)} created, {count(result.changed)} changed, "
                      f"{count(result.attrs)} attributes, {count(result.deleted)} deleted"),
                field("Holds", content_of(result.point)),
                field("Copied", size(result.bytes_copied), ("  the old versions take ", "dim"),
                      size(result.diff_bytes))]
        if result.databases:
            rows.append(field("Databases", ("not in it: ", "dim"), (", ".join(map(safe, result.databases)), "warn")))
        if result.excluded:
            rows.append(field("Left out", (", ".join(map(safe, result.excluded)), "dim")))
        if result.pruned:
            rows.append(field("Removed", f"{plural(len(result.pruned), 'old point')} to make room: "
                              f"{', '.join(map(safe, result.pruned))}"))
        return rows


def content_of(point: RestorePoint) -> str:
    """Return what a point holds, in a few words."""
    return "".join(text for text, _ in _held(point)).removeprefix(": ") or "not counted"
