"""The process that looks into devices for engine.rescue.finding: one JSON line in for each, one line out.

It mounts them read-only in a mount namespace of its own and can be killed when a device hangs. Nothing on a disk is
followed out of it, believed, or run; no journal is replayed, for the disk must stay as it was.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from engine.errors import RollpointError, ToolError
from engine.machine import ownspace
from engine.machine.blockids import parse_blkid
from engine.machine.mounts import Mount, mount_of, mounts
from engine.machine.tree import Tree
from engine.replica.layout import FORMAT, unsealed
from engine.run import Arg, call
from engine.text import printable

# mount(8), and the manuals of the file systems: read-only, and without replaying a journal.
OPTIONS = {
    "ext2": ("ro",), "ext3": ("ro,noload",), "ext4": ("ro,noload",), "xfs": ("ro,norecovery,nouuid",),
    "btrfs": ("ro,rescue=nologreplay,subvolid=5", "ro,norecovery,subvolid=5"), "f2fs": ("ro,norecovery",),
    "vfat": ("ro",), "exfat": ("ro",), "nfs": ("ro,soft,timeo=50,retrans=2,nolock",),
}
_SAFE = ",nosuid,nodev,noexec"
_STORE = b"var/lib/rollpoint/store"
_DEPTH, _DIRECTORIES = 3, 20_000
_SKIPPED = frozenset({b"usr", b"lib", b"lib64", b"proc", b"sys", b"dev", b"lost+found", b".snapshots"})
_DOCUMENT = 1 << 20
_POINTS, _SYSTEMS, _KERNELS = 500, 20, 20
_BUSY_SECONDS = 3
_SUBVOLUME = 256        # btrfs: the inode number of the top of every subvolume


def main() -> None:
    """Answer for each device that stdin names."""
    where = os.fsencode(sys.argv[-1])
    ownspace.enter()
    for line in sys.stdin:
        wanted = json.loads(line)
        paths = [os.fsencode(p) for p in wanted["paths"]]
        found = look(str(wanted["device"]), str(wanted["fstype"]), where, paths, float(wanted["seconds"]))
        print(json.dumps(found), flush=True)


def look(device: str, fstype: str, where: bytes, paths: list[bytes], seconds: float) -> dict[str, Any]:
    """Return what is on a device, mounted on the directory `where`; with ``why`` if it cannot be looked into."""
    found: dict[str, Any] = {"device": device, "fstype": fstype}
    try:
        found |= _probed(device, seconds) if fstype != "nfs" else {}
        if found["fstype"] not in OPTIONS:
            return found
        _mount(device, found["fstype"], where, seconds)
        try:
            os.listdir(where)       # one that mounts but cannot be read is told from an empty one
            found["systems"] = list(_systems(where, found["fstype"]))
            found["stores"] = list(_stores(where, [s["within"] for s in found["systems"]], paths))
        finally:
            call(("umount", "--lazy", where), timeout=seconds)
    except (RollpointError, OSError) as error:
        found["why"] = _reason(error)
    return found


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or str(error)
    text = error.stderr.strip() if isinstance(error, ToolError) else ""
    lines = [line.strip() for line in text.splitlines() if "dmesg" not in line and line.strip()]
    if lines and ": " in lines[0]:
        return lines[0].rpartition(": ")[2]         # mount(8): "mount: /where: the reason"
    return str(error)


def _probed(device: str, seconds: float) -> dict[str, str]:
    """Return what blkid(8) reads from the device itself: on a rescue system nobody else may have looked. Raises OSError
    for a device that cannot be read, which blkid only calls one that holds nothing."""
    fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        os.pread(fd, 4096, 0)
    finally:
        os.close(fd)
    out = call(("blkid", "-p", "-o", "export", os.fsencode(device)), ok=(0, 2), timeout=seconds)
    found = parse_blkid(b"DEVNAME=" + os.fsencode(device) + b"\n" + out).all
    names = {"fstype": found[0].fstype, "uuid": found[0].uuid, "label": found[0].label} if found else {}
    names["member"] = next((os.fsdecode(w[9:]) for w in out.splitlines() if w.startswith(b"UUID_SUB=")), "")
    return {key: value for key, value in names.items() if value}


def _mount(device: str, fstype: str, where: bytes, seconds: float) -> None:
    """Mount a device; one that is mounted is seen through that mount, since it cannot be mounted in another way."""
    tries = OPTIONS[fstype]
    there = in_use(os.fsencode(device))
    if fstype == "btrfs":
        with contextlib.suppress(ToolError):            # of several devices the kernel must know all
            call(("btrfs", "device", "scan"), timeout=seconds)
        tries = tries if there is None else ("ro,subvolid=5",)
    elif there is not None:
        call(("mount", "--bind", "-o", "ro", there.point, where), timeout=seconds)
        return
    failed: ToolError | None = None
    for options in tries:
        try:
            patiently(("mount", "-t", fstype, "-o", options + _SAFE, os.fsencode(device), where), seconds)
            return
        except ToolError as error:
            failed = failed or error
    assert failed is not None
    raise failed


def patiently(argv: Sequence[Arg], seconds: float) -> None:
    """Run mount(8), again for a moment while the device is busy: the namespace of a process that has just ended is let
    go of a little later. Raises ToolError."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            call(argv, timeout=seconds)
            return
        except ToolError as error:
            if "busy" not in error.stderr or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def in_use(device: bytes) -> Mount | None:
    """Return a mount of a device that no other mount hides, if any: of the whole file system, and of any subvolume of a
    btrfs (whose mounts have a device number of their own)."""
    with contextlib.suppress(OSError):
        number, real, table = os.stat(device).st_rdev, os.path.realpath(device), mounts()
        wanted = b"%d:%d" % (os.major(number), os.minor(number))
        for mount in table:
            same = (mount.device == wanted and mount.root == b"/") or (
                mount.fstype == b"btrfs" and os.path.realpath(mount.source) == real)
            if same and mount_of(mount.point, table) == mount:
                return mount
    return None


