"""`rollpoint` without a command: what it hands to the app."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

import tui.app
import tui.environment
import tui.garbage
import tui.output
from engine.config import Config
from tui import cli


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[bytes]]]:
    """The root and the mount points that an app was opened with."""
    found: list[tuple[str, list[bytes]]] = []

    def run_app(config: Config, merged: Sequence[bytes] = ()) -> int:
        found.append((config.root, list(merged)))
        return 0

    monkeypatch.setattr(tui.app, "run_app", run_app)
    monkeypatch.setattr(tui.output, "is_terminal", lambda _stream: True)
    # What the app does to its whole process is not for the one of the tests.
    monkeypatch.setattr(tui.environment, "tidy", lambda _env: None)
    monkeypatch.setattr(tui.garbage, "off", lambda: None)
    return found


@pytest.mark.parametrize(("words", "merged"), [
    ([], []), (["--merge=/home"], [b"home"]), (["--merge=/srv/a b/", "--merge=/home"], [b"srv/a b", b"home"]),
    (["--merge=/caf\udce9"], [b"caf\xe9"])])
def test_what_becomes_a_directory_is_told_to_the_app(opened: list[tuple[str, list[bytes]]], words: list[str],
                                                     merged: list[bytes]) -> None:
    assert cli.main(["--root", "/mnt", "--store", "/nowhere", *words]) == 0
    assert opened == [("/mnt", merged)]


def test_a_command_has_its_own_words(opened: list[tuple[str, list[bytes]]], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--store", "/nowhere", "--merge=/home", "list"]) == 2
    assert not opened and "--merge" in capsys.readouterr().err
