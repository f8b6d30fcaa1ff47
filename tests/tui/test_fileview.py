"""The difference of one file on the screen: modes, moving, facts, hostile contents, sizes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from engine.entries import Change, Entry, Kind, Status, compare
from engine.errors import DamageError
from engine.points import RestorePoint
from engine.results import FileContent
from tests.tui.conftest import AppPilot, make_app, press, screen_text, settle
from tests.tui.fake_engine import FakeEngine, entry
from tests.tui.fake_tree import HOSTILE
from tui.app import RollpointApp
from tui.screens.filediff import FileDiffScreen
from tui.screens.help import HelpScreen
from tui.screens.points import PointsScreen
from tui.text import safe
from tui.theme import ANSI_DARK, Look
from tui.widgets.fileview import BESIDE, HEX, UNIFIED, FileDiffView

NAME = b"etc/nginx.conf"


class Files(FakeEngine):
    """An engine with one file: `contents` are the older and the newer one."""

    def __init__(self, old: bytes | None, new: bytes | None, *, size: int = 0, change: Change | None = None) -> None:
        super().__init__()
        before, after = (None if d is None else entry(NAME, len(d), mtime=i) for i, d in enumerate((old, new)))
        self.found = tuple(c for c in (change or compare(before, after),) if c is not None)
        self.sides, self.size = (old, new), size

    def content(self, point: RestorePoint | None, path: bytes, limit: int) -> FileContent | None:
        self._enter("content")
        data = self.sides[0 if point is self.list[-1] else 1]
        return None if data is None else FileContent(data[:limit], self.size or len(data))


async def open_file(pilot: AppPilot, engine: Files, path: bytes = NAME) -> FileDiffView:
    """Open the screen on the oldest point and now."""
    await settle(pilot)
    pilot.app.push_screen(FileDiffScreen(engine.list[-1], None, path))
    await settle(pilot)
    return pilot.app.screen.query_one(FileDiffView)


OLD = b"".join(b"line %d\n" % i for i in range(60))
NEW = OLD.replace(b"line 20\n", b"line twenty\n").replace(b"line 50\n", b"line 50\nline 50a\n")


async def test_unified_then_side_by_side_then_bytes_then_unified() -> None:
    engine = Files(OLD, NEW)
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        view = await open_file(pilot, engine)
        text = screen_text(pilot)
        assert view.mode == UNIFIED and "/etc/nginx.conf" in text
        assert "- line 20" in text and "+ line twenty" in text and "+ line 50a" in text
        assert "17 equal lines, 1 to 17" in text and "2 places: +2 -1 lines" in text
        assert "- point 1  " in text and "+ now  " in text
        await press(pilot, "m")
        text = screen_text(pilot)
        assert view.mode == BESIDE and any("- line 20 " in row and "│ " in row and "+ line twenty" in row
                                           for row in text.splitlines()), text
        await press(pilot, "m")
        assert view.mode == HEX and "|" in screen_text(pilot) and "000000" not in screen_text(pilot).split("equal")[0]
        await press(pilot, "m")
        assert view.mode == UNIFIED


async def test_the_width_chooses_until_somebody_does() -> None:
    engine = Files(OLD, NEW)
    async with make_app(engine).run_test(size=(200, 50)) as pilot:
        view = await open_file(pilot, engine)
        assert view.mode == BESIDE
        await pilot.resize_terminal(80, 24)
        await settle(pilot)
        assert view.mode == UNIFIED and "+ line twenty" in screen_text(pilot)
        await press(pilot, "m")
        await pilot.resize_terminal(200, 50)
        await pilot.resize_terminal(90, 24)
        await settle(pilot)
        assert view.mode == BESIDE


async def test_from_difference_to_difference() -> None:
    engine = Files(OLD, NEW)
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        view = await open_file(pilot, engine)
        first = view.rows.cursor
        await press(pilot, "n")
        second = view.rows.cursor
        assert second > first
        await press(pilot, "n")
        assert view.rows.cursor == second
        await press(pilot, "N")
        assert view.rows.cursor == first
        await press(pilot, "n", "c")
        text = screen_text(pilot)
        assert "equal lines" not in text and "+ line 50a" in text and "line 45" in text
        assert view.rows.cursor > second
        await press(pilot, "p", "c")
        assert view.rows.cursor == first and "equal lines" in screen_text(pilot)


async def test_long_lines_move_left_and_right() -> None:
    engine = Files(b"a" * 300 + b"\n", b"a" * 150 + b"END" + b"a" * 150 + b"\n")
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await open_file(pilot, engine)
        assert "END" not in screen_text(pilot) and ">" in screen_text(pilot)
        await press(pilot, *["right"] * 6)
        assert "END" in screen_text(pilot)
        await press(pilot, *["left"] * 9)
        assert "END" not in screen_text(pilot)
        await press(pilot, *["right"] * 80)
        assert "aaa" in screen_text(pilot), "the text was moved out of sight"


async def test_binary_contents_are_shown_as_bytes() -> None:
    old = b"\x7fELF\0" + bytes(range(256)) * 40
    engine = Files(old, old[:5000] + b"!" + old[5001:] + b"more bytes here")
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        view = await open_file(pilot, engine)
        text = screen_text(pilot)
        assert view.mode == HEX and "ELF program or library" in text and "001380" in text
        assert view.rows.source.rows.hunks[0] == view.rows.cursor  # type: ignore[attr-defined]
        assert "21" in next(line for line in text.splitlines() if "+ " in line and "|" in line)
        await press(pilot, "n")
        assert "more" in screen_text(pilot)
        await pilot.resize_terminal(200, 40)
        await settle(pilot)
        assert view.mode == "hex side by side"


async def test_what_differs_in_a_line_is_marked() -> None:
    engine = Files(b"listen 80;\n" + bytes(40), b"listen 8080;\n" + bytes(40))
    async with make_app(engine).run_test(size=(100, 24)) as pilot:
        view = await open_file(pilot, engine)
        source = view.rows.source
        marked = [[text for text, look in source.row(row, 100) if look in ("plus", "minus")] for row in range(2)]
        assert all("".join(marks) for marks in marked), "each byte that differs"
        await press(pilot, "m", "m")
        source = view.rows.source
        assert ("80", "plus") in [piece for row in range(len(source)) for piece in source.row(row, 100)]


async def test_one_content_alone() -> None:
    for old, new in ((None, b"first\nsecond\n"), (b"first\nsecond\n", None)):
        engine = Files(old, new)
        async with make_app(engine).run_test(size=(80, 24)) as pilot:
            await open_file(pilot, engine)
            text = screen_text(pilot)
            assert " 1  first" in text and " 2  second" in text and "+ first" not in text and "2 lines" in text
            assert ("file created" in text) is (old is None) and ("file deleted" in text) is (new is None)
            await press(pilot, "n", "c", "m")
            assert "66 69 72 73 74" in screen_text(pilot)
            await press(pilot, "m")
            assert " 1  first" in screen_text(pilot)


async def test_contents_that_were_not_read_to_the_end() -> None:
    engine = Files(OLD, NEW, size=99_000_000)
    async with make_app(engine).run_test(size=(100, 50)) as pilot:
        await open_file(pilot, engine)
        await press(pilot, "end")
        assert f"Only the first {max(len(OLD), len(NEW))} B were read" in screen_text(pilot)
        assert "94 MiB" in screen_text(pilot)


async def test_attributes_only() -> None:
    old = replace(entry(NAME, 5), xattrs=((b"security.capability", b"\x01\x02"), (b"user.note", b"was")))
    new = replace(old, mode=0o4755, uid=33, mtime=old.mtime + 1, xattrs=(
        (b"system.posix_acl_access", b"\x02\0"), (b"user.note", b"is")))
    engine = Files(b"text\n", b"text\n", change=compare(old, new))
    async with make_app(engine).run_test(size=(100, 30)) as pilot:
        await open_file(pilot, engine)
        text = screen_text(pilot)
        for words in ("0644 -> 4755", "0 -> 33", "user.note  was -> is", "security.capability  01 02 -> absent",
                      "ACL", ".000000000 +0000 -> ", ".000000001 +0000", "the same content", " 1 1   text"):
            assert words in text, (words, text)
        await press(pilot, "a")
        assert "user.note" not in screen_text(pilot)
        await press(pilot, "a")
        assert "user.note" in screen_text(pilot)


@pytest.mark.parametrize(("old", "new", "words"), [
    (replace(entry(NAME, kind=Kind.LINK), target=b"a\x1b[31m"), replace(entry(NAME, kind=Kind.LINK), target=b"b"),
     ("symbolic link changed", "a\\x1b[31m -> b", "no content to compare")),
    (entry(NAME, 9), replace(entry(NAME, kind=Kind.LINK), target=b"/elsewhere"),
     ("changed its type", "file -> symbolic link", "- -> /elsewhere", " 1  old text")),
    (replace(entry(NAME, kind=Kind.CHAR), rdev=259), replace(entry(NAME, kind=Kind.CHAR), rdev=260),
     ("1:3 -> 1:4", "no content to compare")),
    (None, entry(NAME, kind=Kind.DIR), ("directory created", "no content to compare"))])
async def test_what_is_no_file(old: Entry | None, new: Entry | None, words: tuple[str, ...]) -> None:
    engine = Files(b"old text\n", None, change=compare(old, new))
    async with make_app(engine).run_test(size=(100, 30)) as pilot:
        await open_file(pilot, engine)
        text = screen_text(pilot)
        for word in words:
            assert word in text, (word, text)


async def test_from_now_to_a_point_and_nothing_that_differs() -> None:
    engine = Files(b"was\n", b"is\n")
    async with make_app(engine).run_test(size=(100, 30)) as pilot:
        await settle(pilot)
        pilot.app.push_screen(FileDiffScreen(None, engine.list[-1], NAME))
        await settle(pilot)
        text = screen_text(pilot)
        assert "- is" in text and "+ was" in text and "- now" in text and "+ point 1" in text
        await press(pilot, "escape")
        pilot.app.push_screen(FileDiffScreen(engine.list[-1], None, b"etc/other"))
        engine.sides = (b"same\n", b"same\n")
        await settle(pilot)
        assert "the same content" in screen_text(pilot) and "same" in screen_text(pilot)


async def test_errors_and_help_and_back() -> None:
    engine = Files(OLD, NEW)
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        await open_file(pilot, engine)
        await press(pilot, "x", "space")
        assert isinstance(pilot.app.screen, FileDiffScreen)
        await press(pilot, "question_mark")
        assert isinstance(pilot.app.screen, HelpScreen) and "side by side" in screen_text(pilot)
        await press(pilot, "escape", "escape")
        assert isinstance(pilot.app.screen, PointsScreen)
        engine.fail["content"] = DamageError("pack-001 is damaged", hint="verify")
        pilot.app.push_screen(FileDiffScreen(engine.list[-1], None, NAME))
        await settle(pilot)
        assert "Pack-001 is damaged" in screen_text(pilot)


@pytest.mark.parametrize("name", HOSTILE, ids=[safe(n.decode("utf-8", "replace"))[:20] for n in HOSTILE])
async def test_hostile_contents_are_text(name: bytes) -> None:
    engine = Files(b"[b]one\n" + name + b"\n", b"[b]one\n" + name + b" and more\n")
    async with make_app(engine).run_test(size=(200, 30)) as pilot:
        await open_file(pilot, engine)
        first = safe(name.decode("utf-8", "surrogateescape").split("\n")[0].expandtabs(8))[:40]
        text = screen_text(pilot)
        assert first in text and "[b]one" in text
        assert all(char.isprintable() for char in text.replace("\n", ""))
        await press(pilot, "m", "m", "m")
        assert pilot.app.is_running


@pytest.mark.parametrize("size", [(40, 10), (60, 15), (12, 5), (200, 60)])
async def test_sizes(size: tuple[int, int]) -> None:
    engine = Files(OLD + b"x" * 5000, NEW + "\u65e5\u672c".encode() * 900)
    async with make_app(engine, look=Look(ANSI_DARK.name, True)).run_test(size=size) as pilot:
        await open_file(pilot, engine)
        for key in ("m", "m", "m", "right", "c", "G", "a", "left"):
            await press(pilot, key)
            lines = screen_text(pilot).splitlines()
            assert len(lines) == size[1] and "web01" in lines[0]
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, PointsScreen)


async def test_a_newer_request_replaces_an_older_one() -> None:
    engine = Files(OLD, NEW)
    async with make_app(engine).run_test(size=(80, 24)) as pilot:
        view = await open_file(pilot, engine)
        for i in range(5):
            data = b"number %d\n" % i
            view.show(None, FileContent(data, len(data)), b"x", "", f"try {i}")
        await settle(pilot)
        assert isinstance(pilot.app, RollpointApp) and not pilot.app.open_questions, "nobody answers those any more"
        assert "number 4" in screen_text(pilot) and "try 4" in screen_text(pilot)
        view.show(None, None, b"x", "", "")
        await settle(pilot)
        assert "There is no content on either side." in screen_text(pilot)
        assert view.hints() == [] and Status.CREATED.value == "+"
