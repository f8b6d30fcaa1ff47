"""Names of any bytes become text that is safe to show, distinct, and lossless where it must be."""

from __future__ import annotations

import base64
import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import text
from engine.text import (
    human_age,
    human_size,
    inner_path,
    json_path,
    message,
    printable,
    short_age,
    shown_path,
)

NAMES = st.binary(min_size=1, max_size=30) | st.text(st.characters(), max_size=20).map(
    lambda name: name.encode("utf-8", "surrogatepass")
)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"etc", "etc"),
        (b"caf\xc3\xa9", "caf\u00e9"),
        (b"caf\xe9", "caf\\xe9"),
        (b"a\nb\tc", "a\\x0ab\\x09c"),
        (b"\x1b[31m", "\\x1b[31m"),
        (b"\x7f", "\\x7f"),
        ("\u009b".encode(), "\\x9b"),
        ("\u202egpj.exe".encode(), "\\u202egpj.exe"),
        ("a\u200bb\ufeff".encode(), "a\\u200bb\\ufeff"),
        ("\u2028\u2029".encode(), "\\u2028\\u2029"),
        ("\U000e0001".encode(), "\\U000e0001"),
        ("\ue000".encode(), "\\ue000"),
        (b"back\\slash", "back\\\\slash"),
        (b"[red]x[/]", "[red]x[/]"),
        ("\u65e5\u672c".encode(), "\u65e5\u672c"),
    ],
)
def test_printable(name: bytes, shown: str) -> None:
    assert printable(name) == shown
    assert printable(os.fsdecode(name)) == shown, "bytes and what os.fsdecode makes of them look the same"


@given(NAMES)
def test_whatever_is_shown_is_printable(name: bytes) -> None:
    shown = printable(name)
    assert shown.encode("utf-8").decode() == shown, "no surrogates"
    assert not [c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")]


@given(NAMES, NAMES)
def test_two_names_never_look_the_same(one: bytes, other: bytes) -> None:
    assert (printable(one) == printable(other)) is (one == other)


def test_a_message_keeps_its_backslashes_on_one_line() -> None:
    assert message("cannot read '/a\\b'\n\x1b[2J\udce9") == "cannot read '/a\\b'\\x0a\\x1b[2J\\xe9"
    assert message("plain text") == "plain text"


@given(st.text(st.characters()))
def test_a_message_is_one_safe_line(words: str) -> None:
    assert len(message(words).splitlines()) <= 1
    assert message(message(words)) == message(words)


def test_shown_path() -> None:
    assert shown_path(b"") == "/"
    assert shown_path(b"etc/caf\xe9") == "/etc/caf\\xe9"


@given(NAMES)
def test_a_path_in_json_can_always_be_had_back(path: bytes) -> None:
    doc = json_path(path)
    back = base64.b64decode(doc["path_b64"]) if "path_b64" in doc else doc["path"].encode()[1:]
    assert back == path


def test_a_plain_path_in_json_is_short() -> None:
    assert json_path("etc/caf\u00e9".encode()) == {"path": "/etc/caf\u00e9"}


@pytest.mark.parametrize(
    ("typed", "inner"),
    [
        ("/", b""),
        ("", b""),
        (".", b""),
        ("/etc//x/", b"etc/x"),
        ("etc/x", b"etc/x"),
        ("./a/./b", b"a/b"),
        ("a/../b", b"b"),
        ("../../etc", b"etc"),
        ("/a/b/../..", b""),
        (b"caf\xe9/", b"caf\xe9"),
        ("caf\udce9", b"caf\xe9"),
    ],
)
def test_inner_path(typed: str | bytes, inner: bytes) -> None:
    assert inner_path(typed) == inner


@given(st.binary(max_size=30))
def test_an_inner_path_never_leaves_the_point(typed: bytes) -> None:
    parts = inner_path(typed).split(b"/")
    assert parts == [b""] or not {b"", b".", b".."}.intersection(parts)
    assert inner_path(inner_path(typed)) == inner_path(typed)


@pytest.mark.parametrize(
    ("count", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (10240, "10 KiB"),
        (10189, "10 KiB"),
        (10188, "9.9 KiB"),
        (999 * 1024, "999 KiB"),
        (1000 * 1024, "1.0 MiB"),
        (5 << 30, "5.0 GiB"),
        (3 << 40, "3.0 TiB"),
        (5000 << 50, "5000 PiB"),
        (-2048, "-2.0 KiB"),
    ],
)
def test_human_size(count: int, shown: str) -> None:
    assert human_size(count) == shown


@given(st.integers(0, 1 << 60))
def test_a_size_is_off_by_no_more_than_its_last_digit(count: int) -> None:
    number, unit = human_size(count).split()
    size = 1024 ** text._UNITS.index(unit)
    assert abs(float(number) * size - count) <= size * (0.05 if "." in number else 0.5) * 1.001
    assert len(number) <= 4


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 days, 0 hrs, 0 minutes ago"),
        (40 * 60, "0 days, 0 hrs, 40 minutes ago"),
        (-5, "0 days, 0 hrs, 0 minutes ago"),
        (86400 + 2 * 3600 + 3 * 60 + 59.9, "1 days, 2 hrs, 3 minutes ago"),
    ],
)
def test_human_age_is_clustermakers(seconds: float, shown: str) -> None:
    assert human_age(seconds) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-9, "0 s"),
        (0, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (2 * 86400 - 1, "47 h"),
        (2 * 86400, "2 d"),
        (14 * 86400 - 1, "13 d"),
        (14 * 86400, "2 w"),
        (730 * 86400 - 1, "104 w"),
        (730 * 86400, "2 y"),
    ],
)
def test_short_age(seconds: float, shown: str) -> None:
    assert short_age(seconds) == shown
