"""Which file systems are mounted where, read from /proc/self/mountinfo (see proc(5)), and private mount views."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from engine.errors import ToolError
from engine.run import Arg, Process, call

LOCAL_TYPES = frozenset({
    b"ext2", b"ext3", b"ext4", b"xfs", b"btrfs", b"vfat", b"f2fs", b"jfs", b"reiserfs", b"zfs", b"ocfs2", b"exfat",
})


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo: `device` is ``major:minor``, `root` the part of the file system that is mounted."""

    device: bytes
    root: bytes
    point: bytes
    fstype: bytes
    source: bytes


def mounts() -> list[Mount]:
    """Return all mounts of this process's namespace, in the order in which they were made."""
    found = []
    with open("/proc/self/mountinfo", "rb") as file:
        for line in file:
            fields = line.split(b" ")
            dash = fields.index(b"-", 6)
            found.append(Mount(fields[2], _unescape(fields[3]), _unescape(fields[4]), fields[dash + 1],
                               _unescape(fields[dash + 2])))
    return found


def mount_of(path: bytes, table: Sequence[Mount] | None = None) -> Mount:
    """Return the mount that `path` (absolute, without symbolic links) lies on.

    In a chroot whose root is no mount point nothing is listed for it (proc(5): only what lies below the root is
    shown). The answer is then a mount made up for "/", with the right device; where it lies in its file system
    nobody can say.
    """
    best: Mount | None = None
    for mount in table if table is not None else mounts():
        if _inside(path, mount.point) and (best is None or len(mount.point) >= len(best.point)):
            best = mount
    return best or _unlisted_root()


def _unlisted_root() -> Mount:
    device = os.stat(b"/").st_dev
    return Mount(b"%d:%d" % (os.major(device), os.minor(device)), b"/", b"/", b"", b"")


def place_below(path: bytes, root: bytes, table: Sequence[Mount] | None = None) -> list[bytes]:
    """Return where the directory `path` appears below `root`, as root-relative paths.

    It is found by file system and place within it, not by name, so that bind mounts and other mount points of the
    same file system do not hide it.
    """
    table = mounts() if table is None else table
    home = mount_of(path, table)
    within = _join(home.root, os.path.relpath(path, home.point))
    places = set()
    for mount in table:
        if mount.device != home.device or not _inside(within, mount.root):
            continue
        seen = _join(mount.point, os.path.relpath(within, mount.root))
        if _inside(seen, root) and mount_of(seen, table) == mount:
            places.add(os.path.relpath(seen, root))
    return sorted(p for p in places if p != b".")


def local_below(root: bytes, wanted: Sequence[bytes] | None = None) -> list[bytes]:
    """Return the mount points of local disk file systems strictly below `root`, outermost first, root-relative.

    With `wanted` (root-relative mount points, as fstab names them) only those.
    """
    found = {os.path.relpath(m.point, root) for m in mounts()
             if m.fstype in LOCAL_TYPES and m.point != root and _inside(m.point, root)}
    return sorted(p for p in found if wanted is None or p in wanted)


def fstab_points(root: bytes) -> list[bytes]:
    """Return the root-relative mount points that ROOT/etc/fstab lists (none when there is no such file)."""
    points = []
    with contextlib.suppress(OSError), open(os.path.join(root, b"etc/fstab"), "rb") as file:
        for line in file:
            fields = line.split()
            if len(fields) >= 3 and not fields[0].startswith(b"#") and fields[1].startswith(b"/"):
                points.append(_unescape(fields[1]).strip(b"/"))
    return [p for p in points if p]


def _inside(path: bytes, parent: bytes) -> bool:
    return path == parent or parent == b"/" or path.startswith(parent + b"/")


def _join(base: bytes, relative: bytes) -> bytes:
    return os.path.normpath(os.path.join(base, relative))


def _unescape(field: bytes) -> bytes:
    return re.sub(rb"\\([0-7]{3})", lambda m: bytes([int(m[1], 8)]), field)


