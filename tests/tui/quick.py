"""What makes hundreds of apps in one process quick to start: style sheets are parsed once for each set of colours.

The rules that come of a style sheet are never changed (Textual's own copies of a sheet share them), so that all apps
of a test run may have the same ones; without this each app parses all of them anew, a fifth of what it costs to start
one.
"""

from __future__ import annotations

import pytest
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet
from textual.css.types import CSSLocation

_parsed: dict[tuple[object, ...], list[RuleSet]] = {}
_parse = Stylesheet._parse_rules


def _rules(self: Stylesheet, css: str, read_from: CSSLocation, is_default_rules: bool = False, tie_breaker: int = 0,
           scope: str = "") -> list[RuleSet]:
    key = (tuple(sorted(self._variables.items())), css, read_from, is_default_rules, tie_breaker, scope)
    if key not in _parsed:
        _parsed[key] = _parse(self, css, read_from, is_default_rules, tie_breaker, scope)
    return _parsed[key]


def parse_style_sheets_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let all apps of this process share what they parse."""
    monkeypatch.setattr(Stylesheet, "_parse_rules", _rules)
