"""Restoring paths of a point: where to is asked first; elsewhere is done here, in place by the rollback screen."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from engine.errors import NotEmptyError, RefusedError, UsageError
from engine.events import Job
from engine.points import RestorePoint
from engine.results import Measure, RestoreResult
from tui.screens.base import BaseDialog
from tui.screens.job import FORM, JobDialog
from tui.text import Line, content, error_lines, field, path, plural, point_title, safe, size
from tui.widgets.confirm import ConfirmYes
from tui.widgets.fields import Fields
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.lineinput import LineInput

Where = Literal["in place", "elsewhere"]
_NAMED = 6


def outermost(paths: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the paths without those that lie in another one of them, sorted."""
    found: list[bytes] = []
    for one in sorted(set(paths), key=lambda p: p.replace(b"/", b"\0")):
        if not found or not (found[-1] == b"" or one.startswith(found[-1] + b"/")):
            found.append(one)
    return tuple(found)


def scope_of(paths: Sequence[bytes]) -> tuple[str, ...]:
    """Return the scope of a rollback that is limited to some paths, as `Engine.plan` takes it."""
    return tuple("path=" + os.fsdecode(b"/" + one) for one in outermost(paths))


def subject(paths: Sequence[bytes]) -> list[Line]:
    """Return which paths it is about, by name as far as there is room."""
    rows: list[Line] = [field("Restore" if i == 0 else "", (path(one), "strong"))
                        for i, one in enumerate(paths[:_NAMED])]
    if len(paths) > _NAMED:
        rows.append(field("", f"and {plural(len(paths) - _NAMED, 'more path', 'more paths')}"))
    return rows


class RestoreScreen(BaseDialog[Where | None]):
    """The question where to. Dismissed with the answer."""

    BINDINGS = [Binding("escape,q", "leave", show=False), Binding("p", "way('in place')", show=False),
                Binding("e", "way('elsewhere')", show=False)]
    KEYS = (("p", "in place: shows first what exactly it would change"),
            ("e", "elsewhere: into a directory you name"), ("esc", "leave without restoring"))

    def __init__(self, point: RestorePoint, paths: Sequence[bytes]) -> None:
        super().__init__()
        self._point, self._paths = point, outermost(paths)
        self._measured: Measure | None = None

    def compose(self) -> ComposeResult:
        """What, and the two ways."""
        with Vertical(id="dialog"):
            yield Static(content(("Restore from ", "head"), *point_title(self._point, self.rollpoint.now())),
                         markup=False, id="title")
            with VerticalScroll(id="text", can_focus=False):
                yield Fields(id="what")
            yield KeyBar([Hint("esc", "Leave", "screen.leave")], id="keys")

    def on_mount(self) -> None:
        """Measure in a worker; what the point does not have is found out by that."""
        self._show([field("Size", ("measuring ...", "dim"))])
        engine, point, paths = self.rollpoint.engine, self._point, self._paths
        self.ask("measure", lambda: engine.measure(point, paths), self._sized, self._failed)

    def _show(self, rows: Sequence[Line]) -> None:
        self.query_one("#what", Fields).show([*subject(self._paths), *rows])

    def _failed(self, error: BaseException) -> None:
        self._show([Content(""), *error_lines(error)])

    def _sized(self, measured: Measure) -> None:
        self._measured = measured
        rows: list[Line] = [field("Size", f"{plural(measured.entries, 'entry', 'entries')}, {size(measured.bytes)}",
                                  ("  with all below", "dim"))]
        if self._point.state != "ok":
            rows.append(field("Point", (f"it is {self._point.state}: what cannot be read is refused", "bad")))
        in_place = self._may("in place")
        word = "where they were" if len(self._paths) > 1 else "where it was"
        rows += [Content(""), content(("p", "strong" if in_place else "dim"), f"  in place: {word}; shows what it "
                                      "would change, then asks") if in_place else
                 content(("p  in place: not possible, this is read-only", "dim")),
                 content(("e", "strong"), "  elsewhere: a copy, into a directory you name; nothing else changes")]
        self._show(rows)
        self.query_one("#keys", KeyBar).show([
            *([Hint("p", "In place", "screen.way('in place')")] if in_place else []),
            Hint("e", "Elsewhere", "screen.way('elsewhere')"), Hint("esc", "Leave", "screen.leave")])

    def _may(self, way: Where) -> bool:
        return self._measured is not None and (way == "elsewhere" or not self.rollpoint.read_only)

    def action_way(self, way: Where) -> None:
        """Choose, where that is possible."""
        if self._may(way):
            self.dismiss(way)

    def action_leave(self) -> None:
        """Leave without restoring."""
        self.dismiss(None)


