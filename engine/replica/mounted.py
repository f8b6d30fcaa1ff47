"""Points mounted for people to look into: where they are, and that the tree below them must not change meanwhile."""

from __future__ import annotations

import json
import os
import tempfile
from typing import Any

from engine.errors import BusyError, RefusedError, ToolError, UsageError
from engine.events import Job
from engine.machine.mounts import mounts
from engine.points import RestorePoint
from engine.replica.catalog import Catalog
from engine.replica.layout import Store, remove_tree, user_name, write_file
from engine.replica.opened import farm, overlay_argv, overlay_works, stage
from engine.run import call
from engine.text import printable


def _listed(store: Store) -> dict[str, dict[str, Any]]:
    """Return the mounts that are still there, by name of their scratch directory; forget the others."""
    home = store.place(b"work", b"mounts")
    present = {m.point for m in mounts()}
    found = {}
    for name in os.listdir(home) if os.path.isdir(home) else ():
        try:
            with open(os.path.join(home, name, b"mount.json"), "rb") as file:
                entry = json.load(file)
        except (OSError, ValueError):
            entry = {}
        if entry and bytes.fromhex(entry["where"]) in present:
            found[os.fsdecode(name)] = entry
        elif os.access(home, os.W_OK):
            _remove(store, name, entry)
    return found


def _remove(store: Store, name: bytes, entry: dict[str, Any]) -> None:
    if entry.get("stage"):
        remove_tree(bytes.fromhex(entry["stage"]))
    remove_tree(store.place(b"work", b"mounts", name))


def refuse(store: Store) -> None:
    """Raise BusyError when a point is mounted: a new point, or one less, would change what is seen there."""
    for entry in _listed(store).values():
        where = printable(bytes.fromhex(entry["where"]))
        raise BusyError(f"point {entry['point']} is mounted at {where} by {entry['user']}",
                        hint=f"`rollpoint umount {where}` first")


def mount(store: Store, point: RestorePoint, where: bytes, staging: str | None, job: Job) -> None:
    """Mount a point read-only, unpacking below `staging` (None: in the store). The caller holds the write lock.

    Raises RefusedError without root, UsageError when `where` is no empty directory.
    """
    if os.geteuid() != 0:
        raise RefusedError("mounting needs root", hint="copy the files out with `rollpoint restore POINT --to DIR`")
    where = os.path.realpath(where)
    if not os.path.isdir(where) or os.listdir(where):
        raise UsageError(f"{printable(where)} is no empty directory", hint="make one to mount on")
    home = store.place(b"work", b"mounts", os.urandom(8).hex().encode())
    stage_in = os.fsencode(tempfile.mkdtemp(prefix="mount-", dir=staging)) if staging else home
    os.makedirs(home)
    entry = {"point": point.id, "where": where.hex(), "user": user_name(), "stage": stage_in.hex() if staging else ""}
    try:
        with Catalog.open(store) as catalog:
            argv = _prepare(store, catalog, point, stage_in, where, job)
        write_file(os.path.join(home, b"mount.json"), json.dumps(entry).encode())
        call(argv)
    except BaseException:
        _remove(store, os.path.basename(home), entry)
        raise


def _prepare(store: Store, catalog: Catalog, point: RestorePoint, home: bytes, where: bytes, job: Job
             ) -> list[str | bytes]:
    if point.newest:
        return ["mount", "--bind", "-o", "ro", store.tree, where]
    if overlay_works(catalog, point):
        stage(store, catalog, point, os.path.join(home, b"stage"), job)
        return overlay_argv(store, os.path.join(home, b"stage"), where)
    farm(store, catalog, point, os.path.join(home, b"farm"), job)
    return ["mount", "--bind", "-o", "ro", os.path.join(home, b"farm"), where]


def umount(store: Store, where: bytes) -> None:
    """End a mount and remove what it needed. Raises UsageError when no point is mounted there, BusyError."""
    where = os.path.realpath(where)
    for name, entry in _listed(store).items():
        if bytes.fromhex(entry["where"]) == where:
            try:
                call(["umount", where])
            except ToolError as error:
                raise BusyError(f"{printable(where)} cannot be unmounted: {error.stderr.strip()}",
                                hint="leave the directory and close what is open in it") from None
            _remove(store, os.fsencode(name), entry)
            return
    raise UsageError(f"no point is mounted at {printable(where)}", hint="mount(8) shows what is mounted")
