"""Two contents of one file, or one alone: unified, side by side, or as bytes. Fits into any screen that can ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Static

from engine.results import FileContent
from tui.filediff import CONTEXT, LINES, Comparison, FileDiff, Part, Sheet, lay_out, look, text_of
from tui.syntax import dress
from tui.text import Segment, content, count, plural, size
from tui.widgets.filerows import Dressed, FileRows
from tui.widgets.keybar import Hint
from tui.widgets.rows import RowList
from tui.widgets.viewlist import TextRows

if TYPE_CHECKING:
    from tui.screens.base import EngineCalls

WIDE = 130
"""From this width on two texts are shown side by side unless the admin chose otherwise; a hex dump needs more."""
WIDE_HEX = 172
_STEP = 16
UNIFIED, BESIDE, AS_TEXT, HEX, HEX_BESIDE = "unified", "side by side", "text", "hex", "hex side by side"


@dataclass(frozen=True, slots=True)
class _Looked:
    """What the worker brings back."""

    diff: FileDiff
    dressed: tuple[Dressed, Dressed]


def _look_at(old: FileContent | None, new: FileContent | None, name: bytes) -> _Looked:
    found = look(old, new)
    dressed = (None, None) if found.binary else tuple(
        dress(text_of(side.data, whole=side.whole), name) if side is not None else None for side in (old, new))
    return _Looked(found, cast("tuple[Dressed, Dressed]", dressed))


class FileDiffView(Vertical):
    """The view. `show` may be called as often as wanted; what is newest counts. Posts `Shown` when it can be read."""

    BINDINGS = [
        Binding("m", "mode", "View", show=False), Binding("n", "hunk(1)", "Next", show=False),
        Binding("N,p", "hunk(-1)", "Previous", show=False), Binding("c", "context", "Whole", show=False),
        Binding("left", "shift(-1)", show=False), Binding("right", "shift(1)", show=False)]
    KEYS = (("m", "unified, side by side, bytes (hex)"), ("n N", "next, previous difference"),
            ("c", "the whole file, or only what differs"), ("left right", "move long lines"))
    """For the help of the screen that shows it."""

    class Shown(Message):
        """There are rows to read; `view.hints()` are the keys that do something with them."""

        def __init__(self, view: FileDiffView) -> None:
            super().__init__()
            self.view = view

        @property
        def control(self) -> FileDiffView:
            """The view that posted it."""
            return self.view

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002
        super().__init__(id=id)
        self._looked: _Looked | None = None
        self._names = ("", "")
        self._mode = ""             # the one that the admin chose, "" for the one that fits
        self._whole = False
        self._laid_out = ""

    def compose(self) -> ComposeResult:
        """What the two are, and the rows."""
        yield Static("", markup=False, id="file-head")
        yield RowList(id="file-rows")

    @property
    def rows(self) -> RowList:
        """The list of lines."""
        return self.query_one("#file-rows", RowList)

    def show(self, old: FileContent | None, new: FileContent | None, name: bytes, old_name: str,
             new_name: str) -> None:
        """Show two contents of the file `name`, or the one that is not None, under the names of the two sides."""
        self._names, self._looked = (old_name, new_name), None
        if old is None and new is None:
            self.say("There is no content on either side.")
            return
        self.say("Comparing ...")
        cast("EngineCalls", self.screen).ask(f"file view {id(self)}", lambda: _look_at(old, new, name), self._ready)

    def say(self, text: str, look: str = "dim") -> None:
        """Show a line instead of contents."""
        self._looked = None
        self.query_one("#file-head", Static).update("")
        self.rows.show(TextRows([(text, look)]))

    def _ready(self, looked: _Looked) -> None:
        self._looked, self._laid_out = looked, ""
        self._lay_out(first=True)

    # --- modes ---------------------------------------------------------------------------------------------------

    @property
    def modes(self) -> tuple[str, ...]:
        """The modes there are, in the order of `m`."""
        if self._looked is None:
            return ()
        binary, single = self._looked.diff.binary, self._looked.diff.single
        if single:
            return (HEX, AS_TEXT) if binary else (AS_TEXT, HEX)
        return (HEX, HEX_BESIDE, UNIFIED) if binary else (UNIFIED, BESIDE, HEX)

    @property
    def mode(self) -> str:
        """The mode that is shown: the chosen one, or the one that fits the width."""
        modes = self.modes
        if self._mode in modes or not modes:
            return self._mode
        first, second = modes[0], modes[1]
        wide = {BESIDE: WIDE, HEX_BESIDE: WIDE_HEX}.get(second)
        return second if wide is not None and self.size.width >= wide else first

    def action_mode(self) -> None:
        """Show the same in another way."""
        modes = self.modes
        if modes:
            self._mode = modes[(modes.index(self.mode) + 1) % len(modes)]
            self._lay_out()

    def action_context(self) -> None:
        """Show equal lines too, or leave them out again."""
        if self._looked is not None and not self._looked.diff.single:
            self._whole = not self._whole
            self._laid_out = ""
            self._lay_out()

    def on_resize(self, event: events.Resize) -> None:
        """Another width may ask for another mode."""
        self._lay_out()

    def _lay_out(self, *, first: bool = False) -> None:
        """Make the rows of the mode, and keep the place as well as it can be kept."""
        looked = self._looked
        if looked is None or not self.size.width or self._laid_out == self.mode:
            return
        mode = self._laid_out = self.mode
        before = self.rows.source
        found = looked.diff.bytes if mode in (HEX, HEX_BESIDE) else looked.diff.text
        rows_of = _alone(found, looked.diff) if looked.diff.single else found
        beside = mode in (BESIDE, HEX_BESIDE)
        whole = self._whole or looked.diff.single or looked.diff.same
        rows = lay_out(rows_of, side_by_side=beside, context=None if whole else CONTEXT)
        dressed = looked.dressed if found is looked.diff.text else (None, None)
        if looked.diff.single:      # the one content there is stands on both sides
            dressed = (dressed[0] or dressed[1],) * 2
        source = FileRows(rows_of, rows, side_by_side=beside, alone=looked.diff.single,
                          places=found is looked.diff.bytes, dressed=dressed,
                          end=_not_read(looked.diff, as_text=found is looked.diff.text))
        cursor = 0
        if isinstance(before, FileRows) and not first and before.rows.hunks and rows.hunks:
            passed = sum(1 for row in before.rows.hunks if row <= self.rows.cursor)
            cursor = rows.hunks[min(max(passed, 1), len(rows.hunks)) - 1] if passed else 0
        elif first and rows.hunks:
            cursor = rows.hunks[0]
        self.rows.show(source, cursor)
        self.query_one("#file-head", Static).update(content(*self._head(looked.diff, found, mode)))
        self.post_message(self.Shown(self))

    def _head(self, diff: FileDiff, found: Comparison, mode: str) -> list[Segment]:
        """Two lines: what the sides are, and how they differ."""
        kinds = (diff.kind(new=False), diff.kind(new=True))
        parts: list[Segment] = []
        signs: tuple[Segment, Segment] = ("- ", "bad"), ("+ ", "good")
        for name, side, kind, sign in zip(self._names, (diff.old, diff.new), kinds, signs, strict=True):
            if side is not None:
                parts += [("   " if parts else "", ""), *([] if diff.single else [sign]), (name, "strong"),
                          (f"  {size(side.size)}, {kind}", "dim")]
        if diff.same:
            return [*parts, ("   the same content", "good")]
        if diff.single:
            unit = "bytes" if mode == HEX else ""
            return [*parts, (f"   {unit or plural(len(found.old) or len(found.new), 'line')}", "dim")]
        parts.append((f"   {plural(found.hunks, 'place')}: ", "dim"))
        if found is diff.bytes:
            parts.append((f"{count(max(found.lines_gone, found.lines_come))} of "
                          f"{count(max(len(found.old), len(found.new)))} rows of 16 bytes differ", ""))
        else:
            parts += [(f"+{count(found.lines_come)}", "good"), (f" -{count(found.lines_gone)}", "bad")]
            parts.append((" lines", "dim"))
        if found.coarse:
            parts.append(("   too different to be matched everywhere: long stretches count as replaced whole", "warn"))
        return parts

    # --- moving --------------------------------------------------------------------------------------------------

    def action_hunk(self, by: int) -> None:
        """Go to the next or the previous difference."""
        source = self.rows.source
        row = source.rows.next_hunk(self.rows.cursor, by) if isinstance(source, FileRows) else None
        if row is not None:
            self.rows.cursor = row

    def action_shift(self, by: int) -> None:
        """Move long lines to the left or to the right."""
        source = self.rows.source
        if isinstance(source, FileRows):
            first = self.rows.scroll_offset.y
            most = source.longest(self.rows.room, first, first + self.size.height)
            source.shift = max(0, source.shift - _STEP) if by < 0 else min(source.shift + _STEP, most + _STEP)
            self.rows.refresh()

    @on(RowList.Moved)
    @on(RowList.Chosen)
    def _own(self, event: RowList.Moved | RowList.Chosen) -> None:
        """The lines are this view's own: a screen that has other lists must not take them for rows of these."""
        event.stop()

    def hints(self) -> list[Hint]:
        """Return the keys that do something now."""
        modes = self.modes
        if not modes or self._looked is None:
            return []
        after = modes[(modes.index(self.mode) + 1) % len(modes)]
        hints = [Hint("m", after[:1].upper() + after[1:], weight=2)]
        if not self._looked.diff.single and not self._looked.diff.same:
            hints += [Hint("n N", "Next, previous"),
                      Hint("c", "Only differences" if self._whole else "Whole file", weight=3)]
        return hints


def _alone(found: Comparison, diff: FileDiff) -> Comparison:
    """The one content there is, as if it were both sides."""
    sheet: Sheet = found.new if diff.old is None else found.old
    return Comparison(sheet, sheet, (Part(True, 0, len(sheet), 0, len(sheet)),) if len(sheet) else ())


def _not_read(diff: FileDiff, *, as_text: bool) -> str:
    """What was not looked at, in words."""
    if as_text and diff.lines_cut:
        return f"Only the first {count(LINES)} lines are compared; bytes (m) show more."
    cut = [side for side in (diff.old, diff.new) if side is not None and not side.whole]
    if not cut:
        return ""
    return f"Only the first {size(max(len(s.data) for s in cut))} were read; what differs behind that is not shown."
