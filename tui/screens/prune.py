"""The prune simulator: the rules, what becomes of each point under them, and what that frees. Trying changes nothing.

Rules are edited in place; each change asks the engine what it would do (tui/screens/fatewatch.py). Saving the rules and
pruning are two steps of their own (tui/screens/prunenow.py), and pruning always goes by the saved rules.
"""

from __future__ import annotations

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, Vertical
from textual.widgets import Static

from engine.backends import Trouble
from engine.dispatch import REPLICA
from engine.points import RestorePoint
from engine.results import Fate, PruneResult
from tui.prunewords import beside_line, totals
from tui.rules import shown_value, value_of
from tui.screens.fatewatch import FateWatch
from tui.text import called, content, plural
from tui.widgets.faterows import CalendarRows, FateRows
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.lineinput import LineInput
from tui.widgets.rows import RowList
from tui.widgets.rulerows import RuleRows
from tui.widgets.statusline import StatusLine


class PruneScreen(FateWatch):
    """The place behind `P`."""

    HORIZONTAL_BREAKPOINTS = [(0, "-tiny"), (76, "-narrow"), (100, "-wide")]
    BINDINGS = [
        Binding("escape", "leave", show=False), Binding("q", "leave", show=False),
        Binding("tab", "other", show=False, priority=True), Binding("plus,right,l", "step(1)", show=False),
        Binding("minus,left,h", "step(-1)", show=False), Binding("w", "save", show=False),
        Binding("u", "undo", show=False), Binding("x", "prune", show=False), Binding("p", "pin", show=False),
        Binding("c", "calendar", show=False), Binding("K", "kind", show=False),
        *(Binding(str(digit), f"edit('{digit}')", show=False, priority=True) for digit in range(10))]
    KEYS = (("enter", "on a rule: type a value; on a point: everything about it"),
            ("+ -, right left", "the rule one step up or down"), ("0 to 9", "begin to type a value"),
            ("c", "the points as a list or as a calendar"), ("tab", "from the rules to the points and back"),
            ("w", "write the rules to the configuration"), ("u", "undo: back to the saved rules"),
            ("x", "remove the points that the saved rules do not keep: asks for yes"),
            ("p", "pin or unpin the point under the cursor"),
            ("K", "points of one kind only (the store's, ZFS's, LVM's ...): the next kind, then all again"),
            ("esc", "leave; what was tried is forgotten"))
    NOTES = ("Trying rules changes nothing. * before a rule: changed here and not saved.",
             "Ages are typed as 3600, 45min, 12h, 90d, 4w or 2y; none means no limit.",
             "Points (of a rule): for how many points it is the reason, or one of them, to stay or to go.",
             "What is freed in the store is an estimate: the own sizes of the points that go. What snapshots of the "
             "storage free is what the storage itself works out.",
             "Rules count for each kind, owner and set of volumes by itself. What another program took stays, unless "
             "the configuration lets Rollpoint prune that program's.")

    def __init__(self) -> None:
        super().__init__()
        self._calendar = False
        self._kind = ""         # the backend whose points alone are listed, "" for all

    def compose(self) -> ComposeResult:
        """Header, what it comes to, rules and points side by side, the row in full, the line to type into, keys."""
        yield self.header()
        yield Static(content(("Asking the rules ...", "dim")), markup=False, id="subject")
        yield Static("", markup=False, id="beside")
        with Container(id="sides"):
            with Vertical(id="left"):
                yield RowList(id="rules")
            with Vertical(id="right"):
                yield RowList(id="fates")
        yield StatusLine(id="view-line")
        yield LineInput(id="value", max_length=20)
        yield KeyBar(id="keys")

    def on_mount(self) -> None:
        """Ask for the rules, the points and the sizes."""
        self.query_one("#value").display = self.query_one("#beside").display = False
        self._side("rules")
        self.query_one("#rules", RowList).focus()
        self.load()

    # --- showing -------------------------------------------------------------------------------------------------

    def show(self) -> None:
        """Totals, rules, points, keys."""
        self.show_rules()
        self._show_fates()
        saved = self.saved == self.rules
        self.query_one("#subject", Static).update(content(*totals(self.kept, self.status, saved=saved)))
        self.show_keys()
        self.describe()

    def show_rules(self) -> None:
        """The rules, and how the storage stands with them."""
        rows = self.query_one("#rules", RowList)
        rows.show(RuleRows(self.rules, self.saved or self.rules, self.certain), rows.cursor)
        line = self.query_one("#beside", Static)
        line.display = self.beside.there or self.slow
        line.update(content(*beside_line(self.beside.fates, self.beside.losses, self.beside.found.troubles,
                                         self.beside.why, asking=self.asking)))

    def _show_fates(self) -> None:
        """The points, all or those of one kind."""
        rows = self.query_one("#fates", RowList)
        if self._kind not in self.kinds:
            self._kind = ""
        found = [f for f in self.fates if self._kind in ("", f.point.backend)]
        if self._calendar:
            certain = {f.point.id for f in self.certain}
            rows.show(CalendarRows([f for f in found if f.point.id in certain]), rows.cursor)
        else:
            was = rows.source.fates[rows.cursor].point.id if isinstance(rows.source, FateRows) and rows.cursor < len(
                rows.source) else ""
            at = rows.cursor
            if not self.on_rules:       # keys act on the point under the cursor: it stays there when others come in
                at = next((i for i, fate in enumerate(found) if fate.point.id == was), at)
            rows.show(FateRows(found, self.rollpoint.now(), asking=self.asking), at)

    @property
    def kinds(self) -> list[str]:
        """The kinds that there are points of, the store's first."""
        return sorted({f.point.backend for f in self.fates}, key=lambda kind: (kind != REPLICA, kind))

    @property
    def _next_kind(self) -> str:
        order = ["", *self.kinds]
        return order[(order.index(self._kind) + 1) % len(order)] if self._kind in order else ""

    def show_keys(self) -> None:
        """The keys that do something now."""
        self.query_one("#keys", KeyBar).show(self._hints())

    def _hints(self) -> list[Hint]:
        if self.edited is not None:
            return [Hint("enter", "Take it"), Hint("esc", "As it was")]
        if self.on_rules:
            found = [Hint("enter", "Edit", "screen.edit('')", 2), Hint("+ -", "Step", weight=2),
                     Hint("tab", "Points", "screen.other", 1)]
        else:
            found = [Hint("tab", "Rules", "screen.other", 1), Hint("p", "Pin", "screen.pin", 2)]
        found.append(Hint("c", "List" if self._calendar else "Calendar", "screen.calendar", 3))
        after = f"Only {self._next_kind}" if self._next_kind else "All kinds"
        found += [Hint("K", after, "screen.kind", 2)] if len(self.kinds) > 1 else []
        found += [Hint("u", "Undo", "screen.undo"), Hint("w", "Write rules", "screen.save"),
                  Hint("x", "Prune", "screen.prune"), Hint("esc", "Back", "screen.leave"),
                  Hint(":", "More", "app.palette", 3), Hint("?", "Help", "app.help")]
        return [h for h in found if not self.why_not(h.action.removeprefix("screen."))]

    def _side(self, side: str) -> None:
        """Where there is room for one side only, show this one."""
        self.set_class(side == "rules", "-on-rules")
        self.set_class(side == "fates", "-on-points")

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """A click goes to the other side as well."""
        if event.widget.id in ("rules", "fates"):
            self._side(event.widget.id)
            self.show_keys()
            self.describe()

    @on(RowList.Moved)
    def describe(self) -> None:
        """Say more about the row under the cursor."""
        line, source = self.query_one("#view-line", StatusLine), self.query_one("#fates", RowList).source
        at = self.query_one("#fates", RowList).cursor
        if self.edited is not None:
            return
        if self.on_rules:
            rule = self.rule()
            value = shown_value(rule, value_of(self.rules, rule))
            line.show([(f"{rule.title}: {value}", "strong"), (f"   {rule.text}", "")])
        elif isinstance(source, FateRows | CalendarRows) and at < len(source):
            line.show(source.line(at))
        else:
            line.show([("There is no restore point yet.", "dim")])

    # --- moving --------------------------------------------------------------------------------------

    def action_other(self) -> None:
        """Go to the other side; from the line that is typed into, take what is there first."""
        if self.edited is not None:
            self.take()
            return
        side = "fates" if self.on_rules else "rules"
        self._side(side)
        self.query_one(f"#{side}", RowList).focus()

    def action_calendar(self) -> None:
        """The points as a list, or as a calendar."""
        self._calendar = not self._calendar
        self.query_one("#fates", RowList).cursor = 0
        self.show()

    def action_kind(self) -> None:
        """List the points of the next kind alone, after the last one all again."""
        if self._possible("kind"):
            self._kind = self._next_kind
            self.query_one("#fates", RowList).cursor = 0
            self.show()

    @on(RowList.Chosen, "#rules")
    def _chosen_rule(self) -> None:
        self.action_edit("")

    @on(RowList.Chosen, "#fates")
    def _chosen_fate(self) -> None:
        from tui.screens.details import DetailScreen

        point = self.point()
        if point is not None:
            self.app.push_screen(DetailScreen(point))

    # --- doing ---------------------------------------------------------------------------------------------------

    def point(self) -> RestorePoint | None:
        """The point under the cursor, where the list of points has it."""
        rows = self.query_one("#fates", RowList)
        source = rows.source
        found = isinstance(source, FateRows) and self.has_class("-on-points") and rows.cursor < len(source)
        return source.fates[rows.cursor].point if isinstance(source, FateRows) and found else None

    def why_not(self, action: str) -> str:
        """Why an action makes no sense now."""
        if action in ("save", "prune", "pin") and self.rollpoint.read_only:
            return "This is read-only: nothing can be changed from here."
        if action in ("save", "undo") and self.saved == self.rules:
            return "The rules are the saved ones: there is nothing to write."
        if action == "pin" and self.point() is None:
            return "To pin a point, go to the list of points (tab)."
        if action == "kind" and len(self.kinds) < 2:
            return "There is one kind of points only." if self.kinds else "There is no restore point yet."
        if action == "prune" and self.saved == self.rules and not self.asking and all(f.keep for f in self.fates):
            return "The saved rules remove nothing now."
        return ""

    def _possible(self, action: str) -> bool:
        why = self.why_not(action) if self.saved is not None else "Still asking the rules."
        if why:
            self.say(why, "warn")
        return not why

    def action_pin(self) -> None:
        """Pin or unpin the point under the cursor, and ask the rules again."""
        point = self.point()
        if self._possible("pin") and point is not None:
            wanted, engine = not point.pinned, self.rollpoint.engine

            def noted(found: RestorePoint) -> None:
                self.say(f"Point {called(found)} is {'pinned' if wanted else 'no longer pinned'}.")
                self.load()

            self.ask("note", lambda: engine.annotate(point, pinned=wanted), noted)

    def action_save(self) -> None:
        """Write the rules, after a look at what changes."""
        if self._possible("save"):
            self._save(pruning=False)

    def _save(self, *, pruning: bool) -> None:
        from tui.screens.prunenow import SaveRulesScreen

        assert self.saved is not None

        def saved(path: str | None) -> None:
            if path is None:
                return
            self.saved = self.rules
            self.say("The rules were saved.")
            self.load()
            if pruning:
                self.action_prune()

        self.app.push_screen(SaveRulesScreen(self.saved, self.rules, first=pruning), saved)

    def action_prune(self) -> None:
        """Remove what the rules do not keep, after yes; rules that were changed must be saved first."""
        if not self._possible("prune"):
            return
        if self.saved != self.rules:
            self._save(pruning=True)
            return
        if self.beside.there or self.slow:
            self.say("Asking the storage what the rules remove ...")
        # Asked anew: what is confirmed must be what the saved rules say now.
        engine = self.rollpoint.engine
        self.ask("prune", engine.all_fates, self._confirm_prune)

    def _confirm_prune(self, answer: tuple[list[Fate], list[Trouble]]) -> None:
        from tui.screens.prunenow import PruneNowScreen

        fates, troubles = answer
        self.say("")
        if all(f.keep for f in fates):
            self.say("The saved rules remove nothing now.", "warn")
        else:
            self.app.push_screen(PruneNowScreen(fates, troubles), self._pruned)

    def _pruned(self, result: PruneResult | None) -> None:
        if result is not None:
            self.say(f"{plural(len(result.removed), 'point')} removed.", "warn" if result.failed else "good")
        self.load()

