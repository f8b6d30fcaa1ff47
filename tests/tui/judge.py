"""What must hold on every screen at every moment, looked up in the cells that a terminal would get."""

from __future__ import annotations

import unicodedata

from rich.color import Color, ColorType
from rich.segment import Segment
from rich.style import Style

from tests.tui.conftest import AppPilot
from tests.tui.terminal import BOX
from tui.app import RollpointApp
from tui.widgets.rows import RowList

READABLE = 4.5
"""The least contrast of text to its ground; WCAG AA for small text."""
VISIBLE = 1.5
"""The least contrast of a line that only parts one thing from another."""

_SCROLLING = ("grab", "release", "scroll_up", "scroll_down", "scroll_left", "scroll_right")
"""What cells of a scroll bar do."""


def faults(pilot: AppPilot) -> list[str]:
    """Return in words what is wrong with what is shown now; nothing when all is well."""
    app = pilot.app
    assert isinstance(app, RollpointApp)
    if app._exit or not app.is_running:
        return ["the app has ended"]
    found: list[str] = []
    strips = app.screen._compositor.render_strips()
    if len(strips) != app.size.height:
        found.append(f"{len(strips)} lines on a terminal of {app.size.height}")
    for y, strip in enumerate(strips):
        if sum(segment.cell_length for segment in strip) != app.size.width:
            found.append(f"line {y} is not {app.size.width} cells wide")
        x = 0
        for segment in strip:
            front = _in_front(pilot, x, y)
            found += [f"line {y}: {fault}" for fault in _faults_of(segment, front=front)]
            x += segment.cell_length
    first = strips[0].text if strips else ""
    if app.size.width >= 20 and app.host[:8] not in first:
        found.append(f"the machine's name is not in the first line: {first!r}")
    return found + _cursor_faults(pilot)


def _in_front(pilot: AppPilot, x: int, y: int) -> bool:
    """Whether a cell is of the screen in front; what is behind a dialog is darkened on purpose."""
    screen = pilot.app.screen
    return not screen.is_modal or any(w.region.contains(x, y) for w in screen.children if w.display)


def _faults_of(segment: Segment, *, front: bool) -> list[str]:
    """Return what is wrong with a run of cells: glyphs, hidden actions, colours."""
    found = [f"{char!r} (U+{ord(char):04X}) cannot be shown on a console" for char in dict.fromkeys(segment.text)
             if not allowed(char)]
    style = segment.style or Style.null()
    if any(key.startswith("@") and act not in _SCROLLING for key, act in style.meta.items()):
        found.append(f"{segment.text!r} runs {style.meta} when it is clicked")
    if front and segment.text.strip():
        ratio = contrast(style)
        if ratio < (VISIBLE if set(segment.text) <= BOX | {" "} else READABLE):
            found.append(f"{segment.text.strip()!r} cannot be read: {style}, contrast {ratio:.1f}")
    return found


def allowed(char: str) -> bool:
    """Whether every console shows it, names in other scripts aside."""
    return (char.isascii() and char.isprintable()) or char in BOX or unicodedata.category(char)[0] in "LMN"


def contrast(style: Style) -> float:
    """Return the contrast of text to its ground, from 1 (the same) to 21; 21 where the terminal's own colours are
    used, unless both are the same one."""
    fore, back = style.color, style.bgcolor
    if fore is None or back is None or ColorType.DEFAULT in (fore.type, back.type):
        return 21.0
    if ColorType.TRUECOLOR not in (fore.type, back.type):
        return 1.0 if fore == back else 21.0
    light, dark = sorted((_luminance(fore), _luminance(back)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: Color) -> float:
    parts = [c / 255 for c in color.get_truecolor()]
    red, green, blue = (c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _cursor_faults(pilot: AppPilot) -> list[str]:
    """The row under the cursor of a list with the focus must stand out, also without colours."""
    rows = pilot.app.screen.focused
    if not isinstance(rows, RowList) or not rows.region or rows.cursor >= len(rows.source) or not rows.display:
        return []
    y = rows.cursor + rows._top - rows.scroll_offset.y
    if not rows._top <= y < rows.size.height:
        return [] if rows.size.height <= rows._top else [f"the cursor (row {rows.cursor}) is out of view"]
    style = next((s.style for s in rows.render_line(y) if s.text.strip()), None)
    other = rows.rich_style
    if style is None or (style.bgcolor == other.bgcolor and bool(style.reverse) == bool(other.reverse)):
        return [f"the row under the cursor looks like any other: {style}"]
    return []
