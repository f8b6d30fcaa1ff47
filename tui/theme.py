"""Which colours to use, decided once before the app exists: NO_COLOR and 16-colour terminals need an ANSI theme
at construction (set later, Textual paints black on black)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from textual.scrollbar import ScrollBarRender
from textual.theme import Theme

_DIM_DARK, _DIM_LIGHT = "#98a2b3", "#586273"

DARK = Theme(
    name="rollpoint-dark", dark=True, primary="#7cb7ff", secondary="#8fd3c8", accent="#d9b3ff", warning="#f0c674",
    error="#ff7b72", success="#7ee2a8", foreground="#e3e8ef", background="#12161c", surface="#191f27",
    panel="#222a35",
    variables={"rp-dim": _DIM_DARK, "rp-cursor": "#1f4b7a", "rp-cursor-text": "#ffffff", "rp-blur": "#2a3440",
               "rp-bar": "#25496f", "rp-bar-text": "#ffffff", "rp-line": "#3b4756", "border": "#7cb7ff",
               "text-success": "#7ee2a8", "text-warning": "#f0c674", "text-error": "#ff8f87",
               "text-accent": "#d9b3ff", "text-primary": "#9cc9ff",
               "scrollbar": "#4a5a6e", "scrollbar-background": "#191f27", "scrollbar-hover": "#6b8099",
               "scrollbar-active": "#7cb7ff", "scrollbar-background-hover": "#191f27",
               "scrollbar-background-active": "#191f27", "scrollbar-corner-color": "#191f27",
               "input-cursor-background": "#e3e8ef", "input-cursor-foreground": "#12161c"})
LIGHT = Theme(
    name="rollpoint-light", dark=False, primary="#0b57a4", secondary="#0b6e63", accent="#6f3fb0",
    warning="#8a5a00", error="#b3261e", success="#1a6b3c", foreground="#1b222c", background="#f7f8fa",
    surface="#eef1f5", panel="#e2e7ee",
    variables={"rp-dim": _DIM_LIGHT, "rp-cursor": "#0b57a4", "rp-cursor-text": "#ffffff", "rp-blur": "#d3dce8",
               "rp-bar": "#0b4a8a", "rp-bar-text": "#ffffff", "rp-line": "#b9c4d2", "border": "#0b57a4",
               "text-success": "#1a6b3c", "text-warning": "#8a5a00", "text-error": "#b3261e",
               "text-accent": "#6f3fb0", "text-primary": "#0b57a4",
               "scrollbar": "#9fb0c4", "scrollbar-background": "#e2e7ee", "scrollbar-hover": "#7389a3",
               "scrollbar-active": "#0b57a4", "scrollbar-background-hover": "#e2e7ee",
               "scrollbar-background-active": "#e2e7ee", "scrollbar-corner-color": "#e2e7ee",
               "input-cursor-background": "#1b222c", "input-cursor-foreground": "#f7f8fa"})


def _ansi(name: str, *, dark: bool) -> Theme:
    """The terminal's own 16 colours on its own background; nothing relies on shades."""
    warning = "ansi_yellow" if dark else "ansi_magenta"
    return Theme(
        name=name, ansi=True, dark=dark, primary="ansi_cyan" if dark else "ansi_blue", secondary="ansi_cyan",
        warning=warning, error="ansi_red", success="ansi_green", accent="ansi_magenta", foreground="ansi_default",
        background="ansi_default", surface="ansi_default", panel="ansi_default", boost="ansi_default",
        variables={"rp-dim": "ansi_default", "rp-cursor": "ansi_default", "rp-cursor-text": "ansi_default",
                   "rp-blur": "ansi_default", "rp-bar": "ansi_default", "rp-bar-text": "ansi_default",
                   "rp-line": "ansi_default", "border": "ansi_default", "text-success": "ansi_green",
                   "text-warning": warning, "text-error": "ansi_red", "text-accent": "ansi_magenta",
                   "text-primary": "ansi_cyan" if dark else "ansi_blue", "ansi-background": "ansi_default",
                   "ansi-foreground": "ansi_default", "scrollbar": "ansi_white" if dark else "ansi_black",
                   "scrollbar-background": "ansi_default"})


ANSI_DARK = _ansi("rollpoint-ansi-dark", dark=True)
ANSI_LIGHT = _ansi("rollpoint-ansi-light", dark=False)
THEMES = (DARK, LIGHT, ANSI_DARK, ANSI_LIGHT)


@dataclass(frozen=True, slots=True)
class Look:
    """A theme's name, and whether the terminal's own colours are sent instead of RGB."""

    theme: str
    ansi: bool

    def other(self) -> Look:
        """The same kind of look, light for dark and dark for light."""
        pairs = {DARK.name: LIGHT.name, LIGHT.name: DARK.name, ANSI_DARK.name: ANSI_LIGHT.name,
                 ANSI_LIGHT.name: ANSI_DARK.name}
        return Look(pairs[self.theme], self.ansi)


def choose(env: Mapping[str, str] | None = None) -> Look:
    """Return the look for a terminal: RGB themes where it can show them, its own 16 colours otherwise.

    ROLLPOINT_THEME=dark|light|ansi-dark|ansi-light overrides; NO_COLOR always gives an ANSI look, from which
    Textual then removes the colours.
    """
    env = os.environ if env is None else env
    wish = env.get("ROLLPOINT_THEME", "")
    term = env.get("TERM", "")
    system = env.get("TEXTUAL_COLOR_SYSTEM", "auto")
    rich = (system in ("truecolor", "256") or env.get("COLORTERM", "") in ("truecolor", "24bit")
            or "256color" in term or "kitty" in term) and system != "standard"
    ansi = "NO_COLOR" in env or wish.startswith("ansi") or term in ("linux", "") or not rich
    light = wish.endswith("light") or (not wish and _light_terminal(env))
    if ansi:
        return Look((ANSI_LIGHT if light else ANSI_DARK).name, True)
    return Look((LIGHT if light else DARK).name, False)


def _light_terminal(env: Mapping[str, str]) -> bool:
    """Whether COLORFGBG (set by some terminals: ``15;0``) names a light background."""
    return env.get("COLORFGBG", "").rpartition(";")[2] in ("7", "15")


class PlainScrollBarRender(ScrollBarRender):
    """Scroll bars of blanks only: the eighth blocks are in no console font."""

    VERTICAL_BARS = [" "]
    HORIZONTAL_BARS = [" "]