# --- systems -------------------------------------------------------------------------------------------------------


def _systems(where: bytes, fstype: str) -> Iterator[dict[str, Any]]:
    places = [b"", *(_subvolumes(where) if fstype == "btrfs" else ())]
    for place in places[:_SYSTEMS]:
        system = _system(Tree(os.path.join(where, place) if place else where))
        if system is not None:
            yield {"within": os.fsdecode(place), **system}


def _subvolumes(where: bytes) -> Iterator[bytes]:
    """Yield the subvolumes at the top of a btrfs; snapshots of them lie deeper where tools keep them."""
    for entry in sorted(os.scandir(where), key=lambda e: e.name):
        with contextlib.suppress(OSError):
            if entry.is_dir(follow_symlinks=False) and entry.inode() == _SUBVOLUME and entry.name not in _SKIPPED:
                yield entry.name


def _system(tree: Tree) -> dict[str, Any] | None:
    """Return who the system below a directory is; None where there is none. One mark of a system may be missing."""
    release = tree.text(b"etc/os-release") or tree.text(b"usr/lib/os-release") or ""
    marks = (tree.is_file(b"etc/fstab"), bool(release), tree.is_file(b"etc/machine-id"), tree.is_file(b"etc/passwd"))
    if sum(marks) < 2:
        return None
    names = dict(line.split("=", 1) for line in release.splitlines() if "=" in line)
    kernels = dict.fromkeys([*tree.names(b"lib/modules"), *tree.names(b"usr/lib/modules")])
    return {"name": names.get("PRETTY_NAME", "").strip("\"'"), "host": _first(tree, b"etc/hostname"),
            "machine_id": _first(tree, b"etc/machine-id"), "has_fstab": marks[0],
            "kernels": [os.fsdecode(k) for k in kernels][:_KERNELS]}


def _first(tree: Tree, path: bytes) -> str:
    lines = (tree.text(path) or "").split("\n")
    return lines[0].strip()[:256]


# --- stores --------------------------------------------------------------------------------------------------------


def _stores(where: bytes, systems: list[str], paths: list[bytes]) -> Iterator[dict[str, Any]]:
    usual = [os.path.join(os.fsencode(s), _STORE) if s else _STORE for s in systems]
    named = [inner for path in paths if (inner := Tree(where).inner(path)) is not None]
    seen: set[bytes] = set()
    for place in [*usual, *named, *_directories(where)]:
        if place not in seen and not any(_below(place, other) for other in seen):
            found = store(os.path.join(where, place) if place else where)
            if found is not None:
                seen.add(place)
                yield {"path": os.fsdecode(place), **found}


def _below(place: bytes, other: bytes) -> bool:
    return not other or place.startswith(other + b"/")


def _directories(where: bytes) -> Iterator[bytes]:
    """Yield the top and the directories up to three levels below it, level by level; links are not followed."""
    level, count = [b""], 0
    for _ in range(_DEPTH + 1):
        below: list[bytes] = []
        for place in level:
            count += 1
            if count > _DIRECTORIES:
                return
            yield place
            with contextlib.suppress(OSError):
                entries = sorted(os.scandir(os.path.join(where, place) if place else where), key=lambda e: e.name)
                below += [os.path.join(place, e.name) for e in entries
                          if e.is_dir(follow_symlinks=False) and e.name not in _SKIPPED]
        level = below


def store(path: bytes) -> dict[str, Any] | None:
    """Return what the store in a directory says of itself; None where there is none."""
    try:
        kinds = [os.lstat(os.path.join(path, name)).st_mode for name in (b"store.yaml", b"points", b"tree")]
    except OSError:
        return None
    if not (stat.S_ISREG(kinds[0]) and stat.S_ISDIR(kinds[1]) and stat.S_ISDIR(kinds[2])):
        return None
    tree = Tree(path)
    identity = _document(tree, b"store.yaml")
    names = sorted((n for n in tree.names(b"points") if not n.startswith(b".")), reverse=True)
    if identity is None:
        return {"problem": "its store.yaml is damaged", "count": len(names)}
    version = identity.get("format")
    known = {key: str(identity.get(key) or "") for key in ("id", "host", "machine_id")}
    if not isinstance(version, int) or version > FORMAT:
        return {**known, "format": version if isinstance(version, int) else 0, "count": len(names),
                "problem": f"it has format {printable(str(version))}, this Rollpoint knows {FORMAT}"}
    docs = [_document(tree, os.path.join(b"points", name, b"point.yaml")) for name in names[:_POINTS]]
    points = [{key: doc.get(key) for key in ("id", "number", "created", "comment", "sources")}
              for doc in docs if doc is not None]
    return {**known, "format": version, "count": len(names), "points": points}


def _document(tree: Tree, path: bytes) -> dict[str, Any] | None:
    """Return a sealed document, None where it is not what was written or nothing that Rollpoint writes."""
    import yaml

    text = unsealed(tree.read(path, _DOCUMENT) or b"")
    with contextlib.suppress(yaml.YAMLError, RecursionError, ValueError):
        document = yaml.safe_load(text) if text is not None else None
        if isinstance(document, dict):
            return json.loads(json.dumps(document, default=str))    # type: ignore[no-any-return]
    return None
