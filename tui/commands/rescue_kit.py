"""`rescue-kit`: the program in one file, the restore script and a README, for a stick."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import TYPE_CHECKING

from tui.commands import Answer, Command
from tui.commands._args import no_nul

if TYPE_CHECKING:
    from tui.commands._context import Context

_DETAILS = ("Every store has these files in its rescue/ as well. DIR is made if it is missing; other files in it stay. "
            "The files are read back and compared after they were written.")


def configure(parser: ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("dir", metavar="DIR", help="where to write to, for example a mounted USB stick")


def run(context: Context, args: Namespace) -> Answer:
    """Write the kit."""
    import os

    from engine.errors import UsageError
    from engine.rescue import kit
    from engine.text import human_size, printable

    if not args.dir:
        raise UsageError("DIR: expected a directory, got nothing")
    where = no_nul(args.dir)
    made = kit.write(os.fsencode(where))
    if made.missing:
        context.warn(f"the full-screen app in it lacks {', '.join(made.missing)}: install them here and write it again")
    for name, data in made.files.items():
        context.out.info(f"{human_size(len(data)):>10}  {printable(os.path.join(os.fsencode(where), name))}")
    context.out.info("They were read back and are whole; README.txt says what to do with them.")
    files = {name.decode(): len(data) for name, data in made.files.items()}
    return Answer({"dir": printable(where), "files": files, "bytes": made.size, "missing": list(made.missing)})


COMMANDS = (Command("rescue-kit", "write what is needed on a rescue CD to a directory", 180, configure, run, _DETAILS),)
