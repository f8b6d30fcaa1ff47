"""The real program on a real pty with a terminal emulator: glyphs, colours, signals, a line that is lost."""

from __future__ import annotations

import os
import shutil
import signal
import unicodedata
from pathlib import Path

import pytest

from engine import config, demo
from engine.events import Job
from engine.replica import layout
from engine.service import Engine
from tests.tui.scenes import SCENES, nothing
from tests.tui.terminal import BOX, BYTES, Terminal

SCREENS: tuple[tuple[tuple[str, ...], str], ...] = (
    ((), "Points 10"), (("\r",), "Left out"), (("\x1b", "d"), "[1 All"), (("2", "j"), "[2 Created"),
    (("1", "G", "\r"), "Back"), (("\x1b", "\x1b", "j", "r"), "everything that the point holds"), (("\r",), "It will"),
    (("2",), "[2 Deleted"), (("6",), "rsync"), (("\r",), "Take a safety point first"), (("\r",), "Roll back now?"),
    (("\x1b", "\x1b", "\x1b", "\x1b", "s"), "Take a restore point"), (("\x1b", "x"), "for good?"),
    (("n", "o", "\r"), "Nothing was done"), (("\x1b", "P"), "SAVED RULES"),
    (("\x1b", "v"), "Re-read all data"), (("\x1b", "e"), "Comment of a point"), (("\x1b", "?"), "take a restore point"),
    (("\x1b[4~",), "Everywhere"),
    (("\x1b", "S"), "entries in the log"), (("\x1b", "o"), "[2 Days"), (("\x1b", "c"), "Comes from"),
    (("\x1b", "P", "c", "\t"), "Week of"), (("\x1b", ":"), "What to do"), (("p", "r", "u"), "prune: try rules"),
    (("\x1b", "/", "z", "z"), "No point has all these words"), (("\x1b",), "Points 10"))
