"""The rules of retention as fields to edit: how each is called, shown, typed and stepped. Pure.

What may be typed is what the configuration's own files may hold (engine.configvalues), so that a rule that was accepted
here can be saved.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

from engine.config import Retention
from engine.configvalues import KEYS, Wrong, duration_text
from engine.results import Fate

COUNT, AGE, RATIO = "count", "age", "ratio"
_HOUR, _DAY = 3600, 86400
_AGES = (0, _HOUR, 6 * _HOUR, 12 * _HOUR, *(days * _DAY for days in (1, 2, 3, 7, 14, 30, 60, 90, 180, 365, 730, 1825)))
_UNITS = ((365 * _DAY, "y"), (7 * _DAY, "w"), (_DAY, "d"), (_HOUR, "h"), (60, "min"))
_NONE = ("none", "no", "null", "no limit", "-", "")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its field in `Retention`, title, kind, whether it can be none, the words by which the engine says
    that it decided, and what it does."""

    name: str
    title: str
    kind: str
    optional: bool
    said: str
    text: str


RULES = (
    Rule("min_keep", "Newest kept", COUNT, False, "newest", "so many of the newest whole points always stay"),
    Rule("min_age", "Kept while under", AGE, False, "younger than", "points younger than this always stay"),
    Rule("hourly", "Hourly", COUNT, False, "hourly", "the last point of each of so many hours stays"),
    Rule("daily", "Daily", COUNT, False, "daily", "the last point of each of so many days stays"),
    Rule("weekly", "Weekly", COUNT, False, "weekly", "the last point of each of so many weeks stays"),
    Rule("monthly", "Monthly", COUNT, False, "monthly", "the last point of each of so many months stays"),
    Rule("yearly", "Yearly", COUNT, False, "yearly", "the last point of each of so many years stays"),
    Rule("max_age", "Goes when over", AGE, True, "older than", "points older than this go, those with a slot too"),
    Rule("max_store_ratio", "Store at most", RATIO, True, "store over",
         "the oldest points go while the store is more than so many times the source"),
)


def value_of(rules: Retention, rule: Rule) -> Any:
    """Return the value of a rule."""
    return getattr(rules, rule.name)


def shown_value(rule: Rule, value: Any) -> str:
    """Return a value for people."""
    if value is None:
        return "no limit"
    if rule.kind == AGE:
        return duration_text(value)
    if rule.kind == RATIO:
        return f"{value:g} x"
    return str(value) if value or not _is_slot(rule) else "none"


def typed_value(rule: Rule, value: Any) -> str:
    """Return a value as it would be typed."""
    if value is None:
        return "none"
    if rule.kind == AGE:
        size, unit = next(((s, u) for s, u in _UNITS if value and value % s == 0), (1, "s"))
        return f"{value // size}{unit}" if value else "0"
    return f"{value:g}"


def read_value(rule: Rule, text: str) -> Any:
    """Return the value that was typed. Raises ValueError with what is expected instead."""
    text = text.strip()
    if rule.optional and text.lower() in _NONE:
        return None
    tag = "int" if re.fullmatch(r"[0-9]+", text) else "float" if re.fullmatch(r"[0-9]*\.[0-9]+", text) else "str"
    node = SimpleNamespace(id="scalar", tag=f"tag:yaml.org,2002:{tag}", value=text,
                           start_mark=SimpleNamespace(line=0))
    try:
        return KEYS[f"retention.{rule.name}"](node)
    except Wrong as error:
        raise ValueError(error.expected.replace("null for no limit", "none for no limit")
                         + (", or none" if rule.optional and rule.kind == AGE else "")) from None


def stepped(rule: Rule, value: Any, by: int) -> Any:
    """Return the value one step up or down; at the end of the steps it stays. Above the largest limit is none."""
    if rule.kind == COUNT:
        return max(0 if _is_slot(rule) else 1, value + by)
    steps: Sequence[float] = _AGES if rule.kind == AGE else [1 + i / 4 for i in range(37)]
    if rule.optional:
        steps = [s for s in steps if s]
    if value is None:
        return None if by > 0 else steps[-1]
    further = [s for s in steps if (s > value if by > 0 else s < value)]
    if not further:
        return None if by > 0 and rule.optional else value
    return further[0] if by > 0 else further[-1]


def changed(rules: Retention, rule: Rule, value: Any) -> Retention:
    """Return the rules with another value for one of them."""
    return replace(rules, **{rule.name: value})


def differences(old: Retention, new: Retention) -> list[tuple[Rule, Any, Any]]:
    """Return which rules differ: the rule, its old value, its new one."""
    return [(r, value_of(old, r), value_of(new, r)) for r in RULES if value_of(old, r) != value_of(new, r)]


def decided(rule: Rule, fates: Sequence[Fate]) -> int:
    """Return for how many points the engine names this rule as the reason, or one of the reasons."""
    return sum(rule.said in fate.rule and not fate.rule.startswith("thinned") for fate in fates)


def _is_slot(rule: Rule) -> bool:
    return rule.name in ("hourly", "daily", "weekly", "monthly", "yearly")
