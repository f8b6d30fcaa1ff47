"""The rescue kit: rollpoint.pyz, restore.sh and a README, in every store and on any stick.

A store's kit is written after a point was taken, when the program or one of its packages has changed since. Its
SHA256SUMS is removed first and written last: a kit without it is unfinished, and the next snapshot writes it again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from functools import cache

from engine import __version__
from engine.errors import DamageError, RefusedError, RollpointError, UsageError
from engine.events import Job
from engine.replica import packs
from engine.replica.layout import Store, fsync_dir, write_file
from engine.rescue import itself, parts, pyz
from engine.text import printable

PROGRAM, SCRIPT, README, SUMS = b"rollpoint.pyz", b"restore.sh", b"README.txt", b"SHA256SUMS"
PLACE = b"rescue"
_STAMP = b"kit: "
_ROOM = 4  # times the kit's size: with less left on the disk the room is for points

_README = """\
Rollpoint {version}: what to do when the machine does not boot any more.

1. Boot a rescue CD, become root, mount the disk that holds this directory:  mount /dev/sdX1 /mnt
2. Is there Python 3.11 or newer?      python3 /mnt/PATH/rescue/rollpoint.pyz rescue
   shows the stores and systems on all disks. Back to the newest point, /boot and boot sectors too:
                                       python3 .../rollpoint.pyz rescue open -- rollback latest
   The whole program, full screen:     python3 .../rollpoint.pyz rescue open
   Everything mounted by hand instead: ... --store /mnt/PATH --root /target rollback POINT
   One point into a directory:         ... --store /mnt/PATH restore POINT --to /target/new
   A new disk, other file systems:     ... rescue open --adopt -- rollback latest    (says what it adjusts)
3. No Python? rsync, zstd and a shell are enough:
                                       sh /mnt/PATH/rescue/restore.sh /mnt/PATH list
                                       sh /mnt/PATH/rescue/restore.sh /mnt/PATH POINT /target/new
   A VM's vm.cfg alone needs not even those: restore.sh /mnt/PATH vms    shows what there is, and how to go on
4. /mnt/PATH is the store, the directory that holds store.yaml; /target is where the broken system is mounted.
   A rollback needs the store writable (not mounted with -o ro), everything else reads only.
5. Are these files whole?              cd HERE && sha256sum -c SHA256SUMS
{notes}"""


@dataclass(frozen=True, slots=True)
class Kit:
    """The kit's files by name; `missing` names the packages that the program in it lacks."""

    files: dict[bytes, bytes]
    missing: tuple[str, ...]

    @property
    def size(self) -> int:
        """How many bytes the files have."""
        return sum(map(len, self.files.values()))


def make() -> Kit:
    """Return the kit of this program. Raises RollpointError when a part of it cannot be read."""
    try:
        return _made(stamp())
    except OSError as error:
        raise RollpointError(f"the rescue kit cannot be made: {error}",
                             hint="install Rollpoint anew: a part of it cannot be read") from error


def stamp() -> str:
    """Return what tells one kit from another, without making it."""
    if archive := itself.archive():
        with open(archive, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return parts.fingerprint()


@cache
def _made(mark: str) -> Kit:
    missing: tuple[str, ...] = ()
    if archive := itself.archive():
        with open(archive, "rb") as file:
            program = file.read()
    else:
        found = parts.collect()
        program, missing = pyz.build(found.files), found.missing
    files = {PROGRAM: program, SCRIPT: _script()}
    notes = f"The full-screen program lacks {', '.join(missing)}: the commands alone work.\n" if missing else ""
    files[README] = _README.format(version=__version__, notes=notes).encode() + _STAMP + mark.encode() + b"\n"
    files[SUMS] = b"".join(f"{hashlib.sha256(data).hexdigest()}  ".encode() + name + b"\n"
                           for name, data in sorted(files.items()))
    return Kit(files, missing)


def _script() -> bytes:
    path = os.path.join(os.path.dirname(__file__), "restore.sh")
    if itself.archive():
        return itself.data(path)
    with open(path, "rb") as file:
        return file.read()


def refresh(store: Store, job: Job) -> None:
    """Write the store's kit anew when it is not the one of this program. The caller holds the write lock.

    What goes wrong is a warning: the points do not depend on it. A program that itself runs out of a kit replaces
    none that is whole, for it may be the older one.
    """
    try:
        directory = store.place(PLACE)
        mark = stamp()
        if is_whole(directory) and (itself.archive() or _stamp_of(directory) == mark):
            return
        kit = make()
        if not _has_room(store, kit):
            return
        put(kit, directory)
    except Exception as error:  # whatever it is, the point is taken and counts
        job.warn(f"the rescue kit in the store could not be written: {error}")


def mend(store: Store, job: Job) -> list[str]:
    """Write the store's kit again when a file of it is not what was written; returns what was done, in sentences."""
    directory = store.place(PLACE)
    if not os.path.exists(os.path.join(directory, SUMS)):
        return []
    try:
        if not packs.wrong_sums(directory):
            return []
    except (OSError, ValueError):
        pass
    try:
        put(make(), directory)
    except (RollpointError, OSError) as error:
        job.warn(f"the rescue kit in the store could not be written: {error}")
        return []
    return ["the rescue kit in the store was written again"]


def _has_room(store: Store, kit: Kit) -> bool:
    room = os.statvfs(store.path)
    return room.f_bavail * room.f_frsize > _ROOM * kit.size


def _stamp_of(directory: bytes) -> str:
    with contextlib.suppress(OSError), open(os.path.join(directory, README), "rb") as file:
        return file.read().rpartition(_STAMP)[2].strip().decode("ascii", "replace")
    return ""


def is_whole(directory: bytes) -> bool:
    """Whether a kit was written to its end, by the look of it: contents are not read."""
    return all(os.path.isfile(os.path.join(directory, name)) for name in (PROGRAM, SCRIPT, README, SUMS))


def put(kit: Kit, directory: bytes) -> None:
    """Write the kit into a directory (made if missing) and make it durable; other files there stay. Raises OSError."""
    os.makedirs(directory, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(directory, SUMS))
    fsync_dir(directory)
    for name in (PROGRAM, SCRIPT, README, SUMS):
        write_file(os.path.join(directory, name), kit.files[name])


def write(directory: bytes) -> Kit:
    """Write the kit into a directory of the admin's (a stick, say), read it back and return it.

    Raises UsageError when it is no directory, RefusedError when it is a store's own kit, DamageError when what is read
    back differs, OSError.
    """
    if os.path.lexists(directory) and not os.path.isdir(directory):
        raise UsageError(f"{printable(directory)} is no directory", hint="name the directory where a stick is mounted")
    real = os.path.realpath(directory)
    if os.path.basename(real) == PLACE and os.path.exists(os.path.join(os.path.dirname(real), b"store.yaml")):
        raise RefusedError(f"{printable(directory)} is a store's own kit", hint="every snapshot looks after that one")
    kit = make()
    put(kit, real)
    for name, data in kit.files.items():
        if _read_back(os.path.join(real, name)) != data:
            raise DamageError(f"{printable(os.path.join(directory, name))} is not what was written",
                              hint="the disk or stick is not sound: use another one")
    return kit


def _read_back(path: bytes) -> bytes:
    """Return a file's content, from the disk where the system lets its cache be dropped."""
    with open(path, "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        return file.read()
