"""How far long work has come: phase, bar, counts, bytes, rate, time left, the path at hand, warnings."""

from __future__ import annotations

from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from engine.events import Progress
from tui.jobs import SAMPLE, LongJob
from tui.text import Segment, bar, clock_time, content, count, fit, path, plural, safe, size

_SPINNER = "|/-\\"


class ProgressPanel(Static):
    """Samples a `LongJob` ten times a second and draws it in five lines of ASCII; nothing while it cannot be seen."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__("", markup=False, id=id)
        self._work: LongJob | None = None
        self._turn = 0
        self._note: tuple[str, str] = ("", "")

    def on_mount(self) -> None:
        """Start the clock of the display."""
        self.set_interval(SAMPLE, self.tick)

    def follow(self, work: LongJob | None) -> None:
        """Show another piece of work."""
        self._work = work
        self._note = ("", "")
        self._draw()

    def note(self, text: str, look: str = "warn") -> None:
        """Say something under the figures ("stopping ...")."""
        self._note = (text, look)
        self._draw()

    def tick(self) -> None:
        """Look at the counters and draw them, unless the panel or something around it is hidden."""
        if all(node.display for node in self.ancestors_with_self if isinstance(node, Widget)):
            self._draw()

    def _draw(self) -> None:
        if self._work is None or not self.is_mounted:
            return
        self._turn += 1
        self.update(self.picture(self._work, self.size.width or 70))

    def picture(self, work: LongJob, width: int) -> Content:
        """Return the lines for a width in cells."""
        progress = work.sample() or Progress("Starting")
        rows = [self._first(work, progress, width), self._bar(progress, width),
                content(*self._figures(work, progress)),
                content((fit(path(progress.current), width, keep_end=True) if progress.current else "", "dim"))]
        warnings = work.job.warnings
        if warnings:
            rows.append(content((f"{plural(len(warnings), 'warning')}, last: ", "warn"),
                                fit(safe(warnings[-1]), max(10, width - 22))))
        if self._note[0]:
            rows.append(content(self._note))
        return Content("\n").join(rows)

    def _first(self, work: LongJob, progress: Progress, width: int) -> Content:
        phase, elapsed = safe(progress.phase), clock_time(work.elapsed)
        phase = phase[:1].upper() + phase[1:]
        return content((fit(phase, width - len(elapsed)), "strong"), (elapsed, "dim"))

    def _bar(self, progress: Progress, width: int) -> Content:
        room = min(width - 6, 60)
        if progress.total:
            share = min(1.0, progress.done / progress.total)
            return content((bar(share, room), "accent"), f" {share:4.0%}")
        return content((_SPINNER[self._turn % len(_SPINNER)], "accent"), (" total not known yet", "dim"))

    @staticmethod
    def _figures(work: LongJob, progress: Progress) -> list[Segment]:
        rate, byte_rate = work.rate()
        parts: list[Segment] = []
        if progress.unit == "bytes":
            total = f" of {size(progress.total)}" if progress.total else ""
            parts.append((size(progress.done) + total, ""))
            byte_rate = byte_rate or rate
        else:
            total = f" of {count(progress.total)}" if progress.total else ""
            if progress.done or total:
                parts.append((f"{count(progress.done)}{total} {progress.unit}", ""))
            if progress.bytes_done:
                parts.append(("   " + size(progress.bytes_done), ""))
        if byte_rate >= 1:
            parts.append((f"   {size(int(byte_rate))}/s", ""))
        elif rate >= 1 and progress.unit != "bytes":
            parts.append((f"   {count(int(rate))}/s", ""))
        return [*parts, *_time_left(work)]


def _time_left(work: LongJob) -> list[Segment]:
    """How long it will still take: from its own rate, else from what such work took before, which is a guess."""
    left = work.left()
    if left is not None and left < 360_000:
        return [(f"   about {clock_time(left)} left", "dim")]
    if left is not None or work.usual is None or work.usual < 1:
        return []
    usual, over = clock_time(work.usual), work.elapsed > work.usual
    return [(f"   longer than the last ones ({usual})" if over else
             f"   about {clock_time(work.usual - work.elapsed)} left, if it takes as long as the last ones", "dim")]
