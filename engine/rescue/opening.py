"""Mounting a store and the system that it is about, each recorded file system in its place, for one process tree."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from engine.errors import RollpointError
from engine.rescue.mapping import Mapping as Mapped
from engine.rescue.survey import FoundStore


@dataclass(frozen=True, slots=True)
class Opened:
    """Where the store and the root of the system are mounted now; `notes` say what is missing of it."""

    store: bytes
    root: bytes
    notes: tuple[str, ...] = ()


def words(store: FoundStore, named: Mapping[str, str], *, devices: Sequence[str] = (), shares: Sequence[str] = (),
          adopt: bool = False, command: Sequence[str] = ()) -> list[str]:
    """Return the words of the command line that open this store and these file systems (device by mount point) and run
    `command` there (none: the full-screen app). A screen leaves the app with them."""
    raise RollpointError("not there yet")


@contextmanager
def open_target(store: FoundStore, mapping: Mapped) -> Iterator[Opened]:
    """Mount the store and each row of the mapping writable below /run/rollpoint, in a mount namespace of this process
    alone, and unmount all of it at the end. Raises RefusedError when the mapping has refusals, RollpointError."""
    raise RollpointError("not there yet")
    yield Opened(b"", b"")
