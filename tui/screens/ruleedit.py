"""Editing rules of retention in place: by steps, by typing. Each value that will do is tried at once."""

from __future__ import annotations

from typing import Any

from textual import on
from textual.widgets import Input

from engine.config import Retention
from engine.results import Fate
from tui.rules import RULES, Rule, changed, read_value, shown_value, stepped, typed_value, value_of
from tui.screens.base import BaseScreen
from tui.widgets.lineinput import LineInput
from tui.widgets.rows import RowList
from tui.widgets.statusline import StatusLine


class RuleEditing(BaseScreen[None]):
    """The actions. What is shown of the rules, and of what they do, is the subclass's."""

    def __init__(self) -> None:
        super().__init__()
        self.saved: Retention | None = None     # None: not known yet
        self.rules = Retention()
        self.fates: list[Fate] = []
        self.edited: Rule | None = None
        self._before: Any = None

    def show(self) -> None:
        """Show the rules and what they do."""
        raise NotImplementedError

    def ask_fates(self) -> None:
        """Ask what the rules do."""
        raise NotImplementedError

    def show_rules(self) -> None:
        """Show the rules; what they do is not known yet."""
        raise NotImplementedError

    def describe(self) -> None:
        """Say more about the row under the cursor."""
        raise NotImplementedError

    def show_keys(self) -> None:
        """Show which keys do something now."""
        raise NotImplementedError

    @property
    def on_rules(self) -> bool:
        """Whether the cursor is in the list of rules."""
        return self.has_class("-on-rules")

    def rule(self) -> Rule:
        """The rule under the cursor."""
        return RULES[self.query_one("#rules", RowList).cursor]

    def say(self, text: str, look: str = "good") -> None:
        """Answer in the status line."""
        self.query_one("#view-line", StatusLine).answer(text, look)

    def try_rules(self, rules: Retention) -> None:
        """Ask what other rules would do; a newer question replaces an older one."""
        self.rules = rules
        self.ask_fates()
        self.show_rules()

    def action_step(self, by: int) -> None:
        """The rule under the cursor one step up or down."""
        if self.saved is not None and self.on_rules:
            rule = self.rule()
            self.try_rules(changed(self.rules, rule, stepped(rule, value_of(self.rules, rule), by)))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A digit that is typed into the line belongs to the line."""
        return (action != "edit" or self.edited is None) and super().check_action(action, parameters)

    def action_edit(self, typed: str) -> None:
        """Type a value for the rule under the cursor."""
        if self.saved is None or self.edited is not None or not self.on_rules:
            return
        self.edited = rule = self.rule()
        self._before = value_of(self.rules, rule)
        line = self.query_one("#value", LineInput)
        with line.prevent(Input.Changed):
            line.value = typed or typed_value(rule, self._before)
        line.cursor_position = len(line.value)
        self.open_line(line)
        self.show_keys()
        self._consider(line.value)

    def _consider(self, text: str) -> bool:
        """Show what a typed value would do, or why it is none."""
        rule = self.edited
        if rule is None:
            return False
        line = self.query_one("#view-line", StatusLine)
        line.answer("")
        try:
            value = read_value(rule, text)
        except ValueError as error:
            line.show([(f"{rule.title}: ", "strong"), (f"`{text}` will not do: ", "warn"), (f"expected {error}", "")])
            self._try_value(rule, self._before)
            return False
        line.show([(f"{rule.title}: {shown_value(rule, value)}", "strong"), (f"   {rule.text}", "")])
        self._try_value(rule, value)
        return True

    def _try_value(self, rule: Rule, value: Any) -> None:
        if value != value_of(self.rules, rule):
            self.try_rules(changed(self.rules, rule, value))

    @on(Input.Changed, "#value")
    def _typed(self, event: Input.Changed) -> None:
        self._consider(event.value)

    @on(Input.Submitted, "#value")
    def _submitted(self) -> None:
        self.take()

    def take(self) -> None:
        """Take the typed value over; one that will not do is explained, and the line stays."""
        if self._consider(self.query_one("#value", LineInput).value):
            self._end_edit()

    def _end_edit(self) -> None:
        self.edited = None
        self.query_one("#value").display = False
        self.query_one("#rules", RowList).focus()
        self.show_keys()
        self.describe()

    def action_undo(self) -> None:
        """Back to the saved rules."""
        if self.saved is not None and self.saved != self.rules:
            self.try_rules(self.saved)
            self.say("These are the saved rules again.")

    def action_leave(self) -> None:
        """Give the typed value up; or go back."""
        if self.edited is None:
            self.dismiss(None)
            return
        self._try_value(self.edited, self._before)
        self._end_edit()
