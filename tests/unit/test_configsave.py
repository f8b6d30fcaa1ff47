"""Rules that were changed in a screen become permanent, or nothing is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.config import Retention, load
from engine.configsave import save_rules
from engine.errors import RefusedError

RULES = Retention(min_keep=3, min_age=3600, max_store_ratio=None, max_age=90 * 86400, daily=7, yearly=2)


def _etc(tmp_path: Path) -> Path:
    own = tmp_path / "rollpoint"
    own.mkdir(mode=0o755)
    (own / "config.yaml").write_text("retention:\n  daily: 30\n  min_keep: 4\nexclude: ['/scratch/*']\n")
    return own


def test_saved_rules_hold_and_the_admins_file_is_not_touched(tmp_path: Path) -> None:
    own = _etc(tmp_path)
    mine = (own / "config.yaml").read_bytes()
    path = save_rules(load(etc=str(tmp_path)), RULES)
    again = load(etc=str(tmp_path))
    assert again.retention == RULES and "/scratch/*" in again.excludes
    assert again.origins["retention.daily"].startswith(path) and (own / "config.yaml").read_bytes() == mine
    save_rules(again, replace(RULES, daily=0))
    assert load(etc=str(tmp_path)).retention == replace(RULES, daily=0)


def test_a_later_file_that_says_otherwise_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    own = _etc(tmp_path)
    (own / "conf.d").mkdir(mode=0o755)
    (own / "conf.d" / "99-mine.yaml").write_text("retention: {weekly: 5}\n")
    before = load(etc=str(tmp_path))
    with pytest.raises(RefusedError) as caught:
        save_rules(before, RULES)
    assert "retention.weekly" in str(caught.value) and "99-mine.yaml:1" in str(caught.value)
    assert [p.name for p in (own / "conf.d").iterdir()] == ["99-mine.yaml"]
    assert load(etc=str(tmp_path)).retention == before.retention


def test_a_configuration_of_the_command_line_is_not_written_to(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("retention: {daily: 1}\n")
    with pytest.raises(RefusedError) as caught:
        save_rules(load(str(file)), RULES)
    assert "daily: 7" in caught.value.hint and file.read_text() == "retention: {daily: 1}\n"
    with pytest.raises(RefusedError):
        save_rules(load(store=str(tmp_path / "s"), root=str(tmp_path)), RULES)
