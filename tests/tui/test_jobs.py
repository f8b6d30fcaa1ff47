"""Counters, rates and the picture of progress: a million reports, clocks that jump, totals of nothing."""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import threading
import time

import pytest
from textual import events
from textual.containers import Vertical
from textual.content import Content

from engine.events import Progress
from tests.tui.conftest import make_app, screen_text, settle, until
from tests.tui.fake_engine import FakeEngine
from tui.jobs import LongJob, Rate
from tui.widgets.progress import ProgressPanel
from tui.widgets.rows import RowList

REPORTS = 1_000_000


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def ran(work: LongJob, clock: Clock, seconds: float, per_second: float, *, total: int | None = None) -> None:
    """Let work go on steadily, sampled as the screen does."""
    done = work.latest.done if work.latest else 0
    for _ in range(int(seconds * 10)):
        clock.now += 0.1
        done += int(per_second / 10)
        work.see(Progress("copying", done, total, bytes_done=done * 1000))
        work.sample()


def test_a_steady_rate_is_that_rate_from_the_beginning_on() -> None:
    clock = Clock()
    work = LongJob(clock)
    work.see(Progress("copying"))
    work.sample()
    ran(work, clock, 0.3, 500)
    assert work.rate() == (0.0, 0.0), "too early to say"
    ran(work, clock, 0.5, 500, total=10_000)
    assert work.rate()[0] == pytest.approx(500) and work.rate()[1] == pytest.approx(500_000)
    ran(work, clock, 10, 500, total=10_000)
    assert work.rate()[0] == pytest.approx(500) and work.left() == pytest.approx((10_000 - 5_400) / 500, rel=0.02)


def test_a_stutter_moves_the_rate_gently_and_a_change_comes_through() -> None:
    clock, jitter = Clock(), random.Random(7)
    work = LongJob(clock)
    done, shown = 0, []
    for _ in range(200):
        clock.now += 0.1
        done += jitter.choice((0, 0, 0, 200))   # 500 a second, in lumps
        work.see(Progress("copying", done))
        work.sample()
        shown.append(work.rate()[0])
    steps = [abs(a - b) for a, b in itertools.pairwise(shown[40:])]
    assert max(steps) < 100, "a lump of 2,000 a second must not show as one"
    ran(work, clock, 12, 5000)
    assert work.rate()[0] == pytest.approx(5000, rel=0.05)


@pytest.mark.parametrize("jump", [-3600.0, -0.05, 0.0, 1e-9, 86400.0])
def test_clock_jumps_are_harmless(jump: float) -> None:
    clock = Clock()
    work = LongJob(clock)
    ran(work, clock, 5, 100, total=1000)
    clock.now += jump
    for done in (510, 520):
        work.see(Progress("copying", done, 1000))
        work.sample()
    assert work.rate()[0] >= 0 and work.elapsed >= 0
    assert work.left() is None or work.left() >= 0  # type: ignore[operator]
    assert "copying" in ProgressPanel().picture(work, 60).plain.lower()
    ran(work, clock, 20, 100, total=100_000)
    assert work.rate()[0] == pytest.approx(100, rel=0.02)


def test_a_counter_that_goes_back_begins_anew() -> None:
    rate = Rate()
    for step in range(20):
        rate.see(step * 0.1, step * 10)
    assert rate.per_second == pytest.approx(100)
    rate.see(2.0, 0)
    assert rate.per_second == 0


@pytest.mark.parametrize("progress", [
    Progress("x"), Progress("x", 0, 0), Progress("x", 5, 0), Progress("x", 20, 10), Progress("x", 0, 1, "bytes"),
    Progress("x", 10**18, 10**19, "bytes"), Progress("", 1, 2), Progress("x", -5, 10), Progress("x", 1, None, "files")])
@pytest.mark.parametrize("width", [1, 7, 40, 80, 200])
def test_every_progress_can_be_drawn(progress: Progress, width: int) -> None:
    clock = Clock()
    work = LongJob(clock, usual=0.0)
    for _ in range(3):
        clock.now += 1
        work.see(progress)
        assert ProgressPanel().picture(work, width)


def test_time_left_is_never_shown_as_more_than_a_guess() -> None:
    clock = Clock()
    work = LongJob(clock, usual=90)
    work.see(Progress("copying", 5))
    panel = ProgressPanel()
    clock.now += 30
    assert "about 1:00 left, if it takes as long as the last ones" in panel.picture(work, 100).plain
    clock.now += 61
    assert "longer than the last ones (1:30)" in panel.picture(work, 100).plain
    ran(work, clock, 5, 100, total=1000)
    assert "about 0:0" in panel.picture(work, 100).plain and "last ones" not in panel.picture(work, 100).plain
    work.see(Progress("copying", work.latest.done + 1 if work.latest else 0, 10**15))
    clock.now += 0.1
    work.sample()
    assert "left" not in panel.picture(work, 100).plain, "a thousand years are no estimate"


async def stalls(over: threading.Event) -> list[float]:
    """Return how late the screen's loop was each time it wanted to go on, until the event, the worst last.

    What other programs take of this machine is not ours: time that passed without this process using the processor
    (any thread of it) does not count.
    """
    late = []
    while not over.is_set():
        before, cpu = time.perf_counter(), time.process_time()
        await asyncio.sleep(0.005)
        late.append(min(time.perf_counter() - before, time.process_time() - cpu))
    return sorted(late)


async def test_a_million_reports_do_not_keep_the_keys_waiting() -> None:
    work, reported = LongJob(), threading.Event()

    def report() -> None:
        for number in range(REPORTS):
            work.job.progress("copying", number, REPORTS, current=b"usr/share/%d" % number, bytes_done=number * 10)
        reported.set()

    app = make_app(FakeEngine(200))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        panel, rows = ProgressPanel(), app.screen.query_one("#points", RowList)
        await app.screen.mount(panel, before="#body")
        panel.follow(work)
        await settle(pilot)
        gc.collect()
        gc.freeze()     # what the test run itself has piled up would be gone through once in between
        threading.Thread(target=report).start()
        watching, handled, answers = asyncio.create_task(stalls(reported)), 0, []
        while not reported.is_set():
            before, cpu, at = time.perf_counter(), time.process_time(), rows.cursor
            app.post_message(events.Key("down" if handled % 100 < 50 else "up", None))
            while rows.cursor == at and not reported.is_set():
                await asyncio.sleep(0.001)
            answers.append(min(time.perf_counter() - before, time.process_time() - cpu))
            handled += 1
        late = await watching
        gc.unfreeze()
        await until(pilot, lambda: "of 1,000,000 entries" in screen_text(pilot), "the figures")
    assert handled > 20, (handled, sorted(answers)[-5:], late[-5:])


async def test_a_panel_that_cannot_be_seen_draws_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[LongJob] = []

    def picture(_: ProgressPanel, work: LongJob, _width: int) -> Content:
        drawn.append(work)
        return Content("x")

    monkeypatch.setattr(ProgressPanel, "picture", picture)
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        outer, panel = Vertical(), ProgressPanel()
        await app.screen.mount(outer)
        await outer.mount(panel)
        panel.follow(LongJob())
        await until(pilot, lambda: len(drawn) > 2, "its clock")
        for hidden in (panel, outer):
            hidden.display = False
            await pilot.pause()
            before = len(drawn)
            panel.tick()
            assert len(drawn) == before
            hidden.display = True
            panel.tick()
            assert len(drawn) == before + 1
