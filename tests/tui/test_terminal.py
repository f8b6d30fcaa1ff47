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
from engine.service import Engine
from tests.tui.terminal import BOX, Terminal

SCREENS: tuple[tuple[tuple[str, ...], str], ...] = (
    ((), "Points 10"), (("\r",), "Left out"), (("\x1b", "d"), "[1 All"), (("2", "j"), "[2 Created"),
    (("1", "G", "\r"), "Back"), (("\x1b", "\x1b", "j", "r"), "[Scope]"), (("\r",), "It will"),
    (("2",), "[2 Deleted"), (("6",), "rsync"), (("\r",), "Take a safety point first"), (("\r",), "Roll back now?"),
    (("\x1b", "\x1b", "\x1b", "\x1b", "s"), "Take a restore point"), (("\x1b", "x"), "for good?"),
    (("n", "o", "\r"), "Nothing was done"), (("\x1b", "P"), "SAVED RULES"),
    (("\x1b", "v"), "Re-read all data"), (("\x1b", "e"), "Comment of a point"), (("\x1b", "?"), "take a restore point"),
    (("\x1b[4~",), "Everywhere"),
    (("\x1b", "S"), "entries in the log"), (("\x1b", "o"), "[2 Days"), (("\x1b", "c"), "Comes from"),
    (("\x1b", "P", "c", "\t"), "Week of"), (("\x1b", ":"), "What to do"), (("p", "r", "u"), "prune: try rules"),
    (("\x1b", "/", "z", "z"), "No point has all these words"), (("\x1b",), "Points 10"))


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
        return target
    return str(shutil.copy2(source, target, follow_symlinks=False))


def app_on(place: Path) -> list[str]:
    return ["-m", "tui.cli", "--store", str(place / "store"), "--root", str(place / "machine")]


def sound(terminal: Terminal, *, colours: bool) -> None:
    """No invisible cell, no glyph that a console lacks; without colours none at all."""
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


def given_back(terminal: Terminal) -> None:
    """The terminal is as it was: main screen, cursor, no mouse, line settings."""
    for sequence in (b"\x1b[?1049l", b"\x1b[?25h", b"\x1b[?1000l"):
        assert sequence in terminal.raw[-4000:], f"{sequence!r} was not sent at the end"
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


def test_resizing_a_real_terminal(built: Path) -> None:
    import fcntl
    import struct
    import termios

    with Terminal(app_on(built)) as terminal:
        terminal.until("Points 10")
        for rows, columns in ((10, 40), (45, 160), (24, 80)):
            terminal.screen.resize(rows, columns)
            fcntl.ioctl(terminal.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
            terminal.process.send_signal(signal.SIGWINCH)
            terminal.feed(0.5)
            terminal.until("No  ")
            assert terminal.process.poll() is None
        terminal.type("q")
        assert terminal.wait() == 0


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
    terminal.until("[Scope]")
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
        terminal.until("Points 11")
        terminal.type("q")
        assert terminal.wait() == 0
    assert engine.status().rollback == "" and not engine.diff(target, None).changes
    assert engine.points()[0].tags == ("safety",)
    with Terminal(app_on(demo_dir)) as terminal:
        terminal.until("Points 11")
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
        terminal.until(lambda: "Points 11" in terminal.text and "INTERRUPTED" not in terminal.text)
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
        terminal.until("Points 11")
        assert not engine.diff(engine.resolve("9"), None).changes
        to_the_question(terminal, "g")
        terminal.type("\r")
        terminal.until("Verified: every entry is as the point has it.")
        terminal.type("\r", "q")
        assert terminal.wait() == 0
    assert not engine.diff(engine.resolve("11"), None).changes
