"""The edge to the screen: cutting, padding, wrapping, bars, errors."""

from __future__ import annotations

import errno
import os
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.content import Content

from engine.errors import RefusedError
from engine.text import message
from tests.tui.fake_engine import HOSTILE, NOW, points
from tui import text


@given(st.text(), st.integers(0, 60), st.booleans(), st.booleans())
def test_fit_is_exactly_that_wide(raw: str, width: int, right: bool, keep_end: bool) -> None:
    assert cell_len(text.fit(message(raw), width, right=right, keep_end=keep_end)) == width


def test_fit_keeps_the_side_that_matters() -> None:
    assert text.fit("abcdefghij", 6) == "abcd.."
    assert text.fit("abcdefghij", 6, keep_end=True) == "..ghij"
    assert text.fit("ab", 5, right=True) == "   ab"
    assert text.fit("日本語日本語", 7, keep_end=True).strip().endswith("語")


@given(st.lists(st.tuples(st.text(), st.sampled_from(sorted(text.STYLES))), max_size=6), st.integers(8, 90))
def test_content_is_literal_and_wraps_inside_its_width(parts: list[tuple[str, str]], width: int) -> None:
    made = text.content(*parts)
    assert made.plain == "".join(message(part) for part, _ in parts)
    laid = text.laid_out([text.field("Label", *parts), made], width)
    assert all(cell_len(line) <= max(width, 12) for line in laid.plain.split("\n"))


def test_markup_is_never_parsed() -> None:
    for name in HOSTILE:
        shown = text.content((message(name.decode("utf-8", "surrogateescape")), "bad"))
        assert shown.plain == message(name.decode("utf-8", "surrogateescape"))
        assert all("click" not in str(span.style) for span in shown.spans)


def test_bar_time_and_counts() -> None:
    assert text.bar(0, 12) == "[----------]" and text.bar(1, 12) == "[##########]"
    assert text.bar(0.55, 12) == "[#####-----]" and text.bar(9, 12) == "[##########]" and text.bar(-1, 4) == "[--]"
    assert [text.clock_time(s) for s in (-1, 7, 754, 3723)] == ["0:00", "0:07", "12:34", "1:02:03"]
    assert text.plural(1, "point") == "1 point" and text.plural(2000, "entry", "entries") == "2,000 entries"
    assert text.size(None) == "-"


def test_marks_and_words_for_each_state() -> None:
    found = points(8)
    assert [text.marks(p) for p in found[:5]] == ["N  ", " P ", "   ", "   ", "  !"]
    assert text.standing(found[4]) == [("DAMAGED", "bad")] and text.standing(found[2]) == [("ok", "")]
    assert text.point_title(found[0], NOW + timedelta(seconds=1))[0] == ("point 8", "head")


def test_errors_have_what_to_do_and_no_traceback() -> None:
    rows = text.laid_out(text.error_lines(RefusedError("no [/] room", hint="make [red]room")), 60).plain
    assert rows == "No [/] room\n\nWhat to do: make [red]room"
    rows = text.laid_out(text.error_lines(ZeroDivisionError("division by zero")), 80).plain
    assert "Unexpected: ZeroDivisionError: division by zero" in rows and "report" in rows
    assert "Traceback" not in rows


def test_what_the_system_refuses_is_no_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    cases = {errno.ENOSPC: "free some room", errno.EACCES: "run it as root", errno.EIO: "dmesg",
             errno.ENOENT: "still there", errno.EXDEV: "try again"}
    for number, hint in cases.items():
        error = OSError(number, os.strerror(number), "/srv/\x1b[2J[/]")
        rows = text.laid_out(text.error_lines(error), 300).plain
        assert rows.startswith(f"The system says: /srv/\\x1b[2J[/]: {os.strerror(number)}\n") and hint in rows
        assert "fault in Rollpoint" not in rows and "Unexpected" not in rows
    two = OSError(errno.EXDEV, "Invalid cross-device link", "/a", None, "/b")
    assert "/a -> /b: Invalid" in text.laid_out(text.error_lines(two), 99).plain
    assert "The system says: odd" in text.laid_out(text.error_lines(OSError("odd")), 99).plain
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "run it as root" not in text.laid_out(text.error_lines(PermissionError(errno.EPERM, "no")), 99).plain


@pytest.mark.parametrize("size", [10, 11, 18, 20, 40])
def test_a_label_never_runs_into_its_value(size: int) -> None:
    laid = text.laid_out([text.Field("k" * size, Content("value of it"), 11)], 60).plain
    assert "k value" in laid or laid == f"{'k' * size}\n{' ' * 11}value of it"
    assert f"{'k' * size}value" not in laid


def test_shown_values_of_a_document() -> None:
    assert text.shown({"a": [1, True, None], "b\n": "x\x1b"}) == "a 1, yes, None, b\\x0a x\\x1b"
    assert isinstance(text.laid_out([], 10), Content)
