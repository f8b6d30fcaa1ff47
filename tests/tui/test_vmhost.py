"""The Manager's own backups and the recipes of file systems: the screen behind M on the VMs."""

from __future__ import annotations

from datetime import UTC, timedelta
from pathlib import Path

import pytest

from engine.errors import DamageError
from engine.vms import manager
from tests.engine.test_vm_manager import settings
from tests.tui.conftest import AppPilot, make_app, press, screen_text, until
from tests.tui.fake_engine import NOW, FakeEngine
from tui.screens.vmhost import VmHostScreen
from tui.screens.vms import VmsScreen
from tui.widgets.managerrows import BackupRows
from tui.widgets.rows import RowList
from tui.widgets.viewlist import ViewList


def rows(pilot: AppPilot) -> RowList:
    return pilot.app.screen.query_one(ViewList).rows


def backup(root: Path, days: float, size: int) -> str:
    taken = (NOW - timedelta(days=days)).astimezone(UTC)
    folder = root / "backup/db" / f"AutoFullBackup-{taken:%Y%m%d}_{taken:%H%M%S}"
    folder.mkdir(parents=True)
    (folder / "ovs.MYD").write_bytes(b"x" * size)
    return folder.name


async def test_a_real_tree_of_backups_its_gap_and_its_forecast(tmp_path: Path) -> None:
    settings(tmp_path)
    names = [backup(tmp_path, days, size) for days, size in ((0.5, 8192), (1.5, 8192), (4.5, 4096))]
    engine = FakeEngine()
    engine.vm_manager = lambda: manager.look(str(tmp_path), NOW)  # type: ignore[method-assign]
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await press(pilot, "V", "M")
        text = screen_text(pilot)
        assert "[1 Manager 1]" in text and "1 TO LOOK INTO" in text and "0004fb0000010000AAAA" in text
        assert f"a gap of 3 d between {names[2]} and" in text and "3 daily of the 15" in text
        assert "DBPASSWORD=********" in text and "s3cret" not in text
        assert "about 240 KiB for all" in text       # 8 KiB, twice as much as at first, 15 times
        await press(pilot, "2", "down")
        source = rows(pilot).source
        assert isinstance(source, BackupRows) and [b.name for b in source.backups] == names
        row = next(line for line in screen_text(pilot).splitlines() if "8.0 KiB" in line and " 3 d" in line)
        assert names[1][-10:] in row and "36 h" in row
        assert f"/backup/db/{names[1]}" in screen_text(pilot) and "a gap of 3 d" in screen_text(pilot)


async def test_what_makes_the_file_systems_anew_now_and_as_a_point_has_it() -> None:
    engine = FakeEngine()
    asked: list[object] = []
    real = engine.vm_recipes

    def noted(point: object, job: object) -> object:
        asked.append(point)
        return real(point, job)  # type: ignore[arg-type]

    engine.vm_recipes = noted  # type: ignore[assignment]
    async with make_app(engine).run_test(size=(120, 30)) as pilot:
        await press(pilot, "V", "M", "3", "down")
        text = screen_text(pilot)
        assert text.count("mkfs.ocfs2 -b 4096 -C 1048576 -N 32 -L 'OVS' /dev/mapper/3600") == 2   # and in full below
        assert "how it was made cannot be told" in text and asked == [None]
        await press(pilot, "escape", "4", "enter", "M")
        assert isinstance(pilot.app.screen, VmHostScreen) and "File systems in point 2024-11-20" in screen_text(pilot)
        assert "Manager 1" not in screen_text(pilot) and getattr(asked[1], "id", "") == "vms-3"
        assert engine.calls.count("vm_manager") == 1
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, VmsScreen)


@pytest.mark.parametrize("verb", ["vm_manager", "vm_recipes"])
async def test_one_that_fails_says_why_and_leaves_the_other(verb: str) -> None:
    engine = FakeEngine()
    engine.fail[verb] = DamageError("the point is damaged")
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await press(pilot, "V", "M", "1" if verb == "vm_manager" else "3")
        assert "Nothing can be told: the point is damaged" in screen_text(pilot)
        await press(pilot, "3" if verb == "vm_manager" else "1")
        assert "Nothing can be told" not in screen_text(pilot)
        assert ("mkfs.ocfs2" if verb == "vm_manager" else "DBPASSWORD") in screen_text(pilot)
        engine.fail.clear()
        await press(pilot, "u", "1" if verb == "vm_manager" else "3")
        assert "Nothing can be told" not in screen_text(pilot)


async def test_without_a_manager_nothing_is_made_up() -> None:
    engine = FakeEngine()
    engine.vm_no_manager = True
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await press(pilot, "V", "M")
        text = screen_text(pilot)
        assert "There is no Oracle VM Manager here, nor backups of one." in text and "Forecast" not in text
        await press(pilot, "2")
        assert "There are none." in screen_text(pilot)


async def test_leaving_tells_the_scan_to_stop() -> None:
    engine = FakeEngine()
    engine.hold.set()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await press(pilot, "V")
        engine.hold.clear()
        await pilot.press("M")
        await until(pilot, lambda: "Looking ..." in screen_text(pilot) or "vm_recipes" in engine.calls)
        screen = pilot.app.screen
        assert isinstance(screen, VmHostScreen)
        await pilot.press("escape")
        await until(pilot, lambda: screen._job.cancelled and isinstance(pilot.app.screen, VmsScreen))
        engine.hold.set()
