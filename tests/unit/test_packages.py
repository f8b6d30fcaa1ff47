"""Packages that were not installed to their end: seen, told apart from those that are gone, and counted in the plan."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from engine.entries import Diff
from engine.machine.packages import differences, dpkg
from engine.points import RestorePoint
from engine.results import RollbackPlan
from tui.commands._plan import plan_json, plan_lines

POINT = RestorePoint("2026-01-01_00-00-00", "replica", 1, datetime(2026, 1, 1, tzinfo=UTC))
PLAN = RollbackPlan(POINT, "/", ("system",), Diff("live", POINT.id, ()), (), (), (), (), ())


def status(**states: str) -> bytes:
    """The text of dpkg's status file: the state and the version of each package."""
    found = ((name, *words.split()) for name, words in states.items())
    return "\n\n".join(f"Package: {name}\nStatus: install ok {state}\nVersion: {version}"
                       for name, state, version in found).encode()


BEFORE = status(zlib="installed 1.2", bash="installed 5.1", dash="installed 0.5", gone="config-files 1.0")
BROKEN = status(zlib="installed 1.2", bash="half-configured 5.1", dash="unpacked 0.6", cron="triggers-pending 3")


def test_what_is_not_finished_is_there_with_its_state() -> None:
    assert dpkg(BEFORE) == {"zlib": "1.2", "bash": "5.1", "dash": "0.5"}
    assert dpkg(BROKEN) == {"zlib": "1.2", "bash": "5.1 (half-configured)", "dash": "0.6 (unpacked)", "cron": "3"}
    assert differences(dpkg(BROKEN), dpkg(BEFORE)) == [
        "bash 5.1 (half-configured) -> 5.1", "cron 3 is removed", "dash 0.6 (unpacked) -> 0.5"]


def test_many_that_were_half_configured_are_one_line_of_the_plan_and_all_in_its_json() -> None:
    broken = "\n\n".join(f"Package: p{n}\nStatus: install ok half-configured\nVersion: {n}" for n in range(1200))
    fine = broken.replace("half-configured", "installed")
    words = differences(dpkg(broken.encode()) | dpkg(BROKEN), dpkg(fine.encode()) | dpkg(BEFORE))
    plan = replace(PLAN, packages=tuple(words))
    assert plan.package_words == ("cron 3 is removed", "dash 0.6 (unpacked) -> 0.5", "and 1,201 half-configured")
    text = "\n".join(plan_lines(plan, verbose=True, safety_point=True))
    assert "and 1,201 half-configured" in text and "p77 " not in text
    assert len(plan_json(plan)["packages"]) == 1203


def test_other_changes_are_never_summed_up() -> None:
    words = ("a 1 -> 2", "b 2 (half-configured) -> 1", "c 1 is removed", "d 1 (unpacked) -> 1 (half-configured)")
    assert replace(PLAN, packages=words).package_words == words
