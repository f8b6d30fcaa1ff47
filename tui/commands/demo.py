"""`demo`: a small server with a history of points, made by the real engine, and the app opened on it."""

from __future__ import annotations

import os
import shlex
import sys
from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from tui.commands import Answer, Command

if TYPE_CHECKING:
    from engine.config import Config
    from tui.commands._context import Context

_DETAILS = ("Needs no root. A demo that is there already is opened as it is. Without a terminal, and with "
            "--no-app, it is only made.")


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    where = default_dir().replace("%", "%%")        # argparse formats its help
    parser.add_argument("dir", metavar="DIR", nargs="?", help=f"where to make it (default: {where})")
    parser.add_argument("--no-app", action="store_true", help="do not open the full-screen app on it")


def default_dir() -> str:
    """Return the directory of the demo when none is named: in the user's own cache, where nobody else
    writes."""
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(cache, "rollpoint-demo")


def run(context: Context, args: Namespace) -> Answer:
    """Make the demo, open the app on it where there is a terminal, and say how to go on."""
    from engine.demo import build
    from engine.errors import UsageError
    from engine.text import printable
    from tui.commands._args import no_nul
    from tui.output import is_terminal

    if context.options.config or context.options.store or context.options.root:
        raise UsageError("the demo makes its own store and tree",
                         hint="leave out --config, --store and --root")
    where = os.path.abspath(no_nul(args.dir or default_dir()))
    with context.job(keep_output=False) as job:
        config = build(where, job)
    document = {"dir": printable(where), "store": printable(config.store), "root": printable(config.root)}
    silent = args.no_app or context.out.as_json
    code = 0 if silent or not (is_terminal(sys.stdin) and is_terminal(sys.stderr)) else _open(context, config)
    for line in _what_now(where, config):
        context.out.info(line)
    return Answer(document, code)


def _open(context: Context, config: Config) -> int:
    from tui.cli import open_app

    context.__dict__["config"] = config     # the cached value: the demo's, not the machine's
    return open_app(context)


def _what_now(where: str, config: Config) -> list[str]:
    """Return the commands to go on with, fit to be copied into a shell."""
    from engine.text import message

    options = f"--store {shlex.quote(config.store)} --root {shlex.quote(config.root)}"
    return [message(line) for line in (
        f"The demo is in {where}; nothing else was touched. Try:",
        f"  rollpoint {options}",
        *(f"  rollpoint {verb} {options}" for verb in ("list", "diff latest", "rollback latest --dry-run")),
        f"and when you are done: rm -r {shlex.quote(where)}")]


COMMANDS = (Command("demo", "make a small server with a history, and open the app on it", 200, configure, run,
                    _DETAILS),)