LIST = "s Take   d Changes"
"""Stands on the list of points, at 80x24, and nowhere else."""
ON_DOUBLE = ["-m", "tests.tui.pty_app"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo, made once by the real engine."""
    place = tmp_path_factory.mktemp("demo") / "d"
    demo.build(str(place), Job())
    return place


@pytest.fixture
def demo_dir(built: Path, tmp_path: Path) -> Path:
    """A copy of it for one test (file by file: owner and times as they are)."""
    copy = tmp_path / "d"
    shutil.copytree(built, copy, symlinks=True, copy_function=_copy)
    return copy


def _copy(source: str, target: str) -> str:
    if not Path(source).is_symlink() and not Path(source).is_file():
        os.mkfifo(target)
        shutil.copystat(source, target)
        return target
    return str(shutil.copy2(source, target, follow_symlinks=False))


def app_on(place: Path) -> list[str]:
    return ["-m", "tui.cli", "--store", str(place / "store"), "--root", str(place / "machine")]


def sound(terminal: Terminal, *, colours: bool) -> None:
    """No invisible cell, no glyph that a console lacks, the machine in the first line; without colours none at all."""
    for y, x, cell in terminal.cells():
        where = f"{cell.data!r} at row {y}, column {x} of\n{terminal.text}"
        assert cell.data.isascii() or cell.data in BOX or unicodedata.category(cell.data)[0] in "LMN", where
        fg, bg = (cell.bg, cell.fg) if cell.reverse else (cell.fg, cell.bg)
        assert fg == "default" or bg == "default" or fg != bg, f"invisible: {where}"
        if not colours:
            assert cell.fg == cell.bg == "default", f"coloured: {where}"


@pytest.mark.parametrize(("term", "env", "colours"), [
    ("linux", {}, True), ("xterm", {"ROLLPOINT_THEME": "ansi-light"}, True), ("linux", {"NO_COLOR": "1"}, False),
    ("xterm-256color", {"NO_COLOR": "1"}, False), ("vt100", {}, True)], ids=lambda v: str(v))
def test_every_screen_on_every_terminal(built: Path, term: str, env: dict[str, str], colours: bool) -> None:
    with Terminal(app_on(built), term=term, env=env) as terminal:
        for keys, wanted in SCREENS if term == "linux" else SCREENS[:7]:
            terminal.type(*keys)
            terminal.until(wanted)
            sound(terminal, colours=colours)
            assert str(built / "machine")[-12:] in terminal.screen.display[0]
        if colours:
            assert any(cell.fg != "default" for _, _, cell in terminal.cells())
        assert any(cell.reverse for _, _, cell in terminal.cells()), "the cursor cannot be seen"
        terminal.type("\x1b", "\x1b", "q")
        assert terminal.wait() == 0
        given_back(terminal)


def given_back(terminal: Terminal, within: int = 4000) -> None:
    """The terminal is as it was: main screen, cursor, no mouse, line settings."""
    for sequence in (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1000l"):
        assert sequence in terminal.raw[-within:], f"{sequence!r} was not sent at the end"
    assert terminal.after == terminal.before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_restore_the_terminal(built: Path, number: signal.Signals) -> None:
    with Terminal(app_on(built)) as terminal:
        terminal.until("Points 10")
        terminal.process.send_signal(number)
        assert terminal.wait() == 128 + number
        given_back(terminal)


def test_a_signal_while_a_point_is_taken_stops_it_first() -> None:
    with Terminal(["-m", "tests.tui.pty_app", "hold"]) as terminal:
        terminal.until("Points 30")
        terminal.type("s", "\r")
        terminal.until("Copying")
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.wait() == 128 + signal.SIGTERM
        given_back(terminal)


def test_a_dumb_terminal_is_refused_in_words(built: Path) -> None:
    with Terminal(app_on(built), term="dumb") as terminal:
        assert terminal.wait() == 2
        assert "cannot be drawn on a terminal of type dumb" in terminal.text and b"\x1b[" not in terminal.raw


@pytest.mark.parametrize(("term", "env", "colours", "turn"), [
    ("linux", {}, True, 0), ("linux", {"NO_COLOR": "1", "ROLLPOINT_THEME": "dark"}, False, 1),
    ("xterm-256color", {}, True, 2),
    ("xterm-256color", {"COLORTERM": "truecolor", "ROLLPOINT_THEME": "light"}, True, 3)],
    ids=["16", "none", "256", "true"])
def test_scenes_in_every_colour_system(term: str, env: dict[str, str], colours: bool, turn: int) -> None:
    """The screens that Pilot walks, in the cells of a terminal, and resized there: a quarter in each colour system."""
    with Terminal(ON_DOUBLE, term=term, env=env) as terminal:
        for scene in [s for s in SCENES if not s.held and s.set_up is nothing and s.opens is None][turn::4]:
            terminal.until(LIST)
            for key in scene.keys:
                terminal.type(BYTES.get(key, key))
                terminal.settle()
            terminal.until(scene.wanted)
            sound(terminal, colours=colours)
            for size in ((40, 10), (80, 24)):
                terminal.resize(*size)
                terminal.until(lambda: "web01" in terminal.screen.display[0])
                sound(terminal, colours=colours)
            for _ in range(6):      # a step of a rollback, or a filter, takes an escape of its own
                terminal.type("\x1b")
                terminal.settle()
                if LIST in terminal.text:
                    break
        terminal.type("q")
        assert terminal.wait() == 0
        given_back(terminal)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
@pytest.mark.parametrize(("keys", "shown"), [(("s", "\r"), "Copying"), (("d",), "Comparing"),
                                            (("r", "\r"), "Comparing")])
def test_signals_while_work_runs(keys: tuple[str, ...], shown: str, number: signal.Signals) -> None:
    with Terminal([*ON_DOUBLE, "hold"]) as terminal:
        terminal.until("Points 30")
        terminal.type(*keys)
        terminal.until(shown)
        terminal.resize(40, 10)
        terminal.resize(80, 24)
        terminal.until(shown)
        terminal.process.send_signal(number)
        assert terminal.wait() == 128 + number
        given_back(terminal)


def test_resizing_a_real_terminal(built: Path) -> None:
    with Terminal(app_on(built)) as terminal:
        terminal.until("Points 10")
        for columns, rows in ((40, 10), (160, 45), (10, 3), (80, 24)):
            terminal.resize(columns, rows)
            assert terminal.process.poll() is None
        terminal.until("No  ")
        terminal.type("q")
        assert terminal.wait() == 0


def test_a_backend_that_never_answers_does_not_keep_the_process() -> None:
    with Terminal([*ON_DOUBLE, "hang"]) as terminal:
        terminal.until("Points 30")
        terminal.type("d", "?")
        terminal.until("Keys")
        terminal.type("\x1b", "\x03")
        assert terminal.wait(5) == 0
        given_back(terminal)


def test_what_libraries_write_to_the_standard_streams_is_not_shown() -> None:
    with Terminal([*ON_DOUBLE, "noise"]) as terminal:
        terminal.until("Points 30")
        terminal.type("d")
        terminal.until("[1 All")
        terminal.type("\x1b", "q")
        assert terminal.wait() == 0
        assert b"SCRIBBLE" not in terminal.raw


def test_what_tools_write_to_stderr_and_to_the_terminal_is_not_shown(demo_dir: Path, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("rsync", "zstd", "tar"):
        tool = tools / name
        tool.write_text(f"#!/bin/sh\necho SCRIBBLE >&2\n(echo SCRIBBLE >/dev/tty) 2>/dev/null\n"
                        f"exec {shutil.which(name)} \"$@\"\n")
        tool.chmod(0o755)
    with Terminal(app_on(demo_dir), env={"PATH": f"{tools}:{os.environ['PATH']}"}) as terminal:
        terminal.until("Points 10")
        terminal.type("s", "\r")
        terminal.until("Point 11 was taken")
        # As a warning in the result it may be shown, by us; raw on the line it may not.
        assert b"SCRIBBLE\r\n" not in terminal.raw and b"SCRIBBLE\n" not in terminal.raw
        sound(terminal, colours=True)
        terminal.type("\r", "q")
        assert terminal.wait() == 0


def test_a_defect_of_the_app_gives_the_terminal_back_and_is_named_without_locals() -> None:
    with Terminal([*ON_DOUBLE, "defect"]) as terminal:
        terminal.until("Points 30")
        terminal.type("\x1b[20~")
        assert terminal.wait() == 1
        given_back(terminal, within=8000)
        assert "ZeroDivisionError: a defect behind F9" in terminal.text
        assert b"locals" not in terminal.raw


@pytest.mark.parametrize("env", [
    {"TEXTUAL_COLOR_SYSTEM": ""}, {"TEXTUAL_COLOR_SYSTEM": "bogus"}, {"TEXTUAL_PRESS": "s,enter"}, {"NO_COLOR": ""},
    {"TEXTUAL_LOG": "/nowhere/x"}, {"TEXTUAL_DRIVER": "bogus"}, {"TEXTUAL_THEME": "nord"}, {"LC_ALL": "C"},
    {"ESCDELAY": "x", "COLUMNS": "0"}], ids=lambda e: ",".join(f"{k}={v}" for k, v in e.items()))
def test_no_setting_of_the_environment_breaks_it(built: Path, env: dict[str, str]) -> None:
    with Terminal(app_on(built), env=env) as terminal:
        terminal.until("Points 10")
        terminal.until("No  ")
        sound(terminal, colours="NO_COLOR" not in env)
        terminal.type("q")
        assert terminal.wait() == 0


def test_without_a_terminal_it_says_so(built: Path, tmp_path: Path) -> None:
    with open(tmp_path / "err", "w+b") as err, open(os.devnull, "rb") as null:
        for stdin, stderr in ((null.fileno(), None), (None, err.fileno())):
            with Terminal(app_on(built), stdin=stdin, stderr=stderr) as terminal:
                assert terminal.wait() == 2
                assert b"\x1b[?1049h" not in terminal.raw
                err.seek(0)
                assert "needs a terminal" in terminal.text or b"needs a terminal" in err.read()


def test_a_terminal_that_is_not_utf8_is_refused_in_words(built: Path) -> None:
    with Terminal(app_on(built), env={"PYTHONIOENCODING": "latin-1"}) as terminal:
        assert terminal.wait() == 2
        assert "needs UTF-8" in terminal.text and b"\x1b[" not in terminal.raw


def test_the_keys_of_a_linux_console_and_no_mouse(built: Path) -> None:
    with Terminal(app_on(built), env={"ROLLPOINT_MOUSE": "0"}) as terminal:
        terminal.until("Points 10")
        terminal.type(BYTES["f1"])
        terminal.until("take a restore point")
        terminal.type("\x1b", BYTES["end"])
        terminal.until("Point 1 ")
        terminal.type(BYTES["home"])
        terminal.until("Point 10 ")
        terminal.type("q")
        assert terminal.wait() == 0
        assert b"\x1b[?1000h" not in terminal.raw and b"\x1b[?1003h" not in terminal.raw


def test_two_apps_on_one_store(demo_dir: Path) -> None:
    engine = Engine(config.load(store=str(demo_dir / "store"), root=str(demo_dir / "machine")))
    with Terminal(app_on(demo_dir)) as one, Terminal(app_on(demo_dir)) as other:
        for terminal in (one, other):
            terminal.until("Points 10")
        one.type("s", "\r")
        one.until("Point 11 was taken")
        one.type("\r", "j")
        one.until("Point 10 ")
        other.type("u")
        other.until("     11  20")
        other.type("x", "y", "e", "s", "\r")
        other.until("1 point removed")
        other.type("\r")
        one.type("e", "x", "\r")       # the comment of a point that the other one has just deleted
        one.until("What to do")
        one.type("\x1b", "u")
        one.until("Point 9 ")
        with layout.open_store(os.fsencode(demo_dir / "store")).write_lock("test"):
            for terminal in (one, other):
                terminal.type("u")
                terminal.until("BUSY")
            one.type("p")
            one.until("That did not work")
            one.type("\x1b")
        for terminal in (one, other):
            terminal.type("q")
            assert terminal.wait() == 0
    assert len(engine.points()) == 10


def test_a_point_is_taken_by_the_real_engine(demo_dir: Path) -> None:
    with Terminal(app_on(demo_dir)) as terminal:
        terminal.until("Points 10")
        terminal.type("s", "b", "y", " ", "h", "a", "n", "d", "\r")
        terminal.until("Point 11 was taken")
        terminal.type("\r", "q")
        assert terminal.wait() == 0
    engine = Engine(config.load(store=str(demo_dir / "store"), root=str(demo_dir / "machine")))
    assert engine.points()[0].comment == "by hand"


def to_the_question(terminal: Terminal, *keys: str) -> None:
    """Go through the steps of a rollback up to the line to type yes into."""
    terminal.type(*keys, "r")
    terminal.until("everything that the point holds")
    for wanted in ("It will", "Take a safety point first", "Roll back now?"):
        terminal.type("\r")
        terminal.until(wanted)
    terminal.type("y", "e", "s")


def slowed(demo_dir: Path) -> None:
    """Give the machine so much to put back that a rollback to point 8 takes some seconds."""
    for number in range(6000):
        (demo_dir / "machine" / "srv" / f"new-{number}").write_bytes(b"x" * 3000)


@pytest.mark.parametrize("how", ["hangup", "kill -9"])
def test_a_rollback_survives_the_app_and_the_next_one_shows_it(demo_dir: Path, how: str) -> None:
    engine = Engine(config.load(store=str(demo_dir / "store"), root=str(demo_dir / "machine")))
    target = engine.resolve("8")
    slowed(demo_dir)
    with Terminal(app_on(demo_dir)) as terminal:
        terminal.until("Points 10")
        to_the_question(terminal, "j", "j")
        os.write(terminal.master, b"\r")
        terminal.until("It runs on its own")
        if how == "hangup":
            terminal.hang_up()
            assert terminal.process.wait(15) == 128 + signal.SIGHUP
        else:
            terminal.process.kill()
            assert terminal.process.wait(15) == -signal.SIGKILL
    with Terminal(app_on(demo_dir)) as terminal:
        terminal.until("The rollback to point 8")
        terminal.until("Verified: every entry is as the point has it.", 60)
        terminal.until("is point 11")
        terminal.type("\r")
        terminal.until("     11  20")
        terminal.type("q")
        assert terminal.wait() == 0
    assert engine.status().rollback == "" and not engine.diff(target, None).changes
    assert engine.points()[0].tags == ("safety",)
    with Terminal(app_on(demo_dir)) as terminal:
        terminal.until("     11  20")
        terminal.type("u")
        terminal.feed(1)
        assert "The rollback to point" not in terminal.text, "its result was shown twice"


def test_a_killed_rollback_is_announced_at_the_start_and_undone(demo_dir: Path) -> None:
    engine = Engine(config.load(store=str(demo_dir / "store"), root=str(demo_dir / "machine")))
    before = engine.diff(engine.resolve("10"), None)
    with Terminal(app_on(demo_dir), env={"ROLLPOINT_KILL_AT": "rollback-opened"}) as terminal:
        terminal.until("Points 10")
        to_the_question(terminal, "j", "j")
        terminal.type("\r")
        terminal.until("ended without a result")
        terminal.until("Left half done")
        terminal.process.kill()
    with Terminal(app_on(demo_dir)) as terminal:
        terminal.until("u  undo")
        terminal.type("u")
        terminal.until("Undo it now?")
        terminal.type("y", "e", "s", "\r")
        terminal.until("Undone: back at point 11")
        terminal.type("\r")
        terminal.until(lambda: "     11  20" in terminal.text and "INTERRUPTED" not in terminal.text)
        terminal.type("q")
        assert terminal.wait() == 0
    assert engine.status().rollback == ""
    assert [c.path for c in engine.diff(engine.resolve("10"), None).changes] == [c.path for c in before.changes]


def test_a_rollback_watched_to_its_end_and_gone_forward_again(demo_dir: Path) -> None:
    engine = Engine(config.load(store=str(demo_dir / "store"), root=str(demo_dir / "machine")))
    with Terminal(app_on(demo_dir)) as terminal:
        terminal.until("Points 10")
        to_the_question(terminal, "j")
        terminal.type("\r")
        terminal.until("Verified: every entry is as the point has it.")
        terminal.until("is point 11")
        terminal.type("\r")
        terminal.until("     11  20")
        assert not engine.diff(engine.resolve("9"), None).changes
        to_the_question(terminal, "g")
        terminal.type("\r")
        terminal.until("Verified: every entry is as the point has it.")
        terminal.type("\r", "q")
        assert terminal.wait() == 0
    assert not engine.diff(engine.resolve("11"), None).changes
