"""Walks over every screen and dialog (scenes.py): whatever is done there, what judge.py asks for must hold."""

from __future__ import annotations

import pytest

from engine.entries import Change, Status
from engine.text import message, printable
from tests.tui.conftest import AppPilot, make_app, screen_text, settle
from tests.tui.fake_engine import HOSTILE, FakeEngine, entry
from tests.tui.fake_tree import spans
from tests.tui.judge import faults
from tests.tui.scenes import SCENES, WRITES, Guide
from tests.tui.test_hostile import engine_with
from tui.theme import THEMES, Look

TEXTS = (*HOSTILE, b"nul\x00byte", b"\x1b]0;title\x07\x1b[31m\xc2\x9d", b"[bold", b"\\[x]", b"$name [$rp-dim]")
"""Names, and what only messages of tools can hold."""
TOGETHER = [b" ".join(TEXTS[i:i + 5]) for i in range(0, len(TEXTS), 5)]
"""Some of them in each text: test_hostile.py tries them one by one on the main screens."""


def sound(pilot: AppPilot, where: object) -> None:
    """Nothing is wrong with what is shown."""
    found = faults(pilot)
    if found:
        pytest.fail(f"{where}: {found[:5]}\n{screen_text(pilot)}")


@pytest.mark.parametrize("theme", THEMES, ids=lambda t: t.name)
async def test_every_screen_can_be_read_in_every_look(theme: object) -> None:
    name = getattr(theme, "name", "")
    engine = FakeEngine(30)
    async with make_app(engine, look=Look(name, "ansi" in name)).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        with Guide(pilot, engine) as guide:
            for scene in SCENES:
                await guide.go(scene)
                sound(pilot, scene.name)
                shown = screen_text(pilot)
                assert scene.held or scene.wanted in shown, f"{scene.name}:\n{shown}"
            await guide.home()


@pytest.mark.parametrize("name", TOGETHER, ids=[printable(t)[:20] for t in TOGETHER])
async def test_hostile_texts_are_shown_as_they_are_on_every_screen(name: bytes) -> None:
    engine = engine_with(name)
    file = name.replace(b"/", b"|").replace(b"\0", b"")      # what a file can be called
    engine.tree.directories[b"srv"] = [spans(b"srv/" + file, (1, None))]
    engine.found = (Change(b"srv/" + name, Status.CREATED, None, entry(b"srv/" + name), ()),)
    text = message(name.decode("utf-8", "surrogateescape"))
    # A sentence that begins with what was given begins with a capital letter.
    wanted = {"".join(each.split())[:30].casefold() for each in (text, printable(name), printable(file))}
    async with make_app(engine, root="/srv").run_test(size=(160, 45)) as pilot:
        await settle(pilot)
        with Guide(pilot, engine) as guide:
            for scene in SCENES:
                await guide.go(scene)
                sound(pilot, scene.name)
                shown = screen_text(pilot)
                squeezed = "".join(shown.replace("│", "").split()).casefold()
                assert not scene.says or scene.held or any(w in squeezed for w in wanted), f"{scene.name}:\n{shown}"
                assert scene.does >= WRITES & set(engine.calls), f"{scene.name}: {engine.calls}"
            await guide.home()


@pytest.mark.parametrize("turn", range(4))
async def test_resizing_on_every_screen(turn: int) -> None:
    engine = FakeEngine(30)
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        with Guide(pilot, engine) as guide:
            for scene in SCENES[turn::4]:
                await guide.go(scene)
                for size in ((40, 10), (200, 50), (3, 2), (80, 24)):
                    await pilot.resize_terminal(*size)
                    await (pilot.pause() if scene.held else settle(pilot))
                    if size != (3, 2):
                        sound(pilot, f"{scene.name} at {size}")
            await guide.home()