class ElsewhereScreen(JobDialog[RestoreResult]):
    """Copies paths of a point into a directory; asks for `yes` where that is not empty."""

    HEADING = "Restore elsewhere"
    WORKING = "files of a point are being copied"
    CANCELLED = "Stopped. What was copied until then is still in that directory; the live system was not touched."
    FORM_HINTS = (Hint("enter", "Restore", "screen.enter"),)
    KEYS = (("enter", "copy into the directory that is typed"), ("yes, enter", "also when it is not empty"),
            ("c or esc", "while it is copied: stop"))

    def __init__(self, point: RestorePoint, paths: Sequence[bytes]) -> None:
        super().__init__()
        self._point, self._paths = point, outermost(paths)
        self._dest, self._merge = "", False

    def form(self) -> ComposeResult:
        """What, where to, and what is in the way."""
        with VerticalScroll(id="explain", can_focus=False):
            yield Fields([field("From", *point_title(self._point, self.rollpoint.now())), *subject(self._paths)])
        yield Static("Into which directory of this machine? It is made if missing.", markup=False, id="whereto")
        name = self._point.number or self._point.backend
        yield LineInput(placeholder=f"/root/point-{name}", max_length=1000, id="dest")
        yield Fields(id="why")
        yield ConfirmYes("Copy into it all the same?", id="confirm")

    def begin_form(self) -> None:
        """The directory first."""
        self._explain([])
        self.query_one("#dest", LineInput).focus()

    def _explain(self, rows: Sequence[Line], *, ask: bool = False) -> None:
        """Say why it did not begin; with `ask` offer to do it all the same."""
        self.query_one("#why", Fields).show(rows)
        self.query_one("#why").display = bool(rows)
        self.query_one(ConfirmYes).display = ask
        self.set_class(ask, "-asked")
        self.query_one("#keys", KeyBar).show(self.hints())

    def hints(self) -> list[Hint]:
        """The keys that do something now."""
        if self.stage == FORM and self.has_class("-asked"):
            return [Hint("yes enter", "Copy into it"), Hint("esc", "Leave", "screen.leave")]
        return super().hints()

    def prepare(self) -> bool:
        """Read the directory."""
        self._dest = self.query_one("#dest", LineInput).value
        if not self._dest.startswith("/"):
            self._explain([content(("Type a whole path, beginning with /.", "warn"))])
        elif safe(os.path.normpath(self._dest)).lstrip("/") == self.rollpoint.root_shown.strip("/"):
            self._explain([content(("That is the live system itself.", "warn"),
                                   " Leave, and choose in place: it shows what changes, and it can be undone.")])
        else:
            return True
        return False

    @on(Input.Changed, "#dest")
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        if event.value != self._dest:
            self._merge = False
            self._explain([])

    @on(Input.Submitted, "#dest")
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self._merge = False
        self.start()

    @on(ConfirmYes.Confirmed)
    def _confirmed(self, event: ConfirmYes.Confirmed) -> None:
        event.stop()
        self._merge = True
        self.start()

    def action_enter(self) -> None:
        """A click on the hint goes on from the directory; from the question only `yes` does."""
        if self.stage != FORM or not self.query_one(ConfirmYes).display:
            super().action_enter()

    def run_job(self, job: Job) -> RestoreResult:
        """Copy."""
        return self.rollpoint.engine.restore(self._point, self._dest, self._paths, job, merge=self._merge)

    def _failed(self, error: BaseException) -> None:
        if not isinstance(error, UsageError | RefusedError):
            super()._failed(error)
            return
        # Nothing was copied: another directory may do, or this one after a yes.
        self._end()
        self.go(FORM)
        if isinstance(error, NotEmptyError):
            self._explain([content((error.message[:1].upper() + error.message[1:], "warn"),
                                   ". What has the same name there is replaced, the rest stays.")], ask=True)
            self.query_one(ConfirmYes).start()
        else:
            self._explain(error_lines(error))
            self.query_one("#dest", LineInput).focus()

    def describe(self, result: RestoreResult) -> list[Line]:
        """How much, and where it is now."""
        where = self._dest.rstrip("/")
        rows: list[Line] = [content((f"{plural(result.entries, 'entry', 'entries')} restored", "good"),
                                    f", {size(result.bytes)} in {result.seconds:.1f} s."), Content("")]
        rows += [field("Where" if i == 0 else "", f"{where}{path(one)}") for i, one in enumerate(self._paths[:_NAMED])]
        return rows
