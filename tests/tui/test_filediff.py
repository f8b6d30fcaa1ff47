"""The difference of two contents, without a screen: matching, bounds, rows, types of content."""

from __future__ import annotations

import random

import pytest

from engine.results import FileContent
from tui.filediff import (
    COME,
    GAP,
    GONE,
    LINES,
    PAIR,
    SAME,
    Comparison,
    compare_bytes,
    compare_text,
    differing,
    first_lines,
    hex_sheet,
    lay_out,
    look,
    text_sheet,
)
from tui.linematch import match
from tui.magic import guess, is_binary
from tui.syntax import dress


def texts(*contents: bytes) -> Comparison:
    """Two texts, compared."""
    old, new = contents
    return compare_text(text_sheet(old), text_sheet(new))


def applied(old: list[str], new: list[str]) -> list[str]:
    """The new lines, put together from what a matching says: equal lines from the old side, the rest from the new."""
    out: list[str] = []
    i = j = 0
    for a, b, size in match(old, new).blocks:
        assert a >= i and b >= j, "blocks overlap or are out of order"
        out += new[j:b] + old[a:a + size]
        i, j = a + size, b + size
    return out + new[j:]


@pytest.mark.parametrize("seed", range(40))
def test_a_matching_leads_from_the_old_lines_to_the_new(seed: int) -> None:
    dice = random.Random(seed)
    old = [str(dice.randrange(dice.choice((3, 30, 3000)))) for _ in range(dice.randrange(120))]
    new = [line for line in old if dice.random() > 0.2]
    for _ in range(dice.randrange(20)):
        new.insert(dice.randrange(len(new) + 1), dice.choice([*old, "x", "y"]))
    assert applied(old, new) == new
    kept = sum(block.size for block in match(old, new).blocks)
    assert kept >= len(old) * 0.5 or not old


def test_a_moved_line_and_an_insertion_are_seen_as_such() -> None:
    found = match(list("abcdef"), list("abXcdef"))
    assert [tuple(b) for b in found.blocks] == [(0, 0, 2), (2, 3, 4)] and not found.coarse
    rotated = match([f"old {i}" for i in range(3000)], [f"new {i}" for i in range(3000)])
    assert rotated == ([], False), "nothing in common is no reason to give up"
    assert match([], list("ab")).blocks == [] and match(list("ab"), list("ab")).blocks == [(0, 0, 2)]


@pytest.mark.parametrize("lines", [
    [str(i) for i in range(100_000)], ["same"] * 50_000 + ["other"] * 50_000, [str(i % 7) for i in range(60_000)]])
def test_long_texts_are_bounded(lines: list[str]) -> None:
    shuffled = list(lines)
    random.Random(1).shuffle(shuffled)
    found = match(lines, shuffled)
    assert applied(lines, shuffled) == shuffled
    assert found.coarse or len(set(lines)) == len(lines)


def test_rows_of_a_unified_difference() -> None:
    old = b"".join(b"%d\n" % i for i in range(40))
    new = old.replace(b"20\n", b"twenty\nmore\n").replace(b"39\n", b"")
    found = texts(old, new)
    rows = lay_out(found, side_by_side=False)
    assert list(rows.kinds) == [GAP, SAME, SAME, SAME, GONE, COME, COME, SAME, SAME, SAME, GAP, SAME, SAME, SAME, GONE]
    assert (rows.old[0], rows.new[0]) == (0, 17) and (rows.old[10], rows.new[10]) == (24, 12)
    assert rows.old[4] == 20 and rows.new[4] == 20 and rows.old[6] == -1
    assert rows.hunks == [4, 14] and (found.hunks, found.lines_gone, found.lines_come) == (2, 2, 2)
    assert [rows.next_hunk(at, 1) for at in (0, 4, 14)] == [4, 14, None]
    assert [rows.next_hunk(at, -1) for at in (0, 4, 5, 14)] == [None, None, 4, 4]
    everything = lay_out(found, side_by_side=False, context=None)
    assert GAP not in everything.kinds and len(everything) == 42


def test_rows_side_by_side_keep_both_texts_in_order() -> None:
    old, new = b"a\nb\nc\nd\n", b"a\nB\nB2\nc\n"
    rows = lay_out(texts(old, new), side_by_side=True)
    assert list(rows.kinds) == [SAME, PAIR, PAIR, SAME, PAIR]
    assert list(rows.old) == [0, 1, -1, 2, 3] and list(rows.new) == [0, 1, 2, 3, -1]


def test_ends_of_lines_are_differences() -> None:
    found = texts(b"a\nb", b"a\nb\n")
    assert found.hunks == 1 and found.old.line(1) == "b (no end of line)" and found.new.line(1) == "b"
    dos = texts(b"a\r\n", b"a\n")
    assert dos.hunks == 1 and dos.old.line(0) == "a\\x0d"
    assert texts(b"", b"").parts == () and texts(b"", b"x\n").lines_come == 1


