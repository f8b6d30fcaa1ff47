"""The verbs of the command line. Adding a verb is adding a module here that has a `COMMANDS` tuple.

A module is imported only when its verb is used or all verbs are listed, and imports what it needs inside its
functions: `rollpoint list` must not pay for what `rollback` needs. Modules whose name begins with `_` hold
what the verbs share.
"""

from __future__ import annotations

import importlib
import pkgutil
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tui.commands._context import Context


@dataclass(frozen=True, slots=True)
class Answer:
    """What a verb has to say at its end: the JSON document (None: another program has answered in its place), and the
    exit code (warnings make a 0 a 3)."""

    document: dict[str, Any] | None = field(default_factory=dict)
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class Command:
    """One verb. `configure` adds its arguments to a parser; `run` does the work. `order` is its place in
    the help."""

    name: str
    summary: str
    order: int
    configure: Callable[[ArgumentParser], None]
    run: Callable[[Context, Namespace], Answer]
    details: str = ""


def find(name: str) -> Command | None:
    """Return the verb called `name`, or None. The module of the same name is tried first, to import no
    other."""
    for command in _commands(name):
        if command.name == name:
            return command
    return next((c for c in every() if c.name == name), None)


def every() -> list[Command]:
    """Return all verbs in the order of the help."""
    modules = [info.name for info in pkgutil.iter_modules(__path__) if not info.name.startswith("_")]
    return sorted((c for module in modules for c in _commands(module)), key=lambda c: c.order)


def _commands(module: str) -> tuple[Command, ...]:
    if not module.isidentifier() or module.startswith("_"):
        return ()
    try:
        found = importlib.import_module(f"{__name__}.{module}")
    except ModuleNotFoundError as error:
        if error.name == f"{__name__}.{module}":
            return ()
        raise
    commands: tuple[Command, ...] = found.COMMANDS
    return commands
