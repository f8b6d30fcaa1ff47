"""Opening snapshots of logical volumes: mounted read-only, where nobody can take them for their origin.

A snapshot has the UUID of its origin, so it is mounted by the name of its device, in a private mount namespace. Its
device is made read-only before: ext4 would clear up what was deleted while open also in a file system that is mounted
``ro,noload``, without a journal, and so change what was taken. Thin snapshots are not active by themselves; those that
are activated here are deactivated afterwards.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

from engine.backend import Opened
from engine.errors import RefusedError, RollpointError, ToolError
from engine.events import Job
from engine.machine.mounts import Namespace, mounts
from engine.run import call
from engine.text import message, printable
from engine.volumes.composed import Mounting, compose, strangers
from engine.volumes.lvmlist import SECONDS, Snapshot, failing, usable

_OPTIONS = {"ext2": "ro", "ext3": "ro,noload", "ext4": "ro,noload", "xfs": "ro,nouuid,norecovery"}
_SAFE = ",nosuid,nodev"
_QUICK = 30


@contextlib.contextmanager
def opened(parts: Sequence[tuple[bytes, Snapshot]], root: bytes, job: Job) -> Iterator[Opened]:
    """Yield the snapshots, each at its place, as one read-only directory; what else is mounted below these places of
    `root` now is no part of it. Raises RefusedError for one that holds no file system which can be opened, is damaged,
    or is being merged."""
    for _, snapshot in parts:
        usable(snapshot)
    with contextlib.ExitStack() as stack:
        ways: list[tuple[bytes, Mounting]] = []
        for place, snapshot in parts:
            stack.enter_context(_active(snapshot, job))
            kind = _kind(snapshot)
            stack.enter_context(_read_only(snapshot))
            ways.append((place, _mounting(snapshot, kind)))
        yield stack.enter_context(compose(ways, strangers(root, [place for place, _ in parts], mounts())))


@contextlib.contextmanager
def _active(snapshot: Snapshot, job: Job) -> Iterator[None]:
    lv = snapshot.lv
    if lv.active:
        yield
        return
    try:
        call(["lvchange", "-ay", "-K", lv.full_name], timeout=SECONDS)
    except ToolError as error:
        raise failing(error, f"{lv.full_name} cannot be activated") from error
    try:
        yield
    finally:
        try:
            call(["lvchange", "-an", lv.full_name], timeout=SECONDS)
        except ToolError as error:
            if "in use" not in error.stderr:        # another Rollpoint has it open, and deactivates it
                said = failing(error, f"{lv.full_name} could not be deactivated").message
                job.warn(message(f"{said}; do it by hand: lvchange -an {lv.full_name}"))


def _kind(snapshot: Snapshot) -> str:
    """Return the type of the file system in an active snapshot. Raises RefusedError for one that cannot be opened."""
    out = call(["blkid", "-p", "-o", "value", "-s", "TYPE", snapshot.lv.node], ok=(0, 2), timeout=_QUICK)
    kind = out.strip().decode("ascii", "replace")
    if kind not in _OPTIONS:
        what = f"holds {printable(kind)}" if kind else "holds no file system that is known"
        raise RefusedError(f"{snapshot.lv.full_name} {what}: its files cannot be shown",
                           hint="the volume itself can be set back to it (`rollback --way native`)")
    return kind


@contextlib.contextmanager
def _read_only(snapshot: Snapshot) -> Iterator[None]:
    lv = snapshot.lv
    if lv.open or not lv.writable:
        yield
        return
    call(["blockdev", "--setro", lv.node], timeout=_QUICK)
    try:
        yield
    finally:
        with contextlib.suppress(RollpointError):       # whoever activates it next gets it as it is meant to be
            call(["blockdev", "--setrw", lv.node], timeout=_QUICK)


def _mounting(snapshot: Snapshot, kind: str) -> Callable[[Namespace, bytes], object]:
    def mount(space: Namespace, target: bytes) -> None:
        space.run(["mount", "-t", kind, "-o", _OPTIONS[kind] + _SAFE, snapshot.lv.node, target])

    return mount
