"""The style sheets as text: out of a pyz, too, where they are no files of their own."""

from __future__ import annotations

from importlib import resources


def style_sheets(*names: str) -> str:
    """Return the content of these style sheets of this package, one after the other."""
    return "\n".join(resources.files("tui").joinpath(name).read_text(encoding="utf-8") for name in names)
