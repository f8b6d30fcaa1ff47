"""From 40x10 to 200x60: nothing crashes, host and root stay visible, the keys that matter are offered."""

from __future__ import annotations

import pytest

from engine.config import Retention
from tests.tui.conftest import make_app, point_of, press, screen_text, settle
from tests.tui.fake_engine import FakeEngine

SIZES = [(40, 10), (60, 15), (80, 24), (100, 30), (200, 60)]
WALK = (("enter",), ("d",), ("d", "enter"), ("r",), ("r", "down", "enter"), ("r", "enter"),
        ("r", "enter", "enter"), ("r", "enter", "enter", "enter"), ("s",), ("x",), ("P",), ("P", "tab", "c"),
        ("P", "7"), ("P", "tab", "x"), ("o",), ("o", "1", "enter"), ("S",), ("S", "f"), ("c",),
        ("colon",), ("colon", "z", "z"), ("v",), ("e",), ("R",), ("question_mark",), ("slash", "n"))


@pytest.mark.parametrize("size", SIZES, ids=[f"{w}x{h}" for w, h in SIZES])
async def test_every_screen_at_every_size(size: tuple[int, int]) -> None:
    async with make_app(FakeEngine(30)).run_test(size=size) as pilot:
        await settle(pilot)
        for keys in WALK:
            await press(pilot, *keys)
            lines = screen_text(pilot).splitlines()
            assert len(lines) == size[1] and all(len(line) == size[0] for line in lines)
            assert "web01" in lines[0] and "/" in lines[0], keys
            for _ in range(4):
                await press(pilot, "escape")
        assert " N " in screen_text(pilot)


async def test_resizing_while_everything_is_open() -> None:
    async with make_app(FakeEngine(30)).run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "G")
        for keys in ((), ("d",), ("escape", "r"), ("escape", "x"), ("escape", "P"), ("escape", "S"), ("escape", "o"),
                     ("escape", "colon")):
            await press(pilot, *keys)
            for size in ((40, 10), (160, 45), (3, 2), (80, 24)):
                await pilot.resize_terminal(*size)
                await settle(pilot)
            assert "web01" in screen_text(pilot).splitlines()[0]
        await press(pilot, "escape")
        assert point_of(pilot).number == 1


async def test_dialogs_keep_their_keys_on_80x24_and_40x10() -> None:
    for size in ((80, 24), (40, 10)):
        async with make_app(FakeEngine(30)).run_test(size=size) as pilot:
            await settle(pilot)
            for key in ("x", "colon", "s", "v", "question_mark"):
                await press(pilot, key)
                assert "esc" in screen_text(pilot) or "enter" in screen_text(pilot), (size, key, screen_text(pilot))
                await press(pilot, "escape")


async def test_the_line_to_type_yes_into_is_visible() -> None:
    for size in ((80, 24), (60, 15), (40, 10)):
        engine = FakeEngine(30)
        engine.rules_now = Retention(daily=3)
        async with make_app(engine).run_test(size=size) as pilot:
            await settle(pilot)
            for keys in (("x",), ("P", "x"), ("r", "enter", "enter", "enter")):
                await press(pilot, *keys, "y", "e")
                text = screen_text(pilot)
                assert "good?" in text or "now?" in text or "marked REMOVE" in text, (size, keys, text)
                assert " ye " in text, (size, keys, text)
                await press(pilot, *["escape"] * max(2, len(keys)))
