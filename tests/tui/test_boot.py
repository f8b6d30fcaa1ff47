"""The place about booting: verdict, boot code beside a point's, layout, facts; a rollback's boot sectors."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.bootlook import Kept
from engine.errors import DamageError, RollpointError
from engine.machine.bootrestore import Piece
from tests.tui import fake_boot
from tests.tui.conftest import AppPilot, make_app, press, screen_text, settle, until
from tests.tui.fake_engine import FakeEngine
from tui.bootwords import area_rows
from tui.screens.boot import BootScreen
from tui.screens.bytes import PairScreen
from tui.screens.points import PointsScreen
from tui.widgets.bootrows import AreaRows
from tui.widgets.rows import RowList


def rows(pilot: AppPilot) -> AreaRows:
    source = pilot.app.screen.query_one("#view-rows", RowList).source
    assert isinstance(source, AreaRows)
    return source


def go_to(pilot: AppPilot, title: str) -> None:
    """Put the cursor on an area."""
    at = next(i for i, row in enumerate(rows(pilot).areas) if row.title == title)
    pilot.app.screen.query_one("#view-rows", RowList).cursor = at


async def test_the_verdict_comes_with_its_reasons_and_what_to_do() -> None:
    engine = FakeEngine()
    boot = {"verdict": "doubtful", "kernel": "6.1.0-25", "firmware": "uefi", "notes": ["a note of then"],
            "findings": [{"level": "warning", "text": "an initramfs is missing"}]}
    engine.list[0] = replace(engine.list[0], doc=dict(engine.list[0].doc, boot=boot))
    async with make_app(engine).run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "B")
        text = screen_text(pilot)
        assert "now beside point 12" in text
        assert "Now: started by bios, it will not boot: 2 reasons (kernel 6.1.0-26-amd64)" in text
        assert "NO: /dev/sda: there is no boot code in sector 0, only zeroes" in text
        assert "what to do: restore the boot pieces" in text
        assert "Point 12, when it was taken: started by uefi, it might not boot (kernel 6.1.0-25)" in text
        assert "doubt: an initramfs is missing" in text and "note: a note of then" in text
        assert "1 of 2 boot areas are not as in the point" in text
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, PointsScreen)


async def test_boot_code_differs_in_words_and_in_bytes() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "down", "B", "2")
        go_to(pilot, "boot code")
        await settle(pilot)
        text = screen_text(pilot)
        assert "440 of 440 bytes differ. A rollback puts back what the point has." in text
        assert "/dev/sdb is not here" in text and "MISSING" in text
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, PairScreen)
        text = screen_text(pilot)
        assert "boot code of /dev/sda, bytes 0 to 440" in text and "point 11  440 B" in text and "now  440 B" in text
        assert "- 01 02 03" in text
        await press(pilot, "escape")
        go_to(pilot, "gap")
        await press(pilot, "enter")
        assert "the same content" in screen_text(pilot)


async def test_what_is_only_in_the_point_is_shown_alone_and_damage_is_told() -> None:
    engine = FakeEngine()
    engine.boot_kept = lambda point, name: Kept(b"\0half", "disk-2.sector0 is damaged")  # type: ignore[method-assign]
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "B", "2")
        go_to(pilot, "sector 0")
        await press(pilot, "enter")
        text = screen_text(pilot)
        assert "disk-2.sector0 is damaged" in text and "boot_bytes" not in engine.calls and "00 68 61 6c 66" in text


async def test_layout_and_facts() -> None:
    async with make_app(FakeEngine()).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "B", "3")
        text = screen_text(pilot)
        assert "partition table of /dev/sda" in text and "DIFFERENT" in text and "equal" in text
        await press(pilot, "enter")
        text = screen_text(pilot)
        assert "size=8192" in text and "size=4096" in text and "+1 -1" in text
        await press(pilot, "escape", "right", "down", "enter")
        assert "df.txt: df -PTl" in screen_text(pilot) and "19046440" in screen_text(pilot)


async def test_other_points_are_stepped_to_and_the_list_stays() -> None:
    engine = FakeEngine()
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "down", "B", "2")
        go_to(pilot, "gap")
        await press(pilot, "minus")
        assert "beside point 10" in screen_text(pilot) and "[2 Boot code" in screen_text(pilot)
        assert rows(pilot).areas[pilot.app.screen.query_one("#view-rows", RowList).cursor].title == "gap"
        await press(pilot, "right_square_bracket", "plus", "plus", "plus")
        assert "beside point 12" in screen_text(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, BootScreen) and screen.here().point == engine.list[0]


async def test_the_answer_about_an_older_point_is_not_taken_for_the_new_one() -> None:
    engine = FakeEngine()
    real = engine.boot_of
    engine.boot_of = lambda point: replace(     # type: ignore[method-assign]
        real(point), damage=(f"damage of {point.number}",))
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await pilot.press("B", "minus", "minus", "minus")
        await until(pilot, lambda: "damage of 9" in screen_text(pilot), "the answer")
        await settle(pilot)
        text = screen_text(pilot)
        assert "beside point 9" in text and "DAMAGED: damage of 9" in text
        await press(pilot, "2")
        assert "DAMAGED (1)" in screen_text(pilot), "whatever list is shown"


async def test_a_point_without_boot_pieces_says_so_and_the_machine_is_shown() -> None:
    engine = FakeEngine()
    engine.no_boot_pieces = True
    async with make_app(engine).run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "B")
        assert "holds no boot pieces" in screen_text(pilot) and "it will not boot" in screen_text(pilot)
        await press(pilot, "2")
        text = screen_text(pilot)
        assert "sector 0" in text and "only the first 1.0 MiB" not in text
        go_to(pilot, "gap")
        await settle(pilot)
        assert "only the first 1.0 MiB" in screen_text(pilot)
        await press(pilot, "enter")
        assert "now  512 B" in screen_text(pilot) and "boot_kept" not in engine.calls
        await press(pilot, "escape", "4")
        assert "4 Facts 0" in screen_text(pilot)


@pytest.mark.parametrize(("verb", "wanted"), [
    ("boot", "This machine cannot be looked at"), ("boot_layout", "cannot read sda"),
    ("boot_loaders", "cannot read sda")])
async def test_what_fails_keeps_nothing_else_away(verb: str, wanted: str) -> None:
    engine = FakeEngine()
    engine.fail[verb] = DamageError("cannot read sda", hint="look into dmesg")
    async with make_app(engine).run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "B")
        text = screen_text(pilot)
        assert wanted in text and "cannot read sda" in text and ("it will not boot" in text) == (verb != "boot")


async def test_bytes_that_cannot_be_read_are_told_with_what_to_do() -> None:
    engine = FakeEngine()
    engine.fail["boot_bytes"] = RollpointError("/dev/sda cannot be read", hint="run as root")
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "B", "2")
        go_to(pilot, "boot code")
        await press(pilot, "enter")
        assert "/dev/sda cannot be read" in screen_text(pilot) and "run as root" in screen_text(pilot)
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, BootScreen)


async def test_without_any_point_the_machine_alone_is_shown() -> None:
    engine = FakeEngine(0)
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "B", "minus")
        assert "Boot and disks now " in screen_text(pilot) and "beside" not in screen_text(pilot)
        assert "it will not boot" in screen_text(pilot)
        await press(pilot, "2", "enter")
        assert "zeros" in screen_text(pilot)


def test_each_state_of_an_area_has_its_word() -> None:
    shown = fake_boot.shown("x")
    assert shown.plan is not None
    disk = shown.plan.disks[0]
    refused = Piece("gap", 512, 100, "disk-1.gap", "a", "b", 7, "the first partition starts at byte 600 now", ())
    plan = replace(shown.plan, disks=(replace(disk, pieces=(refused, disk.pieces[1]), warnings=()),))
    found = {row.title: row for row in area_rows(fake_boot.machine("x"), replace(shown, plan=plan), ())}
    assert found["gap"].state[0] == "stays" and "starts at byte 600 now" in found["gap"].more
    assert found["boot code"].state[0] == "DIFFERENT" and found["not here"].state[0] == "MISSING"
    alone = {row.title: row.state[0] for row in area_rows(fake_boot.machine("x"), None, fake_boot.loaders(""))}
    assert alone["sector 0"] == "now" and alone["grubx64.efi"] == "now" and alone["BOOTX64.EFI"] == "BROKEN"
    uncompared = area_rows(None, replace(shown, plan=None, why="no disk"), fake_boot.loaders(""))
    assert [row.state[0] for row in uncompared if row.title == "sector 0"] == ["in point", "in point"]
    assert {row.title: row.state[0] for row in uncompared}["old.efi"] == "GONE"


# --- in a rollback ---------------------------------------------------------------------------------------------------


CHANGE = "/dev/sda: boot code: zeroes -> GRUB 2 (440 of 440 bytes differ)"


async def test_boot_sectors_that_a_rollback_changes_can_be_seen_as_bytes() -> None:
    engine = FakeEngine()
    engine.boot_planned = (CHANGE, "/dev/sdz: gap: x -> y (1 of 2 bytes differ)")
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "r", "enter")
        assert "Boot       /dev/sda: boot code: zeroes -> GRUB 2" in screen_text(pilot)
        await press(pilot, "8")
        text = screen_text(pilot)
        assert "[8 Boot 2]" in text and "enter Bytes" in text and "n Go on" in text and CHANGE in text
        await press(pilot, "enter")
        text = screen_text(pilot)
        assert CHANGE in text and "- now  440 B, zeros" in text and "+ afterwards  440 B" in text
        await press(pilot, "escape", "down", "enter")
        text = screen_text(pilot)
        assert "not as they were when this was planned" in " ".join(text.split()) and "plan it again" in text
        await press(pilot, "enter", "n")
        assert "[Safety point]" in screen_text(pilot)
        await press(pilot, "n", "escape", "1", "enter")
        assert "[Safety point]" in screen_text(pilot) and "rollback" not in engine.calls
