"""Pictures: those of the tests (double, frozen) and those of the README (real engine, demo machine)."""

from __future__ import annotations

import html
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.tui.conftest import AppPilot, make_app, press, settle
from tests.tui.fake_engine import FakeEngine
from tui import screenshots
from tui.app import RollpointApp
from tui.theme import ANSI_DARK, LIGHT, Look

ROOT = Path(__file__).resolve().parents[2]
KEYS = {"points": (), "details": ("enter",), "changes": ("d", "down"),
        "changes-flat": ("d", "f", "G"), "changes-software": ("d", "6"), "filediff": ("d", "3", "down", "enter"),
        "filediff-beside": ("d", "3", "down", "enter", "m"), "filediff-hex": ("d", "3", "down", "enter", "m", "m"),
        "rollback": ("down", "r"), "take": ("s",),
        "delete": ("x", "n", "o", "enter"), "prune": ("P",), "verify": ("v",), "help": ("question_mark",),
        "comment": ("e",)}


def walk(*keys: str) -> Callable[[AppPilot], Awaitable[None]]:
    """Go to a screen and wait until nothing moves any more."""
    async def go(pilot: AppPilot) -> None:
        await settle(pilot)
        await press(pilot, *keys)
    return go


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
@pytest.mark.parametrize("scene", sorted(KEYS))
def test_picture(snap_compare: Callable[..., bool], scene: str, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(FakeEngine(30)), run_before=walk(*KEYS[scene]), terminal_size=size)


@pytest.mark.parametrize("look", [LIGHT.name, ANSI_DARK.name])
def test_picture_in_other_colours(snap_compare: Callable[..., bool], look: str) -> None:
    app: RollpointApp = make_app(FakeEngine(30), look=Look(look, "ansi" in look))
    assert snap_compare(app, run_before=walk("r"), terminal_size=(80, 24))


def words(svg: str) -> list[str]:
    """The text of a picture, line by line; numbers (sizes differ a little between file systems) as #."""
    found = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    return [re.sub(r"\s+", " ", re.sub(r"[\d.,]*\d( [KMG]?i?B)?", "#", html.unescape(t))).strip() for t in found]


def test_the_screenshots_of_the_readme_are_those_of_this_program(tmp_path: Path) -> None:
    names = screenshots.make(str(tmp_path), png=False)
    committed = {p.stem for p in (ROOT / "screenshots").glob("*.svg")}
    assert committed == set(names), "run: python -m tui.screenshots"
    for name in names:
        new = (tmp_path / f"{name}.svg").read_text()
        old = (ROOT / "screenshots" / f"{name}.svg").read_text()
        assert words(new) == words(old), f"{name} has changed; look at it, then run: python -m tui.screenshots"
        assert (ROOT / "screenshots" / f"{name}.png").stat().st_size > 10_000
        assert "http" not in re.sub(r'xmlns="[^"]*"', "", new).replace("https://www.textualize.io", "")
