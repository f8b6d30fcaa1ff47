"""Making rules of retention permanent: a file of its own in conf.d, so that no file an admin wrote is touched."""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict

from engine.config import Config, Retention, load
from engine.errors import ConfigError, RefusedError
from engine.replica.layout import write_file
from engine.text import printable

NAME = "90-retention.yaml"
_HEAD = "# Written by Rollpoint when the rules were changed in it. A file with a later name wins.\n"


def save_rules(config: Config, rules: Retention) -> str:
    """Write the rules to conf.d/90-retention.yaml, see that they hold then, and return the file's path.

    Raises RefusedError where no conf.d is read (``--config FILE``, or ``--store`` with ``--root``), and where a file
    that is read later says otherwise; then nothing is changed. Raises OSError when it cannot be written.
    """
    if not config.home:
        raise RefusedError("these rules come from the command line's own configuration, which is not written to",
                           hint="put them in the file given with --config: " + _lines(rules).replace("\n", " "))
    path = os.path.join(config.home, "conf.d", NAME)
    before = _content(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    write_file(os.fsencode(path), (_HEAD + _lines(rules)).encode())
    try:
        loaded = load(etc=os.path.dirname(config.home))
    except ConfigError:
        _put_back(path, before)
        raise
    wrong = [name for name, value in asdict(rules).items() if getattr(loaded.retention, name) != value]
    if wrong:
        _put_back(path, before)
        origin = printable(loaded.origins[f"retention.{wrong[0]}"])
        raise RefusedError(f"retention.{wrong[0]} is set in {origin}, which is read later",
                           hint="change it there, or take it out there")
    return path


def _lines(rules: Retention) -> str:
    values = {name: "null" if value is None else f"{value}" for name, value in asdict(rules).items()}
    return "retention:\n" + "".join(f"  {name}: {value}\n" for name, value in values.items())


def _content(path: str) -> bytes | None:
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        return file.read()
    return None


def _put_back(path: str, content: bytes | None) -> None:
    if content is None:
        os.unlink(path)
    else:
        write_file(os.fsencode(path), content)
