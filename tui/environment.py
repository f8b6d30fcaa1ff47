"""The environment variables of the framework below the app, put right before it reads them.

Textual takes a dozen settings for developers from the environment: keys to press, another driver, a log file, a colour
system. A left-over one must not end the app with a traceback, let alone press keys in it.
"""

from __future__ import annotations

from collections.abc import MutableMapping

_PREFIX = "TEXTUAL_"
_KEPT = {"TEXTUAL_ANIMATIONS": ("none", "basic", "full"),
         "TEXTUAL_COLOR_SYSTEM": ("auto", "standard", "256", "truecolor")}
"""What an admin may want to set, and its values."""


def tidy(env: MutableMapping[str, str]) -> None:
    """Remove from `env` every setting of the framework but the known values of the useful ones."""
    for name in [n for n in env if n.startswith(_PREFIX)]:
        if env[name] not in _KEPT.get(name, ()):
            del env[name]
