"""Which colours are chosen for which terminal, and what the first lines of the program refuse."""

from __future__ import annotations

import io

import pytest

from tests.tui.conftest import make_app, press, screen_text, settle
from tests.tui.fake_engine import FakeEngine
from tui.app import unusable_terminal
from tui.theme import ANSI_DARK, ANSI_LIGHT, DARK, LIGHT, THEMES, Look, choose


@pytest.mark.parametrize(("env", "theme"), [
    ({"TERM": "xterm-256color"}, DARK), ({"TERM": "xterm", "COLORTERM": "truecolor"}, DARK),
    ({"TERM": "xterm-256color", "COLORFGBG": "0;15"}, LIGHT), ({"TERM": "xterm-256color", "COLORFGBG": "15;0"}, DARK),
    ({"TERM": "linux"}, ANSI_DARK), ({"TERM": "xterm"}, ANSI_DARK), ({"TERM": "vt220"}, ANSI_DARK),
    ({"TERM": "linux", "COLORTERM": "truecolor"}, ANSI_DARK), ({}, ANSI_DARK),
    ({"TERM": "xterm-256color", "NO_COLOR": "1"}, ANSI_DARK), ({"TERM": "xterm-256color", "NO_COLOR": ""}, ANSI_DARK),
    ({"TERM": "xterm-256color", "ROLLPOINT_THEME": "light"}, LIGHT),
    ({"TERM": "linux", "ROLLPOINT_THEME": "light"}, ANSI_LIGHT),
    ({"TERM": "xterm-256color", "ROLLPOINT_THEME": "ansi-light"}, ANSI_LIGHT),
    ({"TERM": "xterm-256color", "TEXTUAL_COLOR_SYSTEM": "standard"}, ANSI_DARK),
])
def test_look_for_a_terminal(env: dict[str, str], theme: object) -> None:
    look = choose(env)
    assert look.theme == getattr(theme, "name", None)
    assert look.ansi is look.theme.startswith("rollpoint-ansi")
    assert look.other() != look and look.other().other() == look


@pytest.mark.parametrize("theme", THEMES, ids=lambda t: t.name)
async def test_every_theme_draws_every_kind_of_screen(theme: object) -> None:
    name = getattr(theme, "name", "")
    app = make_app(FakeEngine(), look=Look(name, name.startswith("rollpoint-ansi")))
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        for key in ("d", "r", "x", "s", "question_mark"):
            await press(pilot, key, "escape")
        assert " N     12" in screen_text(pilot)
        await press(pilot, "t")
        assert pilot.app.theme == Look(name, False).other().theme


class Stream(io.StringIO):
    def __init__(self, tty: bool, encoding: str = "utf-8") -> None:
        super().__init__()
        self.tty, self.code = tty, encoding

    def isatty(self) -> bool:
        return self.tty

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.code


@pytest.mark.parametrize(("stdin", "stderr", "term", "why"), [
    (Stream(True), Stream(True), "linux", ""), (Stream(False), Stream(True), "linux", "input"),
    (Stream(True), Stream(False), "linux", "standard error"), (None, Stream(True), "linux", "input"),
    (Stream(True), None, "linux", "standard error"), (Stream(True), Stream(True), "dumb", "dumb"),
    (Stream(True), Stream(True, "latin-1"), "linux", "latin1"), (Stream(True), Stream(True, "UTF-8"), "xterm", "")])
def test_terminals_that_cannot_show_it(stdin: Stream | None, stderr: Stream | None, term: str, why: str) -> None:
    said = unusable_terminal(stdin, stderr, term)
    assert (why in said) if why else not said
