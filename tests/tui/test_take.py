"""Taking a point: what is said beforehand, the form that is kept, estimates that say they are such, what came of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.errors import BusyError
from engine.points import RestorePoint
from tests.tui.conftest import FULL, make_app, press, screen_text, settle, until
from tests.tui.fake_engine import NOW, FakeEngine
from tui.screens.points import PointsScreen
from tui.screens.take import fact_rows, targets, usual_seconds
from tui.text import laid_out

SETTINGS = [("store", "/var/lib/rollpoint/store", "default"), ("root", "/", "default"),
            ("excludes", "/proc/*, *.swp", "default"), ("databases", "/var/lib/mysql", "conf:3"),
            ("sources", "auto", "default")]


def said(settings: list[tuple[str, str, str]], points: list[RestorePoint]) -> str:
    """The facts as lines."""
    return laid_out(fact_rows(settings, points, NOW), 100).plain


def test_what_will_be_taken_comes_from_settings_and_the_last_point() -> None:
    text = said(SETTINGS, FakeEngine().list)
    assert "Replica    / into /var/lib/rollpoint/store" in text and "not in it: /var/lib/mysql" in text
    assert "Left out   /proc/*, *.swp" in text
    assert "point 12, 40 min ago: 1.4 GiB in 36,012 files of /, /boot" in text
    assert "It takes   about 0:02 if it is like the last ones" in text
    first = said([("root", "/", ""), ("sources", "/, /boot", ""), ("databases", "none", "")], [])
    assert "this first one copies everything" in first and "none is named" in first and "It takes" not in first
    assert "/ (file systems /, /boot)" in first
    assert targets([]) == []


@pytest.mark.parametrize(("seconds", "usual"), [
    ([9.0, 3.0, 4.0, 100.0, 900.0], 4.0), ([3.0, 900.0], 3.0), ([900.0], None), ([], None),
    (["?", None, 2.0, 1.0], 2.0)])
def test_the_usual_time_is_that_of_the_last_ones_without_the_first(seconds: list[object], usual: float | None) -> None:
    points = [replace(p, doc={"seconds": s}) for p, s in zip(FakeEngine().list, seconds, strict=False)]
    assert usual_seconds(points) == usual


def test_documents_of_other_kinds_do_no_harm() -> None:
    point = replace(FakeEngine(1).list[0], doc={"counts": "?", "sources": {"mount": "/"}, "seconds": None})
    assert "point 1, 40 min ago" in said(SETTINGS, [point])


async def test_an_empty_form_takes_a_point() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "s")
        assert "it may be empty" in screen_text(pilot) and "Replica" in screen_text(pilot)
        await press(pilot, "enter")
        text = screen_text(pilot)
        assert "Point 13 was taken" in text and (engine.list[0].comment, engine.list[0].tags) == ("", ())
        assert "Holds      1.4 GiB in 36,013 files of /, /boot" in text


@pytest.mark.parametrize("error", [FULL, BusyError("the store is in use by root@web01, pid 812", hint="wait")])
async def test_after_an_error_the_form_is_as_it_was(error: Exception) -> None:
    engine = FakeEngine()
    engine.fail["snapshot"] = error
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "s", *"before apt", "tab", *"apt", "tab", "space", "enter")
        assert "What to do: " in screen_text(pilot) and "Back to the form" in screen_text(pilot)
        await press(pilot, "enter")
        text = screen_text(pilot)
        assert "before apt" in text and " apt " in text and "[x] Pin it" in text
        engine.fail.clear()
        await press(pilot, *"!", "enter")
        assert "Point 13 was taken" in screen_text(pilot)
        assert (engine.list[0].comment, engine.list[0].pinned) == ("before apt!", True)
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, PointsScreen)


async def test_after_stopping_it_can_be_taken_again() -> None:
    engine = FakeEngine()
    engine.hold.clear()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("s", *"why", "enter")
        await until(pilot, lambda: "Copying" in screen_text(pilot), "progress")
        assert "left, if it takes as long as the last ones" in screen_text(pilot)
        await press(pilot, "c")
        assert "No point was taken" in screen_text(pilot)
        engine.hold.set()
        await press(pilot, "enter", "enter")
        assert "Point 13 was taken" in screen_text(pilot) and engine.list[0].comment == "why"


async def test_facts_that_cannot_be_read_do_not_keep_from_trying() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        engine.fail["settings"] = BusyError("nothing can be read", hint="look again")
        await press(pilot, "s")
        assert "Nothing can be read" in screen_text(pilot) and "look again" in screen_text(pilot)
        await press(pilot, "enter")
        assert "Point 13 was taken" in screen_text(pilot)


async def test_a_long_list_of_what_is_left_out_can_be_read() -> None:
    engine = FakeEngine()
    engine.settings = lambda: [("root", "/", ""),   # type: ignore[method-assign]
                               ("excludes", ", ".join(f"/srv/left-out-{n}/*" for n in range(60)), "")]
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "s")
        assert "left-out-59" not in screen_text(pilot)
        await press(pilot, *["pagedown"] * 9)
        assert "left-out-59" in screen_text(pilot)
        await press(pilot, *["pageup"] * 9)
        assert "left-out-0/" in screen_text(pilot)
