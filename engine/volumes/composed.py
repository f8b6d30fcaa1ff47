"""The snapshots of a point put together as one directory, in a private mount namespace, each at its place.

The directory has the names of the machine: the snapshot of what is mounted at /home is at ``home``. Where the point
holds no root, a small tmpfs holds the directories on the way. All of it goes with the namespace, also after a kill -9.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence

from engine.backend import Opened
from engine.errors import RefusedError, ToolError
from engine.machine.mounts import Mount, Namespace
from engine.run import scratch
from engine.text import shown_path

Mounting = bytes | Callable[[Namespace, bytes], object]
"""How a part gets to its place: a directory that is bound there read-only (a path in our own namespace, with nothing
of what is mounted below it), or what mounts it, read-only, in the namespace on the directory given."""


@contextlib.contextmanager
def compose(parts: Sequence[tuple[bytes, Mounting]], holes: Sequence[bytes] = ()) -> Iterator[Opened]:
    """Yield the parts of a point as one read-only directory; `parts` are (place, how), places root-relative (b"" is
    the root); `holes` as in `Opened`.

    Raises RefusedError without root, for two parts at one place, and where the part around another one has no
    directory to mount that on; ToolError when a mount fails.
    """
    if os.geteuid() != 0:
        raise RefusedError("only root can open snapshots of the storage", hint="run as root")
    ordered = sorted(parts, key=lambda part: part[0].replace(b"/", b"\0"))
    places = tuple(place for place, _ in ordered)
    if len(set(places)) < len(places) or not places:
        raise RefusedError("the parts of this point have no places of their own", hint="`rollpoint show` lists them")
    with contextlib.ExitStack() as stack:
        where = os.fsencode(stack.enter_context(scratch()))
        space = stack.enter_context(Namespace())
        stack.callback(_unmount, space, where)
        if places[0]:
            space.run(["mount", "-t", "tmpfs", "-o", "mode=755,size=1m", "rollpoint", where])
            for place in places:
                if _around(place, places) is None:
                    os.makedirs(os.path.join(space.outside(where), place), exist_ok=True)
            for place, how in ordered:
                _mount(space, where, place, how)
            space.run(["mount", "-o", "remount,bind,ro", where])
        else:
            for place, how in ordered:
                _mount(space, where, place, how)
        yield Opened(space, space.outside(where), where, places, tuple(holes))


def strangers(root: bytes, shown: Sequence[bytes], table: Sequence[Mount]) -> list[bytes]:
    """Return, root-relative, where below the places `shown` something else is mounted now. The directory there is an
    empty one in the snapshot around it, or none: who takes that for the truth removes it, and rmdir(2) in one mount
    namespace takes away what is mounted there in the others."""
    found: set[bytes] = set()
    for mount in table:
        if mount.point == root or not (root == b"/" or mount.point.startswith(root + b"/")):
            continue
        place = os.path.relpath(mount.point, root)
        around = [s for s in shown if not s or place.startswith(s + b"/")]
        if around and place not in shown and b"/.zfs/" not in b"/" + place:
            found.add(place)
    return sorted(p for p in found if not any(p != o and p.startswith(o + b"/") for o in found))


def _around(place: bytes, places: Sequence[bytes]) -> bytes | None:
    """Return the innermost of `places` that a place lies in, None where there is none."""
    holders = [p for p in places if p != place and (not p or place.startswith(p + b"/"))]
    return max(holders, key=len, default=None)


def _mount(space: Namespace, where: bytes, place: bytes, how: Mounting) -> None:
    target = os.path.join(where, place) if place else where
    _must_be_directory(space.outside(where), place)
    if isinstance(how, bytes):
        space.bind(how, target, read_only=True)
    else:
        how(space, target)


def _must_be_directory(top: bytes, place: bytes) -> None:
    """Raise RefusedError unless a place is a directory that no symbolic link leads to: mount(8) would follow it."""
    path = top
    for name in place.split(b"/") if place else ():
        path = os.path.join(path, name)
        try:
            mode = os.lstat(path).st_mode
        except OSError:
            mode = 0
        if not stat.S_ISDIR(mode):
            raise RefusedError(f"the snapshot around {shown_path(place)} has no directory there to show it in",
                               hint="its parts were not taken together; open them one by one with their own tool")


def _unmount(space: Namespace, where: bytes) -> None:
    """Unmount now: the end of the namespace does so too, but not before the next command may look."""
    with contextlib.suppress(ToolError):
        space.run(["umount", "--recursive", where])
