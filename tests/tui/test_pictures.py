"""Pictures: those of the tests (double, frozen) and those of the README (real engine, demo machine)."""

from __future__ import annotations

import html
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.screen import Screen

from engine.backends import Trouble
from engine.config import Retention
from engine.points import RestorePoint
from tests.tui.conftest import AppPilot, make_app, press, settle, until
from tests.tui.fake_engine import FakeEngine
from tests.tui.scenes import ODD_VM
from tui import screenshots
from tui.app import RollpointApp
from tui.screens.browse import BrowseScreen
from tui.screens.find import FindScreen
from tui.screens.history import HistoryScreen
from tui.screens.run import RUN
from tui.theme import ANSI_DARK, LIGHT, Look

ROOT = Path(__file__).resolve().parents[2]
CHANGES = ("r", "enter")
TO_YES = (*CHANGES, "enter", "enter")
TRIED = ("P", "down", "down", "down", "7", "enter")
KEYS = {"points": (), "details": ("enter",), "changes": ("d", "down"),
        "changes-flat": ("d", "f", "G"), "changes-software": ("d", "6"), "filediff": ("d", "3", "down", "enter"),
        "filediff-beside": ("d", "3", "down", "enter", "m"), "filediff-hex": ("d", "3", "down", "enter", "m", "m"),
        "take": ("s",), "taken": ("s", "enter"),
        "rollback_scope": ("down", "r", "down", "enter", *"/etc/nginx", "enter"),
        "rollback_changes": ("down", *CHANGES),
        "rollback_safety": ("down", *CHANGES, "enter", "space"), "rollback_confirm": ("down", *TO_YES),
        "rollback_at_boot": ("down", *TO_YES, "tab"), "rollback_ordered": ("down", *TO_YES, "tab", *"yes", "enter"),
        "rollback_result": ("down", *TO_YES, *"yes", "enter"),
        "delete": ("x", "n", "o", "enter"), "verify": ("v",), "help": ("question_mark",), "comment": ("e",),
        "prune": TRIED, "prune-wrong": ("P", "down", "enter", "s", "o", "o", "n"),
        "prune-calendar": (*TRIED, "c", "tab"), "prune-write": (*TRIED, "x"), "growth": ("o",),
        "growth-points": ("o", "1"), "store": ("S",), "settings": ("c", "down", "down"),
        "boot": ("B",), "boot-code": ("B", "2", "down"), "boot-bytes": ("B", "2", "down", "enter"),
        "boot-layout": ("B", "3"), "boot-facts": ("B", "4"),
        "rescue": ("Z", "enter"), "rescue-mapping": ("Z", "enter", "enter"),
        "rescue-open": ("Z", "enter", "enter", "enter"),
        "vms": ("V", "down", "down", "right"), "vms-coverage": ("V", "2"), "vms-findings": ("V", "3", "down", "down"),
        "vms-finding": ("V", "3", "down", "down", "down", "enter"), "vms-changes": ("V", "4", "down", "d"),
        "vms-manager": ("V", "M"), "vms-backups": ("V", "M", "2", "down", "down", "down"),
        "vms-recipes": ("V", "M", "3", "down"),
        "vm": ODD_VM, "vm-disks": (*ODD_VM, "2", "down"), "vm-history": (*ODD_VM, "5"), "vm-script": (*ODD_VM, "m"),
        "vm-back": (*ODD_VM, "5", "down", "w"), "vm-disks-back": (*ODD_VM, "W", "enter"),
        "palette": ("colon", "p", "o", "i"), "points-marked": ("down", "m", "down")}


def walk(*keys: str) -> Callable[[AppPilot], Awaitable[None]]:
    """Go to a screen and wait until nothing moves any more."""
    async def go(pilot: AppPilot) -> None:
        await settle(pilot)
        for key in keys:
            await press(pilot, key)
        await until(pilot, lambda: getattr(pilot.app.screen, "step", "") != RUN, "the end of the run")
        await settle(pilot)
    return go


