"""The rows of the rules of retention: title, value, how many points it decides about; a star where it was changed."""

from __future__ import annotations

from collections.abc import Sequence

from engine.config import Retention
from engine.results import Fate
from tui.rules import RULES, Rule, decided, shown_value, value_of
from tui.text import count, fit
from tui.widgets.rows import Row

_TITLE = 17


class RuleRows:
    """A `RowSource` over `RULES`."""

    def __init__(self, rules: Retention, saved: Retention, fates: Sequence[Fate]) -> None:
        self.rules, self.saved = rules, saved
        self._decided = {rule.name: decided(rule, fates) for rule in RULES}

    def __len__(self) -> int:
        return len(RULES)

    def rule(self, index: int) -> Rule:
        """The rule of a row."""
        return RULES[index]

    def selectable(self, index: int) -> bool:
        """All rows are."""
        return True

    def heading(self, width: int) -> Row | None:
        """Column titles."""
        return [(fit(f" {'Rule':<{_TITLE}}{fit('Value', self._value(width))}{'Points':>6}", width), "head")]

    @staticmethod
    def _value(width: int) -> int:
        return max(6, width - _TITLE - 8)

    def row(self, index: int, width: int) -> Row:
        """One rule."""
        rule = RULES[index]
        value, was = value_of(self.rules, rule), value_of(self.saved, rule)
        other = value != was
        number = self._decided[rule.name]
        return [("*" if other else " ", "warn"), (fit(rule.title, _TITLE), ""),
                (fit(shown_value(rule, value), self._value(width)), "warn" if other else "strong"),
                (f"{count(number) if number else '-':>6}", "dim")]
