"""Text that an admin wants to keep, written to a new file of this machine."""

from __future__ import annotations

import os

from engine.errors import RefusedError, UsageError
from engine.text import printable


def save_new(path: str, text: str) -> str:
    """Write `text` to a file that must not be there yet, for its owner's eyes alone, and return its path. What was
    begun is taken away where it cannot be finished. Raises OSError, RefusedError for a file that is there, and
    UsageError for what is no name of a file."""
    if "\0" in path:
        raise UsageError(f"{printable(path)} is no name of a file", hint="type another one")
    name = os.fsencode(path)
    try:
        fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise RefusedError(f"{printable(path)} is there already", hint="type another name") from None
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(text.encode("utf-8", "surrogateescape"))
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        os.unlink(name)
        raise
    return path
