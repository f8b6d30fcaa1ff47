"""Points that the storage keeps, mounted for people to look into; what is mounted where is noted in /run.

The snapshots stay mounted until `umount`, whatever becomes of us: their backend then refuses to delete them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os

from engine.backend import Opened
from engine.errors import BusyError, RefusedError, ToolError, UsageError
from engine.machine.attach import attach
from engine.machine.mounts import Namespace, mounts
from engine.points import RestorePoint
from engine.run import call
from engine.text import printable

_NOTES = b"/run/rollpoint-mounts"


def check(where: bytes) -> bytes:
    """Return the directory to mount on, symbolic links resolved. Raises UsageError when it is no empty one,
    RefusedError without root."""
    if os.geteuid() != 0:
        raise RefusedError("mounting needs root", hint="copy the files out with `rollpoint restore POINT --to DIR`")
    where = os.path.realpath(where)
    if not os.path.isdir(where) or os.listdir(where):
        raise UsageError(f"{printable(where)} is no empty directory", hint="make one to mount on")
    return where


def mount(opened: Opened, point: RestorePoint, where: bytes) -> None:
    """Show an opened point at a directory, until `umount`."""
    if not isinstance(opened.space, Namespace):
        raise RefusedError(f"point {point.id} cannot be shown to everybody", hint="copy the files out with `rollpoint "
                           "restore POINT --to DIR`")
    attach(opened.space, opened.inside, where)
    os.makedirs(_NOTES, mode=0o700, exist_ok=True)
    with open(_note(where), "w", encoding="ascii") as file:
        json.dump({"point": point.id, "where": where.hex()}, file)


def umount(where: bytes) -> bool:
    """End such a mount; False where there is none of ours. Raises BusyError while it is in use."""
    where = os.path.realpath(where)
    if not os.path.exists(_note(where)):
        return False
    if any(one.point == where for one in mounts()):
        try:
            call(["umount", "--recursive", where])
        except ToolError as error:
            raise BusyError(f"{printable(where)} cannot be unmounted: {error.stderr.strip()}",
                            hint="leave the directory and close what is open in it") from None
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_note(where))
    return True


def _note(where: bytes) -> bytes:
    return os.path.join(_NOTES, hashlib.sha256(where).hexdigest()[:32].encode())
