"""The screen about one VM: its history, the script that makes it anew, and bringing its vm.cfg or its disks back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from engine.errors import ChangedError, NoRoomError
from engine.vms.recreate import TARGETS, script
from engine.vms.running import RUNNING, UNKNOWN, RunState
from tests.tui.conftest import AppPilot, make_app, paste, press, screen_text, settle
from tests.tui.fake_engine import FakeEngine
from tests.tui.fake_storage import storage_points
from tests.tui.fake_vms import PASSWORD, inventory
from tests.tui.scenes import ODD_VM, YES
from tui.screens.bytes import PairScreen
from tui.screens.vm import VmScreen
from tui.screens.vmback import ConfigBackScreen, DisksBackScreen
from tui.screens.vmdisks import DisksFromScreen
from tui.screens.vmscript import SaveScreen, ScriptRows, ScriptScreen
from tui.widgets.checkline import CheckLine
from tui.widgets.confirm import ConfirmYes
from tui.widgets.lineinput import LineInput
from tui.widgets.rows import RowList
from tui.widgets.viewlist import ViewList
from tui.widgets.vmrows import VmPointRows

MAYBE = RunState(UNKNOWN, "xl list gave no answer")


async def type_name(pilot: AppPilot, name: str) -> None:
    """Put another name into the dialog that saves."""
    await pilot.press("ctrl+u")
    paste(pilot, name)
    await settle(pilot)
    await press(pilot, "enter")


def squeezed(pilot: AppPilot) -> str:
    """What is shown, without blanks and line breaks: long names are wrapped."""
    return "".join(screen_text(pilot).replace("│", "").split())


def typed(pilot: AppPilot) -> str:
    """The name in the line of the dialog that saves."""
    return pilot.app.screen.query_one("#file", LineInput).value


async def test_history_says_what_changed_and_shows_the_file_then() -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, *ODD_VM, "5")
        text = screen_text(pilot)
        assert "memory 2048 MiB -> 4096 MiB" in text and "was added" in text and "not there" in text
        await press(pilot, "d")
        text = screen_text(pilot)
        assert isinstance(pilot.app.screen, PairScreen) and "memory = 2048" in text and "memory = 4096" in text
        assert "2024-11-13" in text and "2024-11-20" in text
        await press(pilot, "escape", "down", "c")
        assert "2024-11-13" in screen_text(pilot) and "now" in screen_text(pilot)
        await press(pilot, "escape", "f")
        assert "memory = 2048" in screen_text(pilot) and "memory = 4096" not in screen_text(pilot)
        await press(pilot, "escape", "enter")
        text = screen_text(pilot)
        assert isinstance(pilot.app.screen, VmScreen) and "2,048 MiB" in text and "as in point 2024-11-13" in text
        await press(pilot, "escape", "down", "enter")
        assert "It was not there then." in screen_text(pilot)


async def test_whether_it_runs_is_said_and_unknown_is_not_stopped() -> None:
    for state, said in ((RunState(RUNNING, "xl list"), "running"), (MAYBE, "running or not is unknown"),
                        (RunState("stopped", "xl list"), "stopped")):
        engine = FakeEngine()
        engine.vm_state = state
        async with make_app(engine).run_test(size=(120, 40)) as pilot:
            await press(pilot, *ODD_VM)
            line = screen_text(pilot).splitlines()[1]
            assert said in line and ("stopped" in line) == (state.state == "stopped")


# --- the script ---------------------------------------------------------------------------------------------


async def test_the_scripts_are_those_of_the_engine_and_gaps_are_filled_in() -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, *ODD_VM, "m")
        screen = pilot.app.screen
        assert isinstance(screen, ScriptScreen)
        machine = next(m for m in inventory().machines if m.name == "web01")
        for number, target in enumerate(TARGETS, 1):
            await press(pilot, str(number))
            source = screen.query_one(ViewList).rows.source
            assert isinstance(source, ScriptRows)
            assert source.made.lines == script(machine, target, {}).lines and screen.target == target
        await press(pilot, "p")
        assert "xl knows neither" in screen_text(pilot)
        await press(pilot, "1", "n", *"prod net", "enter", "p", *"pool1", "enter")
        source = screen.query_one(ViewList).rows.source
        assert isinstance(source, ScriptRows)
        assert source.made.lines == script(machine, "3.4", {"10238073c2": "prod net"}, "pool1").lines
        assert not source.made.unknown and 'network="prod net"' in screen_text(pilot)
        await press(pilot, "n", "escape")
        assert isinstance(pilot.app.screen, ScriptScreen)       # escape left the line, not the screen


async def test_saving_a_script_never_replaces_a_file(tmp_path: Path) -> None:
    machine = next(m for m in inventory().machines if m.name == "web01")
    there = tmp_path / "there"
    there.write_text("mine")
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, *ODD_VM, "m", "4", "w")
        assert isinstance(pilot.app.screen, SaveScreen) and typed(pilot) == "/root/web01.cfg"
        await type_name(pilot, str(there))
        assert "istherealready" in squeezed(pilot) and there.read_text() == "mine"
        await type_name(pilot, f"{there}2")
        assert "lines saved" in screen_text(pilot)
    saved = tmp_path / "there2"
    assert saved.read_text() == "".join(f"{line}\n" for line in script(machine, "xl", {}).lines)
    assert PASSWORD not in saved.read_text() and os.stat(saved).st_mode & 0o777 == 0o600


async def test_a_script_that_cannot_be_saved_says_why(tmp_path: Path) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, *ODD_VM, "m", "w")
        await type_name(pilot, "no/path")
        assert "Type a whole path" in screen_text(pilot)
        await type_name(pilot, f"{tmp_path}/missing/x")
        assert "Nosuchfileordirectory" in squeezed(pilot)
    assert list(tmp_path.iterdir()) == []


# --- bringing back ------------------------------------------------------------------------------------------


async def test_a_vm_cfg_comes_back_only_after_yes() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(120, 40)) as pilot:
        await press(pilot, *ODD_VM, "w")
        assert isinstance(pilot.app.screen, VmScreen) and "[5 History" in screen_text(pilot)    # which version?
        await press(pilot, "down", "w")
        text = screen_text(pilot)
        assert isinstance(pilot.app.screen, ConfigBackScreen) and "memory 4096 MiB -> 2048 MiB" in text
        assert "vm.cfg.2024-11-20" in text and "From point 2024-11-13" in text
        await press(pilot, "enter", *"no", "enter")
        assert not engine.vm_done
        looked = engine.calls.count("vms")
        await press(pilot, *YES)
        assert engine.vm_done[0].startswith("config vms-2 ") and "was brought back" in screen_text(pilot)
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, VmScreen) and engine.calls.count("vms") == looked + 1
        await press(pilot, "escape")
        assert engine.calls.count("vms") == looked + 2      # the list of all VMs is old as well


@pytest.mark.parametrize("state", [RunState(RUNNING, "xl list has it"), MAYBE], ids=["running", "unknown"])
async def test_nothing_comes_back_to_a_vm_that_runs_or_may(state: RunState) -> None:
    engine = FakeEngine()
    engine.vm_state = state
    async with make_app(engine).run_test(size=(120, 40)) as pilot:
        await press(pilot, *ODD_VM, "5", "w")
        screen = pilot.app.screen
        assert "Refused" in screen_text(pilot) and not screen.query_one(ConfirmYes).display
        await press(pilot, *YES)
        assert not engine.vm_done and "vm_bring_back_config" not in engine.calls
        assert screen.query_one(CheckLine).display == (state is MAYBE)
        if state is not MAYBE:
            return
        screen.set_focus(screen.query_one(CheckLine))
        await press(pilot, "space")         # the admin knows better than the machine can
        assert screen.query_one(ConfirmYes).display and "Refused" not in screen_text(pilot)
        await press(pilot, *YES)
        assert engine.vm_done


async def test_disks_come_back_from_a_chosen_point_one_or_all() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(120, 40)) as pilot:
        await press(pilot, *ODD_VM, "W")
        assert isinstance(pilot.app.screen, DisksFromScreen) and "vmdisks" in screen_text(pilot)
        await press(pilot, "down", "enter")
        text = screen_text(pilot)
        assert isinstance(pilot.app.screen, DisksBackScreen) and "xvda" in text and "xvdb" in text
        assert "9.0 GiB free" in text and "xvdc: it is removable" in text
        await press(pilot, *YES)
        assert engine.vm_done == ("disks vmdisks-1 xvda xvdb",)
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, VmScreen)
        await press(pilot, "2", "down", "W")
        assert "only xvdb" in screen_text(pilot)            # the disk under the cursor
        await press(pilot, "enter", *YES)
        assert engine.vm_done[1].endswith(" xvdb") and "xvda" not in engine.vm_done[1]


async def test_disks_come_back_from_a_snapshot_of_the_storage() -> None:
    engine = FakeEngine()
    engine.vm_storage = tuple(storage_points()[:1])
    async with make_app(engine).run_test(size=(120, 40)) as pilot:
        await press(pilot, *ODD_VM, "W")
        assert "tank/home +1" in screen_text(pilot)
        source = pilot.app.screen.query_one("#points", RowList).source
        assert isinstance(source, VmPointRows)
        at = [source.point(i) for i in range(len(source))].index(engine.vm_storage[0])
        await press(pilot, *["down"] * at, "enter", *YES)
        assert engine.vm_done == (f"disks {engine.vm_storage[0].id} xvda xvdb",)


@pytest.mark.parametrize(("error", "said"), [
    (ChangedError("the disk was changed since", hint="look again"), "changed since"),
    (NoRoomError("no room", missing=1, hint="make room"), "No room")])
async def test_what_goes_wrong_is_said(error: Exception, said: str) -> None:
    engine = FakeEngine()
    engine.fail["vm_restore_disks"] = error
    async with make_app(engine).run_test(size=(120, 40)) as pilot:
        await press(pilot, *ODD_VM, "W", "enter", *YES)
        assert said in screen_text(pilot)
        engine.fail = {"vm_plan_disks": error}
        await press(pilot, "enter", "enter")
        assert said in screen_text(pilot) and "Nothing was changed." in screen_text(pilot)
        assert not pilot.app.screen.query_one(ConfirmYes).display


async def test_a_point_of_its_disks_is_taken_or_refused() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(120, 40)) as pilot:
        await press(pilot, *ODD_VM, "s", *"before", "enter")
        assert len(engine.vm_done) == 1 and "was taken" in screen_text(pilot)
        engine.vm_state = MAYBE
        await press(pilot, "enter", "s", "enter")
        assert len(engine.vm_done) == 1 and "The VM may be running" in screen_text(pilot)
