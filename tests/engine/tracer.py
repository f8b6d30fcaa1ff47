"""Run a Rollpoint command and note the named steps it takes: `python -m tests.engine.tracer FILE WORD…`.

The crash tests learn from it at which steps a command can be killed.
"""

from __future__ import annotations

import os
import sys

from engine import events


def _note(path: str, name: str) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(name + "\n")


def main() -> int:
    """Note steps into the file that the first argument names, and run the rest as a command line."""
    path = os.path.abspath(sys.argv[1])
    # Before anything else is imported: other modules take `step` from here by name.
    events.step = lambda name: _note(path, name)
    from tui.cli import main as command

    return command(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