class Space:
    """Where commands run and paths are looked up: here, our own namespace, as it is for an ordinary user."""

    def wrap(self, argv: Sequence[Arg]) -> list[Arg]:
        """Return the argv that runs `argv` in this space."""
        return list(argv)

    def outside(self, path: bytes) -> bytes:
        """Return the path under which our own process reaches `path`, as it is called in this space."""
        return path

    def close(self) -> None:
        """Let go of the space."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def private_space() -> Space:
    """Return a private mount namespace when we are root, else the plain space."""
    return Namespace() if os.geteuid() == 0 else Space()


# In a chroot whose root is no mount point unshare(1) finds nothing to make private, and what is mounted then could
# reach the system around it. Entering one's own namespace leaves the chroot (setns(2)), everything is made private from
# there (MS_REC | MS_PRIVATE), and the chroot is entered again.
_HOLD_IN_CHROOT = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    if getattr(libc, name)(*arguments):
        raise OSError(ctypes.get_errno(), f"{name}: {os.strerror(ctypes.get_errno())}")
call("unshare", 0x00020000)
root = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY)
call("setns", namespace, 0x00020000)
call("mount", None, b"/", None, 0x44000, None)
os.fchdir(root)
os.chroot(".")
os.execvp("cat", ["cat"])
"""


def _started(argv: Sequence[Arg]) -> Process:
    """Start the process that holds a namespace, and wait until it does. Raises ToolError."""
    holder = Process(argv, feed=True)
    try:
        holder.stdin.write(b".")
        if holder.stdout.read(1) != b".":
            holder.check()
    except OSError:
        holder.check()
        raise
    return holder


class Namespace(Space):
    """A private mount namespace that dies with this process, so that even a kill -9 leaves no mount behind.

    A helper process holds it open and ends when the pipe from us closes. Our own process never changes namespace: it
    reaches what is mounted inside through /proc/PID/root (proc(5)). Other programs are run inside, since some resolve
    that link and would end up in the directory below the mount (rsync does, as a receiver). Needs root.
    """

    def __init__(self) -> None:
        try:
            self._holder = _started(["unshare", "--mount", "--propagation", "private", "--", "cat"])
        except ToolError:
            if any(mount.point == b"/" for mount in mounts()):
                raise
            self._holder = _started([sys.executable, "-I", "-c", _HOLD_IN_CHROOT])

    @property
    def pid(self) -> int:
        """The process that holds the namespace: /proc/PID/ns/mnt is it."""
        return self._holder.pid

    def run(self, argv: Sequence[Arg], timeout: float = 60, *, ok: Sequence[int] = (0,)) -> bytes:
        """Run a quick command inside and return its output; raises ToolError (see engine.run.call)."""
        try:
            return call(self.wrap(argv), ok=ok, timeout=timeout)
        except ToolError as error:
            raise ToolError(argv, error.status, error.stderr) from error      # not nsenter is what failed

    def wrap(self, argv: Sequence[Arg]) -> list[Arg]:
        # Without --root a chroot that we run in would be left, since entering a namespace goes to its own root; and
        # without --wd the programs would stand in a directory outside of the namespace, which rsync cannot name.
        holder = f"/proc/{self._holder.pid}"
        return ["nsenter", f"--mount={holder}/ns/mnt", f"--root={holder}/root", f"--wd={holder}/root", "--", *argv]

    def bind(self, source: bytes, target: bytes, *, read_only: bool) -> None:
        """Bind-mount the one file system at `source` on `target` (not what is mounted below it)."""
        self.run(["mount", "--bind", "-o", "ro" if read_only else "rw", source, target])

    def outside(self, path: bytes) -> bytes:
        return b"/proc/%d/root" % self._holder.pid + path

    def close(self) -> None:
        self._holder.stop()
        self._holder.__exit__(None, None, None)