def test_a_cut_content_ends_with_its_last_whole_line() -> None:
    assert [text_sheet(b"a\nb\nhal", whole=False).line(i) for i in range(2)] == ["a", "b"]
    assert len(text_sheet(b"a\nb\nhal", whole=False)) == 2
    assert len(text_sheet(b"no end at all", whole=False)) == 1


def test_texts_of_very_many_lines_are_cut() -> None:
    data = b"\n" * (LINES + 10)
    found = look(FileContent(data, len(data)), FileContent(data + b"x\n", len(data) + 2))
    assert found.lines_cut and len(found.text.old) == LINES and found.text.hunks == 0 and found.bytes.hunks == 1
    assert not look(None, FileContent(b"a\nb", 3)).lines_cut
    assert len(first_lines(b"x\n" * LINES)) == 2 * LINES == len(first_lines(b"x\n" * LINES + b"more"))


def test_long_lines_are_cut_into_pieces_that_differ_where_they_differ() -> None:
    line = bytes(65 + i % 26 for i in range(9000))
    found = texts(b"first\n" + line + b"\n", b"first\n" + line[:5000] + b"!" + line[5001:] + b"\n")
    assert found.hunks == 1 and found.lines_gone == 1 and len(found.old) == 6
    assert [found.old.number(i) for i in range(4)] == ["1", "2", "+", "+"]


def test_bytes_are_compared_in_their_place() -> None:
    old, new = bytes(range(256)) * 4, bytearray(bytes(range(256)) * 4)
    new[100] = 0
    found = compare_bytes(hex_sheet(old), hex_sheet(bytes(new) + b"tail"))
    assert [(p.same, p.old, p.old_end, p.new_end) for p in found.parts] == [
        (True, 0, 6, 6), (False, 6, 7, 7), (True, 7, 64, 64), (False, 64, 64, 65)]
    assert found.old.line(4) == "40 41 42 43 44 45 46 47  48 49 4a 4b 4c 4d 4e 4f  |@ABCDEFGHIJKLMNO|"
    assert found.new.number(6) == "000060" and found.new.line(64).startswith("74 61 69 6c   ")


def test_looking_at_two_contents() -> None:
    found = look(FileContent(b"a\n", 2), FileContent(b"a\n", 2))
    assert found.same and not found.binary and not found.single
    assert look(None, FileContent(b"\x7fELF\0\0", 6)).binary and look(FileContent(b"x", 1), None).single
    cut = look(FileContent(b"a\n", 2), FileContent(b"a\n", 5))
    assert not cut.same
    assert (found.kind(new=True), look(None, FileContent(b"", 0)).kind(new=False)) == ("text", "absent")


@pytest.mark.parametrize(("data", "kind"), [
    (b"", "empty"), (b"plain\n", "text"), ("Grüße\n".encode(), "text"), (b"\x7fELF\x02\x01", "ELF program or library"),
    (b"\x1f\x8b\x08", "gzip"), (b"SQLite format 3\x00", "SQLite database"), (b"\0" * 4096, "zeros"),
    (b"\x01\x02\x03\x04abc", "data"), (b"x" * 257 + b"ustar\x0000", "tar"), (b"\x28\xb5\x2f\xfd..", "Zstandard"),
    (b"\0" * 510 + b"\x55\xaa", "boot sector"), ("text".encode("utf-16"), "text")])
def test_kinds_of_content(data: bytes, kind: str) -> None:
    assert guess(data) == kind


@pytest.mark.parametrize(("data", "binary"), [
    (b"", False), (b"MZ is a text\n", False), ("\u00fc".encode("latin-1") * 50, False), (b"a\0b", True),
    (b"\x1b[31mred\x1b[0m\n", False), (b"\x01\x02\x03" * 4 + b"a" * 20, True), ("\u00fc".encode("utf-16"), False)])
def test_what_is_shown_as_bytes(data: bytes, binary: bool) -> None:
    assert is_binary(data) is binary and (guess(data) in ("text", "empty")) is not binary


@pytest.mark.parametrize(("one", "other", "where"), [
    ("listen 80;", "listen 8080;", (9, 9)), ("abc", "abc", (3, 3)), ("", "x", (0, 0)), ("aXc", "aYYc", (1, 2)),
    ("aaa", "aa", (2, 3))])
def test_where_two_lines_differ(one: str, other: str, where: tuple[int, int]) -> None:
    assert differing(one, other) == where


def test_colours_keep_the_text_as_it_is() -> None:
    text = "# a comment\n[Unit]\n\tKey = \x1b[31m value\nif x\n"
    for name in (b"etc/systemd/system/a.service", b"etc/fstab", b"x.py", b"etc/my.cnf"):
        lines = dress(text, name)
        assert lines is not None
        shown = ["".join(part for part, _ in line) for line in lines]
        assert shown[:4] == ["# a comment", "[Unit]", "        Key = \\x1b[31m value", "if x"], name
        assert lines[0][0][1] == "dim"
    assert dress(text, b"srv/unknown") is None and dress("x = 1\n" * 100_000, b"x.py") is None
    assert dress("#!/bin/sh\necho\n", b"usr/local/bin/job") is not None
