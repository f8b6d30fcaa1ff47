"""Every setting: its value and where it comes from. Looking only: settings are changed in their files."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Input, Static

from tui.screens.base import FILTER, BaseScreen
from tui.text import Line, content, field, fit, plural, safe
from tui.widgets.fields import Fields
from tui.widgets.filterline import FilterLine
from tui.widgets.keybar import Hint, KeyBar
from tui.widgets.rows import Row, RowList

Setting = tuple[str, str, str]
"""A key, its value and its origin, all printable."""


class SettingRows:
    """A `RowSource` of settings: key, value, origin; what does not fit is shown below the list."""

    def __init__(self, settings: Sequence[Setting]) -> None:
        self.settings = settings
        self._key = max((len(key) for key, _, _ in settings), default=3)

    def __len__(self) -> int:
        return len(self.settings)

    def selectable(self, index: int) -> bool:
        """All rows are."""
        return True

    def _widths(self, width: int) -> tuple[int, int, int]:
        key = min(self._key, width // 2)
        origin = max(0, (width - key) // 2 - 4) if width >= 60 else 0
        return key, width - key - origin - 5, origin

    def heading(self, width: int) -> Row | None:
        """Column titles."""
        return [(fit(self._line(width, ("Setting", "Value", "Comes from")), width), "head")]

    def _line(self, width: int, texts: Sequence[str]) -> str:
        return " " + "  ".join(fit(text, room) for text, room in zip(texts, self._widths(width), strict=True) if room)

    def row(self, index: int, width: int) -> Row:
        """One setting; those that somebody set stand out."""
        key, value, origin = self.settings[index]
        wide = self._widths(width)
        ours = origin == "default"
        return [(" " + fit(safe(key), wide[0]) + "  ", "" if ours else "strong"),
                (fit(safe(value), wide[1]) + "  ", "" if ours else "strong"),
                (fit(safe(origin), wide[2], keep_end=True), "dim" if ours else "accent")]


def setting_rows(setting: Setting) -> list[Line]:
    """Return one setting in full: a value that is a list has a line for each item."""
    key, value, origin = setting
    items = value.split(", ") if ", " in value else [value]
    return [content((key, "head")), *(field("Value" if i == 0 else "", item) for i, item in enumerate(items)),
            field("Comes from", origin or "default")]


class SettingsScreen(BaseScreen[None]):
    """The place behind `c`."""

    BINDINGS = [Binding("escape", "leave", show=False), Binding("q", "leave", show=False),
                FILTER, Binding("u,f5", "reload", show=False)]
    KEYS = (("/", "filter by words in key, value or origin"), ("tab", "to the whole value below, to scroll it"),
            ("u, F5", "read the settings again"), ("esc", "clear the filter; back"), ("q", "back to the points"))
    NOTES = ("Settings are read from /etc/rollpoint/config.yaml, then /etc/rollpoint/conf.d/*.yaml by name, then the "
             "command line; the later one wins. `rollpoint --config FILE` reads that file alone.",
             "The rules of retention can be changed here too: with P, prune.")

    def __init__(self) -> None:
        super().__init__()
        self._settings: list[Setting] = []

    def compose(self) -> ComposeResult:
        """Header, how many, list, the whole value, filter, keys."""
        yield self.header()
        yield Static(content(("Reading the settings ...", "dim")), markup=False, id="subject")
        yield RowList(id="settings")
        with VerticalScroll(id="setting"):
            yield Fields(id="setting-text")
        yield FilterLine("words in key, value, origin", "#settings")
        yield KeyBar([Hint("/", "Filter", "screen.filter"), Hint("tab", "Whole value", weight=3),
                      Hint("esc", "Back", "screen.leave"), Hint(":", "More", "app.palette"),
                      Hint("?", "Help", "app.help")])

    def on_mount(self) -> None:
        """Ask for them."""
        self.query_one("#settings", RowList).focus()
        self.action_reload()

    def action_reload(self) -> None:
        """Read them again."""
        self.ask("settings", self.rollpoint.engine.settings, self._loaded)

    def _loaded(self, settings: list[Setting]) -> None:
        self._settings = settings
        given = sum(origin != "default" for _, _, origin in settings)
        self.query_one("#subject", Static).update(content(
            ("Settings ", "head"), f"{len(settings)}   ", (f"{given} set by somebody, the others are defaults", "dim")))
        self._list()

    def _list(self) -> None:
        words = self.query_one(FilterLine).words
        rows = self.query_one("#settings", RowList)
        rows.show(SettingRows([s for s in self._settings if all(w in " ".join(s).lower() for w in words)]), rows.cursor)

    @on(RowList.Moved, "#settings")
    def _moved(self, event: RowList.Moved) -> None:
        source = event.rows.source
        here = source.settings[event.index] if isinstance(source, SettingRows) and len(source) else None
        nothing: list[Line] = [content((f"None of the {plural(len(self._settings), 'setting')} has all these words.",
                                        "warn"))] if self._settings else [Content("")]
        self.query_one("#setting-text", Fields).show(setting_rows(here) if here is not None else nothing)
        self.query_one("#setting").scroll_home(animate=False)

    @on(Input.Changed, "#filter")
    def _typed(self) -> None:
        self._list()

    def action_leave(self) -> None:
        """Clear the filter, or go back."""
        if not self.query_one(FilterLine).clear_away():
            self.dismiss(None)