@pytest.mark.parametrize("size", [(80, 24), (120, 40)], ids=["80x24", "120x40"])
@pytest.mark.parametrize("scene", sorted(KEYS))
def test_picture(snap_compare: Callable[..., bool], scene: str, size: tuple[int, int]) -> None:
    assert snap_compare(make_app(FakeEngine(30)), run_before=walk(*KEYS[scene]), terminal_size=size)


STORAGE = {"storage": ("g",), "storage-details": ("g", "enter"), "storage-ways": ("g", "r"),
           "storage-native": ("g", "r", "n", "enter"), "storage-take": ("s", "tab", "tab", "tab", "right"),
           "storage-delete": ("g", "down", "down", "x"), "storage-browse": ("g", "down", "down", "b"),
           "storage-store": ("S",), "storage-prune": ("P", "tab", "down"), "storage-prune-now": ("P", "x")}


@pytest.mark.parametrize("size", [(80, 24), (160, 45)], ids=["80x24", "160x45"])
@pytest.mark.parametrize("scene", sorted(STORAGE))
def test_storage(snap_compare: Callable[..., bool], scene: str, size: tuple[int, int]) -> None:
    engine = FakeEngine(30)
    engine.have_storage()
    if "prune" in scene:
        engine.rules_now, engine.prunable = Retention(min_keep=1, daily=2), "zrepl"
    engine.waiting = ("vg/root merges when it is next activated, at the next boot",)
    engine.storage_troubles = (Trouble("btrfs", "btrfs gave no answer within 30 s", "look at `dmesg`"),)
    assert snap_compare(make_app(engine), run_before=walk(*STORAGE[scene]), terminal_size=size)


def of_point(number: int, engine: FakeEngine) -> RestorePoint:
    return next(p for p in engine.list if p.number == number)


OPENED: dict[str, tuple[Callable[[FakeEngine], Screen[None]], tuple[str, ...]]] = {
    "browse": (lambda e: BrowseScreen(of_point(24, e), b"etc"), ("down", "down", "down")),
    "browse-deleted": (lambda e: BrowseScreen(of_point(9, e), b"etc"), ("full_stop", "space", "space", "space")),
    "browse-restore": (lambda e: BrowseScreen(of_point(24, e), b"etc"), ("space", "space", "w")),
    "browse-elsewhere": (lambda e: BrowseScreen(of_point(24, e), b"etc"),
                         ("down", "w", "e", "slash", *"root", "slash", *"full", "enter", "y", "e")),
    "browse-entry": (lambda e: BrowseScreen(of_point(24, e), b"etc"), ("down", "i")),
    "history": (lambda e: HistoryScreen(b"etc/nginx.conf", of_point(20, e)), ("down",)),
    "history-gone": (lambda e: HistoryScreen(b"etc/old.conf"), ("down",)),
    "fileview": (lambda e: BrowseScreen(of_point(24, e), b"etc", b"nginx.conf"), ("enter",)),
    "find": (lambda e: FindScreen("conf"), ("down",))}


@pytest.mark.parametrize("size", [(80, 24), (140, 40)], ids=["80x24", "140x40"])
@pytest.mark.parametrize("scene", sorted(OPENED))
def test_opened(snap_compare: Callable[..., bool], scene: str, size: tuple[int, int]) -> None:
    make, keys = OPENED[scene]
    engine = FakeEngine(30)

    async def go(pilot: AppPilot) -> None:
        await settle(pilot)
        pilot.app.push_screen(make(engine))
        await settle(pilot)
        await press(pilot, *keys)

    assert snap_compare(make_app(engine), run_before=go, terminal_size=size)


@pytest.mark.parametrize("look", [LIGHT.name, ANSI_DARK.name])
def test_picture_in_other_colours(snap_compare: Callable[..., bool], look: str) -> None:
    app: RollpointApp = make_app(FakeEngine(30), look=Look(look, "ansi" in look))
    assert snap_compare(app, run_before=walk(*CHANGES), terminal_size=(80, 24))


def words(svg: str) -> list[str]:
    """The text of a picture, line by line; numbers (sizes differ a little between file systems) as #."""
    found = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    plain = [re.sub(r"\s+", " ", html.unescape(text)).strip() for text in found]
    return [re.sub(r"[\d.,]*\d( [KMG]?i?B)?( days?)?", "#", text) for text in plain]


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
