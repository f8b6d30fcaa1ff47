"""The start on a rescue CD: nothing is looked for unasked, nothing wrong is mounted, and the words it leaves with."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.errors import RefusedError
from engine.rescue.mapping import Choices
from engine.rescue.survey import Survey
from tests.tui.conftest import AppPilot, make_app, press, screen_text, settle, until
from tests.tui.fake_engine import FakeEngine
from tests.tui.fake_rescue import BOOT, OTHER, ROOT, FakeLook, survey
from tui.app import RollpointApp
from tui.rescueapp import RescueApp
from tui.screens.device import DeviceScreen
from tui.screens.opening import OpenScreen
from tui.screens.points import PointsScreen
from tui.screens.rescue import RescueScreen, Wish
from tui.widgets.rescuerows import DeviceRows
from tui.widgets.rows import RowList


def rescue_app(look: FakeLook, wish: Wish | None = None) -> RescueApp:
    """The app of `rollpoint rescue`, with everything frozen."""
    plain = make_app(FakeEngine())
    return RescueApp(FakeEngine(), look, wish or Wish(), host="rescue", clock=plain.now, colours=plain._look)


def words_of(app: RollpointApp) -> list[str]:
    assert app.go_on_with is not None
    return app.go_on_with


def flat(pilot: AppPilot) -> str:
    return " ".join(screen_text(pilot).replace("│", " ").split())


# --- looking ---------------------------------------------------------------------------------------------------------


async def test_as_a_place_it_looks_only_when_it_is_told_to() -> None:
    look = FakeLook()
    app = make_app(FakeEngine())
    app.look_at_disks = look
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "Z")
        assert isinstance(app.screen, RescueScreen) and not look.asked
        assert "Enter looks at all disks" in screen_text(pilot) and "enter Look at the disks" in screen_text(pilot)
        await press(pilot, "enter")
        assert look.asked == [((), False)] and "2 stores, 2 systems" in screen_text(pilot)
        assert "esc Back" in screen_text(pilot)
        await press(pilot, "escape")
        assert isinstance(app.screen, PointsScreen) and app.go_on_with is None


async def test_where_nobody_can_look_it_says_so() -> None:
    app = make_app(FakeEngine())
    app.look_at_disks = None
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "Z", "enter")
        assert "cannot be looked at from here" in screen_text(pilot)


async def test_the_rescue_app_looks_at_once_and_shows_what_is_there() -> None:
    look = FakeLook()
    async with rescue_app(look).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        text = screen_text(pilot)
        assert "2 stores, 2 systems" in text and "/dev/sdb1:/stores/web01, point 3" in flat(pilot)
        assert "UNUSABLE" in text and "7 h ago" in text
        await press(pilot, "down")
        assert "cannot be used: written by a newer Rollpoint" in flat(pilot)
        await press(pilot, "2")
        assert "[ ] /dev/sda2" in screen_text(pilot) and "kernels 6.1.0-25, 6.1.0-26" in flat(pilot)
        await press(pilot, "down")
        assert "no kernel modules" in flat(pilot) and "NO fstab" in flat(pilot)
        await press(pilot, "4")
        text = flat(pilot)
        assert "cannot be read: /dev/sdd1: no answer" in text and "/dev/sde is an encrypted volume" in text


async def test_looking_can_be_stopped_and_done_again() -> None:
    look = FakeLook()
    look.hold.clear()
    async with rescue_app(look).run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Looking into the disks" in screen_text(pilot), "progress")
        await pilot.press("enter", "u", "v", "n")
        assert len(look.asked) == 1
        await pilot.press("escape")
        await until(pilot, lambda: "Stopped" in screen_text(pilot), "the end")
        look.hold.set()
        await press(pilot, "enter")
        assert "2 stores" in screen_text(pilot)


async def test_an_error_says_what_to_do_and_what_was_found_stays() -> None:
    look = FakeLook(error=RefusedError("only root can look into the disks", hint="run it as root"))
    async with rescue_app(look).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert "Only root can look" in screen_text(pilot) and "run it as root" in screen_text(pilot)
        look.error = None
        await press(pilot, "enter")
        look.error = RefusedError("gone", hint="plug it in")
        await press(pilot, "u")
        assert "plug it in" in screen_text(pilot)
        await press(pilot, "enter")
        assert "/dev/sdb1:/stores/web01" in screen_text(pilot)


async def test_shares_and_volumes_are_looked_at_when_named() -> None:
    look = FakeLook()
    async with rescue_app(look).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "n", *"nothing", "enter")
        assert "is no NFS share" in flat(pilot)
        await press(pilot, "enter", "escape", "n", *"nas:/x", "enter")
        assert look.asked[-1] == (("nas:/x",), False)
        await press(pilot, "v")
        assert look.asked[-1] == (("nas:/x",), True)


async def test_no_store_says_where_one_may_be() -> None:
    look = FakeLook(Survey())
    async with rescue_app(look).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "3")
        assert "There is no store on any disk: n names an NFS share" in flat(pilot)
        await press(pilot, "enter", "m", "space", "2", "space", "1", "enter", "3")
        assert isinstance(pilot.app.screen, RescueScreen) and "enter Mount" not in screen_text(pilot)


# --- what takes the place of what ------------------------------------------------------------------------------------


async def test_all_as_recorded_is_opened_after_a_look() -> None:
    app = rescue_app(FakeLook())
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "enter")
        text = screen_text(pilot)
        assert "[3 Mapping 2]" in text and text.count("the same") >= 2 and "enter Mount and open" in text
        await press(pilot, "enter")
        assert isinstance(app.screen, OpenScreen) and "/dev/sda1" in screen_text(pilot) and app.go_on_with is None
        await press(pilot, "escape")
        assert isinstance(app.screen, RescueScreen)
        await press(pilot, "enter", "enter")
        assert isinstance(app.screen, OpenScreen) and app.go_on_with is None, "enter alone must mount nothing"
        await pilot.press(*"yes", "enter")
        await until(pilot, lambda: app._exit, "the end")
    assert words_of(app) == ["rescue", "open", "--store", "/dev/sdb1:/stores/web01", "--map", "/=/dev/sda2",
                             "--map", "/boot=/dev/sda1"]


async def test_wrong_disks_are_refused() -> None:
    found = survey()
    look = FakeLook(replace(found, file_systems=tuple(f for f in found.file_systems if f != ROOT)))
    app = rescue_app(look)
    async with app.run_test(size=(120, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "enter")
        text = flat(pilot)
        assert "REFUSED: /dev/sdc1 is not the file system that the point recorded at /" in text
        assert "ANOTHER" in text and "enter Mount" not in text
        await press(pilot, "enter")
        assert "This is refused" in flat(pilot) and app.go_on_with is None
        await press(pilot, "enter", "a")
        assert "ADOPT" in flat(pilot) and "to have it written over, name it" in flat(pilot)
        await press(pilot, "home", "down", "m")
        assert isinstance(app.screen, DeviceScreen) and "Which device is /" in screen_text(pilot)
        await press(pilot, "enter")
        assert "REFUSED" not in screen_text(pilot)
        await press(pilot, "enter", "enter")
        assert isinstance(app.screen, OpenScreen) and "Nothing was done" in screen_text(pilot)
        await press(pilot, *"no", "enter")
        assert isinstance(app.screen, OpenScreen) and app.go_on_with is None
        await pilot.press(*"yes", "enter")
        await until(pilot, lambda: app._exit, "the end")
    assert "--adopt" in words_of(app) and "/=/dev/sdc1" in words_of(app)


async def test_another_machine_is_refused() -> None:
    found = survey()
    systems = tuple(replace(s, machine_id="0therid") for s in found.systems)
    async with rescue_app(FakeLook(replace(found, systems=systems))).run_test(size=(120, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "enter")
        assert "holds another machine" in flat(pilot) and "enter Mount" not in screen_text(pilot)


async def test_a_device_can_be_named_and_forgotten() -> None:
    app = rescue_app(FakeLook())
    async with app.run_test(size=(120, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "enter", "down", "m")
        assert isinstance(app.screen, DeviceScreen) and "Which device is /boot" in screen_text(pilot)
        rows = app.screen.query_one(RowList)
        assert isinstance(rows.source, DeviceRows) and rows.source.devices[rows.cursor] == BOOT
        rows.cursor = rows.source.devices.index(OTHER)
        await press(pilot, "enter")
        text = flat(pilot)
        assert "/dev/sdc1" in text and "REFUSED" in text and "chosen; its UUID is dddd-4444" in text
        await press(pilot, "end", "m", "r")
        assert "REFUSED" not in screen_text(pilot)


async def test_a_system_is_chosen_as_the_target() -> None:
    async with rescue_app(FakeLook()).run_test(size=(120, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "2", "down", "space")
        assert "[x] /dev/sdc1" in screen_text(pilot)
        await press(pilot, "3")
        assert "/dev/sdc1 is not the file system that the point recorded" in flat(pilot)
        await press(pilot, "2", "space", "3")
        assert "REFUSED" not in screen_text(pilot)


async def test_other_points_may_have_other_file_systems() -> None:
    found = survey()
    store = found.stores[0]
    older = replace(store.points[1], sources=store.points[1].sources[:1])
    store = replace(store, points=(store.points[0], older, store.points[2]))
    async with rescue_app(FakeLook(replace(found, stores=(store,)))).run_test(size=(120, 30)) as pilot:
        await settle(pilot)
        await press(pilot, "enter", "minus")
        assert "point 2 of" in flat(pilot) and "[3 Mapping 1]" in screen_text(pilot)
        await press(pilot, "plus", "plus")
        assert "point 3 of" in flat(pilot) and "[3 Mapping 2]" in screen_text(pilot)
        await press(pilot, "minus", "enter")
        await pilot.press(*"yes", "enter")
        await until(pilot, lambda: pilot.app._exit, "the end")
    assert isinstance(pilot.app, RollpointApp)
    assert words_of(pilot.app)[:4] == ["rescue", "open", "--point", older.id]


async def test_what_the_command_line_said_holds_from_the_beginning() -> None:
    wish = Wish(("/dev/sda", "/dev/sdb"), ("nas:/x",), True, "", Choices({"/boot": "/dev/sdc1"}, "", True))
    look = FakeLook()
    app = rescue_app(look, wish)
    async with app.run_test(size=(120, 30)) as pilot:
        await settle(pilot)
        assert look.asked == [(("nas:/x",), True)] and "ADOPT" in screen_text(pilot)
        await press(pilot, "enter", "enter")
        await pilot.press(*"yes", "enter")
        await until(pilot, lambda: app._exit, "the end")
    assert words_of(app) == ["rescue", "open", "--store", "/dev/sdb1:/stores/web01", "--map", "/=/dev/sda2", "--map",
                             "/boot=/dev/sdc1", "--device", "/dev/sda", "--device", "/dev/sdb", "--share", "nas:/x",
                             "--adopt"]


async def test_leaving_the_rescue_app_ends_it() -> None:
    app = rescue_app(FakeLook())
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("escape")
        await until(pilot, lambda: app._exit, "the end")
    assert app.go_on_with is None


@pytest.mark.parametrize(("exists", "able", "offered"), [(False, True, True), (True, True, False),
                                                         (False, False, False)])
async def test_an_app_without_a_store_offers_to_look_elsewhere(exists: bool, able: bool, offered: bool) -> None:
    engine = FakeEngine(0)
    engine.state = replace(engine.state, exists=exists)
    look = FakeLook()
    app = make_app(engine)
    app.look_at_disks = look if able else None
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        assert ("On a rescue CD, press Z" in screen_text(pilot)) == offered and not look.asked
